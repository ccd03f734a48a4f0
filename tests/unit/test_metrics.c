// SPDX-License-Identifier: PostgreSQL
#include "output/metrics.h"

#include <errno.h>
#include <stdlib.h>

#include "sample_view.h"
#include "support/oom.h"
#include "util/escape.h"
#include "util/strbuf.h"

static char *render(const struct view *view, enum metrics_format format) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    CHECK_EQ(metrics_render(view, format, &sb), 0);
    char *text = strbuf_take(&sb);
    CHECK_NOT_NULL(text);
    return text;
}

static size_t count(const char *text, const char *needle) {
    size_t n = 0;
    for (const char *at = strstr(text, needle); at; at = strstr(at + 1, needle)) {
        n++;
    }
    return n;
}

static void every_number(void) {
    CLEANUP(sample_view_deinit) struct sample_view sample;
    sample_view_init(&sample);
    struct event event = event_make(EVENT_OUTCOME, EVENT_NOTICE, "db");
    event.rule = "idle";
    event.app = "worker";
    event.has_action = true;
    event.outcome = OUTCOME_GONE;
    event.took = 30 * USEC_PER_MSEC;
    tally_count(sample.tally, &event);
    tally_expect(sample.tally, "db", "worker", ACTION_LOG);
    tally_count_notification(sample.tally, "oncall", "sent", 4);
    CLEANUP(freep) char *text = render(&sample.view, METRICS_PROMETHEUS);
    static const char *const lines[] = {
        "# TYPE pgvigil_build_info gauge\npgvigil_build_info{version=\"1.2.3\"} 1\n",
        "\npgvigil_config_last_reload_successful 1\n",
        "\npgvigil_config_last_reload_success_timestamp_seconds 1735786985.678901\n",
        "\npgvigil_target_up{target=\"db\"} 1\n",
        "\npgvigil_target_locked_out{target=\"db\"} 0\n",
        "\npgvigil_enforcing{target=\"db\"} 1\n",
        "\npgvigil_leader{target=\"db\"} 1\n",
        "\npgvigil_paused{target=\"db\"} 0\n",
        "\npgvigil_rule_paused{target=\"db\",rule=\"idle\"} 1\n",
        "\npgvigil_rule_paused{target=\"db\",rule=\"worker\"} 0\n",
        "# TYPE pgvigil_polls_total counter\n",
        "\npgvigil_polls_total{target=\"db\",result=\"ok\"} 12\n",
        "\npgvigil_polls_total{target=\"db\",result=\"timeout\"} 1\n",
        "\npgvigil_polls_total{target=\"db\",result=\"lost\"} 0\n",
        "# TYPE pgvigil_poll_duration_seconds histogram\n",
        "\npgvigil_poll_duration_seconds_bucket{target=\"db\",le=\"0.001\"} 0\n",
        "\npgvigil_poll_duration_seconds_bucket{target=\"db\",le=\"0.002\"} 1\n",
        "\npgvigil_poll_duration_seconds_bucket{target=\"db\",le=\"1.0\"} 1\n",
        "\npgvigil_poll_duration_seconds_bucket{target=\"db\",le=\"+Inf\"} 2\n",
        "\npgvigil_poll_duration_seconds_sum{target=\"db\"} 20.0015\n",
        "\npgvigil_poll_duration_seconds_count{target=\"db\"} 2\n",
        "\npgvigil_last_poll_timestamp_seconds{target=\"db\"} 1735787044.678901\n",
        "\npgvigil_slots{target=\"db\",kind=\"max\"} 100\n",
        "\npgvigil_slots{target=\"db\",kind=\"usable\"} 97\n",
        "\npgvigil_slots{target=\"db\",kind=\"reserved\"} 3\n",
        "\npgvigil_slots{target=\"db\",kind=\"used\"} 42\n",
        "\npgvigil_usage_ratio{target=\"db\"} 0.432989\n",
        "\npgvigil_connections{target=\"db\",app=\"worker\",user=\"worker\",database=\"app\",state=\"idle\"} 40\n",
        "\npgvigil_connections{target=\"db\",app=\"worker\",user=\"worker\",database=\"app\",state=\"active\"} 2\n",
        "\npgvigil_oldest_seconds{target=\"db\",app=\"worker\",state=\"idle\"} 912.345678\n",
        "\npgvigil_oldest_seconds{target=\"db\",app=\"worker\",state=\"active\"} 0.001\n",
        "\npgvigil_rule_matches{target=\"db\",rule=\"idle\"} 3\n",
        "\npgvigil_decisions_total{target=\"db\",rule=\"worker\",action=\"log\"} 0\n",
        "rule=\"idle\",app=\"worker\",action=\"terminate\",outcome=\"gone\"} 1\n",
        "\npgvigil_held_back_total{target=\"db\",rule=\"worker\",reason=\"observe\"} 0\n",
        "\npgvigil_time_to_death_seconds_bucket{target=\"db\",le=\"0.05\"} 1\n",
        "\npgvigil_time_to_death_seconds_sum{target=\"db\"} 0.03\n",
        "\npgvigil_alarm_severity{target=\"db\",alarm=\"slots\",group=\"\"} 2\n",
        "\npgvigil_alarm_severity{target=\"db\",alarm=\"per-app\",group=\"worker\"} 1\n",
        "\npgvigil_alarm_severity{target=\"db\",alarm=\"full\",group=\"\"} 0\n",
        "\npgvigil_alarm_severity{target=\"db\",alarm=\"unreachable\",group=\"\"} 0\n",
        "\npgvigil_alarm_severity{target=\"\",alarm=\"reload_failed\",group=\"\"} 0\n",
        "\npgvigil_notifications_total{output=\"oncall\",result=\"sent\"} 4\n",
        "\npgvigil_events_total{event=\"outcome\"} 1\n",
        "\npgvigil_records_dropped_total 7\n",
        "# TYPE process_cpu_seconds_total counter\nprocess_cpu_seconds_total 2.5\n",
        "\nprocess_resident_memory_bytes 8388608\n",
        "\nprocess_virtual_memory_bytes 67108864\n",
        "\nprocess_open_fds 12\n",
        "\nprocess_max_fds 1024\n",
        "\nprocess_start_time_seconds 1735783445.678901\n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        CHECK_CONTAINS(text, lines[i]);
    }
    // An alarm with groups has no sample without one.
    CHECK_LACKS(text, "alarm=\"per-app\",group=\"\"");
    CHECK_LACKS(text, "# EOF");
    CHECK_LACKS(text, "# UNIT");
}

static void one_head_for_each_name(void) {
    CLEANUP(sample_view_deinit) struct sample_view sample;
    sample_view_init(&sample);
    CLEANUP(freep) char *text = render(&sample.view, METRICS_PROMETHEUS);
    const char *name;
    size_t n = 0;
    for (; (name = metrics_name(n)); n++) {
        CLEANUP(strbuf_deinit) struct strbuf help = STRBUF_EMPTY, type = STRBUF_EMPTY;
        strbuf_addf(&help, "# HELP %s ", name);
        strbuf_addf(&type, "# TYPE %s ", name);
        CHECK_EQ(count(text, strbuf_str(&help)), 1u);
        CHECK_EQ(count(text, strbuf_str(&type)), 1u);
    }
    CHECK_GT(n, 25u);
    CHECK_EQ(count(text, "# TYPE "), n);
}

static void open_metrics(void) {
    CLEANUP(sample_view_deinit) struct sample_view sample;
    sample_view_init(&sample);
    CLEANUP(freep) char *text = render(&sample.view, METRICS_OPENMETRICS);
    CHECK_CONTAINS(text, "# TYPE pgvigil_build info\npgvigil_build_info{version=\"1.2.3\"} 1\n");
    CHECK_CONTAINS(text, "# TYPE pgvigil_polls counter\npgvigil_polls_total{");
    CHECK_CONTAINS(text, "# TYPE process_cpu_seconds counter\n# UNIT process_cpu_seconds seconds\n");
    CHECK_CONTAINS(text, "# UNIT pgvigil_usage_ratio ratio\n");
    CHECK_STR(text + strlen(text) - 6, "# EOF\n");
    CHECK_EQ(count(text, "# EOF"), 1u);
}

static void down_tells_nothing_old(void) {
    CLEANUP(sample_view_deinit) struct sample_view sample;
    sample_view_init(&sample);
    sample.target.up = false;
    sample.target.locked_out = true;
    sample.target.summary.valid = false;
    sample.target.polled_at = 0;
    sample.view.process.open_fds = -1;
    sample.view.config.last_reload_ok = false;
    CLEANUP(freep) char *text = render(&sample.view, METRICS_PROMETHEUS);
    CHECK_CONTAINS(text, "\npgvigil_target_up{target=\"db\"} 0\n");
    CHECK_CONTAINS(text, "\npgvigil_target_locked_out{target=\"db\"} 1\n");
    CHECK_CONTAINS(text, "\npgvigil_last_poll_timestamp_seconds{target=\"db\"} 0\n");
    CHECK_CONTAINS(text, "\npgvigil_alarm_severity{target=\"\",alarm=\"reload_failed\",group=\"\"} 1\n");
    CHECK_LACKS(text, "\npgvigil_slots{");
    CHECK_LACKS(text, "\npgvigil_usage_ratio{");
    CHECK_LACKS(text, "\npgvigil_connections{");
    CHECK_LACKS(text, "\npgvigil_oldest_seconds{");
    CHECK_LACKS(text, "\npgvigil_rule_matches{");
    CHECK_LACKS(text, "\nprocess_open_fds ");
    // Alarms survive.
    CHECK_CONTAINS(text, "\npgvigil_alarm_severity{target=\"db\",alarm=\"slots\",group=\"\"} 2\n");
    sample.target.has_summary = false;
    CLEANUP(freep) char *without = render(&sample.view, METRICS_PROMETHEUS);
    // Not known is not quiet.
    CHECK_LACKS(without, "\npgvigil_alarm_severity{target=\"db\"");
}

static void hostile_names(void) {
    CLEANUP(sample_view_deinit) struct sample_view sample;
    sample_view_init(&sample);
    sample_view_group(&sample, "a\\b\"c\nd", false, "\"} 1\npgvigil_target_up{target=\"x", SESSION_STATE_IDLE, 1, 0);
    sample_view_group(&sample, "bell\a esc\033[2J del\177 \xe2\x80\xae c1\xc2\x85", false, "\xff\xc3(\xe4\xbd\xa0",
                      SESSION_STATE_IDLE, 1, 0);
    CLEANUP(freep) char *text = render(&sample.view, METRICS_PROMETHEUS);
    CHECK_CONTAINS(text, "app=\"a\\\\b\\\"c\\nd\",user=\"\\\"} 1\\npgvigil_target_up{target=\\\"x\",database");
    CHECK_CONTAINS(text, "app=\"bell\xef\xbf\xbd esc\xef\xbf\xbd[2J del\xef\xbf\xbd \xef\xbf\xbd c1\xef\xbf\xbd\"");
    CHECK_CONTAINS(text, "user=\"\xef\xbf\xbd\xef\xbf\xbd(\xe4\xbd\xa0\"");
    CHECK_EQ(count(text, "\npgvigil_target_up{"), 1u);
    for (const char *s = text; *s;) {
        unsigned code;
        size_t len = utf8_decode(s, strlen(s), &code);
        CHECK_GT(len, 0u);
        CHECK(code == '\n' || escape_is_plain(code));
        s += len;
    }
}

// Two names that look alike when they are shown are one sample, with the sum.
static void no_sample_comes_twice(void) {
    CLEANUP(sample_view_deinit) struct sample_view sample;
    sample_view_init(&sample);
    sample_view_group(&sample, "x", true, "bad\xfe", SESSION_STATE_IDLE, 3, 5 * USEC_PER_SEC);
    sample_view_group(&sample, "x", true, "bad\xff", SESSION_STATE_IDLE, 4, 9 * USEC_PER_SEC);
    sample_view_group(&sample, "x", false, "bad\xff", SESSION_STATE_IDLE, 5, 7 * USEC_PER_SEC);
    CLEANUP(freep) char *text = render(&sample.view, METRICS_PROMETHEUS);
    CHECK_EQ(count(text, "\npgvigil_connections{target=\"db\",app=\"x\""), 1u);
    CHECK_CONTAINS(text, "user=\"bad\xef\xbf\xbd\",database=\"app\",state=\"idle\"} 12\n");
    CHECK_CONTAINS(text, "\npgvigil_oldest_seconds{target=\"db\",app=\"x\",state=\"idle\"} 9\n");
}

static void groups_are_bounded(void) {
    CLEANUP(sample_view_deinit) struct sample_view sample;
    static char names[3000][16];
    sample_view_init(&sample);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        (void)snprintf(names[i], sizeof(names[i]), "app-%zu", i);
        sample_view_group(&sample, names[i], true, "u", i % 2 ? SESSION_STATE_IDLE : SESSION_STATE_ACTIVE, 1,
                          (i + 1) * USEC_PER_SEC);
    }
    CLEANUP(freep) char *text = render(&sample.view, METRICS_PROMETHEUS);
    // Two for what does not fit: one of each state.
    CHECK_EQ(count(text, "\npgvigil_connections{"), METRICS_MAX_CONNECTIONS + 2u);
    CHECK_CONTAINS(text, "app=\"other\",user=\"other\",database=\"other\",state=\"idle\"} 1001\n");
    CHECK_CONTAINS(text, "app=\"other\",user=\"other\",database=\"other\",state=\"active\"} 1001\n");
    CHECK_CONTAINS(text, "\npgvigil_oldest_seconds{target=\"db\",app=\"other\",state=\"idle\"} 3000\n");
    CHECK_LACKS(text, "app=\"app-2999\"");
}

static void strangers_are_bounded(void) {
    CLEANUP(sample_view_deinit) struct sample_view sample;
    static char names[2000][16];
    sample_view_init(&sample);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        (void)snprintf(names[i], sizeof(names[i]), "\"%zu\"", i);
        sample_view_group(&sample, names[i], false, "u", SESSION_STATE_IDLE, 1, 0);
    }
    // Smaller, and behind them; it has its place all the same.
    sample_view_group(&sample, "ours", true, "u", SESSION_STATE_IDLE, 1, 0);
    CLEANUP(freep) char *text = render(&sample.view, METRICS_PROMETHEUS);
    CHECK_EQ(count(text, "\npgvigil_connections{"), METRICS_MAX_STRANGERS + 4u); // worker's two, ours, other
    CHECK_CONTAINS(text, "app=\"ours\"");
    CHECK_CONTAINS(text, "app=\"other\",user=\"other\",database=\"other\",state=\"idle\"} 1700\n");
}

static void alarms_are_bounded(void) {
    CLEANUP(sample_view_deinit) struct sample_view sample;
    static char names[METRICS_MAX_ALARMS + 10][16];
    static struct summary_alarm alarms[ARRAY_SIZE(names)];
    sample_view_init(&sample);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        (void)snprintf(names[i], sizeof(names[i]), "10.0.%zu.1", i);
        bool last = i == ARRAY_SIZE(names) - 1;
        alarms[i] = (struct summary_alarm){
            .name = "per-app", .group = names[i], .severity = last ? SEVERITY_CRITICAL : SEVERITY_WARNING};
    }
    sample.target.summary.alarms = alarms;
    sample.target.summary.n_alarms = ARRAY_SIZE(alarms);
    CLEANUP(freep) char *text = render(&sample.view, METRICS_PROMETHEUS);
    CHECK_EQ(count(text, "alarm=\"per-app\""), METRICS_MAX_ALARMS + 1u);
    CHECK_CONTAINS(text, "\npgvigil_alarm_severity{target=\"db\",alarm=\"per-app\",group=\"other\"} 2\n");
}

static void accept(void) {
    static const struct {
        const char *accept;
        enum metrics_format format;
    } rows[] = {
        {NULL, METRICS_PROMETHEUS},
        {"", METRICS_PROMETHEUS},
        {"*/*", METRICS_PROMETHEUS},
        {"text/html", METRICS_PROMETHEUS},
        {"application/openmetrics-text", METRICS_OPENMETRICS},
        {"Application/OpenMetrics-Text; Version=1.0.0", METRICS_OPENMETRICS},
        {"application/openmetrics-text;version=0.0.1", METRICS_PROMETHEUS},
        {"application/openmetrics-text;q=0, text/plain;q=0", METRICS_PROMETHEUS},
        {"application/openmetrics-text;q=0.5,text/plain;q=0.6", METRICS_PROMETHEUS},
        {"application/openmetrics-text;q=0.55,text/plain;q=0.5", METRICS_OPENMETRICS},
        {"application/openmetrics-text;q=0.5, */*", METRICS_PROMETHEUS},
        {"application/openmetrics-text;q=x,text/plain;q=0.1", METRICS_PROMETHEUS},
        {" application/openmetrics-text ; q=1.0 , text/plain", METRICS_OPENMETRICS},
        {";;;,,;q=,q=;", METRICS_PROMETHEUS},
        // As Prometheus 2.42 and 3 send it.
        {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
         "text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         METRICS_OPENMETRICS},
        {"application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;"
         "version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/"
         "*;q=0.1",
         METRICS_OPENMETRICS},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        check_context("with %s", rows[i].accept ? rows[i].accept : "no header");
        CHECK_EQ((int)metrics_choose(rows[i].accept), (int)rows[i].format);
    }
    CHECK_STR(metrics_content_type(METRICS_PROMETHEUS), "text/plain; version=0.0.4; charset=utf-8");
    CHECK_CONTAINS(metrics_content_type(METRICS_OPENMETRICS), "version=1.0.0");
}

static int render_once(void *userdata) {
    const struct sample_view *sample = userdata;
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    return metrics_render(&sample->view, METRICS_OPENMETRICS, &sb);
}

static void oom(void) {
    CLEANUP(sample_view_deinit) struct sample_view sample;
    sample_view_init(&sample);
    tally_count_notification(sample.tally, "oncall", "sent", 4);
    tally_expect(sample.tally, "db", "idle", ACTION_TERMINATE);
    oom_sweep(render_once, &sample);
}

CHECK_MAIN({"every_number", every_number}, {"one_head_for_each_name", one_head_for_each_name},
           {"open_metrics", open_metrics}, {"down_tells_nothing_old", down_tells_nothing_old},
           {"hostile_names", hostile_names}, {"no_sample_comes_twice", no_sample_comes_twice},
           {"groups_are_bounded", groups_are_bounded}, {"strangers_are_bounded", strangers_are_bounded},
           {"alarms_are_bounded", alarms_are_bounded}, {"accept", accept}, {"oom", oom})
