// SPDX-License-Identifier: PostgreSQL
#pragma once

// A client's network address, and the networks that selectors name.

#include <stdbool.h>
#include <stdint.h>

struct strbuf;

enum address_family {
    ADDRESS_LOCAL, // a Unix socket; bytes are zero
    ADDRESS_INET,  // 4 bytes, network order
    ADDRESS_INET6, // 16 bytes, network order
};

struct address {
    enum address_family family;
    uint8_t bytes[16];
};

struct network {
    struct address address; // bits beyond the prefix are zero
    unsigned prefix;        // bits; 0 for ADDRESS_LOCAL
};

#define ADDRESS_TEXT_SIZE 48 // holds every address and its NUL

void address_format(const struct address *address, char text[ADDRESS_TEXT_SIZE]); // "local", "172.18.0.7", "fe80::1"
void address_render(struct strbuf *sb, const struct address *address);            // the same, appended
bool address_is_equal(const struct address *a, const struct address *b);

// "local", "10.0.0.0/8", "10.1.2.3", "::1", "fd00::/8". false: not a network, or bits set beyond the prefix; *ret_why
// then is a static text that says what is wrong.
bool network_parse(const char *text, struct network *ret, const char **ret_why);
bool network_contains(const struct network *network, const struct address *address); // IPv4-mapped IPv6 counts as IPv4
