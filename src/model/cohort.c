/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Blocks and sites of a cohort. A site's sums are kept by epochs, so that bursts are seen for what
 * they are: how much its sums differ from one epoch to the next tells how certain they are.
 */
#include "model/cohort_site.h"

#include <string.h>

#define MAX_SITE_BLOCKS 4096

/* ---- time ---- */

static void merge_epochs(struct cohort *cohort)
{
	for (size_t i = 0; i < MAX_EPOCHS / 2; i++) {
		const struct cohort_epoch *a = &cohort->epochs[2 * i];
		const struct cohort_epoch *b = a + 1;

		cohort->epochs[i] = (struct cohort_epoch){a->begin_ns, a->low_ns + b->low_ns,
							  a->high_ns + b->high_ns};
	}
	for (size_t s = 0; s < cohort->sites.cnt; s++) {
		struct site_epoch *epochs = cohort->sites.items[s]->epochs;

		for (size_t i = 0; i < MAX_EPOCHS / 2; i++) {
			const struct site_epoch *a = &epochs[2 * i], *b = a + 1;

			epochs[i] = (struct site_epoch){a->born + b->born, a->bytes + b->bytes,
							a->followed + b->followed,
							a->died + b->died, a->again + b->again};
		}
		memset(epochs + MAX_EPOCHS / 2, 0, MAX_EPOCHS / 2 * sizeof(*epochs));
	}
	cohort->epoch_cnt = MAX_EPOCHS / 2;
	cohort->epoch_windows *= 2;
}

size_t cohort__epoch_at(const struct cohort *cohort, uint64_t time_ns)
{
	size_t low = 0, high = cohort->epoch_cnt;

	while (low + 1 < high) {
		size_t mid = (low + high) / 2;

		if (cohort->epochs[mid].begin_ns <= time_ns)
			low = mid;
		else
			high = mid;
	}
	return low;
}

static double worked_ns(const struct cohort_window *window, uint64_t lost_ns)
{
	uint64_t len = window->end_ns - window->begin_ns;
	double told = 1;

	if (window->lost_hits)
		told = (double)window->hits / ((double)window->hits + window->lost_hits);
	return lost_ns < len ? (len - lost_ns) * told : 0;
}

/* A process at rest tells nothing about who of it goes on. */
uint64_t cohort__work_ns(const struct cohort *cohort)
{
	return cohort->work_ns + (cohort->has_birth ? cohort->window_ns : 0);
}

int cohort__open(struct cohort *cohort, const struct cohort_window *window)
{
	struct cohort_epoch *epoch;

	if (window->end_ns < window->begin_ns || window->lost_low_ns > window->lost_high_ns ||
	    (cohort->window_cnt && window->begin_ns < cohort->last_ns))
		return -EINVAL;
	if (!cohort->window_cnt)
		cohort->first_ns = window->begin_ns;
	if (!cohort->epoch_cnt || cohort->last_windows == cohort->epoch_windows) {
		if (cohort->epoch_cnt == MAX_EPOCHS)
			merge_epochs(cohort);
		cohort->epochs[cohort->epoch_cnt++] =
			(struct cohort_epoch){.begin_ns = window->begin_ns};
		cohort->last_windows = 0;
	}
	epoch = &cohort->epochs[cohort->epoch_cnt - 1];
	epoch->low_ns += worked_ns(window, window->lost_high_ns);
	epoch->high_ns += worked_ns(window, window->lost_low_ns);
	cohort->last_windows++;
	cohort->windows[cohort->window_cnt++ % MAX_WINDOWS] = *window;
	cohort->work_ns = cohort__work_ns(cohort);
	cohort->has_birth = false;
	cohort->window_ns = window->end_ns - window->begin_ns;
	cohort->traced_ns += cohort->window_ns;
	cohort->last_ns = window->end_ns;
	return 0;
}

/* Finds the window of a time. Returns its number + 1, 0 = there is none, or not any more. */
static uint64_t find_window(const struct cohort *cohort, uint64_t time_ns)
{
	for (uint64_t i = cohort->window_cnt; i && cohort->window_cnt - i < MAX_WINDOWS; i--) {
		const struct cohort_window *window = &cohort->windows[(i - 1) % MAX_WINDOWS];

		if (time_ns > window->end_ns)
			return 0;
		if (time_ns >= window->begin_ns)
			return i;
	}
	return 0;
}

/* ---- blocks ---- */

static void remove_block(struct cohort *cohort, size_t index)
{
	struct cohort_block *block = &cohort->blocks.items[index];
	struct cohort_block *last = &cohort->blocks.items[--cohort->blocks.cnt];

	cohort->sites.items[block->site]->live--;
	hashmap__remove(&cohort->block_index, block->addr, 0);
	if (block != last) {
		*block = *last;
		*hashmap__find(&cohort->block_index, block->addr, 0) = index;
	}
}

/*
 * The block at an address, if one was born there before, ended by `time_ns` at the latest.
 * `was_seen`: by a window, else by somebody who misses none.
 */
static void end_block(struct cohort *cohort, uint64_t addr, uint64_t time_ns, bool was_seen)
{
	uint64_t *index = hashmap__find(&cohort->block_index, addr, 0);
	const struct cohort_block *block;
	struct cohort_site *site;
	struct site_epoch *epoch;

	if (!index || cohort->blocks.items[*index].born_ns > time_ns)
		return;
	block = &cohort->blocks.items[*index];
	site = cohort->sites.items[block->site];
	epoch = &site->epochs[cohort__epoch_at(cohort, block->born_ns)];
	if (time_ns < block->until_ns)
		site->exposed_ns -= block->until_ns - time_ns;
	if (time_ns <= block->until_ns || !was_seen)
		epoch->died++;
	else
		epoch->again++;
	imprints__end(&site->imprints, addr, block->born_ns, time_ns);
	remove_block(cohort, *index);
}

static uint64_t hash_addr(const struct cohort *cohort, uint64_t addr)
{
	uint8_t out[SIPHASH_BYTES];
	struct siphash hash;
	uint64_t half;

	siphash__init(&hash, cohort->key);
	siphash__update(&hash, &addr, sizeof(addr));
	siphash__final(&hash, out);
	memcpy(&half, out, sizeof(half));
	return half;
}

/* Follows half as many blocks of a site as before. */
static void halve_sample(struct cohort *cohort, uint32_t index)
{
	struct cohort_site *site = cohort->sites.items[index];

	site->limit /= 2;
	site->exposed_ns /= 2;
	for (size_t i = 0; i < cohort->epoch_cnt; i++) {
		site->epochs[i].followed /= 2;
		site->epochs[i].died /= 2;
		site->epochs[i].again /= 2;
	}
	for (size_t i = cohort->blocks.cnt; i-- > 0;)
		if (cohort->blocks.items[i].site == index &&
		    hash_addr(cohort, cohort->blocks.items[i].addr) > site->limit)
			remove_block(cohort, i);
}

static void make_room(struct cohort *cohort, uint32_t site)
{
	uint32_t largest = site;

	if (cohort->sites.items[site]->live >= MAX_SITE_BLOCKS)
		halve_sample(cohort, site);
	if (cohort->blocks.cnt < cohort->max_blocks)
		return;
	for (size_t i = 0; i < cohort->sites.cnt; i++)
		if (cohort->sites.items[i]->live > cohort->sites.items[largest]->live)
			largest = i;
	halve_sample(cohort, largest);
}

static int follow(struct cohort *cohort, uint32_t index, const struct cohort_birth *birth,
		  uint64_t until_ns)
{
	struct cohort_site *site = cohort->sites.items[index];
	const struct cohort_block block = {
		.addr = birth->addr,
		.bytes = birth->bytes,
		.born_ns = birth->time_ns,
		.until_ns = until_ns,
		.alive_window = cohort->window_cnt,
		.site = index,
	};
	uint64_t *place;

	make_room(cohort, index);
	if (cohort->blocks.cnt >= cohort->max_blocks ||
	    hash_addr(cohort, birth->addr) > site->limit)
		return 0;
	if (array_reserve_one(&cohort->blocks) || array_push(&cohort->fresh, birth->addr))
		return -ENOMEM;
	place = hashmap__insert(&cohort->block_index, birth->addr, 0, NULL);
	if (!place)
		return -ENOMEM;
	*place = cohort->blocks.cnt;
	cohort->blocks.items[cohort->blocks.cnt++] = block;
	site->live++;
	site->exposed_ns += until_ns - birth->time_ns;
	site->epochs[cohort__epoch_at(cohort, birth->time_ns)].followed++;
	return 0;
}

/* ---- sites ---- */

/* Returns the site that has no block left and was silent for longest, SIZE_MAX = each has some. */
static size_t find_idle(const struct cohort *cohort)
{
	size_t found = SIZE_MAX;

	for (size_t i = 0; i < cohort->sites.cnt; i++) {
		const struct cohort_site *site = cohort->sites.items[i];

		if (!site->live && site->last_window != cohort->window_cnt &&
		    (found == SIZE_MAX ||
		     site->last_work_ns < cohort->sites.items[found]->last_work_ns))
			found = i;
	}
	return found;
}

/* Takes the place of a new site: at the end, or that of one that ends all it allocates. Returns
 * its index; *ret_err: 0, -ENOSPC or -ENOMEM. */
static size_t take_place(struct cohort *cohort, int *ret_err)
{
	size_t index = cohort->sites.cnt;
	struct cohort_site *site;

	*ret_err = 0;
	if (index < cohort->max_sites) {
		*ret_err = array_push(&cohort->sites, NULL);
		return index;
	}
	index = find_idle(cohort);
	if (index == SIZE_MAX) {
		*ret_err = -ENOSPC;
		return index;
	}
	site = cohort->sites.items[index];
	hashmap__remove(&cohort->site_index, site->stack, site->layer);
	free(site);
	cohort->sites.items[index] = NULL;
	return index;
}

/* Returns the index of a site, made when it is new; *ret_err: 0, -ENOSPC or -ENOMEM. */
static uint32_t site_of(struct cohort *cohort, const struct cohort_birth *birth, int *ret_err)
{
	uint64_t *found = hashmap__find(&cohort->site_index, birth->stack, birth->layer);
	struct cohort_site *site;
	size_t index;

	*ret_err = 0;
	if (found)
		return *found;
	site = calloc(1, sizeof(*site));
	found = site ? hashmap__insert(&cohort->site_index, birth->stack, birth->layer, NULL)
		     : NULL;
	*ret_err = found ? 0 : -ENOMEM;
	index = found ? take_place(cohort, ret_err) : 0;
	if (*ret_err) {
		if (found)
			hashmap__remove(&cohort->site_index, birth->stack, birth->layer);
		free(site);
		return 0;
	}
	*site = (struct cohort_site){
		.stack = birth->stack,
		.layer = birth->layer,
		.first_ns = birth->time_ns,
		.limit = UINT64_MAX,
		.first_work_ns = cohort->work_ns,
	};
	/* What was removed may have moved it. */
	*hashmap__find(&cohort->site_index, birth->stack, birth->layer) = index;
	cohort->sites.items[index] = site;
	return index;
}

/* The site goes on in the last window. */
static void note_window(struct cohort *cohort, struct cohort_site *site)
{
	cohort->has_birth = true;
	if (site->last_window == cohort->window_cnt)
		return;
	if (site->windows++ && cohort->work_ns - site->last_work_ns > site->pause_ns)
		site->pause_ns = cohort->work_ns - site->last_work_ns;
	site->last_window = cohort->window_cnt;
	site->last_work_ns = cohort->work_ns + cohort->window_ns;
}

int cohort__birth(struct cohort *cohort, const struct cohort_birth *birth)
{
	uint64_t window = find_window(cohort, birth->time_ns);
	struct cohort_site *site;
	struct site_epoch *epoch;
	uint32_t index;
	int err;

	end_block(cohort, birth->addr, birth->time_ns, true);
	if (!window)
		return 0;
	index = site_of(cohort, birth, &err);
	if (err == -ENOSPC)
		cohort->untold_bytes += birth->bytes;
	if (err)
		return err == -ENOSPC ? 0 : err;
	site = cohort->sites.items[index];
	epoch = &site->epochs[cohort__epoch_at(cohort, birth->time_ns)];
	epoch->born++;
	epoch->bytes += birth->bytes;
	note_window(cohort, site);
	/* A newer one is known there: this one has ended, told too late to be followed. */
	if (hashmap__find(&cohort->block_index, birth->addr, 0))
		return 0;
	return follow(cohort, index, birth, cohort->windows[(window - 1) % MAX_WINDOWS].end_ns);
}

int cohort__churn(struct cohort *cohort, uint64_t stack, uint32_t layer, uint64_t cnt,
		  uint64_t bytes)
{
	const struct cohort_birth birth = {
		.bytes = bytes, .time_ns = cohort->last_ns, .stack = stack, .layer = layer};
	struct site_epoch *epoch;
	struct cohort_site *site;
	double followed;
	uint32_t index;
	int err;

	if (!cnt || !cohort->window_cnt)
		return 0;
	index = site_of(cohort, &birth, &err);
	if (err == -ENOSPC)
		cohort->untold_bytes += bytes;
	if (err)
		return err == -ENOSPC ? 0 : err;
	site = cohort->sites.items[index];
	epoch = &site->epochs[cohort->epoch_cnt - 1];
	epoch->born += (double)cnt;
	epoch->bytes += (double)bytes;
	note_window(cohort, site);
	/* As many as their addresses would have chosen; each lived for half of it at most, in the
	 * mean. */
	followed = (double)cnt * ((double)site->limit / (double)UINT64_MAX);
	epoch->followed += followed;
	epoch->died += followed;
	site->exposed_ns += followed * (double)cohort->window_ns / 2;
	return 0;
}

static struct cohort_block *find_block(const struct cohort *cohort, uint64_t addr, uint64_t born_ns)
{
	uint64_t *index = hashmap__find(&cohort->block_index, addr, 0);
	struct cohort_block *block = index ? &cohort->blocks.items[*index] : NULL;

	return block && block->born_ns == born_ns ? block : NULL;
}

bool cohort__alive(struct cohort *cohort, uint64_t addr, uint64_t born_ns)
{
	struct cohort_block *block = find_block(cohort, addr, born_ns);

	if (block)
		block->alive_window = cohort->window_cnt;
	return block;
}

bool cohort__follows(const struct cohort *cohort, uint64_t addr, uint64_t born_ns)
{
	return find_block(cohort, addr, born_ns);
}

void cohort__end_others(struct cohort *cohort)
{
	/* The last one takes the place of one that is removed: it has been looked at. */
	for (size_t i = cohort->blocks.cnt; i-- > 0;)
		if (cohort->blocks.items[i].alive_window != cohort->window_cnt)
			end_block(cohort, cohort->blocks.items[i].addr, cohort->last_ns, true);
}

void cohort__death(struct cohort *cohort, uint64_t addr, uint64_t time_ns)
{
	end_block(cohort, addr, time_ns, true);
}

void cohort__forget(struct cohort *cohort, uint64_t addr, uint64_t time_ns)
{
	end_block(cohort, addr, time_ns, false);
}

void cohort__close(struct cohort *cohort)
{
	for (size_t i = 0; i < cohort->fresh.cnt; i++) {
		uint64_t addr = cohort->fresh.items[i];
		uint64_t *index = hashmap__find(&cohort->block_index, addr, 0);
		const struct cohort_block *block = index ? &cohort->blocks.items[*index] : NULL;
		struct cohort_site *site;

		if (!block)
			continue;
		site = cohort->sites.items[block->site];
		if (site->outlived_window != cohort->window_cnt) {
			site->outlived_window = cohort->window_cnt;
			site->outlived_windows++;
		}
		imprints__offer(&site->imprints, addr, block->bytes, block->born_ns);
	}
	cohort->fresh.cnt = 0;
}

/* ---- contents ---- */

static struct cohort_read read_of(const struct imprint *imprint, uint32_t site, uint32_t slot,
				  uint32_t layer)
{
	struct cohort_read read = {
		.addr = imprint->addr,
		.len = (uint32_t)imprint->bytes,
		.site = site,
		.slot = slot,
		.layer = layer,
	};

	if (imprint->bytes > IMPRINT_BYTES) {
		read.len = IMPRINT_BYTES - IMPRINT_TAIL;
		read.tail_len = IMPRINT_TAIL;
		read.tail_addr = imprint->addr + imprint->bytes - IMPRINT_TAIL;
	}
	return read;
}

size_t cohort__due(struct cohort *cohort, uint64_t now_ns, struct cohort_read *ret, size_t max)
{
	size_t cnt = 0;

	for (size_t i = 0; i < cohort->sites.cnt && cnt < max; i++) {
		uint32_t site = cohort->next_due++ % cohort->sites.cnt;
		const struct imprints *imprints = &cohort->sites.items[site]->imprints;

		for (size_t j = 0; j < imprints->cnt && cnt < max; j++) {
			const struct imprint *imprint = &imprints->items[j];

			if (imprint__is_due(imprint, now_ns))
				ret[cnt++] =
					read_of(imprint, site, j, cohort->sites.items[site]->layer);
		}
	}
	return cnt;
}

void cohort__look(struct cohort *cohort, const struct cohort_read *read, const void *data,
		  size_t len, uint64_t now_ns)
{
	struct imprints *imprints = &cohort->sites.items[read->site]->imprints;

	if (read->slot < imprints->cnt && imprints->items[read->slot].addr == read->addr)
		imprint__look(&imprints->items[read->slot], cohort->key, data, len, now_ns);
}

void cohort__gone(struct cohort *cohort, const struct cohort_read *read, uint64_t now_ns)
{
	struct imprints *imprints = &cohort->sites.items[read->site]->imprints;

	if (read->slot < imprints->cnt && imprints->items[read->slot].addr == read->addr &&
	    !imprints->items[read->slot].ended_ns)
		imprints->items[read->slot].ended_ns = now_ns;
	cohort__forget(cohort, read->addr, now_ns);
}

/* ---- life ---- */

struct cohort *cohort__new(const uint8_t key[static SIPHASH_BYTES], size_t max_blocks,
			   size_t max_sites)
{
	struct cohort *cohort = calloc(1, sizeof(*cohort));

	if (!cohort)
		return NULL;
	memcpy(cohort->key, key, SIPHASH_BYTES);
	cohort->max_blocks = max_blocks;
	cohort->max_sites = max_sites;
	cohort->epoch_windows = 1;
	return cohort;
}

void cohort__free(struct cohort *cohort)
{
	if (!cohort)
		return;
	for (size_t i = 0; i < cohort->sites.cnt; i++)
		free(cohort->sites.items[i]);
	array_free(&cohort->sites);
	array_free(&cohort->blocks);
	array_free(&cohort->fresh);
	hashmap__free(&cohort->block_index);
	hashmap__free(&cohort->site_index);
	free(cohort);
}

uint64_t cohort__untold_bytes(const struct cohort *cohort)
{
	return cohort->untold_bytes;
}
