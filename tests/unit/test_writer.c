// SPDX-License-Identifier: PostgreSQL
//
// The journal is played by an access() and an sd_journal_sendv() of our own, which take the place of the libraries'.
#include "../../src/daemon/writer.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/uio.h>
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "support/check.h"
#include "threads.h"
#include "util/cleanup.h"
#include "util/fd.h"

#define PATIENCE (20 * USEC_PER_SEC)

static _Atomic int journal_exists;
static _Atomic int journal_error;
static _Atomic unsigned journal_n_sent;
static char journal_last[200];

int access(const char *path, int mode) {
    (void)mode;
    if (strcmp(path, WRITER_JOURNAL_SOCKET) == 0 && journal_exists) {
        return 0;
    }
    errno = ENOENT;
    return -1;
}

int sd_journal_sendv(const struct iovec *iov, int n) {
    journal_last[0] = '\0';
    for (int i = 0; i < n; i++) {
        strncat(journal_last, iov[i].iov_base, iov[i].iov_len);
        strcat(journal_last, "|");
    }
    journal_n_sent++;
    return journal_error;
}

static uint64_t push(struct writer *writer, const char *line) {
    return writer_push(writer, line, strlen(line), NULL, 0);
}

static bool is_readable(int fd) {
    struct pollfd pollfd = {.fd = fd, .events = POLLIN};
    return poll(&pollfd, 1, 0) == 1;
}

static size_t read_all(int fd, char *buffer, size_t size) {
    size_t n = 0;
    while (n < size && is_readable(fd)) {
        ssize_t k = read(fd, buffer + n, size - n);
        if (k <= 0) {
            break;
        }
        n += (size_t)k;
    }
    return n;
}

static void in_order(void) {
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    struct writer *writer = NULL;
    CHECK_EQ(writer_new(fds[1], &writer), 0);
    CHECK(!is_readable(writer_fd(writer)));
    CHECK_EQ(push(writer, "one\n"), 1);
    CHECK_EQ(push(writer, "two\n"), 2);
    CHECK_EQ(push(writer, ""), 3);
    CHECK(writer_flush(writer, PATIENCE));
    for (uint64_t ticket = 1; ticket <= 3; ticket++) {
        CHECK_EQ(writer_ticket_state(writer, ticket), WRITER_WRITTEN);
    }
    CHECK_EQ(writer_ticket_state(writer, 0), WRITER_FAILED);
    CHECK_EQ(writer_ticket_state(writer, 4), WRITER_FAILED);
    CHECK(is_readable(writer_fd(writer)));
    writer_acknowledge(writer);
    CHECK(!is_readable(writer_fd(writer)));
    char text[20];
    CHECK_MEM(text, read_all(fds[0], text, sizeof text), "one\ntwo\n", 8);
    CHECK_NULL(writer_free(writer, PATIENCE));
    CHECK_NULL(writer_free(NULL, PATIENCE));
    fd_close(fds[0]);
    fd_close(fds[1]);
}

static void freeing_drains(void) {
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    struct writer *writer = NULL;
    CHECK_EQ(writer_new(fds[1], &writer), 0);
    for (int i = 0; i < 1000; i++) {
        CHECK_NE(push(writer, "line\n"), 0);
    }
    writer_free(writer, PATIENCE);
    char text[6000];
    CHECK_EQ(read_all(fds[0], text, sizeof text), 5000);
    fd_close(fds[0]);
    fd_close(fds[1]);
}

// Nobody reads. Pushing goes on without waiting until the bounds are met, and goes on again when somebody reads.
static void unread_pipe(void) {
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    struct writer *writer = NULL;
    CHECK_EQ(writer_new(fds[1], &writer), 0);
    char line[4096];
    memset(line, 'x', sizeof line);
    uint64_t n = 0;
    for (uint64_t ticket; (ticket = writer_push(writer, line, sizeof line, NULL, 0)) != 0; n++) {
        CHECK_EQ(ticket, n + 1);
        CHECK_LE(n, WRITER_MAX_RECORDS);
    }
    CHECK_LE(n * sizeof line, WRITER_MAX_BYTES + 64 * 1024 + sizeof line); // the queue and the pipe
    CHECK(!writer_has_room(writer));
    CHECK(!writer_flush(writer, 1));
    CHECK_EQ(writer_ticket_state(writer, n), WRITER_PENDING);
    for (uint64_t left = n * sizeof line; left > 0;) {
        ssize_t k = read(fds[0], line, sizeof line);
        CHECK_GT(k, 0);
        left -= (uint64_t)k;
    }
    CHECK(writer_flush(writer, PATIENCE));
    CHECK_EQ(writer_ticket_state(writer, n), WRITER_WRITTEN);
    CHECK(writer_has_room(writer));
    CHECK_NE(push(writer, "again\n"), 0);
    writer_free(writer, PATIENCE);
    fd_close(fds[0]);
    fd_close(fds[1]);
}

static void bounded_records(void) {
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0); // also: a descriptor that somebody made non-blocking
    char block[65536];
    memset(block, 'x', sizeof block);
    while (write(fds[1], block, sizeof block) > 0) {
    }
    struct writer *writer = NULL;
    CHECK_EQ(writer_new(fds[1], &writer), 0);
    uint64_t n = 0;
    while (push(writer, "x") != 0) {
        n++;
    }
    CHECK_EQ(n, WRITER_MAX_RECORDS);
    CHECK_EQ(writer_ticket_state(writer, 1), WRITER_PENDING);
    CHECK_EQ(writer_push(writer, block, WRITER_MAX_BYTES + 1, NULL, 0), 0);
    CHECK_GT(read(fds[0], block, sizeof block), 0);
    CHECK(writer_flush(writer, PATIENCE));
    CHECK_EQ(writer_ticket_state(writer, 1), WRITER_WRITTEN);
    CHECK_NE(push(writer, "x"), 0);
    CHECK_EQ(writer_ticket_state(writer, 1), WRITER_FAILED); // no longer remembered
    writer_free(writer, PATIENCE);
    fd_close(fds[0]);
    fd_close(fds[1]);
}

// SIGPIPE keeps its default here: it would end the test.
static void reader_gone(void) {
    CHECK(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    struct writer *writer = NULL;
    CHECK_EQ(writer_new(fds[1], &writer), 0);
    CLEANUP(freep) char *big = calloc(1, 100000);
    CHECK_NOT_NULL(big);
    uint64_t ticket = writer_push(writer, big, 100000, NULL, 0); // more than a pipe holds
    char byte;
    CHECK_EQ(read(fds[0], &byte, 1), 1); // it has begun
    fds[0] = fd_close(fds[0]);
    CHECK(writer_flush(writer, PATIENCE));
    CHECK_EQ(writer_ticket_state(writer, ticket), WRITER_FAILED);
    ticket = push(writer, "more\n");
    CHECK(writer_flush(writer, PATIENCE));
    CHECK_EQ(writer_ticket_state(writer, ticket), WRITER_FAILED);
    CHECK_EQ(writer_n_failed(writer), 2);
    CHECK(!writer_has_room(writer));
    writer_free(writer, PATIENCE);
    fd_close(fds[1]);
}

static void disk_full(void) {
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        check_skip("no /dev/full");
    }
    struct writer *writer = NULL;
    CHECK_EQ(writer_new(fd, &writer), 0);
    uint64_t ticket = push(writer, "line\n");
    CHECK(writer_flush(writer, PATIENCE));
    CHECK_EQ(writer_ticket_state(writer, ticket), WRITER_FAILED);
    writer_free(writer, PATIENCE);
    fd_close(fd);
    CHECK_EQ(writer_new(fd, &writer), -EBADF);
}

// Half a line fits. What is written when there is room again must not be glued to that half.
static void torn_line(void) {
    FILE *file = tmpfile();
    CHECK_NOT_NULL(file);
    struct rlimit before;
    CHECK_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
    struct rlimit small = {.rlim_cur = 3, .rlim_max = before.rlim_max};
    struct writer *writer = NULL;
    CHECK_EQ(writer_new(fileno(file), &writer), 0);
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    uint64_t torn = push(writer, "first\n");
    uint64_t refused = push(writer, "second\n");
    bool is_flushed = writer_flush(writer, PATIENCE);
    CHECK_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    CHECK(is_flushed);
    uint64_t whole = push(writer, "third\n");
    uint64_t next = push(writer, "fourth\n");
    CHECK(writer_flush(writer, PATIENCE));
    CHECK_EQ(writer_ticket_state(writer, torn), WRITER_FAILED);
    CHECK_EQ(writer_ticket_state(writer, refused), WRITER_FAILED);
    CHECK_EQ(writer_ticket_state(writer, whole), WRITER_WRITTEN);
    CHECK_EQ(writer_ticket_state(writer, next), WRITER_WRITTEN);
    CHECK(writer_has_room(writer));
    char text[100];
    ssize_t n = pread(fileno(file), text, sizeof text, 0);
    CHECK_GE(n, 0);
    CHECK_MEM(text, (size_t)n, "fir\nthird\nfourth\n", 17);
    writer_free(writer, PATIENCE);
    CHECK_EQ(fclose(file), 0);
}

// The thread is stuck and left behind; when its call returns after all it writes no more and frees what it has.
static void left_behind(void) {
    unsigned n_threads = threads_count();
    int fds[2];
    CHECK_EQ(pipe2(fds, O_CLOEXEC), 0);
    struct writer *writer = NULL;
    CHECK_EQ(writer_new(fds[1], &writer), 0);
    CLEANUP(freep) char *big = calloc(1, 200000);
    CHECK_NOT_NULL(big);
    CHECK_EQ(writer_push(writer, big, 200000, NULL, 0), 1);
    CHECK_EQ(push(writer, "never\n"), 2);
    CHECK_EQ(read(fds[0], big, 1), 1); // it has begun
    usec_t start = clock_monotonic();
    writer_free(writer, 1000);
    CHECK_LT(clock_monotonic() - start, PATIENCE);
    fd_close(fds[1]);
    // The end of the file comes when the thread lets go of its copy.
    size_t total = 1;
    for (ssize_t k; (k = read(fds[0], big, 200000)) != 0; total += (size_t)k) {
        CHECK_GT(k, 0);
    }
    CHECK_EQ(total, 200000);
    fd_close(fds[0]);
    threads_wait(n_threads);
}

static const struct journal_field two_fields[] = {{.at = 0, .len = 3}, {.at = 3, .len = 4}};

static void journal(void) {
    struct writer *writer = NULL;
    CHECK_EQ(writer_new(-1, &writer), 0);
    journal_exists = 1;
    journal_error = 0;
    journal_n_sent = 0;
    uint64_t sent = writer_push(writer, "A=1B=22", 7, two_fields, 2);
    CHECK(writer_flush(writer, PATIENCE));
    CHECK_STR(journal_last, "A=1|B=22|");
    journal_error = -ECONNREFUSED;
    uint64_t refused = writer_push(writer, "A=1B=22", 7, two_fields, 2);
    CHECK(writer_flush(writer, PATIENCE));
    journal_error = 0;
    journal_exists = 0; // libsystemd would say that all is well
    uint64_t dropped = writer_push(writer, "A=1B=22", 7, two_fields, 2);
    CHECK(writer_flush(writer, PATIENCE));
    CHECK_EQ(writer_ticket_state(writer, sent), WRITER_WRITTEN);
    CHECK_EQ(writer_ticket_state(writer, refused), WRITER_FAILED);
    CHECK_EQ(writer_ticket_state(writer, dropped), WRITER_FAILED);
    CHECK_EQ(journal_n_sent, 2);
    writer_free(writer, PATIENCE);
}

CHECK_MAIN({"in_order", in_order}, {"freeing_drains", freeing_drains}, {"unread_pipe", unread_pipe},
           {"bounded_records", bounded_records}, {"reader_gone", reader_gone}, {"disk_full", disk_full},
           {"torn_line", torn_line}, {"left_behind", left_behind}, {"journal", journal})
