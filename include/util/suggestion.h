// SPDX-License-Identifier: PostgreSQL
#pragma once

// "did you mean": of the words offered, the one nearest to what was written.

#include <stddef.h>

// Finds the name nearest to `word` among those offered. best is NULL when none is near enough to be a slip.
struct suggestion {
    const char *word;
    const char *best; // borrowed from the one who offered it
    size_t best_distance;
};
void suggestion_offer(struct suggestion *suggestion, const char *candidate);

// The nearest of a list, or NULL.
const char *suggestion_of(const char *word, const char *const *names, size_t n_names);
