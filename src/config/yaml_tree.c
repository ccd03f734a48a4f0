// SPDX-License-Identifier: PostgreSQL

// libyaml's events to nodes. libyaml itself takes duplicate keys, several documents, tags, aliases that multiply,
// 200,000 levels of nesting and NUL bytes in double quotes; its marks count from 0.
//
// Mistakes that leave the structure clear are reported and parsing goes on, so that all are told at once; a syntax
// error or a passed limit ends the file.

#include "yaml_tree.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "report.h"
#include "scalar.h"
#include "util/macro.h"
#include "util/strbuf.h"

struct tree_anchor {
    char *name;
    const struct yaml_node *node; // in the tree, or in `dropped`
};

struct tree_parser {
    yaml_parser_t yaml;
    const struct yaml_input *input;
    struct diag_list *diags;
    struct tree_anchor *anchors;
    size_t n_anchors;
    struct yaml_node *dropped; // refused values: anchors may still point to them
};

static int tree_node(struct tree_parser *p, const yaml_event_t *event, const struct path *path, unsigned depth,
                     struct yaml_node **ret);

static struct location tree_at(const struct tree_parser *p, const yaml_mark_t *mark) {
    return (struct location){
        .file = p->input->file,
        .line = (unsigned)mark->line + 1,
        .column = (unsigned)mark->column + 1,
    };
}

// What people mostly did when libyaml says so.
static const struct {
    const char *problem;
    const char *hint;
} tree_hints[] = {
    {"mapping values are not allowed in this context",
     "indent keys of one map alike, and quote a value that holds \": \""},
    {"could not find expected ':'", "write key: value, with a space behind the colon"},
    {"did not find expected key", "indent keys of one map alike, and close every quote and bracket"},
    {"did not find expected '-' indicator", "indent the items of one list alike"},
    {"did not find expected ',' or '}'", "close the brace, and quote values that hold { } [ ] or a comma"},
    {"did not find expected ',' or ']'", "close the bracket, and quote values that hold { } [ ] or a comma"},
    {"did not find expected alphabetic or numeric character", "quote a value that begins with * or &: \"*\""},
    {"found character that cannot start any token", "quote a value that begins with % @ or `"},
    {"found unknown escape character", "write \\\\ for a backslash between double quotes, or use single quotes"},
    {"found unexpected end of stream", "close the quote"},
    {"block sequence entries are not allowed in this context", "begin the list on a line of its own"},
    {"did not find expected node content", "write a value, or quote the one there"},
    {"did not find expected <document start>", "write key: value, all keys in the same column"},
    {"control characters are not allowed", "remove it, or write it as \\xNN between double quotes"},
};

// A tab before the first word of that line: the one thing that YAML forbids and editors do not show.
static bool tree_has_tab_indent(const struct yaml_input *input, size_t line) {
    const char *p = input->text;
    const char *end = p + input->len;
    for (; line > 0 && p < end; p++) {
        line -= *p == '\n';
    }
    while (p < end && *p == ' ') {
        p++;
    }
    return p < end && *p == '\t';
}

// libyaml gives its reader's errors as a byte offset, without a mark.
static struct location tree_at_offset(const struct yaml_input *input, size_t offset) {
    struct location at = {.file = input->file, .line = 1, .column = 1};
    for (size_t i = 0; i < offset && i < input->len; i++) {
        unsigned char c = (unsigned char)input->text[i];
        if (c == '\n') {
            at.line++;
            at.column = 1;
        } else if ((c & 0xc0) != 0x80) {
            at.column++;
        }
    }
    return at;
}

static int tree_syntax_error(struct tree_parser *p) {
    const yaml_parser_t *yaml = &p->yaml;
    if (yaml->error == YAML_MEMORY_ERROR) {
        return -ENOMEM;
    }
    const char *problem = yaml->problem ? yaml->problem : "not YAML";
    if (yaml->error == YAML_READER_ERROR) {
        bool is_control = strncmp(problem, "control", strlen("control")) == 0;
        report_error(p->diags, tree_at_offset(p->input, yaml->problem_offset), NULL, "%s (%s)",
                     is_control ? "a control character" : "not UTF-8",
                     is_control ? "remove it, or write it as \\xNN between double quotes" : "save the file as UTF-8");
        return -EINVAL;
    }
    const char *hint = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(tree_hints); i++) {
        if (strcmp(problem, tree_hints[i].problem) == 0) {
            hint = tree_hints[i].hint;
        }
    }
    if (tree_has_tab_indent(p->input, yaml->problem_mark.line)) {
        hint = "indent with spaces, not with tabs";
    }
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    strbuf_add(&text, problem);
    // Where the quote, brace or list began: mostly that is the place to look at.
    if (yaml->context && yaml->context_mark.line != yaml->problem_mark.line) {
        strbuf_addf(&text, ", in what begins at line %zu", yaml->context_mark.line + 1);
    }
    if (hint) {
        strbuf_addf(&text, " (%s)", hint);
    }
    if (strbuf_error(&text) < 0) {
        return -ENOMEM;
    }
    report_error(p->diags, tree_at(p, &yaml->problem_mark), NULL, "%s", strbuf_str(&text));
    return -EINVAL;
}

static int tree_next(struct tree_parser *p, yaml_event_t *ret) {
    return yaml_parser_parse(&p->yaml, ret) ? 0 : tree_syntax_error(p);
}

// 0 or -EINVAL, reported.
static int tree_spend(struct tree_parser *p, const yaml_mark_t *mark, size_t n_bytes, unsigned depth) {
    struct yaml_budget *budget = p->input->budget;
    budget->n_nodes++;
    budget->n_bytes += n_bytes;
    if (depth > YAML_MAX_DEPTH) {
        report_error(p->diags, tree_at(p, mark), NULL, "nested deeper than %d levels (write it flatter)",
                     YAML_MAX_DEPTH);
    } else if (budget->n_nodes > YAML_MAX_NODES) {
        report_error(p->diags, tree_at(p, mark), NULL, "more than %u values, aliases expanded (write fewer)",
                     YAML_MAX_NODES);
    } else if (budget->n_bytes > YAML_MAX_TEXT) {
        report_error(p->diags, tree_at(p, mark), NULL,
                     "more than %zu MiB of values, aliases and variables expanded (write less)", YAML_MAX_TEXT >> 20);
    } else {
        return 0;
    }
    return -EINVAL;
}

static int tree_copy(struct tree_parser *p, const struct yaml_node *node, const yaml_mark_t *mark, unsigned depth,
                     struct yaml_node **ret) {
    int r = tree_spend(p, mark, node->text ? strlen(node->text) : 0, depth);
    if (r < 0) {
        return r;
    }
    CLEANUP(yaml_node_freep) struct yaml_node *copy = yaml_node_new(node->kind, node->at);
    if (!copy) {
        return -ENOMEM;
    }
    copy->is_bad = node->is_bad;
    copy->is_partial = node->is_partial;
    copy->is_null = node->is_null;
    copy->expands_to_nothing = node->expands_to_nothing;
    if ((node->text && !(copy->text = strdup(node->text))) || (node->raw && !(copy->raw = strdup(node->raw)))) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < node->n_items; i++) {
        CLEANUP(yaml_node_freep) struct yaml_node *item = NULL;
        r = tree_copy(p, node->items[i], mark, depth + 1, &item);
        if (r < 0 || (r = yaml_node_add_item(copy, &item)) < 0) {
            return r;
        }
    }
    for (size_t i = 0; i < node->n_pairs; i++) {
        const struct yaml_pair *pair = &node->pairs[i];
        CLEANUP(yaml_node_freep) struct yaml_node *value = NULL;
        r = tree_copy(p, pair->value, mark, depth + 1, &value);
        if (r < 0 || (r = yaml_node_add_pair(copy, pair->key, pair->key_at, &value)) < 0) {
            return r;
        }
    }
    *ret = TAKE_PTR(copy);
    return 0;
}

static int tree_alias(struct tree_parser *p, const yaml_event_t *event, const struct path *path, unsigned depth,
                      struct yaml_node **ret) {
    const char *name = (const char *)event->data.alias.anchor;
    // The last one of that name counts, as YAML has it. A node that is still being read is not there yet, so that
    // nothing can contain itself.
    for (size_t i = p->n_anchors; i > 0; i--) {
        if (strcmp(p->anchors[i - 1].name, name) == 0) {
            return tree_copy(p, p->anchors[i - 1].node, &event->start_mark, depth, ret);
        }
    }
    // Not quoted: where quotes were forgotten it is a part of the value, which may be a secret.
    report_error(p->diags, tree_at(p, &event->start_mark), path,
                 "no anchor of that name stands above (a value that begins with * needs quotes: \"*-worker\")");
    CLEANUP(yaml_node_freep) struct yaml_node *node = yaml_node_new_text("", tree_at(p, &event->start_mark));
    if (!node) {
        return -ENOMEM;
    }
    node->is_bad = true;
    *ret = TAKE_PTR(node);
    return 0;
}

static int tree_remember(struct tree_parser *p, const yaml_char_t *name, const struct yaml_node *node) {
    if (!name) {
        return 0;
    }
    struct tree_anchor *anchors = reallocarray(p->anchors, p->n_anchors + 1, sizeof(*anchors));
    if (!anchors) {
        return -ENOMEM;
    }
    p->anchors = anchors;
    char *copy = strdup((const char *)name);
    if (!copy) {
        return -ENOMEM;
    }
    anchors[p->n_anchors++] = (struct tree_anchor){.name = copy, .node = node};
    return 0;
}

// Puts the replaced text into the node; a failed reference is reported, without its surroundings (it may be a secret).
static int tree_expand(struct tree_parser *p, struct yaml_node *node, const struct path *path) {
    struct expansion expansion;
    enum expand_result result =
        scalar_expand(node->text, YAML_MAX_SCALAR, p->input->lookup, p->input->lookup_data, &expansion);
    CLEANUP(freep) char *name = expansion.name;
    switch (result) {
    case EXPAND_OK:
        break;
    case EXPAND_NO_MEMORY:
        return -ENOMEM;
    case EXPAND_UNSET:
        report_error(p->diags, node->at, path, "${%s} is not set (set it, or write ${%s:-default})", name, name);
        break;
    case EXPAND_NOT_UTF8:
        report_error(p->diags, node->at, path, "${%s} holds bytes that are not UTF-8 (set it to UTF-8 text)", name);
        break;
    case EXPAND_UNCLOSED:
        report_error(p->diags, node->at, path, "a \"${\" without \"}\" (write ${NAME}, or $${ for the two characters)");
        break;
    case EXPAND_BAD_NAME:
        report_error(p->diags, node->at, path,
                     "not a variable between \"${\" and \"}\" (write ${NAME} or ${NAME:-default}, or $${ for the two "
                     "characters)");
        break;
    case EXPAND_TOO_LONG:
        report_error(p->diags, node->at, path, "longer than %zu KiB with its variables (write less)",
                     YAML_MAX_SCALAR >> 10);
        break;
    }
    node->is_bad |= result != EXPAND_OK;
    node->expands_to_nothing = expansion.is_empty;
    if (expansion.text) {
        node->raw = TAKE_PTR(node->text);
        node->text = expansion.text;
    }
    return 0;
}

static bool tree_is_null(const yaml_event_t *event, const char *text) {
    return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (text[0] == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0 || strcmp(text, "Null") == 0 ||
            strcmp(text, "NULL") == 0);
}

static int tree_scalar(struct tree_parser *p, const yaml_event_t *event, const struct path *path,
                       struct yaml_node *node) {
    const char *text = (const char *)event->data.scalar.value;
    node->text = strdup(text);
    if (!node->text) {
        return -ENOMEM;
    }
    if (strlen(text) != event->data.scalar.length) {
        report_error(p->diags, node->at, path, "a NUL byte in a value (remove the \\0)");
        node->is_bad = true;
        return 0;
    }
    if (event->data.scalar.length > YAML_MAX_SCALAR) {
        report_error(p->diags, node->at, path, "longer than %zu KiB (write less)", YAML_MAX_SCALAR >> 10);
        node->is_bad = true;
        return 0;
    }
    node->is_null = tree_is_null(event, text);
    size_t before = strlen(text);
    int r = tree_expand(p, node, path);
    if (r < 0) {
        return r;
    }
    size_t after = strlen(node->text);
    p->input->budget->n_bytes += after > before ? after - before : 0;
    return 0;
}

static int tree_list(struct tree_parser *p, const struct path *path, unsigned depth, struct yaml_node *node) {
    for (;;) {
        CLEANUP(yaml_event_delete) yaml_event_t event = {0};
        CLEANUP(yaml_node_freep) struct yaml_node *item = NULL;
        int r = tree_next(p, &event);
        if (r < 0 || event.type == YAML_SEQUENCE_END_EVENT) {
            return r;
        }
        r = tree_node(p, &event, path, depth + 1, &item);
        if (r < 0 || (r = yaml_node_add_item(node, &item)) < 0) {
            return r;
        }
    }
}

// Reads what stands behind a key that was refused, and keeps it for the anchors in it.
static int tree_drop_value(struct tree_parser *p, const struct path *path, unsigned depth) {
    CLEANUP(yaml_event_delete) yaml_event_t event = {0};
    CLEANUP(yaml_node_freep) struct yaml_node *value = NULL;
    int r = tree_next(p, &event);
    if (r < 0 || (r = tree_node(p, &event, path, depth, &value)) < 0) {
        return r;
    }
    return yaml_node_add_item(p->dropped, &value);
}

// True when the event is a key that can stand in this map; otherwise the reason has been reported.
static bool tree_accept_key(struct tree_parser *p, const yaml_event_t *event, const struct path *path,
                            const struct path *key_path, const struct yaml_node *map) {
    struct location at = tree_at(p, &event->start_mark);
    if (event->type != YAML_SCALAR_EVENT) {
        report_error(p->diags, at, path, "a key that is not plain text (write key: value)");
        return false;
    }
    const char *key = key_path->name;
    if (strlen(key) != event->data.scalar.length) {
        report_error(p->diags, at, path, "a NUL byte in a key (remove the \\0)");
        return false;
    }
    if (strcmp(key, "<<") == 0 && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        report_error(p->diags, at, path,
                     "merge keys (<<) are not supported (write the keys out; &name and *name share whole values)");
        return false;
    }
    const struct yaml_pair *first = yaml_node_find(map, key);
    if (first) {
        report_error(p->diags, at, key_path, "defined twice (first at line %u)", first->key_at.line);
        return false;
    }
    return true;
}

static int tree_pair(struct tree_parser *p, const yaml_event_t *key_event, const struct path *path, unsigned depth,
                     struct yaml_node *map) {
    struct path key_path = {.parent = path};
    key_path.name = key_event->type == YAML_SCALAR_EVENT ? (const char *)key_event->data.scalar.value : "";
    bool is_accepted = tree_accept_key(p, key_event, path, &key_path, map);
    struct location key_at = tree_at(p, &key_event->start_mark);

    CLEANUP(yaml_node_freep) struct yaml_node *value = NULL;
    int r = 0;
    map->is_partial |= !is_accepted;
    if (key_event->type != YAML_SCALAR_EVENT) {
        r = tree_node(p, key_event, path, depth + 1, &value);
        if (r < 0 || (r = yaml_node_add_item(p->dropped, &value)) < 0) {
            return r;
        }
        return tree_drop_value(p, path, depth + 1);
    }
    if (!is_accepted) {
        return tree_drop_value(p, &key_path, depth + 1);
    }
    r = tree_spend(p, &key_event->start_mark, key_event->data.scalar.length, depth);
    if (r < 0) {
        return r;
    }
    CLEANUP(yaml_event_delete) yaml_event_t event = {0};
    r = tree_next(p, &event);
    if (r < 0 || (r = tree_node(p, &event, &key_path, depth + 1, &value)) < 0) {
        return r;
    }
    return yaml_node_add_pair(map, key_path.name, key_at, &value);
}

static int tree_map(struct tree_parser *p, const struct path *path, unsigned depth, struct yaml_node *node) {
    for (;;) {
        CLEANUP(yaml_event_delete) yaml_event_t event = {0};
        int r = tree_next(p, &event);
        if (r < 0 || event.type == YAML_MAPPING_END_EVENT) {
            return r;
        }
        r = tree_pair(p, &event, path, depth, node);
        if (r < 0) {
            return r;
        }
    }
}

// A tag ("!!int", or a value that begins with an exclamation mark) is not a part of our files.
static void tree_refuse_tag(struct tree_parser *p, const yaml_char_t *tag, const struct path *path,
                            struct yaml_node *node) {
    if (tag) {
        report_error(p->diags, node->at, path, "tags (!...) are not supported (quote a value that begins with !)");
        node->is_bad = true;
    }
}

static int tree_node(struct tree_parser *p, const yaml_event_t *event, const struct path *path, unsigned depth,
                     struct yaml_node **ret) {
    if (event->type == YAML_ALIAS_EVENT) {
        return tree_alias(p, event, path, depth, ret);
    }
    bool is_scalar = event->type == YAML_SCALAR_EVENT;
    bool is_list = event->type == YAML_SEQUENCE_START_EVENT;
    assert(is_scalar || is_list || event->type == YAML_MAPPING_START_EVENT);
    int r = tree_spend(p, &event->start_mark, is_scalar ? event->data.scalar.length : 0, depth);
    if (r < 0) {
        return r;
    }
    CLEANUP(yaml_node_freep)
    struct yaml_node *node = yaml_node_new(is_scalar ? NODE_SCALAR
                                           : is_list ? NODE_LIST
                                                     : NODE_MAP,
                                           tree_at(p, &event->start_mark));
    if (!node) {
        return -ENOMEM;
    }
    const yaml_char_t *anchor = NULL;
    if (is_scalar) {
        anchor = event->data.scalar.anchor;
        tree_refuse_tag(p, event->data.scalar.tag, path, node);
        r = tree_scalar(p, event, path, node);
    } else if (is_list) {
        anchor = event->data.sequence_start.anchor;
        tree_refuse_tag(p, event->data.sequence_start.tag, path, node);
        r = tree_list(p, path, depth, node);
    } else {
        anchor = event->data.mapping_start.anchor;
        tree_refuse_tag(p, event->data.mapping_start.tag, path, node);
        r = tree_map(p, path, depth, node);
    }
    if (r < 0 || (r = tree_remember(p, anchor, node)) < 0) {
        return r;
    }
    *ret = TAKE_PTR(node);
    return 0;
}

static int tree_document(struct tree_parser *p, struct yaml_node **ret) {
    CLEANUP(yaml_node_freep) struct yaml_node *root = NULL;
    for (;;) {
        CLEANUP(yaml_event_delete) yaml_event_t event = {0};
        int r = tree_next(p, &event);
        if (r < 0) {
            return r;
        }
        if (event.type == YAML_STREAM_END_EVENT) {
            break;
        }
        if (event.type == YAML_DOCUMENT_START_EVENT && root) {
            report_error(p->diags, tree_at(p, &event.start_mark), NULL,
                         "a second document (one file holds one: remove the \"---\" or \"...\")");
            return -EINVAL;
        }
        if (event.type != YAML_STREAM_START_EVENT && event.type != YAML_DOCUMENT_START_EVENT &&
            event.type != YAML_DOCUMENT_END_EVENT) {
            r = tree_node(p, &event, NULL, 1, &root);
            if (r < 0) {
                return r;
            }
        }
    }
    if (!root) {
        root = yaml_node_new_text("", (struct location){.file = p->input->file, .line = 1, .column = 1});
        if (!root) {
            return -ENOMEM;
        }
        root->is_null = true;
    }
    *ret = TAKE_PTR(root);
    return 0;
}

int yaml_tree_parse(const struct yaml_input *input, struct diag_list *diags, struct yaml_node **ret) {
    struct location whole = {.file = input->file};
    if (input->len > YAML_MAX_BYTES) {
        report_error(diags, whole, NULL, "larger than %zu MiB (spread it over conf.d)", YAML_MAX_BYTES >> 20);
        return -EINVAL;
    }
    struct yaml_input bare = *input;
    // libyaml would count the byte order mark as a column.
    if (bare.len >= 3 && memcmp(bare.text, "\xef\xbb\xbf", 3) == 0) {
        bare.text += 3;
        bare.len -= 3;
    }
    struct tree_parser p = {.input = &bare, .diags = diags};
    p.dropped = yaml_node_new(NODE_LIST, whole);
    if (!p.dropped || !yaml_parser_initialize(&p.yaml)) {
        yaml_node_free(p.dropped);
        return -ENOMEM;
    }
    yaml_parser_set_encoding(&p.yaml, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&p.yaml, (const unsigned char *)bare.text, bare.len);

    int r = tree_document(&p, ret);

    for (size_t i = 0; i < p.n_anchors; i++) {
        free(p.anchors[i].name);
    }
    free(p.anchors);
    yaml_node_free(p.dropped);
    yaml_parser_delete(&p.yaml);
    return r;
}

int yaml_tree_value(const struct yaml_input *input, const char *text, const struct path *path, struct diag_list *diags,
                    struct yaml_node **ret) {
    struct tree_parser p = {.input = input, .diags = diags};
    CLEANUP(yaml_node_freep)
    struct yaml_node *node = yaml_node_new_text(text, (struct location){.file = input->file});
    int r = node ? tree_expand(&p, node, path) : -ENOMEM;
    if (r == 0) {
        *ret = TAKE_PTR(node);
    }
    return r;
}
