// SPDX-License-Identifier: PostgreSQL
#include "app_state.h"

#include <stdlib.h>

void app_say(struct app_state *app, enum event_kind kind, enum event_level level, struct strbuf *detail) {
    struct event event = event_make(kind, level, NULL);
    event.detail = strbuf_str(detail);
    event.asker = app->asker;
    (void)sinks_emit(app->context.sinks, &event);
}

void app_add_count(struct strbuf *sb, size_t n, const char *what) {
    strbuf_addf(sb, "%zu %s%s", n, what, n == 1 ? "" : "s");
}

void app_show_targets(const struct app_state *app) {
    service_set_targets(app->service, app->targets, app->n_targets, !app->settings->config->policy->enforce);
}

struct target_options app_target_options(struct app_state *app, const struct settings *settings, size_t i) {
    return (struct target_options){
        .config = &settings->config->targets[i],
        .conninfo = settings->conninfos[i],
        .policy = settings->config->policy,
        .enforce = true, // as far as policy and target say so
        .competes = true,
        .fn = app->on_news,
        .userdata = app,
    };
}

struct target **app_free_targets(struct target **targets, size_t n) {
    for (size_t i = 0; targets && i < n; i++) {
        (void)target_free(targets[i]);
    }
    free(targets);
    return NULL;
}
