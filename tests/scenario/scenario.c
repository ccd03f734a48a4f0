// SPDX-License-Identifier: PostgreSQL
//
// Runs golden timelines (*.scenario): inputs of the engine, and beside each what it must decide and say. Everything
// that a step brings must be expected, and everything expected must come. The language is in README.md.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "came.h"
#include "core/engine.h"
#include "util/array.h"
#include "util/cleanup.h"
#include "util/macro.h"
#include "util/strbuf.h"
#include "words.h"

#define MONOTONIC_START (1000 * USEC_PER_SEC) // of a timeline, on our clock
#define SERVER_START INT64_C(800000000000000) // and on the server's
#define MAX_EXPECTED 256
#define MAX_LINES 128 // of one step with blocked_by=

#define MAX_BLOCKERS 4 // of one line

enum step_kind { STEP_NONE, STEP_FULL, STEP_LOOK, STEP_ACT, STEP_LOST, STEP_LEAD, STEP_PAUSE, STEP_STOP };

struct expected {
    char where[256];
    struct words words; // empty: met
};

struct serial_of {
    int64_t pid;
    uint64_t serial;
};

struct runner {
    const char *path;
    size_t line;
    char where[256];
    char name[128]; // of the case; empty: before the first
    bool failed;
    size_t n_passed;
    size_t n_failed;

    struct engine *engine;
    struct policy *policy; // being written; NULL: nothing new
    bool target_enforce;
    int64_t pressure_at;
    usec_t poll_interval;
    bool leads;          // of a STEP_LEAD
    struct words paused; // of a STEP_PAUSE: names of rules, or "all"
    int64_t offset;      // steps of the server's clock
    usec_t rtt;
    struct server_facts facts;
    struct serial_of *serials; // the latest decision on each pid
    size_t n_serials;
    size_t serials_capacity;

    // The step being read.
    enum step_kind kind;
    usec_t at;
    struct words *lines; // keep the rows' strings
    size_t n_lines;
    size_t lines_capacity;
    int64_t blockers[MAX_LINES][MAX_BLOCKERS]; // of each line
    struct session_row *rows;
    size_t n_rows;
    size_t rows_capacity;
    struct session_id *asked;
    size_t n_asked;
    size_t asked_capacity;
    struct words act; // the words of an act's line
    struct expected expected[MAX_EXPECTED];
    size_t n_expected;
};

static void must(int r) {
    if (r < 0) {
        (void)fprintf(stderr, "out of memory\n");
        exit(2);
    }
}

static void runner_fail(struct runner *runner, const char *where, const char *what, const char *text) {
    if (!runner->failed) {
        (void)printf("FAIL %s\n", runner->name);
    }
    runner->failed = true;
    (void)printf("  %s: %s: %s\n", where, what, text);
}

// All expected words are among those that came; "hint~text" looks inside of one.
static bool came_is(const struct words *came, const struct words *expected) {
    for (size_t i = 0; i < expected->n_items; i++) {
        const char *word = expected->items[i];
        const char *tilde = strchr(word, '~');
        if (tilde) {
            CLEANUP(freep) char *key = strndup(word, (size_t)(tilde - word));
            const char *value = words_get(came, 0, key);
            if (!value || !strstr(value, tilde + 1)) {
                return false;
            }
        } else if (i == 0 ? strcmp(word, came->items[0]) != 0 : !words_has(came, 1, word)) {
            return false;
        }
    }
    return true;
}

static void words_join(const struct words *words, struct strbuf *sb) {
    for (size_t i = 0; i < words->n_items; i++) {
        strbuf_addf(sb, "%s%s", i ? " " : "", words->items[i]);
    }
}

static void runner_meet(struct runner *runner, const struct event *event, const struct decision *decision) {
    CLEANUP(words_deinit) struct words came = {0};
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;

    came_event(&came, event, decision);
    for (size_t i = 0; i < runner->n_expected; i++) {
        struct words *expected = &runner->expected[i].words;
        if (expected->n_items > 0 && came_is(&came, expected)) {
            words_deinit(expected);
            return;
        }
    }
    words_join(&came, &text);
    runner_fail(runner, runner->where, "came unexpected", strbuf_str(&text));
}

static void runner_check_list(struct runner *runner, struct expected *expected, const char *what,
                              const struct words *came) {
    CLEANUP(strbuf_deinit) struct strbuf want = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf got = STRBUF_EMPTY;

    words_join(&expected->words, &want);
    words_join(came, &got);
    if (strcmp(strbuf_str(&want), strbuf_str(&got)) != 0) {
        strbuf_addf(&want, "; %s: %s", what, strbuf_str(&got));
        runner_fail(runner, expected->where, "expected", strbuf_str(&want));
    }
    words_deinit(&expected->words);
}

// "look 65s 71 72", "look never", "order 72 71": compared as a whole.
static void runner_check_lists(struct runner *runner, const struct engine_result *result) {
    CLEANUP(words_deinit) struct words look = {0};
    CLEANUP(words_deinit) struct words order = {0};
    CLEANUP(strbuf_deinit) struct strbuf at = STRBUF_EMPTY;

    came_add(&look, "look");
    usec_render_exact(&at, usec_sub(result->look_at, MONOTONIC_START));
    came_add(&look, "%s", result->look_at == USEC_INFINITY ? "never" : strbuf_str(&at));
    for (size_t i = 0; i < result->n_look && look.n_items < WORDS_MAX; i++) {
        came_add(&look, "%lld", (long long)result->look[i].id);
    }
    came_add(&order, "order");
    for (size_t i = 0; i < result->n_decisions && order.n_items < WORDS_MAX; i++) {
        came_add(&order, "%lld", (long long)result->decisions[i].session.id.id);
    }
    for (size_t i = 0; i < runner->n_expected; i++) {
        struct expected *expected = &runner->expected[i];
        if (expected->words.n_items > 0 && strcmp(expected->words.items[0], "look") == 0) {
            runner_check_list(runner, expected, "got", &look);
        } else if (expected->words.n_items > 0 && strcmp(expected->words.items[0], "order") == 0) {
            runner_check_list(runner, expected, "got", &order);
        } else if (expected->words.n_items > 0 && (strcmp(expected->words.items[0], "pressed") == 0 ||
                                                   strcmp(expected->words.items[0], "unpressed") == 0)) {
            CLEANUP(words_deinit) struct words pressed = {0};
            came_add(&pressed, "%s", result->pressed ? "pressed" : "unpressed");
            runner_check_list(runner, expected, "got", &pressed);
        }
    }
}

static void runner_check(struct runner *runner, const struct engine_result *result) {
    runner_check_lists(runner, result);
    for (size_t i = 0; i < result->n_decisions; i++) {
        const struct decision *decision = &result->decisions[i];
        struct serial_of *last = runner->serials;
        runner_meet(runner, &result->intents[i], decision);
        while (last < runner->serials + runner->n_serials && last->pid != decision->session.id.id) {
            last++;
        }
        if (last == runner->serials + runner->n_serials) {
            must(ARRAY_RESERVE(runner->serials, runner->serials_capacity, runner->n_serials));
            last = &runner->serials[runner->n_serials++];
        }
        *last = (struct serial_of){.pid = decision->session.id.id, .serial = decision->serial};
    }
    for (size_t i = 0; i < result->n_events; i++) {
        runner_meet(runner, &result->events[i], NULL);
    }
    for (size_t i = 0; i < runner->n_expected; i++) {
        struct expected *expected = &runner->expected[i];
        CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
        if (expected->words.n_items > 0) {
            words_join(&expected->words, &text);
            runner_fail(runner, expected->where, "expected, never came", strbuf_str(&text));
        }
        words_deinit(&expected->words);
    }
}

// --- Steps ----------------------------------------------------------------------------------------------------------

static void runner_feed(struct runner *runner, const struct engine_input *input) {
    const struct engine_result *result;
    must(engine_step(runner->engine, input, usec_add(MONOTONIC_START, runner->at), &result));
    runner_check(runner, result);
}

static void runner_feed_scan(struct runner *runner) {
    usec_t now = usec_add(MONOTONIC_START, runner->at);
    const struct scan scan = {
        .kind = runner->kind == STEP_FULL ? SCAN_FULL : SCAN_LOOK,
        .server_now = SERVER_START + (int64_t)runner->at + runner->offset,
        .sent_at = usec_sub(now, runner->rtt),
        .received_at = now,
        .facts = runner->facts,
        .rows = runner->rows,
        .n_rows = runner->n_rows,
        .asked = runner->asked,
        .n_asked = runner->kind == STEP_LOOK ? runner->n_asked : 0,
    };
    runner_feed(runner, &(struct engine_input){.kind = ENGINE_INPUT_SCAN, .scan = &scan});
}

static void runner_feed_act(struct runner *runner) {
    static const struct {
        const char *name;
        enum act_result result;
    } results[] = {{"signalled", ACT_SIGNALLED}, {"changed", ACT_CHANGED}, {"spared", ACT_SPARED},
                   {"left", ACT_LEFT},           {"denied", ACT_DENIED},   {"failed", ACT_FAILED},
                   {"unknown", ACT_UNKNOWN},     {"unsent", ACT_UNSENT},   {"unrecorded", ACT_UNRECORDED}};
    const char *pid = words_get(&runner->act, 2, "pid");
    struct engine_input input = {.kind = ENGINE_INPUT_ACT};
    size_t i = 0;

    while (i < ARRAY_SIZE(results) && !words_has(&runner->act, 2, results[i].name)) {
        i++;
    }
    if (!pid || i == ARRAY_SIZE(results)) {
        words_die(runner->where, "no such act", pid ? pid : "no pid");
    }
    input.act.result = results[i].result;
    for (i = 0; i < runner->n_serials; i++) {
        if (runner->serials[i].pid == atoll(pid)) {
            input.act.serial = runner->serials[i].serial;
        }
    }
    input.act.sqlstate = words_get(&runner->act, 2, "sqlstate");
    input.act.message = words_get(&runner->act, 2, "message");
    runner_feed(runner, &input);
}

static void runner_feed_pause(struct runner *runner) {
    bool all = words_has(&runner->paused, 2, "all");
    size_t n = all || runner->paused.n_items < 2 ? 0 : runner->paused.n_items - 2;
    runner_feed(runner,
                &(struct engine_input){
                    .kind = ENGINE_INPUT_PAUSE,
                    .pause = {.all = all, .rules = (const char *const *)(runner->paused.items + 2), .n_rules = n}});
}

static void runner_end_step(struct runner *runner) {
    switch (runner->kind) {
    case STEP_NONE:
        break;
    case STEP_FULL:
    case STEP_LOOK:
        runner_feed_scan(runner);
        break;
    case STEP_ACT:
        runner_feed_act(runner);
        break;
    case STEP_LOST:
        runner_feed(runner, &(struct engine_input){.kind = ENGINE_INPUT_LOST});
        break;
    case STEP_LEAD:
        runner_feed(runner, &(struct engine_input){.kind = ENGINE_INPUT_LEADERSHIP, .leads = runner->leads});
        break;
    case STEP_PAUSE:
        runner_feed_pause(runner);
        break;
    case STEP_STOP:
        runner_feed(runner, &(struct engine_input){.kind = ENGINE_INPUT_STOP});
        break;
    }
    for (size_t i = 0; i < runner->n_lines; i++) {
        words_deinit(&runner->lines[i]);
    }
    words_deinit(&runner->act);
    words_deinit(&runner->paused);
    if (runner->kind != STEP_NONE) {
        runner->n_expected = 0; // else it is of the policy that comes
    }
    runner->n_lines = runner->n_rows = runner->n_asked = 0;
    runner->kind = STEP_NONE;
}

static void runner_give_policy(struct runner *runner) {
    if (!runner->policy) {
        return;
    }
    runner_end_step(runner);
    runner_feed(runner, &(struct engine_input){.kind = ENGINE_INPUT_POLICY,
                                               .policy = {runner->policy, runner->target_enforce, runner->pressure_at,
                                                          runner->poll_interval}});
    runner->policy = policy_unref(runner->policy);
    runner->n_expected = 0;
}

static void runner_begin_step(struct runner *runner, enum step_kind kind, usec_t at) {
    bool goes_on = (kind == STEP_FULL || kind == STEP_LOOK) && kind == runner->kind && at == runner->at;
    if (!goes_on) {
        runner_end_step(runner);
        runner->at = at;
        runner_give_policy(runner);
        runner->kind = kind;
    }
}

// --- Lines ----------------------------------------------------------------------------------------------------------

// What stands behind "->": items between commas. `pid` is that of the line's session, or NULL.
static void runner_expect(struct runner *runner, const struct words *words, size_t from, const char *pid) {
    size_t start = from;

    for (size_t i = from; i <= words->n_items; i++) {
        if (i < words->n_items && strcmp(words->items[i], ",") != 0) {
            continue;
        }
        if (i > start && strcmp(words->items[start], "none") != 0) {
            if (runner->n_expected == MAX_EXPECTED) {
                words_die(runner->where, "too much is expected", "");
            }
            struct expected *expected = &runner->expected[runner->n_expected++];
            *expected = (struct expected){0};
            (void)snprintf(expected->where, sizeof(expected->where), "%s", runner->where);
            for (size_t k = start; k < i; k++) {
                came_add(&expected->words, "%s", words->items[k]);
            }
            if (pid && strcmp(words->items[start], "look") != 0 && strcmp(words->items[start], "order") != 0 &&
                strcmp(words->items[start], "alarm") != 0 && !strstr(words->items[start], "pressed") &&
                !words_get(&expected->words, 1, "pid")) {
                came_add(&expected->words, "pid=%s", pid);
            }
        }
        start = i + 1;
    }
}

// "at 5s pid=71 ...", "at 5s pid=100..199 ..." (as many sessions), "at 5s nobody", "look 5s gone pid=71".
static void runner_scan_line(struct runner *runner, enum step_kind kind, struct words *words) {
    struct words_moment moment = {.server_start = SERVER_START};
    const char *pid = words_get(words, 2, "pid");
    char *dots = pid ? strstr(pid, "..") : NULL;

    runner_begin_step(runner, kind, words_duration(words->items[1], runner->where));
    moment.server_now = SERVER_START + (int64_t)runner->at + runner->offset;
    if (words_has(words, 2, "nobody")) {
        return;
    }
    bool gone = strcmp(words->items[2], "gone") == 0;
    long long first = pid ? atoll(pid) : 0, last = dots ? atoll(dots + 2) : first;
    if (dots) {
        *dots = '\0';
    }
    must(ARRAY_RESERVE(runner->lines, runner->lines_capacity, runner->n_lines));
    runner->lines[runner->n_lines++] = *words;
    struct session_row row = words_row(words, gone ? 3 : 2, &moment, runner->where);
    if (runner->n_lines <= MAX_LINES) {
        row.blocked_by = runner->blockers[runner->n_lines - 1];
        row.n_blocked_by =
            words_blocked_by(words, 2, runner->blockers[runner->n_lines - 1], MAX_BLOCKERS, runner->where);
    }
    *words = (struct words){0};
    for (; first <= last; first++) {
        row.id.id = first;
        must(ARRAY_RESERVE(runner->asked, runner->asked_capacity, runner->n_asked));
        runner->asked[runner->n_asked++] = row.id;
        if (!gone) {
            must(ARRAY_RESERVE(runner->rows, runner->rows_capacity, runner->n_rows));
            runner->rows[runner->n_rows++] = row;
        }
    }
}

static void runner_server_line(struct runner *runner, const struct words *words) {
    const char *what = words->n_items > 1 ? words->items[1] : "";

    runner_end_step(runner);
    if (strcmp(what, "restarts") == 0) {
        runner->facts.postmaster_start++;
    } else if (strcmp(what, "promoted") == 0) {
        runner->facts.in_recovery = false;
    } else if (strcmp(what, "standby") == 0) {
        runner->facts.in_recovery = true;
    } else if (strcmp(what, "max") == 0 && words->n_items == 3) { // with the 3 that are reserved
        runner->facts.max_connections = (int64_t)atoll(words->items[2]);
    } else if (strcmp(what, "rtt") == 0 && words->n_items == 3) {
        runner->rtt = words_duration(words->items[2], runner->where);
    } else if (strcmp(what, "clock") == 0 && words->n_items == 3 && strchr("+-", words->items[2][0])) {
        int64_t step = (int64_t)words_duration(words->items[2] + 1, runner->where);
        runner->offset += words->items[2][0] == '-' ? -step : step;
    } else {
        words_die(runner->where, "no such thing of a server", what);
    }
}

static void runner_target_line(struct runner *runner, const struct words *words) {
    const char *value = words_get(words, 1, "pressure_at");

    runner->pressure_at = value ? (int64_t)atoll(value) : runner->pressure_at;
    value = words_get(words, 1, "poll_interval");
    runner->poll_interval = value ? words_duration(value, runner->where) : runner->poll_interval;
    runner->target_enforce =
        words_has(words, 1, "enforce") || (runner->target_enforce && !words_has(words, 1, "observe"));
}

// "preview idle=2 quota=0 other=unknown": what the policy being written would do now; "preview unknown": nothing can be
// told.
static void runner_preview(struct runner *runner, const struct words *words) {
    const struct policy *policy = runner->policy;
    int64_t counts[64];

    runner_end_step(runner);
    if (!policy || policy->n_timeouts + policy->n_quotas > ARRAY_SIZE(counts)) {
        words_die(runner->where, "no policy to preview", "");
    }
    int r = engine_preview(runner->engine, runner->policy, counts);
    if ((r == -EAGAIN) != words_has(words, 1, "unknown")) {
        runner_fail(runner, runner->where, "preview", r == 0 ? "is known" : "is not known");
    }
    for (size_t i = 0; r == 0 && i < policy->n_timeouts + policy->n_quotas; i++) {
        const char *name =
            i < policy->n_timeouts ? policy->timeouts[i].name : policy->quotas[i - policy->n_timeouts].name;
        const char *value = words_get(words, 1, name);
        bool is_unknown = counts[i] == ENGINE_PREVIEW_UNKNOWN;
        if (!value || (strcmp(value, "unknown") == 0) != is_unknown || (!is_unknown && atoll(value) != counts[i])) {
            CLEANUP(strbuf_deinit) struct strbuf got = STRBUF_EMPTY;
            strbuf_addf(&got, "%s=%lld", name, (long long)counts[i]);
            runner_fail(runner, runner->where, "preview: got", strbuf_str(&got));
        }
    }
}

static void runner_end_case(struct runner *runner) {
    if (!*runner->name) {
        return;
    }
    runner_end_step(runner);
    runner_give_policy(runner);
    if (!runner->failed) {
        (void)printf("ok %s\n", runner->name);
    }
    *(runner->failed ? &runner->n_failed : &runner->n_passed) += 1;
    *runner->name = '\0';
    runner->engine = engine_free(runner->engine);
}

static void runner_begin_case(struct runner *runner, const char *name) {
    runner_end_case(runner);
    (void)snprintf(runner->name, sizeof(runner->name), "%s", name);
    runner->failed = false;
    runner->engine = engine_new("db");
    runner->policy = words_policy_new();
    if (!runner->engine || !runner->policy) {
        must(-ENOMEM);
    }
    runner->target_enforce = true;
    runner->pressure_at = 0;
    runner->poll_interval = 0;
    runner->offset = 0;
    runner->rtt = 0;
    runner->n_serials = 0;
    runner->facts = (struct server_facts){.version_num = 150018,
                                          .postmaster_start = 1,
                                          .max_connections = 100,
                                          .superuser_reserved_connections = 3,
                                          .own_pid = 1,
                                          .own_user = "pgvigil"};
}

static void runner_input_line(struct runner *runner, struct words *words) {
    const char *first = words->items[0];

    if (strcmp(first, "->") == 0) {
        runner_expect(runner, words, 1, NULL);
        return;
    }
    if (words->n_items < 2) {
        words_die(runner->where, "no such line", first);
    }
    // What is expected stands behind the input's own words.
    struct words expected = {0};
    for (size_t i = 0; i < words->n_items; i++) {
        if (strcmp(words->items[i], "->") == 0) {
            expected.n_items = words->n_items - i;
            memcpy(expected.items, words->items + i, expected.n_items * sizeof(char *));
            words->n_items = i;
        }
    }
    const char *pid = words_get(words, 2, "pid");
    CLEANUP(freep) char *own_pid = pid && !strstr(pid, "..") ? strdup(pid) : NULL;
    if (strcmp(first, "at") == 0) {
        runner_scan_line(runner, STEP_FULL, words);
    } else if (strcmp(first, "look") == 0) {
        runner_scan_line(runner, STEP_LOOK, words);
    } else if (strcmp(first, "act") == 0) {
        runner_begin_step(runner, STEP_ACT, words_duration(words->items[1], runner->where));
        runner->act = *words;
        *words = (struct words){0};
    } else if (strcmp(first, "lead") == 0) {
        runner_begin_step(runner, STEP_LEAD, words_duration(words->items[1], runner->where));
        runner->leads = words_has(words, 2, "on");
    } else if (strcmp(first, "pause") == 0 || strcmp(first, "resume") == 0) {
        runner_begin_step(runner, STEP_PAUSE, words_duration(words->items[1], runner->where));
        runner->paused = *words;
        *words = (struct words){0};
    } else if (strcmp(first, "lost") == 0 || strcmp(first, "stop") == 0) {
        runner_begin_step(runner, *first == 'l' ? STEP_LOST : STEP_STOP,
                          words_duration(words->items[1], runner->where));
    } else {
        words_die(runner->where, "no such line", first);
    }
    runner_expect(runner, &expected, 1, own_pid);
    words_deinit(&expected);
}

static void runner_line(struct runner *runner, const char *line) {
    CLEANUP(words_deinit) struct words words = {0};

    (void)snprintf(runner->where, sizeof(runner->where), "%s:%zu", runner->path, runner->line);
    words_split(&words, line, runner->where);
    if (words.n_items == 0) {
        return;
    }
    const char *first = words.items[0];
    if (strcmp(first, "case") == 0 && words.n_items == 2) {
        runner_begin_case(runner, words.items[1]);
    } else if (!*runner->name) {
        words_die(runner->where, "before the first case", first);
    } else if (strcmp(first, "policy") == 0) { // from here on another one; it comes with the next input
        runner_end_step(runner);
        policy_unref(runner->policy); // one that no input ever came to
        runner->policy = words_policy_new();
    } else if (strcmp(first, "target") == 0) {
        runner_target_line(runner, &words);
    } else if (strcmp(first, "preview") == 0) {
        runner_preview(runner, &words);
    } else if (strcmp(first, "server") == 0) {
        runner_server_line(runner, &words);
    } else if (!runner->policy || !words_build_policy(&words, runner->policy, runner->where)) {
        runner_input_line(runner, &words);
    }
}

static void runner_file(struct runner *runner, const char *path) {
    FILE *file = fopen(path, "re");
    CLEANUP(freep) char *line = NULL;
    size_t capacity = 0;

    runner->path = basename(path);
    runner->line = 0;
    if (!file) {
        words_die(path, "cannot be read", strerror(errno));
    }
    while (getline(&line, &capacity, file) >= 0) {
        runner->line++;
        runner_line(runner, line);
    }
    (void)fclose(file);
    runner_end_case(runner);
}

int main(int argc, char **argv) {
    struct runner runner = {0};

    for (int i = 1; i < argc; i++) {
        runner_file(&runner, argv[i]);
    }
    free(runner.lines);
    free(runner.rows);
    free(runner.asked);
    free(runner.serials);
    (void)printf("%zu passed, %zu failed, 0 skipped\n", runner.n_passed, runner.n_failed);
    return runner.n_failed > 0 || runner.n_passed == 0;
}
