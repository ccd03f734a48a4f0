// SPDX-License-Identifier: PostgreSQL
//
// Whether a selector can match nobody whom another one does not match as well, told from what is written alone. Only
// what is certain counts: of two regular expressions that differ nothing is known.
#include <string.h>

#include "core/policy.h"
#include "selector_impl.h"

static bool within_network(const struct network *inner, const struct network *outer) {
    return inner->prefix >= outer->prefix && network_contains(outer, &inner->address);
}

static int within_pattern(const struct pattern *inner, const struct pattern *outer) {
    const char *text = pattern_text(inner);

    if (strcmp(text, pattern_text(outer)) == 0 || strcmp(pattern_text(outer), "*") == 0) {
        return 1;
    }
    return pattern_is_literal(inner) ? pattern_matches(outer, text) : 0;
}

// Each string that the inner list accepts is accepted by the outer one.
static int within_list(const struct selector_list *inner, const struct selector_list *outer, enum selector_key key) {
    if (!inner->present) {
        return 0; // it accepts everything
    }
    if (key == SELECTOR_QUERY) {
        return inner->queries != 0 && (inner->queries & ~outer->queries) == 0;
    }
    for (size_t i = 0; i < inner->n; i++) {
        int r = 0;
        for (size_t j = 0; r == 0 && j < outer->n; j++) {
            r = key == SELECTOR_CLIENT_ADDR ? within_network(&inner->networks[i], &outer->networks[j])
                                            : within_pattern(inner->patterns[i], outer->patterns[j]);
        }
        if (r <= 0) {
            return r;
        }
    }
    return 1;
}

// More keys match fewer sessions: those that the outer clause lacks do not matter.
static int within_clause(const struct selector_clause *inner, const struct selector_clause *outer) {
    bool named = false;

    for (unsigned key = 0; key < N_SELECTOR_KEYS; key++) {
        if (outer->lists[key].present) {
            int r = within_list(&inner->lists[key], &outer->lists[key], (enum selector_key)key);
            if (r <= 0) {
                return r;
            }
            named = true;
        }
    }
    return named; // a clause without keys matches nobody
}

static int within_any(const struct selector_clause *inner, const struct selector *const *outers, size_t n_outers) {
    for (size_t i = 0; i < n_outers; i++) {
        for (size_t j = 0; outers[i] && j < outers[i]->n_clauses; j++) {
            int r = within_clause(inner, &outers[i]->clauses[j]);
            if (r != 0) {
                return r;
            }
        }
    }
    return 0;
}

// Every session of each app that the clause may mean is within: apps know no `app` key, so this goes no deeper.
static int within_by_apps(const struct policy *policy, const struct selector_list *names,
                          const struct selector *const *outers, size_t n_outers) {
    size_t n_apps = 0;

    for (size_t i = 0; names->present && i < policy->n_apps; i++) {
        const struct selector *match = policy->apps[i].match;
        int r = 0;
        for (size_t j = 0; r == 0 && j < names->n; j++) {
            r = pattern_matches(names->patterns[j], policy->apps[i].name);
        }
        for (size_t j = 0; r > 0 && match && j < match->n_clauses; j++) {
            r = within_any(&match->clauses[j], outers, n_outers);
            if (r == 0) {
                return 0;
            }
            n_apps += r > 0;
        }
        if (r < 0) {
            return r;
        }
    }
    return n_apps > 0;
}

int policy_is_within(const struct policy *policy, const struct selector *inner, const struct selector *const *outers,
                     size_t n_outers) {
    for (size_t i = 0; inner && i < inner->n_clauses; i++) {
        int r = within_any(&inner->clauses[i], outers, n_outers);
        if (r == 0) {
            r = within_by_apps(policy, &inner->clauses[i].lists[SELECTOR_APP], outers, n_outers);
        }
        if (r <= 0) {
            return r;
        }
    }
    return inner && inner->n_clauses > 0;
}
