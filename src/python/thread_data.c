/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/thread_data.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "util/procfs.h"
#include "util/remote.h"

#define KEYS_A_BLOCK 32
#define KEY_BYTES 16
#define BLOCK_BYTES (KEYS_A_BLOCK * KEY_BYTES)
#define GLIBC_BLOCK 784
#define SCAN_BYTES 2048 /* of the thread's descriptor */

struct verdict {
	size_t own;    /* threads led to their thread state */
	size_t other;  /* led to another one: of a second interpreter */
	size_t empty;  /* led to nothing */
	size_t broken; /* led astray */
};

static struct thread_data data_at(size_t block)
{
	return (struct thread_data){
		.first = (uint16_t)(block + 8),
		.second = (uint16_t)(block + BLOCK_BYTES),
	};
}

/* Reads a thread's data under the key; 0 = none. */
static int read_data(pid_t pid, uint64_t self, struct thread_data data, uint32_t key, uint64_t *ret)
{
	uint64_t block;
	int err;

	if (key < KEYS_A_BLOCK)
		return remote_read(pid, self + data.first + (uint64_t)key * KEY_BYTES, ret,
				   sizeof(*ret));
	err = remote_read(pid, self + data.second + (uint64_t)(key / KEYS_A_BLOCK) * 8, &block,
			  sizeof(block));
	*ret = 0;
	if (err || !block)
		return err;
	return remote_read(pid, block + (uint64_t)(key % KEYS_A_BLOCK) * KEY_BYTES + 8, ret,
			   sizeof(*ret));
}

static int compare_addr(const void *a, const void *b)
{
	const struct python_thread *x = a, *y = b;

	return x->addr < y->addr ? -1 : x->addr > y->addr;
}

static bool find_state(const struct python_threads *sorted, uint64_t addr)
{
	struct python_thread wanted = {.addr = addr};

	return bsearch(&wanted, sorted->list.items, sorted->list.cnt, sizeof(wanted), compare_addr);
}

/* Threads that cannot be read have ended. Returns 0, -ESRCH or another negative errno. */
static int judge(pid_t pid, const struct python_threads *threads, struct thread_data data,
		 uint32_t key, struct verdict *ret)
{
	struct verdict verdict = {0};
	uint64_t value;
	int err;

	for (size_t i = 0; i < threads->list.cnt; i++) {
		const struct python_thread *thread = &threads->list.items[i];

		if (!is_object_address(thread->self))
			continue;
		err = read_data(pid, thread->self, data, key, &value);
		if (err == -EFAULT)
			continue;
		if (err)
			return err;
		if (value == thread->addr)
			verdict.own++;
		else if (!value)
			verdict.empty++;
		else if (find_state(threads, value))
			verdict.other++;
		else
			verdict.broken++;
	}
	*ret = verdict;
	return 0;
}

/* Looks for the array of pointers by its first one, which points back to where the data begins. */
static bool find_block(pid_t pid, const struct python_threads *threads, size_t *ret_block)
{
	uint8_t bytes[SCAN_BYTES];
	uint64_t value;

	for (size_t i = 0; i < threads->list.cnt; i++) {
		uint64_t self = threads->list.items[i].self;

		if (!is_object_address(self) || remote_read(pid, self, bytes, sizeof(bytes)))
			continue;
		for (size_t at = BLOCK_BYTES; at + sizeof(value) <= sizeof(bytes); at += 8) {
			memcpy(&value, bytes + at, sizeof(value));
			if (value != self + at - BLOCK_BYTES)
				continue;
			*ret_block = at - BLOCK_BYTES;
			return true;
		}
	}
	return false;
}

static bool is_musl(pid_t pid)
{
	struct proc_maps maps;
	bool found = false;

	if (proc_maps__read(pid, &maps))
		return false;
	for (size_t i = 0; i < maps.maps.cnt && !found; i++)
		found = strstr(maps.maps.items[i].path, "/ld-musl-") ||
			strstr(maps.maps.items[i].path, "/libc.musl-");
	proc_maps__free(&maps);
	return found;
}

/* Tells what a verdict means. Returns 0, -EAGAIN or -EBADMSG. */
static int weigh(const struct verdict *verdict, const char **ret_reason)
{
	/* A thread that ended may have left something else there: one in eight. */
	if (verdict->broken <= verdict->own / 8 && verdict->own)
		return 0;
	if (!verdict->broken && !verdict->other)
		return -EAGAIN;
	*ret_reason = "the data of its threads does not lead to their thread states";
	return -EBADMSG;
}

static int find_place(pid_t pid, const struct python_threads *sorted, uint32_t key,
		      struct thread_data *ret, const char **ret_reason)
{
	struct thread_data data = data_at(GLIBC_BLOCK);
	struct verdict verdict;
	size_t block;
	int err;

	err = judge(pid, sorted, data, key, &verdict);
	if (err)
		return err;
	err = weigh(&verdict, ret_reason);
	if (err && find_block(pid, sorted, &block) && block != GLIBC_BLOCK) {
		data = data_at(block);
		err = judge(pid, sorted, data, key, &verdict);
		if (err)
			return err;
		err = weigh(&verdict, ret_reason);
	}
	if (!err)
		*ret = data;
	return err;
}

int thread_data__find(pid_t pid, const struct python_threads *threads, uint32_t key,
		      struct thread_data *ret, const char **ret_reason)
{
	struct python_threads sorted = {0};
	int err;

	sorted.list.items = malloc(threads->list.cnt * sizeof(*sorted.list.items));
	if (!sorted.list.items)
		return -ENOMEM;
	sorted.list.cnt = threads->list.cnt;
	memcpy(sorted.list.items, threads->list.items,
	       sorted.list.cnt * sizeof(*sorted.list.items));
	qsort(sorted.list.items, sorted.list.cnt, sizeof(*sorted.list.items), compare_addr);
	err = find_place(pid, &sorted, key, ret, ret_reason);
	array_free(&sorted.list);
	if (err && err != -ESRCH && is_musl(pid)) {
		*ret_reason = "its C library (musl) keeps the data of threads in a way that is not "
			      "known";
		err = -EBADMSG;
	}
	return err;
}
