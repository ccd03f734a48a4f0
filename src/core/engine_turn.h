// SPDX-License-Identifier: PostgreSQL
#pragma once

// One pass of the rules over the sessions, and the rule whose turn it is: shared by engine_decide.c (the passes),
// engine_quotas.c and engine_rules.c (one candidate).

#include "engine_impl.h"

// What the pass has to know of a rule, whatever its family.
struct terms {
    size_t rule;
    const char *name;
    enum action action;
    bool is_quota;
    bool acts;     // enforced, and not `action: log`
    bool pressure; // a quota or `when: usage`: has its own budget under pressure, and no breaker
    int64_t keep;
};

struct turn {
    enum pass kind;
    usec_t now;
    struct budget *budget;
    int64_t n_living; // sessions that live on, as this pass counts them
    struct terms terms;
    // Of the rule at hand: how many more it may end by its share, and how many more it wants.
    int64_t share_left;
    int64_t wanted;
    // Of the quota at hand.
    const struct quota_over *over;
};

// engine_rules.c
struct terms engine_terms(const struct engine *engine, size_t rule);
void turn_begin_rule(const struct engine *engine, struct turn *turn, size_t rule);
// Lets the rule at hand judge one candidate, if it wants any more. 0 or -ENOMEM.
int engine_judge(struct engine *engine, struct turn *turn, const struct candidate *candidate);

// engine_quotas.c: the quota's turn. 0 or -ENOMEM.
int engine_judge_quota(struct engine *engine, struct turn *turn, size_t rule);
