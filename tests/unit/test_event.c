// SPDX-License-Identifier: PostgreSQL

// The messages of events.

#include "core/event.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "support/check.h"
#include "support/oom.h"
#include "util/cleanup.h"
#include "util/escape.h"
#include "util/strbuf.h"

static const struct session_row worker = {
    .id = {4711, INT64_C(762525296789012)},
    .application_name = "worker-1",
    .user = "worker",
    .database = "app",
    .client = {ADDRESS_INET, {172, 18, 0, 7}},
    .state = SESSION_STATE_IDLE,
};

static struct event about_worker(enum event_kind kind) {
    struct event event = event_make(kind, EVENT_NOTICE, "supabase-db");
    event.rule = "idle";
    event.has_action = true;
    event.action = ACTION_TERMINATE;
    event.session = &worker;
    event.app = "worker";
    event.time = SESSION_TIME_STATE_CHANGE;
    event.age = 912 * USEC_PER_SEC;
    event.limit = 600 * USEC_PER_SEC;
    return event;
}

static void check_message(const struct event *event, const char *wanted) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    event_render(event, &sb);
    CHECK_EQ(strbuf_error(&sb), 0);
    CHECK_STR(strbuf_str(&sb), wanted);
}

#define WORKER "worker session 4711 (worker@app from 172.18.0.7, idle 912s > 600s, rule idle)"

static void decisions(void) {
    struct event event = about_worker(EVENT_DECISION);
    check_message(&event, "supabase-db: terminating " WORKER);
    event.observe = true;
    check_message(&event, "supabase-db: would terminate " WORKER " (observe)");
    event.action = ACTION_CANCEL;
    check_message(&event, "supabase-db: would cancel the query of " WORKER " (observe)");
    event.observe = false;
    check_message(&event, "supabase-db: cancelling the query of " WORKER);
    event.action = ACTION_LOG;
    check_message(&event, "supabase-db: noticed " WORKER);
    event.observe = true;
    check_message(&event, "supabase-db: noticed " WORKER " (observe)");
}

static void outcomes(void) {
    static const struct {
        enum action action;
        enum outcome outcome;
        usec_t took;
        const char *wanted;
    } cases[] = {
        {ACTION_TERMINATE, OUTCOME_GONE, 200 * USEC_PER_MSEC, "terminated " WORKER "; gone in 0.2s"},
        {ACTION_TERMINATE, OUTCOME_GONE, USEC_INFINITY, "terminated " WORKER "; gone"},
        {ACTION_TERMINATE, OUTCOME_LINGERING, 10 * USEC_PER_SEC,
         "tried to terminate " WORKER "; still there after 10s"},
        {ACTION_TERMINATE, OUTCOME_CHANGED, USEC_INFINITY, "spared 4711: no longer idle since the poll (rule idle)"},
        {ACTION_CANCEL, OUTCOME_CHANGED, USEC_INFINITY, "spared 4711: no longer idle since the poll (rule idle)"},
        {ACTION_TERMINATE, OUTCOME_LEFT, USEC_INFINITY, "4711 had left by itself (rule idle)"},
        {ACTION_TERMINATE, OUTCOME_DENIED, USEC_INFINITY, "not allowed to terminate " WORKER},
        {ACTION_CANCEL, OUTCOME_DENIED, USEC_INFINITY, "not allowed to cancel the query of " WORKER},
        {ACTION_TERMINATE, OUTCOME_FAILED, USEC_INFINITY, "failed to terminate " WORKER},
        {ACTION_CANCEL, OUTCOME_CANCELLED, USEC_PER_SEC, "cancelled the query of " WORKER "; it ended in 1.0s"},
        {ACTION_CANCEL, OUTCOME_STILL_RUNNING, 10 * USEC_PER_SEC,
         "tried to cancel the query of " WORKER "; still running after 10s"},
        {ACTION_TERMINATE, OUTCOME_UNKNOWN, USEC_INFINITY,
         "tried to terminate " WORKER "; outcome unknown: the connection broke"},
        {ACTION_TERMINATE, OUTCOME_UNVERIFIED, USEC_INFINITY,
         "tried to terminate " WORKER "; not verified: the watch ended first"},
        {ACTION_TERMINATE, OUTCOME_NONE, USEC_INFINITY, "terminated " WORKER},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct event event = about_worker(EVENT_OUTCOME);
        char wanted[300];
        event.action = cases[i].action;
        event.outcome = cases[i].outcome;
        event.took = cases[i].took;
        (void)snprintf(wanted, sizeof(wanted), "supabase-db: %s", cases[i].wanted);
        check_message(&event, wanted);
    }
}

static void outcome_details(void) {
    struct event event = about_worker(EVENT_OUTCOME);
    event.outcome = OUTCOME_DENIED;
    event.detail = "must be a superuser to terminate superuser process";
    event.sqlstate = "42501";
    event.hint = "GRANT pg_signal_backend TO pgvigil";
    check_message(&event, "supabase-db: not allowed to terminate " WORKER
                          ": must be a superuser to terminate superuser process (SQLSTATE 42501); hint: GRANT "
                          "pg_signal_backend TO pgvigil");
    struct session_row row = worker;
    row.query = "SELECT \"x\"\n  FROM t";
    event = about_worker(EVENT_DECISION);
    event.session = &row;
    check_message(&event, "supabase-db: terminating " WORKER "; query \"SELECT \\\"x\\\"\\n  FROM t\"");
}

// What is measured decides the words, before and after.
static void measures(void) {
    static const struct {
        enum session_time time;
        enum session_state state;
        const char *during, *changed;
    } cases[] = {
        {SESSION_TIME_STATE_CHANGE, SESSION_STATE_IDLE, "idle", "no longer idle"},
        {SESSION_TIME_STATE_CHANGE, SESSION_STATE_IDLE_IN_TRANSACTION, "idle in transaction",
         "no longer idle in transaction"},
        {SESSION_TIME_STATE_CHANGE, SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED, "idle in aborted transaction",
         "no longer idle in aborted transaction"},
        {SESSION_TIME_STATE_CHANGE, SESSION_STATE_FASTPATH, "in a fastpath call", "no longer in a fastpath call"},
        {SESSION_TIME_STATE_CHANGE, SESSION_STATE_ACTIVE, "active", "no longer active"},
        {SESSION_TIME_QUERY_START, SESSION_STATE_ACTIVE, "active", "no longer in the same query"},
        {SESSION_TIME_QUERY_START, SESSION_STATE_IDLE, "since its last query began", "no longer in the same query"},
        {SESSION_TIME_XACT_START, SESSION_STATE_ACTIVE, "in transaction for", "no longer in the same transaction"},
        {SESSION_TIME_BACKEND_START, SESSION_STATE_IDLE, "connected", "moved on"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct session_row row = worker;
        struct event event = about_worker(EVENT_DECISION);
        char wanted[200];
        row.state = cases[i].state;
        event.session = &row;
        event.time = cases[i].time;
        (void)snprintf(wanted, sizeof(wanted),
                       "supabase-db: terminating worker session 4711 (worker@app from 172.18.0.7, %s 912s > 600s, rule "
                       "idle)",
                       cases[i].during);
        check_message(&event, wanted);
        event.kind = EVENT_OUTCOME;
        event.outcome = OUTCOME_CHANGED;
        (void)snprintf(wanted, sizeof(wanted), "supabase-db: spared 4711: %s since the poll (rule idle)",
                       cases[i].changed);
        check_message(&event, wanted);
    }
}

static void labels(void) {
    struct event event = about_worker(EVENT_DECISION);
    struct session_row row = worker;
    row.client = (struct address){.family = ADDRESS_LOCAL};
    event.session = &row;
    event.rule = NULL;
    event.limit = USEC_INFINITY;
    event.app = "\"\""; // claimed by no app, and without a name
    check_message(&event, "supabase-db: terminating \"\" session 4711 (worker@app from local, idle 912s)");
    event.age = USEC_INFINITY;
    event.app = NULL;
    check_message(&event, "supabase-db: terminating session 4711 (worker@app from local)");
    CLEANUP(strbuf_deinit) struct strbuf label = STRBUF_EMPTY;
    escape_quoted(&label, "my \"app\"\n\\"); // as the engine makes them: not escaped twice
    event.app = strbuf_str(&label);
    check_message(&event, "supabase-db: terminating \"my \\\"app\\\"\\n\\\\\" session 4711 (worker@app from local)");
}

static void held_back(void) {
    struct event event = event_make(EVENT_HELD_BACK, EVENT_INFO, "db");
    event.rule = "idle";
    event.reason = "keep";
    event.count = 3;
    check_message(&event, "db: held back 3 sessions (rule idle): keep");
    event.count = 1;
    check_message(&event, "db: held back 1 session (rule idle): keep");
    event.detail = "2 of app worker are left";
    check_message(&event, "db: held back 1 session (rule idle): keep, 2 of app worker are left");
    event.reason = NULL;
    event.count = EVENT_NUMBER_NONE;
    event.rule = NULL;
    check_message(&event, "db: held back sessions: 2 of app worker are left");
}

static void quotas(void) {
    struct event event = about_worker(EVENT_DECISION);
    event.rule = "worker";
    event.age = 42 * USEC_PER_SEC;
    event.limit = USEC_INFINITY;
    event.held = 34;
    event.allowed = 30;
    check_message(&event, "supabase-db: terminating worker session 4711 (worker@app from 172.18.0.7, idle 42s, quota "
                          "worker: 34 of 30 allowed)");
    event.rule = "per-host";
    event.group = "\"a\\nb\""; // printable: not escaped again
    event.kind = EVENT_OUTCOME;
    event.outcome = OUTCOME_GONE;
    event.took = 200 * USEC_PER_MSEC;
    check_message(&event, "supabase-db: terminated worker session 4711 (worker@app from 172.18.0.7, idle 42s, quota "
                          "per-host of \"a\\nb\": 34 of 30 allowed); gone in 0.2s");
    event = event_make(EVENT_HELD_BACK, EVENT_WARNING, "db");
    event.rule = "worker";
    event.count = 4;
    event.held = 34;
    event.allowed = 30;
    event.detail = "nothing that may be evicted is left";
    check_message(&event, "db: held back 4 sessions (quota worker: 34 of 30 allowed): nothing that may be evicted is "
                          "left");
    // One that only reports speaks of nobody alone.
    event = event_make(EVENT_DECISION, EVENT_NOTICE, "db");
    event.has_action = true;
    event.action = ACTION_LOG;
    event.rule = "per-host";
    event.group = "10.0.0.7";
    event.held = 64;
    event.allowed = 60;
    check_message(&event, "db: noticed too many sessions (quota per-host of 10.0.0.7: 64 of 60 allowed)");
}

static void pressure_and_blockers(void) {
    struct event event = about_worker(EVENT_DECISION);
    event.rule = "squeeze";
    event.reason = EVENT_REASON_PRESSURE;
    event.used = 88;
    event.usable = 97;
    check_message(&event, "supabase-db: terminating worker session 4711 (worker@app from 172.18.0.7, idle 912s > 600s, "
                          "rule squeeze at 88 of 97 usable slots)");
    event.reason = NULL;
    event.rule = "blocker";
    event.n_blocked = 3;
    event.blocked = "4711, 4712 and 1 more";
    check_message(&event, "supabase-db: terminating worker session 4711 (worker@app from 172.18.0.7, idle 912s > 600s, "
                          "blocks 3 sessions: 4711, 4712 and 1 more, rule blocker)");
    event.n_blocked = 1;
    event.blocked = "4712";
    event.rule = NULL;
    check_message(&event, "supabase-db: terminating worker session 4711 (worker@app from 172.18.0.7, idle 912s > 600s, "
                          "blocks 1 session: 4712)");
}

static void alarms(void) {
    struct event event = event_make(EVENT_ALARM, EVENT_ERROR, "supabase-db");
    event.alarm = "slots";
    event.severity = SEVERITY_CRITICAL;
    event.reason = "raised";
    event.has_metric = true;
    event.metric = METRIC_USAGE;
    event.value = 93;
    event.threshold = 90;
    event.age = 15 * USEC_PER_SEC;
    event.used = 90;
    event.usable = 97;
    event.holders = "worker 41, postgrest 22, studio 9, other 18";
    check_message(&event, "supabase-db: CRITICAL slots: usage 93% > 90% for 15s (90 of 97 usable slots; worker 41, "
                          "postgrest 22, studio 9, other 18)");
    event.reason = "escalated";
    event.age = 0;
    event.holders = NULL;
    check_message(&event, "supabase-db: CRITICAL slots, was WARNING: usage 93% > 90%");
    event.reason = "eased";
    event.severity = SEVERITY_WARNING;
    event.value = 85;
    event.age = 30 * USEC_PER_SEC;
    check_message(&event, "supabase-db: WARNING slots, was CRITICAL: usage 85% <= 90% for 30s");
    event.reason = "cleared";
    event.severity = SEVERITY_NONE;
    event.group = "worker, \"x\\n\"";
    check_message(&event, "supabase-db: cleared slots of worker, \"x\\n\": usage 85% <= 90% for 30s");
    event.below = true;
    event.metric = METRIC_TIME_TO_FULL;
    event.value = 700 * (int64_t)USEC_PER_SEC;
    event.threshold = 300 * (int64_t)USEC_PER_SEC;
    check_message(&event, "supabase-db: cleared slots of worker, \"x\\n\": time to full 700s >= 300s for 30s");
    event.value = EVENT_NUMBER_NONE;
    check_message(&event, "supabase-db: cleared slots of worker, \"x\\n\": the slots do not fill up any more");
    event.has_metric = false;
    event.alarm = "locked_out";
    event.group = NULL;
    event.severity = SEVERITY_CRITICAL;
    event.reason = "raised";
    event.detail = "sorry,\ntoo many clients already";
    event.hint = "free a slot";
    check_message(&event, "supabase-db: CRITICAL locked_out: sorry,\\ntoo many clients already; hint: free a slot");
}

static void states(void) {
    static const struct {
        enum event_kind kind;
        const char *lead;
    } cases[] = {
        {EVENT_START, "started"},
        {EVENT_STOP, "stopped"},
        {EVENT_CONFIG_LOADED, "configuration loaded"},
        {EVENT_CONFIG_REJECTED, "configuration rejected"},
        {EVENT_TARGET_UP, "up"},
        {EVENT_TARGET_DOWN, "down"},
        {EVENT_LOCKED_OUT, "LOCKED OUT, no connection slot is left"},
        {EVENT_SELF_CHECK, "self-check"},
        {EVENT_BREAKER, "breaker"},
        {EVENT_PAUSED, "PAUSED"},
        {EVENT_RESUMED, "resumed"},
        {EVENT_LEADERSHIP, "leadership"},
        {EVENT_CLOCK_JUMP, "the server's clock stepped"},
        {EVENT_RECORDS_DROPPED, "dropped log records"},
        {EVENT_NOTIFICATION_FAILED, "cannot notify a webhook"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct event event = event_make(cases[i].kind, EVENT_INFO, NULL);
        char wanted[200];
        check_message(&event, cases[i].lead);
        event.target = "db";
        event.detail = "details";
        event.sqlstate = "53300";
        event.hint = "SELECT 1";
        (void)snprintf(wanted, sizeof(wanted), "db: %s: details (SQLSTATE 53300); hint: SELECT 1", cases[i].lead);
        check_message(&event, wanted);
    }
}

// Of an address that is not to be had: a sentence of its own.
static void not_listening(void) {
    struct event event = event_make(EVENT_CONFIG_LOADED, EVENT_WARNING, NULL);
    event.reason = EVENT_REASON_NOT_LISTENING;
    event.detail = "cannot listen on 127.0.0.1:9432";
    check_message(&event, "cannot listen on 127.0.0.1:9432");
    event.hint = "write another";
    check_message(&event, "cannot listen on 127.0.0.1:9432; hint: write another");
}

static void numbers(void) {
    struct event event = event_make(EVENT_TARGET_DOWN, EVENT_ERROR, "db");
    event.reason = "unreachable";
    check_message(&event, "db: down: unreachable");
    event.detail = "connection refused";
    event.count = 1;
    check_message(&event, "db: down: connection refused");
    event.count = 12;
    check_message(&event, "db: down: connection refused (12 times)");
    event = event_make(EVENT_LOCKED_OUT, EVENT_ERROR, "db");
    event.used = 97;
    event.usable = 97;
    check_message(&event, "db: LOCKED OUT, no connection slot is left (97 of 97 usable slots)");
    event = event_make(EVENT_RECORDS_DROPPED, EVENT_WARNING, NULL);
    event.count = 12;
    check_message(&event, "dropped 12 log records");
    event.count = 1;
    check_message(&event, "dropped 1 log record");
    event = event_make(EVENT_PAUSED, EVENT_NOTICE, NULL);
    event.rule = "idle\n";
    event.limit = 30 * USEC_PER_MINUTE;
    event.detail = "until then";
    check_message(&event, "PAUSED rule idle\\n for 30min: until then");
    event = event_make(EVENT_RESUMED, EVENT_NOTICE, "db");
    event.reason = "asked";
    check_message(&event, "db: resumed: asked");
    event.asker.uid = 0;
    check_message(&event, "db: resumed: asked (asked by uid 0)");
    event.asker.pid = 815;
    check_message(&event, "db: resumed: asked (asked by uid 0, pid 815)");
    event = event_make(EVENT_NOTIFICATION_FAILED, EVENT_ERROR, NULL);
    event.output = "oncall\n";
    event.reason = "server_error";
    check_message(&event, "cannot notify oncall\\n: server_error");
    event.detail = "HTTP status 500";
    event.count = 3;
    check_message(&event, "cannot notify oncall\\n: HTTP status 500");
    event = event_make(EVENT_NOTIFICATION_FAILED, EVENT_NOTICE, NULL);
    event.output = "oncall";
    event.reason = EVENT_REASON_DELIVERED;
    event.detail = "after 3 failures";
    check_message(&event, "notifying oncall again: after 3 failures");
    event = event_make(EVENT_SELF_CHECK, EVENT_WARNING, "db");
    event.detail = "2 of 10 sessions show neither state nor times";
    event.count = 2; // sessions, not repeats
    check_message(&event, "db: self-check: 2 of 10 sessions show neither state nor times");
}

// An event with every string set to s, of each kind and outcome.
static void each_event_with(const char *s, void (*fn)(const struct event *event)) {
    struct session_row row = worker;
    row.application_name = row.user = row.database = row.query = s;
    struct event event = about_worker(EVENT_START);
    event.target = event.rule = event.reason = event.detail = event.hint = event.sqlstate = event.app = s;
    event.alarm = event.group = event.holders = event.blocked = event.output = s;
    event.has_metric = true;
    event.session = &row;
    event.count = event.held = event.allowed = event.n_blocked = event.value = event.threshold = event.used =
        event.usable = 2;
    for (unsigned kind = 0; kind < N_EVENT_KINDS; kind++) {
        unsigned n_outcomes = kind == EVENT_OUTCOME ? N_OUTCOMES : 1;
        for (unsigned outcome = 0; outcome < n_outcomes; outcome++) {
            for (unsigned action = 0; action < N_ACTIONS; action++) {
                event.kind = (enum event_kind)kind;
                event.outcome = (enum outcome)outcome;
                event.action = (enum action)action;
                event.observe = (kind + outcome) % 2 == 0;
                fn(&event);
            }
        }
    }
}

static void check_safe(const struct event *event) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    event_render(event, &sb);
    CHECK_EQ(strlen(strbuf_str(&sb)), sb.len);
    CHECK_GT(sb.len, 0);
    for (size_t i = 0; i < sb.len;) {
        unsigned code = 0;
        size_t len = utf8_decode(sb.data + i, sb.len - i, &code);
        CHECK_GT(len, 0); // valid UTF-8
        CHECK_GE(code, 0x20u);
        CHECK(code < 0x7f || code > 0x9f);
        CHECK(code < 0x200b || code > 0x200f); // nothing that hides or reorders
        CHECK(code < 0x2028 || code > 0x202e);
        CHECK(code < 0x2060 || code > 0x206f);
        CHECK_NE(code, 0xfeffu);
        i += len;
    }
}

static void every_byte_is_safe(void) {
    for (unsigned c = 1; c < 256; c++) {
        const char alone[] = {(char)c, '\0'}, quoted[] = {'"', 'a', (char)c, 'b', '"', '\0'};
        char many[64];
        memset(many, (int)c, sizeof(many) - 1);
        many[sizeof(many) - 1] = '\0';
        check_context("byte %02x", c);
        each_event_with(alone, check_safe);
        each_event_with(quoted, check_safe);
        each_event_with(many, check_safe);
    }
}

// 63 bytes, as long as a name can be, with every byte in four of them; test_hostile has every start.
static void names_of_everything_are_safe(void) {
    for (unsigned first = 1; first < 256; first += 16) {
        char name[64] = {0};
        for (unsigned i = 0; i < 63; i++) {
            name[i] = (char)((first + i - 1) % 255 + 1);
        }
        check_context("from byte %02x", first);
        each_event_with(name, check_safe);
    }
}

static void hostile_strings_are_safe(void) {
    static const char *const strings[] = {
        "%s%s%s%n%1000000d",
        "worker\nsupabase-db: terminated worker session 1",
        "\x1b]0;owned\x07\x1b[2J",
        "\xe2\x80\xae"
        "desrever",
        "\xe2\x81\xa6\xe2\x81\xa7\xe2\x81\xa8\xe2\x81\xa9",
        "\xef\xbb\xbf\xe2\x80\x8b\xe2\x80\x8d",
        "\xc2\x9b"
        "31m",
        "\xf0\x9f\x98",
        "\xc0\x8a",
        "\xed\xa0\x80",
        "\xff\xfe",
        "\"",
        "\\",
        "\"\\",
        "\"\\\"\n\\",
        "\r\n",
        "\xe2\x80\xa8",
        "",
    };
    for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
        check_context("string number %zu", i);
        each_event_with(strings[i], check_safe);
    }
    struct session_row row = worker;
    struct event event = about_worker(EVENT_DECISION);
    event.session = &row;
    row.user = "%s%n";
    row.database = "a\nb";
    check_message(&event, "supabase-db: terminating worker session 4711 (%s%n@a\\nb from 172.18.0.7, idle 912s > 600s, "
                          "rule idle)");
}

static void missing_parts(void) {
    const struct session_row blank = {0};
    for (unsigned kind = 0; kind < N_EVENT_KINDS; kind++) {
        for (unsigned outcome = 0; outcome < N_OUTCOMES; outcome++) {
            struct event event = event_make((enum event_kind)kind, EVENT_INFO, NULL);
            check_context("kind %u, outcome %u", kind, outcome);
            event.outcome = (enum outcome)outcome;
            check_safe(&event);
            event.session = &blank;
            check_safe(&event);
        }
    }
}

static int render(void *userdata) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    event_render(userdata, &sb);
    return strbuf_error(&sb);
}

static void survives_oom(void) {
    struct event event = about_worker(EVENT_DECISION);
    event.detail = "a long one that makes the buffer grow more than once, whatever its first size may be in the end";
    oom_sweep(render, &event);
}

CHECK_MAIN({"decisions", decisions}, {"outcomes", outcomes}, {"outcome_details", outcome_details},
           {"measures", measures}, {"labels", labels}, {"held_back", held_back}, {"quotas", quotas},
           {"pressure_and_blockers", pressure_and_blockers}, {"alarms", alarms}, {"states", states},
           {"not_listening", not_listening}, {"numbers", numbers}, {"every_byte_is_safe", every_byte_is_safe},
           {"names_of_everything_are_safe", names_of_everything_are_safe},
           {"hostile_strings_are_safe", hostile_strings_are_safe}, {"missing_parts", missing_parts},
           {"survives_oom", survives_oom})
