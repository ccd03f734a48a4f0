// SPDX-License-Identifier: PostgreSQL
//
// Most sessions are idle and stay so, and most of what a poll costs us is to be told so again. An idle session that has
// done nothing since the last poll is therefore sent as its pid and state_change alone. Nothing is taken on trust: the
// same pid with the same state_change, to the microsecond, is the same session in the same idleness, as each change of
// what a row shows comes with a command, and each command moves state_change. That holds for a reload of the server's
// settings as well: an idle session takes them in with its next command. A transaction is the exception: messages that
// are no commands (Describe), and what others notify or invalidate, begin one, and whoever has one is sent. Where the
// two polls differ, as after a step of the server's clock, the poll reads everything.
#include "known.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/macro.h"

// Then everything is read all the same.
#define KNOWN_MAX_POLLS 60

struct session_list *session_list_new(size_t max_rows) {
    CLEANUP(session_list_unrefp) struct session_list *list = calloc(1, sizeof(*list));
    if (!list) {
        return NULL;
    }
    list->n_refs = 1;
    list->rows = reallocarray(NULL, MAX(max_rows, 1), sizeof(*list->rows));
    return list->rows ? TAKE_PTR(list) : NULL;
}

struct session_list *session_list_ref(struct session_list *list) {
    if (list) {
        list->n_refs++;
    }
    return list;
}

struct session_list *session_list_unref(struct session_list *list) {
    if (list && --list->n_refs == 0) {
        free(list->rows);
        free(list->names);
        free(list);
    }
    return NULL;
}

int session_list_own_names(struct session_list *list) {
    const char *last = "";
    size_t size = 1;
    for (size_t i = 0; i < list->n_rows; i++) {
        const char *name = list->rows[i].application_name;
        if (name != last && strcmp(name, last) != 0) {
            size += strlen(name) + 1;
            last = name;
        }
    }
    char *p = malloc(size);
    if (!p) {
        return -ENOMEM;
    }
    char *own = p, *end = p + 1;
    *own = '\0';
    last = "";
    for (size_t i = 0; i < list->n_rows; i++) {
        const char *name = list->rows[i].application_name;
        if (name != last && strcmp(name, last) != 0) {
            size_t len = strlen(name) + 1;
            own = memcpy(end, name, len);
            end += len;
            last = name;
        }
        list->rows[i].application_name = own;
    }
    assert((size_t)(end - p) == size);
    free(list->names);
    list->names = p;
    return 0;
}

const struct session_row *session_list_next(const struct session_list *list, size_t *at, int64_t pid) {
    for (size_t i = *at; i < list->n_rows; i++) {
        if (list->rows[i].id.id == pid) {
            *at = i + 1;
            return &list->rows[i];
        }
    }
    return NULL;
}

struct known *known_new(void) {
    return calloc(1, sizeof(struct known));
}

struct known *known_free(struct known *known) {
    if (known) {
        known_forget(known);
    }
    free(known);
    return NULL;
}

void known_forget(struct known *known) {
    known->list = session_list_unref(known->list);
}

void known_note(struct known *known, struct session_list *list, int64_t server_now, bool all) {
    known->n_polls = all ? 0 : known->n_polls + 1;
    session_list_ref(list);
    known->list = session_list_unref(known->list);
    if (known->n_polls >= KNOWN_MAX_POLLS) {
        (void)session_list_unref(list);
        return;
    }
    known->list = list;
    known->mark = server_now;
}
