// SPDX-License-Identifier: PostgreSQL
//
// What alarms measure, of whom, and what they say of it.
#include "alarm_world.h"

// --- Metrics ---------------------------------------------------------------------------------------------------------

static void counts(void) {
    begin();
    add_alarm("idle", METRIC_IDLE, 1, -1);
    add_alarm("active", METRIC_ACTIVE, 0, -1);
    add_alarm("open", METRIC_IDLE_IN_TRANSACTION, 1, -1);
    add_alarm("waiting", METRIC_WAITING, 0, -1);
    add_alarm("blocked", METRIC_BLOCKED, 0, -1);
    give_policy(world.policy);
    (void)add_row("a", SESSION_STATE_IDLE);
    (void)add_row("a", SESSION_STATE_IDLE);
    (void)add_row("a", SESSION_STATE_IDLE_IN_TRANSACTION);
    (void)add_row("a", SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED);
    (void)add_row("a", SESSION_STATE_DISABLED);
    (void)add_row("a", SESSION_STATE_NONE);
    static const int64_t holder = 103;
    struct session_row *row = add_row("b", SESSION_STATE_ACTIVE);
    row->waits_lock = true;
    row->blocked_by = &holder;
    row->n_blocked_by = 1;
    row = add_row("pgvigil", SESSION_STATE_ACTIVE); // we ourselves
    row->user = "pgvigil";
#define HOLDERS " (8 of 97 usable slots; \"a\" 6, \"b\" 1, \"pgvigil\" 1)"
    SCAN_AT(0, "db: WARNING idle: idle 2 > 1" HOLDERS "\n"
               "db: WARNING active: active 1 > 0" HOLDERS "\n"
               "db: WARNING open: idle in transaction 2 > 1" HOLDERS "\n"
               "db: WARNING waiting: waiting 1 > 0" HOLDERS "\n"
               "db: WARNING blocked: blocked 1 > 0" HOLDERS);
#undef HOLDERS
    end();
}

static void durations(void) {
    const int64_t limit = (int64_t)(60 * USEC_PER_SEC);
    begin();
    add_alarm("idle", METRIC_LONGEST_IDLE, limit, -1);
    add_alarm("query", METRIC_LONGEST_QUERY, limit, -1);
    add_alarm("transaction", METRIC_LONGEST_TRANSACTION, limit, -1);
    add_alarm("open", METRIC_LONGEST_IDLE_IN_TRANSACTION, limit, -1);
    give_policy(world.policy);
    (void)add_row("a", SESSION_STATE_IDLE);
    (void)add_row("a", SESSION_STATE_ACTIVE);
    (void)add_row("a", SESSION_STATE_IDLE_IN_TRANSACTION);
    world.rows[1].xact_start = SERVER_START - 5 * (int64_t)USEC_PER_SEC;
    SCAN_AT(59, "db: WARNING transaction: longest transaction 64s > 60s (3 of 97 usable slots; \"a\" 3)");
#define HOLDERS " (3 of 97 usable slots; \"a\" 3)"
    SCAN_AT(61, "db: WARNING idle: longest idle 61s > 60s" HOLDERS "\n"
                "db: WARNING query: longest query 61s > 60s" HOLDERS "\n"
                "db: WARNING open: longest idle in transaction 61s > 60s" HOLDERS);
#undef HOLDERS
    // Nobody is there: that is data.
    set_rows("a", 0);
    SCAN_AT(66, "db: cleared idle: longest idle 0.0s <= 60s\n"
                "db: cleared query: longest query 0.0s <= 60s\n"
                "db: cleared transaction: longest transaction 0.0s <= 60s\n"
                "db: cleared open: longest idle in transaction 0.0s <= 60s");
    end();
}

// Without a match, durations leave protected sessions out: a listener is idle for ever. With one they do not.
static void durations_of_protected_sessions(void) {
    const int64_t limit = (int64_t)(60 * USEC_PER_SEC);
    begin();
    add_alarm("all", METRIC_LONGEST_IDLE, limit, -1);
    struct alarm *alarm = add_alarm("named", METRIC_LONGEST_IDLE, limit, -1);
    alarm->match = make_selector(SELECTOR_APPLICATION_NAME, "PostgREST*");
    give_policy(world.policy);
    struct session_row *row = add_row("PostgREST 12", SESSION_STATE_IDLE);
    row->command = SESSION_COMMAND_LISTEN;
    SCAN_AT(70, "db: WARNING named: longest idle 70s > 60s (1 of 97 usable slots; \"PostgREST 12\" 1)");
    end();
}

static void limits_of_roles_and_databases(void) {
    begin();
    add_alarm("roles", METRIC_ROLE_LIMIT, 80, -1);
    add_alarm("databases", METRIC_DATABASE_LIMIT, 80, -1);
    give_policy(world.policy);
    for (size_t i = 0; i < 20; i++) {
        struct session_row *row = add_row(i % 2 ? "a" : "b", SESSION_STATE_IDLE);
        row->user = i < 9 ? "worker" : "other";
        row->user_limit = i < 9 ? 10 : -1;
        row->database = i < 9 ? "app" : "postgres";
        row->database_limit = i < 9 ? 100 : 12;
        row->superuser = i == 8; // no limit binds it
    }
    SCAN_AT(0, "db: WARNING databases: database limit 92% > 80%: database 'postgres' has 11 of 12 connections (20 of "
               "97 usable slots; \"a\" 10, \"b\" 10)");
    world.rows[8].superuser = false;
    SCAN_AT(5, "db: WARNING roles: role limit 90% > 80%: role 'worker' has 9 of 10 connections (20 of 97 usable slots; "
               "\"a\" 10, \"b\" 10)");
    end();
}

// Of 200 connections 199: over 99 %, and not full.
static void nothing_is_full_while_one_is_free(void) {
    CLEANUP(summary_deinit) struct summary summary = {0};
    begin();
    struct alarm *alarm = add_alarm("roles", METRIC_ROLE_LIMIT, 98, 99);
    give_policy(world.policy);
    set_rows("w", 199);
    for (size_t i = 0; i < world.n_rows; i++) {
        world.rows[i].user_limit = 200;
    }
    alarm->for_ = 0;
#define TAKEN ": role 'u' has 199 of 200 connections (199 of 97 usable slots; \"w\" 199)"
    SCAN_AT(0, "db: CRITICAL full: no usable connection slot is left (199 of 97 usable slots; \"w\" 199)\n"
               "db: CRITICAL roles: role limit > 99%" TAKEN);
#undef TAKEN
    CHECK_EQ(engine_summarize(world.engine, &summary), 0);
    CHECK_EQ(summary.alarms[1].value, 99);
    end();
}

// A limit of 0 closes a role to others than those who are there.
static void a_limit_of_nothing(void) {
    begin();
    add_alarm("roles", METRIC_ROLE_LIMIT, 80, -1);
    give_policy(world.policy);
    set_rows("w", 3);
    for (size_t i = 0; i < world.n_rows; i++) {
        world.rows[i].user_limit = 0;
    }
    SCAN_AT(0, "db: WARNING roles: role limit 300% > 80%: role 'u' has 3 of 0 connections (3 of 97 usable slots; "
               "\"w\" 3)");
    end();
}

// Below 10 % at 9.3 %, which every table shows as 10 %.
static void below_as_it_is_shown(void) {
    begin();
    add_alarm("few", METRIC_USAGE, 10, 9)->below = true;
    give_policy(world.policy);
    set_rows("w", 9);
    SCAN_AT(0, "db: WARNING few: usage < 10% (9 of 97 usable slots; \"w\" 9)");
    set_rows("w", 8); // 8.2 %
    SCAN_AT(5, "db: CRITICAL few, was WARNING: usage < 9% (8 of 97 usable slots; \"w\" 8)");
    set_rows("w", 10);
    SCAN_AT(10, "db: cleared few: usage 11% >= 10% (10 of 97 usable slots; \"w\" 10)");
    end();
}

static void time_to_full(void) {
    begin();
    struct alarm *alarm =
        add_alarm("filling-up", METRIC_TIME_TO_FULL, 30 * (int64_t)USEC_PER_MINUTE, 2 * (int64_t)USEC_PER_MINUTE);
    alarm->below = true;
    alarm->clear_after = 30 * USEC_PER_SEC;
    give_policy(world.policy);
    for (unsigned i = 0; i < 24; i++) {
        set_rows("leak", 10 + i);
        SCAN_AT(i * 5, ""); // not known before two minutes
    }
    set_rows("leak", 34);
    SCAN_AT(120, "db: WARNING filling-up: time to full 315s < 1800s (34 of 97 usable slots; \"leak\" 34)");
    for (unsigned i = 25; i < 64; i++) {
        set_rows("leak", 10 + i);
        SCAN_AT(i * 5, "");
    }
    set_rows("leak", 74);
    SCAN_AT(320, "db: CRITICAL filling-up, was WARNING: time to full 115s < 120s (74 of 97 usable slots; \"leak\" 74)");
    // Ended in one go: not known, so nothing clears; then it is flat.
    set_rows("leak", 20);
    for (unsigned i = 0; i < 66; i++) {
        SCAN_AT(325 + i * 5, "");
    }
    SCAN_AT(655, "db: cleared filling-up: the slots do not fill up any more (20 of 97 usable slots; \"leak\" 20)");
    end();
}

// --- Whom it speaks of -----------------------------------------------------------------------------------------------

static void match_and_ignore(void) {
    begin();
    struct app *app = policy_add_app(world.policy, "worker");
    app->match = make_selector(SELECTOR_APPLICATION_NAME, "w-*");
    struct alarm *alarm = add_alarm("leak", METRIC_IDLE, 2, -1);
    alarm->match = make_selector(SELECTOR_APP, "worker");
    alarm->ignore = make_selector(SELECTOR_USER, "reporting");
    give_policy(world.policy);
    set_rows("w-1", 3);
    (void)add_row("other", SESSION_STATE_IDLE);
    world.rows[0].user = "reporting";
    SCAN_AT(0, "");
    world.rows[0].user = "u";
    SCAN_AT(5, "db: WARNING leak: idle 3 > 2 (4 of 97 usable slots; worker 3, \"other\" 1)");
    end();
}

static void match_by_query(void) {
    unsigned bit;
    char *why = NULL;
    begin();
    CHECK_EQ(policy_add_query(world.policy, "/^copy/i", &bit, &why), 0);
    struct alarm *alarm = add_alarm("copies", METRIC_ACTIVE, 1, -1);
    alarm->match = selector_new();
    CHECK(alarm->match && selector_add_clause(alarm->match) == 0 && selector_add_query(alarm->match, bit) == 0);
    give_policy(world.policy);
    for (size_t i = 0; i < 4; i++) {
        (void)add_row("a", SESSION_STATE_ACTIVE);
    }
    world.rows[0].query_matches = 1u << bit;
    SCAN_AT(0, "");
    world.rows[3].query_matches = 1u << bit;
    SCAN_AT(5, "db: WARNING copies: active 2 > 1 (4 of 97 usable slots; \"a\" 4)");
    world.rows[0].query_matches = 0;
    SCAN_AT(10, "db: cleared copies: active 1 <= 1 (4 of 97 usable slots; \"a\" 4)");
    end();
}

static void per_group(void) {
    begin();
    struct alarm *alarm = add_alarm("per", METRIC_CONNECTIONS, 2, -1);
    alarm->per = GROUP_KEY_BIT(GROUP_USER) | GROUP_KEY_BIT(GROUP_CLIENT_ADDR);
    alarm->clear_after = 10 * USEC_PER_SEC;
    give_policy(world.policy);
    set_rows("x", 8);
    for (size_t i = 0; i < 8; i++) {
        world.rows[i].client = (struct address){ADDRESS_INET, {10, 0, 0, (uint8_t)(i / 3)}};
    }
    world.rows[5].user = "v";
#define HOLDERS " (8 of 97 usable slots; \"x\" 8)"
    SCAN_AT(0, "db: WARNING per of u, 10.0.0.0: connections 3 > 2" HOLDERS);
    world.rows[5].user = "u";
    SCAN_AT(5, "db: WARNING per of u, 10.0.0.1: connections 3 > 2" HOLDERS);
#undef HOLDERS
    // A group whose sessions are all gone has none, and clears like any other.
    world.n_rows = 3;
    SCAN_AT(10, "");
    SCAN_AT(15, "");
    SCAN_AT(20, "db: cleared per of u, 10.0.0.1: connections 0 <= 2 for 10s (3 of 97 usable slots; \"x\" 3)");
    end();
}

// An app and a stranger with its name are two groups; names are escaped once.
static void per_app_and_name(void) {
    begin();
    struct app *app = policy_add_app(world.policy, "w");
    app->match = make_selector(SELECTOR_USER, "worker");
    add_alarm("app", METRIC_CONNECTIONS, 1, -1)->per = GROUP_KEY_BIT(GROUP_APP);
    add_alarm("name", METRIC_CONNECTIONS, 1, -1)->per = GROUP_KEY_BIT(GROUP_APPLICATION_NAME);
    give_policy(world.policy);
    (void)add_row("w", SESSION_STATE_IDLE);
    (void)add_row("x\\\n", SESSION_STATE_IDLE);
    (void)add_row("w", SESSION_STATE_IDLE);
    (void)add_row("x\\\n", SESSION_STATE_IDLE);
    world.rows[2].user = "worker";
    SCAN_AT(0,
            "db: WARNING app of \"x\\\\\\n\": connections 2 > 1 (4 of 97 usable slots; \"x\\\\\\n\" 2, \"w\" 1, w 1)\n"
            "db: WARNING name of \"w\": connections 2 > 1 (4 of 97 usable slots; \"x\\\\\\n\" 2, \"w\" 1, w 1)\n"
            "db: WARNING name of \"x\\\\\\n\": connections 2 > 1 (4 of 97 usable slots; \"x\\\\\\n\" 2, \"w\" 1, w 1)");
    end();
}

static void holders_fold(void) {
    begin();
    add_alarm("n", METRIC_CONNECTIONS, 5, -1);
    give_policy(world.policy);
    for (char c = 'a'; c <= 'g'; c++) {
        for (char k = 'a'; k <= c; k++) {
            (void)add_row((char[]){c, '\0'}, SESSION_STATE_IDLE);
        }
    }
    SCAN_AT(0, "db: WARNING n: connections 28 > 5 (28 of 97 usable slots; \"g\" 7, \"f\" 6, \"e\" 5, \"d\" 4, \"c\" 3, "
               "other 3)");
    end();
}

CHECK_MAIN({"counts", counts}, {"durations", durations},
           {"durations_of_protected_sessions", durations_of_protected_sessions},
           {"limits_of_roles_and_databases", limits_of_roles_and_databases}, {"a_limit_of_nothing", a_limit_of_nothing},
           {"nothing_is_full_while_one_is_free", nothing_is_full_while_one_is_free},
           {"below_as_it_is_shown", below_as_it_is_shown}, {"time_to_full", time_to_full},
           {"match_and_ignore", match_and_ignore}, {"match_by_query", match_by_query}, {"per_group", per_group},
           {"per_app_and_name", per_app_and_name}, {"holders_fold", holders_fold})
