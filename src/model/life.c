/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "model/life.h"

void life__begin(struct life *life, const struct life *before, const struct growth *service,
		 uint64_t noise_bytes)
{
	const struct growth *ended = before ? &before->own : service;
	struct life begun = {0};
	struct growth_verdict verdict;
	uint64_t had_bytes = growth__highest(ended);

	if (before) {
		begun.has_grown = before->has_grown;
		begun.had_bytes = before->had_bytes;
	}
	life__judge(before, service, noise_bytes, &verdict);
	if (verdict.state != GROWTH_TOO_EARLY)
		begun.has_grown = verdict.state == GROWTH_GROWING;
	if (verdict.state != GROWTH_TOO_EARLY && !begun.has_grown && had_bytes > begun.had_bytes)
		begun.had_bytes = had_bytes;
	*life = begun;
}

/* Whether a process has no more than an earlier one that did not grow. */
static bool comes_back(const struct life *life, uint64_t noise_bytes)
{
	uint64_t highest = growth__highest(&life->own);

	return !life->has_grown &&
	       (highest <= life->had_bytes || highest - life->had_bytes <= noise_bytes);
}

void life__judge(const struct life *life, const struct growth *service, uint64_t noise_bytes,
		 struct growth_verdict *ret)
{
	struct growth_verdict own;
	bool agrees;

	growth__judge(service, noise_bytes, ret);
	if (!life || ret->state != GROWTH_GROWING)
		return;
	growth__judge(&life->own, noise_bytes, &own);
	if (own.state == GROWTH_GROWING && comes_back(life, noise_bytes))
		own.state = GROWTH_WARMING;
	if (own.state == GROWTH_TOO_EARLY)
		agrees = life->has_grown;
	else /* a slow leak takes longer to tell than a short life: then it must be possible */
		agrees = (own.state == GROWTH_GROWING ||
			  (own.state == GROWTH_FLAT && life->has_grown)) &&
			 own.upper >= ret->lower;
	if (!agrees)
		*ret = own;
}
