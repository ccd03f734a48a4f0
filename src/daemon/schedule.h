// SPDX-License-Identifier: PostgreSQL
#pragma once

// When a target does things, and which failures are worth an event. Pure: `now` and random numbers are handed in.

#include <stdbool.h>
#include <stdint.h>

#include "pg/error.h"
#include "util/usec.h"

// Ticks are multiples of the interval on the monotonic clock, so that targets of one interval share their wake-ups.
// The first one after `after`.
usec_t schedule_next_tick(usec_t after, usec_t interval);

// How long to wait before the next connect. `random` is uniform over its range.
#define BACKOFF_AT_ONCE (100 * USEC_PER_MSEC) // after the loss of a connection that worked, the first time
#define BACKOFF_FIRST (500 * USEC_PER_MSEC)   // doubling ...
#define BACKOFF_MAX (5 * USEC_PER_SEC) // ... up to this: when the server opens again, its clients rush in; so must we
#define BACKOFF_JITTER_PERCENT 20
#define BACKOFF_FULL_MIN (250 * USEC_PER_MSEC) // refused for lack of slots: whoever asks often gets the next free one
#define BACKOFF_FULL_MAX USEC_PER_SEC

struct backoff {
    unsigned n_doubled;
    bool skip_first; // the next wait is BACKOFF_AT_ONCE
};

// After a complete poll: the next loss is answered at once, then from the beginning.
void backoff_reset(struct backoff *backoff);
usec_t backoff_next(struct backoff *backoff, enum pg_error_kind kind, uint32_t random);

// One time of trouble, from its first failure to the next complete poll. Each kind of failure is told once, when it
// first shows; its repeats with their number, every OUTAGE_REPEAT_AFTER.
#define OUTAGE_REPEAT_AFTER (10 * USEC_PER_MINUTE)

enum outage_stage {
    OUTAGE_CONNECT, // no connection can be had, or it was lost
    OUTAGE_PASSWORD_FILE,
    OUTAGE_POLL, // the connection stands, a poll failed
    N_OUTAGE_STAGES_,
};

struct outage {
    bool active;
    usec_t since;
    int64_t n_tries; // that failed; the loss of a connection that worked is none
    int64_t n_untold;
    usec_t told_at;
    struct {
        bool is_told;
        char sqlstate[6];
    } told[N_OUTAGE_STAGES_][PG_N_ERROR_KINDS_];
};

enum outage_verdict {
    OUTAGE_QUIET,
    OUTAGE_EDGE,   // new: tell it
    OUTAGE_REPEAT, // tell it with *ret_count, the number of failures since the last event
};
// is_try: it was no loss of a connection that worked.
enum outage_verdict outage_add(struct outage *outage, enum outage_stage stage, const struct pg_error *error,
                               bool is_try, usec_t now, int64_t *ret_count);

// What a target waits for, to tell whether its work goes on. Absolute times; USEC_INFINITY: not armed.
#define VITALS_LATE (5 * USEC_PER_SEC) // what is overdue by more has been lost, or the loop stands still
struct vitals {
    bool is_started;
    bool is_queued;     // for the gate: those inside have deadlines
    bool awaits_answer; // the server has been asked something
    usec_t wake;        // the next try, or the next tick
    usec_t look;
    usec_t record;
    usec_t dial;
    usec_t answer; // of the server
};
// Something is armed that will move it, an answer that is waited for has a deadline, and nothing is overdue. Waiting in
// back-off is alive: a server that is down is no fault of ours.
bool vitals_are_good(const struct vitals *vitals, usec_t now);
