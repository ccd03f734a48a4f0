// SPDX-License-Identifier: PostgreSQL
//
// What the rules go by besides single sessions: how full the server is, who holds up whom, whom the rules cover, and
// whether ending sessions helps. All of it is known on full scans alone, so rules that ask for it sleep through looks.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engine_impl.h"
#include "util/array.h"
#include "util/macro.h"

usec_t engine_gap_after(const struct engine *engine) {
    return engine->poll_interval == 0 ? USEC_INFINITY : ENGINE_GAP_POLLS * engine->poll_interval;
}

// Whether `percent` of the usable slots are used.
static bool engine_is_used(const struct engine *engine, int64_t percent) {
    return (int64_t)snapshot_n_sessions(&engine->snapshot) * 100 >=
           percent * server_facts_usable(&engine->snapshot.facts);
}

void engine_arm(struct engine *engine, bool full) {
    const struct policy *policy = engine_policy(engine);

    for (size_t i = 0; i < policy->n_timeouts; i++) {
        const struct when *when = &policy->timeouts[i].when;
        struct rule *rule = &engine->rules[i];
        if (full && when->has_usage) {
            rule->armed = engine_is_used(engine, rule->armed ? when->until : when->usage);
        }
        bool asleep = timeout_has_when(&policy->timeouts[i]) && (!full || (when->has_usage && !rule->armed));
        engine->asleep[i / 64] &= ~(UINT64_C(1) << (i % 64));
        engine->asleep[i / 64] |= (uint64_t)asleep << (i % 64);
    }
}

// We did not look for too long, or the server is another one: what went on for some time may not have.
static void engine_restart_timers(struct engine *engine, usec_t now) {
    for (size_t i = 0; i < engine_n_rules(engine); i++) {
        engine->rules[i].armed = false;
        quota_groups_restart(engine->rules[i].groups, now);
    }
    breakers_forget_rounds(&engine->breakers, &engine->snapshot.origins);
}

// --- Who holds up whom ----------------------------------------------------------------------------------------------

static int blocking_compare(const void *pa, const void *pb) {
    const struct blocking *a = pa, *b = pb;

    if (a->holder != b->holder) {
        return a->holder < b->holder ? -1 : 1;
    }
    return a->waiter < b->waiter ? -1 : a->waiter > b->waiter;
}

// The first of the session's, and how many.
static const struct blocking *engine_blockings(const struct engine *engine, int64_t pid, size_t *ret_n) {
    size_t low = 0, high = engine->n_blockings;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (engine->blockings[middle].holder < pid) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (high = low; high < engine->n_blockings && engine->blockings[high].holder == pid;) {
        high++;
    }
    *ret_n = high - low;
    return *ret_n > 0 ? &engine->blockings[low] : NULL;
}

// Waiters name those who hold them up: turned round. The server may name a holder twice, a parallel worker, or 0 for a
// prepared transaction.
static int engine_take_blockings(struct engine *engine, const struct scan *scan) {
    size_t n = 0;

    engine->n_blockings = 0;
    for (size_t i = 0; i < scan->n_rows; i++) {
        for (size_t k = 0; k < scan->rows[i].n_blocked_by; k++) {
            int r = ARRAY_RESERVE(engine->blockings, engine->blockings_capacity, engine->n_blockings);
            if (r < 0) {
                return r;
            }
            engine->blockings[engine->n_blockings++] =
                (struct blocking){.holder = scan->rows[i].blocked_by[k], .waiter = scan->rows[i].id.id};
        }
    }
    if (engine->n_blockings > 1) {
        qsort(engine->blockings, engine->n_blockings, sizeof(*engine->blockings), blocking_compare);
    }
    for (size_t i = 0; i < engine->n_blockings; i++) {
        const struct blocking *blocking = &engine->blockings[i];
        if (blocking->holder != blocking->waiter &&
            (n == 0 || blocking_compare(&engine->blockings[n - 1], blocking) != 0)) {
            engine->blockings[n++] = *blocking;
        }
    }
    engine->n_blockings = n;
    for (struct session *session = engine->snapshot.sessions; session; session = session->hh.next) {
        session->n_blocks = 0;
        if (n > 0) {
            engine_blockings(engine, session->id.id, &session->n_blocks);
        }
    }
    return 0;
}

#define ENGINE_BLOCKED_NAMED 2

int engine_blocked_text(struct engine *engine, const struct session *session, const char **ret) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    size_t n;
    const struct blocking *blocking = engine_blockings(engine, session->id.id, &n);

    *ret = NULL;
    if (n == 0) {
        return 0;
    }
    for (size_t i = 0; i < MIN(n, ENGINE_BLOCKED_NAMED); i++) {
        strbuf_addf(&text, "%s%" PRId64, i > 0 ? ", " : "", blocking[i].waiter);
    }
    if (n > ENGINE_BLOCKED_NAMED) {
        strbuf_addf(&text, " and %zu more", n - ENGINE_BLOCKED_NAMED);
    }
    *ret = engine_keep(engine, &text);
    return *ret ? 0 : -ENOMEM;
}

size_t engine_waiters(const struct engine *engine, const struct session *session, int64_t *ret, size_t max) {
    size_t n;
    const struct blocking *blocking = engine_blockings(engine, session->id.id, &n);

    n = MIN(n, max);
    for (size_t i = 0; i < n; i++) {
        ret[i] = blocking[i].waiter;
    }
    return n;
}

// --- Whom the rules cover -------------------------------------------------------------------------------------------

static const char *engine_rule_name(const struct engine *engine, size_t rule) {
    const struct policy *policy = engine_policy(engine);
    return rule < policy->n_timeouts ? policy->timeouts[rule].name : policy->quotas[rule - policy->n_timeouts].name;
}

static int engine_say_covers_nobody(struct engine *engine, size_t i, usec_t now) {
    struct rule *rule = &engine->rules[i];

    if (rule->covered_ever || rule->nobody_told != 0 ||
        now < usec_add(rule->watched_since, ENGINE_COVERS_NOBODY_AFTER)) {
        return 0;
    }
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    struct event event = event_make(EVENT_SELF_CHECK, EVENT_NOTICE, engine->target);
    strbuf_addf(&detail, "rule %s has covered no session in an hour of watching", engine_rule_name(engine, i));
    event.rule = engine_rule_name(engine, i);
    event.reason = "covers_nobody";
    event.detail = engine_keep(engine, &detail);
    event.hint = "compare its match with what `pgvigil report` shows, or remove the rule";
    if (!event.detail) {
        return -ENOMEM;
    }
    rule->nobody_told = engine->step;
    return engine_say(engine, event);
}

static int engine_watch_covered(struct engine *engine, usec_t now) {
    bool shares = engine_policy(engine)->limits.share < 100, wanted = shares;
    size_t n = engine_n_rules(engine);

    for (size_t i = 0; i < n; i++) {
        wanted = wanted || !engine->rules[i].covered_ever;
        if (!engine->rules[i].is_watched) {
            engine->rules[i].is_watched = true;
            engine->rules[i].watched_since = now;
        }
    }
    int r = wanted ? snapshot_count_covered(&engine->snapshot, engine->n_covered) : 0;
    for (size_t i = 0; wanted && r == 0 && i < n; i++) {
        struct rule *rule = &engine->rules[i];
        rule->covered_ever = rule->covered_ever || engine->n_covered[i] > 0;
        if (shares) {
            covered_add(&rule->covered, engine->n_covered[i], now);
        }
        r = engine_say_covers_nobody(engine, i, now);
    }
    return r;
}

// --- Whom no rule can judge -----------------------------------------------------------------------------------------

// With track_activities off a server, or a role, has sessions that look as if nothing were wrong with them.
static int engine_watch_blank(struct engine *engine, usec_t now) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    struct event event = event_make(EVENT_SELF_CHECK, EVENT_WARNING, engine->target);
    int64_t n = 0;

    for (const struct session *s = engine->snapshot.sessions; s; s = s->hh.next) {
        n += s->state == SESSION_STATE_DISABLED && !s->origin->own;
    }
    if (n == 0 || (engine->blank_said_at != 0 && now < usec_add(engine->blank_said_at, ENGINE_BLANK_REPEAT))) {
        return 0;
    }
    strbuf_addf(&detail,
                "%" PRId64 " of %zu sessions show neither state nor times (track_activities = off): no rule can judge "
                "them",
                n, snapshot_n_sessions(&engine->snapshot));
    event.reason = "activities_off";
    event.count = n;
    event.detail = engine_keep(engine, &detail);
    event.hint = "ALTER SYSTEM SET track_activities = on; SELECT pg_reload_conf(); where a role has a setting of its "
                 "own, ALTER ROLE ... RESET track_activities";
    if (!event.detail) {
        return -ENOMEM;
    }
    engine->blank_said_at = now;
    engine->blank_told = engine->step;
    return engine_say(engine, event);
}

// --- Whether it helps -----------------------------------------------------------------------------------------------

static int engine_say_breaker(struct engine *engine, struct breaker *breaker) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf key = STRBUF_EMPTY;
    struct event event = event_make(EVENT_BREAKER, breaker->tripped ? EVENT_WARNING : EVENT_NOTICE, engine->target);
    const char *hint = "the client's pool reconnects at once: make it smaller, or let it close idle connections itself "
                       "before this rule does (pool_recycle, max_inactive_connection_lifetime, idle timeout)";

    if (breaker->tripped) {
        strbuf_addf(&detail,
                    "rule %s does not help: of the %" PRId64 " sessions of %s that it ended last, %" PRId64
                    " were replaced at once; it pauses for ",
                    breaker->rule, breaker->ended, breaker->group, breaker->replaced);
        usec_render_exact(&detail, breaker->pause);
    } else {
        strbuf_addf(&detail, "rule %s is back for %s after its pause", breaker->rule, breaker->group);
    }
    strbuf_addf(&key, "%s, %s", breaker->rule, breaker->group);
    event.rule = breaker->rule;
    event.group = breaker->group;
    event.reason = breaker->tripped ? "tripped" : "resumed";
    event.detail = engine_keep(engine, &detail);
    event.hint = breaker->tripped ? hint : NULL;
    if (!event.detail || strbuf_error(&key) < 0) {
        return -ENOMEM;
    }
    int r = alarms_set_builtin(&engine->alarms, ALARM_THRASHING, strbuf_str(&key), breaker->tripped, event.detail,
                               event.hint);
    if (r < 0) {
        return r;
    }
    breaker->told = breaker->tripped;
    breaker->told_in = engine->step;
    return engine_say(engine, event);
}

static int engine_watch_breakers(struct engine *engine, usec_t now) {
    int r = 0;

    breakers_judge(&engine->breakers, &engine->snapshot, &engine_policy(engine)->limits, now);
    for (size_t i = 0; r == 0 && i < engine->breakers.n_items; i++) {
        struct breaker *breaker = engine->breakers.items[i];
        if (breaker->told != breaker->tripped) {
            r = engine_say_breaker(engine, breaker);
        }
    }
    return r;
}

int engine_watch(struct engine *engine, const struct scan *scan, bool restarted, usec_t now) {
    bool full = scan->kind == SCAN_FULL;
    int r = 0;

    if (full) {
        if (restarted || (engine->has_full && now > usec_add(engine->full_at, engine_gap_after(engine)))) {
            engine_restart_timers(engine, now);
        }
        engine->has_full = true;
        engine->full_at = now;
        engine->pressed = engine->pressure_at > 0 && engine_is_used(engine, engine->pressure_at);
        r = engine_take_blockings(engine, scan);
    }
    engine_arm(engine, full);
    if (r == 0 && full) {
        r = engine_watch_covered(engine, now);
    }
    if (r == 0 && full) {
        r = engine_watch_blank(engine, now);
    }
    if (r == 0 && full) {
        r = engine_watch_breakers(engine, now);
    }
    return r;
}

void engine_abort_watch(struct engine *engine) {
    if (engine->blank_told == engine->step) {
        engine->blank_said_at = engine->blank_told = 0;
    }
    for (size_t i = 0; i < engine->breakers.n_items; i++) {
        struct breaker *breaker = engine->breakers.items[i];
        if (breaker->told_in == engine->step) {
            breaker->told = !breaker->told;
            breaker->told_in = 0;
        }
    }
    for (size_t i = 0; engine->rules && i < engine_n_rules(engine); i++) {
        struct rule *rule = &engine->rules[i];
        if (rule->nobody_told == engine->step) {
            rule->nobody_told = 0;
        }
        for (struct quota_group *group = rule->groups; group; group = group->hh.next) {
            group->told_log = group->told_log == engine->step ? 0 : group->told_log;
            group->told_unmet = group->told_unmet == engine->step ? 0 : group->told_unmet;
        }
    }
}
