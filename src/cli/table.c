// SPDX-License-Identifier: PostgreSQL
#include "table.h"

#include <assert.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/escape.h"

#define TABLE_ELLIPSIS "..."
#define TABLE_BOLD "\033[1m"
#define TABLE_PLAIN "\033[0m"

// The ranges that matter for names, after Unicode's EastAsianWidth.txt (W, F) and its combining blocks. wcwidth() would
// need the locale, and a daemon's shell often has none. Sorted.
static const struct {
    unsigned first, last;
    unsigned width;
} table_widths[] = {
    {0x0300, 0x036f, 0}, {0x0483, 0x0489, 0},   {0x0591, 0x05bd, 0},   {0x064b, 0x065f, 0},   {0x1100, 0x115f, 2},
    {0x1ab0, 0x1aff, 0}, {0x1dc0, 0x1dff, 0},   {0x20d0, 0x20ff, 0},   {0x2e80, 0x303e, 2},   {0x3041, 0xa4cf, 2},
    {0xac00, 0xd7a3, 2}, {0xf900, 0xfaff, 2},   {0xfe20, 0xfe2f, 0},   {0xfe30, 0xfe6f, 2},   {0xff00, 0xff60, 2},
    {0xffe0, 0xffe6, 2}, {0x1f300, 0x1f64f, 2}, {0x1f680, 0x1f6ff, 2}, {0x1f900, 0x1faff, 2}, {0x20000, 0x3fffd, 2},
};

static size_t text_width_of(unsigned code) {
    for (size_t i = 0; i < ARRAY_SIZE(table_widths) && table_widths[i].first <= code; i++) {
        if (code <= table_widths[i].last) {
            return table_widths[i].width;
        }
    }
    return 1;
}

// Bytes of s that fit into `max` columns; *ret_width is what they take.
static size_t text_fit(const char *s, size_t len, size_t max, size_t *ret_width) {
    size_t at = 0, width = 0;

    while (at < len) {
        unsigned code = 0;
        size_t n = utf8_decode(s + at, len - at, &code);
        size_t w = n > 0 ? text_width_of(code) : 1;
        if (width + w > max) {
            break;
        }
        width += w;
        at += MAX(n, (size_t)1);
    }
    *ret_width = width;
    return at;
}

size_t text_width(const char *s, size_t len) {
    size_t width;
    (void)text_fit(s, len, SIZE_MAX, &width);
    return width;
}

void text_add_age(struct strbuf *sb, usec_t age) {
    static const struct {
        usec_t unit, next;
        const char *name, *next_name;
    } units[] = {
        {USEC_PER_DAY, USEC_PER_HOUR, "d", "h"},
        {USEC_PER_HOUR, USEC_PER_MINUTE, "h", "min"},
        {USEC_PER_MINUTE, USEC_PER_SEC, "min", "s"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (age >= units[i].unit) {
            usec_t rest = age % units[i].unit / units[i].next;
            strbuf_addf(sb, "%" PRIu64 "%s", age / units[i].unit, units[i].name);
            if (rest > 0) {
                strbuf_addf(sb, " %" PRIu64 "%s", rest, units[i].next_name);
            }
            return;
        }
    }
    usec_render(sb, age);
}

void table_init(struct table *table, const struct table_column *columns, size_t n_columns) {
    assert(n_columns > 0 && n_columns <= TABLE_MAX_COLUMNS);
    *table = (struct table){.columns = columns, .n_columns = n_columns};
}

void table_deinit(struct table *table) {
    strbuf_deinit(&table->text);
    table->n_cells = 0;
}

void table_add(struct table *table, const char *text) {
    size_t len = strlen(text);
    size_t width;
    size_t fits = text_fit(text, len, TABLE_MAX_WIDTH, &width);

    if (fits < len) {
        fits = text_fit(text, len, TABLE_MAX_WIDTH - strlen(TABLE_ELLIPSIS), &width);
        strbuf_add_bytes(&table->text, text, fits);
        strbuf_add(&table->text, TABLE_ELLIPSIS);
    } else {
        strbuf_add_bytes(&table->text, text, len);
    }
    strbuf_add_char(&table->text, '\0');
    table->n_cells++;
}

void table_addf(struct table *table, const char *format, ...) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    va_list ap;

    va_start(ap, format);
    strbuf_vaddf(&text, format, ap);
    va_end(ap);
    table->text.failed |= strbuf_error(&text) < 0;
    table_add(table, strbuf_str(&text));
}

void table_add_count(struct table *table, int64_t n) {
    if (n == 0) {
        table_add(table, "-");
    } else {
        table_addf(table, "%" PRId64, n);
    }
}

void table_add_age(struct table *table, usec_t age) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    if (age == USEC_INFINITY) {
        strbuf_add(&text, "-");
    } else {
        text_add_age(&text, age);
    }
    table->text.failed |= strbuf_error(&text) < 0;
    table_add(table, strbuf_str(&text));
}

static void table_render_cell(struct strbuf *sb, const struct table *table, size_t column, const char *cell,
                              const size_t *widths) {
    size_t width = text_width(cell, strlen(cell));
    int pad = (int)(widths[column] - width);
    bool last = column + 1 == table->n_columns;

    strbuf_add(sb, "  ");
    if (table->columns[column].right) {
        strbuf_addf(sb, "%*s%s", pad, "", cell);
    } else {
        strbuf_addf(sb, "%s%*s", cell, last ? 0 : pad, "");
    }
}

int table_render(const struct table *table, bool colour, struct strbuf *sb) {
    size_t widths[TABLE_MAX_COLUMNS];
    const char *cell = strbuf_str(&table->text);

    if (strbuf_error(&table->text) < 0) {
        return strbuf_error(&table->text);
    }
    assert(table->n_cells % table->n_columns == 0);
    for (size_t i = 0; i < table->n_columns; i++) {
        widths[i] = strlen(table->columns[i].title);
    }
    for (size_t i = 0; i < table->n_cells; i++, cell += strlen(cell) + 1) {
        size_t *width = &widths[i % table->n_columns];
        *width = MAX(*width, text_width(cell, strlen(cell)));
    }

    strbuf_add(sb, colour ? TABLE_BOLD : "");
    for (size_t i = 0; i < table->n_columns; i++) {
        table_render_cell(sb, table, i, table->columns[i].title, widths);
    }
    strbuf_add(sb, colour ? TABLE_PLAIN "\n" : "\n");
    cell = strbuf_str(&table->text);
    for (size_t i = 0; i < table->n_cells; i++, cell += strlen(cell) + 1) {
        table_render_cell(sb, table, i % table->n_columns, cell, widths);
        if ((i + 1) % table->n_columns == 0) {
            strbuf_add_char(sb, '\n');
        }
    }
    return strbuf_error(sb);
}
