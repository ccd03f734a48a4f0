// SPDX-License-Identifier: PostgreSQL

#include "target_work.h"

#include <stdlib.h>

#include "target_engine.h"
#include "target_link.h"
#include "target_say.h"
#include "util/cleanup.h"

// Who leads by its own lock does so until it lets go, whoever comes: it asks for nothing but to find out, should it
// ever have lost it. That costs the server as much as a tenth of a poll.
#define TARGET_LEAD_EVERY (60 * USEC_PER_SEC)

static void target_out_of_memory(struct pg_error *ret) {
    pg_error_set(ret, PG_ERROR_OTHER, "", "out of memory");
}

// ---- what is asked

// Asks who acts, if we mean to or did: told before the poll that follows.
static void target_lead(struct target *target, usec_t now) {
    bool wants = target_wants_lead(target);
    if (wants && target->is_settled && now < usec_add(target->asked_at, TARGET_LEAD_EVERY)) {
        return;
    }
    if ((wants || target->has_asked) && !target->is_asking && target->server->kind->lead(target->server, wants) == 0) {
        target->is_asking = true;
        target->has_asked = wants;
        target->asked_at = now;
    }
}

void target_poll(struct target *target, usec_t now) {
    struct pg_error error;
    if (target->is_polling) {
        target_count_poll(target, POLL_SKIPPED);
    }
    if (target->is_polling || target->owes_reconnect) {
        return; // slower than the interval: this tick is skipped
    }
    target_lead(target, now);
    target->server->policy = target->policy;
    if (target->server->kind->poll(target->server) < 0) {
        target_out_of_memory(&error);
        target_count_failed_poll(target, &error);
        target_note_failure(target, OUTAGE_POLL, &error, now);
        return;
    }
    target->is_polling = true;
}

void target_look(struct target *target) {
    // One at a time: when it comes back the engine says again who is due.
    if (target->is_looking || target->n_look == 0 || target->owes_reconnect) {
        return;
    }
    target->server->policy = target->policy;
    target->is_looking = target->server->kind->look(target->server, target->look, target->n_look) == 0;
}

bool target_act(struct target *target) {
    const struct decision *decisions;
    struct executor *executor = target->executor;
    if (target->state != TARGET_WATCHING || target->is_visit_out || target->server->kind->is_busy(target->server)) {
        return false;
    }
    size_t n = executor_take_chunk(executor, &decisions);
    if (n == 0 && target->visit && !executor_is_out(executor)) {
        executor = target->visit->executor;
        n = executor_take_chunk(executor, &decisions);
    }
    if (n == 0) {
        return false;
    }
    target->is_visit_out = executor != target->executor;
    if (target->server->kind->act(target->server, decisions, n) < 0) {
        executor_return_chunk(executor);
        target->is_visit_out = false;
    }
    return true;
}

// ---- what comes back

// After our own engine, so that it knows whom that is ending; and that leaves alone whom it ends.
static void target_show_visit(struct target *target, const struct scan *scan, usec_t now) {
    CLEANUP(freep) struct session_id *held = NULL;
    size_t n_held = 0;
    if (!target->visit) {
        return;
    }
    if (visit_take_scan(target->visit, target->engine, scan, now, &held, &n_held) < 0) {
        visit_stop(target->visit, now);
    }
    if (n_held > 0) {
        const struct engine_input input = {
            .kind = ENGINE_INPUT_HOLD,
            .hold = {.ids = held, .n_ids = n_held, .until = usec_add(now, ENGINE_LINGERING_AFTER)},
        };
        (void)target_step(target, &input, now); // else both may name one: the guard sees to it
    }
}

static void target_take_scan(struct target *target, const struct scan *scan, usec_t now) {
    struct pg_error error;
    if (scan->kind == SCAN_FULL) {
        target_note_success(target, scan, now);
        target_check_power(target, scan);
    }
    const struct engine_input input = {.kind = ENGINE_INPUT_SCAN, .scan = scan};
    if (target_settle_debts(target, now) < 0 || target_step(target, &input, now) < 0) {
        target_out_of_memory(&error);
        target_count_failed_poll(target, &error);
        target_note_failure(target, OUTAGE_POLL, &error, now);
        return;
    }
    target_count_scan(target, scan, now);
    target_show_visit(target, scan, now);
    target->owes_polled = target->owes_polled || scan->kind == SCAN_FULL;
}

static void target_scanned(struct target *target, const struct server_report *report, usec_t now) {
    bool is_full = report->scanned == SCAN_FULL;
    bool *is_stale = is_full ? &target->is_stale_poll : &target->is_stale_look;
    bool was_stale = *is_stale;
    *(is_full ? &target->is_polling : &target->is_looking) = *is_stale = false;
    if (was_stale) {
        // What it says of queries is about those of a policy before.
        if (is_full) {
            target_count_poll(target, POLL_SKIPPED);
            target_poll(target, now);
        }
    } else if (report->scan) {
        target_take_scan(target, report->scan, now);
    } else if (is_full) {
        // A look that failed is made good by the next poll, and if that fails too it is told.
        target_count_failed_poll(target, report->error);
        target_note_failure(target, OUTAGE_POLL, report->error, now);
    }
}

static void target_ready(struct target *target, usec_t now) {
    if (findings_replace(&target->findings, target->context->sinks, target_name(target), target->server) < 0) {
        struct pg_error error;
        target_out_of_memory(&error);
        target_lose(target, OUTAGE_CONNECT, &error, now);
        return;
    }
    target->is_pooled = target->server->observe_only;
    target_note_findings(target);
    target->is_hurried = false;
    target->tick = schedule_next_tick(now, target_interval(target));
    target_enter(target, TARGET_WATCHING, target->tick);
    target_poll(target, now);
}

void target_dispatch(struct target *target, unsigned ready, usec_t now) {
    while (target->state == TARGET_CONNECTING || target->state == TARGET_WATCHING) {
        struct server_report report;
        switch (target->server->kind->dispatch(target->server, ready, now, &report)) {
        case SERVER_NOTHING:
            return;
        case SERVER_UP:
            dial_release(target->dial, now);
            break;
        case SERVER_READY:
            target_ready(target, now);
            break;
        case SERVER_SCANNED:
            target_scanned(target, &report, now);
            break;
        case SERVER_CHECKED:
            target_note_check(target);
            break;
        case SERVER_LED:
            target_note_leader(target, &report);
            break;
        case SERVER_ACTED:
            executor_report(target->is_visit_out ? target->visit->executor : target->executor, report.acts,
                            report.n_acts);
            target->is_visit_out = false;
            break;
        case SERVER_LOST:
            target_lose(target, OUTAGE_CONNECT, report.error, now);
            break;
        }
        ready = 0;
    }
}
