// SPDX-License-Identifier: PostgreSQL
#pragma once

// The rule family `timeouts`: which sessions have stayed in a state too long, and who will have next.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/policy.h"
#include "snapshot.h"

// A session over a rule's limit, before the guard.
struct candidate {
    size_t rule; // its place among the policy's timeouts; quotas follow them
    struct session *session;
    usec_t age;
    enum session_time time; // what the rule measured
    // Of quotas: which group, which of the states to evict, and the order within; see quota.h.
    size_t place;
    size_t rank;
    int64_t order;
};

struct candidate_list {
    struct candidate *items;
    size_t n_items;
    size_t capacity;
};

// Every (rule, session) over the limit among the sessions that the current scan brought and that nothing holds, in the
// order of decisions: by rule, then age (longest first), then pid. Rules whose bit is set in `asleep` do not speak now.
// 0 or -ENOMEM. The list is reused.
int timeout_find(const struct snapshot *snapshot, const uint64_t *asleep, usec_t now, struct candidate_list *list);

// When the session will be over the limit of some rule at the earliest, on our monotonic clock; USEC_INFINITY: never as
// it stands, or it was over when it was last read and what held it back then decides. Rules with `when` never set one:
// what they ask besides is known on full scans alone.
usec_t timeout_due_at(const struct snapshot *snapshot, const struct session *session);

bool timeout_has_when(const struct timeout *timeout);

// The rule cancelled the session's query, which still runs: it is to be ended with its session now (`then`).
bool timeout_escalates(const struct session *session, size_t rule, usec_t now);

// What tells one would-be decision of a rule from its next: once for each session, and where queries are cancelled, for
// each query.
int64_t timeout_observed_as(const struct timeout *timeout, const struct session *session);
