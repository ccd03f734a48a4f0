// SPDX-License-Identifier: PostgreSQL
#include <unistd.h>

#include "commands.h"
#include "daemon/app.h"
#include "util/strbuf.h"

struct run_options {
    struct source_options source;
    bool observe;
};

static const struct option_row run_options[] = {
    OPTION_ROW_FILE(struct run_options, source.file),
    OPTION_ROW_CONNINFO(struct run_options, source.conninfo),
    {.name = "observe",
     .kind = OPTION_FLAG,
     .offset = offsetof(struct run_options, observe),
     .help = "end nothing, whatever the file says"},
};

static int run_run(const struct command *command, int argc, char **argv) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    struct run_options options = {0};
    CLEANUP(strbuf_deinit) struct strbuf why = STRBUF_EMPTY;
    int status;

    if (!cli_parse(command, argc, argv, &options, NULL, &status)) {
        return status;
    }
    status = cli_load(command, &options.source, options.observe, &diags, &settings);
    if (status != EXIT_DONE) {
        return status;
    }
    const struct app_options app = {
        .source = {.file = options.source.file, .conninfo = options.source.conninfo, .observe = options.observe},
        .log_fd = STDOUT_FILENO,
        .why = &why,
    };
    int r = app_run(TAKE_PTR(settings), &diags, &app);
    if (r < 0) {
        cli_error("the daemon cannot run: %s", strbuf_str(&why));
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

const struct command command_run = {
    .name = "run",
    .summary = "Watches the servers until SIGTERM or SIGINT, in the foreground.",
    .description = "The log goes to the journal when stderr is connected to it, else as text to\n"
                   "standard output; outputs.log of the file decides otherwise. SIGHUP reads the\n"
                   "file again; a bad one changes nothing. Without a file (--conninfo) it observes,\n"
                   "unless PGVIGIL_ENFORCE, PGVIGIL_IDLE_TIMEOUT and\n"
                   "PGVIGIL_IDLE_IN_TRANSACTION_TIMEOUT say otherwise; PGVIGIL_PASSWORD_FILE,\n"
                   "PGVIGIL_LOG_FORMAT, PGVIGIL_LISTEN and PGVIGIL_CONTROL_SOCKET do what the keys\n"
                   "of such names would.\n",
    .options = run_options,
    .n_options = ARRAY_SIZE(run_options),
    .fn = run_run,
};
