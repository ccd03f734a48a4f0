// SPDX-License-Identifier: PostgreSQL
#include "check.h"
#include "commands.h"
#include "util/escape.h"
#include "util/strbuf.h"

struct check_options {
    struct source_options source;
    bool connect;
    bool json;
    bool print;
};

static const struct option_row check_options[] = {
    OPTION_ROW_FILE(struct check_options, source.file),
    OPTION_ROW_CONNINFO(struct check_options, source.conninfo),
    {.name = "connect",
     .kind = OPTION_FLAG,
     .offset = offsetof(struct check_options, connect),
     .help = "compare it with the live servers as well"},
    {.name = "json",
     .kind = OPTION_FLAG,
     .offset = offsetof(struct check_options, json),
     .help = "with --connect: the findings as JSON"},
    {.name = "print",
     .kind = OPTION_FLAG,
     .offset = offsetof(struct check_options, print),
     .help = "print the effective configuration instead"},
};

static void check_add_count(struct strbuf *text, const char *before, size_t n, const char *what) {
    strbuf_addf(text, "%s%zu %s%s", before, n, what, n == 1 ? "" : "s");
}

static int check_run(const struct command *command, int argc, char **argv) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    struct check_options options = {0};
    int status;

    if (!cli_parse(command, argc, argv, &options, NULL, &status)) {
        return status;
    }
    if (options.connect && options.print) {
        return cli_usage_error(command, "%s: options '--connect' and '--print' exclude each other", command->name);
    }
    if (options.json && !options.connect) {
        return cli_usage_error(command, "%s: option '--json' goes with '--connect'", command->name);
    }
    status = cli_load(command, &options.source, false, &diags, &settings);
    if (status != EXIT_DONE) {
        return status;
    }
    const struct config *config = settings->config;
    if (options.print) {
        if (config_print(config, &text) < 0) {
            return cli_out_of_memory();
        }
        return cli_write(&text);
    }
    if (options.connect) {
        return check_connect(settings, options.json);
    }
    escape_text(&text, settings->source);
    strbuf_add(&text, ": ok");
    check_add_count(&text, " (", config->n_targets, "target");
    check_add_count(&text, ", ", config->policy->n_apps, "app");
    check_add_count(&text, ", ", config->policy->n_timeouts, "timeout");
    check_add_count(&text, ", ", config->policy->n_quotas, "quota");
    check_add_count(&text, ", ", config->policy->n_alarms, "alarm");
    strbuf_addf(&text, "; %s)\n", config->policy->enforce ? "enforce" : "observe");
    return cli_write(&text);
}

const struct command command_check = {
    .name = "check",
    .summary = "Validates the configuration; --connect compares it with the servers.",
    .description = "Mistakes go to standard error, all at once, as FILE:LINE:COLUMN: error: KEY:\n"
                   "why; the exit status is then 78. --connect ends nothing: it tells, each with its\n"
                   "line and what mends it, rights that are missing, rules and apps that match\n"
                   "nobody or whom they can never end, pools beyond the slots, limits of the server\n"
                   "that come first, poolers in between, other watchdogs; and how many sessions each\n"
                   "rule would end now. The exit status is 1 when there is anything to tell.\n",
    .options = check_options,
    .n_options = ARRAY_SIZE(check_options),
    .fn = check_run,
};
