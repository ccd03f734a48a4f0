// SPDX-License-Identifier: PostgreSQL
//
// An output sends from its timer alone: never from the tap, as what it says of failures passes the sinks again.
#include "daemon/webhooks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/clock.h"
#include "notifier.h"
#include "output/webhook.h"
#include "secret_file.h"
#include "util/macro.h"
#include "util/strbuf.h"

#define WEBHOOKS_MAX_TOKEN 8192 // bytes

struct webhook_output {
    struct webhooks *owner;
    const struct webhook_config *config; // of the settings that are in force
    struct webhook_queue *queue;
    struct loop_timer *timer;         // what is due, or something to say
    struct notifier_request *request; // under way; NULL: none
    struct webhook_counts counted;    // as of the last time that it was told
};

struct webhooks {
    struct webhooks_options options;
    struct notifier *notifier;
    struct sinks_tap *tap;
    struct webhook_queue *standing; // alarms that stand, for outputs to come
    struct webhook_output **outputs;
    size_t n_outputs;
    bool is_finishing;
};

struct webhooks_plan {
    const struct config *config;
    struct webhook_output **outputs; // in the config's order; those that stay are still the webhooks' own
    size_t n_outputs;
};

static const struct webhook_codec *const webhooks_codecs[] = {
    [WEBHOOK_FORMAT_ALERTMANAGER] = &webhook_alertmanager,
    [WEBHOOK_FORMAT_SLACK] = &webhook_slack,
    [WEBHOOK_FORMAT_JSON] = &webhook_json,
};

// --- what is said and counted ----------------------------------------------------------------------------------------

static void output_count(const struct webhook_output *output, const char *result, uint64_t before, uint64_t after) {
    const struct webhooks_options *options = &output->owner->options;
    if (options->count && after > before) {
        options->count(options->userdata, output->config->name, result, after - before);
    }
}

// It is counted from now on: a counter that begins with 1 hides its first step.
static void output_expect(const struct webhook_output *output) {
    static const char *const results[] = {"sent", "failed", "superseded", "dropped", "retried"};
    const struct webhooks_options *options = &output->owner->options;
    for (size_t i = 0; options->count && i < ARRAY_SIZE(results); i++) {
        options->count(options->userdata, output->config->name, results[i], 0);
    }
}

static void output_tell(struct webhook_output *output) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    const struct webhook_counts *now = webhook_queue_counts(output->queue), *before = &output->counted;
    struct event event;
    output_count(output, "sent", before->sent, now->sent);
    output_count(output, "failed", before->failed, now->failed);
    output_count(output, "superseded", before->superseded, now->superseded);
    output_count(output, "dropped", before->dropped, now->dropped);
    output_count(output, "retried", before->retried, now->retried);
    output->counted = *now;
    while (webhook_queue_tell(output->queue, &detail, &event)) {
        (void)sinks_emit(output->owner->options.sinks, &event);
    }
}

// --- sending ---------------------------------------------------------------------------------------------------------

static void output_work(struct webhook_output *output, usec_t now);

static void output_settle(struct webhook_output *output, const struct webhook_answer *answer, usec_t now) {
    webhook_queue_settle(output->queue, answer, now);
    output_work(output, now);
}

static void output_on_answer(void *userdata, const struct webhook_answer *answer, usec_t now) {
    struct webhook_output *output = userdata;
    output->request = notifier_request_free(output->request);
    output_settle(output, answer, now);
}

// What one attempt needs besides the body.
struct attempt {
    char *url;
    char *token;
    char *lines[CONFIG_MAX_HEADERS + 1]; // "Name: value"
    size_t n_lines;
    char why[sizeof(((struct webhook_answer *)NULL)->why)];
};

static void attempt_deinit(struct attempt *attempt) {
    secret_file_forget(attempt->url);
    secret_file_forget(attempt->token);
    for (size_t i = 0; i < attempt->n_lines; i++) {
        secret_file_forget(attempt->lines[i]);
    }
}

static bool attempt_add_header(struct attempt *attempt, const char *name, const char *separator, const char *value) {
    char *line = NULL;
    if (asprintf(&line, "%s%s%s", name, separator, value) < 0) {
        return false;
    }
    attempt->lines[attempt->n_lines++] = line;
    return true;
}

static bool attempt_fail(struct attempt *attempt, const char *key, const char *why) {
    (void)snprintf(attempt->why, sizeof(attempt->why), "%s: %s", key, why);
    return false;
}

static bool attempt_is_token(const char *token) {
    size_t len = strlen(token);
    for (size_t i = 0; i < len; i++) {
        if (token[i] <= ' ' || token[i] >= 0x7f) {
            return false;
        }
    }
    return len <= WEBHOOKS_MAX_TOKEN;
}

static bool attempt_read_url(struct attempt *attempt, const struct webhook_config *config) {
    const char *why = "out of memory";
    if (!config->url_file) {
        attempt->url = strdup(config->url);
        return attempt->url || attempt_fail(attempt, "url", why);
    }
    attempt->url = secret_file_read(config->url_file, &why);
    if (!attempt->url) {
        return attempt_fail(attempt, "url_file", why);
    }
    why = webhook_url_check(attempt->url);
    return !why || attempt_fail(attempt, "url_file", why);
}

static bool attempt_read_token(struct attempt *attempt, const struct webhook_config *config) {
    const char *why;
    if (!config->bearer_token_file) {
        return true;
    }
    attempt->token = secret_file_read(config->bearer_token_file, &why);
    if (!attempt->token) {
        return attempt_fail(attempt, "bearer_token_file", why);
    }
    if (!attempt_is_token(attempt->token)) {
        return attempt_fail(attempt, "bearer_token_file", "the first line is no token");
    }
    return attempt_add_header(attempt, "Authorization", ": Bearer ", attempt->token) ||
           attempt_fail(attempt, "bearer_token_file", "out of memory");
}

// The rest is libcurl's to say. It would wait for the writer of a pipe, and the loop with it.
static bool attempt_check_ca(struct attempt *attempt, const struct webhook_config *config) {
    struct stat st;
    bool is_other = config->ca_file && stat(config->ca_file, &st) == 0 && !S_ISREG(st.st_mode);
    return !is_other || attempt_fail(attempt, "ca_file", "not a regular file");
}

static bool attempt_read(struct attempt *attempt, const struct webhook_config *config) {
    for (size_t i = 0; i < config->n_headers; i++) {
        if (!attempt_add_header(attempt, config->headers[i].name, ": ", config->headers[i].value)) {
            return attempt_fail(attempt, "headers", "out of memory");
        }
    }
    return attempt_read_url(attempt, config) && attempt_read_token(attempt, config) &&
           attempt_check_ca(attempt, config);
}

// The message is under way afterwards, or settled.
static void output_send(struct webhook_output *output, const struct strbuf *body, usec_t now) {
    const struct webhook_config *config = output->config;
    CLEANUP(attempt_deinit) struct attempt attempt = {0};
    struct webhook_answer answer = {.result = WEBHOOK_SETTINGS};
    if (!attempt_read(&attempt, config)) {
        memcpy(answer.why, attempt.why, sizeof(answer.why));
        output_settle(output, &answer, now);
        return;
    }
    const struct notifier_post post = {
        .url = attempt.url,
        .path = config->format == WEBHOOK_FORMAT_ALERTMANAGER ? "/api/v2/alerts" : NULL,
        .headers = (const char *const *)attempt.lines,
        .n_headers = attempt.n_lines,
        .proxy = config->proxy,
        .ca_file = config->ca_file,
        .body = strbuf_str(body),
        .n_body = body->len,
        .timeout = config->timeout,
    };
    output->request = notifier_send(output->owner->notifier, &post, output_on_answer, output);
    if (!output->request) {
        answer.result = WEBHOOK_MEMORY;
        output_settle(output, &answer, now);
    }
}

static void webhooks_check_finished(struct webhooks *webhooks, usec_t now);

static void output_work(struct webhook_output *output, usec_t now) {
    usec_t due = webhook_queue_due(output->queue);
    output_tell(output);
    loop_timer_set(output->timer, due);
    if (due <= now) {
        CLEANUP(strbuf_deinit) struct strbuf body = STRBUF_EMPTY;
        loop_timer_set(output->timer, USEC_INFINITY);
        if (webhook_queue_take(output->queue, now, clock_realtime(), &body) == 0) {
            output_send(output, &body, now);
        } else {
            loop_timer_set(output->timer, webhook_queue_due(output->queue));
        }
    }
    webhooks_check_finished(output->owner, now);
}

static void output_on_timer(void *userdata, usec_t now) {
    output_work(userdata, now);
}

static struct webhook_output *output_free(struct webhook_output *output) {
    if (output) {
        output->request = notifier_request_free(output->request);
        (void)loop_timer_free(output->timer);
        (void)webhook_queue_free(output->queue);
        free(output);
    }
    return NULL;
}

static struct webhook_output *output_new(struct webhooks *webhooks, const struct webhook_config *config) {
    struct webhook_output *output = calloc(1, sizeof(*output));
    if (!output) {
        return NULL;
    }
    const struct webhook_queue_options options = {
        .name = config->name,
        .codec = webhooks_codecs[config->format],
        .min_severity = config->min_severity,
        .seed = clock_realtime() ^ (uint64_t)(uintptr_t)output,
    };
    output->owner = webhooks;
    output->config = config;
    output->queue = webhook_queue_new(&options);
    output->timer = loop_timer_new(webhooks->options.loop, output_on_timer, output);
    return output->queue && output->timer ? output : output_free(output);
}

// It goes, and says what it takes along.
static struct webhook_output *output_retire(struct webhook_output *output) {
    output->request = notifier_request_free(output->request);
    webhook_queue_discard(output->queue);
    output_tell(output);
    return output_free(output);
}

// --- all of them -----------------------------------------------------------------------------------------------------

static void webhooks_on_event(void *userdata, const struct event *event) {
    struct webhooks *webhooks = userdata;
    if (event->kind != EVENT_ALARM) {
        return;
    }
    usec_t now = loop_now(webhooks->options.loop), realtime = clock_realtime();
    webhook_queue_push(webhooks->standing, event, now, realtime);
    for (size_t i = 0; i < webhooks->n_outputs; i++) {
        webhook_queue_push(webhooks->outputs[i]->queue, event, now, realtime);
        loop_timer_set(webhooks->outputs[i]->timer, now);
    }
}

struct webhooks *webhooks_new(const struct webhooks_options *options) {
    struct webhooks *webhooks = calloc(1, sizeof(*webhooks));
    if (!webhooks) {
        return NULL;
    }
    const struct webhook_queue_options standing = {.name = "standing", .min_severity = SEVERITY_WARNING};
    webhooks->options = *options;
    webhooks->standing = webhook_queue_new(&standing);
    webhooks->notifier = notifier_new(options->loop, options->resolver);
    webhooks->tap = sinks_tap(options->sinks, webhooks_on_event, webhooks);
    return webhooks->standing && webhooks->notifier && webhooks->tap ? webhooks : webhooks_free(webhooks);
}

struct webhooks *webhooks_free(struct webhooks *webhooks) {
    if (webhooks) {
        (void)sinks_untap(webhooks->tap);
        for (size_t i = 0; i < webhooks->n_outputs; i++) {
            (void)output_free(webhooks->outputs[i]);
        }
        free(webhooks->outputs);
        (void)notifier_free(webhooks->notifier);
        (void)webhook_queue_free(webhooks->standing);
        free(webhooks);
    }
    return NULL;
}

// --- reload ----------------------------------------------------------------------------------------------------------

static bool webhooks_is_same_text(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

// What it owes the one it owes the other.
static bool webhooks_is_same_receiver(const struct webhook_config *a, const struct webhook_config *b) {
    return strcmp(a->name, b->name) == 0 && a->format == b->format && webhooks_is_same_text(a->url, b->url) &&
           webhooks_is_same_text(a->url_file, b->url_file);
}

static struct webhook_output *webhooks_find(const struct webhooks *webhooks, const struct webhook_config *config) {
    for (size_t i = 0; i < webhooks->n_outputs; i++) {
        if (webhooks_is_same_receiver(webhooks->outputs[i]->config, config)) {
            return webhooks->outputs[i];
        }
    }
    return NULL;
}

static bool webhooks_is_among(const struct webhook_output *output, struct webhook_output *const *outputs, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (outputs[i] == output) {
            return true;
        }
    }
    return false;
}

struct webhooks_plan *webhooks_prepare(struct webhooks *webhooks, const struct config *config) {
    struct webhooks_plan *plan = calloc(1, sizeof(*plan));
    if (!plan) {
        return NULL;
    }
    plan->config = config;
    plan->outputs = calloc(config->n_webhooks + 1, sizeof(struct webhook_output *));
    bool complete = plan->outputs;
    for (size_t i = 0; complete && i < config->n_webhooks; i++) {
        struct webhook_output *output = webhooks_find(webhooks, &config->webhooks[i]);
        output = output ? output : output_new(webhooks, &config->webhooks[i]);
        complete = output;
        plan->outputs[i] = output;
        plan->n_outputs += complete;
    }
    return complete ? plan : webhooks_plan_free(plan);
}

struct webhooks_plan *webhooks_plan_free(struct webhooks_plan *plan) {
    if (plan) {
        for (size_t i = 0; i < plan->n_outputs; i++) {
            const struct webhooks *webhooks = plan->outputs[i]->owner;
            if (!webhooks_is_among(plan->outputs[i], webhooks->outputs, webhooks->n_outputs)) {
                (void)output_free(plan->outputs[i]);
            }
        }
        free(plan->outputs);
        free(plan);
    }
    return NULL;
}

void webhooks_commit(struct webhooks *webhooks, struct webhooks_plan *plan) {
    struct webhook_output **before = webhooks->outputs;
    size_t n_before = webhooks->n_outputs;
    usec_t now = loop_now(webhooks->options.loop);
    webhooks->outputs = plan->outputs;
    webhooks->n_outputs = plan->n_outputs;
    for (size_t i = 0; i < n_before; i++) {
        if (!webhooks_is_among(before[i], plan->outputs, plan->n_outputs)) {
            (void)output_retire(before[i]);
        }
    }
    for (size_t i = 0; i < webhooks->n_outputs; i++) {
        struct webhook_output *output = webhooks->outputs[i];
        output->config = &plan->config->webhooks[i];
        output_expect(output);
        webhook_queue_set_min_severity(output->queue, output->config->min_severity);
        webhook_queue_seed(output->queue, webhooks->standing, now);
        // A reload is what people do after they have mended something.
        webhook_queue_hurry(output->queue);
        loop_timer_set(output->timer, now);
    }
    free(before);
    free(plan);
}

// --- the end ---------------------------------------------------------------------------------------------------------

// Whether something that could be told now is not.
static bool webhooks_is_busy(const struct webhooks *webhooks, usec_t now) {
    for (size_t i = 0; i < webhooks->n_outputs; i++) {
        const struct webhook_output *output = webhooks->outputs[i];
        if (webhook_queue_n_owed(output->queue) > 0 && (output->request || webhook_queue_due(output->queue) <= now)) {
            return true;
        }
    }
    return false;
}

static void webhooks_check_finished(struct webhooks *webhooks, usec_t now) {
    if (webhooks->is_finishing && !webhooks_is_busy(webhooks, now)) {
        loop_stop(webhooks->options.loop);
    }
}

static void webhooks_on_deadline(void *userdata, usec_t now) {
    struct webhooks *webhooks = userdata;
    (void)now;
    loop_stop(webhooks->options.loop);
}

void webhooks_finish(struct webhooks *webhooks, usec_t timeout) {
    usec_t now = clock_monotonic();
    for (size_t i = 0; i < webhooks->n_outputs; i++) {
        webhook_queue_hurry(webhooks->outputs[i]->queue);
    }
    struct loop_timer *deadline = loop_timer_new(webhooks->options.loop, webhooks_on_deadline, webhooks);
    if (deadline && webhooks_is_busy(webhooks, now)) {
        webhooks->is_finishing = true;
        loop_timer_set(deadline, usec_add(now, timeout));
        for (size_t i = 0; i < webhooks->n_outputs; i++) {
            loop_timer_set(webhooks->outputs[i]->timer, now);
        }
        (void)loop_run(webhooks->options.loop);
        webhooks->is_finishing = false;
    }
    (void)loop_timer_free(deadline);
    for (size_t i = 0; i < webhooks->n_outputs; i++) {
        webhooks->outputs[i] = output_retire(webhooks->outputs[i]);
    }
    webhooks->n_outputs = 0;
}
