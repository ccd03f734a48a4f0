// SPDX-License-Identifier: PostgreSQL
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "commands.h"
#include "util/cleanup.h"
#include "util/escape.h"
#include "util/fd.h"
#include "util/strbuf.h"
#include "util/suggestion.h"

#define CLI_MAX_COLUMNS 10000 // of COLUMNS; more is nonsense

static int help_run(const struct command *command, int argc, char **argv);
static int version_run(const struct command *command, int argc, char **argv);

static const struct command command_version = {
    .name = "version",
    .summary = "Prints the version, and the libraries it was built with.",
    .fn = version_run,
};

static const struct command command_help = {
    .name = "help",
    .operand = "COMMAND",
    .summary = "Explains pgvigil, or one of its commands.",
    .fn = help_run,
};

static const struct command *const cli_commands[] = {
    &command_run,   &command_check,  &command_report, &command_reap,   &command_setup_sql, &command_status,
    &command_pause, &command_resume, &command_reload, &command_health, &command_version,   &command_help,
};

// ---- messages

void cli_complain(const struct strbuf *text) {
    int r = fd_write_all(STDERR_FILENO, strbuf_str(text), text->len);
    (void)r; // nobody is left to be told
}

static void cli_vtell(const char *severity, const struct command *command, const char *format, va_list ap)
    PRINTF_LIKE(3, 0);
static void cli_vtell(const char *severity, const struct command *command, const char *format, va_list ap) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    strbuf_addf(&text, "pgvigil: %s: ", severity);
    strbuf_vaddf(&text, format, ap);
    if (command) {
        strbuf_addf(&text, "\nsee 'pgvigil help%s%s'", command == &command_help ? "" : " ",
                    command == &command_help ? "" : command->name);
    }
    strbuf_add_char(&text, '\n');
    cli_complain(&text);
}

void cli_error(const char *format, ...) {
    va_list ap;

    va_start(ap, format);
    cli_vtell("error", NULL, format, ap);
    va_end(ap);
}

void cli_warning(const char *format, ...) {
    va_list ap;

    va_start(ap, format);
    cli_vtell("warning", NULL, format, ap);
    va_end(ap);
}

int cli_usage_error(const struct command *command, const char *format, ...) {
    va_list ap;

    va_start(ap, format);
    cli_vtell("error", command, format, ap);
    va_end(ap);
    return EXIT_USAGE;
}

int cli_out_of_memory(void) {
    cli_error("out of memory");
    return EXIT_FAILED;
}

int cli_write(const struct strbuf *text) {
    if (strbuf_error(text) < 0) {
        return cli_out_of_memory();
    }
    int r = fd_write_all(STDOUT_FILENO, strbuf_str(text), text->len);
    if (r < 0 && r != -EPIPE) {
        cli_error("cannot write to standard output: %s", strerror(-r));
    }
    return r < 0 ? EXIT_FAILED : EXIT_DONE;
}

static bool cli_colour(void) {
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");

    return isatty(STDOUT_FILENO) && !(no_color && *no_color) && term && *term && strcmp(term, "dumb") != 0;
}

// 0: nobody says.
static size_t cli_width(void) {
    const char *columns = getenv("COLUMNS");
    struct winsize size;
    char *end;

    if (columns && *columns >= '0' && *columns <= '9') {
        unsigned long n = strtoul(columns, &end, 10);
        if (*end == '\0' && n > 0 && n <= CLI_MAX_COLUMNS) {
            return n;
        }
    }
    return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

struct screen cli_screen(void) {
    return (struct screen){.colour = cli_colour(), .width = cli_width()};
}

const char *cli_failure_hint(const struct pg_error *error) {
    static const char *const hints[] = {
        [PG_ERROR_UNREACHABLE] = "is the server running, and do host and port name it?",
        [PG_ERROR_TIMEOUT] = "the network or the server is stalled, or connect_timeout and query_timeout are too short",
        [PG_ERROR_FULL] =
            "superusers have reserved slots; on the server's host: sudo -u postgres pgvigil reap --conninfo "
            "'host=/var/run/postgresql user=postgres dbname=postgres' --idle 10min",
        [PG_ERROR_OWN_LIMIT] = "the server is not full: raise the CONNECTION LIMIT of our role or database",
        [PG_ERROR_DATABASE] = "check dbname, and GRANT CONNECT ON DATABASE to our role",
        [PG_ERROR_STARTING] = "it is starting up, stopping or recovering: try again later",
        [PG_ERROR_SHUTDOWN] = "an administrator ended our session, or the server stops: try again",
        [PG_ERROR_CANCELLED] = "raise query_timeout",
        [PG_ERROR_DENIED] = "GRANT pg_monitor TO our role, or where it has that, ALTER ROLE ... INHERIT",
        [PG_ERROR_PROTOCOL] = "is it PostgreSQL 13 or newer, with no pooler in between?",
        [PG_N_ERROR_KINDS_] = NULL,
    };
    return error->kind == PG_ERROR_AUTH ? pg_error_auth_hint(error) : hints[error->kind];
}

void cli_tell_failure(const struct oneshot_verdict *verdict) {
    const struct pg_error *error = &verdict->error;
    const char *hint = cli_failure_hint(error);
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    strbuf_addf(&text, "'%s' cannot be asked (%s): ", verdict->target, pg_error_kind_to_string(error->kind));
    escape_text(&text, error->message);
    if (*error->sqlstate) {
        strbuf_add(&text, " [");
        escape_text(&text, error->sqlstate);
        strbuf_add(&text, "]");
    }
    if (hint) {
        strbuf_addf(&text, "\nhint: %s", hint);
    }
    cli_error("%s", strbuf_str(&text));
}

// ---- what commands share

bool cli_parse(const struct command *command, int argc, char **argv, void *values, const char **ret_operand,
               int *ret_status) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    switch (options_parse(command, argc, argv, values, ret_operand, &text)) {
    case OPTIONS_OK:
        return true;
    case OPTIONS_HELP:
        options_help(command, &text);
        *ret_status = cli_write(&text);
        return false;
    case OPTIONS_WRONG:
        *ret_status = cli_usage_error(command, "%s: %s", command->name, strbuf_str(&text));
        return false;
    case OPTIONS_OUT_OF_MEMORY:
        break;
    }
    *ret_status = cli_out_of_memory();
    return false;
}

int cli_load(const struct command *command, const struct source_options *source, bool observe, struct diag_list *diags,
             struct settings **ret) {
    const struct settings_options options = {.file = source->file, .conninfo = source->conninfo, .observe = observe};
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    if (source->file && source->conninfo) {
        return cli_usage_error(command,
                               "%s: options '--config' and '--conninfo' exclude each other (a file names its servers)",
                               command->name);
    }
    int r = settings_load(&options, diags, ret);
    diag_list_sort(diags);
    diag_list_render(diags, &text);
    if (r == -ENOMEM || strbuf_error(&text) < 0) {
        if (r == 0) {
            *ret = settings_free(*ret);
        }
        return cli_out_of_memory();
    }
    cli_complain(&text);
    return r < 0 ? EXIT_CONFIG : EXIT_DONE;
}

int cli_check_target(const struct command *command, const struct settings *settings, const char *name) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    CLEANUP(freep) const char **names = calloc(settings->config->n_targets + 1, sizeof(*names));

    if (!names) {
        return cli_out_of_memory();
    }
    for (size_t i = 0; i < settings->config->n_targets; i++) {
        names[i] = settings->config->targets[i].name;
        if (!name || strcmp(names[i], name) == 0) {
            return EXIT_DONE;
        }
    }
    const char *meant = suggestion_of(name, names, settings->config->n_targets);
    strbuf_add(&text, "there is no target '");
    escape_text(&text, name);
    strbuf_add(&text, "'");
    if (meant) {
        strbuf_addf(&text, "; did you mean '%s'?", meant);
    } else {
        for (size_t i = 0; i < settings->config->n_targets; i++) {
            strbuf_addf(&text, "%s%s", i == 0 ? " (there are: " : ", ", names[i]);
        }
        strbuf_add(&text, ")");
    }
    return cli_usage_error(command, "%s: %s", command->name, strbuf_str(&text));
}

// ---- the small commands, and which one

static int version_run(const struct command *command, int argc, char **argv) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    int status;

    if (!cli_parse(command, argc, argv, NULL, NULL, &status)) {
        return status;
    }
    strbuf_add(&text, "pgvigil " PGVIGIL_VERSION " (built with " PGVIGIL_LIBRARIES ")\n");
    return cli_write(&text);
}

static void help_overview(struct strbuf *text) {
    strbuf_add(text, "usage: pgvigil COMMAND [OPTION...]\n"
                     "Watches who holds the connection slots of PostgreSQL servers, ends the sessions\n"
                     "that break the rules of one YAML file, and says why.\n\n");
    for (size_t i = 0; i < ARRAY_SIZE(cli_commands); i++) {
        strbuf_addf(text, "  %-10s%s\n", cli_commands[i]->name, cli_commands[i]->summary);
    }
    strbuf_add(text,
               "\n'pgvigil help COMMAND' shows the options of a command. Without -c the file is\n" PGVIGIL_CONFIG_FILE
               "; when there is none, the variable\n"
               "PGVIGIL_CONNINFO may name one server.\n"
               "Exit status: 0 done, 1 failed, 2 wrong usage, 78 invalid configuration.\n");
}

// NULL: none; told on stderr.
static const struct command *cli_find(const char *name) {
    const char *names[ARRAY_SIZE(cli_commands)];
    CLEANUP(strbuf_deinit) struct strbuf shown = STRBUF_EMPTY;

    for (size_t i = 0; i < ARRAY_SIZE(cli_commands); i++) {
        names[i] = cli_commands[i]->name;
        if (strcmp(name, names[i]) == 0) {
            return cli_commands[i];
        }
    }
    const char *meant = suggestion_of(name, names, ARRAY_SIZE(names));
    escape_text(&shown, name);
    if (meant) {
        (void)cli_usage_error(&command_help, "unknown command '%s'; did you mean '%s'?", strbuf_str(&shown), meant);
    } else {
        (void)cli_usage_error(&command_help, "unknown command '%s'", strbuf_str(&shown));
    }
    return NULL;
}

static int help_run(const struct command *command, int argc, char **argv) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    const char *name;
    int status;

    if (!cli_parse(command, argc, argv, NULL, &name, &status)) {
        return status;
    }
    if (!name) {
        help_overview(&text);
        return cli_write(&text);
    }
    const struct command *about = cli_find(name);
    if (!about) {
        return EXIT_USAGE;
    }
    options_help(about, &text);
    return cli_write(&text);
}

// A descriptor that is closed would be the next thing that is opened, and output go into the socket of a server. Opened
// the wrong way round, so that a write still says that there is no standard output.
static void cli_keep_descriptors(void) {
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            int opened = open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY); // the lowest that is free
            (void)opened;
        }
    }
}

int cli_main(int argc, char **argv) {
    cli_keep_descriptors();
    // A reader that went away is a failed write with an exit status of ours, and not a silent death.
    (void)signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        return cli_usage_error(&command_help, "no command is given");
    }
    const char *name = argv[1];
    if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0) {
        name = command_help.name;
    } else if (strcmp(name, "-V") == 0 || strcmp(name, "--version") == 0) {
        name = command_version.name;
    } else if (name[0] == '-') {
        CLEANUP(strbuf_deinit) struct strbuf shown = STRBUF_EMPTY;
        escape_text(&shown, name);
        return cli_usage_error(&command_help, "option '%s' stands before the command (write pgvigil COMMAND %s)",
                               strbuf_str(&shown), strbuf_str(&shown));
    }
    const struct command *command = cli_find(name);
    return command ? command->fn(command, argc - 1, argv + 1) : EXIT_USAGE;
}
