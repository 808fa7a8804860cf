/* SPDX-License-Identifier: GPL-2.0-or-later */
/* From a snapshot to what the user gets: names, profile, rendering, and a file that is whole or not
 * there. */
#ifndef LEAKSWEEP_ENGINE_PUBLISH_H
#define LEAKSWEEP_ENGINE_PUBLISH_H

#include "model/profile.h"
#include "report/report.h"

struct publish_opts {
	const char *path; /* NULL = to `fd` */
	int fd;
	report_fn report;
	struct profile_opts profile;
	struct report_opts render;
};

struct publisher;

/* Returns a publisher that remembers the last profile for differences, or NULL (no memory). `opts`
 * is borrowed. */
struct publisher *publisher__new(const struct publish_opts *opts);
void publisher__free(struct publisher *publisher);

/*
 * Publishes a snapshot, which the publisher owns from now on. *ret_live_bytes, if not NULL, is what
 * the report says is outstanding. Returns 0 or a negative errno.
 */
int publisher__publish(struct publisher *publisher, struct snapshot *snap, int64_t *ret_live_bytes);

#endif
