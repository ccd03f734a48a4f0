// SPDX-License-Identifier: PostgreSQL
//
// Quotas' turn in a pass: group by group, the worst first, until each holds what it may.
#include <errno.h>
#include <inttypes.h>

#include "engine_turn.h"
#include "util/macro.h"

static struct event engine_quota_event(const struct engine *engine, const struct turn *turn, enum event_kind kind,
                                       enum event_level level, int64_t allowed) {
    struct event event = event_make(kind, level, engine->target);

    event.rule = turn->terms.name;
    event.group = turn->over->group->label;
    event.held = turn->over->held;
    event.allowed = allowed;
    return event;
}

static int engine_log_over(struct engine *engine, const struct turn *turn, int64_t allowed) {
    struct quota_group *group = turn->over->group;

    if (group->told_log != 0) {
        return 0;
    }
    struct event event = engine_quota_event(engine, turn, EVENT_DECISION, EVENT_NOTICE, allowed);
    event.has_action = true;
    event.action = ACTION_LOG;
    group->told_log = engine->step;
    engine->rules[turn->terms.rule].counts.n_decided++;
    return engine_say(engine, event);
}

// What is left cannot be evicted: said once for as long as the group stays over, and not before whoever may be has had
// the time to become so.
static int engine_say_unmet(struct engine *engine, const struct turn *turn, int64_t allowed, int64_t n_protected) {
    const struct policy *policy = engine_policy(engine);
    const struct quota *quota = &policy->quotas[turn->terms.rule - policy->n_timeouts];
    struct quota_group *group = turn->over->group;
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;

    engine->rules[turn->terms.rule].counts.n_held[HELD_PROTECTED] += turn->wanted;
    if (group->told_unmet != 0 || turn->now < usec_add(group->over_since, usec_add(quota->for_, quota->min_idle))) {
        return 0;
    }
    struct event event = engine_quota_event(engine, turn, EVENT_HELD_BACK, EVENT_WARNING, allowed);
    // What this step ends counts as gone.
    strbuf_addf(&detail, "the quota of %" PRId64 " cannot be met: %" PRId64 " are left, of which none may be evicted",
                allowed, allowed + turn->wanted);
    if (n_protected > 0) {
        strbuf_addf(&detail, " (%" PRId64 " protected)", n_protected);
    }
    event.reason = held_reason_to_string(HELD_PROTECTED);
    event.count = turn->wanted;
    event.detail = engine_keep(engine, &detail);
    if (!event.detail) {
        return -ENOMEM;
    }
    group->told_unmet = engine->step;
    return engine_say(engine, event);
}

static int engine_judge_group(struct engine *engine, struct turn *turn, const struct quota_over *over,
                              int64_t allowed) {
    const struct policy *policy = engine_policy(engine);
    const struct quota *quota = &policy->quotas[turn->terms.rule - policy->n_timeouts];
    int64_t n_protected = 0;
    int r = 0;

    turn->over = over;
    turn->wanted = over->held - allowed;
    engine->rules[turn->terms.rule].counts.n_matches += turn->kind == PASS_ACTING ? turn->wanted : 0;
    if (!engine->preview && turn->now < usec_add(over->group->over_since, quota->for_)) {
        return 0;
    }
    if (quota->action == ACTION_LOG) {
        return turn->kind == PASS_ACTING ? engine_log_over(engine, turn, allowed) : 0;
    }
    for (size_t i = 0; r == 0 && i < over->n && turn->wanted > 0; i++) {
        const struct candidate *candidate = &engine->evictable.items[over->first + i];
        if (guard_is_protected(&engine->snapshot, &policy->protect, candidate->session)) {
            n_protected++;
            continue;
        }
        r = engine_judge(engine, turn, candidate);
    }
    if (r == 0 && turn->wanted > 0 && turn->terms.acts == (turn->kind == PASS_ACTING)) {
        r = engine_say_unmet(engine, turn, allowed, n_protected);
    }
    return r;
}

int engine_judge_quota(struct engine *engine, struct turn *turn, size_t rule) {
    const struct policy *policy = engine_policy(engine);
    struct quota_count *count = &engine->quota_count;
    int64_t allowed = quota_allowed(&policy->quotas[rule - policy->n_timeouts], &engine->snapshot.facts);

    turn_begin_rule(engine, turn, rule);
    int r = quota_find_over(count, &engine->snapshot, rule, turn->kind, engine->step, &engine->rules[rule].groups,
                            turn->now);
    if (r == 0) {
        r = quota_find(count, &engine->snapshot, rule, turn->kind, engine->step, turn->now, &engine->evictable);
    }
    for (size_t i = 0; r == 0 && i < count->n_over; i++) {
        r = engine_judge_group(engine, turn, &count->over[i], allowed);
    }
    return r;
}
