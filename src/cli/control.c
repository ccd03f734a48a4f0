// SPDX-License-Identifier: PostgreSQL

// Commands that talk to the running daemon.

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "commands.h"
#include "control.h"
#include "util/escape.h"

#define CONTROL_TIMEOUT (5 * USEC_PER_SEC)

int control_find_socket(const struct control_source *source, char **ret) {
    CLEANUP(strbuf_deinit) struct strbuf why = STRBUF_EMPTY;
    CLEANUP(freep) char *socket = NULL;
    int r = 0;
    if (source->socket) {
        socket = strdup(source->socket);
        r = socket ? 0 : -ENOMEM;
    } else {
        r = settings_find_socket(source->file, &socket, &why);
    }
    if (r == -ENOMEM) {
        return cli_out_of_memory();
    }
    if (r < 0) {
        cli_error("%s", strbuf_str(&why));
        return EXIT_CONFIG;
    }
    if (!socket) {
        cli_error("control.socket is off in the configuration: the daemon takes no commands");
        return EXIT_FAILED;
    }
    *ret = TAKE_PTR(socket);
    return EXIT_DONE;
}

int control_call(const struct control_source *source, const char *method, const char *target, usec_t timeout,
                 struct client_answer *ret) {
    CLEANUP(freep) char *socket = NULL;
    CLEANUP(strbuf_deinit) struct strbuf why = STRBUF_EMPTY;
    int status = control_find_socket(source, &socket);
    if (status != EXIT_DONE) {
        return status;
    }
    const struct client_request request = {.socket = socket, .method = method, .target = target, .timeout = timeout};
    if (client_call(&request, ret, &why) < 0) {
        cli_error("%s", strbuf_str(&why));
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

// The daemon escapes what it says, and that is not escaped again; but who answers at a path need not be the daemon.
static void control_add_line(struct strbuf *text, const char *line, size_t len) {
    while (len > 0) {
        const char *backslash = memchr(line, '\\', len);
        size_t n = backslash ? (size_t)(backslash - line) : len;
        escape_text_bytes(text, line, n);
        if (backslash) {
            strbuf_add_char(text, '\\');
            n++;
        }
        line += n;
        len -= n;
    }
    strbuf_add_char(text, '\n');
}

// ---- health

struct health_options {
    struct control_source source;
    bool ready;
};

static const struct option_row health_options[] = {
    CONTROL_ROWS(struct health_options, source),
    {.name = "ready",
     .kind = OPTION_FLAG,
     .offset = offsetof(struct health_options, ready),
     .help = "and every server was polled lately"},
};

static int health_run(const struct command *command, int argc, char **argv) {
    CLEANUP(client_answer_deinit) struct client_answer answer = {0};
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    struct health_options options = {0};
    int status;

    if (!cli_parse(command, argc, argv, &options, NULL, &status)) {
        return status;
    }
    status = control_call(&options.source, "GET", options.ready ? "/readyz" : "/healthz", CONTROL_TIMEOUT, &answer);
    if (status != EXIT_DONE) {
        return status;
    }
    control_add_line(&text, strbuf_str(&answer.body), strcspn(strbuf_str(&answer.body), "\n"));
    status = cli_write(&text);
    return status == EXIT_DONE && answer.status != 200 ? EXIT_FAILED : status;
}

const struct command command_health = {
    .name = "health",
    .summary = "Says whether the daemon's work goes on, for containers' HEALTHCHECK.",
    .description = "One line says how it is. Exit status: 0 healthy, 1 not. A server that is down\n"
                   "does not make the daemon unhealthy, as restarting it would mend nothing; with\n"
                   "--ready it does.\n",
    .options = health_options,
    .n_options = ARRAY_SIZE(health_options),
    .fn = health_run,
};
