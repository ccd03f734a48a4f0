// SPDX-License-Identifier: PostgreSQL

// A failure is counted and told by what it is news of (schedule.h), and raises the condition that goes with it; a
// complete poll ends it.

#include "target_link.h"

#include <stdint.h>
#include <sys/random.h>

#include "daemon/loop.h"
#include "target_engine.h"
#include "target_say.h"

static uint32_t target_random(void) {
    uint32_t random = UINT32_MAX / 2;
    // Short of entropy early in a boot: no jitter then, rather than no watch.
    if (getrandom(&random, sizeof(random), GRND_NONBLOCK) < 0) {
        return UINT32_MAX / 2;
    }
    return random;
}

static void target_enter_waiting(struct target *target, enum pg_error_kind kind, usec_t now) {
    usec_t wait = backoff_next(&target->backoff, kind, target_random());
    target_enter(target, TARGET_WAITING, usec_add(now, wait));
}

static void target_note(struct target *target, enum outage_stage stage, const struct pg_error *error, bool is_try,
                        usec_t now) {
    int64_t count = 0;
    target->error = *error;
    target->owes_failed = true;
    enum outage_verdict verdict = outage_add(&target->outage, stage, error, is_try, now, &count);
    target_note_trouble(target, stage, error, now);
    switch (verdict) {
    case OUTAGE_QUIET:
        return;
    case OUTAGE_EDGE:
        count = EVENT_NUMBER_NONE;
        break;
    case OUTAGE_REPEAT:
        break;
    }
    target_say_down(target->context->sinks, target_name(target), stage, error, count);
}

void target_note_failure(struct target *target, enum outage_stage stage, const struct pg_error *error, usec_t now) {
    target_note(target, stage, error, true, now);
}

void target_note_success(struct target *target, const struct scan *scan, usec_t now) {
    if (!target->is_up || target->outage.active) {
        target_say_up(target->context->sinks, target_name(target), target->server, scan, &target->outage, now);
    }
    target->is_up = true;
    target->used = (int64_t)scan->n_rows;
    target->usable = server_facts_usable(&scan->facts);
    target->outage.active = false;
    target->error = (struct pg_error){.kind = PG_ERROR_NONE};
    backoff_reset(&target->backoff);
    target_note_sight(target, scan);
}

void target_close(struct target *target, usec_t now) {
    loop_io_disarm(target->io);
    target->server->kind->close(target->server);
    dial_release(target->dial, now);
    executor_lost(target->executor);
    target->is_visit_out = false;
    if (target->visit) {
        visit_lost(target->visit, now);
    }
    if (target->is_polling) {
        target_count_poll(target, POLL_LOST);
    }
    target->is_polling = target->is_looking = target->is_asking = target->is_checking = target->is_up = false;
    target->is_stale_poll = target->is_stale_look = false;
    target->is_settled = false;
    target->has_asked = target->leads = false; // the lock went with the session
    target->owes_reconnect = false;
    target->n_look = 0;
    loop_timer_set(target->look_timer, USEC_INFINITY);
}

void target_lose(struct target *target, enum outage_stage stage, const struct pg_error *error, usec_t now) {
    // Borrowed from the server, most often.
    struct pg_error why = *error;
    bool was_watching = target->state == TARGET_WATCHING, was_up = target->is_up;
    target_close(target, now);
    // What ends before its first complete poll was a try.
    target_note(target, stage, &why, !was_up, now);
    // In the order of things: first what became of the acts, then the loss.
    int r = target_settle_acts(target, now);
    target->owes_loss = target->owes_loss || was_watching;
    if (r == 0) {
        (void)target_settle_debts(target, now);
    }
    target_enter_waiting(target, why.kind, now);
}

void target_start_over(struct target *target, usec_t now) {
    target->outage = (struct outage){0};
    target->backoff = (struct backoff){0};
    target_enter(target, TARGET_WAITING, now);
}
