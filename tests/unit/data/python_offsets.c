/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the headers of a version of CPython say of its layout: a line for each field. */
#define Py_BUILD_CORE 1
#include <Python.h>

#include <stddef.h>
#include <stdio.h>

#include <frameobject.h>
#include <internal/pycore_pystate.h>
#if PY_VERSION_HEX >= 0x03090000
#include <internal/pycore_gc.h>
#include <internal/pycore_interp.h>
#include <internal/pycore_runtime.h>
#endif
#if PY_VERSION_HEX >= 0x030b0000
#include <internal/pycore_frame.h>
#else
#include <code.h>
#endif

#define SAY(name, value) printf("%s %ld\n", name, (long)(value))
#define AT(name, type, field) SAY(name, offsetof(type, field))

static void say_state(void)
{
#if PY_VERSION_HEX < 0x030c0000
	AT("runtime_key", _PyRuntimeState, gilstate.autoTSSkey._key);
#else
	AT("runtime_key", _PyRuntimeState, autoTSSkey._key);
#endif
	AT("runtime_interpreters", _PyRuntimeState, interpreters.head);
	AT("interp_next", PyInterpreterState, next);
#if PY_VERSION_HEX < 0x030b0000
	AT("interp_threads", PyInterpreterState, tstate_head);
#else
	AT("interp_threads", PyInterpreterState, threads.head);
#endif
#if PY_VERSION_HEX < 0x03090000
	SAY("interp_gc_generations", 0);
	SAY("interp_gc_cnt", 0);
	SAY("interp_gc_step", 0);
#else
	AT("interp_gc_generations", PyInterpreterState, gc.generations[0].head);
	SAY("interp_gc_cnt", NUM_GENERATIONS);
	SAY("interp_gc_step", sizeof(struct gc_generation));
#endif
	AT("thread_next", PyThreadState, next);
	AT("thread_interp", PyThreadState, interp);
	AT("thread_id", PyThreadState, thread_id);
}

static void say_frames(void)
{
#if PY_VERSION_HEX < 0x030b0000
	AT("thread_frame", PyThreadState, frame);
	SAY("cframe_frame", -1);
	AT("frame_back", PyFrameObject, f_back);
	AT("frame_code", PyFrameObject, f_code);
	AT("frame_instr", PyFrameObject, f_lasti);
	SAY("frame_owner", 0);
	SAY("frame_size", sizeof(PyFrameObject));
#else
	AT("frame_back", _PyInterpreterFrame, previous);
	SAY("frame_size", 0);
#endif
#if PY_VERSION_HEX >= 0x030b0000 && PY_VERSION_HEX < 0x030d0000
	AT("thread_frame", PyThreadState, cframe);
	AT("cframe_frame", _PyCFrame, current_frame);
	AT("frame_code", _PyInterpreterFrame, f_code);
	AT("frame_instr", _PyInterpreterFrame, prev_instr);
#elif PY_VERSION_HEX >= 0x030d0000
	AT("thread_frame", PyThreadState, current_frame);
	SAY("cframe_frame", -1);
	AT("frame_code", _PyInterpreterFrame, f_executable);
	AT("frame_instr", _PyInterpreterFrame, instr_ptr);
#endif
#if PY_VERSION_HEX >= 0x030b0000 && PY_VERSION_HEX < 0x030c0000
	AT("frame_owner", _PyInterpreterFrame, is_entry);
#elif PY_VERSION_HEX >= 0x030c0000
	AT("frame_owner", _PyInterpreterFrame, owner);
#endif
}

static void say_code(void)
{
	AT("code_first_line", PyCodeObject, co_firstlineno);
	AT("code_file", PyCodeObject, co_filename);
#if PY_VERSION_HEX < 0x030b0000
	AT("code_name", PyCodeObject, co_name);
	SAY("code_instrs", 0);
	SAY("code_size", sizeof(PyCodeObject));
#else
	AT("code_name", PyCodeObject, co_qualname);
	AT("code_instrs", PyCodeObject, co_code_adaptive);
	AT("code_size", PyCodeObject, co_code_adaptive);
#endif
#if PY_VERSION_HEX < 0x030a0000
	AT("code_lines", PyCodeObject, co_lnotab);
#else
	AT("code_lines", PyCodeObject, co_linetable);
#endif
}

static void say_objects(void)
{
	AT("object_type", PyObject, ob_type);
	AT("var_size", PyVarObject, ob_size);
	AT("type_name", PyTypeObject, tp_name);
	AT("type_basic_size", PyTypeObject, tp_basicsize);
	AT("type_item_size", PyTypeObject, tp_itemsize);
	AT("type_flags", PyTypeObject, tp_flags);
	AT("type_dict", PyTypeObject, tp_dict);
	AT("type_dict_offset", PyTypeObject, tp_dictoffset);
#if PY_VERSION_HEX < 0x03090000
	SAY("type_module", 0);
#else
	AT("type_module", PyHeapTypeObject, ht_module);
#endif
	SAY("gc_head", sizeof(PyGC_Head));
#if PY_VERSION_HEX < 0x030b0000
	SAY("managed_flags", 0);
#elif PY_VERSION_HEX < 0x030c0000
	SAY("managed_flags", Py_TPFLAGS_MANAGED_DICT);
#else
	SAY("managed_flags", Py_TPFLAGS_PREHEADER);
#endif
	AT("list_items", PyListObject, ob_item);
	AT("list_allocated", PyListObject, allocated);
	AT("dict_used", PyDictObject, ma_used);
	AT("dict_keys", PyDictObject, ma_keys);
	AT("dict_values", PyDictObject, ma_values);
	AT("unicode_state", PyASCIIObject, state);
	SAY("ascii_size", sizeof(PyASCIIObject));
	SAY("unicode_size", sizeof(PyCompactUnicodeObject));
	AT("bytes_data", PyBytesObject, ob_sval);
}

int main(void)
{
	say_state();
	say_frames();
	say_code();
	say_objects();
	return 0;
}
