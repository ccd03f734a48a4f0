// SPDX-License-Identifier: PostgreSQL
#pragma once

// The rule family `quotas`: how many connections each group holds, which groups hold too many, and whom to evict first.
// Judged on full scans alone: between them nobody knows how many there are.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/policy.h"
#include "hash.h"
#include "snapshot.h"
#include "timeout.h"

#define QUOTA_MAX_OVER 1000 // groups of one quota over it at once; the worst ones, others wait

// A group that is over its quota, remembered for as long as it is.
struct quota_group {
    char *key; // tells it from every other
    size_t n_key;
    char *label; // printable; NULL: the quota has this group only
    usec_t over_since;
    uint64_t seen;       // generation of the latest scan that found it over
    uint64_t told_log;   // the engine's step that reported it; 0: none
    uint64_t told_unmet; // the step that said that it cannot be met
    UT_hash_handle hh;
};

// One group of the scan at hand.
struct quota_slot {
    struct origin *origin; // one of its origins
    int64_t held;
    size_t place; // in `over`; SIZE_MAX: not over
};

struct quota_over {
    size_t slot;
    int64_t held;
    struct quota_group *group;
    size_t first; // its candidates
    size_t n;
};

// Reused from quota to quota.
struct quota_count {
    struct quota_slot *slots;
    size_t n_slots;
    size_t slots_capacity;
    size_t *buckets; // of a hash table: slot + 1, 0: none
    size_t n_buckets;
    struct quota_over *over; // largest excess first
    size_t n_over;
    size_t over_capacity;
};
void quota_count_deinit(struct quota_count *count);

int64_t quota_allowed(const struct quota *quota, const struct server_facts *facts);

// Who holds how many, as that pass of that step of the engine sees it, and which groups are over. `rule` is the quota's
// place among all rules. The groups' memory (the head of a hash) is made and dropped by the acting pass; what the
// shadow pass finds over without the acting one having done so is none of its business. 0 or -ENOMEM.
int quota_find_over(struct quota_count *count, const struct snapshot *snapshot, size_t rule, enum pass pass,
                    uint64_t step, struct quota_group **memory, usec_t now);

// Sessions of the groups over that are in a state that may be evicted for long enough and that nothing holds, group by
// group in the order in which they are to go. 0 or -ENOMEM. Protections are not asked.
int quota_find(struct quota_count *count, const struct snapshot *snapshot, size_t rule, enum pass pass, uint64_t step,
               usec_t now, struct candidate_list *list);

void quota_groups_free(struct quota_group **memory);
void quota_groups_restart(struct quota_group *memory, usec_t now); // over since now
