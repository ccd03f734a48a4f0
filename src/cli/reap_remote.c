// SPDX-License-Identifier: PostgreSQL
#include "reap_remote.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "json_read.h"
#include "remote.h"
#include "util/cleanup.h"
#include "util/escape.h"

#define REAP_REMOTE_TIMEOUT (40 * USEC_PER_SEC) // the daemon takes half of that at most

// ---- the question

static json_t *reap_remote_match(const struct reap_spec *spec) {
    json_t *match = json_object();
    for (unsigned key = 0; key < N_SELECTOR_KEYS; key++) {
        json_t *texts = spec->match[key].n_items > 0 ? json_array() : NULL;
        for (size_t i = 0; i < spec->match[key].n_items; i++) {
            // Text that is no UTF-8 can be no name in a document.
            if (json_array_append_new(texts, json_string(spec->match[key].items[i])) < 0) {
                json_decref(texts);
                json_decref(match);
                return NULL;
            }
        }
        if (texts && json_object_set_new(match, selector_key_to_string((enum selector_key)key), texts) < 0) {
            json_decref(match);
            return NULL;
        }
    }
    return match;
}

// Each with its address: to the daemon the name may stand for another server. NULL: out of memory.
static json_t *reap_remote_targets(const struct settings *settings, const char *only) {
    const struct config *config = settings->config;
    json_t *targets = json_array();
    for (size_t i = 0; i < config->n_targets; i++) {
        const char *name = config->targets[i].name;
        if ((!only || strcmp(only, name) == 0) &&
            json_array_append_new(targets, json_pack("{s:s, s:s}", "target", name, "address",
                                                     conninfo_shown(settings->conninfos[i]))) < 0) {
            json_decref(targets);
            return NULL;
        }
    }
    return targets;
}

// free() it; NULL: it cannot be said, or out of memory.
static char *reap_remote_ask(const struct settings *settings, const char *only, const struct reap_spec *spec) {
    static const char *const rules[] = {
        [REAP_IDLE] = "idle", [REAP_IDLE_IN_TRANSACTION] = "idle_in_transaction", [REAP_ACTIVE] = "active"};
    json_t *match = reap_remote_match(spec);
    bool has_match = json_object_size(match) > 0;
    json_t *body = match ? json_pack("{s:s, s:I, s:b, s:b, s:o*}", "scope", settings->config->scope, "keep",
                                     (json_int_t)spec->keep, "cancel", spec->cancel, "yes", spec->yes, "match",
                                     has_match ? match : NULL)
                         : NULL;
    if (!has_match) {
        json_decref(match);
    }
    int r = body ? json_object_set_new(body, "targets", reap_remote_targets(settings, only)) : -1;
    if (r == 0 && spec->max != LIMIT_NONE) {
        r = json_object_set_new(body, "max", json_integer(spec->max));
    }
    for (unsigned i = 0; r == 0 && i < N_REAP_RULES; i++) {
        if (spec->after[i] != USEC_INFINITY) {
            r = json_object_set_new(body, rules[i], json_integer((json_int_t)spec->after[i]));
        }
    }
    char *text = r == 0 ? json_dumps(body, JSON_ENSURE_ASCII) : NULL;
    json_decref(body);
    return text;
}

// ---- the answer

static bool reap_remote_read_event(json_t *object, struct event *event, struct session_row *session) {
    const char *kind = json_read_text(object, "event"), *outcome = json_read_text(object, "outcome");
    bool is_decision = strcmp(kind, event_kind_to_string(EVENT_DECISION)) == 0;
    bool is_outcome = strcmp(kind, event_kind_to_string(EVENT_OUTCOME)) == 0;
    *event = event_make(is_decision ? EVENT_DECISION : EVENT_OUTCOME, EVENT_NOTICE, json_read_text(object, "target"));
    event->rule = json_read_text(object, "rule");
    event->app = json_read_text(object, "app");
    event->has_action = action_from_string(json_read_text(object, "action"), &event->action);
    event->observe = json_read_flag(object, "observe");
    event->age = (usec_t)json_integer_value(json_object_get(object, "age_usec"));
    for (unsigned i = 0; i < N_OUTCOMES; i++) {
        if (strcmp(outcome_to_string((enum outcome)i), outcome) == 0) {
            event->outcome = (enum outcome)i;
        }
    }
    remote_read_session(object, session);
    event->session = session;
    return (is_decision || is_outcome) && event->has_action;
}

static int reap_remote_read_verdicts(const struct settings *settings, json_t *targets, struct oneshot_result *ret) {
    const struct config *config = settings->config;
    ret->verdicts = calloc(json_array_size(targets) + 1, sizeof(*ret->verdicts));
    if (!ret->verdicts) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < json_array_size(targets); i++) {
        json_t *object = json_array_get(targets, i);
        size_t index = 0;
        while (index < config->n_targets &&
               strcmp(config->targets[index].name, json_read_text(object, "target")) != 0) {
            index++;
        }
        if (index == config->n_targets) {
            continue; // one that our file does not know
        }
        struct oneshot_verdict *verdict = &ret->verdicts[ret->n_verdicts++];
        *verdict = (struct oneshot_verdict){.target = config->targets[index].name, .index = index};
        verdict->ok = json_read_flag(object, "ok");
        remote_read_error(json_object_get(object, "error"), &verdict->error);
        verdict->summary.rules = calloc(1, sizeof(*verdict->summary.rules));
        if (!verdict->summary.rules) {
            return -ENOMEM;
        }
        verdict->summary.n_rules = 1;
        remote_read_held(json_object_get(object, "held_back"), verdict->summary.rules[0].n_held);
    }
    return 0;
}

static bool reap_remote_knows(const struct settings *settings, const char *target) {
    for (size_t i = 0; i < settings->config->n_targets; i++) {
        if (strcmp(settings->config->targets[i].name, target) == 0) {
            return true;
        }
    }
    return false;
}

static enum reap_remote_result reap_remote_read(const struct settings *settings, json_t *document,
                                                void (*fn)(void *userdata, const struct event *event,
                                                           const char *message),
                                                void *userdata, struct oneshot_result *ret) {
    json_t *events = json_object_get(document, "events");
    if (!json_is_array(events)) {
        cli_error("the daemon's answer cannot be read; its log tells what it has done");
        return REAP_REMOTE_FAILED;
    }
    for (size_t i = 0; i < json_array_size(events); i++) {
        json_t *object = json_array_get(events, i);
        struct event event;
        struct session_row session;
        if (reap_remote_read_event(object, &event, &session) && reap_remote_knows(settings, event.target)) {
            fn(userdata, &event, json_read_text(object, "message"));
        }
    }
    if (reap_remote_read_verdicts(settings, json_object_get(document, "targets"), ret) < 0) {
        (void)cli_out_of_memory();
        return REAP_REMOTE_FAILED;
    }
    return REAP_REMOTE_DONE;
}

enum reap_remote_result reap_remote(const struct settings *settings, const char *target, const struct reap_spec *spec,
                                    void (*fn)(void *userdata, const struct event *event, const char *message),
                                    void *userdata, struct oneshot_result *ret) {
    CLEANUP(client_answer_deinit) struct client_answer answer = {0};
    CLEANUP(freep) char *body = reap_remote_ask(settings, target, spec);
    if (!body) {
        cli_warning("the running daemon cannot be asked for this: the servers are asked directly");
        return REAP_REMOTE_CANNOT;
    }
    int r = remote_call(settings, "POST", "/api/v1/reap", body, REAP_REMOTE_TIMEOUT, &answer);
    if (r < 0) {
        // What was asked for may be under way.
        return r == -ENOENT || r == -ECONNREFUSED ? REAP_REMOTE_CANNOT : REAP_REMOTE_FAILED;
    }
    json_t *document = json_loadb(strbuf_str(&answer.body), answer.body.len, 0, NULL);
    enum reap_remote_result result = REAP_REMOTE_FAILED;
    if (answer.status == 200) {
        result = reap_remote_read(settings, document, fn, userdata, ret);
    } else {
        CLEANUP(strbuf_deinit) struct strbuf why = STRBUF_EMPTY;
        bool may_not = answer.status == 403 || answer.status == 404 || answer.status == 412;
        const char *error = json_string_value(json_object_get(document, "error"));
        escape_text(&why, error ? error : "it takes no commands from you");
        if (may_not) {
            cli_warning("the running daemon is not asked: %s: the servers are asked directly", strbuf_str(&why));
        } else {
            cli_error("the running daemon cannot do it: %s (--direct does without it)", strbuf_str(&why));
        }
        result = may_not ? REAP_REMOTE_CANNOT : REAP_REMOTE_FAILED;
    }
    json_decref(document);
    return result;
}
