// SPDX-License-Identifier: PostgreSQL
#pragma once

// One scalar's text to a value. No positions, no diagnostics: the caller words the finding.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "util/usec.h"

struct strbuf;

enum duration_result {
    DURATION_OK,
    DURATION_EMPTY,
    DURATION_NO_NUMBER, // not a duration at all
    DURATION_NEGATIVE,
    DURATION_FRACTION,
    DURATION_NO_UNIT,
    DURATION_BAD_UNIT,
    DURATION_BAD_ORDER, // units must fall, each at most once
    DURATION_TOO_LARGE,
};

// "10min", "10m", "1h30min", "500ms", "2d"; blanks may stand between the parts, as PostgreSQL allows them.
enum duration_result scalar_duration(const char *text, usec_t *ret);
const char *duration_result_to_string(enum duration_result result); // what is wrong (what to write)

bool scalar_bool(const char *text, bool *ret); // "true" and "false" alone

enum integer_result { INTEGER_OK, INTEGER_NOT_A_NUMBER, INTEGER_OUT_OF_RANGE };
enum integer_result scalar_integer(const char *text, int64_t min, int64_t max, int64_t *ret); // decimal digits alone

enum percent_result { PERCENT_OK, PERCENT_NOT_WHOLE, PERCENT_NO_SIGN, PERCENT_OUT_OF_RANGE };
// "80%": a whole number and the sign. NO_SIGN: the number alone; *ret is set, too.
enum percent_result scalar_percent(const char *text, int64_t min, int64_t max, int64_t *ret);

// Names of apps, rules and targets: 1 to NAME_MAX_LENGTH of A-Z a-z 0-9 _ . -, beginning with a letter, a digit or _.
#define NAME_MAX_LENGTH 63
bool scalar_is_name(const char *text);

// Replaces ${VAR} and ${VAR:-default} (the default stands in for an unset and for an empty variable, as in a shell).
// "$${" is a literal "${"; any other dollar stands for itself, so that regular expressions and passwords need no care.
enum expand_result {
    EXPAND_OK,
    EXPAND_UNSET, // *ret_name is the variable; no other result sets it
    EXPAND_UNCLOSED,
    EXPAND_BAD_NAME,
    EXPAND_NOT_UTF8, // *ret_name is the variable, too
    EXPAND_TOO_LONG,
    EXPAND_NO_MEMORY,
};
struct expansion {
    char *text;    // owned by the caller; NULL: there was nothing to replace
    char *name;    // owned by the caller; with UNSET and NOT_UTF8
    bool is_empty; // one of the references gave the empty string
};
enum expand_result scalar_expand(const char *text, size_t max, config_lookup_fn lookup, void *lookup_data,
                                 struct expansion *ret);
// True when the text is references without defaults and nothing else: it shows no secret.
bool scalar_is_reference(const char *text);
