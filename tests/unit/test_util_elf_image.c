/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Headers, segments, sections and build-id of ELF files made by hand, sound ones and others. */
#include "unit/compile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "util/elf_image.h"
#include "util/regular_file.h"

#define MACHINE EM_X86_64

struct note {
	Elf64_Nhdr head;
	char name[4];
	uint8_t desc[4];
};

/* A file with everything in it; each test breaks something. */
struct sample {
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdrs[4]; /* data, code, notes, beyond the end */
	Elf64_Shdr shdrs[4]; /* none, names, notes, .text */
	char names[32];
	struct note segment_note, section_note;
	uint8_t code[64];
};

static const char section_names[] = "\0.names\0.notes\0.text";

static struct note make_note(uint8_t first)
{
	return (struct note){
		.head = {4, 4, NT_GNU_BUILD_ID},
		.name = "GNU",
		.desc = {first, 2, 3, 4},
	};
}

static struct sample make_sample(void)
{
	struct sample sample = {
		.ehdr = {.e_type = ET_DYN,
			 .e_machine = MACHINE,
			 .e_phoff = offsetof(struct sample, phdrs),
			 .e_phentsize = sizeof(Elf64_Phdr),
			 .e_phnum = 4,
			 .e_shoff = offsetof(struct sample, shdrs),
			 .e_shentsize = sizeof(Elf64_Shdr),
			 .e_shnum = 4,
			 .e_shstrndx = 1},
		.phdrs = {{.p_type = PT_LOAD, .p_vaddr = 0x10000, .p_filesz = sizeof(sample)},
			  {.p_type = PT_LOAD,
			   .p_flags = PF_X,
			   .p_vaddr = 0x20000,
			   .p_offset = offsetof(struct sample, code),
			   .p_filesz = 4096}, /* more than there is */
			  {.p_type = PT_NOTE,
			   .p_offset = offsetof(struct sample, segment_note),
			   .p_filesz = sizeof(struct note)},
			  {.p_type = PT_LOAD, .p_offset = 1U << 20, .p_filesz = 4096}},
		.shdrs = {{0},
			  {.sh_type = SHT_STRTAB,
			   .sh_name = 1,
			   .sh_offset = offsetof(struct sample, names),
			   .sh_size = sizeof(section_names)},
			  {.sh_type = SHT_NOTE,
			   .sh_name = 8,
			   .sh_offset = offsetof(struct sample, section_note),
			   .sh_size = sizeof(struct note)},
			  {.sh_type = SHT_PROGBITS,
			   .sh_name = 15,
			   .sh_offset = offsetof(struct sample, code),
			   .sh_size = sizeof(sample.code)}},
		.segment_note = make_note(1),
		.section_note = make_note(9),
	};

	memcpy(sample.ehdr.e_ident, ELFMAG, SELFMAG);
	sample.ehdr.e_ident[EI_CLASS] = ELFCLASS64;
	sample.ehdr.e_ident[EI_DATA] = ELFDATA2LSB;
	memcpy(sample.names, section_names, sizeof(section_names));
	return sample;
}

/* Opens it as a file and in memory: the answers are the same. Returns that of the file. */
static int open_error(const struct sample *sample, size_t size)
{
	int fd = memfd_create("sample", MFD_CLOEXEC), err;
	struct elf_image image;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, sample, size), size);
	err = elf_image__open(&image, fd, EM_NONE);
	if (!err)
		elf_image__close(&image);
	close(fd);
	assert_int_equal(elf_image__open_memory(&image, sample, size), err);
	if (!err)
		elf_image__close(&image);
	return err;
}

static void test_sound(void **state)
{
	struct sample sample = make_sample();
	const Elf64_Shdr *shdr;
	struct elf_image image;
	char *data;

	(void)state;
	assert_int_equal(open_error(&sample, sizeof(sample)), 0);
	assert_int_equal(elf_image__open_memory(&image, &sample, sizeof(sample)), 0);
	assert_int_equal(image.machine, MACHINE);
	assert_int_equal(image.phdr_cnt, 4);
	assert_int_equal(image.shdr_cnt, 4);
	assert_int_equal(elf_image__section_named(&image, ".text", &shdr), 0);
	assert_ptr_equal(shdr, &image.shdrs[3]);
	assert_int_equal(elf_image__section_named(&image, ".tex", &shdr), -ENOENT);
	assert_int_equal(elf_image__section_named(&image, ".texture", &shdr), -ENOENT);
	assert_ptr_equal(elf_image__section_of_type(&image, SHT_NOTE), &image.shdrs[2]);
	assert_null(elf_image__section_of_type(&image, SHT_SYMTAB));
	assert_int_equal(elf_image__load(&image, 1, 3, 3, &data), 0);
	assert_string_equal(data, "ELF");
	free(data);
	assert_int_equal(elf_image__load(&image, 1, 3, 2, &data), -EFBIG);
	assert_int_equal(elf_image__load(&image, sizeof(sample), 1, 9, &data), -EBADMSG);
	assert_int_equal(elf_image__load(&image, UINT64_MAX, 2, 9, &data), -EBADMSG);
	assert_int_equal(elf_image__load(&image, 2, UINT64_MAX, 9, &data), -EBADMSG);
	elf_image__close(&image);
	elf_image__close(&image);
}

static void test_segments(void **state)
{
	struct sample sample = make_sample();
	uint64_t code = offsetof(struct sample, code), off, avail, vaddr;
	struct elf_image image;

	(void)state;
	assert_int_equal(elf_image__open_memory(&image, &sample, sizeof(sample)), 0);
	assert_int_equal(image.segments.list.cnt, 2); /* what lies beyond the end is none */
	assert_true(elf_segments__offset(&image.segments, 0x20010, true, &off, &avail));
	assert_int_equal(off, code + 16);
	assert_int_equal(avail, sizeof(sample) - code - 16);
	assert_true(elf_segments__offset(&image.segments, 0x10000, false, &off, &avail));
	assert_int_equal(off, 0);
	assert_false(elf_segments__offset(&image.segments, 0x10000, true, &off, &avail));
	assert_false(elf_segments__offset(&image.segments, 0x20000 + sizeof(sample) - code, true,
					  &off, &avail));
	assert_true(elf_segments__vaddr(&image.segments, code + 1, &vaddr));
	assert_int_equal(vaddr, 0x20001); /* in both: code comes first */
	assert_true(elf_segments__vaddr(&image.segments, 1, &vaddr));
	assert_int_equal(vaddr, 0x10001);
	assert_false(elf_segments__vaddr(&image.segments, sizeof(sample), &vaddr));
	elf_image__close(&image);

	sample.phdrs[0].p_vaddr = UINT64_MAX - 8; /* wraps around */
	assert_int_equal(elf_image__open_memory(&image, &sample, sizeof(sample)), 0);
	assert_int_equal(image.segments.list.cnt, 1);
	elf_image__close(&image);
}

static void test_refused(void **state)
{
	struct sample sample = make_sample();
	struct elf_image image;
	int fd;

	(void)state;
	assert_int_equal(open_error(&sample, 3), -ENOEXEC);
	assert_int_equal(open_error(&sample, SELFMAG), -EBADMSG);
	assert_int_equal(open_error(&sample, sizeof(Elf64_Ehdr) - 1), -EBADMSG);
	assert_int_equal(open_error(&sample, offsetof(struct sample, phdrs[3])), -EBADMSG);
	sample.ehdr.e_ident[EI_CLASS] = ELFCLASS32;
	assert_int_equal(open_error(&sample, sizeof(sample)), -ENOTSUP);
	sample = make_sample();
	sample.ehdr.e_ident[EI_DATA] = ELFDATA2MSB;
	assert_int_equal(open_error(&sample, sizeof(sample)), -ENOTSUP);
	sample = make_sample();
	sample.ehdr.e_type = ET_REL;
	assert_int_equal(open_error(&sample, sizeof(sample)), -ENOEXEC);
	sample = make_sample();
	sample.ehdr.e_phentsize--;
	assert_int_equal(open_error(&sample, sizeof(sample)), -EBADMSG);
	sample = make_sample();
	sample.ehdr.e_phoff = UINT64_MAX - 8;
	assert_int_equal(open_error(&sample, sizeof(sample)), -EBADMSG);

	sample = make_sample();
	fd = memfd_create("sample", MFD_CLOEXEC);
	assert_int_equal(write(fd, &sample, sizeof(sample)), sizeof(sample));
	assert_int_equal(elf_image__open(&image, fd, EM_S390), -ENOTSUP);
	assert_int_equal(elf_image__open(&image, fd, MACHINE), 0);
	assert_int_equal(ftruncate(fd, 8), 0); /* under our eyes */
	assert_int_equal(elf_image__read(&image, 0, &sample, sizeof(sample)), -EBADMSG);
	elf_image__close(&image);
	close(fd);
	fd = open(work_dir, O_RDONLY | O_CLOEXEC);
	assert_int_equal(elf_image__open(&image, fd, EM_NONE), -ENOEXEC);
	close(fd);
	assert_int_equal(elf_image__open(&image, -1, EM_NONE), -EBADF);
}

static size_t count_sections(const struct sample *sample)
{
	struct elf_image image;
	size_t cnt;

	assert_int_equal(elf_image__open_memory(&image, sample, sizeof(*sample)), 0);
	cnt = image.shdr_cnt;
	elf_image__close(&image);
	return cnt;
}

/* A file without sections is still a program; so is one whose sections are not to be had. */
static void test_damaged_sections(void **state)
{
	struct sample sample = make_sample();
	const Elf64_Shdr *shdr;
	struct elf_image image;

	(void)state;
	sample.ehdr.e_shoff = sizeof(sample) - 8;
	assert_int_equal(count_sections(&sample), 0);
	sample.ehdr.e_shoff = UINT64_MAX - 8;
	assert_int_equal(count_sections(&sample), 0);
	sample = make_sample();
	sample.ehdr.e_shnum = SHN_LORESERVE;
	assert_int_equal(count_sections(&sample), 0);
	sample.ehdr.e_shnum = 0; /* extended numbering */
	sample.shdrs[0].sh_size = 4;
	assert_int_equal(count_sections(&sample), 0);

	sample = make_sample();
	sample.ehdr.e_shstrndx = 4;
	assert_int_equal(elf_image__open_memory(&image, &sample, sizeof(sample)), 0);
	assert_int_equal(elf_image__section_named(&image, ".text", &shdr), -ENOENT);
	image.section_names = 1;
	image.shdrs[1].sh_size = 1ULL << 40;
	assert_int_equal(elf_image__section_named(&image, ".text", &shdr), -ENOENT);
	image.shdrs[1].sh_size = 18; /* ends within ".text" */
	assert_int_equal(elf_image__section_named(&image, ".text", &shdr), -ENOENT);
	image.shdrs[1].sh_size = 20;
	assert_int_equal(elf_image__section_named(&image, ".text", &shdr), 0);
	elf_image__close(&image);
}

/* Returns the first byte of the build-id, 0 = none. */
static unsigned int first_of_id(const struct sample *sample)
{
	uint8_t id[MAX_ELF_BUILD_ID] = {0};
	struct elf_image image;
	size_t len;

	assert_int_equal(elf_image__open_memory(&image, sample, sizeof(*sample)), 0);
	len = elf_image__build_id(&image, id);
	elf_image__close(&image);
	assert_true(len == 0 || len == 4);
	return len ? id[0] : 0;
}

static void test_build_id(void **state)
{
	struct sample sample = make_sample();

	(void)state;
	assert_int_equal(first_of_id(&sample), 9); /* the section's */
	sample.section_note.head.n_type = NT_GNU_ABI_TAG;
	assert_int_equal(first_of_id(&sample), 1);
	sample.segment_note.name[0] = 'X';
	assert_int_equal(first_of_id(&sample), 0);
	sample.phdrs[2].p_filesz += sizeof(struct note); /* the next note, which is one */
	sample.section_note = make_note(7);
	sample.ehdr.e_shnum = 0;
	assert_int_equal(first_of_id(&sample), 7);
	sample.segment_note.head.n_descsz = UINT32_MAX;
	assert_int_equal(first_of_id(&sample), 0);
	sample.segment_note.head.n_descsz = 4;
	sample.section_note.head.n_descsz = MAX_ELF_BUILD_ID + 1;
	assert_int_equal(first_of_id(&sample), 0);
	sample.section_note.head.n_descsz = 1;
	assert_int_equal(first_of_id(&sample), 0);
	sample.section_note.head.n_descsz = 4;
	sample.phdrs[2].p_filesz = 65537;
	assert_int_equal(first_of_id(&sample), 0);
	sample.phdrs[2].p_filesz = 65536;
	assert_int_equal(first_of_id(&sample), 7);
}

/* Behind more note segments than any file has, nothing is looked for. */
static void test_many_note_tables(void **state)
{
	enum { CNT = 140, SIZE = sizeof(Elf64_Ehdr) + CNT * sizeof(Elf64_Phdr) + 24 };
	struct sample sample = make_sample();
	uint8_t *bytes = calloc(1, SIZE), id[MAX_ELF_BUILD_ID];
	struct note note = make_note(1);
	struct elf_image image;

	(void)state;
	assert_non_null(bytes);
	sample.phdrs[2].p_offset = SIZE - 24;
	sample.ehdr.e_phoff = sizeof(Elf64_Ehdr);
	sample.ehdr.e_phnum = CNT;
	sample.ehdr.e_shnum = 0;
	memcpy(bytes, &sample.ehdr, sizeof(sample.ehdr));
	memcpy(bytes + SIZE - 24, &note, sizeof(note));
	for (size_t i = 0; i < CNT; i++) {
		sample.phdrs[2].p_filesz = i == CNT - 1 || i == 127 ? sizeof(note) : 0;
		memcpy(bytes + sizeof(Elf64_Ehdr) + i * sizeof(Elf64_Phdr), &sample.phdrs[2],
		       sizeof(Elf64_Phdr));
	}
	assert_int_equal(elf_image__open_memory(&image, bytes, SIZE), 0);
	assert_int_equal(elf_image__build_id(&image, id), 4);
	image.phdrs[127].p_filesz = 0;
	assert_int_equal(elf_image__build_id(&image, id), 0);
	elf_image__close(&image);
	free(bytes);
}

static void test_regular_files(void **state)
{
	struct file_identity identity;
	char *path;
	int fd;

	(void)state;
	assert_int_equal(regular_file__open("/dev/null"), -ENXIO);
	assert_int_equal(regular_file__open(work_dir), -ENXIO);
	assert_true(asprintf(&path, "%s/fifo", work_dir) > 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(regular_file__open(path), -ENXIO);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(regular_file__open(path), -ENOENT);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "text", 4), 4);
	close(fd);
	fd = regular_file__open(path);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(file_identity__read(fd, &identity), 0);
	assert_int_equal(identity.size, 4);
	close(fd);
	free(path);
	assert_int_equal(file_identity__read(-1, &identity), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sound),	      cmocka_unit_test(test_segments),
		cmocka_unit_test(test_refused),	      cmocka_unit_test(test_damaged_sections),
		cmocka_unit_test(test_build_id),      cmocka_unit_test(test_many_note_tables),
		cmocka_unit_test(test_regular_files),
	};

	return cmocka_run_group_tests_name("util ELF image", tests, make_work_dir, remove_work_dir);
}
