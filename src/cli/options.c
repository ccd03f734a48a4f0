// SPDX-License-Identifier: PostgreSQL
#include "options.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "util/cleanup.h"
#include "util/escape.h"
#include "util/macro.h"
#include "util/strbuf.h"
#include "util/suggestion.h"

#define OPTIONS_HELP_COLUMN 34 // where the text begins
#define SUGGEST_MAX_LETTERS 64

struct parser {
    const struct command *command;
    int argc;
    char **argv;
    int next; // index of the next word
    void *values;
    bool seen[OPTIONS_MAX];
    struct strbuf *message;
};

void option_list_deinit(struct option_list *list) {
    free(list->items);
    *list = (struct option_list){0};
}

static enum options_result options_unknown(struct parser *parser, const char *word, size_t len) {
    const char *names[OPTIONS_MAX + 1] = {"help"};
    CLEANUP(freep) char *name = strndup(word, len);

    if (!name) {
        return OPTIONS_OUT_OF_MEMORY;
    }
    for (size_t i = 0; i < parser->command->n_options; i++) {
        names[i + 1] = parser->command->options[i].name;
    }
    const char *meant = suggestion_of(name, names, parser->command->n_options + 1);
    strbuf_add(parser->message, "unknown option '--");
    escape_text(parser->message, name);
    strbuf_add(parser->message, "'");
    if (meant) {
        strbuf_addf(parser->message, "; did you mean '--%s'?", meant);
    }
    return OPTIONS_WRONG;
}

// `why` goes on after the quoted argument.
static enum options_result options_invalid(struct parser *parser, const struct option_row *row, const char *argument,
                                           const char *why) {
    strbuf_addf(parser->message, "option '--%s': '", row->name);
    escape_text(parser->message, argument);
    strbuf_addf(parser->message, "' %s", why);
    return OPTIONS_WRONG;
}

static enum options_result options_set_count(struct parser *parser, const struct option_row *row, const char *argument,
                                             int64_t *ret) {
    char *end;

    errno = 0;
    long long n = isdigit((unsigned char)*argument) ? strtoll(argument, &end, 10) : -1;
    if (n < 0 || errno != 0 || *end != '\0') {
        return options_invalid(parser, row, argument, "is no count (write a number, 0 or more)");
    }
    *ret = n;
    return OPTIONS_OK;
}

static enum options_result options_set_choice(struct parser *parser, const struct option_row *row, const char *argument,
                                              unsigned *ret) {
    CLEANUP(strbuf_deinit) struct strbuf why = STRBUF_EMPTY;

    strbuf_add(&why, "is not known (write");
    for (unsigned i = 0; row->choices[i]; i++) {
        if (strcmp(argument, row->choices[i]) == 0) {
            *ret = i;
            return OPTIONS_OK;
        }
        strbuf_addf(&why, "%s%s", i == 0 ? " " : row->choices[i + 1] ? ", " : " or ", row->choices[i]);
    }
    strbuf_add(&why, ")");
    return options_invalid(parser, row, argument, strbuf_str(&why));
}

static enum options_result options_set_list(struct parser *parser, const char *argument, struct option_list *list) {
    if (!list->items) {
        list->items = calloc((size_t)parser->argc, sizeof(*list->items)); // never more of them than words
        if (!list->items) {
            return OPTIONS_OUT_OF_MEMORY;
        }
    }
    list->items[list->n_items++] = argument;
    return OPTIONS_OK;
}

// `argument` is NULL for a flag.
static enum options_result options_set(struct parser *parser, size_t index, const char *argument) {
    const struct option_row *row = &parser->command->options[index];
    void *value = (char *)parser->values + row->offset;
    const char *why;

    if (parser->seen[index] && row->kind != OPTION_LIST) {
        strbuf_addf(parser->message, "option '--%s' is given twice", row->name);
        return OPTIONS_WRONG;
    }
    parser->seen[index] = true;
    switch (row->kind) {
    case OPTION_FLAG:
        *(bool *)value = true;
        return OPTIONS_OK;
    case OPTION_STRING:
        *(const char **)value = argument;
        return OPTIONS_OK;
    case OPTION_LIST:
        return options_set_list(parser, argument, value);
    case OPTION_DURATION:
        return scalar_parse_duration(argument, value, &why) < 0 ? options_invalid(parser, row, argument, why)
                                                                : OPTIONS_OK;
    case OPTION_COUNT:
        return options_set_count(parser, row, argument, value);
    case OPTION_CHOICE:
        return options_set_choice(parser, row, argument, value);
    }
    return OPTIONS_OK;
}

// `attached` is the text behind '=' or behind the letter; NULL: none.
static enum options_result options_take(struct parser *parser, size_t index, const char *attached) {
    const struct option_row *row = &parser->command->options[index];

    if (row->kind == OPTION_FLAG) {
        if (attached) {
            strbuf_addf(parser->message, "option '--%s' takes no argument", row->name);
            return OPTIONS_WRONG;
        }
        return options_set(parser, index, NULL);
    }
    if (attached) {
        return options_set(parser, index, attached);
    }
    if (row->implied) {
        return options_set(parser, index, row->implied);
    }
    if (parser->next >= parser->argc) {
        strbuf_addf(parser->message, "option '--%s' needs an argument: --%s %s", row->name, row->name, row->argument);
        return OPTIONS_WRONG;
    }
    return options_set(parser, index, parser->argv[parser->next++]);
}

static enum options_result options_long(struct parser *parser, const char *word) {
    size_t len = strcspn(word, "=");
    const char *attached = word[len] == '=' ? word + len + 1 : NULL;

    if (strcmp(word, "help") == 0) {
        return OPTIONS_HELP;
    }
    for (size_t i = 0; i < parser->command->n_options; i++) {
        const char *name = parser->command->options[i].name;
        if (strlen(name) == len && strncmp(word, name, len) == 0) {
            return options_take(parser, i, attached);
        }
    }
    return options_unknown(parser, word, len);
}

static enum options_result options_letters(struct parser *parser, const char *word) {
    for (; *word != '\0'; word++) {
        size_t i = 0;
        if (*word == 'h') {
            return OPTIONS_HELP;
        }
        while (i < parser->command->n_options && parser->command->options[i].letter != *word) {
            i++;
        }
        if (i == parser->command->n_options) {
            strbuf_add(parser->message, "unknown option '-");
            escape_text_bytes(parser->message, word, 1);
            strbuf_add(parser->message, "'");
            return OPTIONS_WRONG;
        }
        if (parser->command->options[i].kind != OPTION_FLAG) {
            return options_take(parser, i, word[1] != '\0' ? word + 1 : NULL);
        }
        enum options_result result = options_set(parser, i, NULL);
        if (result != OPTIONS_OK) {
            return result;
        }
    }
    return OPTIONS_OK;
}

enum options_result options_parse(const struct command *command, int argc, char **argv, void *values,
                                  const char **ret_operand, struct strbuf *message) {
    struct parser parser = {
        .command = command, .argc = argc, .argv = argv, .next = 1, .values = values, .message = message};
    const char *operand = NULL;
    bool only_operands = false;

    assert(command->n_options <= OPTIONS_MAX);
    assert(!command->operand || ret_operand);
    while (parser.next < argc) {
        const char *word = argv[parser.next++];
        enum options_result result = OPTIONS_OK;
        if (!only_operands && strcmp(word, "--") == 0) {
            only_operands = true;
        } else if (!only_operands && strncmp(word, "--", 2) == 0) {
            result = options_long(&parser, word + 2);
        } else if (!only_operands && word[0] == '-' && word[1] != '\0') {
            result = options_letters(&parser, word + 1);
        } else if (command->operand && !operand) {
            operand = word;
        } else {
            strbuf_add(message, "unexpected argument '");
            escape_text(message, word);
            strbuf_add(message, "'");
            result = OPTIONS_WRONG;
        }
        if (result != OPTIONS_OK) {
            return result;
        }
    }
    if (ret_operand) {
        *ret_operand = operand;
    }
    return OPTIONS_OK;
}

static void options_help_row(struct strbuf *sb, char letter, const char *name, const char *argument, bool optional,
                             const char *help) {
    size_t start = sb->len;

    if (letter) {
        strbuf_addf(sb, "  -%c, --%s", letter, name);
    } else {
        strbuf_addf(sb, "      --%s", name);
    }
    if (argument) {
        strbuf_addf(sb, optional ? "[=%s]" : " %s", argument);
    }
    size_t width = sb->len - start;
    strbuf_addf(sb, "%*s%s\n", width < OPTIONS_HELP_COLUMN - 2 ? (int)(OPTIONS_HELP_COLUMN - width) : 2, "", help);
}

void options_help(const struct command *command, struct strbuf *sb) {
    strbuf_addf(sb, "usage: pgvigil %s%s", command->name, command->n_options > 0 ? " [OPTION...]" : "");
    if (command->operand) {
        strbuf_addf(sb, " [%s]", command->operand);
    }
    strbuf_addf(sb, "\n%s\n\n", command->summary);
    for (size_t i = 0; i < command->n_options; i++) {
        const struct option_row *row = &command->options[i];
        options_help_row(sb, row->letter, row->name, row->argument, row->implied != NULL, row->help);
    }
    options_help_row(sb, 'h', "help", NULL, false, "this text");
    if (command->description) {
        strbuf_addf(sb, "\n%s", command->description);
    }
}
