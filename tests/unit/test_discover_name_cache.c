/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Names that are kept: how old they may be, and how often the runtimes' files are read for them. */
#include "unit/state_files.h"

#include <sys/inotify.h>

#include "discover/container_state.h"
#include "util/clock.h"

#define GROUPS 20
#define LOOKS 60 /* one a second */
#define ID "%08x00000000000000000000000000000000000000000000000000000000"
#define MANY 9000 /* more than are kept */

/* A group of Docker's, numbered, and what its directory is. */
static const struct cgroup_name *get(struct name_cache *cache, const char *runtime,
				     unsigned int number)
{
	const struct stat dir = {.st_ino = 1000 + number, .st_dev = 7};
	const struct cgroup_name *name = NULL;
	char *path;

	assert_true(asprintf(&path, "/system.slice/%s-" ID ".scope", runtime, number) > 0);
	assert_int_equal(name_cache__get(cache, path, &dir, &name), 0);
	assert_non_null(name);
	assert_string_equal(name->path, path);
	free(path);
	return name;
}

static void name_docker(unsigned int number, const char *called)
{
	char *path, *text;

	assert_true(asprintf(&path, "/var/lib/docker/containers/" ID "/config.v2.json", number) >
		    0);
	assert_true(asprintf(&text, "{\"Name\":\"/%s\"}", called) > 0);
	write_text(path, text);
	free(path);
	free(text);
}

static void assert_called(struct name_cache *cache, uint64_t second, const char *called)
{
	const struct cgroup_name *name;

	name_cache__begin(cache, NS_PER_SEC * (1000 + second));
	name = get(cache, "docker", 1);
	if (strcmp(name->container, called))
		fail_msg("after %d s it is \"%s\", not \"%s\"", (int)second, name->container,
			 called);
}

/* State may be written after the group was made, and a container may be renamed. */
static void test_age(void **state)
{
	struct name_cache *cache = name_cache__new(work_dir);

	(void)state;
	assert_non_null(cache);
	assert_called(cache, 0, "");
	name_docker(1, "late");
	assert_called(cache, 0, "");
	assert_called(cache, 1, "late");
	assert_called(cache, 2, "late");
	name_docker(1, "renamed");
	assert_called(cache, 3, "late");
	assert_called(cache, 4, "renamed");
	for (uint64_t second = 5; second < 400; second++)
		assert_called(cache, second, "renamed");
	name_docker(1, "again");
	assert_called(cache, 460, "again");
	name_docker(1, "unasked");
	assert_called(cache, 460 + 121, "unasked");
	name_cache__free(cache);
}

/* Another group of the same number, as after a removal, has nothing of the first. */
static void test_same_number_again(void **state)
{
	const struct stat dir = {.st_ino = 1001, .st_dev = 7};
	struct name_cache *cache = name_cache__new(work_dir);
	const struct cgroup_name *name;

	(void)state;
	assert_non_null(cache);
	name_docker(1, "first");
	assert_called(cache, 0, "first");
	assert_called(cache, 50, "first");
	name_cache__begin(cache, NS_PER_SEC * 1051);
	assert_int_equal(name_cache__get(cache, "/other.slice", &dir, &name), 0);
	assert_string_equal(name->path, "/other.slice");
	assert_string_equal(name->container, "");
	assert_called(cache, 52, "first");
	name_cache__free(cache);
}

static size_t count_opens(int fd)
{
	char buf[1 << 16] __attribute__((aligned(8)));
	size_t opens = 0;
	ssize_t len;

	while ((len = read(fd, buf, sizeof(buf))) > 0)
		for (char *pos = buf; pos < buf + len;) {
			const struct inotify_event *event = (const struct inotify_event *)pos;

			assert_false(event->mask & IN_Q_OVERFLOW);
			opens += !(event->mask & IN_ISDIR);
			pos += sizeof(*event) + event->len;
		}
	return opens;
}

/* Looks at all groups every second. Returns how often the files in `dirs` were opened. */
static size_t opens_of_looks(const char *runtime, char *const *dirs, size_t dir_cnt)
{
	struct name_cache *cache = name_cache__new(work_dir);
	int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	size_t opens = 0;

	assert_non_null(cache);
	assert_true(fd >= 0);
	for (size_t i = 0; i < dir_cnt; i++)
		assert_true(inotify_add_watch(fd, dirs[i], IN_OPEN) >= 0);
	for (uint64_t second = 0; second < LOOKS; second++) {
		name_cache__begin(cache, NS_PER_SEC * (1000 + second));
		for (unsigned int i = 0; i < GROUPS; i++) {
			char wanted[32];

			snprintf(wanted, sizeof(wanted), "box%u", i);
			assert_string_equal(get(cache, runtime, i)->container, wanted);
		}
		opens += count_opens(fd);
	}
	close(fd);
	name_cache__free(cache);
	return opens;
}

/* At 0, 1, 2, 4 ... 32 seconds. */
#define LOOK_UPS 7

static void test_files_are_read_seldom(void **state)
{
	char *dirs[GROUPS];
	size_t opens;

	(void)state;
	for (unsigned int i = 0; i < GROUPS; i++) {
		char called[32], *path;

		snprintf(called, sizeof(called), "box%u", i);
		name_docker(i, called);
		assert_true(asprintf(&path, "/var/lib/docker/containers/" ID, i) > 0);
		dirs[i] = full_path(path);
		free(path);
	}
	opens = opens_of_looks("docker", dirs, GROUPS);
	print_message("%zu opens for %d groups in %d looks\n", opens, GROUPS, LOOKS);
	assert_int_equal(opens, GROUPS * LOOK_UPS);
	for (size_t i = 0; i < GROUPS; i++)
		free(dirs[i]);
}

/* All of Podman's containers are in one list. */
static void test_list_is_read_once_for_all(void **state)
{
	char *dir, *text = strdup("[");
	size_t opens;

	(void)state;
	for (unsigned int i = 0; i < GROUPS; i++) {
		char *longer;

		assert_true(asprintf(&longer, "%s%s{\"id\":\"" ID "\",\"names\":[\"box%u\"]}", text,
				     i ? "," : "", i, i) > 0);
		free(text);
		text = longer;
	}
	text = realloc(text, strlen(text) + 2);
	assert_non_null(text);
	write_text("/var/lib/containers/storage/overlay-containers/containers.json",
		   strcat(text, "]"));
	dir = full_path("/var/lib/containers/storage/overlay-containers");
	opens = opens_of_looks("libpod", &dir, 1);
	print_message("%zu opens for %d groups in %d looks\n", opens, GROUPS, LOOKS);
	assert_int_equal(opens, LOOK_UPS);
	free(dir);
	free(text);
}

/* Those that are not kept are looked up each time, and are right. */
static void test_more_than_are_kept(void **state)
{
	struct name_cache *cache = name_cache__new(work_dir);

	(void)state;
	assert_non_null(cache);
	name_docker(1, "first");
	name_docker(MANY - 1, "last");
	for (uint64_t second = 0; second < 3; second++) {
		name_cache__begin(cache, NS_PER_SEC * (1000 + second));
		for (unsigned int i = 0; i < MANY; i++)
			assert_string_equal(get(cache, "docker", i)->container, i == 1 ? "first"
										: i == MANY - 1
											? "last"
											: "");
	}
	assert_called(cache, 3, "first");
	/* All of them are forgotten, and there is room again. */
	assert_called(cache, 200, "first");
	assert_string_equal(get(cache, "docker", MANY - 1)->container, "last");
	name_cache__free(cache);
}

#define IN_DIR(test) cmocka_unit_test_setup_teardown(test, make_work_dir, remove_work_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		IN_DIR(test_age),
		IN_DIR(test_same_number_again),
		IN_DIR(test_files_are_read_seldom),
		IN_DIR(test_list_is_read_once_for_all),
		IN_DIR(test_more_than_are_kept),
	};

	return cmocka_run_group_tests_name("discover name cache", tests, NULL, NULL);
}
