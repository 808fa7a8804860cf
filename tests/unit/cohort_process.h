/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A simulated process for the cohort's tests: services that allocate, a heap that gives freed
 * addresses out again, and windows in which a cohort sees it. Nothing in it is random but by its
 * seed.
 *
 * In a window each call happens at its rate. Between windows the churn runs at a fiftieth of it:
 * nobody sees it there, and it only takes and gives back what is on top of the free list.
 */
#ifndef LEAKSWEEP_TESTS_COHORT_PROCESS_H
#define LEAKSWEEP_TESTS_COHORT_PROCESS_H

#include <math.h>
#include <string.h>

#include "model/cohort.h"
#include "util/array.h"
#include "util/clock.h"
#include "util/hashmap.h"

#define MAX_SERVICES 24
#define MAX_HEAP_CLASSES 16
#define WINDOW_NS (10.0 * NS_PER_MS)
#define TRACED_SHARE 0.012
#define IS_FREE (1ULL << 63) /* of what a place contains */

enum heap_order { HEAP_LIFO, HEAP_FIFO, HEAP_RANDOM };

/* Blocks of one size: an address is a place of it. */
struct heap_class {
	uint32_t bytes;
	enum heap_order order;
	uint32_t spare;		  /* places that are free from the beginning */
	bool tells_free;	  /* a reader sees which are */
	ARRAY(uint64_t) contents; /* by place: number << 8 | service */
	ARRAY(uint32_t) free;	  /* places; of HEAP_FIFO from free_first on */
	size_t free_first;
};

enum service_kind {
	SERVICE_LEAK,	 /* keeps all */
	SERVICE_FIFO,	 /* keeps the last `capacity` */
	SERVICE_REPLACE, /* keeps `capacity`, a new one takes the place of any */
	SERVICE_LRU,	 /* as FIFO, but half of those whose turn it is were used and stay */
	SERVICE_STARTUP, /* keeps all, until `until_s` */
	SERVICE_MIXED,	 /* keeps each fourth, and of the others the last `capacity` */
	SERVICE_RESIZE,	 /* one block that is made anew, larger each time */
};

struct service {
	const char *name;
	enum service_kind kind;
	uint32_t class;
	double per_s;		  /* calls */
	uint32_t capacity, burst; /* blocks made by one call, 0 = 1 */
	double until_s;
	double named_s; /* when it must have been called growing, 0 = never */
	double turns_s; /* after which it has turned over, 0 = never */
	bool is_alike, is_restless, is_hidden; /* contents; slower where nobody sees it */

	ARRAY(uint32_t) places;
	size_t first; /* oldest of the places, a ring when there are `capacity` */
};

struct sim_event {
	bool is_birth;
	uint32_t class, place, service;
	uint64_t time_ns;
};

struct process {
	uint64_t random;
	double now_ns;
	struct heap_class classes[MAX_HEAP_CLASSES];
	struct service services[MAX_SERVICES];
	size_t class_cnt, service_cnt;
	uint64_t content_cnt;
	bool is_traced;
	bool is_whole; /* nothing is slower between windows */
	ARRAY(struct sim_event) events;
	double next_begin_ns;
	double unread;	       /* share of the blocks that are due and cannot be read */
	double busy_s, idle_s; /* in turn; 0 = always busy */
	struct cohort *cohort;
	/* Windows are told in sums, as a reader of the table of live blocks does; which has these:
	 */
	bool in_sums;
	ARRAY(struct cohort_birth) table;
	struct hashmap table_index; /* {addr, 0} -> index */
};

static uint64_t sim_mix(uint64_t x)
{
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ x >> 27) * 0x94d049bb133111ebULL;
	return x ^ x >> 31;
}

static uint64_t sim_random(struct process *process)
{
	return sim_mix(process->random += 0x9e3779b97f4a7c15ULL);
}

static double sim_share(struct process *process)
{
	return ((sim_random(process) >> 11) + 0.5) / 9007199254740992.0;
}

static uint32_t sim_below(struct process *process, uint32_t limit)
{
	return (sim_random(process) >> 32) * limit >> 32;
}

/* ---- the heap ---- */

static uint64_t sim_addr(uint32_t class, uint32_t place)
{
	return (uint64_t)(class + 1) << 40 | (uint64_t)place << 12;
}

static uint32_t take_free(struct process *process, struct heap_class *class)
{
	size_t at = class->free.cnt - 1;
	uint32_t place;

	if (class->order == HEAP_FIFO) {
		place = class->free.items[class->free_first++];
		if (class->free_first * 2 > class->free.cnt) {
			class->free.cnt -= class->free_first;
			memmove(class->free.items, class->free.items + class->free_first,
				class->free.cnt * sizeof(place));
			class->free_first = 0;
		}
		return place;
	}
	if (class->order == HEAP_RANDOM)
		at = sim_below(process, class->free.cnt);
	place = class->free.items[at];
	class->free.items[at] = class->free.items[--class->free.cnt];
	return place;
}

static void sim_note(struct process *process, bool is_birth, uint32_t class, uint32_t place,
		     uint32_t service)
{
	const struct sim_event event = {is_birth, class, place, service, process->now_ns};

	if (process->is_traced)
		assert_int_equal(array_push(&process->events, event), 0);
}

static uint32_t sim_malloc(struct process *process, uint32_t service)
{
	struct service *owner = &process->services[service];
	struct heap_class *class = &process->classes[owner->class];
	uint64_t content = owner->is_alike ? service : ++process->content_cnt << 8 | service;
	uint32_t place;

	if (class->free.cnt > class->free_first) {
		place = take_free(process, class);
		class->contents.items[place] = content;
	} else {
		place = class->contents.cnt;
		assert_int_equal(array_push(&class->contents, content), 0);
	}
	sim_note(process, true, owner->class, place, service);
	return place;
}

static void sim_free(struct process *process, uint32_t service, uint32_t place)
{
	struct service *owner = &process->services[service];

	sim_note(process, false, owner->class, place, service);
	process->classes[owner->class].contents.items[place] |= IS_FREE;
	assert_int_equal(array_push(&process->classes[owner->class].free, place), 0);
}

/* ---- services ---- */

static void keep_place(struct service *service, uint32_t place)
{
	assert_int_equal(array_push(&service->places, place), 0);
}

/* The oldest goes - of an LRU, the oldest that was not used - and the new one is the newest. */
static void turn_ring(struct process *process, uint32_t index)
{
	struct service *service = &process->services[index];

	while (service->kind == SERVICE_LRU && sim_random(process) & 1)
		service->first = (service->first + 1) % service->capacity;
	sim_free(process, index, service->places.items[service->first]);
	service->places.items[service->first] = sim_malloc(process, index);
	service->first = (service->first + 1) % service->capacity;
}

static void serve_resize(struct process *process, uint32_t index)
{
	struct service *service = &process->services[index];

	if (service->places.cnt)
		sim_free(process, index, service->places.items[--service->places.cnt]);
	keep_place(service, sim_malloc(process, index));
}

static void serve(struct process *process, uint32_t index)
{
	struct service *service = &process->services[index];
	uint32_t at;

	switch (service->kind) {
	case SERVICE_STARTUP:
		if (process->now_ns > service->until_s * NS_PER_SEC)
			return;
		/* fall through */
	case SERVICE_LEAK:
		sim_malloc(process, index);
		return;
	case SERVICE_MIXED:
		if (!sim_below(process, 4))
			sim_malloc(process, index);
		else if (service->places.cnt == service->capacity)
			turn_ring(process, index);
		else
			keep_place(service, sim_malloc(process, index));
		return;
	case SERVICE_RESIZE:
		serve_resize(process, index);
		return;
	case SERVICE_FIFO:
	case SERVICE_LRU:
		if (service->places.cnt == service->capacity)
			turn_ring(process, index);
		else
			keep_place(service, sim_malloc(process, index));
		return;
	case SERVICE_REPLACE:
		if (service->places.cnt < service->capacity) {
			keep_place(service, sim_malloc(process, index));
			return;
		}
		at = sim_below(process, service->capacity);
		sim_free(process, index, service->places.items[at]);
		service->places.items[at] = sim_malloc(process, index);
	}
}

/* Lets the process work until `end_ns`, at `speed`. */
static void sim_busy(struct process *process, double end_ns, double speed)
{
	double rates[MAX_SERVICES], all = 0, pick;
	uint32_t index;

	for (size_t i = 0; i < process->service_cnt; i++) {
		const struct service *service = &process->services[i];

		rates[i] = service->per_s * speed / (service->burst ? service->burst : 1);
		if (service->is_hidden && !process->is_traced && !process->is_whole)
			rates[i] /= 50;
		all += rates[i];
	}
	for (;;) {
		process->now_ns -= log(sim_share(process)) / all * NS_PER_SEC;
		if (process->now_ns >= end_ns)
			break;
		pick = sim_share(process) * all;
		for (index = 0; index + 1 < process->service_cnt && pick >= rates[index]; index++)
			pick -= rates[index];
		for (uint32_t i = 0; i < process->services[index].burst || !i; i++)
			serve(process, index);
	}
	process->now_ns = end_ns;
}

/* Does so, but rests in between. */
static void sim_work(struct process *process, double end_ns, double speed)
{
	double turn_ns = (process->busy_s + process->idle_s) * NS_PER_SEC, from_ns, rest_ns;

	while (process->idle_s && process->now_ns < end_ns) {
		from_ns = floor(process->now_ns / turn_ns) * turn_ns;
		rest_ns = from_ns + process->busy_s * NS_PER_SEC;
		if (process->now_ns < rest_ns)
			sim_busy(process, fmin(end_ns, rest_ns), speed);
		else
			process->now_ns = fmin(end_ns, from_ns + turn_ns);
	}
	if (process->now_ns < end_ns)
		sim_busy(process, end_ns, speed);
}

/* ---- what is seen of it ---- */

static struct cohort_birth birth_of(const struct process *process, const struct sim_event *event)
{
	const struct service *service = &process->services[event->service];
	struct cohort_birth birth = {
		.addr = sim_addr(event->class, event->place),
		.bytes = process->classes[event->class].bytes,
		.time_ns = event->time_ns,
		.stack = event->service + 1,
		.layer = 1,
	};

	if (service->kind == SERVICE_RESIZE)
		birth.bytes += (uint64_t)(event->time_ns / NS_PER_MS);
	return birth;
}

static void tell_event(struct process *process, const struct sim_event *event)
{
	const struct cohort_birth birth = birth_of(process, event);

	if (event->is_birth)
		assert_int_equal(cohort__birth(process->cohort, &birth), 0);
	else
		cohort__death(process->cohort, birth.addr, birth.time_ns);
}

static void table_remove(struct process *process, uint64_t addr)
{
	uint64_t *index = hashmap__find(&process->table_index, addr, 0);
	const struct cohort_birth *last;

	if (!index)
		return;
	last = &process->table.items[process->table.cnt - 1];
	process->table.items[*index] = *last;
	*hashmap__find(&process->table_index, last->addr, 0) = *index;
	hashmap__remove(&process->table_index, addr, 0);
	process->table.cnt--;
}

static void table_add(struct process *process, struct cohort_birth birth)
{
	table_remove(process, birth.addr);
	*hashmap__insert(&process->table_index, birth.addr, 0, NULL) = process->table.cnt;
	assert_int_equal(array_push(&process->table, birth), 0);
}

/* What the table has after a window, and how much each service has asked for in it. */
static void tell_sums(struct process *process, const struct cohort_window *window, size_t told)
{
	uint64_t died[MAX_SERVICES + 1] = {0}, died_bytes[MAX_SERVICES + 1] = {0};

	for (size_t i = 0; i < told; i++) {
		const struct sim_event *event = &process->events.items[i];
		const struct cohort_birth birth = birth_of(process, event);

		if (!event->is_birth) {
			table_remove(process, birth.addr);
			continue;
		}
		table_add(process, birth);
		died[birth.stack]++;
		died_bytes[birth.stack] += birth.bytes;
	}
	for (size_t i = 0; i < process->table.cnt; i++) {
		const struct cohort_birth *birth = &process->table.items[i];

		if (birth->time_ns < window->begin_ns) {
			cohort__alive(process->cohort, birth->addr, birth->time_ns);
			continue;
		}
		assert_int_equal(cohort__birth(process->cohort, birth), 0);
		died[birth->stack]--;
		died_bytes[birth->stack] -= birth->bytes;
	}
	for (uint64_t stack = 1; stack <= MAX_SERVICES; stack++)
		assert_int_equal(
			cohort__churn(process->cohort, stack, 1, died[stack], died_bytes[stack]),
			0);
	cohort__end_others(process->cohort);
	for (size_t i = process->table.cnt; i-- > 0;)
		if (!cohort__follows(process->cohort, process->table.items[i].addr,
				     process->table.items[i].time_ns))
			table_remove(process, process->table.items[i].addr);
}

/* What a block contains: eight words that its owner wrote, behind pointers of the allocator's. */
static void fill_block(struct process *process, uint64_t addr, uint64_t words[static 12])
{
	const struct heap_class *class = &process->classes[(addr >> 40) - 1];
	uint64_t content = class->contents.items[(addr & 0xffffffffff) >> 12] & ~IS_FREE;
	const struct service *service = &process->services[content & 0xff];

	for (uint32_t i = 0; i < 12; i++)
		words[i] = sim_mix(content + i * 0x9e3779b97f4a7c15ULL);
	words[4] = words[7] = content & 0xff;
	if (service->is_restless)
		words[2] = words[3] = sim_random(process);
}

static bool is_told_free(const struct process *process, uint64_t addr)
{
	const struct heap_class *class = &process->classes[(addr >> 40) - 1];

	return class->tells_free && class->contents.items[(addr & 0xffffffffff) >> 12] & IS_FREE;
}

static void read_blocks(struct process *process)
{
	struct cohort_read reads[512];
	uint64_t words[12];
	size_t cnt = cohort__due(process->cohort, process->now_ns, reads, 512);

	for (size_t i = 0; i < cnt; i++) {
		if (process->unread && sim_share(process) < process->unread)
			continue;
		if (is_told_free(process, reads[i].addr)) {
			cohort__gone(process->cohort, &reads[i], process->now_ns);
			continue;
		}
		fill_block(process, reads[i].addr, words);
		cohort__look(process->cohort, &reads[i], words, reads[i].len + reads[i].tail_len,
			     process->now_ns);
	}
}

/* A window: the process loses some of it to the probes, and a few events are not told. */
static void sim_window(struct process *process)
{
	double len = WINDOW_NS * (0.2 + 1.6 * sim_share(process));
	double lost = len * 0.5 * sim_share(process);
	struct cohort_window window = {.begin_ns = process->now_ns,
				       .end_ns = process->now_ns + len,
				       .lost_low_ns = lost * 0.7,
				       .lost_high_ns = lost * 1.3};
	size_t told = 0;

	process->is_traced = true;
	process->events.cnt = 0;
	sim_work(process, window.end_ns, 1 - lost / len);
	process->is_traced = false;
	for (size_t i = 0; i < process->events.cnt; i++)
		if (sim_below(process, 200))
			process->events.items[told++] = process->events.items[i];
	window.hits = told;
	window.lost_hits = process->events.cnt - told;
	assert_int_equal(cohort__open(process->cohort, &window), 0);
	if (process->in_sums)
		tell_sums(process, &window, told);
	for (size_t i = 0; i < told && !process->in_sums; i++)
		tell_event(process, &process->events.items[i]);
	cohort__close(process->cohort);
}

/* Lets the process work and be watched until a moment. */
static void sim_run(struct process *process, double until_s)
{
	double until_ns = until_s * NS_PER_SEC, gap = WINDOW_NS * (1 / TRACED_SHARE - 1);

	for (;;) {
		if (!process->next_begin_ns)
			process->next_begin_ns = process->now_ns - gap * log(sim_share(process));
		if (process->next_begin_ns > until_ns)
			break;
		sim_work(process, process->next_begin_ns, 1);
		process->next_begin_ns = 0;
		sim_window(process);
		read_blocks(process);
	}
	if (process->now_ns < until_ns)
		sim_work(process, until_ns, 1);
}

/* ---- life ---- */

/* Begins with caches that are full: the process has run before. */
static void sim_start(struct process *process, uint64_t seed)
{
	uint8_t key[SIPHASH_BYTES];

	process->random = sim_mix(seed + 1);
	for (size_t i = 0; i < sizeof(key); i++)
		key[i] = sim_random(process);
	process->cohort = cohort__new(key, 1 << 16, 256);
	assert_non_null(process->cohort);
	for (size_t i = 0; i < process->class_cnt; i++)
		for (uint32_t place = 0; place < process->classes[i].spare; place++) {
			assert_int_equal(array_push(&process->classes[i].contents, IS_FREE), 0);
			assert_int_equal(array_push(&process->classes[i].free, place), 0);
		}
	for (uint32_t i = 0; i < process->service_cnt; i++)
		while (process->services[i].places.cnt < process->services[i].capacity)
			serve(process, i);
}

static void sim_end(struct process *process)
{
	for (size_t i = 0; i < process->class_cnt; i++) {
		array_free(&process->classes[i].contents);
		array_free(&process->classes[i].free);
	}
	for (size_t i = 0; i < process->service_cnt; i++)
		array_free(&process->services[i].places);
	array_free(&process->events);
	array_free(&process->table);
	hashmap__free(&process->table_index);
	cohort__free(process->cohort);
}

#endif
