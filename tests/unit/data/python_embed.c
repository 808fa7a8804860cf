/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program with an interpreter in it. What it names of the interpreter's data it gets copies of:
 * those are in use then.
 */
#include <Python.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern char _PyRuntime[];

static void wait_for_end(void)
{
	char byte;

	puts("ready");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
}

int main(int argc, char **argv)
{
	const char *volatile runtime = _PyRuntime;
	PyTypeObject *volatile type = &PyCode_Type;

	if (argc < 2 || !runtime || !type)
		return 2;
	if (!strcmp(argv[1], "before")) {
		wait_for_end();
		return 0;
	}
	Py_Initialize();
	if (!strcmp(argv[1], "without"))
		wait_for_end();
	else
		PyRun_SimpleString("import os\n"
				   "def down(n):\n"
				   "    if n: return down(n - 1)\n"
				   "    print('ready', flush=True)\n"
				   "    os.read(0, 1)\n"
				   "down(20)\n");
	return 0;
}
