// SPDX-License-Identifier: PostgreSQL
#include "executor.h"

#include <stdlib.h>
#include <string.h>

#include "util/array.h"

enum executor_state {
    EXECUTOR_RECORDING, // waits for the record of the intent, until record_by. Then RECORDED or REPORTED
    EXECUTOR_RECORDED,  // waits to be sent. Then SENT, or REPORTED when the connection goes
    EXECUTOR_SENT,      // waits for its result, as long as the server's job has time. Then REPORTED
    EXECUTOR_REPORTED,  // waits for the engine to take the result. Then DONE
    EXECUTOR_DONE,      // its place is free as soon as it is the first
};

struct executor_item {
    enum executor_state state;
    struct decision decision; // all strings but the test's application_name are gone
    char *application_name;
    uint64_t ticket;
    usec_t record_by;
    enum act_result result;
    const char *why; // static, with ACT_UNSENT; NULL: the connection went
    struct pg_error error;
};

struct executor {
    struct sinks *sinks;
    struct event_asker asker;
    struct executor_item *items; // in the order of deciding
    size_t head;                 // the first that is not DONE
    size_t n_items;
    size_t capacity;
    size_t n_in[EXECUTOR_DONE + 1];
    // Serials of decisions that were not taken, first to last; empty when first > last. Serials only grow, and nothing
    // is taken while it is not empty, so that no memory is needed to remember that there was none.
    uint64_t refused_first;
    uint64_t refused_last;
    struct decision chunk[ACT_MAX];
};

struct executor *executor_new(struct sinks *sinks) {
    struct executor *executor = calloc(1, sizeof(*executor));
    if (executor) {
        executor->sinks = sinks;
        executor->asker = EVENT_NOBODY;
        executor->refused_first = 1;
    }
    return executor;
}

struct executor *executor_free(struct executor *executor) {
    if (executor) {
        for (size_t i = executor->head; i < executor->n_items; i++) {
            free(executor->items[i].application_name);
        }
        free(executor->items);
        free(executor);
    }
    return NULL;
}

static void executor_enter(struct executor *executor, struct executor_item *item, enum executor_state state) {
    executor->n_in[item->state]--;
    executor->n_in[state]++;
    item->state = state;
}

static void executor_settle(struct executor *executor, struct executor_item *item, enum act_result result) {
    item->result = result;
    executor_enter(executor, item, EXECUTOR_REPORTED);
}

static bool executor_has_refused(const struct executor *executor) {
    return executor->refused_first <= executor->refused_last;
}

// Reuses the places of those that are done, before the array would grow for ever under one that is never idle.
static void executor_compact(struct executor *executor) {
    if (executor->head > 0 && executor->n_items == executor->capacity) {
        executor->n_items -= executor->head;
        executor->n_in[EXECUTOR_DONE] -= executor->head;
        memmove(executor->items, executor->items + executor->head, executor->n_items * sizeof(*executor->items));
        executor->head = 0;
    }
}

static bool executor_keep(struct executor *executor, const struct decision *decision) {
    executor_compact(executor);
    if (executor->n_items - executor->head >= EXECUTOR_MAX || executor_has_refused(executor) ||
        ARRAY_RESERVE(executor->items, executor->capacity, executor->n_items) < 0) {
        return false;
    }
    char *name = strdup(decision->test.application_name);
    if (!name) {
        return false;
    }
    struct executor_item *item = &executor->items[executor->n_items++];
    *item = (struct executor_item){.decision = *decision, .application_name = name};
    item->decision.test.application_name = name;
    // The rest belongs to the engine, and only until its next step.
    item->decision.rule = item->decision.app = NULL;
    item->decision.session = (struct session_row){.id = decision->session.id};
    executor->n_in[EXECUTOR_RECORDING]++;
    return true;
}

void executor_set_asker(struct executor *executor, struct event_asker asker) {
    executor->asker = asker;
}

void executor_add(struct executor *executor, const struct engine_result *result, usec_t now) {
    for (size_t i = 0; i < result->n_decisions; i++) {
        if (!executor_keep(executor, &result->decisions[i])) {
            if (!executor_has_refused(executor)) {
                executor->refused_first = result->decisions[i].serial;
            }
            executor->refused_last = result->decisions[result->n_decisions - 1].serial;
            return;
        }
        struct executor_item *item = &executor->items[executor->n_items - 1];
        item->record_by = usec_add(now, EXECUTOR_RECORD_WITHIN);
        struct event intent = result->intents[i];
        intent.asker = executor->asker;
        item->ticket = sinks_emit(executor->sinks, &intent);
        if (item->ticket == 0) {
            executor_settle(executor, item, ACT_UNRECORDED);
        }
    }
}

void executor_check(struct executor *executor, usec_t now) {
    if (executor->n_in[EXECUTOR_RECORDING] == 0) {
        return;
    }
    for (size_t i = executor->head; i < executor->n_items; i++) {
        struct executor_item *item = &executor->items[i];
        if (item->state != EXECUTOR_RECORDING) {
            continue;
        }
        switch (sinks_ticket_state(executor->sinks, item->ticket)) {
        case SINKS_WRITTEN:
            executor_enter(executor, item, EXECUTOR_RECORDED);
            break;
        case SINKS_FAILED:
            executor_settle(executor, item, ACT_UNRECORDED);
            break;
        case SINKS_PENDING:
            if (now >= item->record_by) {
                executor_settle(executor, item, ACT_UNRECORDED);
            }
            break;
        }
    }
}

usec_t executor_deadline(const struct executor *executor) {
    // In order of deciding, so the first one is the earliest.
    for (size_t i = executor->head; executor->n_in[EXECUTOR_RECORDING] > 0 && i < executor->n_items; i++) {
        if (executor->items[i].state == EXECUTOR_RECORDING) {
            return executor->items[i].record_by;
        }
    }
    return USEC_INFINITY;
}

bool executor_is_busy(const struct executor *executor) {
    return executor->head < executor->n_items || executor_has_refused(executor);
}

bool executor_is_out(const struct executor *executor) {
    return executor->n_in[EXECUTOR_SENT] > 0;
}

size_t executor_take_chunk(struct executor *executor, const struct decision **ret) {
    size_t n = 0;
    if (executor->n_in[EXECUTOR_SENT] > 0 || executor->n_in[EXECUTOR_RECORDED] == 0) {
        return 0;
    }
    for (size_t i = executor->head; i < executor->n_items && n < ACT_MAX; i++) {
        struct executor_item *item = &executor->items[i];
        if (item->state == EXECUTOR_RECORDING) {
            break; // the order of deciding is kept
        }
        if (item->state == EXECUTOR_RECORDED) {
            executor_enter(executor, item, EXECUTOR_SENT);
            executor->chunk[n++] = item->decision;
        }
    }
    *ret = executor->chunk;
    return n;
}

void executor_report(struct executor *executor, const struct act_report *acts, size_t n_acts) {
    size_t next = 0;
    for (size_t i = executor->head; i < executor->n_items; i++) {
        struct executor_item *item = &executor->items[i];
        if (item->state != EXECUTOR_SENT) {
            continue;
        }
        // One chunk is out at a time, and its results are in its order.
        if (next < n_acts && acts[next].serial == item->decision.serial) {
            item->error = acts[next].error;
            executor_settle(executor, item, acts[next++].result);
        } else {
            executor_settle(executor, item, ACT_UNKNOWN);
        }
    }
}

static void executor_settle_all(struct executor *executor, enum executor_state state, enum act_result result,
                                const char *why) {
    for (size_t i = executor->head; executor->n_in[state] > 0 && i < executor->n_items; i++) {
        if (executor->items[i].state == state) {
            executor->items[i].why = why;
            executor_settle(executor, &executor->items[i], result);
        }
    }
}

void executor_return_chunk(struct executor *executor) {
    executor_settle_all(executor, EXECUTOR_SENT, ACT_UNSENT, NULL);
}

void executor_unsend(struct executor *executor, const char *why) {
    executor_settle_all(executor, EXECUTOR_RECORDING, ACT_UNSENT, why);
    executor_settle_all(executor, EXECUTOR_RECORDED, ACT_UNSENT, why);
}

void executor_lost(struct executor *executor) {
    executor_unsend(executor, NULL);
    executor_settle_all(executor, EXECUTOR_SENT, ACT_UNKNOWN, NULL);
}

static struct executor_item *executor_first_reported(const struct executor *executor) {
    for (size_t i = executor->head; executor->n_in[EXECUTOR_REPORTED] > 0 && i < executor->n_items; i++) {
        if (executor->items[i].state == EXECUTOR_REPORTED) {
            return &executor->items[i];
        }
    }
    return NULL;
}

bool executor_peek(const struct executor *executor, struct engine_input *ret) {
    *ret = (struct engine_input){.kind = ENGINE_INPUT_ACT};
    const struct executor_item *item = executor_first_reported(executor);
    if (item) {
        bool has_error = item->error.kind != PG_ERROR_NONE;
        ret->act.serial = item->decision.serial;
        ret->act.result = item->result;
        ret->act.sqlstate = has_error && *item->error.sqlstate ? item->error.sqlstate : NULL;
        ret->act.message = has_error ? item->error.message : item->why;
        return true;
    }
    ret->act.serial = executor->refused_first;
    ret->act.result = ACT_UNRECORDED;
    return executor_has_refused(executor);
}

void executor_pop(struct executor *executor) {
    struct executor_item *item = executor_first_reported(executor);
    if (!item) {
        executor->refused_first++;
        return;
    }
    free(item->application_name);
    item->application_name = NULL;
    executor_enter(executor, item, EXECUTOR_DONE);
    while (executor->head < executor->n_items && executor->items[executor->head].state == EXECUTOR_DONE) {
        executor->head++;
    }
    if (executor->head == executor->n_items) {
        // A big batch is rare: its memory goes back.
        free(executor->items);
        executor->items = NULL;
        executor->head = executor->n_items = executor->capacity = 0;
        executor->n_in[EXECUTOR_DONE] = 0;
    }
}
