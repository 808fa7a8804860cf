// SPDX-License-Identifier: GPL-2.0-or-later
#include "python/merge.h"

/* Appends what is merged. */
struct merger {
	struct merged_frame *frames;
	size_t cnt;
};

static void put(struct merger *merger, size_t idx, bool is_python)
{
	merger->frames[merger->cnt++] = (struct merged_frame){idx, is_python};
}

static size_t count_loops(const bool *is_loop, size_t cnt)
{
	size_t loops = 0;

	for (size_t i = 0; i < cnt; i++)
		loops += is_loop[i];
	return loops;
}

/* A chunk whose end was cut off counts. */
static size_t count_chunks(const bool *is_last, size_t cnt)
{
	size_t chunks = 0;

	for (size_t i = 0; i < cnt; i++)
		chunks += is_last[i] || i + 1 == cnt;
	return chunks;
}

/* Puts one chunk. Returns the index behind it. */
static size_t put_chunk(struct merger *merger, const bool *is_last, size_t cnt, size_t at)
{
	while (at < cnt) {
		put(merger, at, true);
		if (is_last[at++])
			break;
	}
	return at;
}

/* Chunks take the places of the loop's frames as long as there are both. */
static void put_matched(struct merger *merger, const bool *is_loop, size_t native_cnt,
			const bool *is_last, size_t python_cnt)
{
	size_t at = 0;

	for (size_t i = 0; i < native_cnt; i++) {
		if (is_loop[i] && at < python_cnt)
			at = put_chunk(merger, is_last, python_cnt, at);
		else
			put(merger, i, false);
	}
	while (at < python_cnt)
		put(merger, at++, true);
}

static void put_apart(struct merger *merger, const bool *is_loop, size_t native_cnt,
		      size_t python_cnt)
{
	size_t at = 0;

	while (at < native_cnt && !is_loop[at])
		put(merger, at++, false);
	for (size_t i = 0; i < python_cnt; i++)
		put(merger, i, true);
	while (at < native_cnt)
		put(merger, at++, false);
}

enum merge_result python_merge(const bool *is_loop, size_t native_cnt, bool native_complete,
			       const bool *is_last, size_t python_cnt, bool python_complete,
			       struct merged_frame *ret, size_t *ret_cnt)
{
	struct merger merger = {.frames = ret};
	size_t loops = count_loops(is_loop, native_cnt);
	size_t chunks = count_chunks(is_last, python_cnt);
	enum merge_result result = MERGE_MATCHED;

	/* The stack that has fewer must be the one that ended early. */
	if (loops != chunks)
		result = (loops < chunks ? native_complete : python_complete) ? MERGE_VIOLATED
									      : MERGE_SHORT;
	if (result == MERGE_VIOLATED)
		put_apart(&merger, is_loop, native_cnt, python_cnt);
	else
		put_matched(&merger, is_loop, native_cnt, is_last, python_cnt);
	*ret_cnt = merger.cnt;
	return result;
}
