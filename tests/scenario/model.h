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
#define MODEL_MAX_QUOTAS 3
#define MODEL_MAX_ALARMS 3
#define MODEL_MAX_ALARM_GROUPS 16
#define MODEL_MAX_SEEN 256 // scans: for longer than any wait
#define MODEL_ALARM_PREFIX "a-"
#define MODEL_ALL (MODEL_MAX_RULES + MODEL_MAX_QUOTAS) // quotas behind the rules
#define MODEL_MAX_APPS 3
#define MODEL_KEY 320 // holds every group's name
#define MODEL_MAX_BREAKERS 64
#define MODEL_MAX_SAMPLES 20
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
    P5_SHARES_ARE_NEVER_EXCEEDED,
    P5_A_TRIPPED_BREAKER_HOLDS,
    USAGE_IS_NOT_DRIVEN_BELOW_UNTIL,
    QUOTAS_ARE_MET_AND_NO_MORE,
    ESCALATES_AFTER_THE_CANCEL_ALONE,
    WHO_BLOCKS_IS_COUNTED,
    PRESSURE_IS_TOLD,
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
    ALARMS_ARE_THOSE_OF_THE_MODEL,
    P3_ABSENT_DATA_NEITHER_RAISES_NOR_CLEARS,
    QUOTAS_THAT_LOG_SAY_SO_ONCE,
    PREVIEWS_ARE_THOSE_OF_THE_MODEL,
    THE_SUMMARY_COUNTS_ALL,
    SAME_SEED_SAME_DECISIONS,
    A_MILLION_NAMES_AT_CONSTANT_MEMORY,
    N_PROPERTIES,
};

// A failed property ends the run; what is known of the moment is printed.
void property_check(enum property property, bool holds, const char *what, int line);
#define HOLDS(property, condition) property_check((property), (condition), #condition, __LINE__)

enum spec_kind { SPEC_ABSENT, SPEC_NOBODY, SPEC_USERS, SPEC_PREFIX, SPEC_SUPERUSER, SPEC_QUERY, SPEC_APP };

struct spec {
    enum spec_kind kind;
    unsigned users; // bits of u0, u1, ...
    char prefix;    // application names that begin with it
    size_t app;
    bool superuser;
    unsigned query; // bits, one of which must match; 0: not asked (but by SPEC_QUERY)
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
    bool has_then;
    usec_t grace;
    bool has_usage;
    int64_t usage;
    int64_t until;
    int64_t blocks;
    bool enforce;
};

struct model_quota {
    unsigned per;
    struct spec match;
    struct spec ignore;
    int64_t max;
    bool is_percent;
    usec_t wait;
    enum session_state evict[2];
    size_t n_evict;
    usec_t min_idle;
    enum victims victims;
    enum action action;
    bool enforce;
};

struct model_alarm {
    enum metric metric; // usage, connections, idle, active
    unsigned per;       // of user and database
    bool below;         // without `per` only
    int64_t warning;    // -1: none
    int64_t critical;
    usec_t wait;
    usec_t clear_after;
    struct spec match;
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
    struct model_quota quotas[MODEL_MAX_QUOTAS];
    size_t n_quotas;
    struct model_alarm alarms[MODEL_MAX_ALARMS];
    size_t n_alarms;
    unsigned generation; // part of every rule's name: other apps are other rules
    int64_t per_poll;
    int64_t per_minute;
    int64_t pressure_per_minute;
    int64_t share;
    int64_t rounds;
    usec_t pause;
    int64_t pressure_at;
    usec_t poll_interval;
};

struct model_session {
    struct session_row row; // as last fed
    int64_t exact_at;       // server's clock at that
    bool fed;               // by the scan at hand
    bool fresh;             // for the first time
    bool listener;
    usec_t seen_at[N_SESSION_TIMES_];
    usec_t hold_until;
    bool dying;
    int64_t cancelled;
    usec_t escalate_at; // USEC_INFINITY: not at all
    int escalate_rule;
    int64_t n_blocks;
    bool would[MODEL_ALL];
    int64_t would_query[MODEL_ALL];
    bool logged[MODEL_ALL];
    int64_t logged_at[MODEL_ALL];
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
    int rule;               // as it stands now; -1: it is no more what it was
    int spender;            // the rule of that name; -1: none
    bool pressure;
    bool escalates;
    char rule_name[32];
    unsigned rule_states; // what the rule named
    bool rule_any;
};

// A group over its quota.
struct model_over {
    char key[MODEL_KEY];
    size_t n_key;
    usec_t since;
    bool told; // by a quota that logs
};

struct model_breaker {
    char rule[32];
    char group[MODEL_KEY];
    usec_t opened_at;
    usec_t last_at;
    int64_t n_victims;
    struct {
        struct session_row row; // one of that origin
        int64_t n_victims;
        int64_t n_arrived;
    } origins[MODEL_MAX_SESSIONS];
    size_t n_origins;
    int64_t n_in_a_row;
    usec_t counted_at;
    unsigned n_doubled;
    bool tripped;
    usec_t until;
};

struct model_alarm_group {
    char label[32]; // empty: of an alarm that counts all together
    enum severity severity;
    struct {
        usec_t at;
        enum severity level;
    } seen[MODEL_MAX_SEEN];
    size_t n_seen;
};

struct model_alarm_state {
    struct model_alarm_group groups[MODEL_MAX_ALARM_GROUPS];
    size_t n_groups;
};

struct model_samples {
    struct {
        usec_t at;
        int64_t n;
    } items[MODEL_MAX_SAMPLES];
    size_t n;
};

struct model {
    struct model_policy policy;
    bool leads;
    bool paused;          // everything
    char paused_name[32]; // one rule; "": none
    bool full;            // the scan at hand
    bool has_full;
    usec_t full_at;
    bool pressed;
    int64_t usable;
    bool armed[MODEL_MAX_RULES];
    struct model_samples samples[MODEL_ALL];
    struct model_over over[MODEL_MAX_QUOTAS][MODEL_MAX_SESSIONS];
    size_t n_over[MODEL_MAX_QUOTAS];
    struct model_breaker breakers[MODEL_MAX_BREAKERS];
    size_t n_breakers;
    struct model_alarm_state alarms[MODEL_MAX_ALARMS];
    usec_t alarms_at;      // the last full scan
    int64_t alarms_server; // its postmaster_start
    struct model_session sessions[MODEL_MAX_SESSIONS];
    size_t n_sessions;
    struct intent intents[MODEL_MAX_INTENTS]; // the final ones are dropped after a minute
    size_t n_intents;
    bool complete;
    bool knows_blockers; // the last full scan was asked who blocks whom
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
void model_lead(struct model *model, bool leads, const struct engine_result *result);
void model_pause(struct model *model, bool all, const char *name, const struct engine_result *result);
void model_policy(struct model *model, const struct model_policy *policy, bool same,
                  const struct engine_result *result);
void model_stop(struct model *model, const struct engine_result *result);

// What engine_preview() must tell of the policy: of rules, then quotas.
void model_preview(const struct model *model, const struct model_policy *policy, const int64_t *counts);

struct model_session *model_find(struct model *model, const struct session_id *id);

// names.c: so many distinct application names, at most a million, in memory that does not grow.
void names_check(uint64_t n_names);
