// SPDX-License-Identifier: PostgreSQL

// What a target is doing, for those who show it.

#include <assert.h>

#include "target_engine.h"
#include "util/macro.h"

static const char *const target_state_names[] = {
    [TARGET_IDLE] = "idle",         [TARGET_WAITING] = "waiting",
    [TARGET_DIALLING] = "dialling", [TARGET_CONNECTING] = "connecting",
    [TARGET_WATCHING] = "watching",
};
static_assert(ARRAY_SIZE(target_state_names) == TARGET_WATCHING + 1, "one name for each state");

static const char *const target_standing_names[] = {
    [STANDING_NONE] = "none",       [STANDING_LEADS] = "leads",   [STANDING_FOLLOWS] = "follows",
    [STANDING_UNKNOWN] = "unknown", [STANDING_FAILED] = "failed",
};
static_assert(ARRAY_SIZE(target_standing_names) == STANDING_FAILED + 1, "one name for each standing");

void target_status(const struct target *target, struct view_target *ret) {
    bool fails = target->error.kind != PG_ERROR_NONE;
    *ret = (struct view_target){
        .name = target_name(target),
        .address = conninfo_shown(target->conninfo),
        .state = target_state_names[target->state],
        .standing = target_standing_names[target->standing],
        .up = target->is_up && !target->outage.active,
        .locked_out = target->conditions.items[CONDITION_LOCKED_OUT].holds,
        .enforces = target_means_to_act(target) && !target->is_pooled,
        .leads = target->leads || (!target->competes && target->is_up),
        .pooled = target->is_pooled,
        .started_at = target->started_at,
        .polled_at = target->polled_at,
        .poll_interval = target_interval(target),
        .failing_since = target->outage.active ? target->outage.since : 0,
        .poll_durations = target->poll_durations,
        .error_kind = fails ? pg_error_kind_to_string(target->error.kind) : NULL,
        .sqlstate = fails ? target->error.sqlstate : NULL,
        .error = fails ? target->error.message : NULL,
        .findings = target->findings.events,
        .n_findings = target->findings.n_events,
    };
    for (unsigned i = 0; i < N_POLL_RESULTS; i++) {
        ret->n_polls[i] = target->n_polls[i];
    }
}
