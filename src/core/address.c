// SPDX-License-Identifier: PostgreSQL
#include "core/address.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "util/strbuf.h"

#define ADDRESS_INET_BITS 32
#define ADDRESS_INET6_BITS 128
#define ADDRESS_MAPPED_BITS 96 // ::ffff:0:0/96 holds the IPv4 addresses

static const uint8_t address_mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static_assert(ADDRESS_TEXT_SIZE >= INET6_ADDRSTRLEN, "every address must fit");

void address_format(const struct address *address, char text[ADDRESS_TEXT_SIZE]) {
    int family = AF_UNSPEC;
    switch (address->family) {
    case ADDRESS_LOCAL:
        break;
    case ADDRESS_INET:
        family = AF_INET;
        break;
    case ADDRESS_INET6:
        family = AF_INET6;
        break;
    }
    if (family == AF_UNSPEC || !inet_ntop(family, address->bytes, text, ADDRESS_TEXT_SIZE)) {
        memcpy(text, "local", sizeof("local"));
    }
}

void address_render(struct strbuf *sb, const struct address *address) {
    char text[ADDRESS_TEXT_SIZE];
    address_format(address, text);
    strbuf_add(sb, text);
}

static unsigned address_bits(enum address_family family) {
    switch (family) {
    case ADDRESS_LOCAL:
        return 0;
    case ADDRESS_INET:
        return ADDRESS_INET_BITS;
    case ADDRESS_INET6:
        return ADDRESS_INET6_BITS;
    }
    return 0;
}

bool address_is_equal(const struct address *a, const struct address *b) {
    return a->family == b->family && memcmp(a->bytes, b->bytes, address_bits(a->family) / 8) == 0;
}

static bool address_is_mapped(const struct address *address) {
    return address->family == ADDRESS_INET6 &&
           memcmp(address->bytes, address_mapped_prefix, sizeof(address_mapped_prefix)) == 0;
}

// The IPv4 address that a mapped one stands for, any other as it is.
static struct address address_fold(const struct address *address) {
    struct address folded = *address;
    if (address_is_mapped(address)) {
        folded = (struct address){.family = ADDRESS_INET};
        memcpy(folded.bytes, address->bytes + sizeof(address_mapped_prefix), ADDRESS_INET_BITS / 8);
    }
    return folded;
}

static bool address_has_prefix(const struct address *address, const struct address *network, unsigned prefix) {
    unsigned whole = prefix / 8, rest = prefix % 8;
    if (memcmp(address->bytes, network->bytes, whole) != 0) {
        return false;
    }
    return rest == 0 || (address->bytes[whole] ^ network->bytes[whole]) >> (8 - rest) == 0;
}

static bool address_has_bits_beyond(const struct address *address, unsigned prefix) {
    for (unsigned bit = prefix; bit < address_bits(address->family); bit++) {
        if (address->bytes[bit / 8] & (0x80u >> (bit % 8))) {
            return true;
        }
    }
    return false;
}

static bool address_parse(const char *text, size_t len, struct address *ret) {
    char copy[INET6_ADDRSTRLEN];
    if (len >= sizeof(copy)) {
        return false;
    }
    memcpy(copy, text, len);
    copy[len] = '\0';
    *ret = (struct address){.family = ADDRESS_INET};
    if (inet_pton(AF_INET, copy, ret->bytes) == 1) {
        return true;
    }
    ret->family = ADDRESS_INET6;
    return inet_pton(AF_INET6, copy, ret->bytes) == 1;
}

// Decimal digits alone, at most three.
static bool address_parse_prefix(const char *text, unsigned *ret) {
    size_t len = strlen(text);
    if (len < 1 || len > 3 || strspn(text, "0123456789") != len) {
        return false;
    }
    *ret = 0;
    for (size_t i = 0; i < len; i++) {
        *ret = *ret * 10 + (unsigned)(text[i] - '0');
    }
    return true;
}

bool network_parse(const char *text, struct network *ret, const char **ret_why) {
    struct network network = {.address = {.family = ADDRESS_LOCAL}};
    if (strcmp(text, "local") == 0) {
        *ret = network;
        return true;
    }
    const char *slash = strchr(text, '/');
    if (!address_parse(text, slash ? (size_t)(slash - text) : strlen(text), &network.address)) {
        *ret_why = "not an address or network (write local, 10.1.2.3, 10.0.0.0/8, ::1 or fd00::/8)";
        return false;
    }
    unsigned bits = address_bits(network.address.family);
    network.prefix = bits;
    if (slash && !address_parse_prefix(slash + 1, &network.prefix)) {
        *ret_why = "not a prefix length after the slash (write 10.0.0.0/8)";
        return false;
    }
    if (network.prefix > bits) {
        *ret_why = bits == ADDRESS_INET_BITS ? "prefix length beyond 32" : "prefix length beyond 128";
        return false;
    }
    if (address_has_bits_beyond(&network.address, network.prefix)) {
        *ret_why = "bits set beyond the prefix (write the network's first address)";
        return false;
    }
    if (address_is_mapped(&network.address) && network.prefix >= ADDRESS_MAPPED_BITS) {
        network.address = address_fold(&network.address);
        network.prefix -= ADDRESS_MAPPED_BITS;
    }
    *ret = network;
    return true;
}

bool network_contains(const struct network *network, const struct address *address) {
    struct address folded = address_fold(address);
    return folded.family == network->address.family && address_has_prefix(&folded, &network->address, network->prefix);
}
