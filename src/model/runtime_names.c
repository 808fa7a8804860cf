/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Names are from the sources of the projects that they belong to. The lists of C wrappers are kept
 * to names that nobody gives to anything else: a fold too few costs a glance, one too many hides
 * the leak.
 */
#include "model/runtime_names.h"

#include <ctype.h>
#include <string.h>

#include "model/fold.h"

#define CNT(list) (sizeof(list) / sizeof((list)[0]))

static bool is_one_of(struct name_part part, const char *const *list, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++)
		if (*part.text == *list[i] && name_part__is(part, list[i]))
			return true;
	return false;
}

static bool begins_with_one(struct name_part part, const char *const *list, size_t cnt)
{
	for (size_t i = 0; i < cnt; i++)
		if (name_part__begins(part, list[i]))
			return true;
	return false;
}

/* ---- modules ---- */

static const char *const whole_modules[] = {
	/* glibc, before and since 2.34; musl */
	"libc.so.", "libc-2.", "libc.musl-", "ld-linux", "ld-2.", "ld64.so", "ld-musl-",
	"libpthread.so.", "libpthread-2.", "libdl.so.", "libdl-2.", "librt.so.", "librt-2.",
	"libresolv.so.", "libresolv-2.", "libnss_", "libanl.so.",
	/* languages */
	"libstdc++.so", "libc++.so", "libc++abi.so", "libgcc_s", "libunwind.so", "libsupc++",
	/* allocators */
	"libjemalloc", "libtcmalloc", "libmimalloc", "libsnmallocshim", "librpmalloc",
	"libtbbmalloc", "libhoard", "libasan.so", "liblsan.so", "libtsan.so", "libclang_rt.asan"};

bool is_runtime_module(const char *path)
{
	const char *slash = strrchr(path, '/');
	struct name_part base = {.text = slash ? slash + 1 : path};

	base.len = strlen(base.text);
	/* musl is one file, libc.so, which is the dynamic linker, too. */
	return name_part__is(base, "libc.so") || name_part__is(base, "[vdso]") ||
	       begins_with_one(base, whole_modules, CNT(whole_modules));
}

/* ---- allocators and C wrappers ---- */

/* The C library's, where it is linked into the program. */
static const char *const c_names[] = {"malloc",
				      "calloc",
				      "realloc",
				      "reallocarray",
				      "memalign",
				      "aligned_alloc",
				      "valloc",
				      "pvalloc",
				      "posix_memalign",
				      "cfree",
				      "strdup",
				      "strndup",
				      "wcsdup",
				      "asprintf",
				      "vasprintf",
				      "mmap",
				      "mmap64",
				      "mremap",
				      "brk",
				      "sbrk",
				      "sysmalloc",
				      "_int_malloc",
				      "_int_realloc",
				      "_int_memalign",
				      "_mid_memalign",
				      "malloc_consolidate",
				      "new_heap",
				      "arena_get2",
				      "get_free_list",
				      "tcache_init",
				      "__alloc_dir",
				      "allocate_stack",
				      "pthread_create",
				      "__pthread_create_2_1"};

static const char *const c_prefixes[] = {"__libc_malloc",
					 "__libc_calloc",
					 "__libc_realloc",
					 "__libc_memalign",
					 "__libc_valloc",
					 "__libc_pvalloc",
					 "__libc_alloc_buffer",
					 "__libc_scratch_buffer",
					 "__GI_",
					 "_IO_",
					 "__strdup",
					 "__strndup",
					 "__mmap",
					 "__brk",
					 "__sbrk",
					 "__default_morecore",
					 "__pthread_create",
					 "__interceptor_",
					 "__sanitizer::",
					 "__asan::",
					 "__lsan::",
					 "_dl_"};

/* jemalloc, tcmalloc, mimalloc, rpmalloc, oneTBB, linked into the program. */
static const char *const allocator_prefixes[] = {"je_",
						 "_rjem_",
						 "jemalloc_",
						 "tc_malloc",
						 "tc_calloc",
						 "tc_realloc",
						 "tc_memalign",
						 "tc_new",
						 "tc_posix_memalign",
						 "tc_valloc",
						 "tcmalloc::",
						 "(anonymous namespace)::do_mal",
						 "mi_malloc",
						 "mi_calloc",
						 "mi_realloc",
						 "mi_zalloc",
						 "mi_heap_",
						 "mi_new",
						 "mi_strdup",
						 "mi_strndup",
						 "mi_aligned",
						 "mi_memalign",
						 "mi_page_",
						 "_mi_",
						 "rpmalloc",
						 "rprealloc",
						 "rpcalloc",
						 "scalable_malloc",
						 "scalable_calloc",
						 "scalable_realloc",
						 "scalable_aligned",
						 "rml::internal::",
						 "do_rallocx",
						 "arena_malloc_hard",
						 "tcache_alloc_small_hard",
						 "extent_alloc",
						 "os_pages_map",
						 "pages_map"};

/* gnulib, git, binutils, OpenSSH and what else calls its malloc by these names. */
static const char *const wrappers[] = {
	"xmalloc", "xmalloc0", "xmallocz", "xcalloc", "xzalloc", "xrealloc", "xreallocarray",
	"xrecallocarray", "xnmalloc", "xnrealloc", "x2realloc", "x2nrealloc", "xpalloc", "ximalloc",
	"xizalloc", "xirealloc", "xicalloc", "xireallocarray", "xcharalloc", "xmemdup", "ximemdup",
	"xmemdup0", "ximemdup0", "xmemdupz", "xstrdup", "xstrndup", "xasprintf", "xvasprintf",
	"do_xmalloc", "sh_xmalloc", "sh_xrealloc", "safe_malloc", "safe_calloc", "safe_realloc",
	"safe_strdup", "safe_strndup", "safemalloc", "saferealloc", "emalloc", "ecalloc",
	"erealloc", "estrdup", "checked_malloc", "checked_calloc", "checked_realloc", "my_malloc",
	"my_calloc", "my_realloc", "my_strdup", "my_strndup", "my_multi_malloc", "mustmalloc",
	"malloc_or_die", "xalloc", "zalloc",
	/* redis, valkey */
	"zmalloc", "zcalloc", "zcalloc_num", "zrealloc", "zstrdup", "zmalloc_usable",
	"zcalloc_usable", "zrealloc_usable", "ztrymalloc", "ztrycalloc", "ztryrealloc",
	"ztrymalloc_usable", "ztrycalloc_usable", "ztryrealloc_usable",
	"ztrymalloc_usable_internal", "ztrycalloc_usable_internal", "ztryrealloc_usable_internal",
	"valkey_malloc", "valkey_calloc", "valkey_realloc",
	/* PostgreSQL */
	"palloc", "palloc0", "palloc_extended", "palloc_aligned", "repalloc", "repalloc0",
	"repalloc_huge", "repalloc_extended", "pstrdup", "pnstrdup", "psprintf", "pg_malloc",
	"pg_malloc0", "pg_malloc_internal", "pg_malloc_extended", "pg_realloc", "pg_strdup",
	"palloc0fast", "pchomp",
	/* nginx, Apache */
	"ngx_alloc", "ngx_calloc", "ngx_memalign", "ngx_palloc", "ngx_pnalloc", "ngx_pcalloc",
	"ngx_palloc_block", "ngx_palloc_large", "ngx_palloc_small", "ngx_pmemalign", "apr_palloc",
	"apr_palloc_debug", "apr_pcalloc", "apr_pcalloc_debug", "apr_pstrdup", "apr_pstrndup",
	"apr_pmemdup", "apr_psprintf", "apr_pvsprintf", "allocator_alloc",
	/* SQLite, OpenSSL, Perl, FFmpeg */
	"sqlite3_malloc", "sqlite3_malloc64", "sqlite3_realloc", "sqlite3_realloc64",
	"sqlite3Malloc", "sqlite3MallocZero", "sqlite3Realloc", "sqlite3MemMalloc",
	"sqlite3MemRealloc", "sqlite3DbMallocRaw", "sqlite3DbMallocRawNN", "sqlite3DbMallocZero",
	"sqlite3DbRealloc", "sqlite3DbReallocOrFree", "sqlite3DbStrDup", "sqlite3DbStrNDup",
	"mallocWithAlarm", "dbMallocRawFinish", "dbReallocFinish", "pcache1Alloc", "CRYPTO_malloc",
	"CRYPTO_zalloc", "CRYPTO_realloc", "CRYPTO_clear_realloc", "CRYPTO_strdup",
	"CRYPTO_strndup", "CRYPTO_memdup", "CRYPTO_malloc_array", "CRYPTO_calloc",
	"Perl_safesysmalloc", "Perl_safesyscalloc", "Perl_safesysrealloc", "Perl_savepv",
	"Perl_savepvn", "Perl_more_bodies", "S_more_sv", "av_malloc", "av_mallocz", "av_calloc",
	"av_realloc", "av_realloc_f", "av_strdup", "av_memdup"};

static const char *const wrapper_prefixes[] = {
	/* PostgreSQL's contexts */
	"MemoryContextAlloc", "MemoryContextStrdup", "AllocSet", "GenerationAlloc",
	"GenerationRealloc", "SlabAlloc", "BumpAlloc",
	/* CPython: memory of objects, not the objects' own functions */
	"PyMem_", "_PyMem_", "PyObject_Malloc", "PyObject_Calloc", "PyObject_Realloc",
	"_PyObject_Malloc", "_PyObject_Calloc", "_PyObject_Realloc", "_PyObject_GC_",
	"PyObject_GC_", "_PyObject_New", "PyObject_Init", "_PyObject_Init", "_PyObject_Arena",
	"_PyObject_Debug", "PyType_GenericAlloc", "_PyType_AllocNoTrack", "pymalloc_", "new_arena",
	"allocate_from_new_pool", "gc_alloc", "_PyMimalloc"};

/* Other containers and allocators in C++. */
static const char *const cxx_prefixes[] = {"std::",
					   "__gnu_cxx::",
					   "__cxxabiv1::",
					   "llvm::safe_malloc",
					   "llvm::safe_calloc",
					   "llvm::safe_realloc",
					   "llvm::allocate_buffer",
					   "llvm::SmallVector",
					   "llvm::BumpPtrAlloc",
					   "llvm::MallocAllocator",
					   "llvm::StringMap",
					   "llvm::DenseMap",
					   "QArrayData::",
					   "QListData::",
					   "QHashData::",
					   "QTypedArrayData<",
					   "absl::container_internal::",
					   "boost::container::",
					   "boost::shared_ptr",
					   "boost::make_shared",
					   "boost::detail::sp_"};

/* Cuts ".part.0", ".constprop.1", ".cold" off. */
static struct name_part without_suffix(struct name_part part)
{
	const char *dot = part.len ? memchr(part.text + 1, '.', part.len - 1) : NULL;

	if (dot)
		part.len = dot - part.text;
	return part;
}

bool is_allocator_name(const char *raw, const struct function_name *name)
{
	struct name_part path = without_suffix(name->path);

	if (name_part__begins(name->last, "operator new") ||
	    name_part__begins(name->last, "operator delete"))
		return true;
	/* Go: only its runtime has dots after these words. */
	if (!strncmp(raw, "runtime.", 8) || !strncmp(raw, "runtime/internal/", 17))
		return true;
	return is_one_of(path, c_names, CNT(c_names)) || is_one_of(path, wrappers, CNT(wrappers)) ||
	       begins_with_one(path, c_prefixes, CNT(c_prefixes)) ||
	       begins_with_one(path, allocator_prefixes, CNT(allocator_prefixes)) ||
	       begins_with_one(path, wrapper_prefixes, CNT(wrapper_prefixes));
}

/* ---- GLib ---- */

static const char *const glib_prefixes[] = {
	"g_malloc",	 "g_realloc",  "g_try_",	"g_aligned_alloc", "g_slice_",
	"g_strdup",	 "g_strndup",  "g_strnfill",	"g_strdupv",	   "g_strconcat",
	"g_strjoin",	 "g_strsplit", "g_strescape",	"g_strcompress",   "g_vasprintf",
	"g_memdup",	 "g_string_",  "g_array_",	"g_ptr_array_",	   "g_byte_array_",
	"g_bytes_new",	 "g_list_",    "g_slist_",	"g_queue_",	   "g_hash_table_",
	"g_tree_",	 "g_node_",    "g_sequence_",	"g_rc_box_",	   "g_atomic_rc_box_",
	"g_ref_string_", "g_build_",   "g_ascii_strup", "g_ascii_strdown", "g_utf8_str",
	"array_",	 "ptr_array_", "slice_",	"magazine_",	   "thread_memory_"};

bool is_library_name(const struct function_name *name, const char *module)
{
	struct name_part path = without_suffix(name->path);
	const char *slash = module ? strrchr(module, '/') : NULL;
	const char *base = slash ? slash + 1 : module;

	/* What is but declared in a header can be inlined anywhere, and is named well enough. */
	if (!base || strncmp(base, "libglib-2", 9))
		return name_part__begins(path, "g_malloc") || name_part__begins(path, "g_strdup") ||
		       name_part__begins(path, "g_realloc") || name_part__begins(path, "g_slice_");
	return begins_with_one(path, glib_prefixes, CNT(glib_prefixes));
}

/* ---- C++ and Rust ---- */

/*
 * Where std runs what it was given: without debug information the user's function may be inlined
 * there, and its caller would be the start of the thread.
 */
static const char *const call_backs[] = {"_M_invoke",
					 "__invoke",
					 "__invoke_impl",
					 "__invoke_r",
					 "_M_run",
					 "__call",
					 "__thread_proxy",
					 "__thread_execute",
					 "__async_assoc_state",
					 "call_once",
					 "call_mut",
					 "call",
					 "call_once{{vtable.shim}}",
					 "{shim:vtable#0}",
					 "__rust_begin_short_backtrace",
					 "do_call"};

/* Whose operator() does so, too; that of others (std::less, nodes of trees) is their own. */
static const char *const callers[] = {
	"std::function<",	    "std::thread::_Invoker<", "std::_Bind",
	"std::packaged_task<",	    "std::__future_base::",   "std::_Mem_fn",
	"std::reference_wrapper<",  "std::__1::function<",    "std::__1::__function::",
	"std::__1::packaged_task<", "std::__1::__bind"};

static bool is_call_back(const struct function_name *name)
{
	if (name_part__is(name->last, "operator()"))
		return begins_with_one(name->path, callers, CNT(callers));
	return is_one_of(name->last, call_backs, CNT(call_backs));
}

bool is_cxx_runtime(const struct function_name *name)
{
	return begins_with_one(name->path, cxx_prefixes, CNT(cxx_prefixes)) && !is_call_back(name);
}

static const char *const rust_crates[] = {"alloc::", "core::", "std::", "hashbrown::"};
static const char *const rust_names[] = {"__rust_alloc", "__rust_realloc", "__rust_alloc_zeroed",
					 "__rdl_alloc",	 "__rdl_realloc",  "__rdl_alloc_zeroed",
					 "__rg_alloc",	 "__rg_realloc",   "__rg_alloc_zeroed"};

/* Whether a type is of the standard library: "&mut [alloc::vec::Vec<T>]", "str", "T". */
static bool is_rust_type(const char *at, const char *end)
{
	static const char *const words[] = {"mut ", "const ", "dyn ", "impl "};
	const char *word;
	size_t i;

	while (at < end) {
		for (i = 0; i < CNT(words) && strncmp(at, words[i], strlen(words[i])); i++)
			;
		if (i < CNT(words))
			at += strlen(words[i]);
		else if (strchr("&*[(< ", *at))
			at++;
		else
			break;
	}
	if (begins_with_one((struct name_part){at, end - at}, rust_crates, CNT(rust_crates)))
		return true;
	for (word = at; word < end && (isalnum((unsigned char)*word) || *word == '_'); word++)
		;
	return strncmp(word, "::", 2);
}

/* "<A as B>::f": a trait of the standard library for a type of it. Of a user's type or trait, the
 * code is the user's. */
static bool is_rust_impl(struct name_part path)
{
	const char *end = path.text + path.len, *at, *as = NULL, *close = NULL;
	size_t depth = 0;

	for (at = path.text; at < end && !close; at++) {
		if (*at == '<')
			depth++;
		else if (*at == '>' && at[-1] != '-' && !--depth)
			close = at;
		else if (depth == 1 && !as && !strncmp(at, " as ", 4))
			as = at;
	}
	if (!close || strncmp(close, ">::", 3))
		return false;
	return is_rust_type(path.text + 1, as ? as : close) && (!as || is_rust_type(as + 4, close));
}

bool is_rust_runtime(const struct function_name *name)
{
	if (is_call_back(name))
		return false;
	if (*name->path.text == '<')
		return is_rust_impl(name->path);
	return is_one_of(name->last, rust_names, CNT(rust_names)) ||
	       begins_with_one(name->path, rust_crates, CNT(rust_crates));
}

/* Headers of libstdc++ whose operator() runs what the user gave. */
static const char *const calling_headers[] = {"std_function.h", "std_thread.h", "invoke.h",
					      "functional",	"future",	"refwrap.h"};

bool is_library_source(const char *file, const struct function_name *name)
{
	const char *cxx = strstr(file, "/include/c++/"), *slash = strrchr(file, '/');

	if (is_one_of(name->last, call_backs, CNT(call_backs)))
		return false;
	if (!strncmp(file, "/rustc/", 7) || strstr(file, "/rustlib/src/rust/library/"))
		return true;
	/* "/usr/include/c++/12/", "/usr/lib/llvm-14/include/c++/v1/" */
	if (!cxx || !(isdigit((unsigned char)cxx[13]) || !strncmp(cxx + 13, "v1/", 3)))
		return false;
	for (size_t i = 0; i < CNT(calling_headers); i++)
		if (name_part__is(name->last, "operator()") &&
		    !strcmp(slash + 1, calling_headers[i]))
			return false;
	return true;
}

/* ---- roots ---- */

/* glibc, musl, libstdc++, Rust, Go. */
static const char *const roots[] = {"_start",
				    "__libc_start_main",
				    "__libc_start_main_impl",
				    "__libc_start_call_main",
				    "libc_start_main_stage2",
				    "_start_c",
				    "start_thread",
				    "clone",
				    "clone3",
				    "__clone",
				    "__clone3",
				    "_dl_start",
				    "_dl_start_user",
				    "_dl_start_final",
				    "execute_native_thread_routine",
				    "runtime.goexit",
				    "runtime.mstart",
				    "runtime.rt0_go",
				    "std::rt::lang_start",
				    "std::sys::pal::unix::thread::Thread::new::thread_start",
				    "std::sys::unix::thread::Thread::new::thread_start"};

bool is_root_function(const char *function)
{
	struct function_name name;

	if (!function)
		return false;
	function_name__parse(function, &name);
	for (size_t i = 0; i < CNT(roots); i++) {
		size_t len = strlen(roots[i]);

		if (!name_part__begins(name.path, roots[i]))
			continue;
		/* "std::rt::lang_start::<()>" */
		if (name.path.len == len || strchr("<:.", name.path.text[len]))
			return true;
	}
	return false;
}
