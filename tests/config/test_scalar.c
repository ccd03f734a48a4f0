// SPDX-License-Identifier: PostgreSQL

// The leaves: scalars, variables, names, and the order of diagnostics.

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../src/config/report.h"
#include "../../src/config/scalar.h"
#include "config/config.h"
#include "support/check.h"
#include "util/strbuf.h"

static const char *lookup(const char *name, void *userdata) {
    (void)userdata;
    return strcmp(name, "USER") == 0 ? "pgvigil" : strcmp(name, "EMPTY") == 0 ? "" : NULL;
}

static void durations(void) {
    static const struct {
        const char *text;
        usec_t value;
    } good[] = {
        {"0s", 0},
        {"1ms", USEC_PER_MSEC},
        {"500ms", 500 * USEC_PER_MSEC},
        {"30s", 30 * USEC_PER_SEC},
        {"10min", 10 * USEC_PER_MINUTE},
        {"10m", 10 * USEC_PER_MINUTE},
        {"1h30min", 90 * USEC_PER_MINUTE},
        {"1h 30 min", 90 * USEC_PER_MINUTE},
        {"2d", 2 * USEC_PER_DAY},
        {"1d1h1min1s1ms", USEC_PER_DAY + USEC_PER_HOUR + USEC_PER_MINUTE + USEC_PER_SEC + USEC_PER_MSEC},
        {"007s", 7 * USEC_PER_SEC},
        {"18446744073709551ms", UINT64_C(18446744073709551000)},
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        check_context("%s", good[i].text);
        usec_t value = 1;
        const char *why = NULL;
        CHECK_EQ(scalar_parse_duration(good[i].text, &value, &why), 0);
        CHECK_EQ(value, good[i].value);
    }
    static const struct {
        const char *text;
        const char *why;
    } bad[] = {
        {"", "empty"},
        {" ", "empty"},
        {"10", "no unit"},
        {"1h30", "no unit"},
        {"s", "not a duration"},
        {"-1s", "negative"},
        {"1.5h", "fraction"},
        {"10x", "unknown unit"},
        {"10S", "unknown unit"},
        {"10M", "unknown unit"},
        {"10minutes", "unknown unit"},
        {"1s1h", "order"},
        {"1m1min", "order"},
        {"1h-1s", "unknown unit"},
        {"+1s", "not a duration"},
        {"1s\n", "unknown unit"},
        {"0x10s", "unknown unit"},
        {"inf", "not a duration"},
        {"18446744073710s", "too large"},
        {"18446744073709551616ms", "too large"},
        {"99999999999999999999999d", "too large"},
        {"18446744073709s551615000ms", "too large"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        check_context("%s", bad[i].text);
        usec_t value = 1;
        const char *why = NULL;
        CHECK_EQ(scalar_parse_duration(bad[i].text, &value, &why), -EINVAL);
        CHECK_CONTAINS(why, bad[i].why);
        CHECK_EQ(value, 1u);
    }
}

static void integers(void) {
    int64_t value = 5;
    CHECK_EQ(scalar_integer("9223372036854775807", 0, INT64_MAX, &value), INTEGER_OK);
    CHECK_EQ(value, INT64_MAX);
    CHECK_EQ(scalar_integer("9223372036854775808", 0, INT64_MAX, &value), INTEGER_OUT_OF_RANGE);
    CHECK_EQ(scalar_integer("-5", -10, 10, &value), INTEGER_OK);
    CHECK_EQ(value, -5);
    static const char *const bad[] = {"", "-", "+1", "1 ", " 1", "0x1", "01", "1e1", "1.0", "--1", "1_000", "١"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        check_context("%s", bad[i]);
        CHECK_EQ(scalar_integer(bad[i], -10, 10, &value), INTEGER_NOT_A_NUMBER);
    }
    CHECK_EQ(value, -5);
}

static void variables(void) {
    static const struct {
        const char *text;
        const char *value;
    } good[] = {
        {"${USER}", "pgvigil"},
        {"a${USER}b${USER}", "apgvigilbpgvigil"},
        {"${EMPTY}", ""},
        {"${EMPTY:-x}", "x"},
        {"${UNSET:-x y}", "x y"},
        {"${UNSET:-}", ""},
        {"$${USER}", "${USER}"},
        {"$$${USER}", "$${USER}"},
        {"$USER $ $$ ${USER}$", "$USER $ $$ pgvigil$"},
        {"${UNSET:-$}", "$"},
        {"${USER:-{}", "pgvigil"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        check_context("%s", good[i].text);
        struct expansion expansion;
        CHECK_EQ(scalar_expand(good[i].text, 100, lookup, NULL, &expansion), EXPAND_OK);
        CHECK_STR(expansion.text, good[i].value);
        free(expansion.text);
    }
    static const struct {
        const char *text;
        enum expand_result result;
    } bad[] = {
        {"${UNSET}", EXPAND_UNSET},
        {"${USER", EXPAND_UNCLOSED},
        {"${", EXPAND_UNCLOSED},
        {"${}", EXPAND_BAD_NAME},
        {"${1}", EXPAND_BAD_NAME},
        {"${A B}", EXPAND_BAD_NAME},
        {"${A-b}", EXPAND_BAD_NAME},
        {"${A:b}", EXPAND_BAD_NAME},
        {"${A:-${B}}", EXPAND_BAD_NAME},
        {"${:-x}", EXPAND_BAD_NAME},
        {"${USER}${USER}${USER}${USER}${USER}${USER}${USER}", EXPAND_OK},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        check_context("%s", bad[i].text);
        struct expansion expansion;
        enum expand_result result = scalar_expand(bad[i].text, 40, lookup, NULL, &expansion);
        CHECK_EQ(result, bad[i].result == EXPAND_OK ? EXPAND_TOO_LONG : bad[i].result);
        CHECK_NULL(expansion.text);
        free(expansion.name);
    }
    CHECK(scalar_is_reference("${A}") && scalar_is_reference("${A}${B_1}"));
    CHECK(!scalar_is_reference("") && !scalar_is_reference("${A:-secret}") && !scalar_is_reference("x${A}") &&
          !scalar_is_reference("${A}x") && !scalar_is_reference("${A"));
}

static void names(void) {
    CHECK(scalar_is_name("a") && scalar_is_name("_a.b-c") && scalar_is_name("9"));
    CHECK(!scalar_is_name("") && !scalar_is_name("-a") && !scalar_is_name(".a") && !scalar_is_name("a b") &&
          !scalar_is_name("ä") && !scalar_is_name("a/b"));
    char longest[NAME_MAX_LENGTH + 2];
    memset(longest, 'a', sizeof(longest));
    longest[NAME_MAX_LENGTH] = '\0';
    CHECK(scalar_is_name(longest));
    longest[NAME_MAX_LENGTH] = 'a';
    longest[NAME_MAX_LENGTH + 1] = '\0';
    CHECK(!scalar_is_name(longest));
}

// Errors at one place keep their order, others go by file and position.
static void sorting(void) {
    struct diag_list list = {0};
    const char *a = diag_list_add_file(&list, "b.yaml");
    const char *b = diag_list_add_file(&list, "a.yaml");
    diag_add(&list, DIAG_ERROR, (struct location){b, 1, 1}, "", "4");
    diag_add(&list, DIAG_ERROR, (struct location){a, 2, 5}, "p", "2");
    diag_add(&list, DIAG_WARNING, (struct location){a, 2, 5}, "p", "3");
    diag_add(&list, DIAG_ERROR, (struct location){a, 0, 0}, "", "1");
    diag_list_sort(&list);
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    diag_list_render(&list, &text);
    CHECK_STR(strbuf_str(&text), "b.yaml: error: 1\nb.yaml:2:5: error: p: 2\nb.yaml:2:5: warning: p: 3\n"
                                 "a.yaml:1:1: error: 4\n");
    diag_list_deinit(&list);
}

static void percentages(void) {
    static const struct {
        const char *text;
        enum percent_result result;
        int64_t value;
    } cases[] = {
        {"80%", PERCENT_OK, 80},           {"1%", PERCENT_OK, 1},
        {"100%", PERCENT_OK, 100},         {"80", PERCENT_NO_SIGN, 80},
        {"0%", PERCENT_OUT_OF_RANGE, 0},   {"0", PERCENT_OUT_OF_RANGE, 0},
        {"101%", PERCENT_OUT_OF_RANGE, 0}, {"99999999999999999999999%", PERCENT_OUT_OF_RANGE, 0},
        {"", PERCENT_NOT_WHOLE, 0},        {"%", PERCENT_NOT_WHOLE, 0},
        {"80%%", PERCENT_NOT_WHOLE, 0},    {"80 %", PERCENT_NOT_WHOLE, 0},
        {"0.8", PERCENT_NOT_WHOLE, 0},     {"80.0%", PERCENT_NOT_WHOLE, 0},
        {"-5%", PERCENT_NOT_WHOLE, 0},     {"+5%", PERCENT_NOT_WHOLE, 0},
        {"080%", PERCENT_NOT_WHOLE, 0},    {"80%x", PERCENT_NOT_WHOLE, 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int64_t value = 0;
        check_context("%s", cases[i].text);
        CHECK_EQ(scalar_percent(cases[i].text, 1, 100, &value), cases[i].result);
        CHECK_EQ(value, cases[i].value);
    }
}

CHECK_MAIN({"percentages", percentages}, {"durations", durations}, {"integers", integers}, {"variables", variables},
           {"names", names}, {"sorting", sorting})
