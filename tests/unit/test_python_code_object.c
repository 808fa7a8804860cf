// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Text and line tables of code objects. The truth about lines are the Pythons of this machine: each
 * tells for the code of its standard library which line each instruction has.
 */
#include "unit/compile.h"

#include <glob.h>
#include <inttypes.h>
#include <limits.h>
#include <locale.h>
#include <stdbool.h>
#include <uchar.h>

#include "python/code_object.h"

/* ---- text ---- */

static struct python_text text_of(const void *bytes, uint8_t width, uint32_t chars)
{
	struct python_text text = {.chars = chars, .width = width, .len = chars * width};

	assert_true(chars * width <= PYTHON_TEXT_BYTES);
	memcpy(text.bytes, bytes, chars * width);
	return text;
}

static void check_text(const struct python_text *text, const char *expected)
{
	char *decoded = python_text__decode(text);

	assert_non_null(decoded);
	assert_string_equal(decoded, expected);
	free(decoded);
}

static void test_text(void **state)
{
	const uint16_t two[] = {'a', 0x20ac, 0x4e2d, 0xd83d, 0xde00, 0xffff};
	const uint32_t four[] = {'a', 0xe9, 0x20ac, 0x1f600, 0xd800, 0x110000, UINT32_MAX, '\n'};
	struct python_text text;

	(void)state;
	text = text_of("app/cache.py", 1, 12);
	text.is_ascii = 1;
	check_text(&text, "app/cache.py");
	text.bytes[3] = 0xe9; /* no ASCII, whatever it says */
	check_text(&text, "app\xef\xbf\xbd"
			  "cache.py");
	text = text_of("caf\xe9\xff", 1, 5);
	check_text(&text, "café\xc3\xbf");
	/* Lone surrogates, as in names of files that are not UTF-8; a pair is two of them. */
	text = text_of(two, 2, 6);
	check_text(&text, "a€中\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbf");
	text = text_of(four, 4, 8);
	check_text(&text, "aé€😀\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\n");
	text = text_of("a\0b\x1b", 1, 4);
	check_text(&text, "a\xef\xbf\xbd"
			  "b\x1b");
	text = text_of("", 1, 0);
	check_text(&text, "");
}

static void test_broken_text(void **state)
{
	struct python_text text = {.chars = 3};
	uint16_t wide[PYTHON_TEXT_BYTES / 2];
	char *decoded;

	(void)state;
	for (unsigned int width = 0; width < 256; width++) {
		text.width = width;
		text.len = 0;
		check_text(&text, width == 1 || width == 2 || width == 4 ? "…" : "?");
	}
	/* What was copied ends in the middle of a character. */
	text = text_of("abcdef", 2, 3);
	text.len = 5;
	memcpy(text.bytes, "a\0b\0c", 5);
	check_text(&text, "ab…");
	/* Lengths that lie. */
	text = text_of("abc", 1, 3);
	text.len = UINT16_MAX;
	check_text(&text, "abc");
	text.chars = 2;
	check_text(&text, "ab");
	text.chars = UINT32_MAX;
	memset(text.bytes, 'x', sizeof(text.bytes));
	decoded = python_text__decode(&text);
	assert_int_equal(strlen(decoded), PYTHON_TEXT_BYTES + strlen("…"));
	free(decoded);
	for (size_t i = 0; i < PYTHON_TEXT_BYTES / 2; i++)
		wide[i] = 0xffff;
	text = text_of(wide, 2, PYTHON_TEXT_BYTES / 2);
	text.chars++;
	decoded = python_text__decode(&text);
	assert_int_equal(strlen(decoded), 3 * PYTHON_TEXT_BYTES / 2 + strlen("…"));
	free(decoded);
}

/* Every character there is against the C library. */
static void test_all_characters(void **state)
{
	char expected[MB_LEN_MAX + 1];
	mbstate_t conversion = {0};
	struct python_text text;
	size_t len;

	(void)state;
	if (!setlocale(LC_ALL, "C.UTF-8"))
		skip();
	for (uint32_t code = 1; code < 0x110000; code++) {
		text = (struct python_text){.chars = 1, .width = 4, .len = 4};
		memcpy(text.bytes, &code, sizeof(code));
		len = c32rtomb(expected, code, &conversion);
		if (len == (size_t)-1) {
			assert_true(code >= 0xd800 && code < 0xe000);
			conversion = (mbstate_t){0};
			check_text(&text, "\xef\xbf\xbd");
			continue;
		}
		expected[len] = '\0';
		check_text(&text, expected);
		if (code >= 0x10000)
			continue;
		text = (struct python_text){.chars = 1, .width = 2, .len = 2};
		memcpy(text.bytes, &(uint16_t){code}, 2);
		check_text(&text, expected);
	}
	setlocale(LC_ALL, "C");
}

/* ---- records ---- */

/* Makes a record of a table and decodes it; `has_rest`: what was not copied can be had. */
static struct code_object decode(uint16_t version, int32_t first_line, const uint8_t *table,
				 uint32_t len, uint32_t copied, bool has_rest)
{
	struct python_code *record = calloc(1, sizeof(*record));
	struct code_object code;

	assert_true(copied <= len && copied <= PYTHON_LINES_BYTES);
	record->first_line = first_line;
	record->lines_len = len;
	record->lines_copied = copied;
	memcpy(record->lines, table, copied);
	record->file = text_of("app.py", 1, 6);
	record->name = text_of("A.run", 1, 5);
	assert_int_equal(code_object__decode(record, version, has_rest ? table + copied : NULL,
					     has_rest ? len - copied : 0, &code),
			 0);
	free(record);
	return code;
}

static void test_record(void **state)
{
	struct python_code record = {.first_line = -5};
	struct code_object code = {0};

	(void)state;
	/* Nothing could be read. */
	assert_int_equal(code_object__decode(&record, 0x030b, NULL, 7, &code), 0);
	assert_string_equal(code.file, "?");
	assert_string_equal(code.name, "?");
	assert_int_equal(code_object__line(&code, 0), 0);
	assert_int_equal(code_object__line(&code, PYTHON_NO_UNIT), 0);
	code_object__free(&code);
	code_object__free(&code);
	/* Lengths that lie: nothing behind the record is read, nothing of that size is allocated.
	 */
	record.lines_len = record.lines_copied = UINT32_MAX;
	memset(record.lines, 0x80, sizeof(record.lines));
	assert_int_equal(code_object__decode(&record, 0x030b, NULL, 0, &code), 0);
	assert_int_equal(code.lines_len, PYTHON_LINES_BYTES);
	code_object__free(&code);
	record.lines_len = 3;
	assert_int_equal(code_object__decode(&record, 0x030b, (const uint8_t *)"abcdef", 6, &code),
			 0);
	assert_int_equal(code.lines_len, 3);
	code_object__free(&code);
	record.lines_len = 10;
	record.lines_copied = 8;
	assert_int_equal(code_object__decode(&record, 0x030b, (const uint8_t *)"abcdef", 6, &code),
			 0);
	assert_int_equal(code.lines_len, 10);
	assert_memory_equal(code.lines + 8, "ab", 2);
	code_object__free(&code);
}

/* The examples of the formats' descriptions. */
static void test_forms(void **state)
{
	static const uint8_t lnotab[] = {6, 1, 44, 5, 255, 0, 45, 127, 0, 73, 6, 1, 2, 0xff};
	static const uint8_t pairs[] = {6, 1, 4, 0x80, 6, 1, 0, 50, 2, 0xfe};
	/* one line, no columns (+5), none, long (-3), short, one line +2 */
	static const uint8_t entries[] = {0x80 | 10 << 3 | 2,
					  1,
					  2,
					  0x80 | 13 << 3 | 0,
					  10,
					  0x80 | 15 << 3 | 1,
					  0x80 | 14 << 3 | 7,
					  7,
					  0,
					  3,
					  4,
					  0x80 | 3 << 3 | 1,
					  0x12,
					  0x80 | 12 << 3 | 0,
					  0,
					  1};
	static const struct {
		uint16_t version;
		const uint8_t *table;
		uint32_t len;
		struct {
			uint32_t unit, line;
		} truth[14];
	} forms[] = {
		{0x0308,
		 lnotab,
		 sizeof(lnotab),
		 {{0, 1},
		  {2, 1},
		  {3, 2},
		  {24, 2},
		  {25, 7},
		  {174, 7},
		  {175, 207},
		  {177, 207},
		  {178, 208},
		  {179, 207},
		  {9999, 207},
		  {PYTHON_NO_UNIT, 1}}},
		{0x030a,
		 pairs,
		 sizeof(pairs),
		 {{0, 2},
		  {2, 2},
		  {3, 0},
		  {4, 0},
		  {5, 3},
		  {7, 3},
		  {8, 51},
		  {9, 0},
		  {9999, 0},
		  {PYTHON_NO_UNIT, 1}}},
		{0x030b,
		 entries,
		 sizeof(entries),
		 {{0, 1},
		  {2, 1},
		  {3, 6},
		  {4, 0},
		  {5, 0},
		  {6, 3},
		  {13, 3},
		  {14, 3},
		  {15, 3},
		  {16, 5},
		  {17, 0},
		  {PYTHON_NO_UNIT, 1}}},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		struct code_object code = decode(forms[i].version, 1, forms[i].table, forms[i].len,
						 forms[i].len, false);

		assert_string_equal(code.file, "app.py");
		assert_string_equal(code.name, "A.run");
		for (size_t j = 0; j < 14 && (!j || forms[i].truth[j].unit); j++)
			if (code_object__line(&code, forms[i].truth[j].unit) !=
			    forms[i].truth[j].line)
				fail_msg("form %zu, unit %u: line %u, not %u", i,
					 forms[i].truth[j].unit,
					 code_object__line(&code, forms[i].truth[j].unit),
					 forms[i].truth[j].line);
		code_object__free(&code);
	}
}

/* To 3.9, a function of one line has an empty table, and the last pair holds for all behind it. */
static void test_empty_and_cut(void **state)
{
	static const uint8_t lnotab[] = {6, 1, 4, 5, 8, 2};
	struct code_object code = decode(0x0309, 17, lnotab, 0, 0, false);

	(void)state;
	assert_int_equal(code_object__line(&code, 12), 17);
	code_object__free(&code);
	for (uint32_t copied = 0; copied < sizeof(lnotab); copied++) {
		code = decode(0x0309, 17, lnotab, sizeof(lnotab), copied, false);
		assert_int_equal(code_object__line(&code, 2), copied ? 17 : 0);
		assert_int_equal(code_object__line(&code, 3), copied > 2 ? 18 : 0);
		assert_int_equal(code_object__line(&code, 8), copied > 4 ? 23 : 0);
		assert_int_equal(code_object__line(&code, 9), 0);
		code_object__free(&code);
	}
}

/* ---- hostile tables ---- */

static void test_hostile(void **state)
{
	static const uint16_t versions[] = {0, 0x0306, 0x0308, 0x030a, 0x030b, 0x030e, 0xffff};
	static const int32_t lines[] = {INT32_MIN, -1, 0, 1, INT32_MAX};
	static const uint32_t units[] = {0, 1, 1000, 0x7fffff, PYTHON_NO_UNIT, UINT32_MAX};
	uint8_t *table;
	uint32_t line;

	(void)state;
	srand(1);
	for (int round = 0; round < 20000; round++) {
		uint32_t len = rand() % 64;
		struct code_object code;

		/* Its own allocation: a sanitizer sees each byte that is read too far. */
		table = malloc(len + 1);
		for (uint32_t i = 0; i < len; i++)
			table[i] = round % 3 ? rand() : round % 2 ? 0xff : 0x80 | 14 << 3;
		code = decode(versions[rand() % 7], lines[rand() % 5], table, len,
			      len ? rand() % (len + 1) : 0, rand() % 2);
		for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++) {
			line = code_object__line(&code, units[i]);
			assert_true(line <= INT32_MAX);
		}
		code_object__free(&code);
		free(table);
	}
}

/* A megabyte of the worst bytes takes no time: the walk looks at no byte twice. */
static void test_long_tables(void **state)
{
	static const uint8_t worst[] = {0xff, 0x7f, 0x80 | 14 << 3, 0x00, 0x80 | 13 << 3};
	static const uint16_t versions[] = {0x0308, 0x030a, 0x030b};
	uint32_t len = 1 << 20;
	uint8_t *table = malloc(len);

	(void)state;
	for (size_t i = 0; i < sizeof(worst); i++) {
		memset(table, worst[i], len);
		for (size_t j = 0; j < 3; j++) {
			struct code_object code = decode(versions[j], 1, table, len, 2048, true);

			code_object__line(&code, PYTHON_NO_UNIT - 1);
			code_object__line(&code, 5);
			code_object__free(&code);
		}
	}
	free(table);
}

/* ---- real Pythons ---- */

/*
 * For each code object of the standard library: "C first-line table" and "begin end line" in bytes
 * of code for each range of instructions, line 0 = none; the interpreter's own PyCode_Addr2Line has
 * to agree, where ctypes is there.
 */
static const char script[] =
	"import sys, os, dis, glob, importlib.machinery\n"
	"sys.dont_write_bytecode = True\n"
	"try:\n"
	"    import ctypes\n"
	"    addr2line = ctypes.pythonapi.PyCode_Addr2Line\n"
	"    addr2line.argtypes = [ctypes.py_object, ctypes.c_int]\n"
	"except Exception:\n"
	"    addr2line = None\n"
	"def ranges(code):\n"
	"    if sys.version_info >= (3, 10):\n"
	"        return [(b, e, n or 0) for b, e, n in code.co_lines() if e > b]\n"
	"    starts = list(dis.findlinestarts(code)) + [(len(code.co_code), 0)]\n"
	"    return [(a[0], b[0], a[1]) for a, b in zip(starts, starts[1:]) if b[0] > a[0]]\n"
	"checked = 0\n"
	"def tell(code, out):\n"
	"    global checked\n"
	"    new = sys.version_info >= (3, 10)\n"
	"    table = code.co_linetable if new else code.co_lnotab\n"
	"    out.append('C %d %s' % (code.co_firstlineno, table.hex() or '-'))\n"
	"    found = ranges(code)\n"
	"    out.extend('%d %d %d' % r for r in found)\n"
	"    if addr2line and len(code.co_code) < 1000:\n"
	"        for b, e, n in found:\n"
	"            for at in range(b, e, 2):\n"
	"                got = max(addr2line(code, at), 0)\n"
	"                assert got == n, (code, at, got, n)\n"
	"                checked += 1\n"
	"root = os.path.dirname(os.__file__)\n"
	"names = []\n"
	"for folder in ('.', 'json', 'email', 'asyncio', 'unittest', 'http', 'importlib', "
	"'xml/dom',\n"
	"               'concurrent/futures', 'multiprocessing', 'logging', 'encodings'):\n"
	"    names += sorted(glob.glob(os.path.join(root, folder, '*.py')))\n"
	"with open(sys.argv[1], 'w') as f:\n"
	"    f.write('V %d %d\\n' % sys.version_info[:2])\n"
	"    for path in names:\n"
	"        try:\n"
	"            todo = [importlib.machinery.SourceFileLoader('m', path).get_code('m')]\n"
	"        except Exception:\n"
	"            continue\n"
	"        out = []\n"
	"        while todo:\n"
	"            code = todo.pop()\n"
	"            tell(code, out)\n"
	"            todo += [c for c in code.co_consts if hasattr(c, 'co_code')]\n"
	"        f.write('\\n'.join(out) + '\\n')\n"
	"    f.write('E %d\\n' % checked)\n";

struct truth {
	uint16_t version;
	size_t codes, units, without_line, addr2line, tables_cut;
};

static uint8_t *read_table(const char *hex, uint32_t *ret_len)
{
	uint32_t len = *hex == '-' ? 0 : strcspn(hex, " \n") / 2;
	uint8_t *table = malloc(len + 1);

	for (uint32_t i = 0; i < len; i++)
		assert_int_equal(sscanf(hex + 2 * i, "%2hhx", &table[i]), 1);
	*ret_len = len;
	return table;
}

/* Decodes a code object as a whole, and with only its first bytes at hand. */
struct subject {
	struct code_object whole, cut;
};

static void subject__free(struct subject *subject)
{
	code_object__free(&subject->whole);
	code_object__free(&subject->cut);
}

static void subject__make(struct subject *subject, const char *line, struct truth *truth)
{
	uint32_t len, copied;
	int32_t first_line;
	uint8_t *table;
	int at;

	subject__free(subject);
	assert_int_equal(sscanf(line, "C %" SCNd32 " %n", &first_line, &at), 1);
	table = read_table(line + at, &len);
	copied = len < PYTHON_LINES_BYTES ? len : PYTHON_LINES_BYTES;
	subject->whole = decode(truth->version, first_line, table, len, copied, true);
	copied = copied < len ? copied : len - len / 3;
	subject->cut = decode(truth->version, first_line, table, len, copied, false);
	assert_int_equal(code_object__line(&subject->whole, PYTHON_NO_UNIT), first_line);
	truth->tables_cut += copied < len;
	truth->codes++;
	free(table);
}

static void check_range(const struct subject *subject, const char *line, struct truth *truth)
{
	uint32_t begin, end, expected, found;

	assert_int_equal(sscanf(line, "%" SCNu32 " %" SCNu32 " %" SCNu32, &begin, &end, &expected),
			 3);
	for (uint32_t unit = begin / 2; unit < end / 2; unit++) {
		found = code_object__line(&subject->whole, unit);
		if (found != expected)
			fail_msg("%d.%d, code object %zu, unit %u: line %u, not %u",
				 truth->version >> 8, truth->version & 255, truth->codes, unit,
				 found, expected);
		/* What is not known is never told wrong. */
		found = code_object__line(&subject->cut, unit);
		if (found && found != expected)
			fail_msg("cut table of code object %zu, unit %u: line %u, not %u",
				 truth->codes, unit, found, expected);
		truth->units++;
		truth->without_line += !expected;
	}
}

static void check_truth(const char *path, struct truth *truth)
{
	struct subject subject = {0};
	FILE *file = fopen(path, "r");
	unsigned int major, minor;
	bool ended = false;
	char *line = NULL;
	size_t cap = 0;

	assert_non_null(file);
	while (getline(&line, &cap, file) > 0) {
		if (*line == 'C')
			subject__make(&subject, line, truth);
		else if (*line == 'V' && sscanf(line, "V %u %u", &major, &minor) == 2)
			truth->version = major << 8 | minor;
		else if (*line == 'E')
			ended = sscanf(line, "E %zu", &truth->addr2line) == 1;
		else
			check_range(&subject, line, truth);
	}
	assert_true(ended);
	subject__free(&subject);
	free(line);
	fclose(file);
}

/* Every interpreter of this machine once. */
struct pythons {
	char *paths[64];
	size_t cnt;
};

static bool is_elf(const char *path)
{
	char magic[4] = "";
	FILE *file = fopen(path, "r");

	if (file && fread(magic, 1, 4, file) != 4)
		*magic = '\0';
	if (file)
		fclose(file);
	return !memcmp(magic,
		       "\x7f"
		       "ELF",
		       4);
}

static void add_python(struct pythons *pythons, const char *path)
{
	char *real = realpath(path, NULL);

	for (size_t i = 0; real && i < pythons->cnt; i++) {
		if (!strcmp(pythons->paths[i], real)) {
			free(real);
			real = NULL;
		}
	}
	/* Shims are scripts. */
	if (real && is_elf(real) && pythons->cnt < 64)
		pythons->paths[pythons->cnt++] = real;
	else
		free(real);
}

static void add_pythons_like(struct pythons *pythons, const char *folder, const char *pattern)
{
	char *full;
	glob_t found;

	assert_true(asprintf(&full, "%s%s", folder, pattern) > 0);
	if (!glob(full, 0, NULL, &found)) {
		for (size_t i = 0; i < found.gl_pathc; i++)
			add_python(pythons, found.gl_pathv[i]);
		globfree(&found);
	}
	free(full);
}

static void find_pythons(struct pythons *pythons)
{
	char *path = strdup(getenv("PATH") ? getenv("PATH") : ""), *save = NULL;

	*pythons = (struct pythons){0};
	for (char *dir = strtok_r(path, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
		add_pythons_like(pythons, dir, "/python3");
		add_pythons_like(pythons, dir, "/python3.[0-9]");
		add_pythons_like(pythons, dir, "/python3.[0-9][0-9]");
	}
	if (getenv("PYENV_ROOT"))
		add_pythons_like(pythons, getenv("PYENV_ROOT"), "/versions/*/bin/python3");
	else if (getenv("HOME"))
		add_pythons_like(pythons, getenv("HOME"), "/.pyenv/versions/*/bin/python3");
	free(path);
}

static void check_python(const char *python, const char *script_path, bool seen[32])
{
	struct truth truth = {0};
	char *path;

	assert_true(asprintf(&path, "%s/truth", work_dir) > 0);
	run_command("%s -I %s %s", python, script_path, path);
	check_truth(path, &truth);
	print_message("python %d.%d: %zu code objects, %zu instructions right, %zu of them without "
		      "a line; the interpreter itself agrees on %zu; %zu tables cut\n",
		      truth.version >> 8, truth.version & 255, truth.codes, truth.units,
		      truth.without_line, truth.addr2line, truth.tables_cut);
	assert_true(truth.codes > 1000 && truth.units > 100000);
	if (truth.version >> 8 == 3 && (truth.version & 255) < 32)
		seen[truth.version & 255] = true;
	free(path);
}

static void test_real_pythons(void **state)
{
	struct pythons pythons;
	bool seen[32] = {false};
	char *script_path;
	FILE *file;

	(void)state;
	find_pythons(&pythons);
	if (!pythons.cnt) {
		print_message("no Python on this machine: line tables are not compared\n");
		skip();
	}
	assert_true(asprintf(&script_path, "%s/script.py", work_dir) > 0);
	file = fopen(script_path, "w");
	assert_non_null(file);
	fputs(script, file);
	assert_int_equal(fclose(file), 0);
	for (size_t i = 0; i < pythons.cnt; i++) {
		check_python(pythons.paths[i], script_path, seen);
		free(pythons.paths[i]);
	}
	for (int minor = 8; minor <= 14; minor++)
		if (!seen[minor])
			print_message("python 3.%d: not on this machine, not compared\n", minor);
	free(script_path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),	       cmocka_unit_test(test_broken_text),
		cmocka_unit_test(test_all_characters), cmocka_unit_test(test_record),
		cmocka_unit_test(test_forms),	       cmocka_unit_test(test_empty_and_cut),
		cmocka_unit_test(test_hostile),	       cmocka_unit_test(test_long_tables),
		cmocka_unit_test(test_real_pythons),
	};

	return cmocka_run_group_tests_name("python code objects", tests, make_work_dir,
					   remove_work_dir);
}
