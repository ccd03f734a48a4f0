// SPDX-License-Identifier: PostgreSQL
//
// Who of several watchdogs leads, as one of them works it out.
#include "pg/job.h"
#include "pg_result.h"
#include "support/check.h"

struct holder {
    int64_t pid; // -1: a prepared transaction
    bool own, self, here;
    bool unsure; // whose it is
};

static PGresult *lead_result(const struct holder *holders, size_t n) {
    PGresult *r = result_new(STATEMENT_LEADERS);
    for (int i = 0; i < (int)n; i++) {
        if (holders[i].pid < 0) {
            result_null(r, i, LEADERS_PID);
        } else {
            result_int32(r, i, LEADERS_PID, (uint32_t)holders[i].pid);
        }
        if (holders[i].unsure) {
            result_null(r, i, LEADERS_OWN);
        } else {
            result_bool(r, i, LEADERS_OWN, holders[i].own);
        }
        result_bool(r, i, LEADERS_SELF, holders[i].self);
        result_bool(r, i, LEADERS_HERE, holders[i].here);
    }
    return r;
}

static struct job *lead_start(bool want, bool leads, const struct holder *holders, size_t n) {
    struct job *job = job_lead_new(&(struct poll_options){0}, want, leads);
    CHECK_EQ(job_n_requests(job), 1);
    job_take_result(job, 0, lead_result(holders, n), 0);
    CHECK_STR(job_error(job)->message, "");
    return job;
}

// The lock has changed hands as the job chose, and is read again.
static void lead_go_on(struct job *job, enum lead_change change, bool done, const struct holder *holders, size_t n) {
    CHECK_EQ(job->lead.change, change);
    CHECK(job_next_round(job));
    CHECK_EQ(job_n_requests(job), 2);
    PGresult *changed = result_new(change == LEAD_TAKE ? STATEMENT_TAKE_LEAD : STATEMENT_LEAVE_LEAD);
    result_bool(changed, 0, LEAD_DONE, done);
    job_take_result(job, 0, changed, 0);
    job_take_result(job, 1, lead_result(holders, n), 0);
    CHECK_STR(job_error(job)->message, "");
}

static void lead_end(struct job *job, enum leader leader, int64_t pid) {
    int64_t found = -1;
    CHECK(!job_next_round(job));
    CHECK_EQ(job_leader(job, &found), leader);
    CHECK_EQ(found, pid);
    job_free(job);
}

static const struct holder us = {7, .own = true, .self = true, .here = true}, elder = {5, .own = true},
                           younger = {8, .own = true}, here = {6, .own = true, .here = true}, stranger = {9},
                           prepared = {-1, .here = true}, unsure = {10, .unsure = true};

static void reads(void) {
    const struct {
        struct holder holders[3];
        size_t n;
        enum leader leader;
        int64_t pid;
        enum lead_change wanted, unwanted; // what the next round would do, by what is wanted
    } cases[] = {
        {.n = 0, .leader = LEADER_NOBODY, .wanted = LEAD_TAKE},
        {{us}, 1, LEADER_SELF, 7, LEAD_KEEP, LEAD_LEAVE},
        {{us, younger}, 2, LEADER_OTHER, 8, LEAD_KEEP, LEAD_LEAVE}, // it may lead
        {{elder, us}, 2, LEADER_OTHER, 5, LEAD_LEAVE, LEAD_LEAVE},
        {{elder}, 1, LEADER_OTHER, 5, LEAD_KEEP, LEAD_KEEP},
        {{elder, here}, 2, LEADER_OTHER, 5, LEAD_KEEP, LEAD_KEEP},
        {{us, stranger}, 2, LEADER_SELF, 7, LEAD_KEEP, LEAD_LEAVE},
        {{us, unsure}, 2, LEADER_NOBODY, 0, LEAD_KEEP, LEAD_LEAVE},
        {{here, stranger}, 2, LEADER_OTHER, 6, LEAD_KEEP, LEAD_KEEP},
        {{stranger}, 1, LEADER_UNKNOWN, 9, LEAD_TAKE, LEAD_KEEP},
        {{unsure}, 1, LEADER_NOBODY, 0, LEAD_KEEP, LEAD_KEEP},
        {{stranger, unsure}, 2, LEADER_NOBODY, 0, LEAD_KEEP, LEAD_KEEP},
        {{prepared}, 1, LEADER_UNKNOWN, 0, LEAD_KEEP, LEAD_KEEP},
        {{prepared, stranger}, 2, LEADER_UNKNOWN, 9, LEAD_KEEP, LEAD_KEEP},
    };
    for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
        size_t k = i / 2;
        bool want = i % 2 == 0;
        int64_t pid = -1;
        check_context("case %zu, want %d", k, want);
        struct job *job = lead_start(want, false, cases[k].holders, cases[k].n);
        CHECK_EQ(job_leader(job, &pid), cases[k].leader);
        CHECK_EQ(pid, cases[k].pid);
        CHECK_EQ(job->lead.change, want ? cases[k].wanted : cases[k].unwanted);
        CHECK_EQ(job_next_round(job), job->lead.change != LEAD_KEEP);
        job_free(job);
    }
}

// Whoever comes, and however old: the one who leads has been seen by the other before that one may act.
static void a_leader_stays(void) {
    const struct holder others[][2] = {{elder, us}, {us, younger}, {us, unsure}, {us, stranger}};
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        lead_end(lead_start(true, true, others[i], 2), LEADER_SELF, 7);
    }
    // Without its lock it does not.
    lead_end(lead_start(true, true, &elder, 1), LEADER_OTHER, 5);
}

static void takes(void) {
    struct job *job = lead_start(true, false, NULL, 0);
    lead_go_on(job, LEAD_TAKE, true, &us, 1);
    lead_end(job, LEADER_SELF, 7);

    // Another one was faster in our database.
    job = lead_start(true, false, NULL, 0);
    lead_go_on(job, LEAD_TAKE, false, &here, 1);
    lead_end(job, LEADER_OTHER, 6);

    // Where a stranger holds it, one of us may be acting without it: the next time, then.
    job = lead_start(true, false, &stranger, 1);
    lead_go_on(job, LEAD_TAKE, true, (struct holder[]){us, stranger}, 2);
    lead_end(job, LEADER_NOBODY, 0);
    lead_end(lead_start(true, false, (struct holder[]){us, stranger}, 2), LEADER_SELF, 7);
}

// Two who took it at once, each in its database: neither acts, the younger one lets go, the older one then leads.
static void two_at_once(void) {
    struct job *job = lead_start(true, false, NULL, 0);
    lead_go_on(job, LEAD_TAKE, true, (struct holder[]){elder, us}, 2);
    lead_go_on(job, LEAD_LEAVE, true, &elder, 1);
    lead_end(job, LEADER_OTHER, 5);

    job = lead_start(true, false, NULL, 0);
    lead_go_on(job, LEAD_TAKE, true, (struct holder[]){us, younger}, 2);
    lead_end(job, LEADER_OTHER, 8);
    lead_end(lead_start(true, false, &us, 1), LEADER_SELF, 7);
}

static void violations(void) {
    struct job *job = job_lead_new(&(struct poll_options){0}, true, false);
    PGresult *bad = lead_result(&us, 1);
    result_null(bad, 0, LEADERS_SELF);
    job_take_result(job, 0, bad, 0);
    CHECK_EQ(job_error(job)->kind, PG_ERROR_PROTOCOL);
    CHECK(!job_next_round(job));
    job_free(job);
}

CHECK_MAIN({"reads", reads}, {"a_leader_stays", a_leader_stays}, {"takes", takes}, {"two_at_once", two_at_once},
           {"violations", violations})
