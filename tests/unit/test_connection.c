// SPDX-License-Identifier: PostgreSQL
//
// The state machine against a scripted server in the same thread: over a Unix socket all that was written is there to
// be read, so nothing waits, and the clock is invented.
#include "pg/connection.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "pg_result.h"
#include "support/check.h"
#include "util/fd.h"
#include "util/strbuf.h"

#define CONNECT_DEADLINE (5 * USEC_PER_SEC)
#define JOB_TIMEOUT (15 * USEC_PER_SEC)

struct server {
    char dir[32], path[64];
    int listening, fd;
    struct connection *connection;
    struct conninfo *conninfo;
    usec_t now;
};

static void put(struct strbuf *sb, char type, const void *body, size_t len) {
    uint32_t wire = htobe32((uint32_t)len + 4);
    strbuf_add_char(sb, type);
    strbuf_add_bytes(sb, &wire, sizeof(wire));
    strbuf_add_bytes(sb, body, len);
}

static void put_int32(struct strbuf *sb, uint32_t value) {
    uint32_t wire = htobe32(value);
    strbuf_add_bytes(sb, &wire, sizeof(wire));
}

static void put_int16(struct strbuf *sb, unsigned value) {
    strbuf_add_char(sb, (char)(value >> 8));
    strbuf_add_char(sb, (char)value);
}

static void put_ready(struct strbuf *sb) {
    put(sb, 'Z', "I", 1);
}

static void put_error(struct strbuf *sb, char type, const char *severity, const char *sqlstate, const char *message,
                      const char *routine) {
    CLEANUP(strbuf_deinit) struct strbuf body = STRBUF_EMPTY;
    const char *const fields[][2] = {{"S", severity}, {"V", severity}, {"C", sqlstate}, {"M", message},
                                     {"F", "file.c"}, {"L", "1"},      {"R", routine}};
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        strbuf_add(&body, fields[i][0]);
        strbuf_add_bytes(&body, fields[i][1], strlen(fields[i][1]) + 1);
    }
    strbuf_add_char(&body, '\0');
    put(sb, type, body.data, body.len);
}

// The answer to an unnamed statement, with the rows of a made result.
static void put_result(struct strbuf *sb, PGresult *result) {
    CLEANUP(strbuf_deinit) struct strbuf body = STRBUF_EMPTY;
    put(sb, '1', "", 0);
    put(sb, '2', "", 0);
    put_int16(&body, (unsigned)PQnfields(result));
    for (int i = 0; i < PQnfields(result); i++) {
        strbuf_add_bytes(&body, "c", 2);
        put_int32(&body, 0);
        put_int16(&body, 0);
        put_int32(&body, PQftype(result, i));
        put_int16(&body, 0xffff);
        put_int32(&body, 0xffffffff);
        put_int16(&body, (unsigned)PQfformat(result, i));
    }
    put(sb, 'T', body.data, body.len);
    for (int row = 0; row < PQntuples(result); row++) {
        strbuf_clear(&body);
        put_int16(&body, (unsigned)PQnfields(result));
        for (int i = 0; i < PQnfields(result); i++) {
            bool null = PQgetisnull(result, row, i);
            put_int32(&body, null ? 0xffffffff : (uint32_t)PQgetlength(result, row, i));
            strbuf_add_bytes(&body, PQgetvalue(result, row, i), (size_t)PQgetlength(result, row, i));
        }
        put(sb, 'D', body.data, body.len);
    }
    put(sb, 'C', "SELECT 1", 9);
    PQclear(result);
}

static void server_send(struct server *s, const struct strbuf *sb) {
    CHECK_EQ(fd_write_all(s->fd, sb->data, sb->len), 0);
}

static void server_read_all(struct server *s) {
    char buffer[65536];
    while (recv(s->fd, buffer, sizeof(buffer), MSG_DONTWAIT) > 0) {
    }
}

// One turn of the owner's loop, in no time.
static enum connection_event server_turn(struct server *s, struct job **ret_job) {
    unsigned wants = connection_wants(s->connection), ready = 0;
    struct pollfd fd = {.fd = connection_fd(s->connection),
                        .events = (short)((wants & CONNECTION_WANTS_READ ? POLLIN : 0) |
                                          (wants & CONNECTION_WANTS_WRITE ? POLLOUT : 0))};
    CHECK_GE(poll(&fd, 1, 0), 0);
    if (fd.revents & (POLLIN | POLLHUP | POLLERR)) {
        ready |= CONNECTION_WANTS_READ;
    }
    if (fd.revents & (POLLOUT | POLLERR)) {
        ready |= CONNECTION_WANTS_WRITE;
    }
    return connection_dispatch(s->connection, ready, s->now, ret_job);
}

// Turns until something happens or nothing more can.
static enum connection_event server_turns(struct server *s, struct job **ret_job) {
    for (int i = 0; i < 20; i++) {
        enum connection_event event = server_turn(s, ret_job);
        if (event != CONNECTION_NOTHING) {
            return event;
        }
    }
    return CONNECTION_NOTHING;
}

static void server_start(struct server *s) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char *why = NULL;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    *s = (struct server){.dir = "/tmp/pgvigil-XXXXXX", .fd = -1, .now = 1000};
    CHECK_NOT_NULL(mkdtemp(s->dir));
    (void)snprintf(s->path, sizeof(s->path), "%s/.s.PGSQL.5432", s->dir);
    memcpy(address.sun_path, s->path, strlen(s->path) + 1);
    s->listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQ(bind(s->listening, (struct sockaddr *)(void *)&address, sizeof(address)), 0);
    CHECK_EQ(listen(s->listening, 1), 0);
    strbuf_addf(&text, "host=%s port=5432 user=u dbname=d sslmode=disable", s->dir);
    CHECK_EQ(conninfo_parse(strbuf_str(&text), &s->conninfo, &why), 0);
    s->connection = connection_new();
    CHECK_EQ(connection_fd(s->connection), -1);
    connection_start(s->connection, s->conninfo, s->now, CONNECT_DEADLINE);
    CHECK_EQ(connection_wants(s->connection), CONNECTION_WANTS_WRITE); // as libpq says: first for write
    s->fd = accept4(s->listening, NULL, NULL, SOCK_CLOEXEC);
    CHECK_GE(s->fd, 0);
}

static void server_stop(struct server *s) {
    connection_free(s->connection);
    conninfo_free(s->conninfo);
    (void)fd_close(s->fd);
    (void)fd_close(s->listening);
    (void)unlink(s->path);
    (void)rmdir(s->dir);
}

static void server_log_in(struct server *s) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    struct job *job = NULL;
    CHECK_EQ(server_turns(s, &job), CONNECTION_NOTHING);
    CHECK(!connection_is_up(s->connection));
    server_read_all(s);
    put(&sb, 'R', "\0\0\0\0", 4);
    put(&sb, 'S',
        "server_version\0"
        "16.3",
        20);
    put(&sb, 'K', "\0\0\020\0\0\0\0\1", 8);
    put_ready(&sb);
    server_send(s, &sb);
    CHECK_EQ(server_turns(s, &job), CONNECTION_UP);
    CHECK_EQ(server_turns(s, &job), CONNECTION_NOTHING);
}

static void server_up(struct server *s) {
    server_start(s);
    server_log_in(s);
}

static PGresult *result_identify(void) {
    PGresult *r = result_new(STATEMENT_IDENTIFY);
    result_int32(r, 0, IDENTIFY_PID, 77);
    result_int32(r, 0, IDENTIFY_VERSION, 160003);
    return r;
}

static void server_answers_identify(struct server *s) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    put_result(&sb, result_identify());
    put_ready(&sb);
    server_read_all(s);
    server_send(s, &sb);
}

static void logs_in(void) {
    struct server s;
    server_up(&s);
    CHECK(connection_is_up(s.connection));
    CHECK_EQ(connection_backend_pid(s.connection), 4096);
    CHECK_EQ(connection_server_version(s.connection), 160003);
    CHECK_EQ(connection_wants(s.connection), CONNECTION_WANTS_READ);
    CHECK_EQ(connection_deadline(s.connection), USEC_INFINITY);
    CHECK(!connection_is_busy(s.connection));
    connection_close(s.connection);
    CHECK_EQ(connection_fd(s.connection), -1);
    CHECK_EQ(connection_backend_pid(s.connection), 0);
    server_stop(&s);
}

static void login_deadline(void) {
    struct server s;
    struct job *job = NULL;
    server_start(&s);
    CHECK_EQ(server_turns(&s, &job), CONNECTION_NOTHING);
    CHECK_EQ(connection_deadline(s.connection), CONNECT_DEADLINE);
    s.now = CONNECT_DEADLINE - 1;
    CHECK_EQ(server_turn(&s, &job), CONNECTION_NOTHING);
    s.now++;
    CHECK_EQ(server_turn(&s, &job), CONNECTION_LOST);
    CHECK_EQ(connection_error(s.connection)->kind, PG_ERROR_TIMEOUT);
    CHECK_EQ(connection_fd(s.connection), -1);
    CHECK_EQ(server_turn(&s, &job), CONNECTION_NOTHING);
    CHECK_EQ(connection_deadline(s.connection), USEC_INFINITY);
    server_stop(&s);
}

static void login_refused(void) {
    static const struct {
        const char *sqlstate, *routine;
        enum pg_error_kind kind;
    } cases[] = {
        {"53300", "InitProcess", PG_ERROR_FULL},
        {"53300", "InitializeSessionUserId", PG_ERROR_OWN_LIMIT},
        {"28P01", "auth_failed", PG_ERROR_AUTH},
        {"57P03", "ProcessStartupPacket", PG_ERROR_STARTING},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
        struct server s;
        struct job *job = NULL;
        server_start(&s);
        CHECK_EQ(server_turns(&s, &job), CONNECTION_NOTHING);
        put_error(&sb, 'E', "FATAL", cases[i].sqlstate, "no way in", cases[i].routine);
        server_send(&s, &sb);
        s.fd = fd_close(s.fd);
        CHECK_EQ(server_turns(&s, &job), CONNECTION_LOST);
        CHECK_EQ(connection_error(s.connection)->kind, cases[i].kind);
        CHECK_STR(connection_error(s.connection)->sqlstate, cases[i].sqlstate);
        CHECK_STR(connection_error(s.connection)->message, "no way in");
        server_stop(&s);
    }
}

static void nobody_listens(void) {
    CLEANUP(connection_freep) struct connection *c = connection_new();
    CLEANUP(conninfo_freep) struct conninfo *conninfo = NULL;
    char *why = NULL;
    struct job *job = NULL;
    CHECK_EQ(conninfo_parse("host=/nonexistent user=u", &conninfo, &why), 0);
    for (int again = 0; again < 2; again++) {
        connection_start(c, conninfo, 0, CONNECT_DEADLINE);
        CHECK_EQ(connection_deadline(c), 0); // at once
        CHECK_EQ(connection_dispatch(c, 0, 0, &job), CONNECTION_LOST);
        CHECK_EQ(connection_error(c)->kind, PG_ERROR_UNREACHABLE);
        CHECK_CONTAINS(connection_error(c)->message, "/nonexistent");
        connection_close(c);
    }
    struct conninfo *unresolved = NULL;
    CHECK_EQ(conninfo_parse("host=some.name user=u", &unresolved, &why), 0);
    connection_start(c, unresolved, 0, CONNECT_DEADLINE);
    CHECK_EQ(connection_dispatch(c, 0, 0, &job), CONNECTION_LOST);
    CHECK_STR(connection_error(c)->message, "no host has an address");
    conninfo_free(unresolved);
}

// In order, and a failed one leaves the next alone.
static void jobs_in_order(void) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    struct server s;
    struct job *jobs[3], *job = NULL;
    server_start(&s);
    for (int i = 0; i < 3; i++) {
        jobs[i] = job_identify_new();
        connection_submit(s.connection, jobs[i], JOB_TIMEOUT); // while connecting
    }
    CHECK(connection_is_busy(s.connection));
    server_log_in(&s);
    CHECK_EQ(connection_deadline(s.connection), s.now + JOB_TIMEOUT);
    server_answers_identify(&s);
    CHECK_EQ(server_turns(&s, &job), CONNECTION_JOB);
    CHECK(job == jobs[0]);
    CHECK_EQ(job_error(job)->kind, PG_ERROR_NONE);
    CHECK_EQ(job_identity(job).backend_pid, 77);
    CHECK_EQ(connection_deadline(s.connection), 0); // the next one waits
    CHECK_EQ(server_turns(&s, &job), CONNECTION_NOTHING);
    put_error(&sb, 'N', "NOTICE", "00000", "by the way", "f");
    put_error(&sb, 'E', "ERROR", "57014", "canceling statement due to statement timeout", "ProcessInterrupts");
    put_ready(&sb);
    server_send(&s, &sb);
    CHECK_EQ(server_turns(&s, &job), CONNECTION_JOB);
    CHECK(job == jobs[1]);
    CHECK_EQ(job_error(job)->kind, PG_ERROR_CANCELLED);
    CHECK_STR(job_error(job)->sqlstate, "57014");
    CHECK_EQ(server_turns(&s, &job), CONNECTION_NOTHING);
    server_answers_identify(&s);
    CHECK_EQ(server_turns(&s, &job), CONNECTION_JOB);
    CHECK(job == jobs[2]);
    CHECK_EQ(job_error(job)->kind, PG_ERROR_NONE);
    CHECK_EQ(connection_deadline(s.connection), USEC_INFINITY);
    for (int i = 0; i < 3; i++) {
        job_free(jobs[i]);
    }
    server_stop(&s);
}

static void two_rounds(void) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    struct server s;
    struct job *job = NULL;
    server_up(&s);
    s.now = 5000;
    connection_submit(s.connection, job_poll_new(&(struct poll_options){0}), JOB_TIMEOUT);
    CHECK_EQ(connection_deadline(s.connection), 0);
    CHECK_EQ(server_turns(&s, &job), CONNECTION_NOTHING);
    PGresult *sessions = result_new(STATEMENT_SCAN), *names = result_new(STATEMENT_NAMES);
    result_session(sessions, 0, 8);
    result_name(names, 0, true, 10, "role", true);
    put_result(&sb, result_facts());
    put_result(&sb, sessions);
    put_ready(&sb);
    server_send(&s, &sb);
    s.now = 6000;
    CHECK_EQ(server_turns(&s, &job), CONNECTION_NOTHING);
    CHECK_EQ(connection_deadline(s.connection), 5000 + JOB_TIMEOUT); // of both
    strbuf_clear(&sb);
    put_result(&sb, names);
    put_ready(&sb);
    server_send(&s, &sb);
    s.now = 7000;
    CHECK_EQ(server_turns(&s, &job), CONNECTION_JOB);
    const struct scan *scan = job_scan(job);
    CHECK_NOT_NULL(scan);
    CHECK_EQ(scan->sent_at, 5000);
    CHECK_EQ(scan->received_at, 6000);
    CHECK_STR(scan->rows[0].user, "role");
    CHECK_STR(scan->rows[0].database, "5");
    job_free(job);
    server_stop(&s);
}

static struct job *act_job(size_t n) {
    struct decision decisions[ACT_MAX] = {0};
    for (size_t i = 0; i < n; i++) {
        decisions[i].serial = i;
        decisions[i].test.id = (struct session_id){(int64_t)i + 1, 1};
        decisions[i].test.application_name = "a";
    }
    return job_act_new(&(struct poll_options){0}, decisions, n);
}

static PGresult *result_signalled(void) {
    PGresult *r = result_new(STATEMENT_TERMINATE);
    result_bool(r, 0, ACT_DONE, true);
    result_int64(r, 0, ACT_AT, RESULT_NOW);
    result_bool(r, 0, ACT_UNMOVED, true);
    return r;
}

// The connection breaks in the middle of the answers: what was answered stands, the rest is unknown; what waited was
// not sent.
static void acts_cut_short(void) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    struct server s;
    struct job *job = NULL, *waiting = act_job(1), *running = act_job(4);
    size_t n;
    server_up(&s);
    connection_submit(s.connection, running, JOB_TIMEOUT);
    connection_submit(s.connection, waiting, JOB_TIMEOUT);
    CHECK_EQ(server_turns(&s, &job), CONNECTION_NOTHING);
    server_read_all(&s); // closed with unread bytes, the socket would drop the answers
    put_result(&sb, result_signalled());
    put_ready(&sb);
    put_error(&sb, 'E', "ERROR", "42501", "must be a superuser to terminate superuser process", "f");
    put_ready(&sb);
    put(&sb, '1', "", 0);
    server_send(&s, &sb);
    s.fd = fd_close(s.fd);
    CHECK_EQ(server_turns(&s, &job), CONNECTION_LOST);
    CHECK_EQ(connection_error(s.connection)->kind, PG_ERROR_UNREACHABLE);
    CHECK(connection_take_job(s.connection) == running);
    CHECK_EQ(job_error(running)->kind, PG_ERROR_UNREACHABLE);
    const struct act_report *reports = job_acts(running, &n);
    CHECK_EQ(n, 4);
    CHECK_EQ(reports[0].result, ACT_SIGNALLED);
    CHECK_EQ(reports[0].at, RESULT_NOW);
    CHECK_EQ(reports[1].result, ACT_DENIED);
    CHECK_STR(reports[1].error.sqlstate, "42501");
    CHECK_EQ(reports[2].result, ACT_UNKNOWN);
    CHECK_EQ(reports[3].result, ACT_UNKNOWN);
    CHECK(connection_take_job(s.connection) == waiting);
    CHECK_EQ(job_acts(waiting, &n)[0].result, ACT_UNSENT);
    CHECK_NULL(connection_take_job(s.connection));
    // Too late, but not lost.
    connection_submit(s.connection, waiting, JOB_TIMEOUT);
    CHECK(connection_take_job(s.connection) == waiting);
    CHECK_EQ(job_error(waiting)->kind, PG_ERROR_UNREACHABLE);
    job_free(running);
    job_free(waiting);
    server_stop(&s);
}

static void job_deadline(void) {
    struct server s;
    struct job *job = NULL, *running = act_job(2);
    size_t n;
    server_up(&s);
    connection_submit(s.connection, running, JOB_TIMEOUT);
    CHECK_EQ(server_turns(&s, &job), CONNECTION_NOTHING);
    s.now += JOB_TIMEOUT;
    CHECK_EQ(server_turn(&s, &job), CONNECTION_LOST);
    CHECK_EQ(connection_error(s.connection)->kind, PG_ERROR_TIMEOUT);
    job = connection_take_job(s.connection);
    CHECK_EQ(job_acts(job, &n)[1].result, ACT_UNKNOWN);
    CHECK_EQ(job_error(job)->kind, PG_ERROR_TIMEOUT);
    job_free(job);
    server_stop(&s);
}

// What came in time counts, even if we were late to look.
static void answer_before_deadline(void) {
    struct server s;
    struct job *job = NULL;
    server_up(&s);
    connection_submit(s.connection, job_identify_new(), JOB_TIMEOUT);
    CHECK_EQ(server_turns(&s, &job), CONNECTION_NOTHING);
    server_answers_identify(&s);
    s.now += 10 * JOB_TIMEOUT;
    CHECK_EQ(server_turns(&s, &job), CONNECTION_JOB);
    job_free(job);
    server_stop(&s);
}

static void last_words(void) {
    for (int busy = 0; busy < 2; busy++) {
        for (int says = 0; says < 2; says++) {
            CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
            struct server s;
            struct job *job = NULL;
            check_context("busy %d says %d", busy, says);
            server_up(&s);
            if (busy) {
                connection_submit(s.connection, job_identify_new(), JOB_TIMEOUT);
                CHECK_EQ(server_turns(&s, &job), CONNECTION_NOTHING);
                server_read_all(&s);
            }
            put_error(&sb, 'E', "FATAL", "57P01", "terminating connection due to administrator command", "f");
            if (says) {
                server_send(&s, &sb);
            }
            s.fd = fd_close(s.fd);
            CHECK_EQ(server_turns(&s, &job), CONNECTION_LOST);
            CHECK_EQ(connection_error(s.connection)->kind, says ? PG_ERROR_SHUTDOWN : PG_ERROR_UNREACHABLE);
            CHECK_STR(connection_error(s.connection)->sqlstate, says ? "57P01" : "");
            CHECK_NE(connection_error(s.connection)->message[0], '\0');
            job = connection_take_job(s.connection);
            CHECK_EQ(job != NULL, busy != 0);
            job_free(job);
            server_stop(&s);
        }
    }
}

static void notice_while_idle(void) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    struct server s;
    struct job *job = NULL;
    server_up(&s);
    put_error(&sb, 'N', "WARNING", "01000", "hello", "f");
    put(&sb, 'A', "\0\0\0\1ch\0x", 9);
    put(&sb, 'S', "search_path\0x", 14);
    server_send(&s, &sb);
    CHECK_EQ(server_turns(&s, &job), CONNECTION_NOTHING);
    CHECK(connection_is_up(s.connection));
    server_stop(&s);
}

// A server that does not read: the rest waits for room, and nothing blocks.
static void full_socket(void) {
    enum { N_IDS = 200000 };
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    struct server s;
    struct job *job = NULL;
    server_up(&s);
    struct session_id *ids = calloc(N_IDS, sizeof(*ids));
    CHECK_NOT_NULL(ids);
    for (int i = 0; i < N_IDS; i++) {
        ids[i].id = 1000000 + i;
    }
    connection_submit(s.connection, job_look_new(&(struct poll_options){0}, ids, N_IDS), JOB_TIMEOUT);
    free(ids);
    CHECK_EQ(server_turns(&s, &job), CONNECTION_NOTHING);
    CHECK_EQ(connection_wants(s.connection), CONNECTION_WANTS_READ | CONNECTION_WANTS_WRITE);
    for (int i = 0; i < 1000 && connection_wants(s.connection) & CONNECTION_WANTS_WRITE; i++) {
        server_read_all(&s);
        CHECK_EQ(server_turn(&s, &job), CONNECTION_NOTHING);
    }
    CHECK_EQ(connection_wants(s.connection), CONNECTION_WANTS_READ);
    put_result(&sb, result_facts());
    put_result(&sb, result_new(STATEMENT_LOOK));
    put_ready(&sb);
    server_send(&s, &sb);
    CHECK_EQ(server_turns(&s, &job), CONNECTION_JOB);
    CHECK_EQ(job_scan(job)->n_asked, N_IDS);
    job_free(job);
    server_stop(&s);
}

// Answers that no server gives end the connection, and nothing hangs.
static void nonsense(void) {
    enum what { COPY_OUT, COPY_IN, NO_RESULT, TWO_RESULTS, GARBAGE, HUGE_LENGTH, N };
    for (unsigned what = 0; what < N; what++) {
        CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
        struct server s;
        struct job *job = NULL;
        check_context("nonsense %u", what);
        server_up(&s);
        connection_submit(s.connection, job_identify_new(), JOB_TIMEOUT);
        CHECK_EQ(server_turns(&s, &job), CONNECTION_NOTHING);
        put(&sb, '1', "", 0);
        put(&sb, '2', "", 0);
        switch ((enum what)what) {
        case COPY_OUT:
            put(&sb, 'H', "\0\0\0", 3);
            break;
        case COPY_IN:
            put(&sb, 'G', "\0\0\0", 3);
            break;
        case NO_RESULT:
            put_ready(&sb);
            break;
        case TWO_RESULTS:
            put_result(&sb, result_identify());
            put_result(&sb, result_identify());
            put_ready(&sb);
            break;
        case GARBAGE:
            strbuf_add(&sb, "HTTP/1.1 400 Bad Request\r\n\r\n");
            break;
        case HUGE_LENGTH:
            strbuf_add_bytes(&sb, "T\x7f\xff\xff\xff", 5);
            break;
        case N:
            break;
        }
        server_send(&s, &sb);
        enum connection_event event = server_turns(&s, &job);
        if (event == CONNECTION_NOTHING) { // libpq waits for more: the deadline ends it
            s.now += JOB_TIMEOUT;
            event = server_turns(&s, &job);
        }
        CHECK_EQ(event, CONNECTION_LOST);
        job = connection_take_job(s.connection);
        CHECK_NOT_NULL(job);
        CHECK_NE(job_error(job)->kind, PG_ERROR_NONE);
        job_free(job);
        server_stop(&s);
    }
}

CHECK_MAIN({"logs_in", logs_in}, {"login_deadline", login_deadline}, {"login_refused", login_refused},
           {"nobody_listens", nobody_listens}, {"jobs_in_order", jobs_in_order}, {"two_rounds", two_rounds},
           {"acts_cut_short", acts_cut_short}, {"job_deadline", job_deadline},
           {"answer_before_deadline", answer_before_deadline}, {"last_words", last_words},
           {"notice_while_idle", notice_while_idle}, {"full_socket", full_socket}, {"nonsense", nonsense})
