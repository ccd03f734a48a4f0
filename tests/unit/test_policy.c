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
    CHECK_EQ(policy->query_text, 0);

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
    static const char *const actions[] = {"terminate", "cancel", "log"};
    static const char *const outcomes[] = {"none",   "gone",      "lingering",     "changed", "left",      "denied",
                                           "failed", "cancelled", "still_running", "unknown", "unverified"};
    static const char *const reasons[] = {"protected", "keep", "budget", "observe", "unrecorded"};
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
    }
    char *why;
    policy->protect.match = by_user("z");
    return policy->protect.match ? pattern_new("root", &policy->protect.builtin_user[3], &why) : -ENOMEM;
}

static void survives_oom(void) {
    oom_sweep(build, NULL);
}

CHECK_MAIN({"P8_defaults", defaults}, {"P4_builtin_names", builtin_names},
           {"classifies_in_file_order", classifies_in_file_order}, {"measures", measures}, {"names", names},
           {"counts_references", counts_references}, {"survives_oom", survives_oom})
