// SPDX-License-Identifier: PostgreSQL
//
// A timeline from bytes: a policy, then scans, looks, answers, losses and reloads in any order, with any times. What
// the engine returns must be usable: identities that it was given, no decision before a full scan, never more than the
// budget, never a protected session, nothing while it does not lead.
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "core/engine.h"
#include "util/cleanup.h"
#include "util/macro.h"
#include "util/strbuf.h"

#define MAX_ROWS 24
#define MAX_INPUTS 400
#define MAX_SERIALS 512
#define SERVER_START INT64_C(800000000000000)

struct bytes {
    const uint8_t *at;
    size_t left;
};

static uint8_t take(struct bytes *bytes) {
    if (bytes->left == 0) {
        return 0;
    }
    bytes->left--;
    return *bytes->at++;
}

#define TAKE_BELOW(bytes, n) (take(bytes) % (n))

// Short and long, and now and then absurd.
static usec_t take_time(struct bytes *bytes) {
    static const usec_t units[] = {0, USEC_PER_MSEC, USEC_PER_SEC, 10 * USEC_PER_SEC, USEC_PER_HOUR};
    return units[TAKE_BELOW(bytes, ARRAY_SIZE(units))] * TAKE_BELOW(bytes, 70);
}

static int64_t take_timestamp(struct bytes *bytes, int64_t now) {
    switch (TAKE_BELOW(bytes, 16)) {
    case 0:
        return TIMESTAMP_NONE;
    case 1:
        return now + (int64_t)take_time(bytes);
    case 2:
        return INT64_MAX;
    default:
        return now - (int64_t)take_time(bytes);
    }
}

static const char *const names[] = {"", "a", "b", "pg_dump", "x\n\"\\", "pgvigil"};

static const char *const rule_names[] = {"t0", "t1", "t2", "q0", "q1"}; // no two rules share one

static struct selector *take_selector(struct bytes *bytes) {
    struct selector *selector = NULL;
    char *why = NULL;
    uint8_t kind = TAKE_BELOW(bytes, 8);

    if (kind < 4) {
        return NULL;
    }
    selector = selector_new();
    assert(selector && selector_add_clause(selector) == 0);
    if (kind == 4) {
        assert(selector_add(selector, SELECTOR_USER, "a", &why) == 0);
    } else if (kind == 5) {
        assert(selector_add(selector, SELECTOR_APPLICATION_NAME, "?", &why) == 0);
    } else if (kind == 6) {
        assert(selector_add_query(selector, TAKE_BELOW(bytes, 3)) == 0);
    }
    return selector;
}

static void take_timeout(struct bytes *bytes, struct policy *policy) {
    struct timeout *timeout = policy_add_timeout(policy, rule_names[policy->n_timeouts]);
    assert(timeout);
    timeout->state = take(bytes) & SESSION_STATES_ANY;
    timeout->any = timeout->state == 0;
    timeout->has_since = TAKE_BELOW(bytes, 3) == 0;
    timeout->since = (enum session_time)TAKE_BELOW(bytes, N_SESSION_TIMES);
    timeout->after = take_time(bytes);
    timeout->match = take_selector(bytes);
    timeout->ignore = take_selector(bytes);
    timeout->keep = TAKE_BELOW(bytes, 4);
    timeout->action = (enum action)TAKE_BELOW(bytes, N_ACTIONS);
    if (timeout->action == ACTION_CANCEL) {
        timeout->any = false;
        timeout->state = SESSION_STATE_BIT(SESSION_STATE_ACTIVE);
        timeout->has_then = TAKE_BELOW(bytes, 2);
        timeout->grace = take_time(bytes);
    }
    timeout->when.has_usage = TAKE_BELOW(bytes, 3) == 0;
    timeout->when.usage = 1 + TAKE_BELOW(bytes, 100);
    timeout->when.until = TAKE_BELOW(bytes, timeout->when.usage);
    timeout->when.blocks = TAKE_BELOW(bytes, 5) == 0;
    timeout->enforce = TAKE_BELOW(bytes, 5) != 0;
}

static void take_quota(struct bytes *bytes, struct policy *policy) {
    struct quota *quota = policy_add_quota(policy, rule_names[3 + policy->n_quotas]);
    assert(quota);
    quota->per = take(bytes) & (GROUP_KEY_BIT(N_GROUP_KEYS) - 1);
    quota->match = take_selector(bytes);
    quota->max = TAKE_BELOW(bytes, 10);
    quota->max_is_percent = TAKE_BELOW(bytes, 2);
    quota->for_ = take_time(bytes);
    quota->min_idle = take_time(bytes);
    quota->victims = (enum victims)TAKE_BELOW(bytes, N_VICTIMS);
    quota->evict[0] = (enum session_state)(1 + TAKE_BELOW(bytes, 5));
    quota->action = TAKE_BELOW(bytes, 4) ? ACTION_TERMINATE : ACTION_LOG;
    quota->enforce = TAKE_BELOW(bytes, 5) != 0;
}

// The same in each policy, so that the bytes mean what they did; every other one is changed at a reload.
static void add_alarms(struct policy *policy, bool changed) {
    static const struct {
        const char *name;
        enum metric metric;
        unsigned per;
        int64_t warning, critical;
    } alarms[] = {
        {"usage", METRIC_USAGE, 0, 30, 60},
        {"apps", METRIC_CONNECTIONS, GROUP_KEY_BIT(GROUP_APP), 1, 2},
        {"hosts", METRIC_IDLE, GROUP_KEY_BIT(GROUP_CLIENT_ADDR) | GROUP_KEY_BIT(GROUP_APPLICATION_NAME), 0, 1},
        {"open", METRIC_LONGEST_IDLE_IN_TRANSACTION, GROUP_KEY_BIT(GROUP_USER), USEC_PER_SEC, USEC_PER_MINUTE},
        {"blocked", METRIC_BLOCKED, 0, 0, 1},
        {"filling", METRIC_TIME_TO_FULL, 0, USEC_PER_HOUR, USEC_PER_MINUTE},
        {"roles", METRIC_ROLE_LIMIT, 0, 10, 50},
    };
    for (size_t i = 0; i < sizeof(alarms) / sizeof(alarms[0]); i++) {
        struct alarm *alarm = policy_add_alarm(policy, alarms[i].name);
        assert(alarm);
        alarm->metric = alarms[i].metric;
        alarm->per = alarms[i].per;
        alarm->below = alarms[i].metric == METRIC_TIME_TO_FULL;
        alarm->has_warning = alarm->has_critical = true;
        alarm->warning = alarms[i].warning;
        alarm->critical = alarms[i].critical;
        alarm->for_ = i % 2 ? 0 : 5 * USEC_PER_SEC;
        alarm->clear_after = i % 3 ? 5 * USEC_PER_SEC : changed * USEC_PER_SEC;
    }
}

static struct policy *take_policy(struct bytes *bytes) {
    struct policy *policy = policy_new();
    unsigned bit;
    char *why = NULL;

    assert(policy);
    for (unsigned i = 0; i < 3; i++) {
        assert(policy_add_query(policy, i == 0 ? "/a/" : i == 1 ? "/b/" : "/c/i", &bit, &why) == 0);
    }
    policy->enforce = TAKE_BELOW(bytes, 6) != 0;
    add_alarms(policy, policy->enforce);
    for (unsigned n = TAKE_BELOW(bytes, 4); n > 0; n--) {
        take_timeout(bytes, policy);
    }
    for (unsigned n = TAKE_BELOW(bytes, 3); n > 0; n--) {
        take_quota(bytes, policy);
    }
    policy->limits = (struct limits){.per_poll = TAKE_BELOW(bytes, 30),
                                     .per_minute = TAKE_BELOW(bytes, 60),
                                     .pressure_per_minute = TAKE_BELOW(bytes, 100),
                                     .share = 1 + TAKE_BELOW(bytes, 100),
                                     .breaker_rounds = TAKE_BELOW(bytes, 3),
                                     .breaker_pause = take_time(bytes)};
    return policy;
}

struct fuzz {
    struct engine *engine;
    struct policy *policy;
    usec_t now;
    int64_t clock;
    bool enforce;
    bool leads;
    bool complete;
    struct session_row rows[MAX_ROWS]; // of the latest scan
    int64_t blockers[MAX_ROWS];
    size_t n_rows;
    struct session_id asked[ENGINE_LOOK_MAX];
    size_t n_asked;
    uint64_t serials[MAX_SERIALS];
    size_t n_serials;
};

static bool fuzz_has_row(const struct fuzz *fuzz, const struct session_id *id) {
    for (size_t i = 0; i < fuzz->n_rows; i++) {
        if (session_id_is_equal(&fuzz->rows[i].id, id)) {
            return !(fuzz->rows[i].superuser || fuzz->rows[i].waits_sync_rep ||
                     strcmp(fuzz->rows[i].application_name, "pg_dump") == 0);
        }
    }
    return false;
}

static void fuzz_step(struct fuzz *fuzz, const struct engine_input *input) {
    const struct engine_result *result;
    struct summary summary;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    assert(engine_step(fuzz->engine, input, fuzz->now, &result) == 0);
    assert(result->n_decisions == 0 || (fuzz->complete && fuzz->leads && fuzz->enforce && fuzz->policy->enforce));
    assert((int64_t)result->n_decisions <= fuzz->policy->limits.per_poll);
    for (size_t i = 0; i < result->n_decisions; i++) {
        assert(fuzz_has_row(fuzz, &result->decisions[i].session.id));
        event_render(&result->intents[i], &text);
        if (fuzz->n_serials < MAX_SERIALS) {
            fuzz->serials[fuzz->n_serials++] = result->decisions[i].serial;
        }
    }
    for (size_t i = 0; i < result->n_events; i++) {
        event_render(&result->events[i], &text);
    }
    assert(strlen(strbuf_str(&text)) == text.len && !strpbrk(strbuf_str(&text), "\n\r\t\x1b"));
    assert(result->n_look <= ENGINE_LOOK_MAX && (result->n_look == 0) == (result->look_at == USEC_INFINITY));
    fuzz->n_asked = result->n_look;
    for (size_t i = 0; i < result->n_look; i++) {
        fuzz->asked[i] = result->look[i];
    }
    assert(engine_summarize(fuzz->engine, &summary) == 0 &&
           summary.n_rules == fuzz->policy->n_timeouts + fuzz->policy->n_quotas);
    summary_deinit(&summary);
}

static void fuzz_take_rows(struct fuzz *fuzz, struct bytes *bytes, int64_t server_now) {
    unsigned used = 0;

    fuzz->n_rows = 0;
    for (unsigned n = TAKE_BELOW(bytes, MAX_ROWS + 1); n > 0; n--) {
        struct session_row *row = &fuzz->rows[fuzz->n_rows];
        unsigned pid = TAKE_BELOW(bytes, 32);
        if (used & (1u << pid)) {
            continue;
        }
        used |= 1u << pid;
        fuzz->blockers[fuzz->n_rows] = TAKE_BELOW(bytes, 33);
        *row = (struct session_row){
            .id = {.id = (int64_t)pid + 1, .since = SERVER_START - TAKE_BELOW(bytes, 3) * INT64_C(1000000000)},
            .application_name = names[TAKE_BELOW(bytes, ARRAY_SIZE(names))],
            .user = names[TAKE_BELOW(bytes, ARRAY_SIZE(names))],
            .database = "d",
            .superuser = TAKE_BELOW(bytes, 16) == 0,
            .state = (enum session_state)TAKE_BELOW(bytes, N_SESSION_STATES),
            .state_change = take_timestamp(bytes, server_now),
            .query_start = take_timestamp(bytes, server_now),
            .xact_start = take_timestamp(bytes, server_now),
            .waits_sync_rep = TAKE_BELOW(bytes, 16) == 0,
            .command = (enum session_command)TAKE_BELOW(bytes, 4),
            .query_matches = TAKE_BELOW(bytes, 8),
            .blocked_by = &fuzz->blockers[fuzz->n_rows],
            .n_blocked_by = TAKE_BELOW(bytes, 2),
            .user_limit = -1,
            .database_limit = TAKE_BELOW(bytes, 20),
        };
        fuzz->n_rows++;
    }
}

static void fuzz_scan(struct fuzz *fuzz, struct bytes *bytes, bool full) {
    struct session_id asked[ENGINE_LOOK_MAX];
    struct scan scan = {.kind = full ? SCAN_FULL : SCAN_LOOK, .sent_at = fuzz->now, .rows = fuzz->rows};

    scan.server_now = SERVER_START + (int64_t)fuzz->now + fuzz->clock;
    fuzz->now += TAKE_BELOW(bytes, 200) * USEC_PER_MSEC;
    scan.received_at = fuzz->now;
    scan.facts = (struct server_facts){.postmaster_start = 1 + TAKE_BELOW(bytes, 32) / 31,
                                       .max_connections = 3 + TAKE_BELOW(bytes, 40),
                                       .own_pid = 1,
                                       .own_user = "pgvigil"};
    fuzz_take_rows(fuzz, bytes, scan.server_now);
    memcpy(asked, fuzz->asked, sizeof(asked));
    scan.asked = asked;
    scan.n_asked = full ? 0 : fuzz->n_asked;
    scan.n_rows = fuzz->n_rows;
    fuzz->complete = fuzz->complete || full;
    fuzz_step(fuzz, &(struct engine_input){.kind = ENGINE_INPUT_SCAN, .scan = &scan});
}

static void fuzz_policy(struct fuzz *fuzz, struct bytes *bytes) {
    struct policy *policy = take_policy(bytes);
    int64_t counts[8];
    int r = engine_preview(fuzz->engine, policy, counts);

    assert(r == (fuzz->complete ? 0 : -EAGAIN));
    policy_unref(fuzz->policy);
    fuzz->policy = policy;
    fuzz->enforce = TAKE_BELOW(bytes, 8) != 0;
    fuzz_step(fuzz, &(struct engine_input){
                        .kind = ENGINE_INPUT_POLICY,
                        .policy = {policy, fuzz->enforce, TAKE_BELOW(bytes, 101), take_time(bytes)},
                    });
}

static void fuzz_act(struct fuzz *fuzz, struct bytes *bytes) {
    uint64_t serial = fuzz->n_serials > 0 ? fuzz->serials[TAKE_BELOW(bytes, fuzz->n_serials)] : 0;
    fuzz_step(fuzz, &(struct engine_input){
                        .kind = ENGINE_INPUT_ACT,
                        .act = {serial, (enum act_result)TAKE_BELOW(bytes, ACT_UNRECORDED + 1), "42501", "no"},
                    });
}

static void fuzz_input(struct fuzz *fuzz, struct bytes *bytes) {
    uint8_t kind = TAKE_BELOW(bytes, 16);

    fuzz->now += take_time(bytes);
    if (kind < 6) {
        fuzz_scan(fuzz, bytes, true);
    } else if (kind < 8) {
        fuzz_scan(fuzz, bytes, false);
    } else if (kind < 12) {
        fuzz_act(fuzz, bytes);
    } else if (kind == 12) {
        fuzz->complete = false;
        fuzz_step(fuzz, &(struct engine_input){.kind = ENGINE_INPUT_LOST});
    } else if (kind == 13) {
        fuzz_policy(fuzz, bytes);
    } else if (kind == 14) {
        fuzz->leads = TAKE_BELOW(bytes, 4) != 0;
        fuzz_step(fuzz, &(struct engine_input){.kind = ENGINE_INPUT_LEADERSHIP, .leads = fuzz->leads});
    } else {
        fuzz->clock += TAKE_BELOW(bytes, 2) ? (int64_t)take_time(bytes) : -(int64_t)take_time(bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct bytes bytes = {data, size};
    struct fuzz fuzz = {.engine = engine_new("fuzz"), .now = 1000 * USEC_PER_SEC, .leads = true};

    assert(fuzz.engine);
    fuzz_policy(&fuzz, &bytes);
    for (size_t i = 0; i < MAX_INPUTS && bytes.left > 0; i++) {
        fuzz_input(&fuzz, &bytes);
    }
    fuzz.complete = false;
    fuzz_step(&fuzz, &(struct engine_input){.kind = ENGINE_INPUT_STOP});
    engine_free(fuzz.engine);
    policy_unref(fuzz.policy);
    return 0;
}
