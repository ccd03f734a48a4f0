// SPDX-License-Identifier: PostgreSQL

// `pgvigil reap` by the daemon: a visit to each target, over the connections that it holds. One at a time. The answer
// comes when every session is settled; the log has the record of it, as of any other act.

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "api_impl.h"
#include "daemon/clock.h"
#include "daemon/reap_rules.h"
#include "kept.h"
#include "output/encode.h"
#include "util/escape.h"
#include "util/macro.h"
#include "visit.h"

#define API_REAP_WITHIN (20 * USEC_PER_SEC)   // a session that lingers is told after 10 s
#define API_REAP_EVERY (200 * USEC_PER_MSEC)  // looks whether they have gone
#define API_REAP_MAX_EVENTS ((size_t)8 << 20) // bytes; more are in the log alone
#define API_REAP_MAX_TEXTS 64                 // of one option

struct api_reap_target {
    char *name;
    struct visit *visit;
};

struct api_reap {
    struct app_state *app;
    struct loop_timer *timer;
    struct http_exchange *exchange; // NULL: who asked has gone
    struct api_reap_target *targets;
    size_t n_targets;
    struct strbuf events; // objects, with commas between
    usec_t deadline;      // USEC_INFINITY: nothing is under way
};

// ---- one round

static void api_reap_on_event(void *userdata, const struct event *event) {
    struct api_reap *reap = userdata;
    if (reap->events.len < API_REAP_MAX_EVENTS) {
        strbuf_add(&reap->events, reap->events.len > 0 ? "," : "");
        (void)json_encode(event, clock_realtime(), &reap->events);
    }
}

static void api_reap_on_end(void *userdata, usec_t now) {
    struct api_reap *reap = userdata;
    loop_timer_set(reap->timer, now);
}

static void api_reap_gone(void *userdata) {
    struct api_reap *reap = userdata;
    reap->exchange = NULL; // it goes on: the sessions are signalled, and the log tells of them
}

static void api_reap_clear(struct api_reap *reap) {
    for (size_t i = 0; i < reap->n_targets; i++) {
        (void)visit_free(reap->targets[i].visit);
        free(reap->targets[i].name);
    }
    free(reap->targets);
    reap->targets = NULL;
    reap->n_targets = 0;
    reap->exchange = NULL;
    reap->deadline = USEC_INFINITY;
    strbuf_deinit(&reap->events);
    loop_timer_set(reap->timer, USEC_INFINITY);
}

static json_t *api_reap_describe(const struct api_reap_target *target) {
    const struct visit *visit = target->visit;
    json_t *held = json_object();
    for (unsigned i = 0; i < N_HELD_REASONS; i++) {
        if (visit->n_held[i] > 0) {
            (void)json_object_set_new(held, held_reason_to_string((enum held_reason)i), json_integer(visit->n_held[i]));
        }
    }
    json_t *object = json_pack("{s:s, s:b, s:o}", "target", target->name, "ok", !visit->failed, "held_back", held);
    if (object && visit->failed) {
        CLEANUP(strbuf_deinit) struct strbuf message = STRBUF_EMPTY;
        escape_to_utf8(&message, visit->error.message);
        (void)json_object_set_new(object, "error",
                                  json_pack("{s:s, s:s, s:s}", "kind", pg_error_kind_to_string(visit->error.kind),
                                            "sqlstate", visit->error.sqlstate, "message", strbuf_str(&message)));
    }
    return object;
}

static void api_reap_answer(struct api_reap *reap, usec_t now) {
    CLEANUP(strbuf_deinit) struct strbuf body = STRBUF_EMPTY;
    json_t *targets = json_array();
    bool failed = false;
    for (size_t i = 0; i < reap->n_targets; i++) {
        failed |= json_array_append_new(targets, api_reap_describe(&reap->targets[i])) < 0;
    }
    CLEANUP(freep) char *text = json_dumps(targets, JSON_ENSURE_ASCII);
    json_decref(targets);
    body.failed = failed || !text || strbuf_error(&reap->events) < 0;
    strbuf_addf(&body, "{\"targets\":%s,\"events\":[", text ? text : "");
    strbuf_add_bytes(&body, strbuf_str(&reap->events), reap->events.len);
    strbuf_add(&body, "]}\n");
    kept_drop(reap->app->kept);
    http_answer(reap->exchange, 200, API_JSON, &body, now);
}

static struct target *api_reap_find(const struct app_state *app, const char *name) {
    for (size_t i = 0; i < app->n_targets; i++) {
        if (strcmp(target_name(app->targets[i]), name) == 0) {
            return app->targets[i];
        }
    }
    return NULL;
}

static void api_reap_on_timer(void *userdata, usec_t now) {
    struct api_reap *reap = userdata;
    bool is_over = true;
    for (size_t i = 0; i < reap->n_targets; i++) {
        struct visit *visit = reap->targets[i].visit;
        // A reload may have taken it away, and then has let go of the visit.
        struct target *target = api_reap_find(reap->app, reap->targets[i].name);
        if (!visit->is_attached) {
            continue;
        }
        is_over = false;
        if (target && now >= reap->deadline) {
            target_end_visit(target, now);
        } else if (target) {
            target_poll_soon(target, now);
        }
    }
    if (!is_over) {
        loop_timer_set(reap->timer, usec_add(now, API_REAP_EVERY));
        return;
    }
    if (reap->exchange) {
        api_reap_answer(reap, now);
    }
    api_reap_clear(reap);
}

// ---- what is asked for

struct api_reap_request {
    json_t *document;  // owned; all else points into it
    json_t *targets;   // NULL: all
    const char *scope; // NULL: whatever is in force
    struct reap_spec spec;
    const char *texts[N_SELECTOR_KEYS][API_REAP_MAX_TEXTS];
};

static bool api_reap_read_count(json_t *object, const char *key, int64_t fallback, int64_t *ret) {
    json_t *value = json_object_get(object, key);
    *ret = json_is_integer(value) ? json_integer_value(value) : fallback;
    return !value || (json_is_integer(value) && *ret >= 0);
}

static bool api_reap_read_flag(json_t *object, const char *key, bool *ret) {
    json_t *value = json_object_get(object, key);
    *ret = json_is_true(value);
    return !value || json_is_boolean(value);
}

static bool api_reap_read_text(json_t *object, const char *key, const char **ret) {
    json_t *value = json_object_get(object, key);
    *ret = json_string_value(value);
    return !value || *ret;
}

// P2: what a command of another version may ask for, and we do not know, would be a filter that is not applied.
static bool api_reap_knows_keys(json_t *object) {
    static const char *const keys[] = {"targets", "scope",  "idle", "idle_in_transaction", "active", "match", "keep",
                                       "max",     "cancel", "yes"};
    size_t n_known = 0;
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        n_known += json_object_get(object, keys[i]) != NULL;
    }
    return n_known == json_object_size(object);
}

static bool api_reap_read_match(json_t *match, struct api_reap_request *request) {
    size_t n_known = 0;
    for (unsigned key = 0; key < N_SELECTOR_KEYS; key++) {
        json_t *texts = json_object_get(match, selector_key_to_string((enum selector_key)key));
        size_t n = json_array_size(texts);
        n_known += texts != NULL;
        // P2: what is there and empty would match everybody.
        if (texts && (!json_is_array(texts) || n == 0 || n > API_REAP_MAX_TEXTS || key == SELECTOR_QUERY)) {
            return false;
        }
        for (size_t i = 0; i < n; i++) {
            request->texts[key][i] = json_string_value(json_array_get(texts, i));
            if (!request->texts[key][i]) {
                return false;
            }
        }
        request->spec.match[key] = (struct reap_texts){request->texts[key], n};
    }
    return n_known > 0 && n_known == json_object_size(match);
}

// P2: as with a selector, a list that is there and empty is a mistake.
static bool api_reap_read_targets(json_t *document, json_t **ret) {
    json_t *targets = *ret = json_object_get(document, "targets");
    bool ok = !targets || json_array_size(targets) > 0;
    for (size_t i = 0; i < json_array_size(targets); i++) {
        json_t *target = json_array_get(targets, i), *address = json_object_get(target, "address");
        ok = ok && json_is_string(json_object_get(target, "target")) && (!address || json_is_string(address)) &&
             json_object_size(target) == (address ? 2u : 1u);
    }
    return ok;
}

static bool api_reap_read(const struct http_request *http, struct api_reap_request *ret) {
    static const char *const rules[] = {
        [REAP_IDLE] = "idle", [REAP_IDLE_IN_TRANSACTION] = "idle_in_transaction", [REAP_ACTIVE] = "active"};
    json_t *document = ret->document = json_loadb(http->body, http->body_len, JSON_REJECT_DUPLICATES, NULL);
    json_t *match = json_object_get(document, "match");
    bool any = false, ok = json_is_object(document) && api_reap_knows_keys(document);
    for (unsigned i = 0; ok && i < N_REAP_RULES; i++) {
        int64_t after;
        ok = api_reap_read_count(document, rules[i], -1, &after);
        ret->spec.after[i] = after >= 0 ? (usec_t)after : USEC_INFINITY;
        any |= after >= 0;
    }
    ok = ok && api_reap_read_count(document, "keep", 0, &ret->spec.keep) &&
         api_reap_read_count(document, "max", LIMIT_NONE, &ret->spec.max) &&
         api_reap_read_flag(document, "cancel", &ret->spec.cancel) &&
         api_reap_read_flag(document, "yes", &ret->spec.yes) && api_reap_read_text(document, "scope", &ret->scope) &&
         api_reap_read_targets(document, &ret->targets);
    return ok && any && (!match || (json_is_object(match) && api_reap_read_match(match, ret)));
}

// ---- whether it is meant for us

// What was asked for of the target; NULL: nothing.
static json_t *api_reap_wanted(const struct api_reap_request *request, const char *name) {
    for (size_t i = 0; i < json_array_size(request->targets); i++) {
        json_t *target = json_array_get(request->targets, i);
        if (strcmp(json_string_value(json_object_get(target, "target")), name) == 0) {
            return target;
        }
    }
    return NULL;
}

// What the command has read may be another file than ours, or the same, changed since: servers that only share a name,
// or other protections. true, or it was answered.
static bool api_reap_is_for_us(const struct api_call *call, const struct api_reap_request *request) {
    const struct settings *settings = call->app->settings;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    size_t n_found = 0;
    if (request->scope && strcmp(request->scope, settings->config->scope) != 0) {
        strbuf_add(&text, "it goes by other apps or protections than that file (pgvigil reload?)");
    }
    for (size_t i = 0; i < settings->config->n_targets; i++) {
        const char *name = settings->config->targets[i].name, *shown = conninfo_shown(settings->conninfos[i]);
        json_t *wanted = api_reap_wanted(request, name);
        const char *address = json_string_value(json_object_get(wanted, "address"));
        n_found += wanted != NULL;
        if (address && strcmp(address, shown) != 0 && text.len == 0) {
            strbuf_addf(&text, "its '%s' is ", name);
            escape_text(&text, shown);
        }
    }
    if (n_found != json_array_size(request->targets) && text.len == 0) {
        strbuf_add(&text, "it does not watch all of these servers (pgvigil reload?)");
    }
    if (text.len > 0 || text.failed) {
        api_say_error(call, 412, strbuf_str(&text));
        return false;
    }
    return true;
}

// ---- the command

static void api_reap_begin_target(struct api_reap *reap, struct target *target, usec_t now) {
    struct api_reap_target *entry = &reap->targets[reap->n_targets - 1];
    struct pg_error error = *target_error(target);
    int r = target_visit(target, entry->visit, now);
    if (r < 0) {
        if (error.kind == PG_ERROR_NONE) {
            pg_error_set(&error, PG_ERROR_OTHER, NULL,
                         "the daemon's connection is not ready for it, or goes through a pooler");
        }
        visit_fail(entry->visit, &error);
    }
}

// 0 or -ENOMEM: api_reap_clear() undoes it.
static int api_reap_begin(struct api_reap *reap, struct policy *policy, const struct api_reap_request *request,
                          struct event_asker asker, usec_t now) {
    struct app_state *app = reap->app;
    const struct visit_options options = {
        .policy = policy, .asker = asker, .on_event = api_reap_on_event, .on_end = api_reap_on_end, .userdata = reap};
    reap->targets = calloc(app->n_targets + 1, sizeof(*reap->targets));
    if (!reap->targets) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < app->n_targets; i++) {
        const char *name = target_name(app->targets[i]);
        if (request->targets && !api_reap_wanted(request, name)) {
            continue;
        }
        struct api_reap_target *entry = &reap->targets[reap->n_targets++];
        entry->name = strdup(name);
        if (!entry->name || visit_new(app->context.sinks, &options, &entry->visit) < 0) {
            return -ENOMEM;
        }
    }
    // Nothing can fail from here on.
    size_t n = reap->n_targets;
    for (reap->n_targets = 1; reap->n_targets <= n; reap->n_targets++) {
        api_reap_begin_target(reap, api_reap_find(app, reap->targets[reap->n_targets - 1].name), now);
    }
    reap->n_targets = n;
    reap->deadline = usec_add(now, API_REAP_WITHIN);
    loop_timer_set(reap->timer, usec_add(now, API_REAP_EVERY));
    return 0;
}

static int api_reap_make(const struct api_call *call, const struct api_reap_request *request, struct policy **ret) {
    CLEANUP(policy_unrefp) struct policy *policy = NULL;
    struct reap_mistake mistake = {0};
    int r = config_copy_policy(call->app->settings->config, &policy);
    if (r == 0) {
        r = reap_rules_make(&request->spec, policy, &mistake);
    }
    CLEANUP(freep) char *why = mistake.why;
    if (r == -EINVAL) {
        CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
        strbuf_addf(&text, "%s: ", selector_key_to_string(mistake.key));
        escape_text(&text, why ? why : "wrong");
        api_say_error(call, 400, strbuf_str(&text));
    } else if (r < 0) {
        api_say_error(call, 503, "out of memory");
    }
    if (r < 0) {
        return r;
    }
    *ret = TAKE_PTR(policy);
    return 0;
}

void api_post_reap(const struct api_call *call) {
    struct api_reap *reap = call->app->reap;
    CLEANUP(freep) struct api_reap_request *request = calloc(1, sizeof(*request));
    CLEANUP(policy_unrefp) struct policy *policy = NULL;
    if (!request) {
        api_say_error(call, 503, "out of memory");
        return;
    }
    if (reap->deadline != USEC_INFINITY) {
        api_say_error(call, 409, "another reap is under way");
    } else if (!api_reap_read(call->request, request)) {
        api_say_error(call, 400, "what is to be reaped cannot be read");
    } else if (api_reap_is_for_us(call, request) && api_reap_make(call, request, &policy) == 0) {
        if (api_reap_begin(reap, policy, request, api_asker(call->request), call->now) < 0) {
            api_reap_clear(reap);
            api_say_error(call, 503, "out of memory");
        } else {
            reap->exchange = call->exchange;
            http_wait(call->exchange, usec_add(call->now, API_REAP_WITHIN + 10 * USEC_PER_SEC), api_reap_gone, reap);
        }
    }
    json_decref(request->document);
}

struct api_reap *api_reap_new(struct app_state *app) {
    struct api_reap *reap = calloc(1, sizeof(*reap));
    if (!reap) {
        return NULL;
    }
    *reap = (struct api_reap){.app = app, .deadline = USEC_INFINITY};
    reap->timer = loop_timer_new(app->context.loop, api_reap_on_timer, reap);
    return reap->timer ? reap : api_reap_free(reap);
}

struct api_reap *api_reap_free(struct api_reap *reap) {
    if (!reap) {
        return NULL;
    }
    if (reap->timer) {
        api_reap_clear(reap);
    }
    (void)loop_timer_free(reap->timer);
    free(reap);
    return NULL;
}
