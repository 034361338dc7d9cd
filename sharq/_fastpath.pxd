# The codec at a glance. Docstrings are in the stub, `_fastpath.pyi`.
from libc.stdint cimport int64_t


cdef class Writer:
    """Bytes under construction: RESP2 arguments and JSON text."""
    cdef char* data
    cdef Py_ssize_t used
    cdef Py_ssize_t capacity

    cdef char* room(self, Py_ssize_t size) except NULL
    cdef int grow(self, Py_ssize_t more) except -1
    cdef int raw(self, const char* text, Py_ssize_t size) except -1
    cdef int text(self, bytes text) except -1
    cdef int byte(self, char value) except -1
    cdef int digits(self, int64_t value) except -1
    cdef int bulk(self, const char* text, Py_ssize_t size) except -1
    cdef int word(self, str text) except -1
    cdef int blob(self, bytes text) except -1
    cdef int nothing(self) except -1
    cdef int integer(self, int64_t value) except -1
    cdef bytes take(self)


cdef class Codec:
    cdef readonly str prefix
    cdef bytes _prefix
    cdef bytes _registry
    cdef bytes _wake
    cdef dict _heads
    cdef dict _tags
    cdef str _type
    cdef bytes _tag
    cdef Writer _out

    cdef bytes _head(self, bytes digest)
    cdef int _channel(self, str server_id) except -1
    cdef int _meet(self, str queue_type) except -1
    cdef int _key(self, str queue_type, bytes suffix, str name) except -1
    cdef int _begin(self, str script, Py_ssize_t keys, Py_ssize_t arguments) except -1
    cdef int _type_keys(self, str queue_type) except -1
    cdef int _waiting_keys(self, str queue_type) except -1
    cdef int _leased(self, list leases) except -1
    cdef int _queue_keys(self, str queue_type, str queue_id) except -1


cdef class Job:
    cdef readonly str queue_type
    cdef readonly str queue_id
    cdef readonly str job_id
    cdef readonly bytes payload
    cdef readonly int64_t requeues_remaining
    cdef readonly int64_t attempt
    cdef readonly int64_t current_queue_length
    cdef readonly int64_t interval
    cdef readonly str lease


cdef class Batch:
    cdef readonly str queue_type
    cdef list _reply
    cdef list _jobs
    cdef Py_ssize_t _count

    cdef int _check(self, Py_ssize_t start, Py_ssize_t stop) except -1
    cdef int _write_job(self, Writer out, Py_ssize_t at) except -1
    cdef int _write_lease(self, Writer out, Py_ssize_t at) except -1
    cdef str _lease(self, Py_ssize_t at)
