// SPDX-License-Identifier: PostgreSQL
#pragma once

// What the daemon knows of itself; for its parts only: app.c (order of start and stop, signals), app_reload.c,
// app_pause.c, and the API. Each calls only those below it.

#include "daemon/app.h"
#include "daemon/loop.h"
#include "daemon/resolver.h"
#include "daemon/sinks.h"
#include "daemon/target.h"
#include "daemon/webhooks.h"
#include "front.h"
#include "pause.h"
#include "service.h"
#include "util/strbuf.h"
#include "view.h"

struct app_state {
    struct settings *settings;
    struct diag_list diags; // what the settings point into
    struct settings_options source;
    struct target_context context;
    struct view_source *view;
    struct webhooks *webhooks;
    struct target **targets; // in the order of the settings
    size_t n_targets;
    void (*on_news)(void *userdata, struct target *target, enum target_news news, usec_t now); // of each target
    bool has_rejected;       // the last reload: the alarm is raised
    struct kept *kept;       // answers that several ask for
    struct api_fresh *fresh; // answers that wait for polls
    struct api_reap *reap;
    struct pauses *pauses;
    struct front *front;     // what is served
    struct service *service; // what the service manager is told
    struct loop_signal *on_term;
    struct loop_signal *on_int;
    struct loop_signal *on_hup;
    struct event_asker asker; // of the reload that is under way
    struct strbuf why;        // the last thing that could not be had
    const char *stopped_by;   // NULL: not asked to stop
};

// ---- app_state.c

void app_say(struct app_state *app, enum event_kind kind, enum event_level level, struct strbuf *detail);
void app_add_count(struct strbuf *sb, size_t n, const char *what); // "2 targets"
struct target_options app_target_options(struct app_state *app, const struct settings *settings, size_t i);
void app_show_targets(const struct app_state *app);                  // whoever looks at them hears that they are others
struct target **app_free_targets(struct target **targets, size_t n); // returns NULL

// ---- app_reload.c

// Reads the file again. False: nothing has changed. `verdict`: lines for whoever asked, mistakes with their positions;
// NULL: nobody asked.
bool app_reload(struct app_state *app, struct event_asker asker, usec_t now, struct strbuf *verdict);

// ---- app_pause.c

int app_open_pauses(struct app_state *app); // after the front; 0 or -ENOMEM
void app_restore_pauses(struct app_state *app, usec_t now);
void app_retain_pauses(struct app_state *app, usec_t now); // after a reload: what is no more cannot be paused
bool app_has_target(const struct app_state *app, const char *name);
bool app_has_rule(const struct app_state *app, const char *name);
const char *app_rule_name(const struct app_state *app, size_t i); // in file order; NULL: there are no more
