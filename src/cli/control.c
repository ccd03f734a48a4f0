// SPDX-License-Identifier: PostgreSQL

// Commands that talk to the running daemon.

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "commands.h"
#include "control.h"
#include "daemon/pause_range.h"
#include "json_read.h"
#include "util/escape.h"

#define CONTROL_TIMEOUT (5 * USEC_PER_SEC)

// The file was spoilt after the daemon had read it. At night that must keep nobody from asking it, or from pausing it;
// but whose answer it is must be plain.
static void control_tell_doubts(const struct strbuf *mistakes, const char *socket) {
    CLEANUP(strbuf_deinit) struct strbuf shown = STRBUF_EMPTY;
    if (socket) {
        escape_text(&shown, socket);
        cli_complain(mistakes);
        cli_warning(
            "so it is not certain what control.socket is: the daemon at %s is asked (--socket PATH asks another)",
            strbuf_str(&shown));
    }
}

int control_find_socket(const struct control_source *source, char **ret) {
    CLEANUP(strbuf_deinit) struct strbuf why = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf doubts = STRBUF_EMPTY;
    CLEANUP(freep) char *socket = NULL;
    int r = 0;
    if (source->socket && !*source->socket) {
        cli_error("option '--socket' is empty (write --socket " CONTROL_SOCKET_DEFAULT ")");
        return EXIT_USAGE;
    }
    if (source->socket) {
        socket = strdup(source->socket);
        r = socket ? 0 : -ENOMEM;
    } else {
        r = settings_find_socket(source->file, &socket, &doubts, &why);
    }
    if (r == -ENOMEM) {
        return cli_out_of_memory();
    }
    if (r < 0) {
        cli_error("%s", strbuf_str(&why));
        return EXIT_CONFIG;
    }
    if (doubts.len > 0) {
        control_tell_doubts(&doubts, socket);
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
    escape_printable(text, line, len);
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

// ---- pause, resume

struct pause_options {
    struct control_source source;
    usec_t duration; // USEC_INFINITY: the daemon's default
};

static const struct option_row pause_options[] = {
    CONTROL_ROWS(struct pause_options, source),
    {.name = "for",
     .kind = OPTION_DURATION,
     .offset = offsetof(struct pause_options, duration),
     .argument = "TIME",
     .help = "how long (30min, 2h), 1s to 7d; default 1h"},
};

static const struct option_row resume_options[] = {
    CONTROL_ROWS(struct pause_options, source),
};

// The daemon's answer to a command, told. The exit status.
static int control_tell(const struct client_answer *answer) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf warning = STRBUF_EMPTY;
    json_t *object = json_loadb(strbuf_str(&answer->body), answer->body.len, 0, NULL);
    bool done = answer->status == 200;
    const char *message = json_read_text(object, done ? "message" : "error");
    control_add_line(&warning, json_read_text(object, "warning"), strlen(json_read_text(object, "warning")));
    control_add_line(&text, message, strlen(message));
    if (!object && !done) { // one line of text
        strbuf_clear(&text);
        control_add_line(&text, strbuf_str(&answer->body), strcspn(strbuf_str(&answer->body), "\n"));
    }
    bool has_warning = *json_read_text(object, "warning") != '\0';
    json_decref(object);
    if (!done) {
        cli_error("%.*s", (int)(text.len - 1), strbuf_str(&text));
        return EXIT_FAILED;
    }
    int status = cli_write(&text);
    if (has_warning) {
        cli_warning("%.*s", (int)(warning.len - 1), strbuf_str(&warning));
    }
    return status;
}

static int control_command(const struct control_source *source, const struct strbuf *target) {
    CLEANUP(client_answer_deinit) struct client_answer answer = {0};
    if (strbuf_error(target) < 0) {
        return cli_out_of_memory();
    }
    int status = control_call(source, "POST", strbuf_str(target), CONTROL_TIMEOUT, &answer);
    return status != EXIT_DONE ? status : control_tell(&answer);
}

static int pause_run(const struct command *command, int argc, char **argv) {
    CLEANUP(strbuf_deinit) struct strbuf target = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf why = STRBUF_EMPTY;
    struct pause_options options = {.duration = USEC_INFINITY};
    const char *name;
    int status;

    if (!cli_parse(command, argc, argv, &options, &name, &status)) {
        return status;
    }
    strbuf_add(&target, command == &command_pause ? "/api/v1/pause" : "/api/v1/resume");
    if (name && *name == '\0') { // a script's variable that is not set, most likely
        return cli_usage_error(command, "%s: the name is empty (without a name everything is %sd)", command->name,
                               command->name);
    }
    if (options.duration != USEC_INFINITY && !pause_range_has(options.duration, &why)) {
        return cli_usage_error(command, "%s: option '--for': %s", command->name, strbuf_str(&why));
    }
    if (name) {
        client_add_parameter(&target, "name", name);
    }
    if (options.duration != USEC_INFINITY) {
        CLEANUP(strbuf_deinit) struct strbuf duration = STRBUF_EMPTY;
        usec_render_exact(&duration, options.duration);
        client_add_parameter(&target, "for", strbuf_str(&duration));
    }
    return control_command(&options.source, &target);
}

const struct command command_pause = {
    .name = "pause",
    .operand = "TARGET|RULE",
    .summary = "Lets the daemon end nothing for a while: all, a server's, a rule's.",
    .description = "It goes on to watch, to tell what it would have ended (held back: paused) and to\n"
                   "raise alarms. The pause ends by itself, outlives a reload and a restart, and\n"
                   "begins anew when it is given again. 'pgvigil status' shows it.\n",
    .options = pause_options,
    .n_options = ARRAY_SIZE(pause_options),
    .fn = pause_run,
};

const struct command command_resume = {
    .name = "resume",
    .operand = "TARGET|RULE",
    .summary = "Ends a pause; without a name all of them.",
    .options = resume_options,
    .n_options = ARRAY_SIZE(resume_options),
    .fn = pause_run,
};

// ---- reload

#define RELOAD_TIMEOUT (30 * USEC_PER_SEC)

static void reload_add_lines(struct strbuf *text, const char *lines) {
    while (*lines) {
        size_t len = strcspn(lines, "\n");
        control_add_line(text, lines, len);
        lines += len + (lines[len] == '\n');
    }
}

static int reload_run(const struct command *command, int argc, char **argv) {
    CLEANUP(client_answer_deinit) struct client_answer answer = {0};
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    struct control_source source = {0};
    int status;

    if (!cli_parse(command, argc, argv, &source, NULL, &status)) {
        return status;
    }
    status = control_call(&source, "POST", "/api/v1/reload", RELOAD_TIMEOUT, &answer);
    if (status != EXIT_DONE) {
        return status;
    }
    json_t *object = json_loadb(strbuf_str(&answer.body), answer.body.len, 0, NULL);
    bool has_verdict = json_is_string(json_object_get(object, "verdict"));
    reload_add_lines(&text, json_read_text(object, "verdict"));
    json_decref(object);
    if (!has_verdict) {
        return control_tell(&answer);
    }
    if (answer.status == 200) {
        return cli_write(&text);
    }
    cli_complain(&text);
    cli_error("the reload was refused: the daemon goes on as before");
    return EXIT_FAILED;
}

static const struct option_row reload_options[] = {
    OPTION_ROW_FILE(struct control_source, file),
    {.name = "socket",
     .kind = OPTION_STRING,
     .offset = offsetof(struct control_source, socket),
     .argument = "PATH",
     .help = "control socket, instead of what the file names"},
};

const struct command command_reload = {
    .name = "reload",
    .summary = "Lets the daemon read its file again, and says what came of it.",
    .description = "Mistakes go to standard error with their positions; then nothing has changed,\n"
                   "and the exit status is 1. The file is the one that the daemon was started with.\n",
    .options = reload_options,
    .n_options = ARRAY_SIZE(reload_options),
    .fn = reload_run,
};
