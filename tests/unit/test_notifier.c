// SPDX-License-Identifier: PostgreSQL
//
// Requests to a port that nobody listens at: their lives, and memory. What receivers answer is tested against real ones
// in tests/integration.
#include "../../src/daemon/notifier.h"

#include <string.h>

#include "support/check.h"
#include "support/oom.h"

#define PATIENCE (20 * USEC_PER_SEC)

struct world {
    struct loop *loop;
    struct resolver *resolver;
    struct notifier *notifier;
    struct notifier_request *request;
    struct webhook_answer answer;
    unsigned n_answers;
    bool frees; // the request from its own answer
};

static void world_init(struct world *world) {
    *world = (struct world){0};
    world->loop = loop_new();
    CHECK_NOT_NULL(world->loop);
    world->resolver = resolver_new(world->loop);
    world->notifier = notifier_new(world->loop, world->resolver);
    CHECK(world->resolver && world->notifier);
}

static void world_deinit(struct world *world) {
    world->request = notifier_request_free(world->request);
    (void)notifier_free(world->notifier);
    (void)resolver_free(world->resolver);
    (void)loop_free(world->loop);
}

static void on_answer(void *userdata, const struct webhook_answer *answer, usec_t now) {
    struct world *world = userdata;
    (void)now;
    world->answer = *answer;
    world->n_answers++;
    if (world->frees) {
        world->request = notifier_request_free(world->request);
    }
    loop_stop(world->loop);
}

static void send_to(struct world *world, const char *url, const char *proxy, usec_t timeout) {
    static const char *const headers[] = {"X-One: 1", "X-Two: 2"};
    const struct notifier_post post = {
        .url = url,
        .path = "/api",
        .headers = headers,
        .n_headers = ARRAY_SIZE(headers),
        .proxy = proxy,
        .body = "{}",
        .n_body = 2,
        .timeout = timeout,
    };
    world->request = notifier_send(world->notifier, &post, on_answer, world);
    CHECK_EQ(world->n_answers, 0); // never from within
}

static void check_answer(const char *url, const char *proxy, enum webhook_result expected) {
    for (unsigned i = 0; i < 2; i++) {
        struct world world;
        world_init(&world);
        world.frees = i > 0;
        check_context("%s", url);
        send_to(&world, url, proxy, PATIENCE);
        CHECK_NOT_NULL(world.request);
        CHECK_EQ(loop_run(world.loop), 0);
        CHECK_EQ(world.n_answers, 1);
        CHECK_STR(webhook_result_to_string(world.answer.result), webhook_result_to_string(expected));
        CHECK_EQ(world.answer.status, 0);
        world_deinit(&world);
    }
}

static void answers(void) {
    check_answer("http://127.0.0.1:1", NULL, WEBHOOK_UNREACHABLE);
    check_answer("https://[::1]:1/api", NULL, WEBHOOK_UNREACHABLE);
    check_answer("http://user:word@localhost:1/x?y", NULL, WEBHOOK_UNREACHABLE);
    check_answer("https://nowhere.invalid/", "http://127.0.0.1:1", WEBHOOK_UNREACHABLE);
    check_answer("https://nowhere.invalid/", "http://localhost:1", WEBHOOK_UNREACHABLE);
}

static void mistakes(void) {
    static const char *const urls[] = {
        "", "x", "/", "(set)", "ftp://127.0.0.1/", "file:///etc/passwd", "http://", "http://[::1", "gopher://x"};
    for (size_t i = 0; i < ARRAY_SIZE(urls); i++) {
        check_answer(urls[i], NULL, WEBHOOK_SETTINGS);
    }
}

static void cancelled(void) {
    struct world world;
    world_init(&world);
    send_to(&world, "http://127.0.0.1:1", NULL, PATIENCE);
    world.request = notifier_request_free(world.request);
    send_to(&world, "http://localhost:1", NULL, PATIENCE);
    world.request = notifier_request_free(world.request);
    CHECK_NULL(notifier_request_free(NULL));
    send_to(&world, "http://127.0.0.1:1", NULL, PATIENCE);
    CHECK_EQ(loop_run(world.loop), 0);
    CHECK_EQ(world.n_answers, 1);
    world_deinit(&world);
}

static void bounded(void) {
    struct world world;
    struct notifier_request *requests[17] = {0};
    world_init(&world);
    for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
        send_to(&world, "http://127.0.0.1:1", NULL, PATIENCE);
        requests[i] = world.request;
    }
    CHECK_NOT_NULL(requests[15]);
    CHECK_NULL(requests[16]);
    requests[3] = notifier_request_free(requests[3]);
    send_to(&world, "http://127.0.0.1:1", NULL, PATIENCE);
    CHECK_NOT_NULL(world.request);
    for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
        (void)notifier_request_free(requests[i]);
    }
    world_deinit(&world);
}

// What fails later ends with the deadline, if with nothing else.
static void out_of_memory(void) {
    struct world world;
    bool fired = true;
    world_init(&world);
    // libcurl keeps what it sets up with the first request.
    send_to(&world, "http://127.0.0.1:1/x", NULL, PATIENCE);
    CHECK_EQ(loop_run(world.loop), 0);
    world.request = notifier_request_free(world.request);
    for (unsigned n = 1; fired; n++) {
        check_context("allocation %u", n);
        CHECK_LT(n, 1000);
        world.n_answers = 0;
        oom_arm(n);
        send_to(&world, "http://127.0.0.1:1/x", NULL, USEC_PER_SEC / 2);
        if (world.request) {
            CHECK_EQ(loop_run(world.loop), 0);
            enum webhook_result result = world.answer.result;
            CHECK(result == WEBHOOK_UNREACHABLE || result == WEBHOOK_MEMORY || result == WEBHOOK_TIMEOUT);
        }
        fired = oom_disarm();
        CHECK(fired || world.answer.result == WEBHOOK_UNREACHABLE);
        world.request = notifier_request_free(world.request);
    }
    world_deinit(&world);
}

CHECK_MAIN({"answers", answers}, {"mistakes", mistakes}, {"cancelled", cancelled}, {"bounded", bounded},
           {"out_of_memory", out_of_memory})
