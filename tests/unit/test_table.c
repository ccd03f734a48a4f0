// SPDX-License-Identifier: PostgreSQL
#include "../../src/cli/table.h"

#include <errno.h>
#include <string.h>

#include "support/check.h"
#include "support/oom.h"
#include "util/cleanup.h"

static const struct table_column columns[] = {{"name", false}, {"count", true}, {"note", false}};

static void aligns(void) {
    CLEANUP(table_deinit) struct table table;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    table_init(&table, columns, ARRAY_SIZE(columns));
    table_add(&table, "worker");
    table_add_count(&table, 7);
    table_add(&table, "a");
    table_add(&table, "b");
    table_addf(&table, "%d%%", 12345);
    table_add(&table, "");
    CHECK_EQ(table_render(&table, &(struct screen){0}, &text), 0);
    CHECK_STR(strbuf_str(&text), "  name     count  note\n"
                                 "  worker       7  a\n"
                                 "  b       12345%  \n");
}

static void aligns_wide_characters(void) {
    CLEANUP(table_deinit) struct table table;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    const char *names[] = {"abcd", "日本", "é\u0301é🙂", "\xff"};

    table_init(&table, columns, 2);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        table_add(&table, names[i]);
        table_add_count(&table, (int64_t)i);
    }
    CHECK_EQ(table_render(&table, &(struct screen){0}, &text), 0);
    CHECK_STR(strbuf_str(&text), "  name  count\n"
                                 "  abcd      -\n"
                                 "  日本      1\n"
                                 "  é\u0301é🙂      2\n"
                                 "  \xff         3\n");
}

static void cuts_long_cells(void) {
    CLEANUP(table_deinit) struct table table;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    char fits[TABLE_MAX_WIDTH + 1], too_long[TABLE_MAX_WIDTH + 2];

    memset(fits, 'x', sizeof(fits));
    memset(too_long, 'y', sizeof(too_long));
    fits[TABLE_MAX_WIDTH] = too_long[TABLE_MAX_WIDTH + 1] = '\0';
    table_init(&table, columns, 1);
    table_add(&table, fits);
    table_add(&table, too_long);
    table_add(&table, "日本日本日本日本日本日本日本日本日本日本日"); // 42 columns
    CHECK_EQ(table_render(&table, &(struct screen){0}, &text), 0);
    CHECK_CONTAINS(strbuf_str(&text), fits);
    CHECK_LACKS(strbuf_str(&text), too_long);
    CHECK_CONTAINS(strbuf_str(&text), "  yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy...\n");
    CHECK_CONTAINS(strbuf_str(&text), "  日本日本日本日本日本日本日本日本日本...\n");
}

// Free text alone gives way, the widest first, down to what can still be told apart.
static void fits_a_narrow_screen(void) {
    static const struct table_column free_text[] = {{"name", false, true}, {"count", true}, {"note", false, true}};
    static const struct {
        size_t width;
        const char *text;
    } cases[] = {
        {0, "  name                   count  note\n"
            "  a-name-of-21-columns-      7  日本日本日本日本\n"},
        {48, "  name                   count  note\n"
             "  a-name-of-21-columns-      7  日本日本日本日本\n"},
        {45, "  name                count  note\n"
             "  a-name-of-21-co...      7  日本日本日本日本\n"},
        {41, "  name             count  note\n"
             "  a-name-of-21...      7  日本日本日本...\n"},
        {1, "  name      count  note\n"
            "  a-nam...      7  日本...\n"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(table_deinit) struct table table;
        CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
        check_context("at %zu", cases[i].width);
        table_init(&table, free_text, ARRAY_SIZE(free_text));
        table_add(&table, "a-name-of-21-columns-");
        table_add_count(&table, 7);
        table_add(&table, "日本日本日本日本");
        CHECK_EQ(table_render(&table, &(struct screen){.width = cases[i].width}, &text), 0);
        CHECK_STR(strbuf_str(&text), cases[i].text);
    }
}

// What a client may call itself, as it stands in a cell.
static void knows_widths(void) {
    static const struct {
        const char *text;
        size_t width;
    } cases[] = {
        {"", 0},
        {"abc", 3},
        {"日本", 4},
        {"Straße", 6},
        {"e\u0301", 1},            // an accent of its own
        {"ก\u0e34\u0e48", 1},      // Thai: a vowel and a tone above the letter
        {"क\u093f\u0902", 2},      // Devanagari: one that takes room, one that does not
        {"\u1112\u1161\u11ab", 2}, // Hangul, written letter by letter
        {"⏰✅", 4},                 // emoji among the symbols
        {"🙂", 2},
        {"a\u0300\u0301\u0302\u0303\u0304\u0305\u0306", 1}, // as many as one likes
        {"\xff\xfe", 2},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        check_context("of case %zu", i);
        CHECK_EQ(text_width(cases[i].text, strlen(cases[i].text)), cases[i].width);
    }
}

static void writes_titles_in_bold(void) {
    CLEANUP(table_deinit) struct table table;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    table_init(&table, columns, 1);
    CHECK_EQ(table_render(&table, &(struct screen){.colour = true}, &text), 0);
    CHECK_STR(strbuf_str(&text), "\033[1m  name\033[0m\n");
}

static void renders_ages(void) {
    static const struct {
        usec_t age;
        const char *text;
    } cases[] = {
        {4200 * USEC_PER_MSEC, "4.2s"},
        {59 * USEC_PER_SEC, "59s"},
        {60 * USEC_PER_SEC, "1min"},
        {303 * USEC_PER_SEC, "5min 3s"},
        {200 * USEC_PER_MINUTE + 59 * USEC_PER_SEC, "3h 20min"},
        {12 * USEC_PER_DAY + 4 * USEC_PER_HOUR, "12d 4h"},
        {2 * USEC_PER_DAY + 59 * USEC_PER_MINUTE, "2d"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
        text_add_age(&text, cases[i].age);
        CHECK_STR(strbuf_str(&text), cases[i].text);
    }
}

static int render_some(void *userdata) {
    CLEANUP(table_deinit) struct table table;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    (void)userdata;
    table_init(&table, columns, 3);
    for (int i = 0; i < 50; i++) {
        table_add(&table, "some name");
        table_addf(&table, "%d", i);
        table_add_age(&table, USEC_PER_SEC);
    }
    return table_render(&table, &(struct screen){0}, &text);
}

static void tells_out_of_memory(void) {
    oom_sweep(render_some, NULL);
}

CHECK_MAIN({"aligns", aligns}, {"aligns_wide_characters", aligns_wide_characters}, {"cuts_long_cells", cuts_long_cells},
           {"fits_a_narrow_screen", fits_a_narrow_screen}, {"knows_widths", knows_widths},
           {"writes_titles_in_bold", writes_titles_in_bold}, {"renders_ages", renders_ages},
           {"tells_out_of_memory", tells_out_of_memory})
