// SPDX-License-Identifier: PostgreSQL
//
// A random server under random rules, with random answers, losses, restarts and clock steps, watched by the engine and
// by the model. Arguments: [steps [seed]]. The seed is printed and repeats the run.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model.h"
#include "util/macro.h"

#define DEFAULT_STEPS 1000000
#define RUN_STEPS 20000 // then another server and another engine
#define SERVER_START INT64_C(800000000000000)
#define HOUR ((int64_t)USEC_PER_HOUR)

// What the server truly holds.
struct truth {
    struct session_row row;
    usec_t dies_at;   // it has been signalled
    usec_t cancel_at; // its query has been
};

struct sim {
    uint64_t random;
    usec_t now;
    int64_t clock; // the server's offset: steps
    struct truth sessions[MODEL_MAX_SESSIONS];
    size_t n_sessions;
    int64_t next_pid;
    struct server_facts facts;
    bool restarted; // since the last full scan
    bool promoted;
    bool has_facts;
    struct engine *engine;
    struct policy *policy;
    struct session_id look[MODEL_MAX_SESSIONS * 2 + MODEL_MAX_INTENTS];
    size_t n_look;
    usec_t look_at;
    struct model model;
};

static struct sim sim;
static uint64_t sim_seed, sim_steps, sim_step;
static const char *const property_names[] = {
    [P1_THE_TEST_IS_THE_ROW] = "P1_the_test_is_the_row",
    [P1_NOTHING_THAT_MOVED_ON_IS_SIGNALLED] = "P1_nothing_that_moved_on_is_signalled",
    [P2_EMPTY_FILTERS_MATCH_NOBODY] = "P2_empty_filters_match_nobody",
    [P3_ONLY_ROWS_OF_THIS_SCAN] = "P3_only_rows_of_this_scan",
    [P3_NOTHING_BEFORE_A_FULL_SCAN] = "P3_nothing_before_a_full_scan",
    [P4_NEVER_THE_PROTECTED] = "P4_never_the_protected",
    [P5_KEEP_IS_NEVER_CROSSED] = "P5_keep_is_never_crossed",
    [P5_BUDGETS_ARE_NEVER_EXCEEDED] = "P5_budgets_are_never_exceeded",
    [P6_EACH_INTENT_HAS_ONE_FINAL_OUTCOME] = "P6_each_intent_has_one_final_outcome",
    [P6_OUTCOMES_ARE_THOSE_OF_THE_MODEL] = "P6_outcomes_are_those_of_the_model",
    [P8_OBSERVING_DECIDES_NOTHING] = "P8_observing_decides_nothing",
    [OBSERVED_ONCE_FOR_EACH_SESSION_AND_RULE] = "observed_once_for_each_session_and_rule",
    [DECISIONS_ARE_THOSE_OF_THE_MODEL] = "decisions_are_those_of_the_model",
    [DECISIONS_ARE_SORTED] = "decisions_are_sorted",
    [ONE_ACT_IN_FLIGHT] = "one_act_in_flight",
    [NOT_SIGNALLED_AGAIN_TOO_SOON] = "not_signalled_again_too_soon",
    [CANCELLED_ONCE_PER_QUERY] = "cancelled_once_per_query",
    [CLOCK_STEPS_ARE_TOLD] = "P3_clock_steps_are_told",
    [LOOKS_ARE_VALID] = "looks_are_valid",
    [LOOKS_COME_IN_TIME] = "looks_come_in_time",
    [LOOKS_ARE_APART] = "looks_are_apart",
    [THE_SUMMARY_COUNTS_ALL] = "the_summary_counts_all",
    [SAME_SEED_SAME_DECISIONS] = "same_seed_same_decisions",
    [A_MILLION_NAMES_AT_CONSTANT_MEMORY] = "a_million_names_at_constant_memory",
};
static uint64_t property_checks[N_PROPERTIES];

static void properties_print(enum property failed) {
    size_t n_passed = 0, n_failed = 0, n_skipped = 0;

    for (size_t i = 0; i < N_PROPERTIES; i++) {
        const char *how = i == failed ? "FAIL" : property_checks[i] > 0 ? "ok" : "skip";
        (void)printf("%s %s (%llu times)\n", how, property_names[i], (unsigned long long)property_checks[i]);
        *(i == failed ? &n_failed : property_checks[i] > 0 ? &n_passed : &n_skipped) += 1;
    }
    (void)printf("%zu passed, %zu failed, %zu skipped\n", n_passed, n_failed, n_skipped);
}

void property_check(enum property property, bool holds, const char *what, int line) {
    property_checks[property]++;
    if (!holds) {
        (void)printf("line %d: %s\nseed %llu, step %llu; repeat with: simulation %llu %llu\n", line, what,
                     (unsigned long long)sim_seed, (unsigned long long)sim_step, (unsigned long long)sim_steps,
                     (unsigned long long)sim_seed);
        properties_print(property);
        exit(1);
    }
}

// --- Chance ---------------------------------------------------------------------------------------------------------

static uint64_t sim_random(void) { // xorshift64*
    sim.random ^= sim.random >> 12;
    sim.random ^= sim.random << 25;
    sim.random ^= sim.random >> 27;
    return sim.random * UINT64_C(2685821657736338717);
}

static uint64_t sim_below(uint64_t n) {
    return (sim_random() >> 16) % n;
}

static bool sim_chance(uint64_t per_thousand) {
    return sim_below(1000) < per_thousand;
}

#define SIM_ONE_OF(list) ((list)[sim_below(ARRAY_SIZE(list))])

static struct spec sim_spec(size_t n_apps) {
    struct spec spec = {.kind = (enum spec_kind)sim_below(SPEC_APP + 1)};

    spec.users = (unsigned)sim_below(1u << MODEL_N_USERS);
    spec.prefix = SIM_ONE_OF(((const char[]){'w', 'p', 'x', 'P'}));
    spec.app = sim_below(MODEL_MAX_APPS);
    if (spec.kind == SPEC_APP && (n_apps == 0 || spec.app >= n_apps)) {
        spec.kind = SPEC_ABSENT;
    }
    return spec;
}

static struct model_rule sim_rule(size_t n_apps) {
    static const usec_t afters[] = {0, USEC_PER_SEC, 5 * USEC_PER_SEC, 20 * USEC_PER_SEC, USEC_PER_MINUTE};
    struct model_rule rule = {
        .any = sim_chance(300),
        .has_since = sim_chance(300),
        .after = SIM_ONE_OF(afters),
        .match = sim_spec(n_apps),
        .ignore = sim_chance(500) ? (struct spec){0} : sim_spec(n_apps),
        .keep = sim_chance(500) ? 0 : (int64_t)sim_below(5),
        .action = sim_chance(600)   ? ACTION_TERMINATE
                  : sim_chance(500) ? ACTION_CANCEL
                                    : ACTION_LOG,
        .enforce = sim_chance(800),
    };

    rule.states = (unsigned)sim_random() & SESSION_STATES_ANY;
    rule.since = rule.has_since ? (enum session_time)sim_below(N_SESSION_TIMES) : 0;
    if (rule.action == ACTION_CANCEL) {
        rule.any = false;
        rule.states = SESSION_STATE_BIT(SESSION_STATE_ACTIVE);
    }
    rule.states = rule.any ? SESSION_STATES_ANY : rule.states;
    return rule;
}

static struct model_policy sim_make_policy(void) {
    static const int64_t polls[] = {0, 1, 3, 20, LIMIT_NONE, LIMIT_NONE};
    static const int64_t minutes[] = {0, 2, 10, 60, LIMIT_NONE, LIMIT_NONE};
    struct model_policy policy = {
        .enforce = sim_chance(850),
        .target_enforce = sim_chance(900),
        .n_apps = sim_below(MODEL_MAX_APPS + 1),
        .builtin = sim_chance(800),
        .superusers = sim_chance(800),
        .listeners = sim_chance(800),
        .maintenance = sim_chance(800),
        .min_age = sim_chance(300) ? 0 : 5 * USEC_PER_SEC,
        .n_rules = sim_below(MODEL_MAX_RULES + 1),
        .per_poll = SIM_ONE_OF(polls),
        .per_minute = SIM_ONE_OF(minutes),
    };

    for (size_t i = 0; i < policy.n_apps; i++) {
        policy.apps[i] = sim_spec(0);
    }
    if (sim_chance(300)) {
        policy.protect = sim_spec(policy.n_apps);
    }
    for (size_t i = 0; i < policy.n_rules; i++) {
        policy.rules[i] = sim_rule(policy.n_apps);
    }
    return policy;
}

// --- The same policy for the engine ---------------------------------------------------------------------------------

static void must(bool done) {
    if (!done) {
        (void)fprintf(stderr, "out of memory\n");
        exit(2);
    }
}

static struct selector *selector_of(const struct spec *spec) {
    struct selector *selector = spec->kind == SPEC_ABSENT ? NULL : selector_new();
    char text[32];

    // Both ways of naming nobody.
    if (spec->kind != SPEC_ABSENT && (spec->kind != SPEC_NOBODY || spec->users % 2)) {
        must(selector && selector_add_clause(selector) == 0);
    }
    switch (spec->kind) {
    case SPEC_ABSENT:
    case SPEC_NOBODY:
        break;
    case SPEC_USERS:
        for (unsigned i = 0; i < MODEL_N_USERS; i++) {
            (void)snprintf(text, sizeof(text), "u%u", i);
            must(!((spec->users >> i) & 1) || selector_add(selector, SELECTOR_USER, text, NULL) == 0);
        }
        // No user at all is a clause without keys: nobody, as in the model.
        break;
    case SPEC_PREFIX:
        (void)snprintf(text, sizeof(text), "%c*", spec->prefix);
        must(selector_add(selector, SELECTOR_APPLICATION_NAME, text, NULL) == 0);
        break;
    case SPEC_APP:
        (void)snprintf(text, sizeof(text), "app%zu", spec->app);
        must(selector_add(selector, SELECTOR_APP, text, NULL) == 0);
        break;
    }
    return selector;
}

static struct policy *policy_of(const struct model_policy *model) {
    struct policy *policy = policy_new();
    char name[32];

    must(policy != NULL);
    policy->enforce = model->enforce;
    policy->protect.builtin = model->builtin;
    policy->protect.superusers = model->superusers;
    policy->protect.listeners = model->listeners;
    policy->protect.maintenance = model->maintenance;
    policy->protect.min_age = model->min_age;
    policy->protect.match = selector_of(&model->protect);
    policy->limits = (struct limits){.per_poll = model->per_poll, .per_minute = model->per_minute};
    for (size_t i = 0; i < model->n_apps; i++) {
        (void)snprintf(name, sizeof(name), "app%zu", i);
        struct app *app = policy_add_app(policy, name);
        must(app != NULL);
        app->match = selector_of(&model->apps[i]);
    }
    for (size_t i = 0; i < model->n_rules; i++) {
        const struct model_rule *rule = &model->rules[i];
        (void)snprintf(name, sizeof(name), "r%zu", i);
        struct timeout *timeout = policy_add_timeout(policy, name);
        must(timeout != NULL);
        timeout->state = rule->any ? 0 : rule->states;
        timeout->any = rule->any;
        timeout->has_since = rule->has_since;
        timeout->since = rule->since;
        timeout->after = rule->after;
        timeout->match = selector_of(&rule->match);
        timeout->ignore = selector_of(&rule->ignore);
        timeout->keep = rule->keep;
        timeout->action = rule->action;
        timeout->enforce = rule->enforce;
    }
    return policy;
}

// --- The server -----------------------------------------------------------------------------------------------------

static int64_t server_clock(usec_t now) {
    return SERVER_START + (int64_t)now + sim.clock;
}

static void server_set_state(struct truth *truth, enum session_state state) {
    struct session_row *row = &truth->row;
    int64_t now = server_clock(sim.now);

    row->state = state;
    row->command = SESSION_COMMAND_OTHER;
    row->waits_sync_rep = row->waits_lock = false;
    switch (state) {
    case SESSION_STATE_NONE:
    case SESSION_STATE_DISABLED:
        row->state_change = row->query_start = row->xact_start = TIMESTAMP_NONE;
        return;
    case SESSION_STATE_ACTIVE:
    case SESSION_STATE_FASTPATH:
        row->query_start = now;
        row->xact_start = row->xact_start == TIMESTAMP_NONE ? now : row->xact_start;
        row->waits_sync_rep = sim_chance(30);
        row->waits_lock = sim_chance(50);
        row->command = sim_chance(50) ? SESSION_COMMAND_MAINTENANCE : SESSION_COMMAND_OTHER;
        truth->cancel_at = USEC_INFINITY;
        break;
    case SESSION_STATE_IDLE:
        row->xact_start = TIMESTAMP_NONE;
        row->command = sim_chance(40)   ? SESSION_COMMAND_LISTEN
                       : sim_chance(60) ? SESSION_COMMAND_UNLISTEN
                                        : SESSION_COMMAND_OTHER;
        break;
    case SESSION_STATE_IDLE_IN_TRANSACTION:
    case SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED:
        row->xact_start = row->xact_start == TIMESTAMP_NONE ? now : row->xact_start;
        break;
    case N_SESSION_STATES_:
        break;
    }
    row->state_change = now;
}

static void server_connect(void) {
    static const char *const users[] = {"u0", "u1", "u2", "u3", "u4", "pgvigil"};
    static const char *const names[] = {"",          "w-1",     "w-2", "x\n\x1b[1m%s", "pg_dump",
                                        "Patroni a", "pgvigil", "p",   "\xff"};
    static const char *const databases[] = {"d0", "d1"};
    struct truth *truth = &sim.sessions[sim.n_sessions];
    size_t user = sim_below(ARRAY_SIZE(users));

    if (sim.n_sessions == MODEL_MAX_SESSIONS / 2) {
        return;
    }
    sim.n_sessions++;
    // Pids come again soon.
    sim.next_pid = sim.next_pid % 90 + 1;
    for (size_t i = 0; i + 1 < sim.n_sessions; i++) {
        if (sim.sessions[i].row.id.id == sim.next_pid) {
            sim.next_pid = sim.next_pid % 90 + 1;
            i = (size_t)-1;
        }
    }
    *truth = (struct truth){.dies_at = USEC_INFINITY, .cancel_at = USEC_INFINITY};
    truth->row = (struct session_row){
        .id = {.id = sim.next_pid, .since = server_clock(sim.now)},
        .user = users[user],
        .user_oid = 10 + (uint32_t)user,
        .database = SIM_ONE_OF(databases),
        .application_name = SIM_ONE_OF(names),
        .superuser = sim_chance(80),
        .client = {.family = sim_chance(500) ? ADDRESS_LOCAL : ADDRESS_INET},
        .xact_start = TIMESTAMP_NONE,
        .query_start = server_clock(sim.now),
    };
    truth->row.database_oid = 20 + (uint32_t)(truth->row.database[1] - '0');
    server_set_state(truth, sim_chance(50)   ? SESSION_STATE_NONE
                            : sim_chance(30) ? SESSION_STATE_DISABLED
                                             : SESSION_STATE_IDLE);
}

static void server_disconnect(size_t at) {
    sim.sessions[at] = sim.sessions[--sim.n_sessions];
}

// Time passes: sessions come, go, change.
static void server_live(usec_t span) {
    sim.now += span;
    for (size_t i = 0; i < sim.n_sessions;) {
        struct truth *truth = &sim.sessions[i];
        if (truth->dies_at <= sim.now || sim_chance(4)) {
            server_disconnect(i);
            continue;
        }
        if (truth->cancel_at <= sim.now || sim_chance(40)) {
            server_set_state(truth, sim_chance(20) ? SESSION_STATE_DISABLED
                                                   : (enum session_state)sim_below(SESSION_STATE_DISABLED));
        } else if (sim_chance(5)) {
            truth->row.application_name = sim_chance(500) ? "w-1" : "y";
        }
        i++;
    }
    while (sim_chance(sim.n_sessions < 10 ? 700 : 150)) {
        server_connect();
    }
    if (sim_chance(2)) {
        sim.clock += sim_chance(500) ? HOUR : -HOUR;
    }
}

static struct truth *server_find(const struct session_id *id) {
    for (size_t i = 0; i < sim.n_sessions; i++) {
        if (session_id_is_equal(&sim.sessions[i].row.id, id)) {
            return &sim.sessions[i];
        }
    }
    return NULL;
}

// --- What passes between the two ------------------------------------------------------------------------------------

static const struct engine_result *sim_feed(const struct engine_input *input) {
    const struct engine_result *result;

    must(engine_step(sim.engine, input, sim.now, &result) == 0);
    sim.n_look = MIN(result->n_look, ARRAY_SIZE(sim.look));
    if (sim.n_look > 0) {
        memcpy(sim.look, result->look, sim.n_look * sizeof(*sim.look));
    }
    sim.look_at = result->look_at;
    sim_step++;
    return result;
}

static void sim_scan(bool full) {
    struct session_row rows[MODEL_MAX_SESSIONS * 2];
    struct scan scan = {.kind = full ? SCAN_FULL : SCAN_LOOK, .rows = rows, .sent_at = sim.now};
    usec_t rtt = sim_below(20) * USEC_PER_MSEC;
    struct session_id asked[ARRAY_SIZE(sim.look)];

    scan.server_now = server_clock(sim.now + sim_below(rtt + 1));
    sim.now += rtt;
    scan.received_at = sim.now;
    scan.facts = sim.facts;
    memcpy(asked, sim.look, sim.n_look * sizeof(*asked)); // the next step overwrites it
    scan.asked = asked;
    scan.n_asked = full ? 0 : sim.n_look;
    for (size_t i = 0; i < sim.n_sessions; i++) {
        bool wanted = full;
        for (size_t k = 0; k < scan.n_asked; k++) {
            // By pid, as the server's function does: another session may have it by now.
            wanted |= asked[k].id == sim.sessions[i].row.id.id;
        }
        if (wanted) {
            rows[scan.n_rows++] = sim.sessions[i].row;
        }
    }
    const struct engine_result *result = sim_feed(&(struct engine_input){.kind = ENGINE_INPUT_SCAN, .scan = &scan});
    model_scan(&sim.model, &scan, sim.clock, full && (sim.restarted || !sim.has_facts), full && sim.promoted, sim.now,
               result);
    sim.restarted = sim.restarted && !full;
    sim.promoted = sim.promoted && !full;
    sim.has_facts = sim.has_facts || full;
}

// The guarded statement, as the server would run it.
static enum act_result server_act(const struct intent *intent) {
    const struct guard_test *test = &intent->test;
    struct truth *truth = server_find(&test->id);

    if (!truth) {
        return ACT_LEFT;
    }
    const struct session_row *row = &truth->row;
    if (row->user_oid != test->user_oid || row->database_oid != test->database_oid || row->waits_sync_rep ||
        strcmp(row->application_name, test->application_name) != 0 ||
        (test->states && !(test->states & SESSION_STATE_BIT(row->state))) ||
        session_row_time(row, test->time) != test->at) {
        return ACT_CHANGED;
    }
    HOLDS(P1_NOTHING_THAT_MOVED_ON_IS_SIGNALLED,
          intent->rule_any || (intent->rule_states & SESSION_STATE_BIT(row->state)));
    if (intent->action == ACTION_CANCEL) {
        HOLDS(P1_NOTHING_THAT_MOVED_ON_IS_SIGNALLED, row->state == SESSION_STATE_ACTIVE);
        truth->cancel_at = sim.now + sim_below(15 * USEC_PER_SEC);
    } else {
        truth->dies_at = sim.now + (sim_chance(900) ? sim_below(2 * USEC_PER_SEC) : sim_below(90 * USEC_PER_SEC));
    }
    return ACT_SIGNALLED;
}

static void sim_answer(struct intent *intent, bool connection_lost) {
    enum act_result answer = server_act(intent);

    if (connection_lost) {
        answer = sim_chance(500) ? ACT_UNKNOWN : ACT_UNSENT;
    } else if (answer == ACT_SIGNALLED && sim_chance(90)) {
        answer = SIM_ONE_OF(((const enum act_result[]){ACT_DENIED, ACT_FAILED, ACT_UNRECORDED}));
    }
    const struct engine_result *result = sim_feed(&(struct engine_input){
        .kind = ENGINE_INPUT_ACT,
        .act = {.serial = intent->serial, .result = answer, .sqlstate = "42501", .message = "no"},
    });
    model_act(&sim.model, intent, answer, sim.now, result);
}

static void sim_answer_all(uint64_t per_thousand, bool connection_lost) {
    for (size_t i = 0; i < sim.model.n_intents; i++) {
        if (sim.model.intents[i].state == INTENT_ACT && sim_chance(per_thousand)) {
            sim_answer(&sim.model.intents[i], connection_lost);
        }
    }
}

static void sim_lose(void) {
    sim_answer_all(1000, true);
    model_lost(&sim.model, sim_feed(&(struct engine_input){.kind = ENGINE_INPUT_LOST}));
    if (sim_chance(200)) { // while we were away
        sim.facts.postmaster_start++;
        sim.restarted = true;
        sim.n_sessions = 0;
        sim.facts.in_recovery = sim_chance(500);
    }
    server_live(sim_below(30 * USEC_PER_SEC));
}

static void sim_change_policy(void) {
    bool same = sim.policy && sim_chance(300);
    struct model_policy model = same ? sim.model.policy : sim_make_policy();

    if (!same) {
        policy_unref(sim.policy);
        sim.policy = policy_of(&model);
    }
    model_policy(
        &sim.model, &model, same,
        sim_feed(&(struct engine_input){.kind = ENGINE_INPUT_POLICY, .policy = {sim.policy, model.target_enforce}}));
}

static void sim_check_summary(void) {
    struct summary summary;
    int64_t n = 0;

    must(engine_summarize(sim.engine, &summary) == 0);
    for (size_t i = 0; i < summary.n_groups; i++) {
        n += summary.groups[i].n_sessions;
    }
    HOLDS(THE_SUMMARY_COUNTS_ALL, summary.valid == sim.model.complete && summary.used == n &&
                                      (size_t)n == sim.model.n_sessions && summary.n_rules == sim.model.policy.n_rules);
    summary_deinit(&summary);
}

static void sim_go_on(void) {
    uint64_t dice = sim_below(1000);

    server_live(sim_below(dice % 3 ? 500 * USEC_PER_MSEC : 3 * USEC_PER_SEC));
    sim_answer_all(800, false);
    if (dice < 8) {
        sim_lose();
    } else if (dice < 14) {
        sim_change_policy();
    } else if (dice < 16) {
        sim.promoted = sim.promoted || sim.facts.in_recovery;
        sim.facts.in_recovery = false;
    } else if (dice < 20) {
        sim_check_summary();
    } else if (sim.n_look > 0 && dice < 600) {
        if (sim.look_at > sim.now && sim.look_at < sim.now + 5 * USEC_PER_SEC) {
            server_live(sim.look_at - sim.now);
        }
        sim_scan(false);
    } else {
        sim_scan(true);
    }
}

// One server's life; what was decided in it, as a number.
static uint64_t sim_run(uint64_t seed, uint64_t n_steps) {
    uint64_t end = sim_step + n_steps;

    memset(&sim, 0, sizeof(sim));
    sim.random = seed * 2 + 1;
    sim.now = 1000 * USEC_PER_SEC;
    sim.look_at = USEC_INFINITY;
    sim.facts = (struct server_facts){.version_num = 150018,
                                      .postmaster_start = 1,
                                      .max_connections = 100,
                                      .own_pid = 1,
                                      .own_user = "pgvigil",
                                      .in_recovery = sim_chance(500)};
    sim.engine = engine_new("sim");
    must(sim.engine != NULL);
    sim_change_policy();
    while (sim_step < end) {
        sim_go_on();
    }
    model_stop(&sim.model, sim_feed(&(struct engine_input){.kind = ENGINE_INPUT_STOP}));
    sim.engine = engine_free(sim.engine);
    sim.policy = policy_unref(sim.policy);
    return sim.model.hash;
}

int main(int argc, char **argv) {
    sim_steps = argc > 1 ? strtoull(argv[1], NULL, 10) : DEFAULT_STEPS;
    sim_seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL);
    uint64_t run_steps = MIN(sim_steps, RUN_STEPS), n_decisions = 0, n_outcomes = 0;
    (void)printf("seed %llu\n", (unsigned long long)sim_seed);

    for (uint64_t run = 0; sim_step < sim_steps; run++) {
        uint64_t hash = sim_run(sim_seed + run, run_steps);
        n_decisions += sim.model.n_decisions;
        n_outcomes += sim.model.n_outcomes;
        if (run < 3) {
            HOLDS(SAME_SEED_SAME_DECISIONS, sim_run(sim_seed + run, run_steps) == hash);
        }
    }
    names_check(sim_steps);
    (void)printf("%llu steps, %llu decisions, %llu outcomes\n", (unsigned long long)sim_step,
                 (unsigned long long)n_decisions, (unsigned long long)n_outcomes);
    properties_print(N_PROPERTIES);
    return 0;
}
