// SPDX-License-Identifier: PostgreSQL
#include "output/encode.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>

#include "text.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

// The message catalog and people's filters know these: never change one, never use one again.
static const char *const journal_message_ids[] = {
    [EVENT_START] = "4437f56525ec42f7a82db139b2382335",
    [EVENT_STOP] = "7845b0eb80524677940e9402399865fd",
    [EVENT_CONFIG_LOADED] = "590fb9041c2f4e2bae6378052af8bab9",
    [EVENT_CONFIG_REJECTED] = "dded6afb767548c58da270f0f2a6ed74",
    [EVENT_TARGET_UP] = "e6fcaa8ed61d46d9854a2a4014c77a0c",
    [EVENT_TARGET_DOWN] = "9e632a67620a4ac199cc50ca20c09bbe",
    [EVENT_LOCKED_OUT] = "368e3c0a9abf451dbe0a0e76f4b25c06",
    [EVENT_SELF_CHECK] = "7fe4243e88004ca39c77c6872d99268b",
    [EVENT_DECISION] = "f25d550f1e8a4574a90317dce6445167",
    [EVENT_OUTCOME] = "18386760058d4474a8b3a7d0d1a82490",
    [EVENT_HELD_BACK] = "dc99a04283194ecf9c0385f76801ca0b",
    [EVENT_ALARM] = "b6a90d1df8f040a9927c58bb5a2d71ac",
    [EVENT_BREAKER] = "3a59a91706884735bd1dfd053ab0636f",
    [EVENT_PAUSED] = "3a14822bd30b4afb89ad302d5cb4a954",
    [EVENT_RESUMED] = "514cb19e7aac4a07868811f8b9e1b03e",
    [EVENT_LEADERSHIP] = "185da41000c54a019516f9ba5de51533",
    [EVENT_CLOCK_JUMP] = "f40056a2fafe47eebe18c78a1964919c",
    [EVENT_RECORDS_DROPPED] = "747f7b7c826c47d79f787de102eb5e28",
    [EVENT_NOTIFICATION_FAILED] = "017629e0acd54e97a03837a3d2b0cf0e",
};
static_assert(ARRAY_SIZE(journal_message_ids) == N_EVENT_KINDS, "one MESSAGE_ID a kind");

const char *journal_message_id(enum event_kind kind) {
    assert(kind < N_EVENT_KINDS_);
    return journal_message_ids[kind];
}

#define JOURNAL_N_OWN_FIELDS 4 // those of journal_add_head()
static_assert(JOURNAL_N_OWN_FIELDS + N_EVENT_FIELDS <= JOURNAL_MAX_FIELDS, "all fields fit");

// The field reaches from the end of the one before to the end of what was added since.
static void journal_end_field(struct journal_record *record, const struct strbuf *sb) {
    assert(record->n_fields < JOURNAL_MAX_FIELDS);
    size_t at = 0;
    if (record->n_fields > 0) {
        const struct journal_field *last = &record->fields[record->n_fields - 1];
        at = last->at + last->len;
    }
    record->fields[record->n_fields++] = (struct journal_field){.at = at, .len = sb->len - at};
}

static void journal_add_head(struct journal_record *record, const struct event *event, struct strbuf *sb) {
    strbuf_add(sb, "MESSAGE=");
    event_render(event, sb);
    journal_end_field(record, sb);
    strbuf_addf(sb, "MESSAGE_ID=%s", journal_message_id(event->kind));
    journal_end_field(record, sb);
    strbuf_addf(sb, "PRIORITY=%u", text_priority(event->level));
    journal_end_field(record, sb);
    strbuf_add(sb, "SYSLOG_IDENTIFIER=pgvigil");
    journal_end_field(record, sb);
}

static void journal_add_name(struct strbuf *sb, enum event_field field) {
    strbuf_add(sb, "PGVIGIL_");
    for (const char *s = event_field_to_string(field); *s; s++) {
        strbuf_add_char(sb, *s >= 'a' && *s <= 'z' ? (char)(*s - 'a' + 'A') : *s);
    }
    strbuf_add_char(sb, '=');
}

static void journal_add_field(struct journal_record *record, const struct event *event, enum event_field field,
                              struct strbuf *sb) {
    struct event_value value;
    event_get(event, field, &value);
    if (value.kind == EVENT_VALUE_NONE) {
        return;
    }
    journal_add_name(sb, field);
    switch (value.kind) {
    case EVENT_VALUE_NONE:
        break;
    case EVENT_VALUE_STRING:
        strbuf_add(sb, value.string);
        break;
    case EVENT_VALUE_NUMBER:
        strbuf_addf(sb, "%" PRId64, value.number);
        break;
    case EVENT_VALUE_BOOL:
        strbuf_add(sb, value.number ? "true" : "false");
        break;
    }
    journal_end_field(record, sb);
}

int journal_encode(const struct event *event, struct journal_record *ret) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    struct journal_record record = {0};
    journal_add_head(&record, event, &sb);
    for (unsigned i = 0; i < N_EVENT_FIELDS; i++) {
        journal_add_field(&record, event, (enum event_field)i, &sb);
    }
    record.n_bytes = sb.len;
    record.bytes = strbuf_take(&sb);
    if (!record.bytes) {
        return -ENOMEM;
    }
    *ret = record;
    return 0;
}

void journal_record_deinit(struct journal_record *record) {
    free(record->bytes);
    *record = (struct journal_record){0};
}
