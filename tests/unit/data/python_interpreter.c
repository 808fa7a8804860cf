/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The smallest file that looks like an interpreter: a loop with a part that the compiler splits
 * off, and functions beside it that are no parts of it.
 */
char PyCode_Type[400], PyType_Type[400], _Py_NoneStruct[16];
char _PyRuntime[64];
volatile int source, sink;

#ifdef VERSION
const unsigned long Py_Version = VERSION;
#endif

#ifdef TAG
const char *tag = TAG;
#endif
#ifdef TAG2
const char *tag2 = TAG2;
#endif
#ifdef TEXT
const char *text = TEXT;
#endif

#ifdef IS_2
int Py_InitModule4_64(void)
{
	return 0;
}
#endif

__attribute__((cold, noinline)) void fail_with(int code)
{
	sink = code;
}

__attribute__((noinline)) static int last_call(int value)
{
	source += value;
	return source * value;
}

int PyErr_NoMemory(void)
{
	return sink;
}

int Py_FinalizeEx(void)
{
	return source;
}

#ifndef NO_LOOP
int _PyEval_EvalFrameDefault(int value)
{
	int locals[32];

	for (int i = 0; i < 32; i++) {
		locals[i] = source;
		if (__builtin_expect(locals[i] == 7, 0)) {
			fail_with(i);
			fail_with(locals[i / 2]);
			if (source == 8)
				continue;
			fail_with(value);
			return -1;
		}
		value += locals[i] * i;
		sink = locals[(unsigned int)value % 32];
	}
	return last_call(value); /* a jump to a function that has no symbol */
}
#endif
