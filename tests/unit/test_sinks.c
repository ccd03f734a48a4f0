// SPDX-License-Identifier: PostgreSQL
//
// The journal is played by an access() and an sd_journal_sendv() of our own, which take the place of the libraries'.
#include "daemon/sinks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "sample_event.h"
#include "support/check.h"
#include "support/oom.h"
#include "util/fd.h"
#include "util/strbuf.h"

#define PATIENCE (20 * USEC_PER_SEC)
#define TICKETS 4096

static _Atomic int journal_exists;
static _Atomic int journal_error;
static _Atomic unsigned journal_n_sent;
static char journal_message[200];

int access(const char *path, int mode) {
    (void)mode;
    if (strcmp(path, "/run/systemd/journal/socket") == 0 && journal_exists) {
        return 0;
    }
    errno = ENOENT;
    return -1;
}

int sd_journal_sendv(const struct iovec *iov, int n) {
    journal_message[0] = '\0';
    if (n > 0) {
        strncat(journal_message, iov[0].iov_base, MIN(iov[0].iov_len, sizeof journal_message - 1));
    }
    journal_n_sent++;
    return journal_error;
}

static usec_t sample_realtime(void) {
    return SAMPLE_REALTIME;
}

// A loop, a pipe, and sinks that write into it.
struct setting {
    struct loop *loop;
    struct sinks *sinks;
    struct loop_timer *timer; // ends turn()
    int fds[2];
};

static void stop(void *userdata, usec_t now) {
    (void)now;
    loop_stop(userdata);
}

static int set_up(struct setting *setting, struct sinks_options options, bool with_fd, const char **ret_why) {
    *setting = (struct setting){.loop = loop_new()};
    CHECK_EQ(pipe2(setting->fds, O_CLOEXEC), 0);
    setting->timer = loop_timer_new(setting->loop, stop, setting->loop);
    options.fd = with_fd ? setting->fds[1] : -1;
    options.realtime = sample_realtime;
    return sinks_new(setting->loop, &options, &setting->sinks, ret_why);
}

static struct setting set_up_text(enum event_level level) {
    struct setting setting;
    const char *why = NULL;
    CHECK_EQ(set_up(&setting, (struct sinks_options){.level = level, .format = LOG_FORMAT_TEXT}, true, &why), 0);
    return setting;
}

static void tear_down(struct setting *setting) {
    CHECK_NULL(sinks_free(setting->sinks));
    loop_timer_free(setting->timer);
    fd_close(setting->fds[0]);
    fd_close(setting->fds[1]);
    loop_free(setting->loop);
}

// What is ready is dispatched.
static void turn(struct setting *setting) {
    loop_timer_set(setting->timer, loop_now(setting->loop) + USEC_PER_MSEC);
    CHECK_EQ(loop_run(setting->loop), 0);
}

static void check_written(const struct setting *setting, const char *expected) {
    CHECK(sinks_flush(setting->sinks, PATIENCE));
    char text[1000] = "";
    struct pollfd pollfd = {.fd = setting->fds[0], .events = POLLIN};
    if (poll(&pollfd, 1, 0) == 1) {
        CHECK_GE(read(setting->fds[0], text, sizeof text - 1), 0);
    }
    CHECK_STR(text, expected);
}

static void lines_and_levels(void) {
    struct setting setting = set_up_text(EVENT_NOTICE);
    struct event info = event_make(EVENT_START, EVENT_INFO, NULL);
    struct event notice = event_make(EVENT_START, EVENT_NOTICE, NULL);
    struct event intent = event_make(EVENT_DECISION, EVENT_DEBUG, "db");
    intent.has_action = true;
    CHECK_EQ(sinks_emit(setting.sinks, &info), 0);
    uint64_t ticket = sinks_emit(setting.sinks, &notice);
    CHECK_NE(ticket, 0);
    check_written(&setting, "2025-01-02T03:04:05.678Z started\n");
    CHECK_EQ(sinks_ticket_state(setting.sinks, ticket), SINKS_WRITTEN);
    CHECK_EQ(sinks_ticket_state(setting.sinks, 0), SINKS_FAILED);
    CHECK_EQ(sinks_ticket_state(setting.sinks, ticket + 1), SINKS_FAILED);
    ticket = sinks_emit(setting.sinks, &intent);
    check_written(&setting, "2025-01-02T03:04:05.678Z db: terminating session\n");
    CHECK_EQ(sinks_ticket_state(setting.sinks, ticket), SINKS_WRITTEN);
    intent.observe = true;
    CHECK_EQ(sinks_emit(setting.sinks, &intent), 0);
    CHECK_EQ(sinks_n_dropped(setting.sinks), 0);
    tear_down(&setting);
}

// Whoever reads that a session is being ended reads what became of it.
static void P6_outcomes_follow_intents_at_any_level(void) {
    struct setting setting = set_up_text(EVENT_ERROR);
    struct event outcome = event_make(EVENT_OUTCOME, EVENT_NOTICE, "db");
    outcome.has_action = true;
    outcome.outcome = OUTCOME_GONE;
    uint64_t ticket = sinks_emit(setting.sinks, &outcome);
    check_written(&setting, "2025-01-02T03:04:05.678Z db: terminated session; gone\n");
    CHECK_EQ(sinks_ticket_state(setting.sinks, ticket), SINKS_WRITTEN);
    outcome.observe = true;
    CHECK_EQ(sinks_emit(setting.sinks, &outcome), 0);
    tear_down(&setting);
}

static void json(void) {
    struct setting setting;
    const char *why = NULL;
    CHECK_EQ(set_up(&setting, (struct sinks_options){.level = EVENT_INFO, .format = LOG_FORMAT_JSON}, true, &why), 0);
    struct event event = event_make(EVENT_START, EVENT_INFO, NULL);
    sinks_emit(setting.sinks, &event);
    check_written(&setting, "{\"ts\":\"2025-01-02T03:04:05.678Z\",\"level\":\"info\",\"message\":\"started\","
                            "\"event\":\"start\"}\n");
    tear_down(&setting);
}

static void set_journal_stream(int fd, ino_t more) {
    struct stat st;
    char text[100];
    CHECK_EQ(fstat(fd, &st), 0);
    snprintf(text, sizeof text, "%lu:%lu", st.st_dev, st.st_ino + more);
    CHECK_EQ(setenv("JOURNAL_STREAM", text, 1), 0);
}

// AUTO and TEXT look at the stream they are given, before anything else.
static void check_journal_stream(enum log_format format, ino_t more, const char *expected, unsigned expected_sent) {
    struct setting setting;
    struct sinks_options options = {.level = EVENT_INFO, .format = LOG_FORMAT_TEXT, .realtime = sample_realtime};
    const char *why = NULL;
    CHECK_EQ(set_up(&setting, options, true, &why), 0);
    sinks_free(setting.sinks);
    set_journal_stream(setting.fds[1], more);
    options.fd = setting.fds[1];
    options.format = format;
    CHECK_EQ(sinks_new(setting.loop, &options, &setting.sinks, &why), 0);
    journal_n_sent = 0;
    struct event event = event_make(EVENT_START, EVENT_INFO, NULL);
    CHECK_NE(sinks_emit(setting.sinks, &event), 0);
    check_written(&setting, expected);
    CHECK_EQ(journal_n_sent, expected_sent);
    tear_down(&setting);
    CHECK_EQ(unsetenv("JOURNAL_STREAM"), 0);
}

static void journal_stream(void) {
    journal_exists = 1;
    journal_error = 0;
    check_journal_stream(LOG_FORMAT_AUTO, 0, "", 1);
    CHECK_STR(journal_message, "MESSAGE=started");
    check_journal_stream(LOG_FORMAT_AUTO, 1, "2025-01-02T03:04:05.678Z started\n", 0); // inherited
    check_journal_stream(LOG_FORMAT_TEXT, 0, "<6>started\n", 0);
    journal_exists = 0;
    check_journal_stream(LOG_FORMAT_AUTO, 0, "<6>started\n", 0);
}

static void no_such_sink(void) {
    struct setting setting;
    const char *why = NULL;
    journal_exists = 0;
    struct sinks_options options = {.level = EVENT_INFO, .format = LOG_FORMAT_JOURNAL};
    CHECK_EQ(set_up(&setting, options, true, &why), -ENOENT);
    CHECK_CONTAINS(why, "no journal");
    tear_down(&setting);
    options.format = LOG_FORMAT_AUTO;
    CHECK_EQ(set_up(&setting, options, false, &why), 0);
    struct event event = event_make(EVENT_START, EVENT_ERROR, NULL);
    CHECK_EQ(sinks_emit(setting.sinks, &event), 0);
    CHECK(sinks_flush(setting.sinks, 0));
    CHECK_EQ(sinks_n_dropped(setting.sinks), 0);
    options = (struct sinks_options){.fd = setting.fds[1], .realtime = sample_realtime};
    fd_close(setting.fds[1]);
    struct sinks *sinks = NULL;
    CHECK_EQ(sinks_new(setting.loop, &options, &sinks, &why), -EBADF);
    CHECK_CONTAINS(why, "not open");
    setting.fds[1] = -1;
    tear_down(&setting);
    CHECK_NULL(sinks_free(NULL));
}

// Tells all but what is for debugging.
static bool count_event(void *userdata, const struct event *event) {
    ++*(unsigned *)userdata;
    return event->level != EVENT_DEBUG;
}

static void told_by_tee(void) {
    struct setting setting;
    const char *why = NULL;
    unsigned n = 0;
    struct sinks_options options = {.level = EVENT_ERROR, .tee = count_event, .tee_data = &n};
    journal_exists = 0;
    CHECK_EQ(set_up(&setting, options, false, &why), 0); // nothing but the tee
    struct event event = event_make(EVENT_START, EVENT_DEBUG, NULL);
    CHECK_EQ(sinks_emit(setting.sinks, &event), 0);
    event.level = EVENT_INFO;
    uint64_t ticket = sinks_emit(setting.sinks, &event);
    CHECK_NE(ticket, 0);
    CHECK_EQ(n, 2);
    CHECK_EQ(sinks_ticket_state(setting.sinks, ticket), SINKS_WRITTEN);
    tear_down(&setting);
    // With a journal that does not take it: told is told.
    journal_exists = 1;
    journal_error = -EIO;
    CHECK_EQ(set_up(&setting, options, false, &why), 0);
    event.level = EVENT_ERROR;
    ticket = sinks_emit(setting.sinks, &event);
    CHECK_EQ(n, 3);
    CHECK(sinks_flush(setting.sinks, PATIENCE));
    CHECK_EQ(sinks_ticket_state(setting.sinks, ticket), SINKS_WRITTEN);
    CHECK_EQ(sinks_n_dropped(setting.sinks), 1);
    tear_down(&setting);
    journal_exists = 0;
    journal_error = 0;
}

static void tap_counts(void *userdata, const struct event *event) {
    CHECK_EQ(event->kind, EVENT_START);
    ++*(unsigned *)userdata;
}

// Taps hear what the log leaves out, and nothing after they left.
static void taps(void) {
    struct setting setting = set_up_text(EVENT_ERROR);
    unsigned a = 0, b = 0;
    struct sinks_tap *first = sinks_tap(setting.sinks, tap_counts, &a);
    struct sinks_tap *second = sinks_tap(setting.sinks, tap_counts, &b);
    struct event event = event_make(EVENT_START, EVENT_DEBUG, NULL);
    CHECK_EQ(sinks_emit(setting.sinks, &event), 0);
    CHECK_NULL(sinks_untap(first));
    CHECK_EQ(sinks_emit(setting.sinks, &event), 0);
    CHECK_EQ(a, 1);
    CHECK_EQ(b, 2);
    tear_down(&setting);
    CHECK_NULL(sinks_untap(second)); // after the sinks
    CHECK_NULL(sinks_untap(NULL));
}

struct heard {
    struct sinks_listener *self, *other;
    unsigned n;
};

static void hear(void *userdata, usec_t now) {
    struct heard *heard = userdata;
    CHECK_GT(now, 0);
    heard->n++;
}

static void hear_and_leave(void *userdata, usec_t now) {
    struct heard *heard = userdata;
    hear(userdata, now);
    heard->self = sinks_unlisten(heard->self);
    heard->other = sinks_unlisten(heard->other);
}

static void listeners(void) {
    struct setting setting = set_up_text(EVENT_INFO);
    struct heard a = {0}, b = {0}, leaver = {0};
    a.self = sinks_listen(setting.sinks, hear, &a);
    b.self = sinks_listen(setting.sinks, hear, &b);
    leaver.self = sinks_listen(setting.sinks, hear_and_leave, &leaver); // comes first, takes b with it
    leaver.other = b.self;
    struct event event = event_make(EVENT_START, EVENT_INFO, NULL);
    for (int i = 0; i < 2; i++) {
        sinks_emit(setting.sinks, &event);
        CHECK(sinks_flush(setting.sinks, PATIENCE));
        turn(&setting);
    }
    CHECK_EQ(leaver.n, 1);
    CHECK_EQ(b.n, 0);
    CHECK_EQ(a.n, 2);
    tear_down(&setting);
    CHECK_NULL(sinks_unlisten(a.self)); // after the sinks
    CHECK_NULL(sinks_unlisten(NULL));
}

// Nobody reads the pipe: what does not fit is counted, nothing waits, and the count is told when there is room again.
static void unread_pipe(void) {
    struct setting setting = set_up_text(EVENT_INFO);
    struct event event = event_make(EVENT_DECISION, EVENT_INFO, "db"),
                 act = event_make(EVENT_OUTCOME, EVENT_INFO, "db");
    uint64_t n = 0, n_acts = 0, last = 0;
    event.has_action = act.has_action = true;
    event.action = ACTION_LOG;
    act.outcome = OUTCOME_GONE;
    while (sinks_emit(setting.sinks, &event) != 0) {
        n++;
    }
    CHECK_GE(n, TICKETS / 2);
    for (uint64_t ticket; (ticket = sinks_emit(setting.sinks, &act)) != 0; last = ticket) {
        n_acts++;
    }
    CHECK_GE(n_acts, TICKETS / 8); // what became of acts finds a place behind all that
    CHECK_GE(n + n_acts, TICKETS);
    CHECK_EQ(sinks_ticket_state(setting.sinks, last), SINKS_PENDING);
    CHECK_EQ(sinks_n_dropped(setting.sinks), 2);
    CHECK(!sinks_flush(setting.sinks, 1));
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    while (!sinks_flush(setting.sinks, 100) || !strstr(strbuf_str(&text), "dropped")) {
        char buffer[65536];
        struct pollfd pollfd = {.fd = setting.fds[0], .events = POLLIN};
        if (poll(&pollfd, 1, 0) == 1) {
            ssize_t k = read(setting.fds[0], buffer, sizeof buffer);
            CHECK_GT(k, 0);
            strbuf_add_bytes(&text, buffer, (size_t)k);
        }
        turn(&setting);
    }
    CHECK_CONTAINS(strbuf_str(&text), "Z dropped 2 log records");
    CHECK_EQ(sinks_ticket_state(setting.sinks, last), SINKS_WRITTEN);
    turn(&setting);
    check_written(&setting, ""); // once
    CHECK_EQ(sinks_n_dropped(setting.sinks), 2);
    tear_down(&setting);
}

// The journal refuses records, then takes them again. A report that is refused is no lost record.
static void failed_records(void) {
    struct setting setting;
    const char *why = NULL;
    journal_exists = 1;
    journal_error = -EIO;
    CHECK_EQ(set_up(&setting, (struct sinks_options){.level = EVENT_INFO, .format = LOG_FORMAT_JOURNAL}, false, &why),
             0);
    struct event event = event_make(EVENT_START, EVENT_INFO, NULL);
    uint64_t ticket = 0;
    for (int i = 0; i < 3; i++) {
        ticket = sinks_emit(setting.sinks, &event);
        CHECK_NE(ticket, 0);
        CHECK(sinks_flush(setting.sinks, PATIENCE));
        turn(&setting);
    }
    CHECK_EQ(sinks_ticket_state(setting.sinks, ticket), SINKS_FAILED);
    CHECK_EQ(sinks_n_dropped(setting.sinks), 3);
    journal_error = 0;
    journal_n_sent = 0;
    sinks_emit(setting.sinks, &event);
    CHECK(sinks_flush(setting.sinks, PATIENCE));
    turn(&setting);
    CHECK(sinks_flush(setting.sinks, PATIENCE));
    CHECK_EQ(journal_n_sent, 2);
    CHECK_STR(journal_message, "MESSAGE=dropped 3 log records");
    turn(&setting);
    CHECK_EQ(sinks_n_dropped(setting.sinks), 3);
    // The next loss is within the time of the last report, and told at the end at the latest.
    journal_exists = 0;
    sinks_emit(setting.sinks, &event);
    CHECK(sinks_flush(setting.sinks, PATIENCE));
    journal_exists = 1;
    sinks_emit(setting.sinks, &event);
    CHECK(sinks_flush(setting.sinks, PATIENCE));
    turn(&setting);
    CHECK_EQ(journal_n_sent, 3);
    CHECK_EQ(sinks_n_dropped(setting.sinks), 4);
    tear_down(&setting);
    CHECK_EQ(journal_n_sent, 4);
    CHECK_STR(journal_message, "MESSAGE=dropped 1 log record");
    journal_exists = 0;
}

static int make(void *userdata) {
    struct setting *setting = userdata;
    CLEANUP(sinks_freep) struct sinks *sinks = NULL;
    struct sinks_options options = {.format = LOG_FORMAT_TEXT, .fd = setting->fds[1], .realtime = sample_realtime};
    const char *why = NULL;
    int r = sinks_new(setting->loop, &options, &sinks, &why);
    CHECK_EQ(r < 0, why != NULL);
    return r;
}

// Also: a record that finds no memory is a dropped one.
// A reload: another level, another format of the same place, another place. No ticket and no record is lost.
static void reconfigured(void) {
    struct setting setting = set_up_text(EVENT_NOTICE);
    struct sinks *sinks = setting.sinks;
    struct event info = event_make(EVENT_TARGET_UP, EVENT_INFO, "db");
    struct event notice = event_make(EVENT_TARGET_UP, EVENT_NOTICE, "db");
    const char *why = NULL;
    CHECK_EQ(sinks_emit(sinks, &info), 0);
    CHECK_EQ(sinks_reconfigure(sinks, EVENT_INFO, LOG_FORMAT_TEXT, &why), 0);
    uint64_t first = sinks_emit(sinks, &info);
    CHECK_NE(first, 0);
    CHECK_EQ(sinks_reconfigure(sinks, EVENT_NOTICE, LOG_FORMAT_JSON, &why), 0);
    uint64_t second = sinks_emit(sinks, &notice);
    CHECK_EQ(second, first + 1);
    CHECK_EQ(sinks_emit(sinks, &info), 0);
    // No journal: all stays as it was.
    CHECK_EQ(sinks_reconfigure(sinks, EVENT_ERROR, LOG_FORMAT_JOURNAL, &why), -ENOENT);
    CHECK_CONTAINS(why, "no journal");
    uint64_t third = sinks_emit(sinks, &notice);
    CHECK_EQ(third, first + 2);
    journal_exists = 1;
    journal_n_sent = 0;
    CHECK_EQ(sinks_reconfigure(sinks, EVENT_NOTICE, LOG_FORMAT_JOURNAL, &why), 0);
    uint64_t fourth = sinks_emit(sinks, &notice);
    CHECK_EQ(fourth, first + 3);
    CHECK(sinks_flush(sinks, PATIENCE));
    CHECK_EQ(journal_n_sent, 1);
    for (uint64_t ticket = first; ticket <= fourth; ticket++) {
        check_context("ticket %u", (unsigned)ticket);
        CHECK_EQ(sinks_ticket_state(sinks, ticket), SINKS_WRITTEN);
    }
    CHECK_EQ(sinks_ticket_state(sinks, fourth + 1), SINKS_FAILED);
    // There and back, over and over.
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(sinks_reconfigure(sinks, EVENT_NOTICE, i % 2 ? LOG_FORMAT_JOURNAL : LOG_FORMAT_TEXT, &why), 0);
        uint64_t ticket = sinks_emit(sinks, &notice);
        CHECK_EQ(ticket, fourth + 1 + (uint64_t)i);
        CHECK(sinks_flush(sinks, PATIENCE));
        CHECK_EQ(sinks_ticket_state(sinks, ticket), SINKS_WRITTEN);
        CHECK_EQ(sinks_ticket_state(sinks, ticket - 1), SINKS_WRITTEN);
    }
    CHECK_EQ(journal_n_sent, 51);
    CHECK_EQ(sinks_n_dropped(sinks), 0);
    journal_exists = 0;
    tear_down(&setting);
}

static void survives_oom(void) {
    struct setting setting = set_up_text(EVENT_INFO);
    CHECK_EQ(make(&setting), 0); // libc keeps the thread's stack for the next one
    oom_sweep(make, &setting);
    struct event event = event_make(EVENT_START, EVENT_INFO, NULL);
    oom_arm(1);
    uint64_t ticket = sinks_emit(setting.sinks, &event);
    CHECK(oom_disarm());
    CHECK_EQ(ticket, 0);
    CHECK_EQ(sinks_n_dropped(setting.sinks), 1);
    tear_down(&setting);
}

CHECK_MAIN({"lines_and_levels", lines_and_levels},
           {"P6_outcomes_follow_intents_at_any_level", P6_outcomes_follow_intents_at_any_level}, {"json", json},
           {"journal_stream", journal_stream}, {"no_such_sink", no_such_sink}, {"told_by_tee", told_by_tee},
           {"listeners", listeners}, {"taps", taps}, {"unread_pipe", unread_pipe}, {"failed_records", failed_records},
           {"reconfigured", reconfigured}, {"survives_oom", survives_oom})
