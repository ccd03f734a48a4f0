// SPDX-License-Identifier: PostgreSQL
#pragma once

// What an operator has paused: everything, single targets, single rules, each until a time. Ends them when it is over,
// says so, and remembers them in a file over a restart.

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/loop.h"
#include "daemon/pause_range.h"
#include "daemon/sinks.h"
#include "pause_file.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

struct pauses {
    struct loop_timer *timer;
    struct sinks *sinks;
    void (*changed)(void *userdata, usec_t now); // something began or ended
    void *userdata;
    char *path; // of the file; NULL: nothing is remembered
    struct pause items[PAUSE_MAX];
    size_t n_items;
    uint64_t version; // another whenever something changes
};

struct pauses *pauses_new(struct loop *loop, struct sinks *sinks, void (*changed)(void *userdata, usec_t now),
                          void *userdata);         // NULL: out of memory
struct pauses *pauses_free(struct pauses *pauses); // NULL-safe, returns NULL
DEFINE_CLEANUP(struct pauses *, pauses_free)

// Where to remember them, and where a run before has done so; NULL: nowhere. Once, before pauses_restore(). 0 or
// -ENOMEM.
int pauses_set_path(struct pauses *pauses, const char *path);
// Remembers them there from now on, and no longer where it was. -errno: it stays as it was.
int pauses_move(struct pauses *pauses, const char *path);
// Takes up what a run before has left. What cannot be read may have been a pause: everything is paused then, for
// PAUSE_DEFAULT, and it is said so.
void pauses_restore(struct pauses *pauses, usec_t now);

// Begins one, or begins it anew. 0; -ENOSPC: there are PAUSE_MAX; -ENOMEM. `warning` is added to when it is in force
// but will not outlive a restart.
int pauses_add(struct pauses *pauses, enum pause_scope scope, const char *name, usec_t duration,
               struct event_asker asker, usec_t now, struct strbuf *warning);
// Ends one. False: there is none such.
bool pauses_remove(struct pauses *pauses, enum pause_scope scope, const char *name, struct event_asker asker,
                   usec_t now);
// Ends those of which `is_known` does not know what they are about.
void pauses_retain(struct pauses *pauses, bool (*is_known)(void *userdata, const struct pause *pause), void *userdata,
                   usec_t now);

// Of one target: everything, or what is paused of its rules. `names`: room for PAUSE_MAX; borrowed until a change.
bool pauses_of(const struct pauses *pauses, const char *target, const char **names, size_t *ret_n);

// "everything", "target db", "rule idle".
void pause_describe(const struct pause *pause, struct strbuf *sb);
void pause_add_time(const struct pause *pause, struct strbuf *sb); // "2026-11-25 12:30:00 UTC", when it ends
