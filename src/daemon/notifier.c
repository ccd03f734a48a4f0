// SPDX-License-Identifier: PostgreSQL
//
// libcurl's multi interface, driven by the loop: it says which sockets it waits for and when it wants to be woken.
//
// A request goes RESOLVING -> SENDING -> DONE. libcurl never looks a name up: it is told to connect to a name of ours
// (CURLOPT_CONNECT_TO) whose addresses it has been given (CURLOPT_RESOLVE), while Host, SNI and the certificate's
// name stay those of the URL. Its threaded resolver would be joined when a request is given up, that is, whenever a
// name server does not answer.
//
// libcurl's error texts quote URLs and host names, so none is passed on: an answer is a kind of failure and, at most,
// the status of HTTP.
#include "notifier.h"

#include <arpa/inet.h>
#include <assert.h>
#include <curl/curl.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <utlist.h>

#include "util/macro.h"
#include "util/strbuf.h"

#define NOTIFIER_MAX_REQUESTS 16         // at once
#define NOTIFIER_CA_CACHE_SECONDS 60L    // a ca_file that is exchanged is seen after this
#define NOTIFIER_NAME ".pgvigil.invalid" // behind the number of a slot
#define NOTIFIER_USER_AGENT "pgvigil/" PGVIGIL_VERSION

enum request_state {
    REQUEST_RESOLVING, // for the resolver, or for the loop when there is nothing to resolve; then SENDING or DONE
    REQUEST_SENDING,   // libcurl works on it, until the deadline; then DONE
    REQUEST_DONE,      // answered
};

struct notifier_request {
    struct notifier_request *prev, *next;
    struct notifier *notifier;
    enum request_state state;
    unsigned slot; // its number among those that live, for the name of ours
    usec_t deadline;
    struct loop_timer *timer; // the deadline, or at once
    struct resolver_query *query;
    CURL *easy;
    struct curl_slist *headers;
    struct curl_slist *connect_to;
    struct curl_slist *addresses;
    char port[8];
    bool has_host_name; // of the URL: it is to be looked up
    bool has_proxy;     // then it is the proxy's host that is to be looked up
    bool has_ca_file;
    size_t n_received;
    struct webhook_answer answer; // when the timer is to bring it
    bool has_answer;
    void (*fn)(void *userdata, const struct webhook_answer *answer, usec_t now);
    void *userdata;
};

struct notifier_socket {
    struct notifier_socket *prev, *next;
    struct notifier *notifier;
    curl_socket_t fd;
    unsigned wants;
    struct loop_io *io;
};

struct notifier {
    struct loop *loop;
    struct resolver *resolver;
    struct loop_timer *timer; // libcurl's
    CURLM *multi;             // NULL: libcurl is not set up yet
    const char *ca_path;      // where the system keeps certificates to be found by hash; NULL: in one file only
    struct notifier_socket *sockets;
    struct notifier_request *requests;
    uint32_t slots; // bits of those taken
};
static_assert(NOTIFIER_MAX_REQUESTS <= 32, "a bit for each slot");

// --- answers ---------------------------------------------------------------------------------------------------------

static void request_answer(struct notifier_request *request, const struct webhook_answer *answer, usec_t now) {
    request->state = REQUEST_DONE;
    loop_timer_set(request->timer, USEC_INFINITY);
    request->fn(request->userdata, answer, now); // may free it
}

// From where fn must not be called.
static void request_answer_soon(struct notifier_request *request, enum webhook_result result, const char *why) {
    request->answer = (struct webhook_answer){.result = result};
    (void)snprintf(request->answer.why, sizeof(request->answer.why), "%s", why);
    request->has_answer = true;
    loop_timer_set(request->timer, 0);
}

static enum webhook_result request_result(CURLcode code) {
    switch ((int)code) {
    case CURLE_OK:
        return WEBHOOK_SENT;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return WEBHOOK_UNRESOLVED;
    case CURLE_COULDNT_CONNECT:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
        return WEBHOOK_UNREACHABLE;
    case CURLE_OPERATION_TIMEDOUT:
        return WEBHOOK_TIMEOUT;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CLIENTCERT:
        return WEBHOOK_TLS;
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return WEBHOOK_SETTINGS;
    case CURLE_OUT_OF_MEMORY:
        return WEBHOOK_MEMORY;
    default:
        return WEBHOOK_PROTOCOL;
    }
}

static struct webhook_answer request_judge(const struct notifier_request *request, CURLcode code) {
    struct webhook_answer answer = {.result = request_result(code)};
    curl_off_t retry_after = 0;
    (void)curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &answer.status);
    if (answer.status >= 200) {
        // Once it has said so, nothing that went wrong with the rest of the answer matters.
        answer.result = webhook_result_of_status(answer.status);
        (void)curl_easy_getinfo(request->easy, CURLINFO_RETRY_AFTER, &retry_after);
        answer.retry_after = retry_after > 0 && retry_after < 86400 ? (usec_t)retry_after * USEC_PER_SEC : 0;
    } else {
        answer.status = 0;
    }
    if (code == CURLE_SSL_CACERT_BADFILE) {
        (void)snprintf(answer.why, sizeof(answer.why), "%s",
                       request->has_ca_file ? "ca_file cannot be read, or holds no certificate"
                                            : "the certificates that the system trusts cannot be read");
    }
    return answer;
}

// --- libcurl and the loop --------------------------------------------------------------------------------------------

// Hands out what libcurl has finished.
static void notifier_harvest(struct notifier *notifier, usec_t now) {
    const CURLMsg *message;
    int n_left;
    while ((message = curl_multi_info_read(notifier->multi, &n_left))) {
        struct notifier_request *request = NULL;
        CURLcode code = message->data.result;
        CURL *easy = message->easy_handle;
        (void)curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&request);
        (void)curl_multi_remove_handle(notifier->multi, easy); // the message is gone now
        struct webhook_answer answer = request_judge(request, code);
        request_answer(request, &answer, now);
    }
}

static void notifier_act(struct notifier *notifier, curl_socket_t fd, int events, usec_t now) {
    int n_running;
    (void)curl_multi_socket_action(notifier->multi, fd, events, &n_running);
    notifier_harvest(notifier, now);
}

static void notifier_timer_dispatch(void *userdata, usec_t now) {
    notifier_act(userdata, CURL_SOCKET_TIMEOUT, 0, now);
}

static struct notifier_socket *notifier_find_socket(struct notifier *notifier, curl_socket_t fd) {
    struct notifier_socket *socket;
    DL_SEARCH_SCALAR(notifier->sockets, socket, fd, fd);
    return socket;
}

// Without memory for it the deadline ends the request.
static void notifier_arm(struct notifier_socket *socket) {
    (void)loop_io_arm(socket->io, socket->fd, socket->wants, USEC_INFINITY);
}

static void notifier_socket_dispatch(void *userdata, unsigned ready, usec_t now) {
    struct notifier_socket *socket = userdata;
    struct notifier *notifier = socket->notifier;
    curl_socket_t fd = socket->fd;
    // What we wait for is over, and libcurl does not ask again for what it believes to be waited for.
    notifier_arm(socket);
    notifier_act(notifier, fd, (ready & LOOP_READ ? CURL_CSELECT_IN : 0) | (ready & LOOP_WRITE ? CURL_CSELECT_OUT : 0),
                 now);
}

static int notifier_on_socket(CURL *easy, curl_socket_t fd, int what, void *userdata, void *socket_data) {
    struct notifier *notifier = userdata;
    struct notifier_socket *socket = notifier_find_socket(notifier, fd);
    (void)easy;
    (void)socket_data;
    if (what == CURL_POLL_REMOVE) {
        if (socket) {
            DL_DELETE(notifier->sockets, socket);
            (void)loop_io_free(socket->io);
            free(socket);
        }
        return 0;
    }
    if (!socket) {
        socket = calloc(1, sizeof(*socket));
        struct loop_io *io = socket ? loop_io_new(notifier->loop, notifier_socket_dispatch, socket) : NULL;
        if (!io) {
            free(socket);
            return 0; // as above; a failure from here would end all requests and not this one
        }
        socket->notifier = notifier;
        socket->fd = fd;
        socket->io = io;
        DL_APPEND(notifier->sockets, socket);
    }
    socket->wants = (what & CURL_POLL_IN ? LOOP_READ : 0) | (what & CURL_POLL_OUT ? LOOP_WRITE : 0);
    notifier_arm(socket);
    return 0;
}

static int notifier_on_timer(CURLM *multi, long timeout_ms, void *userdata) {
    struct notifier *notifier = userdata;
    (void)multi;
    loop_timer_set(notifier->timer, timeout_ms < 0
                                        ? USEC_INFINITY
                                        : usec_add(loop_now(notifier->loop), (usec_t)timeout_ms * USEC_PER_MSEC));
    return 0;
}

// The one file of all certificates takes OpenSSL 20 ms of the loop's time and 1 MB for each connection; a folder in
// which it finds the one that it needs by the hash of its name, next to nothing. NULL: there is none.
static const char *notifier_find_ca_path(void) {
    const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);
    DIR *dir = info->age >= CURLVERSION_SEVENTH && info->capath ? opendir(info->capath) : NULL;
    bool has_hashes = false;
    for (const struct dirent *entry; dir && !has_hashes && (entry = readdir(dir));) {
        size_t len = strlen(entry->d_name);
        has_hashes = len == 10 && strcmp(entry->d_name + 8, ".0") == 0;
    }
    if (dir) {
        (void)closedir(dir);
    }
    return has_hashes ? info->capath : NULL;
}

// 0 or -1.
static int notifier_set_up(struct notifier *notifier) {
    if (notifier->multi) {
        return 0;
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return -1;
    }
    notifier->multi = curl_multi_init();
    if (!notifier->multi) {
        curl_global_cleanup();
        return -1;
    }
    notifier->ca_path = notifier_find_ca_path();
    (void)curl_multi_setopt(notifier->multi, CURLMOPT_SOCKETFUNCTION, notifier_on_socket);
    (void)curl_multi_setopt(notifier->multi, CURLMOPT_SOCKETDATA, notifier);
    (void)curl_multi_setopt(notifier->multi, CURLMOPT_TIMERFUNCTION, notifier_on_timer);
    (void)curl_multi_setopt(notifier->multi, CURLMOPT_TIMERDATA, notifier);
    return 0;
}

struct notifier *notifier_new(struct loop *loop, struct resolver *resolver) {
    struct notifier *notifier = calloc(1, sizeof(*notifier));
    if (!notifier) {
        return NULL;
    }
    notifier->loop = loop;
    notifier->resolver = resolver;
    notifier->timer = loop_timer_new(loop, notifier_timer_dispatch, notifier);
    return notifier->timer ? notifier : notifier_free(notifier);
}

struct notifier *notifier_free(struct notifier *notifier) {
    if (notifier) {
        assert(!notifier->requests);
        if (notifier->multi) {
            (void)curl_multi_cleanup(notifier->multi);
            curl_global_cleanup();
        }
        (void)loop_timer_free(notifier->timer);
        free(notifier);
    }
    return NULL;
}

// --- one request -----------------------------------------------------------------------------------------------------

static size_t request_on_bytes(char *bytes, size_t size, size_t n, void *userdata) {
    struct notifier_request *request = userdata;
    (void)bytes;
    request->n_received += size * n;
    return request->n_received <= NOTIFIER_MAX_ANSWER ? size * n : 0; // 0 ends the transfer
}

static curl_socket_t request_on_open(void *userdata, curlsocktype purpose, struct curl_sockaddr *address) {
    (void)userdata;
    (void)purpose;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static bool request_add(struct curl_slist **list, const char *text) {
    struct curl_slist *longer = curl_slist_append(*list, text);
    if (longer) {
        *list = longer;
    }
    return longer;
}

// The URL with its path made to end so. NULL: out of memory.
static char *request_add_path(CURLU *url, const char *path) {
    char *before = NULL;
    CLEANUP(strbuf_deinit) struct strbuf after = STRBUF_EMPTY;
    if (curl_url_get(url, CURLUPART_PATH, &before, 0) != CURLUE_OK) {
        return NULL;
    }
    size_t len = strlen(before), n = path ? strlen(path) : 0;
    if (n > 0 && (len < n || strcmp(before + len - n, path) != 0)) {
        while (len > 0 && before[len - 1] == '/') {
            len--;
        }
        strbuf_add_bytes(&after, before, len);
        strbuf_add(&after, path);
    }
    curl_free(before);
    char *whole = NULL;
    if (strbuf_error(&after) < 0 ||
        (after.len > 0 && curl_url_set(url, CURLUPART_PATH, strbuf_str(&after), 0) != CURLUE_OK) ||
        curl_url_get(url, CURLUPART_URL, &whole, 0) != CURLUE_OK) {
        return NULL;
    }
    return whole;
}

static bool request_is_numeric(const char *host) {
    unsigned char address[sizeof(struct in6_addr)];
    return host[0] == '[' || inet_pton(AF_INET, host, address) == 1;
}

// Takes the URL apart: what to hand to libcurl, what to look up. WEBHOOK_SENT: fine.
static enum webhook_result request_parse(struct notifier_request *request, const struct notifier_post *post,
                                         char **ret_url, char **ret_host) {
    enum webhook_result result = WEBHOOK_MEMORY;
    char *scheme = NULL, *port = NULL;
    CURLU *url = curl_url();
    if (!url) {
        return result;
    }
    if (curl_url_set(url, CURLUPART_URL, post->url, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0)) {
        result = WEBHOOK_SETTINGS;
    } else if (curl_url_get(url, CURLUPART_HOST, ret_host, 0) == CURLUE_OK &&
               curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
               (*ret_url = request_add_path(url, post->path))) {
        (void)snprintf(request->port, sizeof(request->port), "%s", port);
        request->has_host_name = !request_is_numeric(*ret_host);
        result = WEBHOOK_SENT;
    }
    curl_free(scheme);
    curl_free(port);
    curl_url_cleanup(url);
    return result;
}

// With a folder besides, libcurl would not keep what it has read from a file.
static bool request_set_trust(struct notifier_request *request, const char *ca_file) {
    const char *ca_path = ca_file ? NULL : request->notifier->ca_path;
    bool is_set = curl_easy_setopt(request->easy, CURLOPT_CAPATH, ca_path) == CURLE_OK &&
                  curl_easy_setopt(request->easy, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
                  curl_easy_setopt(request->easy, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK;
    if (ca_file || ca_path) {
        is_set = is_set && curl_easy_setopt(request->easy, CURLOPT_CAINFO, ca_file) == CURLE_OK;
    }
#if LIBCURL_VERSION_NUM >= 0x075700
    if (ca_file) {
        // Not every backend of libcurl has it.
        (void)curl_easy_setopt(request->easy, CURLOPT_CA_CACHE_TIMEOUT, NOTIFIER_CA_CACHE_SECONDS);
    }
#endif
    return is_set;
}

static bool request_set_options(struct notifier_request *request, const struct notifier_post *post, const char *url) {
    CURL *easy = request->easy;
    bool is_set = request_set_trust(request, post->ca_file);
#define SET(option, value) is_set = is_set && curl_easy_setopt(easy, option, value) == CURLE_OK
    SET(CURLOPT_URL, url);
    SET(CURLOPT_PRIVATE, request);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 0L);
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(CURLOPT_PROXY, ""); // none of the environment, whose name libcurl would look up by itself
    SET(CURLOPT_NOPROXY, "");
    // A connection that waits for the next alarm is one that a firewall forgets.
    SET(CURLOPT_FORBID_REUSE, 1L);
    SET(CURLOPT_USERAGENT, NOTIFIER_USER_AGENT);
    SET(CURLOPT_OPENSOCKETFUNCTION, request_on_open);
    SET(CURLOPT_WRITEFUNCTION, request_on_bytes);
    SET(CURLOPT_WRITEDATA, request);
    SET(CURLOPT_HEADERFUNCTION, request_on_bytes);
    SET(CURLOPT_HEADERDATA, request);
    SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)post->n_body);
    SET(CURLOPT_COPYPOSTFIELDS, post->body);
    is_set = is_set && request_add(&request->headers, "Content-Type: application/json");
    is_set = is_set && request_add(&request->headers, "Expect:"); // do not wait for leave to send
    for (size_t i = 0; is_set && i < post->n_headers; i++) {
        is_set = request_add(&request->headers, post->headers[i]);
    }
    SET(CURLOPT_HTTPHEADER, request->headers);
#undef SET
    return is_set;
}

// The proxy's name is exchanged for ours. WEBHOOK_SENT: fine.
static enum webhook_result request_set_proxy(struct notifier_request *request, const char *proxy, char **ret_host) {
    enum webhook_result result = WEBHOOK_MEMORY;
    char ours[sizeof(NOTIFIER_NAME) + 10], *port = NULL, *whole = NULL;
    CURLU *url = curl_url();
    (void)snprintf(ours, sizeof(ours), "%u" NOTIFIER_NAME, request->slot);
    if (url && curl_url_set(url, CURLUPART_URL, proxy, 0) != CURLUE_OK) {
        result = WEBHOOK_SETTINGS;
    } else if (url && curl_url_get(url, CURLUPART_HOST, ret_host, 0) == CURLUE_OK &&
               curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK &&
               (request_is_numeric(*ret_host) || curl_url_set(url, CURLUPART_HOST, ours, 0) == CURLUE_OK) &&
               curl_url_get(url, CURLUPART_URL, &whole, CURLU_DEFAULT_PORT) == CURLUE_OK &&
               curl_easy_setopt(request->easy, CURLOPT_PROXY, whole) == CURLE_OK) {
        (void)snprintf(request->port, sizeof(request->port), "%s", port);
        request->has_host_name = !request_is_numeric(*ret_host);
        request->has_proxy = true;
        result = WEBHOOK_SENT;
    }
    curl_free(port);
    curl_free(whole);
    curl_url_cleanup(url);
    return result;
}

// The name of ours that stands for the addresses: one for each request that lives, as all share libcurl's cache.
static bool request_connect_to(struct notifier_request *request, const struct resolver_answer *answer) {
    CLEANUP(strbuf_deinit) struct strbuf to = STRBUF_EMPTY, known = STRBUF_EMPTY;
    size_t n = 0;
    strbuf_addf(&to, "::%u" NOTIFIER_NAME ":", request->slot);
    strbuf_addf(&known, "%u" NOTIFIER_NAME ":%s:", request->slot, request->port);
    for (size_t i = 0; i < answer->n_addresses; i++) {
        bool is_v6 = strchr(answer->addresses[i], ':');
        if (!strchr(answer->addresses[i], '%')) { // libcurl takes no scopes here
            strbuf_addf(&known, "%s%s%s%s", n++ > 0 ? "," : "", is_v6 ? "[" : "", answer->addresses[i],
                        is_v6 ? "]" : "");
        }
    }
    return n > 0 && strbuf_error(&to) == 0 && strbuf_error(&known) == 0 &&
           (request->has_proxy || request_add(&request->connect_to, strbuf_str(&to))) &&
           request_add(&request->addresses, strbuf_str(&known)) &&
           curl_easy_setopt(request->easy, CURLOPT_CONNECT_TO, request->connect_to) == CURLE_OK &&
           curl_easy_setopt(request->easy, CURLOPT_RESOLVE, request->addresses) == CURLE_OK;
}

static void request_enter_sending(struct notifier_request *request) {
    request->state = REQUEST_SENDING;
    loop_timer_set(request->timer, request->deadline);
    if (curl_multi_add_handle(request->notifier->multi, request->easy) != CURLM_OK) {
        request_answer_soon(request, WEBHOOK_MEMORY, "");
    }
}

static void request_on_address(void *userdata, const struct resolver_answer *answer, usec_t now) {
    struct notifier_request *request = userdata;
    (void)now;
    if (answer->n_addresses == 0) {
        request_answer_soon(request, WEBHOOK_UNRESOLVED, "");
    } else if (!request_connect_to(request, answer)) {
        request_answer_soon(request, WEBHOOK_MEMORY, "");
    } else {
        request_enter_sending(request);
    }
}

static void request_on_timer(void *userdata, usec_t now) {
    struct notifier_request *request = userdata;
    if (request->has_answer) {
        struct webhook_answer answer = request->answer;
        request_answer(request, &answer, now);
        return;
    }
    switch (request->state) {
    case REQUEST_RESOLVING:
        request_enter_sending(request);
        break;
    case REQUEST_SENDING:
        (void)curl_multi_remove_handle(request->notifier->multi, request->easy);
        struct webhook_answer answer = request_judge(request, CURLE_OPERATION_TIMEDOUT);
        request_answer(request, &answer, now);
        break;
    case REQUEST_DONE:
        break;
    }
}

static struct notifier_request *request_new(struct notifier *notifier) {
    unsigned slot = 0;
    while (slot < NOTIFIER_MAX_REQUESTS && notifier->slots & UINT32_C(1) << slot) {
        slot++;
    }
    if (slot == NOTIFIER_MAX_REQUESTS || notifier_set_up(notifier) < 0) {
        return NULL;
    }
    struct notifier_request *request = calloc(1, sizeof(*request));
    if (!request) {
        return NULL;
    }
    request->notifier = notifier;
    request->slot = slot;
    notifier->slots |= UINT32_C(1) << slot;
    DL_APPEND(notifier->requests, request);
    request->timer = loop_timer_new(notifier->loop, request_on_timer, request);
    request->easy = curl_easy_init();
    return request->timer && request->easy ? request : notifier_request_free(request);
}

// WEBHOOK_SENT: the resolver, or the loop, goes on with it.
static enum webhook_result request_begin(struct notifier_request *request, const struct notifier_post *post) {
    char *url = NULL, *host = NULL;
    enum webhook_result result = request_parse(request, post, &url, &host);
    if (result == WEBHOOK_SENT && !request_set_options(request, post, url)) {
        result = WEBHOOK_MEMORY;
    }
    if (result == WEBHOOK_SENT && post->proxy) {
        curl_free(host);
        host = NULL;
        result = request_set_proxy(request, post->proxy, &host);
    }
    if (result == WEBHOOK_SENT && request->has_host_name) {
        request->query =
            resolver_query_new(request->notifier->resolver, host, request->deadline, request_on_address, request);
        result = request->query ? WEBHOOK_SENT : WEBHOOK_MEMORY;
    }
    curl_free(url);
    curl_free(host);
    return result;
}

struct notifier_request *notifier_send(struct notifier *notifier, const struct notifier_post *post,
                                       void (*fn)(void *userdata, const struct webhook_answer *answer, usec_t now),
                                       void *userdata) {
    struct notifier_request *request = request_new(notifier);
    if (!request) {
        return NULL;
    }
    request->fn = fn;
    request->userdata = userdata;
    request->has_ca_file = post->ca_file;
    request->deadline = usec_add(loop_now(notifier->loop), post->timeout);
    enum webhook_result result = request_begin(request, post);
    if (result != WEBHOOK_SENT) {
        request_answer_soon(request, result, result == WEBHOOK_SETTINGS ? "not an http or https URL" : "");
    } else if (!request->query) {
        loop_timer_set(request->timer, 0);
    }
    return request;
}

struct notifier_request *notifier_request_free(struct notifier_request *request) {
    if (request) {
        struct notifier *notifier = request->notifier;
        request->query = resolver_query_free(request->query);
        if (request->easy) {
            (void)curl_multi_remove_handle(notifier->multi, request->easy); // harmless when it is not in there
            curl_easy_cleanup(request->easy);
        }
        curl_slist_free_all(request->headers);
        curl_slist_free_all(request->connect_to);
        curl_slist_free_all(request->addresses);
        (void)loop_timer_free(request->timer);
        notifier->slots &= ~(UINT32_C(1) << request->slot);
        DL_DELETE(notifier->requests, request);
        free(request);
    }
    return NULL;
}
