// SPDX-License-Identifier: PostgreSQL
#include "util/strbuf.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "support/check.h"
#include "support/oom.h"
#include "util/cleanup.h"

static void empty(void) {
    struct strbuf sb = STRBUF_EMPTY;
    CHECK_STR(strbuf_str(&sb), "");
    CHECK_EQ(strbuf_error(&sb), 0);
    CLEANUP(freep) char *s = strbuf_take(&sb);
    CHECK_STR(s, "");
    strbuf_deinit(&sb);
    strbuf_deinit(&sb);
}

static void appends(void) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    strbuf_add(&sb, "a");
    strbuf_add_char(&sb, 'b');
    strbuf_add_bytes(&sb, "c\0d", 3);
    strbuf_add_bytes(&sb, NULL, 0);
    strbuf_addf(&sb, "%d%s", 42, "");
    CHECK_MEM(sb.data, sb.len + 1, "abc\0d42", 8);
}

// Every length around the growth steps, by bytes and by format.
static void grows(void) {
    char text[300];
    memset(text, 'x', sizeof(text));
    for (int n = 0; n < (int)sizeof(text); n++) {
        CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
        check_context("length %d", n);
        strbuf_add_bytes(&sb, text, (size_t)n);
        CHECK_EQ(sb.len, n);
        CHECK_EQ(strlen(strbuf_str(&sb)), n);
        strbuf_addf(&sb, "%.*s", n, text);
        CHECK_EQ(sb.len, 2 * n);
        CHECK_EQ(strlen(strbuf_str(&sb)), 2 * n);
        CHECK_LT(sb.len, sb.capacity);
    }
}

static void clears(void) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    strbuf_clear(&sb);
    CHECK_STR(strbuf_str(&sb), "");
    strbuf_add(&sb, "text");
    const char *before = sb.data;
    strbuf_clear(&sb);
    CHECK_STR(strbuf_str(&sb), "");
    CHECK(sb.data == before);
    sb.failed = true;
    strbuf_clear(&sb);
    CHECK_EQ(strbuf_error(&sb), 0);
}

static void taken_string_is_whole(void) {
    struct strbuf sb = STRBUF_EMPTY;
    strbuf_add(&sb, "whole");
    CLEANUP(freep) char *s = strbuf_take(&sb);
    CHECK_STR(s, "whole");
    CHECK_NULL(sb.data);
    CHECK_EQ(sb.len, 0);
}

static void failure_is_sticky(void) {
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    strbuf_add(&sb, "kept");
    strbuf_add_bytes(&sb, "", SIZE_MAX / 2); // refused before anything is read
    CHECK_EQ(strbuf_error(&sb), -ENOMEM);
    strbuf_add(&sb, "not added");
    strbuf_addf(&sb, "%d", 1);
    CHECK_STR(strbuf_str(&sb), "kept");
    CHECK_NULL(strbuf_take(&sb));
    CHECK_EQ(strbuf_error(&sb), 0);
}

static int fill(void *userdata) {
    (void)userdata;
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    for (int i = 0; i < 200; i++) {
        strbuf_addf(&sb, "%d and some more text, ", i);
        strbuf_add(&sb, "text");
    }
    CHECK_EQ(strlen(strbuf_str(&sb)), sb.len);
    CLEANUP(freep) char *s = strbuf_take(&sb);
    return s ? 0 : -ENOMEM;
}

static void survives_oom(void) {
    oom_sweep(fill, NULL);
}

CHECK_MAIN({"empty", empty}, {"appends", appends}, {"grows", grows}, {"clears", clears},
           {"taken_string_is_whole", taken_string_is_whole}, {"failure_is_sticky", failure_is_sticky},
           {"survives_oom", survives_oom})
