/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Uses an allocator out of a second library.
 *   plugin open LIB       dlopen after the go signal, then my_alloc/my_free
 *   plugin apart LIB      the same; between the two it says OPENED and awaits another newline
 *   plugin loaded LIB     the same, opened before READY
 *   plugin namespace LIB  LIB exports its own malloc/free, in a namespace opened before READY
 *   plugin lost LIB       frees by a function that nobody probes: addresses come back unannounced
 */
#include <dlfcn.h>
#include <time.h>

#include "tests/leakers/leaker.h"

enum { S_PLUGIN, S_FIRST, S_SECOND, SITE_CNT };

static struct site sites[SITE_CNT] = {
	[S_PLUGIN] = {.name = "plugin_leak"},
	[S_FIRST] = {.name = "first_owner"},
	[S_SECOND] = {.name = "second_owner"},
};

static void *(*alloc_fn)(size_t);
static void (*free_fn)(void *);
static void *kept[1000];

SITE_FN static void *plugin_leak(size_t bytes)
{
	return note_alloc(&sites[S_PLUGIN], alloc_fn(bytes), bytes);
}

SITE_FN static void *first_owner(size_t bytes)
{
	return note_alloc(&sites[S_FIRST], alloc_fn(bytes), bytes);
}

SITE_FN static void *second_owner(size_t bytes)
{
	return note_alloc(&sites[S_SECOND], alloc_fn(bytes), bytes);
}

static void open_library(const char *path, bool own_namespace, const char *alloc,
			 const char *release)
{
	void *lib = own_namespace ? dlmopen(LM_ID_NEWLM, path, RTLD_NOW) : dlopen(path, RTLD_NOW);

	LEAKER_CHECK(lib);
	alloc_fn = (void *(*)(size_t))dlsym(lib, alloc);
	free_fn = (void (*)(void *))dlsym(lib, release);
	LEAKER_CHECK(alloc_fn && free_fn);
}

static void use_library(void)
{
	for (size_t i = 0; i < 500; i++)
		kept[i] = plugin_leak(30 + i);
	for (size_t i = 0; i < 100; i++) {
		note_free(&sites[S_PLUGIN], 30 + i);
		free_fn(kept[i]);
	}
}

static void lose_frees(void)
{
	for (size_t i = 0; i < 50; i++) {
		void *first = first_owner(200), *second;

		note_free(&sites[S_FIRST], 200);
		free_fn(first);
		second = second_owner(195);
		LEAKER_CHECK(second == first);
	}
}

int main(int argc, char **argv)
{
	const char *mode = leaker__arg(argc, argv, 1, "open"),
		   *path = leaker__arg(argc, argv, 2, "");
	struct timespec pause = {.tv_sec = 1};

	if (!strcmp(mode, "loaded"))
		open_library(path, false, "my_alloc", "my_free");
	if (!strcmp(mode, "lost"))
		open_library(path, false, "my_alloc", "my_free_unseen");
	if (!strcmp(mode, "namespace"))
		open_library(path, true, "malloc", "free");
	leaker__ready(argc, argv);
	if (!strcmp(mode, "open")) {
		open_library(path, false, "my_alloc", "my_free");
		nanosleep(&pause, NULL); /* probes follow a new library, they do not precede it */
	}
	if (!strcmp(mode, "apart")) {
		open_library(path, false, "my_alloc", "my_free");
		leaker__add("OPENED\n");
		leaker__flush();
		leaker__await_newline();
	}
	if (!strcmp(mode, "lost"))
		lose_frees();
	else
		use_library();
	leaker__expect(sites, SITE_CNT);
	leaker__done();
	return 0;
}
