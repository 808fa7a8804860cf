/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process whose heap has a story, and that knows the numbers itself: it says, in one line, what
 * mallinfo2(3) does (arena uordblks fordblks fsmblks keepcost hblkhd), and how many bytes are in
 * its blocks, then waits until its input ends. Blocks' bytes are all written.
 *
 *   heap_story STORY
 */
#include <malloc.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB (1 << 20)
#define MAX_BLOCKS (1 << 20)

static void *blocks[MAX_BLOCKS];
static size_t block_cnt;

static void fill(size_t bytes, size_t size)
{
	size_t cnt = bytes / size;

	for (size_t i = 0; i < cnt && block_cnt < MAX_BLOCKS; i++) {
		void *block = malloc(size);

		if (!block)
			abort();
		/* The first word is the program's, as it is in most programs. */
		memset(block, 0x55, size);
		blocks[block_cnt++] = block;
	}
}

static void drop(size_t i)
{
	free(blocks[i]);
	blocks[i] = NULL;
}

static void drop_but_each(size_t keep)
{
	for (size_t i = 0; i < block_cnt; i++)
		if (i % keep && i + 1 < block_cnt)
			drop(i);
}

/* In an order that has nothing to do with where they lie. */
static void drop_shuffled(size_t keep)
{
	size_t at = 0;

	for (size_t i = 0; i < block_cnt; i++) {
		at = (at + 388211) % block_cnt; /* a prime */
		if (at % keep && at + 1 < block_cnt)
			drop(at);
	}
}

static void retain(void)
{
	fill(200 * MIB, 1000);
	drop_but_each(1000);
}

static void make_holes(void)
{
	fill(60 * MIB, 2000);
	drop_but_each(2);
}

static void use_fast_bins(void)
{
	fill(30 * MIB, 100);
	drop_but_each(500);
}

static void use_fast_bins_shuffled(void)
{
	fill(30 * MIB, 60);
	drop_shuffled(500);
}

static void use_cache(void)
{
	fill(20 * 200, 200);
	for (size_t i = 0; i < 5; i++)
		drop(i);
}

/* Without effect in another malloc. */
static void set_threshold(bool is_of_mmap, int bytes)
{
#ifdef __GLIBC__
	mallopt(is_of_mmap ? M_MMAP_THRESHOLD : M_TRIM_THRESHOLD, bytes);
#else
	(void)is_of_mmap;
	(void)bytes;
#endif
}

static void leave_top(void)
{
	set_threshold(false, 1 << 30);
	fill(30 * MIB, 5000);
	for (size_t i = block_cnt; i-- > block_cnt / 3;)
		drop(i);
}

static void use_big_blocks(void)
{
	set_threshold(true, 128 << 10);
	fill(40 * MIB, MIB);
	fill(3 * MIB, 200000);
	for (size_t i = 0; i < 7; i++)
		drop(i * 3);
}

static void *run_thread(void *arg)
{
	size_t cnt = 90 * MIB / 1500;
	void **own = malloc(cnt * sizeof(*own));

	for (size_t i = 0; i < cnt; i++) {
		own[i] = malloc(1500);
		memset(own[i], 1, 1500);
	}
	for (size_t i = 0; i < cnt; i++)
		if (i % 3)
			free(own[i]);
	pthread_barrier_wait(arg);
	for (;;)
		pause();
	return NULL;
}

static void use_threads(void)
{
	static pthread_barrier_t barrier;
	pthread_t thread;

	pthread_barrier_init(&barrier, NULL, 4);
	for (int i = 0; i < 3; i++)
		if (pthread_create(&thread, NULL, run_thread, &barrier))
			abort();
	pthread_barrier_wait(&barrier);
	fill(5 * MIB, 700);
}

/* Somebody else's memory in the midst of the heap. */
static void use_sbrk(void)
{
	fill(3 * MIB, 3000);
	memset(sbrk(100000), 0x11, 100000);
	fill(3 * MIB, 3000);
	drop_but_each(3);
}

static void use_huge_pages(void)
{
	char *memory =
		mmap(NULL, 32 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		abort();
	madvise(memory, 32 * MIB, MADV_HUGEPAGE);
	for (size_t i = 0; i < 32 * MIB; i += 2 * MIB)
		memory[i] = 1;
}

static void map_memory(void)
{
	char *memory =
		mmap(NULL, 32 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *shared =
		mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED || shared == MAP_FAILED)
		abort();
	madvise(memory, 32 * MIB, MADV_NOHUGEPAGE);
	memset(memory, 1, 20 * MIB);
	memset(shared, 1, 16 * MIB);
}

#define HELD_CNT 20000

static void *churn(void *arg)
{
	void **held = calloc(HELD_CNT, sizeof(*held));
	unsigned int random = 1;

	if (!held)
		abort();
	for (unsigned long n = 0;; n++) {
		unsigned int i, size;

		random = random * 1103515245 + 12345;
		i = (random >> 8) % HELD_CNT;
		size = 16 + (random >> 4) % 1500;
		free(held[i]);
		held[i] = malloc(size);
		if (!held[i])
			abort();
		memset(held[i], 0x55, size);
		if (n == 200000)
			pthread_barrier_wait(arg);
	}
}

static void be_busy(void)
{
	static pthread_barrier_t barrier;
	pthread_t thread;

	pthread_barrier_init(&barrier, NULL, 3);
	for (int i = 0; i < 2; i++)
		if (pthread_create(&thread, NULL, churn, &barrier))
			abort();
	pthread_barrier_wait(&barrier);
}

static void rest(void)
{
}

static const struct {
	const char *name;
	void (*run)(void);
} stories[] = {
	{"retain", retain},	 {"holes", make_holes},
	{"fast", use_fast_bins}, {"shuffled", use_fast_bins_shuffled},
	{"cache", use_cache},	 {"top", leave_top},
	{"big", use_big_blocks}, {"threads", use_threads},
	{"sbrk", use_sbrk},	 {"huge", use_huge_pages},
	{"mapped", map_memory},	 {"busy", be_busy},
	{"rest", rest},
};

static size_t live_bytes(void)
{
	size_t bytes = 0;

	for (size_t i = 0; i < block_cnt; i++)
		if (blocks[i])
			bytes += malloc_usable_size(blocks[i]) + sizeof(size_t);
	return bytes;
}

int main(int argc, char **argv)
{
	static char line[256];
	size_t live;
	int len = 0;

	for (size_t i = 0; i < sizeof(stories) / sizeof(stories[0]); i++)
		if (argc > 1 && !strcmp(argv[1], stories[i].name))
			stories[i].run();
	live = live_bytes();
#ifdef __GLIBC__
	struct mallinfo2 info = mallinfo2();

	len = snprintf(line, sizeof(line), "%zu %zu %zu %zu %zu %zu %zu\n", info.arena,
		       info.uordblks, info.fordblks, info.fsmblks, info.keepcost, info.hblkhd,
		       live);
#else
	len = snprintf(line, sizeof(line), "0 0 0 0 0 0 %zu\n", live);
#endif
	if (write(1, line, (size_t)len) != len)
		return 1;
	while (read(0, line, sizeof(line)) > 0)
		;
	return 0;
}
