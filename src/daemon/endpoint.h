// SPDX-License-Identifier: PostgreSQL
#pragma once

// Listening sockets: made, handed over, and removed again.

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/strbuf.h"

// A Unix socket that is ours: path and inode, so that nobody else's is changed or removed.
struct endpoint_socket {
    char *path; // owned; NULL: none
    dev_t device;
    ino_t inode;
    gid_t gid; // its group
};

// Listens. 0 with *ret_fd; -errno with `why` appended: a sentence without the address.
int endpoint_listen_tcp(const char *host, uint16_t port, int *ret_fd, struct strbuf *why);
bool endpoint_is_loopback(int fd); // of TCP
// The same at a path, mode 0660; `group` is a name, a number, or NULL. A socket that is there is replaced if nobody
// answers on it; a missing folder is made (one, not those above it).
int endpoint_listen_unix(const char *path, const char *group, int *ret_fd, struct endpoint_socket *ret,
                         struct strbuf *why);
// Gives it to another group; NULL: the process's own. 0 or -errno with `why`; -ESTALE: the path leads elsewhere.
int endpoint_socket_set_group(struct endpoint_socket *at, const char *group, struct strbuf *why);
// Gives it back to a group that it had before.
int endpoint_socket_set_gid(struct endpoint_socket *at, gid_t gid, struct strbuf *why);
bool endpoint_socket_is_there(const struct endpoint_socket *at); // false: the path leads elsewhere, or nowhere
// Removes the socket if it is still the one that was made, and forgets it.
void endpoint_socket_remove(struct endpoint_socket *at);

// Who is at the other end of a Unix socket.
struct endpoint_peer {
    int64_t uid;      // -1: not known
    int64_t pid;      // -1: not known, or of another pid namespace
    bool may_command; // it is root, our own user, or of the group
};
struct endpoint_peer endpoint_get_peer(int fd, gid_t gid);
