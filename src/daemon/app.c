// SPDX-License-Identifier: PostgreSQL
#include "daemon/app.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api.h"
#include "api_fresh.h"
#include "api_impl.h"
#include "app_state.h"
#include "daemon/clock.h"
#include "kept.h"
#include "util/escape.h"
#include "util/strbuf.h"

// Glibc keeps freed memory for the next allocation, more of it the larger the blocks were that it has seen. What the
// first poll of a connection needs, which reads everything, is not needed again: at 2,000 sessions this is 0.9 MB of
// what we hold.
#define APP_MALLOC_KEEPS (64 << 10)
// At the end, to tell what is owed: a stop is to take less than a second.
#define APP_WEBHOOKS_PATIENCE (500 * USEC_PER_MSEC)

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
    strbuf_addf(&detail, ", http %s, control %s", front_listen(app->front) ? front_listen(app->front) : "off",
                front_socket(app->front) ? front_socket(app->front) : "off");
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

// ---- targets

static void app_on_news(void *userdata, struct target *target, enum target_news news, usec_t now) {
    const struct app_state *app = userdata;
    (void)target;
    (void)news;
    view_source_note_news(app->view);
    service_check(app->service, now);
    api_fresh_check(app->fresh, now);
}

static void app_on_hup(void *userdata, usec_t now) {
    (void)app_reload(userdata, EVENT_NOBODY, now, NULL);
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

static void app_count_notification(void *userdata, const char *output, const char *result, uint64_t n) {
    const struct app_state *app = userdata;
    tally_count_notification(view_source_tally(app->view), output, result, n);
}

static int app_open_webhooks(struct app_state *app, const char **ret_why) {
    const struct webhooks_options options = {
        .loop = app->context.loop,
        .resolver = app->context.resolver,
        .sinks = app->context.sinks,
        .count = app_count_notification,
        .userdata = app,
    };
    *ret_why = "cannot set up the webhooks";
    app->webhooks = webhooks_new(&options);
    struct webhooks_plan *plan = app->webhooks ? webhooks_prepare(app->webhooks, app->settings->config) : NULL;
    if (!plan) {
        return -ENOMEM;
    }
    webhooks_commit(app->webhooks, plan);
    return 0;
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

// What is written and cannot be had is told as the reason why we do not start.
static int app_open_front(struct app_state *app, const char **ret_why) {
    *ret_why = "cannot set up what is served";
    app->front = front_new(app->context.loop, app->context.sinks, api_handle, app);
    if (!app->front) {
        return -ENOMEM;
    }
    app->kept = api_kept_new(app);
    app->fresh = api_fresh_new(app);
    app->reap = api_reap_new(app);
    if (!app->kept || !app->fresh || !app->reap) {
        return -ENOMEM;
    }
    int r = front_prepare(app->front, app->settings->config, &app->why);
    if (r < 0 && strbuf_error(&app->why) == 0) {
        *ret_why = strbuf_str(&app->why);
    }
    if (r == 0) {
        front_commit(app->front);
        *ret_why = "cannot set up what is paused";
        r = app_open_pauses(app);
    }
    return r;
}

static void app_close(struct app_state *app) {
    (void)front_free(app->front);
    (void)kept_free(app->kept);
    (void)api_fresh_free(app->fresh);
    (void)api_reap_free(app->reap);
    (void)pauses_free(app->pauses);
    app->targets = app_free_targets(app->targets, app->n_targets);
    (void)loop_signal_free(app->on_term);
    (void)loop_signal_free(app->on_int);
    (void)loop_signal_free(app->on_hup);
    (void)service_free(app->service);
    (void)webhooks_free(app->webhooks);
    (void)view_source_free(app->view);
    (void)sinks_free(app->context.sinks);
    (void)resolver_free(app->context.resolver);
    (void)loop_free(app->context.loop);
    (void)settings_free(app->settings);
    diag_list_deinit(&app->diags);
    strbuf_deinit(&app->why);
}

static int app_watch(struct app_state *app) {
    app_say_start(app);
    usec_t now = clock_monotonic();
    app_restore_pauses(app, now);
    for (size_t i = 0; i < app->n_targets; i++) {
        target_start(app->targets[i], now);
    }
    service_start(app->service, now);
    int r = loop_run(app->context.loop);
    app_expect_second_signal(app);
    service_stopping(app->service);
    // Nobody is to give commands to what is being taken down: the loop runs once more, for the webhooks.
    app->front = front_free(app->front);
    now = clock_monotonic();
    for (size_t i = 0; i < app->n_targets; i++) {
        target_stop(app->targets[i], now);
    }
    webhooks_finish(app->webhooks, APP_WEBHOOKS_PATIENCE);
    app_say_stop(app, r); // sinks_free() gives it time to leave
    return r;
}

int app_run(struct settings *settings, struct diag_list *diags, const struct app_options *options) {
    CLEANUP(app_close)
    struct app_state app = {.settings = settings,
                            .diags = *diags,
                            .source = options->source,
                            .on_news = app_on_news,
                            .asker = EVENT_NOBODY};
    const char *why = NULL;
    *diags = (struct diag_list){0};
    (void)mallopt(M_MMAP_THRESHOLD, APP_MALLOC_KEEPS);
    (void)mallopt(M_TRIM_THRESHOLD, APP_MALLOC_KEEPS);
    app_handle(SIGPIPE, SIG_IGN);
    // As process 1 of a container we are given every orphan of it. We start no process, and wait for none: so the
    // kernel buries them.
    app_handle(SIGCHLD, SIG_IGN);
    int r = app_open_context(&app, options, &why);
    if (r == 0) {
        r = app_open_webhooks(&app, &why);
    }
    if (r == 0) {
        r = app_open_targets(&app, &why);
    }
    if (r == 0) {
        r = app_open_front(&app, &why);
    }
    if (r == 0) {
        why = "the event loop failed";
        r = app_watch(&app);
    }
    if (r < 0 && options->why) {
        escape_text(options->why, why);
        if (why != strbuf_str(&app.why)) {
            strbuf_addf(options->why, ": %s", strerror(-r));
        }
    }
    return r;
}
