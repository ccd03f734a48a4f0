// SPDX-License-Identifier: PostgreSQL
#pragma once

// The command line: which command, its options, and its answer. Answers go to stdout, diagnostics to stderr.

// Returns the exit status: 0 done; 1 failed; 2 wrong usage; 78 invalid configuration.
int cli_main(int argc, char **argv);
