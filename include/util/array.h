// SPDX-License-Identifier: PostgreSQL
#pragma once

// Growing a plain array. Doubles, so that n appends cost O(n).

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "util/macro.h"

// Makes room for one more item behind `n`; *items may move. 0 or -ENOMEM (the array is as it was).
static inline int array_reserve(void *items, size_t *capacity, size_t n, size_t item_size) {
    void **p = items;

    if (n < *capacity) {
        return 0;
    }
    size_t more = *capacity ? *capacity * 2 : 8;
    void *grown = reallocarray(*p, more, item_size);
    if (!grown) {
        return -ENOMEM;
    }
    *p = grown;
    *capacity = more;
    return 0;
}

#define ARRAY_RESERVE(items, capacity, n) array_reserve(&(items), &(capacity), (n), sizeof(*(items)))
