/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/space_table.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>

#include "util/clock.h"

#define MAX_BIRTHS 1024	    /* mappings of code of one process that are remembered; even */
#define MAX_CLOSED_CODE 256 /* places of closed libraries that are remembered for one process */

static void set_string(char **slot, char *owned)
{
	if (!owned)
		return;
	free(*slot);
	*slot = owned;
}

static void space_info__free(struct space_info *space)
{
	if (!space)
		return;
	free(space->comm);
	free(space->exe);
	free(space->cgroup);
	array_free(&space->code);
	array_free(&space->births);
	for (size_t i = 0; i < space->coverage.cnt; i++) {
		free(space->coverage.items[i].name);
		free(space->coverage.items[i].path);
		free(space->coverage.items[i].reason);
	}
	array_free(&space->coverage);
	ranges__free(space->ranges);
	array_free(&space->ancestor_frees);
	hashmap__free(&space->unknown_frees);
	free(space);
}

void space_table__free(struct space_table *table)
{
	for (size_t i = 0; i < table->spaces.cnt; i++)
		space_info__free(table->spaces.items[i]);
	array_free(&table->spaces);
	hashmap__free(&table->by_id);
	hashmap__free(&table->by_tgid);
	module_table__free(&table->modules);
}

struct space_info *space_table__find(const struct space_table *table, uint32_t id)
{
	uint64_t *slot = hashmap__find(&table->by_id, id, 0);

	return slot ? (struct space_info *)(uintptr_t)*slot : NULL;
}

struct space_info *space_table__find_tgid(const struct space_table *table, pid_t tgid)
{
	uint64_t *slot = hashmap__find(&table->by_tgid, tgid, 0);

	return slot ? space_table__find(table, *slot) : NULL;
}

/*
 * Makes a space the one that runs in its process. Numbers of spaces rise: whoever was there before
 * has ended, though the event that said so was lost; a space with a higher number has come later,
 * though it was heard of first.
 */
static void take_tgid(const struct space_table *table, const struct space_info *space,
		      uint64_t *tgid_slot)
{
	struct space_info *last = space_table__find(table, *tgid_slot);

	if (last && last->id > space->id)
		return;
	if (last && last->state == PROC_RUNNING)
		last->state = PROC_EXITED;
	*tgid_slot = space->id;
}

static void leave_tgid(struct space_table *table, const struct space_info *space)
{
	uint64_t *slot = hashmap__find(&table->by_tgid, space->tgid, 0);

	if (slot && *slot == space->id)
		hashmap__remove(&table->by_tgid, space->tgid, 0);
}

struct space_info *space_table__add(struct space_table *table, uint32_t id, pid_t tgid,
				    uint64_t born_ns)
{
	struct space_info *space = space_table__find(table, id);
	uint64_t *id_slot, *tgid_slot;

	if (space)
		return space;
	space = calloc(1, sizeof(*space));
	if (!space)
		return NULL;
	space->id = id;
	space->tgid = tgid;
	space->born_ns = born_ns;
	space->state = PROC_RUNNING;
	space->maps_stale = true;
	space->comm = strdup("");
	space->exe = strdup("");
	space->cgroup = strdup("");
	space->ranges = ranges__new();
	if (!space->comm || !space->exe || !space->cgroup || !space->ranges)
		goto no_memory;
	id_slot = hashmap__insert(&table->by_id, id, 0, NULL);
	tgid_slot = hashmap__insert(&table->by_tgid, tgid, 0, NULL);
	if (!id_slot || !tgid_slot || array_push(&table->spaces, space))
		goto no_memory;
	*id_slot = (uintptr_t)space;
	take_tgid(table, space, tgid_slot);
	return space;
no_memory:
	hashmap__remove(&table->by_id, id, 0);
	space_info__free(space);
	return NULL;
}

void space_table__drop(struct space_table *table, struct space_info *space)
{
	leave_tgid(table, space);
	table->free_cnt -= space->unknown_frees.cnt + space->ancestor_frees.cnt;
	hashmap__remove(&table->by_id, space->id, 0);
	for (size_t i = 0; i < table->spaces.cnt; i++) {
		if (table->spaces.items[i] != space)
			continue;
		memmove(&table->spaces.items[i], &table->spaces.items[i + 1],
			(--table->spaces.cnt - i) * sizeof(table->spaces.items[0]));
		break;
	}
	space_info__free(space);
}

/* A forked child begins with its parent's mappings and identity. */
static int copy_parent(struct space_info *child, const struct space_info *parent)
{
	struct ranges *ranges = ranges__fork(parent->ranges);

	if (!ranges)
		return -ENOMEM;
	ranges__free(child->ranges);
	child->ranges = ranges;
	child->maps_stale = parent->maps_stale;
	set_string(&child->exe, strdup(parent->exe));
	set_string(&child->cgroup, strdup(parent->cgroup));
	for (size_t i = 0; i < parent->code.cnt; i++)
		if (array_push(&child->code, parent->code.items[i]))
			return -ENOMEM;
	for (size_t i = 0; i < parent->coverage.cnt; i++) {
		const struct coverage *c = &parent->coverage.items[i];

		if (space_info__set_coverage(child, c->module, c->name, c->path, c->status,
					     c->reason))
			return -ENOMEM;
	}
	return 0;
}

static int apply_birth(struct space_table *table, const struct event *event)
{
	struct space_info *parent = space_table__find(table, event->proc.parent), *space;

	if (event->flags & EVENT_UNTRACED)
		return 0;
	space = space_table__add(table, event->space, event->proc.tgid, event->time_ns);
	if (!space)
		return -ENOMEM;
	set_string(&space->comm, strndup(event->proc.comm, MAX_COMM));
	if (event->kind == EV_FORK) {
		space->forked = true;
		space->parent = event->proc.parent;
		return parent ? copy_parent(space, parent) : 0;
	}
	if (event->kind == EV_EXEC && parent) {
		space->is_root = parent->is_root && parent->tgid == space->tgid;
		space->forked = parent->forked || parent->tgid != space->tgid;
		if (parent->tgid == space->tgid) /* not a vfork child, whose parent lives on */
			parent->state = PROC_EXECED;
	} else if (event->kind == EV_EXEC) {
		space->forked = true;
	}
	return 0;
}

/* Stacks that wait for a table ask what was mapped when. */
static int note_birth(struct space_info *space, const struct event *event)
{
	struct code_birth birth = {
		.start = event->map.addr,
		.end = event->map.addr + event->map.len,
		.off = event->map.pgoff,
		.time_ns = event->time_ns,
		.file = {.ino = event->map.ino,
			 .dev = event->map.dev,
			 .generation = event->map.generation},
	};

	if (space->births.cnt >= MAX_BIRTHS) {
		space->births.cnt = MAX_BIRTHS / 2;
		memmove(space->births.items, space->births.items + MAX_BIRTHS / 2,
			MAX_BIRTHS / 2 * sizeof(birth));
	}
	return array_push(&space->births, birth);
}

static int apply_code_map(struct space_table *table, struct space_info *space,
			  const struct event *event)
{
	struct code_map code = {
		.start = event->map.addr,
		.end = event->map.addr + event->map.len,
		.off = event->map.pgoff,
		.since_ns = event->time_ns,
	};

	space->maps_stale = true;
	if (code.end < code.start)
		return 0;
	if (note_birth(space, event))
		return -ENOMEM;
	/* Should the process be gone before /proc is read, this much is known. */
	code.module = module_table__find(&table->modules,
					 makedev(event->map.dev >> 20, event->map.dev & 0xfffff),
					 event->map.ino);
	return code.module == MODULE_NONE ? 0 : array_push(&space->code, code);
}

static int apply_mapping(struct space_table *table, struct space_info *space,
			 const struct event *event)
{
	struct range_origin origin = {
		.stack_id = event->stack_id,
		.begin_ns = event->begin_ns,
		.time_ns = event->time_ns,
		.kind = event->flags & EVENT_IN_ALLOCATOR ? RANGE_ALLOCATOR : RANGE_MEMORY,
	};
	int err;

	switch (event->kind) {
	case EV_EXEC_MAP:
		err = apply_code_map(table, space, event);
		origin.kind = RANGE_FILE;
		return err ? err
			   : ranges__map(space->ranges, event->map.addr, event->map.len, &origin);
	case EV_MMAP:
		if (!(event->map.flags & MAP_ANONYMOUS))
			origin.kind = RANGE_FILE;
		else if ((!event->map.prot || event->map.flags & MAP_NORESERVE) &&
			 origin.kind == RANGE_MEMORY)
			origin.kind = RANGE_RESERVED; /* address space: sanitizers and JITs take
							 terabytes of it */
		if (event->map.prot &
		    PROT_EXEC) /* a compiler's at run time: frames there are code, too */
			space->maps_stale = true;
		return ranges__map(space->ranges, event->map.addr, event->map.len, &origin);
	case EV_MUNMAP:
		return ranges__unmap(space->ranges, event->map.addr, event->map.len,
				     event->begin_ns);
	case EV_MREMAP:
		return ranges__remap(space->ranges, event->remap.old_addr, event->remap.old_len,
				     event->remap.addr, event->remap.len,
				     event->remap.flags & 4 /* DONTUNMAP */, &origin);
	case EV_BRK:
		return ranges__brk(space->ranges, event->remap.old_addr, event->remap.addr,
				   &origin);
	default:
		if (event->map.prot & PROT_EXEC)
			space->maps_stale = true;
		return ranges__protect(space->ranges, event->map.addr, event->map.len,
				       event->map.prot & (PROT_READ | PROT_WRITE | PROT_EXEC),
				       &origin);
	}
}

/*
 * Returns whether one more free may be kept; counts it, or that it had no room. Half of the room is
 * for those that surely were of inherited blocks.
 */
static bool take_room(struct space_table *table, bool is_inherited)
{
	uint64_t max = is_inherited ? table->max_frees : table->max_frees / 2;

	if (table->max_frees && table->free_cnt >= max) {
		table->frees_left_out++;
		return false;
	}
	table->free_cnt++;
	return true;
}

static int add_ancestor_free(struct space_table *table, struct space_info *space,
			     const struct event *event)
{
	if (!take_room(table, true))
		return 0;
	return array_push(&space->ancestor_frees, ((struct freed_block){
							  .addr = event->freed.addr,
							  .time_ns = event->time_ns,
							  .block = event->freed.block,
						  }));
}

static int add_unknown_free(struct space_table *table, struct space_info *space,
			    const struct event *event)
{
	bool is_inherited = event->flags & EVENT_INHERITED;
	uint64_t *slot;

	space->unknown_free_cnt += !is_inherited;
	if (hashmap__find(&space->unknown_frees, event->freed.addr, 0) ||
	    !take_room(table, is_inherited))
		return 0;
	slot = hashmap__insert(&space->unknown_frees, event->freed.addr, 0, NULL);
	if (!slot)
		return -ENOMEM;
	*slot = event->time_ns << 1 | is_inherited;
	return 0;
}

int space_table__apply(struct space_table *table, const struct event *event)
{
	struct space_info *space;

	if (event->kind == EV_SPACE_NEW || event->kind == EV_FORK || event->kind == EV_EXEC)
		return apply_birth(table, event);
	space = space_table__find(table, event->space);
	if (!space)
		return 0; /* dropped, or its birth was lost with the ring buffer full */
	switch (event->kind) {
	case EV_EXIT:
		space->state = PROC_EXITED;
		space->exit_code = event->proc.exit_code;
		leave_tgid(table, space);
		return 0;
	case EV_ANCESTOR_FREE:
		return add_ancestor_free(table, space, event);
	case EV_UNKNOWN_FREE:
		return add_unknown_free(table, space, event);
	case EV_CODE_NEW:
		space->maps_stale = true;
		return 0;
	case EV_CODE_WANTED:
	case EV_CODE_MAP:
		return 0;
	default:
		return apply_mapping(table, space, event);
	}
}

/* Tells of a mapping what was known before: since when it is there, and whether it was the first.
 */
static void look_back(const struct space_info *space, struct code_map *code)
{
	code->since_ns = space->was_read ? clock_ns(CLOCK_MONOTONIC) : 0;
	for (size_t i = 0; i < space->births.cnt; i++)
		if (space->births.items[i].start == code->start)
			code->since_ns = space->births.items[i].time_ns;
	for (size_t i = 0; i < space->code.cnt; i++) {
		const struct code_map *old = &space->code.items[i];

		if (old->start >= code->end || code->start >= old->end)
			continue;
		if (old->start == code->start && old->off == code->off &&
		    old->module == code->module) {
			code->since_ns = old->since_ns;
			code->replaced |= old->replaced;
		} else {
			code->replaced = true;
		}
	}
}

/*
 * Stacks may lead through libraries that were closed meanwhile: their places are kept, behind what
 * is mapped now, until something else is mapped there.
 */
static void keep_closed_code(struct space_info *space, const struct proc_maps *maps)
{
	size_t kept = 0;

	for (size_t i = 0; i < space->code.cnt; i++) {
		const struct code_map *code = &space->code.items[i];
		bool mapped = kept >= MAX_CLOSED_CODE;

		for (size_t k = 0; k < maps->maps.cnt && !mapped; k++)
			mapped = maps->maps.items[k].executable &&
				 code->start < maps->maps.items[k].end &&
				 maps->maps.items[k].start < code->end;
		if (!mapped)
			space->code.items[kept++] = *code;
	}
	space->code.cnt = kept;
}

static int read_code(struct space_table *table, struct space_info *space)
{
	struct proc_maps maps = {0};
	ARRAY(struct code_map) found = {0};
	int err;

	err = proc_maps__read(space->tgid, &maps);
	if (err)
		return err;
	if (!maps.maps.cnt) /* a zombie */
		return -ESRCH;
	for (size_t i = 0; i < maps.maps.cnt && !err; i++) {
		const struct proc_map *map = &maps.maps.items[i];
		struct code_map code = {.start = map->start, .end = map->end, .off = map->off};

		if (!map->executable)
			continue;
		code.module = module_table__add(&table->modules, space->tgid, map);
		look_back(space, &code);
		err = code.module == MODULE_NONE ? -ENOMEM : array_push(&found, code);
	}
	keep_closed_code(space, &maps);
	for (size_t i = 0; i < found.cnt && !err; i++)
		err = array_push(&space->code, found.items[i]);
	space->was_read = true;
	array_free(&found);
	proc_maps__free(&maps);
	return err;
}

int space_info__refresh(struct space_table *table, struct space_info *space)
{
	struct proc_info info;
	uint64_t rss;
	int err;

	if (space->state != PROC_RUNNING)
		return 0;
	err = proc_info__read(space->tgid, &info);
	if (err || info.zombie)
		return err ? err : -ESRCH;
	if (!space->start_ns) { /* the first look, also at a forked child with its parent's maps */
		space->start_ns = info.start_ns;
		space->ns_pid = proc_ns_pid(space->tgid);
	}
	if (space->start_ns != info.start_ns) /* the PID has another owner by now */
		return -ESRCH;
	rss = proc_rss_bytes(space->tgid);
	if (rss)
		space->rss_bytes = rss;
	set_string(&space->comm, strdup(info.comm));
	set_string(&space->cgroup, proc_cgroup(space->tgid));
	if (!space->maps_stale)
		return 0;
	set_string(&space->exe, proc_exe(space->tgid));
	space->maps_stale = false;
	return read_code(table, space);
}

int space_info__set_coverage(struct space_info *space, uint32_t module, const char *name,
			     const char *path, enum coverage_status status, const char *reason)
{
	struct coverage entry = {
		.module = module,
		.status = status,
		.name = strdup(name ? name : ""),
		.path = strdup(path ? path : ""),
		.reason = strdup(reason ? reason : ""),
	};
	size_t i;

	if (!entry.name || !entry.path || !entry.reason)
		goto no_memory;
	/* An entry without a module says that there was nothing to probe, which no longer holds. */
	for (i = 0; i < space->coverage.cnt; i++)
		if (space->coverage.items[i].module == module ||
		    space->coverage.items[i].module == MODULE_NONE)
			break;
	if (i == space->coverage.cnt) {
		if (array_push(&space->coverage, entry))
			goto no_memory;
		return 0;
	}
	free(space->coverage.items[i].name);
	free(space->coverage.items[i].path);
	free(space->coverage.items[i].reason);
	space->coverage.items[i] = entry;
	return 0;
no_memory:
	free(entry.name);
	free(entry.path);
	free(entry.reason);
	return -ENOMEM;
}

const struct code_map *space_info__find_code(const struct space_info *space, uint64_t pc)
{
	/* Newest first: what was mapped later lies on top of what /proc said earlier. */
	for (size_t i = space->code.cnt; i-- > 0;)
		if (space->code.items[i].start <= pc && pc < space->code.items[i].end)
			return &space->code.items[i];
	return NULL;
}
