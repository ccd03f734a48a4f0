// SPDX-License-Identifier: PostgreSQL
#pragma once

// What can be asked of a server. A job is made here, run by a connection, and read here; only src/pg knows how it
// is worded and decoded. Strictly decoded: a job whose answer is not to the contract fails as a whole
// (PG_ERROR_PROTOCOL) and yields nothing.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/compare.h"
#include "core/decision.h"
#include "core/event.h"
#include "core/session.h"
#include "pg/error.h"
#include "util/cleanup.h"
#include "util/usec.h"

enum job_kind {
    JOB_IDENTIFY, // who answers: first of all, before any SET, PREPARE or lock
    JOB_SET_UP,   // session settings, warm-up, prepared statements
    JOB_SURVEY,   // what is compared with the configuration
    JOB_RIGHTS,   // the self-check
    JOB_POLL,     // full scan
    JOB_LOOK,     // chosen sessions
    JOB_LEAD,     // the advisory lock of the one watchdog that acts
    JOB_ACT,      // guarded statements, in a pipeline with a sync after each
};

struct job;

struct job *job_free(struct job *job); // NULL-safe, returns NULL
DEFINE_CLEANUP(struct job *, job_free)
enum job_kind job_kind(const struct job *job);
const struct pg_error *job_error(const struct job *job); // kind NONE: it went well

// All constructors: NULL when out of memory.

struct job *job_identify_new(void);
struct identity {
    int64_t backend_pid; // pg_backend_pid(): differs from connection_backend_pid() behind a pooler
    int version_num;
};
struct identity job_identity(const struct job *job);

// statement_timeout = query_timeout; search_path, lock_timeout, idle_session_timeout, jit, work_mem, keepalives,
// tcp_user_timeout, heap warm-up, prepared statements.
struct job *job_set_up_new(int version_num, usec_t query_timeout);

struct job *job_rights_new(int version_num);
// One finding of the self-check. Strings live as long as the job.
struct finding {
    enum event_level level;
    const char *reason; // "unsupported_version", "in_recovery", "blind", "powerless", "superuser_sessions",
                        // "no_reserved_slot", "role_limit", ...
    const char *detail; // a sentence
    const char *hint;   // the statement that mends it; NULL: nothing to mend
};
const struct finding *job_findings(const struct job *job, size_t *ret_n);

// Before JOB_SET_UP, whose settings would be taken for the server's.
struct job *job_survey_new(int version_num);
const struct server_survey *job_survey(const struct job *job); // borrowed; NULL: it failed

// What the last complete poll of a connection brought. The next one reads less by it, and takes its place.
struct known;
struct known *known_new(void);                 // NULL: out of memory
struct known *known_free(struct known *known); // NULL-safe, returns NULL
void known_forget(struct known *known);        // when its connection is closed

// What a poll reads. `prepared` only after JOB_SET_UP on this connection; behind a pooler the same text runs unnamed.
struct poll_options {
    int version_num;
    bool prepared;
    int64_t query_text;                  // characters of query text to ship per row; 0: none
    const struct query_pattern *queries; // patterns to match on the server, see policy.h; borrowed for the job's life
    size_t n_queries;
    bool blockers;       // read who blocks whom
    struct known *known; // of this connection, borrowed for the job's life; NULL: reads everything
};
struct job *job_poll_new(const struct poll_options *options);
// Asks for these sessions only; the list is copied. A pid that now belongs to another backend counts as gone.
struct job *job_look_new(const struct poll_options *options, const struct session_id *ids, size_t n_ids);
// The scan of a finished POLL or LOOK; borrows from the job. sent_at and received_at are set by the connection.
const struct scan *job_scan(const struct job *job);

#define ACT_MAX 50 // victims in one job: more would age while they wait
// One guarded statement per decision, in that order; what it needs of them is copied. `prepared` as above.
struct job *job_act_new(const struct poll_options *options, const struct decision *decisions, size_t n_decisions);
struct act_report {
    uint64_t serial; // of the decision
    enum act_result result;
    struct pg_error error; // with DENIED and FAILED
    int64_t at;            // clock_timestamp() of the statement, after the signal; TIMESTAMP_NONE when it gave no row
};
const struct act_report *job_acts(const struct job *job, size_t *ret_n); // valid even when job_error() is set

// Who leads. `want`: take the session-level advisory lock if that makes us the leader; false: release it if
// we hold it. `leads`: the last answer on this connection was LEADER_SELF. Never sent behind a pooler.
enum leader {
    LEADER_NOBODY,  // nobody holds our key, or it is not sure: ask again
    LEADER_SELF,    // we do, and no session of our role does so beside us: that lasts until we let go
    LEADER_OTHER,   // a session of our own role does
    LEADER_UNKNOWN, // only sessions of other roles do
};
struct job *job_lead_new(const struct poll_options *options, bool want, bool leads);
enum leader job_leader(const struct job *job, int64_t *ret_pid); // the holder's pid; 0: none
