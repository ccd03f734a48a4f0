// SPDX-License-Identifier: PostgreSQL
#include "util/intern.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

// An entry that could not be added leaves the table as it was; `added` in intern_ref() is told.
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(entry) ((entry)->n_refs = 0)
#include <uthash.h>

struct intern_entry {
    UT_hash_handle hh;
    size_t n_refs;
    char string[];
};

struct interner {
    struct intern_entry *entries;
};

struct interner *interner_new(void) {
    return calloc(1, sizeof(struct interner));
}

struct interner *interner_free(struct interner *interner) {
    if (interner) {
        struct intern_entry *entry, *next;
        HASH_ITER(hh, interner->entries, entry, next) {
            HASH_DEL(interner->entries, entry);
            free(entry);
        }
        free(interner);
    }
    return NULL;
}

const char *intern_ref(struct interner *interner, const char *s) {
    size_t len = strlen(s);
    struct intern_entry *entry;
    HASH_FIND(hh, interner->entries, s, len, entry);
    if (entry) {
        entry->n_refs++;
        return entry->string;
    }
    entry = malloc(sizeof(*entry) + len + 1);
    if (!entry) {
        return NULL;
    }
    entry->n_refs = 1;
    memcpy(entry->string, s, len + 1);
    HASH_ADD_KEYPTR(hh, interner->entries, entry->string, len, entry);
    if (entry->n_refs == 0) {
        free(entry);
        return NULL;
    }
    return entry->string;
}

void intern_unref(struct interner *interner, const char *s) {
    if (!s) {
        return;
    }
    struct intern_entry *entry;
    HASH_FIND(hh, interner->entries, s, strlen(s), entry);
    if (entry && --entry->n_refs == 0) {
        HASH_DEL(interner->entries, entry);
        free(entry);
    }
}

size_t interner_count(const struct interner *interner) {
    return HASH_COUNT(interner->entries);
}
