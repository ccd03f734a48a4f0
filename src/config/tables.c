// SPDX-License-Identifier: PostgreSQL

// Every key of a pgvigil file: one row each, those of rules and alarms in tables_rules.c, those of
// webhooks in tables_webhooks.c. A new key needs a row here,
// an entry in the manual page and in conf/pgvigil.yaml, and a bad case in tests/config.

#include "tables.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scalar.h"
#include "util/macro.h"
#include "util/strbuf.h"

#define TABLES_MAX_ACTIONS 1000000
#define TABLES_MAX_ROUNDS 1000
#define TABLES_PRESSURE_POLL_INTERVAL USEC_PER_SEC // at most poll_interval
#define TABLES_MAX_QUERY_TEXT 1024
#define TABLES_MAX_COMPARED 500000 // strings of two apps: regular expressions take half a second for so many

// Tables need functions of one type.
static const char *tables_event_level(unsigned value) {
    return event_level_to_string((enum event_level)value);
}

static const char *tables_log_format(unsigned value) {
    return log_format_to_string((enum log_format)value);
}

static const char *const log_format_names[] = {
    [LOG_FORMAT_AUTO] = "auto",
    [LOG_FORMAT_TEXT] = "text",
    [LOG_FORMAT_JSON] = "json",
    [LOG_FORMAT_JOURNAL] = "journal",
};

const char *log_format_to_string(enum log_format format) {
    return log_format_names[format];
}

// --- targets ---------------------------------------------------------------------------------------------------------

static void *tables_open_target(struct config *config, const char *name) {
    struct target_config *targets = reallocarray(config->targets, config->n_targets + 1, sizeof(*targets));
    if (!targets) {
        return NULL;
    }
    config->targets = targets;
    struct target_config *target = &targets[config->n_targets];
    *target = (struct target_config){.name = strdup(name)};
    if (!target->name) {
        return NULL;
    }
    config->n_targets++;
    return target;
}

static int tables_check_conninfo(struct binder *binder, const struct target_config *target, const struct path *path) {
    CLEANUP(freep) char *why = NULL;
    int r = binder->check_conninfo && target->conninfo ? binder->check_conninfo(target->conninfo, &why) : 0;
    if (r == -EINVAL) {
        struct path conninfo_path = {.parent = path, .name = "conninfo"};
        report_error(binder->diags, target->conninfo_at, &conninfo_path, "%s", why);
        r = 0;
    }
    return r;
}

static usec_t tables_pressure_poll_interval(usec_t poll_interval) {
    return MIN(TABLES_PRESSURE_POLL_INTERVAL, poll_interval);
}

static void tables_derive_pressure_poll_interval(const struct yaml_node *target, struct strbuf *sb) {
    const struct yaml_pair *pair = yaml_node_find(target, "poll_interval");
    usec_t poll_interval = USEC_INFINITY; // its own default is longer than ours
    if (pair) {
        (void)scalar_duration(pair->value->text, &poll_interval); // it has been bound before
    }
    usec_render_exact(sb, tables_pressure_poll_interval(poll_interval));
}

static int tables_finish_target(struct binder *binder, void *base, const struct yaml_pair *entry,
                                const struct path *path) {
    struct target_config *target = base;
    const struct yaml_pair *conninfo = yaml_node_find(entry->value, "conninfo");
    target->conninfo_at = conninfo ? conninfo->value->at : entry->key_at;
    int r = tables_check_conninfo(binder, target, path);
    if (r < 0) {
        return r;
    }
    if (target->password_file && target->password_file[0] != '/') {
        const struct yaml_pair *pair = yaml_node_find(entry->value, "password_file");
        struct path pair_path = {.parent = path, .name = pair->key};
        // The value is not quoted: people write the password itself here.
        report_error(binder->diags, pair->value->at, &pair_path,
                     "not an absolute path (write password_file: /run/secrets/pgvigil_password)");
    }
    const struct yaml_pair *pressure = yaml_node_find(entry->value, "pressure_poll_interval");
    if (!pressure) {
        target->pressure_poll_interval = tables_pressure_poll_interval(target->poll_interval);
    } else if (target->poll_interval > 0 && target->pressure_poll_interval > target->poll_interval) {
        struct path pair_path = {.parent = path, .name = pressure->key};
        report_error(binder->diags, pressure->value->at, &pair_path,
                     "longer than poll_interval, so that the server would be asked less often under pressure (write a "
                     "shorter time, or leave it out)");
    }
    return 0;
}

static const struct field target_fields[] = {
    {.name = "conninfo",
     .type = FIELD_TEXT,
     .required = true,
     .secret = true,
     .offset = offsetof(struct target_config, conninfo),
     .example = "host=db user=pgvigil dbname=postgres",
     .help = "Where the server is: a libpq connection string or URI."},
    {.name = "password_file",
     .type = FIELD_TEXT,
     .offset = offsetof(struct target_config, password_file),
     .example = "/run/secrets/pgvigil_password",
     .help = "Absolute path of a file whose first line is the password, read at each connect."},
    {.name = "poll_interval",
     .type = FIELD_DURATION,
     .offset = offsetof(struct target_config, poll_interval),
     .fallback = "5s",
     .min = 100 * USEC_PER_MSEC,
     .max = USEC_PER_HOUR,
     .help = "How often the server is asked who is connected."},
    {.name = "pressure_poll_interval",
     .type = FIELD_DURATION,
     .offset = offsetof(struct target_config, pressure_poll_interval), // unless written: see tables_finish_target()
     .derive = tables_derive_pressure_poll_interval,
     .min = 100 * USEC_PER_MSEC,
     .max = USEC_PER_HOUR,
     .example = "1s",
     .help = "The same under pressure: usage at or above pressure_at, or slots that fill fast."},
    {.name = "pressure_at",
     .type = FIELD_PERCENT,
     .offset = offsetof(struct target_config, pressure_at),
     .fallback = "80%",
     .min = 1,
     .max = 100,
     .help = "From which part of the usable slots on the server is under pressure."},
    {.name = "connect_timeout",
     .type = FIELD_DURATION,
     .offset = offsetof(struct target_config, connect_timeout),
     .fallback = "5s",
     .min = 100 * USEC_PER_MSEC,
     .max = 10 * USEC_PER_MINUTE,
     .help = "How long one attempt to connect may take."},
    {.name = "query_timeout",
     .type = FIELD_DURATION,
     .offset = offsetof(struct target_config, query_timeout),
     .fallback = "5s",
     .min = 100 * USEC_PER_MSEC,
     .max = 10 * USEC_PER_MINUTE,
     .help = "statement_timeout of our own statements; the connection is given up after 3 times that."},
    {.name = "enforce",
     .type = FIELD_BOOL,
     .offset = offsetof(struct target_config, enforce),
     .fallback = "true",
     .help = "False: only observe this server."},
};

static const struct section target_section = {
    .fields = target_fields,
    .n_fields = ARRAY_SIZE(target_fields),
    .open = tables_open_target,
    .finish = tables_finish_target,
};

// --- apps ------------------------------------------------------------------------------------------------------------

static void *tables_open_app(struct config *config, const char *name) {
    return policy_add_app(config->policy, name);
}

static void tables_report_covered(struct binder *binder, const struct app *app, const struct app *other, bool is_same,
                                  const struct yaml_pair *match, const struct path *path) {
    struct path match_path = {.parent = path, .name = match->key};
    struct quoted other_name = report_quote(binder->diags, other->name);
    if (is_same) {
        const struct yaml_pair *apps = yaml_node_find(binder->root, "apps");
        const struct yaml_pair *entry = yaml_node_find(apps->value, other->name);
        report_warning(binder->diags, match->value->at, &match_path,
                       "the same as that of %s at line %u, which comes first and takes every session (write a "
                       "narrower one, or remove one of the two)",
                       other_name.text, yaml_node_find(entry->value, match->key)->value->at.line);
        return;
    }
    struct quoted name = report_quote(binder->diags, app->name);
    report_warning(binder->diags, match->value->at, &match_path,
                   "app %s never gets a session: app %s, before it, covers all of them (put %s first)", name.text,
                   other_name.text, name.text);
}

// The first match wins, so that an app within an earlier one never gets a session.
static int tables_finish_app(struct binder *binder, void *base, const struct yaml_pair *entry,
                             const struct path *path) {
    const struct app *app = base;
    const struct policy *policy = binder->config->policy;
    const struct yaml_pair *match = yaml_node_find(entry->value, "match");
    // What has a mistake is bound in part alone, and would seem to match fewer or more.
    if (binder->diags->n_errors > 0 || !match) {
        return 0;
    }
    for (const struct app *other = policy->apps; other < app; other++) {
        const struct selector *outer = other->match, *inner = app->match;
        binder->n_compared += selector_n_strings(inner) * selector_n_strings(outer);
        if (binder->n_compared > TABLES_MAX_COMPARED) {
            break;
        }
        int r = policy_is_within(policy, inner, &outer, 1);
        if (r > 0) {
            r = policy_is_within(policy, outer, &inner, 1);
            if (r >= 0) {
                tables_report_covered(binder, app, other, r > 0, match, path);
                return 0;
            }
        }
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static const struct field app_fields[] = {
    {.name = "match",
     .type = FIELD_CUSTOM,
     .required = true,
     .offset = offsetof(struct app, match),
     .kind = "a map or a list of maps",
     .parse = keys_parse_app_selector,
     .example = "{ user: worker }",
     .help = "Which sessions belong to the app; of several apps the first that matches takes the session."},
    {.name = "pool",
     .type = FIELD_INTEGER,
     .offset = offsetof(struct app, pool),
     .min = 1,
     .max = TABLES_MAX_SESSIONS,
     .example = "10",
     .help = "How many connections the app's pools may open together, as far as you know."},
};

static const struct section app_section = {
    .fields = app_fields,
    .n_fields = ARRAY_SIZE(app_fields),
    .open = tables_open_app,
    .finish = tables_finish_app,
};

// --- protect ---------------------------------------------------------------------------------------------------------

static void *tables_open_protect(struct config *config, const char *name) {
    (void)name;
    return &config->policy->protect;
}

static const struct field protect_fields[] = {
    {.name = "builtin",
     .type = FIELD_CUSTOM,
     .merge = MERGE_BY_KEY,
     .offset = 0,
     .fallback = "true",
     .kind = "true, false or a map",
     .parse = keys_parse_builtin,
     .example = "{ pg_dump: backup }",
     .help = "Protect the built-in names; a map binds names to the users that may bear them."},
    {.name = "superusers",
     .type = FIELD_BOOL,
     .offset = offsetof(struct protect, superusers),
     .fallback = "true",
     .help = "Protect the sessions of superusers."},
    {.name = "listeners",
     .type = FIELD_BOOL,
     .offset = offsetof(struct protect, listeners),
     .fallback = "true",
     .help = "Protect sessions that were seen to LISTEN."},
    {.name = "maintenance",
     .type = FIELD_BOOL,
     .offset = offsetof(struct protect, maintenance),
     .fallback = "true",
     .help = "Protect sessions that run VACUUM, ANALYZE, CREATE INDEX, REINDEX, CLUSTER, REFRESH or ALTER."},
    {.name = "min_age",
     .type = FIELD_DURATION,
     .offset = offsetof(struct protect, min_age),
     .fallback = "5s",
     .min = 0,
     .max = 365 * USEC_PER_DAY,
     .help = "Protect sessions younger than this."},
    {.name = "match",
     .type = FIELD_CUSTOM,
     .merge = MERGE_GROW,
     .offset = offsetof(struct protect, match),
     .kind = "a map or a list of maps",
     .parse = keys_parse_selector,
     .example = "[ { user: replicator } ]",
     .help = "Protect these sessions, too; files in conf.d only ever add to it."},
};

static const struct section protect_section = {
    .fields = protect_fields,
    .n_fields = ARRAY_SIZE(protect_fields),
    .open = tables_open_protect,
};

// --- limits and outputs ----------------------------------------------------------------------------------------------

static void *tables_open_limits(struct config *config, const char *name) {
    (void)name;
    return &config->policy->limits;
}

static const struct field breaker_fields[] = {
    {.name = "rounds",
     .type = FIELD_INTEGER,
     .offset = offsetof(struct limits, breaker_rounds),
     .fallback = "3",
     .min = 1,
     .max = TABLES_MAX_ROUNDS,
     .help = "After how many rounds in a row whose victims came back within 30s."},
    {.name = "pause",
     .type = FIELD_DURATION,
     .offset = offsetof(struct limits, breaker_pause),
     .fallback = "5min",
     .min = USEC_PER_SEC,
     .max = USEC_PER_HOUR,
     .help = "For how long at first; doubled each time, up to 1h."},
};

static const struct section breaker_section = {
    .fields = breaker_fields,
    .n_fields = ARRAY_SIZE(breaker_fields),
};

static const struct field limits_fields[] = {
    {.name = "per_poll",
     .type = FIELD_INTEGER,
     .offset = offsetof(struct limits, per_poll),
     .fallback = "20",
     .min = 1,
     .max = TABLES_MAX_ACTIONS,
     .help = "How many sessions may be ended at one poll of a server."},
    {.name = "per_minute",
     .type = FIELD_INTEGER,
     .offset = offsetof(struct limits, per_minute),
     .fallback = "60",
     .min = 1,
     .max = TABLES_MAX_ACTIONS,
     .help = "How many sessions may be ended within any minute on a server."},
    {.name = "pressure_per_minute",
     .type = FIELD_INTEGER,
     .offset = offsetof(struct limits, pressure_per_minute),
     .fallback = "600",
     .min = 1,
     .max = TABLES_MAX_ACTIONS,
     .help = "The same for quotas and rules with when.usage, while the server is under pressure."},
    {.name = "share",
     .type = FIELD_PERCENT,
     .offset = offsetof(struct limits, share),
     .fallback = "100%",
     .min = 1,
     .max = 100,
     .help = "At most this part of what a rule's match covered a minute ago may be ended; 100% is off."},
    {.name = "breaker",
     .type = FIELD_SECTION,
     .section = &breaker_section,
     .help = "Suspends timeouts that do not help, as the clients come straight back."},
};

static const struct section limits_section = {
    .fields = limits_fields,
    .n_fields = ARRAY_SIZE(limits_fields),
    .open = tables_open_limits,
};

static void *tables_open_log(struct config *config, const char *name) {
    (void)name;
    return &config->log;
}

static const struct field log_fields[] = {
    {.name = "level",
     .type = FIELD_ENUM,
     .offset = offsetof(struct log_config, level),
     .fallback = "info",
     .word = tables_event_level,
     .n_words = N_EVENT_LEVELS,
     .help = "What is worth a line."},
    {.name = "format",
     .type = FIELD_ENUM,
     .offset = offsetof(struct log_config, format),
     .fallback = "auto",
     .word = tables_log_format,
     .n_words = ARRAY_SIZE(log_format_names),
     .help = "auto is the native journal where stderr is connected to it, and text elsewhere."},
};

static const struct section log_section = {
    .fields = log_fields,
    .n_fields = ARRAY_SIZE(log_fields),
    .open = tables_open_log,
};

static void *tables_open_policy(struct config *config, const char *name) {
    (void)name;
    return config->policy;
}

static const struct field outputs_fields[] = {
    {.name = "log", .type = FIELD_SECTION, .section = &log_section, .help = "The log."},
    {.name = "query_text",
     .type = FIELD_INTEGER,
     .offset = offsetof(struct policy, query_text),
     .fallback = "off",
     .min = 1,
     .max = TABLES_MAX_QUERY_TEXT,
     .zero = "off",
     .help = "How many characters of a victim's query events show; off reads no query text at all."},
    {.name = "webhooks",
     .type = FIELD_ENTRIES,
     .section = &tables_webhook,
     .help = "Who is told of alarms by HTTP, each under a name of yours."},
};

static int tables_finish_outputs(struct binder *binder, void *base, const struct yaml_pair *entry,
                                 const struct path *path) {
    (void)base;
    return tables_check_webhooks(binder, entry, path);
}

static const struct section outputs_section = {
    .fields = outputs_fields,
    .n_fields = ARRAY_SIZE(outputs_fields),
    .open = tables_open_policy,
    .finish = tables_finish_outputs,
};

// --- the file --------------------------------------------------------------------------------------------------------

static int tables_finish_root(struct binder *binder, void *base, const struct yaml_pair *entry,
                              const struct path *path) {
    (void)base;
    struct path targets_path = {.parent = path, .name = "targets"};
    const struct yaml_pair *targets = yaml_node_find(entry->value, "targets");
    if (targets && !targets->value->is_bad && !targets->value->is_partial &&
        (targets->value->is_null || targets->value->kind == NODE_MAP) && targets->value->n_pairs == 0) {
        report_error(binder->diags, targets->key_at, &targets_path, "no server to watch (write targets: %s)",
                     "{ db: { conninfo: host=db user=pgvigil dbname=postgres } }");
    }
    return 0;
}

static const struct field root_fields[] = {
    {.name = "enforce",
     .type = FIELD_BOOL,
     .offset = offsetof(struct policy, enforce),
     .fallback = "false",
     .help = "The master switch; false: decide and report, end nothing."},
    {.name = "targets",
     .type = FIELD_ENTRIES,
     .required = true,
     .section = &target_section,
     .example = "{ db: { conninfo: host=db user=pgvigil dbname=postgres } }",
     .help = "The servers; one connection each."},
    {.name = "apps", .type = FIELD_ENTRIES, .section = &app_section, .help = "Names for groups of connections."},
    {.name = "protect", .type = FIELD_SECTION, .section = &protect_section, .help = "Sessions that no rule ever ends."},
    {.name = "timeouts",
     .type = FIELD_ENTRIES,
     .section = &tables_timeout,
     .help = "Rules: end what has stayed in a state too long."},
    {.name = "quotas",
     .type = FIELD_ENTRIES,
     .section = &tables_quota,
     .help = "Rules: how many connections a group may hold."},
    {.name = "alarms", .type = FIELD_ENTRIES, .section = &tables_alarm, .help = "What a person should know."},
    {.name = "limits",
     .type = FIELD_SECTION,
     .section = &limits_section,
     .help = "How much may be ended, for each server."},
    {.name = "outputs", .type = FIELD_SECTION, .section = &outputs_section, .help = "What is said, and how."},
    {.name = "http", .type = FIELD_SECTION, .section = &tables_http, .help = "What may be asked over the network."},
    {.name = "control", .type = FIELD_SECTION, .section = &tables_control, .help = "Who may give commands, and where."},
};

const struct section tables_root = {
    .fields = root_fields,
    .n_fields = ARRAY_SIZE(root_fields),
    .open = tables_open_policy,
    .finish = tables_finish_root,
};
