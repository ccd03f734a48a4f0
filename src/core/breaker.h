// SPDX-License-Identifier: PostgreSQL
#pragma once

// Ending sessions does not help when their clients come straight back. Per rule and group: a round is what
// the rule ended in one burst; it counts when nearly all of it was replaced soon by sessions of the same origins. After
// some rounds in a row the breaker trips and the rule pauses for that group. Belongs to the target: rules are known by
// their names, so that a reload changes nothing.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/policy.h"
#include "origin.h"
#include "snapshot.h"

#define BREAKER_BURST (5 * USEC_PER_SEC)     // what a rule ends within this is one round
#define BREAKER_REPLACED (30 * USEC_PER_SEC) // who comes within this after it replaces its victims
#define BREAKER_MIN_VICTIMS 3                // fewer say nothing
#define BREAKER_PERCENT 80                   // of the victims replaced: the round counts
#define BREAKER_MAX_PAUSE USEC_PER_HOUR      // pauses double up to here
#define BREAKER_QUIET (10 * USEC_PER_MINUTE) // without a round that counts: the next pause is a short one again
#define BREAKER_MAX 64                       // rules and groups watched at once
#define BREAKER_MAX_ORIGINS 32               // of one round; victims of others do not count

struct breaker {
    char *rule;
    char *group;
    // The round at hand. n_victims is 0: none. While it waits for its verdict, no other one begins.
    usec_t opened_at;
    usec_t last_at; // its latest victim
    int64_t n_victims;
    struct breaker_origin {
        struct origin *origin; // held
        int64_t n_victims;
        uint64_t arrived_before;
    } origins[BREAKER_MAX_ORIGINS];
    size_t n_origins;

    int64_t n_in_a_row; // rounds that count
    int64_t ended;      // of the latest of them
    int64_t replaced;
    usec_t counted_at;  // when the latest round counted, or the pause ended
    unsigned n_doubled; // how often the next pause has doubled
    usec_t pause;
    bool tripped;
    usec_t paused_until;
    bool told; // tripped, as was said last
    uint64_t told_in;
};

struct breakers {
    struct breaker *items[BREAKER_MAX];
    size_t n_items;
};

void breakers_deinit(struct breakers *breakers, struct origin_table *origins);

// The rule ended a session of the origin. 0 or -ENOMEM.
int breakers_add_victim(struct breakers *breakers, struct origin_table *origins, const char *rule,
                        struct origin *origin, usec_t now);
// After a full scan: verdicts on rounds, pauses that begin and end. What differs from `told` is to be said.
void breakers_judge(struct breakers *breakers, struct snapshot *snapshot, const struct limits *limits, usec_t now);
// Who comes now says nothing of earlier victims: another server, or we did not look for long.
void breakers_forget_rounds(struct breakers *breakers, struct origin_table *origins);

bool breakers_is_tripped(const struct breakers *breakers, const char *rule, const char *group);
