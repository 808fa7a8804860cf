/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "collect/touches.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "collect/map_reader.h"
#include "collect/ring_source.h"
#include "collect/touch_pages.h"
#include "util/clock.h"
#include "util/hashmap.h"

#define MAX_MOVES (1 << 14) /* that wait for their space to be read */

struct touches {
	const struct map_fds *maps;
	struct collector *collector;
	struct ring_source *source;
	struct touch_moves moves;
	uint64_t moves_lost;
	uint64_t zero_frame;
};

/* A row in the making, in bytes and bytes squared. */
struct sums {
	double touched, held, variance;
	uint64_t samples;
};

struct pass {
	struct touch_samples samples;
	struct hashmap index;	 /* {stack id, kind} -> row */
	ARRAY(struct sums) sums; /* beside the report's rows */
};

struct touches *touches__new(const struct map_fds *maps, struct collector *collector)
{
	struct touches *touches = calloc(1, sizeof(*touches));

	if (!touches)
		return NULL;
	touches->maps = maps;
	touches->collector = collector;
	touches->zero_frame = touch_zero_frame();
	touches->source = ring_source__new(maps->touch_moves, sizeof(struct touch_move));
	if (!touches->source) {
		free(touches);
		return NULL;
	}
	return touches;
}

void touches__free(struct touches *touches)
{
	if (!touches)
		return;
	ring_source__free(touches->source);
	array_free(&touches->moves.list);
	free(touches);
}

void touch_report__free(struct touch_report *report)
{
	array_free(&report->rows);
}

/* ---- moves ---- */

static int take_moves(struct touches *touches)
{
	const void *records;
	size_t cnt;
	int err = ring_source__drain(touches->source, &records, &cnt);

	for (size_t i = 0; i < cnt; i++)
		if (touches->moves.list.cnt >= MAX_MOVES ||
		    array_push(&touches->moves.list, ((const struct touch_move *)records)[i]))
			touches->moves_lost++;
	return err;
}

static void drop_moves(struct touches *touches, uint32_t space)
{
	size_t kept = 0;

	for (size_t i = 0; i < touches->moves.list.cnt; i++)
		if (touches->moves.list.items[i].space != space)
			touches->moves.list.items[kept++] = touches->moves.list.items[i];
	touches->moves.list.cnt = kept;
}

/* ---- the kernel's table ---- */

struct sample_reading {
	uint32_t space;
	struct touch_samples *samples;
};

static int take_sample(void *arg, const void *key, const void *page)
{
	const struct sample_reading *reading = arg;
	struct touch_sample sample = {.key = *(const struct touch_page_key *)key,
				      .page = *(const struct touch_page *)page};

	sample.addr = sample.key.addr;
	return sample.key.space == reading->space ? array_push(&reading->samples->list, sample) : 0;
}

static int read_samples(const struct touches *touches, uint32_t space, struct touch_samples *ret)
{
	struct sample_reading reading = {space, ret};

	return map_each(touches->maps->touch_pages, sizeof(struct touch_page_key),
			sizeof(struct touch_page), take_sample, &reading);
}

/* Takes what is gone out of the table, and puts what has moved to its place. A sample that comes
 * meanwhile may be lost: few do. */
static int write_back(const struct touches *touches, uint32_t space,
		      const struct touch_samples *samples)
{
	ARRAY(struct touch_page_key) gone = {0};
	int err = 0;

	for (size_t i = 0; i < samples->list.cnt && !err; i++) {
		const struct touch_sample *sample = &samples->list.items[i];

		if (sample->key.addr &&
		    (sample->state == TOUCH_GONE || sample->addr != sample->key.addr))
			err = array_push(&gone, sample->key);
	}
	if (gone.cnt && !err)
		err = map_delete_batch(touches->maps->touch_pages, gone.items, sizeof(*gone.items),
				       gone.cnt);
	array_free(&gone);
	for (size_t i = 0; i < samples->list.cnt; i++) {
		const struct touch_sample *sample = &samples->list.items[i];
		struct touch_page_key key = {.addr = sample->addr, .space = space};

		if (sample->addr != sample->key.addr && sample->state != TOUCH_GONE)
			bpf_map_update_elem(touches->maps->touch_pages, &key, &sample->page,
					    BPF_NOEXIST);
	}
	return err < 0 ? err : 0;
}

/* ---- rows ---- */

static struct sums *sums_of(const struct touches *touches, struct pass *pass,
			    struct touch_report *report, uint64_t stack_id, uint32_t kind)
{
	uint64_t id =
		touches->collector ? collector__same_stack(touches->collector, stack_id) : stack_id;
	struct touch_row row = {.stack_id = id, .kind = kind};
	bool is_new;
	uint64_t *slot = hashmap__insert(&pass->index, id, kind, &is_new);

	if (!slot)
		return NULL;
	if (is_new) {
		*slot = report->rows.cnt;
		if (array_push(&pass->sums, (struct sums){0}) || array_push(&report->rows, row))
			return NULL;
	}
	return &pass->sums.items[*slot];
}

struct sum_reading {
	const struct touches *touches;
	uint32_t space;
	struct pass *pass;
	struct touch_report *report;
};

static int take_sum(void *arg, const void *entry_key, const void *sum)
{
	const struct touch_sum_key *key = entry_key;
	const struct sum_reading *reading = arg;
	struct sums *sums;

	if (key->space != reading->space)
		return 0;
	sums = sums_of(reading->touches, reading->pass, reading->report, key->stack_id, key->kind);
	if (!sums)
		return -ENOMEM;
	sums->touched += ((const struct touch_sum *)sum)->bytes;
	return 0;
}

static int add_touched(const struct touches *touches, uint32_t space, struct pass *pass,
		       struct touch_report *report)
{
	struct sum_reading reading = {touches, space, pass, report};

	return map_each(touches->maps->touch_sums, sizeof(struct touch_sum_key),
			sizeof(struct touch_sum), take_sum, &reading);
}

/* Each sample stands for 1/p of its kind; those that were looked up also for those that were not.
 */
static int add_held(const struct touches *touches, struct pass *pass, struct touch_report *report)
{
	double checked = 0, unchecked = 0, scale;

	for (size_t i = 0; i < pass->samples.list.cnt; i++) {
		const struct touch_sample *sample = &pass->samples.list.items[i];
		bool is_checked = sample->state != TOUCH_UNCHECKED;

		*(is_checked ? &checked : &unchecked) +=
			sample->page.bytes * (TOUCH_P_ONE / sample->page.p);
		report->pages_checked += is_checked;
		report->pages_unchecked += !is_checked;
	}
	scale = checked > 0 ? (checked + unchecked) / checked : 1;
	for (size_t i = 0; i < pass->samples.list.cnt; i++) {
		const struct touch_sample *sample = &pass->samples.list.items[i];
		double weight = TOUCH_P_ONE / sample->page.p * scale,
		       value = sample->held_bytes * weight;
		struct sums *sums;

		if (sample->state != TOUCH_HELD)
			continue;
		sums = sums_of(touches, pass, report, sample->page.stack_id, sample->page.kind);
		if (!sums)
			return -ENOMEM;
		sums->held += value;
		sums->variance += value * value * (1 - 1 / weight);
		sums->samples++;
	}
	return 0;
}

static int compare_rows(const void *a, const void *b)
{
	const struct touch_row *x = a, *y = b;

	if (x->bytes != y->bytes)
		return x->bytes > y->bytes ? -1 : 1;
	if (x->touched_bytes != y->touched_bytes)
		return x->touched_bytes > y->touched_bytes ? -1 : 1;
	return x->stack_id < y->stack_id ? -1 : x->stack_id > y->stack_id;
}

/* A row's share of the growth is a ratio of two sums that chance has made, the whole and its part.
 */
static void finish_rows(const struct pass *pass, int64_t growth_bytes, struct touch_report *report)
{
	bool scaled = growth_bytes != TOUCH_NOT_SCALED;
	double held = 0, touched = 0, variance = 0, scale = 1;

	for (size_t i = 0; i < pass->sums.cnt; i++) {
		held += pass->sums.items[i].held;
		touched += pass->sums.items[i].touched;
		variance += pass->sums.items[i].variance;
	}
	report->held_bytes = llround(held);
	report->touched_bytes = llround(touched);
	report->error_bytes = llround(sqrt(variance));
	if (scaled)
		scale = growth_bytes > 0 && held > 0 ? growth_bytes / held : 0;
	for (size_t i = 0; i < pass->sums.cnt; i++) {
		const struct sums *sums = &pass->sums.items[i];
		struct touch_row *row = &report->rows.items[i];
		double own = sums->variance, share = held > 0 ? sums->held / held : 0;

		if (scaled)
			own = (1 - share) * (1 - share) * sums->variance +
			      share * share * (variance - sums->variance);
		row->touched_bytes = llround(sums->touched);
		row->held_bytes = llround(sums->held);
		row->bytes = llround(sums->held * scale);
		row->error_bytes = llround(sqrt(own > 0 ? own : 0) * scale);
		row->samples = sums->samples;
	}
	if (report->rows.cnt)
		qsort(report->rows.items, report->rows.cnt, sizeof(struct touch_row), compare_rows);
}

int touches__count(const struct touches *touches, uint32_t space, struct touch_watch *ret)
{
	return bpf_map_lookup_elem(touches->maps->touch_watches, &space, ret);
}

int touches__read(struct touches *touches, uint32_t space, pid_t pid,
		  const struct touch_read_opts *opts, struct touch_report *ret)
{
	struct pass pass = {0};
	int err;

	memset(ret, 0, sizeof(*ret));
	err = touches__count(touches, space, &ret->counters);
	if (err)
		return err;
	err = read_samples(touches, space, &pass.samples);
	if (!err)
		err = take_moves(touches); /* afterwards: what was displaced meanwhile is in it */
	if (!err)
		err = touch_samples__move(&pass.samples, &touches->moves, space);
	if (!err)
		err = touch_samples__check(&pass.samples, pid, touches->zero_frame, opts->limit_ns);
	if (err)
		goto cleanup;
	touch_samples__settle(&pass.samples);
	err = write_back(touches, space, &pass.samples);
	drop_moves(touches, space);
	if (!err)
		err = add_touched(touches, space, &pass, ret);
	if (!err)
		err = add_held(touches, &pass, ret);
	if (!err)
		finish_rows(&pass, opts->growth_bytes, ret);
	ret->moves_lost = ret->counters.moves_lost + touches->moves_lost;
cleanup:
	array_free(&pass.samples.list);
	array_free(&pass.sums);
	hashmap__free(&pass.index);
	return err;
}

/* The keys of a space, which they have at `space_off`. */
struct keys_of {
	uint32_t space;
	size_t key_size, space_off;
	void *items; /* owned */
	size_t cnt, cap;
};

static int see_key(void *arg, const void *key, const void *value)
{
	struct keys_of *keys = arg;

	(void)value;
	if (memcmp((const char *)key + keys->space_off, &keys->space, sizeof(keys->space)))
		return 0;
	if (array_grow(&keys->items, keys->cnt, &keys->cap, keys->key_size))
		return -ENOMEM;
	memcpy((char *)keys->items + keys->cnt++ * keys->key_size, key, keys->key_size);
	return 0;
}

/* Deletes the entries of a space from a map whose keys have it at `space_off`. */
static int forget_in(int map_fd, size_t key_size, size_t value_size, size_t space_off,
		     uint32_t space)
{
	struct keys_of keys = {.space = space, .key_size = key_size, .space_off = space_off};
	int err = map_each(map_fd, key_size, value_size, see_key, &keys);

	if (!err && keys.cnt)
		err = map_delete_batch(map_fd, keys.items, key_size, keys.cnt);
	free(keys.items);
	return err < 0 ? err : 0;
}

int touches__forget(struct touches *touches, uint32_t space)
{
	int err = take_moves(touches), other;

	drop_moves(touches, space);
	other = forget_in(touches->maps->touch_pages, sizeof(struct touch_page_key),
			  sizeof(struct touch_page), offsetof(struct touch_page_key, space), space);
	err = err ? err : other;
	other = forget_in(touches->maps->touch_sums, sizeof(struct touch_sum_key),
			  sizeof(struct touch_sum), offsetof(struct touch_sum_key, space), space);
	return err ? err : other;
}
