/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "python/site_renew.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "include/python.h"
#include "python/build_frames.h"
#include "python/build_symbols.h"
#include "python/site_slots.h"
#include "python/site_trail.h"

#define MAX_BODY 96	    /* bytes of _Py_NewReference; the longest seen is 52 */
#define MAX_TRACER_STEPS 40 /* from the load of a function's address to its call */

/* The functions that each new object is given to. */
struct callee {
	uint64_t vaddr;		 /* 0 = not here */
	struct site_slots slots; /* where other calls find it */
};

/*
 * The word that holds whom to call for each object (3.13 and later): at an address, or at a
 * distance from what the dynamic linker writes to another word.
 */
struct tracer {
	bool is_known;
	uint64_t slot; /* 0 = `at` is the address */
	int64_t at;
};

struct search {
	const struct elf_image *image;
	const struct site_code *code;
	struct site_window *window;
	struct site_trail *trail;
	struct callee reference; /* _Py_NewReference */
	struct callee trace;	 /* _PyTraceMalloc_NewReference */
	struct tracer tracer;
	ARRAY(struct frame_range) left_out; /* functions that make frames */
	struct renew_sites *sites;
};

/* ---- who is called --------------------------------------------------------------------------- */

static bool has_slot(const struct callee *callee, uint64_t vaddr)
{
	for (size_t i = 0; i < callee->slots.vaddrs.cnt; i++)
		if (callee->slots.vaddrs.items[i] == vaddr)
			return true;
	return false;
}

/* jmp or call *disp(%rip): the word that it goes through. */
static bool find_indirect(const struct code_area *area, size_t at, const struct site_insn *insn,
			  uint64_t *ret_slot)
{
	uint8_t kind = insn->modrm >> 3 & 7;
	int32_t disp;

	if (insn->map != SITE_MAP_ONE || insn->op != 0xff || (kind != 2 && kind != 4) ||
	    (insn->modrm & 0xc7) != 5)
		return false;
	memcpy(&disp, area->bytes + at + insn->disp_at, sizeof(disp));
	*ret_slot = area->vaddr + at + insn->len + (uint64_t)(int64_t)disp;
	return true;
}

/* The word that a stub of the procedure linkage table jumps through. */
static bool find_stub(const struct site_code *code, uint64_t vaddr, uint64_t *ret_slot)
{
	const struct code_area *area;
	struct site_insn insn;
	size_t at;

	area = site_code__find(code, vaddr, &at);
	if (!area || !code_area__decode(area, at, &insn))
		return false;
	if (x86_opcode__is_endbr64(area->bytes + at, area->len - at)) {
		at += insn.len;
		if (at >= area->len || !code_area__decode(area, at, &insn))
			return false;
	}
	return find_indirect(area, at, &insn, ret_slot);
}

/* Where the direct call, or jump, at `at` goes. */
static bool find_target(const struct code_area *area, size_t at, const struct site_insn *insn,
			uint64_t *ret)
{
	if (insn->map != SITE_MAP_ONE || (insn->op != 0xe8 && insn->op != 0xe9 && insn->op != 0xeb))
		return false;
	site_insn__control(insn, area->bytes + at, area->vaddr + at, ret);
	return true;
}

static bool is_callee(const struct site_code *code, const struct callee *callee, uint64_t target)
{
	uint64_t slot;

	if (callee->vaddr && target == callee->vaddr)
		return true;
	return callee->slots.vaddrs.cnt && find_stub(code, target, &slot) && has_slot(callee, slot);
}

/* Whether the instruction passes control on to it. */
static bool calls(const struct site_code *code, const struct callee *callee,
		  const struct code_area *area, size_t at, const struct site_insn *insn)
{
	uint64_t target;

	if (find_target(area, at, insn, &target))
		return is_callee(code, callee, target);
	/* A stub is no caller. */
	return !(area->marks[at] & CODE_ENTRY) && find_indirect(area, at, insn, &target) &&
	       has_slot(callee, target);
}

/* jmp or call *reg. */
static bool is_by_register(const struct site_insn *insn, enum gpr *ret)
{
	uint8_t kind = insn->modrm >> 3 & 7;

	if (insn->map != SITE_MAP_ONE || insn->op != 0xff || (kind != 2 && kind != 4) ||
	    insn->modrm >> 6 != 3)
		return false;
	*ret = (insn->modrm & 7) | (insn->rex & 1) << 3;
	return true;
}

/* Finds the word that a value was loaded from. */
static bool read_tracer(const struct values *values, struct value value, struct tracer *ret)
{
	const struct symbol *load = values__as_load(values, value, 8), *base;

	if (!load)
		return false;
	*ret = (struct tracer){.is_known = true, .at = load->a.add};
	if (value__is_const(load->a))
		return true;
	base = values__as_load(values, value__plus(load->a, -load->a.add), 8);
	if (!base || !value__is_const(base->a))
		return false;
	ret->slot = (uint64_t)base->a.add;
	return true;
}

/*
 * _Py_NewReference has one call in it, of _PyTraceMalloc_NewReference (3.9 to 3.12), or of what the
 * interpreter was told to call.
 */
static void read_reference(struct search *search)
{
	size_t at, end, places[MAX_WINDOW], cnt = 0;
	struct site_window *window = search->window;
	const struct code_area *area;
	struct tracer tracer;
	struct site_insn insn;
	uint64_t target, slot;
	enum gpr reg;

	area = site_code__find(search->code, search->reference.vaddr, &at);
	if (!area)
		return;
	end = area->len - at > MAX_BODY ? at + MAX_BODY : area->len;
	for (; at < end && cnt < MAX_WINDOW && code_area__decode(area, at, &insn); at += insn.len) {
		places[cnt++] = at;
		if (insn.op == 0xe8 && find_target(area, at, &insn, &target)) {
			if (!search->trace.vaddr && !find_stub(search->code, target, &slot))
				search->trace.vaddr = target;
			return;
		}
		if (is_by_register(&insn, &reg)) {
			if (site_window__run(window, area, places, cnt) &&
			    read_tracer(&window->values, window->insns[cnt - 1].regs[reg], &tracer))
				search->tracer = tracer;
			return;
		}
	}
}

/* Whether the instruction loads what looks like it; few others have so long a displacement. */
static bool may_load_tracer(const struct tracer *tracer, const struct code_area *area, size_t at)
{
	struct site_insn insn;
	int32_t disp;

	if (!code_area__decode(area, at, &insn) || insn.disp_len != sizeof(disp))
		return false;
	memcpy(&disp, area->bytes + at + insn.disp_at, sizeof(disp));
	return !tracer->slot || disp == tracer->at;
}

/* Whether the instruction calls the tracer. */
static bool calls_tracer(struct search *search, const struct site_sources *sources, size_t at,
			 const struct site_insn *insn)
{
	struct site_window *window = search->window;
	struct site_trail *trail = search->trail;
	struct tracer tracer;
	enum gpr reg;

	if (!search->tracer.is_known || !is_by_register(insn, &reg))
		return false;
	site_trail__begin(trail, sources, at, reg, MAX_TRACER_STEPS);
	while (site_trail__next(trail)) {
		if (!may_load_tracer(&search->tracer, sources->area, trail->places[trail->load]) ||
		    !site_window__run(window, sources->area, trail->places, trail->place_cnt))
			continue;
		if (read_tracer(&window->values, window->insns[window->cnt - 1].regs[reg],
				&tracer) &&
		    tracer.slot == search->tracer.slot && tracer.at == search->tracer.at)
			return true;
	}
	return false;
}

static int find_callee(const struct search *search, const char *name, struct callee *callee)
{
	struct build_place place = {.name = name};
	int err;

	err = build_symbols__find(search->image, false, &place, 1);
	callee->vaddr = place.vaddr;
	return err ? err : site_slots__add(search->image, name, &callee->slots);
}

/* ---- functions that make frames -------------------------------------------------------------- */

static int leave_out(struct search *search, const struct frame_index *index, uint64_t vaddr)
{
	struct frame_range range;

	if (!vaddr || !frame_index__find(index, vaddr, &range))
		return 0;
	return array_push(&search->left_out, range);
}

/* PyFrame_New itself, and what it calls: the body of it is a function that it shares. */
static int leave_out_called(struct search *search, const struct frame_index *index, uint64_t vaddr)
{
	const struct code_area *area;
	struct frame_range range;
	struct site_insn insn;
	uint64_t target;
	size_t at, end;
	int err = 0;

	area = site_code__find(search->code, vaddr, &at);
	if (!area || !frame_index__find(index, vaddr, &range) ||
	    range.end - area->vaddr > area->len)
		return 0;
	end = range.end - area->vaddr;
	for (; at < end && !err && code_area__decode(area, at, &insn); at += insn.len)
		if (insn.op == 0xe8 && find_target(area, at, &insn, &target))
			err = leave_out(search, index, target);
	return err;
}

static int find_left_out(struct search *search)
{
	struct build_place places[] = {{.name = "PyFrame_New"}, {.name = "_PyFrame_New_NoTrack"}};
	struct frame_index index;
	int err;

	err = build_symbols__find(search->image, false, places, 2);
	if (err || frame_index__open(search->image, &index))
		return err;
	for (size_t i = 0; i < 2 && !err; i++)
		err = leave_out(search, &index, places[i].vaddr);
	if (!err && places[0].vaddr)
		err = leave_out_called(search, &index, places[0].vaddr);
	frame_index__close(&index);
	return err;
}

static bool is_left_out(const struct search *search, uint64_t vaddr)
{
	for (size_t i = 0; i < search->left_out.cnt; i++)
		if (vaddr >= search->left_out.items[i].start &&
		    vaddr < search->left_out.items[i].end)
			return true;
	return false;
}

/* ---- whether it is one ----------------------------------------------------------------------- */

/* The list's head is replaced, by the next one or by nothing. */
static bool takes_head(const struct values *values, struct value head)
{
	for (uint16_t i = 0; i < values->store_cnt; i++)
		if (values->stores[i].size == 8 && value__is_same(values->stores[i].addr, head))
			return true;
	return false;
}

static bool is_counted(const struct values *values, const struct stored *stored, int64_t change)
{
	const struct symbol *before =
		values__as_load(values, value__plus(stored->value, -change), (uint8_t)stored->size);

	return before && value__is_same(before->a, stored->addr);
}

/* The list's length; 8 bytes at an object's begin are its reference count. */
static bool takes_length(const struct values *values)
{
	for (uint16_t i = 0; i < values->store_cnt; i++) {
		const struct stored *stored = &values->stores[i];

		if (stored->size != 4 && (stored->size != 8 || !stored->addr.add))
			continue;
		if (!value__is_initial(stored->addr, GPR_RSP) && is_counted(values, stored, -1))
			return true;
	}
	return false;
}

/* pymalloc's fast path looks alike, but counts up (site_match.c). */
static bool is_pool(const struct values *values, struct value head)
{
	struct value ref = value__plus(head, PYTHON_POOL_REF - PYTHON_POOL_FREE);

	for (uint16_t i = 0; i < values->store_cnt; i++) {
		const struct stored *stored = &values->stores[i];

		if (stored->size == 4 && value__is_same(stored->addr, ref) &&
		    (is_counted(values, stored, 1) ||
		     value__is_same(stored->value, value_const(1))))
			return true;
	}
	return false;
}

static bool is_recycled(const struct site_window *window, struct value object)
{
	const struct symbol *load = values__as_load(&window->values, object, 8);

	if (!load || value__is_initial(load->a, GPR_RSP) || is_pool(&window->values, load->a))
		return false;
	return takes_head(&window->values, load->a) || takes_length(&window->values);
}

/* ---- the place ------------------------------------------------------------------------------- */

static bool is_known(const struct window_insn *insn, struct value object)
{
	for (int reg = 0; reg < GPR_CNT; reg++)
		if (value__is_same(insn->regs[reg], object))
			return true;
	return false;
}

/*
 * The last one that is cheap: then it has been seen that there is an object at all. What comes
 * behind a place where ways meet runs for others, too.
 */
static bool choose(const struct search *search, struct value object, size_t last,
		   struct site_place *ret)
{
	const struct site_window *window = search->window;
	struct site_place place;
	int best = 0, rating;

	for (size_t i = 0; i <= last; i++) {
		if (!is_known(&window->insns[i], object))
			continue;
		if (site_sources__is_join(search->trail->sources, window->insns[i].at))
			break;
		rating = site_place__rate(window, object, i, &place);
		if (rating && rating >= best) {
			best = rating;
			*ret = place;
		}
	}
	return best > 0;
}

static int look_at_way(struct search *search, const struct code_area *area, bool is_inlined)
{
	struct site_window *window = search->window;
	struct renew_site site = {.area = area};
	struct value object;
	size_t last;

	if (!site_window__run(window, area, search->trail->places, search->trail->place_cnt))
		return 0;
	last = window->cnt - 1;
	object = window->insns[last].regs[GPR_RDI];
	if (!is_recycled(window, object))
		return 0;
	/* What is inlined begins with a branch that is taken only while tracemalloc traces. */
	while (is_inlined && last > 0 && window->insns[last].control != SITE_BRANCH)
		last--;
	if (!choose(search, object, last, &site.place) ||
	    is_left_out(search, area->vaddr + site.place.at))
		return 0;
	return array_push(&search->sites->list, site);
}

static int look_at_call(struct search *search, const struct site_sources *sources, size_t at,
			bool is_inlined)
{
	int err = 0;

	site_trail__begin(search->trail, sources, at, GPR_RDI, MAX_TRAIL_STEPS);
	while (!err && site_trail__next(search->trail))
		err = look_at_way(search, sources->area, is_inlined);
	return err;
}

static int look_through(struct search *search, const struct code_area *area)
{
	struct site_sources sources;
	struct site_insn insn;
	int err;

	err = site_sources__index(area, &sources);
	if (err)
		return err;
	for (size_t at = 0; at < area->len && !err; at++) {
		if (!(area->marks[at] & CODE_LEAVES) || !code_area__decode(area, at, &insn))
			continue;
		if (calls(search->code, &search->reference, area, at, &insn))
			err = look_at_call(search, &sources, at, false);
		else if (calls(search->code, &search->trace, area, at, &insn))
			err = look_at_call(search, &sources, at, true);
		else if (calls_tracer(search, &sources, at, &insn))
			err = look_at_call(search, &sources, at, true);
	}
	site_sources__free(&sources);
	return err;
}

int site_renew__find(const struct elf_image *image, const struct site_code *code,
		     struct site_window *window, struct renew_sites *sites)
{
	struct search search = {.image = image, .code = code, .window = window, .sites = sites};
	int err;

	search.trail = malloc(sizeof(*search.trail));
	if (!search.trail)
		return -ENOMEM;
	err = find_callee(&search, "_Py_NewReference", &search.reference);
	if (!err)
		err = find_callee(&search, "_PyTraceMalloc_NewReference", &search.trace);
	if (!err && search.reference.vaddr)
		read_reference(&search);
	err = err ? err : find_left_out(&search);
	for (size_t i = 0; i < code->areas.cnt && !err; i++)
		err = look_through(&search, &code->areas.items[i]);
	site_slots__free(&search.reference.slots);
	site_slots__free(&search.trace.slots);
	array_free(&search.left_out);
	free(search.trail);
	return err;
}
