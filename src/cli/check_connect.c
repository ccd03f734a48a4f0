// SPDX-License-Identifier: PostgreSQL
//
// check --connect: asks each server once, observing, and compares.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "commands.h"
#include "util/cleanup.h"
#include "util/escape.h"

struct check {
    const struct settings *settings;
    struct check_findings findings;
    bool as_json;
};

// Told by rules instead, each for the sessions that it would hit.
static bool check_is_told_elsewhere(const char *reason) {
    return strcmp(reason, "superuser_sessions") == 0 || strcmp(reason, "covers_nobody") == 0;
}

static bool check_on_event(void *userdata, const struct event *event) {
    struct check *check = userdata;

    if (event->kind == EVENT_SELF_CHECK && event->reason && event->target && event->level <= EVENT_NOTICE &&
        !check_is_told_elsewhere(event->reason)) {
        const struct remark remark = {
            .level = event->level, .reason = event->reason, .detail = event->detail, .hint = event->hint};
        check_add(&check->findings, check->settings->config, event->target, &remark);
    }
    return true;
}

static void check_add_failure(struct check *check, const char *target, const char *what, const struct pg_error *error) {
    CLEANUP(strbuf_deinit) struct strbuf detail = STRBUF_EMPTY;
    struct remark remark = {.level = EVENT_ERROR, .reason = "unanswered", .hint = cli_failure_hint(error)};

    strbuf_addf(&detail, "%s (%s): %s", what, pg_error_kind_to_string(error->kind), error->message);
    if (*error->sqlstate) {
        strbuf_addf(&detail, " [%s]", error->sqlstate);
    }
    if (strbuf_error(&detail) < 0) {
        check->findings.failed = true;
        return;
    }
    remark.detail = strbuf_str(&detail);
    check_add(&check->findings, check->settings->config, target, &remark);
}

static void check_take_verdict(struct check *check, const struct oneshot_verdict *verdict) {
    const struct comparison *comparison = &verdict->comparison;

    if (!verdict->ok) {
        check_add_failure(check, verdict->target, "cannot be asked", &verdict->error);
        return;
    }
    if (verdict->compare_error.kind != PG_ERROR_NONE) {
        check_add_failure(check, verdict->target, "its settings cannot be read", &verdict->compare_error);
    }
    for (size_t i = 0; i < comparison->n_remarks; i++) {
        check_add(&check->findings, check->settings->config, verdict->target, &comparison->remarks[i]);
    }
    check->findings.n_dropped += comparison->n_dropped;
}

static void check_add_verdict(const struct check *check, struct strbuf *text) {
    const struct check_findings *findings = &check->findings;
    size_t n_notes = 0, n = findings->n_items + findings->n_dropped;

    for (size_t i = 0; i < findings->n_items; i++) {
        n_notes += findings->items[i].level > EVENT_WARNING;
    }
    strbuf_add_char(text, '\n');
    escape_text(text, check->settings->source);
    if (n == 0) {
        strbuf_add(text, ": ok, no findings\n");
    } else {
        strbuf_addf(text, ": %zu finding%s (%zu to mend, %zu to know)\n", n, n == 1 ? "" : "s", n - n_notes, n_notes);
    }
}

static int check_tell(struct check *check, const struct oneshot_result *result) {
    CLEANUP(freep) struct check_target *targets = calloc(result->n_verdicts + 1, sizeof(*targets));
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    const struct screen screen = cli_screen();
    size_t n_targets = 0;

    if (!targets) {
        return cli_out_of_memory();
    }
    for (size_t i = 0; i < result->n_verdicts; i++) {
        const struct oneshot_verdict *verdict = &result->verdicts[i];
        check_take_verdict(check, verdict);
        if (verdict->ok) {
            targets[n_targets++] = (struct check_target){verdict->target, &verdict->summary, &verdict->comparison};
        }
    }
    check_findings_finish(&check->findings, result->n_verdicts);
    int r = check->findings.failed ? -ENOMEM : 0;
    if (r == 0 && check->as_json) {
        r = check_json(&check->findings, targets, n_targets, check->settings->config->policy, &text);
    } else if (r == 0) {
        r = check_text(&check->findings, targets, n_targets, check->settings->config->policy, &screen, &text);
        check_add_verdict(check, &text);
    }
    if (r < 0) {
        return cli_out_of_memory();
    }
    int status = cli_write(&text);
    return status == EXIT_DONE && check->findings.n_items > 0 ? EXIT_FAILED : status;
}

int check_connect(const struct settings *settings, bool as_json) {
    CLEANUP(oneshot_freep) struct oneshot *oneshot = NULL;
    CLEANUP(oneshot_result_deinit) struct oneshot_result result = {0};
    struct check check = {.settings = settings, .as_json = as_json};
    const struct oneshot_options options = {
        .settings = settings,
        .policy = settings->config->policy,
        .compare = true,
        .timeout = USEC_INFINITY,
    };
    int status;

    int r = oneshot_new(&options, check_on_event, &check, &oneshot);
    if (r == 0) {
        r = oneshot_round(oneshot, &result);
    }
    if (r < 0) {
        if (r != -EINTR) {
            cli_error("the check broke off: %s", strerror(-r));
        }
        status = EXIT_FAILED;
    } else {
        status = check_tell(&check, &result);
    }
    check_findings_deinit(&check.findings);
    return status;
}
