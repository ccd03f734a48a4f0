// SPDX-License-Identifier: PostgreSQL
#include "job_impl.h"

#include <assert.h>
#include <stdlib.h>

#include "error_impl.h"

struct job *job_new(enum job_kind kind, const struct job_ops *ops) {
    struct job *job = calloc(1, sizeof(*job));
    if (job) {
        job->kind = kind;
        job->ops = ops;
    }
    return job;
}

struct job *job_free(struct job *job) {
    if (job && job->ops->deinit) {
        job->ops->deinit(job);
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

unsigned job_n_requests(const struct job *job) {
    return job->ops->n_requests(job);
}

bool job_syncs_each(const struct job *job) {
    return job->ops->syncs_each;
}

int job_send(struct job *job, PGconn *pq, unsigned request, usec_t now) {
    assert(request < job_n_requests(job));
    return job->ops->send(job, pq, request, now);
}

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
    if (!job->ops->syncs_each && job_take_error(job, result)) {
        PQclear(result);
        return;
    }
    job->ops->take_result(job, request, result, now);
}

bool job_next_round(struct job *job) {
    return job->error.kind == PG_ERROR_NONE && job->ops->next_round && job->ops->next_round(job);
}

void job_abandon(struct job *job, const struct pg_error *error, bool sent) {
    job->error = *error;
    if (!sent && job->ops->unsend) {
        job->ops->unsend(job);
    }
}
