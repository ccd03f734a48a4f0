// SPDX-License-Identifier: PostgreSQL
#pragma once

// What the commands that talk to the running daemon share.

#include "client.h"
#include "commands.h"

// Where it is.
struct control_source {
    const char *file;
    const char *socket; // wins over the file
};
#define CONTROL_ROWS(type, member)                                                                                     \
    OPTION_ROW_FILE(type, member.file), {                                                                              \
        .name = "socket", .kind = OPTION_STRING, .offset = offsetof(type, member.socket), .argument = "PATH",          \
        .help = "control socket, instead of what the file names"                                                       \
    }

// EXIT_DONE with *ret (free it), or the exit status: told on stderr.
int control_find_socket(const struct control_source *source, char **ret) MUST_CHECK;
// One request. EXIT_DONE with *ret, whatever its status is, or the exit status: told on stderr.
int control_call(const struct control_source *source, const char *method, const char *target, usec_t timeout,
                 struct client_answer *ret) MUST_CHECK;
