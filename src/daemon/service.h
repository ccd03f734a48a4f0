// SPDX-License-Identifier: PostgreSQL
#pragma once

// What the targets of a daemon are to the service manager: ready, alive, and one line.

#include <stdbool.h>

#include "daemon/loop.h"
#include "daemon/sinks.h"
#include "daemon/target.h"
#include "pause.h"
#include "util/cleanup.h"

struct service;

struct service *service_new(struct loop *loop, struct sinks *sinks); // NULL: out of memory
struct service *service_free(struct service *service);               // NULL-safe, returns NULL; before the sinks
DEFINE_CLEANUP(struct service *, service_free)

// Whom it watches from now on; borrowed until the next call. `observing`: the master switch is off.
void service_set_targets(struct service *service, struct target *const *targets, size_t n_targets, bool observing);
void service_set_pauses(struct service *service, const struct pauses *pauses); // borrowed; NULL: none
void service_start(struct service *service, usec_t now);
// A target has news.
void service_check(struct service *service, usec_t now);
// Around a reload. `refused`: nothing has changed.
void service_reloading(struct service *service, usec_t now);
void service_reloaded(struct service *service, bool refused, usec_t now);
void service_stopping(struct service *service);
