// SPDX-License-Identifier: PostgreSQL

#include "schema.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "scalar.h"
#include "util/macro.h"
#include "util/strbuf.h"
#include "util/suggestion.h"

#define SCHEMA_MAX_DIGITS 10 // a bare number longer than this was never a duration

// Enumerations are written through memcpy as unsigned.
static_assert(sizeof(enum action) == sizeof(unsigned), "an enum is an unsigned");

const struct field *section_find(const struct section *section, const char *name) {
    for (size_t i = 0; i < section->n_fields; i++) {
        if (strcmp(section->fields[i].name, name) == 0) {
            return &section->fields[i];
        }
    }
    return NULL;
}

bool section_has_defaults(const struct section *section) {
    for (size_t i = 0; i < section->n_fields; i++) {
        const struct field *field = &section->fields[i];
        if (field->fallback || (field->section && section_has_defaults(field->section))) {
            return true;
        }
    }
    return false;
}

static void schema_add_words(struct strbuf *sb, const struct field *field) {
    const char *last = "";
    const char *separator = "";
    for (unsigned i = 0; i < field->n_words; i++) {
        const char *word = field->word(i);
        if (word && last[0]) {
            strbuf_addf(sb, "%s%s", separator, last);
            separator = ", ";
        }
        last = word ? word : last;
    }
    strbuf_addf(sb, "%s%s", separator[0] ? " or " : "", last);
}

static void schema_add_range(struct strbuf *sb, const struct field *field) {
    if (field->zero) {
        strbuf_addf(sb, "%s or ", field->zero);
    }
    if (field->type == FIELD_DURATION) {
        usec_render_exact(sb, field->min);
        strbuf_add(sb, " to ");
        usec_render_exact(sb, field->max);
    } else {
        const char *sign = field->type == FIELD_PERCENT ? "%" : "";
        strbuf_addf(sb, "%" PRIu64 "%s to %" PRIu64 "%s", field->min, sign, field->max, sign);
    }
}

static const char *schema_kind_wanted(const struct field *field) {
    switch (field->type) {
    case FIELD_BOOL:
        return "true or false";
    case FIELD_DURATION:
        return "a duration";
    case FIELD_INTEGER:
        return "a number";
    case FIELD_PERCENT:
        return "a percentage";
    case FIELD_ENUM:
        return "one word";
    case FIELD_TEXT:
        return "text";
    case FIELD_CUSTOM:
        return field->kind;
    case FIELD_SECTION:
    case FIELD_ENTRIES:
        break;
    }
    return "a map";
}

static const char *schema_kind_given(const struct yaml_node *node) {
    switch (node->kind) {
    case NODE_SCALAR:
        return "text";
    case NODE_LIST:
        return "a list";
    case NODE_MAP:
        return "a map";
    }
    return "text";
}

// "write after: 10min", or the keys of a section.
static void schema_add_example(struct strbuf *sb, const struct field *field) {
    if (field->example) {
        strbuf_addf(sb, "write %s: %s", field->name, field->example);
    } else if (field->type == FIELD_ENUM) {
        strbuf_add(sb, "write ");
        schema_add_words(sb, field);
    } else if (field->section) {
        strbuf_add(sb, field->type == FIELD_ENTRIES ? "write names below it, each with its keys: "
                                                    : "write its keys below it: ");
        for (size_t i = 0; i < field->section->n_fields; i++) {
            strbuf_addf(sb, "%s%s", i == 0 ? "" : ", ", field->section->fields[i].name);
        }
    } else {
        strbuf_addf(sb, "write %s: %s", field->name, field->fallback);
    }
}

void schema_report_kind(struct binder *binder, const struct field *field, const struct yaml_node *node,
                        const struct path *path) {
    CLEANUP(strbuf_deinit) struct strbuf hint = STRBUF_EMPTY;
    schema_add_example(&hint, field);
    if (strbuf_error(&hint) < 0) {
        binder->diags->failed = true;
    }
    if (node->is_null) {
        report_error(binder->diags, node->at, path, "has no value (%s)", strbuf_str(&hint));
    } else {
        report_error(binder->diags, node->at, path, "must be %s, not %s (%s)", schema_kind_wanted(field),
                     schema_kind_given(node), strbuf_str(&hint));
    }
}

static void schema_report_unknown_key(struct binder *binder, const struct section *section,
                                      const struct yaml_pair *pair, const struct path *path) {
    CLEANUP(strbuf_deinit) struct strbuf names = STRBUF_EMPTY;
    struct suggestion suggestion = {.word = pair->key};
    for (size_t i = 0; i < section->n_fields; i++) {
        suggestion_offer(&suggestion, section->fields[i].name);
        strbuf_addf(&names, "%s%s", i == 0 ? "" : ", ", section->fields[i].name);
    }
    if (strbuf_error(&names) < 0) {
        binder->diags->failed = true;
    }
    if (suggestion.best) {
        report_error(binder->diags, pair->key_at, path, "unknown key; did you mean \"%s\"?", suggestion.best);
    } else {
        report_error(binder->diags, pair->key_at, path, "unknown key (legal here: %s)", strbuf_str(&names));
    }
}

// The range error of a number or duration.
static void schema_report_range(struct binder *binder, const struct field *field, const struct yaml_node *node,
                                const struct path *path, const char *what) {
    CLEANUP(strbuf_deinit) struct strbuf range = STRBUF_EMPTY;
    schema_add_range(&range, field);
    if (strbuf_error(&range) < 0) {
        binder->diags->failed = true;
    }
    report_error(binder->diags, node->at, path, "%s %s (write %s)", report_quote(binder->diags, node->text).text, what,
                 strbuf_str(&range));
}

static int schema_bind_bool(struct binder *binder, const struct field *field, const struct yaml_node *node,
                            const struct path *path, void *member) {
    bool value;
    (void)field;
    if (!scalar_bool(node->text, &value)) {
        report_error(binder->diags, node->at, path, "%s is not a boolean (write true or false)",
                     report_quote(binder->diags, node->text).text);
        return 0;
    }
    memcpy(member, &value, sizeof(value));
    return 0;
}

static int schema_bind_duration(struct binder *binder, const struct field *field, const struct yaml_node *node,
                                const struct path *path, void *member) {
    usec_t value;
    enum duration_result result = scalar_duration(node->text, &value);
    struct quoted quoted = report_quote(binder->diags, node->text);
    size_t n_digits = strspn(node->text, "0123456789");
    if (result == DURATION_NO_UNIT && node->text[n_digits] == '\0' && n_digits < SCHEMA_MAX_DIGITS) {
        report_error(binder->diags, node->at, path, "%s has no unit (write %ss, %smin, ...)", quoted.text, node->text,
                     node->text);
    } else if (result == DURATION_TOO_LARGE) {
        schema_report_range(binder, field, node, path, "is out of range");
    } else if (result != DURATION_OK) {
        report_error(binder->diags, node->at, path, "%s %s", quoted.text, duration_result_to_string(result));
    } else if (value < field->min || value > field->max) {
        schema_report_range(binder, field, node, path, "is out of range");
    } else {
        memcpy(member, &value, sizeof(value));
    }
    return 0;
}

static int schema_bind_integer(struct binder *binder, const struct field *field, const struct yaml_node *node,
                               const struct path *path, void *member) {
    int64_t value = 0;
    enum integer_result result = INTEGER_OK;
    if (!field->zero || strcmp(node->text, field->zero) != 0) {
        result = scalar_integer(node->text, (int64_t)field->min, (int64_t)field->max, &value);
    }
    switch (result) {
    case INTEGER_OK:
        memcpy(member, &value, sizeof(value));
        break;
    case INTEGER_NOT_A_NUMBER:
        schema_report_range(binder, field, node, path, "is not a whole number");
        break;
    case INTEGER_OUT_OF_RANGE:
        schema_report_range(binder, field, node, path, "is out of range");
        break;
    }
    return 0;
}

static int schema_bind_percent(struct binder *binder, const struct field *field, const struct yaml_node *node,
                               const struct path *path, void *member) {
    int64_t value;
    switch (scalar_percent(node->text, (int64_t)field->min, (int64_t)field->max, &value)) {
    case PERCENT_OK:
        memcpy(member, &value, sizeof(value));
        break;
    case PERCENT_NO_SIGN:
        report_error(binder->diags, node->at, path, "%s has no unit (write %" PRId64 "%%)",
                     report_quote(binder->diags, node->text).text, value);
        break;
    case PERCENT_NOT_WHOLE:
        schema_report_range(binder, field, node, path, "is not a whole percentage");
        break;
    case PERCENT_OUT_OF_RANGE:
        schema_report_range(binder, field, node, path, "is out of range");
        break;
    }
    return 0;
}

bool schema_find_word(struct binder *binder, const struct field *field, const struct yaml_node *node,
                      const struct path *path, unsigned *ret) {
    struct suggestion suggestion = {.word = node->text};
    for (unsigned i = 0; i < field->n_words; i++) {
        const char *word = field->word(i);
        if (word && strcmp(word, node->text) == 0) {
            *ret = i;
            return true;
        }
        if (word) {
            suggestion_offer(&suggestion, word);
        }
    }
    CLEANUP(strbuf_deinit) struct strbuf words = STRBUF_EMPTY;
    schema_add_words(&words, field);
    if (strbuf_error(&words) < 0) {
        binder->diags->failed = true;
    }
    report_error(binder->diags, node->at, path, "%s is unknown%s%s%s (write %s)",
                 report_quote(binder->diags, node->text).text, suggestion.best ? "; did you mean \"" : "",
                 suggestion.best ? suggestion.best : "", suggestion.best ? "\"?" : "", strbuf_str(&words));
    return false;
}

static int schema_bind_enum(struct binder *binder, const struct field *field, const struct yaml_node *node,
                            const struct path *path, void *member) {
    unsigned value;
    if (schema_find_word(binder, field, node, path, &value)) {
        memcpy(member, &value, sizeof(value));
    }
    return 0;
}

static int schema_bind_text(struct binder *binder, const struct field *field, const struct yaml_node *node,
                            const struct path *path, void *member) {
    if (node->text[0] == '\0') {
        report_error(binder->diags, node->at, path, "%s (write %s: %s)",
                     node->expands_to_nothing ? "its variable expands to nothing" : "is empty", field->name,
                     field->example);
        return 0;
    }
    char *copy = strdup(node->text);
    if (!copy) {
        return -ENOMEM;
    }
    memcpy(member, &copy, sizeof(copy));
    return 0;
}

static int schema_bind_section(struct binder *binder, const struct section *section, void *base,
                               const struct yaml_pair *entry, const struct path *path);

static int schema_bind_entry(struct binder *binder, const struct field *field, const struct yaml_pair *entry,
                             const struct path *parent) {
    struct path path = {.parent = parent, .name = entry->key};
    if (!scalar_is_name(entry->key)) {
        report_error(binder->diags, entry->key_at, &path,
                     "not a name (write 1 to %d of A-Z a-z 0-9 _ . -, beginning with a letter, a digit or _)",
                     NAME_MAX_LENGTH);
    }
    if (entry->value->is_bad) {
        return 0;
    }
    if (entry->value->kind != NODE_MAP) {
        struct field as_section = {.name = entry->key, .type = FIELD_SECTION, .section = field->section};
        schema_report_kind(binder, &as_section, entry->value, &path);
        return 0;
    }
    void *base = field->section->open(binder->config, entry->key);
    return base ? schema_bind_section(binder, field->section, base, entry, &path) : -ENOMEM;
}

static int schema_bind_entries(struct binder *binder, const struct field *field, const struct yaml_node *node,
                               const struct path *path) {
    for (size_t i = 0; i < node->n_pairs; i++) {
        int r = schema_bind_entry(binder, field, &node->pairs[i], path);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int schema_bind_map(struct binder *binder, const struct field *field, const struct yaml_pair *pair,
                           const struct path *path, void *member) {
    // A section with all its lines commented out is an empty one.
    if (!pair->value->is_null && pair->value->kind != NODE_MAP) {
        schema_report_kind(binder, field, pair->value, path);
        return 0;
    }
    if (field->type == FIELD_ENTRIES) {
        return schema_bind_entries(binder, field, pair->value, path);
    }
    void *base = field->section->open ? field->section->open(binder->config, field->name) : member;
    return base ? schema_bind_section(binder, field->section, base, pair, path) : -ENOMEM;
}

static int schema_bind_field(struct binder *binder, const struct field *field, void *base, const struct yaml_pair *pair,
                             const struct path *parent) {
    const struct yaml_node *node = pair->value;
    struct path path = {.parent = parent, .name = field->name};
    void *member = (char *)base + field->offset;
    // The others quote what they refuse; a parse() of a secret must not.
    assert(!field->secret || field->type == FIELD_TEXT || field->type == FIELD_CUSTOM);
    if (node->is_bad) {
        return 0;
    }
    if (field->type == FIELD_SECTION || field->type == FIELD_ENTRIES) {
        return schema_bind_map(binder, field, pair, &path, member);
    }
    if (field->type == FIELD_CUSTOM) {
        return field->parse(binder, field, node, &path, member);
    }
    if (node->kind != NODE_SCALAR || node->is_null) {
        schema_report_kind(binder, field, node, &path);
        return 0;
    }
    switch (field->type) {
    case FIELD_BOOL:
        return schema_bind_bool(binder, field, node, &path, member);
    case FIELD_DURATION:
        return schema_bind_duration(binder, field, node, &path, member);
    case FIELD_INTEGER:
        return schema_bind_integer(binder, field, node, &path, member);
    case FIELD_PERCENT:
        return schema_bind_percent(binder, field, node, &path, member);
    case FIELD_ENUM:
        return schema_bind_enum(binder, field, node, &path, member);
    case FIELD_TEXT:
        return schema_bind_text(binder, field, node, &path, member);
    case FIELD_CUSTOM:
    case FIELD_SECTION:
    case FIELD_ENTRIES:
        break;
    }
    return 0;
}

// A key that the file does not hold: its default goes the same way as a written value.
static int schema_bind_absent(struct binder *binder, const struct field *field, void *base,
                              const struct yaml_pair *entry, const struct path *parent) {
    if (field->required && entry->value->is_partial) {
        return 0;
    }
    if (field->required) {
        struct path path = {.parent = parent, .name = field->name};
        CLEANUP(strbuf_deinit) struct strbuf hint = STRBUF_EMPTY;
        schema_add_example(&hint, field);
        if (strbuf_error(&hint) < 0) {
            return -ENOMEM;
        }
        report_error(binder->diags, entry->key_at, &path, "is missing (%s)", strbuf_str(&hint));
        return 0;
    }
    if (!field->fallback && field->type != FIELD_SECTION) {
        return 0;
    }
    CLEANUP(yaml_node_freep)
    struct yaml_node *node = yaml_node_new_text(field->fallback ? field->fallback : "", (struct location){0});
    if (!node) {
        return -ENOMEM;
    }
    node->is_null = field->type == FIELD_SECTION;
    struct yaml_pair pair = {.value = node};
    return schema_bind_field(binder, field, base, &pair, parent);
}

static int schema_bind_section(struct binder *binder, const struct section *section, void *base,
                               const struct yaml_pair *entry, const struct path *path) {
    const struct yaml_node *map = entry->value;
    for (size_t i = 0; i < map->n_pairs; i++) {
        const struct yaml_pair *pair = &map->pairs[i];
        const struct field *field = section_find(section, pair->key);
        int r = 0;
        if (field) {
            r = schema_bind_field(binder, field, base, pair, path);
        } else {
            struct path unknown = {.parent = path, .name = pair->key};
            schema_report_unknown_key(binder, section, pair, &unknown);
        }
        if (r < 0) {
            return r;
        }
    }
    for (size_t i = 0; i < section->n_fields; i++) {
        const struct field *field = &section->fields[i];
        int r = yaml_node_find(map, field->name) ? 0 : schema_bind_absent(binder, field, base, entry, path);
        if (r < 0) {
            return r;
        }
    }
    return section->finish ? section->finish(binder, base, entry, path) : 0;
}

int schema_bind(struct binder *binder, const struct section *root) {
    // A required key missing at the top is missing in the file as a whole.
    struct yaml_node *tree = binder->config->tree;
    struct yaml_pair entry = {.key_at = {.file = tree->at.file}, .value = tree};
    void *base = root->open(binder->config, "");
    return base ? schema_bind_section(binder, root, base, &entry, NULL) : -ENOMEM;
}
