// SPDX-License-Identifier: PostgreSQL
//
// Whether an entry of a policy is still the one that it was. What the dice left in fields that nothing reads is no
// difference.
#include <string.h>

#include "model_impl.h"

// Only what gets into a selector.
static struct spec spec_as_written(const struct spec *spec) {
    struct spec written = {.kind = spec->kind, .query = spec->query};

    switch (spec->kind) {
    case SPEC_ABSENT:
    case SPEC_QUERY:
        break;
    case SPEC_NOBODY:
        if (spec->users % 2) {
            written.kind = SPEC_USERS; // a clause without keys: a list of no users
        }
        break;
    case SPEC_USERS:
        written.users = spec->users;
        break;
    case SPEC_PREFIX:
        written.prefix = spec->prefix;
        break;
    case SPEC_SUPERUSER:
        written.superuser = spec->superuser;
        break;
    case SPEC_APP:
        written.app = spec->app;
        break;
    }
    return written;
}

static bool spec_is_same(const struct spec *a, const struct spec *b) {
    struct spec x = spec_as_written(a), y = spec_as_written(b);

    return x.kind == y.kind && x.users == y.users && x.prefix == y.prefix && x.app == y.app &&
           x.superuser == y.superuser && x.query == y.query;
}

bool model_rule_is_same(const struct model_rule *a, const struct model_rule *b) {
    return a->states == b->states && a->any == b->any && a->has_since == b->has_since && a->since == b->since &&
           a->after == b->after && spec_is_same(&a->match, &b->match) && spec_is_same(&a->ignore, &b->ignore) &&
           a->keep == b->keep && a->action == b->action && a->has_then == b->has_then && a->grace == b->grace &&
           a->has_usage == b->has_usage && a->usage == b->usage && a->until == b->until && a->blocks == b->blocks &&
           a->enforce == b->enforce;
}

bool model_quota_is_same(const struct model_quota *a, const struct model_quota *b) {
    return a->per == b->per && spec_is_same(&a->match, &b->match) && spec_is_same(&a->ignore, &b->ignore) &&
           a->max == b->max && a->is_percent == b->is_percent && a->wait == b->wait && a->n_evict == b->n_evict &&
           memcmp(a->evict, b->evict, a->n_evict * sizeof(a->evict[0])) == 0 && a->min_idle == b->min_idle &&
           a->victims == b->victims && a->action == b->action && a->enforce == b->enforce;
}

bool model_alarm_is_same(const struct model_alarm *a, const struct model_alarm *b) {
    return a->metric == b->metric && a->per == b->per && a->below == b->below && a->warning == b->warning &&
           a->critical == b->critical && a->wait == b->wait && a->clear_after == b->clear_after &&
           spec_is_same(&a->match, &b->match);
}
