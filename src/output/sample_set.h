// SPDX-License-Identifier: PostgreSQL
#pragma once

// The samples of one metric. No two with the same labels leave it: names that differ may look alike once they have been
// made fit to be shown, and one sample given twice spoils a whole scrape.

#include <stddef.h>
#include <stdint.h>

#include "util/strbuf.h"

enum sample_merge { SAMPLE_SUM, SAMPLE_MAX };

struct sample_set {
    struct strbuf text; // the labels of all
    struct sample {
        size_t at;
        size_t len;
        int64_t value;
    } * items;
    size_t n_items;
    size_t capacity;
    bool failed; // no memory
};

#define SAMPLE_MAX_LABELS 5
struct sample_label {
    const char *name;
    const char *value; // raw; NULL: ""
};

void sample_set_deinit(struct sample_set *set); // also for CLEANUP()
void sample_set_clear(struct sample_set *set);

// Failures stick, and show in the end.
void sample_add(struct sample_set *set, const struct sample_label *labels, size_t n_labels, int64_t value);

// Appends `name="value",...`, values made fit: backslash, quotation mark and newline escaped, what is no UTF-8, no
// printable character or could hide another replaced.
void sample_add_labels(struct strbuf *sb, const struct sample_label *labels, size_t n_labels);

// Sorted by labels, equal ones merged. 0 or -ENOMEM.
int sample_set_finish(struct sample_set *set, enum sample_merge merge);
