// SPDX-License-Identifier: PostgreSQL
#include "target_say.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util/array.h"
#include "util/strbuf.h"

static const char *const target_hints[PG_N_ERROR_KINDS_] = {
    [PG_ERROR_UNREACHABLE] = "see that the server runs and that conninfo names its host and port",
    [PG_ERROR_TIMEOUT] = "see that the server and the network between answer within connect_timeout and query_timeout",
    [PG_ERROR_FULL] = "end sessions as a superuser or raise max_connections; from PostgreSQL 16 on set "
                      "reserved_connections and GRANT pg_use_reserved_connections to our role",
    [PG_ERROR_OWN_LIMIT] = "the server is not full: ALTER ROLE or ALTER DATABASE ... CONNECTION LIMIT -1, as the "
                           "message names it",
    [PG_ERROR_DATABASE] = "see that dbname in conninfo exists, and GRANT CONNECT ON DATABASE to our role",
    [PG_ERROR_DENIED] = "GRANT pg_monitor TO our role, or where it has that, let it inherit it: the self-check names "
                        "the statement, and pgvigil setup-sql prints all that our role needs",
    [PG_ERROR_CANCELLED] = "raise query_timeout if the server needs longer",
    [PG_ERROR_PROTOCOL] = "see that conninfo names a PostgreSQL server of a supported version, 13 to 18",
};

static const char *target_reason(enum outage_stage stage, enum pg_error_kind kind) {
    switch (stage) {
    case OUTAGE_PASSWORD_FILE:
        return "password_file";
    case OUTAGE_POLL:
        return "poll_failed";
    case OUTAGE_CONNECT:
    case N_OUTAGE_STAGES_:
        break;
    }
    return pg_error_kind_to_string(kind);
}

const char *target_hint(enum outage_stage stage, const struct pg_error *error) {
    if (stage == OUTAGE_PASSWORD_FILE) {
        return "the file holds the password in its first line and is readable for us";
    }
    return error->kind == PG_ERROR_AUTH ? pg_error_auth_hint(error) : target_hints[error->kind];
}

void target_say_down(struct sinks *sinks, const char *target, enum outage_stage stage, const struct pg_error *error,
                     int64_t count) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    bool is_locked_out = stage == OUTAGE_CONNECT && error->kind == PG_ERROR_FULL;
    struct event event = event_make(is_locked_out ? EVENT_LOCKED_OUT : EVENT_TARGET_DOWN,
                                    stage == OUTAGE_POLL ? EVENT_WARNING : EVENT_ERROR, target);
    event.reason = target_reason(stage, error->kind);
    event.sqlstate = error->sqlstate[0] ? error->sqlstate : NULL;
    strbuf_add(&detail, stage == OUTAGE_POLL ? "a poll failed, the connection stands: " : "");
    strbuf_add(&detail, error->message);
    event.detail = strbuf_str(&detail);
    event.hint = target_hint(stage, error);
    event.count = count;
    (void)sinks_emit(sinks, &event);
}

static void target_add_version(struct strbuf *sb, int version_num) {
    strbuf_addf(sb, "PostgreSQL %d.%d", version_num / 10000, version_num % 10000);
}

void target_say_up(struct sinks *sinks, const char *target, const struct server *server, const struct scan *scan,
                   const struct outage *outage, usec_t now) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    struct event event = event_make(EVENT_TARGET_UP, EVENT_NOTICE, target);
    target_add_version(&detail, server->version_num);
    if (scan->facts.in_recovery) {
        strbuf_add(&detail, ", in recovery");
    }
    if (server->observe_only) {
        strbuf_add(&detail, ", behind a pooler");
    }
    if (outage->active) {
        strbuf_add(&detail, ", back after ");
        usec_render(&detail, usec_sub(now, outage->since));
        if (outage->n_tries > 0) {
            strbuf_addf(&detail, " and %lld failed %s", (long long)outage->n_tries,
                        outage->n_tries == 1 ? "try" : "tries");
        }
        event.took = usec_sub(now, outage->since);
    }
    event.detail = strbuf_str(&detail);
    event.used = (int64_t)scan->n_rows;
    event.usable = server_facts_usable(&scan->facts);
    (void)sinks_emit(sinks, &event);
}

void target_describe_holder(char *text, size_t size, int64_t pid) {
    if (pid > 0) {
        (void)snprintf(text, size, "session %" PRId64 " of another role holds our lock: it is ignored, and we act",
                       pid);
    } else {
        (void)snprintf(text, size, "a prepared transaction holds our lock: it is ignored, and we act");
    }
}

void target_say_standing(struct sinks *sinks, const char *target, enum standing before, enum standing now, int64_t pid,
                         const char *detail) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    struct event event = event_make(EVENT_LEADERSHIP, EVENT_NOTICE, target);
    switch (now) {
    case STANDING_NONE:
        event.reason = "released";
        strbuf_add(&text, "we no longer enforce, and let another pgvigil act");
        break;
    case STANDING_LEADS:
        // The only one there is, most often.
        event.level = before == STANDING_NONE ? EVENT_INFO : EVENT_NOTICE;
        event.reason = "leads";
        strbuf_add(&text,
                   before == STANDING_FOLLOWS ? "we take over, and act from now on" : "we are the one that acts");
        break;
    case STANDING_FOLLOWS:
        event.reason = "follows";
        strbuf_addf(&text, "another pgvigil acts, session %" PRId64 "; we watch, ready to take over", pid);
        break;
    case STANDING_UNKNOWN:
        event.level = EVENT_WARNING;
        event.reason = "unknown_holder";
        strbuf_add(&text, detail);
        break;
    case STANDING_FAILED:
        event.level = EVENT_WARNING;
        event.reason = "failed";
        strbuf_addf(&text, "cannot ask who acts: %s", detail);
        break;
    }
    event.detail = strbuf_str(&text);
    (void)sinks_emit(sinks, &event);
}

static void findings_free_strings(const struct event *event) {
    const char *strings[] = {event->reason, event->detail, event->hint};
    for (size_t i = 0; i < ARRAY_SIZE(strings); i++) {
        union {
            const char *borrowed;
            char *owned;
        } string = {strings[i]};
        free(string.owned);
    }
}

void findings_deinit(struct findings *findings) {
    for (size_t i = 0; i < findings->n_events; i++) {
        findings_free_strings(&findings->events[i]);
    }
    free(findings->events);
    *findings = (struct findings){0};
}

static int findings_copy(const char *s, const char **ret) {
    *ret = s ? strdup(s) : NULL;
    return s && !*ret ? -ENOMEM : 0;
}

static int findings_read(struct findings *findings, const char *target, const struct server *server) {
    struct finding finding;
    size_t capacity = 0;
    for (size_t i = 0; server->kind->finding(server, i, &finding); i++) {
        if (ARRAY_RESERVE(findings->events, capacity, findings->n_events) < 0) {
            return -ENOMEM;
        }
        struct event *event = &findings->events[findings->n_events++];
        *event = event_make(EVENT_SELF_CHECK, finding.level, target);
        if (findings_copy(finding.reason, &event->reason) < 0 || findings_copy(finding.detail, &event->detail) < 0 ||
            findings_copy(finding.hint, &event->hint) < 0) {
            return -ENOMEM;
        }
    }
    return 0;
}

static bool findings_is_same(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool findings_has(const struct findings *findings, const struct event *event) {
    for (size_t i = 0; i < findings->n_events; i++) {
        const struct event *other = &findings->events[i];
        if (findings_is_same(other->reason, event->reason) && findings_is_same(other->detail, event->detail) &&
            findings_is_same(other->hint, event->hint)) {
            return true;
        }
    }
    return false;
}

const struct event *findings_find(const struct findings *findings, const char *reason) {
    for (size_t i = 0; i < findings->n_events; i++) {
        if (strcmp(findings->events[i].reason, reason) == 0) {
            return &findings->events[i];
        }
    }
    return NULL;
}

int findings_replace(struct findings *findings, struct sinks *sinks, const char *target, const struct server *server) {
    CLEANUP(findings_deinit) struct findings fresh = {0};
    int r = findings_read(&fresh, target, server);
    if (r < 0) {
        return r;
    }
    for (size_t i = 0; i < fresh.n_events; i++) {
        if (!findings_has(findings, &fresh.events[i])) {
            (void)sinks_emit(sinks, &fresh.events[i]);
        }
    }
    struct findings old = *findings;
    *findings = fresh;
    fresh = old;
    return 0;
}
