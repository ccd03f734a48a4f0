// SPDX-License-Identifier: PostgreSQL
#include "core/selector.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/oom.h"
#include "util/cleanup.h"

DEFINE_CLEANUP(struct selector *, selector_free)

static const struct selector_subject worker = {
    .app = "worker",
    .user = "alice",
    .database = "shop",
    .application_name = "worker-1",
    .client = {ADDRESS_INET, {10, 1, 2, 3}},
    .target = "db-1",
};

// Nothing is known of this one, and it comes by a Unix socket.
static const struct selector_subject nobody = {0};

static struct selector *make(void) {
    struct selector *selector = selector_new();
    CHECK_NOT_NULL(selector);
    return selector;
}

static void clause(struct selector *selector) {
    CHECK_EQ(selector_add_clause(selector), 0);
}

static void add(struct selector *selector, enum selector_key key, const char *text) {
    char *why = NULL;
    CHECK_EQ(selector_add(selector, key, text, &why), 0);
}

// P2: a filter that matches nobody matches nobody.
static void empty_ones_match_nobody(void) {
    CLEANUP(selector_freep) struct selector *selector = make();
    CHECK_EQ(selector_matches(NULL, &worker), 0);
    CHECK_EQ(selector_matches(selector, &worker), 0);
    CHECK_EQ(selector_matches(selector, &nobody), 0);
    clause(selector);
    CHECK_EQ(selector_matches(selector, &worker), 0);
    CHECK_EQ(selector_matches(selector, &nobody), 0);
    clause(selector); // any number of them
    CHECK_EQ(selector_matches(selector, &worker), 0);
    add(selector, SELECTOR_USER, "alice");
    CHECK_EQ(selector_matches(selector, &worker), 1);
    clause(selector); // an empty one behind a full one changes nothing
    CHECK_EQ(selector_matches(selector, &worker), 1);
    CHECK_EQ(selector_matches(selector, &nobody), 0);
}

static void literal_empty_string_matches_the_empty_name_only(void) {
    CLEANUP(selector_freep) struct selector *selector = make();
    struct selector_subject unnamed = worker;
    unnamed.application_name = "";
    clause(selector);
    add(selector, SELECTOR_APPLICATION_NAME, "");
    CHECK_EQ(selector_matches(selector, &unnamed), 1);
    CHECK_EQ(selector_matches(selector, &worker), 0);
    CHECK_EQ(selector_matches(selector, &nobody), 0);
}

// A key whose strings were all refused must not vanish from its clause: the clause would widen.
static void refused_key_matches_nobody(void) {
    CLEANUP(selector_freep) struct selector *selector = make();
    clause(selector);
    add(selector, SELECTOR_USER, "*");
    CHECK_EQ(selector_matches(selector, &worker), 1);
    CLEANUP(freep) char *why = NULL, *why_address = NULL;
    CHECK_EQ(selector_add(selector, SELECTOR_DATABASE, "/(/", &why), -EINVAL);
    CHECK_CONTAINS(why, "broken regular expression");
    CHECK_EQ(selector_matches(selector, &worker), 0);
    CHECK_EQ(selector_add(selector, SELECTOR_CLIENT_ADDR, "10.0.0.1/8", &why_address), -EINVAL);
    CHECK_CONTAINS(why_address, "bits set beyond the prefix");
    add(selector, SELECTOR_DATABASE, "shop");
    CHECK_EQ(selector_matches(selector, &worker), 0);
    add(selector, SELECTOR_CLIENT_ADDR, "10.0.0.0/8");
    CHECK_EQ(selector_matches(selector, &worker), 1);
}

// What a session does not have is not even matched by "*".
static void missing_never_matches(void) {
    for (unsigned key = 0; key < N_SELECTOR_KEYS; key++) {
        CLEANUP(selector_freep) struct selector *selector = make();
        check_context("key %s", selector_key_to_string((enum selector_key)key));
        clause(selector);
        add(selector, (enum selector_key)key, key == SELECTOR_CLIENT_ADDR ? "0.0.0.0/0" : "*");
        CHECK_EQ(selector_matches(selector, &nobody), 0);
        CHECK_EQ(selector_matches(selector, &worker), 1);
    }
}

static void each_key_reads_its_own(void) {
    static const struct {
        enum selector_key key;
        const char *hit, *miss;
    } cases[] = {
        {SELECTOR_APP, "worker", "worker-1"},          {SELECTOR_USER, "alice", "worker"},
        {SELECTOR_DATABASE, "shop", "alice"},          {SELECTOR_APPLICATION_NAME, "worker-?", "worker"},
        {SELECTOR_CLIENT_ADDR, "10.0.0.0/8", "local"}, {SELECTOR_TARGET, "/^db-[0-9]$/", "shop"},
    };
    CHECK_EQ(ARRAY_SIZE(cases), N_SELECTOR_KEYS);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(selector_freep) struct selector *hit = make(), *miss = make();
        check_context("key %s", selector_key_to_string(cases[i].key));
        clause(hit);
        clause(miss);
        add(hit, cases[i].key, cases[i].hit);
        add(miss, cases[i].key, cases[i].miss);
        CHECK_EQ(selector_matches(hit, &worker), 1);
        CHECK_EQ(selector_matches(miss, &worker), 0);
    }
}

static void and_between_keys_or_within(void) {
    CLEANUP(selector_freep) struct selector *selector = make();
    clause(selector);
    add(selector, SELECTOR_USER, "bob");
    add(selector, SELECTOR_USER, "alice"); // any of the two
    CHECK_EQ(selector_matches(selector, &worker), 1);
    add(selector, SELECTOR_DATABASE, "ledger"); // and this
    CHECK_EQ(selector_matches(selector, &worker), 0);
    add(selector, SELECTOR_CLIENT_ADDR, "local");
    clause(selector); // or all of these
    add(selector, SELECTOR_CLIENT_ADDR, "fd00::/8");
    add(selector, SELECTOR_CLIENT_ADDR, "10.1.2.3");
    CHECK_EQ(selector_matches(selector, &worker), 1);
    struct selector_subject bob = {.user = "bob", .database = "ledger"}; // local
    CHECK_EQ(selector_matches(selector, &bob), 1);
    bob.user = "carol";
    CHECK_EQ(selector_matches(selector, &bob), 0);
}

static void keys_are_named(void) {
    CHECK_STR(selector_key_to_string(SELECTOR_APP), "app");
    CHECK_STR(selector_key_to_string(SELECTOR_USER), "user");
    CHECK_STR(selector_key_to_string(SELECTOR_DATABASE), "database");
    CHECK_STR(selector_key_to_string(SELECTOR_APPLICATION_NAME), "application_name");
    CHECK_STR(selector_key_to_string(SELECTOR_CLIENT_ADDR), "client_addr");
    CHECK_STR(selector_key_to_string(SELECTOR_TARGET), "target");
}

static int build(void *userdata) {
    (void)userdata;
    CLEANUP(selector_freep) struct selector *selector = selector_new();
    CLEANUP(freep) char *why = NULL;
    if (!selector) {
        return -ENOMEM;
    }
    for (int i = 0; i < 3; i++) {
        int r = selector_add_clause(selector);
        for (unsigned key = 0; r == 0 && key < N_SELECTOR_KEYS; key++) {
            r = selector_add(selector, (enum selector_key)key, key == SELECTOR_CLIENT_ADDR ? "::1" : "a", &why);
            if (r == 0) {
                r = selector_add(selector, (enum selector_key)key, key == SELECTOR_CLIENT_ADDR ? "local" : "/b/", &why);
            }
        }
        if (r < 0) {
            CHECK_EQ(selector_matches(selector, &worker), 0); // half-built: nobody
            return r;
        }
    }
    int r = selector_add(selector, SELECTOR_CLIENT_ADDR, "nowhere", &why);
    CHECK_EQ(r == -EINVAL, why != NULL);
    return r == -EINVAL ? 0 : r;
}

static void survives_oom(void) {
    oom_sweep(build, NULL);
}

// No memory for the matcher: neither yes nor no.
static void match_without_memory_is_no_answer(void) {
    struct selector *selector = make();
    clause(selector);
    add(selector, SELECTOR_USER, "alice");
    add(selector, SELECTOR_APPLICATION_NAME, "/^work(er|ing)-[0-9]+$/");
    oom_arm_libc(1);
    int r = selector_matches(selector, &worker);
    bool fired = oom_disarm();
    CHECK_EQ(r, fired ? -ENOMEM : 1);
    CHECK_EQ(selector_matches(selector, &worker), 1);
    selector_free(selector);
    if (!fired) {
        check_skip("allocations of libc cannot be made to fail here");
    }
}

CHECK_MAIN({"P2_empty_ones_match_nobody", empty_ones_match_nobody},
           {"P2_literal_empty_string_matches_the_empty_name_only", literal_empty_string_matches_the_empty_name_only},
           {"P2_refused_key_matches_nobody", refused_key_matches_nobody},
           {"P2_missing_never_matches", missing_never_matches}, {"each_key_reads_its_own", each_key_reads_its_own},
           {"and_between_keys_or_within", and_between_keys_or_within}, {"keys_are_named", keys_are_named},
           {"survives_oom", survives_oom}, {"match_without_memory_is_no_answer", match_without_memory_is_no_answer})
