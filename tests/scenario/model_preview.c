// SPDX-License-Identifier: PostgreSQL
//
// What a policy that is not in force would do.
#include <string.h>

#include "model_impl.h"

static int64_t preview_rule(struct model *model, size_t i, usec_t now) {
    const struct model_rule *rule = &model->policy.rules[i];
    int64_t n = 0, wanted = rule->has_usage ? model_living(model) - model->usable * rule->until / 100 : INT64_MAX;
    bool had[MODEL_MAX_SESSIONS] = {0};
    struct model_session *session;
    usec_t age = 0;

    while (n < wanted && (session = model_next_of_rule(model, i, had, now, &age)) != NULL) {
        bool ends = rule->action == ACTION_TERMINATE;
        if (!model_protected(model, session, false) &&
            !(ends && model_living_beside(model, session) - 1 < rule->keep) &&
            !(rule->action == ACTION_CANCEL && session->cancelled == session->row.query_start)) {
            session->dying = ends;
            n++;
        }
    }
    return n;
}

static int64_t preview_quota(struct model *model, size_t q, usec_t now) {
    const struct model_quota *quota = &model->policy.quotas[q];
    int64_t allowed = quota->is_percent ? model->usable * quota->max / 100 : quota->max, n = 0;
    struct model_found list[MODEL_MAX_SESSIONS];
    size_t n_over = model_find_over(model, q, allowed, list, now);

    for (size_t i = 0; i < n_over && quota->action != ACTION_LOG; i++) {
        bool had[MODEL_MAX_SESSIONS] = {0};
        struct model_session *session;
        int64_t wanted = list[i].held - allowed;
        usec_t age = 0;
        while (wanted > 0 && (session = model_next_of_quota(model, q, list[i].memory, had, now, &age)) != NULL) {
            if (!model_protected(model, session, false)) {
                session->dying = true;
                wanted--;
                n++;
            }
        }
    }
    return quota->action == ACTION_LOG ? (int64_t)n_over : n;
}

// Rules that log take nobody away: they see all who are there, the others whom those before have left.
void model_preview(const struct model *now, const struct model_policy *policy, const int64_t *counts) {
    static struct model model;

    for (unsigned logs = 0; logs < 2; logs++) {
        memcpy(&model, now, sizeof(model));
        memcpy(&model.policy, policy, sizeof(*policy));
        model.full = true;
        for (size_t i = 0; i < model.n_sessions; i++) {
            model.sessions[i].fed = true;
        }
        for (size_t i = 0; i < policy->n_rules; i++) {
            const struct model_rule *rule = &policy->rules[i];
            model.armed[i] = rule->has_usage && model_is_used(&model, rule->usage);
            if ((rule->action == ACTION_LOG) != logs) {
                continue;
            }
            int64_t n = preview_rule(&model, i, model.received_at);
            HOLDS(PREVIEWS_ARE_THOSE_OF_THE_MODEL,
                  counts[i] == (rule->blocks > 0 && !now->knows_blockers ? ENGINE_PREVIEW_UNKNOWN : n));
        }
        for (size_t q = 0; q < policy->n_quotas; q++) {
            if ((policy->quotas[q].action == ACTION_LOG) == logs) {
                int64_t n = preview_quota(&model, q, model.received_at);
                HOLDS(PREVIEWS_ARE_THOSE_OF_THE_MODEL, counts[policy->n_rules + q] == n);
            }
        }
    }
}
