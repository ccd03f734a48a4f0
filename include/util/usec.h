// SPDX-License-Identifier: PostgreSQL
#pragma once

// Time as unsigned microseconds: durations, and absolute times of the monotonic clock. Times of a PostgreSQL server
// are something else: int64_t microseconds since 2000-01-01 UTC, see core/session.h.

#include <stdint.h>

struct strbuf;

typedef uint64_t usec_t;

#define USEC_INFINITY UINT64_MAX
#define USEC_PER_MSEC UINT64_C(1000)
#define USEC_PER_SEC UINT64_C(1000000)
#define USEC_PER_MINUTE (60 * USEC_PER_SEC)
#define USEC_PER_HOUR (60 * USEC_PER_MINUTE)
#define USEC_PER_DAY (24 * USEC_PER_HOUR)

// Saturates at USEC_INFINITY; infinity plus anything is infinity.
usec_t usec_add(usec_t a, usec_t b);

// 0 when b is later than a; infinity minus anything finite is infinity.
usec_t usec_sub(usec_t a, usec_t b);

// Appends a duration as people read it in a log line: "0.2s" below 10 s, whole seconds above ("912s").
void usec_render(struct strbuf *sb, usec_t duration);

// Appends a duration as the configuration writes it and exactly: "1h30min", "500ms", "0s".
void usec_render_exact(struct strbuf *sb, usec_t duration);
