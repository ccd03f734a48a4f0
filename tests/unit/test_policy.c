// SPDX-License-Identifier: PostgreSQL
#include "core/policy.h"

#include <errno.h>
#include <string.h>

#include "core/decision.h"
#include "support/check.h"
#include "support/oom.h"
#include "util/cleanup.h"

DEFINE_CLEANUP(struct selector *, selector_free)

static void defaults(void) {
    CLEANUP(policy_unrefp) struct policy *policy = policy_new();
    CHECK_NOT_NULL(policy);
    CHECK(!policy->enforce); // P8: observe first
    CHECK_EQ(policy->n_apps, 0);
    CHECK_EQ(policy->n_timeouts, 0);
    CHECK(policy->protect.builtin);
    CHECK(policy->protect.superusers);
    CHECK(policy->protect.listeners);
    CHECK(policy->protect.maintenance);
    CHECK_EQ(policy->protect.min_age, 5 * USEC_PER_SEC);
    CHECK_NULL(policy->protect.match);
    for (size_t i = 0; i < PROTECT_N_BUILTIN; i++) {
        CHECK_NULL(policy->protect.builtin_user[i]);
    }
    CHECK_EQ(policy->limits.per_poll, 20);
    CHECK_EQ(policy->limits.per_minute, 60);
    CHECK_EQ(policy->limits.pressure_per_minute, 600);
    CHECK_EQ(policy->limits.share, 100);
    CHECK_EQ(policy->limits.breaker_rounds, 3);
    CHECK_EQ(policy->limits.breaker_pause, 5 * USEC_PER_MINUTE);
    CHECK_EQ(policy->query_text, 0);
    CHECK_EQ(policy->n_quotas + policy->n_alarms + policy->n_queries, 0);
    CHECK(!policy_asks_blockers(policy));

    struct app *app = policy_add_app(policy, "worker");
    CHECK_NOT_NULL(app);
    CHECK_STR(app->name, "worker");
    CHECK_NULL(app->match);
    CHECK_EQ(app->pool, -1);

    struct timeout *timeout = policy_add_timeout(policy, "idle");
    CHECK_NOT_NULL(timeout);
    CHECK_STR(timeout->name, "idle");
    CHECK(timeout->enforce);
    CHECK_EQ(timeout->action, ACTION_TERMINATE);
    CHECK_EQ(timeout->keep, 0);
    CHECK_EQ(timeout->state, 0u);
    CHECK_NULL(timeout->match);
    CHECK_NULL(timeout->ignore);
    CHECK(!timeout->has_then && !timeout->when.has_usage);
    CHECK_EQ(timeout->grace, 30 * USEC_PER_SEC);
    CHECK_EQ(timeout->when.blocks, 0);
    timeout->when.blocks = 1;
    CHECK(policy_asks_blockers(policy));

    const struct quota *quota = policy_add_quota(policy, "worker");
    CHECK_NOT_NULL(quota);
    CHECK_STR(quota->name, "worker");
    CHECK(quota->enforce && !quota->max_is_percent);
    CHECK_EQ(quota->per, 0u);
    CHECK_EQ(quota->max, 0);
    CHECK_EQ(quota->for_, 0);
    CHECK_EQ(quota->n_evict, 1);
    CHECK_EQ(quota->evict[0], SESSION_STATE_IDLE);
    CHECK_EQ(quota->min_idle, 5 * USEC_PER_SEC);
    CHECK_EQ(quota->victims, VICTIMS_LONGEST);
    CHECK_EQ(quota->action, ACTION_TERMINATE);

    struct alarm *alarm = policy_add_alarm(policy, "slots");
    CHECK_NOT_NULL(alarm);
    CHECK_STR(alarm->name, "slots");
    CHECK(!alarm->has_warning && !alarm->has_critical && !alarm->below);
    CHECK_EQ(alarm->for_, 0);
    CHECK_EQ(alarm->clear_after, 0);

    // Commands bring rules of their own.
    policy_clear_timeouts(policy);
    CHECK_EQ(policy->n_timeouts + policy->n_quotas + policy->n_alarms, 0);
    CHECK(!policy_asks_blockers(policy));
    alarm = policy_add_alarm(policy, "blocked");
    CHECK_NOT_NULL(alarm);
    alarm->metric = METRIC_BLOCKED;
    CHECK(policy_asks_blockers(policy));
}

static void metrics(void) {
    static const struct {
        const char *name;
        enum metric_unit unit;
        bool by_session;
    } cases[] = {
        {"usage", METRIC_UNIT_PERCENT, false},
        {"connections", METRIC_UNIT_COUNT, true},
        {"idle", METRIC_UNIT_COUNT, true},
        {"active", METRIC_UNIT_COUNT, true},
        {"idle_in_transaction", METRIC_UNIT_COUNT, true},
        {"waiting", METRIC_UNIT_COUNT, true},
        {"blocked", METRIC_UNIT_COUNT, true},
        {"longest_idle", METRIC_UNIT_DURATION, true},
        {"longest_query", METRIC_UNIT_DURATION, true},
        {"longest_transaction", METRIC_UNIT_DURATION, true},
        {"longest_idle_in_transaction", METRIC_UNIT_DURATION, true},
        {"time_to_full", METRIC_UNIT_DURATION, false},
        {"role_limit", METRIC_UNIT_PERCENT, false},
        {"database_limit", METRIC_UNIT_PERCENT, false},
    };
    CHECK_EQ(ARRAY_SIZE(cases), N_METRICS);
    for (unsigned i = 0; i < N_METRICS; i++) {
        CHECK_STR(metric_to_string((enum metric)i), cases[i].name);
        CHECK_EQ(metric_unit((enum metric)i), cases[i].unit);
        CHECK_EQ(metric_is_by_session((enum metric)i), cases[i].by_session);
    }
}

// P4: the names of DESIGN, each a pattern that compiles.
static void builtin_names(void) {
    static const struct {
        const char *name;
        bool is_protected;
    } cases[] = {
        {"pg_dump", true},
        {"pg_dumpall", true},
        {"pg_restore", true},
        {"pg_basebackup", true},
        {"pg_upgrade", true},
        {"vacuumdb", true},
        {"reindexdb", true},
        {"pg_repack", true},
        {"pgbackrest", true},
        {"barman_cron", true},
        {"wal-g-1", true},
        {"Patroni restapi", true},
        {"repmgrd", true},
        {"postgres_fdw", true},
        {"pg_auto_failover monitor", true},
        {"pgbackrest [backup]", true},
        {"pg_dump2", false},
        {"PG_DUMP", false},
        {"psql", false},
        {"", false},
        {"my pg_dump", false},
        {"postgres_fdwx", false},
    };
    CHECK_NULL(protect_builtin_names[PROTECT_N_BUILTIN]);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int n = 0;
        check_context("name %s", cases[i].name);
        for (size_t j = 0; j < PROTECT_N_BUILTIN; j++) {
            struct pattern *pattern = NULL;
            char *why;
            CHECK_EQ(pattern_new(protect_builtin_names[j], &pattern, &why), 0);
            n += pattern_matches(pattern, cases[i].name);
            pattern_free(pattern);
        }
        CHECK_EQ(n, cases[i].is_protected ? 1 : 0);
    }
}

static struct selector *by_user(const char *user) {
    CLEANUP(selector_freep) struct selector *selector = selector_new();
    char *why;
    if (!selector || selector_add_clause(selector) < 0 || selector_add(selector, SELECTOR_USER, user, &why) < 0) {
        return NULL;
    }
    return TAKE_PTR(selector);
}

static void classifies_in_file_order(void) {
    CLEANUP(policy_unrefp) struct policy *policy = policy_new();
    struct selector_subject subject = {.user = "alice", .application_name = ""};
    CHECK_EQ(policy_classify(policy, &subject), POLICY_NO_APP);
    policy_add_app(policy, "matches nobody");
    policy_add_app(policy, "a")->match = by_user("a*");
    policy_add_app(policy, "alice")->match = by_user("alice");
    policy_add_app(policy, "bob")->match = by_user("bob");
    CHECK_EQ(policy_classify(policy, &subject), 1);
    subject.user = "bob";
    CHECK_EQ(policy_classify(policy, &subject), 3);
    subject.user = "carol";
    CHECK_EQ(policy_classify(policy, &subject), POLICY_NO_APP);
}

static void measures(void) {
    struct timeout timeout = {.state = SESSION_STATES_ANY};
    CHECK_EQ(timeout_time(&timeout, SESSION_STATE_ACTIVE), SESSION_TIME_QUERY_START);
    CHECK_EQ(timeout_time(&timeout, SESSION_STATE_IDLE), SESSION_TIME_STATE_CHANGE);
    CHECK_EQ(timeout_time(&timeout, SESSION_STATE_IDLE_IN_TRANSACTION), SESSION_TIME_STATE_CHANGE);
    CHECK_EQ(timeout_time(&timeout, SESSION_STATE_FASTPATH), SESSION_TIME_STATE_CHANGE);
    timeout.has_since = true;
    timeout.since = SESSION_TIME_XACT_START;
    CHECK_EQ(timeout_time(&timeout, SESSION_STATE_ACTIVE), SESSION_TIME_XACT_START);
    CHECK_EQ(timeout_time(&timeout, SESSION_STATE_IDLE), SESSION_TIME_XACT_START);
}

static void names(void) {
    CHECK_STR(group_key_to_string(GROUP_APP), "app");
    CHECK_STR(group_key_to_string(GROUP_USER), "user");
    CHECK_STR(group_key_to_string(GROUP_DATABASE), "database");
    CHECK_STR(group_key_to_string(GROUP_CLIENT_ADDR), "client_addr");
    CHECK_STR(group_key_to_string(GROUP_APPLICATION_NAME), "application_name");
    CHECK_STR(victims_to_string(VICTIMS_LONGEST), "longest");
    CHECK_STR(victims_to_string(VICTIMS_OLDEST), "oldest");
    CHECK_STR(victims_to_string(VICTIMS_NEWEST), "newest");
    CHECK_STR(severity_to_string(SEVERITY_NONE), "none");
    CHECK_STR(severity_to_string(SEVERITY_WARNING), "warning");
    CHECK_STR(severity_to_string(SEVERITY_CRITICAL), "critical");
    static const char *const actions[] = {"terminate", "cancel", "log"};
    static const char *const outcomes[] = {"none",   "gone",      "lingering",     "changed", "left",      "denied",
                                           "failed", "cancelled", "still_running", "unknown", "unverified"};
    static const char *const reasons[] = {"protected", "keep",   "share",   "budget",
                                          "observe",   "paused", "breaker", "unrecorded"};
    CHECK_EQ(ARRAY_SIZE(actions), N_ACTIONS);
    CHECK_EQ(ARRAY_SIZE(outcomes), N_OUTCOMES);
    CHECK_EQ(ARRAY_SIZE(reasons), N_HELD_REASONS);
    for (unsigned i = 0; i < N_ACTIONS; i++) {
        enum action action = N_ACTIONS_;
        CHECK_STR(action_to_string((enum action)i), actions[i]);
        CHECK(action_from_string(actions[i], &action));
        CHECK_EQ(action, i);
    }
    for (unsigned i = 0; i < N_OUTCOMES; i++) {
        CHECK_STR(outcome_to_string((enum outcome)i), outcomes[i]);
    }
    for (unsigned i = 0; i < N_HELD_REASONS; i++) {
        CHECK_STR(held_reason_to_string((enum held_reason)i), reasons[i]);
    }
    enum action action;
    CHECK(!action_from_string("Terminate", &action));
    CHECK(!action_from_string("", &action));
}

static void counts_references(void) {
    struct policy *policy = policy_new();
    CHECK(policy_ref(policy) == policy);
    CHECK_NULL(policy_unref(policy));
    CHECK_NOT_NULL(policy_add_app(policy, "still usable"));
    CHECK_NULL(policy_unref(policy));
    CHECK_NULL(policy_unref(NULL));
}

static int build(void *userdata) {
    (void)userdata;
    CLEANUP(policy_unrefp) struct policy *policy = policy_new();
    if (!policy) {
        return -ENOMEM;
    }
    for (int i = 0; i < 3; i++) {
        struct app *app = policy_add_app(policy, "app");
        if (!app || !(app->match = by_user("x"))) {
            return -ENOMEM;
        }
        struct timeout *timeout = policy_add_timeout(policy, "rule");
        if (!timeout || !(timeout->match = by_user("x")) || !(timeout->ignore = by_user("y"))) {
            return -ENOMEM;
        }
        struct quota *quota = policy_add_quota(policy, "quota");
        if (!quota || !(quota->match = by_user("x")) || !(quota->ignore = by_user("y"))) {
            return -ENOMEM;
        }
        struct alarm *alarm = policy_add_alarm(policy, "alarm");
        if (!alarm || !(alarm->match = by_user("x")) || !(alarm->ignore = by_user("y"))) {
            return -ENOMEM;
        }
    }
    char *why;
    policy->protect.match = by_user("z");
    return policy->protect.match ? pattern_new("root", &policy->protect.builtin_user[3], &why) : -ENOMEM;
}

static void survives_oom(void) {
    oom_sweep(build, NULL);
}

CHECK_MAIN({"P8_defaults", defaults}, {"P4_builtin_names", builtin_names},
           {"classifies_in_file_order", classifies_in_file_order}, {"measures", measures}, {"metrics", metrics},
           {"names", names}, {"counts_references", counts_references}, {"survives_oom", survives_oom})
