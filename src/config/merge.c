// SPDX-License-Identifier: PostgreSQL

#include "merge.h"

#include <errno.h>
#include <string.h>

#include "util/macro.h"
#include "util/suggestion.h"

static int merge_section(struct diag_list *diags, const struct section *section, struct yaml_node *base,
                         struct yaml_node *over, const struct path *path);

static int merge_append(struct yaml_node *base, struct yaml_pair *over) {
    return yaml_node_add_pair(base, over->key, over->key_at, &over->value);
}

static void merge_replace(struct yaml_pair *base, struct yaml_pair *over) {
    yaml_node_free(base->value);
    base->value = TAKE_PTR(over->value);
    base->key_at = over->key_at;
}

static bool merge_is_empty(const struct yaml_node *node) {
    return node->is_null || (node->kind != NODE_SCALAR && node->n_items + node->n_pairs == 0);
}

// A map that says something, be it one level below.
static bool merge_says_something(const struct yaml_node *map) {
    for (size_t i = 0; i < map->n_pairs; i++) {
        if (!merge_is_empty(map->pairs[i].value)) {
            return true;
        }
    }
    return false;
}

// Who writes null over a whole section may believe that his rules are gone.
static void merge_report_null(struct diag_list *diags, const struct field *field, const struct yaml_node *null,
                              const struct path *path) {
    if (field->type == FIELD_ENTRIES) {
        report_warning(diags, null->at, path,
                       "null removes nothing, as entries are removed by name: those of earlier files stay (write NAME: "
                       "null below it, for each)");
    } else {
        report_warning(diags, null->at, path,
                       "null removes nothing, as values are replaced by name: those of earlier files stay (write KEY: "
                       "VALUE below it, for each)");
    }
}

// Makes *value the list of what it was and what `over` holds. Anything empty among the two replaces instead, and is
// refused later: an empty selector is a mistake at its own position.
static int merge_grow(struct yaml_pair *base, struct yaml_pair *over) {
    if (merge_is_empty(base->value)) {
        return 0;
    }
    if (merge_is_empty(over->value)) {
        merge_replace(base, over);
        return 0;
    }
    if (base->value->kind != NODE_LIST) {
        CLEANUP(yaml_node_freep) struct yaml_node *list = yaml_node_new(NODE_LIST, base->value->at);
        if (!list || yaml_node_add_item(list, &base->value) < 0) {
            return -ENOMEM;
        }
        base->value = TAKE_PTR(list);
    }
    if (over->value->kind != NODE_LIST) {
        return yaml_node_add_item(base->value, &over->value);
    }
    base->value->is_bad |= over->value->is_bad;
    for (size_t i = 0; i < over->value->n_items; i++) {
        // The item is NULL in `over` from here on.
        int r = yaml_node_add_item(base->value, &over->value->items[i]);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int merge_by_key(struct yaml_node *base, struct yaml_node *over) {
    for (size_t i = 0; i < over->n_pairs; i++) {
        struct yaml_pair *there = yaml_node_find(base, over->pairs[i].key);
        if (there) {
            merge_replace(there, &over->pairs[i]);
        } else if (merge_append(base, &over->pairs[i]) < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

static int merge_entries(struct diag_list *diags, const struct section *section, struct yaml_pair *entries,
                         struct yaml_node *over, const struct path *parent) {
    struct yaml_node *base = entries->value;
    int r = 0;
    for (size_t i = 0; i < over->n_pairs && r == 0; i++) {
        struct yaml_pair *pair = &over->pairs[i];
        struct path path = {.parent = parent, .name = pair->key};
        struct yaml_pair *there = yaml_node_find(base, pair->key);
        if (pair->value->is_null && there) {
            yaml_node_remove_pair(base, there);
            if (base->n_pairs == 0) {
                entries->key_at = pair->key_at; // who misses them looks here
            }
        } else if (pair->value->is_null) {
            struct suggestion suggestion = {.word = pair->key};
            for (size_t j = 0; j < base->n_pairs; j++) {
                suggestion_offer(&suggestion, base->pairs[j].key);
            }
            report_warning(
                diags, pair->key_at, &path, "null removes nothing, as no such entry stands in earlier files%s%s%s",
                suggestion.best ? "; did you mean " : "",
                suggestion.best ? report_quote(diags, suggestion.best).text : "", suggestion.best ? "?" : "");
        } else if (there && there->value->kind == NODE_MAP && pair->value->kind == NODE_MAP) {
            there->value->is_partial |= pair->value->is_partial;
            r = merge_section(diags, section, there->value, pair->value, &path);
        } else if (there) {
            merge_replace(there, pair);
        } else {
            r = merge_append(base, pair);
        }
    }
    return r;
}

static int merge_map(struct diag_list *diags, const struct field *field, struct yaml_pair *base, struct yaml_pair *over,
                     const struct path *path) {
    if (over->value->is_null) {
        if (merge_says_something(base->value)) {
            merge_report_null(diags, field, over->value, path);
        }
        return 0;
    }
    if (base->value->is_null) {
        struct yaml_node *empty = yaml_node_new(NODE_MAP, over->value->at);
        if (!empty) {
            return -ENOMEM;
        }
        yaml_node_free(base->value);
        base->value = empty;
    }
    if (base->value->kind != NODE_MAP || over->value->kind != NODE_MAP) {
        merge_replace(base, over);
        return 0;
    }
    base->value->is_bad |= over->value->is_bad;
    base->value->is_partial |= over->value->is_partial;
    return field->type == FIELD_ENTRIES ? merge_entries(diags, field->section, base, over->value, path)
                                        : merge_section(diags, field->section, base->value, over->value, path);
}

static int merge_section(struct diag_list *diags, const struct section *section, struct yaml_node *base,
                         struct yaml_node *over, const struct path *parent) {
    int r = 0;
    for (size_t i = 0; i < over->n_pairs && r == 0; i++) {
        struct yaml_pair *pair = &over->pairs[i];
        struct path path = {.parent = parent, .name = pair->key};
        struct yaml_pair *there = yaml_node_find(base, pair->key);
        const struct field *field = section_find(section, pair->key);
        bool is_map = field && (field->type == FIELD_SECTION || field->type == FIELD_ENTRIES);
        if (is_map && !there) {
            // As if it stood there empty, so that its null entries are looked at, too.
            CLEANUP(yaml_node_freep) struct yaml_node *null = yaml_node_new_text("", pair->value->at);
            if (!null) {
                return -ENOMEM;
            }
            null->is_null = true;
            r = yaml_node_add_pair(base, pair->key, pair->key_at, &null);
            if (r < 0) {
                return r;
            }
            there = yaml_node_find(base, pair->key);
        }
        if (!there) {
            r = merge_append(base, pair);
        } else if (is_map) {
            r = merge_map(diags, field, there, pair, &path);
        } else if (field && field->merge == MERGE_GROW) {
            r = merge_grow(there, pair);
        } else if (field && field->merge == MERGE_BY_KEY && there->value->kind == NODE_MAP &&
                   pair->value->kind == NODE_MAP) {
            r = merge_by_key(there->value, pair->value);
        } else {
            merge_replace(there, pair);
        }
    }
    return r;
}

int config_merge(struct diag_list *diags, const struct section *root, struct yaml_node *base, struct yaml_node *over) {
    return merge_section(diags, root, base, over, NULL);
}
