// SPDX-License-Identifier: PostgreSQL
#include "util/usec.h"

#include "support/check.h"
#include "util/cleanup.h"
#include "util/strbuf.h"

static void saturates(void) {
    CHECK_EQ(usec_add(1, 2), 3u);
    CHECK_EQ(usec_add(USEC_INFINITY, 0), USEC_INFINITY);
    CHECK_EQ(usec_add(0, USEC_INFINITY), USEC_INFINITY);
    CHECK_EQ(usec_add(USEC_INFINITY, USEC_INFINITY), USEC_INFINITY);
    CHECK_EQ(usec_add(USEC_INFINITY - 1, 2), USEC_INFINITY);
    CHECK_EQ(usec_add(USEC_INFINITY - 1, 0), USEC_INFINITY - 1);
    CHECK_EQ(usec_sub(5, 3), 2u);
    CHECK_EQ(usec_sub(3, 5), 0u);
    CHECK_EQ(usec_sub(3, USEC_INFINITY), 0u);
    CHECK_EQ(usec_sub(USEC_INFINITY, 3), USEC_INFINITY);
    CHECK_EQ(usec_sub(USEC_INFINITY, USEC_INFINITY), 0u);
}

static void check_renders(void (*render)(struct strbuf *, usec_t), usec_t duration, const char *wanted) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    render(&sb, duration);
    CHECK_STR(strbuf_str(&sb), wanted);
}

static void renders(void) {
    check_renders(usec_render, 0, "0.0s");
    check_renders(usec_render, 200 * USEC_PER_MSEC, "0.2s");
    check_renders(usec_render, 999999, "0.9s");
    check_renders(usec_render, 9999999, "9.9s");
    check_renders(usec_render, 10 * USEC_PER_SEC, "10s");
    check_renders(usec_render, 912 * USEC_PER_SEC + 999999, "912s");
    check_renders(usec_render, USEC_INFINITY - 1, "18446744073709s");
    check_renders(usec_render, USEC_INFINITY, "infinity");
}

static void renders_exactly(void) {
    check_renders(usec_render_exact, 0, "0s");
    check_renders(usec_render_exact, 500 * USEC_PER_MSEC, "500ms");
    check_renders(usec_render_exact, 90 * USEC_PER_MINUTE, "1h30min");
    check_renders(usec_render_exact, 2 * USEC_PER_DAY, "2d");
    check_renders(usec_render_exact, USEC_PER_DAY + USEC_PER_HOUR + USEC_PER_MINUTE + USEC_PER_SEC + 1001,
                  "1d1h1min1s1ms1us");
    check_renders(usec_render_exact, 1500 * USEC_PER_MSEC, "1s500ms");
    check_renders(usec_render_exact, USEC_INFINITY, "infinity");
}

CHECK_MAIN({"saturates", saturates}, {"renders", renders}, {"renders_exactly", renders_exactly})
