// SPDX-License-Identifier: PostgreSQL
#include "report.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "commands.h"
#include "remote.h"
#include "util/escape.h"

#define REPORT_WATCH_MIN (100 * USEC_PER_MSEC) // a look costs the server time
#define REPORT_CLEAR_SCREEN "\033[H\033[2J"

enum report_format { REPORT_TABLE, REPORT_JSON, REPORT_CSV };
static const char *const report_formats[] = {"table", "json", "csv", NULL};

struct report_options {
    struct source_options source;
    const char *target;
    unsigned format; // enum report_format
    usec_t watch;    // USEC_INFINITY: one look
    bool direct;
};

static const struct option_row report_options[] = {
    OPTION_ROW_FILE(struct report_options, source.file),
    OPTION_ROW_CONNINFO(struct report_options, source.conninfo),
    {.name = "target",
     .kind = OPTION_STRING,
     .offset = offsetof(struct report_options, target),
     .argument = "NAME",
     .help = "this server alone, of those in the file"},
    {.name = "format",
     .kind = OPTION_CHOICE,
     .offset = offsetof(struct report_options, format),
     .argument = "FORMAT",
     .choices = report_formats,
     .help = "table, json or csv; default table"},
    {.name = "watch",
     .kind = OPTION_DURATION,
     .offset = offsetof(struct report_options, watch),
     .argument = "2s",
     .implied = "2s",
     .help = "again and again, over one held connection"},
    {.name = "direct",
     .kind = OPTION_FLAG,
     .offset = offsetof(struct report_options, direct),
     .help = "ask the servers, though a daemon runs"},
};

struct report {
    const struct report_options *options;
    const struct settings *settings;
    size_t n_rounds;
};

// Of all that the self-check finds, what makes the report wrong.
static bool report_on_event(void *userdata, const struct event *event) {
    static const char *const reasons[] = {"blind", "unsupported_version", "pooled_connection"};
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    (void)userdata;
    for (size_t i = 0; event->kind == EVENT_SELF_CHECK && event->reason && i < ARRAY_SIZE(reasons); i++) {
        if (strcmp(event->reason, reasons[i]) == 0 && event->level <= EVENT_WARNING) {
            event_render(event, &text);
            cli_warning("%s", strbuf_str(&text));
        }
    }
    return true;
}

static int report_render(const struct report *report, const struct report_target *targets, size_t n,
                         struct strbuf *text) {
    const struct screen screen = cli_screen();
    bool watching = report->options->watch != USEC_INFINITY;
    size_t n_shown = 0;
    int r = 0;

    switch ((enum report_format)report->options->format) {
    case REPORT_TABLE:
        if (watching && screen.colour) {
            strbuf_add(text, REPORT_CLEAR_SCREEN);
        } else if (report->n_rounds > 0) {
            strbuf_add_char(text, '\n');
        }
        for (size_t i = 0; r == 0 && i < n; i++) {
            strbuf_add(text, n_shown > 0 && !targets[i].error ? "\n" : "");
            r = report_text(&targets[i], &screen, text);
            n_shown += !targets[i].error;
        }
        break;
    case REPORT_JSON:
        r = report_json(targets, n, watching, text);
        break;
    case REPORT_CSV:
        r = report->n_rounds == 0 ? report_csv_header(text) : 0;
        for (size_t i = 0; r == 0 && i < n; i++) {
            r = report_csv(&targets[i], text);
        }
        break;
    }
    return r;
}

// EXIT_DONE when all have answered and the answer is written.
static int report_tell(struct report *report, const struct oneshot_result *result) {
    CLEANUP(freep) struct report_target *targets = calloc(result->n_verdicts + 1, sizeof(*targets));
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    int status = EXIT_DONE;

    if (!targets) {
        return cli_out_of_memory();
    }
    for (size_t i = 0; i < result->n_verdicts; i++) {
        const struct oneshot_verdict *verdict = &result->verdicts[i];
        targets[i] = (struct report_target){
            .name = verdict->target,
            .address = conninfo_shown(report->settings->conninfos[verdict->index]),
            .error = verdict->ok ? NULL : &verdict->error,
            .summary = &verdict->summary,
            .policy = report->settings->config->policy,
            .findings = verdict->findings,
            .n_findings = verdict->n_findings,
        };
    }
    if (report_render(report, targets, result->n_verdicts, &text) < 0) {
        return cli_out_of_memory();
    }
    report->n_rounds++;
    status = cli_write(&text);
    for (size_t i = 0; i < result->n_verdicts; i++) {
        if (!result->verdicts[i].ok) {
            cli_tell_failure(&result->verdicts[i]);
        }
    }
    return status;
}

static bool report_all_ok(const struct oneshot_result *result) {
    for (size_t i = 0; i < result->n_verdicts; i++) {
        if (!result->verdicts[i].ok) {
            return false;
        }
    }
    return true;
}

static int report_rounds(struct report *report, struct oneshot *oneshot) {
    bool watching = report->options->watch != USEC_INFINITY;
    bool all_ok = false;
    int r;

    do {
        CLEANUP(oneshot_result_deinit) struct oneshot_result result = {0};
        r = oneshot_round(oneshot, &result);
        if (r < 0) {
            break;
        }
        all_ok = report_all_ok(&result);
        if (report_tell(report, &result) != EXIT_DONE) {
            return EXIT_FAILED;
        }
        r = watching ? oneshot_wait(oneshot, report->options->watch) : 0;
    } while (watching && r == 0);
    if (r < 0 && r != -EINTR) {
        cli_error("the report broke off: %s", strerror(-r));
        return EXIT_FAILED;
    }
    return all_ok ? EXIT_DONE : EXIT_FAILED;
}

// ---- over the daemon's connections

#define REPORT_TIMEOUT (10 * USEC_PER_SEC)

// One look. EXIT_DONE: told, and *ret_all_ok; EXIT_FAILED: there is nobody to tell; EXIT_USAGE: the daemon cannot tell,
// so that the servers are to be asked.
static int report_remote_round(struct report *report, bool *ret_all_ok) {
    CLEANUP(client_answer_deinit) struct client_answer answer = {0};
    CLEANUP(remote_result_deinit) struct remote_result remote = {0};

    if (remote_call(report->settings, "GET", "/api/v1/status?poll=now", NULL, REPORT_TIMEOUT, &answer) < 0 ||
        answer.status != 200) {
        return EXIT_USAGE;
    }
    json_t *document = json_loadb(strbuf_str(&answer.body), answer.body.len, 0, NULL);
    if (remote_read(report->settings, report->options->target, document, &remote) < 0) {
        return EXIT_USAGE;
    }
    if (report->n_rounds == 0) {
        remote_tell_scope(report->settings, remote.document);
    }
    *ret_all_ok = report_all_ok(&remote.result);
    return report_tell(report, &remote.result);
}

// Until the next look. false: SIGINT or SIGTERM ended it.
static bool report_remote_wait(usec_t duration) {
    const struct timespec wait = {.tv_sec = (time_t)(duration / USEC_PER_SEC),
                                  .tv_nsec = (long)(duration % USEC_PER_SEC) * 1000};
    sigset_t ends, before;
    int signo;

    (void)sigemptyset(&ends);
    (void)sigaddset(&ends, SIGINT);
    (void)sigaddset(&ends, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &ends, &before);
    do {
        signo = sigtimedwait(&ends, NULL, &wait);
    } while (signo < 0 && errno == EINTR); // stopped and continued: it waits anew
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    return signo < 0;
}

// As report_remote_round(), but EXIT_FAILED also when the last look did not see all servers. While the daemon is being
// asked, a signal ends it as it ends any program.
static int report_remote(struct report *report) {
    bool watching = report->options->watch != USEC_INFINITY;
    bool all_ok;
    int status = report_remote_round(report, &all_ok);

    while (watching && status == EXIT_DONE && report_remote_wait(report->options->watch)) {
        status = report_remote_round(report, &all_ok);
    }
    return status == EXIT_DONE && !all_ok ? EXIT_FAILED : status;
}

static int report_run(const struct command *command, int argc, char **argv) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(oneshot_freep) struct oneshot *oneshot = NULL;
    struct report_options options = {.format = REPORT_TABLE, .watch = USEC_INFINITY};
    int status;

    if (!cli_parse(command, argc, argv, &options, NULL, &status)) {
        return status;
    }
    if (options.watch < REPORT_WATCH_MIN) {
        return cli_usage_error(command, "report: '--watch' is too short (write 100ms or more)");
    }
    status = cli_load(command, &options.source, true, &diags, &settings);
    if (status == EXIT_DONE) {
        status = cli_check_target(command, settings, options.target);
    }
    if (status != EXIT_DONE) {
        return status;
    }
    struct report report = {.options = &options, .settings = settings};
    if (remote_find(settings, options.direct, options.source.conninfo)) {
        status = report_remote(&report);
        if (status != EXIT_USAGE) {
            return status;
        }
    }
    const struct oneshot_options oneshot_options = {
        .settings = settings,
        .target = options.target,
        .policy = settings->config->policy,
        .timeout = USEC_INFINITY,
    };
    int r = oneshot_new(&oneshot_options, report_on_event, NULL, &oneshot);
    if (r < 0) {
        cli_error("the report cannot start: %s", strerror(-r));
        return EXIT_FAILED;
    }
    return report_rounds(&report, oneshot);
}

const struct command command_report = {
    .name = "report",
    .summary = "Shows who holds the connection slots of each server.",
    .description = "table: alarms that are raised, counts by app, user, database and state, what the\n"
                   "file's rules would do, the sessions that are idle longest and the longest\n"
                   "transactions. json: one object, {\"targets\": [...]}, with the findings of the\n"
                   "self-check; with --watch one line for each look. csv: one record for each group\n"
                   "of equal app, user, database and state; text like a spreadsheet's formula gets\n"
                   "a ' in front. A server that does not answer is told on standard error: exit\n"
                   "status 1. A running daemon is asked first, as there may be no slot for another\n"
                   "connection; --direct does without it.\n",
    .options = report_options,
    .n_options = ARRAY_SIZE(report_options),
    .fn = report_run,
};
