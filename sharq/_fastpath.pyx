# The codec, one file for each subject: each uses those above it. The documentation is in the stub,
# `_fastpath.pyi`.
from cpython.ref cimport PyObject

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    bint PyUnicode_IS_ASCII(object text)
    bint is_bytes "PyBytes_CheckExact"(PyObject* value)
    bint is_int "PyLong_CheckExact"(PyObject* value)
    Py_ssize_t PY_SSIZE_T_MAX
    bint Py_EnterRecursiveCall(const char* where) noexcept
    void Py_LeaveRecursiveCall()
    char* PyOS_double_to_string(
        double value, char form, int digits, int flags, int* kind) except NULL
    int Py_DTSF_ADD_DOT_0

# Bytes under construction.
include "codec/writer.pxi"

# To the store and back.
include "codec/keys.pxi"
include "codec/packing.pxi"
include "codec/watch_calls.pxi"
include "codec/calls.pxi"
include "codec/replies.pxi"

# From clients and to them.
include "codec/names.pxi"
include "codec/json_reading.pxi"
include "codec/json_writing.pxi"
include "codec/plain_jobs.pxi"
include "codec/masking.pxi"
