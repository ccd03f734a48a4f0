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
    .superuser = true,
    .query_matches = 1u << 7,
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

// What every key takes; the query is the policy's eighth.
static void add_any(struct selector *selector, unsigned key, const char *text) {
    if (key == SELECTOR_QUERY) {
        CHECK_EQ(selector_add_query(selector, 7), 0);
    } else {
        const char *others = key == SELECTOR_CLIENT_ADDR ? "0.0.0.0/0" : "true";
        add(selector, (enum selector_key)key, key == SELECTOR_CLIENT_ADDR || key == SELECTOR_SUPERUSER ? others : text);
    }
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
        add_any(selector, key, "*");
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
        {SELECTOR_SUPERUSER, "true", "false"},
    };
    CHECK_EQ(ARRAY_SIZE(cases) + 1, N_SELECTOR_KEYS); // and the query
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

static void superuser_is_a_boolean(void) {
    CLEANUP(selector_freep) struct selector *selector = make();
    CLEANUP(freep) char *why = NULL;
    clause(selector);
    CHECK_EQ(selector_add(selector, SELECTOR_SUPERUSER, "yes", &why), -EINVAL);
    CHECK_STR(why, "not a boolean (write true or false)");
    CHECK_EQ(selector_matches(selector, &worker), 0);
    add(selector, SELECTOR_SUPERUSER, "false");
    CHECK_EQ(selector_matches(selector, &nobody), 1);
    CHECK_EQ(selector_matches(selector, &worker), 0);
    add(selector, SELECTOR_SUPERUSER, "true"); // or
    CHECK_EQ(selector_matches(selector, &worker), 1);
}

static void queries_are_bits(void) {
    CLEANUP(selector_freep) struct selector *selector = make(), *plain = make();
    CHECK(!selector_asks_query(NULL));
    CHECK(!selector_asks_query(selector));
    clause(plain);
    add(plain, SELECTOR_USER, "alice");
    CHECK(!selector_asks_query(plain));
    clause(selector);
    CHECK_EQ(selector_add_query(selector, 0), 0);
    CHECK(selector_asks_query(selector));
    CHECK_EQ(selector_matches(selector, &worker), 0);
    CHECK_EQ(selector_add_query(selector, SELECTOR_MAX_QUERIES - 1), 0); // or
    struct selector_subject subject = worker;
    subject.query_matches = UINT32_C(1) << 31;
    CHECK_EQ(selector_matches(selector, &subject), 1);
    add(selector, SELECTOR_USER, "bob"); // and
    CHECK_EQ(selector_matches(selector, &subject), 0);
}

static void names_apps(void) {
    CLEANUP(selector_freep) struct selector *selector = make();
    CHECK_EQ(selector_names_app(NULL, "worker"), 0);
    CHECK_EQ(selector_names_app(selector, "worker"), 0);
    clause(selector);
    add(selector, SELECTOR_USER, "worker");
    CHECK_EQ(selector_names_app(selector, "worker"), 0);
    clause(selector);
    add(selector, SELECTOR_APP, "ingest");
    add(selector, SELECTOR_APP, "work*");
    CHECK_EQ(selector_names_app(selector, "worker"), 1);
    CHECK_EQ(selector_names_app(selector, "studio"), 0);
}

static struct selector *make_equal(const char *user, const char *network, unsigned bit, unsigned n_clauses) {
    struct selector *selector = make();
    for (unsigned i = 0; i < n_clauses; i++) {
        clause(selector);
        add(selector, SELECTOR_USER, user);
        add(selector, SELECTOR_CLIENT_ADDR, network);
        CHECK_EQ(selector_add_query(selector, bit), 0);
    }
    return selector;
}

static void equality(void) {
    uint32_t queries[SELECTOR_MAX_QUERIES] = {[3] = 1u << 5};
    CLEANUP(selector_freep) struct selector *a = make_equal("u", "10.0.0.0/8", 3, 2);
    CLEANUP(selector_freep) struct selector *same = make_equal("u", "10.0.0.0/8", 5, 2);
    CLEANUP(selector_freep) struct selector *other_bit = make_equal("u", "10.0.0.0/8", 3, 2);
    CLEANUP(selector_freep) struct selector *unknown_bit = make_equal("u", "10.0.0.0/8", 4, 2);
    CLEANUP(selector_freep) struct selector *user = make_equal("v", "10.0.0.0/8", 5, 2);
    CLEANUP(selector_freep) struct selector *prefix = make_equal("u", "10.0.0.0/16", 5, 2);
    CLEANUP(selector_freep) struct selector *shorter = make_equal("u", "10.0.0.0/8", 5, 1);
    CHECK(selector_is_equal(a, same, queries));
    CHECK(!selector_is_equal(a, other_bit, queries));
    CHECK(!selector_is_equal(unknown_bit, unknown_bit, queries));
    CHECK(!selector_is_equal(a, user, queries));
    CHECK(!selector_is_equal(a, prefix, queries));
    CHECK(!selector_is_equal(a, shorter, queries));
    CHECK(!selector_is_equal(a, NULL, queries));
    CHECK(!selector_is_equal(NULL, a, queries));
    CHECK(selector_is_equal(NULL, NULL, queries));
    add(same, SELECTOR_USER, "w"); // one more to choose from
    CHECK(!selector_is_equal(a, same, queries));
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
    CHECK_STR(selector_key_to_string(SELECTOR_SUPERUSER), "superuser");
    CHECK_STR(selector_key_to_string(SELECTOR_QUERY), "query");
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
        for (unsigned key = 0; r == 0 && key < SELECTOR_QUERY; key++) {
            bool is_network = key == SELECTOR_CLIENT_ADDR, is_boolean = key == SELECTOR_SUPERUSER;
            r = selector_add(selector, (enum selector_key)key, is_network ? "::1" : is_boolean ? "false" : "a", &why);
            if (r == 0 && !is_boolean) {
                r = selector_add(selector, (enum selector_key)key, is_network ? "local" : "/b/", &why);
            }
        }
        if (r == 0) {
            r = selector_add_query(selector, 1);
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
           {"superuser_is_a_boolean", superuser_is_a_boolean}, {"queries_are_bits", queries_are_bits},
           {"names_apps", names_apps}, {"equality", equality},
           {"and_between_keys_or_within", and_between_keys_or_within}, {"keys_are_named", keys_are_named},
           {"survives_oom", survives_oom}, {"match_without_memory_is_no_answer", match_without_memory_is_no_answer})
