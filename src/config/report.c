// SPDX-License-Identifier: PostgreSQL

#include "report.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/escape.h"
#include "util/strbuf.h"

#define PATH_MAX_NAME 63
#define PATH_ENDS_WORD " \t=:@,;\"'"

// The first `max` characters of text, in bytes; *ret_cut tells whether there are more. Bytes that are not UTF-8 count
// as one character each.
static size_t report_cut(const char *text, size_t max, bool *ret_cut) {
    size_t len = strlen(text);
    size_t at = 0;
    for (size_t n = 0; n < max && at < len; n++) {
        unsigned code;
        size_t width = utf8_decode(text + at, len - at, &code);
        at += width > 0 ? width : 1;
    }
    *ret_cut = at < len;
    return at;
}

// Where the colon behind a key was forgotten ("{ conninfo=password=...", or "Authorization: Bearer ..." in quotes), the
// key holds the value as well, and that may be a secret: what comes behind the first word is not shown.
static void report_render_path(struct strbuf *sb, const struct path *path) {
    if (path->parent) {
        report_render_path(sb, path->parent);
        strbuf_add_char(sb, '.');
    }
    bool cut;
    size_t len = report_cut(path->name, PATH_MAX_NAME, &cut);
    size_t word = strcspn(path->name, PATH_ENDS_WORD);
    escape_text_bytes(sb, path->name, MIN(len, word));
    if (cut || word < len) {
        strbuf_add(sb, "...");
    }
}

static void report_add(struct diag_list *diags, enum diag_severity severity, struct location at,
                       const struct path *path, const char *format, va_list ap) PRINTF_LIKE(5, 0);
static void report_add(struct diag_list *diags, enum diag_severity severity, struct location at,
                       const struct path *path, const char *format, va_list ap) {
    CLEANUP(strbuf_deinit) struct strbuf where = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    if (path) {
        report_render_path(&where, path);
    }
    strbuf_vaddf(&text, format, ap);
    if (strbuf_error(&where) < 0 || strbuf_error(&text) < 0) {
        diags->failed = true;
    }
    diag_add(diags, severity, at, strbuf_str(&where), "%s", strbuf_str(&text));
}

void report_error(struct diag_list *diags, struct location at, const struct path *path, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    report_add(diags, DIAG_ERROR, at, path, format, ap);
    va_end(ap);
}

void report_warning(struct diag_list *diags, struct location at, const struct path *path, const char *format, ...) {
    va_list ap;
    va_start(ap, format);
    report_add(diags, DIAG_WARNING, at, path, format, ap);
    va_end(ap);
}

struct quoted report_quote(struct diag_list *diags, const char *text) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf head = STRBUF_EMPTY;
    bool cut;
    strbuf_add_bytes(&head, text, report_cut(text, QUOTED_MAX_CHARACTERS, &cut));
    escape_quoted(&sb, strbuf_str(&head));
    if (cut) {
        strbuf_add(&sb, "...");
    }
    struct quoted quoted = {{0}};
    if (strbuf_error(&head) < 0 || strbuf_error(&sb) < 0) {
        diags->failed = true;
        return quoted;
    }
    // The longest escape of a character takes 10 bytes.
    static_assert(sizeof(quoted.text) > QUOTED_MAX_CHARACTERS * 10 + sizeof("\"\"..."), "a quoted value fits");
    memcpy(quoted.text, strbuf_str(&sb), MIN(sb.len, sizeof(quoted.text) - 1));
    return quoted;
}
