// SPDX-License-Identifier: PostgreSQL
#include "commands.h"
#include "util/escape.h"
#include "util/strbuf.h"

struct check_options {
    struct source_options source;
    bool print;
};

static const struct option_row check_options[] = {
    OPTION_ROW_FILE(struct check_options, source.file),
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
    escape_text(&text, settings->file ? settings->file : "PGVIGIL_CONNINFO");
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
    .summary = "Validates the configuration; no server is asked.",
    .description = "Mistakes go to standard error, all at once, as FILE:LINE:COLUMN: error: KEY:\n"
                   "why; the exit status is then 78.\n",
    .options = check_options,
    .n_options = ARRAY_SIZE(check_options),
    .fn = check_run,
};
