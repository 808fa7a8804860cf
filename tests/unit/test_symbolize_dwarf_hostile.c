// SPDX-License-Identifier: GPL-2.0-or-later
/* Damaged DWARF and lying children: lines may be lost, names and the tool may not. */
#include "unit/symbolize_lines_fixture.h"

#include "symbolize/line_batch.h"

static uint64_t seed = 1;

static uint64_t next_random(void)
{
	seed = seed * 6364136223846793005U + 1442695040888963407U;
	return seed >> 24;
}

static void build(void)
{
	write_file(
		"app.cc",
		"#include <map>\n#include <string>\n#include <vector>\n"
		"template <int N> struct T { std::map<int, std::string> m;\n"
		"  __attribute__((noinline)) int f(int x) { m[x] = std::to_string(x); return "
		"g(x); }\n"
		"  int g(int x) { std::vector<int> v(x); v.push_back(N); return v[x / 2]; } };\n"
		"int main(int c, char **) { return T<1>().f(c) + T<2>().f(c) + T<3>().g(c); }\n");
	assert_int_equal(shell("g++ -O2 -g -o app app.cc"), 0);
}

struct section {
	uint64_t off, size;
};

static size_t debug_sections(const char *file, struct section *sections, size_t max)
{
	FILE *pipe =
		run("readelf -SW '%s' | sed -n 's/.*\\(\\.debug_[a-z_]*\\) *PROGBITS//p'", file);
	unsigned long long address, off, size;
	char *line = NULL;
	size_t cap = 0, cnt = 0;

	while (getline(&line, &cap, pipe) > 0 && cnt < max)
		if (sscanf(line, "%llx %llx %llx", &address, &off, &size) == 3 && size)
			sections[cnt++] = (struct section){off, size};
	free(line);
	pclose(pipe);
	return cnt;
}

static char *slurp(const char *path, size_t *ret_size)
{
	FILE *file = fopen(path, "re");
	char *data;
	long size;

	assert_non_null(file);
	fseek(file, 0, SEEK_END);
	size = ftell(file);
	rewind(file);
	data = malloc((size_t)size);
	assert_non_null(data);
	assert_int_equal(fread(data, 1, (size_t)size, file), size);
	fclose(file);
	*ret_size = (size_t)size;
	return data;
}

static void damage(char *data, const struct section *section)
{
	size_t times = 1 + next_random() % 16, pos;

	while (times--) {
		pos = section->off + next_random() % section->size;
		switch (next_random() % 4) {
		case 0:
			data[pos] = (char)next_random();
			break;
		case 1:
			data[pos] ^= (char)(1 << next_random() % 8);
			break;
		case 2:
			data[pos] = (char)0xff;
			break;
		default: /* in the heads, mostly */
			data[section->off +
			     next_random() % (section->size < 64 ? section->size : 64)] =
				(char)next_random();
		}
	}
}

struct outcome {
	size_t reasons[LINE_BROKEN + 1];
	double slowest;
};

static void try_damaged(const struct scene *good, const char *data, size_t size,
			struct outcome *outcome)
{
	char *path = in_dir("damaged");
	struct symbol *symbols = NULL;
	struct snapshot snap = {0};
	struct symbolizer *symbolizer = symbolizer__new_at("/nonexistent", "/nonexistent");
	double began;
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	fclose(file);
	add_file_module(&snap, path, open_file(path));
	for (size_t i = 0; i < good->snap.frames.cnt; i++)
		add_frame_at(&snap, 0, good->snap.frames.items[i].offset);
	began = now_seconds();
	assert_int_equal(symbolizer__resolve(symbolizer, &snap, &symbols), 0);
	began = now_seconds() - began;
	if (began > outcome->slowest)
		outcome->slowest = began;
	for (size_t i = 0; i < snap.frames.cnt; i++) {
		outcome->reasons[symbols[i].line_reason]++;
		assert_true((symbols[i].line_reason == LINE_FOUND) == (symbols[i].line != 0));
		/* The symbol table is as it was. */
		assert_int_equal(symbols[i].reason, good->symbols[i].reason);
		if (symbols[i].function)
			assert_string_equal(symbols[i].function, good->symbols[i].function);
		for (uint32_t k = 0; k < symbols[i].inline_cnt; k++) {
			if (symbols[i].inlines[k].function)
				assert_true(strlen(symbols[i].inlines[k].function) < 1 << 16);
			if (symbols[i].inlines[k].file)
				assert_true(strlen(symbols[i].inlines[k].file) < 1 << 16);
		}
	}
	free(symbols);
	close(snap.modules.items[0].fd);
	free_frames(&snap);
	symbolizer__free(symbolizer);
	free(path);
}

static void damaged_sections(void **state)
{
	struct outcome outcome = {0};
	struct section sections[32];
	char *data, *copy, *path;
	struct scene good;
	size_t size, cnt;

	(void)state;
	build();
	cnt = debug_sections("app", sections, 32);
	assert_true(cnt >= 4);
	open_scene(&good, "app");
	add_call_sites(&good, "app");
	resolve_scene(&good);
	path = in_dir("app");
	data = slurp(path, &size);
	copy = malloc(size);
	assert_non_null(copy);
	for (size_t i = 0; i < 300; i++) {
		memcpy(copy, data, size);
		damage(copy, &sections[i % cnt]);
		try_damaged(&good, copy, size, &outcome);
	}
	print_message("300 damaged files: %zu lines, %zu gaps, %zu lost, %zu without; slowest %.3f "
		      "s\n",
		      outcome.reasons[LINE_FOUND], outcome.reasons[LINE_GAP],
		      outcome.reasons[LINE_BROKEN], outcome.reasons[LINE_NO_DEBUG_INFO],
		      outcome.slowest);
	assert_true(outcome.slowest < 60);
	free(path);
	free(data);
	free(copy);
	free_scene(&good);
}

/* Ever less of the debug information is there. */
static void emptied_sections(void **state)
{
	struct outcome outcome = {0};
	struct section sections[32];
	char *data, *path;
	struct scene good;
	size_t size, cnt;

	(void)state;
	build();
	cnt = debug_sections("app", sections, 32);
	open_scene(&good, "app");
	add_call_sites(&good, "app");
	resolve_scene(&good);
	path = in_dir("app");
	data = slurp(path, &size);
	for (size_t i = 0; i < cnt; i++) {
		memset(data + sections[i].off, 0, sections[i].size);
		try_damaged(&good, data, size, &outcome);
	}
	free(path);
	free(data);
	free_scene(&good);
}

/* An answer as a child would give it: one chunk, one record, one call. */
static size_t make_answer(char *buf)
{
	struct lines_head head = {LINES_MAGIC, 2, 2, 24};
	struct lines_record records[2] = {
		{.start = 4096,
		 .index = 0,
		 .function = 1,
		 .file = 5,
		 .line = 7,
		 .call_first = 0,
		 .call_cnt = 2},
		{.start = 4096, .index = 1, .function = 1, .call_first = 2}};
	struct lines_call calls[2] = {{1, 5, 3, 0}, {1, 0, 9, 0}};
	char text[24] = "\0foo\0/a/b.c\0\0\0\0\0";
	size_t size = 0;

	memcpy(buf, &head, sizeof(head));
	size += sizeof(head);
	memcpy(buf + size, records, sizeof(records));
	size += sizeof(records);
	memcpy(buf + size, calls, sizeof(calls));
	size += sizeof(calls);
	memcpy(buf + size, text, sizeof(text));
	return size + sizeof(text);
}

/* Reads everything that a checked chunk points to; returns how the answer ended. */
static int read_answer(const struct line_job *job)
{
	const struct lines_record *record;
	struct line_chunk chunk;
	size_t pos = 0, total = 0;
	int more;

	while ((more = line_job__next(job, &pos, &chunk)) > 0) {
		for (uint32_t i = 0; i < chunk.record_cnt; i++) {
			record = &chunk.records[i];
			assert_true(record->index < job->input.cnt);
			total += strlen(chunk.text + record->function);
			total += strlen(chunk.text + record->file);
			for (uint32_t k = 0; k < record->call_cnt; k++) {
				total += strlen(chunk.text +
						chunk.calls[record->call_first + k].function);
				total += strlen(chunk.text +
						chunk.calls[record->call_first + k].file);
			}
		}
	}
	return total < 1 << 20 ? more : 1;
}

static void lying_children(void **state)
{
	struct line_job job = {.input.cnt = 2};
	size_t size, refused = 0;
	char answer[1024];

	(void)state;
	size = make_answer(answer);
	size += make_answer(answer + size);
	for (size_t i = 0; i < 200000; i++) {
		job.answer_size = i ? next_random() % (size + 1) : size;
		job.answer = malloc(job.answer_size ? job.answer_size : 1);
		assert_non_null(job.answer);
		memcpy(job.answer, answer, job.answer_size);
		for (size_t k = i % 4; k > 0 && job.answer_size; k--)
			job.answer[next_random() % job.answer_size] =
				(char)(next_random() % 3 ? next_random() : 0xff);
		refused += read_answer(&job) < 0;
		if (!i)
			assert_int_equal(refused, 0);
		free(job.answer);
	}
	print_message("200000 answers, %zu refused\n", refused);
	assert_true(refused > 1000 && refused < 200000);
}

static void a_batch_of_many_files(void **state)
{
	enum { CNT = 40 };
	struct line_job jobs[CNT] = {0};
	struct line_chunk chunk;
	struct scene good;
	uint64_t address;
	size_t pos;
	int noise;

	(void)state;
	build();
	shell("head -c 5000 /dev/urandom > noise");
	open_scene(&good, "app");
	read_call_sites("app", &good.sites);
	noise = open_in_dir("noise");
	address = good.sites.addresses.items[good.sites.addresses.cnt / 2] - 1;
	for (size_t i = 0; i < CNT; i++)
		jobs[i].input = (struct lines_input){i % 3 == 1 ? noise : good.fd, -1, &address, 1};
	assert_int_equal(line_batch__run(jobs, CNT, UINT64_MAX), 0);
	for (size_t i = 0; i < CNT; i++) {
		pos = 0;
		assert_int_equal(jobs[i].err != 0, i % 3 == 1);
		assert_int_equal(line_job__next(&jobs[i], &pos, &chunk), i % 3 != 1);
	}
	line_batch__free(jobs, CNT);
	close(noise);
	free_scene(&good);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(damaged_sections),
		cmocka_unit_test(emptied_sections),
		cmocka_unit_test(lying_children),
		cmocka_unit_test(a_batch_of_many_files),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
