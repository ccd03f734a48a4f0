// SPDX-License-Identifier: PostgreSQL
//
// Microseconds of CPU for one scrape of /metrics, and for one /api/v1/status: the summary of the engine's tables, and
// the text. With 5,000 sessions of 20 applications, with 5,000 sessions that share nothing (the most groups that are
// told apart), and beside them a full scan's step of the engine in the same process, as all of them hold up the same
// loop. And for the status of many targets, whose rules have all counted something. Exit status 1 when a scrape costs
// more than some such steps, or the counters more than some times the rest, which any machine can tell.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "core/engine.h"
#include "core/tally.h"
#include "output/metrics.h"
#include "output/ring.h"
#include "output/status.h"
#include "util/strbuf.h"

#define N_SESSIONS 5000
#define N_RULES 10
#define N_APPS 20
#define N_TIMES 21 // the median of so many is told
#define SERVER_START INT64_C(800000000000000)
// Scrapes come every 15 s or so, steps at each poll. A scrape sorts all sessions by four names and writes up to a
// thousand of them; the status, for which people ask, builds a tree of JSON values of as many.
#define MAX_STEPS_SCRAPE 10
#define MAX_STEPS_STATUS 20
#define N_TARGETS 200       // with these rules as many counters as there can be
#define MAX_TIMES_COUNTED 3 // three numbers more for each rule, of which each has ten or so

static char names[N_SESSIONS][32];
static struct session_row rows[N_SESSIONS];

static void must(bool done) {
    if (!done) {
        (void)fprintf(stderr, "out of memory\n");
        exit(2);
    }
}

static struct policy *scrape_policy(void) {
    struct policy *policy = policy_new();
    must(policy != NULL);
    for (size_t i = 0; i < N_APPS; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "app-%zu", i);
        struct app *app = policy_add_app(policy, name);
        must(app != NULL);
        app->match = selector_new();
        must(app->match && selector_add_clause(app->match) == 0 &&
             selector_add(app->match, SELECTOR_APPLICATION_NAME, name, NULL) == 0);
    }
    for (size_t i = 0; i < N_RULES; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "rule-%zu", i);
        struct timeout *timeout = policy_add_timeout(policy, name);
        must(timeout != NULL);
        timeout->state = SESSION_STATE_BIT(SESSION_STATE_IDLE);
        timeout->after = USEC_PER_HOUR;
    }
    return policy;
}

static void scrape_fill(size_t n_names) {
    for (size_t i = 0; i < N_SESSIONS; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "app-%zu", i % n_names);
        rows[i] = (struct session_row){
            .id = {.id = (int64_t)i + 100, .since = SERVER_START - (int64_t)USEC_PER_HOUR},
            .application_name = names[i],
            .user = names[i % 7],
            .database = "db",
            .state = i % 5 ? SESSION_STATE_IDLE : SESSION_STATE_ACTIVE,
            .state_change = SERVER_START - (int64_t)i,
            .query_start = SERVER_START - (int64_t)i,
            .xact_start = TIMESTAMP_NONE,
            .user_limit = -1,
            .database_limit = -1,
        };
    }
}

static double scrape_now(void) {
    struct timespec ts;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static int scrape_compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double scrape_median(double *times) {
    qsort(times, N_TIMES, sizeof(*times), scrape_compare);
    return times[N_TIMES / 2];
}

static void scrape_step(struct engine *engine, unsigned step) {
    const struct scan scan = {
        .kind = SCAN_FULL,
        .server_now = SERVER_START + step * (int64_t)USEC_PER_SEC,
        .sent_at = (step + 1) * USEC_PER_SEC,
        .received_at = (step + 1) * USEC_PER_SEC,
        .facts = {.version_num = 150018, .max_connections = 6000, .own_pid = 1, .own_user = "pgvigil"},
        .rows = rows,
        .n_rows = N_SESSIONS,
    };
    const struct engine_input input = {.kind = ENGINE_INPUT_SCAN, .scan = &scan};
    const struct engine_result *result;
    must(engine_step(engine, &input, (step + 1) * USEC_PER_SEC, &result) == 0);
}

struct scrape_world {
    struct engine *engine;
    struct policy *policy;
    struct tally *tally;
    struct ring *ring;
};

static void scrape_world_init(struct scrape_world *world) {
    const struct engine_result *result;
    *world = (struct scrape_world){
        .engine = engine_new("db"), .policy = scrape_policy(), .tally = tally_new(), .ring = ring_new()};
    must(world->engine && world->tally && world->ring);
    const struct engine_input policy = {.kind = ENGINE_INPUT_POLICY, .policy = {.policy = world->policy}};
    must(engine_step(world->engine, &policy, 0, &result) == 0);
    struct event event = event_make(EVENT_OUTCOME, EVENT_NOTICE, "db");
    event.outcome = OUTCOME_GONE;
    event.app = "\"x\"";
    for (size_t i = 0; i < RING_MAX_EVENTS; i++) {
        event.rule = names[i];
        tally_count(world->tally, &event);
        ring_add(world->ring, &event, 1);
    }
}

static void scrape_world_deinit(struct scrape_world *world) {
    (void)engine_free(world->engine);
    (void)policy_unref(world->policy);
    (void)tally_free(world->tally);
    (void)ring_free(world->ring);
}

// One answer, as the daemon makes it.
static size_t scrape_once(const struct scrape_world *world, int (*render)(const struct view *view, struct strbuf *sb)) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    struct view_target target = {.name = "db",
                                 .state = "watching",
                                 .standing = "leads",
                                 .polled_at = 1,
                                 .poll_durations = {.bounds = &histogram_of_polls}};
    const struct view view = {.version = "0",
                              .now = USEC_PER_HOUR,
                              .realtime = USEC_PER_HOUR,
                              .config = {.policy = world->policy},
                              .tally = world->tally,
                              .events = world->ring,
                              .targets = &target,
                              .n_targets = 1};
    must(engine_summarize(world->engine, &target.summary) == 0);
    target.has_summary = true;
    must(render(&view, &text) == 0);
    summary_deinit(&target.summary);
    return text.len;
}

static int scrape_render_metrics(const struct view *view, struct strbuf *sb) {
    return metrics_render(view, METRICS_PROMETHEUS, sb);
}

// True: within bounds.
static bool scrape_measure(const char *what, size_t n_names) {
    double steps[N_TIMES], scrapes[N_TIMES], statuses[N_TIMES];
    struct scrape_world world;
    size_t n_scrape = 0, n_status = 0;
    scrape_fill(n_names);
    scrape_world_init(&world);
    scrape_step(world.engine, 0);
    for (unsigned i = 0; i < N_TIMES; i++) {
        double at = scrape_now();
        scrape_step(world.engine, i + 1);
        double stepped = scrape_now();
        n_scrape = scrape_once(&world, scrape_render_metrics);
        double scraped = scrape_now();
        n_status = scrape_once(&world, status_render);
        steps[i] = stepped - at;
        scrapes[i] = scraped - stepped;
        statuses[i] = scrape_now() - scraped;
    }
    scrape_world_deinit(&world);
    double step = scrape_median(steps), scrape = scrape_median(scrapes), status = scrape_median(statuses);
    printf("%s: engine step %.0f us, scrape %.0f us (%zu kB, %.1f steps), status %.0f us (%zu kB, %.1f steps)\n", what,
           step, scrape, n_scrape / 1000, scrape / step, status, n_status / 1000, status / step);
    return scrape <= MAX_STEPS_SCRAPE * step && status <= MAX_STEPS_STATUS * step;
}

// One status of many targets.
static double scrape_time_targets(const struct scrape_world *world, const struct tally *tally,
                                  struct view_target *targets) {
    double times[N_TIMES];
    struct view view = {.version = "0",
                        .now = USEC_PER_HOUR,
                        .realtime = USEC_PER_HOUR,
                        .config = {.policy = world->policy},
                        .tally = tally,
                        .events = world->ring,
                        .targets = targets,
                        .n_targets = N_TARGETS};
    for (size_t i = 0; i < N_TIMES; i++) {
        CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
        double at = scrape_now();
        must(status_render(&view, &text) == 0);
        times[i] = scrape_now() - at;
    }
    return scrape_median(times);
}

static bool scrape_measure_targets(void) {
    static struct view_target targets[N_TARGETS];
    struct scrape_world world;
    struct summary summary;
    CLEANUP(tally_freep) struct tally *none = tally_new();
    must(none != NULL);
    scrape_fill(N_SESSIONS);
    scrape_world_init(&world);
    must(engine_summarize(world.engine, &summary) == 0);
    for (size_t i = 0; i < N_TARGETS; i++) {
        targets[i] = (struct view_target){.name = names[i],
                                          .state = "watching",
                                          .standing = "leads",
                                          .poll_durations = {.bounds = &histogram_of_polls},
                                          .has_summary = true,
                                          .summary = summary};
        for (size_t j = 0; j < N_RULES; j++) {
            struct event event = event_make(EVENT_OUTCOME, EVENT_NOTICE, names[i]);
            event.outcome = OUTCOME_GONE;
            event.rule = world.policy->timeouts[j].name;
            tally_count(world.tally, &event);
            tally_expect(world.tally, names[i], event.rule, ACTION_TERMINATE);
            event.kind = EVENT_DECISION;
            event.has_action = true;
            tally_count(world.tally, &event);
            event.observe = true;
            tally_count(world.tally, &event);
        }
    }
    double counted = scrape_time_targets(&world, world.tally, targets);
    double uncounted = scrape_time_targets(&world, none, targets);
    summary_deinit(&summary);
    scrape_world_deinit(&world);
    printf("%d targets with %d rules: status %.0f us, %.0f us when they have not done anything yet\n", N_TARGETS,
           N_RULES, counted, uncounted);
    return counted <= MAX_TIMES_COUNTED * uncounted;
}

int main(void) {
    bool ok = scrape_measure("5,000 sessions of 20 applications", N_APPS);
    ok = scrape_measure("5,000 sessions with 5,000 names", N_SESSIONS) && ok;
    bool is_linear = scrape_measure_targets();
    if (!is_linear) {
        printf("what rules have done costs more than %d times the rest\n", MAX_TIMES_COUNTED);
    }
    if (!ok) {
        printf("a scrape costs more than %d steps, or a status more than %d\n", MAX_STEPS_SCRAPE, MAX_STEPS_STATUS);
    }
    return ok && is_linear ? EXIT_SUCCESS : EXIT_FAILURE;
}
