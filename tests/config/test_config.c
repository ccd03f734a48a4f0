// SPDX-License-Identifier: PostgreSQL

// What golden files do not show: values as they arrive in the structs, and the tables.

#include "load_buffer.h"

// Everything a file can say, as it arrives.
static void values(void) {
    CLEANUP(config_freep)
    struct config *config = load(
        "enforce: true\n"
        "targets:\n"
        "  a:\n"
        "    conninfo: host=${USER}\n"
        "    password_file: /pw\n"
        "    poll_interval: 1s\n"
        "    pressure_poll_interval: 200ms\n"
        "    pressure_at: 55%\n"
        "    connect_timeout: 2s\n"
        "    query_timeout: 3s\n"
        "    enforce: false\n"
        "  b: { conninfo: 'x' }\n"
        "apps: { w: { match: { user: w }, pool: 7 }, v: { match: { user: v } } }\n"
        "protect: { builtin: { pg_dump: root }, superusers: false, listeners: false, maintenance: false, min_age: 9s,\n"
        "  match: { database: d } }\n"
        "timeouts:\n"
        "  t: { state: [idle in transaction, active], since: xact_start, after: 4s, match: { app: w },\n"
        "    ignore: { user: x }, keep: 3, action: terminate, enforce: false }\n"
        "  u: { state: any, after: 5s }\n"
        "limits: { per_poll: 11, per_minute: 12 }\n"
        "outputs: { log: { level: debug, format: json }, query_text: 100 }\n");
    const struct policy *policy = config->policy;
    CHECK(policy->enforce);
    CHECK_EQ(config->n_targets, 2u);
    const struct target_config *a = &config->targets[0];
    CHECK_STR(a->name, "a");
    CHECK_STR(a->conninfo, "host=pgvigil");
    CHECK_EQ(a->pressure_poll_interval, 200 * USEC_PER_MSEC);
    CHECK_EQ(a->pressure_at, 55);
    CHECK_EQ(a->conninfo_at.line, 4u);
    CHECK_EQ(a->conninfo_at.column, 15u);
    CHECK_STR(a->conninfo_at.file, "x.yaml");
    CHECK_STR(a->password_file, "/pw");
    CHECK_EQ(a->poll_interval, USEC_PER_SEC);
    CHECK_EQ(a->connect_timeout, 2 * USEC_PER_SEC);
    CHECK_EQ(a->query_timeout, 3 * USEC_PER_SEC);
    CHECK(!a->enforce);
    CHECK(config->targets[1].enforce);
    CHECK_NULL(config->targets[1].password_file);
    CHECK_EQ(config->targets[1].poll_interval, 5 * USEC_PER_SEC);
    CHECK_EQ(policy->n_apps, 2u);
    CHECK_STR(policy->apps[0].name, "w");
    CHECK_EQ(policy->apps[0].pool, 7);
    CHECK_EQ(policy->apps[1].pool, -1);
    const struct protect *protect = &policy->protect;
    CHECK(protect->builtin && !protect->superusers && !protect->listeners && !protect->maintenance);
    CHECK_EQ(protect->min_age, 9 * USEC_PER_SEC);
    CHECK_NOT_NULL(protect->match);
    CHECK_STR(pattern_text(protect->builtin_user[0]), "root");
    CHECK_NULL(protect->builtin_user[1]);
    CHECK_EQ(policy->n_timeouts, 2u);
    const struct timeout *t = &policy->timeouts[0];
    CHECK_EQ(t->state, SESSION_STATE_BIT(SESSION_STATE_ACTIVE) | SESSION_STATE_BIT(SESSION_STATE_IDLE_IN_TRANSACTION) |
                           SESSION_STATE_BIT(SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED));
    CHECK(!t->any && t->has_since && !t->enforce);
    CHECK_EQ(t->since, SESSION_TIME_XACT_START);
    CHECK_EQ(t->after, 4 * USEC_PER_SEC);
    CHECK_EQ(t->keep, 3);
    CHECK_EQ(t->action, ACTION_TERMINATE);
    CHECK_NOT_NULL(t->match);
    CHECK_NOT_NULL(t->ignore);
    const struct timeout *u = &policy->timeouts[1];
    CHECK(u->any && !u->has_since && u->enforce);
    CHECK_EQ(u->state, SESSION_STATES_ANY);
    CHECK_NULL(u->match);
    CHECK_NULL(u->ignore);
    CHECK_EQ(u->action, ACTION_TERMINATE);
    CHECK_EQ(policy->limits.per_poll, 11);
    CHECK_EQ(policy->limits.per_minute, 12);
    CHECK_EQ(policy->query_text, 100);
    CHECK_EQ(config->log.level, EVENT_DEBUG);
    CHECK_EQ(config->log.format, LOG_FORMAT_JSON);
    CHECK_EQ(diags.n_items, 0u);
}

static int matches(const struct selector *selector, const char *user, const char *application_name) {
    struct selector_subject subject = {.user = user, .application_name = application_name, .database = "d"};
    return selector_matches(selector, &subject);
}

// A clause's keys are joined by AND, lists and lists of maps by OR; "" is the empty name alone.
static void selectors(void) {
    CLEANUP(config_freep)
    struct config *config = load(TARGETS "apps:\n"
                                         "  a: { match: { user: [x, 'y*'], application_name: ['', '/^w[0-9]/'] } }\n"
                                         "  b: { match: [ { user: x }, { application_name: z } ] }\n");
    const struct selector *a = config->policy->apps[0].match;
    CHECK_EQ(matches(a, "x", ""), 1);
    CHECK_EQ(matches(a, "yes", "w1"), 1);
    CHECK_EQ(matches(a, "x", "other"), 0);
    CHECK_EQ(matches(a, "z", ""), 0);
    const struct selector *b = config->policy->apps[1].match;
    CHECK_EQ(matches(b, "x", "other"), 1);
    CHECK_EQ(matches(b, "other", "z"), 1);
    CHECK_EQ(matches(b, "other", "other"), 0);
}

// The same for what was added to say with rules.
static void rules(void) {
    CLEANUP(config_freep)
    struct config *config = load(
        "targets: { fast: { conninfo: x, poll_interval: 300ms }, slow: { conninfo: x, poll_interval: 1min } }\n"
        "apps: { w: { match: { user: w, superuser: false } } }\n"
        "protect: { match: { query: /^copy/i } }\n"
        "timeouts:\n"
        "  t: { state: idle, after: 4s, when: { usage: 85%, until: 75%, blocks: 2 }, match: { query: [/a/, /^copy/i] } "
        "}\n"
        "  u: { state: active, after: 5s, action: cancel, then: terminate, grace: 7s }\n"
        "  v: { state: active, after: 5s, action: cancel }\n"
        "quotas:\n"
        "  q: { per: [client_addr, app], match: { app: w }, ignore: { superuser: true }, max: 30, for: 10s,\n"
        "    evict: [idle in transaction, idle], min_idle: 6s, victims: newest, action: log, enforce: false }\n"
        "  r: { max: 60%, evict: [idle in transaction (aborted), active, idle in transaction] }\n"
        "alarms:\n"
        "  a: { metric: usage, above: { warning: 80%, critical: 90% }, for: 15s, clear_after: 30s }\n"
        "  b: { metric: connections, per: app, match: { app: w }, ignore: { query: /a/ }, below: { critical: 3 } }\n"
        "  c: { metric: longest_idle, above: { warning: 1min } }\n"
        "limits: { pressure_per_minute: 13, share: 50%, breaker: { rounds: 4, pause: 6min } }\n");
    const struct policy *policy = config->policy;
    // What the other targets do not say.
    CHECK_EQ(config->targets[0].pressure_poll_interval, 300 * USEC_PER_MSEC);
    CHECK_EQ(config->targets[1].pressure_poll_interval, USEC_PER_SEC);
    CHECK_EQ(config->targets[0].pressure_at, 80);
    CHECK_EQ(policy->n_queries, 2u);
    CHECK_STR(policy->queries[0].expression, "^copy");
    CHECK(policy->queries[0].icase);
    CHECK_STR(policy->queries[1].expression, "a");
    CHECK(!policy->queries[1].icase);
    CHECK_EQ(policy->n_timeouts, 3u);
    const struct timeout *t = policy->timeouts;
    CHECK(t[0].when.has_usage && !t[0].has_then);
    CHECK_EQ(t[0].when.usage, 85);
    CHECK_EQ(t[0].when.until, 75);
    CHECK_EQ(t[0].when.blocks, 2);
    CHECK(selector_asks_query(t[0].match));
    CHECK(t[1].has_then && !t[1].when.has_usage);
    CHECK_EQ(t[1].grace, 7 * USEC_PER_SEC);
    CHECK_EQ(t[1].when.blocks, 0);
    CHECK(!t[2].has_then);
    CHECK_EQ(policy->n_quotas, 2u);
    const struct quota *q = policy->quotas;
    CHECK_EQ(q[0].per, GROUP_KEY_BIT(GROUP_APP) | GROUP_KEY_BIT(GROUP_CLIENT_ADDR));
    CHECK(q[0].match && q[0].ignore && !q[0].max_is_percent && !q[0].enforce);
    CHECK_EQ(q[0].max, 30);
    CHECK_EQ(q[0].for_, 10 * USEC_PER_SEC);
    CHECK_EQ(q[0].n_evict, 3u);
    CHECK_EQ(q[0].evict[0], SESSION_STATE_IDLE_IN_TRANSACTION);
    CHECK_EQ(q[0].evict[1], SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED);
    CHECK_EQ(q[0].evict[2], SESSION_STATE_IDLE);
    CHECK_EQ(q[0].min_idle, 6 * USEC_PER_SEC);
    CHECK_EQ(q[0].victims, VICTIMS_NEWEST);
    CHECK_EQ(q[0].action, ACTION_LOG);
    CHECK(q[1].max_is_percent);
    CHECK_EQ(q[1].max, 60);
    CHECK_EQ(q[1].n_evict, 3u);
    CHECK_EQ(q[1].evict[0], SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED);
    CHECK_EQ(q[1].evict[1], SESSION_STATE_ACTIVE);
    CHECK_EQ(q[1].evict[2], SESSION_STATE_IDLE_IN_TRANSACTION);
    CHECK_EQ(policy->n_alarms, 3u);
    const struct alarm *a = policy->alarms;
    CHECK(!a[0].below && a[0].has_warning && a[0].has_critical);
    CHECK_EQ(a[0].metric, METRIC_USAGE);
    CHECK_EQ(a[0].warning, 80);
    CHECK_EQ(a[0].critical, 90);
    CHECK_EQ(a[0].for_, 15 * USEC_PER_SEC);
    CHECK_EQ(a[0].clear_after, 30 * USEC_PER_SEC);
    CHECK(a[1].below && !a[1].has_warning && a[1].has_critical && a[1].match);
    CHECK_EQ(a[1].critical, 3);
    CHECK_EQ(a[1].per, GROUP_KEY_BIT(GROUP_APP));
    CHECK(selector_asks_query(a[1].ignore));
    CHECK(a[2].has_warning && !a[2].has_critical);
    CHECK_EQ(a[2].warning, 60 * 1000000);
    CHECK_EQ(policy->limits.pressure_per_minute, 13);
    CHECK_EQ(policy->limits.share, 50);
    CHECK_EQ(policy->limits.breaker_rounds, 4);
    CHECK_EQ(policy->limits.breaker_pause, 6 * USEC_PER_MINUTE);
    CHECK_EQ(diags.n_items, 0u);
}

static void check_default_timeout(const struct timeout *timeout, const struct timeout *fresh) {
    CHECK_EQ(timeout->keep, fresh->keep);
    CHECK_EQ(timeout->action, fresh->action);
    CHECK_EQ(timeout->enforce, fresh->enforce);
    CHECK_EQ(timeout->has_since, fresh->has_since);
    CHECK_EQ(timeout->has_then, fresh->has_then);
    CHECK_EQ(timeout->grace, fresh->grace);
    CHECK_EQ(timeout->when.has_usage, fresh->when.has_usage);
    CHECK_EQ(timeout->when.blocks, fresh->when.blocks);
}

static void check_default_quota(const struct quota *quota, const struct quota *fresh) {
    CHECK_EQ(quota->per, fresh->per);
    CHECK_EQ(quota->for_, fresh->for_);
    CHECK_EQ(quota->n_evict, fresh->n_evict);
    CHECK_EQ(quota->evict[0], fresh->evict[0]);
    CHECK_EQ(quota->min_idle, fresh->min_idle);
    CHECK_EQ(quota->victims, fresh->victims);
    CHECK_EQ(quota->action, fresh->action);
    CHECK_EQ(quota->enforce, fresh->enforce);
}

// All that stands outside of entries.
static void check_default_policy(const struct policy *policy, const struct policy *fresh) {
    CHECK_EQ(policy->enforce, fresh->enforce);
    CHECK_EQ(policy->query_text, fresh->query_text);
    CHECK_EQ(policy->limits.per_poll, fresh->limits.per_poll);
    CHECK_EQ(policy->limits.per_minute, fresh->limits.per_minute);
    CHECK_EQ(policy->limits.pressure_per_minute, fresh->limits.pressure_per_minute);
    CHECK_EQ(policy->limits.share, fresh->limits.share);
    CHECK_EQ(policy->limits.breaker_rounds, fresh->limits.breaker_rounds);
    CHECK_EQ(policy->limits.breaker_pause, fresh->limits.breaker_pause);
    CHECK_EQ(policy->protect.builtin, fresh->protect.builtin);
    CHECK_EQ(policy->protect.superusers, fresh->protect.superusers);
    CHECK_EQ(policy->protect.listeners, fresh->protect.listeners);
    CHECK_EQ(policy->protect.maintenance, fresh->protect.maintenance);
    CHECK_EQ(policy->protect.min_age, fresh->protect.min_age);
}

// The default of every key, once in the tables and once in core, must be the same.
static void defaults(void) {
    static const struct config_value value = {
        .keys = {"targets", "db", "conninfo"}, .source = "command line", .text = "host=x password=${NOT_A_VARIABLE}"};
    struct diag_list list = {0};
    struct config *config = NULL;
    CHECK_EQ(config_load_values(&value, 1, NULL, NULL, &list, &config), 0);
    CHECK_EQ(list.n_items, 0u);
    CHECK_EQ(config->n_targets, 1u);
    CHECK_STR(config->targets[0].name, "db");
    CHECK_STR(config->targets[0].conninfo, "host=x password=${NOT_A_VARIABLE}");
    CHECK_EQ(config->targets[0].conninfo_at.line, 0u);
    struct policy *fresh = policy_new();
    const struct policy *policy = config->policy;
    check_default_policy(policy, fresh);
    CHECK_EQ(policy->n_apps + policy->n_timeouts + policy->n_quotas + policy->n_alarms, 0u);
    CLEANUP(config_freep)
    struct config *other = load(TARGETS "timeouts: { t: { state: idle, after: 1s } }\n"
                                        "quotas: { q: { max: 1 } }\n"
                                        "alarms: { a: { metric: idle, above: { warning: 1 } } }\n");
    check_default_timeout(&other->policy->timeouts[0], policy_add_timeout(fresh, "t"));
    check_default_quota(&other->policy->quotas[0], policy_add_quota(fresh, "q"));
    const struct alarm *alarm = policy_add_alarm(fresh, "a");
    CHECK_EQ(other->policy->alarms[0].for_, alarm->for_);
    CHECK_EQ(other->policy->alarms[0].clear_after, alarm->clear_after);
    CHECK_EQ(other->policy->alarms[0].per, alarm->per);
    policy_unref(fresh);
    CLEANUP(strbuf_deinit) struct strbuf printed = STRBUF_EMPTY;
    CHECK_EQ(config_print(config, &printed), 0);
    CHECK_CONTAINS(strbuf_str(&printed), "conninfo: (set) # command line\n");
    CHECK_LACKS(strbuf_str(&printed), "NOT_A_VARIABLE");
    config_free(config);
    diag_list_deinit(&list);
}

static void webhooks(void) {
    CLEANUP(config_freep)
    struct config *config = load(TARGETS "outputs: { webhooks: {\n"
                                         "  a: { url: 'https://${USER}', format: slack, min_severity: critical,\n"
                                         "    timeout: 2s, headers: { X-A: b, X-C: '${USER}' }, ca_file: /ca,\n"
                                         "    proxy: 'http://${USER}:3128' },\n"
                                         "  b: { url_file: /u, format: json, bearer_token_file: /t } } }\n");
    CHECK_EQ(config->n_webhooks, 2);
    const struct webhook_config *a = &config->webhooks[0], *b = &config->webhooks[1];
    CHECK_STR(a->name, "a");
    CHECK_STR(a->url, "https://pgvigil");
    CHECK_NULL(a->url_file);
    CHECK_EQ(a->format, WEBHOOK_FORMAT_SLACK);
    CHECK_EQ(a->min_severity, SEVERITY_CRITICAL);
    CHECK_EQ(a->timeout, 2 * USEC_PER_SEC);
    CHECK_EQ(a->n_headers, 2);
    CHECK_STR(a->headers[0].name, "X-A");
    CHECK_STR(a->headers[0].value, "b");
    CHECK_STR(a->headers[1].value, "pgvigil");
    CHECK_STR(a->ca_file, "/ca");
    CHECK_STR(a->proxy, "http://pgvigil:3128");
    CHECK_NULL(a->bearer_token_file);
    CHECK_STR(b->url_file, "/u");
    CHECK_NULL(b->url);
    CHECK_EQ(b->format, WEBHOOK_FORMAT_JSON);
    CHECK_EQ(b->min_severity, SEVERITY_WARNING);
    CHECK_EQ(b->timeout, 10 * USEC_PER_SEC);
    CHECK_STR(b->bearer_token_file, "/t");
}

static void scope_of_text(const char *text, char ret[static CONFIG_SCOPE_SIZE]) {
    CLEANUP(config_freep) struct config *config = load(text);
    memcpy(ret, config->scope, CONFIG_SCOPE_SIZE);
    CHECK_EQ(strlen(ret), CONFIG_SCOPE_SIZE - 1u);
}

// Rules and servers are no part of it, nor is where something is written; all that says who is whose is.
static void scopes(void) {
#define SCOPE_APPS "apps: { a: { match: { user: x } }, b: { match: { user: [y, z] } } }\n"
#define SCOPE_PROTECT "protect: { match: { user: p } }\n"
    static const char *const others[] = {
        TARGETS,
        TARGETS SCOPE_APPS,
        TARGETS SCOPE_PROTECT,
        TARGETS SCOPE_PROTECT "apps: { b: { match: { user: [y, z] } }, a: { match: { user: x } } }\n",
        TARGETS SCOPE_PROTECT "apps: { a: { match: { user: x } }, b: { match: { user: [y], database: [z] } } }\n",
        TARGETS SCOPE_PROTECT "apps: { a: { match: { user: x } }, b: { match: { user: [yz] } } }\n",
        TARGETS SCOPE_PROTECT "apps: { a: { match: { database: x } }, b: { match: { user: [y, z] } } }\n",
        TARGETS SCOPE_APPS "protect: { match: { user: p }, superusers: false }\n",
        TARGETS SCOPE_APPS "protect: { match: { user: '${USER}' } }\n",
    };
    char scope[CONFIG_SCOPE_SIZE], other[ARRAY_SIZE(others)][CONFIG_SCOPE_SIZE], same[CONFIG_SCOPE_SIZE];
    scope_of_text(TARGETS SCOPE_APPS SCOPE_PROTECT, scope);
    scope_of_text("timeouts: { t: { state: idle, after: 1s } }\n" SCOPE_PROTECT "\n\n" SCOPE_APPS
                  "targets: { other: { conninfo: host=other } }\n",
                  same);
    CHECK_STR(same, scope);
    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        check_context("other %zu", i);
        scope_of_text(others[i], other[i]);
        CHECK(strcmp(other[i], scope) != 0);
        for (size_t k = 0; k < i; k++) {
            CHECK(strcmp(other[i], other[k]) != 0);
        }
    }
}

static void finish(void) {
    clean_up();
}

CHECK_MAIN({"values", values}, {"rules", rules}, {"selectors", selectors}, {"defaults", defaults},
           {"webhooks", webhooks}, {"scopes", scopes}, {"finish", finish})
