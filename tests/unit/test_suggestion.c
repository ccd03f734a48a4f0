// SPDX-License-Identifier: PostgreSQL
#include "support/check.h"
#include "util/macro.h"
#include "util/suggestion.h"

static void suggests(void) {
    static const char *const names[] = {"run", "check", "report", "reap", "version", "help"};

    CHECK_STR(suggestion_of("chekc", names, ARRAY_SIZE(names)), "check");
    CHECK_STR(suggestion_of("reports", names, ARRAY_SIZE(names)), "report");
    CHECK_STR(suggestion_of("raep", names, ARRAY_SIZE(names)), "reap");
    CHECK_NULL(suggestion_of("terminate", names, ARRAY_SIZE(names)));
    CHECK_NULL(suggestion_of("", names, ARRAY_SIZE(names)));
    CHECK_NULL(suggestion_of("x", names, ARRAY_SIZE(names)));
}

static void nearest(void) {
    static const char *const words[][3] = {
        {"maximum", "max", "max"},
        {"wokrer", "worker", "worker"},
        {"aftre", "after", "after"},
        {"idel", "idle", "idle"},
        {"x", "y", NULL},
        {"per", "per_poll", "per_poll"},
        {"conninfo", "apps", NULL},
        {"", "apps", NULL},
        {"apps", "", NULL},
        {"ab", "cd", NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
        check_context("%s", words[i][0]);
        struct suggestion suggestion = {.word = words[i][0]};
        suggestion_offer(&suggestion, words[i][1]);
        CHECK_STR(suggestion.best, words[i][2]);
    }
    struct suggestion suggestion = {.word = "stat"};
    suggestion_offer(&suggestion, "start");
    suggestion_offer(&suggestion, "state");
    suggestion_offer(&suggestion, "slot");
    CHECK_STR(suggestion.best, "start"); // the first of the nearest
}

CHECK_MAIN({"nearest", nearest}, {"suggests", suggests})
