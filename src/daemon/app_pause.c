// SPDX-License-Identifier: PostgreSQL

// Pauses of the daemon: where they are remembered, and who hears of them.

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "app_state.h"

#define APP_STATE_VARIABLE "STATE_DIRECTORY" // set by the service manager: a list, of which the first is taken
#define APP_PAUSES_FILE "/pauses.json"

// Of several daemons beside each other each has a socket of its own, and so a file of its own.
static void app_add_pauses_path(const struct app_state *app, struct strbuf *sb) {
    const char *folders = getenv(APP_STATE_VARIABLE);
    size_t len = folders ? strcspn(folders, ":") : 0;
    if (len > 0) {
        strbuf_add_bytes(sb, folders, len);
        strbuf_add(sb, APP_PAUSES_FILE);
    } else if (front_socket(app->front)) {
        strbuf_addf(sb, "%s.pauses", front_socket(app->front));
    }
}

static int app_place_pauses(struct app_state *app) {
    CLEANUP(strbuf_deinit) struct strbuf path = STRBUF_EMPTY;
    app_add_pauses_path(app, &path);
    if (strbuf_error(&path) < 0) {
        return -ENOMEM;
    }
    return path.len > 0 ? pauses_set_path(app->pauses, strbuf_str(&path)) : 0;
}

// The next start looks where the file says by then. Without a place it stays where it is.
static void app_move_pauses(struct app_state *app) {
    CLEANUP(strbuf_deinit) struct strbuf path = STRBUF_EMPTY;
    app_add_pauses_path(app, &path);
    int r = strbuf_error(&path);
    if (r == 0 && path.len > 0) {
        r = pauses_move(app->pauses, strbuf_str(&path));
    }
    if (r < 0) {
        CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
        strbuf_addf(&detail, "what is paused will not outlive a restart: %s cannot be written: %s", strbuf_str(&path),
                    strerror(-r));
        app_say(app, EVENT_CONFIG_LOADED, EVENT_WARNING, &detail);
    }
}

static void app_on_pauses(void *userdata, usec_t now) {
    struct app_state *app = userdata;
    for (size_t i = 0; i < app->n_targets; i++) {
        target_note_pause(app->targets[i], now);
    }
}

int app_open_pauses(struct app_state *app) {
    app->pauses = pauses_new(app->context.loop, app->context.sinks, app_on_pauses, app);
    app->context.pauses = app->pauses;
    service_set_pauses(app->service, app->pauses);
    return app->pauses ? app_place_pauses(app) : -ENOMEM;
}

bool app_has_target(const struct app_state *app, const char *name) {
    for (size_t i = 0; i < app->n_targets; i++) {
        if (strcmp(target_name(app->targets[i]), name) == 0) {
            return true;
        }
    }
    return false;
}

const char *app_rule_name(const struct app_state *app, size_t i) {
    const struct policy *policy = app->settings->config->policy;
    if (i < policy->n_timeouts) {
        return policy->timeouts[i].name;
    }
    i -= policy->n_timeouts;
    return i < policy->n_quotas ? policy->quotas[i].name : NULL;
}

bool app_has_rule(const struct app_state *app, const char *name) {
    for (size_t i = 0; app_rule_name(app, i); i++) {
        if (strcmp(app_rule_name(app, i), name) == 0) {
            return true;
        }
    }
    return false;
}

static bool app_knows_paused(void *userdata, const struct pause *pause) {
    const struct app_state *app = userdata;
    switch (pause->scope) {
    case PAUSE_ALL:
        return true;
    case PAUSE_TARGET:
        return app_has_target(app, pause->name);
    case PAUSE_RULE:
        return app_has_rule(app, pause->name);
    case N_PAUSE_SCOPES:
        break;
    }
    return false;
}

void app_restore_pauses(struct app_state *app, usec_t now) {
    pauses_restore(app->pauses, now);
    pauses_retain(app->pauses, app_knows_paused, app, now);
}

void app_retain_pauses(struct app_state *app, usec_t now) {
    app_move_pauses(app);
    pauses_retain(app->pauses, app_knows_paused, app, now);
}
