// SPDX-License-Identifier: PostgreSQL

// The effective configuration as YAML. Walks the merged tree by the tables, so that what is printed is what was bound.

#include <string.h>

#include "config/config.h"
#include "scalar.h"
#include "tables.h"
#include "util/escape.h"
#include "util/macro.h"
#include "util/strbuf.h"
#include "yaml_tree.h"

#define PRINT_INDENT 2

static void print_section(struct strbuf *sb, const struct section *section, const struct yaml_node *map,
                          unsigned depth);

static void print_indent(struct strbuf *sb, unsigned depth) {
    for (unsigned i = 0; i < depth * PRINT_INDENT; i++) {
        strbuf_add_char(sb, ' ');
    }
}

// True when the text reads back as itself without quotes, between braces too.
static bool print_is_plain(const char *text) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/";
    size_t len = strlen(text);
    if (len == 0 || !strchr(letters, text[0]) || text[len - 1] == ' ' || strcasecmp(text, "null") == 0) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!strchr(letters, text[i]) && !strchr(" .-()", text[i])) {
            return false;
        }
    }
    return true;
}

// One character between double quotes, as YAML escapes it.
static void print_character(struct strbuf *sb, const char *s, size_t width, unsigned code) {
    CLEANUP(strbuf_deinit) struct strbuf shown = STRBUF_EMPTY;
    escape_text_bytes(&shown, s, width);
    if (strbuf_error(&shown) < 0) {
        sb->failed = true;
    }
    bool is_safe = shown.len == width && memcmp(strbuf_str(&shown), s, width) == 0;
    if (code == '"' || code == '\\') {
        strbuf_addf(sb, "\\%c", (char)code);
    } else if (is_safe && code != 0xfffe && code != 0xffff) {
        strbuf_add_bytes(sb, s, width);
    } else if (code <= 0xff) {
        strbuf_addf(sb, "\\x%02x", code);
    } else if (code <= 0xffff) {
        strbuf_addf(sb, "\\u%04x", code);
    } else {
        strbuf_addf(sb, "\\U%08x", code);
    }
}

// `is_raw`: the text is as the file has it, with its ${VAR}; otherwise a "${" in it is literal.
static void print_text(struct strbuf *sb, const char *text, bool is_raw) {
    if (print_is_plain(text)) {
        strbuf_add(sb, text);
        return;
    }
    size_t len = strlen(text);
    strbuf_add_char(sb, '"');
    for (size_t at = 0; at < len;) {
        unsigned code = 0;
        size_t width = utf8_decode(text + at, len - at, &code);
        if (width == 0) {
            break; // the tree holds UTF-8 only
        }
        if (!is_raw && strncmp(text + at, "${", 2) == 0) {
            strbuf_add_char(sb, '$');
        }
        print_character(sb, text + at, width, code);
        at += width;
    }
    strbuf_add_char(sb, '"');
}

// Any value on one line.
static void print_flow(struct strbuf *sb, const struct yaml_node *node) {
    switch (node->kind) {
    case NODE_SCALAR:
        print_text(sb, node->text, false);
        break;
    case NODE_LIST:
        strbuf_add_char(sb, '[');
        for (size_t i = 0; i < node->n_items; i++) {
            strbuf_add(sb, i == 0 ? "" : ", ");
            print_flow(sb, node->items[i]);
        }
        strbuf_add_char(sb, ']');
        break;
    case NODE_MAP:
        strbuf_add_char(sb, '{');
        for (size_t i = 0; i < node->n_pairs; i++) {
            strbuf_add(sb, i == 0 ? "" : ", ");
            print_text(sb, node->pairs[i].key, true);
            strbuf_add(sb, ": ");
            print_flow(sb, node->pairs[i].value);
        }
        strbuf_add_char(sb, '}');
        break;
    }
}

static void print_place(struct strbuf *sb, const struct location *at) {
    escape_text(sb, at->file ? at->file : "");
    if (at->line > 0) {
        strbuf_addf(sb, ":%u", at->line);
    }
}

static void print_comment(struct strbuf *sb, const struct location *at) {
    strbuf_add(sb, " # ");
    print_place(sb, at);
    strbuf_add_char(sb, '\n');
}

// Values that may come from several places get a line each: the items of a list of maps, the pairs of a joined map.
static void print_custom(struct strbuf *sb, const struct field *field, const struct yaml_node *node, unsigned depth) {
    if (node->kind == NODE_LIST && node->n_items > 0 && node->items[0]->kind == NODE_MAP) {
        strbuf_add_char(sb, '\n');
        for (size_t i = 0; i < node->n_items; i++) {
            print_indent(sb, depth + 1);
            strbuf_add(sb, "- ");
            print_flow(sb, node->items[i]);
            print_comment(sb, &node->items[i]->at);
        }
        return;
    }
    if (node->kind == NODE_MAP && field->merge == MERGE_BY_KEY) {
        strbuf_add_char(sb, '\n');
        for (size_t i = 0; i < node->n_pairs; i++) {
            print_indent(sb, depth + 1);
            print_text(sb, node->pairs[i].key, true);
            strbuf_add(sb, ": ");
            print_flow(sb, node->pairs[i].value);
            print_comment(sb, &node->pairs[i].value->at);
        }
        return;
    }
    strbuf_add_char(sb, ' ');
    print_flow(sb, node);
    print_comment(sb, &node->at);
}

static void print_secret(struct strbuf *sb, const struct yaml_node *node) {
    strbuf_add_char(sb, ' ');
    if (node->raw && scalar_is_reference(node->raw)) {
        print_text(sb, node->raw, true);
    } else {
        strbuf_add(sb, "(set)");
    }
    print_comment(sb, &node->at);
}

// The names are none.
static void print_secret_map(struct strbuf *sb, const struct yaml_node *map, unsigned depth) {
    strbuf_add_char(sb, '\n');
    for (size_t i = 0; i < map->n_pairs; i++) {
        print_indent(sb, depth + 1);
        print_text(sb, map->pairs[i].key, true);
        strbuf_add_char(sb, ':');
        print_secret(sb, map->pairs[i].value);
    }
}

static void print_entries(struct strbuf *sb, const struct field *field, const struct yaml_node *map, unsigned depth) {
    size_t n = map ? map->n_pairs : 0;
    strbuf_add(sb, n == 0 ? " {} # none\n" : "\n");
    for (size_t i = 0; i < n; i++) {
        print_indent(sb, depth + 1);
        print_text(sb, map->pairs[i].key, true);
        strbuf_addf(sb, ": # %zu of %zu, ", i + 1, n);
        print_place(sb, &map->pairs[i].key_at);
        strbuf_add_char(sb, '\n');
        print_section(sb, field->section, map->pairs[i].value, depth + 2);
    }
}

static void print_builtin_names(struct strbuf *sb, unsigned depth) {
    print_indent(sb, depth);
    strbuf_add(sb, "# built-in names:");
    for (size_t i = 0; protect_builtin_names[i]; i++) {
        strbuf_addf(sb, "%s %s", i == 0 ? "" : ",", protect_builtin_names[i]);
    }
    strbuf_add_char(sb, '\n');
}

// `map`: where the field stands, or would.
static void print_field(struct strbuf *sb, const struct field *field, const struct yaml_node *map, unsigned depth) {
    const struct yaml_pair *pair = yaml_node_find(map, field->name);
    const struct yaml_node *node = pair ? pair->value : NULL;
    bool is_map = field->type == FIELD_SECTION || field->type == FIELD_ENTRIES;
    print_indent(sb, depth);
    // An empty `when:` would be a mistake: what has no defaults is a comment.
    bool has_nothing = !node && (is_map ? field->type == FIELD_SECTION && !section_has_defaults(field->section)
                                        : !field->fallback && !field->derive);
    if (has_nothing) {
        strbuf_addf(sb, "# %s is not set: %s\n", field->name, field->help);
        return;
    }
    strbuf_addf(sb, "%s:", field->name);
    if (field->type == FIELD_ENTRIES) {
        print_entries(sb, field, node, depth);
    } else if (field->type == FIELD_SECTION) {
        strbuf_add_char(sb, '\n');
        print_section(sb, field->section, node, depth + 1);
    } else if (!node) {
        strbuf_add_char(sb, ' ');
        if (field->derive) {
            field->derive(map, sb);
        } else {
            strbuf_add(sb, field->fallback);
        }
        strbuf_add(sb, " # default\n");
    } else if (field->secret && node->kind == NODE_MAP) {
        print_secret_map(sb, node, depth);
    } else if (field->secret) {
        print_secret(sb, node);
    } else {
        print_custom(sb, field, node, depth);
    }
    if (field->parse == keys_parse_builtin) {
        print_builtin_names(sb, depth);
    }
}

static void print_section(struct strbuf *sb, const struct section *section, const struct yaml_node *map,
                          unsigned depth) {
    for (size_t i = 0; i < section->n_fields; i++) {
        print_field(sb, &section->fields[i], map, depth);
    }
}

struct location config_locate(const struct config *config, const char *section, const char *name, const char *key) {
    const char *const path[] = {section, name, key};
    const struct yaml_node *node = config->tree;
    struct location at = node->at;

    for (size_t i = 0; i < ARRAY_SIZE(path) && path[i]; i++) {
        const struct yaml_pair *pair = yaml_node_find(node, path[i]);
        if (!pair) {
            break;
        }
        // Values that fill lines of their own begin in some other place than people look for.
        at = pair->value->kind == NODE_SCALAR ? pair->value->at : pair->key_at;
        node = pair->value;
    }
    return at;
}

int config_print(const struct config *config, struct strbuf *sb) {
    print_section(sb, &tables_root, config->tree, 0);
    return strbuf_error(sb);
}
