/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The rates between successive slots are the sample: their mean without the extremes is the rate,
 * and its error is Tukey and McLaughlin's (winsorized variance of a trimmed mean). A step is an
 * extreme, so one that stays moves nothing; memory that wanders makes rates that differ as much as
 * they are large. Errors of the single sizes are counted twice that way: bounds are rather too
 * wide.
 */
#include "model/growth.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NS_PER_S 1000000000ULL
#define NS_PER_HOUR (3600.0 * NS_PER_S)
#define LEAST_SPACING_NS (NS_PER_S * 3 / 4) /* samples a second apart are told apart */
#define LEAST_SLOTS 13			    /* twelve that are closed, four rates in each third */
#define LEAST_SEEN_NS (20 * NS_PER_S)

#define TRIM_ONE_IN 8 /* of the rates, at each end */
#define SURE 6.0      /* standard errors above nothing */
#define BOUND 2.3     /* standard errors of a 95 % bound: Student's t with eight degrees or more */
/* By so much less than the third before it, and standard errors of the mean than the first one. */
#define FLATTER 0.95
#define FLATTER_SURE 5.0

#define MAX_BYTES (1ULL << 61)
#define MAX_SECONDS (100 * 365.25 * 86400)

/* Slots of the shorter series get no longer than this: two minutes of samples 5 s apart, and
 * twenty minutes. */
static const uint64_t longest_spacing_ns[GROWTH_SERIES] = {3 * NS_PER_S, 48 * NS_PER_S, UINT64_MAX};

/* ---- samples ---- */

static struct growth_slot lower_of(struct growth_slot a, struct growth_slot b)
{
	return b.bytes < a.bytes ? b : a;
}

/* Makes room for a slot: half of the slots if they may be longer, else without the oldest one. */
static void make_room(struct growth_series *series, uint64_t longest_ns)
{
	struct growth_slot *slots = series->slots;

	if (series->spacing_ns <= longest_ns / 2) {
		series->spacing_ns *= 2;
		series->cnt /= 2;
		for (uint32_t i = 0; i < series->cnt; i++)
			slots[i] = lower_of(slots[2 * i], slots[2 * i + 1]);
		return;
	}
	if (slots[0].bytes > series->left_bytes)
		series->left_bytes = slots[0].bytes;
	series->cnt--;
	memmove(slots, slots + 1, series->cnt * sizeof(*slots));
}

static void series__add(struct growth_series *series, struct growth_slot sample,
			uint64_t longest_ns)
{
	struct growth_slot *last = &series->slots[series->cnt - 1];

	if (series->cnt && sample.at_ns - series->begun_ns < series->spacing_ns) {
		*last = lower_of(*last, sample);
		return;
	}
	if (!series->cnt)
		series->spacing_ns = LEAST_SPACING_NS;
	if (series->cnt == GROWTH_SLOTS)
		make_room(series, longest_ns);
	series->slots[series->cnt++] = sample;
	series->begun_ns = sample.at_ns;
}

/* What is kept of a size: never below 0, and no more than two of them can be added up. */
static uint64_t shift(uint64_t bytes, int64_t offset)
{
	int64_t sum = (int64_t)(bytes < MAX_BYTES ? bytes : MAX_BYTES) + offset;

	return sum < 0 ? 0 : sum < (int64_t)MAX_BYTES ? (uint64_t)sum : MAX_BYTES;
}

void growth__add(struct growth *growth, uint64_t now_ns, uint64_t bytes)
{
	struct growth_slot sample;

	if (growth->begun && !growth->is_broken && now_ns > growth->last_ns)
		growth->clock_ns += now_ns - growth->last_ns;
	if (growth->is_broken && growth->begun && bytes <= MAX_BYTES)
		growth->offset_bytes = (int64_t)growth->last_bytes - (int64_t)bytes;
	growth->last_ns = now_ns;
	growth->begun = true;
	growth->is_broken = false;
	sample.at_ns = growth->clock_ns;
	sample.bytes = growth->last_bytes = shift(bytes, growth->offset_bytes);
	for (int i = 0; i < GROWTH_SERIES; i++)
		series__add(&growth->series[i], sample, longest_spacing_ns[i]);
}

void growth__restart(struct growth *growth)
{
	growth->is_broken = true;
	growth->restarts++;
}

uint64_t growth__highest(const struct growth *growth)
{
	uint64_t highest = 0;

	for (int i = 0; i < GROWTH_SERIES; i++) {
		const struct growth_series *series = &growth->series[i];

		if (series->left_bytes > highest)
			highest = series->left_bytes;
		for (uint32_t j = 0; j < series->cnt; j++)
			if (series->slots[j].bytes > highest)
				highest = series->slots[j].bytes;
	}
	return highest;
}

/* ---- a rate and its error ---- */

struct rates {
	double items[GROWTH_SLOTS]; /* bytes per nanosecond, by time */
	uint32_t cnt;
};

/* The open slot has not seen its least yet. */
static void read_rates(const struct growth_series *series, struct rates *rates)
{
	const struct growth_slot *slots = series->slots;

	rates->cnt = 0;
	for (uint32_t i = 1; i + 1 < series->cnt; i++) {
		double span = slots[i].at_ns - slots[i - 1].at_ns;

		if (span > 0)
			rates->items[rates->cnt++] =
				((double)slots[i].bytes - (double)slots[i - 1].bytes) / span;
	}
}

static int compare_rates(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;

	return left < right ? -1 : left > right;
}

struct mean {
	double value, error;
};

/* The mean of what is left without the highest and the lowest, and its standard error. */
static struct mean trimmed_mean(const double *rates, uint32_t cnt)
{
	uint32_t cut = (cnt + TRIM_ONE_IN - 1) / TRIM_ONE_IN, kept = cnt - 2 * cut;
	double sorted[GROWTH_SLOTS], sum = 0, winsorized = 0, squares = 0;
	struct mean mean;

	memcpy(sorted, rates, cnt * sizeof(*sorted));
	qsort(sorted, cnt, sizeof(*sorted), compare_rates);
	for (uint32_t i = cut; i < cnt - cut; i++)
		sum += sorted[i];
	for (uint32_t i = 0; i < cut; i++)
		sorted[i] = sorted[cut], sorted[cnt - 1 - i] = sorted[cnt - 1 - cut];
	for (uint32_t i = 0; i < cnt; i++)
		winsorized += sorted[i] / cnt;
	for (uint32_t i = 0; i < cnt; i++)
		squares += (sorted[i] - winsorized) * (sorted[i] - winsorized);
	mean.value = sum / kept;
	mean.error = sqrt(squares / (cnt - 1)) / ((double)kept / cnt * sqrt(cnt));
	return mean;
}

/* ---- one series ---- */

struct look {
	enum growth_state state;
	struct mean rate;
	uint64_t seen_ns;
};

/* Memory that goes up and down rises too: what counts is what it has not had before. */
static bool is_new_high(const struct growth_series *series, double rate)
{
	const struct growth_slot *first = &series->slots[0], *last = first + series->cnt - 2;
	uint64_t before = first->bytes > series->left_bytes ? first->bytes : series->left_bytes;

	return last->bytes > before &&
	       last->bytes - before >= rate * (last->at_ns - first->at_ns) / 2;
}

/* The rate of a part of the time: without a step up, and with what was given back at once. */
static double rate_of(const double *rates, uint32_t cnt)
{
	double mean = 0, trimmed = trimmed_mean(rates, cnt).value;

	for (uint32_t i = 0; i < cnt; i++)
		mean += rates[i] / cnt;
	return mean < trimmed ? mean : trimmed;
}

/* Each third of the time has to say the same, by itself. */
static enum growth_state judge_thirds(const struct growth_series *series, const struct rates *rates,
				      struct mean all, uint64_t seen_ns, double noise_bytes)
{
	double least = noise_bytes / (seen_ns / 3.0), thirds[3];
	uint32_t up = 0, down = 0;

	for (uint32_t i = 0; i < 3; i++) {
		uint32_t begin = i * rates->cnt / 3, end = (i + 1) * rates->cnt / 3;

		thirds[i] = rate_of(rates->items + begin, end - begin);
		up += thirds[i] >= least;
		down += thirds[i] <= -least;
	}
	if (up == 3 && thirds[2] < FLATTER * thirds[1] &&
	    thirds[0] - thirds[2] > FLATTER_SURE * all.error)
		return GROWTH_WARMING;
	if (up == 3 && all.value > SURE * all.error && is_new_high(series, all.value))
		return GROWTH_GROWING;
	if (down == 3 && all.value < -SURE * all.error)
		return GROWTH_SHRINKING;
	return GROWTH_FLAT;
}

static struct look judge_series(const struct growth_series *series, double noise_bytes)
{
	struct look look = {.state = GROWTH_TOO_EARLY};
	struct rates rates;

	if (series->cnt < LEAST_SLOTS)
		return look;
	look.seen_ns = series->slots[series->cnt - 2].at_ns - series->slots[0].at_ns;
	read_rates(series, &rates);
	if (look.seen_ns < LEAST_SEEN_NS || rates.cnt < LEAST_SLOTS - 2)
		return look;
	look.rate = trimmed_mean(rates.items, rates.cnt);
	look.state = judge_thirds(series, &rates, look.rate, look.seen_ns, noise_bytes);
	return look;
}

/* ---- all three ---- */

/*
 * A minute of a long warm-up looks straight: who is warming up over the next longer time does not
 * grow. Load comes and goes: the longest time that says so tells the rate.
 */
static const struct look *find_growing(struct look looks[GROWTH_SERIES])
{
	for (int i = GROWTH_SERIES - 1; i >= 0; i--) {
		if (looks[i].state != GROWTH_GROWING)
			continue;
		if (i + 1 == GROWTH_SERIES || looks[i + 1].state != GROWTH_WARMING)
			return &looks[i];
		looks[i].state = GROWTH_WARMING;
	}
	return NULL;
}

/* Without growth the middle one says what is so now; warm-ups take what time they want. */
static enum growth_state state_of(const struct look looks[GROWTH_SERIES])
{
	for (int i = 0; i < GROWTH_SERIES; i++)
		if (looks[i].state == GROWTH_WARMING)
			return GROWTH_WARMING;
	return looks[1].state;
}

void growth__judge(const struct growth *growth, uint64_t noise_bytes, struct growth_verdict *ret)
{
	struct look looks[GROWTH_SERIES];
	const struct look *growing, *look;

	for (int i = 0; i < GROWTH_SERIES; i++)
		looks[i] = judge_series(&growth->series[i], noise_bytes);
	growing = find_growing(looks);
	look = growing ? growing : &looks[1];
	*ret = (struct growth_verdict){
		.state = growing ? GROWTH_GROWING : state_of(looks),
		.bytes_per_hour = look->rate.value * NS_PER_HOUR,
		.lower = (look->rate.value - BOUND * look->rate.error) * NS_PER_HOUR,
		.upper = (look->rate.value + BOUND * look->rate.error) * NS_PER_HOUR,
		.seen_ns = look->seen_ns,
	};
}

const char *growth_state__name(enum growth_state state)
{
	static const char *const names[GROWTH_STATE_CNT] = {
		"too_early", "flat", "warming_up", "growing", "shrinking",
	};

	return state < GROWTH_STATE_CNT ? names[state] : "unknown";
}

uint64_t growth__seconds_to(uint64_t room_bytes, double bytes_per_hour)
{
	double seconds;

	if (!(bytes_per_hour > 0))
		return UINT64_MAX;
	seconds = room_bytes / bytes_per_hour * 3600;
	return seconds < MAX_SECONDS ? (uint64_t)seconds : UINT64_MAX;
}

uint64_t growth__gained(const struct growth *growth, uint64_t *ret_ns)
{
	const struct growth_series *all = &growth->series[GROWTH_SERIES - 1];
	const struct growth_slot *first = &all->slots[0];

	*ret_ns = 0;
	if (!all->cnt || growth->clock_ns <= first->at_ns)
		return 0;
	*ret_ns = growth->clock_ns - first->at_ns;
	return growth->last_bytes > first->bytes ? growth->last_bytes - first->bytes : 0;
}
