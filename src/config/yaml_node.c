// SPDX-License-Identifier: PostgreSQL

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "yaml_tree.h"

struct yaml_node *yaml_node_new(enum node_kind kind, struct location at) {
    struct yaml_node *node = calloc(1, sizeof(*node));
    if (node) {
        node->kind = kind;
        node->at = at;
    }
    return node;
}

struct yaml_node *yaml_node_new_text(const char *text, struct location at) {
    CLEANUP(yaml_node_freep) struct yaml_node *node = yaml_node_new(NODE_SCALAR, at);
    if (!node || !(node->text = strdup(text))) {
        return NULL;
    }
    return TAKE_PTR(node);
}

// Recursion: the depth is bounded by YAML_MAX_DEPTH.
struct yaml_node *yaml_node_free(struct yaml_node *node) {
    if (!node) {
        return NULL;
    }
    for (size_t i = 0; i < node->n_items; i++) {
        yaml_node_free(node->items[i]);
    }
    for (size_t i = 0; i < node->n_pairs; i++) {
        free(node->pairs[i].key);
        yaml_node_free(node->pairs[i].value);
    }
    free(node->items);
    free(node->pairs);
    free(node->text);
    free(node->raw);
    free(node);
    return NULL;
}

// Room for one more of `size` bytes: doubles whenever n is a power of two.
static void *yaml_node_grow(void *array, size_t n, size_t size) {
    if ((n & (n - 1)) != 0) {
        return array;
    }
    return reallocarray(array, n == 0 ? 1 : 2 * n, size);
}

int yaml_node_add_item(struct yaml_node *list, struct yaml_node **node) {
    struct yaml_node **items = yaml_node_grow(list->items, list->n_items, sizeof(*items));
    if (!items) {
        return -ENOMEM;
    }
    list->items = items;
    items[list->n_items++] = TAKE_PTR(*node);
    return 0;
}

int yaml_node_add_pair(struct yaml_node *map, const char *key, struct location key_at, struct yaml_node **node) {
    struct yaml_pair *pairs = yaml_node_grow(map->pairs, map->n_pairs, sizeof(*pairs));
    if (!pairs) {
        return -ENOMEM;
    }
    map->pairs = pairs;
    char *copy = strdup(key);
    if (!copy) {
        return -ENOMEM;
    }
    pairs[map->n_pairs++] = (struct yaml_pair){.key = copy, .key_at = key_at, .value = TAKE_PTR(*node)};
    return 0;
}

void yaml_node_remove_pair(struct yaml_node *map, struct yaml_pair *pair) {
    free(pair->key);
    yaml_node_free(pair->value);
    size_t n_behind = map->n_pairs - (size_t)(pair - map->pairs) - 1;
    memmove(pair, pair + 1, n_behind * sizeof(*pair));
    map->n_pairs--;
}

struct yaml_pair *yaml_node_find(const struct yaml_node *map, const char *key) {
    for (size_t i = 0; map && i < map->n_pairs; i++) {
        if (strcmp(map->pairs[i].key, key) == 0) {
            return &map->pairs[i];
        }
    }
    return NULL;
}
