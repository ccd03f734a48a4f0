// SPDX-License-Identifier: PostgreSQL

// What goes over the socket of a service manager, and what happens when it does not read.

#include "../../src/daemon/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../src/daemon/schedule.h"
#include "daemon/clock.h"
#include "support/check.h"
#include "support/oom.h"

// ---- whether the work goes on

static const usec_t now = 100 * USEC_PER_SEC;

static struct vitals make_watching(void) {
    return (struct vitals){.is_started = true,
                           .wake = now + USEC_PER_SEC,
                           .look = USEC_INFINITY,
                           .record = USEC_INFINITY,
                           .dial = USEC_INFINITY,
                           .answer = USEC_INFINITY};
}

static void work_that_goes_on_is_alive(void) {
    struct vitals vitals = make_watching();
    CHECK(vitals_are_good(&vitals, now));
    // In back-off: a server that is down must not have us restarted.
    vitals.wake = now + USEC_PER_DAY;
    CHECK(vitals_are_good(&vitals, now));
    // A poll that takes long has a deadline.
    vitals.awaits_answer = true;
    vitals.answer = now + 15 * USEC_PER_SEC;
    CHECK(vitals_are_good(&vitals, now));
    // For the gate, behind others.
    vitals = make_watching();
    vitals.wake = USEC_INFINITY;
    vitals.is_queued = true;
    CHECK(vitals_are_good(&vitals, now));
    // Before the start and after the end.
    vitals = (struct vitals){.is_started = false};
    CHECK(vitals_are_good(&vitals, now));
}

static void what_is_overdue_is_not_alive(void) {
    struct vitals vitals = make_watching();
    usec_t *const armed[] = {&vitals.wake, &vitals.look, &vitals.record, &vitals.dial, &vitals.answer};
    for (size_t i = 0; i < ARRAY_SIZE(armed); i++) {
        check_context("deadline %zu", i);
        vitals = make_watching();
        *armed[i] = now - VITALS_LATE;
        CHECK(vitals_are_good(&vitals, now));
        *armed[i] = now - VITALS_LATE - 1;
        CHECK(!vitals_are_good(&vitals, now));
    }
}

static void what_nothing_will_move_is_not_alive(void) {
    struct vitals vitals = make_watching();
    vitals.wake = USEC_INFINITY;
    CHECK(!vitals_are_good(&vitals, now));
    // The ticks go on, but an answer is waited for without an end.
    vitals = make_watching();
    vitals.awaits_answer = true;
    CHECK(!vitals_are_good(&vitals, now));
}

// ---- the socket

struct world {
    int fd; // the manager's end
    char directory[64];
    char path[96];
    struct loop *loop;
    struct loop_timer *end;
    struct notify *notify;
    bool is_ready;
    bool is_alive;
    const char *status;
    char got[2048];
};

static bool world_is_ready(void *userdata) {
    return ((struct world *)userdata)->is_ready;
}

static bool world_is_alive(void *userdata, usec_t at) {
    (void)at;
    return ((struct world *)userdata)->is_alive;
}

static void world_describe(void *userdata, usec_t at, struct strbuf *sb) {
    (void)at;
    strbuf_add(sb, ((struct world *)userdata)->status);
}

static void world_end(void *userdata, usec_t at) {
    (void)at;
    loop_stop(((struct world *)userdata)->loop);
}

static void world_listen(struct world *world, bool is_abstract) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(world->directory, sizeof(world->directory), "/tmp/pgvigil-notify-XXXXXX");
    CHECK_NOT_NULL(mkdtemp(world->directory));
    (void)snprintf(world->path, sizeof(world->path), "%s%s/socket", is_abstract ? "@" : "", world->directory);
    size_t len = strlen(world->path);
    memcpy(address.sun_path, world->path, len);
    address.sun_path[0] = is_abstract ? '\0' : '/';
    world->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (is_abstract ? 0 : 1));
    CHECK_EQ(bind(world->fd, (const struct sockaddr *)&address, size), 0);
    CHECK_EQ(setenv("NOTIFY_SOCKET", world->path, 1), 0);
}

// `watchdog`: microseconds as the manager says them; NULL: it has none.
static void world_open(struct world *world, const char *watchdog, bool is_abstract) {
    *world = (struct world){.fd = -1, .is_alive = true, .status = "fine"};
    world_listen(world, is_abstract);
    (void)unsetenv("WATCHDOG_PID");
    CHECK_EQ(watchdog ? setenv("WATCHDOG_USEC", watchdog, 1) : unsetenv("WATCHDOG_USEC"), 0);
    world->loop = loop_new();
    const struct notify_source source = {
        .is_ready = world_is_ready, .is_alive = world_is_alive, .describe = world_describe, .userdata = world};
    world->notify = notify_new(world->loop, &source);
    world->end = loop_timer_new(world->loop, world_end, world);
    CHECK_NOT_NULL(world->notify);
}

static void world_close(struct world *world) {
    (void)notify_free(world->notify);
    (void)loop_timer_free(world->end);
    (void)loop_free(world->loop);
    (void)close(world->fd);
    (void)unlink(world->path);
    (void)rmdir(world->directory);
    (void)unsetenv("NOTIFY_SOCKET");
    (void)unsetenv("WATCHDOG_USEC");
}

static void world_run(struct world *world, usec_t for_long) {
    loop_timer_set(world->end, clock_monotonic() + for_long);
    CHECK_EQ(loop_run(world->loop), 0);
}

// The next datagram; "" when there is none.
static const char *world_read(struct world *world) {
    ssize_t n = recv(world->fd, world->got, sizeof(world->got) - 1, 0);
    world->got[n > 0 ? n : 0] = '\0';
    return world->got;
}

// How many datagrams with that line have come; the others are thrown away.
static unsigned world_count(struct world *world, const char *line) {
    unsigned n = 0;
    while (*world_read(world)) {
        n += strstr(world->got, line) != NULL;
    }
    return n;
}

static void is_ready_when_its_source_is(void) {
    struct world world;
    world_open(&world, NULL, false);
    notify_check(world.notify, clock_monotonic()); // before its time: nothing is known
    notify_start(world.notify, clock_monotonic());
    world_run(&world, 20 * USEC_PER_MSEC);
    CHECK_STR(world_read(&world), "STATUS=fine\n");
    CHECK_STR(world_read(&world), "");
    notify_check(world.notify, clock_monotonic());
    CHECK_STR(world_read(&world), "");
    world.is_ready = true;
    world.status = "better";
    notify_check(world.notify, clock_monotonic());
    CHECK_STR(world_read(&world), "READY=1\nSTATUS=better\n");
    // Once.
    notify_check(world.notify, clock_monotonic());
    CHECK_STR(world_read(&world), "");
    world_close(&world);
}

static void is_ready_at_last(void) {
    struct world world;
    world_open(&world, NULL, true);
    usec_t start = clock_monotonic();
    notify_start(world.notify, start);
    notify_check(world.notify, start + NOTIFY_READY_WITHIN - 1);
    CHECK_STR(world_read(&world), "");
    notify_check(world.notify, start + NOTIFY_READY_WITHIN);
    CHECK_STR(world_read(&world), "READY=1\nSTATUS=fine\n");
    world_close(&world);
}

static void tells_of_a_reload(void) {
    struct world world;
    world_open(&world, NULL, false);
    notify_start(world.notify, clock_monotonic());
    // To a manager that waits for our first READY the second could look like it.
    notify_reloading(world.notify, 1);
    notify_reloaded(world.notify, 2);
    CHECK_STR(world_read(&world), "");
    world.is_ready = true;
    notify_check(world.notify, clock_monotonic());
    CHECK_STR(world_read(&world), "READY=1\nSTATUS=fine\n");
    notify_reloading(world.notify, 123456789);
    CHECK_STR(world_read(&world), "RELOADING=1\nMONOTONIC_USEC=123456789\n");
    world.status = "refused";
    notify_reloaded(world.notify, 123456799);
    CHECK_STR(world_read(&world), "READY=1\nSTATUS=refused\n");
    notify_reloading(world.notify, 223456789);
    (void)world_read(&world);
    notify_reloaded(world.notify, 223456799);
    CHECK_STR(world_read(&world), "READY=1\n");
    notify_stopping(world.notify);
    CHECK_STR(world_read(&world), "STOPPING=1\nSTATUS=stopping\n");
    world_run(&world, 20 * USEC_PER_MSEC);
    CHECK_STR(world_read(&world), "");
    world_close(&world);
}

static void feeds_the_watchdog_of_the_living(void) {
    struct world world;
    world_open(&world, "400000", false);
    notify_start(world.notify, clock_monotonic());
    world_run(&world, 600 * USEC_PER_MSEC);
    CHECK_GE(world_count(&world, "WATCHDOG=1\n"), 3); // each 100 ms; the machine may be busy
    world.is_alive = false;
    world_run(&world, 300 * USEC_PER_MSEC);
    CHECK_EQ(world_count(&world, "WATCHDOG=1\n"), 0);
    world.is_alive = true;
    world_run(&world, 300 * USEC_PER_MSEC);
    CHECK_GE(world_count(&world, "WATCHDOG=1\n"), 1);
    world_close(&world);
    // Nobody asked for it.
    world_open(&world, NULL, false);
    notify_start(world.notify, clock_monotonic());
    world_run(&world, 20 * USEC_PER_MSEC);
    CHECK_EQ(world_count(&world, "WATCHDOG=1\n"), 0);
    world_close(&world);
}

static void a_watchdog_of_another_process_is_not_ours(void) {
    struct world world;
    world_open(&world, "400000", false);
    (void)notify_free(world.notify);
    CHECK_EQ(setenv("WATCHDOG_PID", "1", 1), 0);
    const struct notify_source source = {
        .is_ready = world_is_ready, .is_alive = world_is_alive, .describe = world_describe, .userdata = &world};
    world.notify = notify_new(world.loop, &source);
    notify_start(world.notify, clock_monotonic());
    world_run(&world, 150 * USEC_PER_MSEC);
    CHECK_EQ(world_count(&world, "WATCHDOG=1\n"), 0);
    (void)unsetenv("WATCHDOG_PID");
    world_close(&world);
}

// Its queue is full: we neither wait nor forget.
static void a_manager_that_does_not_read_stops_nobody(void) {
    struct world world;
    world_open(&world, NULL, false);
    notify_start(world.notify, clock_monotonic());
    world.is_ready = true;
    int noise = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, world.path, strlen(world.path) + 1);
    while (sendto(noise, "X=1", 3, MSG_DONTWAIT, (const struct sockaddr *)&address, sizeof(address)) == 3) {
    }
    (void)close(noise);
    usec_t start = clock_monotonic();
    notify_check(world.notify, start);
    notify_reloading(world.notify, start);
    notify_reloaded(world.notify, start);
    CHECK_LT(clock_monotonic() - start, USEC_PER_SEC);
    CHECK_EQ(world_count(&world, "READY=1\n"), 0);
    notify_reloaded(world.notify, start);
    CHECK_STR(world_read(&world), "READY=1\nSTATUS=fine\n");
    world_close(&world);
    // And one that has gone is nothing either.
    world_open(&world, NULL, false);
    (void)unlink(world.path);
    world.is_ready = true;
    notify_start(world.notify, clock_monotonic());
    notify_check(world.notify, clock_monotonic());
    world_run(&world, 20 * USEC_PER_MSEC);
    notify_stopping(world.notify);
    world_close(&world);
}

static void without_a_manager_nothing_happens(void) {
    static const char *const paths[] = {NULL, "", "/", "relative", "vsock:2:1234"};
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        check_context("path %zu", i);
        CHECK_EQ(paths[i] ? setenv("NOTIFY_SOCKET", paths[i], 1) : unsetenv("NOTIFY_SOCKET"), 0);
        struct world world = {.is_ready = true, .status = "fine"};
        const struct notify_source source = {
            .is_ready = world_is_ready, .is_alive = world_is_alive, .describe = world_describe, .userdata = &world};
        world.loop = loop_new();
        world.notify = notify_new(world.loop, &source);
        CHECK_NOT_NULL(world.notify);
        notify_start(world.notify, 1);
        notify_check(world.notify, 2);
        notify_reloading(world.notify, 3);
        notify_reloaded(world.notify, 4);
        notify_stopping(world.notify);
        CHECK_NULL(notify_free(world.notify));
        (void)loop_free(world.loop);
    }
    (void)unsetenv("NOTIFY_SOCKET");
    CHECK_NULL(notify_free(NULL));
}

static int open_and_tell(void *userdata) {
    struct world *world = userdata;
    const struct notify_source source = {
        .is_ready = world_is_ready, .is_alive = world_is_alive, .describe = world_describe, .userdata = world};
    struct notify *notify = notify_new(world->loop, &source);
    if (!notify) {
        return -ENOMEM;
    }
    notify_start(notify, clock_monotonic());
    notify_check(notify, clock_monotonic());
    // What found no memory for is said later.
    bool is_told = strcmp(world_read(world), "READY=1\nSTATUS=fine\n") == 0;
    (void)notify_free(notify);
    return is_told ? 0 : -ENOMEM;
}

static void survives_oom(void) {
    struct world world;
    world_open(&world, NULL, false);
    world.is_ready = true;
    CHECK_EQ(open_and_tell(&world), 0); // what the loop keeps for its timers stays with it
    oom_sweep(open_and_tell, &world);
    world_close(&world);
}

CHECK_MAIN({"work_that_goes_on_is_alive", work_that_goes_on_is_alive},
           {"what_is_overdue_is_not_alive", what_is_overdue_is_not_alive},
           {"what_nothing_will_move_is_not_alive", what_nothing_will_move_is_not_alive},
           {"is_ready_when_its_source_is", is_ready_when_its_source_is}, {"is_ready_at_last", is_ready_at_last},
           {"tells_of_a_reload", tells_of_a_reload},
           {"feeds_the_watchdog_of_the_living", feeds_the_watchdog_of_the_living},
           {"a_watchdog_of_another_process_is_not_ours", a_watchdog_of_another_process_is_not_ours},
           {"a_manager_that_does_not_read_stops_nobody", a_manager_that_does_not_read_stops_nobody},
           {"without_a_manager_nothing_happens", without_a_manager_nothing_happens}, {"survives_oom", survives_oom})
