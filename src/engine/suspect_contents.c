/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/suspect_contents.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "python/pages.h"
#include "util/remote.h"

#define BATCH 128

/* Whether all of it is in memory: what is swapped out would come back for this. */
static bool is_resident(struct page_map *pages, struct page_runs *runs, uint64_t addr, uint32_t len)
{
	uint64_t mask = pages->page_bytes - 1, start = addr & ~mask,
		 end = (addr + len + mask) & ~mask;

	return !page_map__list(pages, start, end, runs) && runs->list.cnt == 1 &&
	       runs->list.items[0].start == start && runs->list.items[0].end == end;
}

/* Whether its allocator says that the block is free: it may lie there as it was. */
static bool is_free(const struct suspects *suspects, const struct suspect *suspect,
		    const struct cohort_read *read, const uint8_t *data)
{
	struct pool_scan_opts pools;
	uint64_t second;
	bool lives;

	if (read->layer == LAYER_PYTHON)
		return pythons__pools(suspects->session->pythons, suspect->space, &pools) &&
		       !pool__block_lives(suspect->suspicion.pid, &pools, read->addr, &lives) &&
		       !lives;
	if (!suspect->cache_key || read->len < 2 * sizeof(second))
		return false;
	memcpy(&second, data + sizeof(second), sizeof(second));
	return second == suspect->cache_key;
}

static int read_blocks(const struct suspects *suspects, struct suspect *suspect,
		       struct page_map *pages, struct page_runs *runs, uint64_t now_ns)
{
	uint8_t data[BATCH][IMPRINT_BYTES];
	struct remote_part parts[2 * BATCH];
	struct cohort_read reads[BATCH];
	size_t cnt = cohort__due(suspect->cohort, now_ns, reads, BATCH), kept = 0;
	int err;

	for (size_t i = 0; i < cnt; i++) {
		const struct cohort_read read = reads[i];

		if (!is_resident(pages, runs, read.addr, read.len) ||
		    (read.tail_len && !is_resident(pages, runs, read.tail_addr, read.tail_len)))
			continue;
		parts[2 * kept] =
			(struct remote_part){.addr = read.addr, .buf = data[kept], .len = read.len};
		/* Without a tail its begin once more, for nothing. */
		parts[2 * kept + 1] =
			(struct remote_part){.addr = read.tail_len ? read.tail_addr : read.addr,
					     .buf = data[kept] + (read.tail_len ? read.len : 0),
					     .len = read.tail_len ? read.tail_len : 1};
		reads[kept++] = read;
	}
	err = kept ? remote_read_parts(suspect->suspicion.pid, parts, 2 * kept) : 0;
	for (size_t i = 0; i < kept && !err; i++)
		if (parts[2 * i].err || parts[2 * i + 1].err)
			continue;
		else if (is_free(suspects, suspect, &reads[i], data[i]))
			cohort__gone(suspect->cohort, &reads[i], now_ns);
		else
			cohort__look(suspect->cohort, &reads[i], data[i],
				     reads[i].len + reads[i].tail_len, now_ns);
	return err;
}

int suspect_contents__read(struct suspects *suspects, uint64_t now_ns)
{
	struct page_runs runs = {0};
	struct page_map pages;
	int err = 0;

	for (size_t i = 0; i < suspects->list.cnt && err != -ENOMEM; i++) {
		struct suspect *suspect = suspects->list.items[i];

		if (!suspect->window_cnt || page_map__open(suspect->suspicion.pid, &pages))
			continue;
		err = read_blocks(suspects, suspect, &pages, &runs, now_ns);
		page_map__close(&pages);
	}
	array_free(&runs.list);
	return err == -ENOMEM ? err : 0;
}
