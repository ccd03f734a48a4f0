// SPDX-License-Identifier: PostgreSQL

// The file is read again: a whole new object is built and swapped in, or nothing changes and it is said why.

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "app_state.h"
#include "daemon/clock.h"
#include "kept.h"
#include "reload.h"
#include "util/escape.h"

#define APP_MAX_MISTAKES 10 // of a refused file, that are logged one by one
// What rules would do, rule by rule and target by target: more lines at once would push records of acts out of the log.
#define APP_MAX_PREVIEWS 200

static void app_add_file(const struct app_state *app, struct strbuf *sb) {
    strbuf_add(sb, app->settings->file ? app->settings->file : "no file");
    strbuf_add(sb, app->settings->config->policy->enforce ? ", enforcing: " : ", observing: ");
}

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

// A line of what whoever asked for the reload is told; NULL: nobody.
static void app_add_verdict(struct strbuf *verdict, const char *text) {
    if (verdict) {
        escape_text(verdict, text);
        strbuf_add_char(verdict, '\n');
    }
}

// Nothing has changed. `diags` say why, or else `why`.
static void app_reject(struct app_state *app, const struct diag_list *diags, const char *why, struct strbuf *verdict) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    size_t n_told = 0;
    if (verdict) {
        diag_list_render(diags, verdict);
    }
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
        app_add_verdict(verdict, strbuf_str(&detail));
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
    strbuf_addf(&detail, "rule %s, %s: ", rule->name, reload_change_to_string(rule->change));
    if (count == ENGINE_PREVIEW_UNKNOWN) {
        strbuf_addf(&detail, "how many sessions it would %s is not known before the next poll", does);
    } else {
        strbuf_addf(&detail, "it would %s %" PRId64 " session%s now", does, count, count == 1 ? "" : "s");
        event.count = count;
    }
    event.rule = rule->name;
    event.reason = reload_change_to_string(rule->change);
    event.detail = strbuf_str(&detail);
    (void)sinks_emit(app->context.sinks, &event);
}

// *n_told counts over all targets, also what is too many to be told.
static void app_preview(struct app_state *app, const struct target *target, const struct reload *reload,
                        size_t *n_told) {
    struct policy *policy = app->settings->config->policy;
    CLEANUP(freep) int64_t *counts = calloc(policy->n_timeouts + policy->n_quotas + 1, sizeof(*counts));
    if (!counts || engine_preview(target_engine(target), policy, counts) < 0) {
        return; // nothing is known of its sessions
    }
    for (size_t i = 0; i < reload->rules.n_items; i++) {
        const struct reload_entry *rule = &reload->rules.items[i];
        bool is_news = rule->change == RELOAD_CHANGED || rule->change == RELOAD_ADDED;
        if (is_news && (*n_told)++ < APP_MAX_PREVIEWS) {
            app_say_preview(app, target, rule, counts[rule->index]);
        }
    }
}

static void app_preview_all(struct app_state *app, const struct reload *reload) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    size_t n_told = 0;
    for (size_t i = 0; i < reload->targets.n_items; i++) {
        const struct reload_entry *entry = &reload->targets.items[i];
        if (entry->change == RELOAD_KEPT || entry->change == RELOAD_CHANGED) {
            app_preview(app, app->targets[entry->index], reload, &n_told);
        }
    }
    if (n_told > APP_MAX_PREVIEWS) {
        strbuf_addf(&detail, "what rules would do now: %zu more are left out", n_told - APP_MAX_PREVIEWS);
        app_say(app, EVENT_CONFIG_LOADED, EVENT_INFO, &detail);
    }
}

static void app_say_reloaded(struct app_state *app, const struct reload *reload) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    app_add_file(app, &detail);
    reload_describe(reload, &detail);
    app_say(app, EVENT_CONFIG_LOADED, EVENT_NOTICE, &detail);
    app_say_warnings(app, &app->diags);
    app_preview_all(app, reload);
    strbuf_clear(&detail);
    strbuf_addf(&detail, "%s was taken", app->settings->file);
    app_alarm_reload(app, false, &detail);
    view_source_note_reload(app->view, true);
}

// What else may fail: the targets that are new, where we are reached, the log. NULL: nothing has changed.
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
        strbuf_clear(&app->why);
        r = front_prepare(app->front, settings->config, &app->why);
        *ret_why = r < 0 ? strbuf_str(&app->why) : *ret_why;
    }
    if (r == 0) {
        r = sinks_reconfigure(app->context.sinks, settings->config->log.level, settings->config->log.format, ret_why);
        if (r < 0) {
            front_abort(app->front);
        }
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
    struct webhooks_plan *webhooks = webhooks_prepare(app->webhooks, (*settings)->config);
    struct target **targets = webhooks ? app_prepare(app, *settings, &reload, &why) : NULL;
    if (!targets) {
        (void)webhooks_plan_free(webhooks);
        return why;
    }
    app_swap_targets(app, *settings, targets, &reload, now);
    webhooks_commit(app->webhooks, webhooks);
    struct settings *old = app->settings;
    struct diag_list old_diags = app->diags;
    app->settings = *settings;
    app->diags = *diags;
    *settings = old;
    *diags = old_diags;
    app_show_targets(app);
    front_commit(app->front);
    app_say_reloaded(app, &reload);
    app_retain_pauses(app, now);
    return NULL;
}

// What is in force now: the warnings of the file, and how much it is.
static void app_add_taken(const struct app_state *app, struct strbuf *verdict) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    const struct config *config = app->settings->config;
    if (verdict) {
        diag_list_render(&app->diags, verdict);
    }
    app_add_file(app, &text);
    app_add_count(&text, config->n_targets, "target");
    strbuf_add(&text, ", ");
    app_add_count(&text, config->policy->n_timeouts + config->policy->n_quotas, "rule");
    strbuf_add(&text, ", ");
    app_add_count(&text, config->policy->n_alarms, "alarm");
    app_add_verdict(verdict, strbuf_str(&text));
}

static bool app_read_again(struct app_state *app, usec_t now, struct strbuf *verdict) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(settings_freep) struct settings *settings = NULL;
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    if (!app->settings->file) {
        // Not the alarm: no file would ever clear it.
        strbuf_add(&detail, "started without a file, so there is nothing to read again: pgvigil goes on as before");
        app_say(app, EVENT_CONFIG_REJECTED, EVENT_ERROR, &detail);
        app_add_verdict(verdict, strbuf_str(&detail));
        return false;
    }
    service_reloading(app->service, now);
    // A file that has gone is a mistake, not a reason to go on with something else.
    const struct settings_options options = {.file = app->settings->file, .observe = app->source.observe};
    int r = settings_load(&options, &diags, &settings);
    diag_list_sort(&diags);
    const char *why = r < 0 ? strerror(-r) : app_swap(app, &settings, &diags, now);
    if (why) {
        app_reject(app, &diags, why, verdict);
    } else {
        app_add_taken(app, verdict);
    }
    service_reloaded(app->service, why != NULL, clock_monotonic());
    kept_drop(app->kept);
    return !why;
}

bool app_reload(struct app_state *app, struct event_asker asker, usec_t now, struct strbuf *verdict) {
    app->asker = asker;
    bool done = app_read_again(app, now, verdict);
    app->asker = EVENT_NOBODY;
    return done;
}
