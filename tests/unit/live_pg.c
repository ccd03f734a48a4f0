// SPDX-License-Identifier: PostgreSQL
//
// The pg layer against a real server, which PGVIGIL_TEST_CONNINFO names (as a superuser, directly: the cases make their
// own roles and sessions). Without it everything is skipped.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "live.h"

static void polls(void) {
    struct live live = live_set_up("vigil_test");
    PGconn *idle = live_client("user='vigil app' application_name='"
                               "caf"
                               "' options='-c lock_timeout=1s'");
    PGconn *off = live_client("");
    live_sql(idle, "/* app */ -- x\n  listen ch");
    live_sql(off, "SET track_activities = off");
    live.options.query_text = 12;
    struct job *job = live_run_ok(live.connection, job_poll_new(&live.options));
    const struct scan *scan = job_scan(job);
    CHECK_NOT_NULL(scan);
    CHECK_STR(scan->facts.own_user, "vigil_test");
    CHECK_EQ(scan->facts.own_pid, connection_backend_pid(live.connection));
    CHECK_GT(scan->facts.max_connections, 10);
    CHECK_LE(scan->sent_at, scan->received_at);
    const struct session_row *row = live_row(scan, idle);
    CHECK_NOT_NULL(row);
    CHECK_STR(row->user, "vigil app");
    CHECK_STR(row->application_name, "caf");
    CHECK_STR(row->query, "/* app */ --");
    CHECK_EQ(row->command, SESSION_COMMAND_LISTEN);
    CHECK_EQ(row->state, SESSION_STATE_IDLE);
    CHECK(!row->superuser);
    CHECK_LT(row->state_change, scan->server_now);
    CHECK_LT(scan->server_now - row->state_change, 10000000);
    row = live_row(scan, off);
    CHECK_EQ(row->state, SESSION_STATE_DISABLED);
    CHECK_EQ(row->state_change, TIMESTAMP_NONE);
    CHECK(row->superuser);
    struct session_id ids[] = {live_row(scan, idle)->id, live_row(scan, off)->id, {.id = 1, .since = 5}};
    ids[1].since++; // another backend's
    job_free(job);

    // A look sees the one that is still the same; behind a pooler without prepared statements.
    for (int prepared = 0; prepared < 2; prepared++) {
        live.options.prepared = prepared != 0;
        job = live_run_ok(live.connection, job_look_new(&live.options, ids, ARRAY_SIZE(ids)));
        scan = job_scan(job);
        CHECK_EQ(scan->n_rows, 1);
        CHECK_EQ(scan->n_asked, 3);
        CHECK_STR(scan->rows[0].user, "vigil app");
        job_free(job);
    }
    job = live_run_ok(live.connection, job_look_new(&live.options, ids + 2, 1));
    CHECK_EQ(job_scan(job)->n_rows, 0);
    job_free(job);
    PQfinish(idle);
    PQfinish(off);
    connection_free(live.connection);
}

static const struct session_row *live_find(const struct scan *scan, int pid) {
    for (size_t i = 0; i < scan->n_rows; i++) {
        if (scan->rows[i].id.id == pid) {
            return &scan->rows[i];
        }
    }
    return NULL;
}

// Two polls at once: what is built from changes is what a poll that reads everything sees. Of our clients alone, as
// others come and go meanwhile; an entry of NULL has left.
static void live_compare(struct live *live, struct known *known, PGconn *const *clients, size_t n) {
    live->options.known = known;
    struct job *job = live_run_ok(live->connection, job_poll_new(&live->options));
    live->options.known = NULL;
    struct job *whole = live_run_ok(live->connection, job_poll_new(&live->options));
    const struct scan *a = job_scan(job), *b = job_scan(whole);
    for (size_t i = 0; i < n; i++) {
        int pid = clients[i] ? PQbackendPID(clients[i]) : 0;
        const struct session_row *x = live_find(a, pid), *y = live_find(b, pid);
        CHECK_EQ(x != NULL, pid != 0);
        CHECK_EQ(y != NULL, pid != 0);
        if (!x || !y) {
            continue;
        }
        CHECK(session_id_is_equal(&x->id, &y->id));
        CHECK_STR(x->application_name, y->application_name);
        CHECK_STR(x->user, y->user);
        CHECK_STR(x->database, y->database);
        CHECK_EQ(x->state, y->state);
        CHECK_EQ(x->command, y->command);
        CHECK_EQ(x->client.family, y->client.family);
        CHECK_EQ(x->state_change, y->state_change);
        CHECK_EQ(x->query_start, y->query_start);
        CHECK_EQ(x->xact_start, y->xact_start);
    }
    job_free(job);
    job_free(whole);
}

static void changes(void) {
    enum { N = 6 };
    struct live live = live_set_up("vigil_test");
    struct known *known = known_new();
    PGconn *clients[N];
    struct job *job;
    CHECK_NOT_NULL(known);
    for (int i = 0; i < N; i++) {
        clients[i] = live_client(i == 0 ? "" : "user='vigil app' application_name='a b'");
    }
    live_compare(&live, known, clients, N);
    live_sql(clients[1], "LISTEN x");
    live_sql(clients[2], "BEGIN");
    live_sql(clients[3], "SET application_name = 'other'");
    live_compare(&live, known, clients, N);
    live_sql(clients[2], "COMMIT");
    PQfinish(clients[4]);
    clients[4] = NULL;
    for (int i = 0; i < 3; i++) {
        live_compare(&live, known, clients, N);
    }
    clients[4] = live_client("user='vigil app' application_name='late'");
    live_sql(clients[0], "SET track_activities = off");
    live_compare(&live, known, clients, N);
    live_sql(clients[1], "UNLISTEN x");
    live_compare(&live, known, clients, N);
    // To describe a statement begins a transaction, and leaves the state and its time as they were.
    PQclear(PQprepare(clients[5], "one", "SELECT 1", 0, NULL));
    for (int i = 0; i < 2; i++) {
        live_compare(&live, known, clients, N); // idle since before the poll
    }
    CHECK_EQ(PQenterPipelineMode(clients[5]), 1);
    CHECK_EQ(PQsendDescribePrepared(clients[5], "one"), 1);
    CHECK_EQ(PQsendFlushRequest(clients[5]), 1);
    CHECK_EQ(PQflush(clients[5]), 0);
    PQclear(PQgetResult(clients[5]));
    live_compare(&live, known, clients, N);
    job = live_run_ok(live.connection, job_poll_new(&live.options));
    CHECK_EQ(live_row(job_scan(job), clients[5])->state, SESSION_STATE_IDLE);
    CHECK(live_row(job_scan(job), clients[5])->xact_start != TIMESTAMP_NONE);
    job_free(job);
    for (int i = 0; i < N; i++) {
        PQfinish(clients[i]);
    }
    known_free(known);
    connection_free(live.connection);
}

static void commands(void) {
    static const struct {
        const char *sql;
        enum session_command command;
    } cases[] = {
        {"LISTEN \"x\"", SESSION_COMMAND_LISTEN},
        {"\n\t /* a * b ** */ ;LiStEn\"x\"", SESSION_COMMAND_LISTEN},
        {"UNLISTEN *", SESSION_COMMAND_UNLISTEN},
        {"discard all", SESSION_COMMAND_UNLISTEN},
        {"discard plans", SESSION_COMMAND_OTHER},
        {"SELECT 'listen x'", SESSION_COMMAND_OTHER},
        {"SELECT 1 AS listener", SESSION_COMMAND_OTHER},
        {"vacuum pg_class", SESSION_COMMAND_MAINTENANCE},
        {"ANALYZE pg_class", SESSION_COMMAND_MAINTENANCE},
        {"explain analyze select 1", SESSION_COMMAND_OTHER},
        {"CREATE TEMP TABLE alterations (a int)", SESSION_COMMAND_OTHER},
        {"CREATE  UNIQUE\nINDEX ON alterations (a)", SESSION_COMMAND_MAINTENANCE},
        {"create index ON alterations (a)", SESSION_COMMAND_MAINTENANCE},
        {"ALTER TABLE alterations ADD b int", SESSION_COMMAND_MAINTENANCE},
        {"CREATE TEMP TABLE index (a int)", SESSION_COMMAND_OTHER},
        {"REINDEX TABLE alterations", SESSION_COMMAND_MAINTENANCE},
        {"--vacuum\nSELECT 1", SESSION_COMMAND_OTHER},
        {"--x", SESSION_COMMAND_OTHER},
        {"ROLLBACK", SESSION_COMMAND_OTHER},
    };
    struct live live = live_set_up("vigil_test");
    PGconn *client = live_client("");
    live_sql(client, "SET client_min_messages = error");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        check_context("%s", cases[i].sql);
        PQclear(PQexec(client, cases[i].sql));
        struct job *job = live_run_ok(live.connection, job_poll_new(&live.options));
        const struct session_row *row = live_row(job_scan(job), client);
        CHECK_NOT_NULL(row);
        CHECK_EQ(row->command, cases[i].command);
        CHECK_NULL(row->query);
        job_free(job);
    }
    PQfinish(client);
    connection_free(live.connection);
}

static void acts(void) {
    enum { SAME, MOVED, WRONG_STATE, ANY_STATE, REUSED, GONE, SUPERUSER, LISTENER, RENAMED, BACKEND, HIDDEN, N };
    static const enum act_result expected[N] = {
        [SAME] = ACT_SIGNALLED, [MOVED] = ACT_CHANGED,     [WRONG_STATE] = ACT_CHANGED, [ANY_STATE] = ACT_SIGNALLED,
        [REUSED] = ACT_CHANGED, [GONE] = ACT_LEFT,         [SUPERUSER] = ACT_DENIED,    [LISTENER] = ACT_SPARED,
        [RENAMED] = ACT_SPARED, [BACKEND] = ACT_SIGNALLED, [HIDDEN] = ACT_CHANGED,
    };
    struct live live = live_set_up("vigil_test");
    PGconn *clients[N];
    for (int i = 0; i < N; i++) {
        clients[i] = live_client(i == SUPERUSER || i == HIDDEN ? "" : "user='vigil app'");
        live_sql(clients[i], i == LISTENER ? "LISTEN a" : "SET application_name = E'a\\nb\\\\''\"{},%s \\x1b[1m'");
    }
    struct job *poll_job = live_run_ok(live.connection, job_poll_new(&live.options));
    struct decision decisions[N];
    for (int i = 0; i < N; i++) {
        decisions[i] =
            live_decide(job_scan(poll_job), clients[i],
                        i == BACKEND || i == HIDDEN ? SESSION_TIME_BACKEND_START : SESSION_TIME_STATE_CHANGE);
    }
    decisions[WRONG_STATE].test.states = SESSION_STATE_BIT(SESSION_STATE_ACTIVE);
    decisions[ANY_STATE].test.states = decisions[HIDDEN].test.states = 0;
    decisions[REUSED].test.id.since++;
    decisions[RENAMED].test.application_name = "another";
    live_sql(clients[MOVED], "SELECT 1");
    live_sql(clients[HIDDEN], "SET track_activities = off");
    PQfinish(clients[GONE]);
    clients[GONE] = NULL;
    (void)usleep(100000);

    struct job *job = live_run_ok(live.connection, job_act_new(&live.options, decisions, N));
    size_t n;
    const struct act_report *reports = job_acts(job, &n);
    CHECK_EQ(n, N);
    for (int i = 0; i < N; i++) {
        check_context("case %d: %s %s", i, reports[i].error.sqlstate, reports[i].error.message);
        CHECK_EQ(reports[i].serial, decisions[i].serial);
        CHECK_EQ(reports[i].result, expected[i]);
        CHECK_EQ(reports[i].at != TIMESTAMP_NONE, expected[i] != ACT_LEFT && expected[i] != ACT_DENIED);
    }
    CHECK_STR(reports[SUPERUSER].error.sqlstate, "42501");
    job_free(job);
    job_free(poll_job);
    (void)usleep(100000);
    // The connection still works, and only those that were to go are gone.
    job = live_run_ok(live.connection, job_poll_new(&live.options));
    for (int i = 0; i < N; i++) {
        if (clients[i]) {
            check_context("case %d", i);
            CHECK_EQ(live_row(job_scan(job), clients[i]) == NULL, expected[i] == ACT_SIGNALLED);
            PQfinish(clients[i]);
        }
    }
    job_free(job);
    connection_free(live.connection);
}

// A role may become a superuser between the poll and the act; we may be one, whom the server would not stop.
static void superusers_are_spared(void) {
    struct live live = live_set_up(NULL);
    PGconn *client = live_client("user='vigil app'"), *admin = live_client("");
    struct job *poll_job = live_run_ok(live.connection, job_poll_new(&live.options));
    struct decision decision = live_decide(job_scan(poll_job), client, SESSION_TIME_BACKEND_START);
    decision.test.states = 0;
    live_sql(admin, "ALTER ROLE \"vigil app\" SUPERUSER");
    for (int spared = 1; spared >= 0; spared--) {
        decision.test.spare_superusers = spared;
        struct job *job = live_run_ok(live.connection, job_act_new(&live.options, &decision, 1));
        size_t n;
        CHECK_EQ(job_acts(job, &n)[0].result, spared ? ACT_SPARED : ACT_SIGNALLED);
        job_free(job);
    }
    live_sql(admin, "ALTER ROLE \"vigil app\" NOSUPERUSER");
    job_free(poll_job);
    PQfinish(client);
    PQfinish(admin);
    connection_free(live.connection);
}

static void cancels(void) {
    struct live live = live_set_up("vigil_test");
    PGconn *client = live_client("user='vigil app'");
    live_sql(client, "SELECT 1");
    CHECK_EQ(PQsendQuery(client, "SELECT pg_sleep(30)"), 1);
    (void)usleep(100000);
    struct job *poll_job = live_run_ok(live.connection, job_poll_new(&live.options));
    struct decision decisions[2];
    decisions[0] = decisions[1] = live_decide(job_scan(poll_job), client, SESSION_TIME_QUERY_START);
    decisions[0].action = decisions[1].action = ACTION_CANCEL;
    decisions[0].test.at--; // another query
    struct job *job = live_run_ok(live.connection, job_act_new(&live.options, decisions, 2));
    size_t n;
    CHECK_EQ(job_acts(job, &n)[0].result, ACT_CHANGED);
    CHECK_EQ(job_acts(job, &n)[1].result, ACT_SIGNALLED);
    PGresult *result = PQgetResult(client);
    CHECK_STR(PQresultErrorField(result, PG_DIAG_SQLSTATE), "57014");
    PQclear(result);
    job_free(job);
    job_free(poll_job);
    PQfinish(client);
    connection_free(live.connection);
}

static const struct finding *live_finding(const struct job *job, const char *reason) {
    size_t n;
    const struct finding *findings = job_findings(job, &n);
    for (size_t i = 0; i < n; i++) {
        printf("# %s: %s [%s]\n", findings[i].reason, findings[i].detail, findings[i].hint ? findings[i].hint : "");
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(findings[i].reason, reason) == 0) {
            return &findings[i];
        }
    }
    return NULL;
}

static void rights(void) {
    struct live live = live_set_up("vigil_test");
    PGconn *superuser = live_client("");
    struct job *job = live_run_ok(live.connection, job_rights_new(live.options.version_num));
    CHECK_NOT_NULL(live_finding(job, "superuser_sessions"));
    CHECK_NOT_NULL(live_finding(job, "no_reserved_slot"));
    CHECK_NULL(live_finding(job, "blind"));
    CHECK_NULL(live_finding(job, "powerless"));
    job_free(job);
    connection_free(live.connection);

    live.connection = live_connect_as(live_conninfo(), "vigil_weak");
    job = live_run_ok(live.connection, job_rights_new(live.options.version_num));
    CHECK_STR(live_finding(job, "blind")->hint, "GRANT pg_monitor TO vigil_weak");
    CHECK_STR(live_finding(job, "powerless")->hint, "GRANT pg_signal_backend TO vigil_weak");
    CHECK_CONTAINS(live_finding(job, "role_limit")->hint, "ALTER ROLE vigil_weak CONNECTION LIMIT 3");
    job_free(job);
    // Blind: hidden sessions are no empty server.
    live.options.prepared = false;
    job = live_run(live.connection, job_poll_new(&live.options));
    CHECK_EQ(job_error(job)->kind, PG_ERROR_DENIED);
    CHECK_NULL(job_scan(job));
    job_free(job);
    connection_free(live.connection);

    live.connection = live_connect_as(live_conninfo(), NULL);
    job = live_run_ok(live.connection, job_rights_new(live.options.version_num));
    CHECK_NOT_NULL(live_finding(job, "we_are_superuser"));
    CHECK_NULL(live_finding(job, "superuser_sessions"));
    job_free(job);
    connection_free(live.connection);
    PQfinish(superuser);
}

static enum pg_error_kind live_refused(const char *user, const char *database, char sqlstate[static 6]) {
    CLEANUP(conninfo_freep) struct conninfo *conninfo = NULL;
    CLEANUP(connection_freep) struct connection *connection = connection_new();
    char *why = NULL;
    struct job *none = NULL;
    CHECK_EQ(conninfo_parse(live_conninfo(), &conninfo, &why), 0);
    CHECK_EQ(conninfo_set(conninfo, "user", user), 0);
    CHECK_EQ(conninfo_set(conninfo, "dbname", database), 0);
    connection_start(connection, conninfo, live_now(), live_now() + LIVE_TIMEOUT);
    CHECK_EQ(live_wait(connection, &none), CONNECTION_LOST);
    memcpy(sqlstate, connection_error(connection)->sqlstate, 6);
    printf("# %s %s\n", sqlstate, connection_error(connection)->message);
    return connection_error(connection)->kind;
}

static void refusals(void) {
    char sqlstate[6];
    live_roles();
    CHECK_EQ(live_refused("vigil_test", "nowhere", sqlstate), PG_ERROR_DATABASE);
    CHECK_STR(sqlstate, "3D000");
    CHECK_EQ(live_refused("nobody", "postgres", sqlstate), PG_ERROR_AUTH);
    PGconn *weak[2] = {live_client("user=vigil_weak"), live_client("user=vigil_weak")};
    CHECK_EQ(live_refused("vigil_weak", "postgres", sqlstate), PG_ERROR_OWN_LIMIT);
    CHECK_STR(sqlstate, "53300");
    PQfinish(weak[0]);
    PQfinish(weak[1]);
    PGconn *pq = live_client("");
    live_sql(pq, "SET client_min_messages = error");
    live_sql(pq, "DROP DATABASE IF EXISTS vigil_small");
    live_sql(pq, "CREATE DATABASE vigil_small CONNECTION LIMIT 0");
    live_sql(pq, "REVOKE CONNECT ON DATABASE template1 FROM public");
    CHECK_EQ(live_refused("vigil_test", "vigil_small", sqlstate), PG_ERROR_OWN_LIMIT);
    CHECK_EQ(live_refused("vigil_test", "template1", sqlstate), PG_ERROR_DATABASE);
    CHECK_STR(sqlstate, "42501");
    PGconn *many[500];
    size_t n = 0;
    for (; n < ARRAY_SIZE(many); n++) {
        CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
        strbuf_addf(&text, "%s user='vigil app'", live_conninfo());
        many[n] = PQconnectdb(strbuf_str(&text));
        if (PQstatus(many[n]) != CONNECTION_OK) {
            PQfinish(many[n]);
            break;
        }
    }
    if (n < ARRAY_SIZE(many)) {
        CHECK_EQ(live_refused("vigil_test", "postgres", sqlstate), PG_ERROR_FULL);
        CHECK_STR(sqlstate, "53300");
    }
    while (n > 0) {
        PQfinish(many[--n]);
    }
    live_sql(pq, "DROP DATABASE vigil_small");
    live_sql(pq, "GRANT CONNECT ON DATABASE template1 TO public");
    PQfinish(pq);
}

// Ended while idle, and while a job runs: the server's last words are told, and jobs come back.
static void ended(void) {
    for (int busy = 0; busy < 2; busy++) {
        struct live live = live_set_up("vigil_test");
        PGconn *superuser = live_client("");
        CLEANUP(strbuf_deinit) struct strbuf sql = STRBUF_EMPTY;
        strbuf_addf(&sql, "SELECT pg_terminate_backend(%d)", connection_backend_pid(live.connection));
        live_sql(superuser, strbuf_str(&sql));
        struct job *job = NULL;
        if (busy) {
            connection_submit(live.connection, job_poll_new(&live.options), LIVE_TIMEOUT);
        }
        CHECK_EQ(live_wait(live.connection, &job), CONNECTION_LOST);
        CHECK_STR(connection_error(live.connection)->sqlstate, "57P01");
        CHECK_EQ(connection_error(live.connection)->kind, PG_ERROR_SHUTDOWN);
        CHECK_EQ(connection_fd(live.connection), -1);
        job = connection_take_job(live.connection);
        CHECK_EQ(job != NULL, busy != 0);
        job_free(job);
        PQfinish(superuser);
        connection_free(live.connection);
    }
}

// A session of a database with another encoding, whose query text is not valid in ours, does not blind us.
static void other_encoding(void) {
    PGconn *pq = live_client("");
    live_sql(pq, "SET client_min_messages = error");
    live_sql(pq, "DROP DATABASE IF EXISTS vigil_bytes");
    live_sql(pq, "CREATE DATABASE vigil_bytes ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
    PGconn *client = live_client("dbname=vigil_bytes client_encoding=SQL_ASCII");
    live_sql(client, " -- \xe9\xff\n SELECT '\xe9\xf0'--\xf0");
    struct live live = live_set_up("vigil_test");
    live.options.query_text = 100;
    struct job *job = live_run_ok(live.connection, job_poll_new(&live.options));
    CHECK_CONTAINS(live_row(job_scan(job), client)->query, " -- \xe9\xff  SELECT '\xe9\xf0'--");
    job_free(job);
    live_sql(client, "vacuum (analyze) pg_proc --\xf0");
    job = live_run_ok(live.connection, job_poll_new(&live.options));
    CHECK_EQ(live_row(job_scan(job), client)->command, SESSION_COMMAND_MAINTENANCE);
    job_free(job);
    PQfinish(client);
    live_sql(pq, "DROP DATABASE vigil_bytes");
    PQfinish(pq);
    connection_free(live.connection);
}

static struct job *poll_of(const char *database) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    live_roles();
    strbuf_addf(&text, "%s dbname=%s", live_conninfo(), database);
    struct connection *connection = live_connect_as(strbuf_str(&text), "vigil_test");
    const struct poll_options options = {.query_text = 100};
    struct job *job = live_run_ok(connection, job_poll_new(&options));
    connection_free(connection);
    return job;
}

// Nor does one whose query text cannot be converted, when we are in a database that is not of UTF8.
static void own_encoding(void) {
    static const struct {
        const char *encoding;
        bool ships; // what is not ASCII
    } cases[] = {{"SQL_ASCII", true}, {"WIN1252", true}, {"EUC_JP", false}};
    PGconn *pq = live_client("");
    live_sql(pq, "SET client_min_messages = error");
    PGconn *client = live_client("client_encoding=SQL_ASCII");
    live_sql(client, "SELECT 1 -- plain");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(strbuf_deinit) struct strbuf create = STRBUF_EMPTY;
        check_context("%s", cases[i].encoding);
        strbuf_addf(&create, "CREATE DATABASE vigil_own ENCODING '%s' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
                    cases[i].encoding);
        live_sql(pq, "DROP DATABASE IF EXISTS vigil_own WITH (FORCE)");
        live_sql(pq, strbuf_str(&create));
        PGconn *broken = live_client("dbname=vigil_own client_encoding=SQL_ASCII");
        live_sql(broken, cases[i].ships ? "SELECT 1 -- \x81\xff" : "SELECT 1 -- \xa4\xa2");
        struct job *job = poll_of("vigil_own");
        CHECK_STR(live_row(job_scan(job), client)->query, "SELECT 1 -- plain");
        CHECK_STR(live_row(job_scan(job), broken)->query, cases[i].ships ? "SELECT 1 -- \x81\xff" : NULL);
        job_free(job);
        PQfinish(broken);
    }
    PQfinish(client);
    live_sql(pq, "DROP DATABASE vigil_own WITH (FORCE)");
    PQfinish(pq);
}

CHECK_MAIN({"polls", polls}, {"changes", changes}, {"commands", commands}, {"acts", acts},
           {"superusers_are_spared", superusers_are_spared}, {"cancels", cancels}, {"rights", rights},
           {"refusals", refusals}, {"ended", ended}, {"other_encoding", other_encoding}, {"own_encoding", own_encoding})
