// SPDX-License-Identifier: PostgreSQL
#include "util/escape.h"

#include <string.h>

#include "util/macro.h"
#include "util/strbuf.h"

// Characters without a shape of their own, or that change how their neighbours are shown. Sorted.
static const struct {
    unsigned first, last;
} escape_ranges[] = {
    {0x00ad, 0x00ad},   // soft hyphen
    {0x034f, 0x034f},   // combining grapheme joiner
    {0x061c, 0x061c},   // Arabic letter mark
    {0x115f, 0x1160},   // Hangul fillers
    {0x17b4, 0x17b5},   // Khmer inherent vowels
    {0x180b, 0x180f},   // Mongolian variation selectors and vowel separator
    {0x200b, 0x200f},   // zero width, direction marks
    {0x2028, 0x202e},   // line and paragraph separators, direction embeddings and overrides
    {0x2060, 0x206f},   // word joiner, invisible operators, direction isolates
    {0x3164, 0x3164},   // Hangul filler
    {0xfe00, 0xfe0f},   // variation selectors
    {0xfeff, 0xfeff},   // byte order mark
    {0xffa0, 0xffa0},   // halfwidth Hangul filler
    {0xfff0, 0xfffb},   // interlinear annotation
    {0xe0000, 0xe0fff}, // tags, more variation selectors
};

static bool escape_is_special(unsigned code) {
    for (size_t i = 0; i < ARRAY_SIZE(escape_ranges) && escape_ranges[i].first <= code; i++) {
        if (code <= escape_ranges[i].last) {
            return true;
        }
    }
    return false;
}

static bool escape_is_control(unsigned code) {
    return code < 0x20 || (code >= 0x7f && code <= 0x9f);
}

bool escape_is_plain(unsigned code) {
    return !escape_is_control(code) && !escape_is_special(code);
}

size_t utf8_decode(const char *s, size_t n, unsigned *ret_code) {
    static const unsigned smallest[] = {0, 0, 0x80, 0x800, 0x10000}; // by length: what is below is overlong
    if (n == 0) {
        return 0;
    }
    unsigned first = (unsigned char)s[0];
    if (first < 0x80) {
        *ret_code = first;
        return 1;
    }
    size_t len = first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf8 ? 4 : 0;
    if (len == 0 || len > n) {
        return 0;
    }
    unsigned code = first & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        unsigned c = (unsigned char)s[i];
        if ((c & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (c & 0x3f);
    }
    if (code < smallest[len] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff)) {
        return 0;
    }
    *ret_code = code;
    return len;
}

// One byte as itself, by its letter, or as \xNN. Never called for a byte that is part of a shown multi-byte character.
static void escape_byte(struct strbuf *sb, unsigned char c, bool quoted) {
    switch (c) {
    case '\n':
        strbuf_add(sb, "\\n");
        break;
    case '\r':
        strbuf_add(sb, "\\r");
        break;
    case '\t':
        strbuf_add(sb, "\\t");
        break;
    case '\\':
        strbuf_add(sb, "\\\\");
        break;
    case '"':
        strbuf_add(sb, quoted ? "\\\"" : "\"");
        break;
    default:
        if (c >= 0x80 || escape_is_control(c)) {
            strbuf_addf(sb, "\\x%02x", (unsigned)c);
        } else {
            strbuf_add_char(sb, (char)c);
        }
        break;
    }
}

static void escape_bytes(struct strbuf *sb, const char *s, size_t n, bool quoted) {
    for (size_t i = 0; i < n;) {
        unsigned code;
        size_t len = utf8_decode(s + i, n - i, &code);
        if (len > 1 && escape_is_special(code)) {
            strbuf_addf(sb, "\\u{%04X}", code);
        } else if (len > 1 && !escape_is_control(code)) {
            strbuf_add_bytes(sb, s + i, len);
        } else {
            // Byte by byte for C1 controls too: "\x85" alone means that the byte 0x85 stood alone.
            for (size_t j = 0; j < MAX(len, (size_t)1); j++) {
                escape_byte(sb, (unsigned char)s[i + j], quoted);
            }
        }
        i += MAX(len, (size_t)1);
    }
}

void escape_text_bytes(struct strbuf *sb, const char *s, size_t n) {
    escape_bytes(sb, s, n, false);
}

void escape_text(struct strbuf *sb, const char *s) {
    escape_bytes(sb, s, strlen(s), false);
}

void escape_printable(struct strbuf *sb, const char *s, size_t n) {
    while (n > 0) {
        const char *backslash = memchr(s, '\\', n);
        size_t len = backslash ? (size_t)(backslash - s) : n;
        escape_bytes(sb, s, len, false);
        if (backslash) {
            strbuf_add_char(sb, '\\');
            len++;
        }
        s += len;
        n -= len;
    }
}

void escape_quoted(struct strbuf *sb, const char *s) {
    strbuf_add_char(sb, '"');
    escape_bytes(sb, s, strlen(s), true);
    strbuf_add_char(sb, '"');
}

void escape_to_utf8(struct strbuf *sb, const char *s) {
    size_t n = strlen(s);
    for (size_t i = 0; i < n;) {
        unsigned code;
        size_t len = utf8_decode(s + i, n - i, &code);
        if (len > 0) {
            strbuf_add_bytes(sb, s + i, len);
            i += len;
        } else {
            strbuf_add(sb, "\xef\xbf\xbd");
            i++;
        }
    }
}
