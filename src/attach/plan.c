/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "attach/plan.h"

#include <string.h>

int link_mode__choose(const struct features *features, enum link_mode forced, const char **ret_why)
{
	static const struct {
		enum link_mode mode;
		enum feature feature;
		const char *why;
	} modes[] = {
		{LINK_SESSION, FEAT_UPROBE_SESSION, "one probe sees a call and its return"},
		{LINK_MULTI, FEAT_UPROBE_MULTI,
		 "no session probes in this kernel (they came with 6.13)"},
		{LINK_PERF, FEAT_PERF_LINK, "no uprobe_multi in this kernel (it came with 6.6)"},
	};

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (forced && modes[i].mode != forced)
			continue;
		if (!features__has(features, modes[i].feature)) {
			if (forced)
				return features->err[modes[i].feature];
			continue;
		}
		*ret_why = forced ? "asked for by option" : modes[i].why;
		return modes[i].mode;
	}
	return features->err[FEAT_PERF_LINK];
}

static int add_step(struct attach_plan *plan, const struct elf_allocs *allocs, enum probe_role role,
		    enum link_mode mode)
{
	struct plan_step *step = &plan->steps[plan->step_cnt];

	step->role = role;
	step->mode = mode;
	for (size_t i = 0; i < allocs->sites.cnt; i++) {
		const struct alloc_site *site = &allocs->sites.items[i];
		uint64_t flags = site->cost == PROBE_STEPPED ? COOKIE_STEPPED : 0;

		if ((ALLOC_FN_OP(site->cookie) == ALLOC_OP_FREE) != (role == ROLE_FREE))
			continue;
		if (array_push(&step->offsets, site->probe_off) ||
		    array_push(&step->cookies, site->cookie | flags))
			return -ENOMEM;
	}
	if (step->offsets.cnt)
		plan->step_cnt++;
	return 0;
}

int attach_plan__make(const struct elf_allocs *allocs, enum link_mode mode, struct attach_plan *ret)
{
	struct attach_plan plan = {.mode = mode};
	int err;

	for (size_t i = 0; i < allocs->sites.cnt; i++) {
		if (allocs->sites.items[i].cost == PROBE_EMULATED)
			plan.emulated_cnt++;
		else
			plan.stepped_cnt++;
	}
	/* A session is all that multi links can do, and free has no return to see. */
	err = add_step(&plan, allocs, ROLE_FREE, mode == LINK_SESSION ? LINK_MULTI : mode);
	if (!err && mode == LINK_SESSION) {
		err = add_step(&plan, allocs, ROLE_SESSION, mode);
	} else if (!err) {
		err = add_step(&plan, allocs, ROLE_RETURN, mode);
		if (!err)
			err = add_step(&plan, allocs, ROLE_ENTER, mode);
	}
	if (err)
		attach_plan__free(&plan);
	else
		*ret = plan;
	return err;
}

void attach_plan__free(struct attach_plan *plan)
{
	for (size_t i = 0; i < sizeof(plan->steps) / sizeof(plan->steps[0]); i++) {
		array_free(&plan->steps[i].offsets);
		array_free(&plan->steps[i].cookies);
	}
	memset(plan, 0, sizeof(*plan));
}
