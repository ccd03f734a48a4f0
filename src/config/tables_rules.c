// SPDX-License-Identifier: PostgreSQL

// The keys of rules and alarms, and what their values must have to do with each other.

#include <inttypes.h>
#include <string.h>

#include "tables.h"
#include "util/macro.h"

#define RULES_MAX_TIME (365 * USEC_PER_DAY)
#define RULES_UNTIL_BELOW 10 // percent: what a hint proposes

// Tables need functions of one type.
static const char *rules_action(unsigned value) {
    return action_to_string((enum action)value);
}

static const char *rules_quota_action(unsigned value) {
    return value == ACTION_CANCEL ? NULL : action_to_string((enum action)value);
}

static const char *rules_then(unsigned value) {
    return value == ACTION_TERMINATE ? action_to_string(ACTION_TERMINATE) : NULL;
}

static const char *rules_session_time(unsigned value) {
    return session_time_to_string((enum session_time)value);
}

static const char *rules_state(unsigned value) {
    return SESSION_STATE_BIT(value) & SESSION_STATES_ANY ? session_state_to_string((enum session_state)value) : NULL;
}

static const char *rules_group_key(unsigned value) {
    return group_key_to_string((enum group_key)value);
}

static const char *rules_victims(unsigned value) {
    return victims_to_string((enum victims)value);
}

static const char *rules_metric(unsigned value) {
    return metric_to_string((enum metric)value);
}

// A key of an entry, with the path to it.
struct rules_key {
    const struct yaml_pair *pair; // NULL: not written
    struct path path;
};

static struct rules_key rules_key(const struct yaml_node *map, const struct path *path, const char *name) {
    return (struct rules_key){.pair = yaml_node_find(map, name), .path = {.parent = path, .name = name}};
}

// A section without defaults that stands there with nothing in it. Passing it over would widen the rule.
static bool rules_is_empty(struct binder *binder, const struct rules_key *key, const char *example) {
    const struct yaml_node *node = key->pair ? key->pair->value : NULL;
    bool is_empty =
        node && !node->is_bad && !node->is_partial && node->n_pairs == 0 && (node->is_null || node->kind == NODE_MAP);
    if (is_empty) {
        report_error(binder->diags, node->at, &key->path, "is empty (write %s: %s)", key->path.name, example);
    }
    return is_empty;
}

// `pause` takes the name of a rule or of a target, and what is said of a rule names it alone.
static void rules_check_name(struct binder *binder, const struct yaml_pair *entry, const struct path *path,
                             const char *other_section) {
    const struct yaml_pair *targets = yaml_node_find(binder->root, "targets");
    const struct yaml_pair *target = targets ? yaml_node_find(targets->value, entry->key) : NULL;
    if (target) {
        report_error(binder->diags, entry->key_at, path, "a target has this name at line %u (write another name)",
                     target->key_at.line);
    }
    const struct yaml_pair *others = other_section ? yaml_node_find(binder->root, other_section) : NULL;
    const struct yaml_pair *other = others ? yaml_node_find(others->value, entry->key) : NULL;
    if (other) {
        report_error(binder->diags, entry->key_at, path, "one of %s has this name at line %u (write another name)",
                     other_section, other->key_at.line);
    }
}

// --- timeouts --------------------------------------------------------------------------------------------------------

static void *rules_open_timeout(struct config *config, const char *name) {
    return policy_add_timeout(config->policy, name);
}

static void rules_check_action(struct binder *binder, const struct timeout *timeout, const struct yaml_node *map,
                               const struct path *path) {
    struct rules_key action = rules_key(map, path, "action"), keep = rules_key(map, path, "keep");
    struct rules_key since = rules_key(map, path, "since"), then = rules_key(map, path, "then");
    struct rules_key grace = rules_key(map, path, "grace");
    bool is_cancel = timeout->action == ACTION_CANCEL;
    // No state: that mistake has been reported.
    if (is_cancel && timeout->state != 0 &&
        (timeout->any || timeout->state != SESSION_STATE_BIT(SESSION_STATE_ACTIVE))) {
        report_error(binder->diags, action.pair->value->at, &action.path,
                     "cancel ends running queries and does nothing to other sessions (write state: active, or action: "
                     "terminate)");
    }
    if (timeout->keep > 0 && timeout->action != ACTION_TERMINATE && !timeout->has_then) {
        report_error(binder->diags, keep.pair->value->at, &keep.path,
                     "no connection is ended by this rule, so that there is none to keep (write action: terminate, or "
                     "leave keep out)");
    }
    if (timeout->has_since && timeout->since == SESSION_TIME_XACT_START &&
        timeout->state == SESSION_STATE_BIT(SESSION_STATE_IDLE)) {
        report_warning(binder->diags, since.pair->value->at, &since.path,
                       "an idle session is in no transaction, so that this rule never matches (write since: "
                       "state_change, or state: idle in transaction)");
    }
    if (timeout->has_then && !is_cancel && !(action.pair && action.pair->value->is_bad)) {
        report_error(binder->diags, then.pair->key_at, &then.path,
                     "this rule cancels nothing that could be followed (write action: cancel, or leave then out)");
    }
    if (grace.pair && !then.pair) {
        report_error(binder->diags, grace.pair->key_at, &grace.path,
                     "nothing follows when it is over (write then: terminate, or leave grace out)");
    }
}

static void rules_check_when(struct binder *binder, const struct timeout *timeout, const struct yaml_node *map,
                             const struct path *path) {
    struct rules_key when = rules_key(map, path, "when");
    if (!when.pair || when.pair->value->is_bad ||
        rules_is_empty(binder, &when, "{ usage: 85%, until: 75% }, or { blocks: 1 }, or leave it out")) {
        return;
    }
    struct rules_key usage = rules_key(when.pair->value, &when.path, "usage");
    struct rules_key until = rules_key(when.pair->value, &when.path, "until");
    int64_t proposed = MAX(timeout->when.usage - RULES_UNTIL_BELOW, INT64_C(1));
    if (usage.pair && !until.pair && !when.pair->value->is_partial && timeout->when.usage > 1) {
        report_error(binder->diags, usage.pair->key_at, &until.path,
                     "is missing: how far usage is to be brought down (write until: %" PRId64 "%%)", proposed);
    }
    if (until.pair && !usage.pair && !when.pair->value->is_partial) {
        report_error(binder->diags, until.pair->key_at, &usage.path,
                     "is missing: from which usage on the rule bites (write usage: 85%%)");
    }
    // 0: not written, or refused.
    if (timeout->when.usage > 1 && timeout->when.until >= timeout->when.usage) {
        report_error(binder->diags, until.pair->value->at, &until.path,
                     "not below usage, which is %" PRId64 "%% (write until: %" PRId64 "%%)", timeout->when.usage,
                     proposed);
    }
    if (usage.pair && timeout->action == ACTION_CANCEL && !timeout->has_then) {
        report_error(binder->diags, usage.pair->key_at, &usage.path,
                     "usage does not fall when queries are cancelled (write action: terminate, or leave usage out)");
    }
}

static int rules_finish_timeout(struct binder *binder, void *base, const struct yaml_pair *entry,
                                const struct path *path) {
    struct timeout *timeout = base;
    timeout->has_since = yaml_node_find(entry->value, "since") != NULL;
    timeout->when.has_usage = timeout->when.usage > 0;
    rules_check_action(binder, timeout, entry->value, path);
    rules_check_when(binder, timeout, entry->value, path);
    rules_check_name(binder, entry, path, NULL);
    return 0;
}

static const struct field when_fields[] = {
    {.name = "usage",
     .type = FIELD_PERCENT,
     .offset = offsetof(struct when, usage),
     .min = 2,
     .max = 100,
     .example = "85%",
     .help = "From this part of the usable slots on, end just as many sessions as bring it to until."},
    {.name = "until",
     .type = FIELD_PERCENT,
     .offset = offsetof(struct when, until),
     .min = 1,
     .max = 99,
     .example = "75%",
     .help = "Where that ends; below usage."},
    {.name = "blocks",
     .type = FIELD_INTEGER,
     .offset = offsetof(struct when, blocks),
     .min = 1,
     .max = TABLES_MAX_SESSIONS,
     .example = "1",
     .help = "Only sessions that hold locks which at least so many other sessions wait for."},
};

static const struct section when_section = {
    .fields = when_fields,
    .n_fields = ARRAY_SIZE(when_fields),
};

static const struct field timeout_fields[] = {
    {.name = "state",
     .type = FIELD_CUSTOM,
     .required = true,
     .offset = 0,
     .kind = "a state or a list of states",
     .parse = keys_parse_state,
     .example = "idle",
     .help = "The state, or list of states, as in pg_stat_activity; any covers them all."},
    {.name = "since",
     .type = FIELD_ENUM,
     .offset = offsetof(struct timeout, since),
     .word = rules_session_time,
     .n_words = N_SESSION_TIMES,
     .help = "The column that the time is measured from; state_change unless written, query_start while active."},
    {.name = "after",
     .type = FIELD_DURATION,
     .required = true,
     .offset = offsetof(struct timeout, after),
     .min = 100 * USEC_PER_MSEC,
     .max = RULES_MAX_TIME,
     .example = "10min",
     .help = "How long a session may stay so."},
    {.name = "match",
     .type = FIELD_CUSTOM,
     .offset = offsetof(struct timeout, match),
     .kind = "a map or a list of maps",
     .parse = keys_parse_selector,
     .example = "{ app: worker }",
     .help = "Whom the rule covers; without it every session that is not protected."},
    {.name = "ignore",
     .type = FIELD_CUSTOM,
     .offset = offsetof(struct timeout, ignore),
     .kind = "a map or a list of maps",
     .parse = keys_parse_selector,
     .example = "{ user: reporting }",
     .help = "Whom the rule leaves alone; wins over match."},
    {.name = "keep",
     .type = FIELD_INTEGER,
     .offset = offsetof(struct timeout, keep),
     .fallback = "0",
     .min = 0,
     .max = TABLES_MAX_SESSIONS,
     .help = "Leave every app at least this many connections on the server."},
    {.name = "action",
     .type = FIELD_ENUM,
     .offset = offsetof(struct timeout, action),
     .fallback = "terminate",
     .word = rules_action,
     .n_words = N_ACTIONS,
     .help = "End the session, cancel its query (state: active only), or say so and do nothing."},
    {.name = "then",
     .type = FIELD_CUSTOM,
     .offset = offsetof(struct timeout, has_then),
     .word = rules_then,
     .n_words = N_ACTIONS,
     .kind = "one word",
     .parse = keys_parse_then,
     .example = "terminate",
     .help = "After action: cancel, end the session if the same query still runs when grace is over."},
    {.name = "grace",
     .type = FIELD_DURATION,
     .offset = offsetof(struct timeout, grace), // 30s: policy_add_timeout(); written without `then` it is a mistake
     .min = 100 * USEC_PER_MSEC,
     .max = RULES_MAX_TIME,
     .example = "30s",
     .help = "How long a cancelled query has before then; 30s unless written."},
    {.name = "when",
     .type = FIELD_SECTION,
     .offset = offsetof(struct timeout, when),
     .section = &when_section,
     .help = "When the rule bites at all: under pressure, or whom others wait for; without it always."},
    {.name = "enforce",
     .type = FIELD_BOOL,
     .offset = offsetof(struct timeout, enforce),
     .fallback = "true",
     .help = "False: only observe this rule."},
};

const struct section tables_timeout = {
    .fields = timeout_fields,
    .n_fields = ARRAY_SIZE(timeout_fields),
    .open = rules_open_timeout,
    .finish = rules_finish_timeout,
};

// --- quotas ----------------------------------------------------------------------------------------------------------

static void *rules_open_quota(struct config *config, const char *name) {
    return policy_add_quota(config->policy, name);
}

static int rules_finish_quota(struct binder *binder, void *base, const struct yaml_pair *entry,
                              const struct path *path) {
    (void)base;
    rules_check_name(binder, entry, path, "timeouts");
    return 0;
}

static const struct field quota_fields[] = {
    {.name = "per",
     .type = FIELD_CUSTOM,
     .offset = offsetof(struct quota, per),
     .word = rules_group_key,
     .n_words = N_GROUP_KEYS,
     .kind = "one word or a list of words",
     .parse = keys_parse_per,
     .example = "client_addr",
     .help = "What makes a group, each with its own max; without it all that match are one."},
    {.name = "match",
     .type = FIELD_CUSTOM,
     .offset = offsetof(struct quota, match),
     .kind = "a map or a list of maps",
     .parse = keys_parse_selector,
     .example = "{ app: worker }",
     .help = "Whose connections count; without it every session's, protected ones included."},
    {.name = "ignore",
     .type = FIELD_CUSTOM,
     .offset = offsetof(struct quota, ignore),
     .kind = "a map or a list of maps",
     .parse = keys_parse_selector,
     .example = "{ user: reporting }",
     .help = "Whose do not; wins over match."},
    {.name = "max",
     .type = FIELD_CUSTOM,
     .required = true,
     .offset = 0,
     .kind = "a number or a percentage",
     .parse = keys_parse_max,
     .example = "30",
     .help = "How many connections a group may hold: a number, or a percentage of the usable slots."},
    {.name = "for",
     .type = FIELD_DURATION,
     .offset = offsetof(struct quota, for_),
     .fallback = "0s",
     .min = 0,
     .max = RULES_MAX_TIME,
     .help = "Evict only after the group has held too many for this long."},
    {.name = "evict",
     .type = FIELD_CUSTOM,
     .offset = 0,
     .fallback = "idle",
     .word = rules_state,
     .n_words = N_SESSION_STATES,
     .kind = "a state or a list of states",
     .parse = keys_parse_evict,
     .example = "[idle, idle in transaction]",
     .help = "The states that may be evicted, in this order."},
    {.name = "min_idle",
     .type = FIELD_DURATION,
     .offset = offsetof(struct quota, min_idle),
     .fallback = "5s",
     .min = 0,
     .max = RULES_MAX_TIME,
     .help = "Evict only sessions that have been in their state for at least this long."},
    {.name = "victims",
     .type = FIELD_ENUM,
     .offset = offsetof(struct quota, victims),
     .fallback = "longest",
     .word = rules_victims,
     .n_words = N_VICTIMS,
     .help = "Who goes first: longest in its state, oldest or newest connection."},
    {.name = "action",
     .type = FIELD_ENUM,
     .offset = offsetof(struct quota, action),
     .fallback = "terminate",
     .word = rules_quota_action,
     .n_words = N_ACTIONS,
     .help = "End the sessions, or say so and do nothing."},
    {.name = "enforce",
     .type = FIELD_BOOL,
     .offset = offsetof(struct quota, enforce),
     .fallback = "true",
     .help = "False: only observe this quota."},
};

const struct section tables_quota = {
    .fields = quota_fields,
    .n_fields = ARRAY_SIZE(quota_fields),
    .open = rules_open_quota,
    .finish = rules_finish_quota,
};

// --- alarms ----------------------------------------------------------------------------------------------------------

// Names that are taken by the alarms that need no entry.
static const char *const rules_always_on[] = {
    "full",           "locked_out", "own_limit", "unreachable", "blind",         "powerless", "pooled_connection",
    "leader_unknown", "lingering",  "thrashing", "forged_name", "reload_failed",
};

static void *rules_open_alarm(struct config *config, const char *name) {
    return policy_add_alarm(config->policy, name);
}

enum rules_side { RULES_ABOVE, RULES_BELOW, RULES_BOTH_SIDES };

// On which side of a threshold something is wrong.
static enum rules_side rules_side(enum metric metric) {
    switch (metric) {
    case METRIC_TIME_TO_FULL:
        return RULES_BELOW;
    case METRIC_CONNECTIONS: // an app that has gone away is worth knowing
    case METRIC_IDLE:
    case METRIC_ACTIVE:
        return RULES_BOTH_SIDES;
    case METRIC_USAGE:
    case METRIC_IDLE_IN_TRANSACTION:
    case METRIC_WAITING:
    case METRIC_BLOCKED:
    case METRIC_LONGEST_IDLE:
    case METRIC_LONGEST_QUERY:
    case METRIC_LONGEST_TRANSACTION:
    case METRIC_LONGEST_IDLE_IN_TRANSACTION:
    case METRIC_ROLE_LIMIT:
    case METRIC_DATABASE_LIMIT:
    case N_METRICS_:
        break;
    }
    return RULES_ABOVE;
}

static const char *rules_thresholds_example(enum metric metric) {
    switch (metric_unit(metric)) {
    case METRIC_UNIT_PERCENT:
        return "{ warning: 80%, critical: 90% }";
    case METRIC_UNIT_COUNT:
        return "{ warning: 20 }";
    case METRIC_UNIT_DURATION:
        break;
    }
    return metric == METRIC_TIME_TO_FULL ? "{ warning: 30min, critical: 5min }" : "{ warning: 5min, critical: 30min }";
}

static void rules_bind_thresholds(struct binder *binder, struct alarm *alarm, const struct rules_key *side) {
    struct rules_key warning = rules_key(side->pair->value, &side->path, "warning");
    struct rules_key critical = rules_key(side->pair->value, &side->path, "critical");
    alarm->has_warning =
        warning.pair && keys_bind_threshold(binder, warning.pair->value, &warning.path, alarm, &alarm->warning);
    alarm->has_critical =
        critical.pair && keys_bind_threshold(binder, critical.pair->value, &critical.path, alarm, &alarm->critical);
    if (alarm->has_warning && alarm->has_critical &&
        (alarm->below ? alarm->critical >= alarm->warning : alarm->critical <= alarm->warning)) {
        report_error(binder->diags, critical.pair->value->at, &critical.path,
                     "not %s warning, which would never be seen (write %s: %s)", alarm->below ? "below" : "above",
                     side->path.name,
                     alarm->below && alarm->metric != METRIC_TIME_TO_FULL ? "{ warning: 2, critical: 1 }"
                                                                          : rules_thresholds_example(alarm->metric));
    }
}

static void rules_check_thresholds(struct binder *binder, struct alarm *alarm, const struct yaml_pair *entry,
                                   const struct path *path) {
    struct rules_key above = rules_key(entry->value, path, "above"), below = rules_key(entry->value, path, "below");
    const char *metric = metric_to_string(alarm->metric);
    const char *example = rules_thresholds_example(alarm->metric);
    enum rules_side side = rules_side(alarm->metric);
    const struct rules_key *wanted = side == RULES_BELOW ? &below : &above;
    const struct rules_key *written = above.pair ? &above : &below;
    if (above.pair && below.pair) {
        report_error(binder->diags, below.pair->key_at, &below.path,
                     "above is written at line %u, and an alarm has one side (write another alarm for this one)",
                     above.pair->key_at.line);
        return;
    }
    if (!written->pair) {
        if (!entry->value->is_partial) {
            report_error(binder->diags, entry->key_at, &wanted->path, "is missing (write %s: %s)", wanted->path.name,
                         example);
        }
        return;
    }
    if (written->pair->value->is_bad || rules_is_empty(binder, written, example)) {
        return;
    }
    alarm->below = written == &below;
    if (side != RULES_BOTH_SIDES && written != wanted) {
        report_error(binder->diags, written->pair->key_at, &written->path,
                     "%s is no trouble while it is %s (write %s: %s)", metric, alarm->below ? "low" : "long",
                     wanted->path.name, example);
        return;
    }
    rules_bind_thresholds(binder, alarm, written);
}

static void rules_check_scope(struct binder *binder, const struct alarm *alarm, const struct yaml_pair *entry,
                              const struct path *path) {
    static const char *const names[] = {"match", "ignore", "per"};
    for (size_t i = 0; i < ARRAY_SIZE(names) && !metric_is_by_session(alarm->metric); i++) {
        struct rules_key key = rules_key(entry->value, path, names[i]);
        if (key.pair) {
            report_error(binder->diags, key.pair->key_at, &key.path,
                         "%s is one figure for the whole server (leave %s out, or write metric: connections)",
                         metric_to_string(alarm->metric), names[i]);
        }
    }
}

static int rules_finish_alarm(struct binder *binder, void *base, const struct yaml_pair *entry,
                              const struct path *path) {
    struct alarm *alarm = base;
    for (size_t i = 0; i < ARRAY_SIZE(rules_always_on); i++) {
        if (strcmp(entry->key, rules_always_on[i]) == 0) {
            report_error(binder->diags, entry->key_at, path,
                         "the name of an alarm that is always on (write another name)");
        }
    }
    // Without a metric, which has been reported, nothing else can be judged.
    const struct yaml_pair *metric = yaml_node_find(entry->value, "metric");
    if (metric && keys_is_text(metric->value) && strcmp(metric->value->text, metric_to_string(alarm->metric)) == 0) {
        rules_check_thresholds(binder, alarm, entry, path);
        rules_check_scope(binder, alarm, entry, path);
    }
    return 0;
}

static const struct field threshold_fields[] = {
    {.name = "warning",
     .type = FIELD_CUSTOM,
     .kind = "a percentage, a number or a duration",
     .parse = keys_parse_threshold,
     .example = "80%, 20 or 10min, as the metric wants it",
     .help = "Where the alarm becomes a warning."},
    {.name = "critical",
     .type = FIELD_CUSTOM,
     .kind = "a percentage, a number or a duration",
     .parse = keys_parse_threshold,
     .example = "90%, 40 or 30min, as the metric wants it",
     .help = "Where it becomes critical."},
};

static const struct section threshold_section = {
    .fields = threshold_fields,
    .n_fields = ARRAY_SIZE(threshold_fields),
};

static const struct field alarm_fields[] = {
    {.name = "metric",
     .type = FIELD_ENUM,
     .required = true,
     .offset = offsetof(struct alarm, metric),
     .word = rules_metric,
     .n_words = N_METRICS,
     .help = "What is watched."},
    {.name = "match",
     .type = FIELD_CUSTOM,
     .offset = offsetof(struct alarm, match),
     .kind = "a map or a list of maps",
     .parse = keys_parse_selector,
     .example = "{ app: worker }",
     .help = "Whose sessions count; without it everybody's. Only for metrics that count sessions or their times."},
    {.name = "ignore",
     .type = FIELD_CUSTOM,
     .offset = offsetof(struct alarm, ignore),
     .kind = "a map or a list of maps",
     .parse = keys_parse_selector,
     .example = "{ user: reporting }",
     .help = "Whose do not; wins over match."},
    {.name = "per",
     .type = FIELD_CUSTOM,
     .offset = offsetof(struct alarm, per),
     .word = rules_group_key,
     .n_words = N_GROUP_KEYS,
     .kind = "one word or a list of words",
     .parse = keys_parse_per,
     .example = "app",
     .help = "One alarm for each of these, or each combination of them."},
    {.name = "above",
     .type = FIELD_SECTION,
     .section = &threshold_section,
     .help = "Raised while the metric is above; percentages, numbers or durations as the metric wants them."},
    {.name = "below",
     .type = FIELD_SECTION,
     .section = &threshold_section,
     .help = "Raised while the metric is below."},
    {.name = "for",
     .type = FIELD_DURATION,
     .offset = offsetof(struct alarm, for_),
     .fallback = "0s",
     .min = 0,
     .max = RULES_MAX_TIME,
     .help = "Raise it only after this has held for so long."},
    {.name = "clear_after",
     .type = FIELD_DURATION,
     .offset = offsetof(struct alarm, clear_after),
     .fallback = "0s",
     .min = 0,
     .max = RULES_MAX_TIME,
     .help = "Clear it only after this has not held for so long."},
};

const struct section tables_alarm = {
    .fields = alarm_fields,
    .n_fields = ARRAY_SIZE(alarm_fields),
    .open = rules_open_alarm,
    .finish = rules_finish_alarm,
};
