/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A host whose processes' code is looked at, for tests of the sweep's renderers. */
#ifndef LEAKSWEEP_TESTS_UNIT_SWEEP_CODE_SCENE_H
#define LEAKSWEEP_TESTS_UNIT_SWEEP_CODE_SCENE_H

#include "unit/sweep_scene.h"

#define MINUTE (60 * SEC)

struct code_scene {
	struct scene scene; /* its snapshot is the sweep's */
	struct sweep *sweep;
	int rows;
	uint32_t store, handle, rename, python, lost, deep; /* stacks */
};

static inline uint32_t stack_of(struct code_scene *code, const uint32_t *frames, size_t cnt)
{
	uint32_t stack = snapshot__add_stack(code->scene.snap, frames, cnt);

	assert_int_not_equal(stack, SNAP_NONE);
	return stack;
}

#define STACK(code, ...)                                                                           \
	stack_of(code, (const uint32_t[]){__VA_ARGS__},                                            \
		 sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

static inline uint32_t python_frame(struct scene *scene, const char *file, const char *function,
				    uint32_t line)
{
	uint32_t code = snapshot__add_code(scene->snap, file, function, line - 2);
	uint32_t frame = snapshot__add_frame(scene->snap, FRAME_PYTHON, code, line);
	const struct snap_code *item = &scene->snap->codes.items[code];

	assert_true(frame < MAX_SYMBOLS);
	scene->symbols[frame] =
		(struct symbol){.function = item->function, .file = item->file, .line = line};
	return frame;
}

static inline void add_stacks(struct code_scene *code)
{
	static const struct symbol_inline inlines[] = {
		{"std::vector<Entry>::push_back(Entry const&)", "/usr/include/c++/12/bits/vector.h",
		 1287},
	};
	struct scene *scene = &code->scene;
	struct snapshot *snap = scene->snap;
	uint32_t shop = snapshot__add_module(snap, "/opt/shop/bin/shop", 8, 10,
					     (const uint8_t[]){0xbe, 0xef}, 2, -1);
	uint32_t libc = snapshot__add_module(snap, "/usr/lib/x86_64-linux-gnu/libc.so.6", 8, 11,
					     NULL, 0, -1);
	uint32_t cxx = snapshot__add_module(snap, "/usr/lib/libstdc++.so.6", 8, 12, NULL, 0, -1);
	uint32_t op_new = add_frame(scene, cxx, 0xa1000, "operator new(unsigned long)", NULL, 0);
	uint32_t store = add_inlined(scene, shop, 0x1124, "Sessions::store(Session const&)",
				     "/build/shop/src/sessions.cc", 58, inlines, 1);
	uint32_t login = add_frame(scene, shop, 0x1210, "Handler::login(Request const&)",
				   "/build/shop/src/handler.cc", 210);
	uint32_t serve = add_frame(scene, shop, 0x1380, "Server::serve(int)",
				   "/build/shop/src/server.cc", 402);
	uint32_t main = add_frame(scene, shop, 0x1440, "main", "/build/shop/src/main.cc", 31);
	uint32_t start_main = add_frame(scene, libc, 0x29d90, "__libc_start_call_main", NULL, 0);
	uint32_t start = add_frame(scene, shop, 0x1060, "_start", NULL, 0);
	uint32_t xstrdup = add_frame(scene, shop, 0x1510, "remember_name", NULL, 0);
	uint32_t hidden = add_frame(scene, shop, 0x1610, NULL, NULL, 0);
	uint32_t walk = add_frame(scene, shop, 0x1710, "walk", "src/tree.c", 5);
	uint32_t remember = python_frame(scene, "/srv/app/cache.py", "Cache.remember", 42);
	uint32_t view = python_frame(scene, "/srv/app/views.py", "view", 17);
	uint32_t module = python_frame(scene, "/srv/app/main.py", "<module>", 3);

	code->store = STACK(code, op_new, store, login, serve, main, start_main, start);
	code->handle = STACK(code, op_new, login, serve, main, start_main, start);
	code->rename = STACK(code, xstrdup, hidden, main, start_main, start);
	code->python = STACK(code, remember, view, module);
	code->deep = STACK(code, walk, walk, walk, store, login, serve, xstrdup, hidden, login,
			   serve, main);
}

static inline void code_scene__init(struct code_scene *code)
{
	*code = (struct code_scene){.sweep = new_sweep()};
	code->scene.snap = code->sweep->snap;
	add_stacks(code);
	code->sweep->symbols = malloc(sizeof(code->scene.symbols));
	assert_non_null(code->sweep->symbols);
	memcpy(code->sweep->symbols, code->scene.symbols, sizeof(code->scene.symbols));
}

/* Adds a process that grows, each less than the one before. */
static inline struct sweep_code *add_process(struct code_scene *code, const char *comm,
					     double mib_per_hour)
{
	const struct sweep_row row = {
		.pid = 4711 + code->rows,
		.start_ns = SEC,
		.comm = (char *)comm,
		.cgroup = "/system.slice/shop.service",
		.title = "shop.service",
		.is_service = true,
		.anon_bytes = 812 << 20,
		.growth = growing(mib_per_hour),
		.limit_bytes = 64ULL << 30,
		.room_bytes = 20ULL << 30,
		.seconds_to_limit = 400000 * ++code->rows,
	};
	struct sweep_code *item = calloc(1, sizeof(*item));

	assert_non_null(item);
	*item = (struct sweep_code){
		.look = SWEEP_LOOK_WINDOWS,
		.obstacle = strdup(""),
		.watched_ns = 3 * MINUTE,
		.traced_ns = 1200000000,
		.window_cnt = 14,
		.lost_percent = 0.83,
	};
	code->sweep->budget_percent = 1;
	code->sweep->spent_percent = 0.874;
	assert_int_equal(sweep__add(code->sweep, &row), 0);
	assert_true(sweep__set_code(code->sweep, row.pid, row.start_ns, item));
	return item;
}

static inline struct cohort_verdict *add_site(struct sweep_code *code, uint32_t stack,
					      enum cohort_state state, enum cohort_doubt doubt)
{
	const struct sweep_site site = {
		.stack = stack,
		.verdict = {.stack = stack,
			    .layer = LAYER_MALLOC,
			    .state = state,
			    .doubt = doubt,
			    .watched_ns = 3 * MINUTE,
			    .born = 812,
			    .bytes = 3.2 * MIB,
			    .outlived = 1,
			    .others_again = -1},
	};

	assert_int_equal(array_push(&code->sites, site), 0);
	return &code->sites.items[code->sites.cnt - 1].verdict;
}

static inline struct cohort_verdict *add_growing(struct sweep_code *code, uint32_t stack,
						 double mib_per_hour)
{
	struct cohort_verdict *verdict = add_site(code, stack, COHORT_GROWING, COHORT_CERTAIN);

	verdict->rate = mib_per_hour * MIB;
	verdict->rate_low = 0.8 * mib_per_hour * MIB;
	verdict->rate_high = 1.2 * mib_per_hour * MIB;
	verdict->confidence = 0.99998;
	verdict->followed = 121;
	verdict->expected = 11.4;
	return verdict;
}

static inline void add_sites(struct sweep_code *code, enum cohort_state state,
			     enum cohort_doubt doubt, size_t cnt)
{
	while (cnt--)
		add_site(code, 0, state, doubt);
}

static inline void set_ledger(struct sweep_code *code, enum ledger_part part, uint64_t mib)
{
	code->ledger.is_known = true;
	ledger__put(&code->ledger, part, mib << 20);
}

static inline void set_cause(struct sweep_code *code, enum ledger_cause cause, uint64_t mib)
{
	code->cause = (struct ledger_verdict){cause, mib << 20};
	code->cause_ns = 3 * MINUTE;
}

#endif
