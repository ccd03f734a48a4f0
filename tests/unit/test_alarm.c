// SPDX-License-Identifier: PostgreSQL
//
// The states of alarms, driven through the engine by scans. What they measure: test_alarm_metrics.c.
#include <errno.h>

#include "alarm_world.h"
#include "support/oom.h"

// --- The states ------------------------------------------------------------------------------------------------------

static struct alarm *add_slots_alarm(void) {
    struct alarm *alarm = add_alarm("slots", METRIC_USAGE, 80, 90);
    alarm->for_ = 15 * USEC_PER_SEC;
    alarm->clear_after = 30 * USEC_PER_SEC;
    return alarm;
}

static void a_life(void) {
    begin();
    (void)add_slots_alarm();
    give_policy(world.policy);
    set_rows("w", 77); // 79.4 %
    SCAN_AT(0, "");
    set_rows("w", 79); // 81.4 %
    SCAN_AT(5, "");
    SCAN_AT(10, "");
    SCAN_AT(15, "");
    SCAN_AT(20, "db: WARNING slots: usage 82% > 80% for 15s (79 of 97 usable slots; \"w\" 79)");
    SCAN_AT(25, "");
    set_rows("w", 90);
    SCAN_AT(30, "");
    SCAN_AT(35, "");
    SCAN_AT(45, "db: CRITICAL slots, was WARNING: usage 93% > 90% for 15s (90 of 97 usable slots; \"w\" 90)");
    set_rows("w", 85);
    SCAN_AT(50, "");
    SCAN_AT(60, "");
    SCAN_AT(70, "");
    SCAN_AT(80, "db: WARNING slots, was CRITICAL: usage 88% <= 90% for 30s (85 of 97 usable slots; \"w\" 85)");
    set_rows("w", 50);
    SCAN_AT(85, "");
    SCAN_AT(100, "");
    SCAN_AT(114, "");
    SCAN_AT(115, "db: cleared slots: usage 52% <= 80% for 30s (50 of 97 usable slots; \"w\" 50)");
    SCAN_AT(130, "");
    end();
}

// Exactly the threshold is not above it.
static void on_the_threshold(void) {
    begin();
    add_alarm("n", METRIC_CONNECTIONS, 5, -1);
    give_policy(world.policy);
    set_rows("w", 5);
    SCAN_AT(0, "");
    set_rows("w", 6);
    SCAN_AT(5, "db: WARNING n: connections 6 > 5 (6 of 97 usable slots; \"w\" 6)");
    set_rows("w", 5);
    SCAN_AT(10, "db: cleared n: connections 5 <= 5 (5 of 97 usable slots; \"w\" 5)");
    end();
}

// What goes up and down faster than `for` and `clear_after` is told of once.
static void does_not_flap(void) {
    begin();
    (void)add_slots_alarm();
    give_policy(world.policy);
    for (unsigned i = 0; i < 20; i++) {
        set_rows("w", i % 2 ? 79 : 70);
        SCAN_AT(i * 5, "");
    }
    set_rows("w", 79);
    SCAN_AT(100, "");
    SCAN_AT(105, "");
    SCAN_AT(110, "db: WARNING slots: usage 82% > 80% for 15s (79 of 97 usable slots; \"w\" 79)");
    world.n_told = 0;
    for (unsigned i = 0; i < 60; i++) {
        set_rows("w", i % 5 ? 70 : 79);
        SCAN_AT(115 + i * 5, "");
    }
    CHECK_EQ(world.n_told, 0);
    end();
}

static void straight_to_critical_and_back(void) {
    begin();
    add_alarm("both", METRIC_USAGE, 80, 90);
    add_alarm("only", METRIC_USAGE, -1, 90);
    give_policy(world.policy);
    set_rows("w", 95);
    SCAN_AT(0, "db: CRITICAL both: usage 98% > 90% (95 of 97 usable slots; \"w\" 95)\n"
               "db: CRITICAL only: usage 98% > 90% (95 of 97 usable slots; \"w\" 95)");
    set_rows("w", 10);
    SCAN_AT(5, "db: cleared both: usage 11% <= 80% (10 of 97 usable slots; \"w\" 10)\n"
               "db: cleared only: usage 11% <= 90% (10 of 97 usable slots; \"w\" 10)");
    end();
}

static void below(void) {
    begin();
    struct alarm *alarm = add_alarm("few", METRIC_CONNECTIONS, 5, 2);
    alarm->below = true;
    give_policy(world.policy);
    set_rows("w", 5);
    SCAN_AT(0, "");
    set_rows("w", 4);
    SCAN_AT(5, "db: WARNING few: connections 4 < 5 (4 of 97 usable slots; \"w\" 4)");
    set_rows("w", 0);
    SCAN_AT(10, "db: CRITICAL few, was WARNING: connections 0 < 2");
    set_rows("w", 2);
    SCAN_AT(15, "db: WARNING few, was CRITICAL: connections 2 >= 2 (2 of 97 usable slots; \"w\" 2)");
    set_rows("w", 9);
    SCAN_AT(20, "db: cleared few: connections 9 >= 5 (9 of 97 usable slots; \"w\" 9)");
    end();
}

// --- Absent data -----------------------------------------------------------------------------------------------------

static void absent_data_clears_nothing(void) {
    begin();
    (void)add_slots_alarm();
    give_policy(world.policy);
    set_rows("w", 90);
    SCAN_AT(0, "");
    SCAN_AT(10, "");
    SCAN_AT(15, "db: CRITICAL slots: usage 93% > 90% for 15s (90 of 97 usable slots; \"w\" 90)");
    feed(&(struct engine_input){.kind = ENGINE_INPUT_LOST});
    CHECK_STR(world.told, "");
    // A look after the loss says nothing; the first scan after the gap starts the clock of clearing.
    set_rows("w", 10);
    SCAN_AT(500, "");
    SCAN_AT(510, "");
    SCAN_AT(520, "");
    SCAN_AT(530, "db: cleared slots: usage 11% <= 80% for 30s (10 of 97 usable slots; \"w\" 10)");
    end();
}

static void a_gap_starts_the_clock_of_raising_again(void) {
    begin();
    (void)add_slots_alarm();
    give_policy(world.policy);
    set_rows("w", 90);
    SCAN_AT(0, "");
    SCAN_AT(10, "");
    SCAN_AT(26, ""); // 16 s without a poll: over three intervals
    SCAN_AT(36, "");
    SCAN_AT(41, "db: CRITICAL slots: usage 93% > 90% for 15s (90 of 97 usable slots; \"w\" 90)");
    // Another server, the same alarm; it clears by what that one shows.
    world.postmaster_start = 2;
    set_rows("w", 5);
    SCAN_AT(46, "");
    SCAN_AT(60, "");
    SCAN_AT(70, "");
    SCAN_AT(76, "db: cleared slots: usage 6% <= 80% for 30s (5 of 97 usable slots; \"w\" 5)");
    end();
}

static void a_look_is_no_scan(void) {
    begin();
    add_alarm("n", METRIC_CONNECTIONS, 5, -1);
    give_policy(world.policy);
    set_rows("w", 6);
    SCAN_AT(0, "db: WARNING n: connections 6 > 5 (6 of 97 usable slots; \"w\" 6)");
    struct scan look = make_scan();
    const struct session_id asked[] = {world.rows[0].id, world.rows[1].id};
    look.kind = SCAN_LOOK;
    look.n_rows = 0; // both have gone
    look.asked = asked;
    look.n_asked = 2;
    feed(&(struct engine_input){.kind = ENGINE_INPUT_SCAN, .scan = &look});
    CHECK_STR(world.told, "");
    end();
}

// --- Always on -------------------------------------------------------------------------------------------------------

static void full(void) {
    begin();
    set_rows("w", 96);
    SCAN_AT(0, "");
    set_rows("w", 97);
    SCAN_AT(5, "db: CRITICAL full: no usable connection slot is left (97 of 97 usable slots; \"w\" 97)");
    set_rows("w", 96);
    SCAN_AT(10, "");
    SCAN_AT(19, "");
    SCAN_AT(20, "db: cleared full (96 of 97 usable slots; \"w\" 96)");
    end();
}

static void forged_names(void) {
    begin();
    give_policy(world.policy);
    set_rows("pg_dump", 5);
    SCAN_AT(0, "");
    (void)add_row("pg_dump", SESSION_STATE_IDLE);
    world.rows[5].client = (struct address){ADDRESS_INET, {10, 0, 0, 1}}; // wherever it comes from
    SCAN_AT(5, "db: WARNING forged_name of pg_dump by u: 6 sessions are protected by a built-in name that any client "
               "can take; hint: bind the name to the user that runs it: protect: { builtin: { NAME: USER } }");
    for (size_t i = 0; i < 3; i++) {
        world.rows[i].user = "v"; // two users of one name are two
    }
    SCAN_AT(10, "");
    SCAN_AT(20, "db: cleared forged_name of pg_dump by u");
    // Each with a name of its own.
    set_rows("pgbackrest-1", 3);
    for (size_t i = 0; i < 3; i++) {
        (void)add_row((char[]){'p', 'g', 'b', 'a', 'c', 'k', 'r', 'e', 's', 't', (char)('a' + i), '\0'},
                      SESSION_STATE_IDLE);
    }
    SCAN_AT(25, "db: WARNING forged_name of pgbackrest* by u: 6 sessions are protected by a built-in name that any "
                "client can take; hint: bind the name to the user that runs it: protect: { builtin: { NAME: USER } }");
    end();
}

static void a_bound_name_is_not_forged(void) {
    begin();
    for (size_t i = 0; protect_builtin_names[i]; i++) {
        if (strcmp(protect_builtin_names[i], "pg_dump") == 0) {
            CHECK_EQ(pattern_new("u", &world.policy->protect.builtin_user[i], NULL), 0);
        }
    }
    give_policy(world.policy);
    set_rows("pg_dump", 20);
    SCAN_AT(0, "");
    end();
}

static void tell_condition(enum condition condition, bool holds, const char *detail, const char *hint) {
    feed(&(struct engine_input){.kind = ENGINE_INPUT_CONDITION, .condition = {condition, holds, detail, hint}});
}

static void conditions(void) {
    begin();
    tell_condition(CONDITION_LOCKED_OUT, true, "FATAL: sorry, too many clients already", "free a slot");
    CHECK_STR(world.told, "db: CRITICAL locked_out: FATAL: sorry, too many clients already; hint: free a slot");
    tell_condition(CONDITION_LOCKED_OUT, true, "again", NULL);
    CHECK_STR(world.told, "");
    tell_condition(CONDITION_POWERLESS, true, NULL, NULL);
    CHECK_STR(world.told, "db: WARNING powerless");
    set_rows("w", 3);
    SCAN_AT(5, ""); // a scan alone clears none
    tell_condition(CONDITION_LOCKED_OUT, false, NULL, NULL);
    CHECK_STR(world.told, "db: cleared locked_out");
    tell_condition(CONDITION_LOCKED_OUT, false, NULL, NULL);
    CHECK_STR(world.told, "");
    tell_condition(CONDITION_BLIND, false, NULL, NULL); // never held
    CHECK_STR(world.told, "");
    CHECK_STR(condition_to_string(CONDITION_LEADER_UNKNOWN), "leader_unknown");
    end();
}

static void lingering(void) {
    begin();
    struct timeout *timeout = policy_add_timeout(world.policy, "idle");
    timeout->state = SESSION_STATE_BIT(SESSION_STATE_IDLE);
    timeout->after = USEC_PER_SEC;
    world.policy->enforce = true;
    feed(&(struct engine_input){
        .kind = ENGINE_INPUT_POLICY,
        .policy = {.policy = world.policy, .enforce = true, .poll_interval = 5 * USEC_PER_SEC, .pressure_at = 80}});
    set_rows("w", 2);
    SCAN_AT(5, "");
    for (uint64_t serial = 1; serial <= 2; serial++) {
        feed(&(struct engine_input){.kind = ENGINE_INPUT_ACT, .act = {.serial = serial, .result = ACT_SIGNALLED}});
    }
    SCAN_AT(10, "");
    SCAN_AT(16, "db: WARNING lingering: 2 sessions are still there over 10 s after being ended; hint: a backend that "
                "does not end is stuck in I/O or in an extension: see its wait_event in pg_stat_activity");
    SCAN_AT(20, "");
    set_rows("w", 0);
    SCAN_AT(25, "db: cleared lingering");
    end();
}

// --- Reload ----------------------------------------------------------------------------------------------------------

static void a_reload_keeps_and_clears(void) {
    begin();
    add_slots_alarm();
    add_alarm("gone", METRIC_CONNECTIONS, 5, -1);
    add_alarm("changed", METRIC_CONNECTIONS, 5, -1);
    struct policy *first = world.policy;
    give_policy(first);
    set_rows("w", 90);
#define HOLDERS " (90 of 97 usable slots; \"w\" 90)"
    SCAN_AT(0, "db: WARNING gone: connections 90 > 5" HOLDERS "\ndb: WARNING changed: connections 90 > 5" HOLDERS);
    SCAN_AT(10, "");

    world.policy = policy_new();
    CHECK_NOT_NULL(world.policy);
    add_alarm("new", METRIC_IDLE, 50, -1);
    add_slots_alarm();
    add_alarm("changed", METRIC_CONNECTIONS, 6, -1);
    give_policy(world.policy);
    CHECK_STR(world.told, "db: cleared gone: removed from the configuration\n"
                          "db: cleared changed: its entry in the configuration has changed: it starts anew");
    policy_unref(first);
    // The equal one goes on counting.
    SCAN_AT(15, "db: WARNING new: idle 90 > 50" HOLDERS "\n"
                "db: CRITICAL slots: usage 93% > 90% for 15s" HOLDERS "\n"
                "db: WARNING changed: connections 90 > 6" HOLDERS);
#undef HOLDERS
    // The same again changes nothing.
    give_policy(world.policy);
    CHECK_STR(world.told, "");
    SCAN_AT(20, "");
    end();
}

static void many_reloads_do_not_grow(void) {
    begin();
    struct policy *first = world.policy;
    (void)add_alarm("a", METRIC_CONNECTIONS, 1, -1);
    add_alarm("b", METRIC_CONNECTIONS, 0, -1)->per = GROUP_KEY_BIT(GROUP_APPLICATION_NAME);
    struct policy *second = policy_new();
    world.policy = second;
    (void)add_alarm("a", METRIC_CONNECTIONS, 2, -1);
    set_rows("w", 10);
    size_t n_live = 0;
    for (unsigned i = 0; i < 200; i++) {
        give_policy(i % 2 ? second : first);
        world.at += USEC_PER_SEC;
        const struct scan scan = make_scan();
        feed(&(struct engine_input){.kind = ENGINE_INPUT_SCAN, .scan = &scan});
        if (i == 99) {
            n_live = oom_n_live();
        }
    }
    CHECK_EQ(oom_n_live(), n_live);
    policy_unref(first);
    end();
}

// A client that invents a name for every connection.
static void groups_are_forgotten(void) {
    begin();
    struct alarm *alarm = add_alarm("name", METRIC_CONNECTIONS, 0, -1);
    alarm->per = GROUP_KEY_BIT(GROUP_APPLICATION_NAME);
    alarm->clear_after = USEC_PER_HOUR; // all of them stay raised
    give_policy(world.policy);
    for (unsigned i = 0; i < 100; i++) {
        set_rows("w", 30);
        for (size_t k = 0; k < 30; k++) {
            (void)snprintf(world.names[k + 1], sizeof(world.names[0]), "n%u-%zu", i, k);
        }
        world.at += 2 * USEC_PER_SEC;
        const struct scan scan = make_scan();
        const struct engine_result *result;
        CHECK_EQ(engine_step(world.engine, &(struct engine_input){.kind = ENGINE_INPUT_SCAN, .scan = &scan},
                             START + world.at, &result),
                 0);
        world.n_told += result->n_events;
    }
    CLEANUP(summary_deinit) struct summary summary = {0};
    CHECK_EQ(engine_summarize(world.engine, &summary), 0);
    CHECK_EQ(summary.n_alarms, 1001); // and the one for all others
    CHECK_EQ(world.n_told, 1001);
    end();
}

static void summary_of_alarms(void) {
    CLEANUP(summary_deinit) struct summary summary = {0};
    begin();
    (void)add_slots_alarm();
    add_alarm("n", METRIC_CONNECTIONS, 5, 50)->per = GROUP_KEY_BIT(GROUP_USER);
    give_policy(world.policy);
    set_rows("w", 60);
    SCAN_AT(0, "db: CRITICAL n of u: connections 60 > 50 (60 of 97 usable slots; \"w\" 60)");
    set_rows("w", 61);
    SCAN_AT(1, "");
    tell_condition(CONDITION_POWERLESS, true, "no right", "GRANT it");
    CHECK_EQ(engine_summarize(world.engine, &summary), 0);
    end();
    CHECK_EQ(summary.n_alarms, 2);
    CHECK_STR(summary.alarms[0].name, "powerless");
    CHECK_NULL(summary.alarms[0].group);
    CHECK_EQ(summary.alarms[0].severity, SEVERITY_WARNING);
    CHECK_EQ(summary.alarms[0].value, EVENT_NUMBER_NONE);
    CHECK_STR(summary.alarms[0].detail, "no right");
    CHECK_STR(summary.alarms[0].hint, "GRANT it");
    CHECK_STR(summary.alarms[1].name, "n");
    CHECK_STR(summary.alarms[1].group, "u");
    CHECK_EQ(summary.alarms[1].severity, SEVERITY_CRITICAL);
    CHECK_EQ(summary.alarms[1].value, 61);
}

// --- Out of memory
// -----------------------------------------------------------------------------------------------------

// A timeline in which one step fails: what it would have said of alarms is said by a later one, once.
static bool oom_step(const struct engine_input *input, unsigned *n_said, bool *failed) {
    const struct engine_result *result;
    int r = engine_step(world.engine, input, START + world.at, &result);
    if (r < 0) {
        CHECK_EQ(r, -ENOMEM);
        *failed = true;
        return false;
    }
    for (size_t i = 0; i < result->n_events; i++) {
        *n_said += result->events[i].kind == EVENT_ALARM;
    }
    return true;
}

static void oom_feed(const struct engine_input *input, unsigned *n_said, bool *failed) {
    if (!oom_step(input, n_said, failed)) {
        CHECK(oom_step(input, n_said, failed));
    }
}

static void oom_scan(unsigned seconds, unsigned *n_said, bool *failed) {
    world.at = seconds * USEC_PER_SEC;
    struct scan scan = make_scan();
    oom_feed(&(struct engine_input){.kind = ENGINE_INPUT_SCAN, .scan = &scan}, n_said, failed);
}

static int busy(void *userdata) {
    unsigned n_said = 0;
    bool failed = false;
    (void)userdata;
    world.at = 0;
    world.engine = engine_new("db");
    if (!world.engine) {
        return -ENOMEM;
    }
    struct policy *none = policy_new();
    if (!none) {
        world.engine = engine_free(world.engine);
        return -ENOMEM;
    }
    oom_feed(&(struct engine_input){.kind = ENGINE_INPUT_POLICY, .policy = {.policy = world.policy}}, &n_said, &failed);
    oom_feed(&(struct engine_input){.kind = ENGINE_INPUT_CONDITION,
                                    .condition = {CONDITION_BLIND, true, "not allowed", "GRANT pg_monitor"}},
             &n_said, &failed);
    oom_scan(1, &n_said, &failed);
    oom_scan(2, &n_said, &failed);
    CLEANUP(summary_deinit) struct summary summary = {0};
    if (engine_summarize(world.engine, &summary) == 0) {
        CHECK_EQ(summary.n_alarms, n_said);
    } else {
        failed = true;
    }
    unsigned n_raised = n_said;
    oom_feed(&(struct engine_input){.kind = ENGINE_INPUT_POLICY, .policy = {.policy = none}}, &n_said, &failed);
    oom_scan(30, &n_said, &failed);
    CHECK_EQ(n_raised, 7);
    CHECK_EQ(n_said, 7 + 4); // what is not always on is cleared
    world.engine = engine_free(world.engine);
    policy_unref(none);
    return failed ? -ENOMEM : 0;
}

static void nothing_is_lost_by_oom(void) {
    begin();
    world.engine = engine_free(world.engine);
    add_alarm("n", METRIC_CONNECTIONS, 5, -1);
    add_alarm("user", METRIC_CONNECTIONS, 5, -1)->per = GROUP_KEY_BIT(GROUP_USER) | GROUP_KEY_BIT(GROUP_APP);
    add_alarm("role", METRIC_ROLE_LIMIT, 5, -1);
    set_rows("pg_dump", 97);
    for (size_t i = 0; i < 97; i++) {
        world.rows[i].user_limit = 200;
    }
    world.rows[96].user = "v";
    struct alarm *alarm = add_alarm("match", METRIC_CONNECTIONS, 5, -1);
    alarm->match = make_selector(SELECTOR_USER, "u");
    oom_sweep(busy, NULL);
    world.policy = policy_unref(world.policy);
}

CHECK_MAIN({"a_life", a_life}, {"on_the_threshold", on_the_threshold}, {"does_not_flap", does_not_flap},
           {"straight_to_critical_and_back", straight_to_critical_and_back}, {"below", below},
           {"absent_data_clears_nothing", absent_data_clears_nothing},
           {"a_gap_starts_the_clock_of_raising_again", a_gap_starts_the_clock_of_raising_again},
           {"a_look_is_no_scan", a_look_is_no_scan}, {"full", full}, {"forged_names", forged_names},
           {"a_bound_name_is_not_forged", a_bound_name_is_not_forged}, {"conditions", conditions},
           {"lingering", lingering}, {"a_reload_keeps_and_clears", a_reload_keeps_and_clears},
           {"many_reloads_do_not_grow", many_reloads_do_not_grow}, {"groups_are_forgotten", groups_are_forgotten},
           {"summary_of_alarms", summary_of_alarms}, {"nothing_is_lost_by_oom", nothing_is_lost_by_oom})
