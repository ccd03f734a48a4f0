// SPDX-License-Identifier: PostgreSQL
#include "json_make.h"

#include <errno.h>
#include <stdlib.h>

#include "util/cleanup.h"
#include "util/escape.h"

#define JSON_DIGITS 15 // what a double holds: seconds to the millisecond, without 7.9809999999999999

void json_unrefp(json_t **value) {
    json_decref(*value);
}

json_t *json_from_strbuf(const struct strbuf *text) {
    return strbuf_error(text) < 0 ? NULL : json_string(strbuf_str(text));
}

json_t *json_text(const char *raw) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    if (!raw) {
        return NULL;
    }
    escape_to_utf8(&text, raw);
    return json_from_strbuf(&text);
}

json_t *json_text_or_null(const char *raw) {
    return raw ? json_text(raw) : json_null();
}

json_t *json_seconds(usec_t age) {
    return age == USEC_INFINITY ? json_null() : json_real((double)(age / USEC_PER_MSEC) / 1000.0);
}

int json_put(json_t *object, const char *key, json_t *value) {
    return json_object_set_new(object, key, value) < 0 ? -ENOMEM : 0;
}

int json_put_all(json_t *object, const struct json_member *members, size_t n) {
    int r = 0;

    for (size_t i = 0; i < n; i++) {
        if (json_put(object, members[i].key, members[i].value) < 0) {
            r = -ENOMEM;
        }
    }
    return r;
}

int json_append_all(json_t *array, const struct json_member *members, size_t n) {
    json_t *object = json_object();
    int r = json_put_all(object, members, n);

    return json_array_append_new(array, object) < 0 ? -ENOMEM : r;
}

int json_write(const json_t *root, bool compact, struct strbuf *sb) {
    // ASCII: no client can put a control sequence of the C1 range or a bidirectional override on somebody's terminal.
    const size_t flags =
        JSON_ENSURE_ASCII | JSON_REAL_PRECISION(JSON_DIGITS) | (compact ? JSON_COMPACT : JSON_INDENT(2));
    CLEANUP(freep) char *text = json_dumps(root, flags);

    if (!text) {
        return -ENOMEM;
    }
    strbuf_add(sb, text);
    strbuf_add_char(sb, '\n');
    return strbuf_error(sb);
}
