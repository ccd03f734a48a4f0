// SPDX-License-Identifier: PostgreSQL
#include "process.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "util/cleanup.h"
#include "util/fd.h"

#define PROCESS_STATM_MAX 4096 // bytes

static int64_t process_cpu_usec(void) {
    struct timespec ts;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts) < 0) {
        return -1;
    }
    return (int64_t)ts.tv_sec * (int64_t)USEC_PER_SEC + ts.tv_nsec / 1000;
}

static void process_read_memory(struct view_process *ret) {
    CLEANUP(freep) char *text = NULL;
    size_t len;
    int64_t n_virtual, n_resident;
    long page = sysconf(_SC_PAGESIZE);
    if (page > 0 && fd_read_file("/proc/self/statm", PROCESS_STATM_MAX, &text, &len) == 0 &&
        sscanf(text, "%" SCNd64 " %" SCNd64, &n_virtual, &n_resident) == 2) {
        ret->virtual_bytes = n_virtual * page;
        ret->resident_bytes = n_resident * page;
    }
}

static int64_t process_n_fds(void) {
    DIR *dir = opendir("/proc/self/fd");
    int64_t n = 0;
    if (!dir) {
        return -1;
    }
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        n += entry->d_name[0] != '.';
    }
    (void)closedir(dir);
    return n - 1; // without the one that reads them
}

void process_read(struct view_process *ret) {
    struct rlimit limit;
    *ret = (struct view_process){.cpu_usec = process_cpu_usec(),
                                 .resident_bytes = -1,
                                 .virtual_bytes = -1,
                                 .open_fds = process_n_fds(),
                                 .max_fds = -1};
    process_read_memory(ret);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        ret->max_fds = (int64_t)limit.rlim_cur;
    }
}
