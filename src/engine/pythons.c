/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * An interpreter is found by file: build, layout and the places of its object allocator are worked
 * out once for all processes that map it. What a process says must then agree (python/process.h):
 * until it does, or if it does not, no Python frame of it is shown.
 *
 * From the first instruction of a process on, the kernel side may walk its frames, with the key of
 * the thread state read where the interpreter will put it: so a command's start-up is not missed.
 */
#include "engine/pythons.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "python/sites.h"
#include "util/arch.h"
#include "util/clock.h"
#include "util/elf_image.h"

#define CHECK_NS (5 * NS_PER_MS)
/*
 * A program that its loader is still putting together looks like anything: only from this age on is
 * a process that does not hold its promises refused.
 */
#define GROWN_UP_NS NS_PER_SEC

enum python_state {
	PYTHON_WAITS = 1, /* not initialised yet */
	PYTHON_CHECKED = 2,
	PYTHON_REFUSED = 3,
};

/* What became of a file of the module table. */
struct python_file {
	bool was_read, has_python;
	bool is_probed; /* in all processes */
	bool is_proven; /* some process of it has passed its check */
	struct python_build build;
	struct python_layout layout;
	const char *refusal; /* static: why its frames cannot be walked, NULL = they can */
	struct python_sites sites;
	int sites_err;
	int attach_err;
	uint32_t alloc_cnt, free_cnt; /* places probed */
};

struct python_space {
	uint32_t space;
	uint32_t module; /* index of the file that the interpreter is in */
	pid_t pid;
	enum python_state state;
	char *frames_reason;	     /* owned or NULL: of the last check */
	uint64_t added_ns, check_ns; /* CLOCK_MONOTONIC; when the next check is due */
	bool wants_baseline;
	bool is_grown_up; /* it was old enough when it was met */
	struct python_process process;
	uint64_t bias;
	struct pool_scan *baseline;
	/* of the last report */
	struct pool_scan *scan;
	struct python_types *types;
	struct python_owners *owners;
};

struct pythons {
	struct pythons_opts opts;
	struct attacher *attacher;
	struct space_table *table;
	struct same_files *same;
	ARRAY(struct python_file) files; /* beside the module table */
	ARRAY(struct python_space *) spaces;
	struct hashmap by_space; /* {space, 0} -> pointer */
	ARRAY(struct python_view) views;
	uint64_t look_bytes, room; /* for a look; what is left of it */
};

struct pythons *pythons__new(const struct pythons_opts *opts, uint64_t look_bytes,
			     struct attacher *attacher, struct space_table *table,
			     struct same_files *same)
{
	struct pythons *pythons = calloc(1, sizeof(*pythons));

	if (!pythons)
		return NULL;
	pythons->opts = *opts;
	pythons->look_bytes = look_bytes;
	pythons->attacher = attacher;
	pythons->table = table;
	pythons->same = same;
	return pythons;
}

static void forget_look(struct python_space *python)
{
	python_owners__free(python->owners);
	python_types__free(python->types);
	pool_scan__free(python->scan);
	python->owners = NULL;
	python->types = NULL;
	python->scan = NULL;
}

static void free_space(struct python_space *python)
{
	forget_look(python);
	pool_scan__free(python->baseline);
	free(python->frames_reason);
	free(python);
}

void pythons__free(struct pythons *pythons)
{
	if (!pythons)
		return;
	for (size_t i = 0; i < pythons->spaces.cnt; i++)
		free_space(pythons->spaces.items[i]);
	for (size_t i = 0; i < pythons->files.cnt; i++) {
		python_build__free(&pythons->files.items[i].build);
		python_sites__free(&pythons->files.items[i].sites);
	}
	array_free(&pythons->spaces);
	array_free(&pythons->files);
	array_free(&pythons->views);
	hashmap__free(&pythons->by_space);
	free(pythons);
}

static struct python_space *find(const struct pythons *pythons, uint32_t space)
{
	uint64_t *slot = hashmap__find(&pythons->by_space, space, 0);

	return slot ? (struct python_space *)(uintptr_t)*slot : NULL;
}

static struct python_file *file_of(const struct pythons *pythons, const struct python_space *python)
{
	return &pythons->files.items[python->module];
}

/* ---- files ------------------------------------------------------------------------------------
 */

/* Tells the module table which code is the interpreter's. */
static int note_loops(struct module *module, const struct python_build *build)
{
	if (module->is_interpreter)
		return 0;
	module->is_interpreter = true;
	for (size_t i = 0; i < build->eval.cnt; i++)
		if (array_push(&module->loops, build->eval.items[i]))
			return -ENOMEM;
	return 0;
}

/* Returns the file's entry, read if it can be; NULL: no memory. */
static struct python_file *read_file(struct pythons *pythons, uint32_t index)
{
	struct module *module = &pythons->table->modules.modules.items[index];
	struct python_file *file;
	int err;

	while (pythons->files.cnt <= index)
		if (array_push(&pythons->files, (struct python_file){0}))
			return NULL;
	file = &pythons->files.items[index];
	if (file->was_read || module->fd < 0)
		return file;
	file->was_read = true;
	err = python_build__read(module->fd, &file->build);
	if (err)
		return err == -ENOMEM ? NULL : file;
	file->has_python = true;
	if (ARCH_NO_PYTHON)
		file->refusal = ARCH_NO_PYTHON;
	else if (!file->build.version)
		file->refusal = "its version cannot be told";
	else if (python_layout__of(&file->build, &file->layout, &file->refusal) != -ENOTSUP)
		file->refusal = NULL;
	if (note_loops(module, &file->build))
		return NULL;
	if (!pythons->opts.no_objects)
		file->sites_err =
			python_sites__find(module->fd, pythons->opts.cache_dir, &file->sites);
	return file;
}

static void attach_moment(struct pythons *pythons, int fd, enum probe_role role, uint64_t off,
			  pid_t pid)
{
	const uint64_t cookie = 0;
	const struct probe_set set = {.offsets = &off, .cookies = &cookie, .cnt = 1};
	struct attach_outcome outcome;

	if (off) /* a report lacks the moment, nothing else */
		attacher__attach_role(pythons->attacher, fd, role, &set, pid, &outcome);
}

static int attach_objects(struct pythons *pythons, struct python_file *file, int fd, pid_t pid)
{
	ARRAY(uint64_t) offsets = {0};
	ARRAY(uint64_t) cookies = {0};
	struct attach_outcome outcome = {0};
	struct probe_set set;
	int err = 0;

	file->alloc_cnt = 0;
	file->free_cnt = 0;
	for (size_t i = 0; i < file->sites.sites.cnt && !err; i++) {
		const struct python_site *site = &file->sites.sites.items[i];
		uint64_t flags = site->is_stepped ? COOKIE_STEPPED : 0;

		if (site->kind == SITE_FREE && !pythons->opts.frees)
			continue;
		file->alloc_cnt += PYTHON_SITE_OP(site->cookie) == PYTHON_OP_ALLOC;
		file->free_cnt += site->kind == SITE_FREE;
		err = array_push(&offsets, site->off);
		err = err ? err : array_push(&cookies, site->cookie | flags);
	}
	set = (struct probe_set){offsets.items, cookies.items, offsets.cnt};
	if (!err && set.cnt)
		file->attach_err = attacher__attach_role(pythons->attacher, fd, ROLE_OBJECT, &set,
							 pid, &outcome);
	if (!file->attach_err && outcome.refused_cnt)
		file->attach_err = outcome.refused_err;
	array_free(&offsets);
	array_free(&cookies);
	return err;
}

static int probe_file(struct pythons *pythons, struct python_file *file, int fd, pid_t pid)
{
	if (!pythons->opts.per_process) {
		if (file->is_probed)
			return 0;
		pid = 0;
	}
	file->is_probed = true;
	attach_moment(pythons, fd, ROLE_NO_MEMORY, file->build.no_memory_off, pid);
	if (!pythons->opts.until_exit)
		attach_moment(pythons, fd, ROLE_FINALIZE, file->build.finalize_off, pid);
	return attach_objects(pythons, file, fd, pid);
}

/* Finds what is added to the file's addresses where it is mapped. */
static int find_bias(int fd, const struct code_map *code, uint64_t *ret_bias)
{
	struct elf_image image;
	uint64_t vaddr;
	int err;

	err = elf_image__open(&image, fd, EM_NONE);
	if (err)
		return err;
	if (elf_segments__vaddr(&image.segments, code->off, &vaddr))
		*ret_bias = code->start - vaddr;
	else
		err = -ENOENT;
	elf_image__close(&image);
	return err;
}

/* ---- processes --------------------------------------------------------------------------------
 */

/* What the kernel side can begin with before the interpreter is up. */
static int set_provisional(struct pythons *pythons, struct python_space *python)
{
	const struct python_file *file = file_of(pythons, python);
	struct python_proc frames = file->layout.frames;

	frames.code_type = python->bias + file->build.code_type_vaddr;
	frames.key_at = python->bias + file->build.runtime_vaddr + file->layout.runtime_key;
	frames.tsd_first = ARCH_TSD_FIRST;
	frames.tsd_second = ARCH_TSD_SECOND;
	return attacher__set_python(pythons->attacher, python->space, &frames);
}

static void note_reason(struct python_space *python, char *reason)
{
	free(python->frames_reason);
	python->frames_reason = reason;
}

/*
 * Whether no block can be handed out in the process without a probe's notice. In process scope
 * forked children are reached late.
 */
static bool sees_all_blocks(const struct pythons *pythons, const struct python_file *file)
{
	return !pythons->opts.per_process && file->is_probed && !file->attach_err &&
	       file->alloc_cnt && file->sites.verdict == SITES_COMPLETE;
}

/* Asks the process whether it is what its file promises. */
static int check(struct pythons *pythons, struct python_space *python)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC), age_ns = now_ns - python->added_ns;
	struct python_file *file = file_of(pythons, python);
	char *reason = NULL;
	int err;

	err = python_process__check(python->pid, python->bias, &file->build, &python->process,
				    &reason);
	if (!err) {
		python->state = PYTHON_CHECKED;
		file->is_proven = true;
		python->process.frames.sees_all_blocks = sees_all_blocks(pythons, file);
		return attacher__set_python(pythons->attacher, python->space,
					    &python->process.frames);
	}
	if (err == -ENOMEM)
		return err;
	python->check_ns = now_ns + (age_ns / 4 > CHECK_NS ? age_ns / 4 : CHECK_NS);
	if (err == -EAGAIN || err == -ETIMEDOUT) {
		note_reason(python, err == -EAGAIN ? NULL
						   : strdup("the file system of its program does "
							    "not answer"));
		return 0;
	}
	note_reason(python, reason ? reason : strdup(strerror(-err)));
	if (python->is_grown_up || age_ns > GROWN_UP_NS) {
		python->state = PYTHON_REFUSED;
		attacher__forget_python(pythons->attacher, python->space);
	}
	return 0;
}

static int begin(struct pythons *pythons, struct python_space *python, const struct code_map *code)
{
	const struct python_file *file = file_of(pythons, python);
	int fd = pythons->table->modules.modules.items[python->module].fd;

	if (file->refusal || find_bias(fd, code, &python->bias)) {
		note_reason(python,
			    strdup(file->refusal ? file->refusal : "it is mapped in parts"));
		return 0;
	}
	if (set_provisional(pythons, python)) {
		note_reason(python, strdup("the table of processes is full: use a larger "
					   "--max-procs"));
		return 0;
	}
	python->state = PYTHON_WAITS;
	return check(pythons, python);
}

static int add(struct pythons *pythons, const struct space_info *space, const struct code_map *code,
	       bool from_start)
{
	struct python_space *python = calloc(1, sizeof(*python));
	uint32_t module = same_files__first(pythons->same, code->module);
	struct python_file *file = &pythons->files.items[module];
	int fd = pythons->table->modules.modules.items[module].fd;
	uint64_t *slot;
	int err;

	if (!python)
		return -ENOMEM;
	python->space = space->id;
	python->pid = space->tgid;
	python->module = module;
	python->state = PYTHON_REFUSED; /* until it is known better */
	python->added_ns = clock_ns(CLOCK_MONOTONIC);
	python->is_grown_up =
		clock_ns(CLOCK_BOOTTIME) > space->start_ns + GROWN_UP_NS && space->start_ns;
	python->wants_baseline = !from_start && !space->forked && !pythons->opts.no_objects &&
				 !pythons->opts.in_windows;
	slot = hashmap__insert(&pythons->by_space, space->id, 0, NULL);
	if (!slot || array_push(&pythons->spaces, python)) {
		free_space(python);
		return -ENOMEM;
	}
	*slot = (uintptr_t)python;
	err = pythons->opts.in_windows ? 0 : probe_file(pythons, file, fd, space->tgid);
	return err ? err : begin(pythons, python, code);
}

int pythons__cover(struct pythons *pythons, struct space_info *space, bool from_start)
{
	const struct code_map *best = NULL;

	if (find(pythons, space->id))
		return 0;
	for (size_t i = 0; i < space->code.cnt; i++) {
		const struct code_map *code = &space->code.items[i];
		uint32_t first = same_files__first(pythons->same, code->module);
		const struct python_file *file = read_file(pythons, first);

		if (!file)
			return -ENOMEM;
		if (file->has_python &&
		    note_loops(&pythons->table->modules.modules.items[code->module], &file->build))
			return -ENOMEM;
		/* The program goes first: it may have libpython's variables in it. */
		if (file->has_python && file->build.runtime_vaddr && !best)
			best = code;
	}
	return best ? add(pythons, space, best, from_start) : 0;
}

bool pythons__pools(const struct pythons *pythons, uint32_t space, struct pool_scan_opts *ret)
{
	const struct python_space *python = find(pythons, space);
	const struct python_layout *layout = python ? &file_of(pythons, python)->layout : NULL;

	if (!layout || !layout->pool_shift)
		return false;
	*ret = (struct pool_scan_opts){.pool_shift = layout->pool_shift,
				       .alignment = layout->alignment};
	return true;
}

int pythons__probe(struct pythons *pythons, uint32_t space)
{
	const struct python_space *python = find(pythons, space);

	if (!python)
		return 0;
	return attach_objects(pythons, file_of(pythons, python),
			      pythons->table->modules.modules.items[python->module].fd,
			      python->pid);
}

static void take_baseline(struct pythons *pythons, struct python_space *python)
{
	const struct python_layout *layout = &file_of(pythons, python)->layout;
	const struct pool_scan_opts opts = {.pool_shift = layout->pool_shift,
					    .alignment = layout->alignment};

	python->wants_baseline = false;
	if (layout->pool_shift)
		pool_scan__read(python->pid, &opts, &python->baseline);
}

static bool is_running(const struct pythons *pythons, const struct python_space *python)
{
	const struct space_info *space = space_table__find(pythons->table, python->space);

	return space && space->state == PROC_RUNNING;
}

int pythons__poll(struct pythons *pythons, bool is_recording)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
	int err = 0;

	for (size_t i = 0; i < pythons->spaces.cnt && !err; i++) {
		struct python_space *python = pythons->spaces.items[i];

		if (python->state == PYTHON_WAITS && python->check_ns <= now_ns &&
		    is_running(pythons, python))
			err = check(pythons, python);
		if (is_recording && python->wants_baseline)
			take_baseline(pythons, python);
	}
	return err;
}

int pythons__wait_ms(const struct pythons *pythons)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC), first_ns = UINT64_MAX;

	for (size_t i = 0; i < pythons->spaces.cnt; i++) {
		const struct python_space *python = pythons->spaces.items[i];

		if (python->wants_baseline)
			return 0;
		if (python->state == PYTHON_WAITS && python->check_ns < first_ns &&
		    is_running(pythons, python))
			first_ns = python->check_ns;
	}
	if (first_ns == UINT64_MAX)
		return -1;
	return first_ns > now_ns ? (int)((first_ns - now_ns) / NS_PER_MS) + 1 : 0;
}

uint16_t pythons__version(const struct pythons *pythons, uint32_t space)
{
	const struct python_space *python = find(pythons, space);

	return python ? file_of(pythons, python)->build.version : 0;
}

/* ---- reports ----------------------------------------------------------------------------------
 */

static void look(struct pythons *pythons, struct python_space *python)
{
	const struct python_layout *layout = &file_of(pythons, python)->layout;
	const struct pool_scan_opts opts = {
		.pool_shift = layout->pool_shift,
		.alignment = layout->alignment,
		.has_data = true,
		.keep_bytes = pythons->room,
	};

	if (!layout->pool_shift || !is_running(pythons, python))
		return;
	if (pool_scan__read(python->pid, &opts, &python->scan))
		return;
	pythons->room -= pool_scan__kept_bytes(python->scan);
	if (python->state == PYTHON_CHECKED)
		python->types = python_types__new(&python->process);
	if (python->types) /* without them a part is told as one */
		python->owners = python_owners__new(python->types, python->scan, &pythons->room);
}

static const char *objects_obstacle(const struct pythons *pythons, const struct python_file *file,
				    const struct python_space *python)
{
	if (pythons->opts.no_objects)
		return "not asked for";
	if (file->sites_err)
		return "its code could not be analysed";
	if (file->sites.verdict == SITES_NONE || !file->alloc_cnt)
		return "no object allocator was found in its code";
	if (file->attach_err)
		return "the kernel refused the probes of its object allocator";
	if (!python->scan && !pythons->opts.frees)
		return is_running(pythons, python)
			       ? "its pools cannot be read"
			       : "it ended before its pools could be looked at: --python-frees "
				 "follows each object";
	return NULL;
}

static struct python_view make_view(const struct pythons *pythons,
				    const struct python_space *python)
{
	const struct python_file *file = file_of(pythons, python);
	const char *obstacle = objects_obstacle(pythons, file, python);
	/* One that ended too early is as good as its like. */
	bool is_right = python->state == PYTHON_CHECKED ||
			(python->state == PYTHON_WAITS && file->is_proven);
	struct python_view view = {
		.space = python->space,
		.version = file->build.version_text,
		.frames = is_right ? COVERAGE_PROBED : COVERAGE_SKIPPED,
		.frames_reason = is_right		 ? ""
				 : python->frames_reason ? python->frames_reason
							 : "it was not initialised",
		.objects = obstacle				   ? COVERAGE_SKIPPED
			   : file->sites.verdict == SITES_COMPLETE ? COVERAGE_PROBED
								   : COVERAGE_PARTIAL,
		.objects_reason =
			obstacle ? obstacle
			: file->sites.verdict == SITES_COMPLETE
				? ""
				: "some places of its object allocator may not have been found",
		.alloc_sites = file->alloc_cnt,
		.free_sites = file->free_cnt,
		.has_frees = pythons->opts.frees,
		.scan = python->scan,
		.baseline = python->baseline,
		.types = python->types,
		.owners = python->owners,
	};

	return view;
}

void pythons__drop_purged(struct pythons *pythons)
{
	size_t kept = 0;

	for (size_t i = 0; i < pythons->spaces.cnt; i++) {
		struct python_space *python = pythons->spaces.items[i];

		if (space_table__find(pythons->table, python->space)) {
			pythons->spaces.items[kept++] = python;
			continue;
		}
		hashmap__remove(&pythons->by_space, python->space, 0);
		free_space(python);
	}
	pythons->spaces.cnt = kept;
}

size_t pythons__cut_cnt(const struct pythons *pythons)
{
	size_t cnt = 0;

	for (size_t i = 0; i < pythons->spaces.cnt; i++)
		cnt += python_owners__is_cut(pythons->spaces.items[i]->owners);
	return cnt;
}

void pythons__end_look(struct pythons *pythons)
{
	for (size_t i = 0; i < pythons->spaces.cnt; i++)
		forget_look(pythons->spaces.items[i]);
	pythons->views.cnt = 0;
}

int pythons__views(struct pythons *pythons, const struct python_view **ret_views, size_t *ret_cnt)
{
	pythons->views.cnt = 0;
	for (size_t i = 0; i < pythons->spaces.cnt; i++)
		if (array_push(&pythons->views, make_view(pythons, pythons->spaces.items[i])))
			return -ENOMEM;
	*ret_views = pythons->views.items;
	*ret_cnt = pythons->views.cnt;
	return 0;
}

int pythons__look(struct pythons *pythons, const struct python_view **ret_views, size_t *ret_cnt)
{
	/* One half for what the pools hold, what is left for whose parts they are. */
	uint64_t half = pythons->look_bytes / 2;

	pythons__end_look(pythons);
	pythons->room = half;
	for (size_t i = 0; i < pythons->spaces.cnt; i++)
		look(pythons, pythons->spaces.items[i]);
	pythons->room += half;
	return pythons__views(pythons, ret_views, ret_cnt);
}
