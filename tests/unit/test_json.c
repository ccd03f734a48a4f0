// SPDX-License-Identifier: PostgreSQL
#include <jansson.h>
#include <string.h>

#include "output/encode.h"
#include "sample_event.h"
#include "support/check.h"
#include "support/oom.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

static void check_encoded(const struct event *event, const char *expected) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    CHECK_EQ(json_encode(event, SAMPLE_REALTIME, &sb), 0);
    CHECK_STR(strbuf_str(&sb), expected);
}

static void every_field_in_order(void) {
    struct session_row session = sample_session();
    struct event event = sample_event(&session);
    CLEANUP(strbuf_deinit) struct strbuf message = STRBUF_EMPTY, expected = STRBUF_EMPTY;
    event_render(&event, &message);
    CHECK_CONTAINS(strbuf_str(&message), "; query \"SELECT 1\"");
    message.data[strstr(message.data, "; query ") - message.data] = '\0'; // its quotes would have to be escaped
    strbuf_addf(&expected, "{\"ts\":\"2025-01-02T03:04:05.678Z\",\"level\":\"notice\",\"message\":\"%s",
                strbuf_str(&message));
    strbuf_add(
        &expected,
        "; query \\\"SELECT 1\\\" (asked by uid 1000, pid 815)\","
        "\"event\":\"outcome\",\"target\":\"db\",\"rule\":\"idle\",\"action\":\"terminate\","
        "\"outcome\":\"gone\",\"reason\":\"because\",\"pid\":4711,"
        "\"backend_start\":\"2000-01-01T00:00:00.000000Z\",\"app\":\"worker\",\"user\":\"worker\","
        "\"database\":\"app\",\"application_name\":\"worker-1\",\"client\":\"172.18.0.7\","
        "\"state\":\"idle\",\"age_usec\":912000000,\"limit_usec\":600000000,\"took_usec\":200000,"
        "\"used\":90,\"usable\":97,\"count\":1,\"alarm\":\"slots\",\"severity\":\"warning\",\"group\":\"worker\","
        "\"metric\":\"usage\",\"value\":93,\"threshold\":90,\"holders\":\"worker 41\",\"held\":34,"
        "\"allowed\":30,\"n_blocked\":2,\"blocked\":\"4712, "
        "4713\",\"output\":\"oncall\",\"sqlstate\":\"42501\",\"observe\":false,\"asker_uid\":1000,\"asker_pid\":815,"
        "\"detail\":\"a detail\",\"hint\":\"a hint\",\"query\":\"SELECT 1\"}\n");
    check_encoded(&event, strbuf_str(&expected));
}

static void nothing_set(void) {
    struct event event = event_make(EVENT_START, EVENT_INFO, NULL);
    check_encoded(&event, "{\"ts\":\"2025-01-02T03:04:05.678Z\",\"level\":\"info\",\"message\":\"started\","
                          "\"event\":\"start\"}\n");
}

// What a parser reads is the raw text; what a terminal shows is ASCII without a control character.
static void hostile_strings(void) {
    struct event event = event_make(EVENT_START, EVENT_INFO, NULL);
    event.reason = "a\"b\\c\n\x01\x1b[2J\x7f\xc2\x9b%s\xe2\x80\xae\xc3\xa4";
    event.hint = "bad \xff\xc0\xaf end";
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    CHECK_EQ(json_encode(&event, SAMPLE_REALTIME, &sb), 0);
    for (size_t i = 0; i + 1 < sb.len; i++) {
        CHECK(sb.data[i] >= 0x20 && sb.data[i] < 0x7f);
    }
    CHECK_EQ(sb.data[sb.len - 1], '\n');
    json_error_t error;
    json_t *object = json_loadb(sb.data, sb.len, JSON_REJECT_DUPLICATES, &error);
    CHECK_NOT_NULL(object);
    CHECK_STR(json_string_value(json_object_get(object, "reason")), event.reason);
    CHECK_CONTAINS(json_string_value(json_object_get(object, "hint")), "\xef\xbf\xbd");
    json_decref(object);
}

static int encode(void *userdata) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    return json_encode(userdata, SAMPLE_REALTIME, &sb);
}

static void survives_oom(void) {
    struct session_row session = sample_session();
    struct event event = sample_event(&session);
    oom_sweep(encode, &event);
}

CHECK_MAIN({"every_field_in_order", every_field_in_order}, {"nothing_set", nothing_set},
           {"hostile_strings", hostile_strings}, {"survives_oom", survives_oom})
