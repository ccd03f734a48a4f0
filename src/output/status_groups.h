// SPDX-License-Identifier: PostgreSQL
#pragma once

// The groups of a summary, bounded, and summed up by app.

#include "core/summary.h"

// The sessions of one app.
struct status_app {
    const char *name; // label: the app's name, or the quoted application_name
    bool is_app;
    int64_t n_sessions;
    int64_t n_active;
    int64_t n_idle;
    int64_t n_idle_in_transaction; // aborted ones too
    usec_t longest_idle;           // USEC_INFINITY: none is idle
};

// Both: most sessions first; what is beyond `max` is folded into "other" behind them, for groups one of each state.
// free() *ret. 0 or -ENOMEM.
int status_count_apps(const struct summary *summary, size_t max, struct status_app **ret, size_t *ret_n);
int status_fold_groups(const struct summary *summary, size_t max, struct summary_group **ret, size_t *ret_n);
