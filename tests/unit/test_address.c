// SPDX-License-Identifier: PostgreSQL
#include "core/address.h"

#include <string.h>

#include "support/check.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

static struct address address(const char *text) {
    struct network network = {0};
    const char *why = NULL;
    CHECK(network_parse(text, &network, &why));
    return network.address;
}

// A client's address as the server sends it: a mapped one is not folded.
static struct address mapped(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    return (struct address){ADDRESS_INET6, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d}};
}

static void renders(void) {
    static const char *const texts[] = {"local",
                                        "172.18.0.7",
                                        "0.0.0.0",
                                        "255.255.255.255",
                                        "fe80::1",
                                        "::",
                                        "1234:5678:9abc:def0:1234:5678:9abc:def0"};
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
        struct address a = address(texts[i]);
        address_render(&sb, &a);
        CHECK_STR(strbuf_str(&sb), texts[i]);
    }
    char text[ADDRESS_TEXT_SIZE];
    struct address m = mapped(255, 255, 255, 255);
    address_format(&m, text);
    CHECK_STR(text, "::ffff:255.255.255.255");
}

static void compares(void) {
    struct address a = address("10.1.2.3"), b = address("10.1.2.3"), c = address("10.1.2.4");
    struct address local = address("local"), any = address("0.0.0.0"), any6 = address("::");
    CHECK(address_is_equal(&a, &b));
    CHECK(!address_is_equal(&a, &c));
    CHECK(address_is_equal(&local, &local));
    CHECK(!address_is_equal(&local, &any));
    CHECK(!address_is_equal(&any, &any6));
    b.bytes[15] = 1; // beyond an IPv4 address
    CHECK(address_is_equal(&a, &b));
}

static void refuses(void) {
    static const struct {
        const char *text, *why;
    } bad[] = {
        {"", "not an address"},
        {"Local", "not an address"},
        {"local/0", "not an address"},
        {"10.0.0", "not an address"},
        {"10.0.0.0.0", "not an address"},
        {"10.0.0.256", "not an address"},
        {" 10.0.0.1", "not an address"},
        {"10.0.0.1\n", "not an address"},
        {"fe80::1%eth0", "not an address"},
        {"example.com", "not an address"},
        {"1234:5678:9abc:def0:1234:5678:9abc:def0:1234:5678:9abc:def0", "not an address"},
        {"/8", "not an address"},
        {"10.0.0.0/", "not a prefix length"},
        {"10.0.0.0/x", "not a prefix length"},
        {"10.0.0.0/-1", "not a prefix length"},
        {"10.0.0.0/+8", "not a prefix length"},
        {"10.0.0.0/ 8", "not a prefix length"},
        {"10.0.0.0/8/8", "not a prefix length"},
        {"10.0.0.0/4294967304", "not a prefix length"},
        {"10.0.0.0/33", "beyond 32"},
        {"::/129", "beyond 128"},
        {"10.0.0.1/8", "bits set beyond"},
        {"10.128.0.0/8", "bits set beyond"},
        {"0.0.0.1/0", "bits set beyond"},
        {"fd00::1/8", "bits set beyond"},
        {"::ffff:10.0.0.1/104", "bits set beyond"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct network network;
        const char *why = NULL;
        check_context("%s", bad[i].text);
        CHECK(!network_parse(bad[i].text, &network, &why));
        CHECK_CONTAINS(why, bad[i].why);
    }
}

static bool contains(const char *text, struct address a) {
    struct network network;
    const char *why;
    CHECK(network_parse(text, &network, &why));
    return network_contains(&network, &a);
}

static void contains_its_own(void) {
    CHECK(contains("10.0.0.0/8", address("10.255.255.255")));
    CHECK(!contains("10.0.0.0/8", address("11.0.0.0")));
    CHECK(!contains("10.0.0.0/8", address("9.255.255.255")));
    CHECK(contains("10.1.2.3", address("10.1.2.3")));
    CHECK(!contains("10.1.2.3", address("10.1.2.2")));
    CHECK(contains("172.16.0.0/12", address("172.31.255.255")));
    CHECK(!contains("172.16.0.0/12", address("172.32.0.0")));
    CHECK(contains("10.0.0.0/31", address("10.0.0.1")));
    CHECK(!contains("10.0.0.0/31", address("10.0.0.2")));
    CHECK(contains("fd00::/8", address("fdff::1")));
    CHECK(!contains("fd00::/8", address("fe00::1")));
    CHECK(contains("::1", address("::1")));
    CHECK(!contains("::1", address("::")));
}

static void families_are_apart(void) {
    CHECK(contains("local", address("local")));
    CHECK(!contains("local", address("127.0.0.1")));
    CHECK(!contains("local", address("::")));
    CHECK(!contains("0.0.0.0/0", address("local")));
    CHECK(!contains("::/0", address("local")));
    CHECK(contains("0.0.0.0/0", address("8.8.8.8")));
    CHECK(!contains("0.0.0.0/0", address("fd00::1")));
    CHECK(contains("::/0", address("fd00::1")));
    CHECK(!contains("::/0", address("8.8.8.8")));
}

static void mapped_counts_as_ipv4(void) {
    CHECK(contains("10.0.0.0/8", mapped(10, 9, 8, 7)));
    CHECK(!contains("10.0.0.0/8", mapped(11, 9, 8, 7)));
    CHECK(contains("::ffff:10.0.0.0/104", address("10.9.8.7")));
    CHECK(contains("::ffff:10.0.0.0/104", mapped(10, 9, 8, 7)));
    CHECK(contains("::ffff:10.9.8.7", address("10.9.8.7")));
    CHECK(!contains("::ffff:10.0.0.0/104", address("11.9.8.7")));
    CHECK(!contains("::/0", mapped(10, 9, 8, 7)));
    CHECK(contains("::ffff:0:0/96", address("10.9.8.7")));
}

CHECK_MAIN({"renders", renders}, {"compares", compares}, {"refuses", refuses}, {"contains_its_own", contains_its_own},
           {"families_are_apart", families_are_apart}, {"mapped_counts_as_ipv4", mapped_counts_as_ipv4})
