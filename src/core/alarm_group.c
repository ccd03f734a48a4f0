// SPDX-License-Identifier: PostgreSQL
//
// One state of an alarm: what it is of, and how it moves on by what holds.
//
// A state goes none -> (pending) -> raised -> (escalated, eased) -> (clearing) -> none. The two in-between ones are not
// kept as such: `over_since` and `under_since` say for each severity since when it has held or not held without a
// break, and a severity is reached after `for` of the one and left after `clear_after` of the other.
#include "alarm_group.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "util/escape.h"

void alarm_group_free(struct interner *interner, struct alarm_group *group) {
    if (!group) {
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(group->key.names); i++) {
        intern_unref(interner, group->key.names[i]);
    }
    free(group->label);
    free(group->detail);
    free(group->hint);
    free(group);
}

static void alarm_label_add(struct strbuf *label, bool quoted, const char *name) {
    if (!name) {
        return;
    }
    strbuf_add(label, label->len > 0 ? ", " : "");
    if (quoted) {
        escape_quoted(label, name);
    } else {
        escape_text(label, name);
    }
}

// "worker, 10.0.0.7". 0 or -ENOMEM; *ret is NULL where there is nothing to tell apart.
static int alarm_group_label(const struct alarm_key *key, bool has_client, char **ret) {
    CLEANUP(strbuf_deinit) struct strbuf label = STRBUF_EMPTY;

    if (key->flags & ALARM_KEY_OTHER) {
        strbuf_add(&label, "other");
    } else if (key->flags & ALARM_KEY_TEXT) {
        strbuf_add(&label, key->names[0]);
    } else if (key->flags & ALARM_KEY_FORGED) {
        escape_text(&label, key->names[0]);
        strbuf_add(&label, " by ");
        escape_text(&label, key->names[1]);
    } else {
        alarm_label_add(&label, !(key->flags & ALARM_KEY_APP), key->names[0]);
        alarm_label_add(&label, false, key->names[1]);
        alarm_label_add(&label, false, key->names[2]);
        if (has_client) {
            strbuf_add(&label, label.len > 0 ? ", " : "");
            address_render(&label, &key->client);
        }
        alarm_label_add(&label, true, key->names[3]);
    }
    int r = strbuf_error(&label);
    *ret = r == 0 && label.len > 0 ? strbuf_take(&label) : NULL;
    return r;
}

void alarm_group_restart(struct alarm_group *group) {
    for (size_t i = 0; i < ARRAY_SIZE(group->over_since); i++) {
        group->over_since[i] = USEC_INFINITY;
        group->under_since[i] = USEC_INFINITY;
    }
}

static struct alarm_group *alarm_group_new(struct interner *interner, const struct alarm_key *key, bool has_client) {
    struct alarm_group *group = calloc(1, sizeof(*group));
    if (!group) {
        return NULL;
    }
    alarm_group_restart(group);
    memcpy(&group->key, key, sizeof(*key));
    bool failed = false;
    for (size_t i = 0; i < ARRAY_SIZE(key->names); i++) {
        group->key.names[i] = key->names[i] ? intern_ref(interner, key->names[i]) : NULL;
        failed |= key->names[i] && !group->key.names[i];
    }
    if (failed || alarm_group_label(key, has_client, &group->label) < 0) {
        alarm_group_free(interner, group);
        return NULL;
    }
    return group;
}

int alarm_group_set_text(char **text, const char *value) {
    char *copy = NULL;

    if (*text && value && strcmp(*text, value) == 0) {
        return 0;
    }
    if (value) {
        copy = strdup(value);
        if (!copy) {
            return -ENOMEM;
        }
    }
    free(*text);
    *text = copy;
    return 0;
}

int alarm_set_get(struct alarms *alarms, struct alarm_set *set, const struct alarm_key *key, struct alarm_group **ret) {
    struct alarm_group *group = NULL;
    struct alarm_key other;

    HASH_FIND(hh, set->groups, key, sizeof(*key), group);
    if (!group && HASH_COUNT(set->groups) >= ALARM_MAX_GROUPS) {
        memset(&other, 0, sizeof(other));
        other.flags = ALARM_KEY_OTHER;
        key = &other;
        HASH_FIND(hh, set->groups, key, sizeof(*key), group);
    }
    if (!group) {
        bool has_client = set->alarm && (set->alarm->per & GROUP_KEY_BIT(GROUP_CLIENT_ADDR));
        group = alarm_group_new(alarms_interner(alarms), key, has_client);
        if (!group) {
            return -ENOMEM;
        }
        HASH_ADD(hh, set->groups, key, sizeof(group->key), group);
        if (!group->hh.tbl) {
            alarm_group_free(alarms_interner(alarms), group);
            return -ENOMEM;
        }
    }
    *ret = group;
    return 0;
}

bool alarm_group_judge(struct alarm_group *group, enum severity level, usec_t for_, usec_t clear_after, usec_t now) {
    enum severity before = group->severity, reached = SEVERITY_NONE;

    for (unsigned s = SEVERITY_WARNING; s <= SEVERITY_CRITICAL; s++) {
        bool over = (unsigned)level >= s;
        usec_t *since = over ? &group->over_since[s] : &group->under_since[s];
        *(over ? &group->under_since[s] : &group->over_since[s]) = USEC_INFINITY;
        *since = MIN(*since, now);
        if (over && now - *since >= for_) {
            reached = (enum severity)s;
        }
    }
    if (reached > before) {
        group->severity = reached;
        group->held_for = now - group->over_since[reached];
    }
    while (group->severity > level && now - group->under_since[group->severity] >= clear_after) {
        group->held_for = now - group->under_since[group->severity];
        group->severity = (enum severity)(group->severity - 1);
    }
    return group->severity != before;
}
