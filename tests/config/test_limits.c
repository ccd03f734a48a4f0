// SPDX-License-Identifier: PostgreSQL

// Limits of a configuration, and files that cannot be read.

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "load_buffer.h"
#include "util/fd.h"

static void add_repeated(struct strbuf *sb, const char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        strbuf_add(sb, s);
    }
}

static void limit_nesting(void) {
    static const char *const openers[] = {"[", "{", "{a: ", "- ", "[{x: "};
    for (size_t i = 0; i < ARRAY_SIZE(openers); i++) {
        CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
        add_repeated(&text, openers[i], 200000);
        refuse(strbuf_str(&text), "nested deeper than 64 levels");
    }
}

static void limit_size(void) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    add_repeated(&text, "# a comment of 32 characters xx\n", 65536);
    refuse(strbuf_str(&text), "larger than 1 MiB");
    char path[] = "/tmp/pgvigil-test-XXXXXX";
    int fd = mkstemp(path);
    CHECK_EQ(fd_write_all(fd, text.data, text.len), 0);
    struct config *config = NULL;
    diag_list_deinit(&diags);
    strbuf_clear(&found);
    CHECK_EQ(config_load(&(struct config_source){.file = path}, &diags, &config), -EINVAL);
    diag_list_render(&diags, &found);
    CHECK_CONTAINS(strbuf_str(&found), ": error: larger than 1 MiB (spread it over conf.d)\n");
    (void)unlink(path);
    fd_close(fd);
}

static void limit_aliases(void) {
    // Nodes.
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    strbuf_add(&text, "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for (int i = 1; i < 30; i++) {
        strbuf_addf(&text, "a%d: &a%d [", i, i);
        for (int j = 0; j < 10; j++) {
            strbuf_addf(&text, "*a%d,", i - 1);
        }
        strbuf_add(&text, "]\n");
    }
    refuse(strbuf_str(&text), "more than 20000 values, aliases expanded");
    // Bytes.
    strbuf_clear(&text);
    strbuf_add(&text, "a: &a \"");
    add_repeated(&text, "0123456789", 6000);
    strbuf_add(&text, "\"\nb: [*a");
    add_repeated(&text, ", *a", 10000);
    strbuf_add(&text, "]\n");
    refuse(strbuf_str(&text), "more than 4 MiB of values");
    // Depth.
    strbuf_clear(&text);
    strbuf_add(&text, "b: &b [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[x]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n");
    strbuf_add(&text, "c: &c [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[*b]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]\n");
    refuse(strbuf_str(&text), "nested deeper than 64 levels");
}

static void limit_variables(void) {
    CLEANUP(freep) char *big = calloc(1, 60001);
    memset(big, 'x', 60000);
    big_value = big;
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    strbuf_add(&text, "a: \"");
    add_repeated(&text, "${BIG}", 1000);
    strbuf_add(&text, "\"\n");
    refuse(strbuf_str(&text), "longer than 64 KiB with its variables");
    strbuf_clear(&text);
    strbuf_add(&text, "a: [");
    add_repeated(&text, "\"${BIG}\",", 1000);
    strbuf_add(&text, "]\n");
    refuse(strbuf_str(&text), "more than 4 MiB of values");
    big_value = NULL;
}

// Nobody waits for what is but a hint: that one of many apps, or of one with many names, lies within another.
static void limit_compared_apps(void) {
    for (int n = 100; n <= 3000; n += 2900) {
        CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
        strbuf_add(&text, TARGETS "apps:\n  a: { match: { user: [x");
        for (int i = 0; i < n; i++) {
            strbuf_addf(&text, ", /^u%d$/", i);
        }
        strbuf_add(&text, "] } }\n  b: { match: { user: [x");
        for (int i = 0; i < n; i++) {
            strbuf_addf(&text, ", u%d", i);
        }
        strbuf_add(&text, "] } }\n");
        config_free(load(strbuf_str(&text)));
        CHECK_EQ(diags.n_warnings, n == 100 ? 1 : 0);
    }
}

static void limit_diagnostics(void) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    for (int i = 0; i < 500; i++) {
        strbuf_addf(&text, "k%d: 1\n", i);
    }
    strbuf_add(&text, TARGETS "timeouts: { a: { state: idle, since: xact_start, after: 1s } }\n");
    refuse(strbuf_str(&text), "... and 401 more (500 errors, 1 warnings in all)\n");
    CHECK_EQ(diags.n_items, (size_t)DIAG_MAX);
    CHECK_EQ(diags.n_errors, 500u);
    CHECK_EQ(diags.n_warnings, 1u);
}

static void unreadable(const char *path, const char *why) {
    struct config *config = NULL;
    diag_list_deinit(&diags);
    strbuf_clear(&found);
    CHECK_EQ(config_load(&(struct config_source){.file = path, .with_conf_d = true}, &diags, &config), -EINVAL);
    diag_list_render(&diags, &found);
    CHECK_CONTAINS(strbuf_str(&found), why);
    CHECK_NULL(config);
}

static void unreadable_files(void) {
    unreadable("/nonexistent/pgvigil.yaml",
               "/nonexistent/pgvigil.yaml: error: cannot be read: No such file or directory\n");
    unreadable("/", "/: error: cannot be read: Is a directory\n");
    unreadable("/nonexistent/x\n\x1b[2J", "/nonexistent/x\\n\\x1b[2J: error: ");
    unreadable("", ": error: cannot be read: No such file or directory\n");
    char folder[] = "/tmp/pgvigil-test-XXXXXX";
    CHECK_NOT_NULL(mkdtemp(folder));
    CLEANUP(strbuf_deinit) struct strbuf file = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf conf_d = STRBUF_EMPTY;
    strbuf_addf(&file, "%s/pgvigil.yaml", folder);
    strbuf_addf(&conf_d, "%s/conf.d", folder);
    FILE *f = fopen(strbuf_str(&file), "we");
    CHECK(fputs(TARGETS, f) >= 0 && fclose(f) == 0);
    // A file where the folder should be.
    f = fopen(strbuf_str(&conf_d), "we");
    CHECK(f && fclose(f) == 0);
    unreadable(strbuf_str(&file), "/conf.d: error: cannot be read: Not a directory\n");
    (void)unlink(strbuf_str(&conf_d));
    // Too many files.
    CHECK_EQ(mkdir(strbuf_str(&conf_d), 0700), 0);
    for (int i = 0; i <= 100; i++) {
        CLEANUP(strbuf_deinit) struct strbuf part = STRBUF_EMPTY;
        strbuf_addf(&part, "%s/%03d.yaml", strbuf_str(&conf_d), i);
        f = fopen(strbuf_str(&part), "we");
        CHECK(f && fclose(f) == 0);
    }
    unreadable(strbuf_str(&file), "/conf.d: error: more than 100 files (join some)\n");
    CLEANUP(strbuf_deinit) struct strbuf command = STRBUF_EMPTY;
    strbuf_addf(&command, "rm -r %s", folder);
    CHECK_EQ(system(strbuf_str(&command)), 0);
}

static void no_permission(void) {
    char path[] = "/tmp/pgvigil-test-XXXXXX";
    int fd = mkstemp(path);
    CHECK_EQ(fchmod(fd, 0), 0);
    // Root may read everything.
    bool is_root = geteuid() == 0;
    CHECK_EQ(is_root ? seteuid(65534) : 0, 0);
    unreadable(path, ": error: cannot be read: Permission denied\n");
    CHECK_EQ(is_root ? seteuid(0) : 0, 0);
    (void)unlink(path);
    fd_close(fd);
}

static void finish(void) {
    clean_up();
}

CHECK_MAIN({"limit_nesting", limit_nesting}, {"limit_size", limit_size}, {"limit_aliases", limit_aliases},
           {"limit_variables", limit_variables}, {"limit_compared_apps", limit_compared_apps},
           {"limit_diagnostics", limit_diagnostics}, {"unreadable_files", unreadable_files},
           {"no_permission", no_permission}, {"finish", finish})
