// SPDX-License-Identifier: PostgreSQL
//
// What all parts of the engine share.
#include <errno.h>
#include <stdlib.h>

#include "engine_impl.h"
#include "util/array.h"

const struct policy *engine_policy(const struct engine *engine) {
    return engine->snapshot.origins.policy;
}

size_t engine_n_rules(const struct engine *engine) {
    return engine_policy(engine)->n_timeouts + engine_policy(engine)->n_quotas;
}

bool engine_enforces(const struct engine *engine, bool rule_enforce) {
    return engine->leads && engine->enforce && engine_policy(engine)->enforce && rule_enforce;
}

const char *engine_keep(struct engine *engine, struct strbuf *text) {
    if (ARRAY_RESERVE(engine->texts, engine->texts_capacity, engine->n_texts) < 0) {
        return NULL;
    }
    char *taken = strbuf_take(text);
    if (taken) {
        engine->texts[engine->n_texts++] = taken;
    }
    return taken;
}

void engine_forget_texts(struct engine *engine) {
    while (engine->n_texts > 0) {
        free(engine->texts[--engine->n_texts]);
    }
}

int engine_say(struct engine *engine, struct event event) {
    int r = ARRAY_RESERVE(engine->events, engine->events_capacity, engine->result.n_events);
    if (r < 0) {
        return r;
    }
    // P3: of a server that is down, or was never seen, nobody knows how many slots are used.
    if (engine->snapshot.complete && event.used == EVENT_NUMBER_NONE) {
        event.used = (int64_t)snapshot_n_sessions(&engine->snapshot);
        event.usable = server_facts_usable(&engine->snapshot.facts);
    }
    engine->events[engine->result.n_events++] = event;
    engine->result.events = engine->events;
    return 0;
}
