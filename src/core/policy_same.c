// SPDX-License-Identifier: PostgreSQL

// Whether a rule is still the one that it was before a reload. What decides is what was written: patterns are compared
// by their text, so that "no" may be said of two forms that mean the same, never "yes" of two that do not.

#include <string.h>

#include "core/policy.h"
#include "util/macro.h"

void policy_translate_queries(const struct policy *a, const struct policy *b, uint32_t ret_bits[POLICY_MAX_QUERIES]) {
    memset(ret_bits, 0, POLICY_MAX_QUERIES * sizeof(*ret_bits));
    for (size_t i = 0; i < a->n_queries; i++) {
        for (size_t j = 0; j < b->n_queries; j++) {
            if (a->queries[i].icase == b->queries[j].icase &&
                strcmp(a->queries[i].expression, b->queries[j].expression) == 0) {
                ret_bits[i] = UINT32_C(1) << j;
            }
        }
    }
}

uint32_t policy_translate_matches(uint32_t matches, const uint32_t bits[POLICY_MAX_QUERIES]) {
    uint32_t translated = 0;
    for (uint32_t rest = matches; rest; rest &= rest - 1) {
        translated |= bits[bit_lowest(rest)];
    }
    return translated;
}

// What a rule covers, whatever its kind.
struct same_scope {
    const char *name;
    const struct selector *match;
    const struct selector *ignore;
    bool by_app; // it counts by app: every app matters
};

// How many apps, from the first, decide what the selectors of the scope say: up to the last one that they name.
static bool same_count_apps(const struct policy *policy, const struct same_scope *scope, size_t *ret) {
    *ret = scope->by_app ? policy->n_apps : 0;
    for (size_t i = policy->n_apps; i > *ret; i--) {
        int match = selector_names_app(scope->match, policy->apps[i - 1].name);
        int ignore = selector_names_app(scope->ignore, policy->apps[i - 1].name);
        if (match < 0 || ignore < 0) {
            return false;
        }
        if (match || ignore) {
            *ret = i;
        }
    }
    return true;
}

static bool same_covers(const struct policy *a, const struct same_scope *in_a, const struct policy *b,
                        const struct same_scope *in_b) {
    uint32_t queries[POLICY_MAX_QUERIES];
    policy_translate_queries(a, b, queries);
    size_t n_apps, n_in_b;
    if (strcmp(in_a->name, in_b->name) != 0 || !selector_is_equal(in_a->match, in_b->match, queries) ||
        !selector_is_equal(in_a->ignore, in_b->ignore, queries) || !same_count_apps(a, in_a, &n_apps) ||
        !same_count_apps(b, in_b, &n_in_b) || n_apps != n_in_b) {
        return false;
    }
    for (size_t i = 0; i < n_apps; i++) {
        if (strcmp(a->apps[i].name, b->apps[i].name) != 0 ||
            !selector_is_equal(a->apps[i].match, b->apps[i].match, queries)) {
            return false;
        }
    }
    return true;
}

bool policy_timeout_is_same(const struct policy *a, size_t i, const struct policy *b, size_t j) {
    const struct timeout *x = &a->timeouts[i], *y = &b->timeouts[j];
    struct same_scope in_x = {x->name, x->match, x->ignore, x->keep > 0};
    struct same_scope in_y = {y->name, y->match, y->ignore, y->keep > 0};
    return x->state == y->state && x->any == y->any && x->has_since == y->has_since &&
           (!x->has_since || x->since == y->since) && x->after == y->after && x->keep == y->keep &&
           x->action == y->action && x->has_then == y->has_then && (!x->has_then || x->grace == y->grace) &&
           x->when.has_usage == y->when.has_usage &&
           (!x->when.has_usage || (x->when.usage == y->when.usage && x->when.until == y->when.until)) &&
           x->when.blocks == y->when.blocks && x->enforce == y->enforce && same_covers(a, &in_x, b, &in_y);
}

bool policy_quota_is_same(const struct policy *a, size_t i, const struct policy *b, size_t j) {
    const struct quota *x = &a->quotas[i], *y = &b->quotas[j];
    struct same_scope in_x = {x->name, x->match, x->ignore, (x->per & GROUP_KEY_BIT(GROUP_APP)) != 0};
    struct same_scope in_y = {y->name, y->match, y->ignore, (y->per & GROUP_KEY_BIT(GROUP_APP)) != 0};
    return x->per == y->per && x->max == y->max && x->max_is_percent == y->max_is_percent && x->for_ == y->for_ &&
           x->n_evict == y->n_evict && memcmp(x->evict, y->evict, x->n_evict * sizeof(x->evict[0])) == 0 &&
           x->min_idle == y->min_idle && x->victims == y->victims && x->action == y->action &&
           x->enforce == y->enforce && same_covers(a, &in_x, b, &in_y);
}

bool policy_alarm_is_same(const struct policy *a, size_t i, const struct policy *b, size_t j) {
    const struct alarm *x = &a->alarms[i], *y = &b->alarms[j];
    struct same_scope in_x = {x->name, x->match, x->ignore, (x->per & GROUP_KEY_BIT(GROUP_APP)) != 0};
    struct same_scope in_y = {y->name, y->match, y->ignore, (y->per & GROUP_KEY_BIT(GROUP_APP)) != 0};
    return x->metric == y->metric && x->per == y->per && x->below == y->below && x->has_warning == y->has_warning &&
           (!x->has_warning || x->warning == y->warning) && x->has_critical == y->has_critical &&
           (!x->has_critical || x->critical == y->critical) && x->for_ == y->for_ && x->clear_after == y->clear_after &&
           same_covers(a, &in_x, b, &in_y);
}
