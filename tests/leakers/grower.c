// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory that changes with time, page by page, until it is killed:
 *   grower leak KIB_PER_SECOND    grows for ever, exactly so much by the clock
 *   grower warm MIB SECONDS       nears MIB, by one part in SECONDS of the rest each second
 *   grower teeth MIB SECONDS      grows by MIB in SECONDS, gives all back, again and again
 *   grower flat MIB
 */
#include <sys/mman.h>
#include <time.h>

#include "tests/leakers/leaker.h"

#define ROOM ((size_t)64 << 30)
#define PAGE ((size_t)4096)
#define STEP_NS 20000000L
#define MIB (1024.0 * 1024)

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/* `last_t` is when it had `last` bytes. */
static double bytes_at(const char *what, double size, double span, double t, double last_t,
		       double last)
{
	double part = (t - last_t) / span;

	if (!strcmp(what, "leak"))
		return size * 1024 * t;
	if (!strcmp(what, "warm"))
		return last + (size * MIB - last) * (part < 1 ? part : 1);
	if (!strcmp(what, "teeth"))
		return size * MIB * (t / span - (double)(long)(t / span));
	return size * MIB;
}

static void resize(char *room, size_t from, size_t to)
{
	if (to < from)
		LEAKER_CHECK(!madvise(room + to, from - to, MADV_DONTNEED));
	for (; from < to; from += PAGE)
		room[from] = 1;
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "flat";
	double size = argc > 2 ? atof(argv[2]) : 1, span = argc > 3 ? atof(argv[3]) : 1;
	double begun, t, last_t = 0, bytes = 0;
	const struct timespec pause = {.tv_nsec = STEP_NS};
	size_t touched = 0, wanted;
	char *room = mmap(NULL, ROOM, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	LEAKER_CHECK(room != MAP_FAILED);
	LEAKER_CHECK(!madvise(room, ROOM, MADV_NOHUGEPAGE));
	leaker__ready(1, argv);
	for (begun = seconds();; nanosleep(&pause, NULL)) {
		t = seconds() - begun;
		bytes = bytes_at(what, size, span, t, last_t, bytes);
		last_t = t;
		wanted = (size_t)bytes & ~(PAGE - 1);
		LEAKER_CHECK(wanted <= ROOM);
		resize(room, touched, wanted);
		touched = wanted;
	}
}
