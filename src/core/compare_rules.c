// SPDX-License-Identifier: PostgreSQL
//
// Rules and apps against the sessions that are there, and against what is protected.
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "compare_impl.h"
#include "util/macro.h"

// ---- what can never be ended, as far as the file tells

struct protections {
    struct selector *builtin;
    struct selector *superusers;
    const struct selector *all[3];
    size_t n;
};

static void protections_deinit(struct protections *protections) {
    protections->builtin = selector_free(protections->builtin);
    protections->superusers = selector_free(protections->superusers);
}

// Of texts that are good: they were compiled before.
static int protections_add(struct selector *selector, enum selector_key key, const char *text) {
    CLEANUP(freep) char *why = NULL;
    return selector_add(selector, key, text, &why);
}

static int protections_add_builtin(struct protections *protections, const struct protect *protect) {
    int r = 0;

    protections->builtin = selector_new();
    if (!protections->builtin) {
        return -ENOMEM;
    }
    for (size_t i = 0; r == 0 && protect_builtin_names[i]; i++) {
        r = selector_add_clause(protections->builtin);
        if (r == 0) {
            r = protections_add(protections->builtin, SELECTOR_APPLICATION_NAME, protect_builtin_names[i]);
        }
        if (r == 0 && protect->builtin_user[i]) {
            r = protections_add(protections->builtin, SELECTOR_USER, pattern_text(protect->builtin_user[i]));
        }
    }
    protections->all[protections->n++] = protections->builtin;
    return r;
}

static int protections_init(struct protections *protections, const struct protect *protect) {
    int r = 0;

    if (protect->match) {
        protections->all[protections->n++] = protect->match;
    }
    if (protect->superusers) {
        protections->superusers = selector_new();
        r = protections->superusers ? selector_add_clause(protections->superusers) : -ENOMEM;
        if (r == 0) {
            r = protections_add(protections->superusers, SELECTOR_SUPERUSER, "true");
        }
        protections->all[protections->n++] = protections->superusers;
    }
    return r == 0 && protect->builtin ? protections_add_builtin(protections, protect) : r;
}

// ---- rules

static const struct selector *compare_match(const struct compare *compare, size_t rule,
                                            const struct selector **ret_ignore) {
    const struct policy *policy = compare->policy;

    if (rule < policy->n_timeouts) {
        *ret_ignore = policy->timeouts[rule].ignore;
        return policy->timeouts[rule].match;
    }
    *ret_ignore = policy->quotas[rule - policy->n_timeouts].ignore;
    return policy->quotas[rule - policy->n_timeouts].match;
}

// A quota that only reports counts protected sessions as well.
static bool compare_minds_protection(const struct compare *compare, size_t rule) {
    const struct policy *policy = compare->policy;
    return rule < policy->n_timeouts || policy->quotas[rule - policy->n_timeouts].action != ACTION_LOG;
}

// 1: said; 0: there is nothing to say; or -ENOMEM.
static int compare_say_written(struct compare *compare, size_t rule, const struct protections *protections) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf hint = STRBUF_EMPTY;
    const struct selector *ignore;
    const struct selector *match = compare_match(compare, rule, &ignore);
    int r = ignore ? policy_is_within(compare->policy, match, &ignore, 1) : 0;

    if (r > 0) {
        strbuf_add(&detail, "`ignore` takes away everybody whom `match` names: the rule can never cover a session");
        strbuf_add(&hint, "narrow `ignore`, or remove the rule");
    } else if (r == 0 && compare_minds_protection(compare, rule)) {
        r = policy_is_within(compare->policy, match, protections->all, protections->n);
        if (r > 0) {
            strbuf_add(&detail, "everybody whom it matches is protected: the rule can never end a session");
            strbuf_add(&hint, "take them out of `protect` (match, superusers, builtin), or remove the rule");
        }
    }
    if (r <= 0) {
        return r;
    }
    r = compare_say(compare, EVENT_WARNING, "protected", compare_place(compare, rule, "match"), &detail, &hint);
    return r < 0 ? r : 1;
}

static int compare_say_nobody(struct compare *compare, size_t rule) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf hint = STRBUF_EMPTY;

    strbuf_add(&detail, "covers no session that is there now");
    strbuf_add(&hint, "compare it with what `pgvigil report` shows while its clients are connected");
    return compare_say(compare, EVENT_NOTICE, "covers_nobody", compare_place(compare, rule, "match"), &detail, &hint);
}

static int compare_say_protected(struct compare *compare, size_t rule) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf hint = STRBUF_EMPTY;
    const struct population *population = &compare->rules[rule];

    strbuf_add(&detail, population->n == 1 ? "the " : "all ");
    compare_add_count(&detail, population->n, "session");
    strbuf_addf(&detail, " that it covers now %s protected", population->n == 1 ? "is" : "are");
    if (population->superuser) {
        strbuf_addf(&detail, " (%" PRId64 " of superusers, such as %s)", population->n_superuser,
                    population->superuser->origin->key.user);
        strbuf_add(&hint, "give the application a role that is no superuser (protect.superusers leaves those alone)");
    } else if (population->n_protected_name > 0) {
        strbuf_addf(&detail, " (%" PRId64 " by name or protect.match)", population->n_protected_name);
        strbuf_add(&hint, "narrow protect.match, or bind built-in names to users by protect.builtin");
    } else {
        strbuf_add(&hint, "see protect.listeners and protect.maintenance");
    }
    return compare_say(compare, EVENT_WARNING, "protected", compare_place(compare, rule, "match"), &detail, &hint);
}

// Sessions of superusers that it would hit, and cannot.
static int compare_say_superusers(struct compare *compare, size_t rule) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf hint = STRBUF_EMPTY;
    const struct population *population = &compare->rules[rule];
    bool is_protected = compare->policy->protect.superusers;

    if (population->n_superuser == 0 || (!is_protected && compare->we_are_superuser)) {
        return 0;
    }
    strbuf_addf(&detail, "%" PRId64 " of the ", population->n_superuser);
    compare_add_count(&detail, population->n, "session");
    strbuf_addf(&detail, " that it covers now %s a superuser, such as %s: ",
                population->n_superuser == 1 ? "belongs to" : "belong to", population->superuser->origin->key.user);
    strbuf_add(&detail, is_protected ? "protect.superusers leaves those alone"
                                     : "the server lets only superusers end those (SQLSTATE 42501)");
    strbuf_add(&hint, "give applications roles that are no superusers, or write ignore: { superuser: true }");
    return compare_say(compare, is_protected ? EVENT_NOTICE : EVENT_WARNING, "superuser_sessions",
                       compare_place(compare, rule, NULL), &detail, &hint);
}

static int compare_rule(struct compare *compare, size_t rule, const struct protections *protections) {
    const struct population *population = &compare->rules[rule];
    int r = compare_say_written(compare, rule, protections);

    if (r != 0) {
        return MIN(r, 0);
    }
    if (population->n == 0) {
        return compare_say_nobody(compare, rule);
    }
    if (population->n_protected == population->n && compare_minds_protection(compare, rule)) {
        return compare_say_protected(compare, rule);
    }
    return compare_minds_protection(compare, rule) ? compare_say_superusers(compare, rule) : 0;
}

int compare_rules(struct compare *compare) {
    CLEANUP(protections_deinit) struct protections protections = {0};
    int r = protections_init(&protections, &compare->policy->protect);

    for (size_t i = 0; r == 0 && i < engine_n_rules(compare->engine); i++) {
        r = compare_rule(compare, i, &protections);
    }
    return r;
}

// ---- apps

static struct selector_subject compare_subject(const struct compare *compare, const struct origin *origin) {
    return (struct selector_subject){
        .user = origin->key.user,
        .database = origin->key.database,
        .application_name = origin->key.application_name,
        .client = origin->key.client,
        .target = compare->engine->target,
        .superuser = origin->key.superuser,
    };
}

// Sessions that its match names, whoever claims them; *ret_claims is one of the apps that come first.
static int compare_named(const struct compare *compare, size_t app, int64_t *ret_n, const char **ret_claims) {
    const struct policy *policy = compare->policy;

    *ret_n = 0;
    *ret_claims = NULL;
    for (const struct origin *origin = compare->snapshot->origins.origins; origin; origin = origin->hh.next) {
        const struct selector_subject subject = compare_subject(compare, origin);
        int r = origin->own ? 0 : selector_matches(policy->apps[app].match, &subject);
        if (r < 0) {
            return r;
        }
        if (r > 0 && origin->group->key.app >= 0) {
            *ret_n += (int64_t)origin->n_sessions;
            *ret_claims = policy->apps[origin->group->key.app].name;
        }
    }
    return 0;
}

int compare_apps(struct compare *compare) {
    for (size_t i = 0; i < compare->policy->n_apps; i++) {
        CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
        CLEANUP(strbuf_deinit) struct strbuf hint = STRBUF_EMPTY;
        const char *claims = NULL;
        int64_t n = 0;
        if (compare->apps[i].n > 0) {
            continue;
        }
        int r = compare_named(compare, i, &n, &claims);
        if (r < 0) {
            return r;
        }
        if (claims) {
            strbuf_add(&detail, n == 1 ? "the " : "all ");
            compare_add_count(&detail, n, "session");
            strbuf_addf(&detail, " that it matches now %s claimed by apps before it, such as %s", n == 1 ? "is" : "are",
                        claims);
            strbuf_addf(&hint, "the first match wins: put it before %s, or narrow %s", claims, claims);
        } else {
            strbuf_add(&detail, "matches no session that is there now");
            strbuf_add(&hint, "compare it with what `pgvigil report` shows while its clients are connected");
        }
        r = compare_say(compare, claims ? EVENT_WARNING : EVENT_NOTICE, "covers_nobody",
                        (struct place){"apps", compare->policy->apps[i].name, "match"}, &detail, &hint);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

// ---- alarms

// 1: it measures a session that is there; 0: none; or -ENOMEM.
static int compare_measures(const struct compare *compare, const struct alarm *alarm) {
    for (const struct session *session = compare->snapshot->sessions; session; session = session->hh.next) {
        const struct origin *origin = session->origin;
        struct selector_subject subject = compare_subject(compare, origin);
        subject.app = origin->group->key.app >= 0 ? compare->policy->apps[origin->group->key.app].name : NULL;
        subject.query_matches = session->query_matches;
        int r = selector_matches(alarm->match, &subject);
        int ignored = r > 0 ? selector_matches(alarm->ignore, &subject) : 0;
        if (r < 0 || ignored < 0) {
            return MIN(r, ignored);
        }
        if (r > 0 && !ignored) {
            return 1;
        }
    }
    return 0;
}

int compare_alarms(struct compare *compare) {
    for (size_t i = 0; i < compare->policy->n_alarms; i++) {
        CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
        CLEANUP(strbuf_deinit) struct strbuf hint = STRBUF_EMPTY;
        const struct alarm *alarm = &compare->policy->alarms[i];
        int r = alarm->match ? compare_measures(compare, alarm) : 1;
        if (r == 0) {
            strbuf_add(&detail, "measures no session that is there now");
            strbuf_add(&hint, "compare it with what `pgvigil report` shows while its clients are connected");
            r = compare_say(compare, EVENT_NOTICE, "covers_nobody", (struct place){"alarms", alarm->name, "match"},
                            &detail, &hint);
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}
