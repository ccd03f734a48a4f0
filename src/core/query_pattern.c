// SPDX-License-Identifier: PostgreSQL

// Regular expressions that the server matches against its sessions' statements. One that it refuses would fail every
// poll, so what is let through is the part that all PostgreSQL versions read alike, in any encoding: glibc's compiler
// finds what is broken for both, and the walk below finds what only PostgreSQL refuses or reads differently
// (src/backend/regex/regc_lex.c and regcomp.c).

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/policy.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

#define QUERY_MAX_REPEAT 255            // DUPMAX of PostgreSQL
#define QUERY_MAX_DEPTH 50              // nested parentheses: it compiles them by recursion
#define QUERY_ESCAPES "dswDSWmMyYntrf"  // letters that may stand behind a backslash
#define QUERY_BRACKET_ESCAPES "dswntrf" // and within []
#define QUERY_QUANTIFIERS "*+?"

struct query_walk {
    const char *s; // what comes next
    unsigned depth;
    bool may_repeat; // an atom stands before s, so that a quantifier may follow
};

static bool query_is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool query_is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int query_refuse(char **ret_why, const char *why) {
    *ret_why = strdup(why);
    return *ret_why ? -EINVAL : -ENOMEM;
}

// At a backslash.
static const char *query_walk_escape(struct query_walk *walk, const char *letters) {
    char c = walk->s[1];
    if (c == '\0') {
        return "ends in a backslash";
    }
    if (c == 'b') {
        return "\\b is a backspace to PostgreSQL (write \\y for the edge of a word)";
    }
    if ((query_is_letter(c) || query_is_digit(c)) && !strchr(letters, c)) {
        return "an escape that is not supported here (write \\d \\s \\w \\m \\M \\y, or [...])";
    }
    walk->s += 2;
    return NULL;
}

// At "[". Both readers must see the bracket end at the same place.
static const char *query_walk_bracket(struct query_walk *walk) {
    walk->s++;
    if (*walk->s == '^') {
        walk->s++;
    }
    if (*walk->s == ']') {
        walk->s++;
    }
    while (*walk->s && *walk->s != ']') {
        if (walk->s[0] == '[' && walk->s[1] == ':') {
            const char *end = strstr(walk->s + 2, ":]");
            if (!end) {
                return "[: without :]";
            }
            walk->s = end + 2;
        } else if (walk->s[0] == '[' && (walk->s[1] == '.' || walk->s[1] == '=')) {
            return "[. .] and [= =] are not supported";
        } else if (walk->s[0] == '\\') {
            if (walk->s[1] == ']' || walk->s[1] == '-') {
                return "a backslash before ] or - within [...] (write ] first and - last)";
            }
            const char *why = query_walk_escape(walk, QUERY_BRACKET_ESCAPES);
            if (why) {
                return why;
            }
            // A class cannot be the end of a range; the dash is welcome as the last one.
            if (walk->s[0] == '-' && walk->s[1] != ']') {
                return "a range that begins with an escape (write the - last)";
            }
        } else {
            walk->s++;
            if (walk->s[0] == '-' && walk->s[1] == '\\') {
                return "a range that ends in an escape (write the - last)";
            }
        }
    }
    if (!*walk->s) {
        return "[ without ]";
    }
    walk->s++;
    return NULL;
}

static const char *query_walk_number(struct query_walk *walk) {
    unsigned long n = 0;
    for (; query_is_digit(*walk->s); walk->s++) {
        n = n > QUERY_MAX_REPEAT ? n : n * 10 + (unsigned long)(*walk->s - '0');
    }
    return n > QUERY_MAX_REPEAT ? "a repeat beyond 255, which is PostgreSQL's limit" : NULL;
}

// At a quantifier, "{" included.
static const char *query_walk_quantifier(struct query_walk *walk) {
    if (!walk->may_repeat) {
        return "a quantifier with nothing to repeat before it";
    }
    if (*walk->s != '{') {
        walk->s++;
    } else {
        walk->s++;
        if (!query_is_digit(*walk->s)) {
            return "{ without a number (write \\{ for the character)";
        }
        const char *why = query_walk_number(walk);
        if (!why && *walk->s == ',') {
            walk->s++;
            why = query_walk_number(walk);
        }
        if (why) {
            return why;
        }
        if (*walk->s != '}') {
            return "{ without }";
        }
        walk->s++;
    }
    if (*walk->s == '?') {
        walk->s++; // the short match: the same sessions
    }
    walk->may_repeat = false;
    return NULL;
}

static const char *query_walk_step(struct query_walk *walk) {
    char c = *walk->s;
    if (strchr(QUERY_QUANTIFIERS "{", c)) {
        return query_walk_quantifier(walk);
    }
    walk->may_repeat = c != '(' && c != '|' && c != '^' && c != '$';
    if (c == '\\') {
        // What matches a place repeats no more than ^ does.
        walk->may_repeat = walk->s[1] == '\0' || !strchr("mMyY", walk->s[1]);
        return query_walk_escape(walk, QUERY_ESCAPES);
    }
    if (c == '[') {
        return query_walk_bracket(walk);
    }
    if (c == '(' && ++walk->depth > QUERY_MAX_DEPTH) {
        return "parentheses nested too deeply";
    }
    if (c == ')' && walk->depth-- == 0) {
        return ") without ( (write \\) for the character)";
    }
    walk->s++;
    return NULL;
}

// NULL: fine. Else what is wrong with it.
static const char *query_check(const char *expression) {
    for (const char *s = expression; *s; s++) {
        if ((unsigned char)*s > 0x7e || ((unsigned char)*s < ' ' && *s != '\t' && *s != '\n')) {
            return "only ASCII, as databases of any encoding must understand it (write . for other characters)";
        }
    }
    struct query_walk walk = {.s = expression};
    while (*walk.s) {
        const char *why = query_walk_step(&walk);
        if (why) {
            return why;
        }
    }
    return walk.depth > 0 ? "( without ) (write \\( for the character)" : NULL;
}

int policy_add_query(struct policy *policy, const char *text, unsigned *ret_bit, char **ret_why) {
    size_t len = strlen(text);
    bool icase = len > 2 && strcmp(text + len - 2, "/i") == 0;
    if (len < 2 || text[0] != '/' || (!icase && text[len - 1] != '/')) {
        return query_refuse(ret_why, "not a regular expression (write /.../ or /.../i)");
    }
    CLEANUP(freep) char *expression = strndup(text + 1, len - (icase ? 3 : 2));
    if (!expression) {
        return -ENOMEM;
    }
    struct pattern *pattern;
    int r = pattern_new(text, &pattern, ret_why);
    if (r < 0) {
        return r;
    }
    pattern_free(pattern);
    const char *why = query_check(expression);
    if (why) {
        return query_refuse(ret_why, why);
    }
    for (size_t i = 0; i < policy->n_queries; i++) {
        if (policy->queries[i].icase == icase && strcmp(policy->queries[i].expression, expression) == 0) {
            *ret_bit = (unsigned)i;
            return 0;
        }
    }
    if (policy->n_queries == POLICY_MAX_QUERIES) {
        return -ENOSPC;
    }
    struct query_pattern *queries = reallocarray(policy->queries, policy->n_queries + 1, sizeof(*queries));
    if (!queries) {
        return -ENOMEM;
    }
    policy->queries = queries;
    *ret_bit = (unsigned)policy->n_queries;
    queries[policy->n_queries++] = (struct query_pattern){.expression = TAKE_PTR(expression), .icase = icase};
    return 0;
}
