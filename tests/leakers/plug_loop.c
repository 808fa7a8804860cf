/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Allocates inside of libraries that come and go.
 *   plug_loop loop NAME LIB [NAME LIB]...  opens, uses and closes each in turn, many times
 *   plug_loop swap NAME LIB NAME LIB       the same, of two that come to lie at one address; slowly
 *                                          at first, so that each has been seen
 *   plug_loop slow NAME LIB [NAME LIB]...  as loop, but keeps each open for a while
 *   plug_loop hold NAME LIB                opens one before READY, uses it, says HALF, waits for a
 *                                          line, uses it again
 */
#include <dlfcn.h>
#include <time.h>

#include "tests/leakers/whole_stacks.h"

#define MAX_PLUGS 4
#define ROUNDS 30
#define USES 20

static struct plug {
	const char *path;
	struct site site;
	char frames[256];
} plugs[MAX_PLUGS];

static size_t plug_cnt, same_place;

SITE_FN static void use_plugin(struct plug *plug, void *(*run)(size_t))
{
	size_t bytes = 100 + (size_t)(plug - plugs);

	for (size_t i = 0; i < USES; i++)
		KEEP(note_alloc(&plug->site, run(bytes), bytes));
}

SITE_FN static void *open_plugin(const struct plug *plug, void *(**ret_run)(size_t))
{
	void *lib = dlopen(plug->path, RTLD_NOW);

	LEAKER_CHECK(lib);
	*ret_run = (void *(*)(size_t))dlsym(lib, "plug_run");
	LEAKER_CHECK(*ret_run);
	return lib;
}

SITE_FN static void loop(size_t slow_rounds, long pause_ns)
{
	const struct timespec pause = {.tv_nsec = pause_ns};
	void *(*run)(size_t), *(*last)(size_t) = NULL;

	for (size_t round = 0; round < ROUNDS; round++)
		for (size_t i = 0; i < plug_cnt; i++) {
			void *lib = open_plugin(&plugs[i], &run);

			same_place += run == last;
			last = run;
			use_plugin(&plugs[i], run);
			if (round < slow_rounds)
				nanosleep(&pause, NULL);
			LEAKER_CHECK(!dlclose(lib));
		}
}

int main(int argc, char **argv)
{
	const char *mode = leaker__arg(argc, argv, 1, "loop");
	void *(*run)(size_t) = NULL;

	for (int i = 2; i + 1 < argc && plug_cnt < MAX_PLUGS; i += 2) {
		struct plug *plug = &plugs[plug_cnt++];

		plug->path = argv[i + 1];
		plug->site.name = plug->frames;
		snprintf(plug->frames, sizeof(plug->frames),
			 "%s_take < %s_middle < plug_run < use_plugin < %smain" BELOW_MAIN, argv[i],
			 argv[i], strcmp(mode, "hold") ? "loop < " : "");
	}
	LEAKER_CHECK(plug_cnt);
	if (!strcmp(mode, "hold"))
		KEEP(open_plugin(&plugs[0], &run));
	leaker__ready(argc, argv);
	if (strcmp(mode, "hold")) {
		if (!strcmp(mode, "swap"))
			loop(1, 200000000);
		else
			loop(strcmp(mode, "slow") ? 0 : ROUNDS, 30000000);
		LEAKER_CHECK(strcmp(mode, "swap") || same_place > ROUNDS);
		leaker__any_stacks("* < open_plugin < loop < main" BELOW_MAIN);
		leaker__any_stacks("* < loop < main" BELOW_MAIN);
	} else {
		use_plugin(&plugs[0], run);
		leaker__add("HALF\n");
		leaker__flush();
		leaker__await_newline();
		use_plugin(&plugs[0], run);
	}
	for (size_t i = 0; i < plug_cnt; i++)
		leaker__stacks(&plugs[i].site, 1);
	leaker__done();
	return 0;
}
