// SPDX-License-Identifier: PostgreSQL
#include "status.h"

#include "commands.h"
#include "control.h"

#define STATUS_TIMEOUT (10 * USEC_PER_SEC)

struct status_options {
    struct control_source source;
    bool json;
};

static const struct option_row status_options[] = {
    CONTROL_ROWS(struct status_options, source),
    {.name = "json",
     .kind = OPTION_FLAG,
     .offset = offsetof(struct status_options, json),
     .help = "all of it, as pgvigil-metrics(7) describes it"},
};

static int status_show(const struct strbuf *body) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    const struct screen screen = cli_screen();
    json_t *status = json_loadb(strbuf_str(body), body->len, 0, NULL);
    if (!status) {
        cli_error("the daemon's answer cannot be read");
        return EXIT_FAILED;
    }
    int r = status_text(status, &screen, &text);
    json_decref(status);
    return r < 0 ? cli_out_of_memory() : cli_write(&text);
}

static int status_run(const struct command *command, int argc, char **argv) {
    CLEANUP(client_answer_deinit) struct client_answer answer = {0};
    struct status_options options = {0};
    int status;

    if (!cli_parse(command, argc, argv, &options, NULL, &status)) {
        return status;
    }
    status = control_call(&options.source, "GET", "/api/v1/status", STATUS_TIMEOUT, &answer);
    if (status != EXIT_DONE) {
        return status;
    }
    if (answer.status != 200) {
        cli_error("the daemon cannot tell: HTTP status %d", answer.status);
        return EXIT_FAILED;
    }
    return options.json ? cli_write(&answer.body) : status_show(&answer.body);
}

const struct command command_status = {
    .name = "status",
    .summary = "Shows what the running daemon sees and does.",
    .description = "The servers, who holds their slots, rules and what became of them, alarms that\n"
                   "are raised, pauses, the state of the configuration, the last events.\n",
    .options = status_options,
    .n_options = ARRAY_SIZE(status_options),
    .fn = status_run,
};
