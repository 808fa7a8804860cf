// SPDX-License-Identifier: GPL-2.0-or-later
/* Functions, lines and inline chains of whole C++ programs, against addr2line. */
#include "unit/symbolize_lines_fixture.h"

static const char head[] =
	"#include <algorithm>\n"
	"#include <map>\n"
	"#include <memory>\n"
	"#include <string>\n"
	"#include <vector>\n"
	"namespace app {\n"
	"template <int N> struct Node {\n"
	"  std::vector<int> v; std::map<std::string, int> m;\n"
	"  template <class T> __attribute__((noinline)) int add(T x) {\n"
	"    for (int i = 0; i < N % 7; i++) v.push_back((int)x + i);\n"
	"    m[std::to_string(N)] += (int)x;\n"
	"    return (int)v.size(); }\n"
	"  inline int twice(int x) {\n"
	"    return add(x) +\n"
	"           add((long)x); }\n"
	"  inline int four(int x) {\n"
	"    struct Local { int operator()(Node *n, int y) { return n->twice(y) + 1; } };\n"
	"    auto f = [&](int y) {\n"
	"      return twice(y) + (m.empty() ? 0 : m.begin()->second); };\n"
	"    return f(x) + Local()(this, x + 1); } };\n"
	"template <int N> __attribute__((noinline)) int run(int x) {\n"
	"  Node<N> n; auto p = std::make_unique<Node<N>>();\n"
	"  std::vector<std::string> s(x, \"abc\"); std::sort(s.begin(), s.end());\n"
	"  if (x > 1000) throw std::string(\"too big\");\n"
	"  return n.four(x) + p->four(x) + (int)s.size(); }\n"
	"}\n";

/* Two units with `cnt` instances each, so that the linker drops doubles. */
static void write_units(int cnt)
{
	char *path, *name;
	FILE *file;

	for (int unit = 0; unit < 2; unit++) {
		name = fmt("unit%d.cc", unit);
		path = in_dir(name);
		file = fopen(path, "we");
		assert_non_null(file);
		fprintf(file, "%sint unit%d(int x) {\n  int s = 0;\n", head, unit);
		for (int i = 0; i < cnt; i++)
			fprintf(file, "  s += app::run<%d>(x);\n", i + unit * cnt / 2);
		fprintf(file, "  return s; }\n");
		assert_int_equal(fclose(file), 0);
		free(path);
		free(name);
	}
	write_file("main.cc", "int unit0(int); int unit1(int);\n"
			      "int main(int c, char **) {\n  return unit0(c)\n    + unit1(c); }\n");
}

struct tally {
	size_t frames, calls;			/* frames; inlined calls in them */
	size_t functions, files, lines, chains; /* that differ */
	size_t wrong;				/* frames with any difference */
};

/* addr2line says "file:line", maybe with " (discriminator N)", and "??" or "?" for the unknown. */
static void split_place(char *text, char **ret_file, uint32_t *ret_line)
{
	char *colon;

	text[strcspn(text, "\n")] = '\0';
	colon = strstr(text, " (discriminator");
	if (colon)
		*colon = '\0';
	colon = strrchr(text, ':');
	assert_non_null(colon);
	*colon = '\0';
	*ret_line = (uint32_t)strtoul(colon + 1, NULL, 10);
	normalise_path(text);
	*ret_file = text;
}

struct place {
	char *function, *file;
	uint32_t line;
};

/* The next block of addr2line -a -f -i; returns how many places it has. */
static size_t next_block(FILE *pipe, char **line, size_t *cap, struct place *places, size_t max)
{
	size_t cnt = 0;
	char *copy;

	/* *line is the "0x..." that heads the block. */
	assert_true(!strncmp(*line, "0x", 2));
	while (getline(line, cap, pipe) > 0 && strncmp(*line, "0x", 2)) {
		assert_true(cnt < max);
		(*line)[strcspn(*line, "\n")] = '\0';
		places[cnt].function = strdup(*line);
		assert_true(getline(line, cap, pipe) > 0);
		copy = strdup(*line);
		split_place(copy, &places[cnt].file, &places[cnt].line);
		cnt++;
	}
	return cnt;
}

static bool same_function(const char *ours, const char *theirs)
{
	const char *clone = ours ? strstr(ours, " [clone") : NULL;

	if (!ours)
		return !strcmp(theirs, "??");
	/* The symbol table tells clones apart, DWARF does not. */
	if (clone)
		return !strncmp(ours, theirs, (size_t)(clone - ours)) && !theirs[clone - ours];
	return !strcmp(ours, theirs);
}

static void compare_place(struct tally *tally, const char *function, const char *file,
			  uint32_t line, const struct place *place, bool *wrong)
{
	bool other_function = !same_function(function, place->function);
	bool other_line = line != place->line;
	/* Without debug information addr2line takes the file's name from the symbol table. */
	bool other_file = (file || place->line) && strcmp(file ? file : "??", place->file) != 0;

	tally->functions += other_function;
	tally->files += other_file;
	tally->lines += other_line;
	if ((other_function || other_file || other_line) && !*wrong && tally->wrong < 10)
		print_message("ours %s %s:%u, theirs %s %s:%u\n", function ? function : "-",
			      file ? file : "-", line, place->function, place->file, place->line);
	*wrong |= other_function || other_file || other_line;
}

static void compare_frame(struct tally *tally, const struct symbol *symbol,
			  const struct place *places, size_t cnt)
{
	bool wrong = false;

	tally->frames++;
	tally->calls += cnt - 1;
	if (cnt != symbol->inline_cnt + 1) {
		if (tally->wrong < 10)
			print_message("%s: %u inlined calls, addr2line says %zu\n",
				      symbol->function ? symbol->function : "-", symbol->inline_cnt,
				      cnt - 1);
		tally->chains++;
		tally->wrong++;
		return;
	}
	for (uint32_t i = 0; i < symbol->inline_cnt; i++)
		compare_place(tally, symbol->inlines[i].function, symbol->inlines[i].file,
			      symbol->inlines[i].line, &places[i], &wrong);
	compare_place(tally, symbol->function, symbol->file, symbol->line,
		      &places[symbol->inline_cnt], &wrong);
	tally->wrong += wrong;
}

/* `tool` is addr2line, or something like it. */
static void compare_with(const char *tool, struct scene *scene, const char *file,
			 struct tally *tally)
{
	char *path = in_dir("addresses"), *line = NULL;
	struct place places[256];
	size_t cap = 0, cnt;
	FILE *out = fopen(path, "we");

	assert_non_null(out);
	for (size_t i = 0; i < scene->sites.addresses.cnt; i++)
		fprintf(out, "0x%llx\n", (unsigned long long)scene->sites.addresses.items[i] - 1);
	fclose(out);
	free(path);
	out = run("%s -a -f -i -e '%s' < addresses | c++filt -i", tool, file);
	assert_true(getline(&line, &cap, out) > 0);
	for (size_t i = 0; i < scene->sites.addresses.cnt; i++) {
		cnt = next_block(out, &line, &cap, places, 256);
		assert_true(cnt > 0);
		compare_frame(tally, &scene->symbols[i], places, cnt);
		while (cnt--) {
			free(places[cnt].function);
			free(places[cnt].file);
		}
	}
	free(line);
	pclose(out);
}

static void compare_program(const char *what, const char *tool)
{
	struct tally tally = {0};
	double began, cold, warm;
	struct scene scene;

	open_scene(&scene, "program");
	add_call_sites(&scene, "program");
	began = now_seconds();
	resolve_scene(&scene);
	cold = now_seconds() - began;
	began = now_seconds();
	resolve_scene(&scene);
	warm = now_seconds() - began;
	compare_with(tool, &scene, "program", &tally);
	print_message("%s: %zu call sites, %zu inlined calls, cold %.3f s, warm %.4f s; differ: "
		      "%zu (functions %zu, files %zu, lines %zu, chains %zu)\n",
		      what, tally.frames, tally.calls, cold, warm, tally.wrong, tally.functions,
		      tally.files, tally.lines, tally.chains);
	assert_true(tally.frames > 100);
	assert_true(tally.wrong * 1000 <= tally.frames);
	free_scene(&scene);
}

static void build_program(const char *compiler, const char *flags)
{
	assert_int_equal(shell("%s %s -c unit0.cc & a=$!; %s %s -c unit1.cc && wait $a && "
			       "%s %s -c main.cc && %s %s -o program unit0.o unit1.o main.o",
			       compiler, flags, compiler, flags, compiler, flags, compiler, flags),
			 0);
}

static void gcc_dwarf5(void **state)
{
	(void)state;
	write_units(30);
	build_program("g++", "-O2 -g");
	compare_program("g++ -O2 -g", "addr2line");
}

static void gcc_dwarf4_compressed(void **state)
{
	(void)state;
	write_units(6);
	build_program("g++", "-O2 -gdwarf-4 -gz");
	compare_program("g++ -O2 -gdwarf-4 -gz", "addr2line");
}

static void gcc_no_pie(void **state)
{
	(void)state;
	write_units(6);
	build_program("g++", "-O3 -g -no-pie -fno-pie -ffunction-sections -Wl,--gc-sections");
	compare_program("g++ -O3 -no-pie, sections dropped", "addr2line");
}

static void clang_dwarf5(void **state)
{
	(void)state;
	write_units(6);
	build_program("clang++", "-O2 -g -gdwarf-5");
	/* binutils 2.40 finds no inlined calls there (DW_FORM_rnglistx). */
	compare_program("clang++ -O2 -gdwarf-5", "llvm-addr2line");
}

static void rust(void **state)
{
	(void)state;
	if (!have("rustc"))
		skip();
	write_file("program.rs",
		   "use std::collections::HashMap;\n"
		   "struct Shop { m: HashMap<String, Vec<u32>> }\n"
		   "impl Shop {\n"
		   "  #[inline(never)] fn add(&mut self, k: &str) -> usize {\n"
		   "    self.m.entry(k.to_string()).or_default().push(k.len() as u32);\n"
		   "    self.m.values().map(|v| v.len()).sum() } }\n"
		   "fn main() {\n"
		   "  let mut s = Shop { m: HashMap::new() };\n"
		   "  let mut t = 0; for a in std::env::args() { t += s.add(&a); }\n"
		   "  println!(\"{}\", t); }\n");
	assert_int_equal(shell("rustc -O -g -o program program.rs"), 0);
	compare_program("rustc -O -g", "addr2line");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(gcc_dwarf5), cmocka_unit_test(gcc_dwarf4_compressed),
		cmocka_unit_test(gcc_no_pie), cmocka_unit_test(clang_dwarf5),
		cmocka_unit_test(rust),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
