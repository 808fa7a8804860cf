/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/window_plan.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#define HALF_AGE_NS (WINDOW_MAX_AGE_NS / 2)

/* A suspect's windows come about so far from each other, further when there are many: one takes
 * some 80 ms to make and remove. */
#define TURN_NS (2 * NS_PER_SEC)
#define TURN_EACH_NS (250 * NS_PER_MS)

/* Parts of a minute's budget: the most that a window is planned to cost, and what the least is to
 * see beyond the making of its probes. */
#define PLAN_MAX (1.0 / 40)
#define PLAN_MIN (1.0 / 1000)

#define LENGTH_MAX_NS (4 * NS_PER_SEC)
#define GAP_MAX 4 /* times its mean */

/* Windows over which an account is made even; the most that its logarithm changes a gap by. */
#define MAKE_UP 8
#define MAKE_UP_MAX 3.0

/* Exact tracing: begins when it takes half a share, as seen in a window long enough; what it takes
 * is looked at in turns of so long. */
#define EXACT_SHARE 0.5
#define EXACT_TURN_NS (500 * NS_PER_MS)

/* Who grows so much more than another takes its place: less is within the error of a measurement,
 * and a place that is lost and won in turn never has a window. */
#define PLACE_FOR 1.25

/* Of what is free: with all of it, windows would come when there is room again, not by chance. */
#define PACE 0.9

#define HOLD 1.25

/* Of a minute's budget: what a window may cost at least, or the others and the tool's own work
 * would leave no room for it. */
#define MOST_PART 0.25

/* No use to ask more often whether there is room. */
#define WAIT_MIN_NS (10 * NS_PER_MS)

void window_plan__init(struct window_plan *plan, struct budget *budget,
		       const uint8_t key[static SIPHASH_BYTES])
{
	*plan = (struct window_plan){.budget = budget, .time_ns = budget->time_ns};
	memcpy(plan->key, key, SIPHASH_BYTES);
}

/* Returns a number by chance from an exponential distribution of mean 1. */
static double draw_gap(struct window_plan *plan)
{
	uint8_t bytes[SIPHASH_BYTES];
	struct siphash hash;
	uint64_t number;

	siphash__init(&hash, plan->key);
	siphash__update(&hash, &plan->drawn_cnt, sizeof(plan->drawn_cnt));
	siphash__final(&hash, bytes);
	plan->drawn_cnt++;
	memcpy(&number, bytes, sizeof(number));
	return fmin(-log(((number >> 11) + 1) * 0x1p-53), GAP_MAX);
}

/* ---- shares ---- */

static double least_cost_of(const struct window_plan *plan, double attach_ns)
{
	return 2 * attach_ns + PLAN_MIN * budget__minute_ns(plan->budget);
}

static double least_cost_ns(const struct window_plan *plan, const struct window_suspect *suspect)
{
	return least_cost_of(plan, suspect->facts.attach_ns);
}

/* Returns what each ns brings to `suspect` when `free_rate` is shared. */
static void set_shares(struct window_plan *plan, double free_rate)
{
	double floors = 0, growth = 0, cut;

	for (size_t i = 0; i < plan->cnt; i++) {
		floors += least_cost_ns(plan, &plan->suspects[i]) / HALF_AGE_NS;
		growth += plan->suspects[i].facts.growth_bytes_per_h;
	}
	/* More suspects than the budget can bear: half of it still goes where growth is. */
	cut = floors > free_rate / 2 ? free_rate / 2 / floors : 1;
	for (size_t i = 0; i < plan->cnt; i++) {
		struct window_suspect *suspect = &plan->suspects[i];
		double part =
			growth > 0 ? suspect->facts.growth_bytes_per_h / growth : 1.0 / plan->cnt;

		suspect->share = cut * least_cost_ns(plan, suspect) / HALF_AGE_NS +
				 part * (free_rate - cut * floors);
	}
}

/* What exact tracing leaves of its shares goes to the others, as their shares are. */
static void set_pay(struct window_plan *plan, double free_rate)
{
	double bound = 0, others = 0;

	for (size_t i = 0; i < plan->cnt; i++) {
		if (plan->suspects[i].is_exact)
			bound += window_cost__rate(&plan->suspects[i].cost);
		else
			others += plan->suspects[i].share;
	}
	plan->budget->bound_rate = bound;
	for (size_t i = 0; i < plan->cnt; i++) {
		struct window_suspect *suspect = &plan->suspects[i];

		suspect->pay = suspect->is_exact || others <= 0
				       ? 0
				       : suspect->share / others * fmax(free_rate - bound, 0);
	}
}

/* What the dearest of them costs at least has to fit into what can be saved, and some more, as
 * windows are watched until nothing is left. */
static void hold_dearest(struct window_plan *plan)
{
	double dearest_ns = 0;

	for (size_t i = 0; i < plan->cnt; i++)
		dearest_ns = fmax(dearest_ns, least_cost_ns(plan, &plan->suspects[i]));
	budget__hold(plan->budget, HOLD * dearest_ns);
}

/* Brings shares up to date and fills the accounts up to now. */
static void pass_time(struct window_plan *plan)
{
	double free_rate = PACE * budget__free_rate(plan->budget);
	uint64_t passed_ns = plan->budget->time_ns - plan->time_ns;

	hold_dearest(plan);
	set_shares(plan, free_rate);
	set_pay(plan, free_rate);
	for (size_t i = 0; i < plan->cnt; i++) {
		struct window_suspect *suspect = &plan->suspects[i];
		double most_ns = fmax(suspect->pay * BUDGET_MINUTE_NS, suspect->due_ns);

		suspect->account_ns += suspect->pay * passed_ns;
		suspect->account_ns = fmin(suspect->account_ns, most_ns);
	}
	plan->time_ns = plan->budget->time_ns;
}

/* ---- suspects ---- */

static struct window_suspect *find(struct window_plan *plan, uint64_t id)
{
	for (size_t i = 0; i < plan->cnt; i++) {
		if (plan->suspects[i].facts.id == id)
			return &plan->suspects[i];
	}
	return NULL;
}

double window_plan__cost_ns(const struct window_plan *plan, uint64_t id, uint64_t hits)
{
	for (size_t i = 0; i < plan->cnt; i++)
		if (plan->suspects[i].facts.id == id)
			return window_cost__ns(&plan->suspects[i].cost, hits);
	return 0;
}

bool window_plan__has(const struct window_plan *plan, uint64_t id)
{
	for (size_t i = 0; i < plan->cnt; i++) {
		if (plan->suspects[i].facts.id == id)
			return true;
	}
	return false;
}

bool window_plan__can_pay(const struct window_plan *plan, double attach_ns)
{
	return HOLD * least_cost_of(plan, attach_ns) <= MOST_PART * budget__minute_ns(plan->budget);
}

void window_plan__forget(struct window_plan *plan, uint64_t id)
{
	struct window_suspect *suspect = find(plan, id);
	size_t place, last = plan->cnt - 1;

	if (!suspect)
		return;
	place = suspect - plan->suspects;
	if (plan->is_open && plan->open == place)
		plan->is_open = false;
	if (plan->is_open && plan->open == last)
		plan->open = place;
	*suspect = plan->suspects[last];
	plan->cnt--;
}

/* Returns the suspect that grows least of those that nothing is attached to, or NULL. */
static struct window_suspect *find_least(struct window_plan *plan)
{
	struct window_suspect *least = NULL;

	for (size_t i = 0; i < plan->cnt; i++) {
		struct window_suspect *suspect = &plan->suspects[i];

		if (suspect->is_exact || (plan->is_open && plan->open == i))
			continue;
		if (!least || suspect->facts.growth_bytes_per_h < least->facts.growth_bytes_per_h)
			least = suspect;
	}
	return least;
}

int window_plan__suspect(struct window_plan *plan, const struct suspect_facts *facts)
{
	const struct window_cost *known = plan->known.ns_per_hit > 0 ? &plan->known : NULL;
	struct window_suspect *suspect = find(plan, facts->id), *least;

	if (!suspect) {
		if (plan->cnt == WINDOW_SUSPECTS) {
			least = find_least(plan);
			if (!least ||
			    facts->growth_bytes_per_h < PLACE_FOR * least->facts.growth_bytes_per_h)
				return -ENOSPC;
			window_plan__forget(plan, least->facts.id);
		}
		suspect = &plan->suspects[plan->cnt++];
		*suspect = (struct window_suspect){.last_ns = plan->budget->time_ns};
		window_cost__init(&suspect->cost, facts->ns_per_hit, known);
	}
	suspect->facts = *facts;
	suspect->facts.growth_bytes_per_h = fmax(facts->growth_bytes_per_h, 0);
	suspect->cost.ns_per_hit = facts->ns_per_hit;
	return 0;
}

/* ---- windows ---- */

static uint64_t age_ns(const struct window_plan *plan, const struct window_suspect *suspect)
{
	return plan->time_ns - suspect->last_ns;
}

static double window_cost_ns(const struct window_plan *plan, const struct window_suspect *suspect)
{
	double least_ns = least_cost_ns(plan, suspect), turn_ns = TURN_EACH_NS * plan->cnt;
	double most_ns = fmax(PLAN_MAX * budget__minute_ns(plan->budget), least_ns);

	if (!suspect->cost.knows_hits || age_ns(plan, suspect) > HALF_AGE_NS)
		return least_ns;
	return fmin(fmax(suspect->pay * fmax(turn_ns, TURN_NS), least_ns), most_ns);
}

static bool fits_exactly(const struct window_plan *plan, const struct window_suspect *suspect)
{
	double rate = window_cost__rate(&suspect->cost);

	return suspect->cost.knows_hits && suspect->cost.longest_ns >= EXACT_TURN_NS &&
	       rate <= EXACT_SHARE * suspect->share && budget__has_room_for(plan->budget, rate);
}

static void order_exact(struct window_plan *plan, struct window_suspect *suspect,
			struct window_order *ret)
{
	suspect->is_exact = true;
	suspect->charged_ns = 0;
	suspect->bill = (struct window_bill){0};
	suspect->last_ns = plan->time_ns;
	budget__spend_own(plan->budget, suspect->facts.attach_ns);
	*ret = (struct window_order){.id = suspect->facts.id, .is_exact = true};
}

static void order_window(struct window_plan *plan, struct window_suspect *suspect, double cost_ns,
			 struct window_order *ret)
{
	uint64_t max_ns = HALF_AGE_NS / 2 / plan->cnt;
	double seen_ns = cost_ns - suspect->facts.attach_ns;

	if (max_ns > LENGTH_MAX_NS)
		max_ns = LENGTH_MAX_NS;
	*ret = (struct window_order){
		.id = suspect->facts.id,
		.length_ns = window_cost__length_ns(&suspect->cost, seen_ns, max_ns),
		.cost_ns = cost_ns,
	};
	budget__spend_own(plan->budget, suspect->facts.attach_ns);
	suspect->charged_ns = 0;
	plan->attach_ns = suspect->facts.attach_ns;
	plan->order = *ret;
	plan->is_open = true;
	plan->open = suspect - plan->suspects;
	plan->opened_ns = plan->time_ns;
	plan->ended_ns = 0;
}

/*
 * Orders suspects: above 0 = in how many ns its window is due. Of those that are, who has saved for
 * longer goes first, a minute at most, and before all of them who is overdue: when time is short
 * rather than the budget, only that makes sure that everybody has a turn.
 */
static double rank_ns(const struct window_plan *plan, const struct window_suspect *suspect)
{
	double aged_ns = (double)HALF_AGE_NS - age_ns(plan, suspect), due_in_ns;

	if (aged_ns <= 0)
		return aged_ns - BUDGET_MINUTE_NS;
	if (suspect->pay <= 0)
		return aged_ns;
	due_in_ns = (suspect->due_ns - suspect->account_ns) / suspect->pay;
	if (due_in_ns > 0)
		return fmin(due_in_ns, aged_ns);
	return fmin(fmax(-suspect->account_ns / suspect->pay, -(double)BUDGET_MINUTE_NS), 0);
}

/* Returns the suspect that is first, or NULL when there is none. */
static struct window_suspect *find_next(struct window_plan *plan, double *ret_rank_ns)
{
	struct window_suspect *next = NULL;

	for (size_t i = 0; i < plan->cnt; i++) {
		struct window_suspect *suspect = &plan->suspects[i];
		double rank = rank_ns(plan, suspect);

		if (suspect->is_exact || (next && rank >= *ret_rank_ns))
			continue;
		next = suspect;
		*ret_rank_ns = rank;
	}
	return next;
}

static uint64_t bound_wait(double wait_ns)
{
	return fmin(fmax(wait_ns, WAIT_MIN_NS), BUDGET_MAX_STEP_NS);
}

bool window_plan__next(struct window_plan *plan, struct window_order *ret, uint64_t *ret_wait_ns)
{
	double rank = BUDGET_MAX_STEP_NS, room_ns, cost_ns;
	struct window_suspect *suspect;

	pass_time(plan);
	*ret_wait_ns = WAIT_MIN_NS;
	if (plan->is_open)
		return false;
	suspect = find_next(plan, &rank);
	if (!suspect || rank > 0) {
		*ret_wait_ns = bound_wait(rank);
		return false;
	}
	cost_ns = window_cost_ns(plan, suspect);
	room_ns = budget__room_ns(plan->budget);
	if (room_ns <= 0 || room_ns < cost_ns) {
		*ret_wait_ns = bound_wait((cost_ns - room_ns) / fmax(plan->budget->rate, 1e-9));
		return false;
	}
	if (fits_exactly(plan, suspect))
		order_exact(plan, suspect, ret);
	else
		order_window(plan, suspect, cost_ns, ret);
	return true;
}

/* Spends what hits have cost beyond what is charged already. */
static void charge(struct window_plan *plan, struct window_suspect *suspect, double cost_ns)
{
	budget__spend(plan->budget, cost_ns - suspect->charged_ns);
	suspect->charged_ns = cost_ns;
}

void window_plan__opened(struct window_plan *plan)
{
	plan->opened_ns = plan->budget->time_ns;
}

enum window_state window_plan__watch(struct window_plan *plan, uint64_t hits)
{
	struct window_suspect *suspect = &plan->suspects[plan->open];
	enum window_state state = WINDOW_GOES_ON;
	double cost_ns;

	if (!plan->is_open)
		return WINDOW_OVER;
	cost_ns = window_cost__ns(&suspect->cost, hits);
	charge(plan, suspect, cost_ns);
	if (plan->attach_ns + cost_ns >= WINDOW_CUT * plan->order.cost_ns ||
	    budget__room_ns(plan->budget) <= 0)
		state = WINDOW_TOO_DEAR;
	else if (plan->budget->time_ns - plan->opened_ns >= plan->order.length_ns)
		state = WINDOW_OVER;
	if (state != WINDOW_GOES_ON)
		plan->ended_ns = plan->budget->time_ns;
	return state;
}

/* Learns from a bill and settles what it really was. Returns its cost. */
static double settle(struct window_plan *plan, struct window_suspect *suspect,
		     const struct window_bill *bill, uint64_t open_ns)
{
	double cost_ns = window_cost__learn(&suspect->cost, bill, open_ns);

	charge(plan, suspect, cost_ns);
	suspect->charged_ns = 0;
	suspect->last_ns = plan->budget->time_ns;
	if (bill->busy_ns)
		plan->known = suspect->cost;
	return cost_ns;
}

/*
 * Draws when the next window comes: when what the last one cost is saved again, by chance sooner or
 * later. What chance, and waiting for others, have left in the account or taken from it is made up
 * for over several windows, or gaps would not be by chance.
 */
static void draw_due(struct window_plan *plan, struct window_suspect *suspect, double cost_ns)
{
	double behind = suspect->account_ns / (MAKE_UP * cost_ns);

	cost_ns *= exp(-fmin(fmax(behind, -MAKE_UP_MAX), MAKE_UP_MAX));
	suspect->due_ns = suspect->account_ns + cost_ns * draw_gap(plan);
}

void window_plan__closed(struct window_plan *plan, const struct window_bill *bill, double attach_ns)
{
	struct window_suspect *suspect = &plan->suspects[plan->open];
	uint64_t ended_ns;
	double cost_ns;

	if (!plan->is_open)
		return;
	pass_time(plan);
	ended_ns = plan->ended_ns ? plan->ended_ns : plan->time_ns;
	plan->is_open = false;
	budget__spend_own(plan->budget, attach_ns - plan->attach_ns);
	cost_ns = attach_ns + settle(plan, suspect, bill, ended_ns - plan->opened_ns);
	suspect->account_ns -= cost_ns;
	draw_due(plan, suspect, fmax(cost_ns, PLAN_MIN * budget__minute_ns(plan->budget)));
}

/* ---- exact tracing ---- */

static void add_bill(struct window_bill *sum, const struct window_bill *bill)
{
	double low_ns = sum->lost_low * sum->busy_ns + bill->lost_low * bill->busy_ns;
	double high_ns = sum->lost_high * sum->busy_ns + bill->lost_high * bill->busy_ns;

	sum->hits += bill->hits;
	sum->busy_ns += bill->busy_ns;
	if (sum->busy_ns) {
		sum->lost_low = low_ns / sum->busy_ns;
		sum->lost_high = high_ns / sum->busy_ns;
	}
}

/* Whether what was charged in this turn is more than may be taken without windows. */
static bool is_too_dear(const struct window_plan *plan, const struct window_suspect *suspect)
{
	double share_ns = suspect->share * EXACT_TURN_NS;

	return suspect->charged_ns > WINDOW_CUT * share_ns ||
	       (suspect->charged_ns > share_ns && budget__room_ns(plan->budget) <= 0);
}

bool window_plan__traced(struct window_plan *plan, uint64_t id, const struct window_bill *bill)
{
	struct window_suspect *suspect = find(plan, id);
	bool is_cut;

	if (!suspect)
		return false;
	pass_time(plan);
	if (!suspect->is_exact) {
		budget__spend(plan->budget, window_cost__ns(&suspect->cost, bill->hits));
		return false;
	}
	add_bill(&suspect->bill, bill);
	charge(plan, suspect, window_cost__ns(&suspect->cost, suspect->bill.hits));
	is_cut = is_too_dear(plan, suspect);
	if (age_ns(plan, suspect) < EXACT_TURN_NS && !is_cut)
		return true;
	settle(plan, suspect, &suspect->bill, age_ns(plan, suspect));
	suspect->bill = (struct window_bill){0};
	suspect->is_exact = !is_cut && window_cost__rate(&suspect->cost) <= suspect->share;
	if (!suspect->is_exact)
		draw_due(plan, suspect, least_cost_ns(plan, suspect));
	return suspect->is_exact;
}
