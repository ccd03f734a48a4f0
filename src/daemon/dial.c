// SPDX-License-Identifier: PostgreSQL
#include "dial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "secret_file.h"

enum dial_state {
    DIAL_IDLE,
    DIAL_WAITING,   // for a place in the gate; without a deadline: each holder's connect has one. Then RESOLVING
    DIAL_RESOLVING, // for the names, at most until resolve_by. Then HOLDING
    DIAL_HOLDING,   // answered, until dial_release()
};

struct dial_host {
    struct dial *dial;
    size_t index; // in the conninfo
    struct resolver_query *query;
    bool answered;
};

struct dial {
    struct target_context *context;
    const struct target_config *config;
    struct conninfo *conninfo;
    dial_fn fn;
    void *userdata;
    enum dial_state state;
    struct dial *next_waiting;
    struct loop_timer *timer;
    usec_t deadline;
    struct dial_host *hosts;
    size_t n_hosts;
    size_t n_pending;
    size_t n_usable; // hosts that an address is known of
    enum outage_stage stage;
    struct pg_error error;
};

static void dial_forget_hosts(struct dial *dial) {
    for (size_t i = 0; i < dial->n_hosts; i++) {
        dial->hosts[i].query = resolver_query_free(dial->hosts[i].query);
    }
    free(dial->hosts);
    dial->hosts = NULL;
    dial->n_hosts = 0;
    dial->n_pending = 0;
}

static void dial_fail(struct dial *dial, enum outage_stage stage, enum pg_error_kind kind, const char *message) {
    dial->stage = stage;
    pg_error_set(&dial->error, kind, "", message);
}

static void dial_fail_password(struct dial *dial, const char *why) {
    char text[sizeof(dial->error.message)];
    // The file's name may be longer than the message: what is wrong with it comes first.
    (void)snprintf(text, sizeof(text), "%s: password_file '%s'", why, dial->config->password_file);
    dial_fail(dial, OUTAGE_PASSWORD_FILE, PG_ERROR_AUTH, text);
}

static void dial_read_password(struct dial *dial) {
    const char *why;
    char *password = secret_file_read(dial->config->password_file, &why);
    if (!password) {
        dial_fail_password(dial, why);
    } else if (conninfo_set(dial->conninfo, "password", password) < 0) {
        dial_fail(dial, OUTAGE_CONNECT, PG_ERROR_OTHER, "out of memory");
    }
    secret_file_forget(password);
}

static void dial_on_address(void *userdata, const struct resolver_answer *answer, usec_t now) {
    struct dial_host *host = userdata;
    struct dial *dial = host->dial;
    if (host->answered) {
        return;
    }
    host->answered = true;
    dial->n_pending--;
    if (answer->n_addresses > 0) {
        if (conninfo_set_addresses(dial->conninfo, host->index, answer->addresses, answer->n_addresses) < 0) {
            dial_fail(dial, OUTAGE_CONNECT, PG_ERROR_OTHER, "out of memory");
        } else {
            dial->n_usable++;
        }
    } else if (dial->error.kind == PG_ERROR_NONE) {
        char text[sizeof(dial->error.message)];
        (void)snprintf(text, sizeof(text), "cannot resolve '%s': %s", conninfo_host(dial->conninfo, host->index).shown,
                       answer->error);
        dial_fail(dial, OUTAGE_CONNECT, PG_ERROR_UNREACHABLE, text);
    }
    if (dial->n_pending == 0) {
        // Not from here: the query that is calling is freed with the others.
        loop_timer_set(dial->timer, now);
    }
}

static int dial_resolve(struct dial *dial, usec_t now) {
    dial->n_hosts = conninfo_n_hosts(dial->conninfo);
    dial->hosts = calloc(dial->n_hosts > 0 ? dial->n_hosts : 1, sizeof(*dial->hosts));
    if (!dial->hosts) {
        dial->n_hosts = 0;
        return -ENOMEM;
    }
    dial->n_usable = dial->n_hosts == 0 ? 1 : 0; // none written: libpq's own default, a socket
    // With several hosts, one whose name server is silent must leave the others time to be connected to.
    usec_t resolve_by = dial->n_hosts > 1 ? now + (dial->deadline - now) / 2 : dial->deadline;
    for (size_t i = 0; i < dial->n_hosts; i++) {
        struct dial_host *host = &dial->hosts[i];
        *host = (struct dial_host){.dial = dial, .index = i};
        const char *name = conninfo_host(dial->conninfo, i).name;
        if (!name) {
            dial->n_usable++;
            continue;
        }
        // What an earlier connect resolved may be outdated.
        int r = conninfo_set_addresses(dial->conninfo, i, NULL, 0);
        if (r < 0) {
            return r;
        }
        host->query = resolver_query_new(dial->context->resolver, name, resolve_by, dial_on_address, host);
        if (!host->query) {
            return -ENOMEM;
        }
        dial->n_pending++;
    }
    return 0;
}

// Past the gate.
static void dial_enter_resolving(struct dial *dial, usec_t now) {
    dial->state = DIAL_RESOLVING;
    dial->deadline = usec_add(now, dial->config->connect_timeout);
    dial->n_usable = 0;
    dial->error = (struct pg_error){.kind = PG_ERROR_NONE};
    if (dial->config->password_file) {
        dial_read_password(dial);
    }
    if (dial->error.kind == PG_ERROR_NONE && dial_resolve(dial, now) < 0) {
        dial_forget_hosts(dial);
        dial_fail(dial, OUTAGE_CONNECT, PG_ERROR_OTHER, "out of memory");
    }
    if (dial->n_pending == 0) {
        loop_timer_set(dial->timer, now);
    }
}

static void dial_answer(struct dial *dial, usec_t now) {
    dial_forget_hosts(dial);
    dial->state = DIAL_HOLDING;
    bool is_ready = dial->n_usable > 0; // one host of several is enough
    struct pg_error error = dial->error;
    dial->fn(dial->userdata, is_ready ? NULL : &error, dial->stage, dial->deadline, now);
}

static void dial_on_timer(void *userdata, usec_t now) {
    struct dial *dial = userdata;
    switch (dial->state) {
    case DIAL_IDLE:
    case DIAL_HOLDING:
        break;
    case DIAL_WAITING:
        dial_enter_resolving(dial, now);
        break;
    case DIAL_RESOLVING:
        dial_answer(dial, now);
        break;
    }
}

struct dial *dial_new(struct target_context *context, const struct target_config *config, struct conninfo *conninfo,
                      dial_fn fn, void *userdata) {
    struct dial *dial = calloc(1, sizeof(*dial));
    if (!dial) {
        return NULL;
    }
    *dial = (struct dial){
        .context = context,
        .config = config,
        .conninfo = conninfo,
        .fn = fn,
        .userdata = userdata,
    };
    dial->timer = loop_timer_new(context->loop, dial_on_timer, dial);
    if (!dial->timer) {
        return dial_free(dial);
    }
    return dial;
}

struct dial *dial_free(struct dial *dial) {
    if (dial) {
        dial_release(dial, loop_now(dial->context->loop));
        (void)loop_timer_free(dial->timer);
        free(dial);
    }
    return NULL;
}

void dial_configure(struct dial *dial, const struct target_config *config, struct conninfo *conninfo) {
    dial->config = config;
    dial->conninfo = conninfo;
}

// Takes the place in the gate now; what follows happens on the loop.
static void dial_enter_gate(struct dial *dial, usec_t now) {
    dial->context->n_connecting++;
    loop_timer_set(dial->timer, now);
}

void dial_start(struct dial *dial, usec_t now) {
    dial_release(dial, now);
    dial->state = DIAL_WAITING;
    if (dial->context->n_connecting < TARGET_MAX_CONNECTING) {
        dial_enter_gate(dial, now);
        return;
    }
    struct dial **at = &dial->context->waiting;
    while (*at) {
        at = &(*at)->next_waiting;
    }
    *at = dial;
}

usec_t dial_deadline(const struct dial *dial) {
    usec_t at = loop_timer_at(dial->timer);
    return dial->state == DIAL_RESOLVING ? MIN(at, dial->deadline) : at;
}

bool dial_is_queued(const struct dial *dial) {
    return dial->state == DIAL_WAITING && loop_timer_at(dial->timer) == USEC_INFINITY;
}

// False: it did not wait in the queue.
static bool dial_leave_queue(struct dial *dial) {
    for (struct dial **at = &dial->context->waiting; *at; at = &(*at)->next_waiting) {
        if (*at == dial) {
            *at = dial->next_waiting;
            dial->next_waiting = NULL;
            return true;
        }
    }
    return false;
}

void dial_release(struct dial *dial, usec_t now) {
    if (dial->state == DIAL_IDLE) {
        return;
    }
    bool was_inside = !dial_leave_queue(dial);
    dial->state = DIAL_IDLE;
    dial_forget_hosts(dial);
    if (dial->timer) {
        loop_timer_set(dial->timer, USEC_INFINITY);
    }
    if (!was_inside) {
        return;
    }
    dial->context->n_connecting--;
    struct dial *next = dial->context->waiting;
    if (next) {
        (void)dial_leave_queue(next);
        dial_enter_gate(next, now);
    }
}
