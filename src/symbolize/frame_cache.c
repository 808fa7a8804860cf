// SPDX-License-Identifier: GPL-2.0-or-later
#include "symbolize/frame_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "symbolize/line_batch.h"

#define MAX_FAILURES 3 /* then a source's DWARF is left alone */

void frame_cache__free(struct frame_cache *cache)
{
	for (size_t i = 0; i < cache->frames.cnt; i++)
		free(cache->frames.items[i].calls);
	for (size_t i = 0; i < cache->inlines.cnt; i++)
		free(cache->inlines.items[i]);
	array_free(&cache->frames);
	array_free(&cache->open);
	array_free(&cache->inlines);
	hashmap__free(&cache->index);
	text_pool__free(&cache->functions);
	text_pool__free(&cache->files);
}

static int open_frame(struct frame_cache *cache, uint32_t index)
{
	struct cached_frame *frame = &cache->frames.items[index];

	if (!frame->is_open && array_push(&cache->open, index))
		return -ENOMEM;
	frame->is_open = true;
	return 0;
}

int frame_cache__find(struct frame_cache *cache, uint32_t source, uint64_t address,
		      uint32_t *ret_index, bool *ret_new)
{
	struct cached_frame frame = {
		.source = source,
		.address = address,
		.function = NO_TEXT,
		.file = NO_TEXT,
		.symbol.line_reason = LINE_NO_DEBUG_INFO,
	};
	uint64_t *slot;

	slot = hashmap__insert(&cache->index, source, address, ret_new);
	if (!slot)
		return -ENOMEM;
	if (*ret_new) {
		*slot = cache->frames.cnt;
		if (cache->frames.cnt >= NO_ENTRY || array_push(&cache->frames, frame)) {
			hashmap__remove(&cache->index, source, address);
			return -ENOMEM;
		}
	}
	*ret_index = (uint32_t)*slot;
	if (*ret_new || cache->frames.items[*slot].symbol.line_reason == LINE_LATE)
		return open_frame(cache, *ret_index);
	return 0;
}

int frame_cache__name(struct frame_cache *cache, struct cached_frame *frame, const char *name)
{
	int err = text_pool__add(&cache->functions, name, &frame->function);

	if (!err)
		frame->symbol.reason = SYMBOL_FOUND;
	return err;
}

/* ---- lines ---------------------------------------------------------------------------------- */

struct reading {
	struct frame_cache *cache;
	uint32_t *order;     /* open frames of sources with DWARF, by source and address */
	uint64_t *addresses; /* in the same order */
	size_t cnt;
	ARRAY(struct line_job) jobs; /* one for each source */
};

static int compare_frames(const void *a, const void *b, void *arg)
{
	const struct frame_cache *cache = arg;
	const struct cached_frame *x = &cache->frames.items[*(const uint32_t *)a];
	const struct cached_frame *y = &cache->frames.items[*(const uint32_t *)b];

	if (x->source != y->source)
		return x->source < y->source ? -1 : 1;
	return x->address < y->address ? -1 : x->address > y->address;
}

/* Lists the frames to ask for. What is given up counts as broken. */
static int list_frames(struct reading *reading, const struct sources *sources)
{
	struct frame_cache *cache = reading->cache;
	size_t cnt = cache->open.cnt;
	const struct source *source;
	struct cached_frame *frame;

	reading->order = calloc(cnt + 1, sizeof(*reading->order));
	reading->addresses = calloc(cnt + 1, sizeof(*reading->addresses));
	if (!reading->order || !reading->addresses)
		return -ENOMEM;
	for (size_t i = 0; i < cnt; i++) {
		frame = &cache->frames.items[cache->open.items[i]];
		if (frame->source == KERNEL_SOURCE)
			continue;
		source = &sources->list.items[frame->source];
		if (source__dwarf_fd(source) < 0)
			continue;
		frame->symbol.line_reason = LINE_BROKEN;
		if (source->failures < MAX_FAILURES)
			reading->order[reading->cnt++] = cache->open.items[i];
	}
	qsort_r(reading->order, reading->cnt, sizeof(*reading->order), compare_frames, cache);
	for (size_t i = 0; i < reading->cnt; i++)
		reading->addresses[i] = cache->frames.items[reading->order[i]].address;
	return 0;
}

static uint32_t source_of(const struct reading *reading, size_t pos)
{
	return reading->cache->frames.items[reading->order[pos]].source;
}

/* What was in vain is not done again for less than twice the time. */
static uint64_t least_cpu_ns(const struct source *source)
{
	uint64_t twice_ns = 2 * source->in_vain_ns;

	return twice_ns < LINE_CPU_NS ? twice_ns : LINE_CPU_NS;
}

static int make_jobs(struct reading *reading, const struct sources *sources)
{
	const struct source *source;
	struct line_job job = {0};
	size_t end;

	for (size_t pos = 0; pos < reading->cnt; pos = end) {
		for (end = pos; end < reading->cnt; end++)
			if (source_of(reading, end) != source_of(reading, pos))
				break;
		source = &sources->list.items[source_of(reading, pos)];
		job.input.fd = source__dwarf_fd(source);
		job.input.alt_fd = source->alt_fd;
		job.input.addresses = reading->addresses + pos;
		job.input.cnt = (uint32_t)(end - pos);
		job.least_cpu_ns = least_cpu_ns(source);
		if (array_push(&reading->jobs, job))
			return -ENOMEM;
	}
	return 0;
}

static int add_text(struct text_pool *pool, const struct line_chunk *chunk, uint32_t off,
		    uint32_t *ret_id)
{
	*ret_id = NO_TEXT;
	return off ? text_pool__add(pool, chunk->text + off, ret_id) : 0;
}

static int take_calls(struct frame_cache *cache, struct cached_frame *frame,
		      const struct line_chunk *chunk, const struct lines_record *record)
{
	const struct lines_call *call;
	int err = 0;

	frame->calls = calloc(record->call_cnt, sizeof(*frame->calls));
	if (!frame->calls)
		return -ENOMEM;
	frame->symbol.inline_cnt = record->call_cnt;
	for (uint32_t i = 0; i < record->call_cnt && !err; i++) {
		call = &chunk->calls[record->call_first + i];
		frame->calls[i].line = call->line;
		err = add_text(&cache->functions, chunk, call->function, &frame->calls[i].function);
		if (!err)
			err = add_text(&cache->files, chunk, call->file, &frame->calls[i].file);
	}
	return err;
}

/* The first answer counts. */
static int take_record(struct frame_cache *cache, struct cached_frame *frame,
		       const struct line_chunk *chunk, const struct lines_record *record)
{
	int err;

	if (frame->symbol.line_reason != LINE_BROKEN)
		return 0;
	frame->symbol.line_reason = record->line ? LINE_FOUND : LINE_GAP;
	frame->symbol.line = record->line;
	err = add_text(&cache->files, chunk, record->file, &frame->file);
	if (!err && frame->function == NO_TEXT && record->function) {
		frame->symbol.function_offset = frame->address + 1 - record->start;
		err = frame_cache__name(cache, frame, chunk->text + record->function);
	}
	if (!err && record->call_cnt)
		err = take_calls(cache, frame, chunk, record);
	return err;
}

/* Takes what a job has told; *ret_any is whether that was anything. */
static int take_records(struct reading *reading, struct line_job *job, size_t first, bool *ret_any)
{
	struct cached_frame *frames = reading->cache->frames.items, *frame;
	struct line_chunk chunk;
	size_t pos = 0;
	int more = 0, err = 0;

	*ret_any = false;
	while (!err && (more = line_job__next(job, &pos, &chunk)) > 0)
		for (uint32_t i = 0; i < chunk.record_cnt && !err; i++) {
			frame = &frames[reading->order[first + chunk.records[i].index]];
			err = take_record(reading->cache, frame, &chunk, &chunk.records[i]);
			*ret_any = true;
		}
	if (more < 0 && !job->err)
		job->err = more;
	return err;
}

/* Whether it had less time than it may have another time. */
static bool is_late(const struct line_job *job)
{
	return job->err == -EAGAIN || (job->err == -ETIME && job->cpu_ns < LINE_CPU_NS);
}

/* Who was not answered for has no line, or one that is lost or still to be read. */
static int take_answer(struct reading *reading, struct line_job *job, size_t first,
		       struct source *source)
{
	struct cached_frame *frames = reading->cache->frames.items, *frame;
	enum line_reason reason = LINE_GAP;
	bool any;
	int err;

	err = take_records(reading, job, first, &any);
	if (is_late(job)) {
		reason = LINE_LATE;
		if (job->err == -ETIME)
			source->in_vain_ns = any ? 0 : job->cpu_ns;
	} else if (job->err) {
		source->failures++;
		return err;
	}
	for (uint32_t i = 0; i < job->input.cnt; i++) {
		frame = &frames[reading->order[first + i]];
		if (frame->symbol.line_reason == LINE_BROKEN)
			frame->symbol.line_reason = reason;
	}
	return err;
}

static void note_late(struct late_lines *late, const struct source *source)
{
	uint64_t least_ns = least_cpu_ns(source);

	if (!late->file_cnt++ || least_ns < late->least_cpu_ns)
		late->least_cpu_ns = least_ns;
}

int frame_cache__read_lines(struct frame_cache *cache, struct sources *sources, uint64_t cpu_ns,
			    struct late_lines *ret_late)
{
	struct reading reading = {.cache = cache};
	struct source *source;
	struct line_job *job;
	size_t first = 0;
	int err;

	*ret_late = (struct late_lines){0};
	err = list_frames(&reading, sources);
	if (!err)
		err = make_jobs(&reading, sources);
	if (!err && reading.jobs.cnt)
		err = line_batch__run(reading.jobs.items, reading.jobs.cnt, cpu_ns);
	for (size_t i = 0; i < reading.jobs.cnt && !err; i++) {
		job = &reading.jobs.items[i];
		source = &sources->list.items[source_of(&reading, first)];
		err = take_answer(&reading, job, first, source);
		if (is_late(job))
			note_late(ret_late, source);
		first += job->input.cnt;
	}
	line_batch__free(reading.jobs.items, reading.jobs.cnt);
	array_free(&reading.jobs);
	free(reading.order);
	free(reading.addresses);
	return err;
}

/* ---- finish --------------------------------------------------------------------------------- */

static int finish_calls(struct frame_cache *cache, struct cached_frame *frame)
{
	struct symbol_inline *inlines = calloc(frame->symbol.inline_cnt, sizeof(*inlines));

	if (!inlines || array_push(&cache->inlines, inlines)) {
		free(inlines);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < frame->symbol.inline_cnt; i++) {
		inlines[i].function = text_pool__get(&cache->functions, frame->calls[i].function);
		inlines[i].file = text_pool__get(&cache->files, frame->calls[i].file);
		inlines[i].line = frame->calls[i].line;
	}
	frame->symbol.inlines = inlines;
	free(frame->calls);
	frame->calls = NULL;
	return 0;
}

int frame_cache__finish(struct frame_cache *cache)
{
	struct cached_frame *frame;
	int err;

	err = text_pool__show(&cache->functions, true);
	if (!err)
		err = text_pool__show(&cache->files, false);
	for (size_t i = 0; i < cache->open.cnt && !err; i++) {
		frame = &cache->frames.items[cache->open.items[i]];
		frame->symbol.function = text_pool__get(&cache->functions, frame->function);
		frame->symbol.file = text_pool__get(&cache->files, frame->file);
		if (frame->calls)
			err = finish_calls(cache, frame);
		frame->is_open = false;
	}
	cache->open.cnt = 0;
	return err;
}
