/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the kernel checks, in its order (mm/mmap.c, may_expand_vm; mm/util.c, __vm_enough_memory):
 * the number of mappings, RLIMIT_AS and RLIMIT_DATA against what is mapped, then overcommit. A
 * control group refuses no mapping; it is reached when the memory is used, and then refuses the
 * kernel's own records of the process at most.
 *
 * A look comes after the fact: by then a program may have given back what it had. So each check is
 * made twice: by what is in use now, which is certain, and by the most that ever was, which is not
 * and is asked last.
 */
#include "engine/failure_limit.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "util/arch.h"
#include "util/format.h"
#include "util/units.h"

/* Allocators ask the kernel for more than a small block needs: glibc's smallest mapping in place of
 * the heap, and pymalloc's arenas, are 1 MiB. */
#define REQUEST_SLACK (1ULL << 20)

/* Returns an owned sentence, "" = is not it, NULL = no memory. */
typedef char *(*check_fn)(const struct memory_facts *facts, uint64_t bytes, bool certain);

void memory_facts__read(struct memory_facts *facts, pid_t pid, const char *cgroup)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	*facts = (struct memory_facts){0};
	facts->has_host = !host_memory__read(&facts->host);
	if (pid) {
		facts->has_proc = !proc_memory__read(pid, &facts->proc);
		/* The list of mappings is long to read: only when there can be that many. */
		if (facts->has_proc && facts->has_host && facts->host.max_maps &&
		    facts->proc.size / page >= facts->host.max_maps)
			facts->map_cnt = proc_map_cnt(pid);
	}
	facts->has_cgroup = !cgroup_memory__of_proc(pid, cgroup, &facts->cgroup);
}

void memory_facts__free(struct memory_facts *facts)
{
	cgroup_memory__free(&facts->cgroup);
	facts->has_cgroup = false;
}

static uint64_t add(uint64_t a, uint64_t b)
{
	uint64_t sum;

	return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static const char *size_text(uint64_t bytes, char buf[static UNITS_MAX])
{
	return format_size(bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes, buf);
}

/* Returns an owned ", 64.0 MiB asked for", or "" for an unknown size. */
static char *asked_text(uint64_t bytes)
{
	char buf[UNITS_MAX];

	return bytes ? format_text(", %s asked for", size_text(bytes, buf)) : strdup("");
}

/* Returns an owned sentence with what was asked for behind it; `sentence` is freed. */
static char *with_asked(char *sentence, uint64_t bytes)
{
	char *asked = asked_text(bytes), *both = NULL;

	if (sentence && asked)
		both = format_text("%s%s", sentence, asked);
	free(sentence);
	free(asked);
	return both;
}

/* ---- the checks ---- */

static char *check_address_space(const struct memory_facts *facts, uint64_t bytes, bool certain)
{
	(void)facts;
	if (!certain || bytes < 1ULL << ARCH_ADDRESS_BITS)
		return strdup("");
	return with_asked(strdup("more than the address space of a process"), bytes);
}

/* `used` is what counts against the limit now, `most` what may have, a moment ago. */
static char *check_rlimit(const char *option, uint64_t limit, uint64_t used, uint64_t most,
			  uint64_t bytes, bool certain)
{
	uint64_t counted = certain ? used : most, slack = certain ? 0 : REQUEST_SLACK;
	char buf[UNITS_MAX], *sentence;

	if (limit == MEMORY_UNLIMITED || add(counted, add(bytes, slack)) <= limit)
		return strdup("");
	/* A process that is gone says nothing of its size: then only a request beyond the limit is
	 * sure. */
	if (!used && bytes <= limit)
		return strdup("");
	if (used)
		sentence =
			format_text("ulimit -%s %" PRIu64 " KiB: %s%s in use", option, limit / 1024,
				    counted > used ? "up to " : "", size_text(counted, buf));
	else
		sentence = format_text("ulimit -%s %" PRIu64 " KiB", option, limit / 1024);
	return with_asked(sentence, bytes);
}

static char *check_size_limit(const struct memory_facts *facts, uint64_t bytes, bool certain)
{
	const struct proc_memory *proc = &facts->proc;

	if (!facts->has_proc)
		return strdup("");
	return check_rlimit("v", proc->size_limit, proc->size, proc->size_peak, bytes, certain);
}

static char *check_data_limit(const struct memory_facts *facts, uint64_t bytes, bool certain)
{
	const struct proc_memory *proc = &facts->proc;
	uint64_t gone = proc->size_peak > proc->size ? proc->size_peak - proc->size : 0;

	if (!facts->has_proc)
		return strdup("");
	return check_rlimit("d", proc->data_limit, proc->data, add(proc->data, gone), bytes,
			    certain);
}

static char *check_map_cnt(const struct memory_facts *facts, uint64_t bytes, bool certain)
{
	(void)bytes;
	/* A mapping that is split needs two, and the kernel's own one is not counted. */
	if (!certain || !facts->has_host || !facts->host.max_maps || !facts->map_cnt ||
	    add(facts->map_cnt, 2) < facts->host.max_maps)
		return strdup("");
	return format_text("vm.max_map_count %" PRIu64 ": the process has %" PRIu64 " mappings",
			   facts->host.max_maps, facts->map_cnt);
}

static char *check_strict(const struct memory_facts *facts, uint64_t bytes, bool certain)
{
	const struct host_memory *host = &facts->host;
	uint64_t share = facts->proc.size / 32, held = host->admin_reserve;
	uint64_t gone = 0;
	char committed[UNITS_MAX], limit[UNITS_MAX];

	if (!facts->has_host || host->overcommit != OVERCOMMIT_STRICT)
		return strdup("");
	if (!certain) {
		/* What is held back depends on the process's rights, and it may have shrunk. */
		held += share < host->user_reserve ? share : host->user_reserve;
		if (facts->proc.size_peak > facts->proc.size)
			gone = facts->proc.size_peak - facts->proc.size;
		held = add(held, add(gone, REQUEST_SLACK));
	}
	if (add(host->committed, add(bytes, certain ? 0 : held)) <= host->commit_limit)
		return strdup("");
	return with_asked(format_text("vm.overcommit_memory 2: %s of CommitLimit %s committed",
				      size_text(host->committed, committed),
				      size_text(host->commit_limit, limit)),
			  bytes);
}

static char *check_guess(const struct memory_facts *facts, uint64_t bytes, bool certain)
{
	const struct host_memory *host = &facts->host;
	char ram[UNITS_MAX], swap[UNITS_MAX];

	if (!certain || !facts->has_host || host->overcommit != OVERCOMMIT_GUESS ||
	    bytes <= add(host->ram, host->swap))
		return strdup("");
	return with_asked(
		format_text(
			"more in one piece than the host has (vm.overcommit_memory 0): %s of RAM, "
			"%s of swap",
			size_text(host->ram, ram), size_text(host->swap, swap)),
		bytes);
}

/* Whether the group is, or has been, at its limit: within 1 %, in which the kernel works. */
static bool was_full(const struct cgroup_memory *cgroup)
{
	uint64_t most = cgroup->usage > cgroup->peak ? cgroup->usage : cgroup->peak;

	return most >= cgroup->limit - cgroup->limit / 100;
}

static char *check_cgroup(const struct memory_facts *facts, uint64_t bytes, bool certain)
{
	const struct cgroup_memory *cgroup = &facts->cgroup;
	char limit[UNITS_MAX], usage[UNITS_MAX];
	bool is_full = cgroup->usage >= cgroup->limit - cgroup->limit / 100;

	if (certain || !facts->has_cgroup || !is_full)
		return strdup("");
	return with_asked(format_text("cgroup %s: %s %s, %s in use", cgroup->path,
				      cgroup->limit_name, size_text(cgroup->limit, limit),
				      size_text(cgroup->usage, usage)),
			  bytes);
}

char *explain_refusal(const struct memory_facts *facts, uint64_t bytes)
{
	static const check_fn checks[] = {
		check_address_space, check_map_cnt, check_size_limit, check_data_limit,
		check_strict,	     check_guess,   check_cgroup,
	};

	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < sizeof(checks) / sizeof(checks[0]); i++) {
			char *sentence = checks[i](facts, bytes, pass == 0);

			if (!sentence || *sentence)
				return sentence;
			free(sentence);
		}
	}
	return strdup("");
}

char *explain_kill(const struct memory_facts *facts)
{
	const struct cgroup_memory *cgroup = &facts->cgroup;
	const struct host_memory *host = &facts->host;
	bool host_has_room = facts->has_host && host->available > host->ram / 10;
	char limit[UNITS_MAX], ram[UNITS_MAX];

	/* Which of the two it was is not told: a group that was never full has killed nobody, a
	 * host with a tenth of its memory available has not either. */
	if (facts->has_cgroup && (was_full(cgroup) || host_has_room))
		return format_text("in cgroup %s (%s %s)", cgroup->path, cgroup->limit_name,
				   size_text(cgroup->limit, limit));
	if (facts->has_host && !host_has_room)
		return format_text("the host is out of memory: %s of RAM, %s available",
				   size_text(host->ram, ram), size_text(host->available, limit));
	return strdup("");
}
