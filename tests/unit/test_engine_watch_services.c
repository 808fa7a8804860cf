/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Services whose process ends, in real control groups: who goes on where it was, and who explains
 * whose growth. */
#include "unit/compile.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/sweep.h"
#include "engine/watch.h"
#include "unit/cgroup_files.h"
#include "util/format.h"

#define SEC 1000000000ULL
#define MIB (1ULL << 20)
#define MOST_DIRS 64
#define MOST_WORKERS 64

/* ---- control groups ---- */

static struct cgroup_mounts mounts;
static char *groups[MOST_DIRS]; /* directories, the deepest last */
static size_t group_cnt;
static char *top;		   /* path of the group that all others are in */
static pid_t living[MOST_WORKERS]; /* 0 = free */

static bool add_group(const char *mount, const char *path)
{
	char *dir = format_text("%s%s", mount, path);
	bool is_new = !mkdir(dir, 0755), is_there = is_new || errno == EEXIST;

	assert_true(group_cnt < MOST_DIRS);
	if (is_new)
		groups[group_cnt++] = dir;
	else
		free(dir);
	return is_there;
}

static bool join(const char *mount, const char *path, pid_t pid)
{
	char *name = format_text("%s%s/cgroup.procs", mount, path);
	int fd = open(name, O_WRONLY | O_CLOEXEC);
	bool done = fd >= 0 && dprintf(fd, "%d\n", pid) > 0;

	if (fd >= 0)
		close(fd);
	free(name);
	return done;
}

/* Makes a group below the top one, and those above it; in each hierarchy that this tool reads. */
static void make_group(const char *name)
{
	const char *const dirs[] = {mounts.unified, mounts.memory};
	char *path = format_text("%s%s", top, name);

	for (size_t i = 0; i < 2; i++) {
		for (char *end = path + strlen(top); dirs[i] && end;) {
			char cut = *end;

			*end = '\0';
			assert_true(add_group(dirs[i], path));
			*end = cut;
			end = cut ? strchrnul(end + 1, '/') : NULL;
		}
	}
	free(path);
}

static int set_up(void **state)
{
	make_work_dir(state);
	top = format_text("/leaksweep-unit-%d", getpid());
	return cgroup_mounts__read(&mounts);
}

/* A test that failed leaves processes: without them their groups can go. */
static int tear_down(void **state)
{
	for (size_t i = 0; i < MOST_WORKERS; i++) {
		if (living[i] > 0 && !kill(living[i], SIGKILL))
			waitpid(living[i], NULL, 0);
		living[i] = 0;
	}
	while (group_cnt) {
		if (rmdir(groups[--group_cnt]))
			return -1;
		free(groups[group_cnt]);
	}
	free(top);
	cgroup_mounts__free(&mounts);
	return remove_work_dir(state);
}

/* Whether this process may make control groups: as root, and where they are writable. */
static bool may_make_groups(void)
{
	return !geteuid() && (mounts.memory || mounts.unified) &&
	       (!mounts.memory || add_group(mounts.memory, top)) &&
	       (!mounts.unified || add_group(mounts.unified, top));
}

#define NEED_GROUPS()                                                                              \
	do {                                                                                       \
		if (!may_make_groups())                                                            \
			skip();                                                                    \
	} while (0)

/* ---- processes ---- */

struct worker {
	pid_t pid;
	int go, done;
};

static void change_living(pid_t from, pid_t to)
{
	size_t i = 0;

	while (i < MOST_WORKERS && living[i] != from)
		i++;
	assert_true(i < MOST_WORKERS);
	living[i] = to;
}

static void work(int go, int done)
{
	char byte;

	while (write(done, "", 1) == 1 && read(go, &byte, 1) == 1)
		memset(mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
		       1, MIB);
	_exit(0);
}

/* Starts a process in a group; each step it takes one more MiB. */
static struct worker start_worker(const char *group, const char *comm)
{
	struct worker worker;
	int go[2], done[2];
	char *path = format_text("%s%s", top, group), byte;

	assert_int_equal(pipe(go) | pipe(done), 0);
	worker.pid = fork();
	assert_true(worker.pid >= 0);
	if (!worker.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_NAME, comm);
		close(go[1]);
		close(done[0]);
		work(go[0], done[1]);
	}
	close(go[0]);
	close(done[1]);
	change_living(0, worker.pid);
	worker.go = go[1];
	worker.done = done[0];
	assert_int_equal(read(worker.done, &byte, 1), 1);
	assert_true(!mounts.unified || join(mounts.unified, path, worker.pid));
	assert_true(!mounts.memory || join(mounts.memory, path, worker.pid));
	free(path);
	return worker;
}

static void step(struct worker *worker)
{
	char byte;

	assert_int_equal(write(worker->go, "", 1), 1);
	assert_int_equal(read(worker->done, &byte, 1), 1);
}

static void end_worker(struct worker *worker)
{
	assert_true(worker->pid > 0);
	assert_int_equal(kill(worker->pid, SIGKILL), 0);
	assert_int_equal(waitpid(worker->pid, NULL, 0), worker->pid);
	change_living(worker->pid, 0);
	close(worker->go);
	close(worker->done);
}

/* ---- the watch ---- */

struct scene {
	struct watch watch;
	uint64_t now_ns;
};

static void begin(struct scene *scene)
{
	const char *const cgroups[] = {top};
	const struct watch_opts opts = {
		.cgroups = cgroups, .cgroup_cnt = 1, .max_open = 1000, .max_procs = 1000};

	*scene = (struct scene){.now_ns = SEC};
	assert_int_equal(watch__init(&scene->watch, &opts), 0);
	scene->watch.opts.cgroups = (const char *const *)&top;
}

static void pass(struct scene *scene, uint64_t seconds)
{
	scene->now_ns += seconds * SEC;
	assert_int_equal(watch__pass(&scene->watch, scene->now_ns), 0);
}

static struct watched *item_of(struct scene *scene, const struct worker *worker)
{
	for (size_t i = 0; i < scene->watch.items.cnt; i++)
		if (scene->watch.items.items[i].pid == worker->pid)
			return &scene->watch.items.items[i];
	fail_msg("process %d is not watched", worker->pid);
	return NULL;
}

/* Lets a process grow for a while, a MiB a minute. */
static void grow(struct scene *scene, struct worker *worker, int minutes)
{
	for (int i = 0; i < minutes; i++) {
		step(worker);
		pass(scene, 60);
	}
}

static size_t count_rows(struct scene *scene, struct sweep_row *ret_first)
{
	struct sweep *sweep = NULL;
	size_t cnt;

	assert_int_equal(sweep__of_watch(&scene->watch, &sweep), 0);
	cnt = sweep->rows.cnt;
	if (cnt)
		*ret_first = sweep->rows.items[0];
	for (size_t i = 0; i < cnt; i++)
		print_message("row: %d %s\n", sweep->rows.items[i].pid,
			      sweep->rows.items[i].cgroup);
	sweep__free(sweep);
	return cnt;
}

/* ---- who follows whom ---- */

/* A leak goes on over a restart, also over one whose first process fails at once. */
static void test_restart(void **state)
{
	struct worker worker;
	struct sweep_row row = {0};
	struct scene scene;
	pid_t first;

	(void)state;
	NEED_GROUPS();
	make_group("/shop.service");
	begin(&scene);
	worker = start_worker("/shop.service", "shop");
	first = worker.pid;
	grow(&scene, &worker, 20);
	end_worker(&worker);
	for (int i = 0; i < 3; i++) { /* it cannot bind its port yet */
		worker = start_worker("/shop.service", "shop");
		pass(&scene, 2);
		assert_non_null(item_of(&scene, &worker)->life);
		end_worker(&worker);
		pass(&scene, 2);
	}
	worker = start_worker("/shop.service", "shop");
	grow(&scene, &worker, 4);
	assert_int_equal(item_of(&scene, &worker)->growth->restarts, 4);
	assert_true(item_of(&scene, &worker)->life->has_grown);
	/* The new one cannot tell yet. */
	assert_true(item_of(&scene, &worker)->life->own.series[0].cnt < 8);
	assert_int_equal(count_rows(&scene, &row), 1);
	assert_int_equal(row.pid, worker.pid);
	assert_int_equal(row.restarts, 4);
	assert_int_equal(row.first_pid, first);
	assert_true(row.first_start_ns && row.first_start_ns < row.start_ns);
	assert_true(row.growth.lower <= 60.5 * MIB && row.growth.upper >= 59.5 * MIB);
	end_worker(&worker);
	watch__destroy(&scene.watch);
}

/* Two groups below each other's neighbours may have one name. */
static void check_follow(const char *before, const char *after, bool expected)
{
	struct worker worker;
	struct scene scene;

	make_group(before);
	make_group(after);
	begin(&scene);
	worker = start_worker(before, "shop");
	pass(&scene, 60);
	pass(&scene, 60);
	end_worker(&worker);
	pass(&scene, 5);
	worker = start_worker(after, "shop");
	pass(&scene, 1);
	pass(&scene, 1);
	if (!item_of(&scene, &worker)->life != !expected)
		fail_msg("from %s to %s: %s", before, after, expected ? "lost" : "taken for it");
	end_worker(&worker);
	watch__destroy(&scene.watch);
}

static void test_paths(void **state)
{
	(void)state;
	NEED_GROUPS();
	check_follow("/a/shop.service", "/a/shop.service", true);
	check_follow("/a/shop.service", "/b/shop.service", false);
	check_follow("/a/other.slice", "/a/other.slice", false);
}

/* Runtimes give a container another path at each start. */
static void test_container_path(void **state)
{
	(void)state;
	NEED_GROUPS();
	check_follow("/a/lxc/shop", "/b/lxc/shop", true);
	check_follow("/a/lxc/shop", "/b/lxc/till", false);
}

/* Of two containers of one name nobody knows which one goes on elsewhere; in its own group each
 * does. */
static void test_twins(void **state)
{
	struct worker one, two, young;
	struct scene scene;

	(void)state;
	NEED_GROUPS();
	make_group("/a/lxc/shop");
	make_group("/b/lxc/shop");
	make_group("/c/lxc/shop");
	begin(&scene);
	one = start_worker("/a/lxc/shop", "shop");
	two = start_worker("/b/lxc/shop", "till");
	pass(&scene, 60);
	pass(&scene, 60);
	end_worker(&one);
	pass(&scene, 5);
	/* The other one starts a process, and a third of the name comes. */
	young = start_worker("/b/lxc/shop", "shop");
	one = start_worker("/c/lxc/shop", "shop");
	pass(&scene, 1);
	assert_null(item_of(&scene, &young)->life);
	assert_null(item_of(&scene, &one)->life);
	end_worker(&one);
	one = start_worker("/a/lxc/shop", "shop");
	pass(&scene, 1);
	assert_non_null(item_of(&scene, &one)->life);
	end_worker(&one);
	end_worker(&two);
	end_worker(&young);
	watch__destroy(&scene.watch);
}

/* A container that has run for long is none that goes on for another one. */
static void test_old_namesake(void **state)
{
	struct worker one, two, young;
	struct scene scene;

	(void)state;
	NEED_GROUPS();
	make_group("/a/lxc/shop");
	make_group("/b/lxc/shop");
	begin(&scene);
	one = start_worker("/a/lxc/shop", "shop");
	two = start_worker("/b/lxc/shop", "till");
	pass(&scene, 60);
	pass(&scene, 60);
	end_worker(&one);
	pass(&scene, 5);
	young = start_worker("/b/lxc/shop", "shop");
	pass(&scene, 1);
	assert_null(item_of(&scene, &young)->life);
	end_worker(&two);
	end_worker(&young);
	watch__destroy(&scene.watch);
}

/* Services with many processes that ended do not keep others from being followed. */
static void test_many_ended(void **state)
{
	struct worker workers[20], last;
	struct scene scene;
	char comm[16];

	(void)state;
	NEED_GROUPS();
	make_group("/jobs.service");
	make_group("/shop.service");
	begin(&scene);
	for (int round = 0; round < 14; round++) {
		for (int i = 0; i < 20; i++) {
			snprintf(comm, sizeof(comm), "job-%d-%d", round, i);
			workers[i] = start_worker("/jobs.service", comm);
		}
		pass(&scene, 1);
		pass(&scene, 11);
		for (int i = 0; i < 20; i++)
			end_worker(&workers[i]);
	}
	last = start_worker("/shop.service", "shop");
	pass(&scene, 1);
	pass(&scene, 11);
	end_worker(&last);
	pass(&scene, 1);
	last = start_worker("/shop.service", "shop");
	pass(&scene, 1);
	assert_non_null(item_of(&scene, &last)->life);
	assert_true(scene.watch.services.ended.cnt <= 256);
	end_worker(&last);
	watch__destroy(&scene.watch);
}

/* ---- who explains whose growth ---- */

static void put_memory(const char *group, uint64_t anon, uint64_t shmem)
{
	char *text = format_text("anon %1$llu\nfile %2$llu\nshmem %2$llu\n",
				 (unsigned long long)anon, (unsigned long long)shmem);
	char *path = format_text("%s%s", top, group);

	put_group_file(work_dir, path, "memory.stat", text);
	free(path);
	free(text);
}

static void put_anon(const char *group, uint64_t anon)
{
	put_memory(group, anon, 0);
}

/* A process below grows by a MiB a minute, or what it is in does without any process. */
static void check_explained(bool has_leak)
{
	struct worker worker, bystander;
	struct sweep_row row = {0};
	struct scene scene;

	NEED_GROUPS();
	make_group("/a/shop.service");
	put_anon("", 0);
	put_anon("/a", 0);
	begin(&scene);
	watch_groups__destroy(&scene.watch.groups);
	assert_int_equal(watch_groups__init_at(&scene.watch.groups, work_dir, NULL, work_dir), 0);
	worker = start_worker("/a/shop.service", "shop");
	bystander = start_worker("", "bystander");
	for (uint64_t i = 0; i < 40; i++) {
		put_anon("", (300 + i) * MIB);
		put_anon("/a", (200 + i) * MIB);
		put_anon("/a/shop.service", (100 + i) * MIB);
		if (has_leak)
			step(&worker);
		pass(&scene, 60);
	}
	assert_int_equal(scene.watch.groups.cnt, 2);
	assert_int_equal(count_rows(&scene, &row), 1);
	assert_int_equal(row.pid, has_leak ? worker.pid : 0);
	end_worker(&worker);
	end_worker(&bystander);
	watch__destroy(&scene.watch);
}

static void test_explained_by_process(void **state)
{
	(void)state;
	check_explained(true);
}

static void test_explained_by_group(void **state)
{
	(void)state;
	check_explained(false);
}

/* Half a MiB a minute is left in shared memory, beside a process that leaks twice as much, or while
 * others give back so much that nothing is to be seen in the sum. */
static void check_shmem(bool has_leak)
{
	struct worker worker;
	struct sweep *sweep = NULL;
	struct scene scene;
	const struct sweep_row *row;

	NEED_GROUPS();
	make_group("/a/shop.service");
	put_anon("", 0);
	put_anon("/a", 0);
	begin(&scene);
	watch_groups__destroy(&scene.watch.groups);
	assert_int_equal(watch_groups__init_at(&scene.watch.groups, work_dir, NULL, work_dir), 0);
	worker = start_worker("/a/shop.service", "shop");
	for (uint64_t i = 0; i < 40; i++) {
		uint64_t anon = has_leak ? 100 + i : 400 - 5 * i;

		put_memory("/a", anon * MIB, (10 + i) * MIB / 2);
		put_memory("/a/shop.service", anon * MIB, (10 + i) * MIB / 2);
		if (has_leak)
			step(&worker);
		pass(&scene, 60);
	}
	assert_int_equal(sweep__of_watch(&scene.watch, &sweep), 0);
	assert_int_equal(sweep->rows.cnt, has_leak ? 2 : 1);
	row = &sweep->rows.items[0];
	assert_int_equal(row->pid, 0);
	assert_int_equal(row->shmem_bytes, 49 * MIB / 2);
	assert_true(row->shmem_per_hour > 27 * MIB && row->shmem_per_hour < 33 * MIB);
	assert_int_equal(sweep_row__is_shmem(row), !has_leak);
	if (has_leak) {
		assert_true(row->growth.lower > 75 * MIB);
		assert_int_equal(sweep->rows.items[1].pid, worker.pid);
	} else {
		assert_true(row->growth.lower <= 30 * MIB && row->growth.upper >= 30 * MIB);
	}
	sweep__free(sweep);
	end_worker(&worker);
	watch__destroy(&scene.watch);
}

static void test_shmem(void **state)
{
	(void)state;
	check_shmem(true);
}

static void test_shmem_alone(void **state)
{
	(void)state;
	check_shmem(false);
}

/* The kernel's own figures: what a process has left behind, which ended. */
static void test_shmem_left(void **state)
{
	const char *mount = mounts.memory ? mounts.memory : mounts.unified;
	char *path = format_text("%s/shm", top), *page = calloc(1, MIB);
	int fd = memfd_create("left", MFD_CLOEXEC);
	struct watch_groups watched;
	struct watch_group *group;
	pid_t pid;

	(void)state;
	NEED_GROUPS();
	make_group("/shm");
	assert_true(fd >= 0 && page);
	pid = fork();
	if (!pid) {
		bool done = join(mount, path, getpid());

		for (int i = 0; i < 8; i++)
			done = done && write(fd, page, MIB) == (ssize_t)MIB;
		_exit(!done);
	}
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(watch_groups__init(&watched), 0);
	group = watch_groups__get(&watched, path);
	assert_int_equal(watch_groups__sample(&watched, SEC, false), 0);
	close(fd);
	assert_true(group->is_read || !mounts.memory); /* v2 may not hand the controller down */
	if (group->is_read)
		assert_in_range(group->shmem_bytes, 7 * MIB, 9 * MIB);
	watch_groups__destroy(&watched);
	free(page);
	free(path);
}

#define UNIT_TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		UNIT_TEST(test_restart),
		UNIT_TEST(test_paths),
		UNIT_TEST(test_container_path),
		UNIT_TEST(test_twins),
		UNIT_TEST(test_old_namesake),
		UNIT_TEST(test_many_ended),
		UNIT_TEST(test_explained_by_process),
		UNIT_TEST(test_explained_by_group),
		UNIT_TEST(test_shmem),
		UNIT_TEST(test_shmem_alone),
		UNIT_TEST(test_shmem_left),
	};

	return cmocka_run_group_tests_name("watched services", tests, NULL, NULL);
}
