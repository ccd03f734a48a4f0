// SPDX-License-Identifier: PostgreSQL
//
// JOB_IDENTIFY and JOB_SET_UP: what a new connection begins with.
#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "decode.h"
#include "error_impl.h"
#include "job_impl.h"

// JOB_SET_UP: the settings, the warm-up, then what is prepared.
static const enum statement_id set_up_first[] = {STATEMENT_SETTINGS, STATEMENT_WARM_UP};
static const enum statement_id set_up_prepared[] = {
    STATEMENT_FACTS, STATEMENT_SCAN,    STATEMENT_SCAN_MORE, STATEMENT_CHANGES, STATEMENT_LOOK,
    STATEMENT_NAMES, STATEMENT_LEADERS, STATEMENT_TERMINATE, STATEMENT_CANCEL,
};
#define SET_UP_FIRST ((unsigned)ARRAY_SIZE(set_up_first))
#define SET_UP_REQUESTS (SET_UP_FIRST + (unsigned)ARRAY_SIZE(set_up_prepared))

static unsigned identify_n_requests(const struct job *job) {
    (void)job;
    return 1;
}

static int identify_send(struct job *job, PGconn *pq, unsigned request, usec_t now) {
    (void)job;
    (void)request;
    (void)now;
    return query_send(pq, STATEMENT_IDENTIFY, false, &(struct params){0});
}

static void identify_take_result(struct job *job, unsigned request, PGresult *result, usec_t now) {
    struct decoder decoder = decode_begin(result, statement_get(STATEMENT_IDENTIFY), &job->error);
    (void)request;
    (void)now;
    if (decode_ok(&decoder)) {
        job->identity.backend_pid = decode_int32(&decoder, IDENTIFY_PID, 1);
        job->identity.version_num = decode_int32(&decoder, IDENTIFY_VERSION, 1);
    }
    PQclear(result);
}

static const struct job_ops identify_ops = {
    .n_requests = identify_n_requests,
    .send = identify_send,
    .take_result = identify_take_result,
};

struct job *job_identify_new(void) {
    return job_new(JOB_IDENTIFY, &identify_ops);
}

struct identity job_identity(const struct job *job) {
    assert(job->kind == JOB_IDENTIFY);
    return job->identity;
}

static unsigned set_up_n_requests(const struct job *job) {
    (void)job;
    return SET_UP_REQUESTS;
}

static int set_up_send(struct job *job, PGconn *pq, unsigned request, usec_t now) {
    struct params params = {0};
    (void)now;
    if (request >= SET_UP_FIRST) {
        return query_prepare(pq, set_up_prepared[request - SET_UP_FIRST]);
    }
    if (set_up_first[request] == STATEMENT_SETTINGS) {
        params_add_text(&params, job->set_up.statement_timeout);
        params_add_text(&params, job->set_up.lock_timeout);
        params_add_int32(&params, job->set_up.version_num);
    }
    return query_send(pq, set_up_first[request], false, &params);
}

static void set_up_take_result(struct job *job, unsigned request, PGresult *result, usec_t now) {
    (void)now;
    if (request < SET_UP_FIRST) {
        (void)decode_begin(result, statement_get(set_up_first[request]), &job->error);
    } else if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        pg_error_protocol(&job->error, "unexpected answer to a prepare");
    }
    PQclear(result);
}

static const struct job_ops set_up_ops = {
    .n_requests = set_up_n_requests,
    .send = set_up_send,
    .take_result = set_up_take_result,
};

static void set_up_milliseconds(char *buffer, size_t size, usec_t timeout) {
    // 0 would mean no limit.
    uint64_t ms = MIN(MAX(timeout / USEC_PER_MSEC, 1), INT_MAX);
    int n = snprintf(buffer, size, "%" PRIu64, ms);
    assert(n > 0 && (size_t)n < size);
}

struct job *job_set_up_new(int version_num, usec_t query_timeout) {
    struct job *job = job_new(JOB_SET_UP, &set_up_ops);
    if (job) {
        struct job_set_up *set_up = &job->set_up;
        set_up->version_num = version_num;
        set_up_milliseconds(set_up->statement_timeout, sizeof(set_up->statement_timeout), query_timeout);
        // Half, so that an error tells a lock from a slow answer.
        set_up_milliseconds(set_up->lock_timeout, sizeof(set_up->lock_timeout), query_timeout / 2);
    }
    return job;
}
