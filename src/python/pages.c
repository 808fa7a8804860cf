/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/pages.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "util/procfs_read.h"

/*
 * PAGEMAP_SCAN of include/uapi/linux/fs.h (Linux 6.7, 52526ca7fdb9): distributions' headers are
 * older than their kernels.
 */
struct scanned_region {
	uint64_t start, end, categories;
};

struct scan_request {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

#define SCAN_PAGEMAP _IOWR('f', 16, struct scan_request)
#define IS_PRESENT (1 << 3)
#define IS_SWAPPED (1 << 4)
#define IS_ZERO_PAGE (1 << 5)

/* Documentation/admin-guide/mm/pagemap.rst */
#define ENTRY_PRESENT (1ULL << 63)
#define ENTRY_SWAPPED (1ULL << 62)

#define REGIONS_A_CALL 256
#define ENTRIES_A_READ 8192

int page_map__open(pid_t pid, struct page_map *ret)
{
	int fd = procfs_open_pid(pid, "pagemap");

	if (fd < 0)
		return fd;
	*ret = (struct page_map){.fd = fd, .page_bytes = (uint64_t)sysconf(_SC_PAGESIZE)};
	return 0;
}

void page_map__close(struct page_map *map)
{
	if (map->fd >= 0)
		close(map->fd);
	map->fd = -1;
}

static int add_run(struct page_runs *runs, uint64_t start, uint64_t end)
{
	struct page_run *last = runs->list.cnt ? &runs->list.items[runs->list.cnt - 1] : NULL;

	if (last && last->end == start) {
		last->end = end;
		return 0;
	}
	return array_push(&runs->list, ((struct page_run){start, end}));
}

static int list_by_scan(struct page_map *map, uint64_t start, uint64_t end, struct page_runs *runs)
{
	struct scanned_region regions[REGIONS_A_CALL];
	int cnt, err;

	while (start < end) {
		struct scan_request request = {
			.size = sizeof(request),
			.start = start,
			.end = end,
			.vec = (uintptr_t)regions,
			.vec_len = REGIONS_A_CALL,
			.category_anyof_mask = IS_PRESENT | IS_SWAPPED,
			.return_mask = IS_PRESENT | IS_SWAPPED | IS_ZERO_PAGE,
		};

		cnt = ioctl(map->fd, SCAN_PAGEMAP, &request);
		if (cnt < 0)
			return -errno;
		for (int i = 0; i < cnt; i++) {
			const struct scanned_region *region = &regions[i];

			if (region->categories & IS_SWAPPED)
				runs->swapped_bytes += region->end - region->start;
			else if (!(region->categories & IS_ZERO_PAGE)) {
				err = add_run(runs, region->start, region->end);
				if (err)
					return err;
			}
		}
		if (request.walk_end <= start)
			return -EIO;
		start = request.walk_end;
	}
	return 0;
}

static int list_by_read(struct page_map *map, uint64_t start, uint64_t end, struct page_runs *runs)
{
	uint64_t *entries = malloc(ENTRIES_A_READ * sizeof(*entries));
	int err = entries ? 0 : -ENOMEM;

	while (!err && start < end) {
		uint64_t want = (end - start) / map->page_bytes;
		ssize_t got;

		if (want > ENTRIES_A_READ)
			want = ENTRIES_A_READ;
		got = pread(map->fd, entries, want * sizeof(*entries),
			    (off_t)(start / map->page_bytes * sizeof(*entries)));
		if (got < (ssize_t)sizeof(*entries)) {
			err = got < 0 ? -errno : -ESRCH;
			break;
		}
		for (size_t i = 0; !err && i < (size_t)got / sizeof(*entries); i++) {
			if (entries[i] & ENTRY_PRESENT)
				err = add_run(runs, start, start + map->page_bytes);
			else if (entries[i] & ENTRY_SWAPPED)
				runs->swapped_bytes += map->page_bytes;
			start += map->page_bytes;
		}
	}
	free(entries);
	return err;
}

int page_map__list(struct page_map *map, uint64_t start, uint64_t end, struct page_runs *runs)
{
	int err;

	for (;;) {
		runs->list.cnt = 0;
		runs->swapped_bytes = 0;
		if (map->no_scan)
			return list_by_read(map, start, end, runs);
		err = list_by_scan(map, start, end, runs);
		if (err != -ENOTTY && err != -EINVAL && err != -EIO)
			return err;
		map->no_scan = true;
	}
}
