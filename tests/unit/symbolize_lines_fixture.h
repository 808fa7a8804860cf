/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the tests of source lines share: call sites of a program, and its frames' symbols. */
#ifndef LEAKSWEEP_TESTS_SYMBOLIZE_LINES_FIXTURE_H
#define LEAKSWEEP_TESTS_SYMBOLIZE_LINES_FIXTURE_H

#include "unit/symbolize_fixture.h"

#include <ctype.h>

#include "symbolize/dwarf_lines.h"
#include "symbolize/symbolizer.h"

struct sites {
	ARRAY(uint64_t) addresses; /* of return addresses, as the linker gave them */
	uint64_t bias[16][3];	   /* of segments: address, size, file offset */
	size_t segment_cnt;
};

static inline FILE *run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline FILE *run(const char *format, ...)
{
	char *command, *whole;
	va_list args;
	FILE *pipe;

	va_start(args, format);
	assert_true(vasprintf(&command, format, args) >= 0);
	va_end(args);
	whole = fmt("cd '%s' && { %s; } 2>/dev/null", fixture_dir, command);
	pipe = popen(whole, "re");
	assert_non_null(pipe);
	free(whole);
	free(command);
	return pipe;
}

static inline void read_segments(const char *file, struct sites *sites)
{
	FILE *pipe = run("readelf -lW '%s' | sed -n 's/^ *LOAD *//p'", file);
	unsigned long long off, vaddr, paddr, filesz;
	char *line = NULL;
	size_t cap = 0;

	while (getline(&line, &cap, pipe) > 0 && sites->segment_cnt < 16) {
		if (sscanf(line, "%llx %llx %llx %llx", &off, &vaddr, &paddr, &filesz) != 4)
			continue;
		sites->bias[sites->segment_cnt][0] = vaddr;
		sites->bias[sites->segment_cnt][1] = filesz;
		sites->bias[sites->segment_cnt++][2] = off;
	}
	free(line);
	pclose(pipe);
}

static inline uint64_t file_offset(const struct sites *sites, uint64_t address)
{
	for (size_t i = 0; i < sites->segment_cnt; i++)
		if (address - 1 >= sites->bias[i][0] &&
		    address - 1 - sites->bias[i][0] < sites->bias[i][1])
			return address - sites->bias[i][0] + sites->bias[i][2];
	return 0;
}

/* The return addresses of all calls: "  401126:\te8 d5 ff ff ff       \tcall ...". */
static inline void read_call_sites(const char *file, struct sites *sites)
{
	FILE *pipe = run("objdump -dw -j .text '%s' | grep -P '\\t(bnd |notrack |)call'", file);
	char *line = NULL, *pos;
	uint64_t address;
	size_t cap = 0;

	while (getline(&line, &cap, pipe) > 0) {
		address = strtoull(line, &pos, 16);
		if (pos[0] != ':' || pos[1] != '\t')
			continue;
		for (pos += 2; isxdigit(pos[0]) && isxdigit(pos[1]) && pos[2] == ' '; pos += 3)
			address++;
		assert_int_equal(array_push(&sites->addresses, address), 0);
	}
	free(line);
	pclose(pipe);
	read_segments(file, sites);
}

static inline uint32_t add_file_module(struct snapshot *snap, const char *path, int fd)
{
	struct snap_module module = {.path = (char *)path, .fd = fd};

	assert_int_equal(array_push(&snap->modules, module), 0);
	return (uint32_t)snap->modules.cnt - 1;
}

static inline void add_frame_at(struct snapshot *snap, uint32_t module, uint64_t offset)
{
	struct snap_frame frame = {.module = module, .kind = FRAME_NATIVE, .offset = offset};

	assert_int_equal(array_push(&snap->frames, frame), 0);
}

static inline void free_frames(struct snapshot *snap)
{
	array_free(&snap->modules);
	array_free(&snap->frames);
}

/* A snapshot with all call sites of a file in the temporary folder; free with free_scene. */
struct scene {
	struct sites sites;
	struct snapshot snap;
	struct symbolizer *symbolizer;
	struct symbol *symbols;
	char *path, *root;
	int fd;
};

static inline void open_scene(struct scene *scene, const char *file)
{
	memset(scene, 0, sizeof(*scene));
	scene->path = in_dir(file);
	scene->root = in_dir("root");
	scene->fd = open_file(scene->path);
	add_file_module(&scene->snap, scene->path, scene->fd);
	scene->symbolizer = symbolizer__new_at(scene->root, "/proc/kallsyms");
	assert_non_null(scene->symbolizer);
}

static inline void resolve_scene(struct scene *scene)
{
	free(scene->symbols);
	assert_int_equal(symbolizer__resolve(scene->symbolizer, &scene->snap, &scene->symbols), 0);
	for (size_t i = 0; i < scene->snap.frames.cnt; i++) {
		assert_int_equal(scene->symbols[i].function != NULL,
				 scene->symbols[i].reason == SYMBOL_FOUND);
		assert_int_equal(scene->symbols[i].line != 0,
				 scene->symbols[i].line_reason == LINE_FOUND);
	}
}

static inline void add_call_sites(struct scene *scene, const char *file)
{
	read_call_sites(file, &scene->sites);
	for (size_t i = 0; i < scene->sites.addresses.cnt; i++)
		add_frame_at(&scene->snap, 0,
			     file_offset(&scene->sites, scene->sites.addresses.items[i]));
}

static inline void free_scene(struct scene *scene)
{
	symbolizer__free(scene->symbolizer);
	free_frames(&scene->snap);
	array_free(&scene->sites.addresses);
	free(scene->symbols);
	free(scene->path);
	free(scene->root);
	close(scene->fd);
}

/* A program with a unit of a million lines, whose function "big" calls rand. */
static inline void build_big(void)
{
	assert_int_equal(shell("awk 'BEGIN { print \".globl big\\n.type big,@function\\nbig:\";"
			       "for (i = 0; i < 1000000; i++) print \"nop\";"
			       "print \"call rand@PLT\\nret\" }' > big.s &&"
			       "echo 'void big(void); int main(void) { big(); }' > main.c &&"
			       "gcc -g -o big main.c big.s"),
			 0);
}

/* Where the call in `caller`'s own code to `callee` returns to; both as objdump writes them. */
static inline uint64_t offset_of_call(struct scene *scene, const char *file, const char *caller,
				      const char *callee)
{
	FILE *pipe = run(
		"objdump -dw '%s' | sed -n '/<%s>:$/,/^$/p' | grep -P '(call|jmp).*<%s(@plt)?>'",
		file, caller, callee);
	char *line = NULL, *pos;
	uint64_t address;
	size_t cap = 0;

	assert_true(getline(&line, &cap, pipe) > 0);
	address = strtoull(line, &pos, 16);
	for (pos += 2; isxdigit(pos[0]) && isxdigit(pos[1]) && pos[2] == ' '; pos += 3)
		address++;
	free(line);
	while (fgetc(pipe) != EOF)
		;
	pclose(pipe);
	if (!scene->sites.segment_cnt)
		read_segments(file, &scene->sites);
	return file_offset(&scene->sites, address);
}

/* The symbol of such a call. */
static inline const struct symbol *symbol_at_call(struct scene *scene, const char *file,
						  const char *caller, const char *callee)
{
	add_frame_at(&scene->snap, 0, offset_of_call(scene, file, caller, callee));
	resolve_scene(scene);
	return &scene->symbols[scene->snap.frames.cnt - 1];
}

#endif
