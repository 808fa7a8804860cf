// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Line tables of code objects. The truth about lines are the Pythons of this machine: each tells
 * for the code of its standard library which line each instruction has.
 */
#include "unit/code_object_fixture.h"
#include "unit/compile.h"

#include <glob.h>
#include <inttypes.h>

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
		cmocka_unit_test(test_real_pythons),
	};

	return cmocka_run_group_tests_name("python code objects of real Pythons", tests,
					   make_work_dir, remove_work_dir);
}
