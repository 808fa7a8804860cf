/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process that does one thing over and over and says what one costs: pairs [CPU...]
 *
 * Reads "OP FRAMES THREADS MILLISECONDS" from stdin, one line for each measurement, and answers
 * with a line of numbers: ns of wall time for each call, averaged over the run (and over the
 * threads). Ends at end of file.
 *
 *   pair      malloc(64) and free of it
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
#define BLOCK_BYTES 64
#define CALLS_PER_LOOK 256
#define BATCH_CNT 2048

struct job {
	void (*batch)(
		struct job *job); /* CALLS_PER_LOOK calls, or one batch that takes its own times */
	int frames;
	uint64_t run_ns;
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

static const struct {
	const char *name;
	void (*batch)(struct job *job);
} ops[] = {
	{"pair", batch_pair},	    {"null", batch_null},   {"map", batch_map},
	{"syscall", batch_syscall}, {"idle", batch_idle},   {"resize", batch_resize},
	{"refuse", batch_refuse},   {"split", batch_split},
};

FRAME_FN static void repeat(struct job *job, uint64_t until_ns)
{
	do
		job->batch(job);
	while (now_ns() < until_ns);
}

FRAME_FN static void descend(struct job *job, int left, uint64_t until_ns)
{
	if (left > 0)
		descend(job, left - 1, until_ns);
	else
		repeat(job, until_ns);
	KEEP(job);
}

/* Frames: the batch, repeat, run_job, main, and as many of descend as are still missing. */
FRAME_FN static void run_job(struct job *job)
{
	uint64_t start = now_ns();
	int missing = job->frames - 4;

	if (missing > 0)
		descend(job, missing - 1, start + job->run_ns);
	else
		repeat(job, start + job->run_ns);
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
