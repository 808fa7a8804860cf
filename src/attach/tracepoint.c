/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "attach/tracepoint.h"

#include <errno.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attach/features.h"

static int keep_link(struct links *links, struct bpf_link *link)
{
	if (!link)
		return -errno;
	if (array_push(&links->list, link)) {
		bpf_link__destroy(link);
		return -ENOMEM;
	}
	return 0;
}

/* libbpf wants tracefs mounted to find a tracepoint's number; we already know it. */
int links__add_tracepoint(struct links *links, const struct bpf_program *prog, const char *group,
			  const char *name)
{
	struct perf_event_attr event = {.size = sizeof(event), .type = PERF_TYPE_TRACEPOINT};
	int id = tracepoint_id(group, name), fd;
	struct bpf_link *link;

	if (id < 0)
		return id;
	event.config = id;
	event.sample_period = 1;
	fd = syscall(__NR_perf_event_open, &event, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		return -errno;
	link = bpf_program__attach_perf_event(prog, fd);
	if (!link)
		close(fd);
	return keep_link(links, link);
}

int links__add_raw(struct links *links, const struct bpf_program *prog, const char *name)
{
	return keep_link(links, bpf_program__attach_raw_tracepoint(prog, name));
}

void link__destroy(void *link)
{
	bpf_link__destroy(link);
}
