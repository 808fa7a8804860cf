/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What belongs to allocators and runtimes: names as g++, rustc and the linker leave them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <libiberty/demangle.h>
#include <stdlib.h>
#include <string.h>

#include "model/fold.h"
#include "model/function_name.h"

#define LIBC "/usr/lib/x86_64-linux-gnu/libc.so.6"
#define GLIB "/usr/lib/x86_64-linux-gnu/libglib-2.0.so.0.7400.6"
#define APP "/opt/app/bin/app"

static bool is_runtime(const char *symbol, const char *module)
{
	char *name = cplus_demangle_v3(symbol, DMGL_PARAMS | DMGL_ANSI);
	bool result;

	if (!name || strncmp(symbol, "_R", 2) == 0 || strstr(symbol, "17h")) {
		free(name);
		name = rust_demangle(symbol, DMGL_PARAMS | DMGL_ANSI);
	}
	result = is_runtime_function(name ? name : symbol, NULL, module);
	free(name);
	return result;
}

static void check_all(const char *const *symbols, const char *module, bool expected)
{
	for (; *symbols; symbols++)
		if (is_runtime(*symbols, module) != expected)
			fail_msg("%s is %s runtime", *symbols, expected ? "no" : "called");
}

static void test_c(void **state)
{
	static const char *const in_libc[] = {"strdup",	 "__GI___strdup",
					      "getline", "_IO_file_doallocate",
					      "fopen64", "asprintf",
					      "mmap64",	 "sbrk",
					      "qsort_r", "__libc_start_call_main",
					      NULL};
	static const char *const wrappers[] = {"xmalloc",
					       "xstrdup",
					       "xrealloc.part.0",
					       "zmalloc",
					       "safe_malloc",
					       "CRYPTO_malloc",
					       "ngx_palloc",
					       "MemoryContextAlloc",
					       "palloc0",
					       "g_malloc0",
					       "PyMem_RawMalloc",
					       "PyObject_Malloc",
					       "_PyObject_GC_New",
					       "PyType_GenericAlloc",
					       "je_arena_malloc_hard",
					       "__interceptor_strdup",
					       "__libc_calloc",
					       "strdup",
					       "sqlite3DbMallocRawNN.constprop.0",
					       NULL};
	static const char *const own[] = {"main",
					  "handle_request",
					  "malloc_stats_of_mine",
					  "xmlParseFile",
					  "getline",
					  "zlib_open",
					  "PyList_New",
					  "_PyEval_EvalFrameDefault",
					  "g_object_new",
					  "g_main_loop_run",
					  "je",
					  "",
					  "mi_open",
					  "strdup_all",
					  "brk_handler",
					  "runtimes",
					  NULL};

	(void)state;
	check_all(in_libc, LIBC, true);
	check_all(wrappers, APP, true);
	check_all(own, APP, false);
	check_all(own, NULL, false);
}

static void test_modules(void **state)
{
	(void)state;
	assert_true(is_runtime_function(NULL, NULL, LIBC));
	assert_true(is_runtime_function("anything", NULL, "/lib/ld-musl-x86_64.so.1"));
	assert_true(is_runtime_function("anything", NULL, "/opt/lib/libjemalloc.so.2"));
	assert_true(is_runtime_function("runtime.mallocgc", NULL, "/opt/bin/go-thing"));
	assert_false(is_runtime_function("main.main", NULL, "/opt/bin/go-thing"));
	assert_false(is_runtime_function(NULL, NULL, APP));
	assert_false(is_runtime_function(NULL, NULL, NULL));
	/* Not the C library, only called alike. */
	assert_false(is_runtime_function("f", NULL, "/opt/libc.so.d/libcache.so"));
	assert_false(is_runtime_function("f", NULL, "/opt/libcrypto.so.3"));
}

static void test_glib(void **state)
{
	static const char *const helpers[] = {
		"g_malloc",	 "g_strdup_printf",	"g_strdup",	"g_slice_alloc0",
		"g_list_append", "g_hash_table_insert", "g_string_new", NULL};
	static const char *const own[] = {"g_main_context_iteration", "g_source_new",
					  "g_thread_new", "g_key_file_load_from_data", NULL};

	(void)state;
	check_all(helpers, GLIB, true);
	check_all(own, GLIB, false);
	assert_false(is_runtime_function("g_list_of_my_own", NULL, APP));
}

static void test_cxx(void **state)
{
	static const char *const runtime[] = {
		"_Znwm",
		"_Znam",
		"_ZnwmSt11align_val_t",
		"_ZN3app4NodenwEm",
		"_ZNSt15__new_allocatorIN3app5EntryEE8allocateEmPKv",
		"_ZN9__gnu_cxx13new_allocatorIcE8allocateEmPKv",
		"_ZNSt6vectorIN3app5EntryESaIS1_EE17_M_realloc_insertIJRKS1_EEEvN9__gnu_cxx17__"
		"normal_iteratorIPS1_S3_EEDpOT_",
		"_ZNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEE9_M_createERmm",
		"_ZNSt8_Rb_treeINSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEESt4pairIKS5_St"
		"6vectorIiSaIiEEESt10_Select1stISB_ESt4lessIS5_ESaISB_EE14_M_create_nodeIJSB_EEEPS"
		"t13_Rb_tree_nodeISB_EDpOT_",
		"_ZSt11make_sharedIN3app5EntryEJRiEESt10shared_ptrINSt9enable_ifIXntsrSt8is_arrayI"
		"T_E5valueES6_E4typeEEDpOT0_",
		"_ZNSt17_Function_handlerIFiiEZ4mainEUliE_E10_M_managerERSt9_Any_dataRKS3_St18_Man"
		"ager_operation",
		NULL};
	static const char *const own[] = {
		/* Its return type is std::vector, its arguments are, its template is of one. */
		"_ZN3app4makeINS_5EntryEEESt6vectorIT_SaIS3_EEi",
		"_ZN3app12_GLOBAL__N_16hiddenINS_5EntryEEEPT_i", "_ZN3app5EntryC2Ei",
		"_ZN3app4NodeclEi", "_ZN3app4NodelsEi", "_ZZ4mainENKUliE_clEi",
		/* The user's code may be inlined there. */
		"_ZNSt17_Function_handlerIFiiEZ4mainEUliE_E9_M_invokeERKSt9_Any_dataOi",
		"_ZNSt6thread11_State_implINS_8_InvokerISt5tupleIJZ4mainEUlvE0_EEEEE6_M_runEv",
		"_ZSt8__invokeIZ4mainEUlvE0_JEENSt15__invoke_resultIT_JDpT0_EE4typeEOS2_DpOS3_",
		NULL};

	(void)state;
	check_all(runtime, APP, true);
	check_all(own, APP, false);
}

static void test_rust(void **state)
{
	static const char *const runtime[] = {
		"_RINvNvMs2_NtCslNYArtu3iFV_5alloc7raw_vecINtB8_11RawVecInnerpE7reserve21do_"
		"reserve_"
		"and_handleNtNtBa_5alloc6GlobalEBa_",
		"_RNvCsfLfy6EI15iL_7___rustc12___rust_alloc",
		"_RNvMsF_NtCslNYArtu3iFV_5alloc3vecINtB5_3VechE4pushCs6xxl1lAjzDf_1a",
		"_RNvXs2_NtCslNYArtu3iFV_5alloc3streNtNtB7_6borrow7ToOwned8to_ownedCs6xxl1lAjzDf_"
		"1a",
		"_ZN5alloc7raw_vec19RawVec$LT$T$C$A$GT$7reserve21do_reserve_and_"
		"handle17h3b3b7b7b0e4d5c1aE",
		"_ZN60_$LT$alloc..string..String$u20$as$u20$core..clone..Clone$GT$"
		"5clone17h0123456789abcdefE",
		"_ZN9hashbrown3raw21RawTable$LT$T$C$A$GT$14reserve_rehash17h0123456789abcdefE",
		"_ZN5alloc5slice29_$LT$impl$u20$$u5b$T$u5d$$GT$6to_vec17h0123456789abcdefE",
		NULL};
	static const char *const own[] = {
		"_RNvMs_Cs6xxl1lAjzDf_1aNtB4_4Item3new",
		/* <alloc::vec::Vec<u8> as a::Mine>::build: the user's trait for a Vec. */
		"_RNvXCs6xxl1lAjzDf_1aINtNtCslNYArtu3iFV_5alloc3vec3VechENtB2_4Mine5build",
		"_RINvCs6xxl1lAjzDf_1a4leakINtNtCslNYArtu3iFV_5alloc3vec3VecNtNtBs_"
		"6string6StringEEB2_",
		"_RINvNtNtCsjrHSEGnQ3l9_3std3sys9backtrace28___rust_begin_short_"
		"backtraceNCNvCs6xxl1lAjzDf_1a4main0jEB1b_",
		"_ZN55_$LT$app..Item$u20$as$u20$core..clone..Clone$GT$5clone17h0123456789abcdefE",
		"_ZN3app4Item3new17h0123456789abcdefE", NULL};

	(void)state;
	check_all(runtime, APP, true);
	check_all(own, APP, false);
}

/* Inlined calls often come without their namespace; their file tells. */
static void test_sources(void **state)
{
	static const struct {
		const char *function, *file;
		bool is_runtime;
	} cases[] = {
		{"allocate", "/usr/include/c++/12/bits/new_allocator.h", true},
		{"thread<main()::<lambda()> >", "/usr/include/c++/12/bits/std_thread.h", true},
		{"emplace", "/usr/lib/llvm-14/bin/../include/c++/v1/vector", true},
		{"operator()", "/usr/include/c++/12/bits/stl_tree.h", true},
		{"operator()", "/usr/include/c++/12/bits/std_function.h", false},
		{"__invoke_impl<void, main()::<lambda()> >", "/usr/include/c++/12/bits/invoke.h",
		 false},
		{"from_iter", "/rustc/90b35a6/library/alloc/src/vec/mod.rs", true},
		{"call_once", "/rustc/90b35a6/library/core/src/ops/function.rs", false},
		{"store", "/home/me/src/include/c++/store.h", false},
		{"store", "/home/me/rustc/store.rs", false},
		{"store", "", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (is_runtime_function(cases[i].function, cases[i].file, APP) !=
		    cases[i].is_runtime)
			fail_msg("%s of %s", cases[i].function, cases[i].file);
}

/* ---- taking names apart ---- */

static void test_parts(void **state)
{
	static const struct {
		const char *name, *path, *last;
	} cases[] = {
		{"main", "main", "main"},
		{"int* ns::Box<int>::make<2>(int) const", "ns::Box<int>::make<2>", "make"},
		{"void (anonymous namespace)::f<char>(int)", "(anonymous namespace)::f<char>", "f"},
		{"decltype (x.y()) a::b<c>(d)", "a::b<c>", "b"},
		{"a::operator<< <int>(int)", "a::operator<< <int>", "operator<<"},
		{"operator new[](unsigned long)", "operator new[]", "operator new[]"},
		{"a::b::operator()(int) const", "a::b::operator()", "operator()"},
		{"a::operator std::string() const", "a::operator std::string",
		 "operator std::string"},
		{"std::function<void (int)>::operator()(int) const",
		 "std::function<void (int)>::operator()", "operator()"},
		{"main::{lambda(int)#1}::operator()(int) const",
		 "main::{lambda(int)#1}::operator()", "operator()"},
		{"f(int) [clone .cold]", "f", "f"},
		{"f [clone .cold]", "f", "f"},
		{"non-virtual thunk to a::b()", "a::b", "b"},
		{"a::b[abi:cxx11](int)", "a::b[abi:cxx11]", "b"},
		{"alloc::vec::Vec<T,A>::push", "alloc::vec::Vec<T,A>::push", "push"},
		{"<a::B as c::D>::e", "<a::B as c::D>::e", "e"},
		{"a::b::<fn(u8) -> u8>", "a::b::<fn(u8) -> u8>", "b"},
		{"a::push::h0123456789abcdef", "a::push::h0123456789abcdef", "push"},
		{"", "", ""},
		{"::", "::", ""},
		{"operator", "operator", "operator"},
		{"(", "(", "("},
		{">>>)", ">>>)", ">>>)"},
	};
	struct function_name name;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		function_name__parse(cases[i].name, &name);
		if (!name_part__is(name.path, cases[i].path) ||
		    !name_part__is(name.last, cases[i].last))
			fail_msg("%s: '%.*s', '%.*s'", cases[i].name, (int)name.path.len,
				 name.path.text, (int)name.last.len, name.last.text);
	}
}

/* Whatever a symbol table says, parts lie inside the name. */
static void test_random_names(void **state)
{
	static const char *const pieces[] = {"<",
					     ">",
					     "(",
					     ")",
					     "[",
					     "]",
					     "{",
					     "}",
					     "::",
					     " ",
					     "operator",
					     "->",
					     "a",
					     "h0123456789abcdef",
					     "std",
					     " as ",
					     "(anonymous namespace)",
					     "decltype ",
					     "&",
					     "()",
					     "\xff",
					     ".",
					     "#1",
					     "operator new"};
	unsigned int seed = 7;
	struct function_name name;
	char text[400];

	(void)state;
	for (int round = 0; round < 100000; round++) {
		char *copy;
		size_t len;

		*text = '\0';
		for (int i = rand_r(&seed) % 12; i >= 0; i--)
			strcat(text, pieces[rand_r(&seed) % (sizeof(pieces) / sizeof(*pieces))]);
		copy = strdup(text); /* so that a sanitizer sees its end */
		len = strlen(copy);
		function_name__parse(copy, &name);
		assert_true(name.path.text >= copy && name.path.text + name.path.len <= copy + len);
		assert_true(name.last.text >= copy && name.last.text + name.last.len <= copy + len);
		is_runtime_function(copy, copy, copy);
		is_root_function(copy);
		free(copy);
	}
}

/* ---- stacks ---- */

struct scene {
	struct snapshot *snap;
	struct symbol symbols[24];
	uint32_t app, libc;
};

static void scene__init(struct scene *scene)
{
	*scene = (struct scene){.snap = snapshot__new("trace")};
	scene->app = snapshot__add_module(scene->snap, APP, 1, 1, NULL, 0, -1);
	scene->libc = snapshot__add_module(scene->snap, LIBC, 1, 2, NULL, 0, -1);
}

static uint32_t add(struct scene *scene, uint32_t module, const char *function)
{
	uint32_t frame = snapshot__add_frame(scene->snap, FRAME_NATIVE, module,
					     16 * (scene->snap->frames.cnt + 1));

	scene->symbols[frame] = (struct symbol){.function = function};
	return frame;
}

/* Checks which call a stack is shown from; names are told apart by their pointers. */
static void check_begin(struct scene *scene, const uint32_t *frames, size_t cnt,
			const char *expected, uint32_t expected_idx)
{
	uint32_t stack = snapshot__add_stack(scene->snap, frames, cnt);
	struct folding folding;
	struct call_info call;
	struct call begin;

	assert_int_equal(fold_stacks(scene->snap, scene->symbols, &folding), 0);
	begin = folding.begins[stack];
	assert_int_not_equal(begin.node, 0);
	call__read(begin, scene->snap, scene->symbols, &call);
	assert_string_equal(call.function, expected);
	assert_int_equal(begin.idx, expected_idx);
	/* Without Python nothing is left out behind the first call. */
	for (; begin.node; begin = folding__next(&folding, begin, scene->snap, scene->symbols))
		assert_false(begin.in_python);
	folding__free(&folding);
}

#define CHECK_BEGIN(scene, expected, idx, ...)                                                     \
	check_begin(scene, (const uint32_t[]){__VA_ARGS__},                                        \
		    sizeof((const uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t), expected, idx)

static void test_stacks(void **state)
{
	static const struct symbol_inline inlines[] = {
		{"std::allocator<int>::allocate(unsigned long)", NULL, 0},
		{"store()", NULL, 0},
		{"std::vector<int>::push_back(int)", NULL, 0}};
	struct scene scene;
	uint32_t op_new, grow, user, mixed, main, start_main, start, dup, all, kernel;

	(void)state;
	scene__init(&scene);
	op_new = add(&scene, scene.app, "operator new(unsigned long)");
	grow = add(&scene, scene.app, "std::vector<int>::_M_default_append(unsigned long)");
	user = add(&scene, scene.app, "load()");
	main = add(&scene, scene.app, "main");
	start_main = add(&scene, scene.libc, "__libc_start_main");
	start = add(&scene, scene.app, "_start");
	dup = add(&scene, scene.libc, "strdup");
	mixed = add(&scene, scene.app, "load_all()");
	scene.symbols[mixed].inlines = inlines;
	scene.symbols[mixed].inline_cnt = 2;
	all = add(&scene, scene.app, "std::sort<int*>(int*, int*)");
	scene.symbols[all].inlines = inlines + 2;
	scene.symbols[all].inline_cnt = 1;
	kernel = snapshot__add_frame(scene.snap, FRAME_KERNEL, SNAP_NONE, 1);
	scene.symbols[kernel].function = "mmap";

	CHECK_BEGIN(&scene, "load()", 0, op_new, grow, user, main, start_main, start);
	CHECK_BEGIN(&scene, "main", 0, op_new, main, start_main, start);
	CHECK_BEGIN(&scene, "main", 0, main, start_main, start);
	/* The user's function called from a runtime stays. */
	CHECK_BEGIN(&scene, "load()", 0, user, grow, main);
	/* Inlined calls fold one by one, and a frame of nothing else as a whole. */
	CHECK_BEGIN(&scene, "store()", 1, op_new, mixed, main);
	CHECK_BEGIN(&scene, "load()", 0, op_new, all, user, main);
	/* Never all of a stack: the last one before the start of the program stays. */
	CHECK_BEGIN(&scene, "strdup", 0, dup, start_main, start);
	CHECK_BEGIN(&scene, "strdup", 0, dup);
	CHECK_BEGIN(&scene, "std::sort<int*>(int*, int*)", 1, op_new, all);
	CHECK_BEGIN(&scene, "__libc_start_main", 0, start_main, start);
	CHECK_BEGIN(&scene, "mmap", 0, kernel, dup, user);
	snapshot__free(scene.snap);
}

/* ---- stacks with Python frames ---- */

static uint32_t add_python(struct scene *scene, const char *file, const char *function,
			   uint32_t line)
{
	uint32_t code = snapshot__add_code(scene->snap, file, function, line);
	uint32_t frame = snapshot__add_frame(scene->snap, FRAME_PYTHON, code, line);

	scene->symbols[frame] = (struct symbol){.function = function, .file = file, .line = line};
	return frame;
}

/* Frames by a letter each. */
struct letters {
	uint32_t frames[128];
};

/* Checks which calls of a stack, written leaf first, are shown. */
static void check_shown(struct scene *scene, const struct letters *letters, const char *stack,
			const char *expected)
{
	uint32_t frames[32], node;
	struct folding folding;
	struct call_info info;
	struct call call;
	char shown[33];
	size_t cnt = 0;

	for (size_t i = 0; stack[i]; i++)
		frames[i] = letters->frames[(unsigned char)stack[i]];
	node = snapshot__add_stack(scene->snap, frames, strlen(stack));
	assert_int_equal(fold_stacks(scene->snap, scene->symbols, &folding), 0);
	for (call = folding.begins[node]; call.node;
	     call = folding__next(&folding, call, scene->snap, scene->symbols)) {
		call__read(call, scene->snap, scene->symbols, &info);
		for (int letter = 'a'; letter <= 'z'; letter++)
			if (letters->frames[letter] == info.frame && strchr(stack, letter))
				shown[cnt++] = letter;
	}
	shown[cnt] = '\0';
	if (strcmp(shown, expected))
		fail_msg("%s is shown as '%s', not '%s'", stack, shown, expected);
	folding__free(&folding);
}

static void test_python_stacks(void **state)
{
	struct letters letters = {0};
	uint32_t *of = letters.frames;
	struct scene scene;
	uint32_t python, ext, dynload, launcher, libffi, unknown;

	(void)state;
	scene__init(&scene);
	python = snapshot__add_module(scene.snap, "/usr/lib/libpython3.12.so.1.0", 1, 3, NULL, 0,
				      -1);
	scene.snap->modules.items[python].is_interpreter = true;
	ext = snapshot__add_module(scene.snap, "/opt/venv/numpy/core/_multiarray_umath.so", 1, 4,
				   NULL, 0, -1);
	dynload = snapshot__add_module(scene.snap, "/usr/lib/python3.12/lib-dynload/_json.so", 1, 5,
				       NULL, 0, -1);
	launcher = snapshot__add_module(scene.snap, "/usr/bin/python3.12", 1, 6, NULL, 0, -1);
	libffi = snapshot__add_module(scene.snap, "/usr/lib/libffi.so.8.1.2", 1, 7, NULL, 0, -1);
	unknown = snapshot__add_frame(scene.snap, FRAME_PYTHON, SNAP_NONE, 0);
	of['p'] = add_python(&scene, "app.py", "store", 42);
	of['q'] = add_python(&scene, "app.py", "<module>", 7);
	of['i'] = add_python(&scene, "<frozen importlib._bootstrap>", "_find_and_load", 9);
	of['u'] = unknown;
	of['n'] = add(&scene, python, NULL); /* stripped */
	of['l'] = add(&scene, python, "PyList_Append");
	of['x'] = add(&scene, ext, "array_alloc");
	of['j'] = add(&scene, dynload, "scan_once");
	of['f'] = add(&scene, libffi, "ffi_call");
	of['o'] = add(&scene, launcher, NULL);
	of['m'] = add(&scene, scene.app, "main");
	of['s'] = add(&scene, scene.app, "_start");
	of['r'] = add(&scene, scene.app, "run_script");
	of['c'] = add(&scene, scene.libc, "__libc_start_main");
	of['d'] = add(&scene, scene.libc, "qsort");

	/* As a traceback: nothing of the interpreter, of main, of a thread's start. */
	check_shown(&scene, &letters, "lnpqnocs", "pq");
	check_shown(&scene, &letters, "npnqnnmcs", "pq");
	check_shown(&scene, &letters, "pc", "p");
	check_shown(&scene, &letters, "p", "p");
	/* The user's own machine code comes first; what it called of the interpreter does not. */
	check_shown(&scene, &letters, "dxnpqnmcs", "xpq");
	check_shown(&scene, &letters, "nxnpqnmcs", "xpq");
	check_shown(&scene, &letters, "lxnxpqnmcs", "xxpq");
	/* ... and stays between Python's, with what runs it. */
	check_shown(&scene, &letters, "npnxdxnqnmcs", "pxdxq");
	check_shown(&scene, &letters, "njnpfdfnqnocs", "pdq");
	/* Imports read like tracebacks, but what holds memory is named. */
	check_shown(&scene, &letters, "npniniqnocs", "pq");
	check_shown(&scene, &letters, "niniqnocs", "iq");
	/* A program that has Python in it. */
	check_shown(&scene, &letters, "npqnrmcs", "pqrmcs");
	check_shown(&scene, &letters, "npqncnrnmcs", "pqrnmcs");
	/* Frames that there was no room to tell of are Python's too. */
	check_shown(&scene, &letters, "lnunqnocs", "uq");
	/* Without Python frames the interpreter is a program like others. */
	check_shown(&scene, &letters, "dlnmcs", "lnmcs");
	check_shown(&scene, &letters, "nmcs", "nmcs");
	snapshot__free(scene.snap);
}

static void test_python_modules(void **state)
{
	static const char *const own[] = {"/usr/bin/python3",
					  "/opt/python",
					  "/a/python3.13t",
					  "python3.6m",
					  "/usr/lib/libffi.so.8",
					  "/x/libffi-806b1a9d.so.8.1.2",
					  "/usr/lib/python3.11/lib-dynload/_ctypes.so",
					  NULL};
	static const char *const others[] = {"/usr/bin/pythonista",
					     "/opt/python-service",
					     "/opt/python3.11/app",
					     "/opt/python3/site-packages/x.so",
					     "/lib/libffish.so",
					     "",
					     NULL};

	(void)state;
	for (int i = 0; own[i]; i++)
		if (!is_python_module(own[i]))
			fail_msg("%s", own[i]);
	for (int i = 0; others[i]; i++)
		if (is_python_module(others[i]))
			fail_msg("%s", others[i]);
}

static void test_no_names(void **state)
{
	struct scene scene;
	uint32_t frames[2];
	uint32_t stack;
	struct folding folding;

	(void)state;
	scene__init(&scene);
	frames[0] = add(&scene, scene.libc, NULL);
	frames[1] = add(&scene, scene.app, NULL);
	stack = snapshot__add_stack(scene.snap, frames, 2);
	assert_int_equal(fold_stacks(scene.snap, NULL, &folding), 0);
	assert_int_equal(folding.begins[stack].node, scene.snap->nodes.items[stack].parent);
	assert_int_equal(folding.begins[0].node, 0);
	folding__free(&folding);
	snapshot__free(scene.snap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_c),
		cmocka_unit_test(test_modules),
		cmocka_unit_test(test_glib),
		cmocka_unit_test(test_cxx),
		cmocka_unit_test(test_rust),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_random_names),
		cmocka_unit_test(test_stacks),
		cmocka_unit_test(test_no_names),
		cmocka_unit_test(test_python_stacks),
		cmocka_unit_test(test_python_modules),
	};

	return cmocka_run_group_tests_name("model fold", tests, NULL, NULL);
}
