// SPDX-License-Identifier: PostgreSQL
#include "util/intern.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "support/check.h"
#include "support/oom.h"

static void equal_strings_are_one(void) {
    struct interner *interner = interner_new();
    CHECK_NOT_NULL(interner);
    char text[] = "worker";
    const char *a = intern_ref(interner, text);
    text[0] = 'W';
    const char *b = intern_ref(interner, "worker");
    const char *c = intern_ref(interner, text);
    const char *d = intern_ref(interner, "");
    CHECK(a == b);
    CHECK(a != c);
    CHECK_STR(a, "worker");
    CHECK_STR(c, "Worker");
    CHECK_STR(d, "");
    CHECK_EQ(interner_count(interner), 3);
    interner_free(interner); // with references left
}

static void freed_with_the_last_reference(void) {
    struct interner *interner = interner_new();
    const char *a = intern_ref(interner, "a");
    const char *again = intern_ref(interner, "a");
    intern_unref(interner, a);
    CHECK_EQ(interner_count(interner), 1);
    CHECK_STR(again, "a");
    intern_unref(interner, again);
    CHECK_EQ(interner_count(interner), 0);
    intern_unref(interner, NULL);
    CHECK_NULL(interner_free(interner));
    CHECK_NULL(interner_free(NULL));
}

// A client that invents a new name for every connection does not make the process grow.
static void does_not_grow(void) {
    enum { WINDOW = 100, ROUNDS = 100000 };
    struct interner *interner = interner_new();
    const char *held[WINDOW] = {0};
    size_t peak = 0;
    for (int i = 0; i < ROUNDS; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "name-%d", i);
        intern_unref(interner, held[i % WINDOW]);
        held[i % WINDOW] = intern_ref(interner, name);
        CHECK_STR(held[i % WINDOW], name);
        CHECK_LE(interner_count(interner), (size_t)WINDOW);
        if (i == ROUNDS / 2) {
            peak = oom_n_live();
        }
    }
    CHECK_EQ(oom_n_live(), peak);
    interner_free(interner);
}

static int use(void *userdata) {
    (void)userdata;
    int r = 0;
    struct interner *interner = interner_new();
    if (!interner) {
        return -ENOMEM;
    }
    for (int i = 0; i < 500 && r == 0; i++) { // the table grows several times
        char name[32];
        (void)snprintf(name, sizeof(name), "name-%d", i);
        size_t before = interner_count(interner);
        const char *s = intern_ref(interner, name);
        r = s ? 0 : -ENOMEM;
        CHECK_EQ(interner_count(interner), before + (s ? 1 : 0));
    }
    if (r < 0) { // what is in it stays usable, and the next attempt succeeds
        const char *first = intern_ref(interner, "name-0");
        CHECK_STR(first, "name-0");
        CHECK(first == intern_ref(interner, "name-0"));
    }
    interner_free(interner);
    return r;
}

static void survives_oom(void) {
    oom_sweep(use, NULL);
}

CHECK_MAIN({"equal_strings_are_one", equal_strings_are_one},
           {"freed_with_the_last_reference", freed_with_the_last_reference}, {"does_not_grow", does_not_grow},
           {"survives_oom", survives_oom})
