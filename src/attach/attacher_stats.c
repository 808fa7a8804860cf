/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the kernel says of our programs and maps. */
#include "attach/attacher_internal.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "attach/table_memory.h"

void attacher__program_runs(const struct attacher *attacher, uint64_t *ret_cnt, uint64_t *ret_ns)
{
	const struct bpf_program *progs[] = {
		attacher->skel->progs.alloc_session, attacher->skel->progs.alloc_enter,
		attacher->skel->progs.alloc_exit,    attacher->skel->progs.free_enter,
		attacher->skel->progs.python_site,
	};

	*ret_cnt = 0;
	*ret_ns = 0;
	for (size_t i = 0; i < sizeof(progs) / sizeof(progs[0]); i++) {
		struct bpf_prog_info info = {0};
		uint32_t len = sizeof(info);

		if (bpf_program__fd(progs[i]) < 0 ||
		    bpf_obj_get_info_by_fd(bpf_program__fd(progs[i]), &info, &len))
			continue;
		*ret_cnt += info.run_cnt;
		*ret_ns += info.run_time_ns;
	}
}

double attacher__program_ns(const struct attacher *attacher)
{
	uint64_t runs, time_ns;

	attacher__program_runs(attacher, &runs, &time_ns);
	return runs ? (double)time_ns / runs : 0;
}

uint64_t attacher__missed_runs(const struct attacher *attacher)
{
	struct bpf_program *prog;
	uint64_t missed = 0;

	bpf_object__for_each_program(prog, attacher->skel->obj)
	{
		struct bpf_prog_info info = {0};
		uint32_t len = sizeof(info);

		/* Interrupts get memory too, in the middle of this one: never what it looks for. */
		if (prog != attacher->skel->progs.touch_folio && bpf_program__fd(prog) >= 0 &&
		    !bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &len))
			missed += info.recursion_misses;
	}
	return missed;
}

uint64_t attacher__map_bytes(const struct attacher *attacher)
{
	struct bpf_map *map;
	uint64_t bytes = 0;

	bpf_object__for_each_map(map, attacher->skel->obj) bytes +=
		table_memory__of_map(bpf_map__fd(map));
	return bytes;
}
