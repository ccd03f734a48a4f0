// SPDX-License-Identifier: PostgreSQL
#include "util/strbuf.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STRBUF_FIRST_CAPACITY 64

void strbuf_deinit(struct strbuf *sb) {
    free(sb->data);
    *sb = STRBUF_EMPTY;
}

void strbuf_clear(struct strbuf *sb) {
    sb->len = 0;
    sb->failed = false;
    if (sb->data) {
        sb->data[0] = '\0';
    }
}

// Makes room for n more bytes and the NUL behind them.
static bool strbuf_reserve(struct strbuf *sb, size_t n) {
    if (sb->failed) {
        return false;
    }
    if (n < sb->capacity - sb->len) {
        return true;
    }
    if (n > SIZE_MAX / 4 - sb->len) {
        sb->failed = true;
        return false;
    }
    size_t capacity = MAX(sb->capacity, (size_t)STRBUF_FIRST_CAPACITY);
    while (capacity - sb->len <= n) {
        capacity *= 2;
    }
    char *data = realloc(sb->data, capacity);
    if (!data) {
        sb->failed = true;
        return false;
    }
    sb->data = data;
    sb->capacity = capacity;
    return true;
}

void strbuf_add_bytes(struct strbuf *sb, const void *bytes, size_t n) {
    if (!strbuf_reserve(sb, n)) {
        return;
    }
    if (n > 0) {
        memcpy(sb->data + sb->len, bytes, n);
    }
    sb->len += n;
    sb->data[sb->len] = '\0';
}

void strbuf_add(struct strbuf *sb, const char *s) {
    strbuf_add_bytes(sb, s, strlen(s));
}

void strbuf_add_char(struct strbuf *sb, char c) {
    strbuf_add_bytes(sb, &c, 1);
}

void strbuf_vaddf(struct strbuf *sb, const char *format, va_list ap) {
    if (!strbuf_reserve(sb, 0)) {
        return;
    }
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(sb->data + sb->len, sb->capacity - sb->len, format, ap);
    if (n >= 0 && (size_t)n >= sb->capacity - sb->len && strbuf_reserve(sb, (size_t)n)) {
        n = vsnprintf(sb->data + sb->len, sb->capacity - sb->len, format, again);
    }
    va_end(again);
    if (n < 0) {
        sb->failed = true;
    }
    if (sb->failed) {
        sb->data[sb->len] = '\0'; // a cut attempt may stand there
        return;
    }
    sb->len += (size_t)n;
}

void strbuf_addf(struct strbuf *sb, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    strbuf_vaddf(sb, format, ap);
    va_end(ap);
}

const char *strbuf_str(const struct strbuf *sb) {
    return sb->data ? sb->data : "";
}

int strbuf_error(const struct strbuf *sb) {
    return sb->failed ? -ENOMEM : 0;
}

char *strbuf_take(struct strbuf *sb) {
    char *s = NULL;
    if (strbuf_reserve(sb, 0)) {
        sb->data[sb->len] = '\0';
        s = sb->data;
        sb->data = NULL;
    }
    strbuf_deinit(sb);
    return s;
}
