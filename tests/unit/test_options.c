// SPDX-License-Identifier: PostgreSQL
#include "../../src/cli/commands.h"
#include "../../src/cli/options.h"

#include <string.h>

#include "support/check.h"
#include "util/strbuf.h"

enum { RED, GREEN };
static const char *const colours[] = {"red", "green", NULL};

struct values {
    bool yes, brief;
    const char *file;
    struct option_list users;
    usec_t idle, watch;
    int64_t keep;
    unsigned colour;
};

static const struct option_row rows[] = {
    {.name = "config",
     .letter = 'c',
     .kind = OPTION_STRING,
     .offset = offsetof(struct values, file),
     .argument = "FILE",
     .help = "which file"},
    {.name = "yes", .letter = 'y', .kind = OPTION_FLAG, .offset = offsetof(struct values, yes), .help = "do it"},
    {.name = "brief", .letter = 'b', .kind = OPTION_FLAG, .offset = offsetof(struct values, brief), .help = "less"},
    {.name = "user",
     .kind = OPTION_LIST,
     .offset = offsetof(struct values, users),
     .argument = "NAME",
     .help = "whose"},
    {.name = "idle",
     .kind = OPTION_DURATION,
     .offset = offsetof(struct values, idle),
     .argument = "TIME",
     .help = "how long"},
    {.name = "watch",
     .kind = OPTION_DURATION,
     .offset = offsetof(struct values, watch),
     .argument = "2s",
     .implied = "2s",
     .help = "again"},
    {.name = "keep",
     .kind = OPTION_COUNT,
     .offset = offsetof(struct values, keep),
     .argument = "N",
     .help = "how many"},
    {.name = "colour",
     .kind = OPTION_CHOICE,
     .offset = offsetof(struct values, colour),
     .argument = "COLOUR",
     .choices = colours,
     .help = "which"},
};
static const struct command without = {.name = "test", .summary = "Tests.", .options = rows, .n_options = 8};
static const struct command with = {
    .name = "test", .operand = "WHAT", .summary = "Tests.", .options = rows, .n_options = 8};

#define MAX_WORDS 8

static enum options_result parse(const struct command *command, const char *line, struct values *values,
                                 const char **ret_operand, struct strbuf *message) {
    static char copy[256];
    char *argv[MAX_WORDS + 1] = {NULL};
    int argc = 0;

    CHECK_LT(strlen(line), sizeof(copy));
    memcpy(copy, line, strlen(line) + 1);
    for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
        CHECK_LT(argc, MAX_WORDS);
        argv[argc++] = word;
    }
    *values = (struct values){.keep = -1, .idle = USEC_INFINITY};
    return options_parse(command, argc, argv, values, ret_operand, message);
}

static void takes_values(void) {
    CLEANUP(strbuf_deinit) struct strbuf message = STRBUF_EMPTY;
    struct values values;

    CHECK_EQ(parse(&without, "test -c f --idle=1h30min --user a --user=b", &values, NULL, &message), OPTIONS_OK);
    CHECK_STR(values.file, "f");
    CHECK_EQ(values.idle, 90 * USEC_PER_MINUTE);
    CHECK_EQ(values.users.n_items, 2);
    CHECK_STR(values.users.items[0], "a");
    CHECK_STR(values.users.items[1], "b");
    option_list_deinit(&values.users);

    CHECK_EQ(parse(&without, "test --keep 3 --colour green --watch -yb", &values, NULL, &message), OPTIONS_OK);
    CHECK_EQ(values.keep, 3);
    CHECK_EQ(values.colour, GREEN);
    CHECK_EQ(values.watch, 2 * USEC_PER_SEC);
    CHECK(values.yes && values.brief);

    CHECK_EQ(parse(&without, "test -ycfile --watch=500ms --keep 0", &values, NULL, &message), OPTIONS_OK);
    CHECK_STR(values.file, "file");
    CHECK_EQ(values.watch, 500 * USEC_PER_MSEC);
    CHECK_EQ(values.keep, 0);
    CHECK_EQ(parse(&without, "test --config=", &values, NULL, &message), OPTIONS_OK);
    CHECK_STR(values.file, "");
}

static void says_what_is_wrong(void) {
    static const struct {
        const char *line, *message;
    } cases[] = {
        {"test --idel 1s", "unknown option '--idel'; did you mean '--idle'?"},
        {"test --yse", "unknown option '--yse'; did you mean '--yes'?"},
        {"test --hlep", "unknown option '--hlep'; did you mean '--help'?"},
        {"test --con f", "unknown option '--con'; did you mean '--config'?"},
        {"test --\x1b[2J", "unknown option '--\\x1b[2J'"},
        {"test -x", "unknown option '-x'"},
        {"test -yx", "unknown option '-x'"},
        {"test --yes=1", "option '--yes' takes no argument"},
        {"test --yes --yes", "option '--yes' is given twice"},
        {"test -c a --config b", "option '--config' is given twice"},
        {"test --idle", "option '--idle' needs an argument: --idle TIME"},
        {"test -c", "option '--config' needs an argument: --config FILE"},
        {"test --keep -1", "option '--keep': '-1' is no count (write a number, 0 or more)"},
        {"test --keep 1x", "option '--keep': '1x' is no count (write a number, 0 or more)"},
        {"test --keep 9223372036854775808",
         "option '--keep': '9223372036854775808' is no count (write a number, 0 or more)"},
        {"test --colour blue", "option '--colour': 'blue' is not known (write red or green)"},
        {"test more", "unexpected argument 'more'"},
        {"test -- --yes", "unexpected argument '--yes'"},
        {"test -", "unexpected argument '-'"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(strbuf_deinit) struct strbuf message = STRBUF_EMPTY;
        struct values values;
        check_context("with '%s'", cases[i].line);
        CHECK_EQ(parse(&without, cases[i].line, &values, NULL, &message), OPTIONS_WRONG);
        CHECK_STR(strbuf_str(&message), cases[i].message);
    }
}

static void refuses_durations_without_unit(void) {
    CLEANUP(strbuf_deinit) struct strbuf message = STRBUF_EMPTY;
    struct values values;

    CHECK_EQ(parse(&without, "test --idle 10", &values, NULL, &message), OPTIONS_WRONG);
    CHECK_CONTAINS(strbuf_str(&message), "option '--idle': '10' has no unit");
    CHECK_EQ(values.idle, USEC_INFINITY);
}

static void takes_one_operand(void) {
    CLEANUP(strbuf_deinit) struct strbuf message = STRBUF_EMPTY;
    struct values values;
    const char *operand;

    CHECK_EQ(parse(&with, "test", &values, &operand, &message), OPTIONS_OK);
    CHECK_NULL(operand);
    CHECK_EQ(parse(&with, "test --yes this", &values, &operand, &message), OPTIONS_OK);
    CHECK_STR(operand, "this");
    CHECK_EQ(parse(&with, "test -- --yes", &values, &operand, &message), OPTIONS_OK);
    CHECK_STR(operand, "--yes");
    CHECK(!values.yes);
    CHECK_EQ(parse(&with, "test this that", &values, &operand, &message), OPTIONS_WRONG);
}

static void asks_for_help(void) {
    CLEANUP(strbuf_deinit) struct strbuf message = STRBUF_EMPTY;
    struct values values;

    CHECK_EQ(parse(&without, "test -h", &values, NULL, &message), OPTIONS_HELP);
    CHECK_EQ(parse(&without, "test -yh", &values, NULL, &message), OPTIONS_HELP);
    CHECK_EQ(parse(&without, "test --keep 1 --help", &values, NULL, &message), OPTIONS_HELP);
}

// What follows from the tables of the real commands.
static void help_fits_a_screen(void) {
    const struct command *commands[] = {&command_run, &command_check, &command_report, &command_reap,
                                        &command_setup_sql};

    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        CLEANUP(strbuf_deinit) struct strbuf help = STRBUF_EMPTY;
        size_t n_lines = 0;
        check_context("of %s", commands[i]->name);
        options_help(commands[i], &help);
        for (const char *line = strbuf_str(&help); *line; line += strcspn(line, "\n") + 1) {
            CHECK_LE(strcspn(line, "\n"), 80);
            n_lines++;
        }
        CHECK_LE(n_lines, 23); // the prompt takes one
        for (size_t j = 0; j < commands[i]->n_options; j++) {
            CHECK_CONTAINS(strbuf_str(&help), commands[i]->options[j].name);
        }
    }
}

CHECK_MAIN({"takes_values", takes_values}, {"says_what_is_wrong", says_what_is_wrong},
           {"refuses_durations_without_unit", refuses_durations_without_unit}, {"takes_one_operand", takes_one_operand},
           {"asks_for_help", asks_for_help}, {"help_fits_a_screen", help_fits_a_screen})
