// SPDX-License-Identifier: PostgreSQL
//
// The text format 0.0.4 and OpenMetrics 1.0 differ in little: OpenMetrics names a counter without _total and an info
// without _info in its comments, knows units, and ends in # EOF. Bounds of buckets are written alike in both ("1.0",
// not "1"), so that a series stays the same when another format is negotiated.
#include "output/metrics.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "metrics_collect.h"
#include "util/macro.h"
#include "util/strbuf.h"

static const char *const metrics_type_names[] = {
    [METRICS_GAUGE] = "gauge",
    [METRICS_COUNTER] = "counter",
    [METRICS_HISTOGRAM] = "histogram",
    [METRICS_INFO] = "info",
};

const char *metrics_name(size_t i) {
    return i < metrics_n_families ? metrics_families[i].name : NULL;
}

const char *metrics_content_type(enum metrics_format format) {
    switch (format) {
    case METRICS_PROMETHEUS:
        break;
    case METRICS_OPENMETRICS:
        return "application/openmetrics-text; version=1.0.0; charset=utf-8";
    }
    return "text/plain; version=0.0.4; charset=utf-8";
}

// ---- Accept

#define METRICS_Q_ONE 1000 // q=1

// "q=0.5" in thousandths; broken ones count as not wanted.
static unsigned metrics_parse_q(const char *text, size_t len) {
    unsigned q = 0, scale = METRICS_Q_ONE;
    if (len == 0 || (text[0] != '0' && text[0] != '1')) {
        return 0;
    }
    q = text[0] == '1' ? METRICS_Q_ONE : 0;
    for (size_t i = 2; i < len && i < 5 && text[1] == '.' && text[i] >= '0' && text[i] <= '9'; i++) {
        scale /= 10;
        q += (unsigned)(text[i] - '0') * scale;
    }
    return MIN(q, (unsigned)METRICS_Q_ONE);
}

// One piece up to `end`, without the blanks around it.
static const char *metrics_trim(const char *s, const char *end, size_t *ret_len) {
    while (s < end && (*s == ' ' || *s == '\t')) {
        s++;
    }
    while (end > s && (end[-1] == ' ' || end[-1] == '\t')) {
        end--;
    }
    *ret_len = (size_t)(end - s);
    return s;
}

static bool metrics_is_word(const char *s, size_t len, const char *word) {
    return len == strlen(word) && strncasecmp(s, word, len) == 0;
}

// One media range and its parameters, up to `end`.
static void metrics_weigh(const char *s, const char *end, unsigned *q_open, unsigned *q_text) {
    unsigned q = METRICS_Q_ONE;
    bool version_known = true;
    const char *next = memchr(s, ';', (size_t)(end - s));
    size_t len;
    const char *type = metrics_trim(s, next ? next : end, &len);
    while (next) {
        const char *start = next + 1;
        size_t n;
        next = memchr(start, ';', (size_t)(end - start));
        const char *parameter = metrics_trim(start, next ? next : end, &n);
        if (n > 2 && strncasecmp(parameter, "q=", 2) == 0) {
            q = metrics_parse_q(parameter + 2, n - 2);
        } else if (n > 8 && strncasecmp(parameter, "version=", 8) == 0) {
            version_known = metrics_is_word(parameter + 8, n - 8, "1.0.0");
        }
    }
    if (metrics_is_word(type, len, "application/openmetrics-text") && version_known) {
        *q_open = MAX(*q_open, q);
    } else if (metrics_is_word(type, len, "text/plain") || metrics_is_word(type, len, "text/*") ||
               metrics_is_word(type, len, "*/*")) {
        *q_text = MAX(*q_text, q);
    }
}

enum metrics_format metrics_choose(const char *accept) {
    unsigned q_open = 0, q_text = 0;
    for (const char *s = accept; s && *s != '\0';) {
        const char *end = strchrnul(s, ',');
        metrics_weigh(s, end, &q_open, &q_text);
        s = *end == ',' ? end + 1 : end;
    }
    return q_open > 0 && q_open >= q_text ? METRICS_OPENMETRICS : METRICS_PROMETHEUS;
}

// ---- numbers

// Millionths as a decimal number without needless zeros, "0.25"; with at least one digit behind the point if `whole`.
static void metrics_add_micros(struct strbuf *sb, int64_t micros, bool whole) {
    uint64_t n = micros < 0 ? 0 : (uint64_t)micros;
    char digits[8];
    strbuf_addf(sb, "%" PRIu64, n / USEC_PER_SEC);
    unsigned fraction = (unsigned)(n % USEC_PER_SEC);
    if (fraction == 0) {
        strbuf_add(sb, whole ? ".0" : "");
        return;
    }
    size_t len = 6;
    for (size_t i = len; i > 0; i--) {
        digits[i - 1] = (char)('0' + fraction % 10);
        fraction /= 10;
    }
    while (digits[len - 1] == '0') {
        len--;
    }
    strbuf_add_char(sb, '.');
    strbuf_add_bytes(sb, digits, len);
}

static bool metrics_is_micros(const struct metrics_family *family) {
    return family->unit && strcmp(family->unit, "bytes") != 0;
}

static void metrics_add_number(struct strbuf *sb, const struct metrics_family *family, int64_t value) {
    if (metrics_is_micros(family)) {
        metrics_add_micros(sb, value, false);
    } else {
        strbuf_addf(sb, "%" PRId64, value);
    }
}

// ---- families

// The name as OpenMetrics' comments have it.
static size_t metrics_base_len(const struct metrics_family *family) {
    size_t len = strlen(family->name);
    if (family->type == METRICS_COUNTER) {
        len -= strlen("_total");
    } else if (family->type == METRICS_INFO) {
        len -= strlen("_info");
    }
    return len;
}

static void metrics_add_comment(struct strbuf *sb, const char *what, const char *name, size_t len, const char *text) {
    strbuf_addf(sb, "# %s ", what);
    strbuf_add_bytes(sb, name, len);
    strbuf_addf(sb, " %s\n", text);
}

static void metrics_add_head(struct strbuf *sb, const struct metrics_family *family, enum metrics_format format) {
    bool is_open = format == METRICS_OPENMETRICS;
    size_t len = is_open ? metrics_base_len(family) : strlen(family->name);
    const char *type = metrics_type_names[!is_open && family->type == METRICS_INFO ? METRICS_GAUGE : family->type];
    metrics_add_comment(sb, "HELP", family->name, len, family->help);
    metrics_add_comment(sb, "TYPE", family->name, len, type);
    if (is_open && family->unit) {
        metrics_add_comment(sb, "UNIT", family->name, len, family->unit);
    }
}

static int metrics_add_samples(struct strbuf *sb, const struct metrics_family *family, struct sample_set *set) {
    int r = sample_set_finish(set, family->merge);
    for (size_t i = 0; r == 0 && i < set->n_items; i++) {
        const struct sample *sample = &set->items[i];
        strbuf_add(sb, family->name);
        if (sample->len > 0) {
            strbuf_add_char(sb, '{');
            strbuf_add_bytes(sb, set->text.data + sample->at, sample->len);
            strbuf_add_char(sb, '}');
        }
        strbuf_add_char(sb, ' ');
        metrics_add_number(sb, family, sample->value);
        strbuf_add_char(sb, '\n');
    }
    return r;
}

static void metrics_add_buckets(struct strbuf *sb, const struct metrics_family *family, const char *target,
                                const struct histogram *histogram) {
    const struct sample_label label = {"target", target};
    CLEANUP(strbuf_deinit) struct strbuf labels = STRBUF_EMPTY;
    uint64_t n = 0;
    sample_add_labels(&labels, &label, 1);
    sb->failed |= labels.failed;
    for (size_t i = 0; i <= HISTOGRAM_N_BOUNDS; i++) {
        n += histogram->counts[i];
        strbuf_addf(sb, "%s_bucket{%s,le=\"", family->name, strbuf_str(&labels));
        if (i < HISTOGRAM_N_BOUNDS) {
            metrics_add_micros(sb, (int64_t)histogram->bounds->at[i], true);
        } else {
            strbuf_add(sb, "+Inf");
        }
        strbuf_addf(sb, "\"} %" PRIu64 "\n", n);
    }
    strbuf_addf(sb, "%s_sum{%s} ", family->name, strbuf_str(&labels));
    metrics_add_micros(sb, (int64_t)histogram->sum, false);
    strbuf_addf(sb, "\n%s_count{%s} %" PRIu64 "\n", family->name, strbuf_str(&labels), n);
}

int metrics_render(const struct view *view, enum metrics_format format, struct strbuf *sb) {
    CLEANUP(sample_set_deinit) struct sample_set set = {0};
    int r = 0;
    for (size_t i = 0; r == 0 && i < metrics_n_families; i++) {
        const struct metrics_family *family = &metrics_families[i];
        const struct histogram *histogram;
        const char *target;
        metrics_add_head(sb, family, format);
        if (family->collect) {
            sample_set_clear(&set);
            family->collect(view, &set);
            r = metrics_add_samples(sb, family, &set);
        }
        for (size_t j = 0; family->histogram && family->histogram(view, j, &target, &histogram); j++) {
            metrics_add_buckets(sb, family, target, histogram);
        }
    }
    if (format == METRICS_OPENMETRICS) {
        strbuf_add(sb, "# EOF\n");
    }
    return r < 0 ? r : strbuf_error(sb);
}
