// SPDX-License-Identifier: PostgreSQL
#include "service.h"

#include "headline.h"
#include "notify.h"

struct service {
    struct loop *loop;
    struct notify *notify;
    struct sinks_tap *tap;
    struct target *const *targets;
    size_t n_targets;
    const struct pauses *pauses;
    bool is_observing;
    bool is_refused; // the last reload
    struct recent ended;
};

static void service_on_event(void *userdata, const struct event *event) {
    struct service *service = userdata;
    if (event->kind == EVENT_OUTCOME && event->outcome == OUTCOME_GONE && !event->observe) {
        recent_add(&service->ended, loop_now(service->loop));
    }
}

static bool service_is_ready(void *userdata) {
    const struct service *service = userdata;
    for (size_t i = 0; i < service->n_targets; i++) {
        if (!target_has_verdict(service->targets[i])) {
            return false;
        }
    }
    return true;
}

static bool service_is_alive(void *userdata, usec_t now) {
    const struct service *service = userdata;
    for (size_t i = 0; i < service->n_targets; i++) {
        if (!target_is_alive(service->targets[i], now)) {
            return false;
        }
    }
    return true;
}

static bool service_is_paused(const struct service *service, bool whole) {
    for (size_t i = 0; service->pauses && i < service->pauses->n_items; i++) {
        if ((service->pauses->items[i].scope == PAUSE_ALL) == whole) {
            return true;
        }
    }
    return false;
}

static void service_describe(void *userdata, usec_t now, struct strbuf *sb) {
    struct service *service = userdata;
    CLEANUP(freep) struct headline_target *targets = calloc(service->n_targets + 1, sizeof(*targets));
    if (!targets) {
        sb->failed = true;
        return;
    }
    for (size_t i = 0; i < service->n_targets; i++) {
        const struct target *target = service->targets[i];
        targets[i].has_verdict = target_has_verdict(target);
        targets[i].is_up = target_slots(target, &targets[i].used, &targets[i].usable);
        targets[i].is_locked_out = target_is_locked_out(target);
    }
    const struct headline headline = {
        .targets = targets,
        .n_targets = service->n_targets,
        .is_observing = service->is_observing,
        .is_refused = service->is_refused,
        .is_paused = service_is_paused(service, true),
        .is_partly_paused = service_is_paused(service, false),
        .n_ended = recent_count(&service->ended, now),
    };
    headline_render(&headline, sb);
}

struct service *service_new(struct loop *loop, struct sinks *sinks) {
    struct service *service = calloc(1, sizeof(*service));
    if (!service) {
        return NULL;
    }
    service->loop = loop;
    const struct notify_source source = {
        .is_ready = service_is_ready,
        .is_alive = service_is_alive,
        .describe = service_describe,
        .userdata = service,
    };
    service->notify = notify_new(loop, &source);
    service->tap = sinks_tap(sinks, service_on_event, service);
    return service->notify && service->tap ? service : service_free(service);
}

struct service *service_free(struct service *service) {
    if (service) {
        (void)sinks_untap(service->tap);
        (void)notify_free(service->notify);
        free(service);
    }
    return NULL;
}

void service_set_targets(struct service *service, struct target *const *targets, size_t n_targets, bool observing) {
    service->targets = targets;
    service->n_targets = n_targets;
    service->is_observing = observing;
}

void service_set_pauses(struct service *service, const struct pauses *pauses) {
    service->pauses = pauses;
}

void service_start(struct service *service, usec_t now) {
    notify_start(service->notify, now);
}

void service_check(struct service *service, usec_t now) {
    notify_check(service->notify, now);
}

void service_reloading(struct service *service, usec_t now) {
    notify_reloading(service->notify, now);
}

void service_reloaded(struct service *service, bool refused, usec_t now) {
    service->is_refused = refused;
    notify_reloaded(service->notify, now);
}

void service_stopping(struct service *service) {
    notify_stopping(service->notify);
}
