// SPDX-License-Identifier: PostgreSQL
//
// A job's round is one libpq pipeline. Its answer is, for each request, one result and the NULL that ends it, and one
// PGRES_PIPELINE_SYNC for each sync; when as many syncs came back as were sent, the round is over. Anything else is an
// answer that we do not understand, and ends the connection.
//
// An error that also ends the session (57P01, a timeout, a crash elsewhere) may come at any moment. While a job runs it
// is a result; otherwise libpq hands it to the notice receiver. Either way it is kept, to say why the connection broke.
#include "pg/connection.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "conninfo_impl.h"
#include "error_impl.h"
#include "job_impl.h"

#define CONNECTION_MAX_READS 64

enum connection_state {
    CONNECTION_CLOSED,     // nothing; no deadline; start() leads to CONNECTING or FAILED
    CONNECTION_CONNECTING, // for what PQconnectPoll() wants; the caller's deadline; to IDLE (UP) or FAILED
    CONNECTION_IDLE,       // for the server to end us; no deadline, at once with a job; to RUNNING or FAILED
    CONNECTION_RUNNING,    // for the answer to the first job; its deadline; to IDLE (JOB) or FAILED
    CONNECTION_FAILED,     // to be reported at once; to DOWN (LOST)
    CONNECTION_DOWN,       // for close(); no deadline; to CLOSED
};

enum connection_progress {
    PROGRESS_WAITS,
    PROGRESS_DONE,   // the round's answer is complete
    PROGRESS_BROKEN, // connection->error says why
};

struct connection {
    enum connection_state state;
    unsigned wants;
    usec_t deadline;

    PGconn *pq;
    int backend_pid, server_version;
    struct pg_error error;      // why it is FAILED or DOWN
    struct pg_error last_words; // what the server said when it ended the session

    struct job *first, *last; // the first one runs while RUNNING
    unsigned n_jobs;

    // The round's answer.
    unsigned n_requests, n_syncs; // sent
    unsigned at_request;          // whose result comes next
    unsigned n_synced;
    bool has_result; // of at_request; its NULL comes next
};

static void connection_enter(struct connection *c, enum connection_state state, unsigned wants, usec_t deadline) {
    c->state = state;
    c->wants = wants;
    c->deadline = deadline;
}

static void connection_enter_idle(struct connection *c) {
    connection_enter(c, CONNECTION_IDLE, CONNECTION_WANTS_READ, c->first ? 0 : USEC_INFINITY);
}

struct connection *connection_new(void) {
    struct connection *c = calloc(1, sizeof(*c));
    if (c) {
        connection_enter(c, CONNECTION_CLOSED, 0, USEC_INFINITY);
    }
    return c;
}

struct connection *connection_free(struct connection *c) {
    if (c) {
        connection_close(c);
        free(c);
    }
    return NULL;
}

static struct job *connection_pop_job(struct connection *c) {
    struct job *job = c->first;
    if (job) {
        c->first = job->next;
        c->last = c->first ? c->last : NULL;
        c->n_jobs--;
        job->next = NULL;
    }
    return job;
}

void connection_close(struct connection *c) {
    PQfinish(c->pq);
    c->pq = NULL;
    c->backend_pid = c->server_version = 0;
    for (struct job *job = connection_pop_job(c); job; job = connection_pop_job(c)) {
        job_free(job);
    }
    pg_error_set(&c->error, PG_ERROR_NONE, NULL, NULL);
    pg_error_set(&c->last_words, PG_ERROR_NONE, NULL, NULL);
    connection_enter(c, CONNECTION_CLOSED, 0, USEC_INFINITY);
}

// Gives the session up. The socket goes at once (libpq never waits here); jobs wait for take_job().
static void connection_fail(struct connection *c) {
    bool running = c->state == CONNECTION_RUNNING;
    assert(c->error.kind != PG_ERROR_NONE);
    PQfinish(c->pq);
    c->pq = NULL;
    for (struct job *job = c->first; job; job = job->next) {
        job_abandon(job, &c->error, running && job == c->first);
    }
    connection_enter(c, CONNECTION_FAILED, 0, 0);
}

static void connection_fail_with(struct connection *c, enum pg_error_kind kind, const char *message) {
    pg_error_set(&c->error, kind, NULL, message);
    connection_fail(c);
}

// It broke: what the server said at the end counts more than what libpq noticed.
static void connection_fail_broken(struct connection *c) {
    if (c->last_words.kind != PG_ERROR_NONE) {
        c->error = c->last_words;
    } else if (c->error.kind == PG_ERROR_NONE) {
        pg_error_from_loss(&c->error, PQerrorMessage(c->pq));
    }
    connection_fail(c);
}

static void connection_fail_connect(struct connection *c) {
    pg_error_from_connect(&c->error, PQerrorMessage(c->pq), PQconnectionNeedsPassword(c->pq) == 1);
    connection_fail(c);
}

// libpq reports an error that comes while no query runs as a notice. All other notices are dropped.
static void connection_take_notice(void *userdata, const PGresult *result) {
    struct connection *c = userdata;
    if (pg_error_result_is_fatal(result)) {
        pg_error_from_result(&c->last_words, result);
    }
}

void connection_start(struct connection *c, const struct conninfo *conninfo, usec_t now, usec_t deadline) {
    struct conninfo_params params;
    assert(c->state == CONNECTION_CLOSED);
    (void)now;
    int r = conninfo_params_init(conninfo, &params);
    if (r < 0) {
        connection_fail_with(c, r == -ENOMEM ? PG_ERROR_OTHER : PG_ERROR_UNREACHABLE,
                             r == -ENOMEM ? "out of memory" : "no host has an address");
        return;
    }
    c->pq = PQconnectStartParams(params.keywords, params.values, 0);
    conninfo_params_deinit(&params);
    if (!c->pq) {
        connection_fail_with(c, PG_ERROR_OTHER, "out of memory");
        return;
    }
    // No result carries the SQLSTATE of a refused connect: verbose, the text does.
    (void)PQsetErrorVerbosity(c->pq, PQERRORS_VERBOSE);
    (void)PQsetNoticeReceiver(c->pq, connection_take_notice, c);
    if (PQstatus(c->pq) == CONNECTION_BAD) {
        connection_fail_connect(c);
        return;
    }
    connection_enter(c, CONNECTION_CONNECTING, CONNECTION_WANTS_WRITE, deadline);
}

// true: logged in, or failed; look at the state.
static bool connection_poll_connect(struct connection *c) {
    switch (PQconnectPoll(c->pq)) {
    case PGRES_POLLING_READING:
        connection_enter(c, CONNECTION_CONNECTING, CONNECTION_WANTS_READ, c->deadline);
        return false;
    case PGRES_POLLING_WRITING:
        connection_enter(c, CONNECTION_CONNECTING, CONNECTION_WANTS_WRITE, c->deadline);
        return false;
    case PGRES_POLLING_OK:
        if (PQsetnonblocking(c->pq, 1) < 0) {
            connection_fail_broken(c);
            return true;
        }
        c->backend_pid = PQbackendPID(c->pq);
        c->server_version = PQserverVersion(c->pq);
        connection_enter_idle(c);
        return true;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE:
    default:
        connection_fail_connect(c);
        return true;
    }
}

// Reads what is there and lets libpq look at it. false: the connection broke.
static bool connection_consume(struct connection *c) {
    bool ok = PQconsumeInput(c->pq) == 1;
    (void)PQisBusy(c->pq); // parses: an error that ends an idle session comes to the notice receiver
    for (PGnotify *notify = PQnotifies(c->pq); notify; notify = PQnotifies(c->pq)) {
        PQfreemem(notify); // behind a pooler, of somebody else's LISTEN
    }
    return ok && PQstatus(c->pq) == CONNECTION_OK && c->last_words.kind == PG_ERROR_NONE;
}

// Queues a round of the first job. false: broken.
static bool connection_send_round(struct connection *c, usec_t now) {
    struct job *job = c->first;
    bool syncs_each = job_syncs_each(job);
    c->n_requests = job_n_requests(job);
    c->n_syncs = syncs_each ? c->n_requests : 1;
    c->at_request = c->n_synced = 0;
    c->has_result = false;
    if (PQenterPipelineMode(c->pq) != 1) {
        return false;
    }
    for (unsigned i = 0; i < c->n_requests; i++) {
        int r = job_send(job, c->pq, i, now);
        if (r == -ENOMEM) {
            pg_error_set(&c->error, PG_ERROR_OTHER, NULL, "out of memory");
        }
        if (r < 0 || ((syncs_each || i + 1 == c->n_requests) && PQpipelineSync(c->pq) != 1)) {
            return false;
        }
    }
    return true;
}

static enum connection_progress connection_misunderstood(struct connection *c, const char *what) {
    pg_error_protocol(&c->error, "%s", what);
    return PROGRESS_BROKEN;
}

// Takes one result over, or the NULL that ends a request's results.
static enum connection_progress connection_take_result(struct connection *c, PGresult *result, usec_t now) {
    if (!result) {
        if (!c->has_result) {
            return PQstatus(c->pq) == CONNECTION_BAD ? PROGRESS_BROKEN
                                                     : connection_misunderstood(c, "an answer is missing");
        }
        c->has_result = false;
        c->at_request++;
        return PROGRESS_WAITS;
    }
    switch (PQresultStatus(result)) {
    case PGRES_PIPELINE_SYNC:
        PQclear(result);
        c->n_synced++;
        return c->n_synced == c->n_syncs ? PROGRESS_DONE : PROGRESS_WAITS;
    case PGRES_FATAL_ERROR:
        if (pg_error_result_is_fatal(result)) {
            pg_error_from_result(&c->last_words, result);
        } else if (PQresultErrorField(result, PG_DIAG_SQLSTATE) || PQstatus(c->pq) != CONNECTION_BAD) {
            break;
        } // else made up by libpq: nothing more was received
        PQclear(result);
        return PROGRESS_BROKEN;
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK:
    case PGRES_EMPTY_QUERY:
    case PGRES_NONFATAL_ERROR:
    case PGRES_PIPELINE_ABORTED:
        break;
    case PGRES_COPY_IN:
    case PGRES_COPY_OUT:
    case PGRES_COPY_BOTH:
    case PGRES_BAD_RESPONSE:
    case PGRES_SINGLE_TUPLE:
    default:
        PQclear(result);
        return connection_misunderstood(c, "an answer of an unexpected kind");
    }
    if (c->has_result || c->at_request >= c->n_requests) {
        PQclear(result);
        return connection_misunderstood(c, "more answers than questions");
    }
    c->has_result = true;
    job_take_result(c->first, c->at_request, result, now);
    return PROGRESS_WAITS;
}

static enum connection_progress connection_drain(struct connection *c, usec_t now) {
    enum connection_progress progress = PROGRESS_WAITS;
    while (progress == PROGRESS_WAITS && !PQisBusy(c->pq)) {
        progress = connection_take_result(c, PQgetResult(c->pq), now);
    }
    if (progress == PROGRESS_DONE && (c->at_request != c->n_requests || PQexitPipelineMode(c->pq) != 1)) {
        return connection_misunderstood(c, "an answer is missing");
    }
    return progress;
}

// Reads what has arrived. libpq reads at most its buffer, 16 kB, at a time; a poll's answer is many times that, and
// each return to the loop costs more than the reading. Bounded, as the other connections wait meanwhile.
static bool connection_consume_all(struct connection *c) {
    int n_readable = 1;
    for (unsigned i = 0; i < CONNECTION_MAX_READS && n_readable > 0; i++) {
        if (!connection_consume(c)) {
            return false;
        }
        n_readable = 0;
        (void)ioctl(PQsocket(c->pq), FIONREAD, &n_readable);
    }
    return true;
}

// Reads, then writes (PQflush may need room that only reading makes), then takes the results that are complete.
static enum connection_progress connection_progress(struct connection *c, unsigned ready, usec_t now) {
    bool ok = true;
    if (ready & CONNECTION_WANTS_READ) {
        ok = connection_consume_all(c);
    }
    int unsent = ok ? PQflush(c->pq) : 0;
    if (unsent < 0) {
        ok = connection_consume(c) && false; // the reason may be there to be read
    }
    enum connection_progress progress = connection_drain(c, now);
    if (progress == PROGRESS_WAITS && !ok) {
        return PROGRESS_BROKEN;
    }
    if (progress == PROGRESS_WAITS) {
        connection_enter(c, CONNECTION_RUNNING, CONNECTION_WANTS_READ | (unsent > 0 ? CONNECTION_WANTS_WRITE : 0),
                         c->deadline);
    }
    return progress;
}

// Starts the first job, or ends in FAILED.
static void connection_run_job(struct connection *c, usec_t now) {
    connection_enter(c, CONNECTION_RUNNING, CONNECTION_WANTS_READ, usec_add(now, c->first->timeout));
    if (!connection_send_round(c, now)) {
        connection_fail_broken(c);
    }
}

enum connection_event connection_dispatch(struct connection *c, unsigned ready, usec_t now, struct job **ret_job) {
    for (;; ready = 0) {
        switch (c->state) {
        case CONNECTION_CLOSED:
        case CONNECTION_DOWN:
            return CONNECTION_NOTHING;

        case CONNECTION_CONNECTING:
            if ((ready & c->wants) && connection_poll_connect(c)) {
                if (c->state == CONNECTION_IDLE) {
                    return CONNECTION_UP;
                }
                break;
            }
            if (now < c->deadline) {
                return CONNECTION_NOTHING;
            }
            connection_fail_with(c, PG_ERROR_TIMEOUT, "no connection within the time allowed");
            break;

        case CONNECTION_IDLE:
            if ((ready & CONNECTION_WANTS_READ) && !connection_consume(c)) {
                connection_fail_broken(c);
                break;
            }
            if (!c->first) {
                return CONNECTION_NOTHING;
            }
            connection_run_job(c, now);
            break;

        case CONNECTION_RUNNING:
            switch (connection_progress(c, ready, now)) {
            case PROGRESS_WAITS:
                if (now < c->deadline) {
                    return CONNECTION_NOTHING;
                }
                connection_fail_with(c, PG_ERROR_TIMEOUT, "no answer within the time allowed");
                break;
            case PROGRESS_DONE:
                if (job_next_round(c->first)) {
                    if (!connection_send_round(c, now)) {
                        connection_fail_broken(c);
                    }
                    break;
                }
                *ret_job = connection_pop_job(c);
                connection_enter_idle(c);
                return CONNECTION_JOB;
            case PROGRESS_BROKEN:
                connection_fail_broken(c);
                break;
            }
            break;

        case CONNECTION_FAILED:
            connection_enter(c, CONNECTION_DOWN, 0, USEC_INFINITY);
            return CONNECTION_LOST;
        }
    }
}

void connection_submit(struct connection *c, struct job *job, usec_t timeout) {
    assert(c->n_jobs < CONNECTION_MAX_JOBS);
    job->timeout = timeout;
    job->next = NULL;
    if (c->last) {
        c->last->next = job;
    } else {
        c->first = job;
    }
    c->last = job;
    c->n_jobs++;
    if (c->state == CONNECTION_FAILED || c->state == CONNECTION_DOWN) {
        job_abandon(job, &c->error, false);
    } else if (c->state == CONNECTION_IDLE) {
        connection_enter_idle(c);
    }
}

struct job *connection_take_job(struct connection *c) {
    assert(c->state == CONNECTION_FAILED || c->state == CONNECTION_DOWN);
    return connection_pop_job(c);
}

int connection_fd(const struct connection *c) {
    return c->pq ? PQsocket(c->pq) : -1;
}

unsigned connection_wants(const struct connection *c) {
    return c->wants;
}

usec_t connection_deadline(const struct connection *c) {
    return c->deadline;
}

bool connection_is_up(const struct connection *c) {
    return c->state == CONNECTION_IDLE || c->state == CONNECTION_RUNNING;
}

bool connection_is_busy(const struct connection *c) {
    return c->first != NULL;
}

const struct pg_error *connection_error(const struct connection *c) {
    return &c->error;
}

int connection_backend_pid(const struct connection *c) {
    return c->backend_pid;
}

int connection_server_version(const struct connection *c) {
    return c->server_version;
}
