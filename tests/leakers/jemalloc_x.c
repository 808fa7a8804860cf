/* SPDX-License-Identifier: GPL-2.0-or-later */
/* jemalloc's own calls, found at run time: start with LD_PRELOAD=libjemalloc.so.2. */
#include <dlfcn.h>

#include "tests/leakers/leaker.h"

enum { S_MALLOCX, S_RALLOCX, S_XALLOCX, SITE_CNT };

static struct site sites[SITE_CNT] = {
	[S_MALLOCX] = {.name = "leak_mallocx"},
	[S_RALLOCX] = {.name = "leak_rallocx"},
	[S_XALLOCX] = {.name = "leak_xallocx"},
};

static void *(*mallocx_fn)(size_t, int);
static void *(*rallocx_fn)(void *, size_t, int);
static void (*dallocx_fn)(void *, int);
static void (*sdallocx_fn)(void *, size_t, int);
static void *kept[400];

SITE_FN static void *leak_mallocx(size_t bytes, int flags)
{
	return note_alloc(&sites[S_MALLOCX], mallocx_fn(bytes, flags), bytes);
}

SITE_FN static void *leak_rallocx(void *old, size_t old_bytes, size_t bytes)
{
	note_free(&sites[S_MALLOCX], old_bytes);
	return note_alloc(&sites[S_RALLOCX], rallocx_fn(old, bytes, 0), bytes);
}

int main(int argc, char **argv)
{
	mallocx_fn = (void *(*)(size_t, int))dlsym(RTLD_DEFAULT, "mallocx");
	rallocx_fn = (void *(*)(void *, size_t, int))dlsym(RTLD_DEFAULT, "rallocx");
	dallocx_fn = (void (*)(void *, int))dlsym(RTLD_DEFAULT, "dallocx");
	sdallocx_fn = (void (*)(void *, size_t, int))dlsym(RTLD_DEFAULT, "sdallocx");
	LEAKER_CHECK(mallocx_fn && rallocx_fn && dallocx_fn && sdallocx_fn);
	leaker__ready(argc, argv);
	for (size_t i = 0; i < 300; i++) {
		kept[i] = leak_mallocx(100 + i, 0);
		if (i % 3 == 0)
			kept[i] = leak_rallocx(kept[i], 100 + i, 5000 + i);
	}
	for (size_t i = 0; i < 300; i += 30) {
		note_free(&sites[S_RALLOCX], 5000 + i);
		dallocx_fn(kept[i], 0);
		note_free(&sites[S_MALLOCX], 100 + i + 1);
		sdallocx_fn(kept[i + 1], 100 + i + 1, 0);
	}
	leaker__expect(sites, SITE_CNT);
	leaker__done();
	return 0;
}
