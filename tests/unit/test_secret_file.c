// SPDX-License-Identifier: PostgreSQL
#include "../../src/daemon/secret_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/check.h"
#include "support/oom.h"
#include "util/cleanup.h"

static char path[] = "/tmp/pgvigil-secret-XXXXXX";

static void write_file(const char *bytes, size_t n) {
    FILE *file = fopen(path, "we");
    CHECK_NOT_NULL(file);
    CHECK_EQ(fwrite(bytes, 1, n, file), n);
    CHECK_EQ(fclose(file), 0);
}

static void check_reads(const char *bytes, size_t n, const char *expected) {
    const char *why = "";
    write_file(bytes, n);
    char *secret = secret_file_read(path, &why);
    check_context("%s", why);
    CHECK_STR(secret, expected);
    secret_file_forget(secret);
}

static void check_refuses(const char *bytes, size_t n, const char *why_expected) {
    const char *why = "";
    write_file(bytes, n);
    CHECK_NULL(secret_file_read(path, &why));
    CHECK_STR(why, why_expected);
}

static void open_file(void) {
    int fd = mkstemp(path);
    CHECK_GE(fd, 0);
    close(fd);
}

static void first_line(void) {
    check_reads("secret", 6, "secret");
    check_reads("secret\n", 7, "secret");
    check_reads("secret\r\nmore\n", 13, "secret");
    check_reads(" with blanks \n", 14, " with blanks ");
    check_reads("secret\nmo\0re", 12, "secret");
}

static void mistakes(void) {
    const char *why = "";
    check_refuses("", 0, "the first line is empty");
    check_refuses("\nsecret\n", 8, "the first line is empty");
    check_refuses("sec\0ret\n", 8, "the first line holds a NUL byte");
    char *large = calloc(1, SECRET_FILE_MAX + 1);
    CHECK_NOT_NULL(large);
    memset(large, 'x', SECRET_FILE_MAX + 1);
    check_refuses(large, SECRET_FILE_MAX + 1, "File too large");
    free(large);
    CHECK_NULL(secret_file_read("/nonexistent/file", &why));
    CHECK_STR(why, "No such file or directory");
    CHECK_NULL(secret_file_read("/", &why));
    CHECK_STR(why, "not a regular file");
    CHECK_NULL(secret_file_read("/dev/zero", &why));
    CHECK_STR(why, "not a regular file");
    secret_file_forget(NULL);
}

static void out_of_memory(void) {
    const char *why = "";
    write_file("secret\n", 7);
    oom_arm(1);
    char *secret = secret_file_read(path, &why);
    CHECK(oom_disarm());
    CHECK_NULL(secret);
    CHECK_STR(why, "Cannot allocate memory");
    (void)unlink(path);
}

CHECK_MAIN({"open_file", open_file}, {"first_line", first_line}, {"mistakes", mistakes},
           {"out_of_memory", out_of_memory})
