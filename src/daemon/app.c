// SPDX-License-Identifier: PostgreSQL
#include "daemon/app.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "daemon/loop.h"
#include "daemon/resolver.h"
#include "daemon/sinks.h"
#include "daemon/target.h"
#include "reload.h"
#include "service.h"
#include "util/strbuf.h"
#include "view.h"

// Glibc gives what a poll has freed back to the kernel and fetches it again for the next, page by page: with these the
// client's part of a poll of 1,000 sessions takes 0.36 ms instead of 0.48.
#define APP_MALLOC_KEEPS (32 << 20)
#define APP_MAX_MISTAKES 10 // of a refused file, that are logged one by one

struct app_state {
    struct settings *settings;
    struct diag_list diags; // what the settings point into
    struct settings_options source;
    struct target_context context;
    struct view_source *view;
    struct target **targets; // in the order of the settings
    size_t n_targets;
    bool has_rejected;       // the last reload: the alarm is raised
    struct service *service; // what the service manager is told
    struct loop_signal *on_term;
    struct loop_signal *on_int;
    struct loop_signal *on_hup;
    const char *stopped_by; // NULL: not asked to stop
};

// ---- signals

static void app_on_term(void *userdata, usec_t now) {
    struct app_state *app = userdata;
    (void)now;
    app->stopped_by = "SIGTERM";
    loop_stop(app->context.loop);
}

static void app_on_int(void *userdata, usec_t now) {
    struct app_state *app = userdata;
    (void)now;
    app->stopped_by = "SIGINT";
    loop_stop(app->context.loop);
}

// While we stop the loop does not run, and nothing else would hear of a second signal; as process 1 the default action
// would not end us either.
static void app_exit_at_once(int signo) {
    _exit(128 + signo);
}

static void app_handle(int signo, void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(signo, &action, NULL);
}

static void app_expect_second_signal(struct app_state *app) {
    app->on_term = loop_signal_free(app->on_term);
    app->on_int = loop_signal_free(app->on_int);
    app->on_hup = loop_signal_free(app->on_hup);
    app_handle(SIGTERM, app_exit_at_once);
    app_handle(SIGINT, app_exit_at_once);
    app_handle(SIGHUP, SIG_IGN);
}

// ---- events of the process

static void app_say(struct app_state *app, enum event_kind kind, enum event_level level, struct strbuf *detail) {
    struct event event = event_make(kind, level, NULL);
    event.detail = strbuf_str(detail);
    (void)sinks_emit(app->context.sinks, &event);
}

static void app_add_count(struct strbuf *sb, size_t n, const char *what) {
    strbuf_addf(sb, "%zu %s%s", n, what, n == 1 ? "" : "s");
}

static void app_say_start(struct app_state *app) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    const struct settings *settings = app->settings;
    const struct config *config = settings->config;
    const struct policy *policy = config->policy;
    size_t n_rules = policy->n_timeouts + policy->n_quotas;
    const char *file = settings->file ? settings->file : "no file";
    strbuf_addf(&detail, "version %s, %s, %s, ", PGVIGIL_VERSION, policy->enforce ? "enforcing" : "observing", file);
    app_add_count(&detail, config->n_targets, "target");
    strbuf_add(&detail, ", ");
    app_add_count(&detail, n_rules, "rule");
    app_say(app, EVENT_START, EVENT_NOTICE, &detail);

    strbuf_clear(&detail);
    strbuf_addf(&detail, "%s: ", file);
    app_add_count(&detail, config->n_targets, "target");
    strbuf_add(&detail, ", ");
    app_add_count(&detail, policy->n_apps, "app");
    strbuf_add(&detail, ", ");
    app_add_count(&detail, n_rules, "rule");
    strbuf_add(&detail, ", ");
    app_add_count(&detail, policy->n_alarms, "alarm");
    app_say(app, EVENT_CONFIG_LOADED, EVENT_INFO, &detail);
}

static void app_say_stop(struct app_state *app, int error) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    strbuf_add(&detail, app->stopped_by ? app->stopped_by : "the event loop failed");
    app_say(app, EVENT_STOP, error < 0 ? EVENT_ERROR : EVENT_NOTICE, &detail);
}

static void app_add_file(const struct app_state *app, struct strbuf *sb) {
    strbuf_add(sb, app->settings->file ? app->settings->file : "no file");
    strbuf_add(sb, app->settings->config->policy->enforce ? ", enforcing: " : ", observing: ");
}

// ---- reload

static void app_alarm_reload(struct app_state *app, bool holds, struct strbuf *detail) {
    struct event event = event_make(EVENT_ALARM, holds ? EVENT_WARNING : EVENT_NOTICE, NULL);
    if (holds == app->has_rejected) {
        return;
    }
    app->has_rejected = holds;
    event.alarm = "reload_failed";
    event.reason = holds ? "raised" : "cleared";
    event.severity = holds ? SEVERITY_WARNING : SEVERITY_NONE;
    event.detail = strbuf_str(detail);
    event.hint = holds ? "mend the file, try it with pgvigil check, and reload again" : NULL;
    (void)sinks_emit(app->context.sinks, &event);
}

static void app_add_diag(const struct diag *diag, struct strbuf *sb) {
    strbuf_add(sb, diag->at.file ? diag->at.file : "");
    if (diag->at.line > 0) {
        strbuf_addf(sb, ":%u:%u", diag->at.line, diag->at.column);
    }
    strbuf_addf(sb, ": %s%s%s", diag->path, diag->path[0] ? ": " : "", diag->text);
}

// Nothing has changed. `diags` say why, or else `why`.
static void app_reject(struct app_state *app, const struct diag_list *diags, const char *why) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    size_t n_told = 0;
    for (size_t i = 0; i < diags->n_items && n_told < APP_MAX_MISTAKES; i++) {
        const struct diag *diag = &diags->items[i];
        if (diag->severity == DIAG_ERROR) {
            strbuf_clear(&detail);
            app_add_diag(diag, &detail);
            app_say(app, EVENT_CONFIG_REJECTED, EVENT_ERROR, &detail);
            n_told++;
        }
    }
    strbuf_clear(&detail);
    if (n_told == 0) {
        strbuf_addf(&detail, "%s: %s", app->settings->file, why);
        app_say(app, EVENT_CONFIG_REJECTED, EVENT_ERROR, &detail);
    } else if (diags->n_errors > n_told) {
        strbuf_addf(&detail, "%s: %zu more mistakes; pgvigil check shows them", app->settings->file,
                    diags->n_errors - n_told);
        app_say(app, EVENT_CONFIG_REJECTED, EVENT_ERROR, &detail);
    }
    strbuf_clear(&detail);
    strbuf_addf(&detail, "%s was refused: pgvigil goes on as before", app->settings->file);
    app_alarm_reload(app, true, &detail);
    view_source_note_reload(app->view, false);
}

static void app_say_warnings(struct app_state *app, const struct diag_list *diags) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    for (size_t i = 0; i < diags->n_items; i++) {
        if (diags->items[i].severity == DIAG_WARNING) {
            strbuf_clear(&detail);
            app_add_diag(&diags->items[i], &detail);
            app_say(app, EVENT_CONFIG_LOADED, EVENT_WARNING, &detail);
        }
    }
}

// How many sessions of one target a new or changed rule would end, as of the last look.
static void app_say_preview(struct app_state *app, const struct target *target, const struct reload_entry *rule,
                            int64_t count) {
    static const char *const verbs[] = {
        [ACTION_TERMINATE] = "end", [ACTION_CANCEL] = "cancel the query of", [ACTION_LOG] = "report"};
    const struct policy *policy = app->settings->config->policy;
    const char *does =
        verbs[rule->index < policy->n_timeouts ? policy->timeouts[rule->index].action
                                               : policy->quotas[rule->index - policy->n_timeouts].action];
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    struct event event = event_make(EVENT_CONFIG_LOADED, EVENT_INFO, target_name(target));
    strbuf_addf(&detail, "rule %s, %s: it would %s %" PRId64 " session%s now", rule->name,
                reload_change_to_string(rule->change), does, count, count == 1 ? "" : "s");
    event.rule = rule->name;
    event.reason = reload_change_to_string(rule->change);
    event.count = count;
    event.detail = strbuf_str(&detail);
    (void)sinks_emit(app->context.sinks, &event);
}

static void app_preview(struct app_state *app, const struct target *target, const struct reload *reload) {
    struct policy *policy = app->settings->config->policy;
    CLEANUP(freep) int64_t *counts = calloc(policy->n_timeouts + policy->n_quotas + 1, sizeof(*counts));
    if (!counts || engine_preview(target_engine(target), policy, counts) < 0) {
        return; // nothing is known of its sessions
    }
    for (size_t i = 0; i < reload->rules.n_items; i++) {
        const struct reload_entry *rule = &reload->rules.items[i];
        if (rule->change == RELOAD_CHANGED || rule->change == RELOAD_ADDED) {
            app_say_preview(app, target, rule, counts[rule->index]);
        }
    }
}

static void app_say_reloaded(struct app_state *app, const struct reload *reload) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    app_add_file(app, &detail);
    reload_describe(reload, &detail);
    app_say(app, EVENT_CONFIG_LOADED, EVENT_NOTICE, &detail);
    app_say_warnings(app, &app->diags);
    for (size_t i = 0; i < reload->targets.n_items; i++) {
        const struct reload_entry *entry = &reload->targets.items[i];
        if (entry->change == RELOAD_KEPT || entry->change == RELOAD_CHANGED) {
            app_preview(app, app->targets[entry->index], reload);
        }
    }
    strbuf_clear(&detail);
    strbuf_addf(&detail, "%s was taken", app->settings->file);
    app_alarm_reload(app, false, &detail);
    view_source_note_reload(app->view, true);
}

static void app_on_news(void *userdata, struct target *target, enum target_news news, usec_t now) {
    const struct app_state *app = userdata;
    (void)target;
    (void)news;
    service_check(app->service, now);
}

static void app_show_targets(const struct app_state *app) {
    service_set_targets(app->service, app->targets, app->n_targets, !app->settings->config->policy->enforce);
}

static struct target_options app_target_options(struct app_state *app, const struct settings *settings, size_t i) {
    return (struct target_options){
        .config = &settings->config->targets[i],
        .conninfo = settings->conninfos[i],
        .policy = settings->config->policy,
        .enforce = true, // as far as policy and target say so
        .competes = true,
        .fn = app_on_news,
        .userdata = app,
    };
}

static struct target **app_free_targets(struct target **targets, size_t n) {
    for (size_t i = 0; targets && i < n; i++) {
        (void)target_free(targets[i]);
    }
    free(targets);
    return NULL;
}

// Everything that may fail: the targets that are new, the log. NULL: nothing has changed.
static struct target **app_prepare(struct app_state *app, const struct settings *settings, const struct reload *reload,
                                   const char **ret_why) {
    size_t n = settings->config->n_targets;
    struct target **targets = calloc(n + 1, sizeof(struct target *));
    int r = targets ? 0 : -ENOMEM;
    *ret_why = "out of memory";
    for (size_t i = 0; r == 0 && i < reload->targets.n_items; i++) {
        const struct reload_entry *entry = &reload->targets.items[i];
        if (entry->change == RELOAD_ADDED) {
            const struct target_options options = app_target_options(app, settings, entry->index);
            r = target_new(&app->context, &options, &targets[entry->index]);
        }
    }
    if (r == 0) {
        r = sinks_reconfigure(app->context.sinks, settings->config->log.level, settings->config->log.format, ret_why);
    }
    return r < 0 ? app_free_targets(targets, n) : targets;
}

static void app_swap_targets(struct app_state *app, struct settings *settings, struct target **targets,
                             const struct reload *reload, usec_t now) {
    for (size_t i = 0; i < reload->targets.n_items; i++) {
        const struct reload_entry *entry = &reload->targets.items[i];
        struct target *target = entry->change == RELOAD_ADDED ? targets[entry->index] : app->targets[entry->before];
        if (entry->change == RELOAD_ADDED) {
            target_start(target, now);
            continue;
        }
        if (entry->change == RELOAD_REMOVED) {
            target_retire(target, now);
            (void)target_free(target);
            continue;
        }
        if (entry->change == RELOAD_KEPT) {
            // The object stays the same, as a connect may be under way with it.
            struct conninfo *kept = app->settings->conninfos[entry->before];
            app->settings->conninfos[entry->before] = settings->conninfos[entry->index];
            settings->conninfos[entry->index] = kept;
        }
        const struct target_options options = app_target_options(app, settings, entry->index);
        target_reconfigure(target, &options, entry->change == RELOAD_CHANGED, now);
        targets[entry->index] = target;
    }
    free(app->targets);
    app->targets = targets;
    app->n_targets = settings->config->n_targets;
}

// Exchanges the settings, and what they point into. NULL: done, else why not.
static const char *app_swap(struct app_state *app, struct settings **settings, struct diag_list *diags, usec_t now) {
    CLEANUP(reload_deinit) struct reload reload = {0};
    const char *why = "out of memory";
    if (reload_compare(app->settings, *settings, &reload) < 0) {
        return why;
    }
    struct target **targets = app_prepare(app, *settings, &reload, &why);
    if (!targets) {
        return why;
    }
    app_swap_targets(app, *settings, targets, &reload, now);
    struct settings *old = app->settings;
    struct diag_list old_diags = app->diags;
    app->settings = *settings;
    app->diags = *diags;
    *settings = old;
    *diags = old_diags;
    app_show_targets(app);
    app_say_reloaded(app, &reload);
    return NULL;
}

static void app_on_hup(void *userdata, usec_t now) {
    struct app_state *app = userdata;
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    if (!app->settings->file) {
        strbuf_add(&detail, "SIGHUP: started without a file, so there is nothing to read again");
        app_say(app, EVENT_CONFIG_LOADED, EVENT_NOTICE, &detail);
        return;
    }
    service_reloading(app->service, now);
    // A file that has gone is a mistake, not a reason to go on with something else.
    const struct settings_options options = {.file = app->settings->file, .observe = app->source.observe};
    int r = settings_load(&options, &diags, &settings);
    diag_list_sort(&diags);
    const char *why = r < 0 ? strerror(-r) : app_swap(app, &settings, &diags, now);
    if (why) {
        app_reject(app, &diags, why);
    }
    service_reloaded(app->service, why != NULL, clock_monotonic());
}

// ---- order of life

static int app_open_context(struct app_state *app, const struct app_options *options, const char **ret_why) {
    struct target_context *context = &app->context;
    *ret_why = "cannot set up the event loop";
    context->loop = loop_new();
    if (!context->loop) {
        return -ENOMEM;
    }
    const struct log_config *log = &app->settings->config->log;
    const struct sinks_options sinks = {
        .level = log->level,
        .format = log->format,
        .fd = options->log_fd,
        .realtime = clock_realtime,
    };
    *ret_why = "cannot open the log";
    int r = sinks_new(context->loop, &sinks, &context->sinks, ret_why);
    if (r < 0) {
        return r;
    }
    *ret_why = "cannot set up the counters, the service manager's notification, the resolver and the signals";
    app->view = view_source_new(context->sinks);
    app->service = service_new(context->loop, context->sinks);
    context->resolver = resolver_new(context->loop);
    app->on_term = loop_signal_new(context->loop, SIGTERM, app_on_term, app);
    app->on_int = loop_signal_new(context->loop, SIGINT, app_on_int, app);
    app->on_hup = loop_signal_new(context->loop, SIGHUP, app_on_hup, app);
    bool complete = app->view && app->service && context->resolver && app->on_term && app->on_int && app->on_hup;
    return complete ? 0 : -ENOMEM;
}

static int app_open_targets(struct app_state *app, const char **ret_why) {
    const struct config *config = app->settings->config;
    *ret_why = "cannot set up the targets";
    app->targets = calloc(config->n_targets + 1, sizeof(struct target *));
    if (!app->targets) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < config->n_targets; i++) {
        const struct target_options options = app_target_options(app, app->settings, i);
        int r = target_new(&app->context, &options, &app->targets[i]);
        if (r < 0) {
            return r;
        }
        app->n_targets++;
    }
    app_show_targets(app);
    return 0;
}

static void app_close(struct app_state *app) {
    app->targets = app_free_targets(app->targets, app->n_targets);
    (void)loop_signal_free(app->on_term);
    (void)loop_signal_free(app->on_int);
    (void)loop_signal_free(app->on_hup);
    (void)service_free(app->service);
    (void)view_source_free(app->view);
    (void)sinks_free(app->context.sinks);
    (void)resolver_free(app->context.resolver);
    (void)loop_free(app->context.loop);
    (void)settings_free(app->settings);
    diag_list_deinit(&app->diags);
}

static int app_watch(struct app_state *app) {
    app_say_start(app);
    usec_t now = clock_monotonic();
    for (size_t i = 0; i < app->n_targets; i++) {
        target_start(app->targets[i], now);
    }
    service_start(app->service, now);
    int r = loop_run(app->context.loop);
    app_expect_second_signal(app);
    service_stopping(app->service);
    now = clock_monotonic();
    for (size_t i = 0; i < app->n_targets; i++) {
        target_stop(app->targets[i], now);
    }
    app_say_stop(app, r); // sinks_free() gives it time to leave
    return r;
}

int app_run(struct settings *settings, struct diag_list *diags, const struct app_options *options) {
    CLEANUP(app_close) struct app_state app = {.settings = settings, .diags = *diags, .source = options->source};
    const char *why = NULL;
    *diags = (struct diag_list){0};
    (void)mallopt(M_MMAP_THRESHOLD, APP_MALLOC_KEEPS);
    (void)mallopt(M_TRIM_THRESHOLD, APP_MALLOC_KEEPS);
    app_handle(SIGPIPE, SIG_IGN);
    int r = app_open_context(&app, options, &why);
    if (r == 0) {
        r = app_open_targets(&app, &why);
    }
    if (r == 0) {
        why = "the event loop failed";
        r = app_watch(&app);
    }
    if (r < 0 && options->ret_why) {
        *options->ret_why = why;
    }
    return r;
}
