// SPDX-License-Identifier: PostgreSQL
#include "output/status.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#include "sample_view.h"
#include "support/oom.h"
#include "util/strbuf.h"

static void json_unrefp(json_t **value) {
    json_decref(*value);
}

static json_t *parse(const struct view *view) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    json_error_t error;
    CHECK_EQ(status_render(view, &sb), 0);
    for (size_t i = 0; i < sb.len; i++) {
        CHECK(sb.data[i] == '\n' ? i == sb.len - 1 : sb.data[i] >= ' ' && sb.data[i] < 0x7f);
    }
    json_t *root = json_loads(strbuf_str(&sb), JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        CHECK_FAIL("%s at %d: %s", error.text, error.position, strbuf_str(&sb));
    }
    return root;
}

// The value at "targets.0.slots.used", dumped.
static void check_at(const json_t *root, const char *path, const char *expected) {
    const json_t *at = root;
    check_context("at %s", path);
    for (const char *s = path; *s;) {
        char key[64];
        size_t len = strcspn(s, ".");
        CHECK_LT(len, sizeof(key));
        memcpy(key, s, len);
        key[len] = '\0';
        at = json_is_array(at) ? json_array_get(at, strtoul(key, NULL, 10)) : json_object_get(at, key);
        s += len + (s[len] == '.');
    }
    CLEANUP(freep) char *text = at ? json_dumps(at, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    CHECK_STR(text, expected);
}

static void count_some(struct sample_view *sample) {
    struct event event = event_make(EVENT_OUTCOME, EVENT_NOTICE, "db");
    event.rule = "idle";
    event.app = "worker";
    event.has_action = true;
    event.outcome = OUTCOME_GONE;
    tally_count(sample->tally, &event);
    ring_add(sample->ring, &event, SAMPLE_REALTIME);
    event.app = "api";
    tally_count(sample->tally, &event);
    event.outcome = OUTCOME_CHANGED;
    tally_count(sample->tally, &event);
    event.target = "another";
    tally_count(sample->tally, &event);
    tally_count_notification(sample->tally, "oncall", "sent", 4);
}

static void every_value(void) {
    CLEANUP(sample_view_deinit) struct sample_view sample;
    sample_view_init(&sample);
    count_some(&sample);
    CLEANUP(json_unrefp) json_t *root = parse(&sample.view);
    static const char *const rows[][2] = {
        {"version", "\"1.2.3\""},
        {"time", "\"2025-01-02T03:04:05.678Z\""},
        {"started_at", "\"2025-01-02T02:04:05.678Z\""},
        {"configuration.file", "\"/etc/pgvigil/pgvigil.yaml\""},
        {"configuration.loaded_at", "\"2025-01-02T03:03:05.678Z\""},
        {"configuration.last_reload_ok", "true"},
        {"configuration.last_reload_at", "null"},
        {"configuration.enforce", "false"},
        {"configuration.alarms", "2"},
        {"process.cpu_seconds", "2.5"},
        {"process.resident_bytes", "8388608"},
        {"process.records_dropped", "7"},
        {"notifications.0", "{\"output\":\"oncall\",\"result\":\"sent\",\"count\":4}"},
        {"targets.0.target", "\"db\""},
        {"targets.0.state", "\"watching\""},
        {"targets.0.up", "true"},
        {"targets.0.current", "true"},
        {"targets.0.enforcing", "true"},
        {"pauses.0.scope", "\"rule\""},
        {"pauses.0.name", "\"idle\""},
        {"pauses.0.left_seconds", "60.0"},
        {"targets.0.leading", "true"},
        {"targets.0.standing", "\"leads\""},
        {"targets.0.polls", "{\"ok\":12,\"timeout\":1,\"error\":0,\"lost\":0,\"skipped\":0}"},
        {"targets.0.last_poll", "\"2025-01-02T03:04:04.678Z\""},
        {"targets.0.error", "null"},
        {"targets.0.findings.0.reason", "\"no_reserved_slot\""},
        {"targets.0.server.version", "\"15.18\""},
        {"targets.0.slots.used", "42"},
        {"targets.0.slots.usable", "97"},
        {"targets.0.slots.usage_percent", "44"},
        {"targets.0.apps.0",
         "{\"app\":\"worker\",\"is_app\":true,\"pool\":null,\"sessions\":42,\"active\":2,\"idle\":40,"
         "\"idle_in_transaction\":0,\"longest_idle_seconds\":912.345}"},
        {"targets.0.groups.0.sessions", "40"},
        {"targets.0.longest_idle.0.pid", "4711"},
        {"targets.0.longest_idle.0.client", "\"local\""},
        {"targets.0.longest_transactions.0.age_seconds", "912.0"},
        {"targets.0.rules.0.name", "\"idle\""},
        {"targets.0.rules.0.kind", "\"timeout\""},
        {"targets.0.paused", "false"},
        {"targets.0.rules.0.paused", "true"},
        {"targets.0.rules.1.paused", "false"},
        {"targets.0.rules.0.matches", "3"},
        {"targets.0.rules.0.covers", "40"},
        {"targets.0.rules.0.held_back", "{\"protected\":2}"},
        // Of all apps together, of this target alone.
        {"targets.0.rules.0.totals.outcomes", "{\"gone\":2,\"changed\":1}"},
        {"targets.0.rules.1.kind", "\"quota\""},
        {"targets.0.rules.1.totals", "{\"decisions\":{},\"outcomes\":{},\"held_back\":{}}"},
        {"targets.0.alarms.0", "{\"name\":\"slots\",\"group\":null,\"severity\":\"critical\",\"value\":93,"
                               "\"metric\":\"usage\",\"unit\":\"percent\",\"detail\":null,\"hint\":\"end some\"}"},
        {"targets.0.alarms.1",
         "{\"name\":\"per-app\",\"group\":\"worker\",\"severity\":\"warning\",\"detail\":null,\"hint\":null}"},
        {"targets.0.n_alarms", "2"},
        {"events_missed", "0"},
        {"events.0.event", "\"outcome\""},
        {"events.0.level", "\"notice\""},
        {"events.0.ts", "\"2025-01-02T03:04:05.678Z\""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        check_at(root, rows[i][0], rows[i][1]);
    }
    CHECK_EQ(json_array_size(json_object_get(root, "events")), 1u);
}

static void trouble(void) {
    CLEANUP(sample_view_deinit) struct sample_view sample;
    sample_view_init(&sample);
    sample.target.up = false;
    sample.target.error_kind = "unreachable";
    sample.target.sqlstate = "";
    sample.target.error = "no \"route\"\x1b to host\xff";
    sample.target.failing_since = SAMPLE_NOW - USEC_PER_SEC;
    sample.target.summary.valid = false;
    CLEANUP(json_unrefp) json_t *root = parse(&sample.view);
    check_at(root, "targets.0.error.kind", "\"unreachable\"");
    check_at(root, "targets.0.error.message", "\"no \\\"route\\\"\\u001B to host\xef\xbf\xbd\"");
    check_at(root, "targets.0.error.since", "\"2025-01-02T03:04:04.678Z\"");
    check_at(root, "targets.0.current", "false");
    check_at(root, "targets.0.slots.used", "42"); // the last that was known
    sample.target.polled_at = 0;
    CLEANUP(json_unrefp) json_t *never = parse(&sample.view);
    check_at(never, "targets.0.last_poll", "null");
    check_at(never, "targets.0.slots", NULL);
    check_at(never, "targets.0.rules.0.name", "\"idle\"");
    sample.target.has_summary = false;
    sample.view.config.file = NULL;
    CLEANUP(json_unrefp) json_t *bare = parse(&sample.view);
    check_at(bare, "targets.0.rules", NULL);
    check_at(bare, "configuration.file", "null");
}

static void hostile_names(void) {
    CLEANUP(sample_view_deinit) struct sample_view sample;
    sample_view_init(&sample);
    struct session_row session = sample.target.summary.longest_idle[0].session;
    struct event event = event_make(EVENT_OUTCOME, EVENT_NOTICE, "db");
    session.application_name = "\"},{\"x\":\"\x01\x7f\xc2\x9b\xff\xe2\x80\xae";
    event.session = &session;
    ring_add(sample.ring, &event, SAMPLE_REALTIME);
    sample.target.summary.longest_idle[0].session.application_name = session.application_name;
    sample.target.summary.longest_idle[0].session.user = "u\n\"\\";
    sample_view_group(&sample, "\"a\\x1b\"", false, "\xc3(", SESSION_STATE_IDLE, 1, 0);
    CLEANUP(json_unrefp) json_t *root = parse(&sample.view);
    check_at(root, "targets.0.longest_idle.0.user", "\"u\\n\\\"\\\\\"");
    check_at(root, "targets.0.groups.2.user", "\"\xef\xbf\xbd(\"");
    CHECK_STR(
        json_string_value(json_object_get(json_array_get(json_object_get(root, "events"), 0), "application_name")),
        "\"},{\"x\":\"\x01\x7f\xc2\x9b\xef\xbf\xbd\xe2\x80\xae");
}

static void groups_are_bounded(void) {
    CLEANUP(sample_view_deinit) struct sample_view sample;
    static char names[3000][16];
    sample_view_init(&sample);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        (void)snprintf(names[i], sizeof(names[i]), "\"%zu\"", i);
        sample_view_group(&sample, names[i], false, "u", i % 2 ? SESSION_STATE_IDLE : SESSION_STATE_ACTIVE, 1,
                          (i + 1) * USEC_PER_SEC);
    }
    CLEANUP(json_unrefp) json_t *root = parse(&sample.view);
    const json_t *target = json_array_get(json_object_get(root, "targets"), 0);
    const json_t *groups = json_object_get(target, "groups"), *apps = json_object_get(target, "apps");
    CHECK_EQ(json_array_size(groups), STATUS_MAX_GROUPS + 2u);
    CHECK_EQ(json_array_size(apps), STATUS_MAX_APPS + 1u);
    int64_t n = 0;
    for (size_t i = 0; i < json_array_size(groups); i++) {
        n += json_integer_value(json_object_get(json_array_get(groups, i), "sessions"));
    }
    CHECK_EQ(n, 3042);
    n = 0;
    for (size_t i = 0; i < json_array_size(apps); i++) {
        n += json_integer_value(json_object_get(json_array_get(apps, i), "sessions"));
    }
    CHECK_EQ(n, 3042);
    check_at(root, "targets.0.apps.200.app", "\"other\"");
    check_at(root, "targets.0.apps.200.longest_idle_seconds", "3000.0");
    check_at(root, "targets.0.groups.1001.longest_seconds", "3000.0");
}

static void alarms_are_bounded(void) {
    CLEANUP(sample_view_deinit) struct sample_view sample;
    static struct summary_alarm alarms[STATUS_MAX_ALARMS + 10];
    sample_view_init(&sample);
    for (size_t i = 0; i < ARRAY_SIZE(alarms); i++) {
        alarms[i] = sample.alarms[1];
    }
    sample.target.summary.alarms = alarms;
    sample.target.summary.n_alarms = ARRAY_SIZE(alarms);
    CLEANUP(json_unrefp) json_t *root = parse(&sample.view);
    const json_t *target = json_array_get(json_object_get(root, "targets"), 0);
    CHECK_EQ(json_array_size(json_object_get(target, "alarms")), (size_t)STATUS_MAX_ALARMS);
    check_at(root, "targets.0.n_alarms", "510");
}

// ---- the ring

static void the_last_events_are_kept(void) {
    CLEANUP(sample_view_deinit) struct sample_view sample;
    char detail[32];
    sample_view_init(&sample);
    for (unsigned i = 0; i < RING_MAX_EVENTS + 50; i++) {
        struct event event = event_make(EVENT_START, EVENT_INFO, NULL);
        (void)snprintf(detail, sizeof(detail), "%u", i);
        event.detail = detail;
        ring_add(sample.ring, &event, SAMPLE_REALTIME);
    }
    CHECK_EQ(ring_n(sample.ring), (size_t)RING_MAX_EVENTS);
    CLEANUP(json_unrefp) json_t *root = parse(&sample.view);
    check_at(root, "events.0.detail", "\"50\"");
    check_at(root, "events.199.detail", "\"249\"");
}

static char *long_text(size_t n) {
    char *text = malloc(n + 1);
    CHECK_NOT_NULL(text);
    memset(text, 'x', n);
    text[n] = '\0';
    return text;
}

static void add_field(void *userdata, enum event_field field, const struct event_value *value) {
    strbuf_addf(userdata, "|%s=", event_field_to_string(field));
    if (value->kind == EVENT_VALUE_STRING) {
        strbuf_add(userdata, value->string);
    } else {
        strbuf_addf(userdata, "%" PRId64, value->number);
    }
}

// All that is kept of the i-th.
static char *text_of(const struct ring *ring, size_t i) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    const struct ring_event event = ring_get(ring, i, add_field, &sb);
    strbuf_addf(&sb, "|%s %s", event_level_to_string(event.level), event.message);
    char *text = strbuf_take(&sb);
    CHECK_NOT_NULL(text);
    return text;
}

// What is kept is what the log would have said.
static void kept_as_it_was(void) {
    CLEANUP(ring_freep) struct ring *ring = ring_new();
    char *name = strdup("worker-1");
    struct session_row session = {.id = {.id = 4711}, .application_name = name, .user = "u", .database = "d"};
    struct event event = event_make(EVENT_DECISION, EVENT_NOTICE, "db");
    CHECK_NOT_NULL(name);
    event.session = &session;
    event.has_action = true;
    event.observe = true;
    ring_add(ring, &event, SAMPLE_REALTIME);
    free(name);
    session.application_name = "another";
    CLEANUP(freep) char *text = text_of(ring, 0);
    CHECK_STR(text,
              "|event=decision|target=db|action=terminate|pid=4711|backend_start=2000-01-01T00:00:00.000000Z|user=u|"
              "database=d|application_name=worker-1|client=local|state=starting|observe=1|notice db: would "
              "terminate session 4711 (u@d from local) (observe)");
}

static void long_queries_and_memory(void) {
    CLEANUP(sample_view_deinit) struct sample_view sample;
    CLEANUP(freep) char *huge = long_text(2 * RING_MAX_EVENT), *big = long_text(RING_MAX_EVENT / 4);
    sample_view_init(&sample);
    struct session_row session = sample.target.summary.longest_idle[0].session;
    struct event event = event_make(EVENT_OUTCOME, EVENT_NOTICE, "db");
    event.session = &session;
    session.query = huge;
    ring_add(sample.ring, &event, SAMPLE_REALTIME);
    CHECK_EQ(ring_n(sample.ring), 1u);
    CLEANUP(freep) char *shortened = text_of(sample.ring, 0);
    CHECK_LACKS(shortened, "xxxx");
    CHECK_CONTAINS(shortened, "4711");
    // Nothing can be left out of this one.
    session.query = NULL;
    event.detail = huge;
    ring_add(sample.ring, &event, SAMPLE_REALTIME);
    CHECK_EQ(ring_n(sample.ring), 1u);
    CHECK_EQ(ring_n_missed(sample.ring), 1u);
    // Big ones: fewer than 200 fit, and the latest is among them.
    event.detail = big;
    for (unsigned i = 0; i < RING_MAX_EVENTS; i++) {
        event.used = i;
        ring_add(sample.ring, &event, SAMPLE_REALTIME);
    }
    CHECK_LE(ring_n_bytes(sample.ring), RING_MAX_BYTES);
    CHECK_GT(ring_n_bytes(sample.ring), RING_MAX_BYTES / 2);
    CLEANUP(freep) char *latest = text_of(sample.ring, ring_n(sample.ring) - 1);
    CHECK_CONTAINS(latest, "|used=199|");
    CLEANUP(json_unrefp) json_t *root = parse(&sample.view);
    check_at(root, "events_missed", "1");
}

static void ring_without_memory(void) {
    for (unsigned nth = 1;; nth++) {
        CLEANUP(ring_freep) struct ring *ring = ring_new();
        const struct event event = event_make(EVENT_START, EVENT_INFO, NULL);
        oom_arm(nth);
        ring_add(ring, &event, SAMPLE_REALTIME);
        bool fired = oom_disarm();
        CHECK_EQ(ring_n(ring), fired ? 0u : 1u);
        CHECK_EQ(ring_n_missed(ring), fired ? 1u : 0u);
        if (!fired) {
            CHECK_GT(nth, 1u);
            return;
        }
    }
}

static int render_once(void *userdata) {
    const struct sample_view *sample = userdata;
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    return status_render(&sample->view, &sb);
}

static void oom(void) {
    CLEANUP(sample_view_deinit) struct sample_view sample;
    sample_view_init(&sample);
    count_some(&sample);
    oom_sweep(render_once, &sample);
}

CHECK_MAIN({"every_value", every_value}, {"trouble", trouble}, {"hostile_names", hostile_names},
           {"groups_are_bounded", groups_are_bounded}, {"alarms_are_bounded", alarms_are_bounded},
           {"kept_as_it_was", kept_as_it_was}, {"the_last_events_are_kept", the_last_events_are_kept},
           {"long_queries_and_memory", long_queries_and_memory}, {"ring_without_memory", ring_without_memory},
           {"oom", oom})
