// SPDX-License-Identifier: PostgreSQL
#include "core/pattern.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/oom.h"
#include "util/cleanup.h"

DEFINE_CLEANUP(struct pattern *, pattern_free)

static int matches(const char *text, const char *s) {
    CLEANUP(pattern_freep) struct pattern *pattern = NULL;
    char *why = NULL;
    check_context("pattern %s, string %s", text, s);
    CHECK_EQ(pattern_new(text, &pattern, &why), 0);
    CHECK_STR(pattern_text(pattern), text);
    return pattern_matches(pattern, s);
}

static void check_refused(const char *text, const char *wanted) {
    struct pattern *pattern = NULL;
    CLEANUP(freep) char *why = NULL;
    check_context("pattern %s", text);
    CHECK_EQ(pattern_new(text, &pattern, &why), -EINVAL);
    CHECK_CONTAINS(why, wanted);
    CHECK_NULL(pattern);
}

static void literals(void) {
    CHECK(matches("worker", "worker"));
    CHECK(!matches("worker", "Worker"));
    CHECK(!matches("worker", "worker-1"));
    CHECK(!matches("worker", ""));
    CHECK(matches("50%s (x) {a,b} ~ $", "50%s (x) {a,b} ~ $"));
}

// P2: "" is the empty name, not every name.
static void empty_matches_the_empty_name_only(void) {
    CHECK(matches("", ""));
    CHECK(!matches("", "a"));
    CHECK(!matches("", " "));
}

static void globs(void) {
    CHECK(matches("worker-*", "worker-"));
    CHECK(matches("worker-*", "worker-12/3"));
    CHECK(!matches("worker-*", "worker"));
    CHECK(matches("*", ""));
    CHECK(matches("*", ".hidden"));
    CHECK(matches("supabase/dash*", "supabase/dashboard/x"));
    CHECK(matches("w?rker", "worker"));
    CHECK(!matches("w?rker", "wrker"));
    CHECK(matches("[a-c]x", "bx"));
    CHECK(!matches("[!a-c]x", "bx"));
    CHECK(matches("\\*", "*"));
    CHECK(!matches("\\*", "x"));
    CHECK(matches("[abc", "[abc")); // not a set: itself
    CHECK(matches("*\xff*", "a\xff"
                            "b")); // bytes, whatever they mean
    CHECK(matches("?", "\xff"));
}

static void regular_expressions(void) {
    CHECK(matches("/work/", "a worker"));
    CHECK(!matches("/^work/", "a worker"));
    CHECK(matches("/^work(er)?-[0-9]+$/", "worker-12"));
    CHECK(!matches("/WORK/", "work"));
    CHECK(matches("/WORK/i", "a worker"));
    CHECK(matches("/^$/", ""));
    CHECK(!matches("/^$/", "a"));
    CHECK(matches("/a{1,3}/", "aa"));
    CHECK(matches("/a/b/", "a/b"));
    CHECK(matches("///", "a/b"));
    CHECK(matches("/\\//", "/"));
}

static void not_regular_expressions(void) {
    CHECK(matches("/", "/"));
    CHECK(matches("/i", "/i"));
    CHECK(matches("/a", "/a"));
    CHECK(matches("a/", "a/"));
    CHECK(matches("/a/x", "/a/x"));
    CHECK(matches("/a/I", "/a/I"));
}

static void literal_is_told(void) {
    static const struct {
        const char *text;
        bool literal;
    } cases[] = {{"", true},     {"a", true},    {"a*", false},   {"a?", false}, {"[a]", false},
                 {"\\a", false}, {"/a/", false}, {"/a/i", false}, {"/", true}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(pattern_freep) struct pattern *pattern = NULL;
        char *why;
        check_context("%s", cases[i].text);
        CHECK_EQ(pattern_new(cases[i].text, &pattern, &why), 0);
        CHECK_EQ(pattern_is_literal(pattern), cases[i].literal);
    }
}

static void refuses(void) {
    check_refused("//", "empty regular expression");
    check_refused("//i", "empty regular expression");
    check_refused("/(/", "broken regular expression: ");
    check_refused("/[a/", "broken regular expression: ");
    check_refused("/a{2,1}/", "broken regular expression: ");
    check_refused("/(a)\\1/", "back-references");
}

// What would eat the memory of whoever compiles it.
static void refuses_costly_ones(void) {
    check_refused("/((a{100}){100}){100}/", "multiply");
    check_refused("/a{32767}/", "multiply");
    check_refused("/a{0,1001}/", "multiply");
    check_refused("/a{99999999999999999999}/", "multiply");
    CHECK(matches("/^a{1000}$/", "a") == 0);
    CHECK(matches("/^(a{1,10}){100}$/", "a") == 0);
    CHECK(matches("/^\\{1001\\}$/", "{1001}"));
    char text[PATTERN_MAX_LENGTH + 2];
    memset(text, '(', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    check_refused(text, "longer than 1000 bytes");
    text[PATTERN_MAX_LENGTH] = '\0';
    text[0] = text[PATTERN_MAX_LENGTH - 1] = '/';
    check_refused(text, "broken regular expression");
}

// Hostile names against patterns with many stars: must not take exponential time.
static void many_stars(void) {
    char text[200] = "", name[64];
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    for (int i = 0; i < 40; i++) {
        strcat(text, "a*");
    }
    strcat(text, "b");
    CHECK_EQ(matches(text, name), 0);
    CHECK_EQ(matches("/(a*)*(a*)*(a*)*b$/", name), 0);
}

static int make_all(void *userdata) {
    static const char *const texts[] = {"literal", "glob*", "/^reg(ex|ular)[a-z]*$/", "/CASE/i", "/(a){3}/"};
    (void)userdata;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        CLEANUP(pattern_freep) struct pattern *pattern = NULL;
        char *why = NULL;
        int r = pattern_new(texts[i], &pattern, &why);
        CHECK_NULL(why);
        if (r < 0) {
            CHECK_NULL(pattern);
            return r;
        }
    }
    CLEANUP(freep) char *why = NULL;
    struct pattern *pattern = NULL;
    int r = pattern_new("/(/", &pattern, &why);
    CHECK_NULL(pattern);
    CHECK_EQ(r == -EINVAL, why != NULL);
    return r == -EINVAL ? 0 : r;
}

static void survives_oom(void) {
    oom_sweep(make_all, NULL);
}

static int match_one(void *userdata) {
    int r = pattern_matches(userdata, "a worker-12 of many");
    return r < 0 ? r : r == 1 ? 0 : -EIO;
}

// The matcher of libc allocates: no memory is no answer, not "no".
static void match_without_memory_is_no_answer(void) {
    struct pattern *pattern = NULL;
    char *why = NULL;
    CHECK_EQ(pattern_new("/work(er)?-([0-9]+|x) (of|or) m.*y$/", &pattern, &why), 0);
    unsigned n = 0;
    bool fired;
    do {
        oom_arm_libc(++n);
        int r = match_one(pattern);
        fired = oom_disarm();
        check_context("allocation %u failing", n);
        CHECK(r == 0 || (r == -ENOMEM && fired));
    } while (fired);
    pattern_free(pattern);
    if (n == 1) {
        check_skip("allocations of libc cannot be made to fail here");
    }
}

CHECK_MAIN({"literals", literals}, {"P2_empty_matches_the_empty_name_only", empty_matches_the_empty_name_only},
           {"globs", globs}, {"regular_expressions", regular_expressions},
           {"not_regular_expressions", not_regular_expressions}, {"literal_is_told", literal_is_told},
           {"refuses", refuses}, {"refuses_costly_ones", refuses_costly_ones}, {"many_stars", many_stars},
           {"survives_oom", survives_oom}, {"match_without_memory_is_no_answer", match_without_memory_is_no_answer})
