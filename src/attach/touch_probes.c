/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "attach/touch_probes.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <unistd.h>

#include "include/maps.h"
#include "include/touch.h"
#include "leaksweep.skel.h"

/* Calls that add memory or move it (touch_called). */
static const char *const calls[] = {
	"sys_exit_mmap",  "sys_exit_brk",    "sys_exit_mremap",
	"sys_exit_mlock", "sys_exit_mlock2", "sys_exit_madvise",
};

int touch_probes__select(struct leaksweep_bpf *skel, bool wanted)
{
	struct bpf_map *const maps[] = {
		skel->maps.touch_watches,
		skel->maps.touch_sums,
		skel->maps.touch_pages,
	};
	int err = 0;

	bpf_program__set_autoload(skel->progs.touch_by_user, wanted);
	bpf_program__set_autoload(skel->progs.touch_by_kernel, wanted);
	bpf_program__set_autoload(skel->progs.touch_folio, wanted);
	bpf_program__set_autoload(skel->progs.touch_added, wanted);
	bpf_program__set_autoload(skel->progs.touch_called, wanted);
	bpf_program__set_autoload(skel->progs.touch_adjust, wanted);
	if (wanted)
		return 0;
	for (size_t i = 0; i < sizeof(maps) / sizeof(maps[0]) && !err; i++)
		err = bpf_map__set_max_entries(maps[i], 1);
	return err ? err : bpf_map__set_max_entries(skel->maps.touch_moves, sysconf(_SC_PAGESIZE));
}

static void wait_closed(struct touch_probes *probes)
{
	parallel__join(probes->closing);
	probes->closing = NULL;
}

int touch_probes__attach(struct touch_probes *probes, const struct leaksweep_bpf *skel)
{
	struct links *links = &probes->links;
	const struct {
		const struct bpf_program *prog;
		const char *name;
		bool may_lack; /* arm64 tells no faults: touches have no address there */
	} raw[] = {
		{skel->progs.touch_by_user, "page_fault_user", true},
		{skel->progs.touch_by_kernel, "page_fault_kernel", true},
		{skel->progs.touch_folio, "mm_page_alloc", false},
		{skel->progs.touch_added, "rss_stat", false},
	};
	int err;

	if (links->list.cnt)
		return 0;
	wait_closed(probes); /* a program is on a tracepoint only once (bpf_prog_array_copy) */
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		err = links__add_tracepoint(links, skel->progs.touch_called, "syscalls", calls[i]);
		if (err && err != -ENOENT)
			return err;
	}
	for (size_t i = 0; i < sizeof(raw) / sizeof(raw[0]); i++) {
		err = links__add_raw(links, raw[i].prog, raw[i].name);
		if (err && !(raw[i].may_lack && err == -ENOENT))
			return err;
	}
	return 0;
}

void touch_probes__detach(struct touch_probes *probes)
{
	struct links *links = &probes->links;

	if (!links->list.cnt)
		return;
	probes->closing =
		parallel__start(link__destroy, (void **)links->list.items, links->list.cnt);
	array_free(&links->list);
}

void touch_probes__free(struct touch_probes *probes)
{
	touch_probes__detach(probes);
	wait_closed(probes);
}

int touch_probes__adjust(const struct leaksweep_bpf *skel, uint32_t space, uint64_t mean_bytes)
{
	uint64_t args[] = {space, mean_bytes};
	LIBBPF_OPTS(bpf_test_run_opts, run, .ctx_in = args, .ctx_size_in = sizeof(args));
	int err = bpf_prog_test_run_opts(bpf_program__fd(skel->progs.touch_adjust), &run);

	return err ? err : -(int)run.retval;
}
