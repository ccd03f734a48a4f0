// SPDX-License-Identifier: PostgreSQL
#pragma once

// A view of one target, for the tests of what renders views. To be released by sample_view_deinit().

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/policy.h"
#include "output/view.h"
#include "support/check.h"

#define SAMPLE_REALTIME UINT64_C(1735787045678901) // 2025-01-02T03:04:05.678901Z
#define SAMPLE_NOW (1000 * USEC_PER_SEC)

struct sample_view {
    struct view view;
    struct view_target target;
    struct policy *policy;
    struct tally *tally;
    struct ring *ring;
    struct summary_group *groups;
    size_t n_groups;
    struct summary_rule rules[2];
    struct summary_alarm alarms[2];
    struct event findings[1];
    struct view_pause pauses[1];
};

static inline void sample_view_group(struct sample_view *sample, const char *app, bool is_app, const char *user,
                                     enum session_state state, int64_t n, usec_t longest) {
    sample->groups = reallocarray(sample->groups, sample->n_groups + 1, sizeof(*sample->groups));
    CHECK_NOT_NULL(sample->groups);
    sample->groups[sample->n_groups++] = (struct summary_group){
        .app = app,
        .is_app = is_app,
        .user = user,
        .database = "app",
        .state = state,
        .n_sessions = n,
        .longest = longest,
    };
    sample->target.summary.groups = sample->groups;
    sample->target.summary.n_groups = sample->n_groups;
    sample->target.summary.used += n;
}

static inline struct summary sample_view_summary(struct sample_view *sample) {
    struct summary summary = {
        .valid = true,
        .facts = {.version_num = 150018,
                  .max_connections = 100,
                  .superuser_reserved_connections = 3,
                  .own_pid = 99,
                  .own_user = "pgvigil"},
        .usable = 97,
        .rules = sample->rules,
        .n_rules = ARRAY_SIZE(sample->rules),
        .alarms = sample->alarms,
        .n_alarms = ARRAY_SIZE(sample->alarms),
        .n_longest_idle = 1,
        .n_longest_transaction = 1,
    };
    summary.longest_idle[0] = (struct summary_session){
        .session = {.id = {.id = 4711, .since = 0},
                    .application_name = "worker-1",
                    .user = "worker",
                    .database = "app",
                    .state = SESSION_STATE_IDLE,
                    .state_change = 0,
                    .query_start = 0,
                    .xact_start = TIMESTAMP_NONE},
        .app = "worker",
        .age = 912 * USEC_PER_SEC,
    };
    summary.longest_transaction[0] = summary.longest_idle[0];
    summary.longest_transaction[0].session.xact_start = 0;
    sample->rules[0] =
        (struct summary_rule){.name = "idle", .action = ACTION_TERMINATE, .enforce = true, .n_matches = 3};
    sample->rules[0].n_held[HELD_PROTECTED] = 2;
    sample->rules[0].n_decided = 17;
    sample->rules[0].paused = true;
    sample->rules[0].n_covered = 40;
    sample->rules[1] = (struct summary_rule){.name = "worker", .is_quota = true, .action = ACTION_LOG, .n_matches = 1};
    sample->alarms[0] =
        (struct summary_alarm){.name = "slots", .severity = SEVERITY_CRITICAL, .value = 93, .hint = "end some"};
    sample->alarms[1] = (struct summary_alarm){
        .name = "per-app", .group = "worker", .severity = SEVERITY_WARNING, .value = EVENT_NUMBER_NONE};
    return summary;
}

static inline void sample_view_init(struct sample_view *sample) {
    *sample = (struct sample_view){.policy = policy_new(), .tally = tally_new(), .ring = ring_new()};
    CHECK(sample->policy && sample->tally && sample->ring);
    struct alarm *slots = policy_add_alarm(sample->policy, "slots");
    CHECK_NOT_NULL(slots);
    struct alarm *per_app = policy_add_alarm(sample->policy, "per-app");
    CHECK_NOT_NULL(per_app);
    per_app->per = GROUP_KEY_BIT(GROUP_APP);
    sample->findings[0] = event_make(EVENT_SELF_CHECK, EVENT_WARNING, "db");
    sample->findings[0].reason = "no_reserved_slot";
    sample->findings[0].detail = "no slot is reserved for pgvigil";
    sample->target = (struct view_target){
        .name = "db",
        .state = "watching",
        .standing = "leads",
        .up = true,
        .enforces = true,
        .leads = true,
        .polled_at = SAMPLE_NOW - USEC_PER_SEC,
        .started_at = SAMPLE_NOW - USEC_PER_HOUR / 10,
        .poll_interval = 5 * USEC_PER_SEC,
        .n_polls = {[POLL_OK] = 12, [POLL_TIMEOUT] = 1},
        .poll_durations = {.bounds = &histogram_of_polls},
        .findings = sample->findings,
        .n_findings = ARRAY_SIZE(sample->findings),
        .has_summary = true,
    };
    sample->target.summary = sample_view_summary(sample);
    histogram_add(&sample->target.poll_durations, 1500);
    histogram_add(&sample->target.poll_durations, 20 * USEC_PER_SEC);
    sample_view_group(sample, "worker", true, "worker", SESSION_STATE_IDLE, 40, 912 * USEC_PER_SEC + 345678);
    sample_view_group(sample, "worker", true, "worker", SESSION_STATE_ACTIVE, 2, USEC_PER_MSEC);
    sample->pauses[0] = (struct view_pause){
        .scope = "rule", .name = "idle", .until_realtime = SAMPLE_REALTIME + USEC_PER_MINUTE, .left = USEC_PER_MINUTE};
    sample->view = (struct view){
        .pauses = sample->pauses,
        .n_pauses = ARRAY_SIZE(sample->pauses),
        .version = "1.2.3",
        .now = SAMPLE_NOW,
        .realtime = SAMPLE_REALTIME,
        .process = {.cpu_usec = 2500000,
                    .started_realtime = SAMPLE_REALTIME - USEC_PER_HOUR,
                    .resident_bytes = 8 << 20,
                    .virtual_bytes = 64 << 20,
                    .open_fds = 12,
                    .max_fds = 1024},
        .config = {.file = "/etc/pgvigil/pgvigil.yaml",
                   .policy = sample->policy,
                   .loaded_realtime = SAMPLE_REALTIME - USEC_PER_MINUTE,
                   .last_reload_ok = true},
        .tally = sample->tally,
        .events = sample->ring,
        .n_records_dropped = 7,
        .targets = &sample->target,
        .n_targets = 1,
    };
}

static inline void sample_view_deinit(struct sample_view *sample) {
    (void)policy_unref(sample->policy);
    (void)tally_free(sample->tally);
    (void)ring_free(sample->ring);
    free(sample->groups);
}
