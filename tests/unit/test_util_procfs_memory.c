/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits and sizes of memory: real ones of this machine, and text that is not as it should be. */
#include "unit/compile.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "unit/cgroup_files.h"
#include "util/format.h"
#include "util/procfs_memory.h"

#define KIB 1024ULL
#define MIB (1ULL << 20)
#define NO_SUCH_PID 0x3ffffffe /* above the kernel's PID_MAX_LIMIT */

/* ---- a process ---- */

static void test_limits_text(void **state)
{
	static const char *const broken[] = {
		"",
		"Max address space",
		"Max address space         ",
		"Max address space         12",
		"Max address space  -5 1 bytes\nMax data size  1 1 bytes\n",
		"Max address space         99999999999999999999999 1 bytes\nMax data size  1 1 b\n",
		"Max address space         unlimitedish 1 bytes\nMax data size  1 1 b\n",
		"xMax address space        1 1 bytes\nMax data size             1 1 bytes\n",
		"Max address space         1 1 bytes\nMax data sizes            1 1 bytes\n",
	};
	struct proc_memory memory = {.size_limit = 7, .data_limit = 8};

	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		assert_int_equal(proc_memory__parse_limits(&memory, broken[i]), -EBADMSG);
		assert_int_equal(memory.size_limit, 7);
		assert_int_equal(memory.data_limit, 8);
	}
	assert_int_equal(proc_memory__parse_limits(&memory,
						   "Limit                     Soft Limit           "
						   "Hard Limit           Units\n"
						   "Max data size             unlimited            "
						   "unlimited            bytes\n"
						   "Max address space         536870912            "
						   "unlimited            bytes\n"),
			 0);
	assert_int_equal(memory.size_limit, 512 * MIB);
	assert_true(memory.data_limit == MEMORY_UNLIMITED);
}

static void test_status_text(void **state)
{
	static const char *const broken[] = {
		"",
		"VmSize:\nVmPeak:\nVmData:\n",
		"Name:\tVmSize: 1 kB\nVmPeak:\t1 kB\nVmData:\t1 kB\n",
		"VmSize:\t1 kB\nVmPeak:\t1 MB\nVmData:\t1 kB\n",
		"VmSize:\t18446744073709551615 kB\nVmPeak:\t1 kB\nVmData:\t1 kB\n",
		"VmSize:\t-1 kB\nVmPeak:\t1 kB\nVmData:\t1 kB\n",
		"VmSize:\t1 kB\nVmPeak:\t1 kB\nVmData:\t1",
	};
	struct proc_memory memory = {.size = 7};

	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
		assert_int_equal(proc_memory__parse_status(&memory, broken[i]), -EBADMSG);
		assert_int_equal(memory.size, 7);
	}
	assert_int_equal(proc_memory__parse_status(
				 &memory, "Name:\tx\nVmPeak:\t   30 kB\nVmSize:\t   20 kB\n"
					  "VmData:\t   10 kB\n"),
			 0);
	assert_int_equal(memory.size, 20 * KIB);
	assert_int_equal(memory.size_peak, 30 * KIB);
	assert_int_equal(memory.data, 10 * KIB);
}

/* A child under a limit that has given memory back is seen with both. */
static void test_process(void **state)
{
	struct rlimit limit = {512 * MIB, 600 * MIB};
	struct proc_memory memory;
	int go[2];
	char byte;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(go), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		void *map = mmap(NULL, 64 * MIB, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		munmap(map, 64 * MIB);
		setrlimit(RLIMIT_DATA, &limit);
		if (write(go[1], "", 1) == 1)
			pause();
		_exit(0);
	}
	close(go[1]);
	assert_int_equal(read(go[0], &byte, 1), 1);
	assert_int_equal(proc_memory__read(pid, &memory), 0);
	assert_int_equal(memory.data_limit, 512 * MIB);
	assert_true(memory.size > MIB);
	assert_true(memory.size_peak >= memory.size + 64 * MIB);
	assert_in_range(proc_map_cnt(pid), 5, 10000);
	kill(pid, SIGKILL);
	/* Not reaped yet: the limits are there, the sizes are gone. */
	assert_int_equal(waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT), 0);
	assert_int_equal(proc_memory__read(pid, &memory), 0);
	assert_int_equal(memory.data_limit, 512 * MIB);
	assert_int_equal(memory.size, 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(proc_memory__read(NO_SUCH_PID, &memory), -ESRCH);
	assert_int_equal(proc_map_cnt(NO_SUCH_PID), 0);
	close(go[0]);
}

/* ---- the host ---- */

static void test_host(void **state)
{
	struct host_memory host = {.ram = 7};

	(void)state;
	assert_int_equal(host_memory__parse_meminfo(&host, "MemTotal: 1 kB\n"), -EBADMSG);
	assert_int_equal(host.ram, 7);
	assert_int_equal(
		host_memory__parse_meminfo(
			&host, "MemTotal:       24684084 kB\nMemFree:  1 kB\n"
			       "MemAvailable:        512 kB\nSwapTotal:   9 kB\nSwapFree:   4 kB\n"
			       "CommitLimit:    12342040 kB\nCommitted_AS: 75260 kB\n"),
		0);
	assert_int_equal(host.ram, 24684084 * KIB);
	assert_int_equal(host.available, 512 * KIB);
	assert_int_equal(host.swap, 9 * KIB);
	assert_int_equal(host.swap_free, 4 * KIB);
	assert_int_equal(host.commit_limit, 12342040 * KIB);
	assert_int_equal(host.committed, 75260 * KIB);
	assert_int_equal(host_memory__read(&host), 0);
	assert_true(host.ram > 64 * MIB && host.ram < 1ULL << 50);
	assert_true(host.available <= host.ram);
	assert_true(host.overcommit <= OVERCOMMIT_STRICT);
	assert_true(host.max_maps > 1000);
	assert_true(host.user_reserve && host.admin_reserve);
}

/* ---- control groups: files in a folder, as a hierarchy shows them ---- */

static void check_group(bool is_v1, const char *path, const char *found, uint64_t limit,
			uint64_t usage, uint64_t peak)
{
	struct cgroup_memory memory;
	int err = cgroup_memory__find(work_dir, is_v1, path, &memory);

	if (!found) {
		assert_int_equal(err, -ENOENT);
		return;
	}
	assert_int_equal(err, 0);
	assert_string_equal(memory.path, found);
	assert_int_equal(memory.limit, limit);
	assert_int_equal(memory.usage, usage);
	assert_int_equal(memory.peak, peak);
	assert_string_equal(memory.limit_name, is_v1 ? "memory.limit_in_bytes" : "memory.max");
	cgroup_memory__free(&memory);
}

static void test_cgroup_v2(void **state)
{
	(void)state;
	put_group_file(work_dir, "/a", "memory.max", "1000\n");
	put_group_file(work_dir, "/a", "memory.current", "990\n");
	put_group_file(work_dir, "/a/b", "memory.max", "500\n");
	put_group_file(work_dir, "/a/b", "memory.current", "100\n");
	put_group_file(work_dir, "/a/b", "memory.peak", "499\n");
	put_group_file(work_dir, "/a/b/c", "memory.max", "max\n");
	put_group_file(work_dir, "/a/b/c", "memory.current", "90\n");
	check_group(false, "/a/b/c", "/a", 1000, 990, 0);
	check_group(false, "/a/b/c//", "/a", 1000, 990, 0);
	check_group(false, "/a", "/a", 1000, 990, 0);
	check_group(false, "/other", NULL, 0, 0, 0);
	check_group(false, "/", NULL, 0, 0, 0);
	put_group_file(work_dir, "/a", "memory.current", "10\n");
	check_group(false, "/a/b/c", "/a/b", 500, 100, 499);
	/* Above its limit, as after the limit was lowered: no room, no overflow. */
	put_group_file(work_dir, "/a", "memory.current", "2000\n");
	check_group(false, "/a/b/c", "/a", 1000, 2000, 0);
}

static void test_cgroup_v1(void **state)
{
	(void)state;
	put_group_file(work_dir, "", "memory.limit_in_bytes", "9223372036854771712\n");
	put_group_file(work_dir, "", "memory.usage_in_bytes", "123456\n");
	put_group_file(work_dir, "/x", "memory.limit_in_bytes", "67108864\n");
	put_group_file(work_dir, "/x", "memory.usage_in_bytes", "67000000\n");
	put_group_file(work_dir, "/x", "memory.max_usage_in_bytes", "67108864\n");
	check_group(true, "/x", "/x", 67108864, 67000000, 67108864);
	check_group(true, "/", NULL, 0, 0, 0);
	check_group(true, "/y", NULL, 0, 0, 0);
}

static void test_cgroup_hostile(void **state)
{
	static const char *const numbers[] = {
		"", "\n", "-1\n", "12x\n", "maximum\n", "99999999999999999999999999\n", " 5\n",
	};
	struct cgroup_memory memory;

	(void)state;
	put_group_file(work_dir, "/h", "memory.current", "1\n");
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		put_group_file(work_dir, "/h", "memory.max", numbers[i]);
		check_group(false, "/h", NULL, 0, 0, 0);
	}
	put_group_file(work_dir, "/h", "memory.max", "5\n");
	check_group(false, "/h", "/h", 5, 1, 0);
	assert_int_equal(cgroup_memory__find(work_dir, false, "/../h", &memory), -EINVAL);
	assert_int_equal(cgroup_memory__find(work_dir, false, "/h/..", &memory), -EINVAL);
	assert_int_equal(cgroup_memory__find(work_dir, false, "h", &memory), -EINVAL);
	assert_int_equal(cgroup_memory__find(work_dir, false, "", &memory), -EINVAL);
	/* Two dots at the start of a name are a name. */
	put_group_file(work_dir, "/..h", "memory.max", "6\n");
	put_group_file(work_dir, "/..h", "memory.current", "1\n");
	check_group(false, "/..h", "/..h", 6, 1, 0);
}

/* Page cache gives way: a group full of it has room, but shmem has not. */
static void test_cgroup_room(void **state)
{
	struct cgroup_memory memory;

	(void)state;
	put_group_file(work_dir, "/r", "memory.max", "1000\n");
	put_group_file(work_dir, "/r", "memory.current", "990\n");
	put_group_file(work_dir, "/r", "memory.stat",
		       "anon 90\nfile 900\nshmem 300\ninactive_file 400\nactive_file 200\n");
	put_group_file(work_dir, "/r/s", "memory.max", "500\n");
	put_group_file(work_dir, "/r/s", "memory.current", "90\n");
	put_group_file(work_dir, "/r/s", "memory.stat", "anon 90\nfile 0\n");
	assert_int_equal(cgroup_memory__find(work_dir, false, "/r/s", &memory), 0);
	assert_string_equal(memory.path, "/r/s");
	assert_int_equal(cgroup_memory__room(&memory), 410);
	cgroup_memory__free(&memory);
	assert_int_equal(cgroup_memory__find(work_dir, false, "/r", &memory), 0);
	assert_int_equal(memory.reclaimable, 600);
	assert_int_equal(cgroup_memory__room(&memory), 610);
	cgroup_memory__free(&memory);
	put_group_file(work_dir, "/q", "memory.limit_in_bytes", "1000\n");
	put_group_file(work_dir, "/q", "memory.usage_in_bytes", "500\n");
	put_group_file(work_dir, "/q", "memory.stat",
		       "total_inactive_file 18446744073709551615\ntotal_active_file 1\n");
	assert_int_equal(cgroup_memory__find(work_dir, true, "/q", &memory), 0);
	assert_int_equal(cgroup_memory__room(&memory), 500);
	put_group_file(work_dir, "/q", "memory.stat",
		       "total_inactive_file 700\ntotal_active_file 1\n");
	cgroup_memory__free(&memory);
	assert_int_equal(cgroup_memory__find(work_dir, true, "/q", &memory), 0);
	assert_int_equal(cgroup_memory__room(&memory), 1000);
	cgroup_memory__free(&memory);
}

static void check_room(bool is_v1, const char *path, uint64_t swap_free, const char *found,
		       uint64_t room, uint64_t limit)
{
	struct cgroup_memory memory;

	assert_int_equal(cgroup_memory__find_with_swap(work_dir, is_v1, path, swap_free, &memory),
			 0);
	assert_string_equal(memory.path, found);
	assert_int_equal(cgroup_memory__room(&memory), room);
	assert_int_equal(memory.limit + memory.swap + memory.swap_room, limit);
	cgroup_memory__free(&memory);
}

/* What may be swapped out is room, but only as far as each group above may use swap. */
static void test_cgroup_swap_v2(void **state)
{
	(void)state;
	put_group_file(work_dir, "/w", "memory.max", "1000\n");
	put_group_file(work_dir, "/w", "memory.current", "980\n");
	put_group_file(work_dir, "/w/x", "memory.max", "500\n");
	put_group_file(work_dir, "/w/x", "memory.current", "450\n");
	put_group_file(work_dir, "/w/x", "memory.swap.current", "70\n");
	check_room(false, "/w/x", 0, "/w", 20, 1000);
	assert_int_equal(cgroup_swapped(work_dir, false, "/w/x"), 70);
	assert_int_equal(cgroup_swapped(work_dir, false, "/w"), 0);
	assert_int_equal(cgroup_swapped(work_dir, false, "/../w"), 0);
	/* The host's swap, without limits of groups. */
	check_room(false, "/w/x", 900, "/w", 920, 1900);
	/* The inner group may have none, the outer one much. */
	put_group_file(work_dir, "/w/x", "memory.swap.max", "0\n");
	put_group_file(work_dir, "/w", "memory.swap.max", "max\n");
	check_room(false, "/w/x", 900, "/w/x", 50, 570);
	/* The outer one's limit holds for the inner one, too. */
	put_group_file(work_dir, "/w/x", "memory.swap.max", "max\n");
	put_group_file(work_dir, "/w", "memory.swap.max", "100\n");
	put_group_file(work_dir, "/w", "memory.swap.current", "75\n");
	check_room(false, "/w/x", 900, "/w", 45, 1100);
	put_group_file(work_dir, "/w", "memory.swap.current", "101\n");
	check_room(false, "/w/x", 900, "/w", 20, 1101);
	check_room(false, "/w/x", UINT64_MAX, "/w", 20, 1101);
}

static void test_cgroup_swap_v1(void **state)
{
	(void)state;
	put_group_file(work_dir, "/w", "memory.limit_in_bytes", "1000\n");
	put_group_file(work_dir, "/w", "memory.usage_in_bytes", "900\n");
	check_room(true, "/w", 0, "/w", 100, 1000);
	check_room(true, "/w", 700, "/w", 800, 1700);
	assert_int_equal(cgroup_swapped(work_dir, true, "/w"), 0);
	put_group_file(work_dir, "/w", "memory.memsw.limit_in_bytes", "9223372036854771712\n");
	put_group_file(work_dir, "/w", "memory.memsw.usage_in_bytes", "930\n");
	check_room(true, "/w", 700, "/w", 800, 1730);
	assert_int_equal(cgroup_swapped(work_dir, true, "/w"), 30);
	put_group_file(work_dir, "/w", "memory.memsw.limit_in_bytes", "1500\n");
	check_room(true, "/w", 700, "/w", 570, 1500);
	check_room(true, "/w", 300, "/w", 400, 1330);
	/* Both together may be full where memory alone is not. */
	put_group_file(work_dir, "/w", "memory.memsw.usage_in_bytes", "1490\n");
	check_room(true, "/w", 700, "/w", 10, 1500);
}

/* Whatever this process is in: an answer, or none, but no failure. */
static void test_cgroup_of_process(void **state)
{
	struct cgroup_memory memory;
	int err = cgroup_memory__of_proc(getpid(), NULL, &memory);

	(void)state;
	if (!err) {
		assert_true(memory.limit < MEMORY_UNLIMITED);
		cgroup_memory__free(&memory);
	} else {
		assert_int_equal(err, -ENOENT);
	}
	assert_int_equal(cgroup_memory__of_proc(NO_SUCH_PID, NULL, &memory), -ENOENT);
	assert_int_equal(cgroup_memory__of_proc(NO_SUCH_PID, "/no/such/group", &memory), -ENOENT);
}

static void test_cgroup_stat_text(void **state)
{
	static const char *const broken[] = {
		"",
		"anon 1\n",
		"anon 1\nfile -1\n",
		"anon 1\nfile 99999999999999999999999\n",
		"anon 1\nfile 12x\n",
		"anon_thp 1\nfile_mapped 2\n",
		"xanon 1\nfile 2\n",
		"anon  1\nfile 2\n",
	};
	struct cgroup_stat stat = {.anon_bytes = 7, .file_bytes = 8};

	(void)state;
	for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++)
		assert_int_equal(cgroup_stat__parse(&stat, broken[i], false), -EBADMSG);
	assert_int_equal(stat.anon_bytes, 7);
	assert_int_equal(stat.file_bytes, 8);
	assert_int_equal(cgroup_stat__parse(&stat, "anon 4096\nfile 8192\nkernel 5\n", false), 0);
	assert_int_equal(stat.anon_bytes, 4096);
	assert_int_equal(stat.file_bytes, 8192);
	assert_int_equal(stat.shmem_bytes, 0);
	assert_int_equal(cgroup_stat__parse(&stat, "anon 1\nfile 9\nshmem 8\n", false), 0);
	assert_int_equal(stat.shmem_bytes, 8);
	assert_int_equal(cgroup_stat__parse(&stat, "anon 1\nfile 9\nshmem 10\n", false), 0);
	assert_int_equal(stat.shmem_bytes, 0);
	/* v1 tells the group's own beside those with all below. */
	assert_int_equal(
		cgroup_stat__parse(
			&stat, "cache 1\nrss 2\nshmem 1\ntotal_cache 3\ntotal_rss 4\ntotal_shmem 2",
			true),
		0);
	assert_int_equal(stat.shmem_bytes, 2);
	assert_int_equal(stat.anon_bytes, 4);
	assert_int_equal(stat.file_bytes, 3);
}

static void test_cgroup_stat(void **state)
{
	struct cgroup_stat stat;

	(void)state;
	put_group_file(work_dir, "/s", "memory.stat", "anon 10\nfile 20\n");
	assert_int_equal(cgroup_stat__read(work_dir, false, "/s", &stat), 0);
	assert_int_equal(stat.anon_bytes, 10);
	assert_int_equal(stat.file_bytes, 20);
	assert_int_equal(stat.usage_bytes, 0);
	put_group_file(work_dir, "/s", "memory.current", "31\n");
	assert_int_equal(cgroup_stat__read(work_dir, false, "/s", &stat), 0);
	assert_int_equal(stat.usage_bytes, 31);
	put_group_file(work_dir, "/t", "memory.stat", "total_rss 5\ntotal_cache 6\n");
	put_group_file(work_dir, "/t", "memory.usage_in_bytes", "12\n");
	assert_int_equal(cgroup_stat__read(work_dir, true, "/t", &stat), 0);
	assert_int_equal(stat.anon_bytes, 5);
	assert_int_equal(stat.usage_bytes, 12);
	assert_int_equal(cgroup_stat__read(work_dir, false, "/t", &stat), -EBADMSG);
	assert_int_equal(cgroup_stat__read(work_dir, false, "/none", &stat), -ENOENT);
	assert_int_equal(cgroup_stat__read(work_dir, false, "/s/../t", &stat), -EINVAL);
	assert_int_equal(stat.usage_bytes, 12);
	assert_true(cgroup_id(work_dir, "/s") &&
		    cgroup_id(work_dir, "/s") != cgroup_id(work_dir, "/t"));
	assert_int_equal(cgroup_id(work_dir, "/none"), 0);
	assert_int_equal(cgroup_id(work_dir, "/s/../t"), 0);
	assert_int_equal(cgroup_id(work_dir, "/s/memory.stat"), 0);
}

static void test_oom_kills_text(void **state)
{
	static const struct {
		const char *text;
		int err;
		uint64_t cnt;
	} cases[] = {
		{"low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 7\n", 0, 2},
		{"oom_kill_disable 0\nunder_oom 1\noom_kill 5\n", 0, 5},
		{"nr_free_pages 9\npswpin 0\noom_kill 18446744073709551615\nnuma_hit 1", 0,
		 UINT64_MAX},
		{"oom_kill 4", 0, 4},
		{"oom_kill_disable 1\nunder_oom 0\n", -EBADMSG, 0}, /* before 4.13 */
		{"", -EBADMSG, 0},
		{"oom_kill", -EBADMSG, 0},
		{"oom_kill \n", -EBADMSG, 0},
		{"oom_kill -1\n", -EBADMSG, 0},
		{"oom_kill 1x\n", -EBADMSG, 0},
		{"xoom_kill 1\n", -EBADMSG, 0},
		{"oom_kill 18446744073709551616\n", -EBADMSG, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t cnt = 77;
		int err = oom_kills__parse(cases[i].text, &cnt);

		if (err != cases[i].err || cnt != (err ? 77 : cases[i].cnt))
			fail_msg("\"%s\": %d, %llu", cases[i].text, err, (unsigned long long)cnt);
	}
}

/* Of a group alone; kernels that have no such file count the same in another one. */
static void test_oom_kills(void **state)
{
	uint64_t cnt = 77;
	char *path;
	int fd;

	(void)state;
	put_group_file(work_dir, "/o", "memory.events", "oom_kill 9\n");
	assert_int_equal(cgroup_oom_kills(work_dir, false, "/o", &cnt), 0);
	assert_int_equal(cnt, 9);
	put_group_file(work_dir, "/o", "memory.events.local", "oom_kill 4\n");
	assert_int_equal(cgroup_oom_kills(work_dir, false, "/o", &cnt), 0);
	assert_int_equal(cnt, 4);
	assert_int_equal(cgroup_oom_kills(work_dir, true, "/o", &cnt), -ENOENT);
	put_group_file(work_dir, "/o", "memory.oom_control", "oom_kill_disable 0\noom_kill 6\n");
	assert_int_equal(cgroup_oom_kills(work_dir, true, "/o", &cnt), 0);
	assert_int_equal(cnt, 6);
	put_group_file(work_dir, "/o", "memory.events.local", "oom_kill many\n");
	assert_int_equal(cgroup_oom_kills(work_dir, false, "/o", &cnt), -EBADMSG);
	assert_int_equal(cgroup_oom_kills(work_dir, false, "/none", &cnt), -ENOENT);
	assert_int_equal(cgroup_oom_kills(work_dir, false, "/o/../o", &cnt), -EINVAL);
	assert_int_equal(cgroup_oom_kills(work_dir, false, "o", &cnt), -EINVAL);
	assert_int_equal(cnt, 6);
	path = format_text("%s/o/memory.oom_control", work_dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	for (int i = 0; i < 2; i++) { /* from its start each time */
		cnt = 0;
		assert_int_equal(host_oom_kills(fd, &cnt), 0);
		assert_int_equal(cnt, 6);
	}
	close(fd);
	free(path);
	assert_int_equal(host_oom_kills(-1, &cnt), -EBADF);
	assert_int_equal(cnt, 6);
}

/* The kernel's own counter has been there since 4.13. */
static void test_oom_kills_of_the_host(void **state)
{
	int fd = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);
	uint64_t cnt, again;

	(void)state;
	assert_int_equal(host_oom_kills(fd, &cnt), 0);
	assert_int_equal(host_oom_kills(fd, &again), 0);
	assert_true(again >= cnt);
	close(fd);
}

#define UNIT_TEST(f) cmocka_unit_test_setup_teardown(f, make_work_dir, remove_work_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits_text), cmocka_unit_test(test_status_text),
		cmocka_unit_test(test_process),	    cmocka_unit_test(test_host),
		UNIT_TEST(test_cgroup_v2),	    UNIT_TEST(test_cgroup_v1),
		UNIT_TEST(test_cgroup_hostile),	    UNIT_TEST(test_cgroup_room),
		UNIT_TEST(test_cgroup_swap_v2),	    UNIT_TEST(test_cgroup_swap_v1),
		UNIT_TEST(test_cgroup_of_process),  cmocka_unit_test(test_cgroup_stat_text),
		UNIT_TEST(test_cgroup_stat),	    cmocka_unit_test(test_oom_kills_text),
		UNIT_TEST(test_oom_kills),	    cmocka_unit_test(test_oom_kills_of_the_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
