// SPDX-License-Identifier: PostgreSQL

#include "scalar.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/escape.h"
#include "util/macro.h"
#include "util/strbuf.h"

#define SCALAR_MAX_PERCENT_DIGITS 9

static bool scalar_is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool scalar_is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static const struct {
    const char *name;
    usec_t factor;
} duration_units[] = {
    {"d", USEC_PER_DAY},    {"h", USEC_PER_HOUR}, {"min", USEC_PER_MINUTE},
    {"m", USEC_PER_MINUTE}, {"s", USEC_PER_SEC},  {"ms", USEC_PER_MSEC},
};

const char *duration_result_to_string(enum duration_result result) {
    switch (result) {
    case DURATION_OK:
        return "is a duration";
    case DURATION_EMPTY:
        return "is empty (write 10s, 10min, ...)";
    case DURATION_NO_NUMBER:
        return "is not a duration (write 10s, 10min, 1h30min, ...)";
    case DURATION_NEGATIVE:
        return "is negative (write 10s, 10min, ...)";
    case DURATION_FRACTION:
        return "has a fraction (write whole numbers: 1h30min, 500ms, ...)";
    case DURATION_NO_UNIT:
        return "has no unit (write 10s, 10min, ...)";
    case DURATION_BAD_UNIT:
        return "has an unknown unit (write ms, s, min, h or d)";
    case DURATION_BAD_ORDER:
        return "has its units out of order (write the largest first, each once: 1h30min)";
    case DURATION_TOO_LARGE:
        return "is too large to be a time (write 10s, 10min, ...)";
    }
    return "is not a duration";
}

static const char *scalar_skip_blanks(const char *p) {
    while (*p == ' ') {
        p++;
    }
    return p;
}

// One "10min" at *p.
static enum duration_result scalar_duration_part(const char **p, usec_t *ret, usec_t *ret_factor) {
    const char *c = *p;
    if (*c == '-') {
        return DURATION_NEGATIVE;
    }
    if (!scalar_is_digit(*c)) {
        return DURATION_NO_NUMBER;
    }
    usec_t number = 0;
    bool overflow = false;
    for (; scalar_is_digit(*c); c++) {
        usec_t digit = (usec_t)(*c - '0');
        overflow |= number > (USEC_INFINITY - digit) / 10;
        number = overflow ? 0 : number * 10 + digit;
    }
    if (*c == '.' || *c == ',') {
        return DURATION_FRACTION;
    }
    c = scalar_skip_blanks(c);
    size_t len = 0;
    while (c[len] != '\0' && c[len] != ' ' && !scalar_is_digit(c[len])) {
        len++;
    }
    if (len == 0) {
        return DURATION_NO_UNIT;
    }
    for (size_t i = 0; i < ARRAY_SIZE(duration_units); i++) {
        if (strlen(duration_units[i].name) == len && memcmp(duration_units[i].name, c, len) == 0) {
            if (overflow || number > USEC_INFINITY / duration_units[i].factor) {
                return DURATION_TOO_LARGE;
            }
            *ret = number * duration_units[i].factor;
            *ret_factor = duration_units[i].factor;
            *p = c + len;
            return DURATION_OK;
        }
    }
    return DURATION_BAD_UNIT;
}

enum duration_result scalar_duration(const char *text, usec_t *ret) {
    const char *p = scalar_skip_blanks(text);
    if (*p == '\0') {
        return DURATION_EMPTY;
    }
    usec_t sum = 0;
    usec_t last_factor = USEC_INFINITY;
    while (*p != '\0') {
        usec_t part, factor;
        enum duration_result result = scalar_duration_part(&p, &part, &factor);
        if (result != DURATION_OK) {
            return result;
        }
        if (factor >= last_factor) {
            return DURATION_BAD_ORDER;
        }
        last_factor = factor;
        if (part >= USEC_INFINITY - sum) {
            return DURATION_TOO_LARGE;
        }
        sum += part;
        p = scalar_skip_blanks(p);
    }
    *ret = sum;
    return DURATION_OK;
}

int scalar_parse_duration(const char *text, usec_t *ret, const char **ret_why) {
    enum duration_result result = scalar_duration(text, ret);
    if (result != DURATION_OK) {
        *ret_why = duration_result_to_string(result);
        return -EINVAL;
    }
    return 0;
}

bool scalar_bool(const char *text, bool *ret) {
    bool is_true = strcmp(text, "true") == 0;
    if (!is_true && strcmp(text, "false") != 0) {
        return false;
    }
    *ret = is_true;
    return true;
}

enum integer_result scalar_integer(const char *text, int64_t min, int64_t max, int64_t *ret) {
    bool negative = text[0] == '-';
    const char *p = text + negative;
    // A leading zero is octal to some readers and decimal to others.
    if (!scalar_is_digit(*p) || (p[0] == '0' && p[1] != '\0')) {
        return INTEGER_NOT_A_NUMBER;
    }
    int64_t value = 0;
    bool overflow = false;
    for (; scalar_is_digit(*p); p++) {
        int64_t digit = *p - '0';
        overflow |= value > (INT64_MAX - digit) / 10;
        value = overflow ? 0 : value * 10 + digit;
    }
    if (*p != '\0') {
        return INTEGER_NOT_A_NUMBER;
    }
    value = negative ? -value : value;
    if (overflow || value < min || value > max) {
        return INTEGER_OUT_OF_RANGE;
    }
    *ret = value;
    return INTEGER_OK;
}

enum percent_result scalar_percent(const char *text, int64_t min, int64_t max, int64_t *ret) {
    char digits[SCALAR_MAX_PERCENT_DIGITS + 1];
    size_t len = strspn(text, "0123456789");
    bool has_sign = text[len] == '%' && text[len + 1] == '\0';
    if (len == 0 || (text[len] != '\0' && !has_sign)) {
        return PERCENT_NOT_WHOLE;
    }
    if (len > SCALAR_MAX_PERCENT_DIGITS) {
        return PERCENT_OUT_OF_RANGE;
    }
    memcpy(digits, text, len);
    digits[len] = '\0';
    switch (scalar_integer(digits, min, max, ret)) {
    case INTEGER_OK:
        return has_sign ? PERCENT_OK : PERCENT_NO_SIGN;
    case INTEGER_NOT_A_NUMBER:
        return PERCENT_NOT_WHOLE;
    case INTEGER_OUT_OF_RANGE:
        break;
    }
    return PERCENT_OUT_OF_RANGE;
}

bool scalar_is_name(const char *text) {
    size_t len = 0;
    for (; text[len] != '\0'; len++) {
        char c = text[len];
        bool is_word = scalar_is_letter(c) || scalar_is_digit(c) || c == '_';
        if (len == NAME_MAX_LENGTH || !(is_word || (len > 0 && (c == '.' || c == '-')))) {
            return false;
        }
    }
    return len > 0;
}

static size_t scalar_variable_length(const char *p) {
    size_t len = 0;
    while (scalar_is_letter(p[len]) || p[len] == '_' || (len > 0 && scalar_is_digit(p[len]))) {
        len++;
    }
    return len;
}

static bool scalar_is_utf8(const char *text) {
    size_t len = strlen(text);
    for (size_t at = 0; at < len;) {
        unsigned code;
        size_t width = utf8_decode(text + at, len - at, &code);
        if (width == 0) {
            return false;
        }
        at += width;
    }
    return true;
}

// One reference, p behind its "${". *ret_end is set behind its "}".
static enum expand_result scalar_expand_one(const char *p, config_lookup_fn lookup, void *lookup_data,
                                            struct strbuf *out, struct expansion *ret, const char **ret_end) {
    const char *close = strchr(p, '}');
    if (!close) {
        return EXPAND_UNCLOSED;
    }
    size_t len = scalar_variable_length(p);
    const char *fallback = NULL;
    if (strncmp(p + len, ":-", 2) == 0) {
        fallback = p + len + 2;
    }
    // "${A:-${B}}" would end at the first brace: no nesting.
    if (len == 0 || (p + len != close && !fallback) ||
        (fallback && memmem(fallback, (size_t)(close - fallback), "${", 2))) {
        return EXPAND_BAD_NAME;
    }
    CLEANUP(freep) char *name = strndup(p, len);
    if (!name) {
        return EXPAND_NO_MEMORY;
    }
    const char *value = lookup ? lookup(name, lookup_data) : NULL;
    if (value && !scalar_is_utf8(value)) {
        ret->name = TAKE_PTR(name);
        return EXPAND_NOT_UTF8;
    }
    size_t before = out->len;
    if (fallback && (!value || value[0] == '\0')) {
        strbuf_add_bytes(out, fallback, (size_t)(close - fallback));
    } else if (value) {
        strbuf_add(out, value);
    } else {
        ret->name = TAKE_PTR(name);
        return EXPAND_UNSET;
    }
    ret->is_empty |= out->len == before;
    *ret_end = close + 1;
    return EXPAND_OK;
}

enum expand_result scalar_expand(const char *text, size_t max, config_lookup_fn lookup, void *lookup_data,
                                 struct expansion *ret) {
    *ret = (struct expansion){0};
    if (!strstr(text, "${")) {
        return EXPAND_OK;
    }
    CLEANUP(strbuf_deinit) struct strbuf out = STRBUF_EMPTY;
    const char *p = text;
    while (*p != '\0') {
        if (strncmp(p, "$${", 3) == 0) {
            strbuf_add(&out, "${");
            p += 3;
        } else if (strncmp(p, "${", 2) == 0) {
            enum expand_result result = scalar_expand_one(p + 2, lookup, lookup_data, &out, ret, &p);
            if (result != EXPAND_OK) {
                return result;
            }
        } else {
            size_t n = 1 + strcspn(p + 1, "$");
            strbuf_add_bytes(&out, p, n);
            p += n;
        }
        if (out.len > max) {
            return EXPAND_TOO_LONG;
        }
    }
    ret->text = strbuf_take(&out);
    return ret->text ? EXPAND_OK : EXPAND_NO_MEMORY;
}

bool scalar_is_reference(const char *text) {
    if (text[0] == '\0') {
        return false;
    }
    while (*text != '\0') {
        if (strncmp(text, "${", 2) != 0) {
            return false;
        }
        size_t len = scalar_variable_length(text + 2);
        if (len == 0 || text[2 + len] != '}') {
            return false;
        }
        text += 2 + len + 1;
    }
    return true;
}
