// SPDX-License-Identifier: PostgreSQL
#pragma once

// A growing string. Failure to allocate is sticky: later appends do nothing, and strbuf_error() tells at the end, so
// that callers check once. The content is always NUL-terminated; it may hold NUL bytes of its own.

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/macro.h"

struct strbuf {
    char *data; // owned; NULL while nothing was added
    size_t len;
    size_t capacity;
    bool failed;
};

#define STRBUF_EMPTY ((struct strbuf){0})

void strbuf_deinit(struct strbuf *sb); // also for CLEANUP(); leaves an empty buffer
void strbuf_clear(struct strbuf *sb);  // forgets content and failure, keeps the memory

void strbuf_add(struct strbuf *sb, const char *s);
void strbuf_add_bytes(struct strbuf *sb, const void *bytes, size_t n);
void strbuf_add_char(struct strbuf *sb, char c);
void strbuf_addf(struct strbuf *sb, const char *format, ...) PRINTF_LIKE(2, 3);
void strbuf_vaddf(struct strbuf *sb, const char *format, va_list ap) PRINTF_LIKE(2, 0);

// The content; "" while empty. Borrowed until the next change.
const char *strbuf_str(const struct strbuf *sb);

// 0 or -ENOMEM.
int strbuf_error(const struct strbuf *sb) MUST_CHECK;

// Hands the string over (free() it) and empties the buffer; NULL when an append had failed.
char *strbuf_take(struct strbuf *sb) MUST_CHECK;
