// SPDX-License-Identifier: PostgreSQL
//
// JOB_SURVEY: what else a server says of itself, for whoever compares it with the configuration.
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "decode.h"
#include "error_impl.h"
#include "job_impl.h"
#include "util/array.h"

#define SURVEY_VERSION_COLLATIONS 150000 // databases know the version of their collation

enum { SURVEY_TIMEOUTS, SURVEY_OVERRIDES, SURVEY_WATCHDOGS, SURVEY_COLLATIONS, N_SURVEY_REQUESTS };
static_assert(N_SURVEY_REQUESTS == SURVEY_MAX_RESULTS, "a place for each result");

static const enum statement_id survey_statements[] = {
    [SURVEY_TIMEOUTS] = STATEMENT_TIMEOUTS,
    [SURVEY_OVERRIDES] = STATEMENT_OVERRIDES,
    [SURVEY_WATCHDOGS] = STATEMENT_WATCHDOGS,
    [SURVEY_COLLATIONS] = STATEMENT_COLLATIONS,
};

static unsigned survey_n_requests(const struct job *job) {
    return job->survey.version_num < SURVEY_VERSION_COLLATIONS ? SURVEY_COLLATIONS : N_SURVEY_REQUESTS;
}

static int survey_send(struct job *job, PGconn *pq, unsigned request, usec_t now) {
    (void)job;
    (void)now;
    return query_send(pq, survey_statements[request], false, &(struct params){0});
}

static void survey_out_of_memory(struct job *job) {
    pg_error_set(&job->error, PG_ERROR_OTHER, NULL, "out of memory");
}

static void survey_add_setting(struct job *job, const struct server_setting *setting) {
    struct job_survey *s = &job->survey;
    if (ARRAY_RESERVE(s->settings, s->settings_capacity, s->n_settings) < 0) {
        survey_out_of_memory(job);
        return;
    }
    s->settings[s->n_settings++] = *setting;
}

static const char *survey_text_or_null(struct decoder *decoder, unsigned column) {
    return decode_is_null(decoder, column) ? NULL : decode_text(decoder, column);
}

static void survey_take_timeouts(struct job *job, struct decoder *decoder) {
    int n = decode_n_rows(decoder);
    for (decoder->row = 0; decoder->row < n && decode_ok(decoder); decoder->row++) {
        struct server_setting setting = {.is_global = true};
        int64_t value = decode_is_null(decoder, TIMEOUTS_VALUE) ? -1 : decode_int64(decoder, TIMEOUTS_VALUE);
        if (!server_timeout_from_string(decode_text(decoder, TIMEOUTS_NAME), &setting.which)) {
            decode_fail(decoder, TIMEOUTS_NAME, "is not one that was asked for");
        } else if (value >= 0) {
            setting.value = value > INT32_MAX ? USEC_INFINITY : (usec_t)value * USEC_PER_MSEC;
            survey_add_setting(job, &setting);
        }
    }
}

static void survey_take_overrides(struct job *job, struct decoder *decoder) {
    int n = decode_n_rows(decoder);
    for (decoder->row = 0; decoder->row < n && decode_ok(decoder); decoder->row++) {
        struct server_setting setting = {
            .user = survey_text_or_null(decoder, OVERRIDES_ROLE),
            .user_quoted = survey_text_or_null(decoder, OVERRIDES_ROLE_QUOTED),
            .database = survey_text_or_null(decoder, OVERRIDES_DATABASE),
            .database_quoted = survey_text_or_null(decoder, OVERRIDES_DATABASE_QUOTED),
        };
        if (!setting.user != !setting.user_quoted || !setting.database != !setting.database_quoted) {
            decode_fail(decoder, OVERRIDES_ROLE_QUOTED, "one of a name and its quoted form is NULL");
        } else if (!server_timeout_from_string(decode_text(decoder, OVERRIDES_NAME), &setting.which)) {
            decode_fail(decoder, OVERRIDES_NAME, "is not one that was asked for");
        } else if (decode_ok(decoder) && server_timeout_parse(decode_text(decoder, OVERRIDES_VALUE), &setting.value)) {
            survey_add_setting(job, &setting); // a value written in some other way is not compared
        }
    }
}

static void survey_take_watchdogs(struct job *job, struct decoder *decoder) {
    struct job_survey *s = &job->survey;
    int n = decode_n_rows(decoder);
    s->watchdogs = calloc((size_t)n + 1, sizeof(*s->watchdogs));
    if (!s->watchdogs) {
        survey_out_of_memory(job);
        return;
    }
    for (decoder->row = 0; decoder->row < n; decoder->row++) {
        s->watchdogs[decoder->row] = (struct server_watchdog){
            .pid = decode_int32(decoder, WATCHDOGS_PID, 1),
            .user = decode_text(decoder, WATCHDOGS_ROLE),
            .client = decode_address(decoder, WATCHDOGS_CLIENT),
            .is_own_role = decode_bool(decoder, WATCHDOGS_OWN_ROLE),
            .is_same_client = decode_bool(decoder, WATCHDOGS_SAME_CLIENT),
            .holds_lock = decode_bool(decoder, WATCHDOGS_HOLDS),
        };
    }
    s->survey.watchdogs = s->watchdogs;
    s->survey.n_watchdogs = (size_t)n;
}

static void survey_take_collations(struct job *job, struct decoder *decoder) {
    struct job_survey *s = &job->survey;
    int n = decode_n_rows(decoder);
    s->collations = calloc((size_t)n + 1, sizeof(*s->collations));
    if (!s->collations) {
        survey_out_of_memory(job);
        return;
    }
    for (decoder->row = 0; decoder->row < n; decoder->row++) {
        s->collations[decoder->row] = (struct server_collation){
            .database = decode_text(decoder, COLLATIONS_DATABASE),
            .database_quoted = decode_text(decoder, COLLATIONS_DATABASE_QUOTED),
            .recorded = decode_text(decoder, COLLATIONS_RECORDED),
            .actual = decode_text(decoder, COLLATIONS_ACTUAL),
        };
    }
    s->survey.collations = s->collations;
    s->survey.n_collations = (size_t)n;
}

static void survey_take_result(struct job *job, unsigned request, PGresult *result, usec_t now) {
    static void (*const takers[])(struct job * job, struct decoder * decoder) = {
        [SURVEY_TIMEOUTS] = survey_take_timeouts,
        [SURVEY_OVERRIDES] = survey_take_overrides,
        [SURVEY_WATCHDOGS] = survey_take_watchdogs,
        [SURVEY_COLLATIONS] = survey_take_collations,
    };
    (void)now;
    assert(!job->survey.results[request]);
    job->survey.results[request] = result;
    struct decoder decoder = decode_begin(result, statement_get(survey_statements[request]), &job->error);
    if (decode_ok(&decoder)) {
        takers[request](job, &decoder);
    }
    job->survey.survey.settings = job->survey.settings;
    job->survey.survey.n_settings = job->survey.n_settings;
}

static void survey_deinit(struct job *job) {
    struct job_survey *s = &job->survey;
    free(s->settings);
    free(s->watchdogs);
    free(s->collations);
    for (size_t i = 0; i < SURVEY_MAX_RESULTS; i++) {
        PQclear(s->results[i]);
    }
}

static const struct job_ops survey_ops = {
    .n_requests = survey_n_requests,
    .send = survey_send,
    .take_result = survey_take_result,
    .deinit = survey_deinit,
};

struct job *job_survey_new(int version_num) {
    struct job *job = job_new(JOB_SURVEY, &survey_ops);
    if (job) {
        job->survey.version_num = version_num;
    }
    return job;
}

const struct server_survey *job_survey(const struct job *job) {
    assert(job->kind == JOB_SURVEY);
    return job->error.kind == PG_ERROR_NONE ? &job->survey.survey : NULL;
}
