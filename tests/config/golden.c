// SPDX-License-Identifier: PostgreSQL

// Golden files: each case's diagnostics, and what config_print() makes of it, byte for byte.
//
//   golden DIRECTORY [--write]
//
// bad/NAME.yaml must be refused, good/NAME.yaml must load, merge/NAME/pgvigil.yaml with its conf.d may do either. The
// expected output stands in NAME.expected beside it; --write makes it anew, to be read before it is kept.
// Whatever loads is printed, loaded and printed again until nothing changes. No output may hold SECRET.

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/config.h"
#include "util/fd.h"
#include "util/strbuf.h"

#define GOLDEN_MAX_FILE ((size_t)4 << 20)
#define GOLDEN_MAX_CASES 500
#define SECRET "hunter2"

static const struct {
    const char *name;
    const char *value;
} golden_variables[] = {
    {"DB_USER", "pgvigil"}, {"EMPTY", ""},   {"CONNINFO", "host=db password=" SECRET},
    {"PASSWORD", SECRET},   {"YES", "true"}, {"INJECT", "x\nenforce: true\n# {a: [b"},
    {"BROKEN", "\xff\xfe"},
};

static const char *golden_lookup(const char *name, void *userdata) {
    (void)userdata;
    for (size_t i = 0; i < ARRAY_SIZE(golden_variables); i++) {
        if (strcmp(name, golden_variables[i].name) == 0) {
            return golden_variables[i].value;
        }
    }
    return NULL;
}

static void golden_die(const char *what) {
    (void)fprintf(stderr, "golden: %s: %s\n", what, strerror(errno));
    exit(1);
}

// Loads `text` and prints it. `out` is the diagnostics when it does not load.
static int golden_print(const char *text, size_t len, struct strbuf *out) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    struct config *config = NULL;
    int r = config_load_buffer("printed.yaml", text, len, golden_lookup, NULL, &diags, &config);
    if (r == 0) {
        r = config_print(config, out);
    }
    config_free(config);
    if (r < 0) {
        diag_list_render(&diags, out);
    }
    return r;
}

// NULL, or what is wrong with printing and loading again.
static const char *golden_check_fixed_point(const struct config *config) {
    CLEANUP(strbuf_deinit) struct strbuf first = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf second = STRBUF_EMPTY;
    CLEANUP(strbuf_deinit) struct strbuf third = STRBUF_EMPTY;
    if (config_print(config, &first) < 0 || golden_print(first.data, first.len, &second) < 0 ||
        golden_print(second.data, second.len, &third) < 0) {
        (void)printf("%s%s%s", strbuf_str(&first), strbuf_str(&second), strbuf_str(&third));
        return "what was printed does not load";
    }
    if (strcmp(second.data, third.data) != 0) {
        (void)printf("%s%s", second.data, third.data);
        return "printing is not a fixed point";
    }
    return NULL;
}

static const char *golden_compare(const char *expected_path, const struct strbuf *out, bool write) {
    if (write) {
        FILE *f = fopen(expected_path, "we");
        if (!f || fwrite(strbuf_str(out), 1, out->len, f) != out->len || fclose(f) != 0) {
            golden_die(expected_path);
        }
        return NULL;
    }
    CLEANUP(freep) char *expected = NULL;
    size_t len = 0;
    if (fd_read_file(expected_path, GOLDEN_MAX_FILE, &expected, &len) < 0) {
        (void)printf("--- got\n%s", strbuf_str(out));
        return "no .expected file";
    }
    if (len != out->len || memcmp(expected, strbuf_str(out), len) != 0) {
        (void)printf("--- expected\n%s--- got\n%s", expected, strbuf_str(out));
        return "other output than expected";
    }
    return NULL;
}

// NULL, or what is wrong.
static const char *golden_run(const char *path, const char *expected_path, const char *kind, bool write) {
    CLEANUP(diag_list_deinit) struct diag_list diags = {0};
    CLEANUP(strbuf_deinit) struct strbuf out = STRBUF_EMPTY;
    struct config *config = NULL;
    struct config_source source = {.file = path, .with_conf_d = strcmp(kind, "merge") == 0, .lookup = golden_lookup};
    int r = config_load(&source, &diags, &config);
    diag_list_render(&diags, &out);
    const char *wrong = NULL;
    if (r == 0) {
        wrong = config_print(config, &out) < 0 ? "out of memory" : golden_check_fixed_point(config);
    }
    config_free(config);
    if (wrong) {
        return wrong;
    }
    if (strstr(strbuf_str(&out), SECRET)) {
        (void)printf("%s", strbuf_str(&out));
        return "a secret in the output";
    }
    if ((strcmp(kind, "bad") == 0 && r != -EINVAL) || (strcmp(kind, "good") == 0 && r != 0)) {
        (void)printf("%s", strbuf_str(&out));
        return r == 0 ? "loaded, but is bad" : "refused, but is good";
    }
    return golden_compare(expected_path, &out, write);
}

static int golden_compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

// Runs all cases of one kind; returns how many failed.
static unsigned golden_run_kind(const char *kind, bool write, unsigned *n_passed) {
    CLEANUP(freep) char **names = calloc(GOLDEN_MAX_CASES, sizeof(*names));
    size_t n = 0;
    DIR *dir = opendir(kind);
    if (!dir || !names) {
        golden_die(kind);
    }
    const struct dirent *entry;
    while ((entry = readdir(dir)) && n < GOLDEN_MAX_CASES) {
        size_t len = strlen(entry->d_name);
        bool is_dir = strcmp(kind, "merge") == 0;
        bool is_yaml = len > 5 && strcmp(entry->d_name + len - 5, ".yaml") == 0;
        bool is_expected = len > 9 && strcmp(entry->d_name + len - 9, ".expected") == 0;
        if (entry->d_name[0] != '.' && (is_dir ? !is_expected : is_yaml)) {
            names[n] = strndup(entry->d_name, is_dir ? len : len - 5);
            if (!names[n++]) {
                golden_die(kind);
            }
        }
    }
    (void)closedir(dir);
    qsort(names, n, sizeof(*names), golden_compare_names);
    unsigned n_failed = 0;
    for (size_t i = 0; i < n; i++) {
        CLEANUP(strbuf_deinit) struct strbuf path = STRBUF_EMPTY;
        CLEANUP(strbuf_deinit) struct strbuf expected = STRBUF_EMPTY;
        strbuf_addf(&path, "%s/%s%s", kind, names[i], strcmp(kind, "merge") == 0 ? "/pgvigil.yaml" : ".yaml");
        strbuf_addf(&expected, "%s/%s.expected", kind, names[i]);
        const char *wrong = golden_run(strbuf_str(&path), strbuf_str(&expected), kind, write);
        (void)printf("%s %s/%s%s%s\n", wrong ? "FAIL" : "ok", kind, names[i], wrong ? ": " : "", wrong ? wrong : "");
        n_failed += wrong != NULL;
        *n_passed += wrong == NULL;
        free(names[i]);
    }
    return n_failed;
}

int main(int argc, char **argv) {
    bool write = argc == 3 && strcmp(argv[2], "--write") == 0;
    if (argc != 2 && !write) {
        (void)fprintf(stderr, "usage: golden DIRECTORY [--write]\n");
        return 2;
    }
    // So that the paths in the messages are the same everywhere.
    if (chdir(argv[1]) < 0) {
        golden_die(argv[1]);
    }
    unsigned n_passed = 0, n_failed = 0;
    n_failed += golden_run_kind("good", write, &n_passed);
    n_failed += golden_run_kind("bad", write, &n_passed);
    n_failed += golden_run_kind("merge", write, &n_passed);
    (void)printf("%u passed, %u failed, 0 skipped\n", n_passed, n_failed);
    return n_failed > 0 ? 1 : 0;
}
