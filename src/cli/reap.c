// SPDX-License-Identifier: PostgreSQL
//
// One rule, or a few, through the compiler, engine and guard of the daemon. Apps and protections come from the file;
// its own rules and its `enforce` do not count, as here a person says what to end.
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "core/event.h"
#include "daemon/reap_rules.h"
#include "reap_remote.h"
#include "remote.h"
#include "report.h"
#include "table.h"
#include "util/array.h"
#include "util/escape.h"
#include "util/strbuf.h"
#include "util/suggestion.h"

struct reap_options {
    struct source_options source;
    const char *target;
    usec_t after[N_REAP_RULES_]; // USEC_INFINITY: no such rule
    struct option_list match[N_SELECTOR_KEYS];
    int64_t keep;
    int64_t max;
    bool cancel;
    bool yes;
    bool direct;
};

#define REAP_ROW_AFTER(option, rule, text)                                                                             \
    {                                                                                                                  \
        .name = option, .kind = OPTION_DURATION,                                                                       \
        .offset = offsetof(struct reap_options, after) + (rule) * sizeof(usec_t), .argument = "TIME", .help = text     \
    }
#define REAP_ROW_MATCH(option, key, word, text)                                                                        \
    {                                                                                                                  \
        .name = option, .kind = OPTION_LIST,                                                                           \
        .offset = offsetof(struct reap_options, match) + (key) * sizeof(struct option_list), .argument = word,         \
        .help = text                                                                                                   \
    }

static const struct option_row reap_options[] = {
    OPTION_ROW_FILE(struct reap_options, source.file),
    OPTION_ROW_CONNINFO(struct reap_options, source.conninfo),
    {.name = "target",
     .kind = OPTION_STRING,
     .offset = offsetof(struct reap_options, target),
     .argument = "NAME",
     .help = "this server alone, of those in the file"},
    REAP_ROW_AFTER("idle", REAP_IDLE, "sessions idle for this long (10min, 1h30min)"),
    REAP_ROW_AFTER("idle-in-transaction", REAP_IDLE_IN_TRANSACTION, "... idle in a transaction for this long"),
    REAP_ROW_AFTER("active", REAP_ACTIVE, "... running one query for this long"),
    REAP_ROW_MATCH("app", SELECTOR_APP, "NAME", "only those of this app of the file"),
    REAP_ROW_MATCH("user", SELECTOR_USER, "GLOB", "only those of this user (or /regex/)"),
    REAP_ROW_MATCH("database", SELECTOR_DATABASE, "GLOB", "only those in this database"),
    REAP_ROW_MATCH("application-name", SELECTOR_APPLICATION_NAME, "GLOB", "only those with this application_name"),
    REAP_ROW_MATCH("client-addr", SELECTOR_CLIENT_ADDR, "NETWORK", "only those from there (10.0.0.0/8, local)"),
    {.name = "keep",
     .kind = OPTION_COUNT,
     .offset = offsetof(struct reap_options, keep),
     .argument = "N",
     .help = "leave each app at least N sessions"},
    {.name = "max",
     .kind = OPTION_COUNT,
     .offset = offsetof(struct reap_options, max),
     .argument = "N",
     .help = "end at most N on each server"},
    {.name = "cancel",
     .kind = OPTION_FLAG,
     .offset = offsetof(struct reap_options, cancel),
     .help = "cancel the query of --active ones instead"},
    {.name = "yes",
     .kind = OPTION_FLAG,
     .offset = offsetof(struct reap_options, yes),
     .help = "do it; without this they are only listed"},
    {.name = "direct",
     .kind = OPTION_FLAG,
     .offset = offsetof(struct reap_options, direct),
     .help = "over own connections, though a daemon runs"},
};

// What was announced, and what came of it.
struct reap_act {
    size_t target; // index in the settings
    struct session_id id;
    enum outcome outcome;
};

struct reap {
    const struct reap_options *options;
    const struct config *config;
    struct oneshot *oneshot;
    struct table table; // of what would be ended
    size_t n_listed[N_ACTIONS_];
    struct reap_act *acts;
    size_t n_acts, capacity;
    int status; // of what was written meanwhile
};

static void reap_deinit(struct reap *reap) {
    oneshot_free(reap->oneshot);
    table_deinit(&reap->table);
    free(reap->acts);
}

static void reap_options_deinit(struct reap_options *options) {
    for (size_t i = 0; i < N_SELECTOR_KEYS; i++) {
        option_list_deinit(&options->match[i]);
    }
}

// ---- from options to rules

static int reap_check_apps(const struct command *command, const struct reap_options *options,
                           const struct policy *policy) {
    const struct option_list *apps = &options->match[SELECTOR_APP];
    CLEANUP(freep) const char **names = calloc(policy->n_apps + 1, sizeof(*names));
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    if (!names) {
        return cli_out_of_memory();
    }
    for (size_t i = 0; i < policy->n_apps; i++) {
        names[i] = policy->apps[i].name;
    }
    for (size_t i = 0; i < apps->n_items; i++) {
        size_t at = 0;
        while (at < policy->n_apps && strcmp(names[at], apps->items[i]) != 0) {
            at++;
        }
        if (at == policy->n_apps) {
            const char *meant = suggestion_of(apps->items[i], names, policy->n_apps);
            strbuf_add(&text, "reap: there is no app '");
            escape_text(&text, apps->items[i]);
            strbuf_addf(&text, meant ? "' in the configuration; did you mean '%s'?" : "' in the configuration", meant);
            return cli_usage_error(command, "%s", strbuf_str(&text));
        }
    }
    return EXIT_DONE;
}

static int reap_tell_selector(const struct command *command, const char *key, const char *item, const char *why) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    strbuf_add(&text, "option '--");
    for (const char *c = key; *c != '\0'; c++) {
        strbuf_add_char(&text, *c == '_' ? '-' : *c); // the option is the key with dashes
    }
    strbuf_add(&text, "': '");
    escape_text(&text, item);
    strbuf_add(&text, "': ");
    escape_text(&text, why);
    return cli_usage_error(command, "reap: %s", strbuf_str(&text));
}

static struct reap_spec reap_make_spec(const struct reap_options *options) {
    struct reap_spec spec = {
        .keep = options->keep, .max = options->max, .cancel = options->cancel, .yes = options->yes};

    memcpy(spec.after, options->after, sizeof(spec.after));
    for (unsigned key = 0; key < N_SELECTOR_KEYS; key++) {
        spec.match[key] = (struct reap_texts){options->match[key].items, options->match[key].n_items};
    }
    return spec;
}

static int reap_make_rules(const struct command *command, const struct reap_options *options, struct policy *policy) {
    const struct reap_spec spec = reap_make_spec(options);
    struct reap_mistake mistake = {0};

    int r = reap_rules_make(&spec, policy, &mistake);
    CLEANUP(freep) char *why = mistake.why;
    if (r == -EINVAL) {
        return reap_tell_selector(command, selector_key_to_string(mistake.key), mistake.item, why ? why : "wrong");
    }
    return r < 0 ? cli_out_of_memory() : EXIT_DONE;
}

// ---- what happens

static void reap_list(struct reap *reap, const struct event *event) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    escape_text(&text, event->target);
    table_add(&reap->table, strbuf_str(&text));
    table_add(&reap->table, event->rule);
    report_add_session(&reap->table, event->session, event->app, event->age);
    reap->table.text.failed |= strbuf_error(&text) < 0;
    reap->n_listed[event->action]++;
}

static int reap_remember(struct reap *reap, const struct event *event) {
    size_t target = 0;

    while (strcmp(reap->config->targets[target].name, event->target) != 0) {
        target++; // only those of the settings speak
    }
    for (size_t i = reap->n_acts; event->kind == EVENT_OUTCOME && i-- > 0;) {
        struct reap_act *act = &reap->acts[i];
        if (act->target == target && session_id_is_equal(&act->id, &event->session->id)) {
            act->outcome = event->outcome;
            return 0;
        }
    }
    if (ARRAY_RESERVE(reap->acts, reap->capacity, reap->n_acts) < 0) {
        return -ENOMEM;
    }
    reap->acts[reap->n_acts++] =
        (struct reap_act){.target = target, .id = event->session->id, .outcome = event->outcome};
    return 0;
}

static int reap_write(struct reap *reap, const struct event *event, struct strbuf *text) {
    strbuf_add_char(text, '\n');
    int status = reap_remember(reap, event) < 0 ? cli_out_of_memory() : cli_write(text);
    reap->status = reap->status == EXIT_DONE ? status : reap->status;
    return status;
}

// One line, at once: this is the record of the act.
static bool reap_say(struct reap *reap, const struct event *event) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    event_render(event, &text);
    int status = reap_write(reap, event, &text);
    if (status != EXIT_DONE) {
        oneshot_interrupt(reap->oneshot);
    }
    return status == EXIT_DONE;
}

// The daemon has the record of what it did; this tells of it.
static void reap_on_remote_event(void *userdata, const struct event *event, const char *message) {
    struct reap *reap = userdata;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    if (event->kind == EVENT_DECISION && event->observe) {
        reap_list(reap, event);
        return;
    }
    escape_printable(&text, message, strlen(message));
    (void)reap_write(reap, event, &text);
}

static bool reap_on_event(void *userdata, const struct event *event) {
    struct reap *reap = userdata;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    if (event->kind == EVENT_DECISION && event->observe) {
        reap_list(reap, event);
    } else if (event->kind == EVENT_DECISION || event->kind == EVENT_OUTCOME) {
        return reap_say(reap, event);
    } else if (event->kind == EVENT_SELF_CHECK && event->level <= EVENT_WARNING) {
        event_render(event, &text);
        cli_warning("%s", strbuf_str(&text));
    }
    return true;
}

// ---- the answer

static void reap_add_number(struct strbuf *text, const char **separator, int64_t n, const char *what) {
    if (n > 0) {
        strbuf_addf(text, "%s%" PRId64 " %s", *separator, n, what);
        *separator = ", ";
    }
}

// What the rules named at the first poll and was held back, by reason.
static void reap_add_held(struct strbuf *text, const struct oneshot_result *result) {
    const char *separator = "; held back: ";

    for (unsigned reason = 0; reason < N_HELD_REASONS; reason++) {
        int64_t n = 0;
        for (size_t i = 0; i < result->n_verdicts; i++) {
            const struct summary *summary = &result->verdicts[i].summary;
            for (size_t rule = 0; result->verdicts[i].ok && rule < summary->n_rules; rule++) {
                n += summary->rules[rule].n_held[reason];
            }
        }
        if (reason != HELD_OBSERVE) { // those are the ones that were listed
            reap_add_number(text, &separator, n, held_reason_to_string((enum held_reason)reason));
        }
    }
}

static int reap_tell_list(struct reap *reap, const struct oneshot_result *result) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    const struct screen screen = cli_screen();
    size_t n = reap->n_listed[ACTION_TERMINATE], n_cancel = reap->n_listed[ACTION_CANCEL];

    if (n + n_cancel > 0 && table_render(&reap->table, &screen, &text) < 0) {
        return cli_out_of_memory();
    }
    strbuf_addf(&text, "%zu session%s would be ended", n, n == 1 ? "" : "s");
    if (n_cancel > 0) {
        strbuf_addf(&text, ", %zu quer%s cancelled", n_cancel, n_cancel == 1 ? "y" : "ies");
    }
    reap_add_held(&text, result);
    strbuf_add(&text, n + n_cancel > 0 ? " (--yes does it)\n" : "\n");
    return cli_write(&text);
}

static int reap_tell_outcomes(struct reap *reap, const struct oneshot_result *result) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    int64_t n[N_OUTCOMES_] = {0};
    const char *separator = ": ";

    for (size_t i = 0; i < reap->n_acts; i++) {
        n[reap->acts[i].outcome]++;
    }
    // Nothing came of it before we ended: nobody looked any more.
    n[OUTCOME_UNVERIFIED] += n[OUTCOME_NONE];
    n[OUTCOME_NONE] = 0;
    int64_t n_fine = n[OUTCOME_GONE] + n[OUTCOME_CHANGED] + n[OUTCOME_LEFT] + n[OUTCOME_CANCELLED];
    strbuf_addf(&text, "%zu session%s chosen", reap->n_acts, reap->n_acts == 1 ? "" : "s");
    for (unsigned i = 0; i < N_OUTCOMES; i++) {
        reap_add_number(&text, &separator, n[i], outcome_to_string((enum outcome)i));
    }
    reap_add_held(&text, result);
    strbuf_add_char(&text, '\n');
    int status = cli_write(&text);
    return status != EXIT_DONE ? status : n_fine == (int64_t)reap->n_acts ? EXIT_DONE : EXIT_FAILED;
}

static int reap_conclude(struct reap *reap, const struct oneshot_result *result, bool failed) {
    if (reap->status != EXIT_DONE) {
        return reap->status;
    }
    bool answered = false;
    for (size_t i = 0; i < result->n_verdicts; i++) {
        if (result->verdicts[i].ok) {
            answered = true;
        } else {
            cli_tell_failure(&result->verdicts[i]);
            failed = true;
        }
    }
    if (failed && !answered && reap->n_acts == 0 && reap->table.n_cells == 0) {
        return EXIT_FAILED; // "0 sessions" would be said of servers that nobody has seen
    }
    int status = reap->options->yes ? reap_tell_outcomes(reap, result) : reap_tell_list(reap, result);
    return status == EXIT_DONE && failed ? EXIT_FAILED : status;
}

static int reap_go(struct reap *reap, const struct settings *settings) {
    CLEANUP(oneshot_result_deinit) struct oneshot_result result = {0};
    const struct oneshot_options options = {
        .settings = settings,
        .target = reap->options->target,
        .policy = settings->config->policy,
        .enforce = reap->options->yes,
        .timeout = USEC_INFINITY,
    };

    int r = oneshot_new(&options, reap_on_event, reap, &reap->oneshot);
    if (r == 0) {
        r = oneshot_round(reap->oneshot, &result);
        reap->oneshot = oneshot_free(reap->oneshot); // settles what is open, so that its outcome is told and counted
    }
    if (r < 0 && reap->status == EXIT_DONE) {
        cli_error(r == -EINTR ? "interrupted" : "reap cannot go on: %s", strerror(-r));
    }
    return reap_conclude(reap, &result, r < 0);
}

// Over the daemon's connections. False: it cannot, and has done nothing.
static bool reap_go_remote(struct reap *reap, const struct settings *settings, int *ret_status) {
    CLEANUP(oneshot_result_deinit) struct oneshot_result result = {0};
    const struct reap_spec spec = reap_make_spec(reap->options);

    switch (reap_remote(settings, reap->options->target, &spec, reap_on_remote_event, reap, &result)) {
    case REAP_REMOTE_DONE:
        *ret_status = reap_conclude(reap, &result, false);
        return true;
    case REAP_REMOTE_FAILED:
        *ret_status = EXIT_FAILED;
        return true;
    case REAP_REMOTE_CANNOT:
        break;
    }
    return false;
}

static int reap_check(const struct command *command, const struct reap_options *options) {
    bool any = false;

    for (size_t i = 0; i < N_REAP_RULES; i++) {
        any |= options->after[i] != USEC_INFINITY;
    }
    if (!any) {
        return cli_usage_error(command, "reap: one of '--idle', '--idle-in-transaction', '--active' is needed");
    }
    if (options->cancel && options->after[REAP_ACTIVE] == USEC_INFINITY) {
        return cli_usage_error(command, "reap: '--cancel' needs '--active' (only a running query can be cancelled)");
    }
    return EXIT_DONE;
}

static int reap_run(const struct command *command, int argc, char **argv) {
    static const struct table_column columns[] = {{"target", false}, {"rule", false, true}, REPORT_SESSION_COLUMNS};
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(reap_options_deinit)
    struct reap_options options = {.after = {USEC_INFINITY, USEC_INFINITY, USEC_INFINITY}, .max = LIMIT_NONE};
    int status;

    if (!cli_parse(command, argc, argv, &options, NULL, &status)) {
        return status;
    }
    status = reap_check(command, &options);
    if (status == EXIT_DONE) {
        status = cli_load(command, &options.source, false, &diags, &settings);
    }
    if (status == EXIT_DONE) {
        status = cli_check_target(command, settings, options.target);
    }
    if (status == EXIT_DONE) {
        status = reap_check_apps(command, &options, settings->config->policy);
    }
    if (status == EXIT_DONE) {
        status = reap_make_rules(command, &options, settings->config->policy);
    }
    if (status != EXIT_DONE) {
        return status;
    }
    CLEANUP(reap_deinit) struct reap reap = {.options = &options, .config = settings->config};
    table_init(&reap.table, columns, ARRAY_SIZE(columns));
    if (remote_find(settings, options.direct, options.source.conninfo) && reap_go_remote(&reap, settings, &status)) {
        return status;
    }
    return reap_go(&reap, settings);
}

const struct command command_reap = {
    .name = "reap",
    .summary = "Lists sessions that were in a state too long; with --yes ends them.",
    .description = "A selecting option may be repeated (any of them); different ones must all match.\n"
                   "The file's apps and protections hold; its rules, limits and enforce do not.\n",
    .options = reap_options,
    .n_options = ARRAY_SIZE(reap_options),
    .fn = reap_run,
};
