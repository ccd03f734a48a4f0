// SPDX-License-Identifier: PostgreSQL
#include "../../src/daemon/http_text.h"

#include <errno.h>
#include <string.h>

#include "daemon/http.h"
#include "support/check.h"
#include "support/oom.h"
#include "util/cleanup.h"

static void knows_paths(void) {
    static const struct {
        const char *target;
        bool is_path;
    } cases[] = {
        {"/", true},          {"/metrics", true},  {"/a?b=c&d", true}, {"/a/../b", true}, {"/?", true},
        {"", false},          {"*", false},        {"a", false},       {"?a", false},     {"http://x/", false},
        {"//x/y", false},     {"/#a", false},      {"/a b", false},    {"/a\tb", false},  {"/\x7f", false},
        {"/\xc3\xa4", false}, {"/?a=\x01", false}, {"/%20", true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        check_context("%s", cases[i].target);
        CHECK_EQ(http_target_is_path(cases[i].target), cases[i].is_path);
    }
}

static void finds_parameters(void) {
    static const struct {
        const char *query, *name, *value;
        int r;
    } cases[] = {
        {"a=1&b=2", "a", "1", 0},
        {"a=1&b=2", "b", "2", 0},
        {"a=1&b=2", "c", NULL, -ENOENT},
        {"", "a", NULL, -ENOENT},
        {"ab=1", "a", NULL, -ENOENT},
        {"a", "a", "", 0},
        {"b&a", "a", "", 0},
        {"a=", "a", "", 0},
        {"a=x+y%2Bz", "a", "x y+z", 0},
        {"a=%", "a", NULL, -EINVAL},
        {"a=%4", "a", NULL, -EINVAL},
        {"a=%4g", "a", NULL, -EINVAL},
        {"a=%00", "a", NULL, -EINVAL},
        {"&&a=1", "a", "1", 0},
        {"a=1&a=2", "a", "1", 0},
        {"a=%41", "a", "A", 0},
        {"b=%&a=%c3%A4", "a", "ä", 0},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CLEANUP(freep) char *value = NULL;
        check_context("%s", cases[i].query);
        CHECK_EQ(http_query_get(cases[i].query, cases[i].name, &value), cases[i].r);
        CHECK_STR(value, cases[i].value);
    }
}

static void finds_what_nobody_reads(void) {
    static const char *const names[] = {"name", "for", NULL};
    static const struct {
        const char *query, *unread;
    } cases[] = {
        {"", NULL},
        {"&&", NULL},
        {"name=a", NULL},
        {"name=&for=", NULL},
        {"&for=1h&&name=a&", NULL},
        {"nmae=x", "nmae"},
        {"name=a&x", "x"},
        {"x=1&name=a", "x"},
        {"name", NULL}, // as "name="
        {"n%61me=a", "n%61me"},
        {"Name=a", "Name"},
        {"names=a", "names"},
        {"=a", ""},
        {"name=a&for=1h&name=b", "name"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        size_t len = 0;
        check_context("%s", cases[i].query);
        const char *unread = http_query_unread(cases[i].query, names, &len);
        CHECK_EQ(unread != NULL, cases[i].unread != NULL);
        if (unread && cases[i].unread) {
            CHECK_EQ(len, strlen(cases[i].unread));
            CHECK(strncmp(unread, cases[i].unread, len) == 0);
        }
    }
}

static void knows_hosts(void) {
    static const struct {
        const char *host;
        bool is_numeric;
    } cases[] = {
        {"127.0.0.1", true},
        {"127.0.0.1:9432", true},
        {"10.1.2.3:80", true},
        {"127.0.0.1:", true},
        {"localhost", true},
        {"LocalHost:1", true},
        {"[::1]", true},
        {"[::1]:9432", true},
        {"[fe80::1]:", true},
        {"", false},
        {":9432", false},
        {"evil.example", false},
        {"evil.example:9432", false},
        {"127.0.0.1.evil.example", false},
        {"127.0.0.1:9432.evil.example", false},
        {"localhost.evil.example:9432", false},
        {"evil.localhost", false},
        {"127.1", false},
        {"2130706433", false},
        {"0x7f.0.0.1", false},
        {"127.0.0.1:123456", false},
        {"127.0.0.1:-1", false},
        {"127.0.0.1 ", false},
        {"::1", false},
        {"[::1", false},
        {"[::1]x", false},
        {"[::1]evil.example", false},
        {"[localhost]", false},
        {"[127.0.0.1]", false},
        {"[fe80::1%eth0]", false},
        {"user@127.0.0.1", false},
        {"1234:1234:1234:1234:1234:1234:1234:1234:1234:1234:1234:1234", false},
        {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        check_context("%s", cases[i].host);
        CHECK_EQ(http_host_is_numeric(cases[i].host), cases[i].is_numeric);
    }
}

static int sweep(void *userdata) {
    CLEANUP(freep) char *value = NULL;
    return http_query_get(userdata, "a", &value);
}

static void out_of_memory(void) {
    static char text[] = "b=1&a=c";
    oom_sweep(sweep, text);
}

CHECK_MAIN({"knows_paths", knows_paths}, {"finds_parameters", finds_parameters},
           {"finds_what_nobody_reads", finds_what_nobody_reads}, {"knows_hosts", knows_hosts},
           {"out_of_memory", out_of_memory})
