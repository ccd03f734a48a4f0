// SPDX-License-Identifier: PostgreSQL
//
// From what is said and what targets know to one view. The target here never connects.
#include "../../src/daemon/view.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "../../src/daemon/pause.h"
#include "../../src/daemon/process.h"
#include "output/metrics.h"
#include "support/check.h"
#include "support/oom.h"
#include "util/strbuf.h"

struct world {
    struct diag_list diags;
    struct settings *settings;
    struct target_context context;
    struct view_source *source;
    struct target *target;
    struct pauses pauses;
};

static usec_t no_time(void) {
    return 0;
}

static void world_init(struct world *world) {
    const struct settings_options options = {.conninfo = "host=127.0.0.1 port=1 user=u password=S3cret"};
    const struct sinks_options sinks = {.format = LOG_FORMAT_TEXT, .fd = -1, .realtime = no_time};
    const char *why;
    *world = (struct world){0};
    (void)setenv("PGVIGIL_IDLE_TIMEOUT", "10min", 1);
    CHECK_EQ(settings_load(&options, &world->diags, &world->settings), 0);
    world->context.loop = loop_new();
    CHECK_NOT_NULL(world->context.loop);
    CHECK_EQ(sinks_new(world->context.loop, &sinks, &world->context.sinks, &why), 0);
    world->context.resolver = resolver_new(world->context.loop);
    world->source = view_source_new(world->context.sinks);
    CHECK(world->context.resolver && world->source);
    const struct target_options target = {.config = &world->settings->config->targets[0],
                                          .conninfo = world->settings->conninfos[0],
                                          .policy = world->settings->config->policy,
                                          .enforce = true,
                                          .competes = true};
    CHECK_EQ(target_new(&world->context, &target, &world->target), 0);
}

static void world_deinit(struct world *world) {
    (void)target_free(world->target);
    (void)view_source_free(world->source);
    (void)resolver_free(world->context.resolver);
    (void)sinks_free(world->context.sinks);
    (void)loop_free(world->context.loop);
    (void)settings_free(world->settings);
    diag_list_deinit(&world->diags);
}

static int world_fill(struct world *world, struct view *ret) {
    struct target *targets[] = {world->target};
    return view_fill(world->source, world->settings, targets, 1, &world->pauses, loop_now(world->context.loop), ret);
}

static void a_target_that_never_ran(void) {
    CLEANUP(world_deinit) struct world world;
    CLEANUP(view_deinit) struct view view = {0};
    world_init(&world);
    CHECK_EQ(world_fill(&world, &view), 0);
    CHECK_STR(view.version, PGVIGIL_VERSION);
    CHECK_EQ(view.n_targets, 1u);
    CHECK_STR(view.targets[0].state, "idle");
    CHECK_STR(view.targets[0].standing, "none");
    CHECK(!view.targets[0].up && !view.targets[0].enforces && !view.targets[0].leads);
    CHECK_EQ(view.targets[0].polled_at, 0u);
    CHECK_NULL(view.targets[0].error);
    CHECK(view.targets[0].has_summary && !view.targets[0].summary.valid);
    CHECK(view.config.last_reload_ok);
    CHECK_NULL(view.config.file);
    CHECK_EQ(view_realtime(&view, 0), 0u);
    CHECK_EQ(view_realtime(&view, view.now), view.realtime);
    // Rules show before they do anything.
    size_t n;
    const struct tally_series *series = tally_list(view.tally, TALLY_DECISIONS, &n);
    CHECK_EQ(n, 1u);
    CHECK_STR(series[0].values[0], target_name(world.target));
    CHECK_EQ(series[0].count, 0u);
    CHECK_GT(view.process.resident_bytes, 0);
    CHECK_GE(view.process.virtual_bytes, view.process.resident_bytes);
    CHECK_GE(view.process.open_fds, 3);
    CHECK_GE(view.process.cpu_usec, 0);
}

static void what_is_said_is_counted_and_kept(void) {
    CLEANUP(world_deinit) struct world world;
    CLEANUP(view_deinit) struct view view = {0};
    world_init(&world);
    struct event event = event_make(EVENT_DECISION, EVENT_DEBUG, "db");
    event.rule = "idle";
    event.has_action = true;
    (void)sinks_emit(world.context.sinks, &event);
    (void)sinks_emit(world.context.sinks, &event);
    CHECK_EQ(world_fill(&world, &view), 0);
    CHECK_EQ(tally_n_events(view.tally, EVENT_DECISION), 2u);
    CHECK_EQ(ring_n(view.events), 2u);
    tally_count_notification(view_source_tally(world.source), "oncall", "sent", 3);
    size_t n;
    CHECK_EQ(tally_list(view.tally, TALLY_NOTIFICATIONS, &n)[0].count, 3u);
}

static void pauses(void) {
    CLEANUP(world_deinit) struct world world;
    CLEANUP(view_deinit) struct view view = {0};
    char name[] = "idle";
    world_init(&world);
    world.pauses.items[0] = (struct pause){.scope = PAUSE_RULE,
                                           .name = name,
                                           .until = usec_add(loop_now(world.context.loop), USEC_PER_HOUR),
                                           .until_realtime = 7};
    world.pauses.n_items = 1;
    CHECK_EQ(world_fill(&world, &view), 0);
    CHECK_EQ(view.n_pauses, 1u);
    CHECK_STR(view.pauses[0].scope, "rule");
    CHECK_STR(view.pauses[0].name, "idle");
    CHECK_EQ(view.pauses[0].until_realtime, 7u);
    CHECK_GT(view.pauses[0].left, USEC_PER_HOUR / 2);
}

static void reloads(void) {
    CLEANUP(world_deinit) struct world world;
    struct view view;
    world_init(&world);
    CHECK_EQ(world_fill(&world, &view), 0);
    usec_t loaded = view.config.loaded_realtime;
    CHECK_EQ(view.config.last_reload_realtime, 0u);
    view_deinit(&view);
    view_source_note_reload(world.source, false);
    CHECK_EQ(world_fill(&world, &view), 0);
    CHECK(!view.config.last_reload_ok);
    CHECK_EQ(view.config.loaded_realtime, loaded);
    CHECK_GT(view.config.last_reload_realtime, 0u);
    view_deinit(&view);
    (void)usleep(1000);
    view_source_note_reload(world.source, true);
    CHECK_EQ(world_fill(&world, &view), 0);
    CHECK(view.config.last_reload_ok);
    CHECK_GT(view.config.loaded_realtime, loaded);
    view_deinit(&view);
}

static void P10_no_secret(void) {
    CLEANUP(world_deinit) struct world world;
    CLEANUP(view_deinit) struct view view = {0};
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    world_init(&world);
    CHECK_EQ(world_fill(&world, &view), 0);
    CHECK_EQ(metrics_render(&view, METRICS_OPENMETRICS, &text), 0);
    CHECK_LACKS(strbuf_str(&text), "S3cret");
}

static int make(void *userdata) {
    struct view_source *source = view_source_new(userdata);
    bool made = source;
    (void)view_source_free(source);
    return made ? 0 : -ENOMEM;
}

static void without_memory(void) {
    CLEANUP(world_deinit) struct world world;
    world_init(&world);
    oom_sweep(make, world.context.sinks);
    CHECK_NULL(view_source_free(NULL));
    // A view is had whole, or without a summary, or not at all.
    bool fired = true;
    for (unsigned nth = 1; fired; nth++) {
        struct view view = {0};
        check_context("allocation %u failing", nth);
        oom_arm(nth);
        int r = world_fill(&world, &view);
        fired = oom_disarm();
        CHECK(r == 0 || (r == -ENOMEM && fired));
        CHECK(r < 0 || fired || view.targets[0].has_summary);
        view_deinit(&view);
    }
}

CHECK_MAIN({"a_target_that_never_ran", a_target_that_never_ran},
           {"what_is_said_is_counted_and_kept", what_is_said_is_counted_and_kept}, {"pauses", pauses},
           {"reloads", reloads}, {"P10_no_secret", P10_no_secret}, {"without_memory", without_memory})
