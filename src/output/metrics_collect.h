// SPDX-License-Identifier: PostgreSQL
#pragma once

// What each metric says, as samples.

#include "output/view.h"
#include "sample_set.h"

// One metric. Samples of a metric in seconds are microseconds, those of a ratio are millionths.
struct metrics_family {
    const char *name; // as the text format has it: counters end in _total
    const char *help;
    enum metrics_type { METRICS_GAUGE, METRICS_COUNTER, METRICS_HISTOGRAM, METRICS_INFO } type;
    const char *unit; // "seconds", "bytes", "ratio"; NULL: none. The name (without _total) ends in it
    enum sample_merge merge;
    void (*collect)(const struct view *view, struct sample_set *set);
    // Histograms have this one instead: the i-th of them and its target. false: there are no more.
    bool (*histogram)(const struct view *view, size_t i, const char **ret_target, const struct histogram **ret);
};
extern const struct metrics_family metrics_families[];
extern const size_t metrics_n_families;
