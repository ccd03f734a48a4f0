// SPDX-License-Identifier: PostgreSQL
#include "json_read.h"

#define JSON_READ_MAX_SECONDS 1e12 // what is longer is no time of ours, and does not fit

const char *json_read_text(json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

int64_t json_read_number(json_t *object, const char *key) {
    return json_integer_value(json_object_get(object, key));
}

bool json_read_flag(json_t *object, const char *key) {
    return json_is_true(json_object_get(object, key));
}

usec_t json_read_seconds(json_t *object, const char *key, usec_t fallback) {
    json_t *value = json_object_get(object, key);
    double seconds = json_number_value(value);
    bool fits = json_is_number(value) && seconds >= 0 && seconds < JSON_READ_MAX_SECONDS;
    return fits ? (usec_t)(seconds * (double)USEC_PER_SEC) : fallback;
}
