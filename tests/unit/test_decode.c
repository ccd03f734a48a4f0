// SPDX-License-Identifier: PostgreSQL
#include "pg/job.h"

#include <errno.h>

#include "pg_result.h"
#include "support/check.h"
#include "support/oom.h"

#define RECEIVED 2000

// Asks for more when the sessions have it.
static struct job *decode_poll(PGresult *facts, PGresult *sessions, int64_t query_text) {
    const struct poll_options options = {.query_text = query_text, .blockers = PQnfields(sessions) > N_SCAN_COLUMNS};
    struct job *job = job_poll_new(&options);
    CHECK_NOT_NULL(job);
    CHECK_EQ(job_n_requests(job), 2);
    job_take_result(job, 0, facts, RECEIVED);
    job_take_result(job, 1, sessions, RECEIVED);
    return job;
}

static void whole_poll(void) {
    static const uint8_t inet4[] = {2, 32, 0, 4, 10, 1, 2, 3};
    static const uint8_t inet6[] = {3, 128, 0, 16, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    static const int32_t blockers[] = {100, 0, 100, INT32_MAX};
    PGresult *sessions = result_new(STATEMENT_SCAN_MORE), *names = result_new(STATEMENT_NAMES);
    for (int i = 0; i < 4; i++) {
        result_session(sessions, i, 100 + (uint32_t)i);
    }
    result_bytes(sessions, 0, SCAN_CLIENT, inet4, sizeof(inet4));
    result_bytes(sessions, 1, SCAN_CLIENT, inet6, sizeof(inet6));
    result_text(sessions, 1, SCAN_STATE, "idle in transaction (aborted)");
    result_int64(sessions, 1, SCAN_XACT_START, RESULT_NOW - 350);
    result_int32(sessions, 1, SCAN_USER, 3000000000u);
    result_int32(sessions, 1, SCAN_FLAGS, SCAN_FLAG_LOCK + 3);
    result_int64(sessions, 1, SCAN_QUERY_MATCHES, UINT32_MAX);
    result_list(sessions, 1, SCAN_BLOCKED_BY, blockers, ARRAY_SIZE(blockers));
    result_list(sessions, 3, SCAN_BLOCKED_BY, blockers, 0);
    result_int32(sessions, 2, SCAN_USER, 11); // dropped meanwhile
    result_int32(sessions, 2, SCAN_FLAGS, SCAN_FLAG_SYNC_REP + 1);
    result_text(sessions, 3, SCAN_STATE, "starting");
    result_null(sessions, 3, SCAN_USER);
    result_null(sessions, 3, SCAN_DATABASE);
    result_null(sessions, 3, SCAN_STATE_CHANGE);
    result_null(sessions, 3, SCAN_QUERY_START);
    struct job *job = decode_poll(result_facts(), sessions, 0);
    CHECK_STR(job_error(job)->message, "");
    CHECK_NULL(job_scan(job)); // names are missing
    CHECK(job_next_round(job));
    CHECK_EQ(job_n_requests(job), 1);
    result_name(names, 0, true, 10, "owner", false);
    result_name(names, 1, true, 3000000000u, "root", true);
    result_name(names, 2, false, 5, "data", false);
    result_name(names, 3, true, 77, "nobody asked", false);
    result_int32(names, 0, NAMES_LIMIT, 20);
    result_int32(names, 1, NAMES_LIMIT, 30); // does not bind a superuser
    result_int32(names, 2, NAMES_LIMIT, (uint32_t)-2);
    job_take_result(job, 0, names, RECEIVED + 1);
    CHECK(!job_next_round(job));

    const struct scan *scan = job_scan(job);
    CHECK_NOT_NULL(scan);
    CHECK_EQ(scan->kind, SCAN_FULL);
    CHECK_EQ(scan->server_now, RESULT_NOW);
    CHECK_EQ(scan->received_at, RECEIVED);
    CHECK_EQ(scan->facts.version_num, 160003);
    CHECK_EQ(scan->facts.max_connections, 100);
    CHECK_EQ(scan->facts.reserved_connections, 2);
    CHECK_STR(scan->facts.own_user, "pgvigil");
    CHECK_EQ(scan->n_rows, 4);
    const struct session_row *row = scan->rows;
    CHECK_EQ(row[0].id.id, 100);
    CHECK_EQ(row[0].id.since, RESULT_NOW - 500);
    CHECK_EQ(row[0].client.family, ADDRESS_INET);
    CHECK_MEM(row[0].client.bytes, 4, inet4 + 4, 4);
    CHECK_STR(row[0].user, "owner");
    CHECK_STR(row[0].database, "data");
    CHECK_EQ(row[0].xact_start, TIMESTAMP_NONE);
    CHECK_NULL(row[0].query);
    CHECK_EQ(row[1].client.family, ADDRESS_INET6);
    CHECK_MEM(row[1].client.bytes, 16, inet6 + 4, 16);
    CHECK_STR(row[1].user, "root");
    CHECK(row[1].superuser && !row[0].superuser);
    CHECK_EQ(row[1].state, SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED);
    CHECK_EQ(row[1].command, SESSION_COMMAND_MAINTENANCE);
    CHECK(row[1].waits_lock && !row[1].waits_sync_rep);
    CHECK_EQ(row[1].query_matches, UINT32_MAX);
    CHECK_EQ(row[0].query_matches, 0);
    CHECK_EQ(row[1].n_blocked_by, 3); // each once
    CHECK_EQ(row[1].blocked_by[0], 100);
    CHECK_EQ(row[1].blocked_by[1], 0);
    CHECK_EQ(row[1].blocked_by[2], INT32_MAX);
    CHECK_EQ(row[3].n_blocked_by, 0);
    CHECK_NULL(row[0].blocked_by);
    CHECK_EQ(row[0].user_limit, 20);
    CHECK_EQ(row[0].database_limit, -1);
    CHECK_EQ(row[1].user_limit, -1);
    CHECK_EQ(row[2].user_limit, -1);
    CHECK_STR(row[2].user, "11");
    CHECK(row[2].waits_sync_rep && !row[2].waits_lock);
    CHECK_EQ(row[2].command, SESSION_COMMAND_LISTEN);
    CHECK_EQ(row[2].client.family, ADDRESS_LOCAL);
    CHECK_EQ(row[3].state, SESSION_STATE_NONE);
    CHECK_STR(row[3].user, "");
    CHECK_STR(row[3].database, "");
    job_free(job);
}

// One violation, and the whole poll is void.
static void violations(void) {
    enum what {
        NULL_PID,
        ZERO_PID,
        SHORT_PID,
        NULL_NAME,
        LONG_NAME,
        NUL_NAME,
        BAD_STATE,
        NULL_STATE_CHANGE,
        INFINITE,
        NULL_USER,
        NULL_DATABASE,
        BAD_INET,
        LONG_INET,
        NULL_FLAGS,
        NEGATIVE_FLAGS,
        BAD_FLAGS,
        BAD_MATCHES,
        NULL_MATCHES,
        SHORT_LIST,
        TRAILING_LIST,
        NULLS_IN_LIST,
        NULL_ITEM,
        NEGATIVE_ITEM,
        LONG_LIST,
        TWO_DIMENSIONS,
        TEXT_LIST,
        HIDDEN,
        N
    };
    static const char infinity[] = "\x7f\xff\xff\xff\xff\xff\xff\xff";
    static const int32_t blockers[QUERY_MAX_BLOCKERS + 1] = {5, 6, -7};
    uint32_t list[] = {htobe32(1), 0, htobe32(PG_TYPE_INT4), htobe32(1), htobe32(1), htobe32(4), htobe32(9)};
    char name[2000];
    memset(name, 'x', sizeof(name));
    for (unsigned what = 0; what < N; what++) {
        check_context("violation %u", what);
        PGresult *r = result_new(STATEMENT_SCAN_MORE);
        result_session(r, 0, 1);
        result_session(r, 1, 2);
        switch ((enum what)what) {
        case NULL_PID:
            result_null(r, 1, SCAN_PID);
            break;
        case ZERO_PID:
            result_int32(r, 1, SCAN_PID, 0);
            break;
        case SHORT_PID:
            result_bytes(r, 1, SCAN_PID, "\0\0\1", 3);
            break;
        case NULL_NAME:
            result_null(r, 1, SCAN_APPLICATION_NAME);
            break;
        case LONG_NAME:
            result_bytes(r, 1, SCAN_APPLICATION_NAME, name, sizeof(name));
            break;
        case NUL_NAME:
            result_bytes(r, 1, SCAN_APPLICATION_NAME, "a\0b", 3);
            break;
        case BAD_STATE:
            result_text(r, 1, SCAN_STATE, "dozing");
            break;
        case NULL_STATE_CHANGE:
            result_null(r, 1, SCAN_STATE_CHANGE);
            break;
        case INFINITE:
            result_bytes(r, 1, SCAN_XACT_START, infinity, 8);
            break;
        case NULL_USER:
            result_null(r, 1, SCAN_USER);
            break;
        case NULL_DATABASE:
            result_null(r, 1, SCAN_DATABASE);
            break;
        case BAD_INET:
            result_bytes(r, 1, SCAN_CLIENT, "\3\x20\0\4\1\2\3\4", 8);
            break;
        case LONG_INET:
            result_bytes(r, 1, SCAN_CLIENT, "\2\x20\0\4\1\2\3\4\5", 9);
            break;
        case NULL_FLAGS:
            result_null(r, 1, SCAN_FLAGS);
            break;
        case NEGATIVE_FLAGS:
            result_int32(r, 1, SCAN_FLAGS, UINT32_MAX);
            break;
        case BAD_FLAGS:
            result_int32(r, 1, SCAN_FLAGS, SCAN_FLAGS_MAX + 1);
            break;
        case BAD_MATCHES:
            result_int64(r, 1, SCAN_QUERY_MATCHES, INT64_C(1) << 32);
            break;
        case NULL_MATCHES:
            result_null(r, 1, SCAN_QUERY_MATCHES);
            break;
        case SHORT_LIST:
            result_bytes(r, 1, SCAN_BLOCKED_BY, list, 10);
            break;
        case TRAILING_LIST:
            result_bytes(r, 1, SCAN_BLOCKED_BY, list, sizeof(list) - 1);
            break;
        case NULLS_IN_LIST:
            list[1] = htobe32(1);
            result_bytes(r, 1, SCAN_BLOCKED_BY, list, sizeof(list));
            break;
        case NULL_ITEM:
            list[1] = 0;
            list[5] = UINT32_MAX;
            result_bytes(r, 1, SCAN_BLOCKED_BY, list, sizeof(list));
            break;
        case NEGATIVE_ITEM:
            result_list(r, 1, SCAN_BLOCKED_BY, blockers, 3);
            break;
        case LONG_LIST:
            result_list(r, 1, SCAN_BLOCKED_BY, blockers, ARRAY_SIZE(blockers));
            break;
        case TWO_DIMENSIONS:
            list[0] = htobe32(2);
            list[5] = htobe32(4);
            result_bytes(r, 1, SCAN_BLOCKED_BY, list, sizeof(list));
            break;
        case TEXT_LIST:
            list[0] = htobe32(1);
            list[2] = htobe32(PG_TYPE_TEXT);
            result_bytes(r, 1, SCAN_BLOCKED_BY, list, sizeof(list));
            break;
        case HIDDEN:
            result_null(r, 1, SCAN_BACKEND_START);
            break;
        case N:
            break;
        }
        struct job *job = decode_poll(result_facts(), r, 0);
        CHECK_EQ(job_error(job)->kind, what == HIDDEN ? PG_ERROR_DENIED : PG_ERROR_PROTOCOL);
        CHECK_NE(job_error(job)->message[0], '\0');
        CHECK(!job_next_round(job));
        CHECK_NULL(job_scan(job));
        job_free(job);
    }
}

// A poll that asks for nothing more has no columns for it, and takes none; sessions of different roles take turns.
static void lean_poll(void) {
    PGresult *sessions = result_new(STATEMENT_SCAN), *names = result_new(STATEMENT_NAMES);
    for (int i = 0; i < 6; i++) {
        result_session(sessions, i, 100 + (uint32_t)i);
        result_int32(sessions, i, SCAN_USER, 10 + (uint32_t)i % 3);
    }
    result_null(sessions, 5, SCAN_USER);
    result_null(sessions, 5, SCAN_STATE);
    struct job *job = decode_poll(result_facts(), sessions, 0);
    CHECK_STR(job_error(job)->message, "");
    CHECK(job_next_round(job));
    result_name(names, 0, true, 10, "a", false);
    result_name(names, 1, true, 12, "c", true);
    job_take_result(job, 0, names, RECEIVED + 1);
    static const char *const users[] = {"a", "11", "c", "a", "11", ""};
    CHECK_EQ(job_scan(job)->n_rows, ARRAY_SIZE(users));
    for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
        const struct session_row *row = &job_scan(job)->rows[i];
        CHECK_STR(row->user, users[i]);
        CHECK_EQ(row->superuser, i == 2);
        CHECK_NULL(row->query);
        CHECK_NULL(row->blocked_by);
        CHECK_EQ(row->query_matches, 0);
        CHECK_EQ(row->n_blocked_by, 0);
    }
    job_free(job);

    sessions = result_new(STATEMENT_SCAN_MORE);
    job = job_poll_new(&(struct poll_options){0});
    job_take_result(job, 0, result_facts(), RECEIVED);
    job_take_result(job, 1, sessions, RECEIVED);
    CHECK_CONTAINS(job_error(job)->message, "columns instead of");
    job_free(job);
}

static void disabled_row(void) {
    PGresult *r = result_new(STATEMENT_SCAN);
    result_session(r, 0, 1);
    result_text(r, 0, SCAN_STATE, "disabled");
    result_null(r, 0, SCAN_STATE_CHANGE);
    result_null(r, 0, SCAN_QUERY_START);
    struct job *job = decode_poll(result_facts(), r, 0);
    CHECK_STR(job_error(job)->message, "");
    job_free(job);
}

static void wrong_shape(void) {
    // Other columns, no row, two rows, no rows at all where there must be, a type, a format.
    PGresult *two = result_facts();
    for (int i = 0; i < PQnfields(two); i++) {
        result_bytes(two, 1, i, PQgetvalue(two, 0, i), (size_t)PQgetlength(two, 0, i));
    }
    PGresAttDesc attribute = {.format = 0, .typid = PG_TYPE_INT4};
    static char name[] = "c";
    attribute.name = name;
    PGresult *narrow = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    CHECK_EQ(PQsetResultAttrs(narrow, 1, &attribute), 1);
    PGresult *bad[] = {result_new(STATEMENT_FACTS),
                       two,
                       result_new(STATEMENT_NAMES),
                       narrow,
                       PQmakeEmptyPGresult(NULL, PGRES_COMMAND_OK),
                       PQmakeEmptyPGresult(NULL, PGRES_PIPELINE_ABORTED)};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        check_context("shape %zu", i);
        struct job *job = decode_poll(bad[i], result_new(STATEMENT_SCAN), 0);
        CHECK_EQ(job_error(job)->kind, PG_ERROR_PROTOCOL);
        CHECK(!job_next_round(job));
        CHECK_NULL(job_scan(job));
        job_free(job);
    }
    struct job *identify = job_identify_new();
    PGresult *pid = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    PGresAttDesc text[] = {{.name = name, .format = 0, .typid = PG_TYPE_INT4},
                           {.name = name, .format = 1, .typid = PG_TYPE_INT4}};
    CHECK_EQ(PQsetResultAttrs(pid, 2, text), 1);
    result_text(pid, 0, 0, "1234");
    result_text(pid, 0, 1, "1234");
    job_take_result(identify, 0, pid, 0);
    CHECK_CONTAINS(job_error(identify)->message, "not binary");
    job_free(identify);
}

// An empty poll is complete without names.
static void no_rows(void) {
    struct job *job = decode_poll(result_facts(), result_new(STATEMENT_SCAN), 0);
    CHECK(!job_next_round(job));
    CHECK_NOT_NULL(job_scan(job));
    CHECK_EQ(job_scan(job)->n_rows, 0);
    job_free(job);
}

static void query_is_cut(void) {
    static const struct {
        const char *text, *cut;
    } cases[] = {
        {"SELECT 1", "SELEC"},
        {"\xc3\xa4\xc3\xb6\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80x",
         "\xc3\xa4\xc3\xb6\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\xff\xfe\xc3", "\xff\xfe\xc3"},
        {"", ""},
    };
    PGresult *r = result_new(STATEMENT_SCAN_MORE);
    for (int i = 0; i < (int)ARRAY_SIZE(cases); i++) {
        result_session(r, i, 1 + (uint32_t)i);
        result_text(r, i, SCAN_QUERY, cases[i].text);
    }
    struct job *job = decode_poll(result_facts(), r, 5);
    CHECK(job_next_round(job));
    job_take_result(job, 0, result_new(STATEMENT_NAMES), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CHECK_STR(job_scan(job)->rows[i].query, cases[i].cut);
        CHECK_STR(job_scan(job)->rows[i].user, "10");
        CHECK_STR(job_scan(job)->rows[i].database, "5");
    }
    job_free(job);
    r = result_new(STATEMENT_SCAN_MORE);
    result_session(r, 0, 1);
    result_bytes(r, 0, SCAN_QUERY, "a\0b", 3);
    job = decode_poll(result_facts(), r, 5);
    CHECK_EQ(job_error(job)->kind, PG_ERROR_PROTOCOL);
    job_free(job);
}

static void look_takes_whom_it_asked_for(void) {
    const struct session_id ids[] = {{7, RESULT_NOW - 500}, {3, RESULT_NOW - 500}, {5, RESULT_NOW - 501}};
    struct job *job = job_look_new(&(struct poll_options){0}, ids, ARRAY_SIZE(ids));
    PGresult *r = result_new(STATEMENT_LOOK);
    result_session(r, 0, 3);
    result_session(r, 1, 5); // another backend under that pid
    result_session(r, 2, 6); // nobody asked
    job_take_result(job, 0, result_facts(), 0);
    job_take_result(job, 1, r, 0);
    CHECK(job_next_round(job));
    job_take_result(job, 0, result_new(STATEMENT_NAMES), 0);
    const struct scan *scan = job_scan(job);
    CHECK_EQ(scan->kind, SCAN_LOOK);
    CHECK_EQ(scan->n_rows, 1);
    CHECK_EQ(scan->rows[0].id.id, 3);
    CHECK_EQ(scan->n_asked, 3);
    CHECK_EQ(scan->asked[0].id, 7);
    job_free(job);
}

static struct job *decode_act(PGresult *result) {
    struct decision decision = {.serial = 9, .test = {.id = {1, 2}, .application_name = ""}};
    struct job *job = job_act_new(&(struct poll_options){0}, &decision, 1);
    job->act.reports[0].result = ACT_UNKNOWN; // as if sent
    job_take_result(job, 0, result, 0);
    return job;
}

static void acts(void) {
    static const struct {
        int rows, done; // -1: NULL
        bool unmoved;
        enum act_result expected;
    } cases[] = {{0, 0, false, ACT_LEFT},     {1, -1, false, ACT_CHANGED}, {1, -1, true, ACT_SPARED},
                 {1, 1, true, ACT_SIGNALLED}, {1, 0, true, ACT_FAILED},    {2, 1, true, ACT_UNKNOWN}};
    size_t n;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        check_context("act %zu", i);
        PGresult *r = result_new(STATEMENT_TERMINATE);
        for (int k = 0; k < cases[i].rows; k++) {
            result_int64(r, k, ACT_AT, RESULT_NOW);
            result_bool(r, k, ACT_UNMOVED, cases[i].unmoved);
            if (cases[i].done >= 0) {
                result_bool(r, k, ACT_DONE, cases[i].done != 0);
            }
        }
        struct job *job = decode_act(r);
        CHECK_EQ(job_acts(job, &n)[0].result, cases[i].expected);
        CHECK_EQ(job_acts(job, &n)[0].serial, 9);
        CHECK_EQ(job_error(job)->kind, cases[i].expected == ACT_UNKNOWN ? PG_ERROR_PROTOCOL : PG_ERROR_NONE);
        job_free(job);
    }
}

// ---- who leads

// The text of the patterns, as the server's array_in reads it.
static void patterns_are_quoted(void) {
    static char first[] = "a\\d\"{},b", second[] = "";
    struct query_pattern queries[] = {{first, true}, {second, false}};
    struct job *job = job_poll_new(&(struct poll_options){.queries = queries, .n_queries = 2});
    CHECK_STR(job->scan.patterns, "{\"(?i)a\\\\d\\\"{},b\",\"\"}");
    job_free(job);
    job = job_poll_new(&(struct poll_options){0});
    CHECK_NULL(job->scan.patterns);
    job_free(job);
}

static int poll_without_memory(void *userdata) {
    PGresult *const *made = userdata;
    int r = -ENOMEM;
    CLEANUP(job_freep) struct job *job = job_poll_new(&(struct poll_options){.query_text = 5});
    PGresult *results[3]; // copied by libpq's own allocator, which never fails here
    for (int i = 0; i < 3; i++) {
        results[i] = PQcopyResult(made[i], PG_COPYRES_TUPLES);
        CHECK_NOT_NULL(results[i]);
    }
    if (job) {
        job_take_result(job, 0, TAKE_PTR(results[0]), 0);
        job_take_result(job, 1, TAKE_PTR(results[1]), 0);
        if (job_next_round(job)) {
            job_take_result(job, 0, TAKE_PTR(results[2]), 0);
        }
        CHECK_EQ(job_scan(job) == NULL, job_error(job)->kind != PG_ERROR_NONE);
        if (job_scan(job)) {
            r = 0;
        } else {
            CHECK_STR(job_error(job)->message, "out of memory");
        }
    }
    for (int i = 0; i < 3; i++) {
        PQclear(results[i]);
    }
    return r;
}

static void out_of_memory(void) {
    PGresult *made[] = {result_facts(), result_new(STATEMENT_SCAN_MORE), result_new(STATEMENT_NAMES)};
    static const int32_t blocker = 3;
    for (int i = 0; i < 3; i++) {
        result_session(made[1], i, 1 + (uint32_t)i);
        result_list(made[1], i, SCAN_BLOCKED_BY, &blocker, 1);
        result_text(made[1], i, SCAN_QUERY, "SELECT 1");
        result_int32(made[1], i, SCAN_USER, 100 + (uint32_t)i);
    }
    oom_sweep(poll_without_memory, made);
    for (int i = 0; i < 3; i++) {
        PQclear(made[i]);
    }
}

static int act_without_memory(void *userdata) {
    (void)userdata;
    struct decision decisions[2] = {{.test = {.id = {1, 2}, .application_name = "a"}},
                                    {.test = {.id = {2, 2}, .application_name = "b"}}};
    struct job *job = job_act_new(&(struct poll_options){0}, decisions, 2);
    static char text[] = "^copy";
    const struct query_pattern query = {text, true};
    struct job *look =
        job_look_new(&(struct poll_options){.queries = &query, .n_queries = 1}, &decisions[0].test.id, 1);
    struct job *lead = job_lead_new(&(struct poll_options){0}, true, false);
    int r = job && look && lead ? 0 : -ENOMEM;
    job_free(lead);
    job_free(job);
    job_free(look);
    return r;
}

static void out_of_memory_for_jobs(void) {
    oom_sweep(act_without_memory, NULL);
}

CHECK_MAIN({"whole_poll", whole_poll}, {"violations", violations}, {"lean_poll", lean_poll},
           {"disabled_row", disabled_row}, {"wrong_shape", wrong_shape}, {"no_rows", no_rows},
           {"query_is_cut", query_is_cut}, {"look_takes_whom_it_asked_for", look_takes_whom_it_asked_for},
           {"acts", acts}, {"patterns_are_quoted", patterns_are_quoted}, {"out_of_memory", out_of_memory},
           {"out_of_memory_for_jobs", out_of_memory_for_jobs})
