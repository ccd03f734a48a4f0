// SPDX-License-Identifier: PostgreSQL
#include "core/pattern.h"

#include <errno.h>
#include <fnmatch.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/strbuf.h"

enum pattern_kind {
    PATTERN_LITERAL,
    PATTERN_GLOB,
    PATTERN_REGEX,
};

struct pattern {
    enum pattern_kind kind;
    bool compiled; // `regex` is to be freed
    char *text;
    regex_t regex;
};

struct pattern *pattern_free(struct pattern *pattern) {
    if (pattern) {
        if (pattern->compiled) {
            regfree(&pattern->regex);
        }
        free(pattern->text);
        free(pattern);
    }
    return NULL;
}
DEFINE_CLEANUP(struct pattern *, pattern_free)

// What a failed pattern_new() returns, with its reason.
static int PRINTF_LIKE(2, 3) pattern_refuse(char **ret_why, const char *format, ...) {
    CLEANUP(strbuf_deinit) struct strbuf why = STRBUF_EMPTY;
    va_list ap;
    va_start(ap, format);
    strbuf_vaddf(&why, format, ap);
    va_end(ap);
    char *text = strbuf_take(&why);
    if (!text) {
        return -ENOMEM;
    }
    *ret_why = text;
    return -EINVAL;
}

// "/.../" or "/.../i"; *ret_len is the length between the slashes.
static bool pattern_is_regex(const char *text, size_t len, size_t *ret_len, bool *ret_icase) {
    if (len < 2 || text[0] != '/') {
        return false;
    }
    bool icase = len > 2 && text[len - 1] == 'i' && text[len - 2] == '/';
    if (!icase && text[len - 1] != '/') {
        return false;
    }
    *ret_icase = icase;
    *ret_len = len - (icase ? 3 : 2);
    return true;
}

// The larger number of "{m,n}" at s, or 1; a number with too many digits counts as PATTERN_MAX_REPEAT + 1.
static unsigned long pattern_repeat_at(const char *s) {
    unsigned long largest = 1;
    for (s++; *s && strchr("0123456789,", *s); s++) {
        unsigned long n = 0;
        for (; *s >= '0' && *s <= '9'; s++) {
            n = MIN(n * 10 + (unsigned long)(*s - '0'), PATTERN_MAX_REPEAT + 1ul);
        }
        largest = MAX(largest, n);
        if (*s != ',') {
            break;
        }
    }
    return largest;
}

// Refuses what makes glibc's matcher explode. Reads bracket expressions as anything else: it may refuse too much there.
static int pattern_check_cost(const char *expression, char **ret_why) {
    unsigned long repeats = 1;
    for (const char *s = expression; *s; s++) {
        if (s[0] == '\\' && s[1]) {
            s++;
            if (*s >= '1' && *s <= '9') {
                return pattern_refuse(ret_why, "back-references are not supported");
            }
            continue;
        }
        if (*s == '{') {
            repeats *= pattern_repeat_at(s);
        } else if (*s == '+' && s > expression && strchr(")+*?}", s[-1])) {
            repeats *= 2; // glibc compiles X+ as XX*: a chain of them doubles what stands before it, each time
        }
        if (repeats > PATTERN_MAX_REPEAT) {
            return pattern_refuse(ret_why, "the repeats {} and + multiply to more than %d", PATTERN_MAX_REPEAT);
        }
    }
    return 0;
}

static int pattern_compile(struct pattern *pattern, size_t len, bool icase, char **ret_why) {
    if (len == 0) {
        return pattern_refuse(ret_why, "empty regular expression (it would match everything)");
    }
    CLEANUP(freep) char *expression = strndup(pattern->text + 1, len);
    if (!expression) {
        return -ENOMEM;
    }
    int r = pattern_check_cost(expression, ret_why);
    if (r < 0) {
        return r;
    }
    r = regcomp(&pattern->regex, expression, REG_EXTENDED | REG_NOSUB | (icase ? REG_ICASE : 0));
    if (r == REG_ESPACE) {
        return -ENOMEM;
    }
    if (r != 0) {
        char message[100];
        (void)regerror(r, &pattern->regex, message, sizeof(message));
        return pattern_refuse(ret_why, "broken regular expression: %s", message);
    }
    pattern->compiled = true;
    return 0;
}

int pattern_new(const char *text, struct pattern **ret, char **ret_why) {
    size_t len = strlen(text);
    if (len > PATTERN_MAX_LENGTH) {
        return pattern_refuse(ret_why, "longer than %d bytes", PATTERN_MAX_LENGTH);
    }
    CLEANUP(pattern_freep) struct pattern *pattern = calloc(1, sizeof(*pattern));
    if (!pattern || !(pattern->text = strdup(text))) {
        return -ENOMEM;
    }
    size_t expression_len;
    bool icase;
    if (pattern_is_regex(text, len, &expression_len, &icase)) {
        pattern->kind = PATTERN_REGEX;
        int r = pattern_compile(pattern, expression_len, icase, ret_why);
        if (r < 0) {
            return r;
        }
    } else {
        pattern->kind = strpbrk(text, "*?[\\") ? PATTERN_GLOB : PATTERN_LITERAL;
    }
    *ret = TAKE_PTR(pattern);
    return 0;
}

int pattern_matches(const struct pattern *pattern, const char *s) {
    switch (pattern->kind) {
    case PATTERN_LITERAL:
        return strcmp(pattern->text, s) == 0;
    case PATTERN_GLOB:
        return fnmatch(pattern->text, s, 0) == 0;
    case PATTERN_REGEX:
        break;
    }
    // The matcher allocates, and glibc's says REG_NOMATCH when it cannot: only errno tells.
    errno = 0;
    int r = regexec(&pattern->regex, s, 0, NULL, 0);
    if (r != 0 && (r != REG_NOMATCH || errno == ENOMEM)) {
        return -ENOMEM;
    }
    return r == 0;
}

const char *pattern_text(const struct pattern *pattern) {
    return pattern->text;
}

bool pattern_is_literal(const struct pattern *pattern) {
    return pattern->kind == PATTERN_LITERAL;
}
