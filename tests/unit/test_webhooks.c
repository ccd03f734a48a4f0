// SPDX-License-Identifier: PostgreSQL
//
// The outputs as a reload changes them, with a receiver that nobody listens at; what is sent over a wire is tested
// against real receivers in tests/integration.
#include "daemon/webhooks.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "support/check.h"
#include "support/oom.h"
#include "util/strbuf.h"

#define NOWHERE "http://127.0.0.1:1/"

static struct strbuf said; // "output:reason " of each notification_failed

struct world {
    struct loop *loop;
    struct resolver *resolver;
    struct sinks *sinks;
    struct webhooks *webhooks;
    struct diag_list diags;
    uint64_t n_dropped;
};

static bool hear(void *userdata, const struct event *event) {
    (void)userdata;
    if (event->kind == EVENT_NOTIFICATION_FAILED) {
        strbuf_addf(&said, "%s:%s ", event->output, event->reason);
    }
    return true;
}

static void count(void *userdata, const char *output, const char *result, uint64_t n) {
    struct world *world = userdata;
    (void)output;
    world->n_dropped += strcmp(result, "dropped") == 0 ? n : 0;
}

static void world_deinit(struct world *world) {
    (void)webhooks_free(world->webhooks);
    (void)sinks_free(world->sinks);
    (void)resolver_free(world->resolver);
    (void)loop_free(world->loop);
    diag_list_deinit(&world->diags);
    strbuf_deinit(&said);
}

static int world_init(struct world *world) {
    const char *why;
    world->loop = loop_new();
    world->resolver = world->loop ? resolver_new(world->loop) : NULL;
    const struct sinks_options sinks = {
        .level = EVENT_DEBUG, .format = LOG_FORMAT_TEXT, .fd = -1, .tee = hear, .realtime = clock_realtime};
    if (!world->resolver || sinks_new(world->loop, &sinks, &world->sinks, &why) < 0) {
        return -ENOMEM;
    }
    const struct webhooks_options options = {
        .loop = world->loop,
        .resolver = world->resolver,
        .sinks = world->sinks,
        .count = count,
        .userdata = world,
    };
    world->webhooks = webhooks_new(&options);
    return world->webhooks ? 0 : -ENOMEM;
}

static struct config *load(struct world *world, const char *webhooks) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    struct config *config = NULL;
    strbuf_addf(&text, "targets: { db: { conninfo: host=db } }\noutputs: { webhooks: { %s } }\n", webhooks);
    CHECK_EQ(config_load_buffer("x.yaml", strbuf_str(&text), text.len, NULL, NULL, &world->diags, &config), 0);
    return config;
}

static void raise_alarm(struct world *world, const char *alarm) {
    struct event event = event_make(EVENT_ALARM, EVENT_WARNING, "db");
    event.alarm = alarm;
    event.severity = SEVERITY_WARNING;
    event.reason = "raised";
    (void)sinks_emit(world->sinks, &event);
}

static void commit(struct world *world, const struct config *config) {
    struct webhooks_plan *plan = webhooks_prepare(world->webhooks, config);
    CHECK_NOT_NULL(plan);
    webhooks_commit(world->webhooks, plan);
}

static void check_said(const char *expected) {
    CHECK_STR(strbuf_str(&said), expected);
    strbuf_clear(&said);
}

static void reload(void) {
    CLEANUP(world_deinit) struct world world = {0};
    CHECK_EQ(world_init(&world), 0);
    CLEANUP(config_freep)
    struct config *first =
        load(&world, "a: { url: '" NOWHERE "', format: json }, b: { url: '" NOWHERE "', format: json }");
    CLEANUP(config_freep)
    struct config *second = load(&world, "b: { url: '" NOWHERE "', format: json, timeout: 1s, headers: { X: y } },\n"
                                         "c: { url: '" NOWHERE "', format: alertmanager, min_severity: critical }");
    CLEANUP(config_freep) struct config *none = load(&world, "");
    CLEANUP(config_freep) struct config *moved = load(&world, "b: { url: 'http://127.0.0.2:1/', format: json }");
    commit(&world, first);
    raise_alarm(&world, "x");
    // Prepared and not taken: nothing has changed.
    struct webhooks_plan *plan = webhooks_prepare(world.webhooks, second);
    CHECK_NOT_NULL(plan);
    CHECK_NULL(webhooks_plan_free(plan));
    check_said("");
    commit(&world, second);
    check_said("a:dropped ");
    commit(&world, moved); // another receiver: it is told what stands
    check_said("b:dropped ");
    commit(&world, none);
    check_said("b:dropped ");
    commit(&world, first); // from the alarms that stand
    webhooks_finish(world.webhooks, 10 * USEC_PER_SEC);
    check_said("a:dropped b:dropped ");
    CHECK_EQ(world.n_dropped, 5);
}

// Nothing is owed: nothing is waited for.
static void finish_at_once(void) {
    CLEANUP(world_deinit) struct world world = {0};
    CHECK_EQ(world_init(&world), 0);
    CLEANUP(config_freep) struct config *config = load(&world, "a: { url: '" NOWHERE "', format: json }");
    commit(&world, config);
    usec_t before = clock_monotonic();
    webhooks_finish(world.webhooks, USEC_PER_MINUTE);
    CHECK_LT(clock_monotonic() - before, 10 * USEC_PER_SEC);
    check_said("");
}

struct sweep {
    struct world *world;
    const struct config *config;
};

static int sweep_prepare(void *userdata) {
    struct sweep *sweep = userdata;
    struct webhooks_plan *plan = webhooks_prepare(sweep->world->webhooks, sweep->config);
    (void)webhooks_plan_free(plan);
    return plan ? 0 : -ENOMEM;
}

static int sweep_new(void *userdata) {
    struct world *world = userdata;
    const struct webhooks_options options = {.loop = world->loop, .resolver = world->resolver, .sinks = world->sinks};
    struct webhooks *webhooks = webhooks_new(&options);
    (void)webhooks_free(webhooks);
    return webhooks ? 0 : -ENOMEM;
}

static void out_of_memory(void) {
    CLEANUP(world_deinit) struct world world = {0};
    CHECK_EQ(world_init(&world), 0);
    CLEANUP(config_freep) struct config *first = load(&world, "a: { url: '" NOWHERE "', format: json }");
    CLEANUP(config_freep)
    struct config *second =
        load(&world, "a: { url: '" NOWHERE "', format: json }, b: { url: '" NOWHERE "', format: slack }");
    commit(&world, first);
    struct sweep sweep = {&world, second};
    oom_sweep(sweep_prepare, &sweep);
    oom_sweep(sweep_new, &world);
}

CHECK_MAIN({"reload", reload}, {"finish_at_once", finish_at_once}, {"out_of_memory", out_of_memory})
