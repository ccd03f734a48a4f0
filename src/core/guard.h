// SPDX-License-Identifier: PostgreSQL
#pragma once

// What stands between a rule and a session: protections, the floor that `keep` sets, and the budgets.

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
        size_t rule;   // by its place in the policy; GUARD_NO_RULE: one that is no more
        bool pressure; // spent under pressure_per_minute
    } * minute;        // the last 60 s, oldest first
    size_t n_minute;
    size_t n_pressure; // of them, under pressure_per_minute
    size_t capacity;
};

#define GUARD_NO_RULE SIZE_MAX

void budget_deinit(struct budget *budget);
void budget_new_poll(struct budget *budget);
void budget_forget_old(struct budget *budget, usec_t now); // before any of the next three
bool budget_has_room(const struct budget *budget, const struct limits *limits, bool pressure);
int64_t budget_spent_by(const struct budget *budget, size_t rule); // within the minute
int budget_spend(struct budget *budget, uint64_t serial, size_t rule, bool pressure, usec_t now);
void budget_move_rules(struct budget *budget, const size_t *to); // rule i is now to[i]
// What was decided did not end anything after all (spared, not sent).
void budget_refund(struct budget *budget, uint64_t serial);

// How many sessions a rule covered, up to a minute ago.
#define COVERED_SAMPLES_APART (5 * USEC_PER_SEC)
#define COVERED_MAX_SAMPLES 14 // a minute of them, one older, the newest
#define SHARE_EXEMPT_BELOW 4   // a percentage of so few says nothing
struct covered {
    struct covered_sample {
        usec_t at;
        int64_t n;
    } samples[COVERED_MAX_SAMPLES]; // oldest first; the first may be older than a minute, the second may not
    size_t n_samples;
};

void covered_add(struct covered *covered, int64_t n, usec_t now);
// How many of those covered a minute ago may be ended within a minute; LIMIT_NONE: as many as there are.
int64_t covered_share(const struct covered *covered, int64_t percent);

// Whether the session is never to be touched now (P4), whatever the rule says.
bool guard_is_protected(const struct snapshot *snapshot, const struct protect *protect, const struct session *session);

// The same without min_age, which passes by itself: sessions that this covers never come due.
bool guard_is_protected_for_good(const struct snapshot *snapshot, const struct protect *protect,
                                 const struct session *session);

// Counts the living sessions of each group and origin, for both passes. All of them together.
int64_t guard_count_groups(struct snapshot *snapshot);
