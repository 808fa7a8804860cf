/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit/compile.h"
#include "unit/inner_child.h"
#include "unit/mapped_file.h"
#include "unit/named_child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>

#include "util/procfs.h"
#include "util/procfs_read.h"

#define NO_SUCH_PID 0x3ffffffe /* above the kernel's PID_MAX_LIMIT */

static const char *const names[] = {
	"plain",     "with blank",     "two  blanks ",
	"new\nline", "back\\slash",    "looks (deleted) gone",
	"tab\there", "back\\012slash", "uml\xc3\xa4ut",
};

static char *file_path(const char *name)
{
	char *path;

	assert_true(asprintf(&path, "%s/%s", work_dir, name) > 0);
	return path;
}

/* Creates a file of two pages and maps the second one. */
static void *map_file(const char *path, uint8_t mark)
{
	make_marked_file(path, mark);
	return map_page(path, NULL);
}

static void test_maps_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char *path = file_path(names[i]);
		void *addr = map_file(path, (uint8_t)(i + 1));
		struct proc_maps maps;
		const struct proc_map *map = own_map(&maps, addr);
		struct stat st;

		assert_int_equal(stat(path, &st), 0);
		/*
		 * The kernel does not escape backslashes, so a name that spells an escape cannot be
		 * told from one.
		 */
		if (!strstr(names[i], "\\012"))
			assert_string_equal(map->path, path);
		assert_int_equal(map->start, (uintptr_t)addr);
		assert_int_equal(map->end - map->start, sysconf(_SC_PAGESIZE));
		assert_int_equal(map->off, sysconf(_SC_PAGESIZE));
		assert_int_equal(map->ino, st.st_ino);
		assert_true(map->readable && map->executable && !map->writable && !map->shared &&
			    !map->deleted);
		if (geteuid() == 0 || !strstr(names[i], "\\012"))
			assert_int_equal(first_byte(map), i + 1);
		proc_maps__free(&maps);

		/* Deleted, and another file put in its place: not that one. */
		assert_int_equal(unlink(path), 0);
		munmap(map_file(path, 99), (size_t)sysconf(_SC_PAGESIZE));
		map = own_map(&maps, addr);
		assert_true(map->deleted);
		if (!strstr(names[i], "\\012"))
			assert_string_equal(map->path, path);
		if (geteuid() == 0)
			assert_int_equal(first_byte(map), i + 1);
		else
			assert_true(first_byte(map) == (int)i + 1 || first_byte(map) < 0);
		proc_maps__free(&maps);
		munmap(addr, (size_t)sysconf(_SC_PAGESIZE));
		free(path);
	}
}

static void test_maps_kinds(void **state)
{
	long page = sysconf(_SC_PAGESIZE);
	int local = 0, memfd = memfd_create("some name", MFD_CLOEXEC);
	uint8_t *anon = mmap(NULL, 3 * (size_t)page, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *shared;
	struct proc_maps maps;
	const struct proc_map *map;

	(void)state;
	assert_int_equal(ftruncate(memfd, page), 0);
	assert_int_equal(pwrite(memfd, "m", 1, 0), 1);
	shared = mmap(NULL, (size_t)page, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
	assert_int_equal(mprotect(anon + page, (size_t)page, PROT_NONE), 0);
	map = own_map(&maps, anon + page);
	assert_int_equal(map->start, (uintptr_t)(anon + page));
	assert_true(!map->readable && !map->writable && !map->executable);
	assert_string_equal(map->path, "");
	assert_int_equal(map->dev, 0);
	assert_int_equal(map->ino, 0);
	assert_int_equal(proc_map__open(getpid(), map), -ENOENT);
	map = proc_maps__find(&maps, (uint64_t)(uintptr_t)&local);
	assert_true(map && map->writable);
	map = proc_maps__find(&maps, (uint64_t)(uintptr_t)shared);
	assert_string_equal(map->path, "/memfd:some name");
	assert_true(map->deleted && map->shared);
	if (geteuid() == 0)
		assert_int_equal(first_byte(map), 'm');
	assert_null(proc_maps__find(&maps, 0));
	assert_null(proc_maps__find(&maps, UINT64_MAX));
	for (size_t i = 1; i < maps.maps.cnt; i++)
		assert_true(maps.maps.items[i - 1].end <= maps.maps.items[i].start);
	for (size_t i = 0; i < maps.maps.cnt; i++) {
		assert_ptr_equal(proc_maps__find(&maps, maps.maps.items[i].start),
				 &maps.maps.items[i]);
		assert_ptr_equal(proc_maps__find(&maps, maps.maps.items[i].end - 1),
				 &maps.maps.items[i]);
	}
	proc_maps__free(&maps);
	munmap(shared, (size_t)page);
	munmap(anon, 3 * (size_t)page);
	close(memfd);
}

/*
 * A mapping that is not a regular file is never opened; one that lies about its inode is another
 * file.
 */
static void test_open_refuses(void **state)
{
	long page = sysconf(_SC_PAGESIZE);
	int zero = open("/dev/zero", O_RDWR | O_CLOEXEC);
	void *addr = mmap(NULL, (size_t)page, PROT_READ, MAP_PRIVATE, zero, 0);
	char *path = file_path("target"), *link = file_path("link"), *fifo = file_path("fifo");
	void *file = map_file(path, 7);
	struct proc_map fake;
	struct proc_maps maps;
	const struct proc_map *map;
	struct stat st;

	(void)state;
	assert_true(zero >= 0);
	map = own_map(&maps, addr);
	if (map->ino)
		assert_true(proc_map__open(getpid(), map) < 0);
	proc_maps__free(&maps);

	/* By name only, as without privilege: the range is none that exists. */
	map = own_map(&maps, file);
	fake = *map;
	fake.start = (uint64_t)page;
	fake.end = 2 * (uint64_t)page;
	assert_int_equal(first_byte(&fake), 7);
	fake.ino++;
	assert_int_equal(proc_map__open(getpid(), &fake), -ESTALE);
	fake.ino--;
	fake.dev = makedev(250, 250);
	assert_true(proc_map__open(getpid(), &fake) == -ESTALE ||
		    first_byte(&fake) == 7); /* an overlay or btrfs */
	fake.dev = map->dev;
	fake.deleted = true;
	assert_true(proc_map__open(getpid(), &fake) < 0);
	fake.deleted = false;

	assert_int_equal(symlink(path, link), 0);
	fake.path = link;
	assert_int_equal(first_byte(&fake), 7); /* the same inode in the end */
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(stat(fifo, &st), 0);
	fake.path = fifo;
	fake.ino = st.st_ino;
	assert_int_equal(proc_map__open(getpid(), &fake), -ENXIO); /* and does not block */
	fake.path = work_dir;
	assert_int_equal(proc_map__open(getpid(), &fake), -ENXIO);
	proc_maps__free(&maps);
	munmap(addr, (size_t)page);
	munmap(file, (size_t)page);
	close(zero);
	free(path);
	free(link);
	free(fifo);
}

static void test_info(void **state)
{
	static const char *const comms[] = {"plain",	      "a b",	   "x) R 1 1 (y",
					    "))))))))))))))", "new\nline", "0123456789abcdef"};
	struct proc_info info;
	struct timespec now;
	uint64_t now_ns;

	(void)state;
	for (size_t i = 0; i < sizeof(comms) / sizeof(comms[0]); i++) {
		pid_t pid = named_child__start(comms[i]);

		assert_int_equal(proc_info__read(pid, &info), 0);
		assert_int_equal(info.pid, pid);
		assert_int_equal(info.ppid, getpid());
		assert_memory_equal(info.comm, comms[i],
				    strlen(comms[i]) < 15 ? strlen(comms[i]) + 1 : 15);
		assert_false(info.kernel_thread || info.zombie);
		clock_gettime(CLOCK_BOOTTIME, &now);
		now_ns = (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
		assert_true(info.start_ns <= now_ns && now_ns - info.start_ns < 60000000000ULL);

		kill(pid, SIGKILL);
		assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
		assert_int_equal(proc_info__read(pid, &info), 0);
		assert_true(info.zombie);
		assert_int_equal(proc_rss_bytes(pid), 0);
		waitpid(pid, NULL, 0);
		assert_int_equal(proc_info__read(pid, &info), -ESRCH);
	}
	assert_int_equal(proc_info__read(NO_SUCH_PID, &info), -ESRCH);
	assert_int_equal(info.comm[0], '0'); /* untouched */
	if (proc_info__read(2, &info) == 0 && strcmp(info.comm, "kthreadd") == 0)
		assert_true(info.kernel_thread);
}

static void test_gone(void **state)
{
	struct proc_maps maps;

	(void)state;
	assert_int_equal(proc_maps__read(NO_SUCH_PID, &maps), -ESRCH);
	assert_null(proc_exe(NO_SUCH_PID));
	assert_null(proc_cgroup(NO_SUCH_PID));
	assert_int_equal(proc_rss_bytes(NO_SUCH_PID), 0);
	assert_int_equal(proc_anon_bytes(NO_SUCH_PID), 0);
	proc_maps__free(NULL);
}

static void test_exe_and_rss(void **state)
{
	size_t size = 16 << 20;
	uint64_t before = proc_rss_bytes(getpid()), after;
	uint64_t anon = proc_anon_bytes(getpid());
	char own[PATH_MAX], *exe = proc_exe(getpid()), *copy = file_path("sleeper"), *name = copy;
	uint8_t *block;
	pid_t pid;
	ssize_t len = readlink("/proc/self/exe", own, sizeof(own) - 1);

	(void)state;
	own[len] = '\0';
	assert_string_equal(exe, own);
	free(exe);
	block = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
		     -1, 0);
	memset(block, 1, size);
	after = proc_rss_bytes(getpid());
	assert_true(before > 0 && after >= before + size / 2);
	assert_true(anon > 0 && anon < before);
	assert_true(proc_anon_bytes(getpid()) >= anon + size / 2);
	munmap(block, size);

	/* A program whose file was deleted. */
	run_command("cp /bin/sleep %s", copy);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(copy, copy, "600", NULL);
		_exit(127);
	}
	for (int i = 0; i < 1000; i++) {
		exe = proc_exe(pid);
		if (exe && strcmp(exe, copy) == 0)
			break;
		free(exe);
		exe = NULL;
		usleep(10000);
	}
	assert_non_null(exe);
	free(exe);
	assert_int_equal(unlink(copy), 0);
	exe = proc_exe(pid);
	assert_string_equal(exe, name);
	free(exe);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	free(copy);
}

static void test_unescape(void **state)
{
	static const struct {
		const char *text, *escapes, *expected;
	} cases[] = {
		{"", "\n", ""},
		{"a\\012b", "\n", "a\nb"},
		{"a\\040b", "\n", "a\\040b"},
		{"a\\040b\\011\\134", " \t\n\\", "a b\t\\"},
		{"\\012", "\n", "\n"},
		{"\\01", "\n", "\\01"},
		{"\\", "\n", "\\"},
		{"\\000", "\n", "\\000"},
		{"\\777", "\n", "\\777"},
		{"\\0128", "\n", "\n8"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char *result =
			procfs_unescape(cases[i].text, strlen(cases[i].text), cases[i].escapes);

		assert_string_equal(result, cases[i].expected);
		free(result);
	}
}

/* The first process of a new PID namespace is number 1 there. */
static void test_ns_pid(void **state)
{
	struct inner_child child;

	(void)state;
	assert_int_equal(proc_ns_pid(getpid()), 0);
	assert_int_equal(proc_ns_pid(NO_SUCH_PID), 0);
	child = inner_child__start();
	assert_int_equal(proc_ns_pid(child.pid), 1);
	inner_child__end(&child);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_maps_names),   cmocka_unit_test(test_maps_kinds),
		cmocka_unit_test(test_open_refuses), cmocka_unit_test(test_info),
		cmocka_unit_test(test_gone),	     cmocka_unit_test(test_exe_and_rss),
		cmocka_unit_test(test_ns_pid),	     cmocka_unit_test(test_unescape),
	};

	return cmocka_run_group_tests_name("util procfs", tests, make_work_dir, remove_work_dir);
}
