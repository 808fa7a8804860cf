/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/huge_zeros.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "python/pages.h"
#include "util/clock.h"
#include "util/remote.h"

#define WINDOW_BYTES (2ULL << 20)

static bool is_zero(const uint8_t *page, uint64_t bytes)
{
	return !page[0] && !memcmp(page, page + 1, bytes - 1);
}

static uint64_t zeros_in(const uint8_t *window, uint64_t bytes, uint64_t page_bytes)
{
	uint64_t zeros = 0;

	for (uint64_t at = 0; at + page_bytes <= bytes; at += page_bytes)
		if (is_zero(window + at, page_bytes))
			zeros += page_bytes;
	return zeros;
}

/* Counts in a run of pages; what cannot be read any more has none. */
static int count_run(pid_t pid, const struct page_run *run, uint64_t page_bytes, uint8_t *window,
		     uint64_t *zeros)
{
	uint64_t bytes = run->end - run->start;
	int err = remote_read(pid, run->start, window, bytes);

	if (!err)
		*zeros += zeros_in(window, bytes, page_bytes);
	return err == -EFAULT ? 0 : err;
}

int huge_zeros__count(pid_t pid, uint64_t start, uint64_t end, uint64_t max_bytes,
		      uint64_t deadline_ns, uint64_t *ret_bytes)
{
	struct page_runs runs = {0};
	struct page_map pages;
	uint64_t zeros = 0;
	uint8_t *window;
	int err;

	err = page_map__open(pid, &pages);
	if (err)
		return err;
	window = malloc(WINDOW_BYTES);
	err = window ? 0 : -ENOMEM;
	if (end - start > max_bytes)
		end = start + max_bytes;
	for (uint64_t at = start, to; !err && at < end; at = to) {
		to = end - at < WINDOW_BYTES ? end : at + WINDOW_BYTES;
		if (clock_ns(CLOCK_MONOTONIC) > deadline_ns)
			break;
		err = page_map__list(&pages, at, to, &runs);
		for (size_t i = 0; !err && i < runs.list.cnt; i++)
			err = count_run(pid, &runs.list.items[i], pages.page_bytes, window, &zeros);
	}
	array_free(&runs.list);
	page_map__close(&pages);
	free(window);
	if (!err)
		*ret_bytes = zeros;
	return err;
}
