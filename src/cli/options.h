// SPDX-License-Identifier: PostgreSQL
#pragma once

// Options of a command: one table drives parsing and help. Long names only in full (an abbreviation that works today
// would change its meaning with the next option), one given twice is refused unless it is a list.

#include <stddef.h>
#include <stdint.h>

#include "util/usec.h"

struct strbuf;

enum option_kind {
    OPTION_FLAG,     // bool
    OPTION_STRING,   // const char *, borrowed from argv
    OPTION_LIST,     // struct option_list; may be repeated
    OPTION_DURATION, // usec_t
    OPTION_COUNT,    // int64_t, 0 or more
    OPTION_CHOICE,   // unsigned, index into `choices`
};

struct option_list {
    const char **items; // owned array of pointers into argv
    size_t n_items;
};
void option_list_deinit(struct option_list *list); // also for CLEANUP()

struct option_row {
    const char *name; // without the dashes
    char letter;      // '\0': none
    enum option_kind kind;
    size_t offset;              // of the value in the command's own struct
    const char *argument;       // its name in help; NULL with OPTION_FLAG
    const char *implied;        // the argument when it is left out ("--watch"); NULL: it must be given
    const char *const *choices; // OPTION_CHOICE: ended by NULL
    const char *help;           // one line
};

struct command {
    const char *name;
    const char *operand;     // its name in help; NULL: the command takes none. At most one, never required
    const char *summary;     // one line
    const char *description; // lines below the options, each ended by '\n'; NULL: none
    const struct option_row *options;
    size_t n_options;
    int (*fn)(const struct command *command, int argc, char **argv); // returns the exit status
};

#define OPTIONS_MAX 24 // rows of one command

enum options_result {
    OPTIONS_OK,
    OPTIONS_HELP,  // -h or --help was among them: print the help
    OPTIONS_WRONG, // `message` says what is wrong: one line, no newline
    OPTIONS_OUT_OF_MEMORY,
};

// Reads argv[1...] into `values` (which the caller has filled with the defaults) and *ret_operand (NULL when none is
// given; may be NULL for a command without). Lists in `values` are the caller's to free, also after a failure.
enum options_result options_parse(const struct command *command, int argc, char **argv, void *values,
                                  const char **ret_operand, struct strbuf *message);

// Appends the help of one command. Lines are at most 80 columns.
void options_help(const struct command *command, struct strbuf *sb);
