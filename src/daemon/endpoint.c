// SPDX-License-Identifier: PostgreSQL
#include "endpoint.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/fd.h"
#include "util/macro.h"

#define ENDPOINT_BACKLOG 64
#define ENDPOINT_MODE 0660
#define ENDPOINT_MAX_GROUPS 65536 // the kernel's own limit of a process

static int endpoint_fail(int error, struct strbuf *why) {
    strbuf_add(why, error == ESTALE ? "something else has taken its place" : strerror(error));
    return -error;
}

// ---- TCP

int endpoint_listen_tcp(const char *host, uint16_t port, int *ret_fd, struct strbuf *why) {
    struct sockaddr_in inet = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 inet6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    bool is_inet6 = strchr(host, ':') != NULL;
    const int on = 1;

    if (inet_pton(is_inet6 ? AF_INET6 : AF_INET, host, is_inet6 ? (void *)&inet6.sin6_addr : (void *)&inet.sin_addr) !=
        1) {
        return endpoint_fail(EINVAL, why);
    }
    CLEANUP(fd_closep) int fd = socket(is_inet6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return endpoint_fail(errno, why);
    }
    // After a restart the connections of before may still linger. Another that listens is an error all the same.
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (is_inet6) {
        // What "::" takes shall not depend on a setting of the machine.
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    }
    const struct sockaddr *address = is_inet6 ? (const struct sockaddr *)&inet6 : (const struct sockaddr *)&inet;
    if (bind(fd, address, is_inet6 ? sizeof(inet6) : sizeof(inet)) < 0 || listen(fd, ENDPOINT_BACKLOG) < 0) {
        int r = endpoint_fail(errno, why);
        strbuf_add(why, r == -EADDRINUSE ? " (by another pgvigil?)" : "");
        return r;
    }
    *ret_fd = fd;
    fd = -1;
    return 0;
}

bool endpoint_is_loopback(int fd) {
    union {
        struct sockaddr any;
        struct sockaddr_in inet;
        struct sockaddr_in6 inet6;
    } address = {0};
    socklen_t size = sizeof(address);
    if (getsockname(fd, &address.any, &size) < 0) {
        return false;
    }
    return address.any.sa_family == AF_INET
               ? ntohl(address.inet.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET
               : address.any.sa_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&address.inet6.sin6_addr);
}

// ---- Unix sockets

static int endpoint_find_group(const char *name, gid_t *ret, struct strbuf *why) {
    char *end;
    errno = 0;
    unsigned long number = strtoul(name, &end, 10);
    if (*name >= '0' && *name <= '9' && *end == '\0' && errno == 0 && number < (gid_t)-1) {
        *ret = (gid_t)number;
        return 0;
    }
    errno = 0;
    const struct group *group = getgrnam(name);
    if (!group) {
        int error = errno > 0 ? errno : ENOENT;
        strbuf_add(why, "there is no such group as control.group names");
        return -error;
    }
    *ret = group->gr_gid;
    return 0;
}

// Whoever listens there is asked. 0: nobody does, or nothing is there.
static int endpoint_clear_stale(const struct sockaddr_un *address, struct strbuf *why) {
    struct stat st;
    if (lstat(address->sun_path, &st) < 0) {
        return errno == ENOENT ? 0 : endpoint_fail(errno, why);
    }
    if (!S_ISSOCK(st.st_mode)) {
        strbuf_add(why, "something that is no socket is there");
        return -EEXIST;
    }
    CLEANUP(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return endpoint_fail(errno, why);
    }
    // EAGAIN: a queue that is full is one's who listens.
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN) {
        strbuf_add(why, "another process answers there (another pgvigil? give one of them its own control.socket)");
        return -EADDRINUSE;
    }
    if (errno == ENOENT) {
        return 0;
    }
    if (errno != ECONNREFUSED) {
        return endpoint_fail(errno, why);
    }
    return unlink(address->sun_path) < 0 && errno != ENOENT ? endpoint_fail(errno, why) : 0;
}

static int endpoint_make_folder(const char *path) {
    CLEANUP(freep) char *folder = strndup(path, (size_t)(strrchr(path, '/') - path));
    if (!folder) {
        return -ENOMEM;
    }
    return folder[0] == '\0' || mkdir(folder, 0755) == 0 || errno == EEXIST ? 0 : -errno;
}

// The socket at its path, held by its inode: what is done to it then cannot be done to something else that takes its
// place. 0 with *ret_fd and *ret_st; -ESTALE: something else is there.
static int endpoint_hold(const char *path, int *ret_fd, struct stat *ret_st) {
    CLEANUP(fd_closep) int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, ret_st) < 0) {
        return -errno;
    }
    if (!S_ISSOCK(ret_st->st_mode) || ret_st->st_uid != geteuid()) {
        return -ESTALE;
    }
    *ret_fd = fd;
    fd = -1;
    return 0;
}

// fchmod() takes no such descriptor, and fchmodat() of one only since Linux 6.6.
static int endpoint_set_mode(int fd) {
    char path[32];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return chmod(path, ENDPOINT_MODE) < 0 ? -errno : 0;
}

static int endpoint_set_gid(int fd, gid_t gid) {
    return fchownat(fd, "", (uid_t)-1, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

// Bound but not listening: nobody can connect before mode and group are what they should be.
static int endpoint_bind_unix(int fd, const struct sockaddr_un *address, const char *group, struct endpoint_socket *ret,
                              struct strbuf *why) {
    gid_t gid = (gid_t)-1;
    struct stat st;
    if (group) {
        int r = endpoint_find_group(group, &gid, why);
        if (r < 0) {
            return r;
        }
    }
    if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
        return endpoint_fail(errno, why);
    }
    CLEANUP(fd_closep) int held = -1;
    int r = endpoint_hold(address->sun_path, &held, &st);
    if (r < 0) {
        return endpoint_fail(-r, why);
    }
    ret->path = strdup(address->sun_path);
    if (!ret->path) {
        (void)unlink(address->sun_path);
        return endpoint_fail(ENOMEM, why);
    }
    ret->device = st.st_dev;
    ret->inode = st.st_ino;
    r = group ? endpoint_set_gid(held, gid) : 0;
    if (r < 0) {
        strbuf_addf(why, "cannot give it to the group of control.group (is the daemon a member?): %s", strerror(-r));
        return r;
    }
    r = endpoint_set_mode(held);
    if (r == 0 && (fstat(held, &st) < 0 || listen(fd, ENDPOINT_BACKLOG) < 0)) {
        r = -errno;
    }
    if (r < 0) {
        return endpoint_fail(-r, why);
    }
    ret->gid = st.st_gid;
    return 0;
}

int endpoint_listen_unix(const char *path, const char *group, int *ret_fd, struct endpoint_socket *ret,
                         struct strbuf *why) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct endpoint_socket made = {0};
    if (strlen(path) >= sizeof(address.sun_path)) {
        return endpoint_fail(ENAMETOOLONG, why);
    }
    memcpy(address.sun_path, path, strlen(path));
    CLEANUP(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return endpoint_fail(errno, why);
    }
    int r = endpoint_make_folder(path);
    if (r < 0) {
        strbuf_addf(why, "its folder cannot be made: %s", strerror(-r));
        return r;
    }
    r = endpoint_clear_stale(&address, why);
    if (r == 0) {
        r = endpoint_bind_unix(fd, &address, group, &made, why);
    }
    if (r < 0) {
        endpoint_socket_remove(&made);
        return r;
    }
    *ret = made;
    *ret_fd = fd;
    fd = -1;
    return 0;
}

static bool endpoint_is(const struct endpoint_socket *at, const struct stat *st) {
    return st->st_dev == at->device && st->st_ino == at->inode;
}

int endpoint_socket_set_group(struct endpoint_socket *at, const char *group, struct strbuf *why) {
    gid_t gid = getegid();
    int r = group ? endpoint_find_group(group, &gid, why) : 0;
    return r < 0 ? r : endpoint_socket_set_gid(at, gid, why);
}

int endpoint_socket_set_gid(struct endpoint_socket *at, gid_t gid, struct strbuf *why) {
    CLEANUP(fd_closep) int held = -1;
    struct stat st;
    int r = endpoint_hold(at->path, &held, &st);
    if (r == 0 && !endpoint_is(at, &st)) {
        r = -ESTALE;
    }
    if (r == 0) {
        r = endpoint_set_gid(held, gid);
    }
    if (r < 0) {
        return endpoint_fail(-r, why);
    }
    at->gid = gid;
    return 0;
}

bool endpoint_socket_is_there(const struct endpoint_socket *at) {
    struct stat st;
    return at->path && lstat(at->path, &st) == 0 && endpoint_is(at, &st);
}

void endpoint_socket_remove(struct endpoint_socket *at) {
    if (endpoint_socket_is_there(at)) {
        (void)unlink(at->path);
    }
    free(at->path);
    *at = (struct endpoint_socket){0};
}

// ---- who is there

static bool endpoint_peer_has_group(int fd, gid_t gid) {
    socklen_t size = 0;
    // The first call says how many there are.
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0 || errno != ERANGE ||
        size > ENDPOINT_MAX_GROUPS * sizeof(gid_t)) {
        return false;
    }
    CLEANUP(freep) gid_t *groups = malloc(size);
    if (!groups || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0) {
        return false;
    }
    for (size_t i = 0; i < size / sizeof(*groups); i++) {
        if (groups[i] == gid) {
            return true;
        }
    }
    return false;
}

struct endpoint_peer endpoint_get_peer(int fd, gid_t gid) {
    struct ucred peer;
    socklen_t size = sizeof(peer);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) {
        return (struct endpoint_peer){.uid = -1, .pid = -1};
    }
    return (struct endpoint_peer){
        .uid = peer.uid,
        .pid = peer.pid > 0 ? peer.pid : -1,
        .may_command = peer.uid == 0 || peer.uid == geteuid() || peer.gid == gid || endpoint_peer_has_group(fd, gid),
    };
}
