// SPDX-License-Identifier: PostgreSQL

#include "target_state.h"

#include "daemon/loop.h"
#include "util/macro.h"

const char *target_name(const struct target *target) {
    return target->config->name;
}

void target_enter(struct target *target, enum target_state state, usec_t at) {
    target->state = state;
    loop_timer_set(target->timer, at);
}

usec_t target_interval(const struct target *target) {
    const struct target_config *config = target->config;
    return target->is_pressed ? MIN(config->pressure_poll_interval, config->poll_interval) : config->poll_interval;
}

void target_set_tick(struct target *target, usec_t now) {
    target->tick = schedule_next_tick(now, target_interval(target));
    if (target->state == TARGET_WATCHING && !target->is_hurried) {
        loop_timer_set(target->timer, target->tick);
    }
}

void target_drop_visit(struct target *target) {
    target->visit->is_attached = false;
    target->visit = NULL;
}

void target_count_poll(struct target *target, enum poll_result result) {
    target->n_polls[result]++;
}

void target_count_failed_poll(struct target *target, const struct pg_error *error) {
    bool late = error->kind == PG_ERROR_TIMEOUT || error->kind == PG_ERROR_CANCELLED;
    target_count_poll(target, late ? POLL_TIMEOUT : POLL_ERROR);
}

void target_count_scan(struct target *target, const struct scan *scan, usec_t now) {
    if (scan->kind == SCAN_FULL) {
        target_count_poll(target, POLL_OK);
        histogram_add(&target->poll_durations, usec_sub(scan->received_at, scan->sent_at));
        target->polled_at = now;
    }
}
