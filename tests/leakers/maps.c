/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory taken from the kernel directly. The system calls are made in the named functions
 * themselves, so that frame 0 does not depend on how libc's wrappers are built; `maps libc` goes
 * through the wrappers.
 */
#include <sys/mman.h>
#include <sys/syscall.h>

#include "tests/leakers/leaker.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

enum { S_MAP, S_OVER, S_REMAP, S_RESERVE, S_BRK, S_LIBC, S_MALLOC, SITE_CNT };

static struct site sites[SITE_CNT] = {
	[S_MAP] = {.name = "map_region", .kind = SITE_MMAP},
	[S_OVER] = {.name = "map_over", .kind = SITE_MMAP},
	[S_REMAP] = {.name = "remap_region", .kind = SITE_MMAP},
	[S_RESERVE] = {.name = "reserve_region", .kind = SITE_MMAP},
	[S_BRK] = {.name = "move_break", .kind = SITE_MMAP},
	[S_LIBC] = {.name = "map_by_libc", .kind = SITE_MMAP},
	[S_MALLOC] = {.name = "malloc_beside"},
};

static char *regions[64];

#ifdef __x86_64__
static inline __attribute__((always_inline)) long raw_syscall(long nr, long a, long b, long c,
							      long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
#else
#define raw_syscall syscall
#endif

static void *checked(long ret)
{
	LEAKER_CHECK(ret > 0 || ret < -4095);
	return (void *)ret;
}

/* Ranges split and merge: of the "mmap" layer only the bytes are ground truth, counts stay out. */
static void note_bytes(struct site *site, long long bytes)
{
	if (bytes > 0) {
		site->alloc_bytes += bytes;
		site->alloc_count++;
	} else {
		site->free_bytes -= bytes;
		site->free_count++;
	}
}

SITE_FN static char *map_region(size_t bytes)
{
	long ret = raw_syscall(SYS_mmap, 0, (long)bytes, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	note_bytes(&sites[S_MAP], (long long)bytes);
	return checked(ret);
}

SITE_FN static char *map_over(char *addr, size_t bytes)
{
	long ret = raw_syscall(SYS_mmap, (long)addr, (long)bytes, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	note_bytes(&sites[S_OVER], (long long)bytes);
	return checked(ret);
}

SITE_FN static char *remap_region(char *old, size_t old_bytes, size_t bytes, bool may_move)
{
	return checked(raw_syscall(SYS_mremap, (long)old, (long)old_bytes, (long)bytes,
				   may_move ? MREMAP_MAYMOVE : 0, 0, 0));
}

SITE_FN static char *reserve_region(size_t bytes)
{
	return checked(raw_syscall(SYS_mmap, 0, (long)bytes, PROT_NONE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
}

SITE_FN static void commit_region(char *addr, size_t bytes)
{
	LEAKER_CHECK(!raw_syscall(SYS_mprotect, (long)addr, (long)bytes, PROT_READ | PROT_WRITE, 0,
				  0, 0));
	note_bytes(&sites[S_RESERVE], (long long)bytes);
}

SITE_FN static char *move_break(char *to)
{
	return (char *)raw_syscall(SYS_brk, (long)to, 0, 0, 0, 0, 0);
}

SITE_FN static void unmap(struct site *site, char *addr, size_t bytes)
{
	LEAKER_CHECK(!raw_syscall(SYS_munmap, (long)addr, (long)bytes, 0, 0, 0, 0));
	note_bytes(site, -(long long)bytes);
}

SITE_FN static char *map_by_libc(size_t bytes)
{
	char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	note_bytes(&sites[S_LIBC], (long long)bytes);
	return checked((long)p);
}

SITE_FN static void *malloc_beside(size_t bytes)
{
	return note_alloc(&sites[S_MALLOC], malloc(bytes), bytes);
}

static void mode_plain(void)
{
	for (int i = 0; i < 20; i++)
		regions[i] = map_region(64 * KIB);
	for (int i = 0; i < 5; i++)
		unmap(&sites[S_MAP], regions[i], 64 * KIB);
	regions[20] = map_region(5000); /* takes whole pages */
	note_bytes(&sites[S_MAP], 2 * 4096 - 5000);
	for (int i = 0; i < 10; i++)
		malloc_beside(100);
}

/* Head, tail, middle, and one unmap across two regions and the hole between them. */
static void mode_partial(void)
{
	char *two;

	regions[0] = map_region(MIB);
	unmap(&sites[S_MAP], regions[0], 4 * KIB);
	regions[1] = map_region(MIB);
	unmap(&sites[S_MAP], regions[1] + MIB - 8 * KIB, 8 * KIB);
	regions[2] = map_region(MIB);
	unmap(&sites[S_MAP], regions[2] + 256 * KIB, 128 * KIB);
	two = reserve_region(4 * MIB);
	map_over(two, MIB);
	map_over(two + 2 * MIB, MIB);
	LEAKER_CHECK(!raw_syscall(SYS_munmap, (long)(two + MIB / 2), (long)(2 * MIB), 0, 0, 0, 0));
	note_bytes(&sites[S_OVER], -(long long)MIB);
}

static void mode_remap(void)
{
	char *p = map_region(MIB);

	p = remap_region(p, MIB, 3 * MIB, true);
	p = remap_region(p, 3 * MIB, 2 * MIB, false);
	p = remap_region(p, 2 * MIB, 512 * KIB, true);
	regions[0] = p;
	note_bytes(&sites[S_MAP], 512 * (long long)KIB - (long long)MIB);

	/* A move for sure: the neighbour above is taken. */
	p = reserve_region(8 * MIB);
	map_over(p, MIB);
	p = remap_region(p, MIB, 5 * MIB, true);
	note_bytes(&sites[S_OVER], 4 * (long long)MIB);
	unmap(&sites[S_OVER], p + MIB, MIB);
}

static void mode_overlay(void)
{
	regions[0] = map_region(MIB);
	map_over(regions[0] + 64 * KIB, 64 * KIB);
	note_bytes(&sites[S_MAP], -64 * (long long)KIB);
	map_over(regions[0] + 128 * KIB, 32 * KIB);
	note_bytes(&sites[S_MAP], -32 * (long long)KIB);
}

static void mode_reserve(void)
{
	char *p = reserve_region(64 * MIB);

	commit_region(p, MIB);
	commit_region(p + 8 * MIB, 256 * KIB);
	unmap(&sites[S_RESERVE], p, 512 * KIB);
}

static void mode_reserve_only(void)
{
	regions[0] = reserve_region(64 * MIB);
}

static void mode_brk(void)
{
	char *start = move_break(NULL);

	LEAKER_CHECK(move_break(start + MIB) == start + MIB);
	LEAKER_CHECK(move_break(start + 512 * KIB) == start + 512 * KIB);
	LEAKER_CHECK(move_break(start + 768 * KIB) == start + 768 * KIB);
	note_bytes(&sites[S_BRK], 768 * (long long)KIB);
}

static void mode_sbrk(void)
{
	LEAKER_CHECK(sbrk(1 << 20) != (void *)-1);
	LEAKER_CHECK(sbrk(-(1 << 18)) != (void *)-1);
	note_bytes(&sites[S_BRK], 768 * (long long)KIB);
}

static void mode_libc(void)
{
	for (int i = 0; i < 10; i++)
		regions[i] = map_by_libc(128 * KIB);
	for (int i = 0; i < 3; i++) {
		LEAKER_CHECK(!munmap(regions[i], 64 * KIB));
		note_bytes(&sites[S_LIBC], -64 * (long long)KIB);
	}
	regions[9] = mremap(regions[9], 128 * KIB, 256 * KIB, MREMAP_MAYMOVE);
	LEAKER_CHECK(regions[9] != MAP_FAILED);
	note_bytes(&sites[S_LIBC], 128 * (long long)KIB);
}

static const struct {
	const char *name;
	void (*run)(void);
} modes[] = {
	{"plain", mode_plain},	   {"partial", mode_partial}, {"remap", mode_remap},
	{"overlay", mode_overlay}, {"reserve", mode_reserve}, {"reserve-only", mode_reserve_only},
	{"brk", mode_brk},	   {"sbrk", mode_sbrk},	      {"libc", mode_libc},
};

int main(int argc, char **argv)
{
	const char *mode = leaker__arg(argc, argv, 1, "plain");

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (strcmp(modes[i].name, mode))
			continue;
		leaker__ready(argc, argv);
		modes[i].run();
		leaker__expect(sites, SITE_CNT);
		leaker__done();
		return 0;
	}
	return 2;
}
