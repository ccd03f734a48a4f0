// SPDX-License-Identifier: PostgreSQL
//
// Whom a rule may name, as a number: for a command that asks a daemon whether it goes by the same file. FNV-1a (G.
// Fowler, L. C. Noll, K.-P. Vo) over what is written, so that one thing that is written in two ways counts as two.
#include "scope.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "yaml_tree.h"

#define SCOPE_START UINT64_C(14695981039346656037)
#define SCOPE_PRIME UINT64_C(1099511628211)

static void scope_add_bytes(uint64_t *scope, const char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        *scope = (*scope ^ (unsigned char)bytes[i]) * SCOPE_PRIME;
    }
}

// With its NUL, so that two texts do not read as one.
static void scope_add_text(uint64_t *scope, const char *text) {
    scope_add_bytes(scope, text, strlen(text) + 1);
}

static void scope_add_node(uint64_t *scope, const struct yaml_node *node) {
    static const char *const kinds[] = {[NODE_SCALAR] = "scalar", [NODE_LIST] = "list", [NODE_MAP] = "map"};

    scope_add_text(scope, node->kind == NODE_SCALAR && node->is_null ? "null" : kinds[node->kind]);
    scope_add_text(scope, node->kind == NODE_SCALAR && node->text ? node->text : "");
    for (size_t i = 0; i < node->n_items; i++) {
        scope_add_node(scope, node->items[i]);
    }
    for (size_t i = 0; i < node->n_pairs; i++) {
        scope_add_text(scope, node->pairs[i].key);
        scope_add_node(scope, node->pairs[i].value);
    }
    scope_add_text(scope, "end");
}

void scope_of(const struct config *config, char ret[static CONFIG_SCOPE_SIZE]) {
    const struct yaml_pair *apps = config->tree ? yaml_node_find(config->tree, "apps") : NULL;
    const struct yaml_pair *protect = config->tree ? yaml_node_find(config->tree, "protect") : NULL;
    uint64_t scope = SCOPE_START;

    // In the order that decides which of them a session is of.
    for (size_t i = 0; apps && i < config->policy->n_apps; i++) {
        const struct yaml_pair *app = yaml_node_find(apps->value, config->policy->apps[i].name);
        if (app) {
            scope_add_text(&scope, app->key);
            scope_add_node(&scope, app->value);
        }
    }
    scope_add_text(&scope, "protect");
    if (protect) {
        scope_add_node(&scope, protect->value);
    }
    (void)snprintf(ret, CONFIG_SCOPE_SIZE, "%016" PRIx64, scope);
}
