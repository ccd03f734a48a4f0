// SPDX-License-Identifier: PostgreSQL
#pragma once

// What stands between a rule and a session: protections, the floor that `keep` sets, and the budgets (DESIGN 4.3).

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/decision.h"
#include "core/policy.h"
#include "snapshot.h"

// What has been spent lately. Belongs to the target: survives reconnect and a change of policy.
struct budget {
    int64_t this_poll; // since the last full scan; looks in between share it
    uint64_t poll;     // number of that scan
    struct budget_entry {
        usec_t at;
        uint64_t serial;
        uint64_t poll;
    } * minute; // the last 60 s, oldest first
    size_t n_minute;
    size_t capacity;
};

void budget_deinit(struct budget *budget);
void budget_new_poll(struct budget *budget);
bool budget_has_room(struct budget *budget, const struct limits *limits, usec_t now);
int budget_spend(struct budget *budget, uint64_t serial, usec_t now);
// What was decided did not end anything after all (spared, not sent).
void budget_refund(struct budget *budget, uint64_t serial);

// Whether the session is never to be touched now (P4), whatever the rule says.
bool guard_is_protected(const struct snapshot *snapshot, const struct protect *protect, const struct session *session);

// The same without min_age, which passes by itself: sessions that this covers never come due.
bool guard_is_protected_for_good(const struct snapshot *snapshot, const struct protect *protect,
                                 const struct session *session);

// Counts the living sessions of each group, for both passes.
void guard_count_groups(struct snapshot *snapshot);
