/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/ring_source.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct ring_source {
	struct ring_buffer *ring;
	char *records;
	size_t record_size, cnt, room;
};

static int take_record(void *ctx, void *data, size_t size)
{
	struct ring_source *source = ctx;
	size_t room = source->room ? source->room * 2 : 64;
	char *records;

	if (size < source->record_size)
		return 0;
	if (source->cnt == source->room) {
		records = reallocarray(source->records, room, source->record_size);
		if (!records)
			return -ENOMEM;
		source->records = records;
		source->room = room;
	}
	memcpy(source->records + source->cnt++ * source->record_size, data, source->record_size);
	return 0;
}

struct ring_source *ring_source__new(int map_fd, size_t record_size)
{
	struct ring_source *source = calloc(1, sizeof(*source));

	if (!source)
		return NULL;
	source->record_size = record_size;
	source->ring = ring_buffer__new(map_fd, take_record, source, NULL);
	if (!source->ring) {
		int err = errno;

		free(source);
		errno = err;
		return NULL;
	}
	return source;
}

void ring_source__free(struct ring_source *source)
{
	if (!source)
		return;
	ring_buffer__free(source->ring);
	free(source->records);
	free(source);
}

int ring_source__poll_fd(const struct ring_source *source)
{
	return ring_buffer__epoll_fd(source->ring);
}

int ring_source__drain(struct ring_source *source, const void **ret_records, size_t *ret_cnt)
{
	int err;

	source->cnt = 0;
	err = ring_buffer__consume(source->ring);
	*ret_records = source->records;
	*ret_cnt = source->cnt;
	return err < 0 ? err : 0;
}
