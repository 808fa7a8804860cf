// SPDX-License-Identifier: GPL-2.0-or-later
#include "symbolize/frame_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "symbolize/line_batch.h"

#define MAX_FAILURES 3 /* then a source's DWARF is left alone */

void frame_cache__free(struct frame_cache *cache)
{
	for (size_t i = cache->finished_cnt; i < cache->frames.cnt; i++)
		free(cache->frames.items[i].calls);
	for (size_t i = 0; i < cache->inlines.cnt; i++)
		free(cache->inlines.items[i]);
	array_free(&cache->frames);
	array_free(&cache->inlines);
	hashmap__free(&cache->index);
	text_pool__free(&cache->functions);
	text_pool__free(&cache->files);
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
	uint32_t *order;     /* new frames of sources with DWARF, by source and address */
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
	size_t cnt = cache->frames.cnt - cache->finished_cnt;
	const struct source *source;
	struct cached_frame *frame;

	reading->order = calloc(cnt + 1, sizeof(*reading->order));
	reading->addresses = calloc(cnt + 1, sizeof(*reading->addresses));
	if (!reading->order || !reading->addresses)
		return -ENOMEM;
	for (size_t i = cache->finished_cnt; i < cache->frames.cnt; i++) {
		frame = &cache->frames.items[i];
		if (frame->source == KERNEL_SOURCE)
			continue;
		source = &sources->list.items[frame->source];
		if (source__dwarf_fd(source) < 0)
			continue;
		frame->symbol.line_reason = LINE_BROKEN;
		if (source->failures < MAX_FAILURES)
			reading->order[reading->cnt++] = (uint32_t)i;
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

/* Who was not answered for has no line, or one that is lost. */
static int take_answer(struct reading *reading, struct line_job *job, size_t first,
		       struct source *source)
{
	struct cached_frame *frames = reading->cache->frames.items, *frame;
	struct line_chunk chunk;
	size_t pos = 0;
	int more = 0, err = 0;

	while (!err && (more = line_job__next(job, &pos, &chunk)) > 0)
		for (uint32_t i = 0; i < chunk.record_cnt && !err; i++) {
			frame = &frames[reading->order[first + chunk.records[i].index]];
			err = take_record(reading->cache, frame, &chunk, &chunk.records[i]);
		}
	if (job->err || more < 0) {
		source->failures++;
		return err;
	}
	for (uint32_t i = 0; i < job->input.cnt; i++) {
		frame = &frames[reading->order[first + i]];
		if (frame->symbol.line_reason == LINE_BROKEN)
			frame->symbol.line_reason = LINE_GAP;
	}
	return err;
}

int frame_cache__read_lines(struct frame_cache *cache, struct sources *sources)
{
	struct reading reading = {.cache = cache};
	struct line_job *job;
	size_t first = 0;
	int err;

	err = list_frames(&reading, sources);
	if (!err)
		err = make_jobs(&reading, sources);
	if (!err && reading.jobs.cnt)
		err = line_batch__run(reading.jobs.items, reading.jobs.cnt);
	for (size_t i = 0; i < reading.jobs.cnt && !err; i++) {
		job = &reading.jobs.items[i];
		err = take_answer(&reading, job, first,
				  &sources->list.items[source_of(&reading, first)]);
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
	while (cache->finished_cnt < cache->frames.cnt && !err) {
		frame = &cache->frames.items[cache->finished_cnt];
		frame->symbol.function = text_pool__get(&cache->functions, frame->function);
		frame->symbol.file = text_pool__get(&cache->files, frame->file);
		if (frame->symbol.inline_cnt)
			err = finish_calls(cache, frame);
		cache->finished_cnt += !err;
	}
	return err;
}
