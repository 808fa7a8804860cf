/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "engine/prober.h"

#include <errno.h>
#include <string.h>

#include "util/format.h"
#include "util/hashmap.h"

enum file_state { FILE_UNREAD = 0, FILE_READ, FILE_BAD };

struct probed_file {
	enum file_state state;
	int read_err;
	bool was_open; /* when it was read */
	bool attached, attach_failed;
	int attach_err;
	struct elf_allocs allocs;
	struct attach_outcome outcome;
};

struct prober {
	struct attacher *attacher;
	struct space_table *table;
	struct same_files *same;
	const struct elf_allocs_opts *opts;
	bool per_process;
	ARRAY(struct probed_file) files; /* beside the module table */
	struct hashmap in_process;	 /* {module, space} probed, per_process only */
};

struct prober *prober__new(struct attacher *attacher, struct space_table *table,
			   struct same_files *same, const struct elf_allocs_opts *opts,
			   bool per_process)
{
	struct prober *prober = calloc(1, sizeof(*prober));

	if (!prober)
		return NULL;
	prober->attacher = attacher;
	prober->table = table;
	prober->same = same;
	prober->opts = opts;
	prober->per_process = per_process;
	return prober;
}

void prober__free(struct prober *prober)
{
	if (!prober)
		return;
	for (size_t i = 0; i < prober->files.cnt; i++)
		if (prober->files.items[i].state == FILE_READ)
			elf_allocs__free(&prober->files.items[i].allocs);
	array_free(&prober->files);
	hashmap__free(&prober->in_process);
	free(prober);
}

static struct probed_file *file_of(struct prober *prober, uint32_t index)
{
	struct module *module = &prober->table->modules.modules.items[index];
	struct probed_file *file;

	while (prober->files.cnt <= index)
		if (array_push(&prober->files, (struct probed_file){0}))
			return NULL;
	file = &prober->files.items[index];
	if (file->state == FILE_BAD && !file->was_open && module->fd >= 0)
		file->state = FILE_UNREAD; /* it can be opened by now */
	if (file->state != FILE_UNREAD)
		return file;
	file->state = FILE_BAD;
	file->read_err = module->open_err;
	file->was_open = module->fd >= 0;
	if (module->fd >= 0)
		file->read_err = elf_allocs__read(module->fd, prober->opts, &file->allocs);
	if (module->fd >= 0 && !file->read_err)
		file->state = FILE_READ;
	return file;
}

/* Puts the file's probes in place for this space. Returns whether they were not there before. */
static bool attach_file(struct prober *prober, struct probed_file *file, uint32_t index,
			const struct space_info *space)
{
	int fd = prober->table->modules.modules.items[index].fd;
	bool is_new = !file->attached && !file->attach_failed;

	if (prober->per_process && !hashmap__insert(&prober->in_process, index, space->id, &is_new))
		return false;
	if (!is_new)
		return false;
	file->attach_err = attacher__attach(prober->attacher, fd, &file->allocs,
					    prober->per_process ? space->tgid : 0, &file->outcome);
	file->attached = !file->attach_err;
	prober->table->modules.modules.items[index].is_probed |= file->attached;
	file->attach_failed = file->attach_err != 0;
	return file->attached;
}

/* What of the file is not followed, as an owned sentence, "" = nothing; NULL: no memory. */
static char *describe_gaps(const struct probed_file *file)
{
	size_t refused_cnt = file->outcome.refused_cnt, loss_cnt;
	const char *loss = elf_allocs__loss(&file->allocs, &loss_cnt);
	char *text = refused_cnt ? format_text("%zu of its functions could not be probed: %s%s",
					       refused_cnt, strerror(-file->outcome.refused_err),
					       loss ? "; " : "")
				 : strdup("");
	char *longer = NULL;

	if (!text || !loss)
		return text;
	if (loss_cnt > 1)
		longer = format_text("%s%s; and %zu more (leaksweep doctor -v tells)", text, loss,
				     loss_cnt - 1);
	else
		longer = format_text("%s%s", text, loss);
	free(text);
	return longer;
}

static int note_coverage(struct prober *prober, struct space_info *space, struct probed_file *file,
			 uint32_t index)
{
	const struct module *module = &prober->table->modules.modules.items[index];
	enum coverage_status status = COVERAGE_PROBED;
	char *reason;
	int err;

	if (file->attach_failed)
		reason = format_text("the kernel refused its probes: %s",
				     strerror(-file->attach_err));
	else
		reason = describe_gaps(file);
	if (!reason)
		return -ENOMEM;
	if (file->attach_failed || !file->allocs.sites.cnt)
		status = COVERAGE_SKIPPED;
	else if (*reason)
		status = COVERAGE_PARTIAL;
	err = space_info__set_coverage(space, index, file->allocs.allocator, module->path, status,
				       reason);
	free(reason);
	return err;
}

static const char *read_failure(int err)
{
	switch (err) {
	case -ENOTSUP:
		return "a 32-bit or foreign program: only native 64-bit code can be traced";
	case -ENOEXEC:
		return "not an ELF file";
	case -EBADMSG:
		return "its ELF headers are broken";
	case -ETIMEDOUT:
		return "its file system does not answer";
	default:
		return strerror(-err);
	}
}

/* Nothing to probe: say why, in the program's own file. */
static int note_nothing(struct prober *prober, struct space_info *space)
{
	struct module_table *modules = &prober->table->modules;
	const char *reason = "no allocator functions found: stripped static program or allocator "
			     "of its own; name "
			     "them with --alloc-fn and --free-fn";
	uint32_t index = MODULE_NONE;

	if (!space->code.cnt && space->read_err && space->read_err != -ESRCH)
		reason = space->read_err == -EACCES || space->read_err == -EPERM
				 ? "its mappings cannot be read: CAP_SYS_PTRACE is missing, or it "
				   "is protected"
				 : strerror(-space->read_err);
	else if (!space->code.cnt)
		reason = "it was gone before its mappings could be read";
	for (size_t i = 0; i < space->code.cnt && index == MODULE_NONE; i++)
		if (!strcmp(modules->modules.items[space->code.items[i].module].path, space->exe))
			index = space->code.items[i].module;
	if (index != MODULE_NONE)
		index = same_files__first(prober->same, index);
	if (index != MODULE_NONE && index < prober->files.cnt &&
	    prober->files.items[index].state == FILE_BAD)
		reason = read_failure(prober->files.items[index].read_err);
	return space_info__set_coverage(space, MODULE_NONE, "none", space->exe, COVERAGE_SKIPPED,
					reason);
}

int prober__cover(struct prober *prober, struct space_info *space, size_t *ret_new_cnt)
{
	size_t new_cnt = 0, found = 0;
	int err = 0;

	for (size_t i = 0; i < space->code.cnt && !err; i++) {
		uint32_t index = space->code.items[i].module, first;
		struct probed_file *file;

		if (i && index == space->code.items[i - 1].module)
			continue;
		first = same_files__first(prober->same, index);
		file = file_of(prober, first);
		if (!file)
			return -ENOMEM;
		if (file->state != FILE_READ || !file->allocs.allocator)
			continue;
		found++;
		if (file->allocs.sites.cnt)
			new_cnt += attach_file(prober, file, first, space);
		err = note_coverage(prober, space, file, index);
	}
	if (!err && !found && !space->coverage.cnt)
		err = note_nothing(prober, space);
	if (ret_new_cnt)
		*ret_new_cnt = new_cnt;
	return err;
}

int prober__prepare(struct prober *prober, struct space_info *space)
{
	for (size_t i = 0; i < space->code.cnt; i++)
		if (!file_of(prober, same_files__first(prober->same, space->code.items[i].module)))
			return -ENOMEM;
	return 0;
}

void prober__forget(struct prober *prober, const struct space_info *space)
{
	for (size_t i = 0; i < space->code.cnt; i++)
		hashmap__remove(&prober->in_process,
				same_files__first(prober->same, space->code.items[i].module),
				space->id);
}

char *prober__obstacle(const struct space_info *space)
{
	for (size_t i = 0; i < space->coverage.cnt; i++)
		if (space->coverage.items[i].status != COVERAGE_SKIPPED)
			return NULL;
	return strdup(space->coverage.cnt ? space->coverage.items[0].reason
					  : "nothing is known of it");
}
