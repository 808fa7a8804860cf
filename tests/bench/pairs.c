/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process that does one thing over and over and says what one costs: pairs [CPU...]
 *
 * Reads "OP FRAMES THREADS MILLISECONDS" from stdin, one line for each measurement, and answers
 * with a line of numbers: ns of wall time for each call, averaged over the run (and over the
 * threads). Ends at end of file.
 *
 *   pair      malloc(64) and free of it
 *   whole     the same below frames of different functions, always the same stack
 *   shift     the same, each pair below another of 16 stacks that differ in one function near main;
 *             what is below that stands at the same addresses, and the way down is part of the cost
 *   null      free(NULL)
 *   map       mmap and munmap of one page
 *   syscall   getppid
 *   idle      arithmetic only
 *   resize    realloc of a block to the size it has
 *   refuse    a malloc that fails
 *   split     two numbers: batches of malloc(64), then of free
 *
 * FRAMES is the number of frames of this program from the calling function up to main (or the
 * thread's function). Each thread stays on the CPU of its number in the list.
 *
 * The program is built twice, with frame pointers and, as pairs_nofp, without.
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifdef __clang__
#define FRAME_FN __attribute__((noinline, used))
#else
#define FRAME_FN __attribute__((noipa, used))
#endif
#define KEEP(p) __asm__ volatile("" : : "g"(p) : "memory")

#define MAX_THREADS 8
#define LEVEL_CNT 40
#define ROOT_CNT 16
#define BLOCK_BYTES 64
#define CALLS_PER_LOOK 256
#define BATCH_CNT 2048

enum way { WAY_EQUAL, WAY_WHOLE, WAY_SHIFT };

struct job {
	void (*batch)(
		struct job *job); /* CALLS_PER_LOOK calls, or one batch that takes its own times */
	enum way way;
	void (*bottom)(struct job *job); /* whole, shift: what the lowest level calls ... */
	void (*top)(struct job *job);	 /* ... and the highest level */
	int frames;
	uint64_t run_ns, until_ns;
	uint64_t calls, elapsed_ns; /* out; of the first half of a split */
	uint64_t second_ns;	    /* out; of its second half */
	bool split;
	int cpu;
	pthread_barrier_t *start;
};

static void *blocks[BATCH_CNT];
static volatile uint64_t sink;

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

FRAME_FN static void batch_pair(struct job *job)
{
	for (int i = 0; i < CALLS_PER_LOOK; i++) {
		void *p = malloc(BLOCK_BYTES);

		KEEP(p);
		free(p);
	}
	job->calls += CALLS_PER_LOOK;
}

FRAME_FN static void batch_null(struct job *job)
{
	for (int i = 0; i < CALLS_PER_LOOK; i++) {
		void *p = NULL;

		__asm__ volatile("" : "+r"(p));
		free(p);
	}
	job->calls += CALLS_PER_LOOK;
}

FRAME_FN static void batch_map(struct job *job)
{
	for (int i = 0; i < CALLS_PER_LOOK; i++) {
		void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			       0);

		if (p == MAP_FAILED || munmap(p, 4096))
			_exit(3);
	}
	job->calls += CALLS_PER_LOOK;
}

FRAME_FN static void batch_syscall(struct job *job)
{
	for (int i = 0; i < CALLS_PER_LOOK; i++)
		sink += (uint64_t)getppid();
	job->calls += CALLS_PER_LOOK;
}

FRAME_FN static void batch_idle(struct job *job)
{
	uint64_t x = job->calls + 88172645463325252u;

	for (int i = 0; i < CALLS_PER_LOOK; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	sink += x;
	job->calls += CALLS_PER_LOOK;
}

FRAME_FN static void batch_resize(struct job *job)
{
	void *p = blocks[0] ? blocks[0] : malloc(BLOCK_BYTES);

	for (int i = 0; i < CALLS_PER_LOOK; i++) {
		p = realloc(p, BLOCK_BYTES);
		KEEP(p);
	}
	blocks[0] = p;
	job->calls += CALLS_PER_LOOK;
}

FRAME_FN static void batch_refuse(struct job *job)
{
	volatile size_t bytes = SIZE_MAX;

	for (int i = 0; i < CALLS_PER_LOOK; i++) {
		void *p = malloc(bytes);

		KEEP(p);
		if (p)
			_exit(3);
	}
	job->calls += CALLS_PER_LOOK;
}

FRAME_FN static void batch_split(struct job *job)
{
	uint64_t start = now_ns(), middle;

	for (int i = 0; i < BATCH_CNT; i++)
		blocks[i] = malloc(BLOCK_BYTES);
	middle = now_ns();
	for (int i = 0; i < BATCH_CNT; i++)
		free(blocks[i]);
	job->second_ns += now_ns() - middle;
	job->elapsed_ns += middle - start;
	job->calls += BATCH_CNT;
	blocks[0] = NULL;
}

FRAME_FN static void one_pair(struct job *job)
{
	void *p = malloc(BLOCK_BYTES);

	KEEP(p);
	free(p);
	job->calls++;
}

FRAME_FN static void repeat(struct job *job)
{
	do
		job->batch(job);
	while (now_ns() < job->until_ns);
}

FRAME_FN static void descend(struct job *job, int left)
{
	if (left > 0)
		descend(job, left - 1);
	else
		repeat(job);
	KEEP(job);
}

/* Frames: the batch, repeat, run_job, main, and as many of descend as are still missing. */
static inline __attribute__((always_inline)) void go_equal(struct job *job)
{
	if (job->frames > 4)
		descend(job, job->frames - 5);
	else
		repeat(job);
}

/* Frames like those of real programs: each function is another one, their sizes differ. */
#define LEVEL(number, below)                                                                       \
	FRAME_FN static void level_##number(struct job *job)                                       \
	{                                                                                          \
		char room[16 + 16 * (number % 5)];                                                 \
                                                                                                   \
		KEEP(room);                                                                        \
		below(job);                                                                        \
		KEEP(room);                                                                        \
	}

#define TEN_LEVELS(ten, below)                                                                     \
	LEVEL(ten##0, below)                                                                       \
	LEVEL(ten##1, level_##ten##0)                                                              \
	LEVEL(ten##2, level_##ten##1)                                                              \
	LEVEL(ten##3, level_##ten##2)                                                              \
	LEVEL(ten##4, level_##ten##3)                                                              \
	LEVEL(ten##5, level_##ten##4)                                                              \
	LEVEL(ten##6, level_##ten##5)                                                              \
	LEVEL(ten##7, level_##ten##6)                                                              \
	LEVEL(ten##8, level_##ten##7)                                                              \
	LEVEL(ten##9, level_##ten##8)

TEN_LEVELS(1, job->bottom)
TEN_LEVELS(2, level_19)
TEN_LEVELS(3, level_29)
TEN_LEVELS(4, level_39)

#define TEN_NAMES(ten)                                                                             \
	level_##ten##0, level_##ten##1, level_##ten##2, level_##ten##3, level_##ten##4,            \
		level_##ten##5, level_##ten##6, level_##ten##7, level_##ten##8, level_##ten##9

static void (*const levels[LEVEL_CNT])(struct job *job) = {TEN_NAMES(1), TEN_NAMES(2), TEN_NAMES(3),
							   TEN_NAMES(4)};

/* All alike but for their addresses. */
#define ROOT(number)                                                                               \
	FRAME_FN static void root_##number(struct job *job)                                        \
	{                                                                                          \
		__asm__ volatile("" : : "i"(number));                                              \
		job->top(job);                                                                     \
		KEEP(job);                                                                         \
	}

#define FOUR_ROOTS(a, b, c, d) ROOT(a) ROOT(b) ROOT(c) ROOT(d)

FOUR_ROOTS(0, 1, 2, 3)
FOUR_ROOTS(4, 5, 6, 7)
FOUR_ROOTS(8, 9, 10, 11)
FOUR_ROOTS(12, 13, 14, 15)

static void (*const roots[ROOT_CNT])(struct job *job) = {
	root_0, root_1, root_2,	 root_3,  root_4,  root_5,  root_6,  root_7,
	root_8, root_9, root_10, root_11, root_12, root_13, root_14, root_15,
};

static void (*top_of(int level_cnt))(struct job *job)
{
	if (level_cnt < 1 || level_cnt > LEVEL_CNT)
		_exit(2);
	return levels[level_cnt - 1];
}

/* Frames: the batch, repeat, the levels, run_job, main. */
static inline __attribute__((always_inline)) void go_whole(struct job *job)
{
	job->bottom = repeat;
	top_of(job->frames - 4)(job);
}

/* Frames: one_pair, the levels, the root, run_job, main. */
static inline __attribute__((always_inline)) void go_shift(struct job *job)
{
	job->bottom = one_pair;
	job->top = top_of(job->frames - 4);
	do {
		for (int i = 0; i < CALLS_PER_LOOK; i++)
			roots[i % ROOT_CNT](job);
	} while (now_ns() < job->until_ns);
}

static const struct {
	const char *name;
	void (*batch)(struct job *job);
	enum way way;
} ops[] = {
	{"pair", batch_pair},
	{"whole", batch_pair, WAY_WHOLE},
	{"shift", one_pair, WAY_SHIFT},
	{"null", batch_null},
	{"map", batch_map},
	{"syscall", batch_syscall},
	{"idle", batch_idle},
	{"resize", batch_resize},
	{"refuse", batch_refuse},
	{"split", batch_split},
};

FRAME_FN static void run_job(struct job *job)
{
	uint64_t start = now_ns();

	job->until_ns = start + job->run_ns;
	if (job->way == WAY_EQUAL)
		go_equal(job);
	else if (job->way == WAY_WHOLE)
		go_whole(job);
	else
		go_shift(job);
	if (!job->split)
		job->elapsed_ns = now_ns() - start;
}

static void stay_on(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void *thread_main(void *arg)
{
	struct job *job = arg;

	stay_on(job->cpu);
	pthread_barrier_wait(job->start);
	run_job(job);
	return NULL;
}

static void run_threads(struct job *jobs, int thread_cnt)
{
	pthread_t threads[MAX_THREADS];
	pthread_barrier_t start;

	if (pthread_barrier_init(&start, NULL, (unsigned int)thread_cnt))
		_exit(3);
	for (int i = 0; i < thread_cnt; i++) {
		jobs[i].start = &start;
		if (pthread_create(&threads[i], NULL, thread_main, &jobs[i]))
			_exit(3);
	}
	for (int i = 0; i < thread_cnt; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&start);
}

static void answer(const struct job *jobs, int thread_cnt)
{
	double first = 0, second = 0;

	for (int i = 0; i < thread_cnt; i++) {
		first += (double)jobs[i].elapsed_ns / (double)jobs[i].calls / thread_cnt;
		second += (double)jobs[i].second_ns / (double)jobs[i].calls / thread_cnt;
	}
	if (jobs[0].split)
		printf("%.3f %.3f\n", first, second);
	else
		printf("%.3f\n", first);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	char *line = NULL;
	size_t room = 0;

	stay_on(argc > 1 ? atoi(argv[1]) : -1);
	while (getline(&line, &room, stdin) > 0) {
		struct job jobs[MAX_THREADS] = {};
		int frames, thread_cnt, run_ms;
		char name[16];
		size_t op = 0;

		if (sscanf(line, "%15s %d %d %d", name, &frames, &thread_cnt, &run_ms) != 4)
			return 2;
		while (op < sizeof(ops) / sizeof(*ops) && strcmp(ops[op].name, name) != 0)
			op++;
		if (op == sizeof(ops) / sizeof(*ops) || thread_cnt < 1 || thread_cnt > MAX_THREADS)
			return 2;
		for (int i = 0; i < thread_cnt; i++) {
			jobs[i].batch = ops[op].batch;
			jobs[i].way = ops[op].way;
			jobs[i].split = ops[op].batch == batch_split;
			jobs[i].frames = frames;
			jobs[i].run_ns = (uint64_t)run_ms * 1000000;
			jobs[i].cpu = i + 1 < argc ? atoi(argv[i + 1]) : -1;
		}
		if (thread_cnt == 1)
			run_job(&jobs[0]);
		else
			run_threads(jobs, thread_cnt);
		answer(jobs, thread_cnt);
	}
	free(line);
	return 0;
}
