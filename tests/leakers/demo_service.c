/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A small service for `make demo`. It answers made-up requests for pages of a few users, keeps a
 * bounded cache of pages, allocates and frees scratch memory all the time, and has one bug:
 * remember_session() makes a new session for each request that carries a token, and nobody ever
 * ends one.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CACHE_SLOTS 64
#define PAGE_BYTES 2048
#define REQUESTS_PER_TICK 40
#define TICK_NS 20000000

struct session {
	struct session *next;
	unsigned long token;
	char user[48];
	char state[192];
};

struct page {
	unsigned int id;
	char *body;
};

struct request {
	unsigned int page_id;
	unsigned long token;
	char *path;
};

static struct session *sessions;
static struct page cache[CACHE_SLOTS];
static volatile sig_atomic_t stopping;

static void *need(void *p)
{
	if (!p) {
		perror("demo_service");
		exit(1);
	}
	return p;
}

/* The leak: a session is added for every token, also for one that is known. */
__attribute__((noinline)) static struct session *remember_session(unsigned long token)
{
	struct session *session = need(calloc(1, sizeof(*session)));

	session->token = token;
	snprintf(session->user, sizeof(session->user), "user%lu", token % 10);
	session->next = sessions;
	sessions = session;
	return session;
}

/* Bounded: the slot's former page goes when a new one comes. */
__attribute__((noinline)) static const char *cached_page(unsigned int id)
{
	struct page *page = &cache[id % CACHE_SLOTS];

	if (page->body && page->id == id)
		return page->body;
	free(page->body);
	page->body = need(malloc(PAGE_BYTES));
	memset(page->body, 'a' + (int)(id % 26), PAGE_BYTES - 1);
	page->body[PAGE_BYTES - 1] = '\0';
	page->id = id;
	return page->body;
}

/* Churn: everything that is made here is also freed here. */
__attribute__((noinline)) static size_t render_page(const char *body, const struct session *session)
{
	size_t len = strlen(body) + 256, used;
	char *html = need(malloc(len));

	used = (size_t)snprintf(html, len, "<p>%s</p><pre>%s</pre>",
				session ? session->user : "guest", body);
	free(html);
	return used;
}

__attribute__((noinline)) static void parse_request(unsigned int number, struct request *ret)
{
	ret->page_id = number * 7 % 400;
	ret->token = number % 4 ? 0 : number;
	ret->path = need(malloc(64));
	snprintf(ret->path, 64, "/pages/%u", ret->page_id);
}

__attribute__((noinline)) static size_t handle_request(unsigned int number)
{
	const struct session *session = NULL;
	struct request request;
	size_t sent;

	parse_request(number, &request);
	if (request.token)
		session = remember_session(request.token);
	sent = render_page(cached_page(request.page_id), session);
	free(request.path);
	return sent;
}

__attribute__((noinline)) static void serve_requests(void)
{
	const struct timespec tick = {.tv_nsec = TICK_NS};
	unsigned int number = 0;
	size_t sent = 0;

	while (!stopping) {
		for (int i = 0; i < REQUESTS_PER_TICK; i++)
			sent += handle_request(number++);
		nanosleep(&tick, NULL);
	}
	printf("demo_service: %u requests answered, %zu bytes sent\n", number, sent);
}

static void on_signal(int sig)
{
	(void)sig;
	stopping = 1;
}

int main(void)
{
	signal(SIGTERM, on_signal);
	signal(SIGINT, on_signal);
	serve_requests();
	return 0;
}
