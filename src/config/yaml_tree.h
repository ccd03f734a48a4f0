// SPDX-License-Identifier: PostgreSQL
#pragma once

// A YAML file as a tree of our own nodes with positions. Everything that libyaml lets pass and we do not want is
// refused here: duplicate and non-scalar keys, several documents, tags, merge keys, NUL bytes, and sizes beyond the
// limits below. ${VAR} is replaced after parsing, so that a value never becomes structure.

#include <stdbool.h>
#include <stddef.h>

#include "config/config.h"
#include "config/diag.h"
#include "report.h"
#include "util/cleanup.h"

#define YAML_MAX_BYTES ((size_t)1 << 20) // of one file
#define YAML_MAX_DEPTH 64
#define YAML_MAX_NODES 20000u              // of all files together, aliases expanded
#define YAML_MAX_TEXT ((size_t)4 << 20)    // bytes of all values together, aliases and variables expanded
#define YAML_MAX_SCALAR ((size_t)64 << 10) // bytes of one value, variables expanded

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct yaml_pair {
    char *key; // as written: no variables are replaced in keys
    struct location key_at;
    struct yaml_node *value;
};

struct yaml_node {
    enum node_kind kind;
    struct location at; // of the value; an alias's nodes keep the position of the anchored text
    bool is_bad;        // reported already: to be passed over in silence
    // NODE_SCALAR
    char *text;              // valid UTF-8, no NUL inside
    char *raw;               // before ${VAR} was replaced; NULL: there was none
    bool is_null;            // no value, ~ or null, unquoted
    bool expands_to_nothing; // a ${VAR} in it is empty
    // NODE_LIST
    struct yaml_node **items;
    size_t n_items;
    // NODE_MAP
    struct yaml_pair *pairs;
    size_t n_pairs;
    bool is_partial; // a key was refused, and reported: what seems to be missing may have stood there
};

struct yaml_node *yaml_node_new(enum node_kind kind, struct location at); // NULL: out of memory
struct yaml_node *yaml_node_new_text(const char *text, struct location at);
struct yaml_node *yaml_node_free(struct yaml_node *node); // NULL-safe, returns NULL
DEFINE_CLEANUP(struct yaml_node *, yaml_node_free)

// Both take *node over and set it to NULL, when they succeed. 0 or -ENOMEM.
int yaml_node_add_item(struct yaml_node *list, struct yaml_node **node);
int yaml_node_add_pair(struct yaml_node *map, const char *key, struct location key_at, struct yaml_node **node);
void yaml_node_remove_pair(struct yaml_node *map, struct yaml_pair *pair);

// NULL: no such key, or no map.
struct yaml_pair *yaml_node_find(const struct yaml_node *map, const char *key);

struct yaml_budget {
    size_t n_nodes;
    size_t n_bytes;
};

struct yaml_input {
    const char *file; // from diag_list_add_file()
    const char *text;
    size_t len;
    config_lookup_fn lookup; // NULL: every variable is unset
    void *lookup_data;
    struct yaml_budget *budget; // used so far, by all files
};

// 0 with *ret set: a tree, though mistakes may have been reported; an empty file gives a null scalar. -EINVAL:
// reported, and there is no tree. -ENOMEM.
int yaml_tree_parse(const struct yaml_input *input, struct diag_list *diags, struct yaml_node **ret);

// A scalar that stands in no file, `text` with its variables replaced by the input's lookup; its place is the input's
// file as a whole. A failed variable is reported and gives a bad node. 0 or -ENOMEM.
int yaml_tree_value(const struct yaml_input *input, const char *text, const struct path *path, struct diag_list *diags,
                    struct yaml_node **ret);
