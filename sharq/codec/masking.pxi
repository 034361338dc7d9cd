# The payloads of websocket frames, masked and unmasked (RFC 6455, 5.3).
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport uint64_t
from libc.string cimport memcpy


def mask(bytes key not None, data):
    cdef Py_buffer view
    cdef bytes out
    cdef const unsigned char* source
    cdef unsigned char* target
    cdef const unsigned char* text
    cdef uint64_t pattern = 0
    cdef uint64_t block = 0
    cdef Py_ssize_t at = 0
    if PyBytes_GET_SIZE(key) != 4:
        raise ValueError("a mask has four bytes")
    text = <const unsigned char*>PyBytes_AS_STRING(key)
    memcpy(&pattern, text, 4)
    memcpy(<char*>&pattern + 4, text, 4)
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        out = PyBytes_FromStringAndSize(NULL, view.len)
        source = <const unsigned char*>view.buf
        target = <unsigned char*>PyBytes_AS_STRING(out)
        while at + 8 <= view.len:
            memcpy(&block, source + at, 8)
            block ^= pattern
            memcpy(target + at, &block, 8)
            at += 8
        while at < view.len:
            target[at] = source[at] ^ text[at & 3]
            at += 1
    finally:
        PyBuffer_Release(&view)
    return out
