/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/sites.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "include/python.h"
#include "python/build_frames.h"
#include "python/site_file.h"
#include "python/site_place.h"
#include "python/site_renew.h"
#include "util/elf_image.h"

/* A site while the size of pools is not known yet. */
struct found_site {
	struct python_site site;
	uint64_t vaddr;
	uint8_t place, reg;
	int32_t disp;
};

struct analysis {
	struct site_code code;
	struct site_window *window;
	ARRAY(struct found_site) found;
	uint32_t shape_cnt; /* sites without a place to probe them, too */
	uint64_t new_pool;  /* address of the last SITE_NEW_POOL */
	uint64_t pool_mask; /* of the sites that return blocks, 0 = none says */
	uint32_t pool_bytes, alignment;
	bool is_contradictory; /* sites say different things about pools */
};

/* ---- finding --------------------------------------------------------------------------------- */

static void note_sizes(struct analysis *analysis, const struct site_match *match)
{
	if (match->pool_mask) {
		if (analysis->pool_mask && analysis->pool_mask != match->pool_mask)
			analysis->is_contradictory = true;
		analysis->pool_mask = match->pool_mask;
	}
	if (match->pool_bytes) {
		if (analysis->pool_bytes && (analysis->pool_bytes != match->pool_bytes ||
					     analysis->alignment != match->alignment))
			analysis->is_contradictory = true;
		analysis->pool_bytes = match->pool_bytes;
		analysis->alignment = match->alignment;
	}
}

static int look_at(struct analysis *analysis, const struct code_area *area, size_t at)
{
	struct site_match match;
	struct found_site found;
	struct site_place place;

	if (!site_window__read(analysis->window, area, at))
		return 0;
	match = site_match__find(analysis->window);
	if (!match.kind)
		return 0;
	analysis->shape_cnt++;
	note_sizes(analysis, &match);
	if (match.kind == SITE_NEW_POOL)
		analysis->new_pool = area->vaddr + at;
	if (!site_place__choose(analysis->window, &match, &place))
		return 0;
	if (analysis->found.cnt >= MAX_PYTHON_SITES)
		return -EBADMSG;
	found = (struct found_site){
		.site = {.off = area->off + place.at,
			 .kind = match.kind,
			 .is_stepped = place.is_stepped},
		.vaddr = area->vaddr + place.at,
		.place = place.place,
		.reg = place.reg,
		.disp = place.disp,
	};
	return array_push(&analysis->found, found);
}

static int look_through(struct analysis *analysis, const struct code_area *area)
{
	int err = 0;

	for (size_t at = 0; at < area->len && !err; at++) {
		if (!(area->marks[at] & CODE_STORE_8))
			continue;
		if (site_window__has_marks(area, at, CODE_LOAD_8) ||
		    site_window__has_marks(area, at, CODE_TOUCH_28))
			err = look_at(analysis, area, at);
	}
	return err;
}

/* ---- order ----------------------------------------------------------------------------------- */

static int compare_found(const void *a, const void *b)
{
	const struct found_site *x = a, *y = b;

	if (x->site.off != y->site.off)
		return x->site.off < y->site.off ? -1 : 1;
	return (x->site.kind > y->site.kind) - (x->site.kind < y->site.kind);
}

/* Segments may show the same bytes of the file twice; a place has one meaning. */
static void sort_found(struct analysis *analysis)
{
	struct found_site *items = analysis->found.items;
	size_t cnt = 0;

	if (!analysis->found.cnt)
		return;
	qsort(items, analysis->found.cnt, sizeof(*items), compare_found);
	for (size_t i = 0; i < analysis->found.cnt; i++) {
		const struct found_site *last = cnt ? &items[cnt - 1] : NULL;

		if (!last || last->site.off != items[i].site.off)
			items[cnt++] = items[i];
		else if (last->site.kind != items[i].site.kind || last->reg != items[i].reg ||
			 last->place != items[i].place || last->disp != items[i].disp)
			analysis->is_contradictory = true;
		else
			analysis->shape_cnt--;
	}
	analysis->found.cnt = cnt;
}

/* ---- objects that are recycled --------------------------------------------------------------- */

/* A place that says something else already stays. */
static void sort_renewals(struct analysis *analysis)
{
	struct found_site *items = analysis->found.items;
	size_t cnt = 0;

	qsort(items, analysis->found.cnt, sizeof(*items), compare_found);
	for (size_t i = 0; i < analysis->found.cnt; i++)
		if (!cnt || items[cnt - 1].site.off != items[i].site.off)
			items[cnt++] = items[i];
	analysis->found.cnt = cnt;
}

static int add_renewals(struct analysis *analysis, const struct elf_image *image)
{
	struct renew_sites renewals = {0};
	int err;

	err = site_renew__find(image, &analysis->code, analysis->window, &renewals);
	for (size_t i = 0; i < renewals.list.cnt && !err; i++) {
		const struct renew_site *renewal = &renewals.list.items[i];
		const struct site_place *place = &renewal->place;

		err = array_push(&analysis->found,
				 ((struct found_site){
					 .site = {.off = renewal->area->off + place->at,
						  .kind = SITE_RENEW,
						  .is_stepped = place->is_stepped},
					 .vaddr = renewal->area->vaddr + place->at,
					 .place = place->place,
					 .reg = place->reg,
					 .disp = place->disp,
				 }));
	}
	array_free(&renewals.list);
	if (err)
		return err;
	sort_renewals(analysis);
	return analysis->found.cnt > MAX_PYTHON_SITES ? -EBADMSG : 0;
}

/* ---- the result ------------------------------------------------------------------------------ */

static void tally(const struct analysis *analysis, struct python_sites *sites)
{
	sites->alloc_cnt = sites->free_cnt = sites->new_pool_cnt = sites->new_init_cnt = 0;
	sites->renew_cnt = sites->stepped_cnt = 0;
	for (size_t i = 0; i < analysis->found.cnt; i++) {
		const struct python_site *site = &analysis->found.items[i].site;

		sites->alloc_cnt += site->kind == SITE_ALLOC;
		sites->free_cnt += site->kind == SITE_FREE;
		sites->new_pool_cnt += site->kind == SITE_NEW_POOL;
		sites->new_init_cnt += site->kind == SITE_NEW_INIT;
		sites->renew_cnt += site->kind == SITE_RENEW;
		sites->stepped_cnt += site->is_stepped;
	}
}

/* Where the function that begins pools is, as addresses. */
static bool find_beginner(const struct analysis *analysis, const struct elf_image *image,
			  struct frame_range *ret)
{
	const struct code_area *area;
	struct frame_index index;
	size_t at, entry;
	bool found;

	if (!frame_index__open(image, &index)) {
		found = frame_index__find(&index, analysis->new_pool, ret);
		frame_index__close(&index);
		if (found)
			return !ret->has_frame; /* a part that was split off: not what is called */
	}
	area = site_code__find(&analysis->code, analysis->new_pool, &at);
	entry = area ? code_area__entry(area, at) : SIZE_MAX;
	if (entry == SIZE_MAX)
		return false;
	*ret = (struct frame_range){.start = area->vaddr + entry, .end = area->vaddr + at};
	return true;
}

static bool has_alloc(const struct analysis *analysis, const struct frame_range *range)
{
	for (size_t i = 0; i < analysis->found.cnt; i++) {
		const struct found_site *found = &analysis->found.items[i];

		if (found->site.kind == SITE_ALLOC && found->vaddr >= range->start &&
		    found->vaddr < range->end)
			return true;
	}
	return false;
}

/*
 * Each fast path goes on to the function that begins pools when there is no room in those in use:
 * how many ways lead there. 0 = not known, or that function is a part of the fast path's (before
 * 3.9).
 */
static uint32_t count_refills(const struct analysis *analysis, const struct elf_image *image)
{
	struct frame_range range;

	if (!find_beginner(analysis, image, &range) || has_alloc(analysis, &range))
		return 0;
	return site_code__count_refs(&analysis->code, range.start);
}

static uint8_t log2_of(uint64_t power)
{
	return (uint8_t)__builtin_ctzll(power);
}

/* Returns whether the code tells the size of a pool, and blocks' alignment. */
static bool take_sizes(const struct analysis *analysis, struct python_sites *sites)
{
	uint64_t masked = -analysis->pool_mask;

	if (!analysis->pool_bytes)
		return false;
	if (masked && masked != analysis->pool_bytes)
		return false;
	sites->pool_shift = log2_of(analysis->pool_bytes);
	sites->alignment = (uint8_t)analysis->alignment;
	return true;
}

static int fill_sites(const struct analysis *analysis, struct python_sites *sites)
{
	int err = 0;

	for (size_t i = 0; i < analysis->found.cnt && !err; i++) {
		const struct found_site *found = &analysis->found.items[i];
		struct python_site site = found->site;

		site.cookie = PYTHON_SITE(site_kind__op(site.kind), found->place, found->reg,
					  sites->pool_shift, sites->alignment, found->disp);
		err = array_push(&sites->sites, site);
	}
	return err;
}

static int conclude(struct analysis *analysis, const struct elf_image *image,
		    struct python_sites *ret)
{
	struct python_sites sites = {.verdict = SITES_NONE};
	bool fits;
	int err;

	sort_found(analysis);
	tally(analysis, &sites);
	if (!sites.alloc_cnt || (!sites.new_pool_cnt && !sites.new_init_cnt)) {
		*ret = (struct python_sites){.verdict = SITES_NONE};
		return 0;
	}
	if (!take_sizes(analysis, &sites)) {
		*ret = (struct python_sites){.verdict = SITES_DOUBTFUL};
		return 0;
	}
	sites.refill_calls = count_refills(analysis, image);
	fits = sites.alloc_cnt >= sites.refill_calls && sites.free_cnt && sites.new_pool_cnt == 1 &&
	       sites.new_init_cnt == 1 && !analysis->is_contradictory &&
	       analysis->shape_cnt == analysis->found.cnt;
	sites.verdict = fits ? SITES_COMPLETE : SITES_DOUBTFUL;
	err = add_renewals(analysis, image);
	if (!err) {
		tally(analysis, &sites);
		err = fill_sites(analysis, &sites);
	}
	if (err)
		python_sites__free(&sites);
	else
		*ret = sites;
	return err;
}

int python_sites__analyse(int fd, struct python_sites *ret)
{
	struct analysis analysis = {0};
	struct elf_image image;
	bool is_open = false;
	int err;

	err = elf_image__open(&image, fd, EM_X86_64);
	if (err)
		return err;
	err = site_code__read(&image, &analysis.code);
	if (err)
		goto cleanup;
	analysis.window = calloc(1, sizeof(*analysis.window));
	err = analysis.window ? site_window__open(analysis.window) : -ENOMEM;
	if (err)
		goto cleanup;
	is_open = true;
	for (size_t i = 0; i < analysis.code.areas.cnt && !err; i++)
		err = look_through(&analysis, &analysis.code.areas.items[i]);
	if (!err)
		err = conclude(&analysis, &image, ret);
cleanup:
	if (is_open)
		site_window__close(analysis.window);
	free(analysis.window);
	array_free(&analysis.found);
	site_code__free(&analysis.code);
	elf_image__close(&image);
	return err;
}

void python_sites__free(struct python_sites *sites)
{
	array_free(&sites->sites);
}
