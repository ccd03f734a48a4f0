// SPDX-License-Identifier: PostgreSQL

// Regular expressions for the server: what is let through must be read by every PostgreSQL, and alike.

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/policy.h"
#include "support/check.h"
#include "support/oom.h"
#include "util/strbuf.h"

static int add(struct policy *policy, const char *text) {
    CLEANUP(freep) char *why = NULL;
    unsigned bit;
    return policy_add_query(policy, text, &bit, &why);
}

static void accepts(void) {
    static const char *const cases[] = {
        "/select/",
        "/SELECT/i",
        "/^\\s*copy\\y/i",
        "/a{1,3}b{2}c{4,}/",
        "/[a-z]+?x*?y?\?/",
        "/[]a]/",
        "/[^]a-]/",
        "/[[:digit:]_]/",
        "/[\\d.]/",
        "/[\\w-]/",
        "/(a|b)(c(d))/",
        "/\\(\\)\\[\\]\\{\\}\\*\\+\\?\\|\\.\\^\\$/",
        "/a|/",
        "/()/",
        "/\\mword\\M/",
        "/pg_sleep\\(\\d+\\)/",
        "/a{255}/",
        "/]/",
        "/}/",
        "/a/b/",
        "/\\//",
        "/-- x\ty\n/",
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(policy_unrefp) struct policy *policy = policy_new();
        check_context("%s", cases[i]);
        CHECK_EQ(add(policy, cases[i]), 0);
        CHECK_EQ(policy->n_queries, 1u);
    }
}

static void refuses(void) {
    static const struct {
        const char *text, *why;
    } cases[] = {
        {"", "not a regular expression"},
        {"select*", "not a regular expression"},
        {"/", "not a regular expression"},
        {"/i", "not a regular expression"},
        {"/abc", "not a regular expression"},
        {"/abc/x", "not a regular expression"},
        {"//", "empty"},
        {"//i", "empty"},
        {"/(/", "broken"},
        {"/a{/", "broken"},
        {"/[z-a]/", "broken"},
        {"/*a/", "broken"},
        {"/(?i)a/", "broken"},
        {"/(?=a)/", "broken"},
        {"/***=a/", "broken"},
        {"/\\/", "broken"},
        {"/(a)\\1/", "back-references"},
        {"/a{300}/", "255"},
        {"/a{1,256}/", "255"},
        {"/a{99999999999999999999}/", "multiply"},
        {"/a**/", "nothing to repeat"},
        {"/a+*/", "nothing to repeat"},
        {"/a{2}{3}/", "nothing to repeat"},
        {"/a*?\?/", "nothing to repeat"},
        {"/\\y*/", "nothing to repeat"},
        {"/$*/", "broken"},
        {"/a)/", ") without ("},
        {"/\\bx/", "\\y"},
        {"/\\q/", "escape"},
        {"/\\0/", "escape"},
        {"/[\\D]/", "escape"},
        {"/[\\]/", "backslash before ]"},
        {"/[a\\-z]/", "backslash before ] or -"},
        {"/[\\d-z]/", "range"},
        {"/[[.a.]]/", "not supported"},
        {"/[[=a=]]/", "not supported"},
        {"/gr\xc3\xb6\xc3\x9f"
         "e/",
         "ASCII"},
        {"/a\x01/", "ASCII"},
        {"/a\x7f/", "ASCII"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(policy_unrefp) struct policy *policy = policy_new();
        CLEANUP(freep) char *why = NULL;
        unsigned bit;
        check_context("%s", cases[i].text);
        CHECK_EQ(policy_add_query(policy, cases[i].text, &bit, &why), -EINVAL);
        CHECK_CONTAINS(why, cases[i].why);
        CHECK_EQ(policy->n_queries, 0u);
    }
}

static void limits_depth(void) {
    char text[200];
    for (int depth = 49; depth <= 52; depth++) {
        CLEANUP(policy_unrefp) struct policy *policy = policy_new();
        (void)snprintf(text, sizeof(text), "/%.*sa%.*s/", depth,
                       "((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((", depth,
                       "))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))");
        check_context("depth %d", depth);
        CHECK_EQ(add(policy, text), depth <= 50 ? 0 : -EINVAL);
    }
}

// Each once, told apart by case; 32 and no more.
static void numbers(void) {
    CLEANUP(policy_unrefp) struct policy *policy = policy_new();
    CLEANUP(freep) char *why = NULL;
    unsigned bit = 99;
    char text[20];
    for (int i = 0; i < POLICY_MAX_QUERIES; i++) {
        (void)snprintf(text, sizeof(text), "/q%d/%s", i / 2, i % 2 ? "i" : "");
        CHECK_EQ(policy_add_query(policy, text, &bit, &why), 0);
        CHECK_EQ(bit, i);
    }
    CHECK_EQ(policy_add_query(policy, "/q3/i", &bit, &why), 0);
    CHECK_EQ(bit, 7u);
    CHECK_STR(policy->queries[7].expression, "q3");
    CHECK(policy->queries[7].icase && !policy->queries[6].icase);
    CHECK_EQ(policy_add_query(policy, "/new/", &bit, &why), -ENOSPC);
    CHECK_NULL(why);
    CHECK_EQ(policy->n_queries, POLICY_MAX_QUERIES);
}

static int build(void *userdata) {
    (void)userdata;
    CLEANUP(policy_unrefp) struct policy *policy = policy_new();
    if (!policy) {
        return -ENOMEM;
    }
    int r = add(policy, "/a/");
    r = r == 0 ? add(policy, "/b/i") : r;
    r = r == 0 ? add(policy, "/b/i") : r;
    if (r == 0) {
        r = add(policy, "/c)/");
        r = r == -EINVAL ? 0 : r;
    }
    return r;
}

static void survives_oom(void) {
    oom_sweep(build, NULL);
}

CHECK_MAIN({"accepts", accepts}, {"refuses", refuses}, {"limits_depth", limits_depth}, {"numbers", numbers},
           {"survives_oom", survives_oom})
