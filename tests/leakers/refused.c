/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that is refused. `refused all` asks for more than its RLIMIT_AS in every way there is and
 * says what it asked for: REFUSED {json}, one line for each site. `refused flood N` does so from N
 * stacks at once. `refused eat` takes and uses memory until it is killed.
 */
#include <sys/mman.h>
#include <sys/resource.h>

#include "tests/leakers/leaker.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)
#define LIMIT (256 * MIB)
#define ROUNDS 3

static void say_refused(const char *function, const char *kind, size_t bytes, int count)
{
	leaker__add("REFUSED {\"pid\":%d,\"function\":\"%s\",\"kind\":\"%s\",\"bytes\":%zu,"
		    "\"count\":%d,\"limit_kib\":%zu}\n",
		    (int)getpid(), function, kind, bytes, count, LIMIT / KIB);
}

static void set_limit(void)
{
	struct rlimit limit;

	LEAKER_CHECK(!getrlimit(RLIMIT_AS, &limit));
	limit.rlim_cur = LIMIT;
	LEAKER_CHECK(!setrlimit(RLIMIT_AS, &limit));
}

SITE_FN static void refuse_malloc(size_t bytes)
{
	for (int i = 0; i < ROUNDS; i++) {
		void *p = malloc(bytes);

		KEEP(p);
		LEAKER_CHECK(!p);
	}
}

SITE_FN static void refuse_calloc(size_t cnt, size_t bytes)
{
	for (int i = 0; i < ROUNDS; i++) {
		void *p = calloc(cnt, bytes);

		KEEP(p);
		LEAKER_CHECK(!p);
	}
}

SITE_FN static void refuse_realloc(void *block, size_t bytes)
{
	for (int i = 0; i < ROUNDS; i++) {
		void *p = realloc(block, bytes);

		KEEP(p);
		LEAKER_CHECK(!p);
	}
}

SITE_FN static void refuse_mmap(size_t bytes)
{
	for (int i = 0; i < ROUNDS; i++) {
		void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			       0);

		KEEP(p);
		LEAKER_CHECK(p == MAP_FAILED && errno == ENOMEM);
	}
}

SITE_FN static void refuse_mremap(void *map, size_t old_bytes, size_t bytes)
{
	for (int i = 0; i < ROUNDS; i++) {
		void *p = mremap(map, old_bytes, bytes, MREMAP_MAYMOVE);

		KEEP(p);
		LEAKER_CHECK(p == MAP_FAILED && errno == ENOMEM);
	}
}

static void refuse_all(void)
{
	void *block = malloc(64 * KIB);
	void *map = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	LEAKER_CHECK(block && map != MAP_FAILED);
	set_limit();
	refuse_malloc(1025 * MIB);
	refuse_calloc(1026, MIB);
	refuse_realloc(block, 1027 * MIB);
	refuse_mmap(1028 * MIB);
	refuse_mremap(map, MIB, 1029 * MIB);
	say_refused("refuse_malloc", "alloc", 1025 * MIB, ROUNDS);
	say_refused("refuse_calloc", "alloc", 1026 * MIB, ROUNDS);
	say_refused("refuse_realloc", "alloc", 1027 * MIB, ROUNDS);
	say_refused("refuse_mmap", "mapping", 1028 * MIB, ROUNDS);
	say_refused("refuse_mremap", "mapping", 1029 * MIB, ROUNDS);
	free(block);
}

/* Every depth is a stack of its own. */
SITE_FN static void refuse_deep(int depth)
{
	void *p;

	if (depth > 0)
		refuse_deep(depth - 1);
	p = malloc(2048 * MIB);
	KEEP(p);
	LEAKER_CHECK(!p);
}

SITE_FN static void eat_memory(void)
{
	for (;;) {
		char *p = malloc(MIB);

		LEAKER_CHECK(p);
		memset(p, 1, MIB);
		KEEP(p);
	}
}

int main(int argc, char **argv)
{
	const char *mode = leaker__arg(argc, argv, 1, "all");
	int cnt = atoi(leaker__arg(argc, argv, 2, "100"));

	leaker__ready(argc, argv);
	if (!strcmp(mode, "all")) {
		refuse_all();
	} else if (!strcmp(mode, "flood")) {
		LEAKER_CHECK(cnt > 0 && cnt < 200);
		set_limit();
		refuse_deep(cnt - 1);
		say_refused("refuse_deep", "alloc", 2048 * MIB, cnt);
	} else if (!strcmp(mode, "eat")) {
		eat_memory();
	} else {
		return 2;
	}
	leaker__done();
	return 0;
}
