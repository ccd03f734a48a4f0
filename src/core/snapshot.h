// SPDX-License-Identifier: PostgreSQL
#pragma once

// The sessions of one server as a table keyed by identity, fed by scans. Each session says since when it is exact, the
// table says whether its population is complete, so that it can be fed by whole scans, by looks at a few sessions, and
// later by deltas.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/session.h"
#include "hash.h"
#include "origin.h"

// That a rule has spoken of a session already.
struct note {
    size_t rule;
    int64_t at;    // what the rule measured then; TIMESTAMP_NONE: said once for the session's whole life
    bool observe;  // as a would-be decision
    uint64_t step; // of the engine, in which it was said
};

struct session {
    struct session_id id;
    struct origin *origin;
    uint32_t user_oid;
    uint32_t database_oid;
    enum session_state state;
    int64_t times[N_SESSION_TIMES_];  // server's clock, TIMESTAMP_NONE for NULL
    usec_t seen_at[N_SESSION_TIMES_]; // our clock: since when we have seen that value
    bool waits_sync_rep;
    bool waits_lock;
    size_t n_blocked_by;    // sessions whose locks it waits for; 0 unless asked for
    uint32_t query_matches; // bits of the policy's `queries`
    int64_t user_limit;     // CONNECTION LIMIT of its role and of its database; -1: none
    int64_t database_limit;
    bool listener; // a LISTEN was its last statement once, and no UNLISTEN or DISCARD since
    enum session_command command;
    char *query;         // NULL unless asked for
    int64_t exact_at;    // server's clock: when this was read
    uint64_t generation; // of the scan that last brought it
    uint64_t born;       // and of the one that first did

    // The engine's memory of it; starts empty with each new session.
    bool dying;              // it has been signalled to end, or is about to be
    usec_t hold_until;       // not acted on before; USEC_INFINITY while an act is under way
    bool is_denied;          // that is because we were not allowed to
    int64_t cancelled;       // query_start of the query that was cancelled; TIMESTAMP_NONE: none
    usec_t escalate_at;      // when that query may be ended with its session; USEC_INFINITY: not at all
    size_t escalate_rule;    // the timeout that says so
    size_t n_blocks;         // sessions that it held up at the last full scan
    usec_t due_at;           // when to look at it again, see timeout_due_at()
    uint64_t looked_at;      // the step that planned the latest look at it
    uint64_t claimed_shadow; // the step in which it would have been claimed with every rule enforced
    struct note *notes;
    size_t n_notes;
    size_t notes_capacity;
    UT_hash_handle hh;
};

struct snapshot {
    struct session *sessions;
    struct origin_table origins;
    bool complete;             // a full scan of the current connection has been applied
    struct server_facts facts; // own_user is the table's
    int64_t server_now;        // of the latest scan
    usec_t received_at;        // our clock at that moment
    uint64_t generation;

    // Where the server's clock stands against ours: it minus ours lies between the two.
    bool has_offset;
    int64_t offset_low;
    int64_t offset_high;
    int64_t stepped_at; // server's clock right after its latest step; TIMESTAMP_NONE: no step seen
};

int snapshot_init(struct snapshot *snapshot, const char *target);
void snapshot_deinit(struct snapshot *snapshot);

// What applying a scan showed besides the rows.
struct snapshot_change {
    bool restarted; // another postmaster, or a promotion: all memory of sessions was dropped first
    bool clock_jumped;
    int64_t jump; // microseconds that the server's clock gained on ours, about
};

// Takes a scan in. -ENOMEM: the table is incomplete until the next full scan that succeeds.
int snapshot_apply(struct snapshot *snapshot, const struct scan *scan, struct snapshot_change *ret);
void snapshot_lost(struct snapshot *snapshot); // the connection is gone: incomplete until the next full scan

struct session *snapshot_find(const struct snapshot *snapshot, const struct session_id *id);
void snapshot_left(struct snapshot *snapshot, const struct session_id *id); // it is known to be gone
size_t snapshot_n_sessions(const struct snapshot *snapshot);
// How many sessions each rule's match covers, whatever their state. 0 or -ENOMEM.
int snapshot_count_covered(const struct snapshot *snapshot, int64_t *ret_counts);
// Makes `to`, which knows a policy and nothing else, hold the same sessions with what is remembered of them, all as if
// the latest scan had brought them. Of rules nothing is copied. 0 or -ENOMEM: then to be deinited.
int snapshot_copy(struct snapshot *to, const struct snapshot *from);
// The policy asks for other queries: bits[i] is what bit i stands for now; 0: it does not ask for that any more.
void snapshot_translate_queries(struct snapshot *snapshot, const uint32_t bits[POLICY_MAX_QUERIES]);
// The rules have got other places: to[i] is that of rule i; SIZE_MAX: it is no more, and what it said is forgotten.
void snapshot_move_rules(struct snapshot *snapshot, const size_t *to);
void snapshot_forget_notes(struct snapshot *snapshot, uint64_t since_step); // 0: all of them

// How long the session had been so when it was read. false: that time is NULL. After a step of the server's clock, the
// smaller of what the server says and what we have seen.
bool session_age(const struct snapshot *snapshot, const struct session *session, enum session_time which, usec_t *ret);

// When session_age() of a session that the latest scan brought will reach `age`, on our clock; the scan's received_at
// or earlier when it has. USEC_INFINITY: that time is NULL.
usec_t session_age_at(const struct snapshot *snapshot, const struct session *session, enum session_time which,
                      usec_t age);

// The session as a row; strings are borrowed from the table.
struct session_row session_to_row(const struct session *session);

// Whether the rule has said the same before. At is the measured time or TIMESTAMP_NONE, see struct note.
bool session_has_note(const struct session *session, size_t rule, int64_t at, bool observe);
int session_add_note(struct session *session, const struct note *note);
