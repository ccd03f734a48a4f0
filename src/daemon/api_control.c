// SPDX-License-Identifier: PostgreSQL
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "api_impl.h"
#include "config/config.h"
#include "util/escape.h"
#include "util/macro.h"

#define API_MAX_LISTED 30 // names in one message

// ---- answers

static void api_answer_json(const struct api_call *call, int status, json_t *object) {
    CLEANUP(strbuf_deinit) struct strbuf body = STRBUF_EMPTY;
    CLEANUP(freep) char *text = object ? json_dumps(object, JSON_ENSURE_ASCII) : NULL;
    json_decref(object);
    body.failed = !text;
    strbuf_addf(&body, "%s\n", text ? text : "");
    http_answer(call->exchange, status, API_JSON, &body, call->now);
}

// What the texts hold was escaped as it was put in.
static void api_answer_error(const struct api_call *call, int status, const struct strbuf *text) {
    api_answer_json(call, status, json_pack("{s:s}", "error", strbuf_str(text)));
}

void api_say_error(const struct api_call *call, int status, const char *text) {
    api_answer_json(call, status, json_pack("{s:s}", "error", text));
}

static void api_answer_done(const struct api_call *call, const struct strbuf *message, const struct strbuf *warning) {
    json_t *object = json_pack("{s:s}", "message", strbuf_str(message));
    if (object && warning->len > 0 && json_object_set_new(object, "warning", json_string(strbuf_str(warning))) < 0) {
        json_decref(object);
        object = NULL;
    }
    api_answer_json(call, 200, object);
}

bool api_is_read_whole(const struct api_call *call, const char *const *params, bool takes_body) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    size_t len;
    const char *unread = http_query_unread(call->request->query, params, &len);
    if (unread) {
        strbuf_add(&text, "the parameter '");
        strbuf_add_bytes(&text, unread, len); // printable, as every path that is let in
        strbuf_add(&text, "' is not known here, or comes twice (known: ");
        for (size_t i = 0; params[i]; i++) {
            strbuf_addf(&text, "%s%s", i == 0 ? "" : ", ", params[i]);
        }
        strbuf_add(&text, params[0] ? ")" : "none)");
    } else if (call->request->body_len > 0 && !takes_body) {
        strbuf_add(&text, "this command takes no body");
        strbuf_add(&text, params[0] ? ": what it concerns is said by the parameters of its path" : "");
    } else {
        return true;
    }
    api_answer_error(call, 400, &text);
    return false;
}

// ---- what a name means

static void api_add_names(const struct app_state *app, struct strbuf *sb) {
    size_t n = 0;
    strbuf_add(sb, " (targets: ");
    for (size_t i = 0; i < app->n_targets && n < API_MAX_LISTED; i++, n++) {
        strbuf_addf(sb, "%s%s", i == 0 ? "" : ", ", target_name(app->targets[i]));
    }
    strbuf_add(sb, app_rule_name(app, 0) ? "; rules: " : "; there are no rules");
    for (size_t i = 0; app_rule_name(app, i) && n < API_MAX_LISTED; i++, n++) {
        strbuf_addf(sb, "%s%s", i == 0 ? "" : ", ", app_rule_name(app, i));
    }
    strbuf_add(sb, n == API_MAX_LISTED ? ", ...)" : ")");
}

// 0 with *ret_name ("" for everything; free it), or it was answered.
static int api_read_name(const struct api_call *call, enum pause_scope *ret_scope, char **ret_name) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    CLEANUP(freep) char *name = NULL;
    int r = http_query_get(call->request->query, "name", &name);
    bool is_for_all = r == -ENOENT;
    if (is_for_all) {
        name = calloc(1, 1);
        r = name ? 0 : -ENOMEM;
    }
    if (r < 0) {
        api_say_error(call, r == -EINVAL ? 400 : 503, r == -EINVAL ? "the name is badly encoded" : "out of memory");
        return r;
    }
    if (is_for_all) {
        *ret_scope = PAUSE_ALL;
    } else if (*name == '\0') { // who meant everything would not have begun to name something
        api_say_error(call, 400, "the name is empty (leave the parameter out to mean everything)");
        return -EINVAL;
    } else if (app_has_target(call->app, name)) {
        *ret_scope = PAUSE_TARGET;
    } else if (app_has_rule(call->app, name)) {
        *ret_scope = PAUSE_RULE;
    } else {
        strbuf_add(&text, "there is no target and no rule '");
        escape_text(&text, name);
        strbuf_add(&text, "'");
        api_add_names(call->app, &text);
        api_answer_error(call, 404, &text);
        return -ENOENT;
    }
    *ret_name = TAKE_PTR(name);
    return 0;
}

// 0, or it was answered.
static int api_read_duration(const struct api_call *call, usec_t *ret) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    CLEANUP(freep) char *value = NULL;
    const char *why = NULL;
    int r = http_query_get(call->request->query, "for", &value);
    if (r == -ENOENT) {
        *ret = PAUSE_DEFAULT;
        return 0;
    }
    if (r == 0) {
        r = scalar_parse_duration(value, ret, &why);
    }
    if (r < 0) {
        strbuf_addf(&text, "the duration %s", why ? why : "cannot be read");
        api_answer_error(call, 400, &text);
    } else if (!pause_range_has(*ret, &text)) {
        api_answer_error(call, 400, &text);
        r = -EINVAL;
    }
    return r;
}

// ---- the commands

static const struct pause *api_find_pause(const struct pauses *pauses, enum pause_scope scope, const char *name) {
    for (size_t i = 0; i < pauses->n_items; i++) {
        if (pauses->items[i].scope == scope && strcmp(pauses->items[i].name, name) == 0) {
            return &pauses->items[i];
        }
    }
    return NULL;
}

void api_post_pause(const struct api_call *call) {
    CLEANUP(strbuf_deinit) struct strbuf message = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf warning = STRBUF_EMPTY;
    CLEANUP(freep) char *name = NULL;
    enum pause_scope scope;
    usec_t duration;
    struct pauses *pauses = call->app->pauses;
    if (api_read_name(call, &scope, &name) < 0 || api_read_duration(call, &duration) < 0) {
        return;
    }
    int r = pauses_add(pauses, scope, name, duration, api_asker(call->request), call->now, &warning);
    if (r < 0) {
        api_say_error(call, 503, r == -ENOSPC ? "too many pauses: resume some of them first" : "out of memory");
        return;
    }
    const struct pause *pause = api_find_pause(pauses, scope, name);
    pause_describe(pause, &message);
    strbuf_add(&message, " is paused for ");
    usec_render_exact(&message, duration);
    strbuf_add(&message, ", until ");
    pause_add_time(pause, &message);
    api_answer_done(call, &message, &warning);
}

static void api_resume_all(const struct api_call *call) {
    CLEANUP(strbuf_deinit) struct strbuf message = STRBUF_EMPTY;
    const struct strbuf warning = STRBUF_EMPTY;
    struct pauses *pauses = call->app->pauses;
    size_t n = pauses->n_items;
    for (size_t i = 0; i < n; i++) {
        const struct pause *pause = &pauses->items[0];
        CLEANUP(freep) char *name = strdup(pause->name);
        strbuf_add(&message, i > 0 ? ", " : "resumed: ");
        pause_describe(pause, &message);
        if (!name || !pauses_remove(pauses, pause->scope, name, api_asker(call->request), call->now)) {
            api_say_error(call, 503, "out of memory");
            return;
        }
    }
    strbuf_add(&message, n == 0 ? "nothing is paused" : "");
    api_answer_done(call, &message, &warning);
}

void api_post_resume(const struct api_call *call) {
    CLEANUP(strbuf_deinit) struct strbuf message = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf warning = STRBUF_EMPTY;
    CLEANUP(freep) char *name = NULL;
    enum pause_scope scope;
    struct pauses *pauses = call->app->pauses;
    if (api_read_name(call, &scope, &name) < 0) {
        return;
    }
    if (scope == PAUSE_ALL) {
        api_resume_all(call);
        return;
    }
    const struct pause *pause = api_find_pause(pauses, scope, name);
    bool all = api_find_pause(pauses, PAUSE_ALL, "") != NULL;
    if (!pause) {
        strbuf_addf(&message, "%s %s is not paused by itself%s", pause_scope_to_string(scope), name,
                    all ? ": everything is (resume without a name ends that)" : "");
        api_answer_error(call, 409, &message);
        return;
    }
    strbuf_add(&message, "resumed: ");
    pause_describe(pause, &message);
    (void)pauses_remove(pauses, scope, name, api_asker(call->request), call->now);
    strbuf_add(&warning, all ? "everything is still paused (resume without a name ends that)" : "");
    api_answer_done(call, &message, &warning);
}

void api_post_reload(const struct api_call *call) {
    CLEANUP(strbuf_deinit) struct strbuf verdict = STRBUF_EMPTY;
    bool ok = app_reload(call->app, api_asker(call->request), call->now, &verdict);
    api_answer_json(call, ok ? 200 : 422, json_pack("{s:b, s:s}", "ok", ok, "verdict", strbuf_str(&verdict)));
}
