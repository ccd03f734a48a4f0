// SPDX-License-Identifier: PostgreSQL
#pragma once

// Decisions that were handed out and whose outcome is not settled: each ends in exactly one final outcome (P6). They
// belong to the target: a reconnect, a new policy or a restarted server does not forget them.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/decision.h"
#include "core/event.h"
#include "core/policy.h"
#include "snapshot.h"

enum pending_state {
    PENDING_ACT,        // handed out; waits for the answer to the guarded statement. -> any other, or settled
    PENDING_DYING,      // signalled; waits to be seen gone. -> LINGERING after 10 s, or settled
    PENDING_LINGERING,  // reported as such; settled when it goes, forgotten when it may be signalled again
    PENDING_CANCELLING, // signalled; waits to see the query end. Settled after 10 s at the latest
    PENDING_UNKNOWN,    // may have been sent before the connection broke. -> DYING or CANCELLING after the reconnect
};

struct pending {
    enum pending_state state;
    struct decision decision; // strings belong to `strings`
    char *strings;
    struct policy *policy;  // keeps the rule's name
    bool unsure;            // it is not known whether the signal was ever sent
    usec_t signalled_at;    // our clock; of the loss when unsure
    uint64_t lingers_since; // the engine's step that reported it as lingering
    usec_t verify_at;       // when to look next; USEC_INFINITY: the polls will do
    usec_t verify_gap;
};

struct pending_list {
    struct pending **items;
    size_t n_items;
    size_t capacity;
};

void pending_list_deinit(struct pending_list *list);
// A copy of the decision with strings of its own and a reference to the policy. 0 or -ENOMEM.
int pending_list_add(struct pending_list *list, const struct decision *decision, struct policy *policy,
                     struct pending **ret);
struct pending *pending_list_find(const struct pending_list *list, uint64_t serial);
void pending_list_remove(struct pending_list *list, size_t at); // keeps the order; does not free
struct pending *pending_free(struct pending *pending);

// The event that tells of it, with the whole identity.
struct event pending_event(const struct pending *pending, enum event_kind kind, const char *target,
                           enum outcome outcome);

void pending_signalled(struct pending *pending, usec_t now);

// What the latest scan says of it. OUTCOME_NONE: not settled yet.
struct pending_verdict {
    enum outcome outcome;
    bool settled; // nothing more will come of it: to be removed
    bool release; // the session is still there and may be judged again
};
struct pending_verdict pending_look(struct pending *pending, const struct snapshot *snapshot, bool full, usec_t now);
