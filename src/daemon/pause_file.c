// SPDX-License-Identifier: PostgreSQL
#include "pause_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/fd.h"
#include "util/macro.h"
#include "util/strbuf.h"

#define PAUSE_FILE_VERSION 1

static const char *const pause_scope_names[] = {[PAUSE_ALL] = "all", [PAUSE_TARGET] = "target", [PAUSE_RULE] = "rule"};
static_assert(ARRAY_SIZE(pause_scope_names) == N_PAUSE_SCOPES, "one name for each scope");

const char *pause_scope_to_string(enum pause_scope scope) {
    return pause_scope_names[scope];
}

// 0, -EBADMSG or -ENOMEM.
static int pause_file_read_item(json_t *value, struct pause *ret) {
    const char *scope = json_string_value(json_object_get(value, "scope"));
    const char *name = json_string_value(json_object_get(value, "name"));
    json_t *until = json_object_get(value, "until");
    unsigned i = 0;
    while (scope && i < N_PAUSE_SCOPES && strcmp(scope, pause_scope_to_string((enum pause_scope)i)) != 0) {
        i++;
    }
    if (!scope || i == N_PAUSE_SCOPES || !name || !json_is_integer(until) || json_integer_value(until) < 0 ||
        (i == PAUSE_ALL) != (*name == '\0')) {
        return -EBADMSG;
    }
    *ret = (struct pause){.scope = (enum pause_scope)i, .until_realtime = (usec_t)json_integer_value(until)};
    ret->name = strdup(name);
    return ret->name ? 0 : -ENOMEM;
}

static int pause_file_read(json_t *root, struct pause *items, size_t *ret_n) {
    json_t *list = json_object_get(root, "pauses");
    size_t n = 0;
    int r = 0;
    if (json_integer_value(json_object_get(root, "version")) != PAUSE_FILE_VERSION || !json_is_array(list) ||
        json_array_size(list) > PAUSE_MAX) {
        return -EBADMSG;
    }
    while (r == 0 && n < json_array_size(list)) {
        r = pause_file_read_item(json_array_get(list, n), &items[n]);
        n += r == 0;
    }
    if (r < 0) {
        while (n > 0) {
            free(items[--n].name);
        }
        return r;
    }
    *ret_n = n;
    return 0;
}

int pause_file_load(const char *path, struct pause *items, size_t *ret_n) {
    CLEANUP(freep) char *text = NULL;
    size_t len = 0;
    json_error_t error;
    int r = fd_read_file(path, PAUSE_FILE_MAX, &text, &len);
    *ret_n = 0;
    if (r < 0) {
        return r == -ENOENT ? 0 : r;
    }
    json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &error);
    r = root ? pause_file_read(root, items, ret_n) : -EBADMSG;
    json_decref(root);
    return r;
}

static json_t *pause_file_make(const struct pause *items, size_t n_items) {
    json_t *list = json_array();
    for (size_t i = 0; i < n_items; i++) {
        json_t *item = json_pack("{s:s, s:s, s:I}", "scope", pause_scope_to_string(items[i].scope), "name",
                                 items[i].name, "until", (json_int_t)items[i].until_realtime);
        if (!item || json_array_append_new(list, item) < 0) {
            json_decref(list);
            return NULL;
        }
    }
    return json_pack("{s:i, s:o}", "version", PAUSE_FILE_VERSION, "pauses", list);
}

// Not synced to the disk, as that may take long and the loop waits: what a loss of power leaves of it is read as
// damaged, and that pauses.
static int pause_file_write(const char *path, const char *text) {
    CLEANUP(fd_closep) int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd < 0 ? -errno : fd_write_all(fd, text, strlen(text));
}

int pause_file_save(const char *path, const struct pause *items, size_t n_items) {
    CLEANUP(strbuf_deinit) struct strbuf next = STRBUF_EMPTY;
    CLEANUP(freep) char *text = NULL;
    if (n_items == 0) {
        return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
    }
    json_t *root = pause_file_make(items, n_items);
    text = root ? json_dumps(root, JSON_INDENT(1) | JSON_ENSURE_ASCII) : NULL;
    json_decref(root);
    strbuf_addf(&next, "%s.new", path);
    if (!text || strbuf_error(&next) < 0) {
        return -ENOMEM;
    }
    int r = pause_file_write(strbuf_str(&next), text);
    if (r == 0 && rename(strbuf_str(&next), path) < 0) {
        r = -errno;
    }
    if (r < 0) {
        (void)unlink(strbuf_str(&next));
    }
    return r;
}
