/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Control groups as tests of the model and of the renderers need them. */
#ifndef LEAKSWEEP_TESTS_GROUPS_FIXTURE_H
#define LEAKSWEEP_TESTS_GROUPS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "model/snapshot.h"

#define KIB 1024ULL
#define MIB (1ULL << 20)
#ifndef SEC
#define SEC 1000000000ULL
#endif

/*
 * 0: container "web" of Docker, that grows towards its limit; 1: a group in it; 2: a unit without a
 * limit; 3: a pod's container without figures, which was refused room; 4: a group that is nothing
 * else.
 */
static inline void add_groups(struct snapshot *snap)
{
	const struct snap_group groups[] = {
		{.path = "/system.slice/docker-c0ffee.scope",
		 .title = "web",
		 .runtime = "docker",
		 .container = "web",
		 .container_id = "c0ffee",
		 .image = "nginx:1.25",
		 .is_measured = true,
		 .anon_bytes = 45 * MIB,
		 .file_bytes = 3 * MIB,
		 .usage_bytes = 48 * MIB,
		 .limit_bytes = 64 * MIB,
		 .reclaimable_bytes = 2 * MIB,
		 .measured_ns = 60 * SEC,
		 .growth_per_min = 2.0 * MIB,
		 .limit_growth_per_min = 2.0 * MIB},
		{.path = "/system.slice/docker-c0ffee.scope/inner",
		 .title = "web",
		 .runtime = "docker",
		 .container = "web",
		 .container_id = "c0ffee",
		 .image = "nginx:1.25",
		 .is_measured = true,
		 .anon_bytes = 20 * MIB,
		 .file_bytes = 1 * MIB,
		 .usage_bytes = 48 * MIB,
		 .limit_bytes = 64 * MIB,
		 .reclaimable_bytes = 2 * MIB,
		 .limit_path = "/system.slice/docker-c0ffee.scope",
		 .measured_ns = 60 * SEC,
		 .growth_per_min = 1.0 * MIB,
		 .limit_growth_per_min = 2.0 * MIB,
		 .lost_stacks = 1},
		{.path = "/system.slice/server.service",
		 .title = "server.service",
		 .service = "server.service",
		 .is_measured = true,
		 .anon_bytes = 9 * MIB,
		 .usage_bytes = 9 * MIB,
		 .measured_ns = 60 * SEC,
		 .growth_per_min = 1.0 * KIB},
		{.path = "/kubepods.slice/kubepods-pod1.slice/cri-containerd-beef.scope",
		 .title = "shop/cart-7/api",
		 .runtime = "containerd",
		 .container_id = "beef",
		 .pod = "cart-7",
		 .pod_namespace = "shop",
		 .pod_uid = "12345678-90ab-cdef-1234-567890abcdef",
		 .lost_blocks = 1200,
		 .lost_bytes = 5 * MIB,
		 .lost_stacks = 3},
		{.path = "/other", .title = "/other"},
	};

	for (uint32_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		assert_int_equal(snapshot__add_group(snap, &groups[i]), i);
}

#endif
