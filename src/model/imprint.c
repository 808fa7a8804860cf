/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/imprint.h"

#include <stdlib.h>
#include <string.h>

#include "util/clock.h"

#define YOUNG_NS (4 * NS_PER_SEC) /* a block may still be filled in */
#define SECOND_LOOK_NS NS_PER_SEC
#define LEAST_COMPARED 4 /* blocks, before a position is known to be alike or restless */
#define SMALL_BLOCK 1024 /* bytes from which glibc keeps four pointers in a free block, not two */
#define SMALL_SKIP 16

/* ---- which blocks ---- */

static void remove_at(struct imprints *set, size_t index)
{
	memmove(&set->items[index], &set->items[index + 1],
		(--set->cnt - index) * sizeof(*set->items));
}

/* Removes the one whose neighbours are nearest to each other. The oldest and the newest stay. */
static void thin(struct imprints *set)
{
	uint64_t least = UINT64_MAX, gap;
	size_t victim = 1;

	for (size_t i = 1; i + 1 < set->cnt; i++) {
		gap = set->items[i + 1].born_ns - set->items[i - 1].born_ns;
		if (gap < least) {
			least = gap;
			victim = i;
		}
	}
	remove_at(set, victim);
}

void imprints__offer(struct imprints *set, uint64_t addr, uint64_t bytes, uint64_t born_ns)
{
	size_t at = set->cnt;

	if (set->cnt == MAX_IMPRINTS) {
		thin(set);
		at = set->cnt;
	}
	while (at && set->items[at - 1].born_ns > born_ns)
		at--;
	memmove(&set->items[at + 1], &set->items[at], (set->cnt++ - at) * sizeof(*set->items));
	set->items[at] = (struct imprint){.addr = addr, .bytes = bytes, .born_ns = born_ns};
}

void imprints__end(struct imprints *set, uint64_t addr, uint64_t born_ns, uint64_t now_ns)
{
	for (size_t i = 0; i < set->cnt; i++)
		if (set->items[i].addr == addr && set->items[i].born_ns == born_ns &&
		    !set->items[i].ended_ns)
			set->items[i].ended_ns = now_ns;
}

/* ---- looks ---- */

bool imprint__is_due(const struct imprint *imprint, uint64_t now_ns)
{
	uint64_t age, last_age;
	uint32_t changed = 0;

	if (imprint->ended_ns || now_ns < imprint->born_ns || imprint->bytes < SMALL_SKIP + 8)
		return false;
	if (!imprint->last_ns)
		return true;
	for (uint32_t i = 0; i < imprint->word_cnt; i++)
		changed += imprint->changed_ms[i] != 0;
	age = now_ns - imprint->born_ns;
	last_age = imprint->last_ns - imprint->born_ns;
	/* Of one that is another there is not much more to learn. */
	return age >= SECOND_LOOK_NS &&
	       age - last_age >= (changed * 2 > imprint->word_cnt ? last_age : last_age / 12);
}

/* Returns how many words there are, hashed with the place they are at. */
static uint32_t hash_words(const uint8_t *key, const uint8_t *data, size_t len, uint64_t bytes,
			   uint32_t ret[static IMPRINT_WORDS])
{
	const size_t tail = IMPRINT_BYTES - IMPRINT_TAIL, tail_words = IMPRINT_TAIL / 8;
	size_t skip = bytes < SMALL_BLOCK ? SMALL_SKIP : 2 * SMALL_SKIP;
	uint8_t out[SIPHASH_BYTES];
	struct siphash hash;
	uint32_t cnt = 0;

	for (; cnt < IMPRINT_WORDS && skip + 8 <= len && skip + 8 <= bytes; skip += 8) {
		if (bytes > IMPRINT_BYTES && cnt == IMPRINT_WORDS - tail_words)
			skip = tail;
		siphash__init(&hash, key);
		siphash__update(&hash, &cnt, sizeof(cnt));
		siphash__update(&hash, data + skip, 8);
		siphash__final(&hash, out);
		memcpy(&ret[cnt++], out, sizeof(*ret));
	}
	return cnt;
}

void imprint__look(struct imprint *imprint, const uint8_t key[static SIPHASH_BYTES],
		   const void *data, size_t len, uint64_t now_ns)
{
	uint32_t words[IMPRINT_WORDS], cnt;
	uint64_t age_ms = (now_ns - imprint->born_ns) / NS_PER_MS + 1;
	bool is_first = !imprint->first_ns, is_second = imprint->first_ns == imprint->last_ns;

	if (imprint->ended_ns || now_ns < imprint->born_ns || now_ns <= imprint->last_ns)
		return;
	cnt = hash_words(key, data, len, imprint->bytes, words);
	if (!cnt || cnt < imprint->word_cnt)
		return;
	/* What was still being filled in at the first look is known from the second on. */
	if (is_second && now_ns < imprint->born_ns + YOUNG_NS)
		is_first |= memcmp(words, imprint->words, cnt * sizeof(*words)) != 0;
	if (is_first) {
		memcpy(imprint->words, words, cnt * sizeof(*words));
		imprint->first_ns = now_ns;
		imprint->word_cnt = cnt;
	}
	for (uint32_t i = 0; i < imprint->word_cnt; i++)
		if (!imprint->changed_ms[i] && words[i] != imprint->words[i])
			imprint->changed_ms[i] = age_ms < UINT32_MAX ? age_ms : UINT32_MAX;
	imprint->last_ns = now_ns;
}

/* ---- what they say ---- */

/* A position says nothing where more than half of the blocks have the same there. */
static bool is_alike(const struct imprints *set, uint32_t word)
{
	uint32_t compared = 0, most = 0;

	for (size_t i = 0; i < set->cnt; i++) {
		uint32_t same = 0;

		if (!set->items[i].last_ns || set->items[i].word_cnt <= word)
			continue;
		compared++;
		for (size_t j = 0; j < set->cnt; j++)
			same += set->items[j].last_ns && set->items[j].word_cnt > word &&
				set->items[j].words[word] == set->items[i].words[word];
		most = same > most ? same : most;
	}
	return compared < LEAST_COMPARED || most * 2 > compared;
}

/* A position is restless where most blocks have something new that else are as they were. */
static bool is_restless(const struct imprints *set, uint32_t word, uint32_t telling)
{
	uint32_t compared = 0, changed = 0;

	for (size_t i = 0; i < set->cnt; i++) {
		const struct imprint *imprint = &set->items[i];
		bool is_same = false;

		if (imprint->word_cnt <= word)
			continue;
		for (uint32_t j = 0; j < imprint->word_cnt; j++)
			is_same |= j != word && (telling & 1u << j) && !imprint->changed_ms[j];
		compared += is_same;
		changed += is_same && imprint->changed_ms[word];
	}
	return compared >= LEAST_COMPARED && changed * 2 > compared;
}

/* Returns the positions that tell blocks apart and stay as they are while a block lives. */
static uint32_t telling_words(const struct imprints *set)
{
	uint32_t telling = 0, restless = 0;

	for (uint32_t i = 0; i < IMPRINT_WORDS; i++)
		telling |= is_alike(set, i) ? 0 : 1u << i;
	for (uint32_t i = 0; i < IMPRINT_WORDS; i++)
		if ((telling & 1u << i) && is_restless(set, i, telling))
			restless |= 1u << i;
	return telling & ~restless;
}

/* Returns the age at which a block was first seen to have ended, 0 = it is as it was. */
static uint64_t life_of(const struct imprint *imprint, uint32_t telling)
{
	uint64_t seen_ns = imprint->ended_ns ? imprint->ended_ns - imprint->born_ns : 0;
	uint32_t cnt = 0, changed = 0, at_ms = 0;
	uint64_t renewed_ns;

	for (uint32_t i = 0; i < imprint->word_cnt; i++) {
		if (!(telling & 1u << i))
			continue;
		cnt++;
		changed += imprint->changed_ms[i] != 0;
		at_ms = imprint->changed_ms[i] > at_ms ? imprint->changed_ms[i] : at_ms;
	}
	if (changed * 2 <= cnt)
		return seen_ns;
	renewed_ns = at_ms * NS_PER_MS;
	return seen_ns && seen_ns < renewed_ns ? seen_ns : renewed_ns;
}

/* Whether somebody has looked at a living block early enough, and for long. */
static bool is_known(const struct imprint *imprint, uint32_t telling, uint64_t age_ns)
{
	return (telling & ((1u << imprint->word_cnt) - 1)) && imprint->last_ns &&
	       imprint->first_ns - imprint->born_ns <= age_ns / 4 &&
	       imprint->last_ns - imprint->born_ns >= age_ns / 8 * 7;
}

static int by_time(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

struct imprint_sums imprints__sum(const struct imprints *set, uint64_t from_ns, uint64_t to_ns,
				  uint64_t elder_ns, uint64_t now_ns)
{
	uint32_t telling = telling_words(set), ended = 0;
	struct imprint_sums sums = {.is_alike = !telling};
	uint64_t lives[MAX_IMPRINTS];

	for (size_t i = 0; i < set->cnt; i++) {
		const struct imprint *imprint = &set->items[i];
		uint64_t born = imprint->born_ns, life = life_of(imprint, telling);

		if (born < from_ns || born > to_ns || born > now_ns)
			continue;
		if (!life && !is_known(imprint, telling, now_ns - born))
			continue;
		sums.read++;
		sums.kept += !life;
		if (!life || life >= elder_ns) {
			sums.has_oldest_ended |= !sums.elders++ && life;
			sums.late += life != 0;
		}
		if (life)
			lives[ended++] = life;
	}
	if (ended) {
		qsort(lives, ended, sizeof(*lives), by_time);
		sums.life_ns = lives[ended / 2];
	}
	return sums;
}
