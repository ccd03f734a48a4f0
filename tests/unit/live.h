// SPDX-License-Identifier: PostgreSQL
#pragma once

// What tests of the pg layer against a real server share. PGVIGIL_TEST_CONNINFO names it (as a superuser, directly);
// without it everything is skipped.

#include <poll.h>
#include <stdlib.h>
#include <time.h>

#include <libpq-fe.h>

#include "pg/connection.h"
#include "support/check.h"
#include "util/strbuf.h"

#define LIVE_TIMEOUT (10 * USEC_PER_SEC)

static inline usec_t live_now(void) {
    struct timespec ts;
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (usec_t)ts.tv_sec * USEC_PER_SEC + (usec_t)ts.tv_nsec / 1000;
}

static inline const char *live_conninfo(void) {
    const char *text = getenv("PGVIGIL_TEST_CONNINFO");
    if (!text || !*text) {
        check_skip("PGVIGIL_TEST_CONNINFO is not set");
    }
    return text;
}

// Waits as its owner would, until something happens.
static inline enum connection_event live_wait(struct connection *connection, struct job **ret_job) {
    usec_t give_up = live_now() + 3 * LIVE_TIMEOUT;
    unsigned ready = 0;
    for (;;) {
        usec_t now = live_now();
        enum connection_event event = connection_dispatch(connection, ready, now, ret_job);
        CHECK_LT(now, give_up);
        if (event != CONNECTION_NOTHING) {
            return event;
        }
        unsigned wants = connection_wants(connection);
        struct pollfd fd = {.fd = connection_fd(connection),
                            .events = (short)((wants & CONNECTION_WANTS_READ ? POLLIN : 0) |
                                              (wants & CONNECTION_WANTS_WRITE ? POLLOUT : 0))};
        usec_t left = usec_sub(MIN(connection_deadline(connection), give_up), now);
        CHECK_GE(poll(&fd, 1, (int)(left / 1000) + 1), 0);
        ready = ((fd.revents & (POLLIN | POLLHUP | POLLERR)) ? CONNECTION_WANTS_READ : 0u) |
                ((fd.revents & (POLLOUT | POLLHUP | POLLERR)) ? CONNECTION_WANTS_WRITE : 0u);
    }
}

static inline struct connection *live_connect_as(const char *text, const char *user) {
    CLEANUP(conninfo_freep) struct conninfo *conninfo = NULL;
    char *why = NULL;
    int r = conninfo_parse(text, &conninfo, &why);
    CHECK_STR(why, NULL);
    CHECK_EQ(r, 0);
    if (user) {
        CHECK_EQ(conninfo_set(conninfo, "user", user), 0);
    }
    struct connection *connection = connection_new();
    connection_start(connection, conninfo, live_now(), live_now() + LIVE_TIMEOUT);
    struct job *none = NULL;
    enum connection_event event = live_wait(connection, &none);
    CHECK_STR(connection_error(connection)->message, "");
    CHECK_EQ(event, CONNECTION_UP);
    return connection;
}

static inline struct job *live_run(struct connection *connection, struct job *job) {
    struct job *done = NULL;
    connection_submit(connection, job, LIVE_TIMEOUT);
    CHECK_EQ(live_wait(connection, &done), CONNECTION_JOB);
    CHECK(done == job);
    return done;
}

static inline struct job *live_run_ok(struct connection *connection, struct job *job) {
    struct job *done = live_run(connection, job);
    CHECK_STR(job_error(done)->message, "");
    CHECK_EQ(job_error(done)->kind, PG_ERROR_NONE);
    return done;
}

// An ordinary client, blocking.
static inline PGconn *live_client(const char *extra) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    strbuf_addf(&text, "%s %s", live_conninfo(), extra);
    PGconn *pq = PQconnectdb(strbuf_str(&text));
    CHECK_STR(PQerrorMessage(pq), "");
    return pq;
}

static inline void live_sql(PGconn *pq, const char *sql) {
    PGresult *result = PQexec(pq, sql);
    ExecStatusType status = PQresultStatus(result);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        CHECK_FAIL("%s: %s", sql, PQerrorMessage(pq));
    }
    PQclear(result);
}

static inline void live_roles(void) {
    PGconn *pq = live_client("");
    live_sql(pq, "SET client_min_messages = error");
    live_sql(pq, "DO $$ BEGIN CREATE ROLE vigil_test LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
    live_sql(pq, "DO $$ BEGIN CREATE ROLE vigil_weak LOGIN CONNECTION LIMIT 2; EXCEPTION WHEN duplicate_object "
                 "THEN NULL; END $$");
    live_sql(pq, "DO $$ BEGIN CREATE ROLE \"vigil app\" LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$");
    live_sql(pq, "GRANT pg_read_all_stats, pg_signal_backend TO vigil_test");
    PQfinish(pq);
}

static inline const struct session_row *live_row(const struct scan *scan, PGconn *client) {
    for (size_t i = 0; i < scan->n_rows; i++) {
        if (scan->rows[i].id.id == PQbackendPID(client)) {
            return &scan->rows[i];
        }
    }
    return NULL;
}

struct live {
    struct connection *connection;
    struct poll_options options;
    bool leads; // as of the last answer
};

static inline struct live live_set_up(const char *user) {
    live_roles();
    struct live live = {.connection = live_connect_as(live_conninfo(), user)};
    struct job *job = live_run_ok(live.connection, job_identify_new());
    CHECK_EQ(job_identity(job).backend_pid, connection_backend_pid(live.connection));
    CHECK_EQ(job_identity(job).version_num, connection_server_version(live.connection));
    live.options = (struct poll_options){.version_num = job_identity(job).version_num, .prepared = true};
    job_free(job);
    job_free(live_run_ok(live.connection, job_set_up_new(live.options.version_num, 5 * USEC_PER_SEC)));
    return live;
}

static inline struct decision live_decide(const struct scan *scan, PGconn *client, enum session_time time) {
    const struct session_row *row = live_row(scan, client);
    CHECK_NOT_NULL(row);
    return (struct decision){
        .serial = (uint64_t)row->id.id,
        .action = ACTION_TERMINATE,
        .test = {.id = row->id,
                 .user_oid = row->user_oid,
                 .database_oid = row->database_oid,
                 .application_name = row->application_name,
                 .states = SESSION_STATE_BIT(row->state),
                 .time = time,
                 .at = session_row_time(row, time),
                 .query_start = TIMESTAMP_NONE,
                 .spare_listeners = true,
                 .spare_maintenance = true},
    };
}
