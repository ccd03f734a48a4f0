// SPDX-License-Identifier: PostgreSQL
#include "secret_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "util/fd.h"

char *secret_file_read(const char *path, const char **ret_why) {
    struct stat st;
    char *text = NULL;
    size_t len = 0;
    // Anything but a file could keep us waiting, and the loop with us.
    if (stat(path, &st) < 0) {
        *ret_why = strerror(errno);
        return NULL;
    }
    if (!S_ISREG(st.st_mode)) {
        *ret_why = "not a regular file";
        return NULL;
    }
    int r = fd_read_file(path, SECRET_FILE_MAX, &text, &len);
    if (r < 0) {
        *ret_why = strerror(-r);
        return NULL;
    }
    size_t line = strcspn(text, "\r\n");
    if (line > 0 && (line < strlen(text) || line == len)) {
        explicit_bzero(text + line, len - line);
        return text;
    }
    *ret_why = line == 0 ? "the first line is empty" : "the first line holds a NUL byte";
    explicit_bzero(text, len);
    free(text);
    return NULL;
}

void secret_file_forget(char *secret) {
    if (secret) {
        explicit_bzero(secret, strlen(secret));
        free(secret);
    }
}
