// SPDX-License-Identifier: PostgreSQL
#include "view.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/clock.h"
#include "pause.h"
#include "process.h"

struct view_source {
    struct sinks *sinks;
    struct sinks_tap *tap;
    struct tally *tally;
    struct ring *ring;
    uint64_t version;
    usec_t started_realtime;
    usec_t loaded_realtime;
    bool last_reload_ok;
    usec_t last_reload_realtime;
};

static void view_on_event(void *userdata, const struct event *event) {
    struct view_source *source = userdata;
    source->version++;
    tally_count(source->tally, event);
    ring_add(source->ring, event, clock_realtime());
}

struct view_source *view_source_new(struct sinks *sinks) {
    CLEANUP(view_source_freep) struct view_source *source = calloc(1, sizeof(*source));
    if (!source) {
        return NULL;
    }
    source->sinks = sinks;
    source->started_realtime = source->loaded_realtime = clock_realtime();
    source->last_reload_ok = true;
    source->tally = tally_new();
    source->ring = ring_new();
    source->tap = source->tally && source->ring ? sinks_tap(sinks, view_on_event, source) : NULL;
    return source->tap ? TAKE_PTR(source) : NULL;
}

struct view_source *view_source_free(struct view_source *source) {
    if (!source) {
        return NULL;
    }
    (void)sinks_untap(source->tap);
    (void)ring_free(source->ring);
    (void)tally_free(source->tally);
    free(source);
    return NULL;
}

void view_source_note_reload(struct view_source *source, bool ok) {
    source->last_reload_ok = ok;
    source->last_reload_realtime = clock_realtime();
    if (ok) {
        source->loaded_realtime = source->last_reload_realtime;
    }
}

struct tally *view_source_tally(struct view_source *source) {
    return source->tally;
}

uint64_t view_source_version(const struct view_source *source) {
    return source->version;
}

void view_source_note_news(struct view_source *source) {
    source->version++;
}

static struct view_config view_describe_config(const struct view_source *source, const struct settings *settings) {
    return (struct view_config){
        .file = settings->file,
        .policy = settings->config->policy,
        .scope = settings->config->scope,
        .loaded_realtime = source->loaded_realtime,
        .last_reload_ok = source->last_reload_ok,
        .last_reload_realtime = source->last_reload_realtime,
    };
}

// Rules that have done nothing yet.
static void view_expect_rules(const struct view_source *source, const struct policy *policy, const char *target) {
    for (size_t i = 0; i < policy->n_timeouts; i++) {
        const struct timeout *timeout = &policy->timeouts[i];
        tally_expect(source->tally, target, timeout->name, timeout->action);
        if (timeout->has_then) {
            tally_expect(source->tally, target, timeout->name, ACTION_TERMINATE);
        }
    }
    for (size_t i = 0; i < policy->n_quotas; i++) {
        tally_expect(source->tally, target, policy->quotas[i].name, policy->quotas[i].action);
    }
}

int view_fill(const struct view_source *source, const struct settings *settings, struct target *const *targets,
              size_t n_targets, const struct pauses *pauses, usec_t now, struct view *ret) {
    struct view view = {
        .version = PGVIGIL_VERSION,
        .now = now,
        .realtime = clock_realtime(),
        .config = view_describe_config(source, settings),
        .tally = source->tally,
        .events = source->ring,
        .n_records_dropped = sinks_n_dropped(source->sinks),
        .targets = calloc(n_targets + 1, sizeof(*view.targets)),
        .n_targets = n_targets,
        .pauses = calloc(pauses->n_items + 1, sizeof(*view.pauses)),
        .n_pauses = pauses->n_items,
    };
    if (!view.targets || !view.pauses) {
        free(view.targets);
        free(view.pauses);
        return -ENOMEM;
    }
    for (size_t i = 0; i < pauses->n_items; i++) {
        const struct pause *pause = &pauses->items[i];
        view.pauses[i] = (struct view_pause){.scope = pause_scope_to_string(pause->scope),
                                             .name = pause->name,
                                             .until_realtime = pause->until_realtime,
                                             .left = usec_sub(pause->until, now)};
    }
    process_read(&view.process);
    view.process.started_realtime = source->started_realtime;
    for (size_t i = 0; i < n_targets; i++) {
        struct view_target *target = &view.targets[i];
        target_status(targets[i], target);
        view_expect_rules(source, settings->config->policy, target->name);
        target->has_summary = engine_summarize(target_engine(targets[i]), &target->summary) == 0;
    }
    *ret = view;
    return 0;
}

void view_deinit(struct view *view) {
    for (size_t i = 0; i < view->n_targets; i++) {
        if (view->targets[i].has_summary) {
            summary_deinit(&view->targets[i].summary);
        }
    }
    free(view->targets);
    free(view->pauses);
    *view = (struct view){0};
}
