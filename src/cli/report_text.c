// SPDX-License-Identifier: PostgreSQL
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"
#include "util/cleanup.h"
#include "util/escape.h"

#define REPORT_MAX_LINES 20 // of one table for people; the other formats show all
#define REPORT_ALARMING 90  // per cent of the usable slots

#define REPORT_RED "\033[31m"
#define REPORT_BOLD "\033[1m"
#define REPORT_PLAIN "\033[0m"

void report_add_label(struct strbuf *sb, const char *label) {
    // Escaped when it was made; but who answers at a socket need not be the daemon.
    if (label[0] == '"') {
        escape_printable(sb, label, strlen(label));
    } else {
        escape_text(sb, label);
    }
}

void report_add_version(struct strbuf *sb, int version_num) {
    strbuf_addf(sb, "%d.%d", version_num / 10000, version_num % 10000);
}

void report_add_time(struct strbuf *sb, int64_t server_time, bool exact) {
    char text[TIMESTAMP_TEXT_SIZE];

    timestamp_format(server_time, text);
    strbuf_add_bytes(sb, text, exact ? strlen(text) : strcspn(text, "."));
    strbuf_add(sb, exact ? "" : "Z");
}

bool report_alarm_metric(const struct policy *policy, const char *name, enum metric *ret) {
    for (size_t i = 0; i < policy->n_alarms; i++) {
        if (strcmp(policy->alarms[i].name, name) == 0) {
            *ret = policy->alarms[i].metric;
            return true;
        }
    }
    return false;
}

int64_t report_pool(const struct policy *policy, const struct report_line *line) {
    for (size_t i = 0; line->is_app && i < policy->n_apps; i++) {
        if (strcmp(policy->apps[i].name, line->name) == 0) {
            return policy->apps[i].pool;
        }
    }
    return -1;
}

// ---- grouping

static struct report_line report_line_of(const struct summary_group *group, enum report_key key) {
    struct report_line line = {
        .n_sessions = group->n_sessions, .longest_idle = USEC_INFINITY, .longest = group->longest};

    switch (key) {
    case REPORT_APP:
        line.name = group->app;
        line.is_app = group->is_app;
        break;
    case REPORT_USER:
        line.name = group->user;
        break;
    case REPORT_DATABASE:
        line.name = group->database;
        break;
    case REPORT_STATE:
    case N_REPORT_KEYS_:
        line.name = session_state_to_string(group->state);
        break;
    }
    switch (group->state) {
    case SESSION_STATE_ACTIVE:
    case SESSION_STATE_FASTPATH:
        line.n_active = group->n_sessions;
        break;
    case SESSION_STATE_IDLE:
        line.n_idle = group->n_sessions;
        line.longest_idle = group->longest;
        break;
    case SESSION_STATE_IDLE_IN_TRANSACTION:
    case SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED:
        line.n_idle_in_transaction = group->n_sessions;
        break;
    case SESSION_STATE_NONE:
    case SESSION_STATE_DISABLED:
    case N_SESSION_STATES_:
        break;
    }
    return line;
}

static int report_compare_names(const void *pa, const void *pb) {
    const struct report_line *a = pa, *b = pb;
    int c = strcmp(a->name, b->name);

    return c ? c : (int)a->is_app - (int)b->is_app;
}

static int report_compare_counts(const void *pa, const void *pb) {
    const struct report_line *a = pa, *b = pb;

    if (a->n_sessions != b->n_sessions) {
        return a->n_sessions > b->n_sessions ? -1 : 1;
    }
    return report_compare_names(pa, pb);
}

static void report_line_merge(struct report_line *line, const struct report_line *other) {
    line->n_sessions += other->n_sessions;
    line->n_active += other->n_active;
    line->n_idle += other->n_idle;
    line->n_idle_in_transaction += other->n_idle_in_transaction;
    line->longest = MAX(line->longest, other->longest);
    if (line->longest_idle == USEC_INFINITY) {
        line->longest_idle = other->longest_idle;
    } else if (other->longest_idle != USEC_INFINITY) {
        line->longest_idle = MAX(line->longest_idle, other->longest_idle);
    }
}

int report_group(const struct summary *summary, enum report_key key, struct report_line **ret, size_t *ret_n) {
    struct report_line *lines = calloc(summary->n_groups + 1, sizeof(*lines));
    size_t n = 0;

    if (!lines) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < summary->n_groups; i++) {
        lines[i] = report_line_of(&summary->groups[i], key);
    }
    qsort(lines, summary->n_groups, sizeof(*lines), report_compare_names);
    for (size_t i = 0; i < summary->n_groups; i++) {
        if (n > 0 && report_compare_names(&lines[n - 1], &lines[i]) == 0) {
            report_line_merge(&lines[n - 1], &lines[i]);
        } else {
            lines[n++] = lines[i];
        }
    }
    qsort(lines, n, sizeof(*lines), report_compare_counts);
    *ret = lines;
    *ret_n = n;
    return 0;
}

// ---- for people

static void report_text_head(const struct report_target *target, const struct screen *screen, struct strbuf *sb) {
    const struct summary *summary = target->summary;
    const struct server_facts *facts = &summary->facts;
    int64_t usage = slots_percent(summary->used, summary->usable);
    bool alarming = screen->colour && usage >= REPORT_ALARMING;

    strbuf_add(sb, screen->colour ? REPORT_BOLD : "");
    escape_text(sb, target->name);
    strbuf_add(sb, screen->colour ? REPORT_PLAIN ": PostgreSQL " : ": PostgreSQL ");
    report_add_version(sb, facts->version_num);
    strbuf_addf(sb, ", %s, ", facts->in_recovery ? "standby" : "primary");
    escape_text(sb, target->address);
    strbuf_add(sb, ", ");
    report_add_time(sb, summary->server_now, false);
    strbuf_addf(sb, "\n%s%" PRId64 " of %" PRId64 " usable slots in use (%" PRId64 "%%)%s; max_connections %" PRId64,
                alarming ? REPORT_RED : "", summary->used, summary->usable, usage, alarming ? REPORT_PLAIN : "",
                facts->max_connections);
    strbuf_addf(sb, ", reserved %" PRId64, facts->superuser_reserved_connections + facts->reserved_connections);
    strbuf_addf(sb, "; connections / max_connections %" PRId64 "/%" PRId64 " (%" PRId64 "%%)\n", summary->used,
                facts->max_connections, slots_percent(summary->used, facts->max_connections));
}

static void report_add_value(struct strbuf *sb, enum metric metric, int64_t value) {
    switch (metric_unit(metric)) {
    case METRIC_UNIT_PERCENT:
        strbuf_addf(sb, "%" PRId64 "%%", value);
        break;
    case METRIC_UNIT_COUNT:
        strbuf_addf(sb, "%" PRId64, value);
        break;
    case METRIC_UNIT_DURATION:
        text_add_age(sb, (usec_t)value);
        break;
    }
}

static void report_add_words(struct strbuf *sb, const char *before, const char *words) {
    if (words) {
        strbuf_add(sb, before);
        escape_text(sb, words);
    }
}

// One line each: "CRITICAL slots: usage 93%", "CRITICAL blind: role ...; hint: GRANT ...". Of many groups the first
// few.
static void report_text_alarms(const struct report_target *target, const struct screen *screen, struct strbuf *sb) {
    const struct summary *summary = target->summary;
    size_t n = MIN(summary->n_alarms, (size_t)REPORT_MAX_LINES);

    for (size_t i = 0; i < n; i++) {
        const struct summary_alarm *alarm = &summary->alarms[i];
        bool critical = alarm->severity == SEVERITY_CRITICAL;
        enum metric metric;
        strbuf_addf(sb, "%s%s%s ", screen->colour && critical ? REPORT_RED : "", critical ? "CRITICAL" : "WARNING",
                    screen->colour && critical ? REPORT_PLAIN : "");
        escape_text(sb, alarm->name);
        if (alarm->group) {
            strbuf_add(sb, " of ");
            escape_printable(sb, alarm->group, strlen(alarm->group));
        }
        if (report_alarm_metric(target->policy, alarm->name, &metric) && alarm->value != EVENT_NUMBER_NONE) {
            strbuf_addf(sb, ": %s ", metric_to_string(metric));
            report_add_value(sb, metric, alarm->value);
        }
        report_add_words(sb, ": ", alarm->detail);
        report_add_words(sb, "; hint: ", alarm->hint);
        strbuf_add_char(sb, '\n');
    }
    if (summary->n_alarms > n) {
        strbuf_addf(sb, "and %zu more alarms\n", summary->n_alarms - n);
    }
}

// What keeps a rule from the sessions over its limit, but for our own observing.
static void report_add_held(struct table *table, const struct summary_rule *rule) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    for (unsigned reason = 0; reason < N_HELD_REASONS; reason++) {
        if (reason != HELD_OBSERVE && rule->n_held[reason] > 0) {
            strbuf_addf(&text, "%s%s %" PRId64, text.len > 0 ? ", " : "",
                        held_reason_to_string((enum held_reason)reason), rule->n_held[reason]);
        }
    }
    table->text.failed |= strbuf_error(&text) < 0;
    table_add(table, text.len > 0 ? strbuf_str(&text) : "-");
}

static int report_text_rules(const struct summary *summary, const struct screen *screen, struct strbuf *sb) {
    static const struct table_column columns[] = {{"rule", false, true}, {"action", false},
                                                  {"covers", true},      {"over its limit", true},
                                                  {"would act", true},   {"held back", false, true}};
    CLEANUP(table_deinit) struct table table = {0};

    if (summary->n_rules == 0) {
        return 0;
    }
    table_init(&table, columns, ARRAY_SIZE(columns));
    for (size_t i = 0; i < summary->n_rules; i++) {
        const struct summary_rule *rule = &summary->rules[i];
        table_addf(&table, "%s.%s", rule->is_quota ? "quotas" : "timeouts", rule->name);
        table_add(&table, action_to_string(rule->action));
        table_add_count(&table, rule->n_covered);
        table_add_count(&table, rule->n_matches);
        table_add_count(&table, rule->n_held[HELD_OBSERVE]);
        report_add_held(&table, rule);
    }
    strbuf_add_char(sb, '\n');
    return table_render(&table, screen, sb);
}

static void report_text_name(struct table *table, const char *name, bool is_label) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    if (is_label) {
        report_add_label(&text, name);
    } else if (*name == '\0') {
        strbuf_add(&text, "-"); // a session that is starting
    } else {
        escape_text(&text, name);
    }
    table->text.failed |= strbuf_error(&text) < 0;
    table_add(table, strbuf_str(&text));
}

static void report_text_pool(struct table *table, int64_t pool, int64_t n) {
    if (pool < 0) {
        table_add(table, "-");
    } else if (n > pool) {
        table_addf(table, "%" PRId64 ", over by %" PRId64, pool, n - pool);
    } else {
        table_addf(table, "%" PRId64, pool);
    }
}

static int report_text_group(const struct report_target *target, enum report_key key, const struct screen *screen,
                             struct strbuf *sb) {
    static const struct table_column by_state[] = {
        {"state", false}, {"sessions", true}, {"% usable", true}, {"longest", true}};
    static const char *const titles[] = {"app", "user", "database", "state"};
    const struct table_column by_name[] = {{titles[key], false, true}, {"sessions", true}, {"% usable", true},
                                           {"active", true},           {"idle", true},     {"idle in tx", true},
                                           {"longest idle", true},     {"pool", false}};
    CLEANUP(freep) struct report_line *lines = NULL;
    CLEANUP(table_deinit) struct table table = {0};
    size_t n;
    int64_t n_more = 0;

    if (key == REPORT_STATE) {
        table_init(&table, by_state, ARRAY_SIZE(by_state));
    } else {
        table_init(&table, by_name, ARRAY_SIZE(by_name) - (key == REPORT_APP ? 0 : 1));
    }
    int r = report_group(target->summary, key, &lines, &n);
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < n; i++) {
        const struct report_line *line = &lines[i];
        if (i >= REPORT_MAX_LINES) {
            n_more += line->n_sessions;
            continue;
        }
        report_text_name(&table, line->name, key == REPORT_APP);
        table_addf(&table, "%" PRId64, line->n_sessions);
        table_addf(&table, "%" PRId64 "%%", slots_percent(line->n_sessions, target->summary->usable));
        if (key == REPORT_STATE) {
            table_add_age(&table, line->longest);
            continue;
        }
        table_add_count(&table, line->n_active);
        table_add_count(&table, line->n_idle);
        table_add_count(&table, line->n_idle_in_transaction);
        table_add_age(&table, line->longest_idle);
        if (key == REPORT_APP) {
            report_text_pool(&table, report_pool(target->policy, line), line->n_sessions);
        }
    }
    strbuf_add_char(sb, '\n');
    r = table_render(&table, screen, sb);
    if (n_more > 0) {
        strbuf_addf(sb, "  and %zu more with %" PRId64 " sessions (--format json or csv lists them)\n",
                    n - REPORT_MAX_LINES, n_more);
    }
    return r;
}

void report_add_session(struct table *table, const struct session_row *row, const char *app, usec_t age) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    table_addf(table, "%" PRId64, row->id.id);
    report_text_name(table, app, true);
    escape_text(&text, row->user);
    strbuf_add_char(&text, '@');
    escape_text(&text, row->database);
    table_add(table, strbuf_str(&text));
    table->text.failed |= strbuf_error(&text) < 0;
    strbuf_clear(&text);
    address_render(&text, &row->client);
    table_add(table, strbuf_str(&text));
    table->text.failed |= strbuf_error(&text) < 0;
    table_add(table, session_state_to_string(row->state));
    table_add_age(table, age);
    report_text_name(table, row->application_name, false);
}

// All but our own session, which is busy with this very question.
static int report_text_sessions(const char *title, const struct summary_session *sessions, size_t n,
                                const struct server_facts *facts, const struct screen *screen, struct strbuf *sb) {
    static const struct table_column columns[] = {REPORT_SESSION_COLUMNS};
    CLEANUP(table_deinit) struct table table = {0};

    table_init(&table, columns, ARRAY_SIZE(columns));
    for (size_t i = 0; i < n; i++) {
        if (sessions[i].session.id.id != facts->own_pid) {
            report_add_session(&table, &sessions[i].session, sessions[i].app, sessions[i].age);
        }
    }
    if (table.n_cells == 0) {
        return 0;
    }
    strbuf_addf(sb, "\n%s%s%s\n", screen->colour ? REPORT_BOLD : "", title, screen->colour ? REPORT_PLAIN : "");
    return table_render(&table, screen, sb);
}

int report_text(const struct report_target *target, const struct screen *screen, struct strbuf *sb) {
    const struct summary *summary = target->summary;
    int r = 0;

    if (target->error) {
        return 0;
    }
    report_text_head(target, screen, sb);
    report_text_alarms(target, screen, sb);
    for (unsigned key = 0; r == 0 && key < N_REPORT_KEYS; key++) {
        r = report_text_group(target, (enum report_key)key, screen, sb);
    }
    if (r == 0) {
        r = report_text_rules(summary, screen, sb);
    }
    if (r == 0) {
        r = report_text_sessions("longest idle", summary->longest_idle, summary->n_longest_idle, &summary->facts,
                                 screen, sb);
    }
    if (r == 0) {
        r = report_text_sessions("longest transactions", summary->longest_transaction, summary->n_longest_transaction,
                                 &summary->facts, screen, sb);
    }
    return r < 0 ? r : strbuf_error(sb);
}
