// SPDX-License-Identifier: PostgreSQL
#include <errno.h>

#include "pg_result.h"
#include "support/oom.h"

static PGresult *timeouts(const char *name) {
    PGresult *r = result_new(STATEMENT_TIMEOUTS);
    result_text(r, 0, TIMEOUTS_NAME, name);
    result_int64(r, 0, TIMEOUTS_VALUE, 5000);
    result_text(r, 1, TIMEOUTS_NAME, "transaction_timeout");
    result_null(r, 1, TIMEOUTS_VALUE);
    return r;
}

static void override(PGresult *r, int row, const char *role, const char *database, const char *value) {
    for (int i = 0; i < 2; i++) {
        if (role) {
            result_text(r, row, OVERRIDES_ROLE + i, role);
        } else {
            result_null(r, row, OVERRIDES_ROLE + i);
        }
        if (database) {
            result_text(r, row, OVERRIDES_DATABASE + i, database);
        } else {
            result_null(r, row, OVERRIDES_DATABASE + i);
        }
    }
    result_text(r, row, OVERRIDES_NAME, "statement_timeout");
    result_text(r, row, OVERRIDES_VALUE, value);
}

static PGresult *overrides(void) {
    PGresult *r = result_new(STATEMENT_OVERRIDES);
    override(r, 0, NULL, NULL, "1min");
    override(r, 1, "web", "shop", "0");
    override(r, 2, "web", NULL, "0x1000"); // legal, and nobody's
    return r;
}

static PGresult *watchdogs(void) {
    PGresult *r = result_new(STATEMENT_WATCHDOGS);
    result_int32(r, 0, WATCHDOGS_PID, 4711);
    result_text(r, 0, WATCHDOGS_ROLE, "pgvigil");
    result_null(r, 0, WATCHDOGS_CLIENT);
    result_bool(r, 0, WATCHDOGS_OWN_ROLE, true);
    result_bool(r, 0, WATCHDOGS_SAME_CLIENT, false);
    result_bool(r, 0, WATCHDOGS_HOLDS, true);
    return r;
}

static PGresult *collations(void) {
    PGresult *r = result_new(STATEMENT_COLLATIONS);
    result_text(r, 0, COLLATIONS_DATABASE, "shop");
    result_text(r, 0, COLLATIONS_DATABASE_QUOTED, "shop");
    result_text(r, 0, COLLATIONS_RECORDED, "2.31");
    result_text(r, 0, COLLATIONS_ACTUAL, "2.36");
    return r;
}

static void reads_all(void) {
    struct job *job = job_survey_new(150000);
    CHECK_NOT_NULL(job);
    CHECK_EQ(job_n_requests(job), 4);
    job_take_result(job, 0, timeouts("idle_session_timeout"), 1);
    job_take_result(job, 1, overrides(), 1);
    job_take_result(job, 2, watchdogs(), 1);
    job_take_result(job, 3, collations(), 1);
    CHECK(!job_next_round(job));
    const struct server_survey *survey = job_survey(job);
    CHECK_NOT_NULL(survey);
    CHECK_EQ(survey->n_settings, 3); // what is not known, and what is not read, are left out
    CHECK_EQ(survey->settings[0].which, SERVER_TIMEOUT_IDLE);
    CHECK_EQ(survey->settings[0].value, 5 * USEC_PER_SEC);
    CHECK(survey->settings[0].is_global);
    CHECK_NULL(survey->settings[1].user);
    CHECK(!survey->settings[1].is_global);
    CHECK_EQ(survey->settings[1].value, USEC_PER_MINUTE);
    CHECK_STR(survey->settings[2].user, "web");
    CHECK_STR(survey->settings[2].database_quoted, "shop");
    CHECK_EQ(survey->n_watchdogs, 1);
    CHECK_EQ(survey->watchdogs[0].pid, 4711);
    CHECK_EQ(survey->watchdogs[0].client.family, ADDRESS_LOCAL);
    CHECK(survey->watchdogs[0].holds_lock && !survey->watchdogs[0].is_same_client);
    CHECK_STR(survey->collations[0].actual, "2.36");
    job_free(job);
}

static void asks_old_servers_less(void) {
    struct job *job = job_survey_new(140005);
    CHECK_EQ(job_n_requests(job), 3);
    job_take_result(job, 0, result_new(STATEMENT_TIMEOUTS), 1);
    job_take_result(job, 1, result_new(STATEMENT_OVERRIDES), 1);
    job_take_result(job, 2, result_new(STATEMENT_WATCHDOGS), 1);
    CHECK_NOT_NULL(job_survey(job));
    CHECK_EQ(job_survey(job)->n_settings, 0);
    job_free(job);
}

// What is not to the contract yields nothing at all.
static void refuses_what_it_did_not_ask_for(void) {
    struct job *job = job_survey_new(150000);
    job_take_result(job, 0, timeouts("lock_timeout"), 1);
    CHECK_EQ(job_error(job)->kind, PG_ERROR_PROTOCOL);
    CHECK_NULL(job_survey(job));
    job_take_result(job, 1, overrides(), 1);
    CHECK_NULL(job_survey(job));
    job_free(job);

    job = job_survey_new(150000);
    job_take_result(job, 0, collations(), 1);
    CHECK_NULL(job_survey(job));
    job_free(job);

    job = job_survey_new(150000);
    PGresult *r = overrides();
    result_null(r, 1, OVERRIDES_ROLE_QUOTED);
    job_take_result(job, 0, timeouts("idle_session_timeout"), 1);
    job_take_result(job, 1, r, 1);
    CHECK_NULL(job_survey(job));
    job_free(job);
}

static int survey_once(void *userdata) {
    (void)userdata;
    struct job *job = job_survey_new(150000);
    if (!job) {
        return -ENOMEM;
    }
    job_take_result(job, 0, timeouts("idle_session_timeout"), 1);
    job_take_result(job, 1, overrides(), 1);
    job_take_result(job, 2, watchdogs(), 1);
    job_take_result(job, 3, collations(), 1);
    int r = job_survey(job) ? 0 : -ENOMEM;
    job_free(job);
    return r;
}

static void survives_oom(void) {
    oom_sweep(survey_once, NULL);
}

CHECK_MAIN({"reads_all", reads_all}, {"asks_old_servers_less", asks_old_servers_less},
           {"refuses_what_it_did_not_ask_for", refuses_what_it_did_not_ask_for}, {"survives_oom", survives_oom})
