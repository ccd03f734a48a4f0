// SPDX-License-Identifier: PostgreSQL
#include "util/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/check.h"
#include "support/oom.h"
#include "util/cleanup.h"

#define LARGE 300000 // more than a pipe holds

static char file[] = "/tmp/pgvigil-test-fd-XXXXXX";

static void write_file(const char *bytes, size_t n) {
    CLEANUP(fd_closep) int fd = open(file, O_WRONLY | O_TRUNC | O_CLOEXEC);
    CHECK_GE(fd, 0);
    CHECK_EQ(fd_write_all(fd, bytes, n), 0);
}

static void closes(void) {
    errno = EBUSY;
    CHECK_EQ(fd_close(-1), -1);
    CHECK_EQ(errno, EBUSY);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK_GE(fd, 0);
    CHECK_EQ(fd_close(fd), -1);
    CHECK_EQ(fcntl(fd, F_GETFD), -1);
    errno = EBUSY;
    CHECK_EQ(fd_close(fd), -1); // not ours any more, and still errno is kept
    CHECK_EQ(errno, EBUSY);
}

static void reads_what_was_written(void) {
    for (size_t n = 0; n < 10000; n += 1365) {
        CLEANUP(freep) char *bytes = calloc(1, n + 1);
        CLEANUP(freep) char *got = NULL;
        size_t len = 0;
        CHECK_NOT_NULL(bytes);
        for (size_t i = 0; i < n; i++) {
            bytes[i] = (char)(i % 251); // NUL bytes too
        }
        check_context("length %zu", n);
        write_file(bytes, n);
        CHECK_EQ(fd_read_file(file, n, &got, &len), 0);
        CHECK_MEM(got, len + 1, bytes, n + 1);
    }
}

static void refuses(void) {
    char *got = NULL;
    size_t len = 7;
    write_file("12345", 5);
    CHECK_EQ(fd_read_file(file, 4, &got, &len), -EFBIG);
    CHECK_EQ(fd_read_file("/dev/zero", 100000, &got, &len), -EFBIG);
    CHECK_EQ(fd_read_file("/", 100, &got, &len), -EISDIR);
    CHECK_EQ(fd_read_file("/nowhere/at all", 100, &got, &len), -ENOENT);
    CHECK_EQ(fd_write_all(-1, "x", 1), -EBADF);
    CHECK_NULL(got);
    CHECK_EQ(len, 7);
}

static void fifo_without_writer_does_not_block(void) {
    char fifo[64];
    (void)snprintf(fifo, sizeof(fifo), "%s.fifo", file);
    CHECK_EQ(mkfifo(fifo, 0600), 0);
    CLEANUP(freep) char *got = NULL;
    size_t len = 7;
    int r = fd_read_file(fifo, 100, &got, &len);
    (void)unlink(fifo);
    CHECK_EQ(r, 0);
    CHECK_EQ(len, 0);
}

// A byte now and then, for ever: until the reader has gone.
static void *drip(void *userdata) {
    const char *fifo = userdata;
    CLEANUP(fd_closep) int fd = open(fifo, O_WRONLY | O_CLOEXEC); // waits for the reader
    while (fd >= 0 && write(fd, "x", 1) == 1) {
        (void)usleep(50000);
    }
    return NULL;
}

static void fifo_that_drips_is_given_up(void) {
    char fifo[64];
    (void)snprintf(fifo, sizeof(fifo), "%s.fifo", file);
    CHECK_EQ(mkfifo(fifo, 0600), 0);
    (void)signal(SIGPIPE, SIG_IGN);
    CLEANUP(fd_closep) int keep = open(fifo, O_RDWR | O_CLOEXEC); // the writer is there before the reader
    CHECK_GE(keep, 0);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, drip, fifo), 0);
    char *got = NULL;
    size_t len;
    int r = fd_read_file(fifo, 1000, &got, &len); // at 20 bytes a second it would take 50 s
    keep = fd_close(keep);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    (void)unlink(fifo);
    CHECK_EQ(r, -ETIMEDOUT);
    CHECK_NULL(got);
}

static void *drain(void *userdata) {
    const int *fd = userdata;
    char bytes[1000];
    size_t *total = calloc(1, sizeof(*total));
    ssize_t n;
    while (total && (n = read(*fd, bytes, sizeof(bytes))) > 0) {
        *total += (size_t)n;
    }
    return total;
}

static void writes_all_to_a_full_pipe(void) {
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    CHECK_EQ(fcntl(fds[1], F_SETFL, O_NONBLOCK), 0); // so that it answers EAGAIN once full
    CLEANUP(freep) char *bytes = calloc(1, LARGE);
    CHECK_NOT_NULL(bytes);
    pthread_t thread;
    CHECK_EQ(pthread_create(&thread, NULL, drain, &fds[0]), 0);
    CHECK_EQ(fd_write_all(fds[1], bytes, LARGE), 0);
    fd_close(fds[1]);
    void *total = NULL;
    CHECK_EQ(pthread_join(thread, &total), 0);
    CLEANUP(freep) size_t *got = total;
    CHECK_NOT_NULL(got);
    CHECK_EQ(*got, LARGE);
    fd_close(fds[0]);
}

static int read_large(void *userdata) {
    (void)userdata;
    char *got = NULL;
    size_t len;
    int r = fd_read_file(file, LARGE, &got, &len);
    free(got);
    return r;
}

static void survives_oom(void) {
    CLEANUP(freep) char *bytes = calloc(1, LARGE);
    CHECK_NOT_NULL(bytes);
    write_file(bytes, LARGE);
    oom_sweep(read_large, NULL);
}

static void makes_file(void) {
    int fd = mkstemp(file);
    CHECK_GE(fd, 0);
    fd_close(fd);
}

static void removes_file(void) {
    CHECK_EQ(unlink(file), 0);
}

CHECK_MAIN({"makes_file", makes_file}, {"closes", closes}, {"reads_what_was_written", reads_what_was_written},
           {"refuses", refuses}, {"fifo_without_writer_does_not_block", fifo_without_writer_does_not_block},
           {"fifo_that_drips_is_given_up", fifo_that_drips_is_given_up},
           {"writes_all_to_a_full_pipe", writes_all_to_a_full_pipe}, {"survives_oom", survives_oom},
           {"removes_file", removes_file})
