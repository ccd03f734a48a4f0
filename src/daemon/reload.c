// SPDX-License-Identifier: PostgreSQL
#include "reload.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/macro.h"

static const char *const reload_change_names[] = {
    [RELOAD_KEPT] = "kept",
    [RELOAD_CHANGED] = "changed",
    [RELOAD_ADDED] = "added",
    [RELOAD_REMOVED] = "removed",
};
static_assert(ARRAY_SIZE(reload_change_names) == N_RELOAD_CHANGES_, "one name for each change");

const char *reload_change_to_string(enum reload_change change) {
    return reload_change_names[change];
}

// A list of named things of one kind, and how two of them, found under one name, compare.
struct reload_list {
    size_t (*n)(const struct settings *settings);
    const char *(*name)(const struct settings *settings, size_t i);
    bool (*is_same)(const struct settings *before, size_t i, const struct settings *after, size_t j);
};

static const struct policy *reload_policy(const struct settings *settings) {
    return settings->config->policy;
}

static size_t reload_n_targets(const struct settings *settings) {
    return settings->config->n_targets;
}

static const char *reload_target_name(const struct settings *settings, size_t i) {
    return settings->config->targets[i].name;
}

static bool reload_is_same_text(const char *a, const char *b) {
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool reload_target_is_same(const struct settings *before, size_t i, const struct settings *after, size_t j) {
    const struct target_config *a = &before->config->targets[i], *b = &after->config->targets[j];
    return strcmp(a->conninfo, b->conninfo) == 0 && reload_is_same_text(a->password_file, b->password_file) &&
           a->connect_timeout == b->connect_timeout && a->query_timeout == b->query_timeout;
}

static size_t reload_n_rules(const struct settings *settings) {
    return reload_policy(settings)->n_timeouts + reload_policy(settings)->n_quotas;
}

static const char *reload_rule_name(const struct settings *settings, size_t i) {
    const struct policy *policy = reload_policy(settings);
    return i < policy->n_timeouts ? policy->timeouts[i].name : policy->quotas[i - policy->n_timeouts].name;
}

static bool reload_rule_is_same(const struct settings *before, size_t i, const struct settings *after, size_t j) {
    const struct policy *a = reload_policy(before), *b = reload_policy(after);
    bool is_timeout = i < a->n_timeouts;
    if (is_timeout != (j < b->n_timeouts)) {
        return false;
    }
    return is_timeout ? policy_timeout_is_same(a, i, b, j)
                      : policy_quota_is_same(a, i - a->n_timeouts, b, j - b->n_timeouts);
}

static size_t reload_n_alarms(const struct settings *settings) {
    return reload_policy(settings)->n_alarms;
}

static const char *reload_alarm_name(const struct settings *settings, size_t i) {
    return reload_policy(settings)->alarms[i].name;
}

static bool reload_alarm_is_same(const struct settings *before, size_t i, const struct settings *after, size_t j) {
    return policy_alarm_is_same(reload_policy(before), i, reload_policy(after), j);
}

static size_t reload_n_webhooks(const struct settings *settings) {
    return settings->config->n_webhooks;
}

static const char *reload_webhook_name(const struct settings *settings, size_t i) {
    return settings->config->webhooks[i].name;
}

static bool reload_headers_are_same(const struct webhook_config *a, const struct webhook_config *b) {
    for (size_t i = 0; i < MIN(a->n_headers, b->n_headers); i++) {
        if (strcmp(a->headers[i].name, b->headers[i].name) != 0 ||
            strcmp(a->headers[i].value, b->headers[i].value) != 0) {
            return false;
        }
    }
    return a->n_headers == b->n_headers;
}

static bool reload_webhook_is_same(const struct settings *before, size_t i, const struct settings *after, size_t j) {
    const struct webhook_config *a = &before->config->webhooks[i], *b = &after->config->webhooks[j];
    return reload_is_same_text(a->url, b->url) && reload_is_same_text(a->url_file, b->url_file) &&
           a->format == b->format && a->min_severity == b->min_severity && a->timeout == b->timeout &&
           reload_headers_are_same(a, b) && reload_is_same_text(a->bearer_token_file, b->bearer_token_file) &&
           reload_is_same_text(a->proxy, b->proxy) && reload_is_same_text(a->ca_file, b->ca_file);
}

static const struct reload_list reload_webhooks = {reload_n_webhooks, reload_webhook_name, reload_webhook_is_same};
static const struct reload_list reload_targets = {reload_n_targets, reload_target_name, reload_target_is_same};
static const struct reload_list reload_rules = {reload_n_rules, reload_rule_name, reload_rule_is_same};
static const struct reload_list reload_alarms = {reload_n_alarms, reload_alarm_name, reload_alarm_is_same};

// The place of that name, or the number of all.
static size_t reload_find(const struct reload_list *list, const struct settings *settings, const char *name) {
    size_t i = 0, n = list->n(settings);
    while (i < n && strcmp(list->name(settings, i), name) != 0) {
        i++;
    }
    return i;
}

static int reload_compare_list(const struct reload_list *list, const struct settings *before,
                               const struct settings *after, struct reload_section *ret) {
    size_t n_before = list->n(before), n_after = list->n(after);
    ret->items = calloc(n_before + n_after + 1, sizeof(*ret->items));
    if (!ret->items) {
        return -ENOMEM;
    }
    for (size_t i = 0; i < n_after; i++) {
        struct reload_entry *entry = &ret->items[ret->n_items++];
        *entry = (struct reload_entry){.name = list->name(after, i), .index = i, .change = RELOAD_ADDED};
        entry->before = reload_find(list, before, entry->name);
        if (entry->before < n_before) {
            entry->change = list->is_same(before, entry->before, after, i) ? RELOAD_KEPT : RELOAD_CHANGED;
        }
    }
    for (size_t i = 0; i < n_before; i++) {
        const char *name = list->name(before, i);
        if (reload_find(list, after, name) == n_after) {
            ret->items[ret->n_items++] = (struct reload_entry){.name = name, .before = i, .change = RELOAD_REMOVED};
        }
    }
    return 0;
}

int reload_compare(const struct settings *before, const struct settings *after, struct reload *ret) {
    CLEANUP(reload_deinit) struct reload reload = {0};
    int r = reload_compare_list(&reload_targets, before, after, &reload.targets);
    if (r == 0) {
        r = reload_compare_list(&reload_rules, before, after, &reload.rules);
    }
    if (r == 0) {
        r = reload_compare_list(&reload_alarms, before, after, &reload.alarms);
    }
    if (r == 0) {
        r = reload_compare_list(&reload_webhooks, before, after, &reload.webhooks);
    }
    if (r == 0) {
        *ret = reload;
        reload = (struct reload){0};
    }
    return r;
}

void reload_deinit(struct reload *reload) {
    free(reload->targets.items);
    free(reload->rules.items);
    free(reload->alarms.items);
    free(reload->webhooks.items);
    *reload = (struct reload){0};
}

// "changed: a, b and 3 more"; false: there are none.
static bool reload_describe_change(const struct reload_section *section, enum reload_change change,
                                   const char *separator, struct strbuf *sb) {
    size_t n = 0;
    for (size_t i = 0; i < section->n_items; i++) {
        const struct reload_entry *entry = &section->items[i];
        if (entry->change == change && n++ < RELOAD_MAX_NAMES) {
            if (n == 1) {
                strbuf_addf(sb, "%s%s: %s", separator, reload_change_names[change], entry->name);
            } else {
                strbuf_addf(sb, ", %s", entry->name);
            }
        }
    }
    if (n > RELOAD_MAX_NAMES) {
        strbuf_addf(sb, " and %zu more", n - RELOAD_MAX_NAMES);
    }
    return n > 0;
}

static void reload_describe_section(const struct reload_section *section, const char *what, struct strbuf *sb) {
    static const enum reload_change changes[] = {RELOAD_CHANGED, RELOAD_ADDED, RELOAD_REMOVED};
    size_t n = 0;
    for (size_t i = 0; i < section->n_items; i++) {
        n += section->items[i].change != RELOAD_REMOVED;
    }
    strbuf_addf(sb, "%zu %s%s", n, what, n == 1 ? "" : "s");
    const char *separator = " (";
    for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
        if (reload_describe_change(section, changes[i], separator, sb)) {
            separator = "; ";
        }
    }
    strbuf_add(sb, *separator == ';' ? ")" : "");
}

void reload_describe(const struct reload *reload, struct strbuf *sb) {
    reload_describe_section(&reload->targets, "target", sb);
    strbuf_add(sb, ", ");
    reload_describe_section(&reload->rules, "rule", sb);
    strbuf_add(sb, ", ");
    reload_describe_section(&reload->alarms, "alarm", sb);
    if (reload->webhooks.n_items > 0) {
        strbuf_add(sb, ", ");
        reload_describe_section(&reload->webhooks, "webhook", sb);
    }
}
