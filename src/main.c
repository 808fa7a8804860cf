/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/census.h"
#include "cli/doctor.h"
#include "cli/sweep.h"
#include "cli/trace.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} commands[] = {
	{"sweep", cmd_sweep, "tell whose memory grows on this host; what `leaksweep` alone does"},
	{"trace", cmd_trace, "record every allocation of some processes and report what stays"},
	{"census", cmd_census, "count the living objects of a Python process by type"},
	{"doctor", cmd_doctor, "tell what this host allows and what a probe costs here"},
};

#define COMMAND_CNT (sizeof(commands) / sizeof(commands[0]))

static int print_help(void)
{
	printf("usage: leaksweep [COMMAND] [OPTIONS]\n\n");
	for (size_t i = 0; i < COMMAND_CNT; i++)
		printf("  %-8s %s\n", commands[i].name, commands[i].help);
	return printf("\n`leaksweep COMMAND --help` lists the options of a command.\n") < 0;
}

int main(int argc, char **argv)
{
	/* Ignored, as whoever starts it may have left it, ends of children would not be told. */
	signal(SIGCHLD, SIG_DFL);
	for (size_t i = 0; argc > 1 && i < COMMAND_CNT; i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	if (argc > 1 && (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")))
		return puts("leaksweep " LEAKSWEEP_VERSION) < 0;
	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")))
		return print_help();
	if (argc <= 1 || argv[1][0] == '-') {
		argv[0] = "sweep";
		return cmd_sweep(argc, argv);
	}
	fprintf(stderr, "leaksweep: there is no command '%s': see `leaksweep --help`\n", argv[1]);
	return 2;
}
