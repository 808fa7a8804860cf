/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Debug files from debuginfod servers, if the user's environment names some (DEBUGINFOD_URLS, see
 * debuginfod-find(1)) and the library libdebuginfod is installed. Fetching takes as long as it
 * takes, so a child does it; the report waits a moment, once, and what comes later serves the next
 * report.
 */
#ifndef LEAKSWEEP_SYMBOLIZE_DEBUGINFOD_H
#define LEAKSWEEP_SYMBOLIZE_DEBUGINFOD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct debuginfod;

/* Returns whether the environment asks for it. */
bool debuginfod__wanted(void);

/* Returns NULL when out of memory. `wait_ns` is what all calls of debuginfod__next may wait
 * together. */
struct debuginfod *debuginfod__new(uint64_t wait_ns);

/* Ends a running child. NULL is harmless. */
void debuginfod__free(struct debuginfod *debuginfod);

/*
 * Asks for the debug file of a build-id (2 to 32 bytes); `tag` comes back with it. Returns 0,
 * -EINVAL or -ENOMEM.
 */
int debuginfod__ask(struct debuginfod *debuginfod, const uint8_t *build_id, size_t len,
		    uint32_t tag);

/*
 * Fetches what was asked for and returns whether a file has come: a descriptor that the caller
 * closes. Nothing is known of its contents. Who asked and never gets an answer has asked for
 * something that no server has, or that came too late.
 */
bool debuginfod__next(struct debuginfod *debuginfod, uint32_t *ret_tag, int *ret_fd);

#endif
