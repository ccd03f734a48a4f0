// SPDX-License-Identifier: PostgreSQL

#include "config/diag.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/escape.h"
#include "util/strbuf.h"

void diag_list_deinit(struct diag_list *list) {
    for (size_t i = 0; i < list->n_items; i++) {
        free(list->items[i].path);
        free(list->items[i].text);
    }
    free(list->items);
    for (size_t i = 0; i < list->n_files; i++) {
        free(list->files[i]);
    }
    free(list->files);
    *list = (struct diag_list){0};
}

const char *diag_list_add_file(struct diag_list *list, const char *name) {
    char **files = realloc(list->files, (list->n_files + 1) * sizeof(*files));
    if (files) {
        list->files = files;
        files[list->n_files] = strdup(name);
    }
    if (!files || !files[list->n_files]) {
        list->failed = true;
        return NULL;
    }
    return files[list->n_files++];
}

void diag_add(struct diag_list *list, enum diag_severity severity, struct location at, const char *path,
              const char *format, ...) {
    // Counted first: a finding that cannot be kept is a finding all the same.
    if (severity == DIAG_ERROR) {
        list->n_errors++;
    } else {
        list->n_warnings++;
    }
    if (list->n_items == DIAG_MAX) {
        return;
    }
    if (!list->items) {
        list->items = calloc(DIAG_MAX, sizeof(*list->items));
        if (!list->items) {
            list->failed = true;
            return;
        }
    }

    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    va_list ap;
    va_start(ap, format);
    strbuf_vaddf(&text, format, ap);
    va_end(ap);
    struct diag diag = {.severity = severity, .at = at, .path = strdup(path), .text = strbuf_take(&text)};
    if (!diag.path || !diag.text) {
        free(diag.path);
        free(diag.text);
        list->failed = true;
        return;
    }
    list->items[list->n_items++] = diag;
}

static size_t diag_file_rank(const struct diag_list *list, const char *file) {
    size_t i = 0;
    while (i < list->n_files && list->files[i] != file) {
        i++;
    }
    return i;
}

static bool diag_is_before(const struct diag_list *list, const struct diag *a, const struct diag *b) {
    size_t rank_a = diag_file_rank(list, a->at.file);
    size_t rank_b = diag_file_rank(list, b->at.file);
    if (rank_a != rank_b) {
        return rank_a < rank_b;
    }
    if (a->at.line != b->at.line) {
        return a->at.line < b->at.line;
    }
    return a->at.column < b->at.column;
}

// Insertion: the list is short and mostly in order, and findings at one place must keep theirs, which qsort() does not
// promise.
void diag_list_sort(struct diag_list *list) {
    for (size_t i = 1; i < list->n_items; i++) {
        struct diag diag = list->items[i];
        size_t j = i;
        for (; j > 0 && diag_is_before(list, &diag, &list->items[j - 1]); j--) {
            list->items[j] = list->items[j - 1];
        }
        list->items[j] = diag;
    }
}

void diag_list_render(const struct diag_list *list, struct strbuf *sb) {
    for (size_t i = 0; i < list->n_items; i++) {
        const struct diag *diag = &list->items[i];
        escape_text(sb, diag->at.file ? diag->at.file : "");
        if (diag->at.line > 0) {
            strbuf_addf(sb, ":%u:%u", diag->at.line, diag->at.column);
        }
        strbuf_add(sb, diag->severity == DIAG_ERROR ? ": error: " : ": warning: ");
        if (diag->path[0] != '\0') {
            strbuf_addf(sb, "%s: ", diag->path);
        }
        strbuf_addf(sb, "%s\n", diag->text);
    }
    size_t n_all = list->n_errors + list->n_warnings;
    if (n_all > list->n_items) {
        strbuf_addf(sb, "... and %zu more (%zu errors, %zu warnings in all)\n", n_all - list->n_items, list->n_errors,
                    list->n_warnings);
    }
}
