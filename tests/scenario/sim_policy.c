// SPDX-License-Identifier: PostgreSQL
//
// Random policies for the model, and the same for the engine.
#include <stdio.h>
#include <string.h>

#include "sim.h"
#include "util/macro.h"

static struct spec sim_spec(size_t n_apps, bool may_ask) {
    struct spec spec = {.kind = (enum spec_kind)sim_below(SPEC_APP + 1)};

    spec.users = (unsigned)sim_below(1u << MODEL_N_USERS);
    spec.prefix = SIM_ONE_OF(((const char[]){'w', 'p', 'x', 'P'}));
    spec.app = sim_below(MODEL_MAX_APPS);
    spec.superuser = sim_chance(300);
    if ((spec.kind == SPEC_APP && (n_apps == 0 || spec.app >= n_apps)) || (spec.kind == SPEC_QUERY && !may_ask)) {
        spec.kind = SPEC_ABSENT;
    }
    bool names = spec.kind == SPEC_PREFIX || spec.kind == SPEC_SUPERUSER || spec.kind == SPEC_APP;
    if (spec.kind == SPEC_QUERY || (names && may_ask && sim_chance(150))) {
        spec.query = 1 + (unsigned)sim_below(3);
    }
    return spec;
}

static struct model_rule sim_rule(size_t n_apps) {
    static const usec_t afters[] = {0, USEC_PER_SEC, 5 * USEC_PER_SEC, 20 * USEC_PER_SEC, USEC_PER_MINUTE};
    struct model_rule rule = {
        .any = sim_chance(300),
        .has_since = sim_chance(300),
        .after = SIM_ONE_OF(afters),
        .match = sim_spec(n_apps, true),
        .ignore = sim_chance(500) ? (struct spec){0} : sim_spec(n_apps, true),
        .keep = sim_chance(500) ? 0 : (int64_t)sim_below(5),
        .action = sim_chance(600)   ? ACTION_TERMINATE
                  : sim_chance(500) ? ACTION_CANCEL
                                    : ACTION_LOG,
        .enforce = sim_chance(800),
    };

    rule.states = (unsigned)sim_random() & SESSION_STATES_ANY;
    rule.since = rule.has_since ? (enum session_time)sim_below(N_SESSION_TIMES) : 0;
    if (rule.action == ACTION_CANCEL) {
        rule.any = false;
        rule.states = SESSION_STATE_BIT(SESSION_STATE_ACTIVE);
    }
    rule.states = rule.any ? SESSION_STATES_ANY : rule.states;
    if (rule.action == ACTION_CANCEL && sim_chance(600)) {
        rule.has_then = true;
        rule.grace = SIM_ONE_OF(((const usec_t[]){0, USEC_PER_SEC, 5 * USEC_PER_SEC, 20 * USEC_PER_SEC}));
    }
    if (rule.action == ACTION_TERMINATE && sim_chance(300)) {
        rule.has_usage = true;
        rule.usage = 20 + (int64_t)sim_below(60);
        rule.until = rule.usage - 1 - (int64_t)sim_below(20);
    }
    rule.blocks = sim_chance(120) ? 1 + (int64_t)sim_below(2) : 0;
    return rule;
}

static struct model_quota sim_quota(size_t n_apps) {
    static const usec_t waits[] = {0, 0, 3 * USEC_PER_SEC, 10 * USEC_PER_SEC};
    struct model_quota quota = {
        .per = sim_chance(300) ? 0 : (unsigned)sim_below(1u << N_GROUP_KEYS),
        .match = sim_spec(n_apps, true),
        .ignore = sim_chance(500) ? (struct spec){0} : sim_spec(n_apps, true),
        .max = (int64_t)sim_below(8),
        .is_percent = sim_chance(200),
        .wait = SIM_ONE_OF(waits),
        .evict = {SESSION_STATE_IDLE, SESSION_STATE_IDLE_IN_TRANSACTION},
        .n_evict = 1 + sim_below(2),
        .min_idle = SIM_ONE_OF(waits),
        .victims = (enum victims)sim_below(N_VICTIMS),
        .action = sim_chance(850) ? ACTION_TERMINATE : ACTION_LOG,
        .enforce = sim_chance(800),
    };

    if (sim_chance(300)) {
        quota.evict[0] = SESSION_STATE_ACTIVE;
    }
    quota.max *= quota.is_percent ? 5 : 1;
    return quota;
}

static struct model_alarm sim_alarm(void) {
    static const enum metric metrics[] = {METRIC_USAGE, METRIC_CONNECTIONS, METRIC_IDLE, METRIC_ACTIVE};
    static const usec_t waits[] = {0, 0, 2 * USEC_PER_SEC, 8 * USEC_PER_SEC};
    struct model_alarm alarm = {
        .metric = SIM_ONE_OF(metrics),
        .warning = (int64_t)sim_below(8),
        .critical = -1,
        .wait = SIM_ONE_OF(waits),
        .clear_after = SIM_ONE_OF(waits),
        .match = sim_spec(0, false),
    };

    if (alarm.metric == METRIC_USAGE) {
        alarm.match = (struct spec){0};
        alarm.warning *= 10;
    } else if (sim_chance(500)) {
        alarm.per = GROUP_KEY_BIT(sim_chance(500) ? GROUP_USER : GROUP_DATABASE);
        alarm.per |= sim_chance(300) ? GROUP_KEY_BIT(GROUP_DATABASE) : 0;
    }
    alarm.below = alarm.per == 0 && sim_chance(300);
    if (sim_chance(600)) {
        alarm.critical = alarm.below ? alarm.warning / 2 : alarm.warning + 1 + (int64_t)sim_below(4);
    }
    alarm.warning = alarm.critical >= 0 && sim_chance(200) ? -1 : alarm.warning;
    return alarm;
}

struct model_policy sim_make_policy(void) {
    static const int64_t polls[] = {0, 1, 3, 20, LIMIT_NONE, LIMIT_NONE};
    static const int64_t minutes[] = {0, 2, 10, 60, LIMIT_NONE, LIMIT_NONE};
    struct model_policy policy = {
        .enforce = sim_chance(850),
        .target_enforce = sim_chance(900),
        .n_apps = sim_below(MODEL_MAX_APPS + 1),
        .builtin = sim_chance(800),
        .superusers = sim_chance(800),
        .listeners = sim_chance(800),
        .maintenance = sim_chance(800),
        .min_age = sim_chance(300) ? 0 : 5 * USEC_PER_SEC,
        .n_rules = sim_below(MODEL_MAX_RULES + 1),
        .n_quotas = sim_below(MODEL_MAX_QUOTAS + 1),
        .n_alarms = sim_below(MODEL_MAX_ALARMS + 1),
        .per_poll = SIM_ONE_OF(polls),
        .per_minute = SIM_ONE_OF(minutes),
        .pressure_per_minute = SIM_ONE_OF(minutes),
        .share = sim_chance(600) ? 100 : (int64_t)sim_below(100),
        .rounds = (int64_t)sim_below(3),
        .pause = sim_chance(500) ? 10 * USEC_PER_SEC : USEC_PER_MINUTE,
        .pressure_at = SIM_ONE_OF(((const int64_t[]){0, 30, 60})),
        .poll_interval = sim_chance(500) ? 0 : 5 * USEC_PER_SEC,
        .generation = ++sim.generation,
    };

    for (size_t i = 0; i < policy.n_apps; i++) {
        policy.apps[i] = sim_spec(0, false);
    }
    if (sim_chance(300)) {
        policy.protect = sim_spec(policy.n_apps, true);
    }
    for (size_t i = 0; i < policy.n_rules; i++) {
        policy.rules[i] = sim_rule(policy.n_apps);
    }
    for (size_t i = 0; i < policy.n_quotas; i++) {
        policy.quotas[i] = sim_quota(policy.n_apps);
    }
    for (size_t i = 0; i < policy.n_alarms; i++) {
        policy.alarms[i] = sim_alarm();
    }
    return policy;
}

// The apps stay, and with them most rules.
struct model_policy sim_edit_policy(const struct model_policy *old) {
    struct model_policy policy = *old;

    if (policy.n_rules > 0 && sim_chance(400)) {
        policy.rules[sim_below(policy.n_rules)] = sim_rule(policy.n_apps);
    }
    if (policy.n_quotas > 0 && sim_chance(300)) {
        policy.quotas[sim_below(policy.n_quotas)] = sim_quota(policy.n_apps);
    }
    if (policy.n_alarms > 0 && sim_chance(300)) {
        policy.alarms[sim_below(policy.n_alarms)] = sim_alarm();
    }
    policy.n_rules -= policy.n_rules > 0 && sim_chance(100);
    policy.per_poll = sim_chance(200) ? 5 : policy.per_poll;
    policy.share = sim_chance(200) ? 50 : policy.share;
    policy.enforce = sim_chance(100) ? !policy.enforce : policy.enforce;
    return policy;
}

// --- The same policy for the engine ---------------------------------------------------------------------------------

static struct selector *selector_of(const struct spec *spec) {
    struct selector *selector = spec->kind == SPEC_ABSENT ? NULL : selector_new();
    char text[32];

    // Both ways of naming nobody.
    if (spec->kind != SPEC_ABSENT && (spec->kind != SPEC_NOBODY || spec->users % 2)) {
        sim_must(selector && selector_add_clause(selector) == 0);
    }
    switch (spec->kind) {
    case SPEC_ABSENT:
    case SPEC_NOBODY:
        break;
    case SPEC_USERS:
        for (unsigned i = 0; i < MODEL_N_USERS; i++) {
            (void)snprintf(text, sizeof(text), "u%u", i);
            sim_must(!((spec->users >> i) & 1) || selector_add(selector, SELECTOR_USER, text, NULL) == 0);
        }
        // No user at all is a clause without keys: nobody, as in the model.
        break;
    case SPEC_PREFIX:
        (void)snprintf(text, sizeof(text), "%c*", spec->prefix);
        sim_must(selector_add(selector, SELECTOR_APPLICATION_NAME, text, NULL) == 0);
        break;
    case SPEC_SUPERUSER:
        sim_must(selector_add(selector, SELECTOR_SUPERUSER, spec->superuser ? "true" : "false", NULL) == 0);
        break;
    case SPEC_QUERY:
        break;
    case SPEC_APP:
        (void)snprintf(text, sizeof(text), "app%zu", spec->app);
        sim_must(selector_add(selector, SELECTOR_APP, text, NULL) == 0);
        break;
    }
    for (unsigned bit = 0; bit < 2; bit++) {
        sim_must(!((spec->query >> bit) & 1) || selector_add_query(selector, bit) == 0);
    }
    return selector;
}

static void policy_add_model_quota(struct policy *policy, const struct model_policy *model, size_t i) {
    const struct model_quota *from = &model->quotas[i];
    char name[32];

    (void)snprintf(name, sizeof(name), "q%zug%u", i, model->generation);
    struct quota *quota = policy_add_quota(policy, name);
    sim_must(quota != NULL);
    quota->per = from->per;
    quota->match = selector_of(&from->match);
    quota->ignore = selector_of(&from->ignore);
    quota->max = from->max;
    quota->max_is_percent = from->is_percent;
    quota->for_ = from->wait;
    memcpy(quota->evict, from->evict, sizeof(from->evict));
    quota->n_evict = from->n_evict;
    quota->min_idle = from->min_idle;
    quota->victims = from->victims;
    quota->action = from->action;
    quota->enforce = from->enforce;
}

static void policy_add_model_alarm(struct policy *policy, const struct model_policy *model, size_t i) {
    const struct model_alarm *from = &model->alarms[i];
    char name[32];

    (void)snprintf(name, sizeof(name), MODEL_ALARM_PREFIX "%zug%u", i, model->generation);
    struct alarm *alarm = policy_add_alarm(policy, name);
    sim_must(alarm != NULL);
    alarm->metric = from->metric;
    alarm->per = from->per;
    alarm->below = from->below;
    alarm->has_warning = from->warning >= 0;
    alarm->warning = from->warning;
    alarm->has_critical = from->critical >= 0;
    alarm->critical = from->critical;
    alarm->for_ = from->wait;
    alarm->clear_after = from->clear_after;
    alarm->match = selector_of(&from->match);
}

struct policy *sim_policy_of(const struct model_policy *model) {
    struct policy *policy = policy_new();
    char name[32];

    sim_must(policy != NULL);
    policy->enforce = model->enforce;
    policy->protect.builtin = model->builtin;
    policy->protect.superusers = model->superusers;
    policy->protect.listeners = model->listeners;
    policy->protect.maintenance = model->maintenance;
    policy->protect.min_age = model->min_age;
    for (unsigned bit = 0; bit < 2; bit++) {
        unsigned got;
        char *why = NULL;
        sim_must(policy_add_query(policy, bit ? "/q1/" : "/q0/", &got, &why) == 0 && got == bit);
    }
    policy->protect.match = selector_of(&model->protect);
    policy->limits = (struct limits){.per_poll = model->per_poll,
                                     .per_minute = model->per_minute,
                                     .pressure_per_minute = model->pressure_per_minute,
                                     .share = model->share,
                                     .breaker_rounds = model->rounds,
                                     .breaker_pause = model->pause};
    for (size_t i = 0; i < model->n_apps; i++) {
        (void)snprintf(name, sizeof(name), "app%zu", i);
        struct app *app = policy_add_app(policy, name);
        sim_must(app != NULL);
        app->match = selector_of(&model->apps[i]);
    }
    for (size_t i = 0; i < model->n_rules; i++) {
        const struct model_rule *rule = &model->rules[i];
        (void)snprintf(name, sizeof(name), "r%zug%u", i, model->generation);
        struct timeout *timeout = policy_add_timeout(policy, name);
        sim_must(timeout != NULL);
        timeout->state = rule->any ? 0 : rule->states;
        timeout->any = rule->any;
        timeout->has_since = rule->has_since;
        timeout->since = rule->since;
        timeout->after = rule->after;
        timeout->match = selector_of(&rule->match);
        timeout->ignore = selector_of(&rule->ignore);
        timeout->keep = rule->keep;
        timeout->action = rule->action;
        timeout->has_then = rule->has_then;
        timeout->grace = rule->grace;
        timeout->when = (struct when){rule->has_usage, rule->usage, rule->until, rule->blocks};
        timeout->enforce = rule->enforce;
    }
    for (size_t i = 0; i < model->n_quotas; i++) {
        policy_add_model_quota(policy, model, i);
    }
    for (size_t i = 0; i < model->n_alarms; i++) {
        policy_add_model_alarm(policy, model, i);
    }
    return policy;
}
