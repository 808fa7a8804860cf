/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a site does with its memory. It grows when what it allocates stays, which nobody can see:
 * the question is what a cache would have shown by now.
 *
 * - Contents. Of the older half of the blocks looked at, those that lived for a quarter of the time
 *   must have gone on to live. In a cache whose blocks live that long some end, in one of a shorter
 *   life there are none left. This does not depend on how long the time is.
 * - Where blocks are all alike, windows must have seen too few of them again for a cache of a
 *   quarter of the time. Blocks of one window die together in a FIFO cache: it is windows that
 *   count, not blocks.
 */
#include "model/cohort_site.h"

#include <math.h>
#include <stdlib.h>

#include "model/chance.h"
#include "util/clock.h"

#define NS_PER_HOUR (3600.0 * NS_PER_SEC)
#define LEAST_BORN 8 /* blocks, and windows with some */
#define LEAST_READ 8 /* blocks whose contents are known, before contents say anything */
#define LEAST_WATCHED_NS (20 * NS_PER_SEC)
#define ALIKE_WATCHED_NS (240 * NS_PER_SEC) /* where contents say nothing */
#define BRIEF_NS (4 * NS_PER_SEC)	    /* of life: no cache */
#define UNLIKELY 1e-3
#define MOST_KEPT 8    /* one of so many blocks may be kept so far by what ends all */
#define MOST_LATE 16   /* one of so many elders may have ended, and it still grows */
#define MOST_SPREAD 25 /* the higher bound over the lower one, or nothing is known of the rate */
#define MOST_MINOR 50  /* less than so small a part of the process's growth is nothing to tell of  \
			*/
#define MAX_CLASSES 256
#define LEAST_OTHERS 100 /* blocks of others, before their turnover counts */

/* Older survivors of all sites of a size, and how many of them were seen again. */
struct class_sums {
	double survivors, again;
};

struct judge {
	const struct cohort *cohort;
	uint64_t now_ns;
	double growth_high, share; /* of the time that was traced */
	struct class_sums classes[MAX_CLASSES];
};

/* What the epochs of a site sum up to. */
struct site_sums {
	double born, bytes, followed, died, again; /* of all epochs */
	double old_survivors, old_again;	   /* of those of the older half */
	double size_before, size_after;		   /* mean bytes of a block, by halves */
};

static double mean(double sum, double cnt)
{
	return cnt > 0 ? sum / cnt : 0;
}

static struct site_sums sum_site(const struct cohort *cohort, const struct cohort_site *site,
				 uint64_t half_ns)
{
	size_t half = cohort__epoch_at(cohort, half_ns);
	double old_born = 0, old_bytes = 0;
	struct site_sums sums = {0};

	for (size_t i = 0; i < cohort->epoch_cnt; i++) {
		const struct site_epoch *epoch = &site->epochs[i];

		sums.born += epoch->born;
		sums.bytes += epoch->bytes;
		sums.followed += epoch->followed;
		sums.died += epoch->died;
		sums.again += epoch->again;
		if (i >= half)
			continue;
		old_born += epoch->born;
		old_bytes += epoch->bytes;
		sums.old_survivors += epoch->followed - epoch->died;
		sums.old_again += epoch->again;
	}
	sums.size_before = mean(old_bytes, old_born);
	sums.size_after = mean(sums.bytes - old_bytes, sums.born - old_born);
	return sums;
}

/* ---- how much ---- */

/*
 * Bytes per hour that outlive, by the newer half of the time. How much epochs differ tells the
 * error, whatever makes them differ; it is put on a logarithm, as few blocks are skewed.
 */
static void tell_rate(const struct judge *judge, const struct cohort_site *site,
		      struct cohort_verdict *ret)
{
	const struct cohort *cohort = judge->cohort;
	size_t first = cohort__epoch_at(cohort, site->first_ns);
	size_t cnt = cohort->epoch_cnt - first;
	double sum = 0, low_ns = 0, high_ns = 0, squares = 0, error, kept[MAX_EPOCHS], factor;

	if (cnt > 2 * LEAST_BORN) {
		first += cnt / 2;
		cnt -= cnt / 2;
	}
	for (size_t i = 0; i < cnt; i++) {
		const struct site_epoch *epoch = &site->epochs[first + i];

		kept[i] = epoch->bytes * mean(epoch->followed - epoch->died, epoch->followed);
		sum += kept[i];
		low_ns += cohort->epochs[first + i].low_ns;
		high_ns += cohort->epochs[first + i].high_ns;
	}
	if (sum <= 0 || low_ns <= 0 || cnt < 4)
		return;
	for (size_t i = 0; i < cnt; i++) {
		const struct cohort_epoch *epoch = &cohort->epochs[first + i];
		double rest = kept[i] - sum * (epoch->low_ns + epoch->high_ns) / (low_ns + high_ns);

		squares += rest * rest;
	}
	error = sqrt(squares * cnt / (cnt - 1)) / sum;
	factor = exp(student_t(cnt - 1) * error);
	ret->rate = 2 * sum / (low_ns + high_ns) * NS_PER_HOUR;
	ret->rate_low = sum / high_ns * NS_PER_HOUR / factor;
	ret->rate_high = sum / low_ns * NS_PER_HOUR * factor;
}

static void scale_rate(struct cohort_verdict *verdict, double low, double share, double high)
{
	verdict->rate_low *= low;
	verdict->rate *= share;
	verdict->rate_high *= high;
}

/* ---- evidence ---- */

/*
 * In how many groups of its own a site's blocks came, at least: one for each window that has some,
 * more where the epochs differ no more than by chance.
 */
static double count_groups(const struct cohort *cohort, const struct cohort_site *site)
{
	size_t first = cohort__epoch_at(cohort, site->first_ns), end = cohort->epoch_cnt;
	double born = 0, work_ns = 0, squares = 0, spread;

	/* The last one with births is not over. */
	while (end > first && !site->epochs[end - 1].born)
		end--;
	end -= end > first;
	if (end < first + LEAST_BORN)
		return site->windows;
	for (size_t i = first; i < end; i++) {
		born += site->epochs[i].born;
		work_ns += cohort->epochs[i].low_ns;
	}
	for (size_t i = first; i < end; i++) {
		double usual = born * mean(cohort->epochs[i].low_ns, work_ns);
		double rest = site->epochs[i].born - usual;

		squares += mean(rest * rest, usual);
	}
	spread = fmax(squares / (end - first - 1), 1);
	return fmax(site->windows, born / (2 * spread));
}

/*
 * How likely it is for a site that goes on to be silent for so long, while others work: its pace is
 * only known from the groups it came in (Pareto, as the pace is exponential and estimated). A pause
 * no longer than twice one that it has made before is nothing new.
 */
static double chance_of_silence(const struct cohort *cohort, const struct cohort_site *site)
{
	double silent_ns = cohort__work_ns(cohort) - site->last_work_ns;
	double active_ns = site->last_work_ns - site->first_work_ns;

	if (silent_ns <= 2.0 * site->pause_ns || active_ns <= 0)
		return 1;
	return pow(1 + silent_ns / active_ns, 1 - count_groups(cohort, site));
}

/*
 * How many groups of blocks would have been seen again by now in a cache of a quarter of the time.
 * The blocks of a window die together, and windows come at random: one after a life of theirs
 * touches them with twice the share that is traced, and of few blocks it may miss all. Those born
 * at the beginning live three times in what is left, others less: 1.5 lives each.
 */
static double expected_again(const struct judge *judge, const struct cohort_site *site,
			     const struct site_sums *sums)
{
	double group = mean(sums->followed - sums->died, site->outlived_windows);

	return 1.5 * site->outlived_windows * 2 * judge->share * group / (group + 1);
}

/* Blocks of about the same size are of one class: allocators give them each other's addresses. */
static size_t class_of(double bytes)
{
	double class = bytes <= 1024 ? bytes / 16 : 64 + 4 * log2(bytes / 1024);

	return class < MAX_CLASSES ? class : MAX_CLASSES - 1;
}

static void sum_classes(struct judge *judge)
{
	const struct cohort *cohort = judge->cohort;
	uint64_t half_ns = cohort->first_ns + (cohort->last_ns - cohort->first_ns) / 2;

	for (size_t i = 0; i < cohort->sites.cnt; i++) {
		struct site_sums sums = sum_site(cohort, cohort->sites.items[i], half_ns);
		struct class_sums *class = &judge->classes[class_of(mean(sums.bytes, sums.born))];

		class->survivors += sums.old_survivors;
		class->again += sums.old_again;
	}
}

/* The share of others' older survivors of this size that were seen again, -1 = too few. */
static double others_again(const struct judge *judge, const struct site_sums *sums)
{
	const struct class_sums *class = &judge->classes[class_of(mean(sums->bytes, sums->born))];
	double survivors = class->survivors - sums->old_survivors;

	if (survivors < LEAST_OTHERS)
		return -1;
	return fmax(class->again - sums->old_again, 0) / survivors;
}

/* ---- verdicts ---- */

static void doubt(struct cohort_verdict *verdict, enum cohort_doubt why)
{
	verdict->state = COHORT_UNKNOWN;
	verdict->doubt = why;
}

/* Whether the site ends what it allocates, as far as contents or windows tell. */
static bool has_ended(const struct judge *judge, const struct cohort_verdict *verdict,
		      const struct site_sums *sums)
{
	const struct imprint_sums *contents = &verdict->contents;

	if (!contents->is_alike && contents->read >= LEAST_READ)
		return !contents->kept ||
		       (contents->late && contents->kept * MOST_KEPT < contents->read);
	if (sums->died > 0.98 * sums->followed)
		return true;
	return sums->again >= 3 && sums->again > judge->share / 2 * (sums->followed - sums->died);
}

static void judge_ended(struct cohort_verdict *verdict, const struct site_sums *sums)
{
	if (sums->size_after > 1.2 * sums->size_before && sums->size_before > 0)
		return doubt(verdict, COHORT_RESIZED);
	verdict->state = COHORT_BOUNDED;
	if (verdict->outlived < 0.5 || (verdict->life_ns && verdict->life_ns < BRIEF_NS) ||
	    (verdict->contents.life_ns && verdict->contents.life_ns < BRIEF_NS))
		verdict->state = COHORT_CHURN;
}

/* By contents of blocks that can be told apart. `newer` are those of the newer half. */
static void judge_contents(const struct judge *judge, const struct imprint_sums *newer,
			   const struct site_sums *sums, struct cohort_verdict *verdict)
{
	const struct imprint_sums *older = &verdict->contents;
	double share = mean(older->kept, older->read);

	if (older->elders < LEAST_READ || older->late * MOST_LATE > older->elders ||
	    older->has_oldest_ended || newer->kept * 10 < newer->read * 7 * share)
		return doubt(verdict, older->kept < older->read ? COHORT_MIXED : COHORT_TOO_YOUNG);
	/* Dead blocks that nobody uses again look as if they were kept. Windows see their deaths.
	 */
	if (sums->again >= 2 && sums->again > judge->share / 4 * (sums->followed - sums->died))
		return doubt(verdict, COHORT_MIXED);
	verdict->state = COHORT_GROWING;
	/* A cache that has turned over keeps no more than half of those that lived for a quarter
	 * of the time. */
	verdict->confidence =
		1 - binomial_at_least(older->elders - older->late, older->elders, 0.5);
	scale_rate(verdict, binomial_low(older->kept, older->read, 0.025), share,
		   1 - binomial_low(older->read - older->kept, older->read, 0.025));
}

/* By windows alone, where contents say nothing. */
static void judge_silence(struct cohort_verdict *verdict, const struct cohort_site *site,
			  const struct site_sums *sums)
{
	double chance = poisson_at_most(sums->again, verdict->expected), others = 0;
	double low = 1 - poisson_high(sums->again, 0.025) / verdict->expected;

	if (verdict->others_again >= 0)
		others = pow(1 - verdict->others_again, site->outlived_windows / 2.0);
	if (verdict->watched_ns < ALIKE_WATCHED_NS || chance > UNLIKELY || others > UNLIKELY ||
	    low <= 0)
		return doubt(verdict, sums->again > 0 ? COHORT_MIXED : COHORT_TOO_YOUNG);
	verdict->state = COHORT_GROWING;
	verdict->confidence = 1 - fmax(chance, others);
	scale_rate(verdict, low, 1 - sums->again / verdict->expected, 1);
}

static void judge_site(const struct judge *judge, const struct cohort_site *site,
		       struct cohort_verdict *ret)
{
	uint64_t age = judge->now_ns > site->first_ns ? judge->now_ns - site->first_ns : 0;
	uint64_t half_ns = judge->now_ns - age / 2;
	struct site_sums sums = sum_site(judge->cohort, site, half_ns);
	struct imprint_sums newer = imprints__sum(&site->imprints, half_ns + 1,
						  judge->now_ns - age / 8, 0, judge->now_ns);

	*ret = (struct cohort_verdict){
		.stack = site->stack,
		.layer = site->layer,
		.watched_ns = age,
		.born = sums.born,
		.bytes = sums.bytes,
		.outlived = 1 - mean(sums.died, sums.followed),
		.life_ns = sums.died >= LEAST_BORN ? site->exposed_ns / sums.died : 0,
		.followed = sums.old_survivors,
		.again = sums.old_again,
		.expected = expected_again(judge, site, &sums),
		.others_again = others_again(judge, &sums),
		.contents = imprints__sum(&site->imprints, 0, half_ns, age / 4, judge->now_ns),
	};
	if (sums.born < LEAST_BORN || age < LEAST_WATCHED_NS)
		return doubt(ret, COHORT_TOO_FEW);
	if (has_ended(judge, ret, &sums))
		return judge_ended(ret, &sums);
	if (chance_of_silence(judge->cohort, site) < UNLIKELY) {
		ret->state = COHORT_STARTUP;
		return;
	}
	if (site->windows < LEAST_BORN || chance_of_silence(judge->cohort, site) < 0.05)
		return doubt(ret, COHORT_TOO_FEW);
	tell_rate(judge, site, ret);
	if (ret->rate_low * MOST_SPREAD < ret->rate_high || ret->rate_low <= 0)
		doubt(ret, COHORT_TOO_FEW);
	else if (!ret->contents.is_alike && ret->contents.read >= LEAST_READ)
		judge_contents(judge, &newer, &sums, ret);
	else
		judge_silence(ret, site, &sums);
	if (ret->state == COHORT_GROWING && judge->growth_high >= 0 &&
	    ret->rate_low > judge->growth_high)
		doubt(ret, COHORT_PROCESS);
	if (ret->state == COHORT_GROWING && ret->rate_high < judge->growth_high / MOST_MINOR)
		doubt(ret, COHORT_MINOR);
	if (ret->state != COHORT_GROWING)
		ret->rate = ret->rate_low = ret->rate_high = ret->confidence = 0;
}

static int by_growth(const void *a, const void *b)
{
	const struct cohort_verdict *left = a, *right = b;

	if (left->rate_low != right->rate_low)
		return left->rate_low < right->rate_low ? 1 : -1;
	if (left->bytes != right->bytes)
		return left->bytes < right->bytes ? 1 : -1;
	return (left->stack > right->stack) - (left->stack < right->stack);
}

int cohort__judge(const struct cohort *cohort, uint64_t now_ns, double growth_high,
		  struct cohort_verdicts *ret)
{
	struct judge judge = {
		.cohort = cohort,
		.now_ns = now_ns,
		.growth_high = growth_high,
		.share = mean(cohort->traced_ns, cohort->last_ns - cohort->first_ns),
	};
	struct cohort_verdicts verdicts = {0};
	struct cohort_verdict verdict;

	sum_classes(&judge);
	for (size_t i = 0; i < cohort->sites.cnt; i++) {
		judge_site(&judge, cohort->sites.items[i], &verdict);
		if (array_push(&verdicts.items, verdict)) {
			cohort_verdicts__free(&verdicts);
			return -ENOMEM;
		}
	}
	if (verdicts.items.cnt)
		qsort(verdicts.items.items, verdicts.items.cnt, sizeof(verdict), by_growth);
	*ret = verdicts;
	return 0;
}

void cohort_verdicts__free(struct cohort_verdicts *verdicts)
{
	array_free(&verdicts->items);
}

const char *cohort_state__name(enum cohort_state state)
{
	static const char *const names[COHORT_STATE_CNT] = {
		"unknown", "growing", "bounded", "startup", "churn",
	};

	return state < COHORT_STATE_CNT ? names[state] : "unknown";
}

const char *cohort_doubt__name(enum cohort_doubt doubt)
{
	static const char *const names[COHORT_DOUBT_CNT] = {
		"certain", "too_few", "too_young", "mixed", "resized", "process", "minor",
	};

	return doubt < COHORT_DOUBT_CNT ? names[doubt] : "unknown";
}
