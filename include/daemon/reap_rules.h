// SPDX-License-Identifier: PostgreSQL
#pragma once

// What `pgvigil reap` is asked for, as rules: the one way for the command itself and for a daemon that does it.

#include "core/policy.h"
#include "core/selector.h"

enum reap_rule { REAP_IDLE, REAP_IDLE_IN_TRANSACTION, REAP_ACTIVE, N_REAP_RULES_ };
#define N_REAP_RULES ((unsigned)N_REAP_RULES_)

struct reap_texts {
    const char *const *items;
    size_t n_items;
};

struct reap_spec {
    usec_t after[N_REAP_RULES_]; // USEC_INFINITY: no such rule
    struct reap_texts match[N_SELECTOR_KEYS];
    int64_t keep;
    int64_t max; // on each server; LIMIT_NONE
    bool cancel; // of REAP_ACTIVE
    bool yes;    // do it; else would-be decisions
};

struct reap_mistake {
    enum selector_key key;
    const char *item; // borrowed from the spec
    char *why;        // owned; free() it
};

// Replaces the rules, limits and the master switch of a policy that nobody else knows yet; apps and protections stay.
// 0; -EINVAL with *ret_mistake; -ENOMEM.
int reap_rules_make(const struct reap_spec *spec, struct policy *policy, struct reap_mistake *ret_mistake);
