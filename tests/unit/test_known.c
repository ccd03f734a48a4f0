// SPDX-License-Identifier: PostgreSQL
//
// Polls that are told only what has changed since the poll before.
#include <errno.h>

#include "pg/job.h"
#include "pg_result.h"
#include "support/check.h"
#include "support/oom.h"

#define N 6
#define PID(i) (100 + (uint32_t)(i))

static PGresult *known_names(void) {
    PGresult *names = result_new(STATEMENT_NAMES);
    result_name(names, 0, true, 10, "owner", false);
    result_name(names, 1, false, 5, "data", false);
    return names;
}

// The first poll: idle sessions with names of their own.
static PGresult *known_sessions(void) {
    PGresult *sessions = result_new(STATEMENT_SCAN);
    for (int i = 0; i < N; i++) {
        char name[] = "app-x";
        name[4] = (char)('a' + i / 2);
        result_session(sessions, i, PID(i));
        result_text(sessions, i, SCAN_APPLICATION_NAME, name);
    }
    return sessions;
}

static struct job *known_poll(struct known *known, PGresult *facts, PGresult *sessions) {
    struct job *job = job_poll_new(&(struct poll_options){.known = known});
    CHECK_NOT_NULL(job);
    CHECK_EQ(job_n_requests(job), 2);
    job_take_result(job, 0, facts, 1);
    job_take_result(job, 1, sessions, 1);
    return job;
}

static void known_finish(struct job *job, PGresult *names) {
    CHECK_STR(job_error(job)->message, "");
    CHECK(job_next_round(job));
    CHECK_EQ(job_n_requests(job), 1);
    job_take_result(job, 0, names, 1);
    CHECK(!job_next_round(job));
    CHECK_NOT_NULL(job_scan(job));
}

static struct known *known_after_one_poll(void) {
    struct known *known = known_new();
    CHECK_NOT_NULL(known);
    struct job *job = known_poll(known, result_facts(), known_sessions());
    known_finish(job, known_names());
    job_free(job);
    CHECK_EQ(known->mark, RESULT_NOW);
    return known;
}

// Still idle since then, as far as the server's answer says.
static void result_same(PGresult *r, int row, uint32_t pid, int64_t state_change) {
    result_int32(r, row, CHANGES_PID, pid);
    result_int64(r, row, CHANGES_STATE_CHANGE, state_change);
    result_null(r, row, CHANGES_SESSION);
}

// The row of `from` as a record, cut after so many bytes.
static void result_record(PGresult *r, int row, const PGresult *from, int from_row, size_t cut) {
    const struct statement *st = statement_get(STATEMENT_SCAN);
    char record[1024], *p = record;
    uint32_t word = htobe32(N_SCAN_COLUMNS - 1);
    p = (char *)memcpy(p, &word, 4) + 4;
    for (int i = 1; i < N_SCAN_COLUMNS; i++) {
        bool is_null = PQgetisnull(from, from_row, i);
        int len = PQgetlength(from, from_row, i);
        word = htobe32(st->columns[i].type);
        p = (char *)memcpy(p, &word, 4) + 4;
        word = htobe32(is_null ? UINT32_MAX : (uint32_t)len);
        p = (char *)memcpy(p, &word, 4) + 4;
        p = (char *)memcpy(p, PQgetvalue(from, from_row, i), (size_t)len) + len;
    }
    result_bytes(r, row, CHANGES_PID, PQgetvalue(from, from_row, SCAN_PID), 4);
    result_null(r, row, CHANGES_STATE_CHANGE); // stands in the record
    CHECK_LE(cut, p - record);
    result_bytes(r, row, CHANGES_SESSION, record, (size_t)(p - record) - cut);
}

// One has left, one runs a query, one is new; the rest is as it was.
static void only_changes_are_sent(void) {
    struct known *known = known_after_one_poll();
    PGresult *sessions = result_new(STATEMENT_CHANGES), *whole = known_sessions(), *names = known_names();
    result_same(sessions, 0, PID(0), RESULT_NOW - 300);
    result_same(sessions, 1, PID(2), RESULT_NOW - 300);
    result_text(whole, 3, SCAN_STATE, "active");
    result_int64(whole, 3, SCAN_STATE_CHANGE, RESULT_NOW - 1);
    result_record(sessions, 2, whole, 3, 0);
    result_int32(whole, 4, SCAN_PID, 999);
    result_text(whole, 4, SCAN_APPLICATION_NAME, "newcomer");
    result_int32(whole, 4, SCAN_FLAGS, SCAN_FLAG_LOCK + 1);
    result_record(sessions, 3, whole, 4, 0);
    result_same(sessions, 4, PID(5), RESULT_NOW - 300);
    PQclear(whole);
    result_text(names, 0, NAMES_NAME, "renamed");
    struct job *job = known_poll(known, result_facts(), sessions);
    known_finish(job, names);
    static const struct {
        int64_t pid;
        const char *name;
        enum session_state state;
    } expected[] = {
        {PID(0), "app-a", SESSION_STATE_IDLE},   {PID(2), "app-b", SESSION_STATE_IDLE},
        {PID(3), "app-b", SESSION_STATE_ACTIVE}, {999, "newcomer", SESSION_STATE_IDLE},
        {PID(5), "app-c", SESSION_STATE_IDLE},
    };
    const struct scan *scan = job_scan(job);
    CHECK_EQ(scan->n_rows, ARRAY_SIZE(expected));
    for (size_t i = 0; i < ARRAY_SIZE(expected); i++) {
        const struct session_row *row = &scan->rows[i];
        CHECK_EQ(row->id.id, expected[i].pid);
        CHECK_EQ(row->id.since, RESULT_NOW - 500);
        CHECK_STR(row->application_name, expected[i].name);
        CHECK_EQ(row->state, expected[i].state);
        CHECK_EQ(row->state_change, RESULT_NOW - (i == 2 ? 1 : 300));
        CHECK_EQ(row->query_start, RESULT_NOW - 400);
        CHECK_EQ(row->xact_start, TIMESTAMP_NONE);
        CHECK_EQ(row->command, i == 3 ? SESSION_COMMAND_LISTEN : SESSION_COMMAND_OTHER);
        CHECK_EQ(row->waits_lock, i == 3);
        CHECK_STR(row->user, "renamed"); // names are never taken from before
        CHECK_STR(row->database, "data");
    }
    // What it borrows is its own: the poll after it changes nothing of it.
    PGresult *third = result_new(STATEMENT_CHANGES);
    result_same(third, 0, 999, RESULT_NOW - 300);
    struct job *next = known_poll(known, result_facts(), third);
    known_finish(next, known_names());
    CHECK_STR(job_scan(next)->rows[0].application_name, "newcomer");
    CHECK_STR(scan->rows[4].application_name, "app-c");
    CHECK_EQ(job_scan(next)->n_rows, 1);
    job_free(next);
    job_free(job);
    known_free(known);
}

// An idle session has a transaction for as long as it takes in what others notify or invalidate. What it had at the
// last poll does not stay.
static void transactions_pass(void) {
    struct known *known = known_new();
    CHECK_NOT_NULL(known);
    PGresult *sessions = known_sessions(), *changes = result_new(STATEMENT_CHANGES);
    result_int64(sessions, 2, SCAN_XACT_START, RESULT_NOW - 5);
    struct job *first = known_poll(known, result_facts(), sessions);
    known_finish(first, known_names());
    CHECK_EQ(job_scan(first)->rows[2].xact_start, RESULT_NOW - 5);
    result_same(changes, 0, PID(2), RESULT_NOW - 300);
    struct job *second = known_poll(known, result_facts(), changes);
    known_finish(second, known_names());
    CHECK_EQ(job_scan(second)->rows[0].xact_start, TIMESTAMP_NONE);
    job_free(first);
    job_free(second);
    known_free(known);
}

// What does not fit to the poll before is never believed: everything is read, in the same poll.
static void doubt(void) {
    enum { UNKNOWN_PID, OTHER_TIME, NO_TIME, WAS_ACTIVE, TWICE, OTHER_ORDER, N_CASES };
    for (int what = 0; what < N_CASES; what++) {
        check_context("case %d", what);
        struct known *known = known_after_one_poll();
        known->list->rows[2].state = what == WAS_ACTIVE ? SESSION_STATE_ACTIVE : SESSION_STATE_IDLE;
        PGresult *r = result_new(STATEMENT_CHANGES);
        result_same(r, 0, PID(1), RESULT_NOW - 300);
        result_same(r, 1, PID(2), RESULT_NOW - 300);
        if (what == UNKNOWN_PID) {
            result_same(r, 1, 999, RESULT_NOW - 300);
        } else if (what == OTHER_TIME) {
            result_same(r, 1, PID(2), RESULT_NOW - 301);
        } else if (what == NO_TIME) {
            result_null(r, 1, CHANGES_STATE_CHANGE);
        } else if (what == TWICE || what == OTHER_ORDER) {
            result_same(r, 1, PID(what == TWICE ? 1 : 0), RESULT_NOW - 300);
        }
        struct job *job = known_poll(known, result_facts(), r);
        CHECK_STR(job_error(job)->message, "");
        CHECK(job_next_round(job));
        CHECK_EQ(job_n_requests(job), 1);
        CHECK_EQ(job->scan.statement, STATEMENT_SCAN);
        CHECK_NULL(job_scan(job));
        r = known_sessions();
        result_text(r, 2, SCAN_APPLICATION_NAME, "as it is");
        job_take_result(job, 0, r, 1);
        known_finish(job, known_names());
        CHECK_EQ(job_scan(job)->n_rows, N);
        CHECK_STR(job_scan(job)->rows[2].application_name, "as it is");
        job_free(job);
        known_free(known);
    }
}

// An empty server after a doubt.
static void doubt_about_nobody(void) {
    struct known *known = known_after_one_poll();
    PGresult *r = result_new(STATEMENT_CHANGES);
    result_same(r, 0, 999, RESULT_NOW - 300);
    struct job *job = known_poll(known, result_facts(), r);
    CHECK(job_next_round(job));
    job_take_result(job, 0, result_new(STATEMENT_SCAN), 1);
    CHECK(!job_next_round(job));
    CHECK_EQ(job_scan(job)->n_rows, 0);
    job_free(job);
    known_free(known);
}

static void broken_records(void) {
    enum { CUT, TYPE, COUNT, LENGTH, LONG, STATE, NUL, HIDDEN, NO_PID, N_CASES };
    for (int what = 0; what < N_CASES; what++) {
        check_context("case %d", what);
        struct known *known = known_after_one_poll();
        PGresult *r = result_new(STATEMENT_CHANGES), *whole = known_sessions();
        if (what == STATE) {
            result_text(whole, 0, SCAN_STATE, "idling");
        } else if (what == NUL) {
            result_bytes(whole, 0, SCAN_APPLICATION_NAME, "a\0b", 3);
        } else if (what == HIDDEN) {
            result_null(whole, 0, SCAN_BACKEND_START);
        }
        result_record(r, 0, whole, 0, what == CUT ? 1 : 0);
        char *record = PQgetvalue(r, 0, CHANGES_SESSION);
        if (what == TYPE) {
            record[7]++;
        } else if (what == COUNT) {
            record[3]++;
        } else if (what == LENGTH) {
            record[8] = (char)0x80;
        } else if (what == LONG) {
            record[8] = 0x7f;
        } else if (what == NO_PID) {
            result_null(r, 0, CHANGES_PID);
        }
        struct job *job = known_poll(known, result_facts(), r);
        CHECK_EQ(job_error(job)->kind, what == HIDDEN ? PG_ERROR_DENIED : PG_ERROR_PROTOCOL);
        CHECK(!job_next_round(job));
        CHECK_NULL(job_scan(job));
        CHECK_EQ(known->list->n_rows, N); // the last complete one stays
        job_free(job);
        PQclear(whole);
        known_free(known);
    }
}

// Everything is read for the first poll of a connection, now and then, and when more is asked for.
static void reads_everything(void) {
    struct known *known = known_after_one_poll();
    unsigned n = 0;
    for (;; n++) {
        struct job *job = job_poll_new(&(struct poll_options){.known = known});
        if (job->scan.statement == STATEMENT_SCAN) {
            job_free(job);
            break;
        }
        CHECK_LE(n, 100);
        CHECK_EQ(job->scan.statement, STATEMENT_CHANGES);
        PGresult *r = result_new(STATEMENT_CHANGES);
        result_same(r, 0, PID(0), RESULT_NOW - 300);
        job_take_result(job, 0, result_facts(), 1);
        job_take_result(job, 1, r, 1);
        known_finish(job, known_names());
        job_free(job);
    }
    CHECK_GE(n, 30);
    struct job *job = known_poll(known, result_facts(), known_sessions());
    known_finish(job, known_names());
    job_free(job);
    CHECK_NOT_NULL(known->list);

    PGresult *more = result_new(STATEMENT_SCAN_MORE);
    result_session(more, 0, PID(0));
    job = job_poll_new(&(struct poll_options){.known = known, .query_text = 5});
    CHECK_EQ(job->scan.statement, STATEMENT_SCAN_MORE);
    job_take_result(job, 0, result_facts(), 1);
    job_take_result(job, 1, more, 1);
    known_finish(job, known_names());
    job_free(job);
    CHECK_NULL(known->list);
    known_free(known);
    CHECK_NULL(known_free(NULL));
}

struct made {
    PGresult *results[7];
};

static PGresult *made_copy(const struct made *made, int i) {
    PGresult *copy = PQcopyResult(made->results[i], PG_COPYRES_TUPLES);
    CHECK_NOT_NULL(copy);
    return copy;
}

// Two polls, the second one in doubt; true: it came through.
static bool polls_without_memory(struct known *known, const struct made *made) {
    bool done = true;
    for (int i = 0; i < 2 && done; i++) {
        CLEANUP(job_freep) struct job *job = job_poll_new(&(struct poll_options){.known = known});
        if (!job) {
            return false;
        }
        job_take_result(job, 0, made_copy(made, 0), 0);
        job_take_result(job, 1, made_copy(made, i == 0 ? 1 : 2), 0);
        for (int round = 1; job_next_round(job); round++) {
            job_take_result(job, 0, made_copy(made, i == 1 && round == 1 ? 1 : 3), 0);
        }
        done = job_scan(job) != NULL;
        CHECK_EQ(done, job_error(job)->kind == PG_ERROR_NONE);
    }
    return done;
}

static int known_without_memory(void *userdata) {
    struct known *known = known_new();
    bool done = known && polls_without_memory(known, userdata);
    known_free(known);
    return done ? 0 : -ENOMEM;
}

static void out_of_memory(void) {
    struct made made = {{result_facts(), known_sessions(), result_new(STATEMENT_CHANGES), known_names()}};
    result_same(made.results[2], 0, PID(0), RESULT_NOW - 300);
    result_same(made.results[2], 1, 999, RESULT_NOW - 300);
    oom_sweep(known_without_memory, &made);
    for (size_t i = 0; i < ARRAY_SIZE(made.results); i++) {
        PQclear(made.results[i]);
    }
}

CHECK_MAIN({"only_changes_are_sent", only_changes_are_sent}, {"transactions_pass", transactions_pass}, {"doubt", doubt},
           {"doubt_about_nobody", doubt_about_nobody}, {"broken_records", broken_records},
           {"reads_everything", reads_everything}, {"out_of_memory", out_of_memory})
