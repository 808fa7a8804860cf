/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Frames and stacks are interned by exact keys, so ten thousand stacks that share `main` share its
 * node. A node's parent always has a smaller index than the node: whoever needs something per stack
 * computes it in one pass over the nodes, without recursion.
 */
#include "model/snapshot.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "model/hash.h"
#include "util/cpu_time.h"

struct snapshot *snapshot__new(const char *mode)
{
	struct snapshot *snap = calloc(1, sizeof(*snap));
	const struct snap_node empty = {.parent = 0, .frame = SNAP_NONE};
	struct utsname host = {0};

	if (!snap)
		return NULL;
	snap->mode = mode;
	uname(&host);
	snap->cpus = cpu_cnt();
	snap->hostname = strdup(host.nodename);
	snap->kernel = strdup(host.release);
	snap->arch = strdup(host.machine);
	if (!snap->hostname || !snap->kernel || !snap->arch || array_push(&snap->nodes, empty)) {
		snapshot__free(snap);
		return NULL;
	}
	return snap;
}

static void free_proc(struct snap_proc *proc)
{
	for (size_t i = 0; i < proc->coverage.cnt; i++) {
		free(proc->coverage.items[i].name);
		free(proc->coverage.items[i].path);
		free(proc->coverage.items[i].reason);
	}
	array_free(&proc->coverage);
	free(proc->python.version);
	free(proc->python.frames_reason);
	free(proc->python.objects_reason);
	free(proc->comm);
	free(proc->exe);
	free(proc->cgroup);
	free(proc->container);
}

static void free_group(struct snap_group *group)
{
	free(group->path);
	free(group->title);
	free(group->runtime);
	free(group->container);
	free(group->container_id);
	free(group->image);
	free(group->service);
	free(group->pod);
	free(group->pod_namespace);
	free(group->pod_uid);
	free(group->limit_path);
	free(group->lost_path);
}

static void free_code(struct snap_code *code)
{
	free(code->file);
	free(code->function);
}

static void free_source(struct snap_source *source)
{
	free(source->path);
	free(source->text);
	free(source->reason);
}

void snapshot__free(struct snapshot *snap)
{
	if (!snap)
		return;
	for (size_t i = 0; i < snap->modules.cnt; i++)
		free(snap->modules.items[i].path);
	for (size_t i = 0; i < snap->procs.cnt; i++)
		free_proc(&snap->procs.items[i]);
	for (size_t i = 0; i < snap->groups.cnt; i++)
		free_group(&snap->groups.items[i]);
	for (size_t i = 0; i < snap->notes.cnt; i++)
		free(snap->notes.items[i]);
	for (size_t i = 0; i < snap->codes.cnt; i++)
		free_code(&snap->codes.items[i]);
	for (size_t i = 0; i < snap->types.cnt; i++)
		free(snap->types.items[i]);
	for (size_t i = 0; i < snap->failures.cnt; i++)
		free(snap->failures.items[i].limit);
	for (size_t i = 0; i < snap->sources.cnt; i++)
		free_source(&snap->sources.items[i]);
	array_free(&snap->sources);
	array_free(&snap->modules);
	array_free(&snap->codes);
	array_free(&snap->types);
	array_free(&snap->type_shares);
	array_free(&snap->failures);
	array_free(&snap->frames);
	array_free(&snap->nodes);
	array_free(&snap->procs);
	array_free(&snap->groups);
	array_free(&snap->rows);
	array_free(&snap->notes);
	hashmap__free(&snap->frame_index);
	hashmap__free(&snap->node_index);
	hashmap__free(&snap->code_index);
	hashmap__free(&snap->type_index);
	free(snap->hostname);
	free(snap->kernel);
	free(snap->arch);
	free(snap);
}

static char *copy_text(const char *text)
{
	return strdup(text ? text : "");
}

uint32_t snapshot__add_module(struct snapshot *snap, const char *path, uint64_t dev, uint64_t ino,
			      const uint8_t *build_id, size_t build_id_len, int fd)
{
	struct snap_module module = {.dev = dev, .ino = ino, .fd = fd};

	if (snap->modules.cnt >= SNAP_NONE || array_reserve_one(&snap->modules))
		return SNAP_NONE;
	module.path = copy_text(path);
	if (!module.path)
		return SNAP_NONE;
	/* A longer one (the note may be anything) would not tell files apart once cut. */
	if (build_id && build_id_len <= MAX_BUILD_ID) {
		memcpy(module.build_id, build_id, build_id_len);
		module.build_id_len = build_id_len;
	}
	snap->modules.items[snap->modules.cnt] = module;
	return snap->modules.cnt++;
}

/* Returns the index of an equal function, or SNAP_NONE; *ret_probe is then the free place of its
 * hash. */
static uint32_t find_code(const struct snapshot *snap, const struct snap_code *code, uint64_t hash,
			  uint64_t *ret_probe)
{
	const struct snap_code *known;
	uint64_t *found;

	for (*ret_probe = 0; (found = hashmap__find(&snap->code_index, hash, *ret_probe));
	     ++*ret_probe) {
		known = &snap->codes.items[*found];
		if (known->first_line == code->first_line && !strcmp(known->file, code->file) &&
		    !strcmp(known->function, code->function))
			return *found;
	}
	return SNAP_NONE;
}

uint32_t snapshot__add_code(struct snapshot *snap, const char *file, const char *function,
			    uint32_t first_line)
{
	struct snap_code code = {copy_text(file), copy_text(function), first_line};
	uint64_t hash, probe, *slot = NULL;
	uint32_t index = SNAP_NONE;

	if (!code.file || !code.function)
		goto cleanup;
	hash = hash_mix(hash_mix(hash_text(code.file), hash_text(code.function)), first_line);
	index = find_code(snap, &code, hash, &probe);
	if (index != SNAP_NONE || snap->codes.cnt >= SNAP_NONE || array_reserve_one(&snap->codes))
		goto cleanup;
	slot = hashmap__insert(&snap->code_index, hash, probe, NULL);
	if (!slot)
		goto cleanup;
	index = *slot = snap->codes.cnt;
	snap->codes.items[snap->codes.cnt++] = code;
	return index;
cleanup:
	free_code(&code);
	return index;
}

uint32_t snapshot__add_type(struct snapshot *snap, const char *name)
{
	uint64_t hash = hash_text(name ? name : ""), probe = 0, *found;
	char *copy;

	for (; (found = hashmap__find(&snap->type_index, hash, probe)); probe++)
		if (!strcmp(snap->types.items[*found], name ? name : ""))
			return *found;
	if (snap->types.cnt >= SNAP_NONE || array_reserve_one(&snap->types))
		return SNAP_NONE;
	copy = copy_text(name);
	found = copy ? hashmap__insert(&snap->type_index, hash, probe, NULL) : NULL;
	if (!found) {
		free(copy);
		return SNAP_NONE;
	}
	*found = snap->types.cnt;
	snap->types.items[snap->types.cnt++] = copy;
	return *found;
}

int snapshot__add_type_share(struct snapshot *snap, uint32_t type, int64_t cnt, int64_t bytes)
{
	const struct snap_type_share share = {type, cnt, bytes};
	struct snap_row *row;

	if (!snap->rows.cnt || type >= snap->types.cnt || snap->type_shares.cnt >= SNAP_NONE)
		return -EINVAL;
	row = &snap->rows.items[snap->rows.cnt - 1];
	if (row->type_cnt && row->first_type + row->type_cnt != snap->type_shares.cnt)
		return -EINVAL;
	if (array_push(&snap->type_shares, share))
		return -ENOMEM;
	if (!row->type_cnt++)
		row->first_type = snap->type_shares.cnt - 1;
	return 0;
}

int snapshot__add_failure(struct snapshot *snap, const struct snap_failure *failure)
{
	struct snap_failure copy = *failure;

	if (failure->proc >= snap->procs.cnt || failure->stack >= snap->nodes.cnt)
		return -EINVAL;
	copy.limit = copy_text(failure->limit);
	if (!copy.limit || array_push(&snap->failures, copy)) {
		free(copy.limit);
		return -ENOMEM;
	}
	return 0;
}

int snapshot__add_source(struct snapshot *snap, const char *path, char *text, size_t len,
			 int32_t pid, const char *reason)
{
	struct snap_source source = {
		.path = copy_text(path),
		.text = text,
		.len = text ? len : 0,
		.pid = pid,
		.reason = copy_text(reason),
	};

	if (!source.path || !source.reason || array_push(&snap->sources, source)) {
		free_source(&source);
		return -ENOMEM;
	}
	return 0;
}

uint32_t snapshot__add_frame(struct snapshot *snap, enum frame_kind kind, uint32_t module,
			     uint64_t offset)
{
	const struct snap_frame frame = {.module = module, .kind = kind, .offset = offset};
	size_t module_cnt = kind == FRAME_PYTHON ? snap->codes.cnt : snap->modules.cnt;
	uint64_t *index;
	bool is_new;

	if (snap->frames.cnt >= SNAP_NONE || (module != SNAP_NONE && module >= module_cnt) ||
	    array_reserve_one(&snap->frames))
		return SNAP_NONE;
	index = hashmap__insert(&snap->frame_index, offset, (uint64_t)kind << 32 | module, &is_new);
	if (!index)
		return SNAP_NONE;
	if (is_new) {
		*index = snap->frames.cnt;
		snap->frames.items[snap->frames.cnt++] = frame;
	}
	return *index;
}

uint32_t snapshot__add_stack(struct snapshot *snap, const uint32_t *frames, size_t frame_cnt)
{
	uint32_t node = 0;
	uint64_t *index;
	bool is_new;

	for (size_t i = frame_cnt; i-- > 0;) {
		const struct snap_node next = {.parent = node, .frame = frames[i]};

		if (snap->nodes.cnt >= SNAP_NONE || frames[i] >= snap->frames.cnt ||
		    array_reserve_one(&snap->nodes))
			return SNAP_NONE;
		index = hashmap__insert(&snap->node_index, (uint64_t)node << 32 | frames[i], 0,
					&is_new);
		if (!index)
			return SNAP_NONE;
		if (is_new) {
			*index = snap->nodes.cnt;
			snap->nodes.items[snap->nodes.cnt++] = next;
		}
		node = *index;
	}
	return node;
}

uint32_t snapshot__add_proc(struct snapshot *snap, int32_t pid, uint64_t start_ns, const char *comm,
			    const char *exe, const char *cgroup, const char *container)
{
	struct snap_proc proc = {
		.pid = pid,
		.group = SNAP_NONE,
		.start_ns = start_ns,
		.comm = copy_text(comm),
		.exe = copy_text(exe),
		.cgroup = copy_text(cgroup),
		.container = copy_text(container),
		.state = PROC_RUNNING,
	};

	if (!proc.comm || !proc.exe || !proc.cgroup || !proc.container ||
	    snap->procs.cnt >= SNAP_NONE || array_reserve_one(&snap->procs)) {
		free_proc(&proc);
		return SNAP_NONE;
	}
	snap->procs.items[snap->procs.cnt] = proc;
	return snap->procs.cnt++;
}

uint32_t snapshot__add_group(struct snapshot *snap, const struct snap_group *group)
{
	struct snap_group copy = *group;

	copy.path = copy_text(group->path);
	copy.title = copy_text(group->title);
	copy.runtime = copy_text(group->runtime);
	copy.container = copy_text(group->container);
	copy.container_id = copy_text(group->container_id);
	copy.image = copy_text(group->image);
	copy.service = copy_text(group->service);
	copy.pod = copy_text(group->pod);
	copy.pod_namespace = copy_text(group->pod_namespace);
	copy.pod_uid = copy_text(group->pod_uid);
	copy.limit_path = copy_text(group->limit_path);
	copy.lost_path = copy_text(group->lost_path);
	if (!copy.path || !copy.title || !copy.runtime || !copy.container || !copy.container_id ||
	    !copy.image || !copy.service || !copy.pod || !copy.pod_namespace || !copy.pod_uid ||
	    !copy.limit_path || !copy.lost_path || snap->groups.cnt >= SNAP_NONE ||
	    array_push(&snap->groups, copy)) {
		free_group(&copy);
		return SNAP_NONE;
	}
	return snap->groups.cnt - 1;
}

int snapshot__set_group(struct snapshot *snap, uint32_t proc, uint32_t group)
{
	char *container;

	if (proc >= snap->procs.cnt || group >= snap->groups.cnt)
		return -EINVAL;
	if (*snap->groups.items[group].container_id) {
		container = copy_text(snap->groups.items[group].title);
		if (!container)
			return -ENOMEM;
		free(snap->procs.items[proc].container);
		snap->procs.items[proc].container = container;
	}
	snap->procs.items[proc].group = group;
	return 0;
}

int snapshot__add_coverage(struct snapshot *snap, uint32_t proc, const char *name, const char *path,
			   enum coverage_status status, const char *reason)
{
	struct snap_coverage coverage = {.status = status};

	if (proc >= snap->procs.cnt)
		return -EINVAL;
	coverage.name = copy_text(name);
	coverage.path = copy_text(path);
	coverage.reason = copy_text(reason);
	if (!coverage.name || !coverage.path || !coverage.reason ||
	    array_push(&snap->procs.items[proc].coverage, coverage)) {
		free(coverage.name);
		free(coverage.path);
		free(coverage.reason);
		return -ENOMEM;
	}
	return 0;
}

int snapshot__add_row(struct snapshot *snap, const struct snap_row *row)
{
	if (row->proc >= snap->procs.cnt || row->stack >= snap->nodes.cnt ||
	    (row->type_cnt && (uint64_t)row->first_type + row->type_cnt > snap->type_shares.cnt))
		return -EINVAL;
	return array_push(&snap->rows, *row);
}

int snapshot__add_note(struct snapshot *snap, const char *fmt, ...)
{
	char *note = NULL;
	va_list args;
	int len;

	va_start(args, fmt);
	len = vasprintf(&note, fmt, args);
	va_end(args);
	if (len < 0)
		return -ENOMEM;
	if (array_push(&snap->notes, note)) {
		free(note);
		return -ENOMEM;
	}
	return 0;
}
