// SPDX-License-Identifier: PostgreSQL
#include "../../src/daemon/endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/check.h"
#include "util/cleanup.h"
#include "util/fd.h"

#define OTHER_GID 54321

static char folder[] = "/tmp/pgvigil-endpoint-XXXXXX";
static char path[sizeof(folder) + 8], other[sizeof(folder) + 8];

struct world {
    struct endpoint_socket socket;
    struct strbuf why;
    int fd;
};

static void world_init(struct world *world) {
    *world = (struct world){.fd = -1};
    (void)strcpy(folder + strlen(folder) - 6, "XXXXXX");
    CHECK_NOT_NULL(mkdtemp(folder));
    (void)snprintf(path, sizeof(path), "%s/s", folder);
    (void)snprintf(other, sizeof(other), "%s/other", folder);
    CHECK_EQ(endpoint_listen_unix(path, NULL, &world->fd, &world->socket, &world->why), 0);
}

static void world_deinit(struct world *world) {
    endpoint_socket_remove(&world->socket);
    strbuf_deinit(&world->why);
    (void)fd_close(world->fd);
    (void)unlink(path);
    (void)unlink(other);
    (void)rmdir(folder);
}

static struct stat stat_of(const char *name) {
    struct stat st;
    CHECK_EQ(lstat(name, &st), 0);
    return st;
}

static void make_file(const char *name) {
    CLEANUP(fd_closep) int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    CHECK_GE(fd, 0);
}

static void it_is_made_as_it_should_be(void) {
    CLEANUP(world_deinit) struct world world;
    mode_t before = umask(0077);
    world_init(&world);
    (void)umask(before);
    struct stat st = stat_of(path);
    CHECK(S_ISSOCK(st.st_mode));
    CHECK_EQ(st.st_mode & 07777u, 0660u);
    CHECK_EQ(st.st_gid, world.socket.gid);
    CHECK(endpoint_socket_is_there(&world.socket));
    gid_t gid = geteuid() == 0 ? OTHER_GID : getegid();
    CHECK_EQ(endpoint_socket_set_gid(&world.socket, gid, &world.why), 0);
    CHECK_EQ(stat_of(path).st_gid, gid);
    CHECK_EQ(world.socket.gid, gid);
    CHECK_EQ(endpoint_socket_set_group(&world.socket, NULL, &world.why), 0);
    CHECK_EQ(stat_of(path).st_gid, getegid());
    endpoint_socket_remove(&world.socket);
    CHECK_EQ(access(path, F_OK), -1);
}

// Whatever has come to be at its path is left alone.
static void what_took_its_place_is_not_touched(void) {
    static const char *const kinds[] = {"nothing", "a link", "a file", "another socket"};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        CLEANUP(world_deinit) struct world world;
        CLEANUP(fd_closep) int fd = -1;
        struct endpoint_socket another = {0};
        check_context("%s in its place", kinds[i]);
        world_init(&world);
        make_file(other);
        CHECK_EQ(unlink(path), 0);
        if (i == 1) {
            CHECK_EQ(symlink(other, path), 0);
        } else if (i == 2) {
            make_file(path);
        } else if (i == 3) {
            CHECK_EQ(endpoint_listen_unix(path, NULL, &fd, &another, &world.why), 0);
        }
        gid_t gid = geteuid() == 0 ? OTHER_GID : getegid(), held = world.socket.gid;
        struct stat before = stat_of(i == 0 ? other : path), target = stat_of(other);
        CHECK(!endpoint_socket_is_there(&world.socket));
        CHECK_EQ(endpoint_socket_set_gid(&world.socket, gid, &world.why), i == 0 ? -ENOENT : -ESTALE);
        CHECK(world.why.len > 0);
        CHECK_EQ(world.socket.gid, held);
        endpoint_socket_remove(&world.socket);
        struct stat after = stat_of(i == 0 ? other : path);
        CHECK_EQ(after.st_ino, before.st_ino);
        CHECK_EQ(after.st_gid, before.st_gid);
        CHECK_EQ(stat_of(other).st_gid, target.st_gid);
        endpoint_socket_remove(&another);
    }
}

CHECK_MAIN({"it_is_made_as_it_should_be", it_is_made_as_it_should_be},
           {"what_took_its_place_is_not_touched", what_took_its_place_is_not_touched})
