// SPDX-License-Identifier: PostgreSQL
#pragma once

// What a running daemon answered, by key. What is not there, or is something else, reads as nothing: another version
// may have written it. NULL is an object without keys.

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/usec.h"

const char *json_read_text(json_t *object, const char *key); // "": none; borrowed from the object
int64_t json_read_number(json_t *object, const char *key);   // 0: none
bool json_read_flag(json_t *object, const char *key);
usec_t json_read_seconds(json_t *object, const char *key, usec_t fallback);
