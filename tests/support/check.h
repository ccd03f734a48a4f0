// SPDX-License-Identifier: PostgreSQL
#pragma once

// Asserts that print both operands and never compile out, and the runner of named cases. A failed assert ends its case;
// the next case runs. A program is
//
//   static void adds(void) { CHECK_EQ(1 + 1, 2); }
//   CHECK_MAIN({ "adds", adds })
//
// and prints "ok NAME", "FAIL NAME" or "skip NAME: why" for each case, then "N passed, N failed, N skipped". Exit
// status: 0, 1 when a case failed, 77 when all were skipped. Arguments name the cases to run.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/macro.h"

struct check_case {
    const char *name;
    void (*run)(void);
};

int check_main(const struct check_case *cases, size_t n_cases, int argc, char **argv);

#define CHECK_MAIN(...)                                                                                                \
    int main(int argc, char **argv) {                                                                                  \
        static const struct check_case cases[] = {__VA_ARGS__};                                                        \
        return check_main(cases, ARRAY_SIZE(cases), argc, argv);                                                       \
    }

// Where an assert stands.
struct check_at {
    const char *file;
    int line;
    const char *text; // of the asserted expression
};
#define CHECK_AT(text) (&(const struct check_at){__FILE__, __LINE__, text})

// An integer of any type: its value modulo 2^64, and whether it is below zero.
struct check_int {
    bool negative;
    uintmax_t bits;
};
struct check_int check_signed(intmax_t value);
struct check_int check_unsigned(uintmax_t value);
#define CHECK_INT(x)                                                                                                   \
    _Generic((x), char                                                                                                 \
             : check_signed, signed char                                                                               \
             : check_signed, short                                                                                     \
             : check_signed, int                                                                                       \
             : check_signed, long                                                                                      \
             : check_signed, long long                                                                                 \
             : check_signed, default                                                                                   \
             : check_unsigned)(x)

enum check_op { CHECK_OP_EQ, CHECK_OP_NE, CHECK_OP_LT, CHECK_OP_LE, CHECK_OP_GT, CHECK_OP_GE };

void check_true(const struct check_at *at, bool value);
void check_cmp(const struct check_at *at, struct check_int a, enum check_op op, struct check_int b);
void check_str(const struct check_at *at, const char *a, const char *b);
void check_mem(const struct check_at *at, const void *a, size_t n_a, const void *b, size_t n_b);
void check_contains(const struct check_at *at, const char *haystack, const char *needle);
void check_lacks(const struct check_at *at, const char *haystack, const char *needle);
_Noreturn void check_fail(const struct check_at *at, const char *format, ...) PRINTF_LIKE(2, 3);
_Noreturn void check_skip(const char *why);

// Adds a line that is printed if the case fails ("with input 17"): for asserts inside of loops. Replaces the last one.
void check_context(const char *format, ...) PRINTF_LIKE(1, 2);

#define CHECK(x) check_true(CHECK_AT(#x), (x))
#define CHECK_EQ(a, b) check_cmp(CHECK_AT(#a " == " #b), CHECK_INT(a), CHECK_OP_EQ, CHECK_INT(b))
#define CHECK_NE(a, b) check_cmp(CHECK_AT(#a " != " #b), CHECK_INT(a), CHECK_OP_NE, CHECK_INT(b))
#define CHECK_LT(a, b) check_cmp(CHECK_AT(#a " < " #b), CHECK_INT(a), CHECK_OP_LT, CHECK_INT(b))
#define CHECK_LE(a, b) check_cmp(CHECK_AT(#a " <= " #b), CHECK_INT(a), CHECK_OP_LE, CHECK_INT(b))
#define CHECK_GT(a, b) check_cmp(CHECK_AT(#a " > " #b), CHECK_INT(a), CHECK_OP_GT, CHECK_INT(b))
#define CHECK_GE(a, b) check_cmp(CHECK_AT(#a " >= " #b), CHECK_INT(a), CHECK_OP_GE, CHECK_INT(b))
#define CHECK_STR(a, b) check_str(CHECK_AT(#a " == " #b), (a), (b)) // either may be NULL
#define CHECK_MEM(a, n_a, b, n_b) check_mem(CHECK_AT(#a " == " #b), (a), (n_a), (b), (n_b))
#define CHECK_CONTAINS(haystack, needle) check_contains(CHECK_AT(#haystack " has " #needle), (haystack), (needle))
#define CHECK_LACKS(haystack, needle) check_lacks(CHECK_AT(#haystack " lacks " #needle), (haystack), (needle))
#define CHECK_NULL(p) check_true(CHECK_AT(#p " == NULL"), (p) == NULL)
#define CHECK_NOT_NULL(p) check_true(CHECK_AT(#p " != NULL"), (p) != NULL)
#define CHECK_FAIL(...) check_fail(CHECK_AT("fail"), __VA_ARGS__)
