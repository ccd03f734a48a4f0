// SPDX-License-Identifier: PostgreSQL
#include "api_fresh.h"

#include <stdlib.h>

#include "util/macro.h"

struct api_waiter {
    struct http_exchange *exchange; // NULL: free
    void (*answer)(struct app_state *app, struct http_exchange *exchange, usec_t now);
    usec_t since;
    usec_t deadline;
};

struct api_fresh {
    struct app_state *app;
    struct loop_timer *timer;
    struct api_waiter waiters[API_MAX_WAITING];
};

static bool api_fresh_is_ready(const struct api_fresh *fresh, const struct api_waiter *waiter) {
    for (size_t i = 0; i < fresh->app->n_targets; i++) {
        struct view_target target;
        target_status(fresh->app->targets[i], &target);
        if (target.up && target.polled_at < waiter->since) {
            return false;
        }
    }
    return true;
}

void api_fresh_check(struct api_fresh *fresh, usec_t now) {
    usec_t next = USEC_INFINITY;
    for (size_t i = 0; i < API_MAX_WAITING; i++) {
        struct api_waiter *waiter = &fresh->waiters[i];
        if (!waiter->exchange) {
            continue;
        }
        if (now < waiter->deadline && !api_fresh_is_ready(fresh, waiter)) {
            next = MIN(next, waiter->deadline);
            continue;
        }
        struct http_exchange *exchange = waiter->exchange;
        waiter->exchange = NULL;
        waiter->answer(fresh->app, exchange, now);
    }
    loop_timer_set(fresh->timer, next);
}

static void api_fresh_on_timer(void *userdata, usec_t now) {
    api_fresh_check(userdata, now);
}

static void api_fresh_gone(void *userdata) {
    struct api_waiter *waiter = userdata;
    waiter->exchange = NULL;
}

bool api_fresh_wait(struct api_fresh *fresh, struct http_exchange *exchange,
                    void (*answer)(struct app_state *app, struct http_exchange *exchange, usec_t now), usec_t now) {
    size_t i = 0;
    while (i < API_MAX_WAITING && fresh->waiters[i].exchange) {
        i++;
    }
    if (i == API_MAX_WAITING) {
        return false;
    }
    fresh->waiters[i] = (struct api_waiter){
        .exchange = exchange, .answer = answer, .since = now, .deadline = usec_add(now, API_FRESH_WITHIN)};
    http_wait(exchange, usec_add(now, 2 * API_FRESH_WITHIN), api_fresh_gone, &fresh->waiters[i]);
    for (size_t j = 0; j < fresh->app->n_targets; j++) {
        target_poll_soon(fresh->app->targets[j], now);
    }
    loop_timer_set(fresh->timer, usec_add(now, 1)); // who waits for nobody is answered, too, but not from here
    return true;
}

struct api_fresh *api_fresh_new(struct app_state *app) {
    struct api_fresh *fresh = calloc(1, sizeof(*fresh));
    if (!fresh) {
        return NULL;
    }
    fresh->app = app;
    fresh->timer = loop_timer_new(app->context.loop, api_fresh_on_timer, fresh);
    return fresh->timer ? fresh : api_fresh_free(fresh);
}

struct api_fresh *api_fresh_free(struct api_fresh *fresh) {
    if (fresh) {
        (void)loop_timer_free(fresh->timer);
        free(fresh);
    }
    return NULL;
}
