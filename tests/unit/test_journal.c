// SPDX-License-Identifier: PostgreSQL
#include <string.h>

#include "output/encode.h"
#include "sample_event.h"
#include "support/check.h"
#include "support/oom.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

static const char *const all_fields[] = {
    "MESSAGE_ID=18386760058d4474a8b3a7d0d1a82490",
    "PRIORITY=5",
    "SYSLOG_IDENTIFIER=pgvigil",
    "PGVIGIL_EVENT=outcome",
    "PGVIGIL_TARGET=db",
    "PGVIGIL_RULE=idle",
    "PGVIGIL_ACTION=terminate",
    "PGVIGIL_OUTCOME=gone",
    "PGVIGIL_REASON=because",
    "PGVIGIL_PID=4711",
    "PGVIGIL_BACKEND_START=2000-01-01T00:00:00.000000Z",
    "PGVIGIL_APP=worker",
    "PGVIGIL_USER=worker",
    "PGVIGIL_DATABASE=app",
    "PGVIGIL_APPLICATION_NAME=worker-1",
    "PGVIGIL_CLIENT=172.18.0.7",
    "PGVIGIL_STATE=idle",
    "PGVIGIL_AGE_USEC=912000000",
    "PGVIGIL_LIMIT_USEC=600000000",
    "PGVIGIL_TOOK_USEC=200000",
    "PGVIGIL_USED=90",
    "PGVIGIL_USABLE=97",
    "PGVIGIL_COUNT=1",
    "PGVIGIL_ALARM=slots",
    "PGVIGIL_SEVERITY=warning",
    "PGVIGIL_GROUP=worker",
    "PGVIGIL_METRIC=usage",
    "PGVIGIL_VALUE=93",
    "PGVIGIL_THRESHOLD=90",
    "PGVIGIL_HOLDERS=worker 41",
    "PGVIGIL_HELD=34",
    "PGVIGIL_ALLOWED=30",
    "PGVIGIL_N_BLOCKED=2",
    "PGVIGIL_BLOCKED=4712, 4713",
    "PGVIGIL_OUTPUT=oncall",
    "PGVIGIL_SQLSTATE=42501",
    "PGVIGIL_OBSERVE=false",
    "PGVIGIL_ASKER_UID=1000",
    "PGVIGIL_ASKER_PID=815",
    "PGVIGIL_DETAIL=a detail",
    "PGVIGIL_HINT=a hint",
    "PGVIGIL_QUERY=SELECT 1",
};

static void check_field(const struct journal_record *record, size_t i, const char *expected) {
    CHECK_LT(i, record->n_fields);
    const struct journal_field *field = &record->fields[i];
    CHECK_LE(field->at + field->len, record->n_bytes);
    CHECK_MEM(record->bytes + field->at, field->len, expected, strlen(expected));
}

static void every_field(void) {
    struct session_row session = sample_session();
    struct event event = sample_event(&session);
    CLEANUP(journal_record_deinit) struct journal_record record = {0};
    CHECK_EQ(journal_encode(&event, &record), 0);
    CLEANUP(strbuf_deinit) struct strbuf message = STRBUF_EMPTY;
    strbuf_add(&message, "MESSAGE=");
    event_render(&event, &message);
    CHECK_EQ(record.n_fields, 1 + ARRAY_SIZE(all_fields));
    check_field(&record, 0, strbuf_str(&message));
    for (size_t i = 0; i < ARRAY_SIZE(all_fields); i++) {
        check_field(&record, 1 + i, all_fields[i]);
    }
}

static void nothing_set(void) {
    struct event event = event_make(EVENT_START, EVENT_INFO, NULL);
    CLEANUP(journal_record_deinit) struct journal_record record = {0};
    CHECK_EQ(journal_encode(&event, &record), 0);
    CHECK_EQ(record.n_fields, 5);
    check_field(&record, 0, "MESSAGE=started");
    check_field(&record, 2, "PRIORITY=6");
    check_field(&record, 4, "PGVIGIL_EVENT=start");
}

// A value stays whole and in its own field, line feeds and all.
static void values_are_raw(void) {
    struct event event = event_make(EVENT_START, EVENT_INFO, NULL);
    event.reason = "x\nPRIORITY=0\n\xff";
    CLEANUP(journal_record_deinit) struct journal_record record = {0};
    CHECK_EQ(journal_encode(&event, &record), 0);
    CHECK_EQ(record.n_fields, 6);
    check_field(&record, 5, "PGVIGIL_REASON=x\nPRIORITY=0\n\xff");
    CHECK_NULL(memchr(record.bytes, '\n', record.fields[0].len)); // MESSAGE is one line
}

static void message_ids(void) {
    for (unsigned i = 0; i < N_EVENT_KINDS; i++) {
        const char *id = journal_message_id((enum event_kind)i);
        CHECK_NOT_NULL(id);
        CHECK_EQ(strlen(id), 32);
        CHECK_EQ(strspn(id, "0123456789abcdef"), 32);
        for (unsigned j = 0; j < i; j++) {
            CHECK(strcmp(id, journal_message_id((enum event_kind)j)) != 0);
        }
    }
}

static int encode(void *userdata) {
    CLEANUP(journal_record_deinit) struct journal_record record = {0};
    return journal_encode(userdata, &record);
}

static void survives_oom(void) {
    struct session_row session = sample_session();
    struct event event = sample_event(&session);
    oom_sweep(encode, &event);
}

CHECK_MAIN({"every_field", every_field}, {"nothing_set", nothing_set}, {"values_are_raw", values_are_raw},
           {"message_ids", message_ids}, {"survives_oom", survives_oom})
