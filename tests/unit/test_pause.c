// SPDX-License-Identifier: PostgreSQL
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../src/daemon/pause.h"
#include "daemon/clock.h"
#include "support/check.h"
#include "support/oom.h"
#include "util/fd.h"
#include "util/macro.h"

static char folder[] = "/tmp/pgvigil-pause-XXXXXX";
static char path[sizeof(folder) + 16];

// What was said: "paused asked rule idle", one after the other.
static struct strbuf said;
static unsigned n_changes;

static void on_event(void *userdata, const struct event *event) {
    (void)userdata;
    strbuf_addf(&said, "%s %s %s%s;", event_kind_to_string(event->kind), event->reason, event->target ? "target " : "",
                event->target ? event->target
                : event->rule ? event->rule
                              : "all");
}

static void on_change(void *userdata, usec_t now) {
    (void)userdata;
    (void)now;
    n_changes++;
}

struct world {
    struct loop *loop;
    struct sinks *sinks;
    struct sinks_tap *tap;
    struct pauses *pauses;
};

static void world_init(struct world *world, bool remembers) {
    const char *why;
    const struct sinks_options options = {
        .level = EVENT_ERROR, .format = LOG_FORMAT_TEXT, .fd = -1, .realtime = clock_realtime};
    world->loop = loop_new();
    CHECK_NOT_NULL(world->loop);
    CHECK_EQ(sinks_new(world->loop, &options, &world->sinks, &why), 0);
    world->tap = sinks_tap(world->sinks, on_event, NULL);
    world->pauses = pauses_new(world->loop, world->sinks, on_change, NULL);
    CHECK_NOT_NULL(world->pauses);
    CHECK_EQ(pauses_set_path(world->pauses, remembers ? path : NULL), 0);
    strbuf_clear(&said);
    n_changes = 0;
}

static void world_deinit(struct world *world) {
    (void)pauses_free(world->pauses);
    (void)sinks_untap(world->tap);
    (void)sinks_free(world->sinks);
    (void)loop_free(world->loop);
}

static void write_file(const char *text) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK_GE(fd, 0);
    CHECK_EQ(fd_write_all(fd, text, strlen(text)), 0);
    (void)fd_close(fd);
}

static void add(struct world *world, enum pause_scope scope, const char *name, usec_t duration) {
    CLEANUP(strbuf_deinit) struct strbuf warning = STRBUF_EMPTY;
    CHECK_EQ(
        pauses_add(world->pauses, scope, name, duration, (struct event_asker){1000, 815}, clock_monotonic(), &warning),
        0);
    CHECK_STR(strbuf_str(&warning), "");
}

static void begins_and_ends(void) {
    CLEANUP(world_deinit) struct world world;
    const char *names[PAUSE_MAX];
    size_t n;
    world_init(&world, true);
    add(&world, PAUSE_RULE, "idle", USEC_PER_HOUR);
    add(&world, PAUSE_TARGET, "db", USEC_PER_HOUR);
    CHECK(pauses_of(world.pauses, "db", names, &n));
    CHECK_EQ(n, 1u);
    CHECK_STR(names[0], "idle");
    CHECK(!pauses_of(world.pauses, "other", names, &n));
    add(&world, PAUSE_ALL, "", USEC_PER_HOUR);
    CHECK(pauses_of(world.pauses, "other", names, &n));
    add(&world, PAUSE_RULE, "idle", USEC_PER_MINUTE); // anew, and no second one
    CHECK_EQ(world.pauses->n_items, 3u);
    CHECK(pauses_remove(world.pauses, PAUSE_RULE, "idle", EVENT_NOBODY, clock_monotonic()));
    CHECK(!pauses_remove(world.pauses, PAUSE_RULE, "idle", EVENT_NOBODY, clock_monotonic()));
    CHECK(!pauses_remove(world.pauses, PAUSE_RULE, "db", EVENT_NOBODY, clock_monotonic()));
    CHECK_STR(strbuf_str(&said), "paused asked idle;paused asked target db;paused asked all;paused asked idle;"
                                 "resumed asked idle;");
    CHECK_EQ(n_changes, 5u);
    CHECK(pauses_remove(world.pauses, PAUSE_TARGET, "db", EVENT_NOBODY, clock_monotonic()));
    CHECK_EQ(access(path, F_OK), 0);
    CHECK(pauses_remove(world.pauses, PAUSE_ALL, "", EVENT_NOBODY, clock_monotonic()));
    CHECK_NE(access(path, F_OK), 0); // nothing to remember
}

static void stop_when_empty(void *userdata, usec_t now) {
    struct world *world = userdata;
    (void)now;
    if (world->pauses->n_items == 0) {
        loop_stop(world->loop);
    }
}

static void ends_by_itself(void) {
    CLEANUP(world_deinit) struct world world;
    world_init(&world, true);
    world.pauses->changed = stop_when_empty;
    world.pauses->userdata = &world;
    add(&world, PAUSE_RULE, "idle", 500 * USEC_PER_MSEC);
    add(&world, PAUSE_ALL, "", 10 * USEC_PER_MSEC);
    CHECK_EQ(loop_run(world.loop), 0);
    CHECK_STR(strbuf_str(&said), "paused asked idle;paused asked all;resumed expired all;resumed expired idle;");
    CHECK_NE(access(path, F_OK), 0);
}

static void outlives_a_restart(void) {
    CLEANUP(world_deinit) struct world world;
    struct stat st;
    {
        CLEANUP(world_deinit) struct world before;
        world_init(&before, true);
        add(&before, PAUSE_RULE, "idle", USEC_PER_HOUR);
        add(&before, PAUSE_ALL, "", 2 * USEC_PER_HOUR);
        add(&before, PAUSE_TARGET, "db", USEC_PER_MSEC);
    }
    CHECK_EQ(stat(path, &st), 0);
    CHECK_EQ(st.st_mode & 0777u, 0600u);
    (void)usleep(5000);
    world_init(&world, true);
    world.pauses->changed = on_change;
    pauses_restore(world.pauses, clock_monotonic());
    CHECK_EQ(world.pauses->n_items, 3u); // what is over meanwhile ends, and is told, in a moment
    CHECK_STR(strbuf_str(&said), "paused restored idle;paused restored all;");
    usec_t left = usec_sub(world.pauses->items[0].until, clock_monotonic());
    CHECK(left > USEC_PER_HOUR - USEC_PER_MINUTE && left <= USEC_PER_HOUR);
    CHECK(pauses_remove(world.pauses, PAUSE_RULE, "idle", EVENT_NOBODY, clock_monotonic()));
    CHECK(pauses_remove(world.pauses, PAUSE_ALL, "", EVENT_NOBODY, clock_monotonic()));
    CHECK(pauses_remove(world.pauses, PAUSE_TARGET, "db", EVENT_NOBODY, clock_monotonic()));
}

static void a_clock_set_back_does_not_make_it_last(void) {
    CLEANUP(world_deinit) struct world world;
    write_file("{\"version\":1,\"pauses\":[{\"scope\":\"all\",\"name\":\"\",\"until\":9000000000000000000}]}");
    world_init(&world, true);
    pauses_restore(world.pauses, 1000);
    CHECK_EQ(world.pauses->items[0].until, 1000 + PAUSE_LONGEST);
    CHECK(pauses_remove(world.pauses, PAUSE_ALL, "", EVENT_NOBODY, 1000));
}

// Whether something was paused cannot be told: then it is.
static void damage_pauses(void) {
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{\"version\":2,\"pauses\":[]}",
        "{\"version\":1}",
        "{\"version\":1,\"pauses\":[{}]}",
        "{\"version\":1,\"pauses\":[{\"scope\":\"rule\",\"name\":\"\",\"until\":1}]}",
        "{\"version\":1,\"pauses\":[{\"scope\":\"all\",\"name\":\"x\",\"until\":1}]}",
        "{\"version\":1,\"pauses\":[{\"scope\":\"rule\",\"name\":\"x\",\"until\":-1}]}",
        "{\"version\":1,\"pauses\":[{\"scope\":\"some\",\"name\":\"x\",\"until\":1}]}",
        "{\"version\":1,\"pauses\":[{\"scope\":\"rule\",\"name\":\"x\",\"until\":\"1\"}]}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        CLEANUP(world_deinit) struct world world;
        const char *names[PAUSE_MAX];
        size_t n;
        check_context("%s", texts[i]);
        write_file(texts[i]);
        world_init(&world, true);
        pauses_restore(world.pauses, 1000);
        CHECK(pauses_of(world.pauses, "db", names, &n));
        CHECK_EQ(world.pauses->items[0].until, 1000 + PAUSE_DEFAULT);
        CHECK_STR(strbuf_str(&said), "paused unreadable all;");
        // It is known from now on.
        struct pause items[PAUSE_MAX];
        CHECK_EQ(pause_file_load(path, items, &n), 0);
        CHECK_EQ(n, 1u);
        free(items[0].name);
        CHECK(pauses_remove(world.pauses, PAUSE_ALL, "", EVENT_NOBODY, 1000));
    }
}

static void warns_of_a_folder_that_is_none(void) {
    CLEANUP(world_deinit) struct world world;
    CLEANUP(strbuf_deinit) struct strbuf warning = STRBUF_EMPTY;
    world_init(&world, false);
    CHECK_EQ(pauses_add(world.pauses, PAUSE_ALL, "", USEC_PER_HOUR, EVENT_NOBODY, 1, &warning), 0);
    CHECK_CONTAINS(strbuf_str(&warning), "no state directory");
    CHECK_EQ(pauses_set_path(world.pauses, "/nonexistent/folder/pauses"), 0);
    strbuf_clear(&warning);
    CHECK_EQ(pauses_add(world.pauses, PAUSE_ALL, "", USEC_PER_HOUR, EVENT_NOBODY, 1, &warning), 0);
    CHECK_CONTAINS(strbuf_str(&warning), "will not outlive a restart");
    CHECK_EQ(world.pauses->n_items, 1u); // in force all the same
}

static void is_bounded(void) {
    CLEANUP(world_deinit) struct world world;
    CLEANUP(strbuf_deinit) struct strbuf warning = STRBUF_EMPTY;
    world_init(&world, true);
    for (int i = 0; i < PAUSE_MAX; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "r%d", i);
        add(&world, PAUSE_RULE, name, USEC_PER_HOUR);
    }
    CHECK_EQ(pauses_add(world.pauses, PAUSE_RULE, "more", USEC_PER_HOUR, EVENT_NOBODY, 1, &warning), -ENOSPC);
    add(&world, PAUSE_RULE, "r7", USEC_PER_HOUR);
    CLEANUP(world_deinit) struct world after;
    world_init(&after, true);
    pauses_restore(after.pauses, clock_monotonic());
    CHECK_EQ(after.pauses->n_items, PAUSE_MAX);
    (void)unlink(path);
}

static void follows_to_another_place(void) {
    CLEANUP(world_deinit) struct world world;
    CLEANUP(strbuf_deinit) struct strbuf there = STRBUF_EMPTY, nowhere = STRBUF_EMPTY;
    struct pause items[PAUSE_MAX];
    size_t n;
    strbuf_addf(&there, "%s.there", path);
    strbuf_addf(&nowhere, "%s/none/x", folder);
    world_init(&world, true);
    add(&world, PAUSE_RULE, "idle", USEC_PER_HOUR);
    CHECK_EQ(pauses_move(world.pauses, path), 0);
    CHECK_EQ(access(path, F_OK), 0);
    CHECK_EQ(pauses_move(world.pauses, strbuf_str(&nowhere)), -ENOENT);
    CHECK_EQ(access(path, F_OK), 0);
    CHECK_EQ(pauses_move(world.pauses, strbuf_str(&there)), 0);
    CHECK_NE(access(path, F_OK), 0);
    CHECK_EQ(pause_file_load(strbuf_str(&there), items, &n), 0);
    CHECK_EQ(n, 1u);
    CHECK_STR(items[0].name, "idle");
    free(items[0].name);
    // Without pauses nothing is left there that the next start would take up.
    CHECK_EQ(pause_file_save(path, world.pauses->items, 1), 0);
    CHECK(pauses_remove(world.pauses, PAUSE_RULE, "idle", EVENT_NOBODY, clock_monotonic()));
    CHECK_NE(access(strbuf_str(&there), F_OK), 0);
    CHECK_EQ(pauses_move(world.pauses, path), 0);
    CHECK_NE(access(path, F_OK), 0);
}

static int move_once(void *userdata) {
    struct pauses *pauses = userdata;
    free(pauses->path);
    pauses->path = NULL;
    return pauses_move(pauses, path);
}

static void moves_without_memory(void) {
    CLEANUP(world_deinit) struct world world;
    world_init(&world, false);
    CHECK_EQ(pauses_set_path(world.pauses, "/nowhere/at/all"), 0);
    for (unsigned i = 1; i < 3; i++) {
        oom_arm(i);
        int r = move_once(world.pauses);
        bool fired = oom_disarm();
        CHECK_EQ(r, fired ? -ENOMEM : 0);
    }
}

static bool knows(void *userdata, const struct pause *pause) {
    return strcmp(userdata, pause->name) == 0;
}

static void forgets_what_is_no_more(void) {
    CLEANUP(world_deinit) struct world world;
    static char kept[] = "b";
    world_init(&world, true);
    add(&world, PAUSE_RULE, "a", USEC_PER_HOUR);
    add(&world, PAUSE_TARGET, "b", USEC_PER_HOUR);
    add(&world, PAUSE_RULE, "c", USEC_PER_HOUR);
    strbuf_clear(&said);
    pauses_retain(world.pauses, knows, kept, clock_monotonic());
    CHECK_STR(strbuf_str(&said), "resumed gone a;resumed gone c;");
    CHECK_EQ(world.pauses->n_items, 1u);
    (void)unlink(path);
}

static void cleans_up(void) {
    strbuf_deinit(&said);
    CHECK_EQ(rmdir(folder), 0);
}

int main(int argc, char **argv) {
    static const struct check_case cases[] = {
        {"begins_and_ends", begins_and_ends},
        {"ends_by_itself", ends_by_itself},
        {"outlives_a_restart", outlives_a_restart},
        {"a_clock_set_back_does_not_make_it_last", a_clock_set_back_does_not_make_it_last},
        {"damage_pauses", damage_pauses},
        {"warns_of_a_folder_that_is_none", warns_of_a_folder_that_is_none},
        {"is_bounded", is_bounded},
        {"follows_to_another_place", follows_to_another_place},
        {"moves_without_memory", moves_without_memory},
        {"forgets_what_is_no_more", forgets_what_is_no_more},
        {"cleans_up", cleans_up},
    };
    if (!mkdtemp(folder)) {
        return 1;
    }
    (void)snprintf(path, sizeof(path), "%s/pauses.json", folder);
    return check_main(cases, ARRAY_SIZE(cases), argc, argv);
}
