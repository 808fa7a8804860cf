/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "report/call_line.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "report/render.h"
#include "util/format.h"

#define LEAST_NAME_WIDTH 16
#define MIN_NAME_WIDTH 24
#define WISHED_NAME_WIDTH 40

static const struct snap_frame *frame_of(const struct profile *profile,
					 const struct call_info *call)
{
	return &profile->snap->frames.items[call->frame];
}

static bool is_kernel(const struct profile *profile, const struct call_info *call)
{
	return frame_of(profile, call)->kind == FRAME_KERNEL;
}

static const char *module_basename(const struct profile *profile, const struct call_info *call)
{
	const char *module = frame_module_path(profile->snap, call->frame);

	return module ? path_basename(module) : NULL;
}

/*
 * Returns the owned name of a module as a reader needs it: an extension's without what it was built
 * for, "_fast.so" of "_fast.cpython-311-x86_64-linux-gnu.so" (PEP 3149).
 */
static char *module_label(const char *module)
{
	const char *tag = strstr(module, ".cpython-"), *end = tag ? strchr(tag + 1, '.') : NULL;

	if (!end || strcmp(end, ".so"))
		return strdup(module);
	return format_text("%.*s.so", (int)(tag - module), module);
}

/* What stands behind the name. Owned, raw text; NULL = not there. */
struct place {
	char *at;   /* "+0x12", "+0x29d90 [stripped]" */
	char *file; /* "src/server.cc:123" */
	char *tail; /* " (server)", " [inlined]" */
};

static void place__free(struct place *place)
{
	free(place->at);
	free(place->file);
	free(place->tail);
}

static char *unnamed_at(const struct profile *profile, const struct call_info *call)
{
	const struct symbol *symbol = frame_symbol(profile, call->frame);
	const char *why = symbol_reason__text(symbol->reason);

	if (call->is_python)
		return format_text("[Python: %.*s]", (int)strcspn(why, ":"), why);
	return format_text("%s0x%" PRIx64 " [%.*s]", module_basename(profile, call) ? "+" : "",
			   frame_of(profile, call)->offset, (int)strcspn(why, ":"), why);
}

static char *module_tail(const char *module)
{
	char *label = module_label(module ? module : "?"), *tail;

	tail = label ? format_text(" (%s)", label) : NULL;
	free(label);
	return tail;
}

/* Returns 0 or -ENOMEM; to be freed in both cases. */
static int place__make(struct place *place, const struct profile *profile,
		       const struct call_info *call, bool with_offset)
{
	const struct symbol *symbol = frame_symbol(profile, call->frame);
	const char *module = module_basename(profile, call);

	*place = (struct place){0};
	if (call->file && call->line)
		place->file = format_text("%s:%" PRIu32, call->file, call->line);
	else if (call->file)
		place->file = strdup(call->file);
	if (!call->function && !call->file)
		place->at = unnamed_at(profile, call);
	else if (with_offset && call->function && !call->inlined && !call->line && !call->is_python)
		place->at = format_text("+0x%" PRIx64, symbol->function_offset);
	else
		place->at = strdup("");
	if (call->inlined)
		place->tail = strdup(" [inlined]");
	else if ((call->function || call->file) && !is_kernel(profile, call) && !call->is_python)
		place->tail = module_tail(module);
	else
		place->tail = strdup("");
	return place->at && place->tail && (place->file || !call->file) ? 0 : -ENOMEM;
}

/* Returns the longest end of a path, from a '/' on, that is at most `width` columns wide; the
 * file's own name in any case. */
static const char *path_end(const char *path, size_t width)
{
	const char *end = path, *slash;

	/* 4 = the dots and the slash of what was cut. */
	while (text_width(end) + (end == path ? 0 : 4) > width && (slash = strchr(end, '/')) &&
	       slash[1])
		end = slash + 1;
	return end;
}

static void put_file(struct screen *screen, const char *file, const char *end)
{
	/* The bare name says for itself that its folder was left out. */
	if (end != file && strchr(end, '/'))
		fputs(".../", screen->line);
	text_put(screen->line, end);
}

static size_t file_width(const char *file, const char *end)
{
	return text_width(end) + (end != file && strchr(end, '/') ? 4 : 0);
}

/* What is left of the line, and what of it goes to which part. */
struct layout {
	size_t name_width;    /* SIZE_MAX = no limit */
	const char *file_end; /* NULL = no file */
	bool has_tail;
};

static void fit_line(struct layout *layout, const struct screen *screen, const char *name,
		     const struct place *place, size_t used)
{
	size_t name_width = text_width(name), tail_width = text_width(place->tail);
	size_t fixed = used + text_width(place->at) + (place->file && *name ? 2 : 0);
	size_t wished, room, file = 0;

	*layout = (struct layout){SIZE_MAX, place->file, true};
	if (!screen->columns)
		return;
	room = screen->columns > fixed ? screen->columns - fixed : 0;
	wished = (name_width < WISHED_NAME_WIDTH ? name_width : WISHED_NAME_WIDTH) + tail_width;
	if (place->file) {
		layout->file_end = path_end(place->file, room > wished ? room - wished : 0);
		file = file_width(place->file, layout->file_end);
		room = room > file ? room - file : 0;
		/* The line says more than the module. */
		layout->has_tail =
			room >= tail_width + name_width || room >= tail_width + MIN_NAME_WIDTH;
	}
	if (layout->has_tail)
		room = room > tail_width ? room - tail_width : 0;
	layout->name_width = room > LEAST_NAME_WIDTH ? room : LEAST_NAME_WIDTH;
}

int screen__call(struct screen *screen, const struct profile *profile, const struct call_info *call,
		 size_t used, bool with_offset)
{
	const char *name = call->function;
	struct layout layout;
	struct place place;

	if (place__make(&place, profile, call, with_offset)) {
		place__free(&place);
		return -ENOMEM;
	}
	if (!name && !call->file)
		name = module_basename(profile, call);
	name = name ? name : "";
	if (is_kernel(profile, call)) {
		fputs("[k] ", screen->line);
		used += 4;
	}
	fit_line(&layout, screen, name, &place, used);
	if (layout.name_width == SIZE_MAX)
		text_put(screen->line, name);
	else
		text_put_clipped(screen->line, name, layout.name_width);
	screen__paint(screen, PAINT_WEAK);
	text_put(screen->line, place.at);
	if (layout.file_end) {
		fputs(*name ? "  " : "", screen->line);
		put_file(screen, place.file, layout.file_end);
	}
	if (layout.has_tail)
		text_put(screen->line, place.tail);
	screen__paint(screen, PAINT_NONE);
	place__free(&place);
	return 0;
}

/* Says which `__init__` or `<lambda>` it is: " (app/cache.py:42)". */
static void put_python_place(FILE *out, const struct call_info *call)
{
	if (!call->file)
		return;
	fputs(" (", out);
	text_put_folded(out, call->file);
	if (call->line)
		fprintf(out, ":%" PRIu32, call->line);
	fputc(')', out);
}

void call_put_folded(FILE *out, const struct profile *profile, const struct call_info *call)
{
	const char *module = module_basename(profile, call);

	if (call->function) {
		text_put_folded(out, call->function);
	} else if (call->is_python) {
		fputs("[Python]", out);
	} else {
		if (module)
			text_put_folded(out, module);
		fprintf(out, "%s0x%" PRIx64, module ? "+" : "", frame_of(profile, call)->offset);
	}
	if (call->is_python)
		put_python_place(out, call);
	/* As flame graph tools colour them. */
	if (is_kernel(profile, call))
		fputs("_[k]", out);
	else if (call->inlined)
		fputs("_[i]", out);
}

char *call_key(const struct profile *profile, const struct call_info *call)
{
	const char *module = module_basename(profile, call);

	if (call->function && call->is_python && call->file)
		return format_text("%s (%s:%" PRIu32 ")", call->function, call->file, call->line);
	if (call->function)
		return strdup(call->function);
	if (call->is_python)
		return strdup("[Python]");
	return format_text("%s%s0x%" PRIx64, module ? module : "", module ? "+" : "",
			   frame_of(profile, call)->offset);
}
