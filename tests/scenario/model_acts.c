// SPDX-License-Identifier: PostgreSQL
//
// What becomes of an intent: the answer to the guarded statement first, then what scans show.
#include "model_impl.h"

#include "util/macro.h"

static void model_meet(struct model *model, struct came *came, const struct intent *intent, enum outcome outcome) {
    for (size_t i = 0; i < came->result->n_events; i++) {
        const struct event *event = &came->result->events[i];
        if (!came->met[i] && event->kind == EVENT_OUTCOME && event->outcome == outcome &&
            event->action == intent->action && session_id_is_equal(&event->session->id, &intent->id)) {
            came->met[i] = true;
            model->n_outcomes++;
            model_hash(model, (uint64_t)outcome * 131 + (uint64_t)intent->id.id);
            HOLDS(P6_OUTCOMES_ARE_THOSE_OF_THE_MODEL, intent->state != INTENT_FINAL);
            return;
        }
    }
    bool outcome_came = false;
    HOLDS(P6_OUTCOMES_ARE_THOSE_OF_THE_MODEL, outcome_came);
}

void model_nothing_else(struct came *came) {
    for (size_t i = 0; i < came->result->n_events; i++) {
        HOLDS(P6_EACH_INTENT_HAS_ONE_FINAL_OUTCOME, came->met[i] || came->result->events[i].kind != EVENT_OUTCOME);
    }
}

static void model_release(struct model *model, const struct intent *intent, usec_t until) {
    struct model_session *session = model_find(model, &intent->id);
    if (session) {
        session->dying = false;
        session->hold_until = until;
    }
}

static void model_look_at_dying(struct model *model, struct intent *intent, const struct model_session *session,
                                struct came *came, usec_t now) {
    if (!session) {
        model_meet(model, came, intent, OUTCOME_GONE);
        intent->state = INTENT_FINAL;
    } else if (session->fed && intent->state == INTENT_LINGERING) {
        if (now >= intent->signalled_at + ENGINE_RETRY_AFTER) {
            model_release(model, intent, 0);
            intent->state = INTENT_FINAL;
        }
    } else if (session->fed && now >= intent->signalled_at + ENGINE_LINGERING_AFTER) {
        model_meet(model, came, intent, intent->unsure ? OUTCOME_UNKNOWN : OUTCOME_LINGERING);
        intent->state = intent->unsure ? INTENT_FINAL : INTENT_LINGERING;
        if (intent->unsure) {
            model_release(model, intent, 0);
        }
    }
}

// Whether the session whose query it was to cancel was to be ended after it.
static bool model_is_escalated(const struct model *model, const struct intent *of) {
    bool escalated = false;

    for (size_t i = 0; i < model->n_intents; i++) {
        const struct intent *intent = &model->intents[i];
        escalated |= intent->action == ACTION_TERMINATE &&
                     (intent->state == INTENT_DYING || intent->state == INTENT_LINGERING) &&
                     session_id_is_equal(&intent->id, &of->id);
    }
    return escalated;
}

static void model_look_at_query(struct model *model, struct intent *intent, const struct model_session *session,
                                struct came *came, usec_t now) {
    if (session && !session->fed) {
        return;
    }
    if (!session && model_is_escalated(model, intent)) {
        // By then the query had run on for `grace`: it is not the cancel that ended it.
        model_meet(model, came, intent, OUTCOME_STILL_RUNNING);
        intent->state = INTENT_FINAL;
    } else if (!session || session->row.state != SESSION_STATE_ACTIVE ||
               session->row.query_start != intent->query_start) {
        model_meet(model, came, intent, OUTCOME_CANCELLED);
        intent->state = INTENT_FINAL;
    } else if (now >= intent->signalled_at + ENGINE_CANCEL_SETTLES) {
        model_meet(model, came, intent, intent->unsure ? OUTCOME_UNKNOWN : OUTCOME_STILL_RUNNING);
        intent->state = INTENT_FINAL;
    }
}

void model_settle(struct model *model, bool full, struct came *came, usec_t now) {
    for (size_t i = 0; i < model->n_intents; i++) {
        struct intent *intent = &model->intents[i];
        struct model_session *session = model_find(model, &intent->id);
        if (intent->state == INTENT_UNKNOWN && full) {
            intent->state = intent->action == ACTION_CANCEL ? INTENT_CANCELLING : INTENT_DYING;
        }
        switch (intent->state) {
        case INTENT_DYING:
        case INTENT_LINGERING:
            model_look_at_dying(model, intent, session, came, now);
            break;
        case INTENT_CANCELLING:
            model_look_at_query(model, intent, session, came, now);
            break;
        case INTENT_ACT:
        case INTENT_UNKNOWN:
        case INTENT_FINAL:
            break;
        }
        // A promotion forgets sessions, not acts.
        if (session && intent->state != INTENT_FINAL) {
            session->dying = session->dying || intent->action == ACTION_TERMINATE;
            if (session->dying || intent->state == INTENT_ACT) {
                session->hold_until = USEC_INFINITY;
            }
            if (intent->action == ACTION_CANCEL && session->row.query_start == intent->query_start) {
                session->cancelled = intent->query_start;
            }
        }
    }
}

static void model_signalled(struct model *model, const struct intent *intent, struct model_session *session,
                            usec_t now) {
    if (intent->action == ACTION_TERMINATE) {
        model_breaker_victim(model, intent->rule_name, &session->row, now);
    } else if (intent->rule >= 0 && model->policy.rules[intent->rule].has_then) {
        session->escalate_at = now + model->policy.rules[intent->rule].grace;
        session->escalate_rule = intent->rule;
    }
}

void model_act(struct model *model, struct intent *intent, enum act_result answer, usec_t now,
               const struct engine_result *result) {
    static const struct {
        enum outcome outcome;
        usec_t hold;
    } settles[] = {
        [ACT_SIGNALLED] = {OUTCOME_NONE, 0},
        [ACT_CHANGED] = {OUTCOME_CHANGED, 0},
        [ACT_SPARED] = {OUTCOME_CHANGED, 0},
        [ACT_LEFT] = {OUTCOME_LEFT, 0},
        [ACT_DENIED] = {OUTCOME_DENIED, ENGINE_DENIED_RETRY},
        [ACT_FAILED] = {OUTCOME_FAILED, ENGINE_RETRY_AFTER},
        [ACT_UNKNOWN] = {OUTCOME_UNKNOWN, 0},
        [ACT_UNSENT] = {OUTCOME_FAILED, 0},
        [ACT_UNRECORDED] = {OUTCOME_NONE, 0},
    };
    struct came came = {.result = result};
    model_alarms_silent(result);
    struct model_session *session = model_find(model, &intent->id);
    bool sent = answer == ACT_SIGNALLED || answer == ACT_UNKNOWN;

    if (settles[answer].outcome != OUTCOME_NONE) {
        model_meet(model, &came, intent, settles[answer].outcome);
    }
    model_nothing_else(&came);
    HOLDS(P3_ONLY_ROWS_OF_THIS_SCAN, result->n_decisions == 0);
    if (answer == ACT_SIGNALLED && session) {
        model_signalled(model, intent, session, now);
    }
    intent->signalled_at = now;
    intent->unsure = answer == ACT_UNKNOWN;
    intent->state = !sent                             ? INTENT_FINAL
                    : intent->unsure                  ? INTENT_UNKNOWN
                    : intent->action == ACTION_CANCEL ? INTENT_CANCELLING
                                                      : INTENT_DYING;
    if (!sent || intent->action == ACTION_CANCEL) {
        model_release(model, intent, settles[answer].hold ? now + settles[answer].hold : 0);
    }
    if (!sent) {
        // The engine keeps no record of the budget beyond a minute; neither matters then.
        intent->refunded = now < intent->decided_at + USEC_PER_MINUTE || intent->refunded;
        if (session && intent->action == ACTION_CANCEL) {
            session->cancelled = TIMESTAMP_NONE;
        }
    }
    if (session && answer == ACT_LEFT) {
        *session = model->sessions[--model->n_sessions];
    }
    model_check_looks(model, now, result);
}

void model_stop(struct model *model, const struct engine_result *result) {
    struct came came = {.result = result};

    for (size_t i = 0; i < model->n_intents; i++) {
        struct intent *intent = &model->intents[i];
        if (intent->state == INTENT_FINAL) {
            continue;
        }
        if (intent->state != INTENT_LINGERING) {
            model_meet(model, &came, intent, OUTCOME_UNVERIFIED);
        }
        intent->state = INTENT_FINAL;
        model_release(model, intent, 0);
    }
    model_nothing_else(&came);
    model->complete = false;
}
