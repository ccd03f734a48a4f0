// SPDX-License-Identifier: PostgreSQL
//
// Answers that are shared: by an invented clock, and once through a real server.
#include "../../src/daemon/kept.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "http_world.h"
#include "support/oom.h"
#include "util/fd.h"
#include "util/macro.h"

#define N_CLIENTS HTTP_MAX_CONNECTIONS
#define LARGE ((size_t)1 << 20)

static usec_t time_now;
static usec_t cost; // of one rendering
static size_t size; // of one
static unsigned n_rendered;

static usec_t read_time(void) {
    return time_now;
}

static int render(void *userdata, enum kept_kind kind, usec_t now, struct strbuf *text) {
    (void)userdata;
    (void)now;
    n_rendered++;
    time_now += cost;
    strbuf_addf(text, "kind %u, rendering %u\n", (unsigned)kind, n_rendered);
    while (text->len < size && strbuf_error(text) == 0) {
        strbuf_add(text, "................................................................");
    }
    return strbuf_error(text);
}

struct world {
    struct loop *loop;
    struct kept *kept;
};

static void world_init(struct world *world, usec_t (*clock)(void)) {
    world->loop = loop_new();
    CHECK_NOT_NULL(world->loop);
    const struct kept_options options = {.loop = world->loop, .clock = clock, .render = render};
    world->kept = kept_new(&options);
    CHECK_NOT_NULL(world->kept);
    time_now = USEC_PER_HOUR;
    cost = USEC_PER_MSEC;
    size = 0;
    n_rendered = 0;
}

static void world_deinit(struct world *world) {
    (void)kept_free(world->kept);
    (void)loop_free(world->loop);
}

// Renderings so far, once one more has asked.
static unsigned ask(struct world *world, bool is_local, uint64_t version) {
    CLEANUP(http_body_unrefp) struct http_body *body = NULL;
    CHECK_EQ(kept_get(world->kept, KEPT_STATUS, is_local, version, time_now, &body), 0);
    CHECK_NOT_NULL(body);
    return n_rendered;
}

static void many_are_given_one(void) {
    CLEANUP(world_deinit) struct world world;
    struct http_body *first = NULL;
    world_init(&world, read_time);
    CHECK_EQ(kept_get(world.kept, KEPT_METRICS, false, 1, time_now, &first), 0);
    for (unsigned i = 1; i < N_CLIENTS; i++) {
        CLEANUP(http_body_unrefp) struct http_body *body = NULL;
        CHECK_EQ(kept_get(world.kept, KEPT_METRICS, i % 2 == 0, 1, time_now, &body), 0);
        CHECK(body == first);
    }
    CHECK_EQ(n_rendered, 1u);
    // Another kind is another answer.
    CHECK_EQ(ask(&world, false, 1), 2u);
    first = http_body_unref(first);
    CHECK_NULL(first);
}

static void it_is_kept_for_a_while(void) {
    CLEANUP(world_deinit) struct world world;
    world_init(&world, read_time);
    CHECK_EQ(ask(&world, true, 1), 1u);
    time_now += KEPT_FOR - 1;
    CHECK_EQ(ask(&world, true, 1), 1u);
    time_now += 1;
    CHECK_EQ(ask(&world, true, 1), 2u);
    // A wake-up that began before it was made.
    CLEANUP(http_body_unrefp) struct http_body *body = NULL;
    CHECK_EQ(kept_get(world.kept, KEPT_STATUS, true, 1, time_now - cost, &body), 0);
    CHECK_EQ(n_rendered, 2u);
}

static void what_has_changed_shows(void) {
    CLEANUP(world_deinit) struct world world;
    world_init(&world, read_time);
    CHECK_EQ(ask(&world, true, 1), 1u);
    CHECK_EQ(ask(&world, true, 2), 2u);
    CHECK_EQ(ask(&world, true, 2), 2u);
    // Over the network no more than a part of the time goes into it.
    CHECK_EQ(ask(&world, false, 3), 2u);
    time_now += KEPT_REST * cost - 1;
    CHECK_EQ(ask(&world, false, 4), 2u);
    time_now += 1;
    CHECK_EQ(ask(&world, false, 5), 3u);
    // That is bounded, too.
    cost = USEC_PER_SEC;
    CHECK_EQ(ask(&world, true, 6), 4u);
    time_now += KEPT_LONGEST - 1;
    CHECK_EQ(ask(&world, false, 6), 4u);
    time_now += 1;
    CHECK_EQ(ask(&world, false, 6), 5u);
}

static void what_was_commanded_shows_to_all(void) {
    CLEANUP(world_deinit) struct world world;
    world_init(&world, read_time);
    CHECK_EQ(ask(&world, false, 1), 1u);
    kept_drop(world.kept);
    CHECK_EQ(ask(&world, false, 1), 2u);
}

static void slow_readers_hold_no_more_than_so_much(void) {
    CLEANUP(world_deinit) struct world world;
    struct http_body *held[2 * KEPT_MAX_HELD / LARGE] = {0}, *body = NULL;
    size_t n = 0;
    int r = 0;
    world_init(&world, read_time);
    size = LARGE;
    while (r == 0 && n < ARRAY_SIZE(held)) {
        time_now += KEPT_LONGEST;
        r = kept_get(world.kept, KEPT_STATUS, false, n, time_now, &held[n]);
        n += r == 0;
    }
    CHECK_EQ(r, -EBUSY);
    CHECK_EQ(n, KEPT_MAX_HELD / LARGE);
    // The control socket is not for strangers, and what it is given is given to them too.
    CHECK_EQ(kept_get(world.kept, KEPT_STATUS, true, n, time_now, &body), 0);
    body = http_body_unref(body);
    CHECK_EQ(kept_get(world.kept, KEPT_STATUS, false, n, time_now, &body), 0);
    body = http_body_unref(body);
    time_now += KEPT_LONGEST;
    CHECK_EQ(kept_get(world.kept, KEPT_STATUS, false, n, time_now, &body), -EBUSY);
    held[0] = http_body_unref(held[0]);
    CHECK_EQ(kept_get(world.kept, KEPT_STATUS, false, n, time_now, &body), 0);
    (void)http_body_unref(body);
    for (size_t i = 0; i < n; i++) {
        (void)http_body_unref(held[i]);
    }
}

static void stop(void *userdata, usec_t now) {
    (void)now;
    loop_stop(userdata);
}

static void run_for(struct loop *loop, usec_t duration) {
    struct loop_timer *timer = loop_timer_new(loop, stop, loop);
    CHECK_NOT_NULL(timer);
    loop_timer_set(timer, usec_add(clock_monotonic(), duration));
    CHECK_EQ(loop_run(loop), 0);
    (void)loop_timer_free(timer);
}

static void its_memory_goes_by_itself(void) {
    CLEANUP(world_deinit) struct world world;
    world_init(&world, clock_monotonic);
    run_for(world.loop, 0); // the loop has the memory that it needs for itself
    size_t n_before = oom_n_live();
    time_now = clock_monotonic();
    (void)ask(&world, false, 1);
    run_for(world.loop, 2 * KEPT_FOR);
    CHECK_EQ(oom_n_live(), n_before);
}

static int get_once(void *userdata) {
    CLEANUP(http_body_unrefp) struct http_body *body = NULL;
    struct world *world = userdata;
    kept_drop(world->kept);
    return kept_get(world->kept, KEPT_STATUS, false, 1, time_now, &body);
}

static int make_once(void *userdata) {
    const struct kept_options options = {.loop = userdata, .clock = read_time, .render = render};
    CLEANUP(kept_freep) struct kept *kept = kept_new(&options);
    return kept ? 0 : -ENOMEM;
}

static int sweep_get(void *userdata) {
    int r = get_once(userdata);
    kept_drop(((struct world *)userdata)->kept);
    return r;
}

static void out_of_memory(void) {
    CLEANUP(world_deinit) struct world world;
    world_init(&world, read_time);
    size = 1000;
    (void)ask(&world, true, 1); // the loop has the memory that it needs for itself
    kept_drop(world.kept);
    oom_sweep(sweep_get, &world);
    oom_sweep(make_once, world.loop);
}

// ---- through a server

struct served {
    struct world world;
    struct http_world http;
};

static void served_handle(void *userdata, struct http_exchange *exchange, const struct http_request *request,
                          usec_t now) {
    CLEANUP(http_body_unrefp) struct http_body *body = NULL;
    struct served *served = userdata;
    (void)request;
    CHECK_EQ(kept_get(served->world.kept, KEPT_STATUS, false, 1, now, &body), 0);
    http_answer_body(exchange, 200, "text/plain", body, now);
}

static void served_init(struct served *served) {
    world_init(&served->world, clock_monotonic);
    http_world_init(&served->http, true, served_handle, served);
}

static void served_deinit(struct served *served) {
    http_world_deinit(&served->http);
    world_deinit(&served->world);
}

static void many_ask_a_server_at_once(void) {
    CLEANUP(served_deinit) struct served served;
    struct strbuf texts[N_CLIENTS] = {0};
    int fds[N_CLIENTS];
    served_init(&served);
    size = LARGE; // more than a socket takes: it stays with the server for a while
    for (size_t i = 0; i < N_CLIENTS; i++) {
        fds[i] = http_world_ask(&served.http, "GET / HTTP/1.0\r\n\r\n");
    }
    http_world_read_all(&served.http, fds, texts, N_CLIENTS);
    // They were all there when the first was answered; how long that took is the machine's.
    CHECK(n_rendered >= 1 && n_rendered <= N_CLIENTS / 8);
    for (size_t i = 0; i < N_CLIENTS; i++) {
        const char *body = strstr(strbuf_str(&texts[i]), "\r\n\r\n");
        CHECK(body && strlen(body + 4) >= size);
        CHECK(n_rendered > 1 || strcmp(strbuf_str(&texts[i]), strbuf_str(&texts[0])) == 0);
    }
    for (size_t i = 0; i < N_CLIENTS; i++) {
        strbuf_deinit(&texts[i]);
        (void)fd_close(fds[i]);
    }
}

static void head_and_body_arrive_whole(void) {
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 300000};
    CLEANUP(served_deinit) struct served served;
    served_init(&served);
    for (size_t i = 0; i < 2 * ARRAY_SIZE(sizes); i++) {
        bool is_head = i % 2 == 1;
        CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
        size = sizes[i / 2];
        kept_drop(served.world.kept);
        CLEANUP(fd_closep)
        int fd = http_world_ask(&served.http, is_head ? "HEAD / HTTP/1.0\r\n\r\n" : "GET / HTTP/1.0\r\n\r\n");
        http_world_read_all(&served.http, &fd, &text, 1);
        const char *end = strstr(strbuf_str(&text), "\r\n\r\n");
        CHECK_NOT_NULL(end);
        const char *body = end + 4;
        const char *said = strstr(strbuf_str(&text), "Content-Length: ");
        CHECK_NOT_NULL(said);
        size_t len = strtoul(said + strlen("Content-Length: "), NULL, 10);
        CHECK(len >= size);
        CHECK_EQ(strlen(body), is_head ? 0 : len);
        CHECK(is_head || strncmp(body, "kind 0, rendering ", 18) == 0);
    }
}

CHECK_MAIN({"many_are_given_one", many_are_given_one}, {"it_is_kept_for_a_while", it_is_kept_for_a_while},
           {"what_has_changed_shows", what_has_changed_shows},
           {"what_was_commanded_shows_to_all", what_was_commanded_shows_to_all},
           {"slow_readers_hold_no_more_than_so_much", slow_readers_hold_no_more_than_so_much},
           {"its_memory_goes_by_itself", its_memory_goes_by_itself}, {"out_of_memory", out_of_memory},
           {"many_ask_a_server_at_once", many_ask_a_server_at_once},
           {"head_and_body_arrive_whole", head_and_body_arrive_whole})
