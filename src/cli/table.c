// SPDX-License-Identifier: PostgreSQL
#include "table.h"

#include <assert.h>
#include <inttypes.h>
#include <locale.h>
#include <stdarg.h>
#include <string.h>
#include <wchar.h>

#include "util/cleanup.h"
#include "util/escape.h"

#define TABLE_ELLIPSIS "..."
#define TABLE_MIN_CUT 8 // columns that are left of a cell, however narrow the screen
#define TABLE_GAP "  "
#define TABLE_BOLD "\033[1m"
#define TABLE_PLAIN "\033[0m"

// For where there is no C.UTF-8 locale, and for what it does not know yet: the ranges that matter for names, after
// Unicode's EastAsianWidth.txt (W, F) and its combining blocks. Sorted.
static const struct {
    unsigned first, last;
    unsigned width;
} table_widths[] = {
    {0x0300, 0x036f, 0}, {0x0483, 0x0489, 0},   {0x0591, 0x05bd, 0},   {0x064b, 0x065f, 0},   {0x1100, 0x115f, 2},
    {0x1ab0, 0x1aff, 0}, {0x1dc0, 0x1dff, 0},   {0x20d0, 0x20ff, 0},   {0x2e80, 0x303e, 2},   {0x3041, 0xa4cf, 2},
    {0xac00, 0xd7a3, 2}, {0xf900, 0xfaff, 2},   {0xfe20, 0xfe2f, 0},   {0xfe30, 0xfe6f, 2},   {0xff00, 0xff60, 2},
    {0xffe0, 0xffe6, 2}, {0x1f300, 0x1f64f, 2}, {0x1f680, 0x1f6ff, 2}, {0x1f900, 0x1faff, 2}, {0x20000, 0x3fffd, 2},
};

// The user's own locale is of no use: over ssh, in sudo and in containers it is often "C", of a terminal that shows
// UTF-8.
static bool text_ask_locale(unsigned code, size_t *ret) {
    static locale_t utf8;
    static bool was_tried;

    if (!was_tried) {
        was_tried = true;
        utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    }
    if (!utf8) {
        return false;
    }
    locale_t before = uselocale(utf8);
    int width = wcwidth((wchar_t)code);
    (void)uselocale(before);
    if (width >= 0) {
        *ret = (size_t)width;
    }
    return width >= 0;
}

static size_t text_width_of(unsigned code) {
    size_t width;

    if (code < 0x80) {
        return 1;
    }
    if (text_ask_locale(code, &width)) {
        return width;
    }
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

void text_add_cut(struct strbuf *sb, const char *s, size_t len, size_t max) {
    size_t width;
    size_t fits = text_fit(s, len, max, &width);

    if (fits == len) {
        strbuf_add_bytes(sb, s, len);
        return;
    }
    fits = text_fit(s, len, max - MIN(max, strlen(TABLE_ELLIPSIS)), &width);
    strbuf_add_bytes(sb, s, fits);
    strbuf_add(sb, TABLE_ELLIPSIS);
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
    text_add_cut(&table->text, text, strlen(text), TABLE_MAX_WIDTH);
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
    size_t start = sb->len + strlen(TABLE_GAP), width = text_width(cell, strlen(cell));
    bool last = column + 1 == table->n_columns;

    strbuf_add(sb, TABLE_GAP);
    if (table->columns[column].right) {
        strbuf_addf(sb, "%*s%s", (int)(widths[column] - width), "", cell);
        return;
    }
    text_add_cut(sb, cell, strlen(cell), widths[column]);
    if (!last && strbuf_error(sb) == 0) {
        width = text_width(strbuf_str(sb) + start, sb->len - start);
        strbuf_addf(sb, "%*s", (int)(widths[column] - MIN(width, widths[column])), "");
    }
}

// Takes from the widest free text first, so that short names stay whole beside a long one.
static void table_shrink(const struct table *table, size_t max, size_t *widths) {
    size_t total = 0;

    for (size_t i = 0; i < table->n_columns; i++) {
        total += widths[i] + strlen(TABLE_GAP);
    }
    for (; total > max; total--) {
        size_t *widest = NULL;
        for (size_t i = 0; i < table->n_columns; i++) {
            if (table->columns[i].cuts && widths[i] > TABLE_MIN_CUT && (!widest || widths[i] > *widest)) {
                widest = &widths[i];
            }
        }
        if (!widest) {
            return;
        }
        (*widest)--;
    }
}

int table_render(const struct table *table, const struct screen *screen, struct strbuf *sb) {
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

    if (screen->width > 0) {
        table_shrink(table, screen->width, widths);
    }
    strbuf_add(sb, screen->colour ? TABLE_BOLD : "");
    for (size_t i = 0; i < table->n_columns; i++) {
        table_render_cell(sb, table, i, table->columns[i].title, widths);
    }
    strbuf_add(sb, screen->colour ? TABLE_PLAIN "\n" : "\n");
    cell = strbuf_str(&table->text);
    for (size_t i = 0; i < table->n_cells; i++, cell += strlen(cell) + 1) {
        table_render_cell(sb, table, i % table->n_columns, cell, widths);
        if ((i + 1) % table->n_columns == 0) {
            strbuf_add_char(sb, '\n');
        }
    }
    return strbuf_error(sb);
}
