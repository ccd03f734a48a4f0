// SPDX-License-Identifier: PostgreSQL
#pragma once

// From the engine's tables to a summary by value.

#include "alarm.h"
#include "core/summary.h"
#include "snapshot.h"

struct rule_counts {
    int64_t n_matches;
    int64_t n_held[N_HELD_REASONS_];
    int64_t n_decided; // grows for as long as the policy stays
};

void rule_counts_new_poll(struct rule_counts *counts); // what is counted poll by poll starts at 0

// Everything but what the engine alone knows of the rules. 0 or -ENOMEM.
int summarize(const struct snapshot *snapshot, const struct alarms *alarms, struct summary *ret);
void summary_rule_set_counts(struct summary_rule *rule, const struct rule_counts *counts);
