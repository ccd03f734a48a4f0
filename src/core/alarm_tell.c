// SPDX-License-Identifier: PostgreSQL
//
// From the states of alarms to events.
#include <inttypes.h>
#include <string.h>

#include "alarm.h"
#include "util/array.h"
#include "util/escape.h"

struct holder {
    const struct group *group;
    int64_t n;
};

// Keeps the ones with the most sessions, most first.
static void alarms_keep_holder(struct holder top[ALARM_MAX_HOLDERS], size_t *n, const struct group *group) {
    size_t at = *n;

    while (at > 0 && (top[at - 1].n < group->n_counted ||
                      (top[at - 1].n == group->n_counted && strcmp(top[at - 1].group->label, group->label) > 0))) {
        at--;
    }
    if (at == ALARM_MAX_HOLDERS) {
        return;
    }
    size_t n_moved = MIN(*n, (size_t)ALARM_MAX_HOLDERS - 1) - at;
    memmove(top + at + 1, top + at, n_moved * sizeof(*top));
    top[at] = (struct holder){group, group->n_counted};
    *n = MIN(*n + 1, (size_t)ALARM_MAX_HOLDERS);
}

// "worker 41, postgrest 22, other 18", once a step.
static const char *alarms_holders(struct alarms *alarms) {
    struct origin_table *origins = &alarms->snapshot->origins;
    struct holder top[ALARM_MAX_HOLDERS];
    struct strbuf *sb = &alarms->holders;
    int64_t n_others = (int64_t)snapshot_n_sessions(alarms->snapshot);
    size_t n = 0;

    if (sb->len > 0 || !alarms->snapshot->complete) {
        return sb->len > 0 ? strbuf_str(sb) : NULL;
    }
    for (struct group *group = origins->groups; group; group = group->hh.next) {
        group->n_counted = 0;
    }
    for (const struct origin *origin = origins->origins; origin; origin = origin->hh.next) {
        origin->group->n_counted += (int64_t)origin->n_sessions;
    }
    for (const struct group *group = origins->groups; group; group = group->hh.next) {
        alarms_keep_holder(top, &n, group);
    }
    for (size_t i = 0; i < n && top[i].n > 0; i++) {
        strbuf_add(sb, i > 0 ? ", " : "");
        if (top[i].group->key.app >= 0) {
            escape_text(sb, top[i].group->label);
        } else {
            strbuf_add(sb, top[i].group->label); // quoted and escaped when it was made
        }
        strbuf_addf(sb, " %" PRId64, top[i].n);
        n_others -= top[i].n;
    }
    if (n_others > 0) {
        strbuf_addf(sb, "%sother %" PRId64, n > 0 ? ", " : "", n_others);
    }
    return sb->len > 0 ? strbuf_str(sb) : NULL;
}

static enum event_level alarm_level(enum severity severity) {
    switch (severity) {
    case SEVERITY_NONE:
        return EVENT_NOTICE;
    case SEVERITY_WARNING:
        return EVENT_WARNING;
    case SEVERITY_CRITICAL:
        return EVENT_ERROR;
    }
    return EVENT_ERROR;
}

static const char *alarm_change(enum severity before, enum severity now) {
    if (now == SEVERITY_NONE) {
        return "cleared";
    }
    return before == SEVERITY_NONE ? "raised" : now > before ? "escalated" : "eased";
}

static struct event alarms_make_event(struct alarms *alarms, const struct alarm_set *set,
                                      const struct alarm_group *group) {
    struct event event = event_make(EVENT_ALARM, alarm_level(group->severity), alarms->target);

    event.alarm = set->name;
    event.group = group->label;
    event.severity = group->severity;
    event.reason = alarm_change(group->told, group->severity);
    event.detail = set->removed;
    if (group->severity != SEVERITY_NONE) {
        event.detail = group->detail;
        event.hint = group->hint;
    }
    if (set->alarm) {
        event.has_metric = true;
        event.metric = set->alarm->metric;
        event.below = set->alarm->below;
        event.value = group->changed_value;
        event.threshold = group->threshold;
        event.age = group->held_for;
    }
    if (set->alarm || set == alarms->sets[ALARM_FULL]) {
        event.holders = alarms_holders(alarms);
    }
    return event;
}

static int alarms_tell_group(struct alarms *alarms, const struct alarm_set *set, struct alarm_group *group) {
    if (group->severity == group->told) {
        return 0;
    }
    int r = ARRAY_RESERVE(alarms->events, alarms->events_capacity, alarms->n_events);
    if (r < 0) {
        return r;
    }
    alarms->events[alarms->n_events++] = alarms_make_event(alarms, set, group);
    group->told_before = group->told;
    group->told_in = alarms->step;
    group->told = group->severity;
    return strbuf_error(&alarms->holders);
}

int alarms_tell(struct alarms *alarms) {
    for (size_t i = 0; alarms->dirty && i < alarms->n_sets; i++) {
        const struct alarm_set *set = alarms->sets[i];
        for (struct alarm_group *group = set->groups; group; group = group->hh.next) {
            int r = alarms_tell_group(alarms, set, group);
            if (r < 0) {
                return r;
            }
        }
    }
    alarms->dirty = false;
    return 0;
}

void alarms_abort(struct alarms *alarms) {
    for (size_t i = 0; i < alarms->n_sets; i++) {
        for (struct alarm_group *group = alarms->sets[i]->groups; group; group = group->hh.next) {
            if (group->told_in == alarms->step) {
                group->told = group->told_before;
            }
        }
    }
    alarms->n_events = 0;
    alarms->dirty = true;
}
