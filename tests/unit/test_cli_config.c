/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Config files: lines, what is wrong with them, whose file is read, and what wins in a sweep. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "cli/config.h"
#include "cli/sweep_options.h"
#include "util/clock.h"

/* ---- lines ---- */

struct target {
	bool flag, other_flag;
	uint64_t size, duration;
	const char *string;
	char calls[64];
};

static int note_call(void *target, const char *value, char **ret_message)
{
	struct target *t = target;

	if (!strcmp(value, "bad")) {
		*ret_message = strdup("--item: 'bad' is bad");
		return -EINVAL;
	}
	if (!strcmp(value, "no-memory"))
		return -ENOMEM;
	snprintf(t->calls + strlen(t->calls), sizeof(t->calls) - strlen(t->calls), "%s;", value);
	return 0;
}

#define AT(member) offsetof(struct target, member)

static const struct option_spec specs[] = {
	{0, "flag", OPT_FLAG, NULL, AT(flag), "a flag", NULL},
	{0, "other-flag", OPT_FLAG, NULL, AT(other_flag), "another", NULL},
	{'s', "size", OPT_SIZE, "BYTES", AT(size), "a size", NULL},
	{0, "duration", OPT_DURATION, "TIME", AT(duration), "a duration", NULL},
	{0, "string", OPT_STRING, "TEXT", AT(string), "a string", NULL},
	{0, "item", OPT_CALL, "ITEM", 0, "one or more", note_call},
};

struct result {
	struct target target;
	char *text, *message;
	int err;
};

static struct result set(const char *text)
{
	struct result result = {.text = strdup(text), .target.other_flag = true};

	result.err = config__set(specs, sizeof(specs) / sizeof(specs[0]), &result.target, "a.conf",
				 result.text, &result.message);
	return result;
}

static void free_result(struct result *result)
{
	free(result->text);
	free(result->message);
}

static void test_lines(void **state)
{
	struct result got = set("# a comment\n"
				"\n"
				"   \t \n"
				"flag\n"
				"other-flag = no\n"
				"size=64K\n"
				"  duration \t= 1.5s  # how long\r\n"
				"string a = b#c\n"
				"item = 1\n"
				"item 2\n"
				"item\t=3\n"
				"item = = 4\n"
				"\t# item = 5\n"
				"item = 6 7");

	(void)state;
	assert_int_equal(got.err, 0);
	assert_null(got.message);
	assert_true(got.target.flag);
	assert_false(got.target.other_flag);
	assert_int_equal(got.target.size, 65536);
	assert_int_equal(got.target.duration, 1500000000);
	assert_string_equal(got.target.string, "a = b#c");
	assert_string_equal(got.target.calls, "1;2;3;= 4;6 7;");
	free_result(&got);
}

static void test_nothing(void **state)
{
	static const char *const empty[] = {"", "\n", "\n\n\n", "#", " ", "# x\n#y"};

	(void)state;
	for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]); i++) {
		struct result got = set(empty[i]);

		assert_int_equal(got.err, 0);
		assert_false(got.target.flag);
		free_result(&got);
	}
}

static void test_bad_lines(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{"flag\n\nflog = 1\n", "a.conf:3: there is no option 'flog'"},
		{"= 3", "a.conf:1: there is no option ''"},
		{"s = 3", "a.conf:1: there is no option 's'"},
		{"--size = 3", "a.conf:1: there is no option '--size'"},
		{"Flag", "a.conf:1: there is no option 'Flag'"},
		{"size", "a.conf:1: --size needs a value: BYTES"},
		{"size =", "a.conf:1: --size needs a value: BYTES"},
		{"# x\nsize = # 3", "a.conf:2: --size needs a value: BYTES"},
		{"size = much",
		 "a.conf:1: --size: 'much' is not a size: write 4096, 64K or 1.5MiB"},
		{"flag = maybe", "a.conf:1: --flag: 'maybe' is neither yes nor no"},
		{"item = 1\nitem = bad\nitem = 3", "a.conf:2: --item: 'bad' is bad"},
		{"help", "a.conf:1: there is no option 'help'"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct result got = set(cases[i].text);

		assert_int_equal(got.err, -EINVAL);
		assert_non_null(got.message);
		assert_string_equal(got.message, cases[i].message);
		free_result(&got);
	}
}

static void test_no_memory(void **state)
{
	struct result got = set("item = no-memory\n");

	(void)state;
	assert_int_equal(got.err, -ENOMEM);
	assert_null(got.message);
	free_result(&got);
}

/* ---- files ---- */

static char dir[] = "/tmp/leaksweep-config-XXXXXX";

static char *path_of(const char *name)
{
	static char path[sizeof(dir) + 32];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

static char *write_bytes(const char *name, const char *text, size_t len)
{
	char *path = path_of(name);
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0644), 0);
	return path;
}

static char *write_file(const char *name, const char *text)
{
	return write_bytes(name, text, strlen(text));
}

static void check_unread(const char *path, const char *why)
{
	char *text = NULL, *message = NULL;

	assert_true(config__read(path, &text, &message) < 0);
	assert_null(text);
	assert_non_null(message);
	if (!strstr(message, why) || !strstr(message, path))
		fail_msg("not '%s': %s", why, message);
	free(message);
}

static void check_read(const char *path, size_t len)
{
	char *text = NULL, *message = NULL;

	assert_int_equal(config__read(path, &text, &message), 0);
	assert_null(message);
	assert_int_equal(strlen(text), len);
	free(text);
}

static void need_root(void)
{
	if (!geteuid())
		return;
	print_message("skipped: files of root need root\n");
	skip();
}

/* Only root may say what root does. */
static void test_whose(void **state)
{
	char *path;

	(void)state;
	need_root();
	path = write_file("whose", "flag\n");
	check_read(path, 5);
	assert_int_equal(chmod(path, 0400), 0);
	check_read(path, 5);
	assert_int_equal(chmod(path, 0664), 0);
	check_unread(path, "others than root may write it");
	assert_int_equal(chmod(path, 0646), 0);
	check_unread(path, "others than root may write it");
	assert_int_equal(chmod(path, 0644), 0);
	assert_int_equal(chown(path, 65534, 0), 0);
	check_unread(path, "others than root may write it");
}

static void test_what(void **state)
{
	char *big = malloc(MAX_CONFIG_BYTES + 1);

	(void)state;
	need_root();
	assert_non_null(big);
	memset(big, '\n', MAX_CONFIG_BYTES + 1);
	check_read(write_bytes("full", big, MAX_CONFIG_BYTES), MAX_CONFIG_BYTES);
	check_unread(write_bytes("big", big, MAX_CONFIG_BYTES + 1), "longer than 64 KiB");
	check_read(write_bytes("empty", big, 0), 0);
	check_unread(write_bytes("binary", "flag\n\0flag\n", 11), "a zero byte");
	check_unread(path_of("none"), "No such file");
	check_unread(dir, "no regular file");
	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
	check_unread(path_of("fifo"), "no regular file");
	check_unread("/dev/zero", "no regular file");
	free(big);
}

/* ---- a sweep ---- */

static struct sweep_options options;
static char *message;

static int read_options(const char *const *args)
{
	char *argv[16] = {(char *)"sweep"};
	int argc = 1;

	sweep_options__free(&options);
	free(message);
	message = NULL;
	while (args[argc - 1]) {
		argv[argc] = (char *)args[argc - 1];
		argc++;
	}
	return sweep_options__read(&options, argc, argv, &message);
}

#define READ(...) read_options((const char *const[]){__VA_ARGS__, NULL})

static void test_sweep_file(void **state)
{
	char *path;

	(void)state;
	need_root();
	path = write_file("sweep.conf", "interval = 7s\nbudget 2\ncgroup = /a\ncgroup /b\n"
					"fail-over = 1M\ntop = 3\nformat = json\noutput = /x\n"
					"suppress = known\nsuppress = comm:cron\nonce\n");
	assert_int_equal(READ("--config", path), 0);
	assert_string_equal(options.config, path);
	assert_true(options.sweep.rereads);
	assert_true(options.sweep.interval_ns == 7 * NS_PER_SEC);
	assert_true(options.sweep.suspects.budget == 0.02);
	assert_int_equal(options.sweep.cgroups.cnt, 2);
	assert_string_equal(options.sweep.cgroups.items[1], "/b");
	assert_true(options.has_fail_over && options.fail_over == 1 << 20);
	assert_int_equal(options.sweep.render.top, 3);
	assert_ptr_equal(options.sweep.report, report_sweep_json);
	assert_string_equal(options.sweep.path, "/x");
	assert_ptr_equal(options.sweep.suppressions, &options.suppressions);
	assert_int_equal(options.suppressions.items.cnt, 2);
	assert_true(options.sweep.once && options.sweep.duration_ns == 60 * NS_PER_SEC);
}

/* What is listed is replaced, but for suppressions. */
static void test_sweep_line_wins(void **state)
{
	char *path;

	(void)state;
	need_root();
	path = write_file("wins.conf", "interval = 7s\nbudget = 2\ncgroup = /a\ncgroup = /b\n"
				       "suppress = known\nduration = 1m\n");
	assert_int_equal(READ("--interval", "9s", "--cgroup", "/c", "--cgroup", "/d", "--suppress",
			      "more", "--config", path),
			 0);
	assert_true(options.sweep.interval_ns == 9 * NS_PER_SEC);
	assert_true(options.sweep.duration_ns == 60 * NS_PER_SEC);
	assert_true(options.sweep.suspects.budget == 0.02);
	assert_int_equal(options.sweep.cgroups.cnt, 2);
	assert_string_equal(options.sweep.cgroups.items[0], "/c");
	assert_string_equal(options.sweep.cgroups.items[1], "/d");
	assert_int_equal(options.suppressions.items.cnt, 2);
}

static void test_sweep_no_file(void **state)
{
	(void)state;
	assert_int_equal(READ("--config", "none", "--cgroup", "/c"), 0);
	assert_null(options.config);
	assert_false(options.sweep.rereads);
	assert_true(options.sweep.interval_ns == 30 * NS_PER_SEC);
	assert_int_equal(options.sweep.cgroups.cnt, 1);
	assert_int_equal(options.suppressions.items.cnt, 0);
	assert_int_equal(READ("--config", "none", "--help"), 1);
	assert_int_equal(READ("--help", "--config", "/there/is/none"), 1);
}

static void check_refused(const char *text, const char *why)
{
	char *path = write_file("bad.conf", text);

	assert_int_equal(READ("--config", path), -EINVAL);
	assert_non_null(message);
	if (strncmp(message, path, strlen(path)) || strcmp(message + strlen(path), why))
		fail_msg("not '%s': %s", why, message);
}

static void test_sweep_refused(void **state)
{
	char text[512], why[512], *list;

	(void)state;
	need_root();
	check_refused("interval = soon",
		      ":1: --interval: 'soon' is not a duration: write 500ms, 10s or 2m");
	check_refused("\nconfig = /etc/other", ":2: --config is for the command line");
	check_refused("suppress = comm:", ":1: --suppress: 'comm:' is no pattern");
	check_refused("top = 3\n1234\n", ":2: there is no option '1234'");
	assert_true(READ("--config", "/there/is/none") < 0);
	assert_string_equal(message, "cannot read /there/is/none: No such file or directory");
	assert_int_equal(READ("--config", write_file("zero.conf", "interval = 0")), -EINVAL);
	assert_string_equal(message, "--interval: it has to be more than 0");
	list = write_file("list", "known\n\nservice:\n");
	snprintf(text, sizeof(text), "suppressions = %s", list);
	snprintf(why, sizeof(why), ":1: %s:3: --suppress: 'service:' is no pattern", list);
	check_refused(text, why);
}

static void test_suppressions_file(void **state)
{
	char text[512], *list;

	(void)state;
	need_root();
	list = write_file("list", "# known ones\nstd::map<*>  # the index\n\ncomm:cron\n");
	snprintf(text, sizeof(text), "suppress = one\nsuppressions = %s\n", list);
	assert_int_equal(READ("--config", write_file("lists.conf", text)), 0);
	assert_int_equal(options.suppressions.items.cnt, 3);
	assert_string_equal(options.suppressions.items.items[1].glob, "std::map<*>");
	assert_int_equal(options.suppressions.items.items[2].kind, SUPPRESS_COMM);
	assert_int_equal(READ("--suppressions", "/there/is/none", "--config", "none"), -ENOENT);
	assert_string_equal(message, "cannot read /there/is/none: No such file or directory");
}

static int begin(void **state)
{
	(void)state;
	return mkdtemp(dir) ? 0 : -1;
}

static int end(void **state)
{
	static const char *const names[] = {"whose",	"full",	     "big",	   "empty",
					    "binary",	"fifo",	     "sweep.conf", "wins.conf",
					    "bad.conf", "zero.conf", "list",	   "lists.conf"};

	(void)state;
	sweep_options__free(&options);
	free(message);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		unlink(path_of(names[i]));
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_bad_lines),
		cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_whose),
		cmocka_unit_test(test_what),
		cmocka_unit_test(test_sweep_file),
		cmocka_unit_test(test_sweep_line_wins),
		cmocka_unit_test(test_sweep_no_file),
		cmocka_unit_test(test_sweep_refused),
		cmocka_unit_test(test_suppressions_file),
	};

	return cmocka_run_group_tests(tests, begin, end);
}
