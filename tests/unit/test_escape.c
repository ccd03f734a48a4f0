// SPDX-License-Identifier: PostgreSQL
#include "util/escape.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "support/check.h"
#include "support/oom.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

// The encoder that the decoder is tested against; also makes what is no character (surrogates, beyond the last).
static size_t encode(unsigned code, char *s) {
    if (code < 0x80) {
        s[0] = (char)code;
        return 1;
    }
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--) {
        s[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    s[0] = (char)((0xf00u >> len & 0xff) | code);
    return len;
}

static void decodes_every_character(void) {
    for (unsigned code = 0; code < 0x120000; code++) {
        char s[4];
        size_t len = encode(code, s);
        unsigned got = 0;
        bool valid = code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
        check_context("U+%04X", code);
        CHECK_EQ(utf8_decode(s, len, &got), valid ? len : 0);
        CHECK_EQ(got, valid ? code : 0);
        CHECK_EQ(utf8_decode(s, len - 1, &got), 0); // cut
    }
}

static void refuses_overlong(void) {
    static const char *const bad[] = {
        "\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xe0\x9f\xbf", "\xf0\x8f\xbf\xbf", "\xf8\x88\x80\x80\x80",
        "\xfe", "\xff", "\xc3(",    "\xe2\x82("};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        unsigned code;
        check_context("number %zu", i);
        CHECK_EQ(utf8_decode(bad[i], strlen(bad[i]), &code), 0);
    }
}

static void check_text(const char *s, const char *wanted) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    escape_text(&sb, s);
    CHECK_STR(strbuf_str(&sb), wanted);
}

static void escapes(void) {
    check_text("", "");
    check_text("plain text, \"quoted\" %s %n 100%", "plain text, \"quoted\" %s %n 100%");
    check_text("a\nb\rc\td\\e", "a\\nb\\rc\\td\\\\e");
    check_text("\x1b[2J\x07\x7f", "\\x1b[2J\\x07\\x7f");
    check_text("gr\xc3\xbc\xc3\x9f \xe6\x97\xa5 \xf0\x9f\x98\x80", "gr\xc3\xbc\xc3\x9f \xe6\x97\xa5 \xf0\x9f\x98\x80");
    check_text("\xff\xc3(", "\\xff\\xc3(");
    check_text("\xc2\x85", "\\xc2\\x85");                         // NEL, a C1 control
    check_text("\xe2\x80\xa8\xe2\x80\xa9", "\\u{2028}\\u{2029}"); // line and paragraph separators
    check_text("\xe2\x80\xae"
               "evil",
               "\\u{202E}evil");
    check_text("\xe2\x81\xa6\xe2\x81\xa9", "\\u{2066}\\u{2069}");
    check_text("a\xe2\x80\x8b"
               "b\xef\xbb\xbf",
               "a\\u{200B}b\\u{FEFF}");
    check_text("\xf3\xa0\x81\x81", "\\u{E0041}");  // a tag character
    check_text("\xed\xa0\x80", "\\xed\\xa0\\x80"); // a surrogate is no character
}

static void escapes_nul_bytes(void) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    escape_text_bytes(&sb, "a\0b", 3);
    CHECK_STR(strbuf_str(&sb), "a\\x00b");
}

static void quotes(void) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    escape_quoted(&sb, "say \"hi\"\\\n");
    CHECK_STR(strbuf_str(&sb), "\"say \\\"hi\\\"\\\\\\n\"");
    strbuf_clear(&sb);
    escape_quoted(&sb, "");
    CHECK_STR(strbuf_str(&sb), "\"\"");
}

// Nothing that leaves may hold a control character, be invalid, or reorder text.
static void check_safe(const char *s, size_t n) {
    for (size_t i = 0; i < n;) {
        unsigned code = 0;
        size_t len = utf8_decode(s + i, n - i, &code);
        CHECK_GT(len, 0);
        CHECK_GE(code, 0x20u);
        CHECK(code < 0x7f || code > 0x9f);
        CHECK(code < 0x200b || code > 0x200f);
        CHECK(code < 0x2028 || code > 0x202e);
        CHECK(code < 0x2060 || code > 0x206f);
        i += len;
    }
}

// What escape_text() wrote, read back: proof that two texts never look the same.
static void unescape(const char *s, struct strbuf *sb) {
    while (*s) {
        unsigned code;
        char bytes[4];
        if (*s != '\\') {
            strbuf_add_char(sb, *s++);
        } else if (sscanf(s, "\\x%2x", &code) == 1) {
            strbuf_add_char(sb, (char)code);
            s += 4;
        } else if (sscanf(s, "\\u{%X}", &code) == 1) {
            strbuf_add_bytes(sb, bytes, encode(code, bytes));
            s = strchr(s, '}') + 1;
        } else {
            strbuf_add_char(sb, s[1] == 'n' ? '\n' : s[1] == 'r' ? '\r' : s[1] == 't' ? '\t' : s[1]);
            s += 2;
        }
    }
}

static void every_pair_of_bytes_is_safe_and_comes_back(void) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY, back = STRBUF_EMPTY;
    for (unsigned pair = 0; pair < 0x10000; pair++) {
        const char s[2] = {(char)(pair >> 8), (char)(pair & 0xff)};
        check_context("bytes %04x", pair);
        strbuf_clear(&sb);
        strbuf_clear(&back);
        escape_text_bytes(&sb, s, sizeof(s));
        check_safe(strbuf_str(&sb), sb.len);
        unescape(strbuf_str(&sb), &back);
        CHECK_MEM(back.data, back.len, s, sizeof(s));
    }
}

static void every_character_is_safe_and_comes_back(void) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY, back = STRBUF_EMPTY;
    for (unsigned code = 0x80; code < 0x120000; code++) {
        char s[4];
        size_t len = encode(code, s);
        check_context("U+%04X", code);
        strbuf_clear(&sb);
        strbuf_clear(&back);
        escape_text_bytes(&sb, s, len);
        check_safe(strbuf_str(&sb), sb.len);
        unescape(strbuf_str(&sb), &back);
        CHECK_MEM(back.data, back.len, s, len);
    }
}

static void makes_utf8(void) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    escape_to_utf8(&sb, "a\n\xff\xc3(\xc3\xbc\xed\xa0\x80\"");
    CHECK_STR(strbuf_str(&sb), "a\n\xef\xbf\xbd\xef\xbf\xbd(\xc3\xbc\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

static int escape_much(void *userdata) {
    (void)userdata;
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    for (int i = 0; i < 20; i++) {
        escape_quoted(&sb, "\n\xff\xe2\x80\xae plain \"\\");
        escape_to_utf8(&sb, "\xff plain");
    }
    return strbuf_error(&sb);
}

static void survives_oom(void) {
    oom_sweep(escape_much, NULL);
}

CHECK_MAIN({"decodes_every_character", decodes_every_character}, {"refuses_overlong", refuses_overlong},
           {"escapes", escapes}, {"escapes_nul_bytes", escapes_nul_bytes}, {"quotes", quotes},
           {"every_pair_of_bytes_is_safe_and_comes_back", every_pair_of_bytes_is_safe_and_comes_back},
           {"every_character_is_safe_and_comes_back", every_character_is_safe_and_comes_back},
           {"makes_utf8", makes_utf8}, {"survives_oom", survives_oom})
