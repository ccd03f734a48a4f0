// SPDX-License-Identifier: PostgreSQL

// Any bytes as a configuration file: it loads or is refused with at least one error; messages and print are lines of
// printable text; what is printed loads, and prints as the same again.

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "config/config.h"
#include "util/escape.h"
#include "util/strbuf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *fuzz_lookup(const char *name, void *userdata) {
    (void)userdata;
    switch (name[0]) {
    case 'A':
        return "a value: [x] \"'\n\t# \xc3\xa4 ${B} *";
    case 'E':
        return "";
    case 'B':
        return "\xff not UTF-8";
    default:
        return NULL;
    }
}

// Lines of printable UTF-8.
static void fuzz_check_text(const struct strbuf *sb) {
    for (size_t at = 0; at < sb->len;) {
        unsigned code = 0;
        size_t width = utf8_decode(sb->data + at, sb->len - at, &code);
        assert(width > 0);
        assert(code == '\n' || code >= 0x20);
        assert(code < 0x7f || code > 0x9f);
        at += width;
    }
}

static int fuzz_print(const char *text, size_t len, struct strbuf *out) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(strbuf_deinit) struct strbuf rendered = STRBUF_EMPTY;
    struct config *config = NULL;
    int r = config_load_buffer("fuzz.yaml", text, len, fuzz_lookup, NULL, &diags, &config);
    diag_list_render(&diags, &rendered);
    fuzz_check_text(&rendered);
    assert(r == 0 || (r == -EINVAL && diags.n_errors > 0));
    assert((r == 0) == (config != NULL));
    if (r == 0) {
        assert(diags.n_errors == 0);
        r = config_print(config, out);
        assert(r == 0);
        fuzz_check_text(out);
    }
    config_free(config);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    CLEANUP(strbuf_deinit) struct strbuf first = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf second = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf third = STRBUF_EMPTY;
    if (fuzz_print((const char *)data, size, &first) < 0) {
        return 0;
    }
    // Defaults are written out by the first print, places are stable from the second on. A print is larger than its
    // file (comments), so that one near the limits may pass them.
    if (first.len < 200000 && fuzz_print(first.data, first.len, &second) == 0) {
        int r = fuzz_print(second.data, second.len, &third);
        assert(r == 0);
        assert(second.len == third.len && memcmp(second.data, third.data, second.len) == 0);
    } else {
        assert(first.len >= 200000);
    }
    return 0;
}
