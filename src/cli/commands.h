// SPDX-License-Identifier: PostgreSQL
#pragma once

// The commands, and what they share.

#include <stdbool.h>
#include <stddef.h>

#include "config/diag.h"
#include "daemon/oneshot.h"
#include "daemon/settings.h"
#include "options.h"
#include "table.h"
#include "util/macro.h"

struct strbuf;

enum exit_status {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_CONFIG = 78, // EX_CONFIG of sysexits.h: the service is not restarted on it
};

extern const struct command command_run, command_check, command_report, command_reap, command_setup_sql, command_status,
    command_health, command_pause, command_resume, command_reload;

// The text of setup-sql for a role of that name: printable UTF-8. 0 or -ENOMEM.
int setup_sql_render(const char *role, struct strbuf *sb) MUST_CHECK;

// Options that say which servers, in every command.
struct source_options {
    const char *file;
    const char *conninfo;
};
#define OPTION_ROW_FILE(type, member)                                                                                  \
    {                                                                                                                  \
        .name = "config", .letter = 'c', .kind = OPTION_STRING, .offset = offsetof(type, member), .argument = "FILE",  \
        .help = "configuration, instead of the installed one"                                                          \
    }
#define OPTION_ROW_CONNINFO(type, member)                                                                              \
    {                                                                                                                  \
        .name = "conninfo", .kind = OPTION_STRING, .offset = offsetof(type, member), .argument = "STRING",             \
        .help = "one server and no file (libpq string or URI)"                                                         \
    }

// True: go on. False: *ret_status is the exit status (help was printed, or a mistake was told).
bool cli_parse(const struct command *command, int argc, char **argv, void *values, const char **ret_operand,
               int *ret_status);

// "pgvigil: error: TEXT" to stderr. Text from elsewhere that enters `format` must have gone through escape_text().
void cli_complain(const struct strbuf *text); // as it is, to stderr
void cli_error(const char *format, ...) PRINTF_LIKE(1, 2);
void cli_warning(const char *format, ...) PRINTF_LIKE(1, 2);
// An error of wrong usage, and where to read on. Returns EXIT_USAGE.
int cli_usage_error(const struct command *command, const char *format, ...) PRINTF_LIKE(2, 3);
int cli_out_of_memory(void); // returns EXIT_FAILED

// Writes to stdout at once. EXIT_DONE; EXIT_FAILED when it cannot be written (told on stderr, but for a reader that
// went away) or when `text` ran out of memory.
int cli_write(const struct strbuf *text) MUST_CHECK;
// What standard output is: colours on a terminal that takes them, as wide as COLUMNS says, or else the terminal.
struct screen cli_screen(void);

// Loads settings, diagnostics to stderr. EXIT_DONE with *ret set, or the exit status. `diags` must outlive *ret.
int cli_load(const struct command *command, const struct source_options *source, bool observe, struct diag_list *diags,
             struct settings **ret) MUST_CHECK;

// Is `name` one of the settings' targets? NULL is fine. EXIT_DONE or EXIT_USAGE.
int cli_check_target(const struct command *command, const struct settings *settings, const char *name) MUST_CHECK;

// What to do about a server that cannot be asked, by struct pg_error's kind; NULL: nothing known.
const char *cli_failure_hint(const struct pg_error *error);
// Tells a failed verdict on stderr: which server, why, and what to do.
void cli_tell_failure(const struct oneshot_verdict *verdict);
