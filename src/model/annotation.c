/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Few frames of a profile are in the files that somebody asks for. They are marked first, so that a
 * walk through a stack looks at names only there: O(frames + rows * depth).
 */
#include "model/annotation.h"

#include <string.h>

#include "model/hash.h"

/* ---- which files are meant ---- */

/* Whether `end` is the whole path or follows a '/' in it. */
static bool ends_with(const char *path, const char *end)
{
	size_t len = strlen(path), end_len = strlen(end);

	if (!end_len || end_len > len || strcmp(path + len - end_len, end))
		return false;
	return end_len == len || *end == '/' || path[len - end_len - 1] == '/';
}

static const char *skip_here(const char *path)
{
	while (path[0] == '.' && path[1] == '/') {
		path += 2;
		path += strspn(path, "/");
	}
	return path;
}

bool source_path__matches(const char *path, const char *wanted)
{
	path = skip_here(path);
	wanted = skip_here(wanted);
	return ends_with(path, wanted) || (*path != '/' && ends_with(wanted, path));
}

static bool is_wanted_frame(const struct symbol *symbol, const char *wanted)
{
	bool is_wanted = symbol->file && source_path__matches(symbol->file, wanted);

	for (uint32_t i = 0; i < symbol->inline_cnt && !is_wanted; i++)
		is_wanted = symbol->inlines[i].file &&
			    source_path__matches(symbol->inlines[i].file, wanted);
	return is_wanted;
}

/* Tells for each frame whether a call of it is in a wanted file. Returns an owned array, or NULL
 * (no memory). */
static bool *mark_frames(const struct snapshot *snap, const struct symbol *symbols,
			 const char *wanted)
{
	bool *marks = calloc(snap->frames.cnt + 1, sizeof(*marks));

	for (size_t i = 0; marks && symbols && i < snap->frames.cnt; i++)
		marks[i] = is_wanted_frame(&symbols[i], wanted);
	return marks;
}

/* A walk over the calls of a stack that are in wanted files, leaf first. */
struct wanted_calls {
	const struct snapshot *snap;
	const struct symbol *symbols;
	const char *wanted;
	const bool *marks;
};

/* Fills *ret_info for the first wanted call from *call on, which is set to it. Returns whether
 * there is one. */
static bool find_wanted(const struct wanted_calls *calls, struct call *call,
			struct call_info *ret_info)
{
	const struct snap_node *node;

	while (call->node) {
		node = &calls->snap->nodes.items[call->node];
		if (!calls->marks[node->frame]) {
			*call = (struct call){.node = node->parent};
			continue;
		}
		call__read(*call, calls->snap, calls->symbols, ret_info);
		if (ret_info->file && source_path__matches(ret_info->file, calls->wanted))
			return true;
		*call = call__next(*call, calls->snap, calls->symbols);
	}
	return false;
}

/* ---- who uses them ---- */

static int add_user(struct source_users *users, struct hashmap *index, const char *path,
		    uint32_t proc, bool native)
{
	uint64_t hash = hash_mix(hash_text(path), proc), *found;
	const struct source_user user = {path, proc, native};

	for (uint64_t probe = 0;; probe++) {
		struct source_user *known;

		found = hashmap__find(index, hash, probe);
		if (!found) {
			found = hashmap__insert(index, hash, probe, NULL);
			break;
		}
		known = &users->users.items[*found];
		if (known->proc == proc && !strcmp(known->path, path)) {
			known->native |= native;
			return 0;
		}
	}
	if (!found)
		return -ENOMEM;
	*found = users->users.cnt;
	return array_push(&users->users, user);
}

int source_users__read(struct source_users *ret, const struct snapshot *snap,
		       const struct symbol *symbols, const char *wanted)
{
	bool *marks = mark_frames(snap, symbols, wanted);
	const struct wanted_calls calls = {snap, symbols, wanted, marks};
	struct hashmap index = {0};
	struct call_info info;
	int err = marks ? 0 : -ENOMEM;

	*ret = (struct source_users){0};
	for (size_t i = 0; i < snap->rows.cnt && !err; i++) {
		const struct snap_row *row = &snap->rows.items[i];
		struct call call = {.node = row->stack};

		for (; !err && find_wanted(&calls, &call, &info);
		     call = call__next(call, snap, symbols))
			err = add_user(ret, &index, info.file, row->proc, !info.is_python);
	}
	hashmap__free(&index);
	free(marks);
	return err;
}

void source_users__free(struct source_users *users)
{
	array_free(&users->users);
}

/* ---- the sums ---- */

/* An annotation being made. */
struct annotator {
	struct annotation *annotation;
	const struct profile *profile; /* by stacks */
	struct wanted_calls calls;
	struct hashmap file_index, line_index;
};

static uint32_t find_source(const struct snapshot *snap, const char *path)
{
	for (size_t i = 0; i < snap->sources.cnt; i++)
		if (!strcmp(snap->sources.items[i].path, path))
			return i;
	return SNAP_NONE;
}

/* Returns the index of a file, made when it is new; SNAP_NONE = no memory. */
static uint32_t find_file(struct annotator *annotator, const struct call_info *info)
{
	const struct snapshot *snap = annotator->profile->snap;
	struct annotation *annotation = annotator->annotation;
	struct annotated_file file = {.path = info->file, .last_row = SIZE_MAX};
	uint64_t hash = hash_text(info->file), probe, *found;

	for (probe = 0; (found = hashmap__find(&annotator->file_index, hash, probe)); probe++)
		if (!strcmp(annotation->files.items[*found].path, info->file))
			return *found;
	if (annotation->files.cnt >= SNAP_NONE || array_reserve_one(&annotation->files))
		return SNAP_NONE;
	found = hashmap__insert(&annotator->file_index, hash, probe, NULL);
	if (!found)
		return SNAP_NONE;
	file.source = find_source(snap, info->file);
	file.is_python = info->is_python;
	*found = annotation->files.cnt;
	annotation->files.items[annotation->files.cnt++] = file;
	return *found;
}

/* Returns a line, made when it is new; NULL = no memory. */
static struct annotated_line *find_line(struct annotator *annotator, uint32_t file, uint32_t line)
{
	struct annotation *annotation = annotator->annotation;
	const struct annotated_line fresh = {.file = file, .line = line, .last_row = SIZE_MAX};
	uint64_t *found;
	bool is_new;

	if (array_reserve_one(&annotation->lines))
		return NULL;
	found = hashmap__insert(&annotator->line_index, file, line, &is_new);
	if (!found)
		return NULL;
	if (is_new) {
		*found = annotation->lines.cnt;
		annotation->lines.items[annotation->lines.cnt++] = fresh;
	}
	return &annotation->lines.items[*found];
}

/* Adds a row to the line and the file of one of its calls. */
static int add_call(struct annotator *annotator, size_t row_idx, const struct call_info *info,
		    bool is_begin)
{
	const struct profile_row *row = &annotator->profile->rows.items[row_idx];
	uint32_t file_idx = find_file(annotator, info);
	struct annotated_line *line;
	struct annotated_file *file;

	line = file_idx == SNAP_NONE ? NULL : find_line(annotator, file_idx, info->line);
	if (!line)
		return -ENOMEM;
	file = &annotator->annotation->files.items[file_idx];
	if (line->last_row != row_idx)
		cost__add(&line->through, &row->cost);
	if (file->last_row != row_idx)
		cost__add(&file->through, &row->cost);
	line->last_row = file->last_row = row_idx;
	if (is_begin) {
		cost__add(&line->self, &row->cost);
		cost__add(&file->self, &row->cost);
		line->delta_bytes += row->delta_bytes;
	}
	return 0;
}

static int add_row(struct annotator *annotator, size_t row_idx)
{
	const struct profile *profile = annotator->profile;
	uint32_t stack = profile->rows.items[row_idx].row->stack;
	struct call begin = profile__source(profile, stack, GROUP_LINE), call = {.node = stack};
	struct call_info info;
	int err = 0;

	for (; !err && find_wanted(&annotator->calls, &call, &info);
	     call = call__next(call, profile->snap, profile->symbols))
		err = add_call(annotator, row_idx, &info,
			       call.node == begin.node && call.idx == begin.idx);
	return err;
}

/* ---- order ---- */

static int compare_u32(uint32_t a, uint32_t b)
{
	return a < b ? -1 : a > b;
}

static int compare_down(int64_t a, int64_t b)
{
	return a > b ? -1 : a < b;
}

static int compare_files(const void *a, const void *b, void *context)
{
	const struct annotated_file *files = context, *file_a, *file_b;
	int order;

	file_a = &files[*(const uint32_t *)a];
	file_b = &files[*(const uint32_t *)b];
	order = compare_down(file_a->self.live_bytes, file_b->self.live_bytes);
	if (!order)
		order = compare_down(file_a->through.live_bytes, file_b->through.live_bytes);
	if (!order)
		order = compare_down(file_a->through.alloc_bytes, file_b->through.alloc_bytes);
	return order ? order : strcmp(file_a->path, file_b->path);
}

static int compare_lines(const void *a, const void *b)
{
	const struct annotated_line *line_a = a, *line_b = b;
	int order = compare_u32(line_a->file, line_b->file);

	return order ? order : compare_u32(line_a->line, line_b->line);
}

/* Brings files and lines into their order. Returns 0 or -ENOMEM. */
static int sort_annotation(struct annotation *annotation)
{
	size_t cnt = annotation->files.cnt;
	uint32_t *order = calloc(cnt + 1, sizeof(*order)), *ranks = calloc(cnt + 1, sizeof(*ranks));
	struct annotated_file *sorted = calloc(cnt + 1, sizeof(*sorted)), *file;
	int err = order && ranks && sorted ? 0 : -ENOMEM;

	if (err || !cnt)
		goto cleanup;
	for (uint32_t i = 0; i < cnt; i++)
		order[i] = i;
	qsort_r(order, cnt, sizeof(*order), compare_files, annotation->files.items);
	for (uint32_t i = 0; i < cnt; i++) {
		sorted[i] = annotation->files.items[order[i]];
		ranks[order[i]] = i;
	}
	memcpy(annotation->files.items, sorted, cnt * sizeof(*sorted));
	for (size_t i = 0; i < annotation->lines.cnt; i++)
		annotation->lines.items[i].file = ranks[annotation->lines.items[i].file];
	qsort(annotation->lines.items, annotation->lines.cnt, sizeof(*annotation->lines.items),
	      compare_lines);
	for (size_t i = 0; i < annotation->lines.cnt; i++) {
		file = &annotation->files.items[annotation->lines.items[i].file];
		if (!file->line_cnt++)
			file->first = i;
	}
cleanup:
	free(order);
	free(ranks);
	free(sorted);
	return err;
}

/* ---- the whole ---- */

const struct profile *profile__by_stack(const struct profile *profile, struct profile **ret_owned)
{
	struct profile_opts opts = profile->opts;

	*ret_owned = NULL;
	if (opts.group == GROUP_STACK)
		return profile;
	if (profile->stacks)
		return profile->stacks;
	opts.group = GROUP_STACK;
	*ret_owned = profile__new(profile->snap, profile->symbols, &opts, NULL);
	return *ret_owned;
}

int annotation__read(struct annotation *ret, const struct profile *profile, const char *wanted)
{
	bool *marks = mark_frames(profile->snap, profile->symbols, wanted);
	struct profile *owned;
	struct annotator annotator = {
		.annotation = ret,
		.profile = profile__by_stack(profile, &owned),
		.calls = {profile->snap, profile->symbols, wanted, marks},
	};
	int err = marks && annotator.profile ? 0 : -ENOMEM;

	*ret = (struct annotation){0};
	for (size_t i = 0; !err && i < annotator.profile->rows.cnt; i++)
		err = add_row(&annotator, i);
	if (!err)
		err = sort_annotation(ret);
	hashmap__free(&annotator.file_index);
	hashmap__free(&annotator.line_index);
	profile__free(owned);
	free(marks);
	return err;
}

void annotation__free(struct annotation *annotation)
{
	array_free(&annotation->files);
	array_free(&annotation->lines);
}
