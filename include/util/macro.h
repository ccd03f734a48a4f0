// SPDX-License-Identifier: PostgreSQL
#pragma once

// Small macros that every layer uses. GNU extensions live here and in util/cleanup.h only.

#include <stddef.h>
#include <stdint.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

// fmt and args are 1-based parameter numbers, as the compiler counts them.
#define PRINTF_LIKE(fmt, args) __attribute__((__format__(__printf__, fmt, args)))
#define MUST_CHECK __attribute__((__warn_unused_result__))

// Number of the lowest bit set; bits is not 0.
static inline unsigned bit_lowest(uint64_t bits) {
    return (unsigned)__builtin_ctzll(bits);
}
