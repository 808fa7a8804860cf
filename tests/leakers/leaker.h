/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What every leaker shares: a ledger of its own allocations, and the talk with the test that drives
 * it.
 *
 *   leaker -> test   READY <pid>      set up, nothing of interest has happened yet
 *   test -> leaker   newline          go (not awaited with the argument "now")
 *   leaker -> test   EXPECT {json}    one line for each process: what it allocated, by function
 *   leaker -> test   DONE             everything stands still
 *   test -> leaker   newline          exit (not awaited with "now")
 *
 * A site is a function that calls the allocator itself. Numbers of a site follow its blocks: a free
 * counts for the site that allocated. Nothing here allocates between go and DONE.
 */
#ifndef LEAKSWEEP_TESTS_LEAKER_H
#define LEAKSWEEP_TESTS_LEAKER_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __clang__
#define SITE_FN __attribute__((noinline, used))
#else
#define SITE_FN __attribute__((noipa, used))
#endif

/* Keeps the call before it from being the function's last instruction, and the compiler from
 * dropping it. */
#define KEEP(p) __asm__ volatile("" : : "g"(p) : "memory")

enum site_kind {
	SITE_LEAF = 0,	 /* the function is frame 0 of its rows */
	SITE_INSIDE = 1, /* a library function stands between it and the allocator: only its total
			    is exact */
	SITE_MMAP = 2,	 /* frame 0, layer "mmap" */
};

struct site {
	const char *name;
	enum site_kind kind;
	long long alloc_bytes, alloc_count, free_bytes, free_count, inherited_bytes,
		inherited_count;
};

static bool leaker_now;
static char leaker_line[1 << 16];
static size_t leaker_line_len;

static inline void leaker__write(const char *text, size_t len)
{
	while (len > 0) {
		ssize_t done = write(STDOUT_FILENO, text, len);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			_exit(4);
		text += done;
		len -= (size_t)done;
	}
}

static inline __attribute__((format(printf, 1, 2))) void leaker__add(const char *fmt, ...)
{
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(leaker_line + leaker_line_len, sizeof(leaker_line) - leaker_line_len, fmt,
			args);
	va_end(args);
	if (len < 0 || (size_t)len >= sizeof(leaker_line) - leaker_line_len)
		_exit(4);
	leaker_line_len += (size_t)len;
}

static inline void leaker__flush(void)
{
	leaker__write(leaker_line, leaker_line_len);
	leaker_line_len = 0;
}

/* Ends the leaker when the machine did not do what its ground truth takes for granted. */
#define LEAKER_CHECK(what)                                                                         \
	do {                                                                                       \
		if (!(what)) {                                                                     \
			leaker__add("FAILED %s:%d: %s\n", __FILE__, __LINE__, #what);              \
			leaker__flush();                                                           \
			_exit(3);                                                                  \
		}                                                                                  \
	} while (0)

static inline void leaker__await_newline(void)
{
	char c = 0;

	while (c != '\n') {
		ssize_t got = read(STDIN_FILENO, &c, 1);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			_exit(5);
	}
}

/* Says READY and waits for the go signal, unless the last argument is "now". */
static inline void leaker__ready(int argc, char **argv)
{
	leaker_now = argc > 1 && !strcmp(argv[argc - 1], "now");
	leaker__add("READY %d\n", (int)getpid());
	leaker__flush();
	if (!leaker_now)
		leaker__await_newline();
}

/* Returns argument `index` (1 = first) unless it is missing or the closing "now". */
static inline const char *leaker__arg(int argc, char **argv, int index, const char *fallback)
{
	if (index >= argc || (index == argc - 1 && !strcmp(argv[index], "now")))
		return fallback;
	return argv[index];
}

/* Books a call of the allocator that returned `p`; returns `p`. */
static inline void *note_alloc(struct site *site, void *p, size_t bytes)
{
	if (p) {
		__atomic_add_fetch(&site->alloc_bytes, (long long)bytes, __ATOMIC_RELAXED);
		__atomic_add_fetch(&site->alloc_count, 1, __ATOMIC_RELAXED);
	}
	return p;
}

/* Books that a block of `site` is given back. */
static inline void note_free(struct site *site, size_t bytes)
{
	__atomic_add_fetch(&site->free_bytes, (long long)bytes, __ATOMIC_RELAXED);
	__atomic_add_fetch(&site->free_count, 1, __ATOMIC_RELAXED);
}

/* In a forked child: what stands in the books becomes inherited, the rest starts at nothing. */
static inline void sites__inherit(struct site *sites, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++) {
		struct site *site = &sites[i];

		site->inherited_bytes += site->alloc_bytes - site->free_bytes;
		site->inherited_count += site->alloc_count - site->free_count;
		site->alloc_bytes = site->alloc_count = site->free_bytes = site->free_count = 0;
	}
}

static inline void leaker__add_totals(const struct site *site)
{
	leaker__add(
		"\"live_bytes\":%lld,\"live_count\":%lld,\"alloc_bytes\":%lld,\"alloc_count\":%lld,"
		"\"free_bytes\":%lld,\"free_count\":%lld",
		site->inherited_bytes + site->alloc_bytes - site->free_bytes,
		site->inherited_count + site->alloc_count - site->free_count, site->alloc_bytes,
		site->alloc_count, site->free_bytes, site->free_count);
}

static inline void leaker__add_sites(const struct site *sites, size_t cnt, enum site_kind kind)
{
	const char *comma = "";

	for (size_t i = 0; i < cnt; i++) {
		if (sites[i].kind != kind)
			continue;
		if (!sites[i].alloc_count && !sites[i].inherited_count)
			continue;
		leaker__add("%s\"%s\":{", comma, sites[i].name);
		leaker__add_totals(&sites[i]);
		leaker__add("}");
		comma = ",";
	}
}

/* Says EXPECT: the sums of the malloc sites, and the numbers of each site. */
static inline void leaker__expect(const struct site *sites, size_t cnt)
{
	struct site sum = {.name = NULL};

	for (size_t i = 0; i < cnt; i++) {
		if (sites[i].kind == SITE_MMAP)
			continue;
		sum.alloc_bytes += sites[i].alloc_bytes;
		sum.alloc_count += sites[i].alloc_count;
		sum.free_bytes += sites[i].free_bytes;
		sum.free_count += sites[i].free_count;
		sum.inherited_bytes += sites[i].inherited_bytes;
		sum.inherited_count += sites[i].inherited_count;
	}
	leaker__add("EXPECT {\"pid\":%d,", (int)getpid());
	leaker__add_totals(&sum);
	leaker__add(",\"functions\":{");
	leaker__add_sites(sites, cnt, SITE_LEAF);
	leaker__add("},\"inside\":{");
	leaker__add_sites(sites, cnt, SITE_INSIDE);
	leaker__add("},\"mmap\":{");
	leaker__add_sites(sites, cnt, SITE_MMAP);
	leaker__add("}}\n");
	leaker__flush();
}

/* Says DONE and holds everything until the test lets go. */
static inline void leaker__done(void)
{
	leaker__add("DONE\n");
	leaker__flush();
	if (!leaker_now)
		leaker__await_newline();
}

#endif
