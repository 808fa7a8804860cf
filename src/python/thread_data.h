/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the C library keeps a thread's data of pthread keys, found by what it leads to.
 *
 * glibc, x86-64 (nptl/descr.h, struct pthread): an array of the first 32 keys' data (16 bytes each,
 * the pointer at +8), directly followed by the array of pointers to blocks of 32 keys, whose first
 * one points back to that array. Since 2.4 it begins at 784 bytes from the thread pointer; another
 * place is known by that structure. musl keeps it in another form.
 */
#ifndef LEAKSWEEP_PYTHON_THREAD_DATA_H
#define LEAKSWEEP_PYTHON_THREAD_DATA_H

#include <stdint.h>
#include <sys/types.h>

#include "python/frame_walk.h"

#define MAX_THREAD_KEYS 1024 /* PTHREAD_KEYS_MAX, bits/local_lim.h */

struct thread_data {
	uint16_t first, second; /* tsd_first, tsd_second of struct python_proc */
};

/*
 * Finds the place under which `key` leads at least one of the threads to its own thread state, and
 * none to anything but a thread state (or to nothing). Returns 0, -EAGAIN (no thread has data under
 * the key), -EBADMSG with *ret_reason (static) or a negative errno.
 */
int thread_data__find(pid_t pid, const struct python_threads *threads, uint32_t key,
		      struct thread_data *ret, const char **ret_reason);

#endif
