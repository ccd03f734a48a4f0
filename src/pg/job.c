// SPDX-License-Identifier: PostgreSQL
#include "job_impl.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "decode.h"
#include "error_impl.h"

// JOB_SET_UP: the settings, the warm-up, then what is prepared.
static const enum statement_id job_set_up_first[] = {STATEMENT_SETTINGS, STATEMENT_WARM_UP};
static const enum statement_id job_set_up_prepared[] = {STATEMENT_FACTS, STATEMENT_SCAN,      STATEMENT_LOOK,
                                                        STATEMENT_NAMES, STATEMENT_TERMINATE, STATEMENT_CANCEL};
#define JOB_SET_UP_FIRST ((unsigned)ARRAY_SIZE(job_set_up_first))
#define JOB_SET_UP_REQUESTS (JOB_SET_UP_FIRST + (unsigned)ARRAY_SIZE(job_set_up_prepared))

struct job *job_new(enum job_kind kind) {
    struct job *job = calloc(1, sizeof(*job));
    if (job) {
        job->kind = kind;
    }
    return job;
}

struct job *job_free(struct job *job) {
    if (!job) {
        return NULL;
    }
    switch (job->kind) {
    case JOB_IDENTIFY:
    case JOB_SET_UP:
        break;
    case JOB_RIGHTS:
        job_rights_deinit(&job->rights);
        break;
    case JOB_POLL:
    case JOB_LOOK:
        job_scan_deinit(&job->scan);
        break;
    case JOB_ACT:
        job_act_deinit(&job->act);
        break;
    }
    free(job);
    return NULL;
}

enum job_kind job_kind(const struct job *job) {
    return job->kind;
}

const struct pg_error *job_error(const struct job *job) {
    return &job->error;
}

struct job *job_identify_new(void) {
    return job_new(JOB_IDENTIFY);
}

struct identity job_identity(const struct job *job) {
    assert(job->kind == JOB_IDENTIFY);
    return job->identity;
}

static void job_set_milliseconds(char *buffer, size_t size, usec_t timeout) {
    // 0 would mean no limit.
    uint64_t ms = MIN(MAX(timeout / USEC_PER_MSEC, 1), INT_MAX);
    int n = snprintf(buffer, size, "%" PRIu64, ms);
    assert(n > 0 && (size_t)n < size);
}

struct job *job_set_up_new(int version_num, usec_t query_timeout) {
    struct job *job = job_new(JOB_SET_UP);
    if (job) {
        struct job_set_up *set_up = &job->set_up;
        set_up->version_num = version_num;
        job_set_milliseconds(set_up->statement_timeout, sizeof(set_up->statement_timeout), query_timeout);
        // Half, so that an error tells a lock from a slow answer.
        job_set_milliseconds(set_up->lock_timeout, sizeof(set_up->lock_timeout), query_timeout / 2);
    }
    return job;
}

static int job_set_up_send(const struct job *job, PGconn *pq, unsigned request) {
    struct params params = {0};
    if (request >= JOB_SET_UP_FIRST) {
        return query_prepare(pq, job_set_up_prepared[request - JOB_SET_UP_FIRST]);
    }
    if (job_set_up_first[request] == STATEMENT_SETTINGS) {
        params_add_text(&params, job->set_up.statement_timeout);
        params_add_text(&params, job->set_up.lock_timeout);
        params_add_int32(&params, job->set_up.version_num);
    }
    return query_send(pq, job_set_up_first[request], false, &params);
}

static void job_set_up_take_result(struct job *job, unsigned request, const PGresult *result) {
    if (request < JOB_SET_UP_FIRST) {
        (void)decode_begin(result, statement_get(job_set_up_first[request]), &job->error);
    } else if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        pg_error_protocol(&job->error, "unexpected answer to a prepare");
    }
}

static void job_identify_take_result(struct job *job, const PGresult *result) {
    struct decoder decoder = decode_begin(result, statement_get(STATEMENT_IDENTIFY), &job->error);
    if (decode_ok(&decoder)) {
        job->identity.backend_pid = decode_int32(&decoder, IDENTIFY_PID, 1);
        job->identity.version_num = decode_int32(&decoder, IDENTIFY_VERSION, 1);
    }
}

unsigned job_n_requests(const struct job *job) {
    switch (job->kind) {
    case JOB_IDENTIFY:
        return 1;
    case JOB_SET_UP:
        return JOB_SET_UP_REQUESTS;
    case JOB_RIGHTS:
        return 2;
    case JOB_POLL:
    case JOB_LOOK:
        return job_scan_n_requests(job);
    case JOB_ACT:
        return (unsigned)job->act.n_acts;
    }
    return 0;
}

bool job_syncs_each(const struct job *job) {
    return job->kind == JOB_ACT;
}

int job_send(struct job *job, PGconn *pq, unsigned request, usec_t now) {
    assert(request < job_n_requests(job));
    switch (job->kind) {
    case JOB_IDENTIFY:
        return query_send(pq, STATEMENT_IDENTIFY, false, &(struct params){0});
    case JOB_SET_UP:
        return job_set_up_send(job, pq, request);
    case JOB_RIGHTS:
        return job_rights_send(job, pq, request);
    case JOB_POLL:
    case JOB_LOOK:
        return job_scan_send(job, pq, request, now);
    case JOB_ACT:
        return job_act_send(job, pq, request);
    }
    return -EINVAL;
}

// Acts judge their errors one by one; for the others the first one fails the job.
static bool job_take_error(struct job *job, const PGresult *result) {
    ExecStatusType status = PQresultStatus(result);
    if (job->error.kind != PG_ERROR_NONE) {
        return true;
    }
    if (status == PGRES_FATAL_ERROR || status == PGRES_NONFATAL_ERROR) {
        pg_error_from_result(&job->error, result);
        return true;
    }
    return false;
}

void job_take_result(struct job *job, unsigned request, PGresult *result, usec_t now) {
    if (job->kind == JOB_ACT) {
        job_act_take_result(job, request, result);
        return;
    }
    if (job_take_error(job, result)) {
        PQclear(result);
        return;
    }
    switch (job->kind) {
    case JOB_IDENTIFY:
        job_identify_take_result(job, result);
        PQclear(result);
        break;
    case JOB_SET_UP:
        job_set_up_take_result(job, request, result);
        PQclear(result);
        break;
    case JOB_RIGHTS:
        job_rights_take_result(job, request, result);
        break;
    case JOB_POLL:
    case JOB_LOOK:
        job_scan_take_result(job, request, result, now);
        break;
    case JOB_ACT:
        break;
    }
}

bool job_next_round(struct job *job) {
    if (job->kind != JOB_POLL && job->kind != JOB_LOOK) {
        return false;
    }
    return job->error.kind == PG_ERROR_NONE && job_scan_next_round(job);
}

void job_abandon(struct job *job, const struct pg_error *error, bool sent) {
    job->error = *error;
    if (job->kind != JOB_ACT || sent) {
        return; // reports say UNKNOWN from when they were sent
    }
    for (size_t i = 0; i < job->act.n_acts; i++) {
        job->act.reports[i].result = ACT_UNSENT;
    }
}
