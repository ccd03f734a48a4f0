// SPDX-License-Identifier: PostgreSQL
//
// Rules of the wording:
// * Every name is qualified, operators too: behind a pooler we cannot set search_path, and an object of ours or a
//   stranger's in another schema must never run as us. IN, CASE x WHEN and IS DISTINCT FROM look their operator up by
//   search_path: not used.
// * Columns of pg_stat_get_activity are taken by name: their positions differ between versions.
// * The text of another session's query may be in the encoding of another database. Functions that count characters
//   raise an error on it (left: "invalid byte sequence", 22021) or read past its end (13), and any client could so
//   blind us. Comparison and regular expressions under "C" do not; textsend sends the bytes as they are in a database
//   of our client_encoding, UTF8, and converts them in any other, which raises the same error.
// * No backslash in a literal: what it means depends on standard_conforming_strings.
// * The clock is read before the rows, never after: an age may be too small by the time between, not too large.
#include "query.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "core/compare.h"
#include "core/session.h"
#include "util/macro.h"

#define EQ " OPERATOR(pg_catalog.=) "
#define NE " OPERATOR(pg_catalog.<>) "
#define LT " OPERATOR(pg_catalog.<) "
#define GE " OPERATOR(pg_catalog.>=) "
#define MATCHES " OPERATOR(pg_catalog.~*) "
#define STRING_(x) #x
#define STRING(x) STRING_(x)

// The lock of the watchdog that acts, as pg_locks shows it: classid and objid. "pgvi", "gil1".
#define LEAD_KEY_1 "1885828713"
#define LEAD_KEY_2 "1734962225"

// Of enum server_timeout; those that the server does not know are not there.
#define TIMEOUT_NAMES                                                                                                  \
    "'idle_session_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout', 'statement_timeout'"

// PostgreSQL's own bound (MAX_BACKENDS, 18 bits); no scan can bring more.
#define SCAN_MAX_ROWS 262143

// What a statement begins with, after white space, semicolons and comments (nested ones are not seen through).
#define QUERY "(a.query COLLATE pg_catalog.\"C\")"
#define SPACE "[[:space:]]"
#define WORD_END "[[:>:]]"
#define LEADING "^(?:" SPACE "|;|--[^\n]*\n|/[*](?:[^*]|[*]+[^*/])*[*]+/)*"
#define LISTEN "listen" WORD_END
// DISCARD ALL alone forgets channels.
#define UNLISTEN "(?:unlisten|discard" SPACE "+all)" WORD_END
#define MAINTENANCE                                                                                                    \
    "(?:vacuum|analy[sz]e|create" SPACE "+(?:unique" SPACE "+)?index|reindex|cluster|refresh|alter)" WORD_END
#define BEGINS(what) "(" QUERY MATCHES "'" LEADING what "')"

// clang-format off
// Letters that one of these can begin with, or what is before the letters (white space, comments, semicolons). A
// comparison costs a tenth of what the regular expression does, and most last statements end here.
#define BETWEEN(from, to) "(" QUERY GE "'" from "' AND " QUERY LT "'" to "')"
#define MAY_BE_COMMAND                                                                                                 \
    "(" QUERY LT "'E' OR " BETWEEN("L", "M") " OR " BETWEEN("R", "S") " OR " BETWEEN("U", "W") " OR "                  \
    BETWEEN("a", "e") " OR " BETWEEN("l", "m") " OR " BETWEEN("r", "s") " OR " BETWEEN("u", "w") ")"
// Numbers of enum session_command.
#define COMMAND                                                                                                        \
    "CASE WHEN " MAY_BE_COMMAND " AND " BEGINS("(?:" LISTEN "|" UNLISTEN "|" MAINTENANCE ")")                          \
    " THEN CASE WHEN " BEGINS(LISTEN) " THEN 1 WHEN " BEGINS(UNLISTEN) " THEN 2 ELSE 3 END ELSE 0 END"

static const char sql_identify[] =
    "SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('server_version_num')::pg_catalog.int4";

// $1 statement_timeout, $2 lock_timeout, both as text in milliseconds; $3 version. The tcp_ settings do nothing on a
// Unix socket.
#define SET_CONFIG(name, value) "pg_catalog.set_config('" name "', " value ", false)"
#define SET_CONFIG_SINCE(version, name, value) "CASE WHEN $3" GE version " THEN " SET_CONFIG(name, value) " END"
static const char sql_settings[] =
    "SELECT pg_catalog.concat("
    SET_CONFIG("search_path", "'pg_catalog'") ", "
    SET_CONFIG("statement_timeout", "$1") ", "
    SET_CONFIG("lock_timeout", "$2") ", "
    SET_CONFIG("idle_in_transaction_session_timeout", "'60s'") ", "
    SET_CONFIG_SINCE("140000", "idle_session_timeout", "'0'") ", "
    SET_CONFIG_SINCE("170000", "transaction_timeout", "'0'") ", "
    SET_CONFIG("default_transaction_isolation", "'read committed'") ", "
    SET_CONFIG("default_transaction_read_only", "'on'") ", "
    SET_CONFIG("plan_cache_mode", "'force_generic_plan'") ", "
    SET_CONFIG("jit", "'off'") ", "
    SET_CONFIG("work_mem", "'32MB'") ", "
    SET_CONFIG("tcp_keepalives_idle", "'10'") ", "
    SET_CONFIG("tcp_keepalives_interval", "'5'") ", "
    SET_CONFIG("tcp_keepalives_count", "'3'") ", "
    SET_CONFIG("tcp_user_timeout", "'25s'") ")";

// Each poll makes the backend copy the status of all sessions, and build a row of each. Freed, that memory goes back to
// the kernel and costs its page faults again, until a large allocation has been made and freed: up to 32 MB it raises
// glibc's threshold of trimming to its double. A status entry takes track_activity_query_size and about 900 bytes, a
// row as much, and sizes are rounded up: with half of this, 1,000 sessions still cost 1,180 faults a poll.
static const char sql_warm_up[] =
    "SELECT pg_catalog.octet_length(pg_catalog.repeat(pg_catalog.repeat('x', 10000), LEAST(3100, "
    "4 OPERATOR(pg_catalog.*) pg_catalog.current_setting('max_connections')::pg_catalog.int8 OPERATOR(pg_catalog.*) "
    "(s.setting::pg_catalog.int8 OPERATOR(pg_catalog.+) 900) OPERATOR(pg_catalog./) 10000)::pg_catalog.int4)) "
    "FROM pg_catalog.pg_settings s WHERE s.name" EQ "'track_activity_query_size'";

// $1 is the kind of membership that shows other sessions: until 14 any, since 15 an inherited one.
static const char sql_rights[] =
    "SELECT r.rolname::pg_catalog.text, pg_catalog.quote_ident(r.rolname), "
    "d.datname::pg_catalog.text, pg_catalog.quote_ident(d.datname), "
    "pg_catalog.pg_is_in_recovery(), r.rolsuper, "
    "pg_catalog.pg_has_role('pg_read_all_stats', $1), pg_catalog.pg_has_role('pg_read_all_stats', 'MEMBER'), "
    "pg_catalog.pg_has_role('pg_signal_backend', 'USAGE'), pg_catalog.pg_has_role('pg_signal_backend', 'MEMBER'), "
    "pg_catalog.pg_has_role(pg_catalog.to_regrole('pg_use_reserved_connections')::pg_catalog.oid, 'USAGE'), "
    "pg_catalog.current_setting('superuser_reserved_connections')::pg_catalog.int4, "
    "pg_catalog.current_setting('reserved_connections', true)::pg_catalog.int4, "
    "r.rolconnlimit, d.datconnlimit "
    "FROM pg_catalog.pg_roles r, pg_catalog.pg_database d "
    "WHERE r.rolname" EQ "current_user AND d.datname" EQ "pg_catalog.current_database()";

static const char sql_superusers[] =
    "SELECT r.rolname::pg_catalog.text, pg_catalog.count(*), "
    "pg_catalog.sum(pg_catalog.count(*)) OVER ()::pg_catalog.int8 "
    "FROM pg_catalog.pg_stat_get_activity(NULL) a JOIN pg_catalog.pg_roles r ON r.oid" EQ "a.usesysid "
    "WHERE a.backend_type" EQ "'client backend' AND r.rolsuper "
    "GROUP BY r.rolname ORDER BY pg_catalog.count(*) DESC, r.rolname LIMIT " STRING(SUPERUSERS_SHOWN);

static const char sql_facts[] =
    "SELECT pg_catalog.clock_timestamp(), "
    "pg_catalog.current_setting('server_version_num')::pg_catalog.int4, "
    "pg_catalog.pg_is_in_recovery(), pg_catalog.pg_postmaster_start_time(), "
    "pg_catalog.current_setting('max_connections')::pg_catalog.int4, "
    "pg_catalog.current_setting('superuser_reserved_connections')::pg_catalog.int4, "
    "COALESCE(pg_catalog.current_setting('reserved_connections', true), '0')::pg_catalog.int4, "
    "pg_catalog.pg_backend_pid(), session_user::pg_catalog.text, pg_catalog.pg_has_role('pg_signal_backend', 'USAGE')";

// Rows without a type are sessions hidden from us: they must be noticed, not missed.
// $1: how much query text to send, in bytes; 0: none. $2: patterns to match, NULL: none. $3: who blocks whom? That
// takes locks inside of the server, so it is asked for those alone that wait for one; of a long queue those who hold
// the lock come first.
#define QUERY_MATCHES                                                                                                  \
    "CASE WHEN $2 IS NULL THEN 0::pg_catalog.int8 ELSE (SELECT COALESCE(pg_catalog.bit_or(1::pg_catalog.int8 "         \
    "OPERATOR(pg_catalog.<<) (p.i OPERATOR(pg_catalog.-) 1)::pg_catalog.int4), 0::pg_catalog.int8) "                   \
    "FROM pg_catalog.unnest($2) WITH ORDINALITY p(pattern, i) "                                                        \
    "WHERE " QUERY " OPERATOR(pg_catalog.~) p.pattern) END"
#define BLOCKED_BY                                                                                                     \
    "CASE WHEN $3 AND a.wait_event_type" EQ "'Lock' "                                                                  \
    "THEN (pg_catalog.pg_blocking_pids(a.pid))[1:" STRING(QUERY_MAX_BLOCKERS) "] END"
#define SESSION "a.pid, " SESSION_BUT_PID
#define SESSION_BUT_PID                                                                                                \
    "a.backend_start, a.usesysid, a.datid, a.application_name, a.state, a.state_change, a.query_start, "        \
    "a.xact_start, a.client_addr, " COMMAND " OPERATOR(pg_catalog.+) CASE WHEN a.wait_event" EQ "'SyncRep' THEN "      \
    STRING(SCAN_FLAG_SYNC_REP) " WHEN a.wait_event_type" EQ "'Lock' THEN " STRING(SCAN_FLAG_LOCK) " ELSE 0 END "
// In a database that is not of UTF8 nothing is converted but ASCII, which cannot fail. The rest goes as it is, where
// every byte is a character; where not, convert_to would check it, and fail: not sent.
#define ENCODING "pg_catalog.getdatabaseencoding()"
#define QUERY_BYTES                                                                                                    \
    "CASE WHEN " ENCODING EQ "'UTF8' OR " QUERY " OPERATOR(pg_catalog.!~) '[^\x01-\x7f]' "                             \
    "THEN pg_catalog.textsend(a.query) "                                                                               \
    "WHEN pg_catalog.pg_encoding_max_length(pg_catalog.pg_char_to_encoding(" ENCODING "))" EQ "1 "                     \
    "THEN pg_catalog.convert_to(a.query, " ENCODING ") END"
#define MORE                                                                                                           \
    ", CASE WHEN $1 OPERATOR(pg_catalog.>) 0 THEN pg_catalog.substring(" QUERY_BYTES ", 1, $1) END, " QUERY_MATCHES    \
    ", " BLOCKED_BY " "
#define CLIENTS_OR_HIDDEN "(a.backend_type IS NULL OR a.backend_type" EQ "'client backend')"
static const char sql_scan[] =
    "SELECT " SESSION "FROM pg_catalog.pg_stat_get_activity(NULL) a WHERE " CLIENTS_OR_HIDDEN;
// $1: sessions that have been idle since before then, in no transaction, are sent without what we know of them. See
// known.c.
static const char sql_changes[] =
    "SELECT a.pid, a.state_change, CASE WHEN a.state_change" LT "$1 AND a.state" EQ "'idle' AND a.xact_start IS NULL "
    "THEN NULL ELSE ROW(" SESSION_BUT_PID ") END FROM pg_catalog.pg_stat_get_activity(NULL) a WHERE " CLIENTS_OR_HIDDEN;
static const char sql_scan_more[] =
    "SELECT " SESSION MORE "FROM pg_catalog.pg_stat_get_activity(NULL) a WHERE " CLIENTS_OR_HIDDEN;
static const char sql_look[] =
    "SELECT " SESSION MORE "FROM pg_catalog.unnest($4) w(pid), LATERAL pg_catalog.pg_stat_get_activity(w.pid) a "
    "WHERE " CLIENTS_OR_HIDDEN;

// $1 roles, $2 databases.
static const char sql_names[] =
    "SELECT true, r.oid, r.rolname::pg_catalog.text, r.rolsuper, r.rolconnlimit FROM pg_catalog.pg_roles r "
    "WHERE r.oid" EQ "ANY ($1) UNION ALL "
    "SELECT false, d.oid, d.datname::pg_catalog.text, false, d.datconnlimit FROM pg_catalog.pg_database d "
    "WHERE d.oid" EQ "ANY ($2)";

#define LEAD_LOCK                                                                                                      \
    "l.locktype" EQ "'advisory' AND l.classid" EQ LEAD_KEY_1 "::pg_catalog.oid "                                       \
    "AND l.objid" EQ LEAD_KEY_2 "::pg_catalog.oid AND l.objsubid" EQ "2 AND l.granted"
// Session-level advisory locks are per database, so the one who leads is found in pg_locks, over all of them. A holder
// without activity has come or gone between the two looks; one without a role is an autovacuum worker, in which a
// stranger's function runs. To pg_stat_get_activity NULL means everybody.
static const char sql_leaders[] =
    "SELECT l.pid, CASE WHEN l.pid IS NULL THEN false "
    "WHEN a.pid IS NOT NULL THEN COALESCE(a.usesysid" EQ "me.usesysid, false) END, "
    "COALESCE(l.pid" EQ "me.pid, false), l.database" EQ "me.datid "
    "FROM pg_catalog.pg_locks l, pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) me, "
    "LATERAL (SELECT COALESCE(l.pid, 0)) p(pid) LEFT JOIN LATERAL pg_catalog.pg_stat_get_activity(p.pid) a ON true "
    "WHERE " LEAD_LOCK " "
    "ORDER BY 2 DESC NULLS LAST, a.backend_start, l.pid LIMIT " STRING(QUERY_MAX_LEADERS);

// --- What is read only to be compared with the configuration. Asked before the session is set up: our own SETs would
// stand in the place of what the server says.

// Settings that ALTER ROLE, ALTER DATABASE, our conninfo or a pooler has changed for us tell nothing of others: NULL.
static const char sql_timeouts[] =
    "SELECT s.name, CASE WHEN s.source" EQ "ANY (ARRAY['default', 'environment variable', 'configuration file', "
    "'command line', 'override']) THEN s.setting::pg_catalog.int8 END "
    "FROM pg_catalog.pg_settings s WHERE s.name" EQ "ANY (ARRAY[" TIMEOUT_NAMES "])";
// Entries are compared as bytes until it is known whose they are: others may be in any encoding.
static const char sql_overrides[] =
    "SELECT r.rolname::pg_catalog.text, pg_catalog.quote_ident(r.rolname), d.datname::pg_catalog.text, "
    "pg_catalog.quote_ident(d.datname), t.name, "
    "pg_catalog.substr(c.entry, pg_catalog.length(t.name) OPERATOR(pg_catalog.+) 2) "
    "FROM pg_catalog.pg_db_role_setting s LEFT JOIN pg_catalog.pg_roles r ON r.oid" EQ "s.setrole "
    "LEFT JOIN pg_catalog.pg_database d ON d.oid" EQ "s.setdatabase, "
    "LATERAL pg_catalog.unnest(s.setconfig) c(entry), pg_catalog.unnest(ARRAY[" TIMEOUT_NAMES "]) t(name) "
    "WHERE pg_catalog.starts_with(c.entry, t.name OPERATOR(pg_catalog.||) '=') "
    "AND (s.setrole" EQ "0::pg_catalog.oid OR r.oid IS NOT NULL) "
    "AND (s.setdatabase" EQ "0::pg_catalog.oid OR d.oid IS NOT NULL) "
    "ORDER BY 1 NULLS FIRST, 3 NULLS FIRST, 5 LIMIT " STRING(SURVEY_MAX_OVERRIDES);
static const char sql_watchdogs[] =
    "SELECT w.pid, COALESCE(r.rolname::pg_catalog.text, ''), w.client_addr, COALESCE(w.usesysid" EQ
    "me.usesysid, false), COALESCE(pg_catalog.host(w.client_addr), '')" EQ
    "COALESCE(pg_catalog.host(me.client_addr), ''), w.pid" EQ "ANY (h.pids) "
    "FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) me, "
    "(SELECT ARRAY(SELECT l.pid FROM pg_catalog.pg_locks l WHERE l.pid IS NOT NULL AND " LEAD_LOCK ") AS pids) h, "
    "pg_catalog.pg_stat_get_activity(NULL) w LEFT JOIN pg_catalog.pg_roles r ON r.oid" EQ "w.usesysid "
    "WHERE w.pid" NE "me.pid AND w.backend_type" EQ "'client backend' "
    "AND (w.application_name" EQ "'pgvigil' OR w.pid" EQ "ANY (h.pids)) "
    "ORDER BY 6 DESC, w.backend_start, w.pid LIMIT " STRING(SURVEY_MAX_WATCHDOGS);
// 15 and newer.
static const char sql_collations[] =
    "SELECT d.datname::pg_catalog.text, pg_catalog.quote_ident(d.datname), d.datcollversion, "
    "pg_catalog.pg_database_collation_actual_version(d.oid) FROM pg_catalog.pg_database d "
    "WHERE d.datallowconn AND (d.datcollversion COLLATE pg_catalog.\"C\")" NE
    "pg_catalog.pg_database_collation_actual_version(d.oid) ORDER BY d.datname LIMIT " STRING(SURVEY_MAX_COLLATIONS);

static const char sql_take_lead[] = "SELECT pg_catalog.pg_try_advisory_lock(" LEAD_KEY_1 ", " LEAD_KEY_2 ")";
static const char sql_leave_lead[] = "SELECT pg_catalog.pg_advisory_unlock(" LEAD_KEY_1 ", " LEAD_KEY_2 ")";

// P1: who is signalled is tested in the statement that signals, over the one session alone, as a scan of all would age
// while it runs. The test stands in the SELECT list: no row says that the session has left, NULL that it has changed.
// Names are compared as bytes of UTF-8, as they came.
// $1 pid, $2 backend_start, $3 role, $4 database, $5 application_name, $6 states, $7 which time,
// $8 its value, $9 spare listeners, $10 spare maintenance, $11 query_start (NULL: not tested), $12 pids (NULL: not
// tested) of which $13 must wait for its locks, $14 spare superusers.
// As the poll measured it.
#define UNMOVED                                                                                                        \
    "a.backend_start" EQ "$2 AND a.state" EQ "ANY ($6) "                                                               \
    "AND CASE WHEN $7" EQ "0 THEN a.state_change WHEN $7" EQ "1 THEN a.query_start "                                   \
    "WHEN $7" EQ "2 THEN a.xact_start WHEN $7" EQ "3 THEN a.backend_start END" EQ "$8 "                                \
    "AND ($11 IS NULL OR a.query_start" EQ "$11) "
#define GUARD                                                                                                          \
    "a.pid" NE "pg_catalog.pg_backend_pid() AND a.backend_type" EQ "'client backend' "                                 \
    "AND a.usesysid" EQ "$3 AND a.datid" EQ "$4 "                                                                      \
    "AND pg_catalog.convert_to(a.application_name, 'UTF8')" EQ "$5 AND " UNMOVED                                       \
    "AND COALESCE(a.wait_event" NE "'SyncRep', true) AND NOT ($9 AND " BEGINS(LISTEN) ") "                             \
    "AND NOT ($10 AND (a.state" EQ "'active' OR a.state" EQ "'fastpath function call') AND " BEGINS(MAINTENANCE) ") "  \
    "AND NOT ($14 AND EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.oid" EQ "a.usesysid AND r.rolsuper)) "         \
    "AND ($12 IS NULL OR (SELECT pg_catalog.count(*) FROM pg_catalog.unnest($12) w(pid) "                              \
    "WHERE a.pid" EQ "ANY (pg_catalog.pg_blocking_pids(w.pid)))" GE "$13)"
#define ACT(function)                                                                                                  \
    "SELECT CASE WHEN " GUARD " THEN pg_catalog." function "(a.pid) END, pg_catalog.clock_timestamp(), "               \
    "COALESCE(" UNMOVED ", false) "                                                                                    \
    "FROM pg_catalog.pg_stat_get_activity($1) a WHERE a.pid" EQ "$1"

static const struct column columns_identify[] = {{PG_TYPE_INT4, false}, {PG_TYPE_INT4, false}};
static const struct column columns_settings[] = {{PG_TYPE_TEXT, false}};
static const struct column columns_warm_up[] = {{PG_TYPE_INT4, false}};
static const struct column columns_rights[] = {
    [RIGHTS_ROLE] = {PG_TYPE_TEXT, false},
    [RIGHTS_ROLE_QUOTED] = {PG_TYPE_TEXT, false},
    [RIGHTS_DATABASE] = {PG_TYPE_TEXT, false},
    [RIGHTS_DATABASE_QUOTED] = {PG_TYPE_TEXT, false},
    [RIGHTS_IN_RECOVERY] = {PG_TYPE_BOOL, false},
    [RIGHTS_SUPERUSER] = {PG_TYPE_BOOL, false},
    [RIGHTS_SEES] = {PG_TYPE_BOOL, false},
    [RIGHTS_SEES_MEMBER] = {PG_TYPE_BOOL, false},
    [RIGHTS_SIGNALS] = {PG_TYPE_BOOL, false},
    [RIGHTS_SIGNALS_MEMBER] = {PG_TYPE_BOOL, false},
    [RIGHTS_USES_RESERVED] = {PG_TYPE_BOOL, true},
    [RIGHTS_SUPERUSER_RESERVED] = {PG_TYPE_INT4, false},
    [RIGHTS_RESERVED] = {PG_TYPE_INT4, true},
    [RIGHTS_ROLE_LIMIT] = {PG_TYPE_INT4, false},
    [RIGHTS_DATABASE_LIMIT] = {PG_TYPE_INT4, false},
};
static const struct column columns_superusers[] = {
    [SUPERUSERS_ROLE] = {PG_TYPE_TEXT, false},
    [SUPERUSERS_SESSIONS] = {PG_TYPE_INT8, false},
    [SUPERUSERS_TOTAL] = {PG_TYPE_INT8, false},
};
static const struct column columns_facts[] = {
    [FACTS_NOW] = {PG_TYPE_TIMESTAMPTZ, false},
    [FACTS_VERSION] = {PG_TYPE_INT4, false},
    [FACTS_IN_RECOVERY] = {PG_TYPE_BOOL, false},
    [FACTS_POSTMASTER_START] = {PG_TYPE_TIMESTAMPTZ, false},
    [FACTS_MAX_CONNECTIONS] = {PG_TYPE_INT4, false},
    [FACTS_SUPERUSER_RESERVED] = {PG_TYPE_INT4, false},
    [FACTS_RESERVED] = {PG_TYPE_INT4, false},
    [FACTS_PID] = {PG_TYPE_INT4, false},
    [FACTS_USER] = {PG_TYPE_TEXT, false},
    [FACTS_MAY_SIGNAL] = {PG_TYPE_BOOL, false},
};
static const struct column columns_session[] = {
    [SCAN_PID] = {PG_TYPE_INT4, false},
    [SCAN_BACKEND_START] = {PG_TYPE_TIMESTAMPTZ, true},
    [SCAN_USER] = {PG_TYPE_OID, true},
    [SCAN_DATABASE] = {PG_TYPE_OID, true},
    [SCAN_APPLICATION_NAME] = {PG_TYPE_TEXT, true},
    [SCAN_STATE] = {PG_TYPE_TEXT, true},
    [SCAN_STATE_CHANGE] = {PG_TYPE_TIMESTAMPTZ, true},
    [SCAN_QUERY_START] = {PG_TYPE_TIMESTAMPTZ, true},
    [SCAN_XACT_START] = {PG_TYPE_TIMESTAMPTZ, true},
    [SCAN_CLIENT] = {PG_TYPE_INET, true},
    [SCAN_FLAGS] = {PG_TYPE_INT4, false},
    [SCAN_QUERY] = {PG_TYPE_BYTEA, true},
    [SCAN_QUERY_MATCHES] = {PG_TYPE_INT8, false},
    [SCAN_BLOCKED_BY] = {PG_TYPE_INT4_ARRAY, true},
};
static const struct column columns_changes[] = {
    [CHANGES_PID] = {PG_TYPE_INT4, false},
    [CHANGES_STATE_CHANGE] = {PG_TYPE_TIMESTAMPTZ, true},
    [CHANGES_SESSION] = {PG_TYPE_RECORD, true},
};
static const struct column columns_names[] = {
    [NAMES_IS_ROLE] = {PG_TYPE_BOOL, false},
    [NAMES_OID] = {PG_TYPE_OID, false},
    [NAMES_NAME] = {PG_TYPE_TEXT, false},
    [NAMES_SUPERUSER] = {PG_TYPE_BOOL, false},
    [NAMES_LIMIT] = {PG_TYPE_INT4, false},
};
static const struct column columns_leaders[] = {
    [LEADERS_PID] = {PG_TYPE_INT4, true},
    [LEADERS_OWN] = {PG_TYPE_BOOL, true},
    [LEADERS_SELF] = {PG_TYPE_BOOL, false},
    [LEADERS_HERE] = {PG_TYPE_BOOL, false},
};
static const struct column columns_timeouts[] = {
    [TIMEOUTS_NAME] = {PG_TYPE_TEXT, false},
    [TIMEOUTS_VALUE] = {PG_TYPE_INT8, true},
};
static const struct column columns_overrides[] = {
    [OVERRIDES_ROLE] = {PG_TYPE_TEXT, true},
    [OVERRIDES_ROLE_QUOTED] = {PG_TYPE_TEXT, true},
    [OVERRIDES_DATABASE] = {PG_TYPE_TEXT, true},
    [OVERRIDES_DATABASE_QUOTED] = {PG_TYPE_TEXT, true},
    [OVERRIDES_NAME] = {PG_TYPE_TEXT, false},
    [OVERRIDES_VALUE] = {PG_TYPE_TEXT, false},
};
static const struct column columns_watchdogs[] = {
    [WATCHDOGS_PID] = {PG_TYPE_INT4, false},
    [WATCHDOGS_ROLE] = {PG_TYPE_TEXT, false},
    [WATCHDOGS_CLIENT] = {PG_TYPE_INET, true},
    [WATCHDOGS_OWN_ROLE] = {PG_TYPE_BOOL, false},
    [WATCHDOGS_SAME_CLIENT] = {PG_TYPE_BOOL, false},
    [WATCHDOGS_HOLDS] = {PG_TYPE_BOOL, false},
};
static const struct column columns_collations[] = {
    [COLLATIONS_DATABASE] = {PG_TYPE_TEXT, false},
    [COLLATIONS_DATABASE_QUOTED] = {PG_TYPE_TEXT, false},
    [COLLATIONS_RECORDED] = {PG_TYPE_TEXT, false},
    [COLLATIONS_ACTUAL] = {PG_TYPE_TEXT, false},
};
static const struct column columns_lead[] = {[LEAD_DONE] = {PG_TYPE_BOOL, false}};
static const struct column columns_act[] = {
    [ACT_DONE] = {PG_TYPE_BOOL, true},
    [ACT_AT] = {PG_TYPE_TIMESTAMPTZ, false},
    [ACT_UNMOVED] = {PG_TYPE_BOOL, false},
};
#define COLUMNS(c) .columns = (c), .n_columns = ARRAY_SIZE(c)
#define ROWS(min, max) .min_rows = (min), .max_rows = (max)
#define PARAMS(n, ...) .params = {__VA_ARGS__}, .n_params = (n)
#define ACT_ROW COLUMNS(columns_act), ROWS(0, 1)
#define GUARD_PARAMS                                                                                                   \
    PARAMS(14, PG_TYPE_INT4, PG_TYPE_TIMESTAMPTZ, PG_TYPE_OID, PG_TYPE_OID, PG_TYPE_BYTEA, PG_TYPE_TEXT_ARRAY,         \
           PG_TYPE_INT4, PG_TYPE_TIMESTAMPTZ, PG_TYPE_BOOL, PG_TYPE_BOOL, PG_TYPE_TIMESTAMPTZ, PG_TYPE_INT4_ARRAY,     \
           PG_TYPE_INT4, PG_TYPE_BOOL)

static const struct statement statements[] = {
    [STATEMENT_IDENTIFY] = {"identify", false, sql_identify, COLUMNS(columns_identify), ROWS(1, 1)},
    [STATEMENT_SETTINGS] = {"settings", false, sql_settings, PARAMS(3, PG_TYPE_TEXT, PG_TYPE_TEXT, PG_TYPE_INT4),
                            COLUMNS(columns_settings), ROWS(1, 1)},
    [STATEMENT_WARM_UP] = {"warm_up", false, sql_warm_up, COLUMNS(columns_warm_up), ROWS(1, 1)},
    [STATEMENT_RIGHTS] = {"rights", false, sql_rights, PARAMS(1, PG_TYPE_TEXT), COLUMNS(columns_rights), ROWS(1, 1)},
    [STATEMENT_SUPERUSERS] = {"superusers", false, sql_superusers, COLUMNS(columns_superusers),
                              ROWS(0, SUPERUSERS_SHOWN)},
    [STATEMENT_FACTS] = {"pgvigil_facts", true, sql_facts, COLUMNS(columns_facts), ROWS(1, 1)},
    [STATEMENT_SCAN] = {"pgvigil_scan", true, sql_scan, .columns = columns_session, .n_columns = N_SCAN_COLUMNS,
                        ROWS(0, SCAN_MAX_ROWS)},
    [STATEMENT_SCAN_MORE] = {"pgvigil_scan_more", true, sql_scan_more,
                             PARAMS(3, PG_TYPE_INT4, PG_TYPE_TEXT_ARRAY, PG_TYPE_BOOL), COLUMNS(columns_session),
                             ROWS(0, SCAN_MAX_ROWS)},
    [STATEMENT_CHANGES] = {"pgvigil_changes", true, sql_changes, PARAMS(1, PG_TYPE_TIMESTAMPTZ),
                           COLUMNS(columns_changes), ROWS(0, SCAN_MAX_ROWS)},
    [STATEMENT_LOOK] = {"pgvigil_look", true, sql_look,
                        PARAMS(4, PG_TYPE_INT4, PG_TYPE_TEXT_ARRAY, PG_TYPE_BOOL, PG_TYPE_INT4_ARRAY),
                        COLUMNS(columns_session), ROWS(0, SCAN_MAX_ROWS)},
    [STATEMENT_NAMES] = {"pgvigil_names", true, sql_names, PARAMS(2, PG_TYPE_OID_ARRAY, PG_TYPE_OID_ARRAY),
                         COLUMNS(columns_names), ROWS(0, 2 * SCAN_MAX_ROWS)},
    [STATEMENT_LEADERS] = {"pgvigil_leaders", true, sql_leaders, COLUMNS(columns_leaders), ROWS(0, QUERY_MAX_LEADERS)},
    [STATEMENT_TIMEOUTS] = {"timeouts", false, sql_timeouts, COLUMNS(columns_timeouts), ROWS(0, N_SERVER_TIMEOUTS_)},
    [STATEMENT_OVERRIDES] = {"overrides", false, sql_overrides, COLUMNS(columns_overrides),
                             ROWS(0, SURVEY_MAX_OVERRIDES)},
    [STATEMENT_WATCHDOGS] = {"watchdogs", false, sql_watchdogs, COLUMNS(columns_watchdogs),
                             ROWS(0, SURVEY_MAX_WATCHDOGS)},
    [STATEMENT_COLLATIONS] = {"collations", false, sql_collations, COLUMNS(columns_collations),
                              ROWS(0, SURVEY_MAX_COLLATIONS)},
    [STATEMENT_TAKE_LEAD] = {"take_lead", false, sql_take_lead, COLUMNS(columns_lead), ROWS(1, 1)},
    [STATEMENT_LEAVE_LEAD] = {"leave_lead", false, sql_leave_lead, COLUMNS(columns_lead), ROWS(1, 1)},
    [STATEMENT_TERMINATE] = {"pgvigil_terminate", true, ACT("pg_terminate_backend"), GUARD_PARAMS, ACT_ROW},
    [STATEMENT_CANCEL] = {"pgvigil_cancel", true, ACT("pg_cancel_backend"), GUARD_PARAMS, ACT_ROW},
};
static_assert(ARRAY_SIZE(statements) == N_STATEMENTS_, "a statement is missing");

// clang-format on
const struct statement *statement_get(enum statement_id id) {
    assert((unsigned)id < N_STATEMENTS);
    return &statements[id];
}

static void params_add(struct params *params, const void *value, size_t len, int format) {
    assert(params->n < QUERY_MAX_PARAMS && len <= INT_MAX);
    params->values[params->n] = value;
    params->lengths[params->n] = (int)len;
    params->formats[params->n] = format;
    params->n++;
}

static void params_add_number(struct params *params, const void *value, size_t len) {
    assert(params->n < QUERY_MAX_PARAMS && len <= sizeof(params->storage[0]));
    char *storage = params->storage[params->n];
    memcpy(storage, value, len);
    params_add(params, storage, len, 1);
}

void params_add_bool(struct params *params, bool value) {
    char byte = value ? 1 : 0;
    params_add_number(params, &byte, sizeof(byte));
}

void params_add_int32(struct params *params, int32_t value) {
    params_add_oid(params, (uint32_t)value);
}

void params_add_oid(struct params *params, uint32_t value) {
    uint32_t wire = htobe32(value);
    params_add_number(params, &wire, sizeof(wire));
}

void params_add_timestamp(struct params *params, int64_t value) {
    if (value == TIMESTAMP_NONE) {
        params_add(params, NULL, 0, 1);
        return;
    }
    uint64_t wire = htobe64((uint64_t)value);
    params_add_number(params, &wire, sizeof(wire));
}

void params_add_bytes(struct params *params, const char *value, size_t len) {
    params_add(params, value, len, 1);
}

void params_add_text(struct params *params, const char *value) {
    params_add(params, value, value ? strlen(value) : 0, 0);
}

int query_prepare(PGconn *pq, enum statement_id id) {
    const struct statement *st = statement_get(id);
    Oid types[QUERY_MAX_PARAMS];
    for (unsigned i = 0; i < st->n_params; i++) {
        types[i] = (Oid)st->params[i];
    }
    return PQsendPrepare(pq, st->name, st->sql, (int)st->n_params, types) == 1 ? 0 : -EIO;
}

int query_send(PGconn *pq, enum statement_id id, bool prepared, const struct params *params) {
    const struct statement *st = statement_get(id);
    assert(params->n == st->n_params);
    int n = (int)st->n_params, ok;
    if (prepared && st->prepare) {
        ok = PQsendQueryPrepared(pq, st->name, n, params->values, params->lengths, params->formats, 1);
    } else {
        Oid types[QUERY_MAX_PARAMS];
        for (int i = 0; i < n; i++) {
            types[i] = (Oid)st->params[i];
        }
        ok = PQsendQueryParams(pq, st->sql, n, types, params->values, params->lengths, params->formats, 1);
    }
    return ok == 1 ? 0 : -EIO;
}
