// SPDX-License-Identifier: PostgreSQL
#include "status.h"

#include <inttypes.h>
#include <string.h>

#include "commands.h"
#include "json_read.h"
#include "remote.h"
#include "util/cleanup.h"
#include "util/escape.h"
#include "util/macro.h"

#define STATUS_RED "\033[31m"
#define STATUS_YELLOW "\033[33m"
#define STATUS_BOLD "\033[1m"
#define STATUS_PLAIN "\033[0m"
#define STATUS_ALARMING 90 // per cent of the usable slots

struct painter {
    struct strbuf *sb;
    const struct screen *screen;
};

// ---- the document

// Text of the document is raw, but for labels in quotes: those are escaped already.
static void status_cell(struct table *table, const char *text) {
    CLEANUP(strbuf_deinit) struct strbuf safe = STRBUF_EMPTY;
    escape_text(&safe, text);
    table->text.failed |= strbuf_error(&safe) < 0;
    table_add(table, safe.len > 0 ? strbuf_str(&safe) : "-");
}

static void status_add_label(struct strbuf *sb, const char *label) {
    if (label[0] == '"') {
        escape_printable(sb, label, strlen(label));
    } else {
        escape_text(sb, label);
    }
}

// "2026-11-25T12:30:00.123Z" as "2026-11-25 12:30:00"; "never".
static void status_add_time(struct strbuf *sb, const char *time) {
    if (strlen(time) < 19) {
        strbuf_add(sb, "never");
        return;
    }
    CLEANUP(strbuf_deinit) struct strbuf safe = STRBUF_EMPTY;
    strbuf_add_bytes(&safe, time, 10);
    strbuf_add_char(&safe, ' ');
    strbuf_add_bytes(&safe, time + 11, 8);
    escape_text(sb, strbuf_str(&safe));
    sb->failed |= strbuf_error(&safe) < 0;
}

static void status_paint(const struct painter *painter, const char *colour, const char *text) {
    strbuf_add(painter->sb, painter->screen->colour ? colour : "");
    strbuf_add(painter->sb, text);
    strbuf_add(painter->sb, painter->screen->colour ? STATUS_PLAIN : "");
}

static void status_add_count(struct strbuf *sb, int64_t n, const char *what, const char *after) {
    strbuf_addf(sb, "%" PRId64 " %s%s%s", n, what, n == 1 ? "" : "s", after);
}

// ---- the head

static void status_add_head(const struct painter *painter, json_t *status) {
    struct strbuf *sb = painter->sb;
    json_t *configuration = json_object_get(status, "configuration");
    const char *file = json_read_text(configuration, "file");
    bool enforces = json_read_flag(configuration, "enforce");
    status_paint(painter, STATUS_BOLD, "pgvigil ");
    escape_text(sb, json_read_text(status, "version"));
    strbuf_add(sb, ", since ");
    status_add_time(sb, json_read_text(status, "started_at"));
    strbuf_addf(sb, " UTC, %s\n", enforces ? "enforcing" : "observing: nothing is ended");
    escape_text(sb, *file ? file : "no file");
    strbuf_add(sb, ", in force since ");
    status_add_time(sb, json_read_text(configuration, "loaded_at"));
    strbuf_add(sb, " UTC: ");
    status_add_count(sb, json_read_number(configuration, "apps"), "app", ", ");
    status_add_count(sb, json_read_number(configuration, "rules"), "rule", ", ");
    status_add_count(sb, json_read_number(configuration, "alarms"), "alarm", "\n");
    if (!json_read_flag(configuration, "last_reload_ok")) {
        status_paint(painter, STATUS_RED, "the last reload was REFUSED");
        strbuf_add(sb, " at ");
        status_add_time(sb, json_read_text(configuration, "last_reload_at"));
        strbuf_add(sb, *file ? " UTC: pgvigil check -c " : " UTC: pgvigil check");
        escape_text(sb, file);
        strbuf_add(sb, " says why\n");
    }
}

static void status_add_pauses(const struct painter *painter, json_t *status) {
    struct strbuf *sb = painter->sb;
    json_t *pauses = json_object_get(status, "pauses");
    for (size_t i = 0; i < json_array_size(pauses); i++) {
        json_t *pause = json_array_get(pauses, i);
        bool all = strcmp(json_read_text(pause, "scope"), "all") == 0;
        status_paint(painter, STATUS_YELLOW, "PAUSED");
        strbuf_add_char(sb, ' ');
        escape_text(sb, all ? "everything" : json_read_text(pause, "scope"));
        strbuf_add(sb, all ? "" : " ");
        escape_text(sb, json_read_text(pause, "name"));
        strbuf_add(sb, " until ");
        status_add_time(sb, json_read_text(pause, "until"));
        strbuf_add(sb, " UTC, for ");
        text_add_age(sb, json_read_seconds(pause, "left_seconds", USEC_INFINITY));
        strbuf_add(sb, "\n");
    }
}

// ---- the targets

// "leads", "observes", "paused", ...: what it does about what it sees.
static const char *status_role(json_t *target) {
    if (json_read_flag(target, "paused")) {
        return "PAUSED";
    }
    if (!json_read_flag(target, "up")) {
        return "-";
    }
    if (!json_read_flag(target, "enforcing")) {
        return json_read_flag(target, "pooled_connection") ? "observes (pooler)" : "observes";
    }
    return strcmp(json_read_text(target, "standing"), "follows") == 0 ? "follows another" : "acts";
}

static int status_add_targets(const struct painter *painter, json_t *targets) {
    static const struct table_column columns[] = {{"target", false}, {"server", false}, {"slots", true},
                                                  {"usable", true},  {"used", true},    {"last poll", false},
                                                  {"pgvigil", false}};
    CLEANUP(table_deinit) struct table table = {0};
    table_init(&table, columns, ARRAY_SIZE(columns));
    for (size_t i = 0; i < json_array_size(targets); i++) {
        json_t *target = json_array_get(targets, i), *slots = json_object_get(target, "slots");
        CLEANUP(strbuf_deinit) struct strbuf time = STRBUF_EMPTY;
        bool up = json_read_flag(target, "up");
        status_cell(&table, json_read_text(target, "target"));
        if (up) {
            status_cell(&table, json_read_text(json_object_get(target, "server"), "version"));
        } else {
            table_add(&table, json_read_flag(target, "locked_out") ? "LOCKED OUT" : "DOWN");
        }
        table_add_count(&table, json_read_number(slots, "used"));
        table_add_count(&table, json_read_number(slots, "usable"));
        if (slots) {
            table_addf(&table, "%" PRId64 "%%", json_read_number(slots, "usage_percent"));
        } else {
            table_add(&table, "-");
        }
        status_add_time(&time, json_read_text(target, "last_poll"));
        table.text.failed |= strbuf_error(&time) < 0;
        table_add(&table, strbuf_str(&time));
        table_add(&table, status_role(target));
    }
    strbuf_add_char(painter->sb, '\n');
    return table_render(&table, painter->screen, painter->sb);
}

static void status_add_words(struct strbuf *sb, const char *before, const char *words) {
    if (*words) {
        strbuf_add(sb, before);
        escape_text(sb, words);
    }
}

// Whether an alarm of that name is raised: it says what the finding does.
static bool status_is_raised(json_t *target, const char *reason) {
    json_t *alarms = json_object_get(target, "alarms");
    for (size_t i = 0; i < json_array_size(alarms) && i < STATUS_MAX_LINES; i++) {
        if (strcmp(json_read_text(json_array_get(alarms, i), "name"), reason) == 0) {
            return true;
        }
    }
    return false;
}

// What is wrong with it, a line each.
static void status_add_troubles(const struct painter *painter, json_t *target) {
    struct strbuf *sb = painter->sb;
    json_t *error = json_object_get(target, "error"), *findings = json_object_get(target, "findings");
    if (json_is_object(error)) {
        status_paint(painter, STATUS_RED, "down");
        strbuf_add(sb, " since ");
        status_add_time(sb, json_read_text(error, "since"));
        strbuf_add(sb, " UTC: ");
        escape_text(sb, json_read_text(error, "message"));
        bool is_old = !json_read_flag(target, "current") && json_object_get(target, "slots");
        strbuf_add(sb, is_old ? "; what follows is the last that was known" : "");
        struct pg_error failure;
        remote_read_error(error, &failure);
        const char *hint = cli_failure_hint(&failure);
        status_add_words(sb, "; hint: ", hint ? hint : "");
        strbuf_add_char(sb, '\n');
    }
    for (size_t i = 0; i < json_array_size(findings); i++) {
        json_t *finding = json_array_get(findings, i);
        const char *level = json_read_text(finding, "level");
        bool is_bad = strcmp(level, "warning") == 0 || strcmp(level, "error") == 0;
        if (is_bad && !status_is_raised(target, json_read_text(finding, "reason"))) {
            status_paint(painter, STATUS_YELLOW, "self-check");
            strbuf_add(sb, ": ");
            escape_text(sb, json_read_text(finding, "detail"));
            status_add_words(sb, "; hint: ", json_read_text(finding, "hint"));
            strbuf_add_char(sb, '\n');
        }
    }
}

static void status_add_value(struct strbuf *sb, int64_t value, const char *unit) {
    if (strcmp(unit, "microseconds") == 0) {
        text_add_age(sb, (usec_t)MAX(value, (int64_t)0));
    } else {
        strbuf_addf(sb, "%" PRId64 "%s", value, strcmp(unit, "percent") == 0 ? "%" : "");
    }
}

// One line each, as the report and the events have it: "CRITICAL slots: usage 93%".
static void status_add_alarms(const struct painter *painter, json_t *target) {
    struct strbuf *sb = painter->sb;
    json_t *alarms = json_object_get(target, "alarms");
    for (size_t i = 0; i < json_array_size(alarms) && i < STATUS_MAX_LINES; i++) {
        json_t *alarm = json_array_get(alarms, i), *value = json_object_get(alarm, "value");
        bool critical = strcmp(json_read_text(alarm, "severity"), "critical") == 0;
        status_paint(painter, critical ? STATUS_RED : STATUS_YELLOW, critical ? "CRITICAL" : "WARNING");
        strbuf_add_char(sb, ' ');
        escape_text(sb, json_read_text(alarm, "name"));
        if (*json_read_text(alarm, "group")) {
            strbuf_add(sb, " of ");
            const char *group = json_read_text(alarm, "group"); // escaped when it was made
            escape_printable(sb, group, strlen(group));
        }
        if (json_is_integer(value)) {
            strbuf_add(sb, ": ");
            escape_text(sb, json_read_text(alarm, "metric"));
            strbuf_add(sb, *json_read_text(alarm, "metric") ? " " : "");
            status_add_value(sb, (int64_t)json_integer_value(value), json_read_text(alarm, "unit"));
        }
        status_add_words(sb, ": ", json_read_text(alarm, "detail"));
        status_add_words(sb, "; hint: ", json_read_text(alarm, "hint"));
        strbuf_add_char(sb, '\n');
    }
    int64_t n = json_read_number(target, "n_alarms");
    if (n > STATUS_MAX_LINES) {
        strbuf_addf(sb, "and %" PRId64 " more alarms\n", n - STATUS_MAX_LINES);
    }
}

static void status_add_pool(struct table *table, json_t *app) {
    json_t *pool = json_object_get(app, "pool");
    if (json_is_integer(pool)) {
        table_addf(table, "%" PRId64, (int64_t)json_integer_value(pool));
    } else {
        table_add(table, "-");
    }
}

static int status_add_holders(const struct painter *painter, json_t *target) {
    static const struct table_column columns[] = {{"app", false, true}, {"sessions", true},   {"active", true},
                                                  {"idle", true},       {"idle in tx", true}, {"longest idle", true},
                                                  {"pool", true}};
    CLEANUP(table_deinit) struct table table = {0};
    json_t *apps = json_object_get(target, "apps");
    size_t n = json_array_size(apps);
    int64_t n_more = 0;
    if (n == 0) {
        return 0;
    }
    table_init(&table, columns, ARRAY_SIZE(columns));
    for (size_t i = 0; i < n; i++) {
        json_t *app = json_array_get(apps, i);
        CLEANUP(strbuf_deinit) struct strbuf label = STRBUF_EMPTY;
        if (i >= STATUS_MAX_HOLDERS) {
            n_more += json_read_number(app, "sessions");
            continue;
        }
        status_add_label(&label, json_read_text(app, "app"));
        table.text.failed |= strbuf_error(&label) < 0;
        table_add(&table, strbuf_str(&label));
        table_add_count(&table, json_read_number(app, "sessions"));
        table_add_count(&table, json_read_number(app, "active"));
        table_add_count(&table, json_read_number(app, "idle"));
        table_add_count(&table, json_read_number(app, "idle_in_transaction"));
        table_add_age(&table, json_read_seconds(app, "longest_idle_seconds", USEC_INFINITY));
        status_add_pool(&table, app);
    }
    int r = table_render(&table, painter->screen, painter->sb);
    if (n > STATUS_MAX_HOLDERS) {
        strbuf_addf(painter->sb, "  and %" PRId64 " sessions of %zu more: pgvigil report\n", n_more,
                    n - STATUS_MAX_HOLDERS);
    }
    return r;
}

// "gone 12, denied 1", without what is nothing.
static void status_cell_counts(struct table *table, json_t *counts) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    const char *key;
    json_t *value;
    json_object_foreach(counts, key, value) {
        if (json_integer_value(value) > 0) {
            strbuf_add(&text, text.len > 0 ? ", " : "");
            escape_text(&text, key);
            strbuf_addf(&text, " %" PRId64, (int64_t)json_integer_value(value));
        }
    }
    table->text.failed |= strbuf_error(&text) < 0;
    table_add(table, text.len > 0 ? strbuf_str(&text) : "-");
}

static int status_add_rules(const struct painter *painter, json_t *target) {
    static const struct table_column columns[] = {{"rule", false, true},      {"does", false},
                                                  {"covers", true},           {"over limit", true},
                                                  {"held back", false, true}, {"outcomes since start", false, true}};
    CLEANUP(table_deinit) struct table table = {0};
    json_t *rules = json_object_get(target, "rules");
    size_t n = json_array_size(rules);
    if (n == 0) {
        return 0;
    }
    table_init(&table, columns, ARRAY_SIZE(columns));
    for (size_t i = 0; i < n && i < STATUS_MAX_LINES; i++) {
        json_t *rule = json_array_get(rules, i);
        bool logs = strcmp(json_read_text(rule, "action"), "log") == 0;
        status_cell(&table, json_read_text(rule, "name"));
        if (json_read_flag(rule, "paused") && !logs) {
            table_add(&table, "PAUSED");
        } else if (logs || json_read_flag(rule, "enforcing")) {
            status_cell(&table, json_read_text(rule, "action"));
        } else {
            table_add(&table, "observe");
        }
        table_add_count(&table, json_read_number(rule, "covers"));
        table_add_count(&table, json_read_number(rule, "matches"));
        status_cell_counts(&table, json_object_get(rule, "held_back"));
        status_cell_counts(&table, json_object_get(json_object_get(rule, "totals"), "outcomes"));
    }
    strbuf_add_char(painter->sb, '\n');
    int r = table_render(&table, painter->screen, painter->sb);
    if (n > STATUS_MAX_LINES) {
        strbuf_addf(painter->sb, "  and %zu more rules: --json shows them\n", n - STATUS_MAX_LINES);
    }
    return r;
}

static int status_add_target(const struct painter *painter, json_t *target) {
    CLEANUP(strbuf_deinit) struct strbuf name = STRBUF_EMPTY;
    escape_text(&name, json_read_text(target, "target"));
    strbuf_add_char(painter->sb, '\n');
    status_paint(painter, STATUS_BOLD, strbuf_str(&name));
    int64_t usage = json_read_number(json_object_get(target, "slots"), "usage_percent");
    if (usage >= STATUS_ALARMING) {
        strbuf_add_char(painter->sb, ' ');
        status_paint(painter, STATUS_RED, usage >= 100 ? "FULL" : "nearly full");
    }
    strbuf_add_char(painter->sb, '\n');
    status_add_troubles(painter, target);
    status_add_alarms(painter, target);
    if (!json_object_get(target, "slots")) {
        return 0; // it has never answered: a table of nothing
    }
    int r = status_add_holders(painter, target);
    return r < 0 ? r : status_add_rules(painter, target);
}

// ---- what happened

static void status_add_event(const struct painter *painter, json_t *event) {
    CLEANUP(strbuf_deinit) struct strbuf line = STRBUF_EMPTY;
    const char *ts = json_read_text(event, "ts"), *message = json_read_text(event, "message");
    strbuf_add(&line, "  ");
    status_add_time(&line, ts);
    strbuf_add_char(&line, ' ');
    escape_printable(&line, message, strlen(message)); // escaped when it was rendered
    text_add_cut(painter->sb, strbuf_str(&line), line.len,
                 painter->screen->width > 0 ? painter->screen->width : SIZE_MAX);
    strbuf_add_char(painter->sb, '\n');
    painter->sb->failed |= strbuf_error(&line) < 0;
}

static void status_add_events(const struct painter *painter, json_t *status) {
    json_t *events = json_object_get(status, "events");
    size_t n = json_array_size(events), first = n > STATUS_MAX_EVENTS ? n - STATUS_MAX_EVENTS : 0;
    strbuf_add_char(painter->sb, '\n');
    status_paint(painter, STATUS_BOLD, "last events");
    strbuf_add(painter->sb, n == 0 ? ": none\n" : " (UTC)\n");
    for (size_t i = first; i < n; i++) {
        status_add_event(painter, json_array_get(events, i));
    }
}

int status_text(json_t *status, const struct screen *screen, struct strbuf *sb) {
    const struct painter painter = {.sb = sb, .screen = screen};
    json_t *targets = json_object_get(status, "targets");
    status_add_head(&painter, status);
    status_add_pauses(&painter, status);
    int r = status_add_targets(&painter, targets);
    for (size_t i = 0; r == 0 && i < json_array_size(targets); i++) {
        r = status_add_target(&painter, json_array_get(targets, i));
    }
    status_add_events(&painter, status);
    return r < 0 ? r : strbuf_error(sb);
}
