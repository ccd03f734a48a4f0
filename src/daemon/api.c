// SPDX-License-Identifier: PostgreSQL
#include "api.h"

#include <errno.h>
#include <string.h>

#include "api_fresh.h"
#include "api_impl.h"
#include "core/engine.h"
#include "daemon/clock.h"
#include "kept.h"
#include "output/metrics.h"
#include "output/status.h"
#include "util/escape.h"
#include "util/macro.h"

#define API_MAX_NAMED 10 // targets that the first line of an answer names; the lines below have all of them

static void api_answer_text(const struct api_call *call, int status, struct strbuf *text) {
    http_answer(call->exchange, status, API_TEXT, text, call->now);
}

static void api_say_text(const struct api_call *call, int status, const char *line) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    strbuf_addf(&text, "%s\n", line);
    api_answer_text(call, status, &text);
}

// ---- health

// A list of targets of which something is wrong, in one line.
struct api_blame {
    struct strbuf text;
    size_t n;
};

static void api_blame(struct api_blame *blame, const char *name, const char *why) {
    if (blame->n++ < API_MAX_NAMED) {
        strbuf_addf(&blame->text, "%s%s: %s", blame->n > 1 ? "; " : "", name, why);
    }
}

static void api_add_blame(const struct api_blame *blame, struct strbuf *text) {
    strbuf_add(text, strbuf_str(&blame->text));
    if (blame->n > API_MAX_NAMED) {
        strbuf_addf(text, "; and %zu more", blame->n - API_MAX_NAMED);
    }
}

static void api_blame_deinit(struct api_blame *blame) {
    strbuf_deinit(&blame->text);
}

// That we answer shows that the loop lives; the rest is what the service manager's watchdog is fed by.
static void api_get_healthz(const struct api_call *call) {
    CLEANUP(api_blame_deinit) struct api_blame blame = {0};
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    for (size_t i = 0; i < call->app->n_targets; i++) {
        const struct target *target = call->app->targets[i];
        if (!target_is_alive(target, call->now)) {
            api_blame(&blame, target_name(target), "its work has stopped");
        }
    }
    strbuf_add(&text, blame.n > 0 ? "stuck: " : "healthy");
    api_add_blame(&blame, &text);
    strbuf_add_char(&text, '\n');
    api_answer_text(call, blame.n > 0 ? 503 : 200, &text);
}

// Whether it was polled lately, and in words how that is.
static bool api_describe_polls(const struct api_call *call, size_t i, struct strbuf *text) {
    struct view_target target;
    target_status(call->app->targets[i], &target);
    usec_t within = ENGINE_GAP_POLLS * call->app->settings->config->targets[i].poll_interval;
    bool is_ready = target.polled_at > 0 && usec_sub(call->now, target.polled_at) <= within;
    if (target.polled_at == 0) {
        strbuf_add(text, "not polled yet");
    } else {
        strbuf_add(text, "polled ");
        usec_render(text, usec_sub(call->now, target.polled_at));
        strbuf_add(text, " ago");
    }
    if (!is_ready && target.polled_at > 0) {
        strbuf_add(text, ", should be within ");
        usec_render(text, within);
    }
    if (target.error) {
        strbuf_addf(text, "; %s: ", target.error_kind);
        escape_text(text, target.error);
    }
    return is_ready;
}

static void api_get_readyz(const struct api_call *call) {
    CLEANUP(api_blame_deinit) struct api_blame blame = {0};
    CLEANUP(strbuf_deinit) struct strbuf lines = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    for (size_t i = 0; i < call->app->n_targets; i++) {
        CLEANUP(strbuf_deinit) struct strbuf how = STRBUF_EMPTY;
        const char *name = target_name(call->app->targets[i]);
        if (!api_describe_polls(call, i, &how)) {
            api_blame(&blame, name, strbuf_str(&how));
        }
        strbuf_addf(&lines, "%s: %s\n", name, strbuf_str(&how));
    }
    strbuf_add(&text, blame.n > 0 ? "not ready: " : "ready");
    api_add_blame(&blame, &text);
    strbuf_addf(&text, "\n%s", strbuf_str(&lines));
    api_answer_text(call, blame.n > 0 ? 503 : 200, &text);
}

// ---- what is known

static int api_render(void *userdata, enum kept_kind kind, usec_t now, struct strbuf *text) {
    const struct app_state *app = userdata;
    CLEANUP(view_deinit) struct view view = {0};
    int r = view_fill(app->view, app->settings, app->targets, app->n_targets, app->pauses, now, &view);
    if (r < 0) {
        return r;
    }
    switch (kind) {
    case KEPT_STATUS:
        return status_render(&view, text);
    case KEPT_METRICS:
        return metrics_render(&view, METRICS_PROMETHEUS, text);
    case KEPT_OPENMETRICS:
        return metrics_render(&view, METRICS_OPENMETRICS, text);
    case N_KEPT_KINDS_:
        break;
    }
    return -EINVAL;
}

struct kept *api_kept_new(struct app_state *app) {
    const struct kept_options options = {
        .loop = app->context.loop, .clock = clock_monotonic, .render = api_render, .userdata = app};
    return kept_new(&options);
}

static void api_answer_kept(const struct api_call *call, enum kept_kind kind, bool is_local, const char *content_type) {
    CLEANUP(http_body_unrefp) struct http_body *body = NULL;
    const struct app_state *app = call->app;
    int r = kept_get(app->kept, kind, is_local, view_source_version(app->view), call->now, &body);
    if (r == -EBUSY) {
        api_say_text(call, 503, "too much is still being read by slow clients; ask again");
    } else if (r < 0) {
        // Nothing half said: a scrape without some of its samples would look as if they had gone.
        api_say_text(call, 503, "out of memory");
    } else {
        http_answer_body(call->exchange, 200, content_type, body, call->now);
    }
}

static void api_get_metrics(const struct api_call *call) {
    enum metrics_format format = metrics_choose(call->request->accept);
    api_answer_kept(call, format == METRICS_OPENMETRICS ? KEPT_OPENMETRICS : KEPT_METRICS, call->request->is_local,
                    metrics_content_type(format));
}

// After a poll that was waited for.
static void api_answer_fresh(struct app_state *app, struct http_exchange *exchange, usec_t now) {
    const struct api_call call = {.app = app, .exchange = exchange, .now = now};
    api_answer_kept(&call, KEPT_STATUS, true, API_JSON);
}

// "?poll=now" asks the servers first; from strangers on the network that would cost too much.
static void api_get_status(const struct api_call *call) {
    CLEANUP(freep) char *poll = NULL;
    bool fresh = call->request->is_local && http_query_get(call->request->query, "poll", &poll) == 0;
    if (!fresh || !api_fresh_wait(call->app->fresh, call->exchange, api_answer_fresh, call->now)) {
        api_answer_kept(call, KEPT_STATUS, call->request->is_local, API_JSON);
    }
}

struct event_asker api_asker(const struct http_request *request) {
    return (struct event_asker){
        .uid = request->peer_uid < 0 ? EVENT_NUMBER_NONE : request->peer_uid,
        .pid = request->peer_pid < 0 ? EVENT_NUMBER_NONE : request->peer_pid,
    };
}

// ---- which

#define API_MAX_PARAMS 2

static const struct api_route {
    const char *path;
    void (*fn)(const struct api_call *call);
    bool is_command; // POST on the control socket
    // Of a command; with anything else it is refused, as what nobody reads may be what should narrow it.
    bool takes_body;
    const char *params[API_MAX_PARAMS + 1];
} api_routes[] = {
    {.path = "/healthz", .fn = api_get_healthz},
    {.path = "/readyz", .fn = api_get_readyz},
    {.path = "/metrics", .fn = api_get_metrics},
    {.path = "/api/v1/status", .fn = api_get_status},
    {.path = "/api/v1/pause", .fn = api_post_pause, .is_command = true, .params = {"name", "for"}},
    {.path = "/api/v1/resume", .fn = api_post_resume, .is_command = true, .params = {"name"}},
    {.path = "/api/v1/reload", .fn = api_post_reload, .is_command = true},
    {.path = "/api/v1/reap", .fn = api_post_reap, .is_command = true, .takes_body = true},
};

static void api_get_index(const struct api_call *call) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    strbuf_add(&text, "pgvigil " PGVIGIL_VERSION "\n");
    for (size_t i = 0; i < ARRAY_SIZE(api_routes); i++) {
        if (!api_routes[i].is_command || call->request->is_local) {
            strbuf_addf(&text, "%s %s\n", api_routes[i].is_command ? "POST" : "GET", api_routes[i].path);
        }
    }
    api_answer_text(call, 200, &text);
}

void api_handle(void *userdata, struct http_exchange *exchange, const struct http_request *request, usec_t now) {
    const struct api_call call = {.app = userdata, .exchange = exchange, .request = request, .now = now};
    bool is_command = request->method == HTTP_POST;
    const struct api_route *route = NULL;
    if (!is_command && strcmp(request->path, "/") == 0) {
        api_get_index(&call);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(api_routes); i++) {
        if (strcmp(api_routes[i].path, request->path) == 0) {
            route = &api_routes[i];
        }
    }
    if (!route) {
        api_say_text(&call, 404, "there is nothing at this path; / lists what there is");
    } else if (route->is_command && !request->is_local) {
        api_say_text(&call, 403, HTTP_LOCAL_ONLY); // no method is allowed here
    } else if (route->is_command != is_command) {
        if (route->is_command) {
            http_set_allow(exchange, "POST");
        }
        api_say_text(&call, 405, route->is_command ? "this is a command: POST it" : "this is no command: GET it");
    } else if (is_command && !request->may_command) {
        api_say_text(&call, 403, "commands are for root, the daemon's user and members of the socket's group");
    } else if (!is_command || api_is_read_whole(&call, route->params, route->takes_body)) {
        route->fn(&call);
        if (is_command) {
            kept_drop(call.app->kept); // who asks next sees what it has changed
        }
    }
}
