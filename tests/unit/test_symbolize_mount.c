/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A file that is open is used as long as its server answers. */
#include "symbolize/sources.h"

#include "unit/compile.h"

#include "unit/bind_mount.h"

#include <fcntl.h>

#include "util/clock.h"

#define PATIENCE_SEC 120 /* then this test is killed */

static uint32_t open_source(struct sources *sources, const struct snap_module *module)
{
	enum symbol_reason reason;
	uint32_t source;

	assert_int_equal(sources__open(sources, module, &source, &reason), 0);
	if (source == NO_SOURCE)
		assert_int_equal(reason, SYMBOL_UNREADABLE);
	return source;
}

static void test_server_away(void **state)
{
	char *built = compile("gcc", "-g", "user.c"), path[128];
	struct sources sources = {.vdso = NO_SOURCE, .debug_root = "/nonexistent"};
	struct snap_module module = {.path = path, .is_remote = true};
	uint64_t until_ns = clock_ns(CLOCK_MONOTONIC) + BIND_WAIT_MS * NS_PER_MS;
	struct bind_mount mount;
	struct stat st;
	uint32_t source;

	(void)state;
	if (!bind_mount__make(work_dir, &mount))
		skip();
	alarm(PATIENCE_SEC);
	snprintf(path, sizeof(path), "%s%s", mount.dir, built + strlen(work_dir));
	module.fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(fstat(module.fd, &st), 0);
	module.dev = st.st_dev;
	source = open_source(&sources, &module);
	assert_int_not_equal(source, NO_SOURCE);

	kill(mount.server, SIGSTOP);
	sleep(2); /* until the kernel has to ask */
	assert_int_equal(open_source(&sources, &module), NO_SOURCE);
	assert_int_equal(open_source(&sources, &module), NO_SOURCE);
	kill(mount.server, SIGCONT);
	while (open_source(&sources, &module) != source)
		assert_true(clock_ns(CLOCK_MONOTONIC) < until_ns);

	sources__free(&sources);
	close(module.fd);
	bind_mount__end(&mount);
	alarm(0);
	free(built);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_server_away),
	};

	return cmocka_run_group_tests_name("sources on a mount", tests, make_work_dir,
					   remove_work_dir);
}
