// SPDX-License-Identifier: PostgreSQL
#pragma once

// Text that strangers wrote, made safe for one line of a journal or a terminal.

#include <stdbool.h>
#include <stddef.h>

struct strbuf;

// Appends s with everything that could break a line, move a cursor, reorder or hide text written out: C0 and C1
// controls, DEL, invalid UTF-8 and the backslash as \xNN (\\ for the backslash, \n \r \t by their letters), line and
// paragraph separators, bidirectional controls, zero-width characters and BOM as \u{XXXX}.
void escape_text(struct strbuf *sb, const char *s);
void escape_text_bytes(struct strbuf *sb, const char *s, size_t n);

// The same for text that was escaped when it was made: its backslashes stay as they are.
void escape_printable(struct strbuf *sb, const char *s, size_t n);

// The same between double quotes, with '"' escaped too.
void escape_quoted(struct strbuf *sb, const char *s);

// Appends s as valid UTF-8 for encoders that escape by themselves (JSON): invalid bytes become U+FFFD.
void escape_to_utf8(struct strbuf *sb, const char *s);

// Length of the valid UTF-8 sequence at s (1 to 4), 0 when there is none; *ret_code is its code point.
size_t utf8_decode(const char *s, size_t n, unsigned *ret_code);

// A character that shows itself: no control, and nothing that hides its neighbours or moves them.
bool escape_is_plain(unsigned code);
