// SPDX-License-Identifier: PostgreSQL

// A simulation: whatever gets lost on the way, in either direction, a receiver ends up with what is true.

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "output/webhook.h"
#include "webhook_world.h"

#define SIM_N_ALARMS 5
#define SIM_STEPS 400
#define SIM_SEEDS 50

struct sim {
    uint64_t random;
    const struct webhook_codec *codec;
    enum severity min_severity;
    struct webhook_queue *queue;
    enum severity truth[SIM_N_ALARMS];
    usec_t now;
    // What the receiver knows. Alertmanager: until when each severity stands; others: the last that they heard.
    usec_t ends_at[SIM_N_ALARMS][SEVERITY_CRITICAL + 1];
    enum severity heard[SIM_N_ALARMS];
    usec_t heard_at[SIM_N_ALARMS];
};

static unsigned sim_random(struct sim *sim, unsigned n) {
    sim->random = sim->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(sim->random >> 33) % n;
}

static usec_t sim_realtime(const struct sim *sim) {
    return SAMPLE_REALTIME / USEC_PER_DAY * USEC_PER_DAY + sim->now;
}

static void sim_change(struct sim *sim) {
    static const char *const names[] = {"a0", "a1", "a2", "a3", "a4"};
    unsigned i = sim_random(sim, SIM_N_ALARMS);
    enum severity before = sim->truth[i], after = (enum severity)sim_random(sim, 3);
    if (before != after) {
        const char *reason = after == SEVERITY_NONE    ? "cleared"
                             : before == SEVERITY_NONE ? "raised"
                             : after > before          ? "escalated"
                                                       : "eased";
        struct event event = alarm_event(names[i], NULL, after, reason);
        sim->truth[i] = after;
        webhook_queue_push(sim->queue, &event, sim->now, sim_realtime(sim));
    }
}

// Of one day: "2025-01-02T03:04:05.678Z".
static usec_t sim_parse_time(const char *text) {
    unsigned day, hour, minute, second, msec;
    CHECK_EQ(sscanf(text, "2025-01-%uT%u:%u:%u.%uZ", &day, &hour, &minute, &second, &msec), 5);
    usec_t base = SAMPLE_REALTIME / USEC_PER_DAY * USEC_PER_DAY;
    return base + (usec_t)(day - 2) * USEC_PER_DAY + hour * USEC_PER_HOUR + minute * USEC_PER_MINUTE +
           second * USEC_PER_SEC + msec * USEC_PER_MSEC;
}

static const char *sim_text(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    CHECK_NOT_NULL(text);
    return text;
}

static unsigned sim_severity(const char *text) {
    return strcmp(text, "critical") == 0 ? SEVERITY_CRITICAL : strcmp(text, "warning") == 0 ? SEVERITY_WARNING : 0;
}

static void sim_receive(struct sim *sim, const char *body) {
    json_error_t error;
    json_t *node = json_loads(body, 0, &error), *alert;
    size_t at;
    CHECK_NOT_NULL(node);
    json_array_foreach(node, at, alert) {
        const json_t *labels = json_object_get(alert, "labels");
        size_t i = (size_t)(sim_text(labels, "alarm")[1] - '0');
        usec_t starts = sim_parse_time(sim_text(alert, "startsAt")), ends = sim_parse_time(sim_text(alert, "endsAt"));
        CHECK_LE(starts, ends);
        sim->ends_at[i][sim_severity(sim_text(labels, "severity"))] = ends;
    }
    if (sim->codec == &webhook_json) {
        size_t i = (size_t)(sim_text(node, "alarm")[1] - '0');
        usec_t ts = sim_parse_time(sim_text(node, "ts"));
        CHECK_GE(ts, sim->heard_at[i]); // never an older change after a newer one
        sim->heard_at[i] = ts;
        sim->heard[i] = (enum severity)sim_severity(sim_text(node, "severity"));
    }
    json_decref(node);
}

// One attempt: it may be lost on the way there, or its answer on the way back.
static void sim_attempt(struct sim *sim, bool works) {
    CLEANUP(strbuf_deinit) struct strbuf body = STRBUF_EMPTY;
    if (webhook_queue_due(sim->queue) > sim->now) {
        return;
    }
    CHECK_EQ(webhook_queue_take(sim->queue, sim->now, sim_realtime(sim), &body), 0);
    unsigned luck = works ? 0 : sim_random(sim, 4);
    if (sim_random(sim, 3) == 0) {
        sim_change(sim); // while it is under way
    }
    if (luck < 2) {
        sim_receive(sim, strbuf_str(&body));
    }
    settle(sim->queue, luck == 0 ? WEBHOOK_SENT : luck == 1 ? WEBHOOK_TIMEOUT : WEBHOOK_UNREACHABLE, sim->now);
}

static void sim_check(const struct sim *sim) {
    for (unsigned i = 0; i < SIM_N_ALARMS; i++) {
        enum severity truth = sim->truth[i] < sim->min_severity ? SEVERITY_NONE : sim->truth[i];
        check_context("alarm %u", i);
        if (sim->codec == &webhook_alertmanager) {
            for (unsigned s = SEVERITY_WARNING; s <= SEVERITY_CRITICAL; s++) {
                CHECK_EQ(sim->ends_at[i][s] > sim_realtime(sim), s == truth);
            }
        } else {
            CHECK_EQ(sim->heard[i] < sim->min_severity ? SEVERITY_NONE : sim->heard[i], truth);
        }
    }
}

static void sim_run(uint64_t seed, const struct webhook_codec *codec) {
    struct sim sim = {.random = seed, .codec = codec, .now = NOW};
    sim.min_severity = sim_random(&sim, 2) ? SEVERITY_WARNING : SEVERITY_CRITICAL;
    sim.queue = open_queue(codec, sim.min_severity);
    for (unsigned i = 0; i < SIM_STEPS; i++) {
        sim.now += sim_random(&sim, 20000) * USEC_PER_MSEC;
        if (sim_random(&sim, 2)) {
            sim_change(&sim);
        }
        sim_attempt(&sim, false);
    }
    // It works again: soon all is as it should be, and stays so.
    for (unsigned i = 0; i < 100; i++) {
        sim.now += 5 * USEC_PER_SEC;
        sim_attempt(&sim, true);
        if (i > 40 && webhook_queue_n_owed(sim.queue) == 0) {
            sim_check(&sim);
        }
    }
    CHECK_LE(webhook_queue_n_owed(sim.queue), 1);
    webhook_queue_free(sim.queue);
}

static void simulation(void) {
    for (uint64_t seed = 1; seed <= SIM_SEEDS; seed++) {
        check_context("seed %llu", (unsigned long long)seed);
        sim_run(seed, &webhook_alertmanager);
        sim_run(seed, &webhook_json);
    }
}

CHECK_MAIN({"simulation", simulation})
