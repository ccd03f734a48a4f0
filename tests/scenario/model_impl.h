// SPDX-License-Identifier: PostgreSQL
#pragma once

// Shared by the files of the model: model.c (who, how long, inputs), model_decide.c (what is decided), model_breaker.c
// (whether it helps), model_alarm.c (what is told of it), model_acts.c (what became of it), model_preview.c (what
// another policy would do), model_same.c (whether a rule is still the one it was).

#include "model.h"

// The event must be among those that came, once; what remains at the end came without a reason.
struct came {
    const struct engine_result *result;
    bool met[4 * MODEL_MAX_SESSIONS + MODEL_MAX_INTENTS];
};

void model_hash(struct model *model, uint64_t value);
void model_check_looks(struct model *model, usec_t now, const struct engine_result *result);
void model_settle(struct model *model, bool full, struct came *came, usec_t now);
void model_nothing_else(struct came *came);

int model_app(const struct model_policy *policy, const struct session_row *row); // -1: none
bool model_same_group(const struct model_policy *policy, const struct session_row *a, const struct session_row *b);
// `all` counts rules, then quotas from MODEL_MAX_RULES on.
bool model_covers(const struct model_policy *policy, size_t all, const struct session_row *row);
bool model_asks_query(const struct model_policy *policy, size_t all);
bool model_age(const struct model *model, const struct model_session *session, enum session_time which, usec_t *ret);
enum session_time model_measures(const struct model_rule *rule, const struct session_row *row);
bool model_is_over(const struct model *model, size_t rule, usec_t after, const struct model_session *session,
                   usec_t *ret_age);
bool model_protected(const struct model *model, const struct model_session *session, bool for_good);
bool model_is_used(const struct model *model, int64_t percent);
bool model_enforces(const struct model *model, bool rule_enforce);
void model_rule_name(const struct model *model, size_t all, char text[static 32]);
void model_group_name(const struct model_policy *policy, const struct session_row *row, char text[static MODEL_KEY]);

int64_t model_living(const struct model *model);
int64_t model_living_beside(const struct model *model, const struct model_session *of); // in its group
// Whose turn it is next; NULL when all have had theirs.
struct model_session *model_next_of_rule(struct model *model, size_t rule, bool *had, usec_t now, usec_t *ret_age);
struct model_session *model_next_of_quota(struct model *model, size_t q, const struct model_over *of, bool *had,
                                          usec_t now, usec_t *ret_age);
// The groups over their quota, remembered, the worst first.
struct model_found {
    struct model_over *memory;
    int64_t held;
};
size_t model_find_over(struct model *model, size_t q, int64_t allowed, struct model_found *list, usec_t now);

// Whether an entry of a policy is still the one that it was.
bool model_rule_is_same(const struct model_rule *a, const struct model_rule *b);
bool model_quota_is_same(const struct model_quota *a, const struct model_quota *b);
bool model_alarm_is_same(const struct model_alarm *a, const struct model_alarm *b);

void model_decide(struct model *model, usec_t now, const struct engine_result *result);
void model_watch_shares(struct model *model, usec_t now);
bool model_asks_blockers(const struct model_policy *policy);
void model_check_reports(struct model *model, const struct engine_result *result);

bool model_breaker_holds(const struct model *model, const char *rule, const struct session_row *row);
void model_breaker_victim(struct model *model, const char *rule, const struct session_row *row, usec_t now);
void model_breaker_arrived(struct model *model, const struct session_row *row, usec_t at);
void model_breaker_judge(struct model *model, usec_t now);
void model_breaker_forget(struct model *model);

bool model_alarm_covers(const struct model_policy *policy, const struct model_alarm *alarm,
                        const struct session_row *row);
void model_alarms_scan(struct model *model, const struct scan *scan, usec_t now, const struct engine_result *result);
void model_alarms_policy(struct model *model, const struct model_policy *old, const struct engine_result *result);
void model_alarms_silent(const struct engine_result *result);
