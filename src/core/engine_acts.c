// SPDX-License-Identifier: PostgreSQL
//
// From a decision handed out to its outcome: the answer to the guarded statement first, then what later scans show.
#include <string.h>

#include "engine_impl.h"
#include "util/array.h"
#include "util/macro.h"

void engine_forget_settled(struct engine *engine) {
    for (size_t i = 0; i < engine->settled.n_items; i++) {
        pending_free(engine->settled.items[i]);
    }
    engine->settled.n_items = 0;
}

// Lets the rules judge the session again, from `at` on.
static void engine_release(struct engine *engine, const struct pending *pending, usec_t at) {
    struct session *session = snapshot_find(&engine->snapshot, &pending->decision.session.id);

    if (session) {
        session->dying = false;
        session->hold_until = at;
        session->is_denied = false;
    }
}

static void engine_note_denied(struct engine *engine, const struct pending *pending) {
    struct session *session = snapshot_find(&engine->snapshot, &pending->decision.session.id);

    if (session) {
        session->is_denied = true;
    }
}

void engine_retry_denied(struct engine *engine) {
    for (struct session *session = engine->snapshot.sessions; session; session = session->hh.next) {
        if (session->is_denied && session->hold_until != USEC_INFINITY) {
            session->hold_until = 0;
            session->is_denied = false;
        }
    }
}

// The query was not cancelled after all: it may be once more.
static void engine_uncancel(struct engine *engine, const struct pending *pending) {
    struct session *session = snapshot_find(&engine->snapshot, &pending->decision.session.id);

    if (session && pending->decision.action == ACTION_CANCEL) {
        session->cancelled = TIMESTAMP_NONE;
    }
}

static int engine_settle(struct engine *engine, size_t at) {
    int r = ARRAY_RESERVE(engine->settled.items, engine->settled.capacity, engine->settled.n_items);
    if (r < 0) {
        return r;
    }
    engine->settled.items[engine->settled.n_items++] = engine->pendings.items[at];
    pending_list_remove(&engine->pendings, at);
    return 0;
}

static int engine_say_outcome(struct engine *engine, const struct pending *pending, enum outcome outcome,
                              const char *sqlstate, const char *detail, const char *hint, usec_t now) {
    struct event event = pending_event(pending, EVENT_OUTCOME, engine->target, outcome);

    event.sqlstate = sqlstate;
    event.detail = detail;
    event.hint = hint;
    if (outcome == OUTCOME_GONE || outcome == OUTCOME_CANCELLED || outcome == OUTCOME_LINGERING ||
        outcome == OUTCOME_STILL_RUNNING) {
        event.took = usec_sub(now, pending->signalled_at);
    }
    return engine_say(engine, event);
}

static const char *engine_denied_hint(const struct pending *pending) {
    return pending->decision.session.superuser
               ? "only a superuser may end sessions of a superuser: protect.superusers: true leaves them alone"
               : "GRANT pg_signal_backend to the role of pgvigil";
}

// The rule as it stands now; GUARD_NO_RULE: it is no more what it was when it decided.
static size_t engine_rule_of(const struct engine *engine, const struct pending *pending) {
    const struct policy *policy = engine_policy(engine), *before = pending->policy;
    size_t rule = pending->decision.rule_index;

    if (before == policy || rule >= before->n_timeouts) {
        return before == policy ? rule : GUARD_NO_RULE;
    }
    for (size_t i = 0; i < policy->n_timeouts; i++) {
        if (policy_timeout_is_same(before, rule, policy, i)) {
            return i;
        }
    }
    return GUARD_NO_RULE;
}

static int engine_signalled(struct engine *engine, struct pending *pending, usec_t now) {
    struct session *session = snapshot_find(&engine->snapshot, &pending->decision.session.id);

    if (pending->decision.action == ACTION_TERMINATE) {
        int r = session ? breakers_add_victim(&engine->breakers, &engine->snapshot.origins, pending->decision.rule,
                                              session->origin, now)
                        : 0;
        if (r < 0) {
            return r;
        }
        pending_signalled(pending, now);
        forecast_note_ended(&engine->alarms.forecast);
        return 0;
    }
    pending_signalled(pending, now);
    engine_release(engine, pending, 0);
    size_t rule = engine_rule_of(engine, pending);
    if (session && rule != GUARD_NO_RULE && engine_policy(engine)->timeouts[rule].has_then) {
        session->escalate_rule = rule;
        session->escalate_at = usec_add(now, engine_policy(engine)->timeouts[rule].grace);
        session->due_at = MIN(session->due_at, session->escalate_at);
    }
    return 0;
}

static int engine_settle_one(struct engine *engine, const struct pending *pending) {
    size_t at = 0;

    while (engine->pendings.items[at] != pending) {
        at++;
    }
    return engine_settle(engine, at);
}

// Its intent could not be written, nor perhaps can this: a log that nobody takes must not fill with it. Told on the
// edge, and at most once a minute for each rule.
static int engine_take_unrecorded(struct engine *engine, const struct pending *pending, usec_t now) {
    struct event held = pending_event(pending, EVENT_HELD_BACK, engine->target, OUTCOME_NONE);
    struct rule *rule = pending->policy == engine_policy(engine) ? &engine->rules[pending->decision.rule_index] : NULL;

    held.level = EVENT_WARNING;
    held.reason = held_reason_to_string(HELD_UNRECORDED);
    held.count = 1;
    budget_refund(&engine->budget, pending->decision.serial);
    engine_release(engine, pending, 0);
    engine_uncancel(engine, pending);
    int r = engine_settle_one(engine, pending);
    if (r < 0 || !rule) {
        return r < 0 ? r : engine_say(engine, held);
    }
    rule->counts.n_held[HELD_UNRECORDED]++;
    rule->held_said[HELD_UNRECORDED]++; // those that are not told yet
    if (rule->held_ever[HELD_UNRECORDED] && now < usec_add(rule->held_said_at[HELD_UNRECORDED], ENGINE_HELD_REPEAT)) {
        return 0;
    }
    held.count = rule->held_said[HELD_UNRECORDED];
    held.session = held.count == 1 ? held.session : NULL;
    r = engine_say(engine, held);
    if (r == 0) {
        rule->held_said[HELD_UNRECORDED] = 0;
        rule->held_said_at[HELD_UNRECORDED] = now;
        rule->held_ever[HELD_UNRECORDED] = true;
    }
    return r;
}

// What the answer to the guarded statement means for its decision.
int engine_take_act(struct engine *engine, const struct engine_input *input, usec_t now) {
    static const struct {
        enum outcome outcome;
        usec_t hold; // before the session may be chosen again
    } settles[] = {
        [ACT_CHANGED] = {OUTCOME_CHANGED, 0},
        [ACT_SPARED] = {OUTCOME_CHANGED, 0},
        [ACT_LEFT] = {OUTCOME_LEFT, 0},
        [ACT_DENIED] = {OUTCOME_DENIED, ENGINE_DENIED_RETRY},
        [ACT_FAILED] = {OUTCOME_FAILED, ENGINE_RETRY_AFTER},
        [ACT_UNSENT] = {OUTCOME_FAILED, 0},
    };
    struct pending *pending = pending_list_find(&engine->pendings, input->act.serial);
    const char *detail = input->act.message, *hint = NULL;

    if (!pending || pending->state != PENDING_ACT) {
        return 0; // settled meanwhile: a restart of the server, or we stopped
    }
    switch (input->act.result) {
    case ACT_SIGNALLED:
        return engine_signalled(engine, pending, now);
    case ACT_UNKNOWN:
        pending->state = PENDING_UNKNOWN;
        pending->unsure = true;
        pending->signalled_at = now;
        if (pending->decision.action == ACTION_CANCEL) {
            engine_release(engine, pending, 0);
        }
        return engine_say_outcome(engine, pending, OUTCOME_UNKNOWN, NULL, detail, NULL, now);
    case ACT_UNRECORDED:
        return engine_take_unrecorded(engine, pending, now);
    case ACT_DENIED:
        hint = engine_denied_hint(pending);
        break;
    case ACT_UNSENT:
        detail = detail ? detail : "not sent: the connection broke before";
        break;
    case ACT_SPARED:
        detail = pending->decision.n_blocked != EVENT_NUMBER_NONE
                     ? "in the same state, but by now protected, renamed, or in nobody's way"
                     : "in the same state, but by now protected or renamed";
        break;
    case ACT_CHANGED:
    case ACT_LEFT:
    case ACT_FAILED:
        break;
    }

    int r = engine_settle_one(engine, pending);
    if (r < 0) {
        return r;
    }
    budget_refund(&engine->budget, pending->decision.serial);
    engine_uncancel(engine, pending);
    if (input->act.result == ACT_LEFT) {
        snapshot_left(&engine->snapshot, &pending->decision.session.id);
    } else {
        engine_release(engine, pending,
                       settles[input->act.result].hold ? usec_add(now, settles[input->act.result].hold) : 0);
        if (input->act.result == ACT_DENIED) {
            engine_note_denied(engine, pending);
        }
    }
    return engine_say_outcome(engine, pending, settles[input->act.result].outcome, input->act.sqlstate, detail, hint,
                              now);
}

// A promotion makes sessions anew in the table, and a step that was undone may have released one: what is under way
// still is.
static void engine_mark(struct engine *engine, const struct pending *pending) {
    struct session *session = snapshot_find(&engine->snapshot, &pending->decision.session.id);
    bool terminates = pending->decision.action == ACTION_TERMINATE;

    if (!session) {
        return;
    }
    if (terminates || pending->state == PENDING_ACT) {
        session->hold_until = USEC_INFINITY;
    }
    if (terminates) {
        session->dying = true;
    } else if (session->times[SESSION_TIME_QUERY_START] == pending->decision.session.query_start) {
        session->cancelled = pending->decision.session.query_start;
    }
}

// Whether it is not the cancel that ended the query, but the session's end, which was decided as the query still ran.
static bool engine_is_escalated(const struct engine *engine, const struct pending *cancel) {
    bool escalated = false;

    if (snapshot_find(&engine->snapshot, &cancel->decision.session.id)) {
        return false;
    }
    for (size_t i = 0; i < engine->pendings.n_items; i++) {
        const struct pending *pending = engine->pendings.items[i];
        escalated |= pending->decision.action == ACTION_TERMINATE &&
                     (pending->state == PENDING_DYING || pending->state == PENDING_LINGERING) &&
                     session_id_is_equal(&pending->decision.session.id, &cancel->decision.session.id);
    }
    return escalated;
}

// Settles what the scan just taken in shows of earlier acts.
int engine_settle_by_scan(struct engine *engine, bool full, usec_t now) {
    size_t i = 0;

    while (i < engine->pendings.n_items) {
        struct pending *pending = engine->pendings.items[i];
        struct pending_verdict verdict = pending_look(pending, &engine->snapshot, full, now);
        if (verdict.outcome == OUTCOME_CANCELLED && engine_is_escalated(engine, pending)) {
            verdict.outcome = OUTCOME_STILL_RUNNING;
        }
        if (verdict.outcome != OUTCOME_NONE) {
            const char *detail =
                verdict.outcome == OUTCOME_UNKNOWN ? "still there: it may not have been signalled" : NULL;
            int r = engine_say_outcome(engine, pending, verdict.outcome, NULL, detail, NULL, now);
            if (r < 0) {
                return r;
            }
            pending->lingers_since = engine->step;
        }
        if (verdict.release) {
            engine_release(engine, pending, 0);
        }
        if (verdict.settled) {
            int r = engine_settle(engine, i);
            if (r < 0) {
                return r;
            }
            continue;
        }
        engine_mark(engine, pending);
        i++;
    }
    return 0;
}

int engine_stop(struct engine *engine, usec_t now) {
    while (engine->pendings.n_items > 0) {
        struct pending *pending = engine->pendings.items[0];
        int r = engine_settle(engine, 0);
        engine_release(engine, pending, 0);
        // A lingering session has its outcome; it only waited to be signalled again.
        if (r == 0 && pending->state != PENDING_LINGERING) {
            r = engine_say_outcome(engine, pending, OUTCOME_UNVERIFIED, NULL, NULL, NULL, now);
        }
        if (r < 0) {
            return r;
        }
    }
    snapshot_lost(&engine->snapshot);
    return 0;
}

void engine_abort_acts(struct engine *engine, uint64_t first_serial) {
    size_t i = engine->pendings.n_items;

    while (i-- > 0) {
        struct pending *pending = engine->pendings.items[i];
        if (pending->decision.serial >= first_serial) {
            budget_refund(&engine->budget, pending->decision.serial);
            engine_release(engine, pending, 0);
            engine_uncancel(engine, pending);
            pending_list_remove(&engine->pendings, i);
            pending_free(pending);
        }
    }
    // They came out of this list in this very step: it has room for them.
    for (i = 0; i < engine->settled.n_items; i++) {
        engine->pendings.items[engine->pendings.n_items++] = engine->settled.items[i];
    }
    engine->settled.n_items = 0;
    for (i = 0; i < engine->pendings.n_items; i++) {
        struct pending *pending = engine->pendings.items[i];
        if (pending->state == PENDING_LINGERING && pending->lingers_since == engine->step) {
            pending->state = PENDING_DYING;
        }
    }
}
