// SPDX-License-Identifier: PostgreSQL
//
// Alarms as three kinds of receivers want them. Text is made UTF-8 and escaped for JSON by the tree: what is left here
// is each receiver's own syntax inside of the text.
#include <errno.h>

#include "json_tree.h"
#include "output/encode.h"
#include "output/webhook.h"
#include "util/cleanup.h"
#include "util/macro.h"
#include "util/strbuf.h"

// Absent rather than null or empty: Alertmanager takes an empty label for none.
static void webhook_put_if(struct json_tree *tree, json_t *object, const char *key, const char *raw) {
    if (raw && raw[0]) {
        json_tree_put_text(tree, object, key, raw);
    }
}

static void webhook_put_message(struct json_tree *tree, json_t *object, const char *key, const struct event *event) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    event_render(event, &text);
    tree->failed |= strbuf_error(&text) < 0;
    json_tree_put_text(tree, object, key, strbuf_str(&text));
}

static int webhook_write(const struct json_tree *tree, const json_t *value, struct strbuf *sb) {
    return tree->failed ? -ENOMEM : json_tree_write(value, sb);
}

// --- Alertmanager ----------------------------------------------------------------------------------------------------

// "worker-leak" is PgvigilWorkerLeak.
static void alertmanager_put_name(struct json_tree *tree, json_t *labels, const char *alarm) {
    CLEANUP(strbuf_deinit) struct strbuf name = STRBUF_EMPTY;
    bool starts = true;
    strbuf_add(&name, "Pgvigil");
    for (const char *s = alarm; *s; s++) {
        bool is_lower = *s >= 'a' && *s <= 'z';
        if (is_lower || (*s >= 'A' && *s <= 'Z') || (*s >= '0' && *s <= '9')) {
            strbuf_add_char(&name, starts && is_lower ? (char)(*s - 'a' + 'A') : *s);
            starts = false;
        } else {
            starts = true;
        }
    }
    tree->failed |= strbuf_error(&name) < 0;
    json_tree_put_text(tree, labels, "alertname", strbuf_str(&name));
}

static void alertmanager_append(struct json_tree *tree, json_t *array, const struct webhook_alert *alert,
                                enum severity severity, usec_t realtime) {
    const struct event *event = &alert->event;
    json_t *object = json_tree_append_object(tree, array);
    // The labels are what Alertmanager knows an alert by: the same for the same alarm and severity, whatever it
    // measures.
    json_t *labels = json_tree_put_object(tree, object, "labels");
    alertmanager_put_name(tree, labels, event->alarm);
    webhook_put_if(tree, labels, "alarm", event->alarm);
    webhook_put_if(tree, labels, "target", event->target);
    webhook_put_if(tree, labels, "group", event->group);
    webhook_put_if(tree, labels, "severity", severity_to_string(severity));
    json_t *annotations = json_tree_put_object(tree, object, "annotations");
    webhook_put_message(tree, annotations, "summary", event);
    webhook_put_if(tree, annotations, "description", event->detail);
    webhook_put_if(tree, annotations, "hint", event->hint);
    webhook_put_if(tree, annotations, "holders", event->holders);
    // Our clock may step. What began or ended in what is the future since would begin or end only then; and an alert
    // that ends before it starts is refused.
    usec_t starts_at = MIN(alert->began[severity], realtime);
    usec_t ends_at = alert->severity == severity ? usec_add(realtime, WEBHOOK_ALERTMANAGER_EXPIRES)
                                                 : MIN(alert->ended[severity], realtime);
    json_tree_put_time(tree, object, "startsAt", starts_at);
    json_tree_put_time(tree, object, "endsAt", MAX(ends_at, starts_at));
}

// Another severity is another alert: the old one is told to have ended in the same message.
static int alertmanager_encode(const struct webhook_alert *const *alerts, size_t n, usec_t realtime,
                               struct strbuf *sb) {
    static const enum severity severities[] = {SEVERITY_WARNING, SEVERITY_CRITICAL};
    CLEANUP(json_tree_deinit) struct json_tree tree;
    json_tree_init(&tree);
    json_t *array = json_tree_put_array(&tree, tree.root, "alerts");
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < ARRAY_SIZE(severities); j++) {
            enum severity severity = severities[j];
            if (alerts[i]->severity == severity || alerts[i]->told & WEBHOOK_BIT(severity)) {
                alertmanager_append(&tree, array, alerts[i], severity, realtime);
            }
        }
    }
    return webhook_write(&tree, array, sb);
}

const struct webhook_codec webhook_alertmanager = {
    .max_alerts = WEBHOOK_MAX_BATCH,
    .repeat = WEBHOOK_ALERTMANAGER_REPEAT,
    .encode = alertmanager_encode,
};

// --- Slack -----------------------------------------------------------------------------------------------------------

// These three are its control characters: "<!channel>" in an application name must not call everybody.
static void slack_escape(struct strbuf *sb, const char *text) {
    for (const char *s = text; *s; s++) {
        switch (*s) {
        case '&':
            strbuf_add(sb, "&amp;");
            break;
        case '<':
            strbuf_add(sb, "&lt;");
            break;
        case '>':
            strbuf_add(sb, "&gt;");
            break;
        default:
            strbuf_add_char(sb, *s);
            break;
        }
    }
}

static int slack_encode(const struct webhook_alert *const *alerts, size_t n, usec_t realtime, struct strbuf *sb) {
    CLEANUP(strbuf_deinit) struct strbuf message = STRBUF_EMPTY, text = STRBUF_EMPTY;
    CLEANUP(json_tree_deinit) struct json_tree tree;
    (void)n;
    (void)realtime;
    json_tree_init(&tree);
    event_render(&alerts[0]->event, &message);
    slack_escape(&text, strbuf_str(&message));
    tree.failed |= strbuf_error(&message) < 0 || strbuf_error(&text) < 0;
    json_tree_put_text(&tree, tree.root, "text", strbuf_str(&text));
    // No formatting by what stands in a name, and no look at the addresses that do.
    json_tree_put_bool(&tree, tree.root, "mrkdwn", false);
    json_tree_put_bool(&tree, tree.root, "unfurl_links", false);
    json_tree_put_bool(&tree, tree.root, "unfurl_media", false);
    return webhook_write(&tree, tree.root, sb);
}

const struct webhook_codec webhook_slack = {.max_alerts = 1, .repeat = USEC_INFINITY, .encode = slack_encode};

// --- JSON ------------------------------------------------------------------------------------------------------------

static int json_event_encode(const struct webhook_alert *const *alerts, size_t n, usec_t realtime, struct strbuf *sb) {
    (void)n;
    (void)realtime;
    return json_encode(&alerts[0]->event, alerts[0]->realtime, sb);
}

const struct webhook_codec webhook_json = {.max_alerts = 1, .repeat = USEC_INFINITY, .encode = json_event_encode};
