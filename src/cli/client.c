// SPDX-License-Identifier: PostgreSQL
#include "client.h"

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/clock.h"
#include "util/cleanup.h"
#include "util/escape.h"
#include "util/fd.h"

#define CLIENT_READ_AT_ONCE 65536

struct client {
    const struct client_request *request;
    int fd;
    usec_t deadline;
    struct strbuf *why;
};

void client_answer_deinit(struct client_answer *answer) {
    strbuf_deinit(&answer->body);
    answer->status = 0;
}

void client_add_parameter(struct strbuf *target, const char *name, const char *text) {
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    strbuf_addf(target, "%s%s=", strchr(strbuf_str(target), '?') ? "&" : "?", name);
    for (; *text; text++) {
        if (strchr(plain, *text)) {
            strbuf_add_char(target, *text);
        } else {
            strbuf_addf(target, "%%%02X", (unsigned char)*text);
        }
    }
}

// ---- what can go wrong

static void client_add_group(const char *path, struct strbuf *why) {
    struct stat st;
    const struct group *group = lstat(path, &st) == 0 ? getgrgid(st.st_gid) : NULL;
    if (group) {
        strbuf_add(why, " '");
        escape_text(why, group->gr_name);
        strbuf_add(why, "'");
    }
}

// A file of another kind refuses in the same way as a socket without a listener.
static bool client_is_socket(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

static int client_fail_connect(const struct client *client, int error) {
    struct strbuf *why = client->why;
    const char *path = client->request->socket;
    if (error == EACCES || error == EPERM) {
        strbuf_add(why, "you may not use ");
    } else {
        strbuf_add(why, "no daemon answers at ");
    }
    escape_text(why, path);
    switch (error) {
    case ENOENT:
        strbuf_add(why, ": there is no such socket (does pgvigil run, and with this control.socket?)");
        break;
    case ECONNREFUSED:
        strbuf_add(why, client_is_socket(path) ? ": it is left from one that has ended" : ": it is no socket");
        break;
    case EACCES:
    case EPERM:
        strbuf_add(why, ": it is for root, the daemon's user and members of its group");
        client_add_group(path, why);
        break;
    default:
        strbuf_addf(why, ": %s", strerror(error));
        break;
    }
    return -error;
}

static int client_fail(const struct client *client, int error) {
    strbuf_add(client->why, "the daemon at ");
    escape_text(client->why, client->request->socket);
    if (error == ETIMEDOUT) {
        strbuf_add(client->why, " did not answer within ");
        usec_render_exact(client->why, client->request->timeout);
    } else if (error == EPROTO) {
        strbuf_add(client->why, " broke off, or is none of ours");
    } else {
        strbuf_addf(client->why, ": %s", strerror(error));
    }
    return -error;
}

// ---- the exchange

// 0, -ETIMEDOUT, or another -errno.
static int client_wait(const struct client *client, short events) {
    for (;;) {
        struct pollfd fd = {.fd = client->fd, .events = events};
        usec_t left = usec_sub(client->deadline, clock_monotonic());
        if (left == 0) {
            return -ETIMEDOUT;
        }
        int n = poll(&fd, 1, (int)((left + USEC_PER_MSEC - 1) / USEC_PER_MSEC));
        if (n > 0) {
            return 0;
        }
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
    }
}

static int client_connect(struct client *client) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = client->request->socket;
    if (strlen(path) >= sizeof(address.sun_path)) {
        return client_fail_connect(client, ENAMETOOLONG);
    }
    memcpy(address.sun_path, path, strlen(path));
    client->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0) {
        return client_fail_connect(client, errno);
    }
    while (connect(client->fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        // The daemon's queue is full: it serves others, or is stopped.
        if (errno != EAGAIN && errno != EINTR) {
            return client_fail_connect(client, errno);
        }
        if (clock_monotonic() >= client->deadline) {
            return client_fail(client, ETIMEDOUT);
        }
        (void)poll(NULL, 0, 20);
    }
    return 0;
}

static int client_send(const struct client *client) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    const struct client_request *request = client->request;
    size_t len = request->body ? strlen(request->body) : 0, n_sent = 0;
    strbuf_addf(&text, "%s %s HTTP/1.1\r\nHost: pgvigil\r\n", request->method, request->target);
    if (request->body) {
        strbuf_addf(&text, "Content-Type: application/json\r\nContent-Length: %zu\r\n", len);
    }
    strbuf_add(&text, "Connection: close\r\n\r\n");
    strbuf_add_bytes(&text, request->body ? request->body : "", len);
    if (strbuf_error(&text) < 0) {
        return -ENOMEM;
    }
    while (n_sent < text.len) {
        ssize_t n = send(client->fd, text.data + n_sent, text.len - n_sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EPIPE) {
            return 0; // it has refused what it read of it, and says why
        }
        int r = n < 0 ? (errno == EAGAIN || errno == EINTR ? client_wait(client, POLLOUT) : -errno) : 0;
        if (r < 0) {
            return r;
        }
        n_sent += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int client_receive(const struct client *client, struct strbuf *text) {
    CLEANUP(freep) char *bytes = malloc(CLIENT_READ_AT_ONCE);
    if (!bytes) {
        return -ENOMEM;
    }
    for (;;) {
        ssize_t n = recv(client->fd, bytes, CLIENT_READ_AT_ONCE, 0);
        if (n == 0) {
            return 0;
        }
        int r = n < 0 ? (errno == EAGAIN || errno == EINTR ? client_wait(client, POLLIN) : -errno) : 0;
        if (r < 0) {
            return r;
        }
        if (n > 0) {
            strbuf_add_bytes(text, bytes, (size_t)n);
        }
        r = text->len > CLIENT_MAX_ANSWER ? -EPROTO : strbuf_error(text);
        if (r < 0) {
            return r;
        }
    }
}

// 0 or -EPROTO: not an answer, or not all of it.
static int client_parse(const struct strbuf *text, struct client_answer *ret) {
    static const char version[] = "HTTP/1.1 ", length[] = "\r\nContent-Length: ";
    const char *bytes = strbuf_str(text), *end = strstr(bytes, "\r\n\r\n");
    if (!end || strncmp(bytes, version, sizeof(version) - 1) != 0) {
        return -EPROTO;
    }
    const char *body = end + 4, *field = strstr(bytes, length);
    size_t len = text->len - (size_t)(body - bytes);
    ret->status = atoi(bytes + sizeof(version) - 1);
    if (field && field < end && strtoull(field + sizeof(length) - 1, NULL, 10) != len) {
        return -EPROTO;
    }
    strbuf_add_bytes(&ret->body, body, len);
    return strbuf_error(&ret->body);
}

int client_call(const struct client_request *request, struct client_answer *ret, struct strbuf *why) {
    CLEANUP(strbuf_deinit) struct strbuf text = STRBUF_EMPTY;
    struct client client = {
        .request = request, .fd = -1, .deadline = usec_add(clock_monotonic(), request->timeout), .why = why};
    int r = client_connect(&client);
    if (r < 0) {
        client.fd = fd_close(client.fd);
        return r;
    }
    r = client_send(&client);
    if (r == 0) {
        r = client_receive(&client, &text);
    }
    if (r == 0) {
        r = client_parse(&text, ret);
    }
    client.fd = fd_close(client.fd);
    return r < 0 ? client_fail(&client, -r) : 0;
}
