/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Requests with the same fingerprint make one unit of work. A unit that the cache does not have is
 * compiled from a copy of what its fingerprint covers, so what is put into the cache belongs to
 * that fingerprint even when the file changes meanwhile: then the unit's next file is tried.
 */
#include "unwind/loader.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "unwind/cache.h"
#include "unwind/loader_parts.h"
#include "unwind/own_build.h"
#include "unwind/source.h"
#include "unwind/table_file.h"
#include "util/array.h"
#include "util/hashmap.h"

#define MAX_JOBS 16 /* at once: a host of many CPUs is there for other work */
#define NO_REQUEST SIZE_MAX

struct table_loader {
	struct loader_parts parts;
	struct table_cache *cache;  /* NULL = none */
	uint8_t key[SIPHASH_BYTES]; /* of fingerprints */
};

struct unit {
	uint8_t fingerprint[SIPHASH_BYTES];
	uint64_t bytes;	    /* that the table is made of */
	size_t first, last; /* requests, a chain; those before `first` have failed */
	bool is_done;
};

struct load {
	struct table_loader *loader;
	struct table_request *requests;
	size_t *next; /* in the unit's chain, by request */
	struct hashmap by_fingerprint;
	ARRAY(struct unit) units;
};

/* ---- the loader ----------------------------------------------------------------------------- */

/* Tables of another build of this program may mean something else. */
static int make_key(struct table_loader *loader)
{
	uint8_t key[SIPHASH_BYTES];
	struct siphash hash;
	int err = 0;

	if (loader->cache)
		memcpy(key, table_cache__fingerprint_key(loader->cache), sizeof(key));
	else if (getrandom(key, sizeof(key), 0) != sizeof(key))
		return -EIO;
	siphash__init(&hash, key);
	if (loader->parts.build)
		siphash__update(&hash, loader->parts.build, strlen(loader->parts.build));
	else
		err = own_build__hash(&hash);
	siphash__final(&hash, loader->key);
	return err;
}

struct table_loader *table_loader__new_with(const struct loader_parts *parts, const char *cache_dir,
					    uint64_t max_cache_bytes, int *ret_cache_err)
{
	struct table_loader *loader = calloc(1, sizeof(*loader));
	int err = 0;

	if (!loader)
		return NULL;
	loader->parts = *parts;
	if (cache_dir)
		err = table_cache__open(cache_dir, max_cache_bytes, &loader->cache);
	if (!err)
		err = make_key(loader);
	if (err && loader->cache) {
		/* Who we are is not to be had, so neither is what belongs to us. */
		table_cache__free(loader->cache);
		loader->cache = NULL;
	}
	*ret_cache_err = err;
	return loader;
}

struct table_loader *table_loader__new(const char *cache_dir, uint64_t max_cache_bytes,
				       int *ret_cache_err)
{
	static const struct loader_parts parts = {
		.compile = unwind_table__compile,
		.limits = &compile_job_limits,
	};

	return table_loader__new_with(&parts, cache_dir, max_cache_bytes, ret_cache_err);
}

void table_loader__free(struct table_loader *loader)
{
	if (!loader)
		return;
	table_cache__free(loader->cache);
	free(loader);
}

/* ---- what is there -------------------------------------------------------------------------- */

static struct table_key cache_key(const struct load *load, const struct unit *unit)
{
	const struct table_request *request = &load->requests[unit->first];
	struct table_key key = {
		.build_id = request->build_id,
		.build_id_len = request->build_id ? request->build_id_len : 0,
	};

	memcpy(key.fingerprint, unit->fingerprint, sizeof(key.fingerprint));
	return key;
}

static void look_into_cache(const struct load *load, struct unit *unit)
{
	struct table_request *request = &load->requests[unit->first];
	struct table_key key = cache_key(load, unit);
	struct unwind_table table;

	/* Only valid tables are put there, and its keyed hash says that this is one of them. */
	if (!load->loader->cache || table_cache__get(load->loader->cache, &key, &table))
		return;
	request->table = table;
	request->from_cache = true;
	request->err = 0;
	unit->is_done = true;
}

static int identify(const struct load *load, struct table_request *request)
{
	struct table_source source;
	int err;

	if (request->source_bytes)
		return 0;
	err = table_source__open(&source, request->fd);
	if (err)
		return err;
	err = table_source__hash(&source, load->loader->key, request->fingerprint);
	if (!err)
		request->source_bytes = source.bytes;
	table_source__close(&source);
	return err;
}

/* Puts the request into its unit, a new one if need be. Returns 0 or -ENOMEM. */
static int add_request(struct load *load, size_t i)
{
	struct table_request *request = &load->requests[i];
	struct unit unit = {.first = i, .last = i}, *known;
	uint64_t halves[2], *place;
	bool is_new;

	load->next[i] = NO_REQUEST;
	request->err = identify(load, request);
	if (request->err)
		return 0;
	memcpy(unit.fingerprint, request->fingerprint, sizeof(unit.fingerprint));
	unit.bytes = request->source_bytes;
	memcpy(halves, unit.fingerprint, sizeof(halves));
	if (array_reserve_one(&load->units))
		return -ENOMEM;
	place = hashmap__insert(&load->by_fingerprint, halves[0], halves[1], &is_new);
	if (!place)
		return -ENOMEM;
	if (is_new) {
		*place = load->units.cnt;
		known = &load->units.items[load->units.cnt++];
		*known = unit;
		look_into_cache(load, known);
	} else {
		known = &load->units.items[*place];
		load->next[known->last] = i;
		known->last = i;
	}
	return 0;
}

/* ---- what is not ---------------------------------------------------------------------------- */

static int start_first(const struct load *load, const struct unit *unit, struct compile_job *job)
{
	const struct loader_parts *parts = &load->loader->parts;
	struct table_source source;
	int fd, err;

	err = table_source__open(&source, load->requests[unit->first].fd);
	if (err)
		return err == -ENOMEM ? err : -ESTALE; /* it could be read before */
	fd = table_source__copy(&source, load->loader->key, unit->fingerprint);
	table_source__close(&source);
	return fd < 0 ? fd : compile_job__start(job, parts->compile, fd, parts->limits);
}

/* Starts the unit's compilation. Returns whether it runs; else its requests have their errors. */
static bool start_unit(const struct load *load, struct unit *unit, struct compile_job *job)
{
	size_t next;
	int err;

	while ((err = start_first(load, unit, job))) {
		load->requests[unit->first].err = err;
		next = load->next[unit->first];
		if (err != -ESTALE || next == NO_REQUEST)
			return false;
		unit->first = next; /* another file of the same contents may keep still */
	}
	return true;
}

static void finish_unit(struct load *load, struct unit *unit, struct compile_job *job)
{
	struct table_request *request = &load->requests[unit->first];
	struct table_key key = cache_key(load, unit);

	request->from_cache = false;
	request->err = compile_job__finish(job, &request->table);
	if (!request->err && load->loader->cache)
		table_cache__put(load->loader->cache, &key, &request->table);
}

static size_t count_cpus(void)
{
	cpu_set_t set;
	int cnt;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 1;
	cnt = CPU_COUNT(&set);
	return cnt < 1 ? 1 : cnt > MAX_JOBS ? MAX_JOBS : (size_t)cnt;
}

static int compare_size(const void *a, const void *b)
{
	const struct unit *x = *(struct unit *const *)a, *y = *(struct unit *const *)b;

	return (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

/* Largest first: a large one that begins last would have a CPU to itself. */
static void compile_units(struct load *load, struct unit **units, size_t cnt)
{
	struct compile_job slots[MAX_JOBS], *running[MAX_JOBS], *job;
	struct unit *owners[MAX_JOBS];
	size_t max = count_cpus(), running_cnt = 0, done;

	for (size_t i = 0; i < MAX_JOBS; i++)
		running[i] = &slots[i];
	qsort(units, cnt, sizeof(*units), compare_size);
	for (size_t i = 0; i < cnt || running_cnt;) {
		if (i < cnt && running_cnt < max) {
			owners[running_cnt] = units[i];
			if (start_unit(load, units[i++], running[running_cnt]))
				running_cnt++;
			continue;
		}
		done = compile_job__wait_any(running, running_cnt);
		job = running[done];
		finish_unit(load, owners[done], job);
		running_cnt--;
		owners[done] = owners[running_cnt];
		running[done] = running[running_cnt];
		running[running_cnt] = job;
	}
}

static int compile_missing(struct load *load)
{
	struct unit **missing;
	size_t cnt = 0;

	missing = calloc(load->units.cnt + 1, sizeof(*missing));
	if (!missing)
		return -ENOMEM;
	for (size_t i = 0; i < load->units.cnt; i++)
		if (!load->units.items[i].is_done)
			missing[cnt++] = &load->units.items[i];
	compile_units(load, missing, cnt);
	free(missing);
	return 0;
}

/* ---- both ----------------------------------------------------------------------------------- */

static void *copy_of(const void *from, size_t bytes)
{
	void *copy = malloc(bytes + 1);

	return copy && bytes ? memcpy(copy, from, bytes) : copy;
}

static void copy_answer(struct table_request *to, const struct table_request *from)
{
	to->err = from->err;
	to->from_cache = from->from_cache;
	if (to->err)
		return;
	to->table = from->table;
	to->table.rows = copy_of(from->table.rows, from->table.row_cnt * sizeof(*to->table.rows));
	to->table.pages =
		copy_of(from->table.pages, from->table.page_cnt * sizeof(*to->table.pages));
	if (to->table.rows && to->table.pages)
		return;
	unwind_table__free(&to->table);
	to->err = -ENOMEM;
}

/* Returns 0 or -ENOMEM, and then no request has a table. */
static int answer(struct table_loader *loader, struct table_request *requests, size_t cnt,
		  bool may_compile)
{
	struct load load = {.loader = loader, .requests = requests};
	int err = 0;

	load.next = calloc(cnt + 1, sizeof(*load.next));
	if (!load.next)
		return -ENOMEM;
	for (size_t i = 0; i < cnt; i++) {
		requests[i].table = (struct unwind_table){0};
		requests[i].from_cache = false;
		requests[i].err = -ENOMEM;
	}
	for (size_t i = 0; i < cnt && !err; i++)
		err = add_request(&load, i);
	if (!err && may_compile)
		err = compile_missing(&load);
	for (size_t i = 0; i < load.units.cnt && !err; i++) {
		const struct unit *unit = &load.units.items[i];

		if (!unit->is_done && !may_compile)
			requests[unit->first].err = -ENOENT;
		for (size_t j = load.next[unit->first]; j != NO_REQUEST; j = load.next[j])
			copy_answer(&requests[j], &requests[unit->first]);
	}
	/* All or nothing, so that nobody frees half of it. */
	for (size_t i = 0; err && i < cnt; i++) {
		unwind_table__free(&requests[i].table);
		requests[i].table = (struct unwind_table){0};
		requests[i].err = err;
	}
	array_free(&load.units);
	hashmap__free(&load.by_fingerprint);
	free(load.next);
	return err;
}

int table_loader__load(struct table_loader *loader, struct table_request *requests, size_t cnt)
{
	return answer(loader, requests, cnt, true);
}

int table_loader__find(struct table_loader *loader, struct table_request *request)
{
	return answer(loader, request, 1, false);
}

static char *join_path(const char *dir, const char *name)
{
	size_t len = strlen(dir) + strlen(name) + 1;
	char *path = malloc(len);

	if (path)
		stpcpy(stpcpy(path, dir), name);
	return path;
}

char *table_loader__default_dir(void)
{
	const char *xdg = getenv("XDG_CACHE_HOME"), *home;

	/* A relative path there is to be ignored (XDG Base Directory Specification). */
	if (xdg && xdg[0] == '/')
		return join_path(xdg, "/leaksweep");
	if (!geteuid())
		return strdup("/var/cache/leaksweep");
	home = getenv("HOME");
	return home && home[0] == '/' ? join_path(home, "/.cache/leaksweep") : NULL;
}
