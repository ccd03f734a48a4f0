// SPDX-License-Identifier: PostgreSQL
#include "json_tree.h"

#include <errno.h>
#include <string.h>

#include "text.h"
#include "util/cleanup.h"
#include "util/escape.h"
#include "util/strbuf.h"

#define JSON_TREE_DIGITS 15 // what a double holds: seconds to the millisecond, without 7.9809999999999999

void json_tree_init(struct json_tree *tree) {
    *tree = (struct json_tree){.root = json_object()};
    tree->failed = !tree->root;
}

void json_tree_deinit(struct json_tree *tree) {
    json_decref(tree->root);
    *tree = (struct json_tree){0};
}

void json_tree_put(struct json_tree *tree, json_t *object, const char *key, json_t *value) {
    tree->failed |= json_object_set_new(object, key, value) < 0;
}

void json_tree_append(struct json_tree *tree, json_t *array, json_t *value) {
    tree->failed |= json_array_append_new(array, value) < 0;
}

json_t *json_tree_put_object(struct json_tree *tree, json_t *object, const char *key) {
    json_tree_put(tree, object, key, json_object());
    return json_object_get(object, key);
}

json_t *json_tree_put_array(struct json_tree *tree, json_t *object, const char *key) {
    json_tree_put(tree, object, key, json_array());
    return json_object_get(object, key);
}

json_t *json_tree_append_object(struct json_tree *tree, json_t *array) {
    size_t n = json_array_size(array);
    json_tree_append(tree, array, json_object());
    return json_array_get(array, n);
}

void json_tree_put_text(struct json_tree *tree, json_t *object, const char *key, const char *raw) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    if (!raw) {
        json_tree_put(tree, object, key, json_null());
        return;
    }
    escape_to_utf8(&text, raw);
    json_tree_put(tree, object, key, strbuf_error(&text) < 0 ? NULL : json_string(strbuf_str(&text)));
}

void json_tree_put_bool(struct json_tree *tree, json_t *object, const char *key, bool value) {
    json_tree_put(tree, object, key, json_boolean(value));
}

void json_tree_put_number(struct json_tree *tree, json_t *object, const char *key, int64_t value) {
    json_tree_put(tree, object, key, json_integer(value));
}

void json_tree_put_seconds(struct json_tree *tree, json_t *object, const char *key, usec_t duration) {
    json_tree_put(tree, object, key, json_real((double)(duration / USEC_PER_MSEC) / 1000.0));
}

void json_tree_put_time(struct json_tree *tree, json_t *object, const char *key, usec_t realtime) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    if (realtime == 0) {
        json_tree_put(tree, object, key, json_null());
        return;
    }
    text_add_time(&text, realtime);
    json_tree_put(tree, object, key, strbuf_error(&text) < 0 ? NULL : json_string(strbuf_str(&text)));
}

// DEL is the one control character that jansson leaves as it is. It can stand within strings only.
static int json_tree_add_bytes(const char *bytes, size_t n, void *userdata) {
    struct strbuf *sb = userdata;
    for (const char *end = bytes + n; bytes < end;) {
        const char *del = memchr(bytes, 0x7f, (size_t)(end - bytes));
        strbuf_add_bytes(sb, bytes, (size_t)((del ? del : end) - bytes));
        if (!del) {
            break;
        }
        strbuf_add(sb, "\\u007f");
        bytes = del + 1;
    }
    return 0;
}

int json_tree_write(const json_t *value, struct strbuf *sb) {
    const size_t flags = JSON_COMPACT | JSON_ENSURE_ASCII | JSON_REAL_PRECISION(JSON_TREE_DIGITS);
    if (json_dump_callback(value, json_tree_add_bytes, sb, flags) < 0) {
        return -ENOMEM;
    }
    return strbuf_error(sb);
}
