// SPDX-License-Identifier: PostgreSQL
#pragma once

// One backend of the server that serves a client, as pg_stat_activity shows it.
//
// Server times are int64_t microseconds since 2000-01-01 00:00 UTC (PostgreSQL's own epoch and unit, as its binary
// format sends them); TIMESTAMP_NONE stands for NULL.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/address.h"
#include "util/usec.h"

#define TIMESTAMP_NONE INT64_MIN
#define TIMESTAMP_TEXT_SIZE 40 // holds every timestamp_format() and its NUL

// RFC 3339 in UTC with microseconds, "2024-02-29T12:34:56.789012Z"; years beyond 9999 have more digits.
void timestamp_format(int64_t timestamp, char text[TIMESTAMP_TEXT_SIZE]);

// A session is (pid, backend_start); a reused pid is another session. Kept neutral, so that another kind of target can
// name its own sessions.
struct session_id {
    int64_t id;    // PostgreSQL: pid
    int64_t since; // PostgreSQL: backend_start
};

bool session_id_is_equal(const struct session_id *a, const struct session_id *b);

enum session_state {
    SESSION_STATE_NONE, // starting: the server shows no state yet
    SESSION_STATE_ACTIVE,
    SESSION_STATE_IDLE,
    SESSION_STATE_IDLE_IN_TRANSACTION,
    SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED,
    SESSION_STATE_FASTPATH,
    SESSION_STATE_DISABLED, // track_activities is off for it: a used slot, never a victim
    N_SESSION_STATES_,
};
#define N_SESSION_STATES ((unsigned)N_SESSION_STATES_)
#define SESSION_STATE_BIT(state) (1u << (unsigned)(state))
// What `state: any` covers: every state that a rule may judge.
#define SESSION_STATES_ANY                                                                                             \
    (SESSION_STATE_BIT(SESSION_STATE_ACTIVE) | SESSION_STATE_BIT(SESSION_STATE_IDLE) |                                 \
     SESSION_STATE_BIT(SESSION_STATE_IDLE_IN_TRANSACTION) |                                                            \
     SESSION_STATE_BIT(SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED) | SESSION_STATE_BIT(SESSION_STATE_FASTPATH))

const char *session_state_to_string(enum session_state state); // PostgreSQL's words; "starting" for NONE
// Knows PostgreSQL's words only ("starting" is 18's for NONE, "idle in transaction (aborted)"); false: not a state.
bool session_state_from_string(const char *s, size_t len, enum session_state *ret);

// What the session's current or last statement is, as far as protections ask. Recognised on the server, so that no
// query text is shipped.
enum session_command {
    SESSION_COMMAND_OTHER,
    SESSION_COMMAND_LISTEN,
    SESSION_COMMAND_UNLISTEN,    // UNLISTEN or DISCARD
    SESSION_COMMAND_MAINTENANCE, // VACUUM, ANALYZE, CREATE INDEX, REINDEX, CLUSTER, REFRESH, ALTER
};

// One row as read from the server. Strings are borrowed from whoever made the row; user and database are "" while a
// session starts, application_name is "" when the client sets none.
struct session_row {
    struct session_id id;
    const char *application_name;
    const char *user;
    const char *database;
    uint32_t user_oid;     // 0: none yet
    uint32_t database_oid; // 0: none yet
    bool superuser;        // its session user is one
    struct address client;
    enum session_state state;
    int64_t state_change;
    int64_t query_start;
    int64_t xact_start;  // NONE outside of a transaction
    bool waits_sync_rep; // wait_event = 'SyncRep'
    bool waits_lock;     // wait_event_type = 'Lock'
    enum session_command command;
    const char *query;         // cut on the server; NULL unless asked for
    uint32_t query_matches;    // see policy.h, `queries`; 0 unless asked for
    const int64_t *blocked_by; // ids of the sessions whose locks it waits for; unless asked for: none
    size_t n_blocked_by;
    int64_t user_limit; // CONNECTION LIMIT of its role and its database; -1: none
    int64_t database_limit;
};

// Which of a session's times a rule measures from.
enum session_time {
    SESSION_TIME_STATE_CHANGE,
    SESSION_TIME_QUERY_START,
    SESSION_TIME_XACT_START,
    SESSION_TIME_BACKEND_START,
    N_SESSION_TIMES_,
};
#define N_SESSION_TIMES ((unsigned)N_SESSION_TIMES_)

const char *session_time_to_string(enum session_time which); // the column's name
int64_t session_row_time(const struct session_row *row, enum session_time which);

// What a server says of itself with each full scan. Slots as DESIGN counts them:
// usable = max_connections - superuser_reserved - reserved.
struct server_facts {
    int version_num; // 150018
    bool in_recovery;
    int64_t postmaster_start;
    int64_t max_connections;
    int64_t superuser_reserved_connections;
    int64_t reserved_connections; // 0 before 16
    int64_t own_pid;              // our backend, by pg_backend_pid()
    const char *own_user;         // session_user; borrowed like the rows' strings
    bool may_signal;              // our role may end sessions of other roles
};

int64_t server_facts_usable(const struct server_facts *facts); // never below 1

// Slots in per cent, as they are shown wherever they are: rounded up, which is how alarms come to be over a threshold,
// but 100 not before the last one is taken. More are taken when superusers sit on reserved ones.
int64_t slots_percent(int64_t used, int64_t usable);

enum scan_kind {
    SCAN_FULL, // every client backend: who is not in it is gone
    SCAN_LOOK, // just the sessions asked for: of those, who is not in it is gone
};

// What one poll brought. Complete by contract: a reader that could not decode all of it makes no scan.
struct scan {
    enum scan_kind kind;
    int64_t server_now; // clock_timestamp() of the same statement: each row is exact as of this moment
    usec_t sent_at;     // our monotonic clock around it: the server's moment lies between the two
    usec_t received_at;
    struct server_facts facts;      // SCAN_FULL only
    const struct session_row *rows; // client backends alone; anything else holds no slot and never comes in here
    size_t n_rows;
    const struct session_id *asked; // SCAN_LOOK only
    size_t n_asked;
};
