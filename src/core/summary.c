// SPDX-License-Identifier: PostgreSQL
#include "core/summary.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "alarm_group.h"
#include "summarize.h"
#include "util/array.h"

// Copied strings, freed together.
struct strings {
    char **items;
    size_t n_items;
    size_t capacity;
    bool failed;
};

static const char *strings_copy(struct strings *strings, const char *s) {
    if (!s || ARRAY_RESERVE(strings->items, strings->capacity, strings->n_items) < 0) {
        strings->failed |= s != NULL;
        return NULL;
    }
    char *copy = strdup(s);
    if (!copy) {
        strings->failed = true;
        return NULL;
    }
    strings->items[strings->n_items++] = copy;
    return copy;
}

static void strings_free(struct strings *strings) {
    for (size_t i = 0; strings && i < strings->n_items; i++) {
        free(strings->items[i]);
    }
    if (strings) {
        free(strings->items);
        free(strings);
    }
}

void summary_deinit(struct summary *summary) {
    strings_free(summary->storage);
    free(summary->groups);
    free(summary->rules);
    free(summary->alarms);
    *summary = (struct summary){0};
}

void rule_counts_new_poll(struct rule_counts *counts) {
    int64_t n_decided = counts->n_decided;

    *counts = (struct rule_counts){.n_decided = n_decided};
}

void summary_rule_set_counts(struct summary_rule *rule, const struct rule_counts *counts) {
    rule->n_matches = counts->n_matches;
    rule->n_decided = counts->n_decided;
    memcpy(rule->n_held, counts->n_held, sizeof(rule->n_held));
}

// Names are interned and labels belong to groups: equal ones have equal pointers, which is looked at first. The order
// only has to be the same for the same content, so ties are broken by the text.
static int summary_compare_text(const char *a, const char *b) {
    return a == b ? 0 : strcmp(a, b);
}

static int summary_compare_names(const struct session *a, const struct session *b) {
    const struct origin *oa = a->origin, *ob = b->origin;

    if (oa != ob) {
        int c = summary_compare_text(oa->group->label, ob->group->label);
        // An app's name may look like a quoted application name.
        c = c ? c : (oa->group->key.app >= 0) - (ob->group->key.app >= 0);
        c = c ? c : summary_compare_text(oa->key.user, ob->key.user);
        c = c ? c : summary_compare_text(oa->key.database, ob->key.database);
        if (c) {
            return c;
        }
    }
    return (int)a->state - (int)b->state;
}

static int summary_compare_sessions(const void *pa, const void *pb) {
    return summary_compare_names(*(const struct session *const *)pa, *(const struct session *const *)pb);
}

static int summary_compare_groups(const void *pa, const void *pb) {
    const struct summary_group *a = pa, *b = pb;

    if (a->n_sessions != b->n_sessions) {
        return a->n_sessions > b->n_sessions ? -1 : 1;
    }
    int c = strcmp(a->app, b->app);
    c = c ? c : a->is_app - b->is_app;
    c = c ? c : strcmp(a->user, b->user);
    c = c ? c : strcmp(a->database, b->database);
    return c ? c : (int)a->state - (int)b->state;
}

// How long it is in its state; 0 while the server does not show that.
static usec_t summary_state_age(const struct snapshot *snapshot, const struct session *session) {
    usec_t age = 0;

    session_age(snapshot, session,
                session->state == SESSION_STATE_ACTIVE ? SESSION_TIME_QUERY_START : SESSION_TIME_STATE_CHANGE, &age);
    return age;
}

static int summary_group_sessions(const struct snapshot *snapshot, struct session **sorted, size_t n,
                                  struct summary *summary, struct strings *strings) {
    size_t capacity = 0;

    for (size_t i = 0; i < n; i++) {
        const struct session *session = sorted[i];
        usec_t age = summary_state_age(snapshot, session);
        bool same = i > 0 && summary_compare_names(sorted[i - 1], session) == 0;
        if (!same && summary->n_groups < SUMMARY_MAX_GROUPS) {
            int r = ARRAY_RESERVE(summary->groups, capacity, summary->n_groups);
            if (r < 0) {
                return r;
            }
            // The last place takes whatever does not fit.
            bool folds = summary->n_groups == SUMMARY_MAX_GROUPS - 1;
            summary->groups[summary->n_groups++] = (struct summary_group){
                .app = strings_copy(strings, folds ? "other" : session->origin->group->label),
                .is_app = !folds && session->origin->group->key.app >= 0,
                .user = strings_copy(strings, folds ? "other" : session->origin->key.user),
                .database = strings_copy(strings, folds ? "other" : session->origin->key.database),
                .state = session->state,
            };
            if (strings->failed) {
                return -ENOMEM;
            }
        }
        struct summary_group *group = &summary->groups[summary->n_groups - 1];
        group->n_sessions++;
        group->longest = MAX(group->longest, age);
    }
    if (summary->n_groups > 1) {
        qsort(summary->groups, summary->n_groups, sizeof(*summary->groups), summary_compare_groups);
    }
    return 0;
}

// Keeps the longest few, longest first; ties by pid. `session` still borrows from the table.
static void summary_keep_longest(struct summary_session *list, size_t *n, const struct session *session, usec_t age) {
    size_t at = *n;

    while (at > 0 &&
           (list[at - 1].age < age || (list[at - 1].age == age && list[at - 1].session.id.id > session->id.id))) {
        at--;
    }
    if (at == SUMMARY_MAX_SESSIONS) {
        return;
    }
    size_t n_moved = MIN(*n, SUMMARY_MAX_SESSIONS - 1) - at;
    memmove(list + at + 1, list + at, n_moved * sizeof(*list));
    list[at] = (struct summary_session){
        .session = session_to_row(session),
        .app = session->origin->group->label,
        .age = age,
    };
    *n = MIN(*n + 1, SUMMARY_MAX_SESSIONS);
}

static void summary_own_sessions(struct summary_session *list, size_t n, struct strings *strings) {
    for (size_t i = 0; i < n; i++) {
        struct session_row *row = &list[i].session;
        row->application_name = strings_copy(strings, row->application_name);
        row->user = strings_copy(strings, row->user);
        row->database = strings_copy(strings, row->database);
        row->query = NULL;
        list[i].app = strings_copy(strings, list[i].app);
    }
}

static void summary_find_longest(const struct snapshot *snapshot, struct summary *summary, struct strings *strings) {
    for (const struct session *s = snapshot->sessions; s; s = s->hh.next) {
        usec_t age;
        if (s->state == SESSION_STATE_IDLE && session_age(snapshot, s, SESSION_TIME_STATE_CHANGE, &age)) {
            summary_keep_longest(summary->longest_idle, &summary->n_longest_idle, s, age);
        }
        if (session_age(snapshot, s, SESSION_TIME_XACT_START, &age)) {
            summary_keep_longest(summary->longest_transaction, &summary->n_longest_transaction, s, age);
        }
    }
    summary_own_sessions(summary->longest_idle, summary->n_longest_idle, strings);
    summary_own_sessions(summary->longest_transaction, summary->n_longest_transaction, strings);
}

// Whom each rule covers, but for ourselves: no rule can ever speak of us, and check --connect does not count us either.
// 0 or -ENOMEM.
static int summary_count_covered(const struct snapshot *snapshot, size_t n_rules, int64_t *ret_counts) {
    int r = snapshot_count_covered(snapshot, ret_counts);

    for (const struct session *s = snapshot->sessions; r >= 0 && s; s = s->hh.next) {
        if (!s->origin->own && s->id.id != snapshot->facts.own_pid) {
            continue;
        }
        for (size_t i = 0; r >= 0 && i < n_rules; i++) {
            r = origin_covers(&snapshot->origins, s->origin, i, s->query_matches);
            ret_counts[i] -= r > 0;
        }
    }
    return MIN(r, 0);
}

static int summary_list_rules(const struct snapshot *snapshot, struct summary *summary, struct strings *strings) {
    const struct policy *policy = snapshot->origins.policy;
    size_t n_timeouts = policy->n_timeouts, n = n_timeouts + policy->n_quotas;

    summary->rules = calloc(n + 1, sizeof(*summary->rules));
    int64_t *n_covered = calloc(n + 1, sizeof(*n_covered));
    int r = summary->rules && n_covered ? summary_count_covered(snapshot, n, n_covered) : -ENOMEM;
    if (r < 0) {
        free(n_covered);
        return r;
    }
    summary->n_rules = n;
    for (size_t i = 0; i < n; i++) {
        struct summary_rule *rule = &summary->rules[i];
        rule->is_quota = i >= n_timeouts;
        rule->name =
            strings_copy(strings, rule->is_quota ? policy->quotas[i - n_timeouts].name : policy->timeouts[i].name);
        rule->action = rule->is_quota ? policy->quotas[i - n_timeouts].action : policy->timeouts[i].action;
        rule->n_covered = n_covered[i];
    }
    free(n_covered);
    return 0;
}

static int summary_list_alarms(const struct alarms *alarms, struct summary *summary, struct strings *strings) {
    size_t capacity = 0;

    for (size_t i = 0; i < alarms->n_sets; i++) {
        const struct alarm_set *set = alarms->sets[i];
        for (const struct alarm_group *group = set->groups; group; group = group->hh.next) {
            if (group->severity == SEVERITY_NONE) {
                continue;
            }
            int r = ARRAY_RESERVE(summary->alarms, capacity, summary->n_alarms);
            if (r < 0) {
                return r;
            }
            summary->alarms[summary->n_alarms++] = (struct summary_alarm){
                .name = strings_copy(strings, set->name),
                .group = strings_copy(strings, group->label),
                .severity = group->severity,
                .value = set->alarm ? alarm_shown(set->alarm, group) : EVENT_NUMBER_NONE,
                .detail = strings_copy(strings, group->detail),
                .hint = strings_copy(strings, group->hint),
            };
        }
    }
    return 0;
}

int summarize(const struct snapshot *snapshot, const struct alarms *alarms, struct summary *ret) {
    size_t n = snapshot_n_sessions(snapshot), i = 0;
    struct session **sorted = calloc(n + 1, sizeof(struct session *));
    struct strings *strings = calloc(1, sizeof(*strings));
    struct summary summary = {.storage = strings};
    int r = sorted && strings ? 0 : -ENOMEM;

    if (r == 0) {
        summary.valid = snapshot->complete;
        summary.server_now = snapshot->server_now;
        summary.facts = snapshot->facts;
        summary.facts.own_user = strings_copy(strings, snapshot->facts.own_user);
        summary.used = (int64_t)n;
        summary.usable = server_facts_usable(&snapshot->facts);
        for (struct session *s = snapshot->sessions; s; s = s->hh.next) {
            summary.n_dying += s->dying;
            sorted[i++] = s;
        }
        if (n > 1) {
            qsort(sorted, n, sizeof(*sorted), summary_compare_sessions);
        }
        summary_find_longest(snapshot, &summary, strings);
        r = summary_group_sessions(snapshot, sorted, n, &summary, strings);
    }
    if (r == 0) {
        r = summary_list_rules(snapshot, &summary, strings);
    }
    if (r == 0) {
        r = summary_list_alarms(alarms, &summary, strings);
    }
    if (r == 0 && strings->failed) {
        r = -ENOMEM;
    }
    free(sorted);
    if (r < 0) {
        summary_deinit(&summary);
        return r;
    }
    *ret = summary;
    return 0;
}
