// SPDX-License-Identifier: PostgreSQL
#pragma once

// JSON documents put together with jansson. Values are made and handed over at once, and jansson takes NULL (no memory)
// and a NULL object for a failure; so failures stick in the tree, and are asked for in the end.

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/usec.h"

struct strbuf;

struct json_tree {
    json_t *root; // owned
    bool failed;
};

void json_tree_init(struct json_tree *tree);   // an object
void json_tree_deinit(struct json_tree *tree); // also for CLEANUP()

// Each takes the value over.
void json_tree_put(struct json_tree *tree, json_t *object, const char *key, json_t *value);
void json_tree_append(struct json_tree *tree, json_t *array, json_t *value);

// A new one, borrowed: an object or an array within another.
json_t *json_tree_put_object(struct json_tree *tree, json_t *object, const char *key);
json_t *json_tree_put_array(struct json_tree *tree, json_t *object, const char *key);
json_t *json_tree_append_object(struct json_tree *tree, json_t *array);

void json_tree_put_text(struct json_tree *tree, json_t *object, const char *key, const char *raw); // NULL: null
void json_tree_put_bool(struct json_tree *tree, json_t *object, const char *key, bool value);
void json_tree_put_number(struct json_tree *tree, json_t *object, const char *key, int64_t value);
void json_tree_put_seconds(struct json_tree *tree, json_t *object, const char *key, usec_t duration); // to the ms
void json_tree_put_time(struct json_tree *tree, json_t *object, const char *key, usec_t realtime);    // 0: null

// Appends it in one line, in ASCII: what hides or reorders text on a terminal (C1 controls, bidirectional marks) is
// escaped with the rest. 0 or -ENOMEM.
int json_tree_write(const json_t *value, struct strbuf *sb);
