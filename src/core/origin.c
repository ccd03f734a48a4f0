// SPDX-License-Identifier: PostgreSQL
#include "origin.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/escape.h"
#include "util/macro.h"
#include "util/strbuf.h"

// application_name of our own sessions, as pg/connection sets it.
#define ORIGIN_OWN_NAME "pgvigil"

int origin_table_init(struct origin_table *table, const char *target) {
    *table = (struct origin_table){.target = target};
    table->interner = interner_new();
    if (!table->interner) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < PROTECT_N_BUILTIN; i++) {
        int r = pattern_new(protect_builtin_names[i], &table->builtin[i], NULL);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

void origin_table_deinit(struct origin_table *table) {
    assert(!table->origins && !table->groups);
    table->policy = policy_unref(table->policy);
    for (size_t i = 0; i < PROTECT_N_BUILTIN; i++) {
        table->builtin[i] = pattern_free(table->builtin[i]);
    }
    table->interner = interner_free(table->interner);
    free(table->own_user);
    table->own_user = NULL;
    free(table->named);
    free(table->asks_query);
    table->named = table->asks_query = NULL;
}

static void group_release(struct origin_table *table, struct group *group) {
    if (!group || --group->n_origins > 0) {
        return;
    }
    HASH_DEL(table->groups, group);
    intern_unref(table->interner, group->key.name);
    free(group->label);
    free(group);
}

static int group_make(struct origin_table *table, const struct policy *policy, int64_t app, const char *name,
                      struct group **ret) {
    struct strbuf label = STRBUF_EMPTY;
    struct group *group = calloc(1, sizeof(*group));
    if (!group) {
        return -ENOMEM;
    }

    if (app >= 0) {
        strbuf_add(&label, policy->apps[app].name);
    } else {
        escape_quoted(&label, name);
        group->key.name = intern_ref(table->interner, name);
    }
    group->key.app = app;
    group->label = strbuf_take(&label);
    if (group->label && (app >= 0 || group->key.name)) {
        HASH_ADD(hh, table->groups, key, sizeof(group->key), group);
        if (group->hh.tbl) {
            *ret = group;
            return 0;
        }
    }
    intern_unref(table->interner, group->key.name);
    free(group->label);
    free(group);
    return -ENOMEM;
}

// `name` is interned.
static int group_acquire(struct origin_table *table, const struct policy *policy, int64_t app, const char *name,
                         struct group **ret) {
    struct group *group = NULL;
    struct group wanted;

    memset(&wanted, 0, sizeof(wanted));
    wanted.key.app = app;
    wanted.key.name = app >= 0 ? NULL : name;
    HASH_FIND(hh, table->groups, &wanted.key, sizeof(wanted.key), group);
    if (!group) {
        int r = group_make(table, policy, app, name, &group);
        if (r < 0) {
            return r;
        }
    }
    group->n_origins++;
    *ret = group;
    return 0;
}

// 1, 0, or -ENOMEM: not known.
static int origin_has_builtin_name(const struct origin_table *table, const struct protect *protect,
                                   const struct origin_key *key) {
    for (size_t i = 0; protect->builtin && i < PROTECT_N_BUILTIN; i++) {
        int r = pattern_matches(table->builtin[i], key->application_name);
        if (r > 0 && protect->builtin_user[i]) {
            r = pattern_matches(protect->builtin_user[i], key->user);
        }
        if (r != 0) {
            return r;
        }
    }
    return 0;
}

static size_t origin_n_words(const struct policy *policy) {
    return (policy->n_timeouts + policy->n_quotas) / 64 + 1;
}

// What a policy says of an origin; its fields move into it together.
struct verdict {
    struct group *group;
    uint64_t *covers;
    bool protected_name;
    bool may_protect;
};

static void origin_selectors(const struct policy *policy, size_t rule, const struct selector **ret_match,
                             const struct selector **ret_ignore) {
    if (rule < policy->n_timeouts) {
        *ret_match = policy->timeouts[rule].match;
        *ret_ignore = policy->timeouts[rule].ignore;
    } else {
        *ret_match = policy->quotas[rule - policy->n_timeouts].match;
        *ret_ignore = policy->quotas[rule - policy->n_timeouts].ignore;
    }
}

// 1, 0, or -ENOMEM: not known. Selectors know no "not": the more queries match, the more they cover, so that a session
// of this origin is covered at most with the first set of matches, and ignored at least with the second.
static int origin_is_named_by(const struct policy *policy, size_t rule, struct selector_subject subject,
                              uint32_t matches, uint32_t matches_ignore) {
    const struct selector *match, *ignore;

    origin_selectors(policy, rule, &match, &ignore);
    subject.query_matches = matches;
    int r = match ? selector_matches(match, &subject) : 1;
    if (r <= 0) {
        return r;
    }
    subject.query_matches = matches_ignore;
    int ignored = selector_matches(ignore, &subject);
    return ignored < 0 ? ignored : !ignored;
}

// The answers of all selectors. What is not known must not be taken for either answer: it would stay for as long as the
// origin does.
static int origin_ask(const struct origin_table *table, const struct policy *policy, const struct origin_key *key,
                      struct selector_subject *subject, struct verdict *verdict) {
    for (size_t i = 0; i < policy->n_timeouts + policy->n_quotas; i++) {
        int r = origin_is_named_by(policy, i, *subject, UINT32_MAX, 0);
        if (r < 0) {
            return r;
        }
        verdict->covers[i / 64] |= (uint64_t)r << (i % 64);
    }
    int r = origin_has_builtin_name(table, &policy->protect, key);
    if (r == 0) {
        r = selector_matches(policy->protect.match, subject);
    }
    verdict->protected_name = r > 0;
    if (r == 0 && selector_asks_query(policy->protect.match)) {
        subject->query_matches = UINT32_MAX;
        r = selector_matches(policy->protect.match, subject);
        verdict->may_protect = r > 0;
    }
    return MIN(r, 0);
}

static struct selector_subject origin_subject(const struct origin_table *table, const struct origin_key *key) {
    return (struct selector_subject){
        .user = key->user,
        .database = key->database,
        .application_name = key->application_name,
        .client = key->client,
        .target = table->target,
        .superuser = key->superuser,
    };
}

static struct selector_subject origin_subject_with_app(const struct origin_table *table, const struct origin *origin) {
    struct selector_subject subject = origin_subject(table, &origin->key);

    if (origin->group->key.app >= 0) {
        subject.app = table->policy->apps[origin->group->key.app].name;
    }
    return subject;
}

int origin_covers(const struct origin_table *table, const struct origin *origin, size_t rule, uint32_t query_matches) {
    if (!origin_is_covered(origin, rule) || !origin_asks_query(table, rule)) {
        return origin_is_covered(origin, rule);
    }
    return origin_is_named_by(table->policy, rule, origin_subject_with_app(table, origin), query_matches,
                              query_matches);
}

bool origin_protects(const struct origin_table *table, const struct origin *origin, uint32_t query_matches) {
    if (origin->protected_name || !origin->may_protect) {
        return origin->protected_name;
    }
    struct selector_subject subject = origin_subject_with_app(table, origin);
    subject.query_matches = query_matches;
    return selector_matches(table->policy->protect.match, &subject) != 0;
}

static int origin_judge(struct origin_table *table, const struct policy *policy, const struct origin_key *key,
                        struct verdict *ret) {
    struct selector_subject subject = origin_subject(table, key);
    struct verdict verdict = {0};

    int app = policy_classify(policy, &subject);
    if (app < 0 && app != POLICY_NO_APP) {
        return app;
    }
    if (app >= 0) {
        subject.app = policy->apps[app].name;
    }
    verdict.covers = calloc(origin_n_words(policy), sizeof(*verdict.covers));
    if (!verdict.covers) {
        return -ENOMEM;
    }
    int r = origin_ask(table, policy, key, &subject, &verdict);
    if (r == 0) {
        r = group_acquire(table, policy, app, key->application_name, &verdict.group);
    }
    if (r < 0) {
        free(verdict.covers);
        return r;
    }
    *ret = verdict;
    return 0;
}

static void origin_take(struct origin_table *table, struct origin *origin, struct verdict *verdict) {
    group_release(table, origin->group);
    free(origin->covers);
    free(origin->alarms);
    origin->alarms = NULL;
    origin->group = verdict->group;
    origin->covers = verdict->covers;
    origin->protected_name = verdict->protected_name;
    origin->may_protect = verdict->may_protect;
}

static bool origin_is_own(const struct origin_table *table, const struct origin_key *key) {
    return table->own_user && strcmp(key->user, table->own_user) == 0 &&
           strcmp(key->application_name, ORIGIN_OWN_NAME) == 0;
}

static uint64_t *origin_name_states(const struct policy *policy, size_t n_words) {
    uint64_t *named = calloc(N_SESSION_STATES * n_words, sizeof(*named));

    for (size_t i = 0; named && i < policy->n_timeouts; i++) {
        const struct timeout *timeout = &policy->timeouts[i];
        unsigned states = timeout->any ? SESSION_STATES_ANY : timeout->state;
        for (size_t state = 0; state < N_SESSION_STATES; state++) {
            named[state * n_words + i / 64] |= (uint64_t)((states >> state) & 1) << (i % 64);
        }
    }
    return named;
}

static uint64_t *origin_name_askers(const struct policy *policy, size_t n_words) {
    uint64_t *asks = calloc(n_words, sizeof(*asks));

    for (size_t i = 0; asks && i < policy->n_timeouts + policy->n_quotas; i++) {
        const struct selector *match, *ignore;
        origin_selectors(policy, i, &match, &ignore);
        asks[i / 64] |= (uint64_t)(selector_asks_query(match) || selector_asks_query(ignore)) << (i % 64);
    }
    return asks;
}

int origin_table_set_policy(struct origin_table *table, struct policy *policy) {
    size_t n = HASH_COUNT(table->origins), done = 0, n_words = origin_n_words(policy);
    struct verdict *verdicts = calloc(n + 1, sizeof(*verdicts));
    uint64_t *named = origin_name_states(policy, n_words);
    uint64_t *asks_query = origin_name_askers(policy, n_words);
    if (!verdicts || !named || !asks_query) {
        free(verdicts);
        free(named);
        free(asks_query);
        return -ENOMEM;
    }

    // Groups are keyed by the policy's app indexes: those of the old policy must not be found for the new one.
    struct group *old_groups = table->groups;
    table->groups = NULL;
    for (struct origin *origin = table->origins; origin; origin = origin->hh.next) {
        if (origin_judge(table, policy, &origin->key, &verdicts[done]) < 0) {
            break;
        }
        done++;
    }
    if (done < n) {
        for (size_t i = 0; i < done; i++) {
            group_release(table, verdicts[i].group);
            free(verdicts[i].covers);
        }
        free(verdicts);
        free(named);
        free(asks_query);
        table->groups = old_groups;
        return -ENOMEM;
    }

    struct group *new_groups = table->groups;
    size_t i = 0;
    table->groups = old_groups;
    for (struct origin *origin = table->origins; origin; origin = origin->hh.next) {
        origin_take(table, origin, &verdicts[i++]); // releases the old groups, the last use frees each
    }
    assert(!table->groups);
    table->groups = new_groups;
    free(verdicts);
    free(table->named);
    free(table->asks_query);
    table->named = named;
    table->asks_query = asks_query;
    table->n_words = n_words;

    policy_ref(policy);
    policy_unref(table->policy);
    table->policy = policy;
    return 0;
}

int origin_table_set_own_user(struct origin_table *table, const char *user) {
    if (table->own_user && strcmp(table->own_user, user) == 0) {
        return 0;
    }
    char *copy = strdup(user);
    if (!copy) {
        return -ENOMEM;
    }
    free(table->own_user);
    table->own_user = copy;
    for (struct origin *origin = table->origins; origin; origin = origin->hh.next) {
        origin->own = origin_is_own(table, &origin->key);
    }
    return 0;
}

static void origin_unintern(struct origin_table *table, const struct origin_key *key) {
    intern_unref(table->interner, key->application_name);
    intern_unref(table->interner, key->user);
    intern_unref(table->interner, key->database);
}

static int origin_make(struct origin_table *table, const struct origin_key *key, struct origin **ret) {
    struct verdict verdict;
    struct origin *origin = calloc(1, sizeof(*origin));
    if (!origin) {
        return -ENOMEM;
    }
    memcpy(&origin->key, key, sizeof(*key)); // with its zeroed padding

    int r = origin_judge(table, table->policy, key, &verdict);
    if (r < 0) {
        free(origin);
        return r;
    }
    origin_take(table, origin, &verdict);
    origin->own = origin_is_own(table, key);
    HASH_ADD(hh, table->origins, key, sizeof(origin->key), origin);
    if (!origin->hh.tbl) {
        group_release(table, origin->group);
        free(origin->covers);
        free(origin);
        return -ENOMEM;
    }
    *ret = origin;
    return 0;
}

int origin_acquire(struct origin_table *table, const struct session_row *row, struct origin **ret) {
    struct origin_key key;
    struct origin *origin = NULL;
    int r = -ENOMEM;

    memset(&key, 0, sizeof(key));
    key.application_name = intern_ref(table->interner, row->application_name);
    key.user = intern_ref(table->interner, row->user);
    key.database = intern_ref(table->interner, row->database);
    key.client.family = row->client.family;
    memcpy(key.client.bytes, row->client.bytes, sizeof(key.client.bytes));
    key.superuser = row->superuser;
    if (key.application_name && key.user && key.database) {
        HASH_FIND(hh, table->origins, &key, sizeof(key), origin);
        r = origin ? 0 : origin_make(table, &key, &origin);
    }
    // An origin holds one reference to each string for itself, not one for each session.
    if (r < 0 || origin->n_sessions > 0 || origin->n_holds > 0) {
        origin_unintern(table, &key);
    }
    if (r < 0) {
        return r;
    }
    origin->n_sessions++;
    *ret = origin;
    return 0;
}

static void origin_drop(struct origin_table *table, struct origin *origin) {
    if (origin->n_sessions > 0 || origin->n_holds > 0) {
        return;
    }
    HASH_DEL(table->origins, origin);
    group_release(table, origin->group);
    origin_unintern(table, &origin->key);
    free(origin->covers);
    free(origin->alarms);
    free(origin);
}

void origin_release(struct origin_table *table, struct origin *origin) {
    if (origin) {
        origin->n_sessions--;
        origin_drop(table, origin);
    }
}

void origin_hold(struct origin *origin) {
    origin->n_holds++;
}

void origin_unhold(struct origin_table *table, struct origin *origin) {
    if (origin) {
        origin->n_holds--;
        origin_drop(table, origin);
    }
}

bool origin_is_of(const struct origin *origin, const struct session_row *row) {
    return origin->key.superuser == row->superuser && address_is_equal(&origin->key.client, &row->client) &&
           strcmp(origin->key.application_name, row->application_name) == 0 &&
           strcmp(origin->key.user, row->user) == 0 && strcmp(origin->key.database, row->database) == 0;
}
