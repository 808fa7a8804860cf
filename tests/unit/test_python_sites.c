/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which places of a machine code are found to take and return blocks: of a small allocator,
 * compiled in many ways and, in one test, stepped through; of the Pythons that are here; of what is
 * no Python.
 */
#include "unit/python_interpreters.h"

#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

#include "include/python.h"
#include "python/site_file.h"
#include "python/sites.h"
#include "util/regular_file.h"

#if defined(__x86_64__)

static const char *const compilers[] = {"gcc", "clang"};
static const char *const levels[] = {"-O1", "-O2", "-O3", "-Os"};

static struct python_sites analyse(const char *path)
{
	struct python_sites sites;
	struct elf_image image;
	int fd = regular_file__open(path);

	assert_true(fd >= 0);
	assert_int_equal(python_sites__analyse(fd, &sites), 0);
	assert_int_equal(elf_image__open(&image, fd, EM_X86_64), 0);
	assert_true(python_sites__is_valid(&sites, &image));
	elf_image__close(&image);
	close(fd);
	return sites;
}

static void check_build(const char *cc, const char *level, const char *more, int copies, int shift)
{
	char *flags, *path;
	struct python_sites sites;

	assert_true(asprintf(&flags, "-shared -fPIC %s %s", level, more) > 0);
	path = compile(cc, flags, "pymalloc.c");
	sites = analyse(path);
	if (sites.verdict != SITES_COMPLETE)
		fail_msg("%s %s: verdict %u", cc, flags, sites.verdict);
	assert_int_equal(sites.alloc_cnt, copies);
	assert_int_equal(sites.free_cnt, copies);
	assert_int_equal(sites.new_pool_cnt, 1);
	assert_int_equal(sites.new_init_cnt, 1);
	assert_int_equal(sites.refill_calls, copies);
	assert_int_equal(sites.pool_shift, shift);
	assert_int_equal(sites.alignment, 16);
	python_sites__free(&sites);
	free(path);
	free(flags);
}

static void test_compilers(void **state)
{
	(void)state;
	for (size_t cc = 0; cc < 2; cc++) {
		for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
			check_build(compilers[cc], levels[i], "-DPOOL_SHIFT=12", 1, 12);
			check_build(compilers[cc], levels[i], "-DINLINED", 2, 14);
		}
		check_build(compilers[cc], "-O2", "-fcf-protection=full", 1, 14);
		check_build(compilers[cc], "-O2", "-DINLINED -fno-omit-frame-pointer", 2, 14);
		check_build(compilers[cc], "-O2", "-DINLINED -march=haswell", 2, 14);
	}
}

/* ---- a run, step by step --------------------------------------------------------------------- */

struct tracer {
	struct python_sites sites;
	uint64_t *vaddrs; /* of the sites */
	pid_t pid;
	ARRAY(uint64_t) seen; /* as run_log */
	unsigned int kinds[SITE_FREE + 1];
};

static uint64_t read_word(pid_t pid, uint64_t addr)
{
	uint64_t word;
	struct iovec local = {&word, sizeof(word)}, remote = {(void *)addr, sizeof(word)};

	assert_int_equal(process_vm_readv(pid, &local, 1, &remote, 1, 0), sizeof(word));
	return word;
}

static uint64_t register_of(const struct user_regs_struct *regs, unsigned int reg)
{
	const uint64_t values[] = {regs->rax, regs->rcx, regs->rdx, regs->rbx, regs->rsp, regs->rbp,
				   regs->rsi, regs->rdi, regs->r8,  regs->r9,  regs->r10, regs->r11,
				   regs->r12, regs->r13, regs->r14, regs->r15};

	return values[reg];
}

static void note_hit(struct tracer *tracer, const struct python_site *site,
		     const struct user_regs_struct *regs)
{
	uint64_t cookie = site->cookie, block, pool;
	uint32_t size_class;

	tracer->kinds[site->kind]++;
	block = register_of(regs, PYTHON_SITE_REG(cookie)) +
		(uint64_t)(int64_t)PYTHON_SITE_DISP(cookie);
	if (PYTHON_SITE_PLACE(cookie) == PYTHON_PLACE_MEM)
		block = read_word(tracer->pid, block);
	assert_int_equal(
		array_push(&tracer->seen, block | (PYTHON_SITE_OP(cookie) == PYTHON_OP_FREE)), 0);
	/* The header is right when the probe fires. */
	pool = block & -(1ULL << PYTHON_SITE_SHIFT(cookie));
	size_class = (uint32_t)(read_word(tracer->pid, pool + PYTHON_POOL_ARENA) >> 32);
	assert_true(size_class < 32);
	assert_int_equal((block - pool - PYTHON_POOL_HEADER) %
				 ((size_class + 1) * PYTHON_SITE_ALIGN(cookie)),
			 0);
}

static void wait_for_trap(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status));
	assert_int_equal(WSTOPSIG(status), SIGTRAP);
}

static void step_through(struct tracer *tracer)
{
	struct user_regs_struct regs;

	for (;;) {
		assert_int_equal(ptrace(PTRACE_GETREGS, tracer->pid, NULL, &regs), 0);
		for (size_t i = 0; i < tracer->sites.sites.cnt; i++)
			if (regs.rip == tracer->vaddrs[i])
				note_hit(tracer, &tracer->sites.sites.items[i], &regs);
		if ((uint8_t)read_word(tracer->pid, regs.rip) == 0xcc)
			return;
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, tracer->pid, NULL, NULL), 0);
		wait_for_trap(tracer->pid);
	}
}

static uint64_t symbol_of(const char *path, const char *name)
{
	char *command, *line = NULL, *found;
	uint64_t value = 0;
	size_t cap = 0;
	FILE *out;

	assert_true(asprintf(&command, "nm %s", path) > 0);
	out = popen(command, "r");
	assert_non_null(out);
	while (getline(&line, &cap, out) > 0) {
		found = strstr(line, name);
		if (found && found[strlen(name)] == '\n' && found[-1] == ' ')
			value = strtoull(line, NULL, 16);
	}
	pclose(out);
	free(line);
	free(command);
	assert_true(value);
	return value;
}

static void check_log(const struct tracer *tracer, const char *path)
{
	uint64_t cnt = read_word(tracer->pid, symbol_of(path, "run_cnt"));
	uint64_t log = symbol_of(path, "run_log");

	assert_int_equal(cnt, 200);
	assert_int_equal(tracer->seen.cnt, cnt);
	for (size_t i = 0; i < cnt; i++)
		assert_int_equal(tracer->seen.items[i], read_word(tracer->pid, log + 8 * i));
	for (int kind = SITE_ALLOC; kind <= SITE_FREE; kind++)
		assert_true(tracer->kinds[kind] > 0);
}

static void find_vaddrs(struct tracer *tracer, const char *path)
{
	struct elf_image image;
	int fd = regular_file__open(path);

	assert_int_equal(elf_image__open(&image, fd, EM_X86_64), 0);
	tracer->vaddrs = calloc(tracer->sites.sites.cnt, sizeof(uint64_t));
	for (size_t i = 0; i < tracer->sites.sites.cnt; i++)
		assert_true(elf_segments__vaddr(&image.segments, tracer->sites.sites.items[i].off,
						&tracer->vaddrs[i]));
	elf_image__close(&image);
	close(fd);
}

static void check_run(const char *cc, const char *level, const char *more)
{
	struct tracer tracer = {0};
	char *flags, *path;
	int status;

	assert_true(asprintf(&flags, "-no-pie -DRUN %s %s", level, more) > 0);
	path = compile(cc, flags, "pymalloc.c");
	tracer.sites = analyse(path);
	find_vaddrs(&tracer, path);
	tracer.pid = fork();
	assert_true(tracer.pid >= 0);
	if (!tracer.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		execl(path, path, NULL);
		_exit(127);
	}
	wait_for_trap(tracer.pid); /* exec */
	assert_int_equal(ptrace(PTRACE_CONT, tracer.pid, NULL, NULL), 0);
	wait_for_trap(tracer.pid);
	step_through(&tracer);
	check_log(&tracer, path);
	kill(tracer.pid, SIGKILL);
	assert_int_equal(waitpid(tracer.pid, &status, 0), tracer.pid);
	array_free(&tracer.seen);
	python_sites__free(&tracer.sites);
	free(tracer.vaddrs);
	free(path);
	free(flags);
}

static void test_run(void **state)
{
	(void)state;
	for (size_t cc = 0; cc < 2; cc++) {
		check_run(compilers[cc], "-O1", "-DPOOL_SHIFT=12");
		check_run(compilers[cc], "-O2", "-DPOOL_SHIFT=12 -DINLINED");
		check_run(compilers[cc], "-Os", "-DPOOL_SHIFT=12 -DINLINED");
	}
}

/* ---- real files ------------------------------------------------------------------------------ */

/* The distribution's own, whose numbers were counted by hand: those of this build-id. */
static void check_debian(const char *path, const struct python_sites *sites)
{
	static const uint8_t known[] = {0x57, 0x1d, 0x98, 0xe0, 0x10, 0x96, 0xd5, 0xc1, 0xc3, 0x24,
					0x20, 0xd2, 0x29, 0xa6, 0x73, 0x1a, 0x0a, 0x50, 0xd2, 0xa0};
	uint8_t id[MAX_ELF_BUILD_ID];
	struct elf_image image;
	int fd = regular_file__open(path);
	size_t len;

	assert_int_equal(elf_image__open(&image, fd, EM_X86_64), 0);
	len = elf_image__build_id(&image, id);
	elf_image__close(&image);
	close(fd);
	if (len != sizeof(known) || memcmp(id, known, len) != 0) {
		if (sites->alloc_cnt > 50)
			printf("skipped: exact numbers of %s, another build\n", path);
		return;
	}
	assert_int_equal(sites->alloc_cnt, 171);
	assert_int_equal(sites->free_cnt, 49);
	assert_int_equal(sites->refill_calls, 171);
	assert_int_equal(sites->renew_cnt, 93);
	assert_int_equal(sites->stepped_cnt, 3);
}

static void check_python(const struct python *python)
{
	bool has_small_pools = python->version_hex < 0x030a;
	char *path = find_interpreter_file(python);
	struct python_sites sites;

	if (!path) {
		printf("skipped: %s has no interpreter that is known\n", python->path);
		return;
	}
	sites = analyse(path);
	printf("%s: %u taken, %u + %u begun, %u given back, %u renewed; %u stepped; %u refills\n",
	       python->version, sites.alloc_cnt, sites.new_pool_cnt, sites.new_init_cnt,
	       sites.free_cnt, sites.renew_cnt, sites.stepped_cnt, sites.refill_calls);
	assert_int_equal(sites.verdict, SITES_COMPLETE);
	assert_int_equal(sites.pool_shift, has_small_pools ? 12 : 14);
	assert_int_equal(sites.alignment, 16);
	assert_true(sites.alloc_cnt > 50 || sites.alloc_cnt <= 3);
	assert_true(sites.alloc_cnt > 50 || sites.free_cnt <= 2);
	check_debian(path, &sites);
	python_sites__free(&sites);
	free(path);
}

static void test_pythons(void **state)
{
	(void)state;
	for (size_t i = 0; i < python_cnt; i++)
		check_python(&pythons[i]);
}

static void test_others(void **state)
{
	static const char *const paths[] = {"/proc/self/exe", "/bin/bash", "/usr/bin/perl",
					    "/lib/x86_64-linux-gnu/libc.so.6"};
	struct python_sites sites;

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		if (access(paths[i], R_OK)) {
			printf("skipped: %s is not here\n", paths[i]);
			continue;
		}
		sites = analyse(paths[i]);
		assert_int_equal(sites.verdict, SITES_NONE);
		assert_int_equal(sites.sites.cnt, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compilers),
		cmocka_unit_test(test_run),
		cmocka_unit_test(test_pythons),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, find_pythons, forget_pythons);
}

#else

int main(void)
{
	printf("skipped: the analyser knows x86-64\n");
	return 0;
}

#endif
