// SPDX-License-Identifier: PostgreSQL
#include "pause.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/clock.h"
#include "util/escape.h"
#include "util/macro.h"

#define PAUSE_HINT "pgvigil resume ends it, pgvigil status shows it"

void pause_describe(const struct pause *pause, struct strbuf *sb) {
    strbuf_add(sb, pause->scope == PAUSE_ALL ? "everything" : pause_scope_to_string(pause->scope));
    if (pause->scope != PAUSE_ALL) {
        strbuf_add_char(sb, ' ');
        escape_text(sb, pause->name);
    }
}

void pause_add_time(const struct pause *pause, struct strbuf *sb) {
    time_t seconds = (time_t)(pause->until_realtime / USEC_PER_SEC);
    struct tm tm;
    char text[32];
    if (gmtime_r(&seconds, &tm) && strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S UTC", &tm) > 0) {
        strbuf_add(sb, text);
    }
}

bool pause_range_has(usec_t duration, struct strbuf *why) {
    if (duration >= PAUSE_MIN && duration <= PAUSE_LONGEST) {
        return true;
    }
    strbuf_add(why, "a pause lasts ");
    usec_render_exact(why, PAUSE_MIN);
    strbuf_add(why, " to ");
    usec_render_exact(why, PAUSE_LONGEST);
    strbuf_add(why, " (what is off for longer belongs into the file: enforce: false)");
    return false;
}

// ---- what is said

static void pauses_say(const struct pauses *pauses, enum event_kind kind, enum event_level level,
                       const struct pause *pause, const char *reason, const char *detail, usec_t duration,
                       struct event_asker asker) {
    struct event event = event_make(kind, level, pause->scope == PAUSE_TARGET ? pause->name : NULL);
    event.rule = pause->scope == PAUSE_RULE ? pause->name : NULL;
    event.reason = reason;
    event.detail = detail;
    event.limit = duration;
    event.hint = kind == EVENT_PAUSED ? PAUSE_HINT : NULL;
    event.asker = asker;
    (void)sinks_emit(pauses->sinks, &event);
}

static void pauses_say_begin(const struct pauses *pauses, const struct pause *pause, const char *reason,
                             struct event_asker asker, usec_t now) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    usec_t left = usec_sub(pause->until, now);
    strbuf_add(&detail, "until ");
    pause_add_time(pause, &detail);
    strbuf_addf(&detail, " nothing is ended%s; alarms go on", pause->scope == PAUSE_RULE ? " by it" : "");
    pauses_say(pauses, EVENT_PAUSED, EVENT_NOTICE, pause, reason, strbuf_str(&detail),
               left - left % USEC_PER_SEC + (left % USEC_PER_SEC > 0 ? USEC_PER_SEC : 0), asker);
}

static void pauses_say_end(const struct pauses *pauses, const struct pause *pause, const char *reason,
                           const char *detail, struct event_asker asker) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    if (pause->scope == PAUSE_ALL) {
        strbuf_add(&text, "everything, ");
    }
    strbuf_add(&text, detail);
    pauses_say(pauses, EVENT_RESUMED, EVENT_NOTICE, pause, reason, strbuf_str(&text), USEC_INFINITY, asker);
}

// ---- the list

static struct pause *pauses_find(struct pauses *pauses, enum pause_scope scope, const char *name) {
    for (size_t i = 0; i < pauses->n_items; i++) {
        if (pauses->items[i].scope == scope && strcmp(pauses->items[i].name, name) == 0) {
            return &pauses->items[i];
        }
    }
    return NULL;
}

static void pauses_drop(struct pauses *pauses, struct pause *pause) {
    size_t at = (size_t)(pause - pauses->items);
    free(pause->name);
    pauses->n_items--;
    memmove(pause, pause + 1, (pauses->n_items - at) * sizeof(*pause));
}

static void pauses_changed(struct pauses *pauses, usec_t now) {
    usec_t first = USEC_INFINITY;
    for (size_t i = 0; i < pauses->n_items; i++) {
        first = MIN(first, pauses->items[i].until);
    }
    loop_timer_set(pauses->timer, first);
    pauses->version++;
    pauses->changed(pauses->userdata, now);
}

static int pauses_save(const struct pauses *pauses) {
    return pauses->path ? pause_file_save(pauses->path, pauses->items, pauses->n_items) : 0;
}

static void pauses_on_timer(void *userdata, usec_t now) {
    struct pauses *pauses = userdata;
    for (size_t i = 0; i < pauses->n_items;) {
        struct pause *pause = &pauses->items[i];
        if (pause->until <= now) {
            pauses_say_end(pauses, pause, "expired", "its time is over", EVENT_NOBODY);
            pauses_drop(pauses, pause);
        } else {
            i++;
        }
    }
    (void)pauses_save(pauses); // what is over is over after a restart, too
    pauses_changed(pauses, now);
}

int pauses_add(struct pauses *pauses, enum pause_scope scope, const char *name, usec_t duration,
               struct event_asker asker, usec_t now, struct strbuf *warning) {
    struct pause *pause = pauses_find(pauses, scope, name);
    if (!pause) {
        char *copy = pauses->n_items < PAUSE_MAX ? strdup(name) : NULL;
        if (!copy) {
            return pauses->n_items < PAUSE_MAX ? -ENOMEM : -ENOSPC;
        }
        pause = &pauses->items[pauses->n_items++];
        *pause = (struct pause){.scope = scope, .name = copy};
    }
    pause->until = usec_add(now, duration);
    pause->until_realtime = usec_add(clock_realtime(), duration);
    pauses_say_begin(pauses, pause, "asked", asker, now);
    int r = pauses_save(pauses);
    if (r < 0) {
        strbuf_addf(warning, "it will not outlive a restart of the daemon: %s cannot be written: %s", pauses->path,
                    strerror(-r));
    } else if (!pauses->path) {
        strbuf_add(warning, "it will not outlive a restart of the daemon, which has no state directory");
    }
    pauses_changed(pauses, now);
    return 0;
}

bool pauses_remove(struct pauses *pauses, enum pause_scope scope, const char *name, struct event_asker asker,
                   usec_t now) {
    struct pause *pause = pauses_find(pauses, scope, name);
    if (!pause) {
        return false;
    }
    pauses_say_end(pauses, pause, "asked", "as asked", asker);
    pauses_drop(pauses, pause);
    (void)pauses_save(pauses);
    pauses_changed(pauses, now);
    return true;
}

void pauses_retain(struct pauses *pauses, bool (*is_known)(void *userdata, const struct pause *pause), void *userdata,
                   usec_t now) {
    size_t n_before = pauses->n_items;
    for (size_t i = 0; i < pauses->n_items;) {
        struct pause *pause = &pauses->items[i];
        if (is_known(userdata, pause)) {
            i++;
            continue;
        }
        pauses_say_end(pauses, pause, "gone", "it is no longer in the configuration", EVENT_NOBODY);
        pauses_drop(pauses, pause);
    }
    if (pauses->n_items != n_before) {
        (void)pauses_save(pauses);
        pauses_changed(pauses, now);
    }
}

bool pauses_of(const struct pauses *pauses, const char *target, const char **names, size_t *ret_n) {
    bool all = false;
    *ret_n = 0;
    for (size_t i = 0; i < pauses->n_items; i++) {
        const struct pause *pause = &pauses->items[i];
        switch (pause->scope) {
        case PAUSE_ALL:
            all = true;
            break;
        case PAUSE_TARGET:
            all |= strcmp(pause->name, target) == 0;
            break;
        case PAUSE_RULE:
            names[(*ret_n)++] = pause->name;
            break;
        case N_PAUSE_SCOPES:
            break;
        }
    }
    return all;
}

// ---- over a restart

static void pauses_pause_for_safety(struct pauses *pauses, int error, usec_t now) {
    CLEANUP(strbuf_deinit) struct strbuf before = STRBUF_EMPTY;
    strbuf_add(&before, "whether something was paused cannot be told, as ");
    escape_text(&before, pauses->path);
    strbuf_addf(&before, " %s%s: ", error == -EBADMSG ? "is damaged" : "cannot be read: ",
                error == -EBADMSG ? "" : strerror(-error));
    struct pause *pause = &pauses->items[0];
    *pause = (struct pause){.scope = PAUSE_ALL, .name = strdup("")};
    pause->until = usec_add(now, PAUSE_DEFAULT);
    pause->until_realtime = usec_add(clock_realtime(), PAUSE_DEFAULT);
    if (!pause->name) {
        return; // at a start without memory for a byte nothing goes on anyway
    }
    pauses->n_items = 1;
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    strbuf_addf(&detail, "%snothing is ended; alarms go on", strbuf_str(&before));
    pauses_say(pauses, EVENT_PAUSED, EVENT_WARNING, pause, "unreadable", strbuf_str(&detail), PAUSE_DEFAULT,
               EVENT_NOBODY);
    (void)pauses_save(pauses);
}

void pauses_restore(struct pauses *pauses, usec_t now) {
    usec_t realtime = clock_realtime();
    if (!pauses->path) {
        return;
    }
    int r = pause_file_load(pauses->path, pauses->items, &pauses->n_items);
    if (r < 0) {
        pauses_pause_for_safety(pauses, r, now);
    }
    for (size_t i = 0; r == 0 && i < pauses->n_items; i++) {
        struct pause *pause = &pauses->items[i];
        // A clock that was set back meanwhile does not make it last for years.
        usec_t left = MIN(usec_sub(pause->until_realtime, realtime), PAUSE_LONGEST);
        pause->until = usec_add(now, left);
        pause->until_realtime = usec_add(realtime, left);
        if (left > 0) {
            pauses_say_begin(pauses, pause, "restored", EVENT_NOBODY, now);
        } // else the timer ends it, and says so
    }
    if (pauses->n_items > 0) {
        pauses_changed(pauses, now);
    }
}

int pauses_set_path(struct pauses *pauses, const char *path) {
    if (pauses->path || !path) {
        return 0;
    }
    pauses->path = strdup(path);
    return pauses->path ? 0 : -ENOMEM;
}

int pauses_move(struct pauses *pauses, const char *path) {
    if (pauses->path && strcmp(pauses->path, path) == 0) {
        return 0;
    }
    CLEANUP(freep) char *next = strdup(path);
    if (!next) {
        return -ENOMEM;
    }
    // Without pauses, too: whatever is there is of a run long before, and must not be taken up by the next.
    int r = pause_file_save(next, pauses->items, pauses->n_items);
    if (r < 0) {
        return r;
    }
    if (pauses->path) {
        (void)pause_file_save(pauses->path, NULL, 0);
    }
    free(pauses->path);
    pauses->path = TAKE_PTR(next);
    return 0;
}

struct pauses *pauses_new(struct loop *loop, struct sinks *sinks, void (*changed)(void *userdata, usec_t now),
                          void *userdata) {
    struct pauses *pauses = calloc(1, sizeof(*pauses));
    if (!pauses) {
        return NULL;
    }
    pauses->sinks = sinks;
    pauses->changed = changed;
    pauses->userdata = userdata;
    pauses->timer = loop_timer_new(loop, pauses_on_timer, pauses);
    return pauses->timer ? pauses : pauses_free(pauses);
}

struct pauses *pauses_free(struct pauses *pauses) {
    if (!pauses) {
        return NULL;
    }
    (void)loop_timer_free(pauses->timer);
    while (pauses->n_items > 0) {
        free(pauses->items[--pauses->n_items].name);
    }
    free(pauses->path);
    free(pauses);
    return NULL;
}
