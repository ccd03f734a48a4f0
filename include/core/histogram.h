// SPDX-License-Identifier: PostgreSQL
#pragma once

// How often a duration fell between which bounds.

#include <stddef.h>
#include <stdint.h>

#include "util/usec.h"

#define HISTOGRAM_N_BOUNDS 14

// Upper bounds, inclusive, ascending.
struct histogram_bounds {
    usec_t at[HISTOGRAM_N_BOUNDS];
};
extern const struct histogram_bounds histogram_of_polls;  // 0.5 ms to 15 s
extern const struct histogram_bounds histogram_of_deaths; // 5 ms to 1 min

struct histogram {
    const struct histogram_bounds *bounds;   // NULL: nothing can be added yet
    uint64_t counts[HISTOGRAM_N_BOUNDS + 1]; // each on its own, not summed up; the last: beyond the last bound
    uint64_t count;
    usec_t sum;
};

void histogram_add(struct histogram *histogram, usec_t duration);
