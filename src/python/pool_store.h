/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The bytes of a process's pools: copies of them up to a limit; the others are read again each time
 * they are asked for, as they are then.
 */
#ifndef LEAKSWEEP_PYTHON_POOL_STORE_H
#define LEAKSWEEP_PYTHON_POOL_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct pool_store;

/* `keep_bytes`: how much may be copied. NULL: no memory. */
struct pool_store *pool_store__new(pid_t pid, uint32_t pool_bytes, uint64_t keep_bytes);
void pool_store__free(struct pool_store *store);

/*
 * Copies a pool; *ret is owned by the store, NULL = there is no room left. Returns 0 or -ENOMEM.
 */
int pool_store__copy(struct pool_store *store, const uint8_t *data, const uint8_t **ret);

/* Takes over `len` bytes that malloc gave. Returns whether it did: there was room. */
bool pool_store__take_over(struct pool_store *store, uint8_t *bytes, uint64_t len);

/* Returns how many bytes have been copied and taken over. */
uint64_t pool_store__kept_bytes(const struct pool_store *store);

/*
 * Reads the pool at `addr` again: zeros where it is not in memory. Returns its bytes, valid until
 * the next call, or NULL: the process has ended, or no memory.
 */
const uint8_t *pool_store__read_again(struct pool_store *store, uint64_t addr);

#endif
