/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process that touches memory in known functions, one step for each letter it is told. Every
 * function lies in a section of its own, so that a stack's addresses tell them apart. After
 * cmocka.h.
 */
#ifndef LEAKSWEEP_TESTS_UNIT_TOUCH_CHILD_H
#define LEAKSWEEP_TESTS_UNIT_TOUCH_CHILD_H

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define STEP_BYTES (16UL << 20)
#define STEP_PAGES (STEP_BYTES / 4096)
#define HUGE (2UL << 20)

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Declares a function and where it lies. */
#define PLACE(name)                                                                                \
	extern const char __start_in_##name[], __stop_in_##name[];                                 \
	__attribute__((noinline, section("in_" #name))) static void name(void)

static char *area, *other;

static inline char *map_area(size_t len, int flags)
{
	char *got =
		mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	if (got == MAP_FAILED)
		_exit(3);
	return got;
}

static inline int made_file(void)
{
	int fd = memfd_create("touch", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, STEP_BYTES))
		_exit(3);
	return fd;
}

#define TOUCH(from, len)                                                                           \
	do {                                                                                       \
		for (size_t at_ = 0; at_ < (len); at_ += 4096)                                     \
			((volatile char *)(from))[at_] = 1;                                        \
	} while (0)

PLACE(by_mmap)
{
	area = map_area(STEP_BYTES, 0);
	TOUCH(area, STEP_BYTES);
}

PLACE(by_brk)
{
	char *at = sbrk(STEP_BYTES);

	TOUCH(at, STEP_BYTES);
}

PLACE(by_huge)
{
	char *start = map_area(STEP_BYTES + HUGE, 0);

	prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
	start = (char *)(((unsigned long)start + HUGE - 1) & ~(HUGE - 1));
	madvise(start, STEP_BYTES, MADV_HUGEPAGE);
	for (size_t at = 0; at < STEP_BYTES; at += HUGE)
		((volatile char *)start)[at] = 1;
}

PLACE(by_populate)
{
	map_area(STEP_BYTES, MAP_POPULATE);
	__asm__ volatile("" ::: "memory"); /* no tail call: it would not be on the stack */
}

PLACE(by_advice)
{
	char *start = map_area(STEP_BYTES, 0);

	TOUCH(start + STEP_BYTES / 2, STEP_BYTES / 4); /* not new any more */
	if (madvise(start, STEP_BYTES, MADV_POPULATE_WRITE))
		_exit(3);
}

/* Not by libc's function: AddressSanitizer has one that does nothing. */
PLACE(by_lock)
{
	if (syscall(SYS_mlock, map_area(STEP_BYTES, 0), STEP_BYTES))
		_exit(3);
}

PLACE(by_locked_brk)
{
	if (sbrk(STEP_BYTES) == (void *)-1)
		_exit(3);
}

PLACE(by_read)
{
	int fd = made_file();
	char *start = map_area(STEP_BYTES, 0);

	if (read(fd, start, STEP_BYTES) != (ssize_t)STEP_BYTES)
		_exit(3);
	close(fd);
}

PLACE(by_read_of_zeros)
{
	int fd = open("/dev/zero", O_RDONLY);
	char *start = map_area(STEP_BYTES, 0);

	if (read(fd, start, STEP_BYTES) != (ssize_t)STEP_BYTES)
		_exit(3);
	close(fd);
}

/* A copy of a file's pages, which are read in beside it, many at once. */
PLACE(by_file_copy)
{
	int fd = made_file();
	char *start = mmap(NULL, STEP_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	TOUCH(start, STEP_BYTES);
	close(fd);
}

PLACE(by_refault)
{
	TOUCH(area, STEP_BYTES / 2);
}

PLACE(by_zero_page)
{
	for (size_t at = 0; at < STEP_BYTES; at += 4096)
		(void)((volatile char *)area)[at];
}

/* Takes the area elsewhere, and touches something new in its place. */
PLACE(by_move)
{
	char *place = map_area(STEP_BYTES, 0), *old = area;

	area = mremap(area, STEP_BYTES, STEP_BYTES, MREMAP_MAYMOVE | MREMAP_FIXED, place);
	other = mmap(old, STEP_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	if (area != place || other != old)
		_exit(3);
	TOUCH(other, STEP_BYTES);
}

PLACE(by_thread)
{
	for (int i = 0; i < 64; i++) { /* mapping beside the others' faults */
		char *start = map_area(STEP_BYTES / 256, 0), *gone = map_area(STEP_BYTES / 256, 0);

		TOUCH(start, STEP_BYTES / 256);
		TOUCH(gone, STEP_BYTES / 256);
		munmap(gone, STEP_BYTES / 256);
	}
}

static inline void *run_thread(void *arg)
{
	by_thread();
	__asm__ volatile("" ::: "memory");
	return arg;
}

static inline void step(char letter)
{
	pthread_t threads[4];

	switch (letter) {
	case 'm':
		return by_mmap();
	case 'b':
		return by_brk();
	case 'h':
		return by_huge();
	case 'p':
		return by_populate();
	case 'a':
		return by_advice();
	case 'l':
		return by_lock();
	case 'L':
		if (syscall(SYS_mlockall, MCL_FUTURE))
			_exit(3);
		return by_locked_brk();
	case 'r':
		return by_read();
	case 'n':
		return by_read_of_zeros();
	case 'c':
		return by_file_copy();
	case 'd':
		madvise(area, STEP_BYTES, MADV_DONTNEED);
		return;
	case 'u':
		munmap(area, STEP_BYTES / 4);
		return;
	case 'f':
		return by_refault();
	case 'z':
		return by_zero_page();
	case 'v':
		return by_move();
	case 't':
		for (int i = 0; i < 4; i++)
			pthread_create(&threads[i], NULL, run_thread, NULL);
		for (int i = 0; i < 4; i++)
			pthread_join(threads[i], NULL);
		return;
	case 'x':
		execl("/bin/sleep", "sleep", "60", NULL);
		_exit(3);
	}
}

struct touch_child {
	pid_t pid;
	int in, out;
};

static inline struct touch_child touch_child__start(void)
{
	int in[2], out[2];
	pid_t pid;
	char letter;

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		/* Pages are counted, also where a host gives huge ones unasked. */
		prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
		/* Links of BPF programs are among the parent's files: they last until nobody has
		 * them. */
		if (dup2(in[0], 0) || dup2(out[1], 1) != 1 || close_range(3, ~0U, 0))
			_exit(1);
		while (read(0, &letter, 1) == 1) {
			step(letter);
			if (write(1, &letter, 1) != 1)
				break;
		}
		_exit(0);
	}
	close(in[0]);
	close(out[1]);
	return (struct touch_child){.pid = pid, .in = in[1], .out = out[0]};
}

/* Returns once all steps are done. */
static inline void touch_child__run(const struct touch_child *child, const char *letters)
{
	char answer;

	for (; *letters; letters++) {
		assert_int_equal(write(child->in, letters, 1), 1);
		assert_int_equal(read(child->out, &answer, 1), 1);
	}
}

static inline void touch_child__end(const struct touch_child *child)
{
	close(child->in);
	close(child->out);
	if (child->pid > 0) {
		kill(child->pid, SIGKILL);
		waitpid(child->pid, NULL, 0);
	}
}

#endif
