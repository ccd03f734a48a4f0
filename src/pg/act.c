// SPDX-License-Identifier: PostgreSQL
//
// JOB_ACT: one guarded statement for each decision, each with a sync of its own, so that an error on one (a session of
// a superuser) cannot hide what happened to the others.
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "error_impl.h"
#include "job_impl.h"
#include "util/strbuf.h"

// Numbers of the guard's $7.
static const int32_t act_times[] = {
    [SESSION_TIME_STATE_CHANGE] = 0,
    [SESSION_TIME_QUERY_START] = 1,
    [SESSION_TIME_XACT_START] = 2,
    [SESSION_TIME_BACKEND_START] = 3,
};
static_assert(ARRAY_SIZE(act_times) == N_SESSION_TIMES_, "a time is missing");

// {"idle","idle in transaction"}; states that no rule may judge are left out, so that a set of them alone matches
// nobody.
static void act_add_states(struct strbuf *sb, unsigned states) {
    const char *separator = "";
    strbuf_add_char(sb, '{');
    for (unsigned i = 0; i < N_SESSION_STATES; i++) {
        if (states & SESSION_STATES_ANY & SESSION_STATE_BIT(i)) {
            strbuf_addf(sb, "%s\"%s\"", separator, session_state_to_string((enum session_state)i));
            separator = ",";
        }
    }
    strbuf_add_char(sb, '}');
}

// {4711,4712}
static void act_add_waiters(struct strbuf *sb, const struct guard_test *test) {
    strbuf_add_char(sb, '{');
    for (size_t i = 0; i < test->n_waiters; i++) {
        strbuf_addf(sb, i == 0 ? "%" PRId64 : ",%" PRId64, test->waiters[i]);
    }
    strbuf_add_char(sb, '}');
}

static int act_send(struct job *job, PGconn *pq, unsigned request, usec_t now) {
    struct job_act *a = &job->act;
    const struct act *act = &a->acts[request];
    const struct guard_test *test = &act->test;
    bool terminate = act->action == ACTION_TERMINATE;
    struct params params = {0};
    CLEANUP(strbuf_deinit) struct strbuf states = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf waiters = STRBUF_EMPTY;
    (void)now;

    params_add_int32(&params, (int32_t)test->id.id);
    params_add_timestamp(&params, test->id.since);
    // A rule that names no state judges those alone that show theirs: a session that hides it now hides what it does.
    act_add_states(&states, test->states == 0 ? SESSION_STATES_ANY : test->states);
    act_add_waiters(&waiters, test);
    if (strbuf_error(&states) < 0 || strbuf_error(&waiters) < 0) {
        return -ENOMEM;
    }
    params_add_oid(&params, test->user_oid);
    params_add_oid(&params, test->database_oid);
    params_add_bytes(&params, test->application_name, strlen(test->application_name));
    params_add_text(&params, strbuf_str(&states));
    params_add_int32(&params, act_times[test->time]);
    params_add_timestamp(&params, test->at);
    params_add_bool(&params, test->spare_listeners);
    params_add_bool(&params, test->spare_maintenance);
    params_add_timestamp(&params, test->query_start);
    params_add_text(&params, test->n_waiting == 0 ? NULL : strbuf_str(&waiters));
    params_add_int32(&params, (int32_t)test->n_waiting);
    params_add_bool(&params, test->spare_superusers);
    // From here on it may reach the server.
    a->reports[request].result = ACT_UNKNOWN;
    return query_send(pq, terminate ? STATEMENT_TERMINATE : STATEMENT_CANCEL, a->options.prepared, &params);
}

static void act_judge(struct job *job, struct act_report *report, const struct act *act, const PGresult *result) {
    const struct statement *st =
        statement_get(act->action == ACTION_TERMINATE ? STATEMENT_TERMINATE : STATEMENT_CANCEL);
    struct pg_error error;
    struct decoder decoder = decode_begin(result, st, &error);
    bool done = false, null = false, unmoved = false;
    if (decode_n_rows(&decoder) > 0) {
        null = decode_is_null(&decoder, ACT_DONE);
        done = decode_bool(&decoder, ACT_DONE);
        report->at = decode_timestamp(&decoder, ACT_AT);
        unmoved = decode_bool(&decoder, ACT_UNMOVED);
    }
    if (!decode_ok(&decoder)) {
        // It ran, but what it did is not known: the report stays UNKNOWN.
        report->at = TIMESTAMP_NONE;
        job->error = error;
    } else if (PQntuples(result) == 0) {
        report->result = ACT_LEFT;
    } else if (null) {
        report->result = unmoved ? ACT_SPARED : ACT_CHANGED;
    } else if (done) {
        report->result = ACT_SIGNALLED;
    } else {
        report->result = ACT_FAILED;
        pg_error_set(&report->error, PG_ERROR_OTHER, NULL, "the server could not signal the session");
    }
}

static void act_take_result(struct job *job, unsigned request, PGresult *result, usec_t now) {
    struct job_act *a = &job->act;
    struct act_report *report = &a->reports[request];
    (void)now;
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_FATAL_ERROR || status == PGRES_NONFATAL_ERROR) {
        pg_error_from_result(&report->error, result);
        report->result = report->error.kind == PG_ERROR_DENIED ? ACT_DENIED : ACT_FAILED;
    } else {
        act_judge(job, report, &a->acts[request], result);
    }
    PQclear(result);
}

static unsigned act_n_requests(const struct job *job) {
    return (unsigned)job->act.n_acts;
}

// Of what was sent the reports go on to say UNKNOWN.
static void act_unsend(struct job *job) {
    for (size_t i = 0; i < job->act.n_acts; i++) {
        job->act.reports[i].result = ACT_UNSENT;
    }
}

static void act_deinit(struct job *job) {
    struct job_act *a = &job->act;
    for (size_t i = 0; i < a->n_acts; i++) {
        free(a->acts[i].application_name);
    }
    free(a->acts);
    free(a->reports);
}

static const struct job_ops act_ops = {
    .syncs_each = true,
    .n_requests = act_n_requests,
    .send = act_send,
    .take_result = act_take_result,
    .unsend = act_unsend,
    .deinit = act_deinit,
};

struct job *job_act_new(const struct poll_options *options, const struct decision *decisions, size_t n_decisions) {
    assert(n_decisions > 0 && n_decisions <= ACT_MAX);
    CLEANUP(job_freep) struct job *job = job_new(JOB_ACT, &act_ops);
    if (!job) {
        return NULL;
    }
    struct job_act *a = &job->act;
    a->options = *options;
    a->acts = calloc(n_decisions, sizeof(*a->acts));
    a->reports = calloc(n_decisions, sizeof(*a->reports));
    if (!a->acts || !a->reports) {
        return NULL;
    }
    for (size_t i = 0; i < n_decisions; i++) {
        const struct decision *decision = &decisions[i];
        struct act *act = &a->acts[i];
        // To the server -1 means all sessions.
        assert(decision->test.id.id > 0 && decision->test.id.id <= INT32_MAX);
        assert(decision->action == ACTION_TERMINATE || decision->action == ACTION_CANCEL);
        act->action = decision->action;
        act->test = decision->test;
        act->application_name = strdup(decision->test.application_name);
        act->test.application_name = act->application_name;
        a->reports[i] = (struct act_report){.serial = decision->serial, .result = ACT_UNSENT, .at = TIMESTAMP_NONE};
        a->n_acts++;
        if (!act->application_name) {
            return NULL;
        }
    }
    return TAKE_PTR(job);
}

const struct act_report *job_acts(const struct job *job, size_t *ret_n) {
    assert(job->kind == JOB_ACT);
    *ret_n = job->act.n_acts;
    return job->act.reports;
}
