// SPDX-License-Identifier: PostgreSQL

// How a target is, for those who only ask.

#include "target_state.h"

bool target_has_verdict(const struct target *target) {
    return target->is_up || target->error.kind != PG_ERROR_NONE;
}

bool target_is_alive(const struct target *target, usec_t now) {
    const struct vitals vitals = {
        .is_started = target->state != TARGET_IDLE,
        .is_queued = target->state == TARGET_DIALLING && dial_is_queued(target->dial),
        .awaits_answer = target->state == TARGET_CONNECTING || target->is_polling || target->is_looking,
        .wake = loop_timer_at(target->timer),
        .look = loop_timer_at(target->look_timer),
        .record = loop_timer_at(target->work_timer),
        .dial = dial_deadline(target->dial),
        .answer = loop_io_deadline(target->io),
    };
    return vitals_are_good(&vitals, now);
}

bool target_slots(const struct target *target, int64_t *ret_used, int64_t *ret_usable) {
    if (target->is_up) {
        *ret_used = target->used;
        *ret_usable = target->usable;
    }
    return target->is_up;
}

bool target_is_locked_out(const struct target *target) {
    return !target->is_up && target->error.kind == PG_ERROR_FULL;
}
