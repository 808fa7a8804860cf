/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Gets tables: from the cache on disk, else compiled in confined children, as many at once as there
 * are CPUs, and then put into the cache.
 *
 * A cached table belongs to the *contents* that it was made from: its key is a keyed hash (the key
 * is a secret of the cache) over the file's program headers and frame sections. So equal libraries
 * in many containers share one table, and a file that carries another's build-id does not.
 */
#ifndef LEAKSWEEP_UNWIND_LOADER_H
#define LEAKSWEEP_UNWIND_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "unwind/table.h"
#include "util/siphash.h"

struct table_request {
	int fd;			 /* borrowed; in */
	const uint8_t *build_id; /* borrowed; in; only names the cache's file */
	uint8_t build_id_len;
	uint8_t fingerprint[SIPHASH_BYTES]; /* of the contents that table_loader__find met ... */
	uint64_t source_bytes;		    /* ... and how many these are; 0 = not looked at yet */
	struct unwind_table table;	    /* out, when err is 0; the caller frees it */
	bool from_cache;		    /* out */
	int err; /* out; as unwind_table__compile, or -ETIME (too costly), -EPIPE (the
		    compiling child died of the file), -ESTALE (it changed meanwhile) */
};

struct table_loader;

/*
 * `cache_dir` is made when missing (mode 0700); NULL = no cache. A cache that cannot be used is no
 * error: *ret_cache_err then tells why (negative errno, 0 = it works). `max_cache_bytes` bounds it:
 * the tables that were used longest ago go first. Returns NULL when out of memory.
 */
struct table_loader *table_loader__new(const char *cache_dir, uint64_t max_cache_bytes,
				       int *ret_cache_err);
void table_loader__free(struct table_loader *loader);

/* Answers all requests. Returns 0 or -ENOMEM; what failed is in each request. */
int table_loader__load(struct table_loader *loader, struct table_request *requests, size_t cnt);

/*
 * Looks into the cache only; request->err is -ENOENT when it is not there, and table_loader__load
 * need not look at the file again. Returns 0 or -ENOMEM.
 */
int table_loader__find(struct table_loader *loader, struct table_request *request);

/*
 * Returns the owned path of the cache's usual place: $XDG_CACHE_HOME/leaksweep when that is set,
 * else /var/cache/leaksweep for root and ~/.cache/leaksweep for others; NULL = none (no home, no
 * memory).
 */
char *table_loader__default_dir(void);

/* How much a cache may hold unless a user says otherwise. */
#define DEFAULT_CACHE_BYTES (512ULL << 20)

#endif
