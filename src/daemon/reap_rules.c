// SPDX-License-Identifier: PostgreSQL
#include "daemon/reap_rules.h"

#include <assert.h>
#include <errno.h>

#include "util/macro.h"

static const struct {
    const char *name;
    unsigned state;
} reap_rules[] = {
    [REAP_IDLE] = {"reap-idle", SESSION_STATE_BIT(SESSION_STATE_IDLE)},
    [REAP_IDLE_IN_TRANSACTION] = {"reap-idle-in-transaction",
                                  SESSION_STATE_BIT(SESSION_STATE_IDLE_IN_TRANSACTION) |
                                      SESSION_STATE_BIT(SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED)},
    [REAP_ACTIVE] = {"reap-active", SESSION_STATE_BIT(SESSION_STATE_ACTIVE)},
};
static_assert(ARRAY_SIZE(reap_rules) == N_REAP_RULES, "one row for each rule");

// *ret NULL: nothing was selected. 0, -EINVAL or -ENOMEM.
static int reap_rules_select(const struct reap_spec *spec, struct selector **ret, struct reap_mistake *ret_mistake) {
    struct selector *selector = NULL;
    for (unsigned key = 0; key < N_SELECTOR_KEYS; key++) {
        for (size_t i = 0; i < spec->match[key].n_items; i++) {
            int r = 0;
            if (!selector) {
                selector = selector_new();
                r = selector ? selector_add_clause(selector) : -ENOMEM;
            }
            *ret_mistake = (struct reap_mistake){.key = (enum selector_key)key, .item = spec->match[key].items[i]};
            r = r < 0 ? r : selector_add(selector, (enum selector_key)key, ret_mistake->item, &ret_mistake->why);
            if (r < 0) {
                selector_free(selector);
                return r;
            }
        }
    }
    *ret = selector;
    return 0;
}

int reap_rules_make(const struct reap_spec *spec, struct policy *policy, struct reap_mistake *ret_mistake) {
    policy_clear_timeouts(policy);
    for (size_t i = 0; i < N_REAP_RULES; i++) {
        if (spec->after[i] == USEC_INFINITY) {
            continue;
        }
        struct timeout *rule = policy_add_timeout(policy, reap_rules[i].name);
        if (!rule) {
            return -ENOMEM;
        }
        rule->state = reap_rules[i].state;
        rule->after = spec->after[i];
        rule->keep = spec->keep;
        rule->action = i == REAP_ACTIVE && spec->cancel ? ACTION_CANCEL : ACTION_TERMINATE;
        int r = reap_rules_select(spec, &rule->match, ret_mistake);
        if (r < 0) {
            return r;
        }
    }
    // A round ends within the minute, so that both say how many it may end at all. Nothing else bounds what a person
    // asks for.
    policy->limits = (struct limits){.per_poll = spec->max, .per_minute = spec->max, .share = 100};
    policy->enforce = spec->yes;
    return 0;
}
