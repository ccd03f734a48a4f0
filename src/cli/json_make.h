// SPDX-License-Identifier: PostgreSQL
#pragma once

// JSON documents of commands. Values are made and handed over at once; jansson takes NULL (no memory) and a NULL object
// for a failure, so that each caller only has to pass its result on.

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/macro.h"
#include "util/strbuf.h"
#include "util/usec.h"

struct json_member {
    const char *key;
    json_t *value; // a new reference; NULL: no memory
};

void json_unrefp(json_t **value); // for CLEANUP()

json_t *json_text(const char *raw);         // NULL stays NULL: no memory
json_t *json_text_or_null(const char *raw); // NULL is JSON's null
json_t *json_seconds(usec_t age);           // USEC_INFINITY is null
json_t *json_from_strbuf(const struct strbuf *text);

// 0 or -ENOMEM; they take the values over either way.
int json_put(json_t *object, const char *key, json_t *value) MUST_CHECK;
int json_put_all(json_t *object, const struct json_member *members, size_t n) MUST_CHECK;
int json_append_all(json_t *array, const struct json_member *members, size_t n) MUST_CHECK; // as a new object

// Appends the document and a newline, ASCII only; in one line if `compact`. 0 or -ENOMEM.
int json_write(const json_t *root, bool compact, struct strbuf *sb) MUST_CHECK;
