/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Preloaded into any program: at SIGUSR2 it says what mallinfo2(3) does, as heap_story.c says it.
 * The program is asleep then, so that nobody has malloc's locks.
 */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static void say(int signal_number)
{
	struct mallinfo2 info = mallinfo2();
	char line[256];
	int len = snprintf(line, sizeof(line), "%zu %zu %zu %zu %zu %zu 0\n", info.arena,
			   info.uordblks, info.fordblks, info.fsmblks, info.keepcost, info.hblkhd);

	(void)signal_number;
	if (write(1, line, (size_t)len) != len)
		_exit(1);
}

__attribute__((constructor)) static void listen_for_signal(void)
{
	signal(SIGUSR2, say);
}
