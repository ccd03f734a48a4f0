// SPDX-License-Identifier: PostgreSQL
//
// JOB_LEAD: one session-level advisory lock tells which of several watchdogs acts. It goes with its session, so nobody
// has to clean up after one that died. Sessions of other roles can take the key as well; they are ignored, or any role
// could switch us off.
//
// Such locks are per database, so that watchdogs in different databases may hold theirs at the same time. Who leads is
// the one who, after having taken its lock, has read once that no other session of our role held one, and has not let
// go since. Two cannot both be it: the one who took its lock later has read later still, and saw the other's. So the
// leader need not ask again, whoever comes. Of those who took it at once and saw each other, all but the oldest let go.
#include <assert.h>

#include "decode.h"
#include "error_impl.h"
#include "job_impl.h"

// Requests of every round but the first one, which reads only.
enum { LEAD_REQUEST_CHANGE, LEAD_REQUEST_READ, N_LEAD_REQUESTS };
// Read; take and read; let go again and read.
#define LEAD_LAST_ROUND 2

static unsigned lead_n_requests(const struct job *job) {
    return job->round == 0 ? 1 : N_LEAD_REQUESTS;
}

static enum statement_id lead_change(const struct job_lead *l) {
    return l->change == LEAD_TAKE ? STATEMENT_TAKE_LEAD : STATEMENT_LEAVE_LEAD;
}

static int lead_send(struct job *job, PGconn *pq, unsigned request, usec_t now) {
    const struct job_lead *l = &job->lead;
    bool reads = job->round == 0 || request == LEAD_REQUEST_READ;
    (void)now;
    return query_send(pq, reads ? STATEMENT_LEADERS : lead_change(l), l->prepared, &(struct params){0});
}

// What the holders are, as far as they concern us. They come sorted: our role's first, of those the oldest.
struct lead_holders {
    bool is_oldest; // we are
    bool is_unsure; // of one it is not known whose it is: its session has just come or gone
    bool is_taken;  // in our database, by whomever
    bool has_foreign;
    int64_t other, foreign; // pids of the first of each kind; 0: none, or a prepared transaction
};

static struct lead_holders lead_decode(struct job *job, struct decoder *decoder) {
    struct job_lead *l = &job->lead;
    struct lead_holders h = {0};
    int n = decode_n_rows(decoder);
    l->has_self = false;
    for (decoder->row = 0; decoder->row < n && decode_ok(decoder); decoder->row++) {
        int64_t pid = decode_is_null(decoder, LEADERS_PID) ? 0 : decode_int32(decoder, LEADERS_PID, 1);
        bool is_unsure = decode_is_null(decoder, LEADERS_OWN);
        bool is_own = !is_unsure && decode_bool(decoder, LEADERS_OWN);
        if (decode_bool(decoder, LEADERS_SELF)) {
            l->has_self = true;
            l->pid = pid;
            h.is_oldest = h.other == 0;
        } else if (is_own) {
            h.other = h.other == 0 ? pid : h.other;
        } else if (is_unsure) {
            h.is_unsure = true;
        } else {
            h.has_foreign = true;
            h.foreign = h.foreign == 0 ? pid : h.foreign;
        }
        h.is_taken = decode_bool(decoder, LEADERS_HERE) || h.is_taken;
    }
    return h;
}

static enum lead_change lead_choose(const struct job *job, const struct lead_holders *h) {
    const struct job_lead *l = &job->lead;
    if (!l->want) {
        return l->has_self ? LEAD_LEAVE : LEAD_KEEP;
    }
    if (!l->has_self) {
        return job->round == 0 && h->other == 0 && !h->is_taken && !h->is_unsure ? LEAD_TAKE : LEAD_KEEP;
    }
    return !l->leads && h->other != 0 && !h->is_oldest ? LEAD_LEAVE : LEAD_KEEP;
}

static void lead_read(struct job *job, const PGresult *result) {
    struct job_lead *l = &job->lead;
    struct decoder decoder = decode_begin(result, statement_get(STATEMENT_LEADERS), &job->error);
    const struct lead_holders h = lead_decode(job, &decoder);
    l->change = lead_choose(job, &h);
    // Where a stranger holds the key, one of us may act without it (LEADER_UNKNOWN): whoever has just come waits for
    // the next time, so that it sees us.
    bool must_wait = h.is_unsure || (l->is_fresh && h.has_foreign);
    if (l->has_self && (l->leads || (h.other == 0 && !must_wait))) {
        l->leader = LEADER_SELF;
    } else if (h.other != 0) {
        l->leader = LEADER_OTHER;
        l->pid = h.other;
    } else if (l->has_self || h.is_unsure || !h.has_foreign) {
        l->leader = LEADER_NOBODY;
        l->pid = 0;
    } else {
        l->leader = LEADER_UNKNOWN;
        l->pid = h.foreign;
    }
}

static void lead_read_change(struct job *job, const PGresult *result) {
    struct job_lead *l = &job->lead;
    struct decoder decoder = decode_begin(result, statement_get(lead_change(l)), &job->error);
    if (decode_ok(&decoder)) {
        l->is_fresh = decode_bool(&decoder, LEAD_DONE) && l->change == LEAD_TAKE;
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
    if (job->lead.change == LEAD_KEEP || job->round == LEAD_LAST_ROUND) {
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

struct job *job_lead_new(const struct poll_options *options, bool want, bool leads) {
    struct job *job = job_new(JOB_LEAD, &lead_ops);
    if (job) {
        job->lead.prepared = options->prepared;
        job->lead.want = want;
        job->lead.leads = leads;
    }
    return job;
}

enum leader job_leader(const struct job *job, int64_t *ret_pid) {
    assert(job->kind == JOB_LEAD);
    *ret_pid = job->lead.pid;
    return job->lead.leader;
}
