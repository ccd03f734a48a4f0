// SPDX-License-Identifier: PostgreSQL
#pragma once

// Runs targets to their first verdict and gives the answer back: for report, reap and check --connect. The
// connections are held between rounds, so that watching takes one slot and not one login for each look. SIGINT and
// SIGTERM end it cleanly.

#include <stdbool.h>
#include <stddef.h>

#include "core/compare.h"
#include "core/event.h"
#include "core/summary.h"
#include "daemon/settings.h"
#include "pg/error.h"

struct oneshot;

struct oneshot_options {
    const struct settings *settings; // outlives the oneshot
    const char *target;              // NULL: all of them
    struct policy *policy;           // the rules to apply, a reference is taken
    bool enforce;   // carry decisions out if the policy enforces, whatever the targets' own `enforce` says,
                    // and let rounds wait until their outcomes are settled (bounded)
    bool compare;   // the configuration with what the server shows
    usec_t timeout; // for the verdict of each; USEC_INFINITY: connect_timeout + query_timeout of the target
};

struct oneshot_verdict {
    const char *target; // name; borrowed from the settings
    size_t index;       // of the target in the settings
    bool ok;
    struct pg_error error;        // when !ok
    struct summary summary;       // when ok: as of the round's first poll
    const struct event *findings; // of the self-check, when ok; borrowed until the next round
    size_t n_findings;
    struct comparison comparison;  // when ok, and asked for
    struct pg_error compare_error; // why it is empty; kind NONE: it is not
};

struct oneshot_result {
    struct oneshot_verdict *verdicts; // in the order of the settings
    size_t n_verdicts;
};
void oneshot_result_deinit(struct oneshot_result *result); // also for CLEANUP()

// Events (decisions, outcomes, findings) are handed to `fn` as they come, during rounds, waits and the end; false: it
// could not tell it. With `enforce` they are also recorded in the journal if there is one. What neither takes is not
// carried out. 0 or -errno. The target must exist.
int oneshot_new(const struct oneshot_options *options, bool (*fn)(void *userdata, const struct event *event),
                void *userdata, struct oneshot **ret);
// What was sent and not settled is settled as unverified first. NULL-safe, returns NULL.
struct oneshot *oneshot_free(struct oneshot *oneshot);
DEFINE_CLEANUP(struct oneshot *, oneshot_free)

// Polls each target once and waits for the verdicts; targets that fail are verdicts, not failures of the call. 0,
// -EINTR after a signal, or another -errno.
int oneshot_round(struct oneshot *oneshot, struct oneshot_result *ret);

// Lets that much time pass with the connections held. 0, -EINTR after a signal, or another -errno.
int oneshot_wait(struct oneshot *oneshot, usec_t duration);

// Makes the running round return -EINTR, as a signal does. For `fn`.
void oneshot_interrupt(struct oneshot *oneshot);
