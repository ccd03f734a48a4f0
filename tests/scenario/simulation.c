// SPDX-License-Identifier: PostgreSQL
//
// A random server under random rules, with random answers, losses, restarts and clock steps, watched by the engine and
// by the model. Arguments: [steps [seed]]. The seed is printed and repeats the run.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "model_impl.h"
#include "sim.h"
#include "util/macro.h"

#define DEFAULT_STEPS 1000000
#define RUN_STEPS 20000 // then another server and another engine
#define SERVER_START INT64_C(800000000000000)
#define HOUR ((int64_t)USEC_PER_HOUR)

struct sim sim;
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
    [P5_SHARES_ARE_NEVER_EXCEEDED] = "P5_shares_are_never_exceeded",
    [P5_A_TRIPPED_BREAKER_HOLDS] = "P5_a_tripped_breaker_holds",
    [USAGE_IS_NOT_DRIVEN_BELOW_UNTIL] = "usage_is_not_driven_below_until",
    [QUOTAS_ARE_MET_AND_NO_MORE] = "quotas_are_met_and_no_more",
    [ESCALATES_AFTER_THE_CANCEL_ALONE] = "escalates_after_the_cancel_alone",
    [WHO_BLOCKS_IS_COUNTED] = "who_blocks_is_counted",
    [PRESSURE_IS_TOLD] = "pressure_is_told",
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
    [ALARMS_ARE_THOSE_OF_THE_MODEL] = "alarms_are_those_of_the_model",
    [P3_ABSENT_DATA_NEITHER_RAISES_NOR_CLEARS] = "P3_absent_data_neither_raises_nor_clears",
    [QUOTAS_THAT_LOG_SAY_SO_ONCE] = "quotas_that_log_say_so_once",
    [PREVIEWS_ARE_THOSE_OF_THE_MODEL] = "previews_are_those_of_the_model",
    [THE_SUMMARY_COUNTS_ALL] = "the_summary_counts_all",
    [SAME_SEED_SAME_DECISIONS] = "same_seed_same_decisions",
    [A_MILLION_NAMES_AT_CONSTANT_MEMORY] = "a_million_names_at_constant_memory",
};
static uint64_t property_checks[N_PROPERTIES];

static struct {
    enum property property;
    const char *what;
    int line;
} sim_failed = {.property = N_PROPERTIES};

// What went wrong right above its line: who reads the output for what failed looks there.
static void failure_print(void) {
    (void)printf("line %d: %s\nseed %llu, step %llu; repeat with: simulation %llu %llu\n", sim_failed.line,
                 sim_failed.what, (unsigned long long)sim_seed, (unsigned long long)sim_step,
                 (unsigned long long)sim_steps, (unsigned long long)sim_seed);
}

static void properties_print(void) {
    size_t n_passed = 0, n_failed = 0, n_skipped = 0;

    for (size_t i = 0; i < N_PROPERTIES; i++) {
        const char *how = property_checks[i] > 0 ? "ok" : "skip";
        size_t *n = property_checks[i] > 0 ? &n_passed : &n_skipped;
        if (i == sim_failed.property) {
            failure_print();
            how = "FAIL";
            n = &n_failed;
        }
        (void)printf("%s %s (%llu times)\n", how, property_names[i], (unsigned long long)property_checks[i]);
        *n += 1;
    }
    (void)printf("%zu passed, %zu failed, %zu skipped\n", n_passed, n_failed, n_skipped);
}

void property_check(enum property property, bool holds, const char *what, int line) {
    property_checks[property]++;
    if (!holds) {
        sim_failed.property = property;
        sim_failed.what = what;
        sim_failed.line = line;
        properties_print();
        exit(1);
    }
}

// --- Chance ---------------------------------------------------------------------------------------------------------

uint64_t sim_random(void) { // xorshift64*
    sim.random ^= sim.random >> 12;
    sim.random ^= sim.random << 25;
    sim.random ^= sim.random >> 27;
    return sim.random * UINT64_C(2685821657736338717);
}

uint64_t sim_below(uint64_t n) {
    return (sim_random() >> 16) % n;
}

bool sim_chance(uint64_t per_thousand) {
    return sim_below(1000) < per_thousand;
}

void sim_must(bool done) {
    if (!done) {
        (void)fprintf(stderr, "out of memory\n");
        exit(2);
    }
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
    row->n_blocked_by = 0;
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
        row->waits_lock = sim_chance(100);
        row->query_matches = (uint32_t)sim_below(4);
        row->n_blocked_by = row->waits_lock ? 1 + sim_below(2) : 0;
        truth->blockers[0] = (int64_t)sim_below(90);
        truth->blockers[1] = (int64_t)sim_below(90);
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

// Pids come again soon.
static int64_t server_new_pid(void) {
    sim.next_pid = sim.next_pid % 90 + 1;
    for (size_t i = 0; i < sim.n_sessions; i++) {
        if (sim.sessions[i].row.id.id == sim.next_pid) {
            sim.next_pid = sim.next_pid % 90 + 1;
            i = (size_t)-1;
        }
    }
    return sim.next_pid;
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
    int64_t pid = server_new_pid();
    sim.n_sessions++;
    *truth = (struct truth){.dies_at = USEC_INFINITY, .cancel_at = USEC_INFINITY};
    truth->row = (struct session_row){
        .id = {.id = pid, .since = server_clock(sim.now)},
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

// A client whose session was ended, and that comes straight back.
static void server_reconnect(struct truth *truth) {
    struct session_row *row = &truth->row;

    row->id = (struct session_id){.id = server_new_pid(), .since = server_clock(sim.now)};
    row->xact_start = TIMESTAMP_NONE;
    row->query_start = row->id.since;
    truth->dies_at = truth->cancel_at = USEC_INFINITY;
    server_set_state(truth, SESSION_STATE_IDLE);
}

// Time passes: sessions come, go, change.
static void server_live(usec_t span) {
    sim.now += span;
    for (size_t i = 0; i < sim.n_sessions;) {
        struct truth *truth = &sim.sessions[i];
        if (truth->dies_at <= sim.now && sim.reconnects && sim_chance(950)) {
            server_reconnect(truth);
        } else if (truth->dies_at <= sim.now || sim_chance(4)) {
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

    sim_must(engine_step(sim.engine, input, sim.now, &result) == 0);
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
            rows[scan.n_rows] = sim.sessions[i].row;
            rows[scan.n_rows++].blocked_by = sim.sessions[i].blockers;
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
        session_row_time(row, test->time) != test->at ||
        (test->query_start != TIMESTAMP_NONE && row->query_start != test->query_start)) {
        return ACT_CHANGED;
    }
    HOLDS(ESCALATES_AFTER_THE_CANCEL_ALONE,
          !intent->escalates || (row->state == SESSION_STATE_ACTIVE && row->query_start == intent->query_start &&
                                 truth->cancelled == intent->query_start));
    HOLDS(P1_NOTHING_THAT_MOVED_ON_IS_SIGNALLED,
          intent->rule_any || (intent->rule_states & SESSION_STATE_BIT(row->state)));
    if (intent->action == ACTION_CANCEL) {
        HOLDS(P1_NOTHING_THAT_MOVED_ON_IS_SIGNALLED, row->state == SESSION_STATE_ACTIVE);
        truth->cancel_at = sim.now + sim_below(30 * USEC_PER_SEC);
        truth->cancelled = row->query_start;
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
        sim.facts.max_connections = SIM_ONE_OF(((const int64_t[]){30, 40, 100}));
    }
    server_live(sim_below(30 * USEC_PER_SEC));
}

static void sim_change_policy(void) {
    bool same = sim.policy && sim_chance(200);
    struct model_policy model;

    if (same) {
        memcpy(&model, &sim.model.policy, sizeof(model));
    } else {
        model = sim.policy && sim_chance(600) ? sim_edit_policy(&sim.model.policy) : sim_make_policy();
        policy_unref(sim.policy);
        sim.policy = sim_policy_of(&model);
    }
    model_policy(&sim.model, &model, same,
                 sim_feed(&(struct engine_input){
                     .kind = ENGINE_INPUT_POLICY,
                     .policy = {sim.policy, model.target_enforce, model.pressure_at, model.poll_interval},
                 }));
}

static void sim_preview(void) {
    int64_t counts[MODEL_ALL];
    struct model_policy candidate = sim.model.policy;

    if (sim_chance(700)) {
        candidate = sim_chance(500) ? sim_edit_policy(&sim.model.policy) : sim_make_policy();
    }
    CLEANUP(policy_unrefp) struct policy *policy = sim_policy_of(&candidate);
    int r = engine_preview(sim.engine, policy, counts);
    HOLDS(PREVIEWS_ARE_THOSE_OF_THE_MODEL, r == (sim.model.complete ? 0 : -EAGAIN));
    if (r == 0) {
        model_preview(&sim.model, &candidate, counts);
    }
}

static void sim_check_summary(void) {
    struct summary summary;
    int64_t n = 0;

    sim_must(engine_summarize(sim.engine, &summary) == 0);
    for (size_t i = 0; i < summary.n_groups; i++) {
        n += summary.groups[i].n_sessions;
    }
    HOLDS(THE_SUMMARY_COUNTS_ALL, summary.valid == sim.model.complete && summary.used == n &&
                                      (size_t)n == sim.model.n_sessions &&
                                      summary.n_rules == sim.model.policy.n_rules + sim.model.policy.n_quotas);
    summary_deinit(&summary);
}

static void sim_pause(void) {
    const size_t n_rules = sim.model.policy.n_rules + sim.model.policy.n_quotas;
    bool all = sim_chance(200);
    char name[32] = "";

    if (n_rules > 0 && sim_chance(400)) {
        size_t i = sim_below(n_rules);
        model_rule_name(&sim.model, i < sim.model.policy.n_rules ? i : MODEL_MAX_RULES + i - sim.model.policy.n_rules,
                        name);
    }
    const char *const names[] = {name};
    model_pause(&sim.model, all, name,
                sim_feed(&(struct engine_input){.kind = ENGINE_INPUT_PAUSE,
                                                .pause = {.all = all, .rules = names, .n_rules = *name ? 1 : 0}}));
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
        sim_preview();
    } else if (dice < 22) {
        bool leads = sim_chance(800);
        model_lead(&sim.model, leads,
                   sim_feed(&(struct engine_input){.kind = ENGINE_INPUT_LEADERSHIP, .leads = leads}));
    } else if (dice < 25) {
        sim_pause();
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
                                      .max_connections = 40,
                                      .own_pid = 1,
                                      .own_user = "pgvigil",
                                      .in_recovery = sim_chance(500)};
    sim.model.leads = true;
    sim.reconnects = sim_chance(500);
    sim.engine = engine_new("sim");
    sim_must(sim.engine != NULL);
    sim_change_policy();
    while (sim_step < end) {
        sim_go_on();
    }
    model_stop(&sim.model, sim_feed(&(struct engine_input){.kind = ENGINE_INPUT_STOP}));
    sim.engine = engine_free(sim.engine);
    sim.policy = policy_unref(sim.policy);
    return sim.model.hash;
}

// Another one for each of those that begin in the same second.
static uint64_t sim_new_seed(void) {
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * USEC_PER_SEC + (uint64_t)now.tv_nsec / 1000;
}

int main(int argc, char **argv) {
    sim_steps = argc > 1 ? strtoull(argv[1], NULL, 10) : DEFAULT_STEPS;
    sim_seed = argc > 2 ? strtoull(argv[2], NULL, 10) : sim_new_seed();
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
    names_check(2 * sim_steps); // two of us share the steps of a test run
    (void)printf("%llu steps, %llu decisions, %llu outcomes\n", (unsigned long long)sim_step,
                 (unsigned long long)n_decisions, (unsigned long long)n_outcomes);
    properties_print();
    return 0;
}
