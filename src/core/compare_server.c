// SPDX-License-Identifier: PostgreSQL
//
// What the server itself limits, and who else watches it.
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "compare_impl.h"
#include "util/macro.h"

#define COMPARE_MAX_LIMITS 50 // roles, and databases, told of
#define COMPARE_MAX_NAMED 5   // watchdogs that one remark names

// ---- timeouts

// What the server ends, in words that follow "ends".
static const char *const timeout_words[] = {
    [SERVER_TIMEOUT_IDLE] = "sessions that are idle",
    [SERVER_TIMEOUT_IDLE_IN_TRANSACTION] = "sessions that are idle in a transaction",
    [SERVER_TIMEOUT_TRANSACTION] = "transactions",
    [SERVER_TIMEOUT_STATEMENT] = "statements",
};
static_assert(ARRAY_SIZE(timeout_words) == N_SERVER_TIMEOUTS, "words for each timeout");

// Whether what the rule measures for a session in that state can never grow beyond the server's timeout.
static bool timeout_is_bounded_by(const struct timeout *timeout, enum session_state state, enum server_timeout which) {
    enum session_time time = timeout_time(timeout, state);
    bool is_idle = state == SESSION_STATE_IDLE;
    bool is_open = state == SESSION_STATE_IDLE_IN_TRANSACTION || state == SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED;

    switch (which) {
    case SERVER_TIMEOUT_IDLE:
        return is_idle && time == SESSION_TIME_STATE_CHANGE;
    case SERVER_TIMEOUT_IDLE_IN_TRANSACTION:
        return is_open && time == SESSION_TIME_STATE_CHANGE;
    case SERVER_TIMEOUT_TRANSACTION:
        return !is_idle && time != SESSION_TIME_BACKEND_START;
    case SERVER_TIMEOUT_STATEMENT:
        return !is_idle && !is_open && time == SESSION_TIME_QUERY_START;
    case N_SERVER_TIMEOUTS_:
        break;
    }
    return false;
}

static bool timeout_is_preempted(const struct timeout *timeout, const struct server_setting *setting) {
    for (unsigned state = 0; state < N_SESSION_STATES; state++) {
        if ((timeout->state & SESSION_STATE_BIT(state)) && setting->value > 0 && setting->value <= timeout->after &&
            timeout_is_bounded_by(timeout, (enum session_state)state, setting->which)) {
            return true;
        }
    }
    return false;
}

static bool setting_applies(const struct server_setting *setting, const struct origin_key *key) {
    return (!setting->user || strcmp(setting->user, key->user) == 0) &&
           (!setting->database || strcmp(setting->database, key->database) == 0);
}

// The more a setting says of whom it means, the more it counts: a role in a database, the role, the database, all.
static int setting_rank(const struct server_setting *setting) {
    return setting->is_global ? -1 : 2 * (setting->user != NULL) + (setting->database != NULL);
}

// The one that new sessions of that origin begin with; SIZE_MAX: not known. A client may set its own.
static size_t compare_effective(const struct compare *compare, enum server_timeout which,
                                const struct origin_key *key) {
    const struct server_survey *survey = compare->survey;
    size_t best = SIZE_MAX;

    for (size_t i = 0; i < survey->n_settings; i++) {
        const struct server_setting *setting = &survey->settings[i];
        if (setting->which == which && setting_applies(setting, key) &&
            (best == SIZE_MAX || setting_rank(setting) > setting_rank(&survey->settings[best]))) {
            best = i;
        }
    }
    return best;
}

// "ALTER ROLE worker IN DATABASE app", "ALTER SYSTEM".
static void compare_add_command(struct strbuf *sb, const struct server_setting *setting) {
    if (setting->is_global) {
        strbuf_add(sb, "ALTER SYSTEM");
    } else if (!setting->user && setting->database) {
        strbuf_addf(sb, "ALTER DATABASE %s", setting->database_quoted);
    } else {
        strbuf_addf(sb, "ALTER ROLE %s", setting->user ? setting->user_quoted : "ALL");
        if (setting->database) {
            strbuf_addf(sb, " IN DATABASE %s", setting->database_quoted);
        }
    }
}

static int compare_say_timeout(struct compare *compare, size_t rule, const struct server_setting *setting, int64_t n) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf hint = STRBUF_EMPTY;
    const struct timeout *timeout = &compare->policy->timeouts[rule];
    const char *name = server_timeout_to_string(setting->which);

    strbuf_addf(&detail, "the server's own %s ends %s after ", name, timeout_words[setting->which]);
    usec_render_exact(&detail, setting->value);
    strbuf_add(&detail, ": this rule, after ");
    usec_render_exact(&detail, timeout->after);
    strbuf_add(&detail, ", comes too late");
    if (n > 0) {
        strbuf_addf(&detail, " for %" PRId64 " of the ", n);
        compare_add_count(&detail, compare->rules[rule].n, "session");
        strbuf_add(&detail, " that it covers now");
    }
    if (!setting->is_global) {
        strbuf_add(&detail, " (");
        compare_add_command(&detail, setting);
        strbuf_add(&detail, ")");
    }
    strbuf_add(&hint, "write less than ");
    usec_render_exact(&hint, setting->value);
    strbuf_add(&hint, ", or ");
    compare_add_command(&hint, setting);
    strbuf_addf(&hint, " SET %s = 0%s", name, setting->is_global ? " and SELECT pg_reload_conf()" : "");
    return compare_say(compare, EVENT_WARNING, "server_timeout", compare_place(compare, rule, "after"), &detail, &hint);
}

static int compare_count_settings(const struct compare *compare, size_t rule, int64_t *n) {
    for (const struct session *session = compare->snapshot->sessions; session; session = session->hh.next) {
        int r = compare_is_own(compare, session) ? 0 : compare_covers(compare, session, rule);
        if (r < 0) {
            return r;
        }
        for (unsigned which = 0; r > 0 && which < N_SERVER_TIMEOUTS; which++) {
            size_t i = compare_effective(compare, (enum server_timeout)which, &session->origin->key);
            if (i != SIZE_MAX) {
                n[i]++;
            }
        }
    }
    return 0;
}

int compare_timeouts(struct compare *compare) {
    const struct server_survey *survey = compare->survey;
    CLEANUP(freep) int64_t *n = calloc(survey->n_settings + 1, sizeof(*n));
    int r = n ? 0 : -ENOMEM;

    for (size_t rule = 0; r == 0 && rule < compare->policy->n_timeouts; rule++) {
        memset(n, 0, (survey->n_settings + 1) * sizeof(*n));
        r = compare_count_settings(compare, rule, n);
        for (size_t i = 0; r == 0 && i < survey->n_settings; i++) {
            const struct server_setting *setting = &survey->settings[i];
            // Of a rule that covers nobody now only what holds for everybody can be told.
            bool concerns = n[i] > 0 || (setting->is_global && compare->rules[rule].n == 0);
            if (concerns && timeout_is_preempted(&compare->policy->timeouts[rule], setting)) {
                r = compare_say_timeout(compare, rule, setting, n[i]);
            }
        }
    }
    return r;
}

// ---- CONNECTION LIMIT

struct limited {
    const char *name; // interned
    bool is_role;
    int64_t limit;
    int64_t n;
};

static void limited_add(struct limited *list, size_t *n, const char *name, bool is_role, int64_t limit) {
    size_t at = 0;

    while (at < *n && (list[at].name != name || list[at].is_role != is_role)) {
        at++;
    }
    if (at == *n) {
        if (*n == COMPARE_MAX_LIMITS) {
            return;
        }
        list[(*n)++] = (struct limited){.name = name, .is_role = is_role, .limit = limit};
    }
    list[at].n++;
}

static void compare_add_limited(struct strbuf *sb, const struct limited *limited) {
    strbuf_addf(sb, "%s %s ", limited->is_role ? "role" : "database", limited->name);
    strbuf_addf(sb, "%s %" PRId64 " connections (CONNECTION LIMIT)", limited->is_role ? "may hold" : "takes",
                limited->limit);
}

static void compare_add_limit_hint(struct strbuf *sb, const struct limited *limited, int64_t wanted) {
    strbuf_addf(sb, "ALTER %s \"", limited->is_role ? "ROLE" : "DATABASE");
    for (const char *s = limited->name; *s != '\0'; s++) {
        strbuf_add(sb, *s == '"' ? "\"" : "");
        strbuf_add_char(sb, *s);
    }
    strbuf_addf(sb, "\" CONNECTION LIMIT %" PRId64, wanted);
}

static bool population_is_of(const struct population *population, const struct limited *limited) {
    const struct session *one = limited->is_role ? population->one_user : population->one_database;
    return one && (limited->is_role ? one->origin->key.user : one->origin->key.database) == limited->name;
}

static int compare_limit_of_quotas(struct compare *compare, const struct limited *limited) {
    const struct policy *policy = compare->policy;
    int r = 0;

    for (size_t i = 0; r == 0 && i < policy->n_quotas; i++) {
        CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
        CLEANUP(strbuf_deinit) struct strbuf hint = STRBUF_EMPTY;
        size_t rule = policy->n_timeouts + i;
        int64_t allowed = quota_allowed(&policy->quotas[i], &compare->snapshot->facts);
        if (allowed < limited->limit || !population_is_of(&compare->rules[rule], limited)) {
            continue;
        }
        strbuf_addf(&detail, "never bites at %" PRId64 ": all that it covers now is of ", allowed);
        compare_add_limited(&detail, limited);
        strbuf_addf(&hint, "write less than %" PRId64 ", or ", limited->limit);
        compare_add_limit_hint(&hint, limited, -1);
        r = compare_say(compare, EVENT_WARNING, "connection_limit", compare_place(compare, rule, "max"), &detail,
                        &hint);
    }
    return r;
}

static int compare_limit_of_pools(struct compare *compare, const struct limited *limited) {
    const struct policy *policy = compare->policy;
    int r = 0;

    for (size_t i = 0; r == 0 && i < policy->n_apps; i++) {
        CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
        CLEANUP(strbuf_deinit) struct strbuf hint = STRBUF_EMPTY;
        if (policy->apps[i].pool <= limited->limit || !population_is_of(&compare->apps[i], limited)) {
            continue;
        }
        strbuf_addf(&detail, "the pool of %" PRId64 " is larger than what ", policy->apps[i].pool);
        compare_add_limited(&detail, limited);
        compare_add_limit_hint(&hint, limited, policy->apps[i].pool);
        strbuf_add(&hint, ", or make the pool smaller");
        r = compare_say(compare, EVENT_WARNING, "connection_limit",
                        (struct place){"apps", policy->apps[i].name, "pool"}, &detail, &hint);
    }
    return r;
}

static int compare_limit(struct compare *compare, const struct limited *limited) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf hint = STRBUF_EMPTY;
    const char *own = limited->is_role ? compare->own_user : compare->own_database;
    int r = 0;

    // The self-check has told of our own role and database.
    if (limited->name != own) {
        compare_add_limited(&detail, limited);
        strbuf_addf(&detail,
                    ", %" PRId64 " %s in use: beyond them its clients are refused on a server that is not full",
                    limited->n, limited->n == 1 ? "is" : "are");
        strbuf_addf(&hint, "watch it by an alarm with metric: %s, or ",
                    metric_to_string(limited->is_role ? METRIC_ROLE_LIMIT : METRIC_DATABASE_LIMIT));
        compare_add_limit_hint(&hint, limited, -1);
        r = compare_say(compare, EVENT_NOTICE, "connection_limit", (struct place){0}, &detail, &hint);
    }
    if (r == 0) {
        r = compare_limit_of_pools(compare, limited);
    }
    return r == 0 ? compare_limit_of_quotas(compare, limited) : r;
}

int compare_limits(struct compare *compare) {
    struct limited roles[COMPARE_MAX_LIMITS], databases[COMPARE_MAX_LIMITS];
    size_t n_roles = 0, n_databases = 0;
    int r = 0;

    for (const struct session *session = compare->snapshot->sessions; session; session = session->hh.next) {
        const struct origin_key *key = &session->origin->key;
        // Limits do not bind superusers.
        if (session->user_limit >= 0 && !key->superuser) {
            limited_add(roles, &n_roles, key->user, true, session->user_limit);
        }
        if (session->database_limit >= 0) {
            limited_add(databases, &n_databases, key->database, false, session->database_limit);
        }
    }
    for (size_t i = 0; r == 0 && i < n_roles; i++) {
        r = compare_limit(compare, &roles[i]);
    }
    for (size_t i = 0; r == 0 && i < n_databases; i++) {
        r = compare_limit(compare, &databases[i]);
    }
    return r;
}

// ---- several watchdogs

static void compare_add_watchdog(struct strbuf *sb, const struct server_watchdog *watchdog) {
    strbuf_addf(sb, "pid %" PRId64 " of role %s from ", watchdog->pid, watchdog->user);
    address_render(sb, &watchdog->client);
    strbuf_add(sb, watchdog->holds_lock ? ", which holds the lock of the one that acts" : "");
}

static int compare_say_watchdogs(struct compare *compare, const bool *named, size_t n, const char *what,
                                 const char *mends) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf hint = STRBUF_EMPTY;
    size_t n_named = 0;

    if (n == 0) {
        return 0;
    }
    strbuf_add(&detail, what);
    for (size_t i = 0; i < compare->survey->n_watchdogs; i++) {
        if (named[i] && n_named++ < COMPARE_MAX_NAMED) {
            strbuf_add(&detail, n_named == 1 ? ": " : "; ");
            compare_add_watchdog(&detail, &compare->survey->watchdogs[i]);
        }
    }
    strbuf_add(&detail, n > COMPARE_MAX_NAMED ? "; ..." : "");
    strbuf_add(&hint, mends);
    return compare_say(compare, EVENT_WARNING, "watchdogs", (struct place){0}, &detail, &hint);
}

// One that runs as our role from where we are is the daemon that this file is for, most likely; nothing to tell.
int compare_watchdogs(struct compare *compare) {
    const struct server_survey *survey = compare->survey;
    CLEANUP(freep) bool *foreign = calloc(survey->n_watchdogs + 1, sizeof(*foreign));
    CLEANUP(freep) bool *others = calloc(survey->n_watchdogs + 1, sizeof(*others));
    size_t n_foreign = 0, n_others = 0, n_here = 0;

    if (!foreign || !others) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < survey->n_watchdogs; i++) {
        const struct server_watchdog *watchdog = &survey->watchdogs[i];
        foreign[i] = !watchdog->is_own_role && watchdog->holds_lock;
        n_foreign += foreign[i];
        n_here += watchdog->is_own_role && watchdog->is_same_client;
    }
    for (size_t i = 0; i < survey->n_watchdogs; i++) {
        const struct server_watchdog *watchdog = &survey->watchdogs[i];
        others[i] = !foreign[i] && (n_here > 1 || !watchdog->is_own_role || !watchdog->is_same_client);
        n_others += others[i];
    }
    int r = compare_say_watchdogs(compare, foreign, n_foreign, "another role holds the lock of the one that acts",
                                  "give all watchdogs of this server the same role: others are not waited for");
    if (r == 0) {
        r = compare_say_watchdogs(
            compare, others, n_others, "other watchdogs are connected",
            "of those with the same role that enforce, the first to hold the lock acts and the others "
            "wait; stop those that are not meant");
    }
    return r;
}

// ---- collations

int compare_collations(struct compare *compare) {
    int r = 0;

    for (size_t i = 0; r == 0 && i < compare->survey->n_collations; i++) {
        CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
        CLEANUP(strbuf_deinit) struct strbuf hint = STRBUF_EMPTY;
        const struct server_collation *collation = &compare->survey->collations[i];
        strbuf_addf(&detail,
                    "database %s was built with collation version %s, the system has %s: its indexes on text may be "
                    "wrong, and the server warns at each connect",
                    collation->database, collation->recorded, collation->actual);
        strbuf_addf(&hint, "REINDEX DATABASE %s; ALTER DATABASE %s REFRESH COLLATION VERSION",
                    collation->database_quoted, collation->database_quoted);
        r = compare_say(compare, EVENT_WARNING, "collation", (struct place){0}, &detail, &hint);
    }
    return r;
}
