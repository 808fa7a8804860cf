/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether each object that an interpreter takes from its lists of freed ones passes a place that
 * was found for that. The Pythons that are here run tests/unit/data/recycle.py, and a small program
 * that does the same in many builds, with a trap at every place, and at the function that
 * tracemalloc is told by of every new object: one whose block the allocator did not give out since
 * the last object there is recycled.
 */
#include "unit/python_interpreters.h"

#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/user.h>

#include "include/python.h"
#include "python/build_symbols.h"
#include "python/site_insn.h"
#include "python/sites.h"
#include "util/hashmap.h"
#include "util/regular_file.h"

#if defined(__x86_64__)

#define SCRIPT DATA "recycle.py"
#define MAX_TYPES 200
#define MAX_HEADER 32 /* bytes in front of an object: GC header, __dict__ and weak references */
#define TYPE_NAME 24  /* in PyTypeObject: tp_name */

struct trap {
	uint64_t addr;
	const struct python_site *site; /* NULL = where new objects are told of */
	uint8_t byte;			/* what was there */
};

/* What is known of a block. */
enum block_state {
	BLOCK_FRESH = 1, /* the allocator gave it out */
	BLOCK_USED = 2,	 /* there is, or was, an object */
};

struct type_count {
	char name[40];
	unsigned int fresh, recycled, missed;
};

struct run {
	char *file; /* that is looked at, and run */
	int fd;
	struct elf_image image;
	struct python_sites sites;
	uint64_t object_vaddr; /* where tracemalloc is told of new objects */
	pid_t pid;
	ARRAY(struct trap) traps; /* by address */
	struct hashmap blocks;	  /* address -> enum block_state */
	struct hashmap renewed;	  /* objects -> 1 */
	struct type_count types[MAX_TYPES];
	size_t type_cnt;
	unsigned int idle_cnt; /* places that were passed by a fresh object, or none */
};

/* ---- the process ----------------------------------------------------------------------------- */

static bool read_memory(pid_t pid, uint64_t addr, void *to, size_t len)
{
	struct iovec local = {to, len}, remote = {(void *)addr, len};

	return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)len;
}

static uint64_t read_word(pid_t pid, uint64_t addr)
{
	uint64_t word;

	return read_memory(pid, addr, &word, sizeof(word)) ? word : 0;
}

static void write_byte(pid_t pid, uint64_t addr, uint8_t byte)
{
	uint64_t word = read_word(pid, addr & ~7ULL);
	unsigned int shift = (addr & 7) * 8;

	word = (word & ~(0xffULL << shift)) | (uint64_t)byte << shift;
	assert_int_equal(ptrace(PTRACE_POKETEXT, pid, (void *)(addr & ~7ULL), (void *)word), 0);
}

static int wait_for_stop(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSTOPPED(status))
		return 0;
	return WSTOPSIG(status);
}

static uint64_t register_of(const struct user_regs_struct *regs, unsigned int reg)
{
	const uint64_t values[] = {regs->rax, regs->rcx, regs->rdx, regs->rbx, regs->rsp, regs->rbp,
				   regs->rsi, regs->rdi, regs->r8,  regs->r9,  regs->r10, regs->r11,
				   regs->r12, regs->r13, regs->r14, regs->r15};

	return values[reg];
}

/* ---- traps ----------------------------------------------------------------------------------- */

static int compare_traps(const void *a, const void *b)
{
	const struct trap *x = a, *y = b;

	return (x->addr > y->addr) - (x->addr < y->addr);
}

static void set_traps(struct run *run, uint64_t bias)
{
	struct trap trap = {.addr = bias + run->object_vaddr};
	uint64_t vaddr;

	assert_int_equal(array_push(&run->traps, trap), 0);
	for (size_t i = 0; i < run->sites.sites.cnt; i++) {
		trap.site = &run->sites.sites.items[i];
		assert_true(elf_segments__vaddr(&run->image.segments, trap.site->off, &vaddr));
		trap.addr = bias + vaddr;
		assert_int_equal(array_push(&run->traps, trap), 0);
	}
	qsort(run->traps.items, run->traps.cnt, sizeof(trap), compare_traps);
	for (size_t i = 0; i < run->traps.cnt; i++) {
		assert_true(read_memory(run->pid, run->traps.items[i].addr,
					&run->traps.items[i].byte, 1));
		write_byte(run->pid, run->traps.items[i].addr, 0xcc);
	}
}

static void step_over(const struct run *run, const struct trap *trap, struct user_regs_struct *regs)
{
	regs->rip = trap->addr;
	assert_int_equal(ptrace(PTRACE_SETREGS, run->pid, NULL, regs), 0);
	write_byte(run->pid, trap->addr, trap->byte);
	assert_int_equal(ptrace(PTRACE_SINGLESTEP, run->pid, NULL, NULL), 0);
	assert_int_equal(wait_for_stop(run->pid), SIGTRAP);
	write_byte(run->pid, trap->addr, 0xcc);
}

/* ---- what they see --------------------------------------------------------------------------- */

static struct type_count *count_of(struct run *run, uint64_t object)
{
	uint64_t name_at = read_word(run->pid, read_word(run->pid, object + 8) + TYPE_NAME);
	char name[40] = "";
	size_t i;

	if (!read_memory(run->pid, name_at, name, sizeof(name) - 1)) /* at the end of a segment */
		assert_true(read_memory(run->pid, name_at, name, 8));
	for (i = 0; i < run->type_cnt; i++)
		if (!strcmp(run->types[i].name, name))
			return &run->types[i];
	assert_true(run->type_cnt < MAX_TYPES);
	snprintf(run->types[run->type_cnt].name, sizeof(name), "%s", name);
	return &run->types[run->type_cnt++];
}

static void set_state(struct run *run, uint64_t block, enum block_state state)
{
	uint64_t *value = hashmap__insert(&run->blocks, block, 0, NULL);

	assert_non_null(value);
	*value = state;
}

/* The block that holds an object. */
static uint64_t *find_block(struct run *run, uint64_t object)
{
	uint64_t *state = NULL;

	for (uint64_t header = 0; header <= MAX_HEADER && !state; header += 16)
		state = hashmap__find(&run->blocks, object - header, 0);
	return state;
}

/* Whether such an object is never out of the allocator's sight, but for its age. */
static bool is_always_small(const char *type)
{
	return !strcmp(type, "list") || !strcmp(type, "dict") || !strcmp(type, "float") ||
	       !strcmp(type, "slice");
}

static void see_object(struct run *run, uint64_t object)
{
	bool was_renewed = hashmap__remove(&run->renewed, object, 0);
	struct type_count *count = count_of(run, object);
	uint64_t *state = find_block(run, object);

	if (state && *state == BLOCK_FRESH) {
		count->fresh++;
		run->idle_cnt += was_renewed;
		*state = BLOCK_USED;
	} else if (was_renewed) {
		count->recycled++;
	} else if (state || is_always_small(count->name)) {
		count->missed++;
	}
}

static void see_site(struct run *run, const struct python_site *site,
		     const struct user_regs_struct *regs)
{
	uint64_t cookie = site->cookie;
	uint64_t addr = register_of(regs, PYTHON_SITE_REG(cookie)) +
			(uint64_t)(int64_t)PYTHON_SITE_DISP(cookie);

	if (PYTHON_SITE_PLACE(cookie) == PYTHON_PLACE_MEM)
		addr = read_word(run->pid, addr);
	if (site->kind == SITE_FREE)
		hashmap__remove(&run->blocks, addr, 0);
	else if (site->kind != SITE_RENEW)
		set_state(run, addr, BLOCK_FRESH);
	else if (!addr)
		run->idle_cnt++;
	else
		*hashmap__insert(&run->renewed, addr, 0, NULL) = 1;
}

static void see(struct run *run, int signal)
{
	struct user_regs_struct regs;
	struct trap wanted, *trap;

	assert_int_equal(signal, SIGTRAP);
	assert_int_equal(ptrace(PTRACE_GETREGS, run->pid, NULL, &regs), 0);
	wanted.addr = regs.rip - 1;
	trap = bsearch(&wanted, run->traps.items, run->traps.cnt, sizeof(wanted), compare_traps);
	assert_non_null(trap);
	if (trap->site)
		see_site(run, trap->site, &regs);
	else
		see_object(run, regs.rdi);
	step_over(run, trap, &regs);
}

/* ---- a run ----------------------------------------------------------------------------------- */

/* The first call in _Py_NewReference; 3.13 has none and is told by the function itself. */
static uint64_t find_first_call(const struct elf_image *image, uint64_t vaddr)
{
	uint64_t off, avail, target;
	uint8_t bytes[96];
	struct site_insn insn;

	assert_true(elf_segments__offset(&image->segments, vaddr, true, &off, &avail));
	assert_int_equal(elf_image__read(image, off, bytes, sizeof(bytes)), 0);
	for (size_t at = 0; at + 16 < sizeof(bytes); at += insn.len) {
		assert_true(site_insn__decode(bytes + at, sizeof(bytes) - at, &insn));
		if (site_insn__control(&insn, bytes + at, vaddr + at, &target) == SITE_CALL)
			return target;
		if (bytes[at] == 0xff && bytes[at + 1] >> 3 == (0xe0 >> 3)) /* jmp *reg */
			break;
	}
	return vaddr;
}

static uint64_t find_object_function(const struct elf_image *image)
{
	struct build_place places[] = {{.name = "_PyTraceMalloc_NewReference"},
				       {.name = "_Py_NewReference"}};

	assert_int_equal(build_symbols__find(image, false, places, 2), 0);
	if (places[0].vaddr)
		return places[0].vaddr;
	return places[1].vaddr ? find_first_call(image, places[1].vaddr) : 0;
}

/* A copy of the file: probes of others, who may be at work here, take traps away. */
static char *copy_file(const char *path)
{
	const char *name = strrchr(path, '/') + 1;
	char *folder, *copy;

	assert_true(asprintf(&folder, "%s/XXXXXX", work_dir) > 0);
	assert_non_null(mkdtemp(folder));
	assert_true(asprintf(&copy, "%s/%s", folder, name) > 0);
	run_command("cp -L %s %s", path, copy);
	free(folder);
	return copy;
}

/* Runs a program, which finds a library in the file's folder before any other. */
static void run_program(const char *program, const char *name, const char *file)
{
	char *folder = strdup(file);

	*strrchr(folder, '/') = '\0';
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	unsetenv("PYTHONHOME");
	unsetenv("PYTHONPATH");
	unsetenv("LD_PRELOAD");
	setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
	setenv("LD_LIBRARY_PATH", folder, 1);
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	execl(program, name, SCRIPT, NULL);
	_exit(127);
}

/* Finds what is added to the addresses of the file where it is mapped. */
static uint64_t find_bias(const struct run *run)
{
	uint64_t vaddr, bias = UINT64_MAX;
	struct proc_maps maps;
	struct stat st;

	assert_int_equal(fstat(run->fd, &st), 0);
	assert_int_equal(proc_maps__read(run->pid, &maps), 0);
	for (size_t i = 0; i < maps.maps.cnt; i++) {
		const struct proc_map *map = &maps.maps.items[i];

		if (!map->executable || map->ino != st.st_ino)
			continue;
		assert_true(elf_segments__vaddr(&run->image.segments, map->off, &vaddr));
		bias = map->start - vaddr;
	}
	proc_maps__free(&maps);
	assert_true(bias != UINT64_MAX);
	return bias;
}

static void begin(struct run *run, char *file)
{
	*run = (struct run){.file = file, .fd = regular_file__open(file)};
	assert_int_equal(python_sites__analyse(run->fd, &run->sites), 0);
	assert_int_equal(elf_image__open(&run->image, run->fd, EM_X86_64), 0);
	run->object_vaddr = find_object_function(&run->image);
	assert_true(run->object_vaddr);
}

/* Runs the program from its first SIGUSR1 to its second one. */
static void trace(struct run *run, const char *program, const char *name)
{
	int signal = 0, status;

	run->pid = fork();
	assert_true(run->pid >= 0);
	if (!run->pid)
		run_program(program, name, run->file);
	for (;;) {
		signal = wait_for_stop(run->pid);
		if (signal == SIGUSR1 && run->traps.cnt)
			break;
		if (signal == SIGUSR1)
			set_traps(run, find_bias(run));
		else if (run->traps.cnt)
			see(run, signal);
		else
			assert_int_equal(signal, SIGTRAP); /* exec */
		assert_int_equal(ptrace(PTRACE_CONT, run->pid, NULL, NULL), 0);
	}
	kill(run->pid, SIGKILL);
	assert_int_equal(waitpid(run->pid, &status, 0), run->pid);
}

static void end(struct run *run)
{
	elf_image__close(&run->image);
	close(run->fd);
	free(run->file);
	hashmap__free(&run->blocks);
	hashmap__free(&run->renewed);
	array_free(&run->traps);
	python_sites__free(&run->sites);
}

static const struct type_count *find_count(const struct run *run, const char *type)
{
	static const struct type_count none;

	for (size_t i = 0; i < run->type_cnt; i++)
		if (!strcmp(run->types[i].name, type))
			return &run->types[i];
	return &none;
}

/* ---- a small program ------------------------------------------------------------------------- */

static void check_build(const char *cc, const char *more)
{
	char *flags, *path;
	struct run run;

	/* The analyser finds the functions by what others can be bound to. */
	assert_true(asprintf(&flags, "-rdynamic -DRUN_OBJECTS %s", more) > 0);
	path = compile(cc, flags, "recycle.c");
	begin(&run, path);
	assert_int_equal(run.sites.verdict, SITES_COMPLETE);
	trace(&run, path, path);
	if (find_count(&run, "list")->recycled != 80 ||
	    find_count(&run, "number")->recycled != 80 || find_count(&run, "once")->recycled != 4)
		fail_msg("%s %s: %u lists, %u numbers, %u once", cc, flags,
			 find_count(&run, "list")->recycled, find_count(&run, "number")->recycled,
			 find_count(&run, "once")->recycled);
	for (size_t i = 0; i < run.type_cnt; i++)
		assert_int_equal(run.types[i].missed, 0);
	end(&run);
	free(flags);
}

static void test_builds(void **state)
{
	static const char *const compilers[] = {"gcc", "clang"};
	static const char *const builds[] = {
		"-O1 -no-pie",
		"-O2",
		"-O2 -DINLINED",
		"-O3 -DINLINED -DBOTH_AT_ONCE -no-pie",
		"-Os -DINLINED",
		"-O2 -DBOTH_AT_ONCE -fno-plt",
		"-O2 -DTRACER -fPIC",
		"-O2 -DTRACER -DINLINED -fPIC",
		"-O2 -DTRACER -DINLINED -DBOTH_AT_ONCE -no-pie",
		"-O2 -DINLINED -fno-omit-frame-pointer -fcf-protection=full",
	};

	(void)state;
	for (size_t cc = 0; cc < 2; cc++)
		for (size_t i = 0; i < sizeof(builds) / sizeof(builds[0]); i++)
			check_build(compilers[cc], builds[i]);
}

/* Calls that go through the procedure linkage table, as in a library: how many there are. */
static void test_libraries(void **state)
{
	static const char *const builds[] = {"",	 "-DINLINED",
					     "-DTRACER", "-DTRACER -DINLINED",
					     "-fno-plt", "-fno-plt -DINLINED"};
	char *flags, *path;
	struct run run;

	(void)state;
	for (size_t i = 0; i < sizeof(builds) / sizeof(builds[0]); i++) {
		assert_true(asprintf(&flags, "-shared -fPIC -O2 %s", builds[i]) > 0);
		path = compile("gcc", flags, "recycle.c");
		begin(&run, path);
		assert_int_equal(run.sites.renew_cnt, 3);
		end(&run);
		free(flags);
	}
}

/* ---- Pythons --------------------------------------------------------------------------------- */

/* The types that are kept, and by which versions. */
static const struct {
	const char *name;
	uint16_t first, last;
} kept_types[] = {
	{"list", 0x0308, 0x030d},
	{"tuple", 0x0308, 0x030d},
	{"dict", 0x0308, 0x030d},
	{"float", 0x0308, 0x030d},
	{"slice", 0x0308, 0x030d},
	{"MemoryError", 0x0308, 0x030d},
	{"async_generator_asend", 0x0308, 0x030d},
	{"async_generator_wrapped_value", 0x0308, 0x030d},
	{"Context", 0x0308, 0x0309},
	{"_contextvars.Context", 0x030a, 0x030d},
	{"method", 0x0308, 0x0308},
	{"builtin_function_or_method", 0x0308, 0x0308},
};

static void tell(const struct run *run, const char *version)
{
	printf("%s: %u places;", version, run->sites.renew_cnt);
	for (size_t i = 0; i < run->type_cnt; i++) {
		const struct type_count *count = &run->types[i];

		if (count->recycled + count->missed)
			printf(" %s %u of %u,", count->name, count->recycled,
			       count->recycled + count->missed);
	}
	printf(" in vain %u\n", run->idle_cnt);
}

/* Frames are left out, and a finalizer that brings its generator back to life tells of it again. */
static bool is_let_go(const char *type)
{
	return !strcmp(type, "frame") || !strcmp(type, "async_generator");
}

static void check_counts(const struct run *run, const struct python *python)
{
	unsigned int recycled = 0;

	for (size_t i = 0; i < sizeof(kept_types) / sizeof(kept_types[0]); i++)
		if (python->version_hex >= kept_types[i].first &&
		    python->version_hex <= kept_types[i].last)
			assert_true(find_count(run, kept_types[i].name)->recycled > 0);
	for (size_t i = 0; i < run->type_cnt; i++) {
		recycled += run->types[i].recycled;
		if (!is_let_go(run->types[i].name))
			assert_int_equal(run->types[i].missed, 0);
	}
	assert_true(run->idle_cnt < recycled / 5);
}

static void check_python(const struct python *python)
{
	char *path = find_interpreter_file(python), *copy;
	struct run run;

	if (!path || python->version_hex < 0x0308) {
		printf("skipped: %s, tracemalloc is told of no new objects\n", python->version);
		free(path);
		return;
	}
	copy = copy_file(path);
	begin(&run, copy);
	trace(&run, strcmp(path, python->path) == 0 ? copy : python->path, python->path);
	tell(&run, python->version);
	check_counts(&run, python);
	end(&run);
	free(path);
}

static void test_pythons(void **state)
{
	(void)state;
	for (size_t i = 0; i < python_cnt; i++)
		check_python(&pythons[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_builds),
		cmocka_unit_test(test_libraries),
		cmocka_unit_test(test_pythons),
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
