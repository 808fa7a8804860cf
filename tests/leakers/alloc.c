/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One mode for each family of allocator calls: alloc MODE [now]. */
#include <malloc.h>

#include "tests/leakers/leaker.h"

enum {
	S_MALLOC,
	S_MALLOC_CHURN,
	S_CALLOC,
	S_REALLOC_START,
	S_REALLOC_GROW,
	S_REALLOC_NULL,
	S_REALLOC_ZERO,
	S_REALLOCARRAY,
	S_POSIX_MEMALIGN,
	S_ALIGNED_ALLOC,
	S_MEMALIGN,
	S_VALLOC,
	S_PVALLOC,
	S_STRDUP,
	S_ASPRINTF,
	S_BIG,
	SITE_CNT
};

static struct site sites[SITE_CNT] = {
	[S_MALLOC] = {.name = "leak_malloc"},
	[S_MALLOC_CHURN] = {.name = "churn_malloc"},
	[S_CALLOC] = {.name = "leak_calloc"},
	[S_REALLOC_START] = {.name = "start_block"},
	[S_REALLOC_GROW] = {.name = "grow_block"},
	[S_REALLOC_NULL] = {.name = "realloc_from_null"},
	[S_REALLOC_ZERO] = {.name = "realloc_to_zero"},
	[S_REALLOCARRAY] = {.name = "leak_reallocarray"},
	[S_POSIX_MEMALIGN] = {.name = "leak_posix_memalign"},
	[S_ALIGNED_ALLOC] = {.name = "leak_aligned_alloc"},
	[S_MEMALIGN] = {.name = "leak_memalign"},
	[S_VALLOC] = {.name = "leak_valloc"},
	[S_PVALLOC] = {.name = "leak_pvalloc"},
	[S_STRDUP] = {.name = "leak_strdup", .kind = SITE_INSIDE},
	[S_ASPRINTF] = {.name = "leak_asprintf", .kind = SITE_INSIDE},
	[S_BIG] = {.name = "leak_big"},
};

static void *kept[4096];
static volatile size_t too_much = SIZE_MAX / 2 + 4096;
static volatile size_t more_than_there_is = (size_t)1 << 56;

SITE_FN static void *leak_malloc(size_t bytes)
{
	return note_alloc(&sites[S_MALLOC], malloc(bytes), bytes);
}

SITE_FN static void *churn_malloc(size_t bytes)
{
	return note_alloc(&sites[S_MALLOC_CHURN], malloc(bytes), bytes);
}

SITE_FN static void *leak_calloc(size_t count, size_t bytes)
{
	return note_alloc(&sites[S_CALLOC], calloc(count, bytes), count * bytes);
}

SITE_FN static void *start_block(size_t bytes)
{
	return note_alloc(&sites[S_REALLOC_START], malloc(bytes), bytes);
}

/* Resizes a block of `site`; a failure leaves it alone. */
SITE_FN static void *grow_block(void *old, struct site *site, size_t old_bytes, size_t bytes)
{
	void *p = realloc(old, bytes);

	if (!p)
		return NULL;
	note_free(site, old_bytes);
	return note_alloc(&sites[S_REALLOC_GROW], p, bytes);
}

SITE_FN static void *realloc_from_null(size_t bytes)
{
	return note_alloc(&sites[S_REALLOC_NULL], realloc(NULL, bytes), bytes);
}

/* glibc frees and returns NULL, others keep an empty block. */
SITE_FN static void *realloc_to_zero(void *old, size_t old_bytes)
{
	note_free(&sites[S_REALLOC_START], old_bytes);
	return note_alloc(&sites[S_REALLOC_ZERO], realloc(old, 0), 0);
}

SITE_FN static void *leak_reallocarray(void *old, size_t old_bytes, size_t count, size_t bytes)
{
	void *p = reallocarray(old, count, bytes);

	if (p && old)
		note_free(&sites[S_REALLOCARRAY], old_bytes);
	return note_alloc(&sites[S_REALLOCARRAY], p, count * bytes);
}

SITE_FN static int leak_posix_memalign(void **out, size_t align, size_t bytes)
{
	int err = posix_memalign(out, align, bytes);

	if (!err)
		note_alloc(&sites[S_POSIX_MEMALIGN], *out, bytes);
	return err;
}

SITE_FN static void *leak_aligned_alloc(size_t align, size_t bytes)
{
	return note_alloc(&sites[S_ALIGNED_ALLOC], aligned_alloc(align, bytes), bytes);
}

SITE_FN static void *leak_memalign(size_t align, size_t bytes)
{
	return note_alloc(&sites[S_MEMALIGN], memalign(align, bytes), bytes);
}

#ifdef __GLIBC__
SITE_FN static void *leak_valloc(size_t bytes)
{
	return note_alloc(&sites[S_VALLOC], valloc(bytes), bytes);
}

SITE_FN static void *leak_pvalloc(size_t bytes)
{
	return note_alloc(&sites[S_PVALLOC], pvalloc(bytes), bytes);
}
#endif

SITE_FN static char *leak_strdup(const char *text)
{
	return note_alloc(&sites[S_STRDUP], strdup(text), strlen(text) + 1);
}

SITE_FN static char *leak_asprintf(const char *text)
{
	char *p = NULL;
	int len = asprintf(&p, "%s %d", text, 42);

	if (len < 0)
		return NULL;
	return note_alloc(&sites[S_ASPRINTF], p, (size_t)len + 1);
}

SITE_FN static void *leak_big(size_t bytes)
{
	return note_alloc(&sites[S_BIG], malloc(bytes), bytes);
}

SITE_FN static void give_back(struct site *site, void *p, size_t bytes)
{
	note_free(site, bytes);
	free(p);
	KEEP(p);
}

static void mode_malloc(void)
{
	for (size_t i = 0; i < 100; i++)
		kept[i] = leak_malloc(i * 7);
	LEAKER_CHECK(kept[0]);
	LEAKER_CHECK(!leak_malloc(too_much));
	LEAKER_CHECK(!leak_malloc(more_than_there_is));
	for (size_t i = 0; i < 500; i++) {
		void *p = churn_malloc(24 + i % 900);

		give_back(&sites[S_MALLOC_CHURN], p, 24 + i % 900);
	}
}

static void mode_calloc(void)
{
	for (size_t i = 0; i < 64; i++)
		kept[i] = leak_calloc(i + 1, 33);
	kept[64] = leak_calloc(1, 400000);
	LEAKER_CHECK(!leak_calloc(too_much, 3));
	LEAKER_CHECK(!leak_calloc((size_t)1 << 33, (size_t)1 << 33));
	give_back(&sites[S_CALLOC], kept[3], 4 * 33);
	give_back(&sites[S_CALLOC], kept[64], 400000);
}

static void mode_realloc(void)
{
	for (size_t i = 0; i < 200; i++) {
		size_t from = 40 + i * 13, to = i % 2 ? from / 2 + 1 : from * 4;

		kept[i] = start_block(from);
		kept[300 + i] = leak_malloc(24);
		kept[i] = grow_block(kept[i], &sites[S_REALLOC_START], from, to);
		LEAKER_CHECK(kept[i]);
		if (i % 5 == 0)
			kept[i] = grow_block(kept[i], &sites[S_REALLOC_GROW], to, 200000 + i);
	}
	for (size_t i = 500; i < 520; i++)
		kept[i] = realloc_from_null(i);
	for (size_t i = 520; i < 530; i++)
		kept[i] = realloc_to_zero(start_block(i), i);
}

/* realloc that fails: the block stays, with its first size and its first stack. */
static void mode_realloc_failed(void)
{
	for (size_t i = 0; i < 7; i++) {
		kept[i] = start_block(1000);
		LEAKER_CHECK(!grow_block(kept[i], &sites[S_REALLOC_START], 1000, too_much));
		LEAKER_CHECK(
			!grow_block(kept[i], &sites[S_REALLOC_START], 1000, more_than_there_is));
	}
	give_back(&sites[S_REALLOC_START], kept[0], 1000);
}

static void mode_reallocarray(void)
{
	for (size_t i = 0; i < 50; i++)
		kept[i] = leak_reallocarray(NULL, 0, i + 1, 24);
	for (size_t i = 0; i < 25; i++)
		kept[i] = leak_reallocarray(kept[i], (i + 1) * 24, i + 1, 480);
	LEAKER_CHECK(!leak_reallocarray(kept[0], 480, too_much, 16));
	give_back(&sites[S_REALLOCARRAY], kept[0], 480);
}

static void mode_posix_memalign(void)
{
	void *stale = leak_malloc(77), *p = NULL;

	for (size_t i = 0; i < 60; i++) {
		LEAKER_CHECK(!leak_posix_memalign(&kept[i], (size_t)16 << i % 9, 100 + i));
		LEAKER_CHECK(kept[i]);
	}
	/* Bad alignment, and no memory: the out pointer keeps what it had. */
	p = stale;
	LEAKER_CHECK(leak_posix_memalign(&p, 24, 5000) == EINVAL);
	LEAKER_CHECK(p == stale);
	p = (void *)0x1234560;
	LEAKER_CHECK(leak_posix_memalign(&p, 3, 5000) == EINVAL);
	LEAKER_CHECK(leak_posix_memalign(&p, 64, too_much) == ENOMEM);
	give_back(&sites[S_POSIX_MEMALIGN], kept[7], 107);
}

static void mode_aligned(void)
{
	for (size_t i = 0; i < 40; i++) {
		kept[i] = leak_aligned_alloc(64, 64 * (i + 1));
		kept[100 + i] = leak_memalign((size_t)32 << i % 6, 200 + i);
#ifdef __GLIBC__
		kept[200 + i] = leak_valloc(3000 + i);
#endif
	}
	LEAKER_CHECK(!leak_aligned_alloc(64, too_much & ~(size_t)63));
	LEAKER_CHECK(!leak_memalign(64, too_much));
	give_back(&sites[S_ALIGNED_ALLOC], kept[2], 64 * 3);
	give_back(&sites[S_MEMALIGN], kept[104], 204);
#ifdef __GLIBC__
	give_back(&sites[S_VALLOC], kept[200], 3000);
#endif
}

/* By itself: an allocator that replaces the C library's may leave this one out. */
static void mode_pvalloc(void)
{
#ifdef __GLIBC__
	for (size_t i = 0; i < 40; i++)
		kept[i] = leak_pvalloc(4096 * (1 + i % 3));
	give_back(&sites[S_PVALLOC], kept[1], 8192);
#endif
}

static void mode_strdup(void)
{
	for (size_t i = 0; i < 30; i++)
		kept[i] = leak_strdup(&"a string that nobody frees"[i % 9]);
	free(NULL);
}

/* How often asprintf calls the allocator is libc's affair: only what stays is ground truth. */
static void mode_asprintf(void)
{
	for (size_t i = 0; i < 30; i++)
		kept[i] = leak_asprintf(&"the answer is"[i % 7]);
}

static void mode_free_null(void)
{
	void *volatile nothing = NULL;

	for (int i = 0; i < 1000; i++)
		free(nothing);
	for (size_t i = 0; i < 5; i++)
		kept[i] = leak_malloc(10);
}

/* At and above the mmap threshold: the size asked for, not the pages it takes. */
static void mode_big(void)
{
	for (size_t i = 0; i < 20; i++)
		kept[i] = leak_big(300000 + i * 1001);
	kept[20] = leak_big((size_t)64 << 20);
	for (size_t i = 0; i < 5; i++)
		give_back(&sites[S_BIG], kept[i], 300000 + i * 1001);
	kept[6] = grow_block(kept[6], &sites[S_BIG], 300000 + 6 * 1001, 900000);
	kept[7] = grow_block(kept[7], &sites[S_BIG], 300000 + 7 * 1001, 200);
	LEAKER_CHECK(kept[6] && kept[7]);
}

/* 1100 blocks of 1 GiB, never touched: more than 40 bits of bytes. */
static void mode_terabyte(void)
{
	for (size_t i = 0; i < 1100; i++) {
		kept[i] = leak_big((size_t)1 << 30);
		LEAKER_CHECK(kept[i]);
	}
}

/* One block of 64 MiB, every page of it touched. */
static void mode_resident(void)
{
	kept[0] = leak_big((size_t)64 << 20);
	LEAKER_CHECK(kept[0]);
	memset(kept[0], 1, (size_t)64 << 20);
}

static void mode_all(void)
{
	mode_malloc();
	mode_calloc();
	mode_realloc();
	mode_realloc_failed();
	mode_reallocarray();
	mode_posix_memalign();
	mode_aligned();
	mode_free_null();
	mode_big();
}

static void mode_idle(void)
{
}

static const struct {
	const char *name;
	void (*run)(void);
} modes[] = {
	{"malloc", mode_malloc},
	{"calloc", mode_calloc},
	{"realloc", mode_realloc},
	{"realloc-failed", mode_realloc_failed},
	{"reallocarray", mode_reallocarray},
	{"posix_memalign", mode_posix_memalign},
	{"aligned", mode_aligned},
	{"pvalloc", mode_pvalloc},
	{"strdup", mode_strdup},
	{"asprintf", mode_asprintf},
	{"free-null", mode_free_null},
	{"big", mode_big},
	{"terabyte", mode_terabyte},
	{"resident", mode_resident},
	{"all", mode_all},
	{"idle", mode_idle},
};

int main(int argc, char **argv)
{
	const char *mode = leaker__arg(argc, argv, 1, "all");

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(modes[i].name, mode))
			continue;
		leaker__ready(argc, argv);
		modes[i].run();
		leaker__expect(sites, SITE_CNT);
		leaker__done();
		return atoi(leaker__arg(argc, argv, 2, "0"));
	}
	return 2;
}
