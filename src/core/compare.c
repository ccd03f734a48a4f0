// SPDX-License-Identifier: PostgreSQL
#include "compare_impl.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "util/array.h"
#include "util/macro.h"

#define SERVER_TIMEOUT_MAX (INT32_MAX * USEC_PER_MSEC) // what the settings take

static const char *const server_timeout_names[] = {
    [SERVER_TIMEOUT_IDLE] = "idle_session_timeout",
    [SERVER_TIMEOUT_IDLE_IN_TRANSACTION] = "idle_in_transaction_session_timeout",
    [SERVER_TIMEOUT_TRANSACTION] = "transaction_timeout",
    [SERVER_TIMEOUT_STATEMENT] = "statement_timeout",
};
static_assert(ARRAY_SIZE(server_timeout_names) == N_SERVER_TIMEOUTS, "one name for each timeout");

const char *server_timeout_to_string(enum server_timeout which) {
    return server_timeout_names[which];
}

bool server_timeout_from_string(const char *s, enum server_timeout *ret) {
    for (unsigned i = 0; i < N_SERVER_TIMEOUTS; i++) {
        if (strcmp(s, server_timeout_names[i]) == 0) {
            *ret = (enum server_timeout)i;
            return true;
        }
    }
    return false;
}

// As the server's guc.c reads it: a decimal number, white space, a unit; milliseconds without one. Hexadecimal and
// octal numbers are legal there as well, and nobody's.
bool server_timeout_parse(const char *text, usec_t *ret) {
    static const struct {
        const char *name;
        usec_t unit;
    } units[] = {
        {"", USEC_PER_MSEC},  {"us", 1},           {"ms", USEC_PER_MSEC}, {"s", USEC_PER_SEC}, {"min", USEC_PER_MINUTE},
        {"h", USEC_PER_HOUR}, {"d", USEC_PER_DAY},
    };
    usec_t whole = 0, part = 0, scale = 1;
    const char *s = text;

    for (; *s >= '0' && *s <= '9' && whole <= INT32_MAX; s++) {
        whole = whole * 10 + (usec_t)(*s - '0');
    }
    if (s == text) {
        return false;
    }
    for (s += *s == '.'; *s >= '0' && *s <= '9'; s++) {
        if (scale < USEC_PER_SEC) {
            scale *= 10;
            part = part * 10 + (usec_t)(*s - '0');
        }
    }
    s += strspn(s, " \t");
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        size_t len = strlen(units[i].name);
        usec_t unit = units[i].unit;
        if (strncmp(s, units[i].name, len) == 0 && s[len + strspn(s + len, " \t")] == '\0') {
            if (whole > SERVER_TIMEOUT_MAX / unit) {
                return false;
            }
            *ret = whole * unit + part * unit / scale;
            return true;
        }
    }
    return false;
}

void comparison_deinit(struct comparison *comparison) {
    for (size_t i = 0; i < comparison->n_texts; i++) {
        free(comparison->texts[i]);
    }
    free(comparison->texts);
    free(comparison->remarks);
    free(comparison->rules);
    free(comparison->apps);
    *comparison = (struct comparison){0};
}

struct place compare_place(const struct compare *compare, size_t rule, const char *key) {
    const struct policy *policy = compare->policy;

    if (rule < policy->n_timeouts) {
        return (struct place){"timeouts", policy->timeouts[rule].name, key};
    }
    return (struct place){"quotas", policy->quotas[rule - policy->n_timeouts].name, key};
}

static int compare_keep(struct comparison *out, struct strbuf *text, const char **ret) {
    int r = ARRAY_RESERVE(out->texts, out->texts_capacity, out->n_texts);
    if (r < 0) {
        return r;
    }
    char *taken = strbuf_take(text);
    if (!taken) {
        return -ENOMEM;
    }
    *ret = out->texts[out->n_texts++] = taken;
    return 0;
}

int compare_say(struct compare *compare, enum event_level level, const char *reason, struct place place,
                struct strbuf *detail, struct strbuf *hint) {
    struct comparison *out = compare->out;
    struct remark remark = {
        .level = level, .reason = reason, .section = place.section, .name = place.name, .key = place.key};

    if (out->n_remarks == COMPARE_MAX_REMARKS) {
        out->n_dropped++;
        strbuf_clear(detail);
        strbuf_clear(hint);
        return 0;
    }
    int r = ARRAY_RESERVE(out->remarks, out->capacity, out->n_remarks);
    if (r == 0) {
        r = compare_keep(out, detail, &remark.detail);
    }
    if (r == 0 && (hint->len > 0 || hint->failed)) {
        r = compare_keep(out, hint, &remark.hint);
    }
    if (r == 0) {
        out->remarks[out->n_remarks++] = remark;
    }
    return r;
}

void compare_add_count(struct strbuf *sb, int64_t n, const char *what) {
    strbuf_addf(sb, "%" PRId64 " %s%s", n, what, n == 1 ? "" : "s");
}

bool compare_is_own(const struct compare *compare, const struct session *session) {
    return session->origin->own || session->id.id == compare->snapshot->facts.own_pid;
}

int compare_covers(const struct compare *compare, const struct session *session, size_t rule) {
    return origin_covers(&compare->snapshot->origins, session->origin, rule, session->query_matches);
}

// ---- of whom the sessions are

static bool compare_names_state(const struct compare *compare, size_t rule, enum session_state state) {
    const struct policy *policy = compare->policy;

    if (rule < policy->n_timeouts) {
        return policy->timeouts[rule].state & SESSION_STATE_BIT(state);
    }
    const struct quota *quota = &policy->quotas[rule - policy->n_timeouts];
    for (size_t i = 0; i < quota->n_evict; i++) {
        if (quota->evict[i] == state) {
            return true;
        }
    }
    return false;
}

static void population_add(const struct compare *compare, struct population *population,
                           const struct session *session) {
    const struct origin_key *key = &session->origin->key;
    bool is_protected = guard_is_protected_for_good(compare->snapshot, &compare->policy->protect, session);

    population->mixes_users |= population->one_user && population->one_user->origin->key.user != key->user;
    population->mixes_databases |=
        population->one_database && population->one_database->origin->key.database != key->database;
    population->one_user = session;
    population->one_database = session;
    population->n++;
    population->n_protected += is_protected;
    population->n_protected_name +=
        is_protected && origin_protects(&compare->snapshot->origins, session->origin, session->query_matches);
}

static void population_finish(struct population *population) {
    population->one_user = population->mixes_users ? NULL : population->one_user;
    population->one_database = population->mixes_databases ? NULL : population->one_database;
}

static int compare_count(struct compare *compare) {
    size_t n_rules = engine_n_rules(compare->engine);

    for (const struct session *session = compare->snapshot->sessions; session; session = session->hh.next) {
        const struct origin *origin = session->origin;
        if (session->id.id == compare->snapshot->facts.own_pid) {
            compare->own_user = origin->key.user;
            compare->own_database = origin->key.database;
            compare->we_are_superuser = origin->key.superuser;
        }
        if (compare_is_own(compare, session)) {
            continue;
        }
        if (origin->group->key.app >= 0) {
            population_add(compare, &compare->apps[origin->group->key.app], session);
        }
        for (size_t i = 0; i < n_rules; i++) {
            int r = compare_covers(compare, session, i);
            if (r < 0) {
                return r;
            }
            if (r == 0) {
                continue;
            }
            population_add(compare, &compare->rules[i], session);
            if (origin->key.superuser && compare_names_state(compare, i, session->state)) {
                compare->rules[i].n_superuser++;
                compare->rules[i].superuser = session;
            }
        }
    }
    for (size_t i = 0; i < n_rules; i++) {
        population_finish(&compare->rules[i]);
    }
    for (size_t i = 0; i < compare->policy->n_apps; i++) {
        population_finish(&compare->apps[i]);
    }
    return 0;
}

// ---- the tables

static int compare_list_rules(struct compare *compare) {
    CLEANUP(engine_freep) struct engine *rehearsed = NULL;
    struct comparison *out = compare->out;
    const struct policy *policy = compare->policy;
    int r = engine_rehearse(compare->engine, compare->snapshot->origins.policy, &rehearsed);

    for (size_t i = 0; r == 0 && i < engine_n_rules(compare->engine); i++) {
        out->rules[out->n_rules++] = (struct compare_rule){
            .name = compare_place(compare, i, NULL).name,
            .is_quota = i >= policy->n_timeouts,
            .n_covered = compare->rules[i].n,
            .n_protected = compare->rules[i].n_protected,
            .n_over = rehearsed->rules[i].counts.n_matches,
            .n_ends = rehearsed->rules[i].counts.n_decided,
        };
    }
    return r;
}

static void compare_list_apps(struct compare *compare) {
    struct comparison *out = compare->out;

    for (size_t i = 0; i < compare->policy->n_apps; i++) {
        const struct app *app = &compare->policy->apps[i];
        int64_t pool = MAX(app->pool, 0);
        bool is_here = compare->is_only || compare->apps[i].n > 0; // nothing else says on which server an app lives
        out->apps[out->n_apps] = (struct compare_app){
            .name = app->name,
            .pool = app->pool,
            .n_sessions = compare->apps[i].n,
            .counts = app->pool >= 0 && is_here,
        };
        out->pools += is_here ? pool : 0;
        out->pools_left_out += is_here ? 0 : pool;
        out->n_apps++;
    }
}

static int compare_pools(struct compare *compare) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf hint = STRBUF_EMPTY;
    const struct comparison *out = compare->out;
    int64_t beyond = out->pools - out->usable;

    if (beyond <= 0) {
        return 0;
    }
    strbuf_addf(&detail,
                "the pools of the apps%s sum up to %" PRId64 ", %" PRId64 " more than the %" PRId64
                " usable slots: when all are full, somebody is refused",
                compare->is_only ? "" : " that have sessions here", out->pools, beyond, out->usable);
    strbuf_addf(&hint,
                "make pools smaller by %" PRId64 " in all, or ALTER SYSTEM SET max_connections = %" PRId64
                " and restart the server",
                beyond, compare->snapshot->facts.max_connections + beyond);
    return compare_say(compare, EVENT_WARNING, "pools", (struct place){"apps", NULL, NULL}, &detail, &hint);
}

static int compare_run(struct compare *compare) {
    int r = compare_count(compare);

    if (r == 0) {
        r = compare_list_rules(compare);
    }
    if (r == 0) {
        compare_list_apps(compare);
        r = compare_pools(compare);
    }
    static int (*const parts[])(struct compare * compare) = {
        compare_rules,  compare_apps,      compare_alarms,     compare_timeouts,
        compare_limits, compare_watchdogs, compare_collations,
    };
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(parts); i++) {
        r = parts[i](compare);
    }
    return r;
}

int engine_compare(const struct engine *engine, const struct server_survey *survey, bool is_only,
                   struct comparison *ret) {
    CLEANUP(comparison_deinit) struct comparison out = {0};
    const struct policy *policy = engine_policy(engine);
    size_t n_rules = engine_n_rules(engine);
    CLEANUP(freep) struct population *rules = calloc(n_rules + 1, sizeof(*rules));
    CLEANUP(freep) struct population *apps = calloc(policy->n_apps + 1, sizeof(*apps));
    struct compare compare = {
        .engine = engine,
        .snapshot = &engine->snapshot,
        .policy = policy,
        .survey = survey,
        .is_only = is_only,
        .rules = rules,
        .apps = apps,
        .out = &out,
    };

    if (!engine->snapshot.complete) {
        return -EAGAIN;
    }
    out.rules = calloc(n_rules + 1, sizeof(*out.rules));
    out.apps = calloc(policy->n_apps + 1, sizeof(*out.apps));
    if (!rules || !apps || !out.rules || !out.apps) {
        return -ENOMEM;
    }
    out.used = (int64_t)snapshot_n_sessions(&engine->snapshot);
    out.usable = server_facts_usable(&engine->snapshot.facts);
    int r = compare_run(&compare);
    if (r == 0) {
        *ret = out;
        out = (struct comparison){0};
    }
    return r;
}
