// SPDX-License-Identifier: PostgreSQL
#include <string.h>

#include "output/encode.h"
#include "sample_event.h"
#include "support/check.h"
#include "support/oom.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

static void check_encoded(const struct event *event, usec_t realtime, struct text_options options,
                          const char *expected) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    CHECK_EQ(text_encode(event, realtime, &options, &sb), 0);
    CHECK_STR(strbuf_str(&sb), expected);
}

static void options(void) {
    struct event event = event_make(EVENT_RECORDS_DROPPED, EVENT_WARNING, "db");
    event.count = 3;
    check_encoded(&event, SAMPLE_REALTIME, (struct text_options){0}, "db: dropped 3 log records\n");
    check_encoded(&event, SAMPLE_REALTIME, (struct text_options){.with_time = true},
                  "2025-01-02T03:04:05.678Z db: dropped 3 log records\n");
    check_encoded(&event, SAMPLE_REALTIME, (struct text_options){.priority = true}, "<4>db: dropped 3 log records\n");
}

static void priorities(void) {
    static const char *const expected[] = {"<3>started\n", "<4>started\n", "<5>started\n", "<6>started\n",
                                           "<7>started\n"};
    for (unsigned i = 0; i < N_EVENT_LEVELS; i++) {
        struct event event = event_make(EVENT_START, (enum event_level)i, NULL);
        check_encoded(&event, 0, (struct text_options){.priority = true}, expected[i]);
    }
}

static void times(void) {
    struct event event = event_make(EVENT_START, EVENT_INFO, NULL);
    struct text_options with_time = {.with_time = true};
    check_encoded(&event, 0, with_time, "1970-01-01T00:00:00.000Z started\n");
    check_encoded(&event, UINT64_C(1709251199999999), with_time, "2024-02-29T23:59:59.999Z started\n");
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    CHECK_EQ(text_encode(&event, UINT64_MAX, &with_time, &sb), 0);
    CHECK_CONTAINS(strbuf_str(&sb), "Z started\n");
}

static void appends(void) {
    struct event event = event_make(EVENT_START, EVENT_INFO, NULL);
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    struct text_options plain = {0};
    CHECK_EQ(text_encode(&event, 0, &plain, &sb), 0);
    CHECK_EQ(text_encode(&event, 0, &plain, &sb), 0);
    CHECK_STR(strbuf_str(&sb), "started\nstarted\n");
}

static int encode(void *userdata) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    return text_encode(userdata, SAMPLE_REALTIME, &(struct text_options){.with_time = true}, &sb);
}

static void survives_oom(void) {
    struct session_row session = sample_session();
    struct event event = sample_event(&session);
    oom_sweep(encode, &event);
}

CHECK_MAIN({"options", options}, {"priorities", priorities}, {"times", times}, {"appends", appends},
           {"survives_oom", survives_oom})
