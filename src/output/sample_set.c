// SPDX-License-Identifier: PostgreSQL
#include "sample_set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/array.h"
#include "util/escape.h"

#define SAMPLE_REPLACEMENT "\xef\xbf\xbd" // U+FFFD

void sample_set_deinit(struct sample_set *set) {
    strbuf_deinit(&set->text);
    free(set->items);
    *set = (struct sample_set){0};
}

void sample_set_clear(struct sample_set *set) {
    strbuf_clear(&set->text);
    set->n_items = 0;
    set->failed = false;
}

// Length of what needs no second look, at s: most names, all of it.
static size_t sample_plain_len(const char *s, size_t n) {
    size_t len = 0;
    while (len < n && s[len] >= ' ' && s[len] < 0x7f && s[len] != '"' && s[len] != '\\') {
        len++;
    }
    return len;
}

static void sample_add_value(struct strbuf *sb, const char *value) {
    for (size_t n = strlen(value); n > 0;) {
        size_t plain = sample_plain_len(value, n);
        strbuf_add_bytes(sb, value, plain);
        value += plain;
        n -= plain;
        if (n == 0) {
            break;
        }
        unsigned code = 0;
        size_t len = utf8_decode(value, n, &code);
        if (code == '\\' || code == '"') {
            strbuf_add_char(sb, '\\');
            strbuf_add_char(sb, *value);
        } else if (code == '\n') {
            strbuf_add(sb, "\\n");
        } else if (len > 0 && escape_is_plain(code)) {
            strbuf_add_bytes(sb, value, len);
        } else {
            strbuf_add(sb, SAMPLE_REPLACEMENT);
        }
        value += MAX(len, (size_t)1);
        n -= MAX(len, (size_t)1);
    }
}

void sample_add_labels(struct strbuf *sb, const struct sample_label *labels, size_t n_labels) {
    for (size_t i = 0; i < n_labels; i++) {
        strbuf_add(sb, i > 0 ? "," : "");
        strbuf_add(sb, labels[i].name);
        strbuf_add(sb, "=\"");
        sample_add_value(sb, labels[i].value ? labels[i].value : "");
        strbuf_add_char(sb, '"');
    }
}

void sample_add(struct sample_set *set, const struct sample_label *labels, size_t n_labels, int64_t value) {
    size_t at = set->text.len;
    if (ARRAY_RESERVE(set->items, set->capacity, set->n_items) < 0) {
        set->failed = true;
        return;
    }
    sample_add_labels(&set->text, labels, n_labels);
    set->items[set->n_items++] = (struct sample){at, set->text.len - at, value};
}

static int sample_compare_text(const char *text, const struct sample *a, const struct sample *b) {
    int c = memcmp(text + a->at, text + b->at, MIN(a->len, b->len));
    return c ? c : (a->len > b->len) - (a->len < b->len);
}

static int sample_compare(const void *a, const void *b, void *text) {
    return sample_compare_text(text, a, b);
}

int sample_set_finish(struct sample_set *set, enum sample_merge merge) {
    size_t n = 0;
    if (set->failed || strbuf_error(&set->text) < 0) {
        return -ENOMEM;
    }
    if (set->n_items > 1) {
        qsort_r(set->items, set->n_items, sizeof(*set->items), sample_compare, set->text.data);
    }
    for (size_t i = 0; i < set->n_items; i++) {
        const struct sample *sample = &set->items[i];
        struct sample *last = n > 0 ? &set->items[n - 1] : NULL;
        if (!last || sample_compare_text(set->text.data, last, sample) != 0) {
            set->items[n++] = *sample;
        } else if (merge == SAMPLE_SUM) {
            last->value += sample->value;
        } else {
            last->value = MAX(last->value, sample->value);
        }
    }
    set->n_items = n;
    return 0;
}
