/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/sweep_oom.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const char *oom_fate__name(enum oom_fate fate)
{
	static const char *const names[OOM_FATE_CNT] = {
		[OOM_THERE] = "there",
		[OOM_GONE] = "gone",
		[OOM_KILLED] = "killed",
	};

	return fate > 0 && fate < OOM_FATE_CNT ? names[fate] : "unknown";
}

static char *copy_text(const char *text)
{
	return strdup(text ? text : "");
}

struct sweep_oom *sweep_oom__new(const char *cgroup, const char *title, const char *limit_cgroup)
{
	struct sweep_oom *oom = calloc(1, sizeof(*oom));

	if (!oom)
		return NULL;
	oom->cgroup = copy_text(cgroup);
	oom->title = copy_text(title);
	oom->limit_cgroup = copy_text(limit_cgroup);
	if (oom->cgroup && oom->title && oom->limit_cgroup)
		return oom;
	sweep_oom__free(oom);
	return NULL;
}

void sweep_oom__free(struct sweep_oom *oom)
{
	if (!oom)
		return;
	for (size_t i = 0; i < oom->list.cnt; i++)
		sweep_row__free(&oom->list.items[i].row);
	array_free(&oom->list);
	free(oom->cgroup);
	free(oom->title);
	free(oom->limit_cgroup);
	free(oom);
}

static uint64_t add_bytes(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

void sweep_oom__add_shmem(struct sweep_oom *oom, uint64_t bytes)
{
	oom->shmem_bytes = add_bytes(oom->shmem_bytes, bytes);
}

uint64_t sweep_oom__bytes(const struct sweep_oom *oom)
{
	return add_bytes(oom->anon_bytes, oom->shmem_bytes);
}

static bool goes_before(const struct sweep_row *row, enum oom_fate fate,
			const struct oom_process *other)
{
	bool is_killed = fate == OOM_KILLED, is_other_killed = other->fate == OOM_KILLED;

	if (is_killed != is_other_killed)
		return is_killed;
	if (row->anon_bytes != other->row.anon_bytes)
		return row->anon_bytes > other->row.anon_bytes;
	return row->pid < other->row.pid;
}

int sweep_oom__add(struct sweep_oom *oom, const struct sweep_row *row, enum oom_fate fate)
{
	struct oom_process process = {.fate = fate};
	size_t at = oom->list.cnt;

	oom->process_cnt++;
	oom->anon_bytes = add_bytes(oom->anon_bytes, row->anon_bytes);
	while (at && goes_before(row, fate, &oom->list.items[at - 1]))
		at--;
	if (at == MAX_OOM_PROCESSES)
		return 0;
	if (sweep_row__copy(row, &process.row))
		return -ENOMEM;
	if (oom->list.cnt == MAX_OOM_PROCESSES)
		sweep_row__free(&oom->list.items[--oom->list.cnt].row);
	if (array_reserve_one(&oom->list)) {
		sweep_row__free(&process.row);
		return -ENOMEM;
	}
	memmove(&oom->list.items[at + 1], &oom->list.items[at],
		(oom->list.cnt++ - at) * sizeof(process));
	oom->list.items[at] = process;
	return 0;
}
