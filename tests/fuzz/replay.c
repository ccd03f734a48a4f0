// SPDX-License-Identifier: PostgreSQL

// Runs a fuzz target over the files of a corpus, without libFuzzer: each finding that was mended stays mended.
//
//   replay_NAME DIRECTORY|FILE...

#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"
#include "util/fd.h"
#include "util/strbuf.h"

#define REPLAY_MAX_FILE ((size_t)16 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned replay_n_passed, replay_n_failed;

static void replay_file(const char *path) {
    CLEANUP(freep) char *text = NULL;
    size_t len = 0;
    int r = fd_read_file(path, REPLAY_MAX_FILE, &text, &len);
    if (r < 0) {
        (void)printf("FAIL %s: %s\n", path, strerror(-r));
        replay_n_failed++;
        return;
    }
    // A copy of just that length, so that a sanitizer sees the first byte that is read too far.
    CLEANUP(freep) uint8_t *copy = malloc(len > 0 ? len : 1);
    if (!copy) {
        replay_n_failed++;
        return;
    }
    memcpy(copy, text, len);
    (void)LLVMFuzzerTestOneInput(copy, len); // aborts at a finding
    (void)printf("ok %s\n", path);
    replay_n_passed++;
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        const struct dirent *entry;
        if (!dir) {
            replay_file(argv[i]);
            continue;
        }
        while ((entry = readdir(dir))) {
            CLEANUP(strbuf_deinit) struct strbuf path = STRBUF_EMPTY;
            strbuf_addf(&path, "%s/%s", argv[i], entry->d_name);
            if (entry->d_name[0] != '.') {
                replay_file(strbuf_str(&path));
            }
        }
        (void)closedir(dir);
    }
    (void)printf("%u passed, %u failed, 0 skipped\n", replay_n_passed, replay_n_failed);
    return replay_n_failed > 0 || replay_n_passed == 0;
}
