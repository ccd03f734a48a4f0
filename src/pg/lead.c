// SPDX-License-Identifier: PostgreSQL
//
// JOB_LEAD: one session-level advisory lock tells which of several watchdogs acts. It goes with its session, so nobody
// has to clean up after one that died. Such locks are per database: watchdogs in different databases all hold theirs,
// and the oldest session among them leads. Sessions of other roles can take the key as well; they are ignored, or any
// role could switch us off.
#include <assert.h>

#include "decode.h"
#include "error_impl.h"
#include "job_impl.h"

// Requests of the second round; the first one reads only.
enum { LEAD_REQUEST_CHANGE, LEAD_REQUEST_READ, N_LEAD_REQUESTS };

static unsigned lead_n_requests(const struct job *job) {
    return job->round == 0 ? 1 : N_LEAD_REQUESTS;
}

static int lead_send(struct job *job, PGconn *pq, unsigned request, usec_t now) {
    const struct job_lead *l = &job->lead;
    enum statement_id id = STATEMENT_LEADERS;
    (void)now;
    if (job->round > 0 && request == LEAD_REQUEST_CHANGE) {
        id = l->want ? STATEMENT_TAKE_LEAD : STATEMENT_LEAVE_LEAD;
    }
    return query_send(pq, id, l->prepared, &(struct params){0});
}

// Holders come sorted: our role's first, of those the oldest.
static void lead_read(struct job *job, const PGresult *result) {
    struct job_lead *l = &job->lead;
    struct decoder decoder = decode_begin(result, statement_get(STATEMENT_LEADERS), &job->error);
    int n = decode_n_rows(&decoder);
    bool is_oldest = false, has_foreign = false;
    int64_t other = 0, foreign = 0; // pids of the first of each kind
    l->has_self = l->is_taken = false;
    for (decoder.row = 0; decoder.row < n && decode_ok(&decoder); decoder.row++) {
        int64_t pid = decode_is_null(&decoder, LEADERS_PID) ? 0 : decode_int32(&decoder, LEADERS_PID, 1);
        bool is_own = decode_bool(&decoder, LEADERS_OWN);
        if (decode_bool(&decoder, LEADERS_SELF)) {
            l->has_self = true;
            l->pid = pid;
            is_oldest = is_oldest || other == 0;
        } else if (is_own) {
            other = other == 0 ? pid : other;
        } else {
            has_foreign = true;
            foreign = foreign == 0 ? pid : foreign;
        }
        l->is_taken = decode_bool(&decoder, LEADERS_HERE) || l->is_taken;
    }
    // Whoever has just come waits for the next time, so that the one who has led until now sees that it is over.
    if (is_oldest && !(l->is_fresh && other != 0)) {
        l->leader = LEADER_SELF;
    } else if (other != 0) {
        l->leader = LEADER_OTHER;
        l->pid = other;
    } else {
        l->leader = has_foreign ? LEADER_UNKNOWN : LEADER_NOBODY;
        l->pid = foreign;
    }
}

static void lead_read_change(struct job *job, const PGresult *result) {
    struct job_lead *l = &job->lead;
    struct decoder decoder =
        decode_begin(result, statement_get(l->want ? STATEMENT_TAKE_LEAD : STATEMENT_LEAVE_LEAD), &job->error);
    if (decode_ok(&decoder)) {
        l->is_fresh = decode_bool(&decoder, LEAD_DONE) && l->want;
    }
}

static void lead_take_result(struct job *job, unsigned request, PGresult *result, usec_t now) {
    (void)now;
    if (job->round == 0 || request == LEAD_REQUEST_READ) {
        lead_read(job, result);
    } else {
        lead_read_change(job, result);
    }
    PQclear(result);
}

static bool lead_next_round(struct job *job) {
    const struct job_lead *l = &job->lead;
    if (job->round > 0 || (l->want ? l->is_taken : !l->has_self)) {
        return false;
    }
    job->round++;
    return true;
}

static const struct job_ops lead_ops = {
    .n_requests = lead_n_requests,
    .send = lead_send,
    .take_result = lead_take_result,
    .next_round = lead_next_round,
};

struct job *job_lead_new(const struct poll_options *options, bool want) {
    struct job *job = job_new(JOB_LEAD, &lead_ops);
    if (job) {
        job->lead.prepared = options->prepared;
        job->lead.want = want;
    }
    return job;
}

enum leader job_leader(const struct job *job, int64_t *ret_pid) {
    assert(job->kind == JOB_LEAD);
    *ret_pid = job->lead.pid;
    return job->lead.leader;
}
