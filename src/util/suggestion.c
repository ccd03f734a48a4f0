// SPDX-License-Identifier: PostgreSQL
#include "util/suggestion.h"

#include <stdbool.h>
#include <string.h>

#include "util/macro.h"

// Longer words are no slips of a name.
#define SUGGESTION_MAX_LENGTH 63

// Edits (insert, delete, change, swap of neighbours) from a to b; both at most SUGGESTION_MAX_LENGTH long.
static size_t suggestion_distance(const char *a, size_t n_a, const char *b, size_t n_b) {
    size_t rows[3][SUGGESTION_MAX_LENGTH + 1];
    for (size_t j = 0; j <= n_b; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= n_a; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            size_t best = above[j - 1] + (a[i - 1] != b[j - 1]);
            best = MIN(best, MIN(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                best = MIN(best, above2[j - 2] + 1);
            }
            row[j] = best;
        }
    }
    return rows[n_a % 3][n_b];
}

void suggestion_offer(struct suggestion *suggestion, const char *candidate) {
    size_t n_word = strlen(suggestion->word);
    size_t n_candidate = strlen(candidate);
    if (n_word == 0 || n_candidate == 0 || n_word > SUGGESTION_MAX_LENGTH || n_candidate > SUGGESTION_MAX_LENGTH) {
        return;
    }
    size_t distance = suggestion_distance(suggestion->word, n_word, candidate, n_candidate);
    size_t n_shorter = MIN(n_word, n_candidate);
    // One is the beginning of the other ("maximum" for "max"): near, however long the rest is.
    bool is_prefix = n_shorter >= 3 && memcmp(suggestion->word, candidate, n_shorter) == 0;
    if (!is_prefix && (distance > MAX(n_word / 3, (size_t)1) || distance >= n_shorter)) {
        return;
    }
    if (!suggestion->best || distance < suggestion->best_distance) {
        suggestion->best = candidate;
        suggestion->best_distance = distance;
    }
}

const char *suggestion_of(const char *word, const char *const *names, size_t n_names) {
    struct suggestion suggestion = {.word = word};

    for (size_t i = 0; i < n_names; i++) {
        suggestion_offer(&suggestion, names[i]);
    }
    return suggestion.best;
}
