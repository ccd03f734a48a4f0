// SPDX-License-Identifier: PostgreSQL
//
// What rules ask of the server beside the plain poll, and who leads, against a real server; see live.h.
#include <string.h>
#include <unistd.h>

#include "live.h"

// POSIX and PostgreSQL, quotes, backslashes and all that an array's text could trip over.
static void queries(void) {
    static char plain[] = "^copy ", icase[] = "^\\s*copy\\M", quoted[] = "[\"'{},] \\\\ x", last[] = "NULL|null";
    const struct query_pattern patterns[] = {
        {plain, false}, {icase, true}, {quoted, false}, {last, false}, {plain, true}};
    static const struct {
        const char *sql;
        uint32_t matches;
    } cases[] = {
        {"SELECT 1", 0},
        {"COPY (SELECT 1) TO '/dev/null'", 1 << 1 | 1 << 3 | 1 << 4},
        {" \n copy (SELECT 1) TO '/dev/full'", 1 << 1},
        {"copy (SELECT 1) TO '/dev/full'", 1 << 0 | 1 << 1 | 1 << 4},
        {"SELECT E'{ \\\\ x'", 0},
        {"SELECT '{ \\ x'", 1 << 2},
        {"SELECT NULL", 1 << 3},
    };
    struct live live = live_set_up("vigil_test");
    PGconn *client = live_client("");
    live.options.queries = patterns;
    live.options.n_queries = ARRAY_SIZE(patterns);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        check_context("%s", cases[i].sql);
        PQclear(PQexec(client, cases[i].sql));
        for (int prepared = 0; prepared < 2; prepared++) {
            live.options.prepared = prepared != 0;
            struct job *job = live_run_ok(live.connection, job_poll_new(&live.options));
            CHECK_EQ(live_row(job_scan(job), client)->query_matches, cases[i].matches);
            struct session_id id = live_row(job_scan(job), client)->id;
            job_free(job);
            job = live_run_ok(live.connection, job_look_new(&live.options, &id, 1));
            CHECK_EQ(live_row(job_scan(job), client)->query_matches, cases[i].matches);
            job_free(job);
        }
    }
    // A session that hides its statements matches nothing.
    live_sql(client, "SET track_activities = off /* NULL */");
    struct job *job = live_run_ok(live.connection, job_poll_new(&live.options));
    CHECK_EQ(live_row(job_scan(job), client)->query_matches, 0);
    job_free(job);
    PQfinish(client);
    connection_free(live.connection);
}

// Bytes that are no text in our database's encoding do not fail the poll, and what is before them is matched.
static void queries_of_other_encodings(void) {
    static char begin[] = "^\\s*--", word[] = "SELECT\\M.*x", never[] = "(y|z)+$";
    const struct query_pattern patterns[] = {{begin, false}, {word, true}, {never, true}};
    PGconn *pq = live_client("");
    live_sql(pq, "SET client_min_messages = error");
    live_sql(pq, "DROP DATABASE IF EXISTS vigil_broken");
    live_sql(pq, "CREATE DATABASE vigil_broken ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'");
    PGconn *client = live_client("dbname=vigil_broken client_encoding=SQL_ASCII");
    struct live live = live_set_up("vigil_test");
    live.options.queries = patterns;
    live.options.n_queries = ARRAY_SIZE(patterns);
    static const char *const texts[] = {
        " -- \xe9\xff\n SELECT '\xe9\xf0 x'--\xf0",
        " -- \xff\xc3\n select '\xf0\x9f', 'xx' --\xe2\x82",
        "--\x80\x80\nSELECT '\xc0\x80x'--\xc3",
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        check_context("text %zu", i);
        live_sql(client, texts[i]);
        struct job *job = live_run_ok(live.connection, job_poll_new(&live.options));
        CHECK_EQ(live_row(job_scan(job), client)->query_matches, 1 | 2);
        job_free(job);
    }
    PQfinish(client);
    live_sql(pq, "DROP DATABASE vigil_broken");
    PQfinish(pq);
    connection_free(live.connection);
}

static void blockers(void) {
    struct live live = live_set_up("vigil_test");
    PGconn *holder = live_client("user='vigil app'"), *first = live_client(""), *second = live_client("");
    live_sql(holder, "BEGIN; SELECT pg_advisory_xact_lock(77)");
    CHECK_EQ(PQsendQuery(first, "SELECT pg_advisory_lock(77)"), 1);
    (void)usleep(100000);
    CHECK_EQ(PQsendQuery(second, "SELECT pg_advisory_lock(77)"), 1);
    (void)usleep(100000);
    struct job *job = live_run_ok(live.connection, job_poll_new(&live.options));
    CHECK(live_row(job_scan(job), first)->waits_lock);
    CHECK_EQ(live_row(job_scan(job), first)->n_blocked_by, 0);
    job_free(job);
    live.options.blockers = true;
    job = live_run_ok(live.connection, job_poll_new(&live.options));
    const struct session_row *row = live_row(job_scan(job), first);
    CHECK_EQ(row->n_blocked_by, 1);
    CHECK_EQ(row->blocked_by[0], PQbackendPID(holder));
    row = live_row(job_scan(job), second);
    CHECK_EQ(row->n_blocked_by, 2); // who stands before it in the queue counts
    CHECK_EQ(row->blocked_by[0] + row->blocked_by[1], PQbackendPID(holder) + PQbackendPID(first));
    CHECK_EQ(live_row(job_scan(job), holder)->n_blocked_by, 0);
    // Who is ended for it must still hold up so many of them when it is.
    struct decision decision = live_decide(job_scan(job), holder, SESSION_TIME_STATE_CHANGE);
    decision.test.waiters[0] = PQbackendPID(first);
    decision.test.waiters[1] = PQbackendPID(second);
    decision.test.n_waiters = decision.test.n_waiting = 2;
    struct decision decisions[3] = {decision, decision, decision};
    decisions[0].test.waiters[1] = PQbackendPID(holder); // waits for nobody
    decisions[1].test.waiters[1] = 1;                    // not there
    size_t n;
    struct job *act = live_run_ok(live.connection, job_act_new(&live.options, decisions, 2));
    CHECK_EQ(job_acts(act, &n)[0].result, ACT_SPARED);
    CHECK_EQ(job_acts(act, &n)[1].result, ACT_SPARED);
    job_free(act);
    act = live_run_ok(live.connection, job_act_new(&live.options, &decisions[2], 1));
    CHECK_EQ(job_acts(act, &n)[0].result, ACT_SIGNALLED);
    job_free(act);
    job_free(job);
    PQfinish(holder);
    PQfinish(first);
    PQfinish(second);
    connection_free(live.connection);
}

static void limits(void) {
    PGconn *pq = live_client("");
    live_sql(pq, "SET client_min_messages = error");
    live_sql(pq, "DROP DATABASE IF EXISTS vigil_limited");
    live_sql(pq, "CREATE DATABASE vigil_limited CONNECTION LIMIT 7");
    struct live live = live_set_up("vigil_test");
    PGconn *weak = live_client("user=vigil_weak dbname=vigil_limited"), *strong = live_client("dbname=vigil_limited");
    struct job *job = live_run_ok(live.connection, job_poll_new(&live.options));
    CHECK_EQ(live_row(job_scan(job), weak)->user_limit, 2);
    CHECK_EQ(live_row(job_scan(job), weak)->database_limit, 7);
    CHECK_EQ(live_row(job_scan(job), strong)->user_limit, -1);
    CHECK_EQ(live_row(job_scan(job), pq)->database_limit, -1);
    job_free(job);
    PQfinish(weak);
    PQfinish(strong);
    live_sql(pq, "DROP DATABASE vigil_limited");
    PQfinish(pq);
    connection_free(live.connection);
}

// The guard's test of the statement: another one has begun, or not.
static void guards_the_query(void) {
    struct live live = live_set_up("vigil_test");
    PGconn *same = live_client("user='vigil app'"), *other = live_client("user='vigil app'");
    live_sql(same, "BEGIN; SELECT 1");
    live_sql(other, "BEGIN; SELECT 1");
    struct job *poll_job = live_run_ok(live.connection, job_poll_new(&live.options));
    struct decision decisions[] = {live_decide(job_scan(poll_job), same, SESSION_TIME_XACT_START),
                                   live_decide(job_scan(poll_job), other, SESSION_TIME_XACT_START)};
    for (size_t i = 0; i < ARRAY_SIZE(decisions); i++) {
        decisions[i].test.query_start = live_row(job_scan(poll_job), i == 0 ? same : other)->query_start;
    }
    live_sql(other, "SELECT 2"); // the same transaction, in the same state
    struct job *job = live_run_ok(live.connection, job_act_new(&live.options, decisions, 2));
    size_t n;
    CHECK_EQ(job_acts(job, &n)[0].result, ACT_SIGNALLED);
    CHECK_EQ(job_acts(job, &n)[1].result, ACT_CHANGED);
    job_free(job);
    job_free(poll_job);
    PQfinish(same);
    PQfinish(other);
    connection_free(live.connection);
}

static enum leader live_lead(struct live *live, bool want, int64_t *ret_pid) {
    struct job *job = live_run_ok(live->connection, job_lead_new(&live->options, want, live->leads));
    enum leader leader = job_leader(job, ret_pid);
    live->leads = leader == LEADER_SELF;
    job_free(job);
    return leader;
}

#define LEAD_KEY "1885828713, 1734962225"

static void leads(void) {
    struct live first = live_set_up("vigil_test"), second = live_set_up("vigil_test");
    int first_pid = connection_backend_pid(first.connection), second_pid = connection_backend_pid(second.connection);
    int64_t pid;
    CHECK_EQ(live_lead(&first, false, &pid), LEADER_NOBODY);
    CHECK_EQ(pid, 0);
    for (int i = 0; i < 3; i++) { // and it is taken once only
        CHECK_EQ(live_lead(&first, true, &pid), LEADER_SELF);
        CHECK_EQ(pid, first_pid);
        CHECK_EQ(live_lead(&second, true, &pid), LEADER_OTHER);
        CHECK_EQ(pid, first_pid);
    }
    CHECK_EQ(live_lead(&second, false, &pid), LEADER_OTHER);
    CHECK_EQ(live_lead(&first, false, &pid), LEADER_NOBODY);
    CHECK_EQ(live_lead(&second, true, &pid), LEADER_SELF);
    CHECK_EQ(pid, second_pid);
    // Death lets go as well.
    connection_free(second.connection);
    for (int i = 0; i < 100 && live_lead(&first, true, &pid) != LEADER_SELF; i++) {
        (void)usleep(20000);
    }
    CHECK_EQ(live_lead(&first, true, &pid), LEADER_SELF);
    connection_free(first.connection);
}

// Who leads goes on, though an older session comes to hold the lock of another database; that one waits.
static void an_elder_waits(void) {
    struct live elder = live_set_up("vigil_test"), leader = live_set_up("vigil_test");
    PGconn *other = live_client("user=vigil_test dbname=template1");
    int64_t pid;
    CHECK_EQ(live_lead(&leader, true, &pid), LEADER_SELF);
    live_sql(other, "SELECT pg_advisory_lock(" LEAD_KEY ")"); // as if it had read before us, and taken it behind us
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(live_lead(&leader, true, &pid), LEADER_SELF);
        CHECK_EQ(live_lead(&elder, true, &pid), LEADER_OTHER);
    }
    CHECK_EQ(live_lead(&leader, false, &pid), LEADER_OTHER);
    CHECK_EQ(pid, PQbackendPID(other));
    CHECK_EQ(live_lead(&leader, true, &pid), LEADER_OTHER);
    PQfinish(other);
    for (int i = 0; i < 100 && live_lead(&elder, true, &pid) != LEADER_SELF; i++) {
        (void)usleep(20000);
    }
    CHECK_EQ(pid, connection_backend_pid(elder.connection));
    connection_free(elder.connection);
    connection_free(leader.connection);
}

// Strangers who hold the key do not count, in our database or another; nor do other keys.
static void strangers_do_not_lead(void) {
    struct live live = live_set_up("vigil_test");
    PGconn *stranger = live_client("user='vigil app'"), *far = live_client("user='vigil app' dbname=template1");
    int64_t pid;
    live_sql(stranger, "SELECT pg_advisory_lock(1885828713, 5), pg_advisory_lock(1734962225)");
    CHECK_EQ(live_lead(&live, false, &pid), LEADER_NOBODY);
    live_sql(far, "SELECT pg_advisory_lock(" LEAD_KEY ")");
    CHECK_EQ(live_lead(&live, false, &pid), LEADER_UNKNOWN);
    CHECK_EQ(pid, PQbackendPID(far));
    CHECK_EQ(live_lead(&live, true, &pid), LEADER_NOBODY); // free in our own, but one of us may act without it
    CHECK_EQ(live_lead(&live, true, &pid), LEADER_SELF);
    CHECK_EQ(live_lead(&live, false, &pid), LEADER_UNKNOWN);
    live_sql(far, "SELECT pg_advisory_unlock_all()");
    live_sql(stranger, "SELECT pg_advisory_lock_shared(" LEAD_KEY ")");
    CHECK_EQ(live_lead(&live, true, &pid), LEADER_UNKNOWN);
    CHECK_EQ(pid, PQbackendPID(stranger));
    // Who only waits for it holds nothing.
    PGconn *waiting = live_client("user='vigil app'");
    CHECK_EQ(PQsendQuery(waiting, "SELECT pg_advisory_lock(" LEAD_KEY ")"), 1);
    live_sql(stranger, "SELECT pg_advisory_unlock_all(), pg_advisory_lock(5, 5)");
    PQfinish(waiting);
    for (int i = 0; i < 100 && live_lead(&live, true, &pid) != LEADER_SELF; i++) {
        (void)usleep(20000);
    }
    CHECK_EQ(live_lead(&live, true, &pid), LEADER_SELF);
    waiting = live_client("user='vigil app'");
    CHECK_EQ(PQsendQuery(waiting, "SELECT pg_advisory_lock(" LEAD_KEY ")"), 1);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(live_lead(&live, true, &pid), LEADER_SELF);
    }
    PQfinish(waiting);
    PQfinish(stranger);
    PQfinish(far);
    connection_free(live.connection);
}

// The lock of another database is seen, and who has it leads, as long as it wants to.
static void leads_over_databases(void) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    struct live older = live_set_up("vigil_test");
    strbuf_addf(&text, "%s dbname=template1", live_conninfo());
    struct live younger = {.connection = live_connect_as(strbuf_str(&text), "vigil_test"), .options = older.options};
    younger.options.prepared = false;
    int older_pid = connection_backend_pid(older.connection), younger_pid = connection_backend_pid(younger.connection);
    int64_t pid;
    CHECK_EQ(live_lead(&younger, true, &pid), LEADER_SELF);
    CHECK_EQ(live_lead(&older, true, &pid), LEADER_OTHER);
    CHECK_EQ(pid, younger_pid);
    CHECK_EQ(live_lead(&younger, true, &pid), LEADER_SELF);
    CHECK_EQ(live_lead(&younger, false, &pid), LEADER_NOBODY);
    CHECK_EQ(live_lead(&older, true, &pid), LEADER_SELF);
    CHECK_EQ(live_lead(&younger, true, &pid), LEADER_OTHER);
    CHECK_EQ(pid, older_pid);
    connection_free(older.connection);
    connection_free(younger.connection);
}

CHECK_MAIN({"queries", queries}, {"queries_of_other_encodings", queries_of_other_encodings}, {"blockers", blockers},
           {"limits", limits}, {"guards_the_query", guards_the_query}, {"leads", leads},
           {"an_elder_waits", an_elder_waits}, {"strangers_do_not_lead", strangers_do_not_lead},
           {"leads_over_databases", leads_over_databases})
