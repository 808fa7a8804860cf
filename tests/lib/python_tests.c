/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interpreters, and programs that run under them. */
#include "lib/python_tests.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_PYTHONS 64
#define NO_PROGRAM 77

static struct python pythons[MAX_PYTHONS];
static size_t python_cnt;

/* ---- interpreters ---- */

/* Reads "3.12.1" or "python3.12"; 0 = something else, such as 3.13t. */
static int parse_minor(const char *name)
{
	char *end;
	long minor;

	if (!strncmp(name, "python", 6))
		name += 6;
	if (strncmp(name, "3.", 2))
		return 0;
	minor = strtol(name + 2, &end, 10);
	if (*end == '.')
		strtol(end + 1, &end, 10);
	return *end || minor < OLDEST_MINOR || minor > NEWEST_MINOR ? 0 : (int)minor;
}

static void add_python(char *name, char *path, int minor, bool is_distribution)
{
	if (!minor || python_cnt == MAX_PYTHONS || access(path, X_OK)) {
		free(name);
		free(path);
		return;
	}
	pythons[python_cnt++] = (struct python){
		.name = name,
		.path = path,
		.minor = minor,
		.is_distribution = is_distribution,
	};
}

static void find_distribution(void)
{
	char *path = realpath("/usr/bin/python3", NULL);
	int minor = path ? parse_minor(strrchr(path, '/') + 1) : 0;

	add_python(format("distribution 3.%d", minor), path ? path : strdup(""), minor, true);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strverscmp((*a)->d_name, (*b)->d_name);
}

static void find_pyenv(void)
{
	const char *root = getenv("PYENV_ROOT"), *home = getenv("HOME");
	char *dir = root && *root ? format("%s/versions", root)
				  : format("%s/.pyenv/versions", home ? home : "");
	struct dirent **entries = NULL;
	int cnt = scandir(dir, &entries, NULL, by_name);

	for (int i = 0; i < cnt; i++) {
		const char *name = entries[i]->d_name;

		add_python(format("pyenv %s", name), format("%s/%s/bin/python3", dir, name),
			   parse_minor(name), false);
		free(entries[i]);
	}
	free(entries);
	free(dir);
}

static bool has_word_of(const char *name, const char *words)
{
	char *list = strdup(words), *rest = list, *word;
	bool found = false;

	while (!found && (word = strsep(&rest, " ,")))
		found = *word && strstr(name, word);
	free(list);
	return found;
}

static bool is_wanted(const struct python *python)
{
	const char *words = getenv("PYTHONS");

	return !words || !*words || has_word_of(python->name, words);
}

static bool has_minor(int minor, bool is_distribution)
{
	for (size_t i = 0; i < python_cnt; i++)
		if ((!minor || pythons[i].minor == minor) &&
		    (!is_distribution || pythons[i].is_distribution))
			return true;
	return false;
}

/* ---- a test for each ---- */

static void skip_absent(void **state)
{
	print_message("%s is not here\n", (const char *)*state);
	skip();
}

struct test_list {
	struct CMUnitTest *items;
	size_t cnt;
};

static void add_test(struct test_list *list, char *name, CMUnitTestFunction run, void *state)
{
	list->items = realloc(list->items, (list->cnt + 1) * sizeof(*list->items));
	if (!list->items || !name)
		abort();
	list->items[list->cnt++] = (struct CMUnitTest){
		.name = name,
		.test_func = run,
		.teardown_func = harness__teardown,
		.initial_state = state,
	};
}

/* Versions that were to be tried and are not here. */
static void add_absent(struct test_list *list)
{
	if (getenv("PYTHONS"))
		return;
	if (!has_minor(0, true))
		add_test(list, format("the distribution's python3"), skip_absent,
			 format("/usr/bin/python3"));
	for (int minor = OLDEST_MINOR; minor <= NEWEST_MINOR; minor++)
		if (!has_minor(minor, false))
			add_test(list, format("python 3.%d", minor), skip_absent,
				 format("python 3.%d", minor));
}

bool python_is_full(const struct python *python)
{
	return python->is_distribution || getenv("PYTHON_MATRIX");
}

static bool is_run(const struct python_test *test, const struct python *python)
{
	if (test->distribution_only && !python->is_distribution)
		return false;
	return !test->is_long || python_is_full(python);
}

int python_tests__main(const char *name, const struct python_test *tests, size_t cnt)
{
	struct test_list list = {0};
	size_t left_out = 0;
	int failed;

	find_distribution();
	find_pyenv();
	for (size_t i = 0; i < python_cnt; i++)
		for (size_t j = 0; j < cnt && is_wanted(&pythons[i]); j++)
			if (is_run(&tests[j], &pythons[i]))
				add_test(&list, format("%s: %s", pythons[i].name, tests[j].name),
					 tests[j].run, &pythons[i]);
			else
				left_out += tests[j].is_long;
	add_absent(&list);
	if (left_out)
		print_message("%s: %zu long tests under other Pythons are left to `make "
			      "python-matrix`\n",
			      name, left_out);
	failed = harness__main(name, list.items, list.cnt);
	free(list.items);
	return failed;
}

/* ---- programs ---- */

static char *program_path(const char *name)
{
	char *dir = realpath("tests/python", NULL), *path;

	if (!dir)
		fail_msg("tests/python is not here: run it from the top of the tree");
	path = format("%s/%s.py", dir, name);
	free(dir);
	return path;
}

char *python_built(const char *name)
{
	char *tool = tool_path(), *path;

	*strrchr(tool, '/') = '\0';
	path = format("%s/python/%s", tool, name);
	free(tool);
	if (!access(path, R_OK))
		return path;
	free(path);
	return NULL;
}

const char *const *native_args(void)
{
	static const char *args[3];

	if (!args[0])
		args[0] = python_built("leaky_extension.so");
	if (!args[0])
		fail_msg("leaky_extension.so is not there: make python-programs");
	if (!args[1])
		args[1] = python_built("leaky_module.so");
	return args;
}

/* Whether it is ready; false when it has ended with 77. */
static bool await_ready(struct child *child)
{
	static const char prefix[] = "{\"ready\":";
	bool ready = false;

	for (int waited = 0; !ready && waited < TIMEOUT_MS; waited += 10) {
		char *out = child__stdout(child);

		ready = !strncmp(out, prefix, sizeof(prefix) - 1) && strchr(out, '\n');
		free(out);
		if (!ready && !child->reaped &&
		    waitpid(child->pid, &child->status, WNOHANG) == child->pid) {
			child->reaped = true;
			break;
		}
		if (!ready)
			sleep_ms(10);
	}
	if (!ready && WIFEXITED(child->status) && WEXITSTATUS(child->status) == NO_PROGRAM)
		return false;
	if (!ready)
		fail_msg("a program did not begin: %.2000s", child__stderr(child));
	return true;
}

struct story *story__start(const struct python *python, const char *program,
			   const char *const *args)
{
	const char *argv[16] = {python->path, "-B"};
	const struct child_opts opts = {
		.env = ARGS("PYTHONHASHSEED=0", "PYTHONNOUSERSITE=1", "PYTHONUTF8=1"),
	};
	struct story *story = calloc(1, sizeof(*story));
	size_t cnt = 2;

	assert_non_null(story);
	story->python = python;
	story->file = program_path(program);
	argv[cnt++] = story->file;
	for (; args && *args && cnt < 15; args++)
		argv[cnt++] = *args;
	story->child = child__start(argv, &opts);
	if (!await_ready(story->child)) {
		print_message("%s: %s cannot run here (a module is missing)\n", python->name,
			      program);
		skip();
	}
	return story;
}

void story__send(struct story *story, const char *command)
{
	char *line = format("%s\n", command);

	if (write(story->child->in_fd, line, strlen(line)) != (ssize_t)strlen(line))
		fail_msg("%s does not listen", story->file);
	free(line);
	story->command_cnt++;
}

void story__await(struct story *story)
{
	char *prefix = format("{\"done\": %d,", story->command_cnt);

	free(child__await_line(story->child, story->child->out_fd, prefix, LONG_MS));
	free(prefix);
}

void story__do(struct story *story, const char *command)
{
	story__send(story, command);
	story__await(story);
}

void story__do_all(struct story *story, const char *const *commands)
{
	for (; *commands; commands++)
		story__do(story, *commands);
}

struct json_object *story__told(struct story *story)
{
	char *out = child__stdout(story->child);
	struct report told = report__parse(out);

	free(out);
	return told.docs;
}

struct json_object *story__truth(struct story *story)
{
	size_t before = json_object_array_length(story__told(story));
	struct json_object *told;

	story__do(story, "truth");
	told = story__told(story);
	assert_int_equal(json_object_array_del_idx(told, 0, before), 0);
	return told;
}

void story__end(struct story *story)
{
	story__send(story, "end");
	if (child__await_exit(story->child, TIMEOUT_MS))
		fail_msg("%s ended with status 0x%x: %.2000s", story->file, story->child->status,
			 child__stderr(story->child));
	free(story->file);
	free(story);
}

struct child *story__trace(const struct story *story, const char *const *tool_args)
{
	char *pid = format("%d", (int)story->child->pid);
	const char *args[32] = {NULL};
	struct child *tool;
	size_t cnt = 0;

	for (; tool_args && *tool_args && cnt < 28; tool_args++)
		args[cnt++] = *tool_args;
	args[cnt++] = "-p";
	args[cnt++] = pid;
	tool = trace__start(args);
	free(pid);
	return tool;
}
