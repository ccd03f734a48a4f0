// SPDX-License-Identifier: PostgreSQL
#include "util/usec.h"

#include <inttypes.h>
#include <stddef.h>

#include "util/macro.h"
#include "util/strbuf.h"

// Below this, tenths of a second matter to a reader.
#define USEC_TENTHS_BELOW (10 * USEC_PER_SEC)

usec_t usec_add(usec_t a, usec_t b) {
    return a > USEC_INFINITY - b ? USEC_INFINITY : a + b;
}

usec_t usec_sub(usec_t a, usec_t b) {
    if (b >= a) {
        return 0;
    }
    return a == USEC_INFINITY ? USEC_INFINITY : a - b;
}

void usec_render(struct strbuf *sb, usec_t duration) {
    if (duration == USEC_INFINITY) {
        strbuf_add(sb, "infinity");
    } else if (duration < USEC_TENTHS_BELOW) {
        strbuf_addf(sb, "%" PRIu64 ".%" PRIu64 "s", duration / USEC_PER_SEC, duration % USEC_PER_SEC / 100000);
    } else {
        strbuf_addf(sb, "%" PRIu64 "s", duration / USEC_PER_SEC);
    }
}

void usec_render_exact(struct strbuf *sb, usec_t duration) {
    static const struct {
        const char *name;
        usec_t unit;
    } units[] = {
        {"d", USEC_PER_DAY}, {"h", USEC_PER_HOUR},  {"min", USEC_PER_MINUTE},
        {"s", USEC_PER_SEC}, {"ms", USEC_PER_MSEC}, {"us", 1},
    };
    if (duration == USEC_INFINITY) {
        strbuf_add(sb, "infinity");
        return;
    }
    if (duration == 0) {
        strbuf_add(sb, "0s");
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (duration >= units[i].unit) {
            strbuf_addf(sb, "%" PRIu64 "%s", duration / units[i].unit, units[i].name);
            duration %= units[i].unit;
        }
    }
}
