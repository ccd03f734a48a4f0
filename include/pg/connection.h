// SPDX-License-Identifier: PostgreSQL
#pragma once

// One asynchronous connection to a PostgreSQL server: a state machine without a loop and without a clock. Its owner
// waits for fd() to become ready as wants() says, or for deadline(), whichever is first, and calls dispatch(); after
// every call into it, it asks the three again (libpq may exchange the socket under the same number).
// Jobs run one at a time, in the order of submission.

#include <stdbool.h>
#include <stddef.h>

#include "pg/conninfo.h"
#include "pg/error.h"
#include "pg/job.h"
#include "util/cleanup.h"
#include "util/usec.h"

#define CONNECTION_WANTS_READ 1u
#define CONNECTION_WANTS_WRITE 2u

enum connection_event {
    CONNECTION_NOTHING, // would wait: ask fd, wants, deadline and call again
    CONNECTION_UP,      // logged in; jobs run from now on
    CONNECTION_JOB,     // the job in *ret_job is finished and the caller's again: see job_error()
    CONNECTION_LOST,    // connect failed, or it broke: see connection_error(); jobs come back by connection_take_job()
};

struct connection;

struct connection *connection_new(void);                           // closed; NULL: out of memory
struct connection *connection_free(struct connection *connection); // NULL-safe; closes; frees queued jobs
DEFINE_CLEANUP(struct connection *, connection_free)

// Starts to connect; never blocks (all names must have been resolved). The connection must be closed. On failure it is
// LOST at the next dispatch, like any later failure. application_name is forced to "pgvigil", client_encoding to UTF8.
void connection_start(struct connection *connection, const struct conninfo *conninfo, usec_t now, usec_t deadline);

int connection_fd(const struct connection *connection);         // -1: none
unsigned connection_wants(const struct connection *connection); // CONNECTION_WANTS_*; 0: only the deadline counts
usec_t connection_deadline(const struct connection *connection);

// Does what can be done now. `ready` tells which wants were met (0 when called for the deadline or after a submit).
// Call it until it returns NOTHING.
enum connection_event connection_dispatch(struct connection *connection, unsigned ready, usec_t now,
                                          struct job **ret_job);

#define CONNECTION_MAX_JOBS 16 // running and waiting; one more is a mistake of the caller's (asserted)

// Queues a job (ownership moves in until it comes back by JOB or take_job). `timeout` starts when it is sent; past it
// the connection is given up (LOST, PG_ERROR_TIMEOUT). A job may be submitted while connecting.
void connection_submit(struct connection *connection, struct job *job, usec_t timeout);
bool connection_is_up(const struct connection *connection);
bool connection_is_busy(const struct connection *connection); // a job runs or waits

const struct pg_error *connection_error(const struct connection *connection);
// After LOST: jobs that did not finish, one a call, first the one that was running; their job_error() is set, and acts
// that may have reached the server are ACT_UNKNOWN. NULL: no more.
struct job *connection_take_job(struct connection *connection);
// Back to closed: forgets the socket at once, keeps nothing. At most this one session is abandoned to the server.
void connection_close(struct connection *connection);

int connection_backend_pid(const struct connection *connection); // as the protocol's BackendKeyData told; 0 before UP
int connection_server_version(const struct connection *connection);
