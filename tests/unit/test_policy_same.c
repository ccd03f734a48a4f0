// SPDX-License-Identifier: PostgreSQL

// Which rules keep their memory over a reload.

#include <errno.h>
#include <string.h>

#include "core/policy.h"
#include "support/check.h"
#include "util/cleanup.h"

static struct selector *select_by(struct policy *policy, enum selector_key key, const char *text) {
    struct selector *selector = selector_new();
    char *why = NULL;
    unsigned bit = 0;
    CHECK_NOT_NULL(selector);
    CHECK_EQ(selector_add_clause(selector), 0);
    if (key == SELECTOR_QUERY) {
        CHECK_EQ(policy_add_query(policy, text, &bit, &why), 0);
        CHECK_EQ(selector_add_query(selector, bit), 0);
    } else {
        CHECK_EQ(selector_add(selector, key, text, &why), 0);
    }
    return selector;
}

static void add_app(struct policy *policy, const char *name, const char *user) {
    struct app *app = policy_add_app(policy, name);
    CHECK_NOT_NULL(app);
    app->match = select_by(policy, SELECTOR_USER, user);
}

// Apps a, b, c by users of these names; a timeout, a quota and an alarm that name the app b.
static struct policy *make(const char *users) {
    struct policy *policy = policy_new();
    CHECK_NOT_NULL(policy);
    char user[2] = {0};
    for (int i = 0; i < 3; i++) {
        user[0] = users[i];
        add_app(policy, i == 0 ? "a" : i == 1 ? "b" : "c", user);
    }
    struct timeout *timeout = policy_add_timeout(policy, "t");
    timeout->state = SESSION_STATE_BIT(SESSION_STATE_IDLE);
    timeout->after = USEC_PER_SEC;
    timeout->match = select_by(policy, SELECTOR_APP, "b");
    struct quota *quota = policy_add_quota(policy, "q");
    quota->max = 3;
    quota->match = select_by(policy, SELECTOR_APP, "b");
    struct alarm *alarm = policy_add_alarm(policy, "x");
    alarm->metric = METRIC_IDLE;
    alarm->has_warning = true;
    alarm->warning = 3;
    alarm->match = select_by(policy, SELECTOR_APP, "b");
    return policy;
}

static void check_all(const struct policy *a, const struct policy *b, bool expected) {
    CHECK_EQ(policy_timeout_is_same(a, 0, b, 0), expected);
    CHECK_EQ(policy_quota_is_same(a, 0, b, 0), expected);
    CHECK_EQ(policy_alarm_is_same(a, 0, b, 0), expected);
}

static void apps_decide(void) {
    CLEANUP(policy_unrefp) struct policy *a = make("uvw");
    CLEANUP(policy_unrefp) struct policy *same = make("uvw");
    CLEANUP(policy_unrefp) struct policy *own = make("uxw");
    CLEANUP(policy_unrefp) struct policy *before = make("xvw");
    CLEANUP(policy_unrefp) struct policy *behind = make("uvx");
    check_all(a, a, true);
    check_all(a, same, true);
    check_all(a, own, false);    // the app itself
    check_all(a, before, false); // one that takes sessions first
    check_all(a, behind, true);  // one that takes what is left
    add_app(same, "d", "z");
    check_all(a, same, true);
    same->apps[1].pool = 7; // says nothing of who belongs to it
    check_all(a, same, true);
}

// A rule that names no app depends on none, unless it counts by app.
static void counting_by_app(void) {
    CLEANUP(policy_unrefp) struct policy *a = make("uvw");
    CLEANUP(policy_unrefp) struct policy *b = make("uvx");
    struct policy *both[] = {a, b};
    for (int i = 0; i < 2; i++) {
        both[i]->timeouts[0].match = selector_free(both[i]->timeouts[0].match);
        both[i]->quotas[0].match = selector_free(both[i]->quotas[0].match);
        both[i]->alarms[0].match = selector_free(both[i]->alarms[0].match);
    }
    check_all(a, b, true);
    for (int i = 0; i < 2; i++) {
        both[i]->timeouts[0].keep = 2;
        both[i]->quotas[0].per = GROUP_KEY_BIT(GROUP_APP) | GROUP_KEY_BIT(GROUP_USER);
        both[i]->alarms[0].per = GROUP_KEY_BIT(GROUP_APP);
    }
    check_all(a, b, false);
    check_all(a, a, true);
    for (int i = 0; i < 2; i++) {
        both[i]->quotas[0].per = GROUP_KEY_BIT(GROUP_USER);
    }
    CHECK(policy_quota_is_same(a, 0, b, 0));
    // What the pattern of a rule comes to name counts, too.
    for (int i = 0; i < 2; i++) {
        both[i]->quotas[0].ignore = select_by(both[i], SELECTOR_APP, "[ab]");
    }
    CHECK(policy_quota_is_same(a, 0, b, 0));
    both[1]->apps[2].name[0] = 'b';
    CHECK(!policy_quota_is_same(a, 0, b, 0));
}

#define DIFFERS(what, section, member, value)                                                                          \
    do {                                                                                                               \
        CLEANUP(policy_unrefp) struct policy *a_ = make("uvw");                                                        \
        CLEANUP(policy_unrefp) struct policy *b_ = make("uvw");                                                        \
        check_context("%s", #member);                                                                                  \
        b_->section[0].member = (value);                                                                               \
        CHECK(!policy_##what##_is_same(a_, 0, b_, 0));                                                                 \
        CHECK(policy_##what##_is_same(b_, 0, b_, 0));                                                                  \
    } while (0)

static void each_member_counts(void) {
    DIFFERS(timeout, timeouts, name[0], 'z');
    DIFFERS(timeout, timeouts, state, SESSION_STATE_BIT(SESSION_STATE_ACTIVE));
    DIFFERS(timeout, timeouts, any, true);
    DIFFERS(timeout, timeouts, has_since, true);
    DIFFERS(timeout, timeouts, after, 2 * USEC_PER_SEC);
    DIFFERS(timeout, timeouts, keep, 1);
    DIFFERS(timeout, timeouts, action, ACTION_LOG);
    DIFFERS(timeout, timeouts, has_then, true);
    DIFFERS(timeout, timeouts, when.has_usage, true);
    DIFFERS(timeout, timeouts, when.blocks, 1);
    DIFFERS(timeout, timeouts, enforce, false);
    DIFFERS(quota, quotas, name[0], 'z');
    DIFFERS(quota, quotas, per, GROUP_KEY_BIT(GROUP_USER));
    DIFFERS(quota, quotas, max, 4);
    DIFFERS(quota, quotas, max_is_percent, true);
    DIFFERS(quota, quotas, for_, 1);
    DIFFERS(quota, quotas, evict[0], SESSION_STATE_ACTIVE);
    DIFFERS(quota, quotas, n_evict, 0);
    DIFFERS(quota, quotas, min_idle, 1);
    DIFFERS(quota, quotas, victims, VICTIMS_OLDEST);
    DIFFERS(quota, quotas, action, ACTION_LOG);
    DIFFERS(quota, quotas, enforce, false);
    DIFFERS(alarm, alarms, name[0], 'z');
    DIFFERS(alarm, alarms, metric, METRIC_ACTIVE);
    DIFFERS(alarm, alarms, per, GROUP_KEY_BIT(GROUP_USER));
    DIFFERS(alarm, alarms, below, true);
    DIFFERS(alarm, alarms, has_warning, false);
    DIFFERS(alarm, alarms, warning, 4);
    DIFFERS(alarm, alarms, has_critical, true);
    DIFFERS(alarm, alarms, for_, 1);
    DIFFERS(alarm, alarms, clear_after, 1);
}

// What has no meaning for the rule does not change it.
static void unused_members_do_not(void) {
    CLEANUP(policy_unrefp) struct policy *a = make("uvw");
    CLEANUP(policy_unrefp) struct policy *b = make("uvw");
    b->timeouts[0].since = SESSION_TIME_XACT_START;
    b->timeouts[0].grace = 1;
    b->timeouts[0].when.until = 3;
    b->alarms[0].critical = 9;
    check_all(a, b, true);
}

// The same expression may have another bit: the file holds another rule before this one.
static void queries_are_told_by_their_text(void) {
    CLEANUP(policy_unrefp) struct policy *a = make("uvw");
    CLEANUP(policy_unrefp) struct policy *b = make("uvw");
    a->timeouts[0].ignore = select_by(a, SELECTOR_QUERY, "/one/");
    selector_free(select_by(b, SELECTOR_QUERY, "/other/"));
    b->timeouts[0].ignore = select_by(b, SELECTOR_QUERY, "/one/");
    CHECK(policy_timeout_is_same(a, 0, b, 0));
    selector_free(b->timeouts[0].ignore);
    b->timeouts[0].ignore = select_by(b, SELECTOR_QUERY, "/other/");
    CHECK(!policy_timeout_is_same(a, 0, b, 0));
    selector_free(b->timeouts[0].ignore);
    b->timeouts[0].ignore = select_by(b, SELECTOR_QUERY, "/one/i");
    CHECK(!policy_timeout_is_same(a, 0, b, 0));
    CHECK(!policy_timeout_is_same(b, 0, a, 0));
}

CHECK_MAIN({"apps_decide", apps_decide}, {"counting_by_app", counting_by_app},
           {"each_member_counts", each_member_counts}, {"unused_members_do_not", unused_members_do_not},
           {"queries_are_told_by_their_text", queries_are_told_by_their_text})
