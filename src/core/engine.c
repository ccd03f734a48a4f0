// SPDX-License-Identifier: PostgreSQL
//
// The step. Each input kind has its function; a scan goes: take it in, settle what was acted on earlier, let the rules
// speak, plan the next look.
#include "core/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine_impl.h"
#include "util/array.h"

struct engine *engine_new(const char *target) {
    struct engine *engine = calloc(1, sizeof(*engine));
    struct policy *policy = policy_new();

    if (engine && policy) {
        engine->target = strdup(target);
        engine->next_serial = 1;
        engine->leads = true;
        if (engine->target && snapshot_init(&engine->snapshot, engine->target) == 0 &&
            alarms_init(&engine->alarms, engine->target, &engine->snapshot) == 0) {
            // Without rules until the first policy comes: nothing to remember of any.
            if (origin_table_set_policy(&engine->snapshot.origins, policy) == 0) {
                policy_unref(policy);
                return engine;
            }
        }
    }
    policy_unref(policy);
    return engine_free(engine);
}

struct engine *engine_free(struct engine *engine) {
    if (!engine) {
        return NULL;
    }
    pending_list_deinit(&engine->settled);
    pending_list_deinit(&engine->pendings);
    budget_deinit(&engine->budget);
    budget_deinit(&engine->budget_shadow);
    alarms_deinit(&engine->alarms);
    if (engine->rules) {
        engine_free_rules(engine->rules, engine_n_rules(engine));
    }
    engine_free_names(engine->paused_rules, engine->n_paused_rules);
    breakers_deinit(&engine->breakers, &engine->snapshot.origins);
    snapshot_deinit(&engine->snapshot);
    strbuf_deinit(&engine->text);
    quota_count_deinit(&engine->quota_count);
    engine_forget_texts(engine);
    free(engine->texts);
    free(engine->candidates.items);
    free(engine->evictable.items);
    free(engine->asleep);
    free(engine->n_covered);
    free(engine->blockings);
    free(engine->decisions);
    free(engine->intents);
    free(engine->events);
    free(engine->rows);
    free(engine->look);
    free(engine->target);
    free(engine);
    return NULL;
}

// --- Looks ---------------------------------------------------------------------------------------------------------

static usec_t engine_due_at(const struct session *session) {
    return session->dying || session->hold_until > session->due_at ? USEC_INFINITY : session->due_at;
}

// Several may ask for the same session: it is looked at once.
static int engine_look_at(struct engine *engine, const struct session_id *id) {
    struct session *session = snapshot_find(&engine->snapshot, id);

    if (session && session->looked_at == engine->step) {
        return 0;
    }
    if (session) {
        session->looked_at = engine->step;
    }
    int r = ARRAY_RESERVE(engine->look, engine->look_capacity, engine->result.n_look);
    if (r == 0) {
        engine->look[engine->result.n_look++] = *id;
        engine->result.look = engine->look;
    }
    return r;
}

// When the next look is wanted: for who comes due, or for who should be gone by now. The second can wait a little for
// the first, as the look spent on it would make whoever comes due right after it wait.
static usec_t engine_next_look(const struct engine *engine) {
    usec_t due = USEC_INFINITY, verify = USEC_INFINITY;

    for (const struct session *s = engine->snapshot.sessions; s; s = s->hh.next) {
        due = MIN(due, engine_due_at(s));
    }
    for (size_t i = 0; i < engine->pendings.n_items; i++) {
        verify = MIN(verify, engine->pendings.items[i]->verify_at);
    }
    verify = MAX(verify, engine->look_not_before);
    due = MAX(due, engine->look_not_before);
    return due < usec_add(verify, ENGINE_LOOKS_APART) ? due : verify;
}

// At whom to look then.
static int engine_plan_look(struct engine *engine) {
    engine->result.look_at = USEC_INFINITY;
    if (!engine->snapshot.complete) {
        return 0;
    }
    usec_t at = engine_next_look(engine);
    if (at == USEC_INFINITY) {
        return 0;
    }
    for (const struct session *s = engine->snapshot.sessions; s && engine->result.n_look < ENGINE_LOOK_MAX;
         s = s->hh.next) {
        if (engine_due_at(s) <= at) {
            int r = engine_look_at(engine, &s->id);
            if (r < 0) {
                return r;
            }
        }
    }
    for (size_t i = 0; i < engine->pendings.n_items && engine->result.n_look < ENGINE_LOOK_MAX; i++) {
        if (engine->pendings.items[i]->verify_at <= at) {
            int r = engine_look_at(engine, &engine->pendings.items[i]->decision.session.id);
            if (r < 0) {
                return r;
            }
        }
    }
    engine->result.look_at = at;
    return 0;
}

static void engine_note_due(struct engine *engine, const struct scan *scan) {
    for (struct session *s = engine->snapshot.sessions; s; s = s->hh.next) {
        if (s->generation == engine->snapshot.generation) {
            s->due_at = timeout_due_at(&engine->snapshot, s);
        }
    }
    if (scan->kind == SCAN_LOOK) {
        usec_t took = usec_sub(scan->received_at, scan->sent_at);
        usec_t apart = MAX(ENGINE_LOOKS_APART, took * ENGINE_LOOK_SHARE);
        engine->look_not_before = usec_add(scan->sent_at, apart);
    }
}

// --- The step ------------------------------------------------------------------------------------------------------

static int engine_say_jump(struct engine *engine, int64_t jump) {
    struct event event = event_make(EVENT_CLOCK_JUMP, EVENT_WARNING, engine->target);

    // Back, the server's ages are the smaller ones, and below 0 until its clock has caught up.
    strbuf_addf(&engine->text, "the server's clock moved %s by %.1f s against ours: %s", jump < 0 ? "back" : "forward",
                (double)(jump < 0 ? -jump : jump) / (double)USEC_PER_SEC,
                jump < 0 ? "sessions look younger by as much, and are judged later, until they change"
                         : "ages are counted from here on");
    int r = strbuf_error(&engine->text);
    if (r < 0) {
        return r;
    }
    event.detail = strbuf_str(&engine->text);
    return engine_say(engine, event);
}

static int64_t engine_n_lingering(const struct engine *engine) {
    int64_t n = 0;

    for (size_t i = 0; i < engine->pendings.n_items; i++) {
        n += engine->pendings.items[i]->state == PENDING_LINGERING;
    }
    return n;
}

static int engine_say_alarms(struct engine *engine) {
    int r = alarms_tell(&engine->alarms);

    for (size_t i = 0; r == 0 && i < engine->alarms.n_events; i++) {
        r = engine_say(engine, engine->alarms.events[i]);
    }
    return r;
}

static int engine_take_scan(struct engine *engine, const struct scan *scan, usec_t now) {
    bool full = scan->kind == SCAN_FULL;
    struct snapshot_change change;

    if (!full && !engine->snapshot.complete) {
        return 0; // an answer to a question of before the gap
    }
    int r = snapshot_apply(&engine->snapshot, scan, &change);
    if (r < 0) {
        return r;
    }
    if (change.clock_jumped) {
        r = engine_say_jump(engine, change.jump);
    }
    if (r == 0) {
        r = engine_settle_by_scan(engine, full, now);
    }
    if (full) {
        engine->known_queries = UINT32_MAX;
        engine->knows_blockers = policy_asks_blockers(engine_policy(engine));
    }
    if (r == 0) {
        r = engine_watch(engine, scan, change.restarted, now);
    }
    if (r == 0) {
        r = engine_decide(engine, full, now);
    }
    if (r == 0 && full) {
        r = alarms_step(&engine->alarms, engine_n_lingering(engine), now);
    }
    if (r == 0) {
        engine_note_due(engine, scan);
    }
    return r;
}

static void engine_abort(struct engine *engine, uint64_t first_serial) {
    alarms_abort(&engine->alarms);
    engine_abort_acts(engine, first_serial);
    engine_abort_watch(engine);
    snapshot_forget_notes(&engine->snapshot, engine->step);
    snapshot_lost(&engine->snapshot);
    engine->result = (struct engine_result){.look_at = USEC_INFINITY};
}

// A single low reading, of a pool that has just let go of its connections to take them anew, says nothing yet: for
// another poll_interval it counts as filling.
static bool engine_fills_fast(struct engine *engine) {
    const struct forecast *forecast = &engine->alarms.forecast;
    if (forecast_fills_fast(forecast, server_facts_usable(&engine->snapshot.facts), engine->poll_interval)) {
        engine->fills_until = usec_add(forecast->latest.at, engine->poll_interval);
    }
    return forecast->latest.at < engine->fills_until;
}

// Whether to poll at the pressure interval.
static bool engine_is_pressed(struct engine *engine) {
    return engine->snapshot.complete && (engine->pressed || engine_fills_fast(engine));
}

static void engine_take_hold(struct engine *engine, const struct engine_input *input) {
    for (size_t i = 0; i < input->hold.n_ids; i++) {
        struct session *session = snapshot_find(&engine->snapshot, &input->hold.ids[i]);
        if (session) {
            session->hold_until = MAX(session->hold_until, input->hold.until);
        }
    }
}

int engine_step(struct engine *engine, const struct engine_input *input, usec_t now, const struct engine_result **ret) {
    uint64_t first_serial = engine->next_serial;
    int r = 0;

    engine_forget_settled(engine);
    alarms_begin(&engine->alarms);
    strbuf_clear(&engine->text);
    engine_forget_texts(engine);
    engine->result = (struct engine_result){.look_at = USEC_INFINITY};
    engine->n_rows = 0;
    engine->step++;
    switch (input->kind) {
    case ENGINE_INPUT_SCAN:
        r = engine_take_scan(engine, input->scan, now);
        break;
    case ENGINE_INPUT_ACT:
        r = engine_take_act(engine, input, now);
        break;
    case ENGINE_INPUT_LOST:
        snapshot_lost(&engine->snapshot);
        break;
    case ENGINE_INPUT_POLICY:
        r = engine_take_policy(engine, input);
        break;
    case ENGINE_INPUT_LEADERSHIP:
        engine->leads = input->leads;
        break;
    case ENGINE_INPUT_PAUSE:
        r = engine_take_pause(engine, input);
        break;
    case ENGINE_INPUT_HOLD:
        engine_take_hold(engine, input);
        break;
    case ENGINE_INPUT_CONDITION:
        r = alarms_set_builtin(&engine->alarms, ALARM_CONDITION(input->condition.condition), NULL,
                               input->condition.holds, input->condition.detail, input->condition.hint);
        if (input->condition.condition == CONDITION_POWERLESS && !input->condition.holds) {
            engine_retry_denied(engine);
        }
        break;
    case ENGINE_INPUT_STOP:
        r = engine_stop(engine, now);
        break;
    }
    if (r == 0) {
        r = engine_say_alarms(engine);
    }
    if (r == 0) {
        r = engine_plan_look(engine);
    }
    if (r < 0) {
        engine_abort(engine, first_serial);
        return r;
    }
    engine->result.decisions = engine->decisions;
    engine->result.intents = engine->intents;
    engine->result.pressed = engine_is_pressed(engine);
    *ret = &engine->result;
    return 0;
}

int engine_summarize(const struct engine *engine, struct summary *ret) {
    const struct policy *policy = engine_policy(engine);

    int r = summarize(&engine->snapshot, &engine->alarms, ret);
    if (r < 0) {
        return r;
    }
    ret->leads = engine->leads;
    ret->paused = engine->paused;
    for (size_t i = 0; i < engine_n_rules(engine); i++) {
        ret->rules[i].enforce =
            engine_enforces(engine, i < policy->n_timeouts ? policy->timeouts[i].enforce
                                                           : policy->quotas[i - policy->n_timeouts].enforce);
        ret->rules[i].paused = engine->paused || engine->rules[i].paused;
        summary_rule_set_counts(&ret->rules[i], &engine->rules[i].counts);
    }
    return 0;
}
