/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The Pythons of this machine: python3 of the PATH, and what pyenv has ($PYENV_ROOT, ~/.pyenv).
 * Versions that are not there are skipped, by name. Scripts run as children that say when they are
 * where they should be.
 */
#ifndef LEAKSWEEP_TESTS_PYTHON_TARGETS_H
#define LEAKSWEEP_TESTS_PYTHON_TARGETS_H

#include "unit/compile.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>

#include "python/build.h"
#include "util/elf_image.h"
#include "util/procfs.h"

#define MAX_PYTHONS 64
#define READY_MS 60000

struct python {
	char *path;
	char version[32];		    /* "3.11.2", as it says itself */
	uint16_t version_hex;		    /* as struct python_build */
	char *include, *lib_dir, *lib_name; /* of its headers and its library, "" = none */
};

static struct python pythons[MAX_PYTHONS];
static size_t python_cnt;

/* A running child. */
struct target {
	pid_t pid;
	FILE *out; /* what it says */
	int in;	   /* closed, it ends */
};

/* ---- children -------------------------------------------------------------------------------- */

static inline struct target start_target(const char *const argv[])
{
	int out[2], in[2];
	struct target target;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	fflush(NULL);
	target.pid = fork();
	assert_true(target.pid >= 0);
	if (!target.pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		setenv("PYTHONIOENCODING", "utf-8", 1);
		setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
		setenv("PYTHONWARNINGS", "ignore", 1);
		unsetenv("PYTHONHOME");
		unsetenv("PYTHONPATH");
		unsetenv("LD_PRELOAD");
		dup2(in[0], 0);
		dup2(out[1], 1);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	close(out[1]);
	close(in[0]);
	target.out = fdopen(out[0], "r");
	target.in = in[1];
	assert_non_null(target.out);
	setvbuf(target.out, NULL, _IONBF, 0);
	return target;
}

static inline void stop_target(struct target *target)
{
	int status;

	kill(target->pid, SIGKILL);
	assert_int_equal(waitpid(target->pid, &status, 0), target->pid);
	fclose(target->out);
	close(target->in);
}

/* Returns the next line without its end, owned; NULL when there is none within a minute. */
static inline char *read_line(struct target *target)
{
	struct pollfd wait = {.fd = fileno(target->out), .events = POLLIN};
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;

	/* Nothing is buffered, so there is a line if there is its first byte. */
	if (poll(&wait, 1, READY_MS) == 0)
		return NULL;
	len = getline(&line, &cap, target->out);
	if (len <= 0) {
		free(line);
		return NULL;
	}
	if (line[len - 1] == '\n')
		line[len - 1] = '\0';
	return line;
}

static inline void expect_line(struct target *target, const char *text)
{
	char *line = read_line(target);

	assert_non_null(line);
	assert_string_equal(line, text);
	free(line);
}

/* ---- what there is --------------------------------------------------------------------------- */

static inline bool is_known_python(const char *version)
{
	for (size_t i = 0; i < python_cnt; i++)
		if (!strcmp(pythons[i].version, version))
			return true;
	return false;
}

static inline void forget_python(struct python *python)
{
	free(python->path);
	free(python->include);
	free(python->lib_dir);
	free(python->lib_name);
}

static inline void add_python(const char *path)
{
	static const char script[] =
		"import sys\n"
		"print('%d.%d.%d' % sys.version_info[:3])\n"
		"try:\n"
		"    import sysconfig as s\n"
		"    g = s.get_config_var\n"
		"    out = [s.get_paths()['include'], g('LIBDIR') or '',\n"
		"           (g('LDVERSION') or '') if g('Py_ENABLE_SHARED') else '']\n"
		"except Exception: out = ['', '', '']\n"
		"print('\\n'.join(out))\n";
	const char *const argv[] = {path, "-c", script, NULL};
	struct python python = {.path = strdup(path)};
	struct target target = start_target(argv);
	char *version = read_line(&target);
	unsigned int major, minor;

	python.include = read_line(&target);
	python.lib_dir = read_line(&target);
	python.lib_name = read_line(&target);
	stop_target(&target);
	if (!version || !python.lib_name)
		printf("skipped: %s does not run\n", path);
	if (!version || !python.lib_name || is_known_python(version) || python_cnt == MAX_PYTHONS) {
		forget_python(&python);
		free(version);
		return;
	}
	assert_int_equal(sscanf(version, "%u.%u", &major, &minor), 2);
	snprintf(python.version, sizeof(python.version), "%s", version);
	python.version_hex = (uint16_t)(major << 8 | minor);
	pythons[python_cnt++] = python;
	free(version);
}

/* cmocka's group setup. */
static inline int find_pythons(void **state)
{
	static const char *const wanted[] = {"2.7",  "3.6",  "3.7",  "3.8",  "3.9",
					     "3.10", "3.11", "3.12", "3.13", "3.14"};
	const char *root = getenv("PYENV_ROOT"), *home = getenv("HOME");
	char *pattern;
	glob_t found;

	(void)state;
	signal(SIGPIPE, SIG_IGN);
	if (access("/usr/bin/python3", X_OK) == 0)
		add_python("/usr/bin/python3");
	assert_true(asprintf(&pattern, "%s%s/versions/*/bin/python",
			     root ? root : (home ? home : "/nonexistent"),
			     root ? "" : "/.pyenv") > 0);
	if (!glob(pattern, 0, NULL, &found)) {
		for (size_t i = 0; i < found.gl_pathc; i++)
			add_python(found.gl_pathv[i]);
		globfree(&found);
	}
	free(pattern);
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		bool is_there = false;

		for (size_t k = 0; k < python_cnt; k++)
			is_there |= !strncmp(pythons[k].version, wanted[i], strlen(wanted[i])) &&
				    pythons[k].version[strlen(wanted[i])] == '.';
		if (!is_there)
			printf("skipped: there is no Python %s here\n", wanted[i]);
	}
	return make_work_dir(NULL);
}

static inline int forget_pythons(void **state)
{
	for (size_t i = 0; i < python_cnt; i++)
		forget_python(&pythons[i]);
	return remove_work_dir(state);
}

static inline struct target start_python(const struct python *python, const char *script)
{
	const char *const argv[] = {python->path, "-c", script, NULL};

	return start_target(argv);
}

static inline bool is_supported(const struct python *python)
{
	return python->version_hex >= 0x0308 && python->version_hex <= 0x030e;
}

/* ---- modules of a process -------------------------------------------------------------------- */

/* Finds the module of a process that holds the interpreter. */
static inline bool find_interpreter(pid_t pid, struct python_build *ret_build, uint64_t *ret_bias)
{
	struct elf_image image;
	struct proc_maps maps;
	bool found = false;
	uint64_t vaddr;
	int fd;

	*ret_bias = 0;
	assert_int_equal(proc_maps__read(pid, &maps), 0);
	for (size_t i = 0; i < maps.maps.cnt && !found; i++) {
		const struct proc_map *map = &maps.maps.items[i];

		if (!map->executable || !map->ino)
			continue;
		fd = proc_map__open(pid, map);
		if (fd < 0)
			continue;
		found = !python_build__read(fd, ret_build);
		if (found) {
			assert_int_equal(elf_image__open(&image, fd, EM_NONE), 0);
			assert_true(elf_segments__vaddr(&image.segments, map->off, &vaddr));
			*ret_bias = map->start - vaddr;
			elf_image__close(&image);
		}
		close(fd);
	}
	proc_maps__free(&maps);
	return found;
}

#endif
