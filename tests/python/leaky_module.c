/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A CPython extension module that never frees, in the stable interface: one file for 3.8 and all
 * later versions.
 *   keep(size)              keeps a block that malloc gave
 *   keep_object(size)       keeps bytes of that size: a reference too many
 *   call(function, arg)     calls a Python function
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x03080000
#include <Python.h>

#include <stdlib.h>
#include <string.h>

PyMODINIT_FUNC PyInit_leaky_module(void);

static void *volatile last;

static PyObject *leaky_module_keep(PyObject *self, PyObject *arg)
{
	size_t size = PyLong_AsSize_t(arg);

	(void)self;
	if (PyErr_Occurred())
		return NULL;
	last = malloc(size);
	if (!last)
		return PyErr_NoMemory();
	memset(last, 1, size);
	Py_RETURN_NONE;
}

static PyObject *leaky_module_keep_object(PyObject *self, PyObject *arg)
{
	Py_ssize_t size = PyLong_AsSsize_t(arg);

	(void)self;
	if (PyErr_Occurred())
		return NULL;
	last = PyBytes_FromStringAndSize(NULL, size);
	if (!last)
		return NULL;
	memset(PyBytes_AsString(last), 1, (size_t)size);
	Py_RETURN_NONE;
}

static PyObject *leaky_module_call(PyObject *self, PyObject *args)
{
	PyObject *function, *arg, *result;

	(void)self;
	if (!PyArg_UnpackTuple(args, "call", 2, 2, &function, &arg))
		return NULL;
	result = PyObject_CallFunctionObjArgs(function, arg, NULL);
	last = result;
	return result;
}

static PyMethodDef methods[] = {
	{"keep", leaky_module_keep, METH_O, NULL},
	{"keep_object", leaky_module_keep_object, METH_O, NULL},
	{"call", leaky_module_call, METH_VARARGS, NULL},
	{NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "leaky_module",
	.m_size = -1,
	.m_methods = methods,
};

PyMODINIT_FUNC PyInit_leaky_module(void)
{
	return PyModule_Create(&module);
}
