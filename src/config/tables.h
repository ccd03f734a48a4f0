// SPDX-License-Identifier: PostgreSQL
#pragma once

// The keys of a pgvigil file, all of them.

#include "schema.h"

extern const struct section tables_root;

// What tables.c's custom rows are read by; see field.parse.
int keys_parse_state(struct binder *binder, const struct field *field, const struct yaml_node *node,
                     const struct path *path, void *member); // struct timeout
int keys_parse_builtin(struct binder *binder, const struct field *field, const struct yaml_node *node,
                       const struct path *path, void *member); // struct protect
int keys_parse_selector(struct binder *binder, const struct field *field, const struct yaml_node *node,
                        const struct path *path, void *member); // struct selector *
int keys_parse_app_selector(struct binder *binder, const struct field *field, const struct yaml_node *node,
                            const struct path *path, void *member); // the same, without `app`

// Both nodes are selectors that certainly match the same sessions (the same strings in any order).
bool keys_is_same_selector(const struct yaml_node *a, const struct yaml_node *b);
