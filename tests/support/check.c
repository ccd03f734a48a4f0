// SPDX-License-Identifier: PostgreSQL
#include "support/check.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK_EXIT_SKIPPED 77 // what meson takes for "skipped"

enum check_result {
    CHECK_PASSED = 0, // also the first return of setjmp()
    CHECK_FAILED,
    CHECK_SKIPPED,
};

static jmp_buf check_end_of_case;
static char check_why_skipped[200];
static char check_context_line[400];

// Shows what a terminal would swallow.
static void check_print_bytes(const char *s, size_t n) {
    putchar('"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\') {
            printf("\\x%02x", (unsigned)c);
        } else {
            putchar(c);
        }
    }
    putchar('"');
}

static void check_print_string(const char *name, const char *s) {
    printf("  %s: ", name);
    if (s) {
        check_print_bytes(s, strlen(s));
    } else {
        printf("NULL");
    }
    putchar('\n');
}

static void check_print_failed(const struct check_at *at) {
    printf("%s:%d: %s\n", at->file, at->line, at->text);
    if (check_context_line[0]) {
        printf("  with %s\n", check_context_line);
    }
}

_Noreturn static void check_end(enum check_result result) {
    longjmp(check_end_of_case, (int)result);
}

void check_fail(const struct check_at *at, const char *format, ...) {
    check_print_failed(at);
    printf("  ");
    va_list ap;
    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    putchar('\n');
    check_end(CHECK_FAILED);
}

void check_skip(const char *why) {
    (void)snprintf(check_why_skipped, sizeof(check_why_skipped), "%s", why);
    check_end(CHECK_SKIPPED);
}

void check_context(const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    (void)vsnprintf(check_context_line, sizeof(check_context_line), format, ap);
    va_end(ap);
}

struct check_int check_signed(intmax_t value) {
    return (struct check_int){.negative = value < 0, .bits = (uintmax_t)value};
}

struct check_int check_unsigned(uintmax_t value) {
    return (struct check_int){.bits = value};
}

void check_true(const struct check_at *at, bool value) {
    if (!value) {
        check_print_failed(at);
        check_end(CHECK_FAILED);
    }
}

static int check_order(struct check_int a, struct check_int b) {
    if (a.negative != b.negative) {
        return a.negative ? -1 : 1;
    }
    return a.bits < b.bits ? -1 : a.bits > b.bits; // two's complement: right for two negative ones too
}

static bool check_holds(int order, enum check_op op) {
    switch (op) {
    case CHECK_OP_EQ:
        return order == 0;
    case CHECK_OP_NE:
        return order != 0;
    case CHECK_OP_LT:
        return order < 0;
    case CHECK_OP_LE:
        return order <= 0;
    case CHECK_OP_GT:
        return order > 0;
    case CHECK_OP_GE:
        return order >= 0;
    }
    return false;
}

static void check_print_int(const char *name, struct check_int value) {
    if (value.negative) {
        printf("  %s: -%" PRIuMAX "\n", name, 0 - value.bits);
    } else {
        printf("  %s: %" PRIuMAX "\n", name, value.bits);
    }
}

void check_cmp(const struct check_at *at, struct check_int a, enum check_op op, struct check_int b) {
    if (!check_holds(check_order(a, b), op)) {
        check_print_failed(at);
        check_print_int("left", a);
        check_print_int("right", b);
        check_end(CHECK_FAILED);
    }
}

void check_str(const struct check_at *at, const char *a, const char *b) {
    if ((!a || !b) ? a != b : strcmp(a, b) != 0) {
        check_print_failed(at);
        check_print_string("left", a);
        check_print_string("right", b);
        check_end(CHECK_FAILED);
    }
}

void check_mem(const struct check_at *at, const void *a, size_t n_a, const void *b, size_t n_b) {
    if (n_a != n_b || (n_a > 0 && memcmp(a, b, n_a) != 0)) {
        check_print_failed(at);
        printf("  left (%zu bytes): ", n_a);
        check_print_bytes(a, n_a);
        printf("\n  right (%zu bytes): ", n_b);
        check_print_bytes(b, n_b);
        putchar('\n');
        check_end(CHECK_FAILED);
    }
}

static void check_find(const struct check_at *at, const char *haystack, const char *needle, bool wanted) {
    bool found = haystack && strstr(haystack, needle);
    if (found != wanted) {
        check_print_failed(at);
        check_print_string("text", haystack);
        check_print_string(wanted ? "wanted" : "unwanted", needle);
        check_end(CHECK_FAILED);
    }
}

void check_contains(const struct check_at *at, const char *haystack, const char *needle) {
    check_find(at, haystack, needle, true);
}

void check_lacks(const struct check_at *at, const char *haystack, const char *needle) {
    check_find(at, haystack, needle, false);
}

static enum check_result check_run(const struct check_case *the_case) {
    check_context_line[0] = '\0';
    int ended = setjmp(check_end_of_case);
    if (ended == CHECK_PASSED) {
        the_case->run();
    }
    switch ((enum check_result)ended) {
    case CHECK_PASSED:
        printf("ok %s\n", the_case->name);
        break;
    case CHECK_FAILED:
        printf("FAIL %s\n", the_case->name);
        break;
    case CHECK_SKIPPED:
        printf("skip %s: %s\n", the_case->name, check_why_skipped);
        break;
    }
    return (enum check_result)ended;
}

static bool check_is_asked_for(const char *name, int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], name) == 0) {
            return true;
        }
    }
    return argc <= 1;
}

int check_main(const struct check_case *cases, size_t n_cases, int argc, char **argv) {
    size_t n[] = {[CHECK_PASSED] = 0, [CHECK_FAILED] = 0, [CHECK_SKIPPED] = 0};
    setvbuf(stdout, NULL, _IOLBF, 0); // what a crash leaves behind must be complete
    for (size_t i = 0; i < n_cases; i++) {
        if (check_is_asked_for(cases[i].name, argc, argv)) {
            n[check_run(&cases[i])]++;
        }
    }
    printf("%zu passed, %zu failed, %zu skipped\n", n[CHECK_PASSED], n[CHECK_FAILED], n[CHECK_SKIPPED]);
    if (n[CHECK_FAILED] > 0 || n[CHECK_PASSED] + n[CHECK_SKIPPED] == 0) {
        return EXIT_FAILURE;
    }
    return n[CHECK_PASSED] == 0 ? CHECK_EXIT_SKIPPED : EXIT_SUCCESS;
}
