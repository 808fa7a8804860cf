/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A directory of a test's own, what is in it, and small tables. */
#ifndef LEAKSWEEP_TESTS_CACHE_FIXTURE_H
#define LEAKSWEEP_TESTS_CACHE_FIXTURE_H

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unwind/table.h"

struct fixture {
	char *root, *dir; /* `dir` is in `root` and does not exist at first */
};

static inline char *path_in(const char *dir, const char *name)
{
	char *path;

	assert_true(asprintf(&path, "%s/%s", dir, name) > 0);
	return path;
}

static inline int setup_dir(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char root[] = "/tmp/leaksweep-cache-XXXXXX";

	assert_non_null(mkdtemp(root));
	f->root = strdup(root);
	f->dir = path_in(root, "a/b/leaksweep");
	*state = f;
	return 0;
}

static inline void remove_tree(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *item;

	while (dir && (item = readdir(dir))) {
		char *inner = path_in(path, item->d_name);

		if (strcmp(item->d_name, ".") && strcmp(item->d_name, "..") && unlink(inner))
			remove_tree(inner);
		free(inner);
	}
	if (dir)
		closedir(dir);
	rmdir(path);
}

static inline int teardown_dir(void **state)
{
	struct fixture *f = *state;

	remove_tree(f->root);
	free(f->root);
	free(f->dir);
	free(f);
	return 0;
}

/* Counts the files whose names end so; *ret_name, when wanted, is the owned name of one. */
static inline size_t count_files(const char *path, const char *suffix, char **ret_name)
{
	DIR *dir = opendir(path);
	struct dirent *item;
	size_t cnt = 0;

	while (dir && (item = readdir(dir))) {
		size_t len = strlen(item->d_name);

		if (!strcmp(item->d_name, ".") || !strcmp(item->d_name, "..") ||
		    len < strlen(suffix) || strcmp(item->d_name + len - strlen(suffix), suffix))
			continue;
		if (ret_name && !cnt)
			*ret_name = strdup(item->d_name);
		cnt++;
	}
	if (dir)
		closedir(dir);
	return cnt;
}

/* A table of one page. */
static inline struct unwind_table small_table(uint32_t row_cnt, int32_t salt)
{
	struct unwind_table table = {.row_cnt = row_cnt, .page_cnt = 1, .counts.fdes = 7};

	table.rows = calloc(row_cnt + 1, sizeof(*table.rows));
	table.pages = calloc(1, sizeof(*table.pages));
	table.pages[0].cnt = row_cnt;
	for (uint32_t i = 0; i < row_cnt; i++)
		table.rows[i] = (struct unwind_row){.pc = (uint16_t)i,
						    .rule = UNWIND_RULE_SP,
						    .fp = UNWIND_FP_SAME,
						    .cfa = salt + (int32_t)i};
	return table;
}

static inline void assert_same_table(const struct unwind_table *a, const struct unwind_table *b)
{
	assert_int_equal(a->row_cnt, b->row_cnt);
	assert_int_equal(a->page_cnt, b->page_cnt);
	assert_memory_equal(&a->counts, &b->counts, sizeof(a->counts));
	if (a->page_cnt)
		assert_memory_equal(a->pages, b->pages, a->page_cnt * sizeof(*a->pages));
	if (a->row_cnt)
		assert_memory_equal(a->rows, b->rows, a->row_cnt * sizeof(*a->rows));
}

#endif
