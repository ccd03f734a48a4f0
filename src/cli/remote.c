// SPDX-License-Identifier: PostgreSQL
#include "remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "commands.h"
#include "core/event.h"
#include "json_read.h"
#include "util/cleanup.h"
#include "util/escape.h"
#include "util/macro.h"

#define REMOTE_PING (2 * USEC_PER_SEC) // a daemon that is alive answers within milliseconds
#define REMOTE_EPOCH 946684800         // 2000-01-01 in seconds since 1970

// ---- asking

int remote_call(const struct settings *settings, const char *method, const char *target, const char *body,
                usec_t timeout, struct client_answer *ret) {
    CLEANUP(strbuf_deinit) struct strbuf why = STRBUF_EMPTY;
    const struct client_request request = {.socket = settings->config->control.socket,
                                           .method = method,
                                           .target = target,
                                           .body = body,
                                           .timeout = timeout};
    int r = client_call(&request, ret, &why);
    if (r < 0 && r != -ENOENT && r != -ECONNREFUSED) {
        cli_warning(r == -EACCES || r == -EPERM ? "%s; the servers are asked directly" : "%s", strbuf_str(&why));
    }
    return r;
}

bool remote_find(const struct settings *settings, bool direct, const char *conninfo) {
    CLEANUP(client_answer_deinit) struct client_answer answer = {0};
    if (direct || conninfo || !settings->config->control.socket) {
        return false;
    }
    return remote_call(settings, "GET", "/healthz", NULL, REMOTE_PING, &answer) == 0;
}

// ---- reading

// "2026-11-25T12:30:00.123456Z", of a server.
static int64_t remote_time(json_t *object, const char *key) {
    struct tm tm = {0};
    int usec = 0;
    if (sscanf(json_read_text(object, key), "%4d-%2d-%2dT%2d:%2d:%2d.%6d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday,
               &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &usec) < 6) {
        return TIMESTAMP_NONE;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    return ((int64_t)timegm(&tm) - REMOTE_EPOCH) * (int64_t)USEC_PER_SEC + usec;
}

static enum session_state remote_state(json_t *object) {
    enum session_state state = SESSION_STATE_NONE;
    const char *text = json_read_text(object, "state");
    for (unsigned i = 0; i < N_SESSION_STATES; i++) {
        if (strcmp(session_state_to_string((enum session_state)i), text) == 0) {
            state = (enum session_state)i;
        }
    }
    return state;
}

void remote_read_session(json_t *object, struct session_row *ret) {
    const char *why;
    struct network network = {.address = {.family = ADDRESS_LOCAL}};
    (void)network_parse(json_read_text(object, "client"), &network, &why);
    *ret = (struct session_row){
        .id = {.id = json_read_number(object, "pid"), .since = remote_time(object, "backend_start")},
        .application_name = json_read_text(object, "application_name"),
        .user = json_read_text(object, "user"),
        .database = json_read_text(object, "database"),
        .client = network.address,
        .state = remote_state(object),
        .state_change = TIMESTAMP_NONE,
        .query_start = TIMESTAMP_NONE,
        .xact_start = TIMESTAMP_NONE,
    };
}

static size_t remote_read_sessions(json_t *array, struct summary_session *sessions) {
    size_t n = MIN(json_array_size(array), (size_t)SUMMARY_MAX_SESSIONS);
    for (size_t i = 0; i < n; i++) {
        json_t *item = json_array_get(array, i);
        remote_read_session(item, &sessions[i].session);
        sessions[i].app = json_read_text(item, "app");
        sessions[i].age = json_read_seconds(item, "age_seconds", 0);
    }
    return n;
}

static void remote_read_facts(json_t *object, struct summary *summary) {
    json_t *server = json_object_get(object, "server"), *slots = json_object_get(object, "slots");
    summary->valid = true;
    summary->server_now = remote_time(server, "time");
    summary->facts = (struct server_facts){
        .version_num = (int)json_read_number(server, "version_num"),
        .in_recovery = json_read_flag(server, "in_recovery"),
        .max_connections = json_read_number(slots, "max_connections"),
        .superuser_reserved_connections = json_read_number(slots, "superuser_reserved_connections"),
        .reserved_connections = json_read_number(slots, "reserved_connections"),
        .own_pid = json_read_number(server, "own_pid"),
        .own_user = "",
    };
    summary->used = json_read_number(slots, "used");
    summary->usable = MAX(json_read_number(slots, "usable"), 1);
}

static int remote_read_groups(json_t *array, struct summary *summary) {
    size_t n = json_array_size(array);
    summary->groups = calloc(n + 1, sizeof(*summary->groups));
    if (!summary->groups) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        json_t *item = json_array_get(array, i);
        summary->groups[i] = (struct summary_group){
            .app = json_read_text(item, "app"),
            .is_app = json_read_flag(item, "is_app"),
            .user = json_read_text(item, "user"),
            .database = json_read_text(item, "database"),
            .state = remote_state(item),
            .n_sessions = json_read_number(item, "sessions"),
            .longest = json_read_seconds(item, "longest_seconds", 0),
        };
    }
    summary->n_groups = n;
    return 0;
}

void remote_read_held(json_t *object, int64_t held[N_HELD_REASONS_]) {
    for (unsigned i = 0; i < N_HELD_REASONS; i++) {
        held[i] = json_read_number(object, held_reason_to_string((enum held_reason)i));
    }
}

static int remote_read_rules(json_t *array, struct summary *summary) {
    size_t n = json_array_size(array);
    summary->rules = calloc(n + 1, sizeof(*summary->rules));
    if (!summary->rules) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        json_t *item = json_array_get(array, i);
        struct summary_rule *rule = &summary->rules[i];
        *rule = (struct summary_rule){
            .name = json_read_text(item, "name"),
            .is_quota = strcmp(json_read_text(item, "kind"), "quota") == 0,
            .enforce = json_read_flag(item, "enforcing"),
            .paused = json_read_flag(item, "paused"),
            .n_covered = json_read_number(item, "covers"),
            .n_matches = json_read_number(item, "matches"),
        };
        (void)action_from_string(json_read_text(item, "action"), &rule->action);
        remote_read_held(json_object_get(item, "held_back"), rule->n_held);
    }
    summary->n_rules = n;
    return 0;
}

static int remote_read_alarms(json_t *array, struct summary *summary) {
    size_t n = json_array_size(array);
    summary->alarms = calloc(n + 1, sizeof(*summary->alarms));
    if (!summary->alarms) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++) {
        json_t *item = json_array_get(array, i), *value = json_object_get(item, "value");
        summary->alarms[i] = (struct summary_alarm){
            .name = json_read_text(item, "name"),
            .group = json_string_value(json_object_get(item, "group")),
            .severity =
                strcmp(json_read_text(item, "severity"), "critical") == 0 ? SEVERITY_CRITICAL : SEVERITY_WARNING,
            .value = json_is_integer(value) ? json_integer_value(value) : EVENT_NUMBER_NONE,
            .detail = json_string_value(json_object_get(item, "detail")),
            .hint = json_string_value(json_object_get(item, "hint")),
        };
    }
    summary->n_alarms = n;
    return 0;
}

void remote_read_error(json_t *error, struct pg_error *ret) {
    *ret = (struct pg_error){.kind = PG_ERROR_OTHER};
    for (unsigned i = 0; i < (unsigned)PG_N_ERROR_KINDS_; i++) {
        if (strcmp(pg_error_kind_to_string((enum pg_error_kind)i), json_read_text(error, "kind")) == 0) {
            ret->kind = (enum pg_error_kind)i;
        }
    }
    const char *message = *json_read_text(error, "message")
                              ? json_read_text(error, "message")
                              : "the daemon has only just started, and not polled it yet: try again";
    pg_error_set(ret, ret->kind, json_read_text(error, "sqlstate"), message);
}

// ---- findings

static size_t remote_count_findings(json_t *targets) {
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(targets); i++) {
        n += json_array_size(json_object_get(json_array_get(targets, i), "findings"));
    }
    return n;
}

static size_t remote_read_findings(json_t *target, struct event *findings) {
    json_t *array = json_object_get(target, "findings");
    size_t n = json_array_size(array);
    for (size_t i = 0; i < n; i++) {
        json_t *item = json_array_get(array, i);
        enum event_level level = EVENT_INFO;
        (void)event_level_from_string(json_read_text(item, "level"), &level);
        findings[i] = event_make(EVENT_SELF_CHECK, level, json_read_text(target, "target"));
        findings[i].reason = json_read_text(item, "reason");
        findings[i].detail = json_read_text(item, "detail");
        findings[i].hint = json_string_value(json_object_get(item, "hint"));
    }
    return n;
}

// ---- all of it

static json_t *remote_find_target(json_t *targets, const char *name) {
    for (size_t i = 0; i < json_array_size(targets); i++) {
        if (strcmp(json_read_text(json_array_get(targets, i), "target"), name) == 0) {
            return json_array_get(targets, i);
        }
    }
    return NULL;
}

static int remote_read_target(json_t *object, struct oneshot_verdict *verdict) {
    verdict->ok = json_read_flag(object, "current") && json_read_flag(object, "up") &&
                  json_is_object(json_object_get(object, "slots"));
    if (!verdict->ok) {
        remote_read_error(json_object_get(object, "error"), &verdict->error);
        return 0;
    }
    struct summary *summary = &verdict->summary;
    remote_read_facts(object, summary);
    summary->n_longest_idle = remote_read_sessions(json_object_get(object, "longest_idle"), summary->longest_idle);
    summary->n_longest_transaction =
        remote_read_sessions(json_object_get(object, "longest_transactions"), summary->longest_transaction);
    int r = remote_read_groups(json_object_get(object, "groups"), summary);
    if (r == 0) {
        r = remote_read_rules(json_object_get(object, "rules"), summary);
    }
    return r < 0 ? r : remote_read_alarms(json_object_get(object, "alarms"), summary);
}

void remote_result_deinit(struct remote_result *remote) {
    oneshot_result_deinit(&remote->result);
    json_decref(remote->document);
    free(remote->findings);
    *remote = (struct remote_result){0};
}

// Whether the daemon's target is the server that our file means; if not, that is told.
static bool remote_is_same(const struct settings *settings, size_t i, json_t *object) {
    CLEANUP(strbuf_deinit) struct strbuf shown = STRBUF_EMPTY;
    const char *name = settings->config->targets[i].name;
    const char *address = json_string_value(json_object_get(object, "address"));
    if (!object) {
        cli_warning("the running daemon does not watch '%s' (pgvigil reload?): the servers are asked directly", name);
        return false;
    }
    if (address && strcmp(address, conninfo_shown(settings->conninfos[i])) != 0) {
        escape_text(&shown, address);
        cli_warning("the running daemon is not asked: its '%s' is %s: the servers are asked directly", name,
                    strbuf_str(&shown));
        return false;
    }
    return true;
}

void remote_tell_scope(const struct settings *settings, json_t *document) {
    const char *scope = json_string_value(json_object_get(json_object_get(document, "configuration"), "scope"));
    if (scope && strcmp(scope, settings->config->scope) != 0) {
        cli_warning("the running daemon goes by other apps or protections than %s (pgvigil reload?): this is its view; "
                    "--direct goes by the file",
                    settings->source);
    }
}

int remote_read(const struct settings *settings, const char *target, json_t *document, struct remote_result *ret) {
    CLEANUP(remote_result_deinit) struct remote_result remote = {.document = document};
    const struct config *config = settings->config;
    json_t *targets = json_object_get(document, "targets");
    size_t n_findings = 0;
    if (!json_is_array(targets)) {
        return -EBADMSG;
    }
    remote.result.verdicts = calloc(config->n_targets + 1, sizeof(*remote.result.verdicts));
    remote.findings = calloc(remote_count_findings(targets) + 1, sizeof(*remote.findings));
    if (!remote.result.verdicts || !remote.findings) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < config->n_targets; i++) {
        const char *name = config->targets[i].name;
        if (target && strcmp(target, name) != 0) {
            continue;
        }
        json_t *object = remote_find_target(targets, name);
        if (!remote_is_same(settings, i, object)) {
            return -ENOENT;
        }
        struct oneshot_verdict *verdict = &remote.result.verdicts[remote.result.n_verdicts++];
        *verdict = (struct oneshot_verdict){.target = name, .index = i, .findings = remote.findings + n_findings};
        verdict->n_findings = remote_read_findings(object, remote.findings + n_findings);
        n_findings += verdict->n_findings;
        int r = remote_read_target(object, verdict);
        if (r < 0) {
            return r;
        }
    }
    *ret = remote;
    remote = (struct remote_result){0};
    return 0;
}
