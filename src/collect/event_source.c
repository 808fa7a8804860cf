/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/event_source.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>

#include "util/array.h"

struct event_source {
	struct ring_buffer *ring;
	ARRAY(struct event) events;
};

static int take_event(void *ctx, void *data, size_t size)
{
	struct event_source *source = ctx;

	if (size < sizeof(struct event))
		return 0;
	return array_push(&source->events, *(const struct event *)data);
}

struct event_source *event_source__new(int map_fd)
{
	struct event_source *source = calloc(1, sizeof(*source));

	if (!source)
		return NULL;
	source->ring = ring_buffer__new(map_fd, take_event, source, NULL);
	if (!source->ring) {
		int err = errno;

		free(source);
		errno = err;
		return NULL;
	}
	return source;
}

void event_source__free(struct event_source *source)
{
	if (!source)
		return;
	ring_buffer__free(source->ring);
	array_free(&source->events);
	free(source);
}

int event_source__poll_fd(const struct event_source *source)
{
	return ring_buffer__epoll_fd(source->ring);
}

int event_source__drain(struct event_source *source, const struct event **ret_events,
			size_t *ret_cnt)
{
	int err;

	source->events.cnt = 0;
	err = ring_buffer__consume(source->ring);
	*ret_events = source->events.items;
	*ret_cnt = source->events.cnt;
	return err < 0 ? err : 0;
}
