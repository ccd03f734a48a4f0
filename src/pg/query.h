// SPDX-License-Identifier: PostgreSQL
#pragma once

// The wording of everything that is asked of a server, and the contract of its answer.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <libpq-fe.h>

// Object ids of PostgreSQL's built-in types (pg_type.dat); they never change.
enum pg_type {
    PG_TYPE_BOOL = 16,
    PG_TYPE_BYTEA = 17,
    PG_TYPE_INT8 = 20,
    PG_TYPE_INT4 = 23,
    PG_TYPE_TEXT = 25,
    PG_TYPE_OID = 26,
    PG_TYPE_INET = 869,
    PG_TYPE_INT4_ARRAY = 1007,
    PG_TYPE_TEXT_ARRAY = 1009,
    PG_TYPE_OID_ARRAY = 1028,
    PG_TYPE_TIMESTAMPTZ = 1184,
    PG_TYPE_RECORD = 2249,
};

enum statement_id {
    STATEMENT_IDENTIFY,
    STATEMENT_SETTINGS,
    STATEMENT_WARM_UP,
    STATEMENT_RIGHTS,
    STATEMENT_SUPERUSERS,
    STATEMENT_FACTS,
    STATEMENT_SCAN,
    STATEMENT_SCAN_MORE,
    STATEMENT_CHANGES,
    STATEMENT_LOOK,
    STATEMENT_NAMES,
    STATEMENT_LEADERS,
    STATEMENT_TIMEOUTS,
    STATEMENT_OVERRIDES,
    STATEMENT_WATCHDOGS,
    STATEMENT_COLLATIONS,
    STATEMENT_TAKE_LEAD,
    STATEMENT_LEAVE_LEAD,
    STATEMENT_TERMINATE,
    STATEMENT_CANCEL,
    N_STATEMENTS_,
};
#define N_STATEMENTS ((unsigned)N_STATEMENTS_)

struct column {
    enum pg_type type;
    bool nullable;
};

#define QUERY_MAX_PARAMS 14
#define QUERY_MAX_BLOCKERS 100 // of one session that waits
#define QUERY_MAX_LEADERS 20
#define SURVEY_MAX_OVERRIDES 500
#define SURVEY_MAX_WATCHDOGS 20
#define SURVEY_MAX_COLLATIONS 50

struct statement {
    const char *name; // of the prepared statement, and in our messages
    bool prepare;     // once for each connection that is set up
    const char *sql;
    enum pg_type params[QUERY_MAX_PARAMS];
    unsigned n_params;
    const struct column *columns;
    unsigned n_columns;
    unsigned min_rows;
    unsigned max_rows;
};

const struct statement *statement_get(enum statement_id id);

// Positions in the answers.
enum { IDENTIFY_PID, IDENTIFY_VERSION };
enum {
    RIGHTS_ROLE,
    RIGHTS_ROLE_QUOTED,
    RIGHTS_DATABASE,
    RIGHTS_DATABASE_QUOTED,
    RIGHTS_IN_RECOVERY,
    RIGHTS_SUPERUSER,
    RIGHTS_SEES,
    RIGHTS_SEES_MEMBER,
    RIGHTS_SIGNALS,
    RIGHTS_SIGNALS_MEMBER,
    RIGHTS_USES_RESERVED, // NULL before 16
    RIGHTS_SUPERUSER_RESERVED,
    RIGHTS_RESERVED, // NULL before 16
    RIGHTS_ROLE_LIMIT,
    RIGHTS_DATABASE_LIMIT,
};
enum { SUPERUSERS_ROLE, SUPERUSERS_SESSIONS, SUPERUSERS_TOTAL };
#define SUPERUSERS_SHOWN 5 // roles that a finding names
enum {
    FACTS_NOW,
    FACTS_VERSION,
    FACTS_IN_RECOVERY,
    FACTS_POSTMASTER_START,
    FACTS_MAX_CONNECTIONS,
    FACTS_SUPERUSER_RESERVED,
    FACTS_RESERVED,
    FACTS_PID,
    FACTS_USER,
    FACTS_MAY_SIGNAL,
};
enum {
    SCAN_PID,
    SCAN_BACKEND_START, // NULL: hidden from us
    SCAN_USER,
    SCAN_DATABASE,
    SCAN_APPLICATION_NAME,
    SCAN_STATE,
    SCAN_STATE_CHANGE,
    SCAN_QUERY_START,
    SCAN_XACT_START,
    SCAN_CLIENT,
    SCAN_FLAGS,
    N_SCAN_COLUMNS,              // of STATEMENT_SCAN: each column costs us about as much as any other, of each session
    SCAN_QUERY = N_SCAN_COLUMNS, // bytes; NULL unless asked for
    SCAN_QUERY_MATCHES,          // bit i: it matches the i-th pattern
    SCAN_BLOCKED_BY,             // NULL unless asked for, and it waits for a lock
};
enum {
    CHANGES_PID,
    CHANGES_STATE_CHANGE,
    CHANGES_SESSION, // the columns of STATEMENT_SCAN after the pid; NULL: idle since before the mark
};
// SCAN_FLAGS: a number of enum session_command, and what the session waits for. Digits, as the statements contain them.
#define SCAN_FLAG_COMMAND 3
#define SCAN_FLAG_LOCK 4     // wait_event_type = 'Lock'
#define SCAN_FLAG_SYNC_REP 8 // wait_event = 'SyncRep'
#define SCAN_FLAGS_MAX 11    // nobody waits for two things
enum { NAMES_IS_ROLE, NAMES_OID, NAMES_NAME, NAMES_SUPERUSER, NAMES_LIMIT };
enum {
    LEADERS_PID,  // NULL: a prepared transaction holds the lock
    LEADERS_OWN,  // it runs as our own role; NULL: it has just come or gone
    LEADERS_SELF, // it is us
    LEADERS_HERE, // in our database, where nobody else can take it then
};
enum {
    TIMEOUTS_NAME,
    TIMEOUTS_VALUE, // milliseconds; NULL: what the server itself says is not known
};
enum {
    OVERRIDES_ROLE, // NULL: all
    OVERRIDES_ROLE_QUOTED,
    OVERRIDES_DATABASE, // NULL: all
    OVERRIDES_DATABASE_QUOTED,
    OVERRIDES_NAME,
    OVERRIDES_VALUE,
};
enum {
    WATCHDOGS_PID,
    WATCHDOGS_ROLE,
    WATCHDOGS_CLIENT,
    WATCHDOGS_OWN_ROLE,
    WATCHDOGS_SAME_CLIENT, // it comes from where we come from
    WATCHDOGS_HOLDS,       // the lock of the one that acts
};
enum { COLLATIONS_DATABASE, COLLATIONS_DATABASE_QUOTED, COLLATIONS_RECORDED, COLLATIONS_ACTUAL };
enum { LEAD_DONE };
enum { ACT_DONE, ACT_AT, ACT_UNMOVED };

// Parameters of one statement, in order. A NULL value with len 0 is NULL.
struct params {
    const char *values[QUERY_MAX_PARAMS];
    int lengths[QUERY_MAX_PARAMS];
    int formats[QUERY_MAX_PARAMS];
    unsigned n;
    char storage[QUERY_MAX_PARAMS][8]; // of the numbers
};
void params_add_bool(struct params *params, bool value);
void params_add_int32(struct params *params, int32_t value);
void params_add_oid(struct params *params, uint32_t value);
void params_add_timestamp(struct params *params, int64_t value);             // TIMESTAMP_NONE: NULL
void params_add_bytes(struct params *params, const char *value, size_t len); // binary; borrowed until sent
void params_add_text(struct params *params, const char *value);              // text format; NULL: NULL; borrowed

// Both queue into the pipeline and never block. 0, or -EIO: the connection is not usable any more.
int query_prepare(PGconn *pq, enum statement_id id);
int query_send(PGconn *pq, enum statement_id id, bool prepared, const struct params *params);
