// SPDX-License-Identifier: PostgreSQL
//
// Prints the metrics of a sample view with names that no client should use, for tools that judge the format:
//
//   print_metrics [openmetrics]

#include <stdio.h>
#include <stdlib.h>

#include "output/metrics.h"
#include "sample_view.h"
#include "util/strbuf.h"

static void fill(struct sample_view *sample) {
    struct event event = event_make(EVENT_OUTCOME, EVENT_NOTICE, "db");
    event.rule = "idle";
    event.app = "\"a\\x01\\\\\"";
    event.has_action = true;
    event.outcome = OUTCOME_GONE;
    event.took = 30 * USEC_PER_MSEC;
    tally_count(sample->tally, &event);
    tally_expect(sample->tally, "db", "idle", ACTION_TERMINATE);
    tally_expect(sample->tally, "db", "worker", ACTION_LOG);
    tally_count_notification(sample->tally, "oncall", "sent", 4);
    sample_view_group(sample, "\"\\\"} 1\"", false, "\"} 1\npgvigil_up{x=\"\\", SESSION_STATE_IDLE, 7, USEC_PER_SEC);
    sample_view_group(sample, "\"\"", false, "\xff\xfe\x01\r\v\x1b[2J", SESSION_STATE_NONE, 7, 0);
    sample_view_group(sample, "\"\"", false, "\xfe\xff\x01\r\v\x1b[2J", SESSION_STATE_NONE, 8, 0);
    sample_view_group(sample, "# HELP x y", true, " leading", SESSION_STATE_IDLE_IN_TRANSACTION_ABORTED, 9, 0);
}

int main(int argc, char **argv) {
    bool is_open = argc > 1 && strcmp(argv[1], "openmetrics") == 0;
    CLEANUP(sample_view_deinit) struct sample_view sample;
    CLEANUP(strbuf_deinit) struct strbuf sb = STRBUF_EMPTY;
    sample_view_init(&sample);
    fill(&sample);
    if (metrics_render(&sample.view, is_open ? METRICS_OPENMETRICS : METRICS_PROMETHEUS, &sb) < 0) {
        return EXIT_FAILURE;
    }
    return fwrite(sb.data, 1, sb.len, stdout) == sb.len ? EXIT_SUCCESS : EXIT_FAILURE;
}
