/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/map_reader.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#define BATCH_BYTES (1 << 20)
#define LEAST_BATCH 64 /* entries */

struct map_reader {
	int fd;
	size_t key_size, value_size;
	uint32_t capacity;   /* entries */
	void *keys, *values; /* owned */
	uint32_t position;   /* the kernel's cursor: a bucket number */
	bool started, ended;
};

static int reserve(struct map_reader *reader, uint32_t capacity)
{
	void *keys = reallocarray(reader->keys, capacity, reader->key_size);
	void *values;

	if (!keys)
		return -ENOMEM;
	reader->keys = keys;
	values = reallocarray(reader->values, capacity, reader->value_size);
	if (!values)
		return -ENOMEM;
	reader->values = values;
	reader->capacity = capacity;
	return 0;
}

/* Fetches the next batch. Returns the number of entries, 0 at the end, or a negative errno. */
static int next_batch(struct map_reader *reader)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	uint32_t cnt, next;
	int err;

	while (!reader->ended) {
		cnt = reader->capacity;
		err = bpf_map_lookup_batch(reader->fd, reader->started ? &reader->position : NULL,
					   &next, reader->keys, reader->values, &cnt, &opts);
		if (err == -ENOSPC) { /* a single bucket holds more than the buffer */
			err = reserve(reader, reader->capacity * 2);
			if (err)
				return err;
			continue;
		}
		if (err && err != -ENOENT)
			return err;
		reader->started = true;
		reader->ended = err == -ENOENT;
		reader->position = next;
		if (cnt)
			return cnt;
	}
	return 0;
}

int map_each(int fd, size_t key_size, size_t value_size, map_entry_fn fn, void *arg)
{
	struct map_reader reader = {.fd = fd, .key_size = key_size, .value_size = value_size};
	uint32_t capacity = BATCH_BYTES / value_size;
	int err = reserve(&reader, capacity > LEAST_BATCH ? capacity : LEAST_BATCH), cnt = 0;

	while (!err && (cnt = next_batch(&reader)) > 0)
		for (int i = 0; i < cnt && !err; i++)
			err = fn(arg, (const char *)reader.keys + (size_t)i * key_size,
				 (const char *)reader.values + (size_t)i * value_size);
	free(reader.keys);
	free(reader.values);
	return err ? err : cnt;
}

int map_delete_batch(int fd, const void *keys, size_t key_size, size_t cnt)
{
	const char *key = keys;
	size_t done = 0, gone = 0;

	while (done < cnt) {
		LIBBPF_OPTS(bpf_map_batch_opts, opts);
		uint32_t part = cnt - done;
		int err = bpf_map_delete_batch(fd, key + done * key_size, &part, &opts);

		if (err && err != -ENOENT)
			return err;
		gone += part;
		done += part + (err == -ENOENT); /* the next one had gone by itself */
		if (!err)
			break;
	}
	return gone;
}

int map_read_counters(int fd, uint64_t *ret, size_t cnt)
{
	int cpus = libbpf_num_possible_cpus(), err = 0;
	uint64_t *values;

	if (cpus < 0)
		return cpus;
	values = calloc(cpus, sizeof(*values));
	if (!values)
		return -ENOMEM;
	for (uint32_t i = 0; i < cnt && !err; i++) {
		err = bpf_map_lookup_elem(fd, &i, values);
		ret[i] = 0;
		for (int cpu = 0; cpu < cpus && !err; cpu++)
			ret[i] += values[cpu];
	}
	free(values);
	return err;
}
