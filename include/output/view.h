// SPDX-License-Identifier: PostgreSQL
#pragma once

// What the daemon is doing, as values, for whoever renders it: metrics, status, the service manager's status line.
// Strings are borrowed from the daemon and raw; a view is used at once and thrown away.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/event.h"
#include "core/histogram.h"
#include "core/policy.h"
#include "core/summary.h"
#include "core/tally.h"
#include "output/ring.h"
#include "util/usec.h"

// What became of one poll.
enum poll_result {
    POLL_OK,      // complete, and through the engine
    POLL_TIMEOUT, // ended by statement_timeout
    POLL_ERROR,   // the server refused it, or its answer is not what it should be, or we had no memory for it
    POLL_LOST,    // the connection broke, or was given up, while it was under way
    POLL_SKIPPED, // not sent, as the last one was still under way; or sent for a policy that is no longer in force
    N_POLL_RESULTS_,
};
#define N_POLL_RESULTS ((unsigned)N_POLL_RESULTS_)
const char *poll_result_to_string(enum poll_result result); // "ok", "timeout", ...

// One target. All but the summary costs nothing to ask for: target_status().
struct view_target {
    const char *name;
    const char *address;  // as the file gives it, "HOST:PORT"; several with commas between
    const char *state;    // "idle", "waiting", "dialling", "connecting", "watching"
    const char *standing; // among several watchdogs: "none", "leads", "follows", "unknown", "failed"
    bool up;              // its connection has brought a complete poll, and nothing has failed since
    bool locked_out;      // we are refused for lack of slots
    bool enforces;        // by master switch and target, and through a connection that may act
    bool leads;           // of several watchdogs, it is the one that acts
    bool pooled;          // something stands between us and the server: observe only
    usec_t polled_at;     // the last complete poll came back, monotonic; 0: never
    usec_t started_at;    // monotonic; 0: not started
    usec_t poll_interval; // between polls, as things are
    usec_t failing_since; // monotonic; 0: nothing fails
    uint64_t n_polls[N_POLL_RESULTS_];
    struct histogram poll_durations; // of complete ones, from sent to decoded
    // The last failure while it lasts; NULL: none.
    const char *error_kind; // "unreachable", "auth", ...
    const char *sqlstate;   // "" when the server sent none
    const char *error;
    const struct event *findings; // of the last self-check
    size_t n_findings;

    bool has_summary; // false: out of memory
    struct summary summary;
};

// The cost of ourselves. -1: not known.
struct view_process {
    int64_t cpu_usec;
    usec_t started_realtime;
    int64_t resident_bytes;
    int64_t virtual_bytes;
    int64_t open_fds;
    int64_t max_fds;
};

struct view_config {
    const char *file; // NULL: none
    const struct policy *policy;
    const char *scope; // equal for equal apps and protections
    usec_t loaded_realtime;
    bool last_reload_ok;         // true before the first one
    usec_t last_reload_realtime; // 0: none yet
};

// What an operator has paused.
struct view_pause {
    const char *scope; // "all", "target", "rule"
    const char *name;  // "" with "all"
    usec_t until_realtime;
    usec_t left;
};

struct view {
    const char *version;
    usec_t now; // monotonic
    usec_t realtime;
    struct view_process process;
    struct view_config config;
    const struct tally *tally;
    const struct ring *events;
    struct view_pause *pauses;
    size_t n_pauses;
    uint64_t n_records_dropped;  // by the log
    struct view_target *targets; // in the order of the file
    size_t n_targets;
};

// When that was by the clock on the wall, as far as it has not been set since; 0 stays 0.
usec_t view_realtime(const struct view *view, usec_t at);
