/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Shapes of frames that compilers make; never run. */
#include <alloca.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

volatile int sink;

static void __attribute__((noinline, noreturn)) give_up(const char *why, int code)
{
	if (code > 3)
		fprintf(stderr, "%s: %d %d %d %d %d\n", why, code, code + 1, code + 2, code + 3, sink);
	exit(code);
}

static int __attribute__((noinline)) leaf(int a, int b)
{
	return a * b + sink;
}

int switch_with_calls(int what, char *text, size_t len)
{
	switch (what) {
	case 0:
		return puts(text);
	case 1:
		return (int)strlen(text) + leaf(what, 3);
	case 2:
		memset(text, 0, len);
		/* fall through */
	case 3:
		return printf("%s %zu", text, len);
	case 4:
		give_up(text, what);
	case 5:
		free(text);
		return leaf(1, 2) + leaf(3, 4);
	case 6:
		return atoi(text) + what;
	case 7:
		return sink ? leaf(sink, sink) : what;
	default:
		abort();
	}
}

int two_switches(int a, int b)
{
	char *block = malloc((size_t)a);

	switch (a) {
	case 10: sink = leaf(b, 1); break;
	case 11: sink = leaf(b, 2) + atoi("1"); break;
	case 12: puts("twelve"); break;
	case 13: give_up("thirteen", b);
	case 14: return 3;
	case 15: sink = b; break;
	case 16: sink += rand(); break;
	}
	switch (b) {
	case 1: puts("one"); break;
	case 2: sink = leaf(a, 5); break;
	case 3: exit(3);
	case 4: puts(block); break;
	case 5: sink++; break;
	case 6: sink = (int)(size_t)block; break;
	}
	free(block);
	return sink;
}

size_t dynamic_frames(size_t n, int depth)
{
	char array[n + 1], *more = alloca(n * 2 + 8);

	memset(array, depth, n);
	memcpy(more, array, n);
	for (int i = 0; i < depth; i++) {
		char inner[n + (size_t)i];

		memset(inner, i, sizeof(inner));
		sink += puts(inner);
	}
	return strlen(array) + strlen(more) + (depth ? dynamic_frames(n / 2, depth - 1) : 0);
}

int big_frame(FILE *from)
{
	char buffer[200000], small[100];
	int sum = 0;

	while (fgets(buffer, sizeof(buffer), from))
		sum += snprintf(small, sizeof(small), "%s", buffer) + leaf(sum, 2);
	return sum;
}

int tail_call(char *text)
{
	sink = (int)strlen(text);
	return switch_with_calls(sink, text, 7);
}

int tail_call_by_pointer(int (*function)(const char *), const char *text)
{
	puts(text);
	return function(text);
}

void many_arguments(int a, int b, int c, int d, int e, int f, int g, int h, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("%d %d %d %d %d %d %d %d %d\n", a, b, c, d, e, f, g, h, leaf(a, h));
}

void aligned_local(int n)
{
	char buffer[256] __attribute__((aligned(64)));

	memset(buffer, n, sizeof(buffer));
	puts(buffer);
}

size_t aligned_and_dynamic(size_t n)
{
	double vector[16] __attribute__((aligned(64))), sum = 0;
	char *more = alloca(n);

	for (int i = 0; i < 16; i++)
		vector[i] = rand();
	memset(more, 1, n);
	for (int i = 0; i < 16; i++)
		sum += vector[i];
	return strlen(more) + (size_t)sum;
}

static jmp_buf back;

int jumps_back(int n)
{
	if (setjmp(back))
		return leaf(n, sink);
	if (n > 3)
		longjmp(back, n);
	return puts("no");
}

static int compare(const void *a, const void *b)
{
	const int *x = a, *y = b;

	sink++;
	return leaf(*x, 1) - leaf(*y, 1) + rand();
}

void sort_numbers(int *numbers, size_t cnt)
{
	if (!cnt)
		give_up("empty", 1);
	qsort(numbers, cnt, sizeof(*numbers), compare);
}

int early_out(const char *text, int n)
{
	char buffer[64];

	if (!text || n < 0)
		return -1;
	for (int i = 0; i < n; i++) {
		if (text[i] == 'q')
			give_up(text, i);
		sink += snprintf(buffer, sizeof(buffer), "%d %s", i, text);
	}
	return (int)strlen(buffer);
}

int labels(const unsigned char *code)
{
	static const void *const steps[] = {&&stop, &&add, &&call, &&print, &&quit};
	int value = 0;

	goto *steps[*code++ % 5];
add:
	value += leaf(value, *code);
	goto *steps[*code++ % 5];
call:
	value = atoi((const char *)code);
	goto *steps[*code++ % 5];
print:
	printf("%d %d\n", value, *code);
	goto *steps[*code++ % 5];
quit:
	give_up("quit", value);
stop:
	return value;
}

int main(int argc, char **argv)
{
	int numbers[4] = {argc, 3, 2, 1};

	sort_numbers(numbers, 4);
	many_arguments(1, 2, 3, 4, 5, 6, 7, 8, "%s", argv[0]);
	aligned_local(argc);
	return tail_call(argv[0]) + two_switches(argc, 2) + early_out(argv[0], 3) + jumps_back(argc) +
	       big_frame(stdin) + (int)dynamic_frames(10, 2) + labels((void *)argv[0]) +
	       tail_call_by_pointer(puts, "x") + (int)aligned_and_dynamic(30);
}
