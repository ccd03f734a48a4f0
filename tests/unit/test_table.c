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
    CHECK_EQ(table_render(&table, false, &text), 0);
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
    CHECK_EQ(table_render(&table, false, &text), 0);
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
    CHECK_EQ(table_render(&table, false, &text), 0);
    CHECK_CONTAINS(strbuf_str(&text), fits);
    CHECK_LACKS(strbuf_str(&text), too_long);
    CHECK_CONTAINS(strbuf_str(&text), "  yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy...\n");
    CHECK_CONTAINS(strbuf_str(&text), "  日本日本日本日本日本日本日本日本日本...\n");
}

static void writes_titles_in_bold(void) {
    CLEANUP(table_deinit) struct table table;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    table_init(&table, columns, 1);
    CHECK_EQ(table_render(&table, true, &text), 0);
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
    return table_render(&table, false, &text);
}

static void tells_out_of_memory(void) {
    oom_sweep(render_some, NULL);
}

CHECK_MAIN({"aligns", aligns}, {"aligns_wide_characters", aligns_wide_characters}, {"cuts_long_cells", cuts_long_cells},
           {"writes_titles_in_bold", writes_titles_in_bold}, {"renders_ages", renders_ages},
           {"tells_out_of_memory", tells_out_of_memory})
