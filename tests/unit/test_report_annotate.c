/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Source lines with what they hold, and the list of lines. */
#include "unit/report_scene.h"

static const char cache_py[] = "\"\"\"A cache that never forgets.\"\"\"\n"
			       "import json\n"
			       "\n"
			       "\n"
			       "class Cache:\n"
			       "    def __init__(self):\n"
			       "        self.items = {}\n"
			       "\n"
			       "    @staticmethod\n"
			       "    def parse(raw):\n"
			       "        # a comment\n"
			       "        return json.loads(raw)\n"
			       "\n"
			       "    def store(self, key, raw):\n"
			       "        value = self.parse(raw)\n"
			       "        self.items[key] = [value, dict(raw=raw, length=len(raw), "
			       "note=\"a long line that has to be cut\")]\n"
			       "        self.log = self.log + str(value)\n"
			       "\n"
			       "    def walk(self, node):\n"
			       "        return [self.walk(child) for child in node]\n";

static const struct report_opts narrow = {.columns = 80, .annotate = "cache.py"};
static const struct report_opts wide = {.columns = 120, .annotate = "app/cache.py"};

static uint32_t add_python(struct scene *scene, const char *file, const char *function,
			   uint32_t first_line, uint32_t line)
{
	uint32_t code = snapshot__add_code(scene->snap, file, function, first_line);
	uint32_t frame = snapshot__add_frame(scene->snap, FRAME_PYTHON, code, line);

	assert_true(frame < MAX_SYMBOLS);
	scene->symbols[frame] = (struct symbol){
		.function = scene->snap->codes.items[code].function,
		.file = scene->snap->codes.items[code].file,
		.line = line,
	};
	return frame;
}

static void add_source(struct scene *scene, const char *path, const char *text, int32_t pid,
		       const char *reason)
{
	size_t len = text ? strlen(text) : 0;
	char *copy = text ? malloc(len + 1) : NULL;

	if (copy)
		memcpy(copy, text, len);
	assert_int_equal(snapshot__add_source(scene->snap, path, copy, len, pid, reason), 0);
}

#define CACHE "/srv/app/cache.py"
#define OTHER "/opt/lib/app/cache.py"

/* Two files of the same name; the text of one of them cannot be read. */
static void add_python_rows(struct scene *scene)
{
	uint32_t parse = add_python(scene, CACHE, "Cache.parse", 9, 12);
	uint32_t value = add_python(scene, CACHE, "Cache.store", 14, 15);
	uint32_t keep = add_python(scene, CACHE, "Cache.store", 14, 16);
	uint32_t join = add_python(scene, CACHE, "Cache.store", 14, 17);
	uint32_t walk = add_python(scene, CACHE, "Cache.walk", 19, 20);
	uint32_t behind = add_python(scene, CACHE, "Cache.gone", 90, 99);
	uint32_t nowhere = add_python(scene, CACHE, "Cache.gone", 90, 0);
	uint32_t decode = add_python(scene, "/usr/lib/python3.11/json/decoder.py",
				     "JSONDecoder.decode", 330, 337);
	uint32_t other = add_python(scene, OTHER, "fill", 3, 7);
	uint32_t main = add_python(scene, "/srv/app/main.py", "<module>", 1, 5);
	uint32_t native = add_frame(scene, scene->server, 0x4410, "buffer_new", "src/buffer.c", 12);

	ADD_ROW(scene, 0, LAYER_PYTHON, UNWIND_COMPLETE, 1300234567, 310000, keep, main);
	ADD_ROW(scene, 1, LAYER_PYTHON, UNWIND_COMPLETE, 2097152, 310, keep, main);
	ADD_ROW(scene, 0, LAYER_PYTHON, UNWIND_COMPLETE, 4194304, 1200, decode, parse, value, main);
	ADD_ROW(scene, 0, LAYER_PYTHON, UNWIND_COMPLETE, 0, 0, join, main);
	ADD_ROW(scene, 0, LAYER_PYTHON, UNWIND_COMPLETE, 65536, 16, walk, walk, walk, walk, main);
	ADD_ROW(scene, 0, LAYER_MALLOC, UNWIND_COMPLETE, 131072, 1, native, join, main);
	ADD_ROW(scene, 0, LAYER_PYTHON, UNWIND_COMPLETE, 700, 7, behind, main);
	ADD_ROW(scene, 0, LAYER_PYTHON, UNWIND_COMPLETE, 80, 1, nowhere, main);
	ADD_ROW(scene, 1, LAYER_PYTHON, UNWIND_COMPLETE, 8192, 2, other, main);
	ADD_ROW(scene, 1, LAYER_MALLOC, UNWIND_LOST, 4096, 2);
}

static void add_texts(struct scene *scene)
{
	add_source(scene, CACHE, cache_py, 812, "");
	add_source(scene, OTHER, NULL, 0, "Permission denied");
}

static void check(const struct profile *profile, const struct report_opts *opts, const char *golden)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_int_equal(report_annotate(profile, opts, out), 0);
	fclose(out);
	check_text(text, golden);
}

static char *annotate(const struct profile *profile, const struct report_opts *opts)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	assert_int_equal(report_annotate(profile, opts, out), 0);
	fclose(out);
	return text;
}

static void test_files(void **state)
{
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	add_python_rows(&scene);
	add_texts(&scene);
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check(profile, &narrow, "annotate-80.txt");
	check(profile, &wide, "annotate-120.txt");
	check_golden(profile, "lines", "lines.txt");
	profile__free(profile);
	/* Whatever it is grouped by. */
	profile = profile_of(&scene, GROUP_FUNCTION, NULL);
	check(profile, &wide, "annotate-120.txt");
	check_golden(profile, "lines", "lines.txt");
	profile__free(profile);
	profile = profile_of(&scene, GROUP_LINE, NULL);
	check_golden(profile, "lines", "lines.txt");
	profile__free(profile);
	scene__free(&scene);
}

static void test_interval(void **state)
{
	struct profile_opts opts = {.group = GROUP_LINE, .sort = SORT_GROWTH, .top = 10};
	struct profile *before, *after;
	struct scene old, new;

	(void)state;
	scene__init(&old);
	add_python_rows(&old);
	scene__init(&new);
	add_python_rows(&new);
	add_texts(&new);
	new.snap->interval = 2;
	new.snap->rows.items[0].cost.live_bytes += 700000;
	new.snap->rows.items[0].cost.live_count += 1200;
	new.snap->rows.items[4].cost.live_bytes -= 60000;
	new.snap->rows.items[4].cost.live_count -= 15;
	/* The only block of a line was freed. */
	new.snap->rows.items[6].cost.live_bytes = 0;
	new.snap->rows.items[6].cost.live_count = 0;
	before = profile_of(&old, GROUP_LINE, NULL);
	after = profile__new(new.snap, new.symbols, &opts, before);
	check_golden(after, "lines", "lines-interval.txt");
	check(after, &narrow, "annotate-interval.txt");
	profile__free(after);
	profile__free(before);
	scene__free(&new);
	scene__free(&old);
}

/* ---- long files ---- */

/* 200 functions of five lines each, and one of a hundred. */
static char *long_source(void)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	for (int i = 0; i < 200; i++)
		fprintf(out, "def f%d(x):\n    if x:\n        g(%d)\n    return x\n\n", i, i);
	fputs("@decorated\nasync def big(\n    x,\n):\n", out);
	for (int i = 5; i <= 100; i++)
		fprintf(out, "    line(%d)\n", 1000 + i);
	fputs("\nlast = big\n", out);
	fclose(out);
	return text;
}

static void test_long_file(void **state)
{
	struct profile_opts opts = {.top = 3};
	char *source = long_source(), *text;
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	ADD_ROW(&scene, 0, LAYER_PYTHON, UNWIND_COMPLETE, 70000, 9,
		add_python(&scene, CACHE, "f10", 51, 53));
	ADD_ROW(&scene, 0, LAYER_PYTHON, UNWIND_COMPLETE, 60000, 9,
		add_python(&scene, CACHE, "big", 1001, 1050));
	ADD_ROW(&scene, 0, LAYER_PYTHON, UNWIND_COMPLETE, 50000, 9,
		add_python(&scene, CACHE, "<module>", 1, 1102));
	ADD_ROW(&scene, 0, LAYER_PYTHON, UNWIND_COMPLETE, 40000, 9,
		add_python(&scene, CACHE, "f11", 56, 57));
	ADD_ROW(&scene, 0, LAYER_PYTHON, UNWIND_COMPLETE, 30000, 9,
		add_python(&scene, CACHE, "f12", 61, 63));
	add_source(&scene, CACHE, source, 812, "");
	profile = profile__new(scene.snap, scene.symbols, &opts, NULL);
	check(profile, &narrow, "annotate-long.txt");
	profile__free(profile);
	opts.top = 0;
	profile = profile__new(scene.snap, scene.symbols, &opts, NULL);
	text = annotate(profile, &narrow);
	assert_non_null(strstr(text, "def f199(x):\n"));
	assert_null(strstr(text, "..."));
	free(text);
	profile__free(profile);
	scene__free(&scene);
	free(source);
}

static void test_c_source(void **state)
{
	static const struct symbol_inline own[] = {{"grow", "/build/src/pool.c", 71}};
	struct report_opts opts = {.columns = 100, .annotate = "/build/src/pool.c"};
	struct profile *profile;
	struct scene scene;
	char *source = NULL;
	size_t len;
	FILE *out = open_memstream(&source, &len);

	(void)state;
	for (int i = 0; i < 10; i++)
		fprintf(out,
			"int f%d(void)\n{\n\tif (x)\n#ifdef Y\n\t\ty();\n#endif\nout:\n"
			"\treturn %d;\n}\n\n",
			i, i);
	fclose(out);
	scene__init(&scene);
	ADD_ROW(&scene, 0, LAYER_MALLOC, UNWIND_COMPLETE, 8192, 2,
		add_inlined(&scene, scene.server, 0x10, "fill", "/build/src/pool.c", 25, own, 1));
	ADD_ROW(&scene, 0, LAYER_MALLOC, UNWIND_COMPLETE, 100, 1,
		add_frame(&scene, scene.server, 0x20, "bare", NULL, 0));
	add_source(&scene, "/build/src/pool.c", source, 0,
		   "the file was changed after the process had begun: its lines may be others than "
		   "those that run");
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check(profile, &opts, "annotate-c.txt");
	profile__free(profile);
	scene__free(&scene);
	free(source);
}

/* ---- what is not there ---- */

static void test_no_file(void **state)
{
	struct report_opts opts = narrow;
	struct profile *profile;
	struct scene scene;
	char *text;

	(void)state;
	scene__init(&scene);
	add_python_rows(&scene);
	profile = profile_of(&scene, GROUP_STACK, NULL);
	text = annotate(profile, &narrow);
	assert_non_null(strstr(text, "text      not shown: it was not looked for\n"));
	free(text);
	opts.annotate = "\033[2J.py";
	check(profile, &opts, "annotate-none.txt");
	profile__free(profile);
	scene__free(&scene);
}

/* Nothing is live; what was allocated is told all the same. */
static void test_churn(void **state)
{
	struct profile *profile;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	ADD_ROW(&scene, 0, LAYER_PYTHON, UNWIND_COMPLETE, 0, 0,
		add_python(&scene, CACHE, "Cache.store", 14, 17));
	add_source(&scene, CACHE, cache_py, 812, "");
	profile = profile_of(&scene, GROUP_STACK, NULL);
	check(profile, &narrow, "annotate-churn.txt");
	check_golden(profile, "lines", "lines-none.txt");
	profile__free(profile);
	scene__free(&scene);
}

/* Text that is no source: control characters, wild indentation, no ends, other lines than told. */
static void test_hostile(void **state)
{
	static const char *const texts[] = {
		"",
		"\n",
		"x",
		"\n\n\n\n\n\n",
		"\033[31m\xff\xfe\t\r\n\x7f",
		"\t\t\t\t\t\t\t\tdef x",
		"}\n}\n}\n",
		"def\ndef a\n  def b\n def c\n",
		"@\n@\n@\ndef x():\n\tpass",
	};
	static const uint32_t lines[] = {0, 1, 2, 3, 4, 5, UINT32_MAX};
	struct profile_opts opts = {.top = 5};
	struct scene scene;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct profile *profile;
		char *text, *blown = NULL;

		/* The same as the end of a file that is long. */
		for (int is_long = 0; is_long < 2; is_long++) {
			scene__init(&scene);
			for (size_t j = 0; j < sizeof(lines) / sizeof(lines[0]); j++)
				ADD_ROW(&scene, 0, LAYER_PYTHON, UNWIND_COMPLETE, 100, 1,
					add_python(&scene, CACHE, "f", 1,
						   lines[j] && is_long ? lines[j] + 98 : lines[j]));
			assert_true(asprintf(&blown, "%s%s", is_long ? "" : "", texts[i]) >= 0);
			if (is_long) {
				free(blown);
				blown = calloc(1, 100 + strlen(texts[i]));
				memset(blown, '\n', 98);
				strcat(blown, texts[i]);
			}
			add_source(&scene, CACHE, blown, 1, "");
			profile = profile__new(scene.snap, scene.symbols, &opts, NULL);
			text = annotate(profile, &narrow);
			for (const char *at = text; *at; at++)
				assert_true((unsigned char)*at >= 0x20 || *at == '\n');
			assert_null(strchr(text, '\x7f'));
			free(text);
			free(blown);
			profile__free(profile);
			scene__free(&scene);
		}
	}
}

static size_t columns_of(const char *line)
{
	size_t columns = 0;

	for (; *line; line++)
		columns += (*line & 0xc0) != 0x80;
	return columns;
}

static void test_widths(void **state)
{
	struct profile *before, *after;
	struct scene scene;

	(void)state;
	scene__init(&scene);
	add_python_rows(&scene);
	add_source(
		&scene, CACHE,
		"\t\t\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc\t\xe2\x82\xac of a line "
		"that goes on and on and on and on and on and on and on and on and on and on\n"
		"\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80"
		"\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80"
		"\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80"
		"\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80"
		"\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80"
		"\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80"
		"\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80\xf0\x9f\x98\x80",
		812, "");
	scene.snap->estimated = true;
	before = profile_of(&scene, GROUP_STACK, NULL);
	after = profile_of(&scene, GROUP_STACK, before);
	for (unsigned int columns = 80; columns <= 200; columns += 7) {
		const struct report_opts opts = {.columns = columns, .annotate = "cache.py"};

		for (int i = 0; i < 2; i++) {
			char *text = annotate(i ? after : before, &opts), *rest = text, *line;

			assert_null(strstr(text, "\xef\xbf\xbd"));
			while ((line = strsep(&rest, "\n")))
				if (columns_of(line) > columns)
					fail_msg("wider than %u: %s", columns, line);
			free(text);
		}
	}
	profile__free(after);
	profile__free(before);
	scene__free(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),	  cmocka_unit_test(test_interval),
		cmocka_unit_test(test_long_file), cmocka_unit_test(test_c_source),
		cmocka_unit_test(test_no_file),	  cmocka_unit_test(test_churn),
		cmocka_unit_test(test_hostile),	  cmocka_unit_test(test_widths),
	};

	return cmocka_run_group_tests_name("report annotate", tests, NULL, NULL);
}
