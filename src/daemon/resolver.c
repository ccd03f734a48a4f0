// SPDX-License-Identifier: PostgreSQL
//
// A look-up is a thread in getaddrinfo(): it cannot be cancelled and ends when the resolver library gives up, long
// after whoever asked has. So look-ups and queries are kept apart. A query that is freed or times out leaves its
// look-up running, a later query for the same name joins it, and the number of look-ups is bounded: a dead name server
// costs one thread a name, however often a target tries again. Queries beyond the bound wait for a place, or their
// deadline.
//
// Not getaddrinfo_a(): its helper threads and those that notify cannot be joined, so a process that ends soon after a
// look-up leaks them in the eyes of every checker, and a notification whose thread cannot be started is lost.

#include "daemon/resolver.h"

#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <utlist.h>

#include "thread.h"
#include "util/fd.h"

#define RESOLVER_MAX_LOOKUPS 16
#define RESOLVER_MAX_ADDRESSES 16                                  // of one name; more are not tried
#define RESOLVER_ADDRESS_SIZE (INET6_ADDRSTRLEN + 1 + IF_NAMESIZE) // with a scope: "fe80::1%eth0"

enum lookup_state {
    LOOKUP_RUNNING,   // the thread's; then DONE or ABANDONED
    LOOKUP_DONE,      // the resolver's, which joins the thread and frees it
    LOOKUP_ABANDONED, // the resolver is gone: the thread frees it
};

struct lookup {
    struct lookup *prev, *next;
    pthread_t thread;
    _Atomic enum lookup_state state;
    int event_fd; // the resolver's; not to be touched when abandoned
    int error;    // of getaddrinfo()
    int system_error;
    char addresses[RESOLVER_MAX_ADDRESSES][RESOLVER_ADDRESS_SIZE];
    size_t n_addresses;
    char name[];
};

struct resolver {
    struct loop *loop;
    struct loop_io *io;
    int event_fd;
    bool is_armed;
    struct lookup *lookups;
    size_t n_lookups;
    struct resolver_query *queries; // not answered yet, in order of arrival
};

struct resolver_query {
    struct resolver_query *prev, *next;
    struct resolver *resolver;
    struct loop_timer *timer;
    struct lookup *lookup; // NULL: waits for a place, or `error` is set
    const char *error;     // no look-up could be started
    bool is_answered;
    void (*fn)(void *userdata, const struct resolver_answer *answer, usec_t now);
    void *userdata;
    char name[];
};

static void lookup_add_address(struct lookup *lookup, const struct addrinfo *info) {
    char *address = lookup->addresses[lookup->n_addresses];
    if ((info->ai_family != AF_INET && info->ai_family != AF_INET6) ||
        getnameinfo(info->ai_addr, info->ai_addrlen, address, RESOLVER_ADDRESS_SIZE, NULL, 0, NI_NUMERICHOST) != 0) {
        return;
    }
    for (size_t i = 0; i < lookup->n_addresses; i++) {
        if (strcmp(lookup->addresses[i], address) == 0) {
            return;
        }
    }
    lookup->n_addresses++;
}

static void *lookup_main(void *userdata) {
    struct lookup *lookup = userdata;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *infos = NULL;
    lookup->error = getaddrinfo(lookup->name, NULL, &hints, &infos);
    lookup->system_error = errno;
    if (lookup->error == 0) {
        for (struct addrinfo *info = infos; info && lookup->n_addresses < RESOLVER_MAX_ADDRESSES;
             info = info->ai_next) {
            lookup_add_address(lookup, info);
        }
        freeaddrinfo(infos);
    }
    if (atomic_exchange(&lookup->state, LOOKUP_DONE) == LOOKUP_ABANDONED) {
        free(lookup);
    } else {
        // Still ours to use: whoever sees DONE joins us before it frees anything.
        (void)eventfd_write(lookup->event_fd, 1);
    }
    return NULL;
}

static const char *lookup_error(const struct lookup *lookup) {
    if (lookup->n_addresses > 0) {
        return NULL;
    }
    if (lookup->error == 0) {
        return "no IPv4 or IPv6 address";
    }
    return lookup->error == EAI_SYSTEM ? strerror(lookup->system_error) : gai_strerror(lookup->error);
}

static int lookup_start(struct resolver *resolver, const char *name, struct lookup **ret) {
    size_t size = strlen(name) + 1;
    struct lookup *lookup = calloc(1, sizeof *lookup + size);
    if (!lookup) {
        return -ENOMEM;
    }
    memcpy(lookup->name, name, size);
    lookup->event_fd = resolver->event_fd;
    int r = thread_start(&lookup->thread, lookup_main, lookup);
    if (r < 0) {
        free(lookup);
        return r;
    }
    DL_APPEND(resolver->lookups, lookup);
    resolver->n_lookups++;
    *ret = lookup;
    return 0;
}

static void resolver_begin(struct resolver *resolver, struct resolver_query *query) {
    struct lookup *lookup;
    DL_FOREACH(resolver->lookups, lookup) {
        if (strcmp(lookup->name, query->name) == 0) {
            query->lookup = lookup;
            return;
        }
    }
    if (resolver->n_lookups >= RESOLVER_MAX_LOOKUPS) {
        return;
    }
    if (lookup_start(resolver, query->name, &query->lookup) < 0) {
        query->error = "cannot start a look-up: out of threads or memory";
        loop_timer_set(query->timer, 0);
    }
}

// fn may free its own query and others, and ask anew.
static void resolver_answer(struct resolver_query *query, const struct resolver_answer *answer, usec_t now) {
    DL_DELETE(query->resolver->queries, query);
    query->is_answered = true;
    query->lookup = NULL;
    loop_timer_set(query->timer, USEC_INFINITY);
    query->fn(query->userdata, answer, now);
}

static struct resolver_query *resolver_find_query(struct resolver *resolver, const struct lookup *lookup) {
    struct resolver_query *query;
    DL_FOREACH(resolver->queries, query) {
        if (query->lookup == lookup && !query->error) {
            return query;
        }
    }
    return NULL;
}

// Takes a finished look-up out, gives its place away, answers those who wait for it.
static void resolver_finish(struct resolver *resolver, struct lookup *lookup, usec_t now) {
    (void)pthread_join(lookup->thread, NULL);
    DL_DELETE(resolver->lookups, lookup);
    resolver->n_lookups--;
    struct resolver_query *query;
    while (resolver->n_lookups < RESOLVER_MAX_LOOKUPS && (query = resolver_find_query(resolver, NULL))) {
        resolver_begin(resolver, query);
    }
    const char *addresses[RESOLVER_MAX_ADDRESSES];
    for (size_t i = 0; i < lookup->n_addresses; i++) {
        addresses[i] = lookup->addresses[i];
    }
    const struct resolver_answer answer = {
        .addresses = addresses,
        .n_addresses = lookup->n_addresses,
        .error = lookup_error(lookup),
    };
    while ((query = resolver_find_query(resolver, lookup))) {
        resolver_answer(query, &answer, now);
    }
    free(lookup);
}

static void resolver_harvest(struct resolver *resolver, usec_t now) {
    for (struct lookup *lookup = resolver->lookups; lookup;) {
        if (atomic_load(&lookup->state) == LOOKUP_DONE) {
            resolver_finish(resolver, lookup, now);
            lookup = resolver->lookups; // the list may have changed in any way
        } else {
            lookup = lookup->next;
        }
    }
}

// May fail for lack of memory: then answers come when a query's deadline looks for them.
static void resolver_arm(struct resolver *resolver) {
    if (!resolver->is_armed) {
        resolver->is_armed = loop_io_arm(resolver->io, resolver->event_fd, LOOP_READ, USEC_INFINITY) == 0;
    }
}

static void resolver_io_dispatch(void *userdata, unsigned ready, usec_t now) {
    struct resolver *resolver = userdata;
    (void)ready;
    eventfd_t value;
    (void)eventfd_read(resolver->event_fd, &value);
    resolver->is_armed = false;
    resolver_arm(resolver);
    resolver_harvest(resolver, now);
}

static void resolver_query_dispatch(void *userdata, usec_t now) {
    struct resolver_query *query = userdata;
    if (query->lookup && atomic_load(&query->lookup->state) == LOOKUP_DONE) {
        resolver_harvest(query->resolver, now);
        return;
    }
    const struct resolver_answer answer = {.error = query->error ? query->error : "timed out"};
    resolver_answer(query, &answer, now);
}

struct resolver *resolver_new(struct loop *loop) {
    struct resolver *resolver = calloc(1, sizeof *resolver);
    if (!resolver) {
        return NULL;
    }
    resolver->loop = loop;
    resolver->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    resolver->io = loop_io_new(loop, resolver_io_dispatch, resolver);
    return resolver->event_fd >= 0 && resolver->io ? resolver : resolver_free(resolver);
}

struct resolver *resolver_free(struct resolver *resolver) {
    if (!resolver) {
        return NULL;
    }
    struct lookup *lookup, *next;
    DL_FOREACH_SAFE(resolver->lookups, lookup, next) {
        pthread_t thread = lookup->thread; // the look-up is not ours any more once it is abandoned
        if (atomic_exchange(&lookup->state, LOOKUP_ABANDONED) == LOOKUP_DONE) {
            (void)pthread_join(thread, NULL);
            free(lookup);
        } else {
            (void)pthread_detach(thread);
        }
    }
    loop_io_free(resolver->io);
    fd_close(resolver->event_fd);
    free(resolver);
    return NULL;
}

struct resolver_query *resolver_query_new(struct resolver *resolver, const char *name, usec_t deadline,
                                          void (*fn)(void *userdata, const struct resolver_answer *answer, usec_t now),
                                          void *userdata) {
    size_t size = strlen(name) + 1;
    struct resolver_query *query = calloc(1, sizeof *query + size);
    if (!query) {
        return NULL;
    }
    memcpy(query->name, name, size);
    query->resolver = resolver;
    query->fn = fn;
    query->userdata = userdata;
    query->timer = loop_timer_new(resolver->loop, resolver_query_dispatch, query);
    if (!query->timer) {
        free(query);
        return NULL;
    }
    loop_timer_set(query->timer, deadline);
    DL_APPEND(resolver->queries, query);
    resolver_arm(resolver);
    resolver_begin(resolver, query);
    return query;
}

struct resolver_query *resolver_query_free(struct resolver_query *query) {
    if (query) {
        if (!query->is_answered) {
            DL_DELETE(query->resolver->queries, query);
        }
        loop_timer_free(query->timer);
        free(query);
    }
    return NULL;
}
