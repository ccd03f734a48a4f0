// SPDX-License-Identifier: PostgreSQL
//
// Answers of a server that is not one: results of any shape for every kind of job. What comes out must be to the
// contract, or the job must have failed.
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <libpq-fe.h>

#include "../../src/pg/error_impl.h"
#include "../../src/pg/job_impl.h"
#include "util/macro.h"

#define FUZZ_MAX_ROWS 8
#define FUZZ_MAX_COLUMNS 20
#define FUZZ_VALUE_NULL 255
#define FUZZ_CHANGES 0xe0
#define FUZZ_VALUE_ZERO 254 // as many zero bytes as the type has

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t size;
};

static uint8_t input_byte(struct input *in) {
    if (in->size == 0) {
        return 0;
    }
    in->size--;
    return *in->data++;
}

static void input_value(struct input *in, PGresult *result, int row, int column) {
    char value[256] = {0};
    uint8_t len = input_byte(in);
    if (len == FUZZ_VALUE_NULL) {
        (void)PQsetvalue(result, row, column, NULL, -1);
        return;
    }
    if (len == FUZZ_VALUE_ZERO) {
        Oid type = PQftype(result, column);
        len = type == PG_TYPE_BOOL ? 1 : type == PG_TYPE_TEXT ? 0 : type == PG_TYPE_TIMESTAMPTZ ? 8 : 4;
    } else {
        len = (uint8_t)MIN(len, in->size);
        memcpy(value, in->data, len);
        in->data += len;
        in->size -= len;
    }
    (void)PQsetvalue(result, row, column, value, len);
}

// Mostly the shape of the statement, so that values are reached.
static PGresult *input_result(struct input *in, enum statement_id id) {
    static char name[] = "c";
    const struct statement *st = statement_get(id);
    PGresAttDesc attributes[FUZZ_MAX_COLUMNS];
    uint8_t shape = input_byte(in);
    int n_columns = (int)st->n_columns, n_rows = shape % FUZZ_MAX_ROWS;
    if (shape >= 0xf8) {
        static const ExecStatusType statuses[] = {PGRES_COMMAND_OK, PGRES_FATAL_ERROR, PGRES_PIPELINE_ABORTED,
                                                  PGRES_EMPTY_QUERY};
        return PQmakeEmptyPGresult(NULL, statuses[shape % ARRAY_SIZE(statuses)]);
    }
    for (int i = 0; i < n_columns; i++) {
        attributes[i] = (PGresAttDesc){.name = name, .format = 1, .typid = (Oid)st->columns[i].type};
    }
    if (shape >= 0xf0) {
        n_columns = input_byte(in) % FUZZ_MAX_COLUMNS;
        for (int i = 0; i < n_columns; i++) {
            attributes[i] = (PGresAttDesc){.name = name, .format = input_byte(in) % 2, .typid = input_byte(in)};
        }
    }
    PGresult *result = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
    (void)PQsetResultAttrs(result, n_columns, attributes);
    for (int row = 0; row < n_rows; row++) {
        for (int i = 0; i < n_columns; i++) {
            input_value(in, result, row, i);
        }
    }
    return result;
}

static size_t fuzz_touch(const char *text) {
    return text ? strlen(text) : 0;
}

static void fuzz_check_scan(const struct job *job) {
    const struct scan *scan = job_scan(job);
    assert((scan == NULL) == (job_error(job)->kind != PG_ERROR_NONE));
    for (size_t i = 0; scan && i < scan->n_rows; i++) {
        const struct session_row *row = &scan->rows[i];
        assert(row->id.id > 0 && row->id.since != TIMESTAMP_NONE);
        assert(fuzz_touch(row->application_name) <= 1024 && fuzz_touch(row->user) <= 1024);
        assert(fuzz_touch(row->database) <= 1024 && fuzz_touch(row->query) <= 64);
        assert(!(SESSION_STATES_ANY & SESSION_STATE_BIT(row->state)) ||
               (row->state_change != TIMESTAMP_NONE && row->user_oid != 0 && row->database_oid != 0));
    }
}

static void fuzz_scan(struct input *in, bool look) {
    static const struct session_id ids[] = {{1, 0}, {0x20202020, 0x2020202020202020}};
    const struct poll_options options = {.query_text = input_byte(in) % 16};
    struct job *job = look ? job_look_new(&options, ids, ARRAY_SIZE(ids)) : job_poll_new(&options);
    job_take_result(job, 0, input_result(in, STATEMENT_FACTS), 1);
    enum statement_id more = options.query_text > 0 ? STATEMENT_SCAN_MORE : STATEMENT_SCAN;
    job_take_result(job, 1, input_result(in, look ? STATEMENT_LOOK : more), 1);
    if (job_next_round(job)) {
        job_take_result(job, 0, input_result(in, STATEMENT_NAMES), 1);
        assert(!job_next_round(job));
    }
    fuzz_check_scan(job);
    job_free(job);
}

// Two polls of which the second one is told what has changed.
static void fuzz_changes(struct input *in) {
    struct known *known = known_new();
    const struct poll_options options = {.known = known};
    for (int i = 0; i < 2; i++) {
        struct job *job = job_poll_new(&options);
        job_take_result(job, 0, input_result(in, STATEMENT_FACTS), 1);
        job_take_result(job, 1, input_result(in, job->scan.statement), 1);
        while (job_next_round(job)) {
            bool again = job->round == 1 && job->scan.is_doubted;
            job_take_result(job, 0, input_result(in, again ? STATEMENT_SCAN : STATEMENT_NAMES), 1);
        }
        fuzz_check_scan(job);
        job_free(job);
    }
    known_free(known);
}

static void fuzz_acts(struct input *in) {
    struct decision decisions[3] = {0};
    size_t n;
    for (size_t i = 0; i < ARRAY_SIZE(decisions); i++) {
        decisions[i].test.id.id = 1;
        decisions[i].test.application_name = "";
    }
    struct job *job = job_act_new(&(struct poll_options){0}, decisions, ARRAY_SIZE(decisions));
    for (unsigned i = 0; i < ARRAY_SIZE(decisions); i++) {
        job->act.reports[i].result = ACT_UNKNOWN;
        job_take_result(job, i, input_result(in, STATEMENT_TERMINATE), 1);
    }
    assert(job_acts(job, &n)[0].result != ACT_UNSENT && n == ARRAY_SIZE(decisions));
    job_free(job);
}

static void fuzz_rights(struct input *in) {
    static const int versions[] = {90600, 130000, 150000, 160000, 190000};
    size_t n;
    struct job *job = job_rights_new(versions[input_byte(in) % ARRAY_SIZE(versions)]);
    job_take_result(job, 0, input_result(in, STATEMENT_RIGHTS), 1);
    job_take_result(job, 1, input_result(in, STATEMENT_SUPERUSERS), 1);
    const struct finding *findings = job_findings(job, &n);
    for (size_t i = 0; i < n; i++) {
        assert(fuzz_touch(findings[i].reason) > 0 && fuzz_touch(findings[i].detail) > 0);
        (void)fuzz_touch(findings[i].hint);
    }
    job_free(job);
}

static void fuzz_survey(struct input *in) {
    struct job *job = job_survey_new(150000);
    static const enum statement_id ids[] = {STATEMENT_TIMEOUTS, STATEMENT_OVERRIDES, STATEMENT_WATCHDOGS,
                                            STATEMENT_COLLATIONS};
    for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
        job_take_result(job, i, input_result(in, ids[i]), 1);
    }
    const struct server_survey *survey = job_survey(job);
    assert((survey == NULL) == (job_error(job)->kind != PG_ERROR_NONE));
    for (size_t i = 0; survey && i < survey->n_settings; i++) {
        const struct server_setting *setting = &survey->settings[i];
        assert((unsigned)setting->which < N_SERVER_TIMEOUTS &&
               (setting->user == NULL) == (setting->user_quoted == NULL));
        (void)fuzz_touch(setting->database);
    }
    for (size_t i = 0; survey && i < survey->n_watchdogs; i++) {
        assert(survey->watchdogs[i].pid > 0 && fuzz_touch(survey->watchdogs[i].user) <= 1024);
    }
    for (size_t i = 0; survey && i < survey->n_collations; i++) {
        (void)(fuzz_touch(survey->collations[i].recorded) + fuzz_touch(survey->collations[i].database_quoted));
    }
    job_free(job);
}

static void fuzz_identify(struct input *in) {
    struct job *job = job_identify_new();
    job_take_result(job, 0, input_result(in, STATEMENT_IDENTIFY), 1);
    assert(job_error(job)->kind != PG_ERROR_NONE || job_identity(job).backend_pid > 0);
    job_free(job);
}

static void fuzz_connect_error(const struct input *in) {
    struct pg_error error;
    char *text = strndup((const char *)in->data, in->size);
    assert(text);
    pg_error_from_connect(&error, text, false);
    assert(error.kind != PG_ERROR_NONE && strlen(error.message) < sizeof(error.message));
    assert(strlen(error.sqlstate) == 0 || strlen(error.sqlstate) == 5);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input in = {data, size};
    uint8_t kind = input_byte(&in);
    if (kind >= FUZZ_CHANGES) {
        fuzz_changes(&in);
        return 0;
    }
    switch (kind % 7) {
    case 0:
        fuzz_scan(&in, false);
        break;
    case 1:
        fuzz_scan(&in, true);
        break;
    case 2:
        fuzz_acts(&in);
        break;
    case 3:
        fuzz_rights(&in);
        break;
    case 4:
        fuzz_identify(&in);
        break;
    case 6:
        fuzz_survey(&in);
        break;
    default:
        fuzz_connect_error(&in);
        break;
    }
    return 0;
}
