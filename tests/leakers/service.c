/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A service whose memory grows, or only looks as if it did, in one known way and at a steady pace
 * for as long as it runs.
 *
 *   service [--rate N] KIND [NUMBER]
 *
 *   leak BYTES_PER_MIN   small blocks that nobody frees
 *   leakcache BYTES_PER_MIN
 *                        the same beside a cache of 10 seconds and a start-up load of 64 MiB
 *   cache [LIFE_S]       a cache: 500 blocks a second, each freed after so long (10)
 *   replace              nothing but random ones of a full table, freed once there is a new one
 *   startup [MIB]        small blocks that are loaded in the first three seconds and kept (64)
 *   retained             each two seconds a peak of a fifth of a second, a little higher than the
 *                        last one: all its blocks are freed but for a few, which keep malloc from
 *                        giving back its heap
 *   mmap BYTES_PER_MIN   mappings that are written and kept
 *   plain                nothing but what runs beside the others
 *
 * Beside each kind but "replace" N blocks a second (100 000) of the same size class come and go:
 * half of them are scratch memory of a moment, half replace one of the table. All come in random
 * order.
 *
 *   service -> test   READY <pid>   the table is full, now it begins
 *   service -> test   {json}        the truth: at SIGUSR1, and at its end
 *
 * The truth: "pid", "kind", "seconds" since READY, "settled" (whether what the kind does at its
 * start was over half of that time ago), "leak" (the function that leaks, or null), "leaked_bytes"
 * (asked for), "functions" and "mmap" as in the leakers' EXPECT.
 *
 * It ends on SIGTERM, and when nobody holds the other end of its stdin any more.
 */
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

#include "leaker.h"

#define NS_PER_SEC 1000000000ULL
#define STEP_NS 2000000
#define LAG_S 0.02 /* of churn that is made up for, when others had the CPU */

#define LEAK_BYTES 100
#define CLASS_MIN_BYTES 90 /* glibc has one size for these, and for those of the leak */
#define CLASS_MAX_BYTES 104
#define SCRATCH_CNT 32
#define TABLE_CNT 16384
#define CACHE_PER_S 500
#define CACHE_LIFE_S 10
#define CACHE_MAX_LIFE_S 3600
#define LOAD_MIB 64
#define LOAD_S 3.0
#define PEAK_BYTES 1000
#define PEAK_STEPS_S 50 /* steps of a peak in a second */
#define PEAK_STEPS 100
#define PEAK_UP_STEPS 10 /* of them raise it, then it is over */
#define PEAK_FIRST_CNT 16000
#define PEAK_MORE_CNT 320
#define PEAK_MAX_CNT 400000
#define PEAK_KEEP_EVERY 2000
#define REGION_BYTES (256 << 10)

struct block {
	uint64_t *words; /* NULL = there is none */
	size_t bytes;
	double until_s;
};

/* What one function does again and again. */
struct stream {
	void (*make)(void);
	double per_s;
	uint64_t most; /* times, then it is over */
	bool may_lag;  /* what there was no time for is left out */
	uint64_t done, due;
};

enum {
	LEAK,
	CHURN,
	REPLACE,
	CACHE,
	LOAD,
	PEAK,
	REGION,
	SITE_CNT,
};

static struct site sites[SITE_CNT] = {
	[LEAK] = {"leak_block"},
	[CHURN] = {"churn_block"},
	[REPLACE] = {"replace_block"},
	[CACHE] = {"cache_block"},
	[LOAD] = {"load_block"},
	[PEAK] = {"peak_block"},
	[REGION] = {"map_region", SITE_MMAP},
};

static struct stream streams[5];
static size_t stream_cnt;
static const struct site *leak; /* NULL = none leaks */
static double start_s, now_s;	/* now: since the start */
static double rest_s;		/* then the kind has done what it does only at its start */
static volatile sig_atomic_t stopping, asked;

static uint64_t random_state = 0x9e3779b97f4a7c15;

/* xorshift64* (Vigna 2016) */
static uint64_t next_random(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * 0x2545f4914f6cdd1d;
}

static void fill(uint64_t *words, size_t bytes)
{
	for (size_t i = 0; i < bytes / sizeof(*words); i++)
		words[i] = next_random();
}

static size_t any_size(void)
{
	return CLASS_MIN_BYTES + next_random() % (CLASS_MAX_BYTES - CLASS_MIN_BYTES + 1);
}

/* The caller's own call of malloc came first: it is the site. */
static void block__set(struct block *block, int site, void *p, size_t bytes)
{
	LEAKER_CHECK(p);
	*block = (struct block){.words = note_alloc(&sites[site], p, bytes), .bytes = bytes};
	fill(block->words, bytes);
}

static void block__free(struct block *block, int site)
{
	if (!block->words)
		return;
	note_free(&sites[site], block->bytes);
	free(block->words);
	block->words = NULL;
}

/* ---- the functions ----------------------------------------------------------------------- */

/* What is kept for ever hangs on a list, as in a program that has only forgotten what for. */
static void chain(uint64_t **list, int site, void *p, size_t bytes)
{
	struct block block;

	block__set(&block, site, p, bytes);
	block.words[0] = (uintptr_t)*list;
	*list = block.words;
}

static SITE_FN void leak_block(void)
{
	static uint64_t *leaked;
	void *p = malloc(LEAK_BYTES);

	KEEP(p);
	chain(&leaked, LEAK, p, LEAK_BYTES);
}

static SITE_FN void load_block(void)
{
	static uint64_t *loaded;
	void *p = malloc(LEAK_BYTES);

	KEEP(p);
	chain(&loaded, LOAD, p, LEAK_BYTES);
}

static SITE_FN void map_region(void)
{
	static uint64_t *regions;
	void *p = mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0);

	LEAKER_CHECK(p != MAP_FAILED);
	chain(&regions, REGION, p, REGION_BYTES);
}

static SITE_FN void churn_block(void)
{
	static struct block scratch[SCRATCH_CNT];
	static size_t next;
	struct block *block = &scratch[next++ % SCRATCH_CNT], old = *block;
	size_t bytes = any_size();
	void *p = malloc(bytes);

	KEEP(p);
	block__set(block, CHURN, p, bytes);
	block__free(&old, CHURN);
}

static struct block table[TABLE_CNT];

static SITE_FN void replace_block(void)
{
	struct block *block = &table[next_random() % TABLE_CNT], old = *block;
	size_t bytes = any_size();
	void *p = malloc(bytes);

	KEEP(p);
	block__set(block, REPLACE, p, bytes);
	block__free(&old, REPLACE);
}

static struct block *cache;
static size_t cache_room;
static double cache_life_s;

static SITE_FN void cache_block(void)
{
	static size_t oldest, newest;
	size_t bytes = any_size();
	void *p;

	while (oldest != newest && cache[oldest % cache_room].until_s <= now_s)
		block__free(&cache[oldest++ % cache_room], CACHE);
	LEAKER_CHECK(newest - oldest < cache_room);
	p = malloc(bytes);
	KEEP(p);
	block__set(&cache[newest % cache_room], CACHE, p, bytes);
	cache[newest++ % cache_room].until_s = now_s + cache_life_s;
}

static struct block peak[PEAK_MAX_CNT];
static size_t peak_cnt;

static SITE_FN void peak_block(void)
{
	void *p = malloc(PEAK_BYTES);

	KEEP(p);
	block__set(&peak[peak_cnt++], PEAK, p, PEAK_BYTES);
}

/* Frees the last peak's few, and of this one all but as many. Its end is kept: it would be
 * trimmed. */
static void end_peak(void)
{
	static struct block few[PEAK_MAX_CNT / PEAK_KEEP_EVERY + 2];
	static size_t few_cnt;

	while (few_cnt)
		block__free(&few[--few_cnt], PEAK);
	for (size_t i = 0; i < peak_cnt; i++) {
		if (i % PEAK_KEEP_EVERY && i + 1 < peak_cnt)
			block__free(&peak[i], PEAK);
		else
			few[few_cnt++] = peak[i];
	}
	peak_cnt = 0;
}

/* Each peak is as much higher as makes 9.6 MB a minute. */
static SITE_FN void step_peak(void)
{
	static size_t step, goal = PEAK_FIRST_CNT;

	for (size_t i = 0; step < PEAK_UP_STEPS && i < goal / PEAK_UP_STEPS; i++)
		peak_block();
	if (step == PEAK_UP_STEPS)
		end_peak();
	if (++step < PEAK_STEPS)
		return;
	step = 0;
	if (goal + PEAK_MORE_CNT <= PEAK_MAX_CNT)
		goal += PEAK_MORE_CNT;
}

/* ---- the kinds --------------------------------------------------------------------------- */

static struct stream *run(void (*make)(void), double per_s)
{
	struct stream *stream = &streams[stream_cnt++];

	*stream = (struct stream){.make = make, .per_s = per_s, .most = UINT64_MAX};
	return stream;
}

static void run_table(double rate)
{
	run(replace_block, rate)->may_lag = true;
	for (size_t i = 0; i < TABLE_CNT; i++) {
		size_t bytes = any_size();

		block__set(&table[i], REPLACE, malloc(bytes), bytes);
	}
}

static void run_plain(double number, double rate)
{
	(void)number;
	run(churn_block, rate / 2)->may_lag = true;
	run_table(rate / 2);
}

static void run_leak(double number, double rate)
{
	run_plain(number, rate);
	run(leak_block, number / LEAK_BYTES / 60);
	leak = &sites[LEAK];
}

static void add_cache(double life_s)
{
	LEAKER_CHECK(life_s <= CACHE_MAX_LIFE_S);
	run(cache_block, CACHE_PER_S);
	cache_life_s = rest_s = life_s;
	cache_room = 2 * CACHE_PER_S * (size_t)life_s;
	cache = malloc(cache_room * sizeof(*cache));
	LEAKER_CHECK(cache);
	/* Resident from the start: only what is cached may grow. */
	memset(cache, 0xff, cache_room * sizeof(*cache));
}

static void add_load(double mib)
{
	uint64_t most = (uint64_t)(mib * (1 << 20) / LEAK_BYTES);

	run(load_block, (double)most / LOAD_S)->most = most;
	rest_s = LOAD_S;
}

static void run_cache(double number, double rate)
{
	run_plain(number, rate);
	add_cache(number);
}

static void run_leakcache(double number, double rate)
{
	run_leak(number, rate);
	add_load(LOAD_MIB);
	add_cache(CACHE_LIFE_S); /* the last one: it takes longer to rest */
}

static void run_replace(double number, double rate)
{
	(void)number;
	run_table(rate);
}

static void run_startup(double number, double rate)
{
	run_plain(number, rate);
	add_load(number);
}

static void run_retained(double number, double rate)
{
	run_plain(number, rate);
	run(step_peak, PEAK_STEPS_S);
	rest_s = (double)PEAK_STEPS / PEAK_STEPS_S;
}

static void run_mmap(double number, double rate)
{
	run_plain(number, rate);
	run(map_region, number / REGION_BYTES / 60);
	leak = &sites[REGION];
}

static const struct kind {
	const char *name;
	void (*run)(double number, double rate);
	double number; /* when none is given; 0 = it has to be, below 0 = there is none */
} kinds[] = {
	{"leak", run_leak, 0},
	{"leakcache", run_leakcache, 0},
	{"cache", run_cache, CACHE_LIFE_S},
	{"replace", run_replace, -1},
	{"startup", run_startup, LOAD_MIB},
	{"retained", run_retained, -1},
	{"mmap", run_mmap, 0},
	{"plain", run_plain, -1},
};

/* ---- the run ----------------------------------------------------------------------------- */

/* Returns how often all functions together have to be called now. */
static uint64_t streams__due(void)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < stream_cnt; i++) {
		struct stream *stream = &streams[i];
		uint64_t goal = (uint64_t)(now_s * stream->per_s);
		uint64_t lag = (uint64_t)(LAG_S * stream->per_s) + 1;

		if (goal > stream->most)
			goal = stream->most;
		if (stream->may_lag && goal - stream->done > lag)
			stream->done = goal - lag;
		stream->due = goal - stream->done;
		stream->done = goal;
		sum += stream->due;
	}
	return sum;
}

/* Chooses one of the `left` calls that are still due. */
static struct stream *streams__choose(uint64_t left)
{
	uint64_t at = next_random() % left;
	struct stream *stream = streams;

	for (; at >= stream->due; stream++)
		at -= stream->due;
	stream->due--;
	return stream;
}

static void tell_truth(const char *kind)
{
	leaker__add("{\"pid\":%d,\"kind\":\"%s\",\"seconds\":%.3f,\"settled\":%s,", (int)getpid(),
		    kind, now_s, now_s >= 2 * rest_s ? "true" : "false");
	if (leak)
		leaker__add("\"leak\":\"%s\",", leak->name);
	else
		leaker__add("\"leak\":null,");
	leaker__add("\"leaked_bytes\":%lld,\"functions\":{", leak ? leak->alloc_bytes : 0);
	leaker__add_sites(sites, SITE_CNT, SITE_LEAF);
	leaker__add("},\"mmap\":{");
	leaker__add_sites(sites, SITE_CNT, SITE_MMAP);
	leaker__add("}}\n");
	leaker__flush();
}

static double clock_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / NS_PER_SEC;
}

/* Sleeps to the end of the step that has begun. */
static void await_step(void)
{
	struct timespec ts;
	uint64_t ns;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ns = (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
	ns += STEP_NS - ns % STEP_NS;
	ts = (struct timespec){(time_t)(ns / NS_PER_SEC), (long)(ns % NS_PER_SEC)};
	clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

static bool is_left_alone(void)
{
	struct pollfd fd = {.fd = STDIN_FILENO};

	return poll(&fd, 1, 0) > 0 && fd.revents & (POLLHUP | POLLNVAL);
}

static SITE_FN void serve(const char *kind)
{
	for (uint64_t step = 0; !stopping && (step % 64 || !is_left_alone()); step++) {
		now_s = clock_s() - start_s;
		for (uint64_t left = streams__due(); left; left--)
			streams__choose(left)->make();
		if (asked) {
			asked = 0;
			tell_truth(kind);
		}
		await_step();
	}
}

static void on_signal(int sig)
{
	if (sig == SIGUSR1)
		asked = 1;
	else
		stopping = 1;
}

/* Returns false if the text is no number above 0. */
static bool parse_number(const char *text, double *ret_number)
{
	char *end;

	errno = 0;
	*ret_number = (double)strtoull(text, &end, 10);
	return !errno && end != text && !*end && *ret_number > 0;
}

static const struct kind *parse(int argc, char **argv, double *ret_number, double *ret_rate)
{
	static const struct option options[] = {{"rate", required_argument, NULL, 'r'}, {}};
	int opt, rest;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt != 'r' || !parse_number(optarg, ret_rate))
			return NULL;
	}
	rest = argc - optind;
	for (size_t i = 0; rest && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (strcmp(argv[optind], kinds[i].name))
			continue;
		*ret_number = kinds[i].number;
		if (rest == 1)
			return kinds[i].number ? &kinds[i] : NULL;
		if (rest > 2 || kinds[i].number < 0 || !parse_number(argv[optind + 1], ret_number))
			return NULL;
		return &kinds[i];
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = on_signal};
	const struct kind *kind;
	double number, rate = 100000;

	kind = parse(argc, argv, &number, &rate);
	if (!kind) {
		fprintf(stderr,
			"usage: service [--rate N] leak BYTES_PER_MIN|leakcache BYTES_PER_MIN|"
			"cache [LIFE_S]|replace|startup [MIB]|retained|mmap BYTES_PER_MIN|"
			"plain\n");
		return 2;
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGUSR1, &action, NULL);
	kind->run(number, rate);
	leaker__add("READY %d\n", (int)getpid());
	leaker__flush();
	start_s = clock_s();
	serve(kind->name);
	tell_truth(kind->name);
	return 0;
}
