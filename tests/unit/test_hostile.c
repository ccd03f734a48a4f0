// SPDX-License-Identifier: PostgreSQL
//
// A client chooses its application name, and whoever may log in chooses names and statements. Whatever they hold, an
// event stays one line, one JSON object, one journal record, and says what it was made to say.
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "output/encode.h"
#include "sample_event.h"
#include "support/check.h"
#include "util/cleanup.h"
#include "util/escape.h"
#include "util/strbuf.h"

#define NAME_LENGTH 63 // NAMEDATALEN - 1

static const char *const hostile_names[] = {
    "",
    "x\nPRIORITY=0\nPGVIGIL_EVENT=start",
    "x\r\n2025-01-01T00:00:00.000Z db: terminated everything",
    "\x1b[2J\x1b]0;title\x07\x1b[31m",
    "\"quoted\" 'single' \\ back \\n \\u0000 \\x41",
    "%s%s%n%99999d%*d",
    "\",\"event\":\"start\",\"x\":\"",
    "<0>emergency",
    "\xff\xfe\xc0\xaf\xed\xa0\x80\xf5\x80\x80\x80 truncated \xe2\x82",
    "\xc2\x9b[2J C1 \xc2\x85 NEL \xe2\x80\xa8 LS \xe2\x80\xa9 PS",
    "\xe2\x80\xae reversed \xe2\x81\xa6 isolate \xe2\x80\x8b zero \xef\xbb\xbf BOM",
    "\xc3\xa4\xe2\x82\xac\xf0\x9f\x92\xa3",
    "=",
    "A=B",
    "\x7f\x7f",
    "\x01",
};

static bool hostile_is_unsafe(unsigned code) {
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029 || // lines, controls
           (code >= 0x200b && code <= 0x200f) || (code >= 0x202a && code <= 0x202e) ||         // hidden, reordered
           (code >= 0x2066 && code <= 0x2069) || code == 0xfeff;
}

static void check_safe(const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        unsigned code = 0;
        size_t len = utf8_decode(s + i, n - i, &code);
        CHECK_GE(len, 1);
        CHECK(!hostile_is_unsafe(code));
        i += len;
    }
}

static void check_text(const struct event *event, const char *message) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY, expected = STRBUF_EMPTY;
    struct text_options options = {.priority = true, .with_time = true};
    CHECK_EQ(text_encode(event, SAMPLE_REALTIME, &options, &sb), 0);
    strbuf_addf(&expected, "<5>2025-01-02T03:04:05.678Z %s\n", message);
    CHECK_MEM(sb.data, sb.len, expected.data, expected.len);
}

static void check_json_field(const json_t *object, const struct event *event, enum event_field field) {
    struct event_value value;
    event_get(event, field, &value);
    const json_t *got = json_object_get(object, event_field_to_string(field));
    CLEANUP(strbuf_deinit) struct strbuf utf8 = STRBUF_EMPTY;
    switch (value.kind) {
    case EVENT_VALUE_NONE:
        CHECK_NULL(got);
        break;
    case EVENT_VALUE_STRING:
        escape_to_utf8(&utf8, value.string);
        CHECK_STR(json_string_value(got), strbuf_str(&utf8));
        break;
    case EVENT_VALUE_NUMBER:
        CHECK(json_is_integer(got));
        CHECK_EQ(json_integer_value(got), value.number);
        break;
    case EVENT_VALUE_BOOL:
        CHECK(json_is_boolean(got));
        CHECK_EQ(json_is_true(got), value.number);
        break;
    }
}

static void check_json(const struct event *event, const char *message) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    CHECK_EQ(json_encode(event, SAMPLE_REALTIME, &sb), 0);
    CHECK_EQ(sb.data[sb.len - 1], '\n');
    check_safe(sb.data, sb.len - 1);
    json_error_t error;
    json_t *object = json_loadb(sb.data, sb.len, JSON_REJECT_DUPLICATES, &error);
    CHECK_NOT_NULL(object);
    size_t n = 3;
    for (unsigned i = 0; i < N_EVENT_FIELDS; i++) {
        check_json_field(object, event, (enum event_field)i);
        n += json_object_get(object, event_field_to_string((enum event_field)i)) != NULL;
    }
    CHECK_EQ(json_object_size(object), n);
    CHECK_STR(json_string_value(json_object_get(object, "message")), message);
    CHECK_STR(json_string_value(json_object_get(object, "level")), "notice");
    json_decref(object);
}

// The value of a field of the event as the journal gets it, or false.
static bool journal_expect(const struct event *event, enum event_field field, struct strbuf *sb) {
    struct event_value value;
    event_get(event, field, &value);
    strbuf_add(sb, "PGVIGIL_");
    for (const char *s = event_field_to_string(field); *s; s++) {
        strbuf_add_char(sb, *s == '_' ? '_' : (char)(*s - 32));
    }
    strbuf_add_char(sb, '=');
    switch (value.kind) {
    case EVENT_VALUE_NONE:
        return false;
    case EVENT_VALUE_STRING:
        strbuf_add(sb, value.string);
        break;
    case EVENT_VALUE_NUMBER:
        strbuf_addf(sb, "%lld", (long long)value.number);
        break;
    case EVENT_VALUE_BOOL:
        strbuf_add(sb, value.number ? "true" : "false");
        break;
    }
    return true;
}

static void check_journal(const struct event *event, const char *message) {
    CLEANUP(journal_record_deinit) struct journal_record record = {0};
    CHECK_EQ(journal_encode(event, &record), 0);
    CHECK_GE(record.n_fields, 4);
    CLEANUP(strbuf_deinit) struct strbuf expected = STRBUF_EMPTY;
    strbuf_addf(&expected, "MESSAGE=%s", message);
    CHECK_MEM(record.bytes + record.fields[0].at, record.fields[0].len, expected.data, expected.len);
    // Field by field, and nothing besides; libsystemd frames each by its length.
    size_t next = 4;
    for (unsigned i = 0; i < N_EVENT_FIELDS; i++) {
        strbuf_clear(&expected);
        if (journal_expect(event, (enum event_field)i, &expected)) {
            CHECK_LT(next, record.n_fields);
            const struct journal_field *field = &record.fields[next++];
            CHECK_MEM(record.bytes + field->at, field->len, expected.data, expected.len);
        }
    }
    CHECK_EQ(next, record.n_fields);
    CHECK_EQ(record.fields[next - 1].at + record.fields[next - 1].len, record.n_bytes);
}

static void check_event(const struct event *event) {
    CLEANUP(strbuf_deinit) struct strbuf message = STRBUF_EMPTY;
    event_render(event, &message);
    CHECK_EQ(strbuf_error(&message), 0);
    check_safe(strbuf_str(&message), message.len);
    check_text(event, strbuf_str(&message));
    check_json(event, strbuf_str(&message));
    check_journal(event, strbuf_str(&message));
}

// As every string that an event has, in every kind of event.
static void check_name(const char *name) {
    struct session_row session = sample_session();
    session.application_name = session.user = session.database = session.query = name;
    struct event event = sample_event(&session);
    event.target = event.rule = event.reason = event.detail = event.hint = event.app = event.sqlstate = name;
    for (unsigned kind = 0; kind < N_EVENT_KINDS; kind++) {
        for (unsigned outcome = 0; outcome < N_OUTCOMES; outcome++) {
            event.kind = (enum event_kind)kind;
            event.outcome = (enum outcome)outcome;
            check_event(&event);
            if (event.kind != EVENT_OUTCOME) {
                break;
            }
        }
    }
}

static void names(void) {
    for (size_t i = 0; i < ARRAY_SIZE(hostile_names); i++) {
        check_context("name %zu", i);
        check_name(hostile_names[i]);
    }
}

// 63 bytes at a time, each of 1 to 255, from every start.
static void all_bytes(void) {
    for (unsigned first = 1; first <= 255; first++) {
        char name[NAME_LENGTH + 1];
        for (unsigned i = 0; i < NAME_LENGTH; i++) {
            name[i] = (char)(unsigned char)(1 + (first - 1 + i) % 255);
        }
        name[NAME_LENGTH] = '\0';
        check_context("bytes from %u on", first);
        check_name(name);
    }
}

// The label of a session that no app claims is its name, quoted and escaped already.
static void quoted_label(void) {
    for (size_t i = 0; i < ARRAY_SIZE(hostile_names); i++) {
        check_context("name %zu", i);
        CLEANUP(strbuf_deinit) struct strbuf label = STRBUF_EMPTY;
        escape_quoted(&label, hostile_names[i]);
        struct session_row session = sample_session();
        struct event event = sample_event(&session);
        event.app = strbuf_str(&label);
        check_event(&event);
    }
}

CHECK_MAIN({"names", names}, {"all_bytes", all_bytes}, {"quoted_label", quoted_label})
