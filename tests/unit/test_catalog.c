// SPDX-License-Identifier: PostgreSQL

// The message catalog has an entry for each kind of event, and no other; each says what to do next, and shows no field
// that a client can write to, as journalctl -x prints fields raw.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output/encode.h"
#include "support/check.h"
#include "util/cleanup.h"
#include "util/fd.h"
#include "util/strbuf.h"

#define CATALOG_MAX 262144
#define LINE_MAX_WIDTH 90

// Names from the configuration, words and numbers of our own.
static const char *const plain_fields[] = {
    "PGVIGIL_TARGET",   "PGVIGIL_RULE", "PGVIGIL_ALARM",  "PGVIGIL_REASON", "PGVIGIL_OUTCOME",
    "PGVIGIL_SEVERITY", "PGVIGIL_USED", "PGVIGIL_USABLE", "PGVIGIL_COUNT",
};

struct catalog {
    char *text; // owned
};

static void catalog_open(struct catalog *catalog) {
    size_t len;
    CHECK_EQ(fd_read_file(PGVIGIL_CATALOG, CATALOG_MAX, &catalog->text, &len), 0);
    CHECK_EQ(strlen(catalog->text), len);
}

static void catalog_close(struct catalog *catalog) {
    free(catalog->text);
}

// The text after "-- ID\n", to the next entry. NULL: there is none.
static const char *catalog_find(const struct catalog *catalog, const char *id, size_t *ret_len) {
    char head[64];
    (void)snprintf(head, sizeof(head), "\n-- %s\n", id);
    const char *at = strstr(catalog->text, head);
    if (!at) {
        return NULL;
    }
    at += strlen(head);
    CHECK_NULL(strstr(at, head)); // once
    const char *end = strstr(at, "\n-- ");
    *ret_len = end ? (size_t)(end - at) : strlen(at);
    return at;
}

static void each_kind_is_explained(void) {
    CLEANUP(catalog_close) struct catalog catalog = {0};
    catalog_open(&catalog);
    for (unsigned i = 0; i < N_EVENT_KINDS; i++) {
        enum event_kind kind = (enum event_kind)i;
        size_t len = 0;
        check_context("kind %s, add an entry to systemd/pgvigil.catalog", event_kind_to_string(kind));
        const char *found = catalog_find(&catalog, journal_message_id(kind), &len);
        CHECK_NOT_NULL(found);
        CLEANUP(freep) char *entry = strndup(found, len);
        CLEANUP(strbuf_deinit) struct strbuf query = STRBUF_EMPTY;
        strbuf_addf(&query, "\nAll of them: journalctl -u pgvigil PGVIGIL_EVENT=%s", event_kind_to_string(kind));
        CHECK_EQ(strncmp(entry, "Subject: ", 9), 0);
        CHECK_CONTAINS(entry, "\nDefined-By: pgvigil\n");
        CHECK_CONTAINS(entry, "\nDocumentation: man:");
        // The entry of that very kind.
        CHECK_CONTAINS(entry, strbuf_str(&query));
        CHECK_GT(len, 300);
    }
}

static void each_entry_is_of_a_kind(void) {
    CLEANUP(catalog_close) struct catalog catalog = {0};
    catalog_open(&catalog);
    unsigned n = 0;
    for (const char *at = strstr(catalog.text, "\n-- "); at; at = strstr(at + 1, "\n-- ")) {
        bool is_known = false;
        check_context("entry %.32s", at + 4);
        for (unsigned i = 0; i < N_EVENT_KINDS; i++) {
            is_known = is_known || strncmp(at + 4, journal_message_id((enum event_kind)i), 32) == 0;
        }
        CHECK(is_known);
        n++;
    }
    CHECK_EQ(n, N_EVENT_KINDS);
}

static void no_field_of_a_client_is_shown(void) {
    CLEANUP(catalog_close) struct catalog catalog = {0};
    catalog_open(&catalog);
    for (const char *at = strchr(strstr(catalog.text, "\n-- "), '@'); at; at = strchr(at, '@')) {
        size_t len = strcspn(++at, "@");
        bool is_plain = false;
        check_context("field %.*s", (int)len, at);
        for (size_t i = 0; i < ARRAY_SIZE(plain_fields); i++) {
            is_plain = is_plain || (strlen(plain_fields[i]) == len && memcmp(plain_fields[i], at, len) == 0);
        }
        CHECK(is_plain);
        at += len + 1;
    }
}

static void lines_fit_a_terminal(void) {
    CLEANUP(catalog_close) struct catalog catalog = {0};
    catalog_open(&catalog);
    const char *at = strstr(catalog.text, "\n-- ");
    CHECK_NOT_NULL(at);
    while (at && *at) {
        size_t len = strcspn(at, "\n");
        char line[LINE_MAX_WIDTH + 2] = "";
        strncat(line, at, MIN(len, sizeof(line) - 1));
        check_context("line %s", line);
        CHECK_LE(len, LINE_MAX_WIDTH);
        at += len + (at[len] == '\n');
    }
}

CHECK_MAIN({"each_kind_is_explained", each_kind_is_explained}, {"each_entry_is_of_a_kind", each_entry_is_of_a_kind},
           {"no_field_of_a_client_is_shown", no_field_of_a_client_is_shown},
           {"lines_fit_a_terminal", lines_fit_a_terminal})
