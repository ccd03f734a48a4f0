// SPDX-License-Identifier: PostgreSQL
#pragma once

// The counters of rules, put in order once, as each rule of each target looks for its own among those of all.

#include <stddef.h>

#include "core/tally.h"

struct status_totals {
    const struct tally_series **items[N_TALLY_FAMILIES_]; // owned; those that have counted, by target and rule
    size_t n_items[N_TALLY_FAMILIES_];
};

int status_totals_init(struct status_totals *totals, const struct tally *tally); // 0 or -ENOMEM
void status_totals_deinit(struct status_totals *totals);

// Of a family whose first labels are target and rule: those of one rule, in the order of their first appearance.
const struct tally_series *const *status_totals_of(const struct status_totals *totals, enum tally_family family,
                                                   const char *target, const char *rule, size_t *ret_n);
