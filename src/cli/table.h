// SPDX-License-Identifier: PostgreSQL
#pragma once

// Aligned columns for people. Cells are text that is safe for a terminal already (escape_text()).

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/macro.h"
#include "util/strbuf.h"
#include "util/usec.h"

// Where it is shown.
struct screen {
    bool colour;
    size_t width; // in columns; 0: as wide as it takes
};

#define TABLE_MAX_COLUMNS 12
#define TABLE_MAX_WIDTH 40 // of one cell; longer text is cut, and ends with "..."

struct table_column {
    const char *title;
    bool right; // numbers
    bool cuts;  // free text: cut, and ended by "...", where the screen is too narrow for all of it
};

struct table {
    const struct table_column *columns; // borrowed
    size_t n_columns;
    struct strbuf text; // the cells, each ended by NUL, row by row
    size_t n_cells;
};

void table_init(struct table *table, const struct table_column *columns, size_t n_columns);
void table_deinit(struct table *table); // also for CLEANUP()

// The next cell, left to right; rows begin by themselves. Running out of memory is told by table_render().
void table_add(struct table *table, const char *text);
void table_addf(struct table *table, const char *format, ...) PRINTF_LIKE(2, 3);
void table_add_count(struct table *table, int64_t n); // 0 as "-"
void table_add_age(struct table *table, usec_t age);  // "1h 5min"; USEC_INFINITY as "-"

// Appends titles and rows, each indented by two; titles in bold in colour. The last row must be full. 0 or -ENOMEM.
int table_render(const struct table *table, const struct screen *screen, struct strbuf *sb) MUST_CHECK;

// Columns that a terminal shows it in: wide East Asian characters and emoji take two, combining ones none.
size_t text_width(const char *s, size_t len);

// Appends s, or of a longer one as much as fits into `max` columns with "..." behind it.
void text_add_cut(struct strbuf *sb, const char *s, size_t len, size_t max);

// An age for people, the two largest units: "4.2s", "59s", "5min 3s", "3h 20min", "12d 4h".
void text_add_age(struct strbuf *sb, usec_t age);
