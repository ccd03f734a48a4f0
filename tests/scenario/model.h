// SPDX-License-Identifier: PostgreSQL
#pragma once

// What the engine must do, said a second time and as plainly as possible: no tables, no shared code, every answer
// computed from scratch. The simulation compares.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/engine.h"

#define MODEL_MAX_SESSIONS 64
#define MODEL_MAX_RULES 6
#define MODEL_MAX_APPS 3
#define MODEL_N_USERS 5
#define MODEL_MAX_INTENTS 4096

enum property {
    P1_THE_TEST_IS_THE_ROW,
    P1_NOTHING_THAT_MOVED_ON_IS_SIGNALLED,
    P2_EMPTY_FILTERS_MATCH_NOBODY,
    P3_ONLY_ROWS_OF_THIS_SCAN,
    P3_NOTHING_BEFORE_A_FULL_SCAN,
    P4_NEVER_THE_PROTECTED,
    P5_KEEP_IS_NEVER_CROSSED,
    P5_BUDGETS_ARE_NEVER_EXCEEDED,
    P6_EACH_INTENT_HAS_ONE_FINAL_OUTCOME,
    P6_OUTCOMES_ARE_THOSE_OF_THE_MODEL,
    P8_OBSERVING_DECIDES_NOTHING,
    OBSERVED_ONCE_FOR_EACH_SESSION_AND_RULE,
    DECISIONS_ARE_THOSE_OF_THE_MODEL,
    DECISIONS_ARE_SORTED,
    ONE_ACT_IN_FLIGHT,
    NOT_SIGNALLED_AGAIN_TOO_SOON,
    CANCELLED_ONCE_PER_QUERY,
    CLOCK_STEPS_ARE_TOLD,
    LOOKS_ARE_VALID,
    LOOKS_COME_IN_TIME,
    LOOKS_ARE_APART,
    THE_SUMMARY_COUNTS_ALL,
    SAME_SEED_SAME_DECISIONS,
    A_MILLION_NAMES_AT_CONSTANT_MEMORY,
    N_PROPERTIES,
};

// A failed property ends the run; what is known of the moment is printed.
void property_check(enum property property, bool holds, const char *what, int line);
#define HOLDS(property, condition) property_check((property), (condition), #condition, __LINE__)

enum spec_kind { SPEC_ABSENT, SPEC_NOBODY, SPEC_USERS, SPEC_PREFIX, SPEC_APP };

struct spec {
    enum spec_kind kind;
    unsigned users; // bits of u0, u1, ...
    char prefix;    // application names that begin with it
    size_t app;
};

struct model_rule {
    unsigned states; // SESSION_STATE_ANY when any
    bool any;
    bool has_since;
    enum session_time since;
    usec_t after;
    struct spec match;
    struct spec ignore;
    int64_t keep;
    enum action action;
    bool enforce;
};

struct model_policy {
    bool enforce;
    bool target_enforce;
    struct spec apps[MODEL_MAX_APPS];
    size_t n_apps;
    bool builtin, superusers, listeners, maintenance;
    usec_t min_age;
    struct spec protect;
    struct model_rule rules[MODEL_MAX_RULES];
    size_t n_rules;
    int64_t per_poll;
    int64_t per_minute;
};

struct model_session {
    struct session_row row; // as last fed
    bool fed;               // by the scan at hand
    bool listener;
    usec_t seen_at[N_SESSION_TIMES_];
    usec_t hold_until;
    bool dying;
    int64_t cancelled;
    bool would[MODEL_MAX_RULES];
    int64_t would_query[MODEL_MAX_RULES];
    bool logged[MODEL_MAX_RULES];
    int64_t logged_at[MODEL_MAX_RULES];
};

enum intent_state { INTENT_ACT, INTENT_DYING, INTENT_LINGERING, INTENT_CANCELLING, INTENT_UNKNOWN, INTENT_FINAL };

struct intent {
    uint64_t serial;
    struct session_id id;
    enum action action;
    int64_t query_start;
    enum intent_state state;
    bool unsure;
    usec_t decided_at;
    usec_t signalled_at;
    uint64_t poll;
    bool refunded;
    struct guard_test test; // application_name is a constant's
    unsigned rule_states;   // what the rule named
    bool rule_any;
};

struct model {
    struct model_policy policy;
    struct model_session sessions[MODEL_MAX_SESSIONS];
    size_t n_sessions;
    struct intent intents[MODEL_MAX_INTENTS]; // the final ones are dropped after a minute
    size_t n_intents;
    bool complete;
    int64_t server_now;
    usec_t received_at;
    bool stepped;
    int64_t stepped_at;
    int64_t offset; // of the server's clock, at the last scan
    bool has_offset;
    uint64_t poll;
    usec_t look_not_before;
    uint64_t hash; // of all that was decided and said
    uint64_t n_decisions;
    uint64_t n_outcomes;
};

// Each takes what the engine was fed and what it answered, and checks the one against the other. `offset`: where the
// server's clock stands.
void model_scan(struct model *model, const struct scan *scan, int64_t offset, bool restarted, bool promoted, usec_t now,
                const struct engine_result *result);
void model_act(struct model *model, struct intent *intent, enum act_result answer, usec_t now,
               const struct engine_result *result);
void model_lost(struct model *model, const struct engine_result *result);
void model_policy(struct model *model, const struct model_policy *policy, bool same,
                  const struct engine_result *result);
void model_stop(struct model *model, const struct engine_result *result);

struct model_session *model_find(struct model *model, const struct session_id *id);

// names.c: so many distinct application names, at most a million, in memory that does not grow.
void names_check(uint64_t n_names);
