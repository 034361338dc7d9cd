# What the calls of scripts are made of: each is one RESP2 command, `EVALSHA`, the digest, the keys,
# the arguments.
cimport cython
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.long cimport PyLong_Check
from cpython.tuple cimport PyTuple_Check, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_Check
from libc.stdint cimport int64_t

from sharq.results import REMOVE, JobOptions


# Only of an `int`: the conversion of another number runs foreign code, which must not see a
# half-packed call.
cdef inline int64_t integer_of(object value) except? -1:
    if not PyLong_Check(value):
        raise TypeError(f"expected int, got {type(value).__name__}")
    return value


# A number with up to three decimals, as text. Foreign code runs as little as above.
cdef bytes decimal_text(object value):
    cdef Writer out
    if not PyFloat_Check(value):
        return b"%d" % integer_of(value)
    out = Writer()
    out.decimal(PyFloat_AS_DOUBLE(value))
    return out.take()


# Named tuples are read by place.
cdef inline int check_fields(object row, Py_ssize_t count) except -1:
    if not PyTuple_Check(row) or PyTuple_GET_SIZE(row) != count:
        raise TypeError(f"expected a tuple of {count}, got {type(row).__name__}")
    return 0


# The beginning of every script call, after the number of its words.
cdef bytes call_head(bytes digest):
    cdef Writer out = Writer()
    out.blob(b"EVALSHA")
    out.blob(digest)
    return out.take()


# An interval with decimals needs what options need.
cdef object NO_OPTIONS = JobOptions()


# The words of jobs with options, None for any other; None if no job has options.
cdef list options_of(list rows):
    cdef list words = None
    cdef Py_ssize_t at
    for at in range(PyList_GET_SIZE(rows)):
        job = <object>PyList_GET_ITEM(rows, at)
        check_fields(job, 8)
        options = <object>PyTuple_GET_ITEM(job, 7)
        if options is None and type(<object>PyTuple_GET_ITEM(job, 4)) is float:
            options = NO_OPTIONS
        if options is not None:
            if type(options) is not JobOptions:
                raise TypeError(f"expected JobOptions, got {type(options).__name__}")
            if words is None:
                words = [None] * PyList_GET_SIZE(rows)
            words[at] = <str?>options.word(<object>PyTuple_GET_ITEM(job, 6))
    return words


cdef class _Packer:
    cdef readonly Keyspace keys
    cdef dict _heads
    # The call under construction, and the tag of the type that it is about.
    cdef Writer _out
    cdef bytes _tag

    def __cinit__(self, str prefix not None, digests):
        self.keys = Keyspace(prefix)
        self._heads = {name: call_head(digest.encode()) for name, digest in digests.items()}
        self._out = Writer()

    @cython.final
    cdef Writer _begin(self, str script, Py_ssize_t keys, Py_ssize_t arguments):
        cdef Writer out = self._out
        cdef bytes head = self._heads[script]
        out.used = 0
        out.used = put_line(out.room(23), b"*", 3 + keys + arguments) - out.data
        out.text(head)
        out.integer(keys)
        return out

    @cython.final
    cdef Writer _begin_for(self, str script, str queue_type, Py_ssize_t keys,
                           Py_ssize_t arguments):
        self._tag = self.keys.tag(queue_type)
        return self._begin(script, keys, arguments)

    @cython.final
    cdef int _key(self, bytes suffix, str name) except -1:
        return self._out.compound(self._tag, suffix, name)

    @cython.final
    cdef int _channel(self, str server_id) except -1:
        return self._out.compound(self.keys._wake, b"", server_id)

    @cython.final
    cdef int _type_keys(self) except -1:
        self._key(VOID, "")
        self._key(READY, "")
        return self._key(LEASES, "")

    @cython.final
    cdef int _waiting_keys(self) except -1:
        self._key(VOID, "")
        self._key(READY, "")
        return self._key(WAITING, "")

    @cython.final
    cdef int _lease_keys(self) except -1:
        self._key(VOID, "")
        self._key(LEASES, "")
        return self._key(HELD, "")

    # Those of scripts that end leases in every way.
    @cython.final
    cdef int _ending_keys(self) except -1:
        self._type_keys()
        self._key(HELD, "")
        self._key(WAITING, "")
        return self._key(LIMIT, "")

    # Those by which a layout is closed.
    @cython.final
    cdef int _closing_keys(self) except -1:
        self._type_keys()
        self._key(HELD, "")
        self._key(WAITING, "")
        self._key(LIMIT, "")
        self._key(DEAD, "")
        self._key(SAMPLE, "")
        return self._key(MOVING, "")

    @cython.final
    cdef int _dead_keys(self) except -1:
        self._key(VOID, "")
        return self._key(DEAD, "")

    # Those of scripts that make jobs of dead letters, with the prefixes of their queues.
    @cython.final
    cdef int _retry_keys(self) except -1:
        self._key(VOID, "")
        self._key(READY, "")
        self._key(HELD, "")
        self._key(WAITING, "")
        self._key(LIMIT, "")
        self._key(DEAD, "")
        self._key(QUEUE, "")
        self._key(JOBS, "")
        self._key(COUNTERS, "")
        self._key(RETURNED, "")
        return self._key(DELAYED, "")

    # What a change of a limit or of a pause touches, with the prefixes of its queues.
    @cython.final
    cdef int _level_keys(self) except -1:
        self._type_keys()
        self._key(WAITING, "")
        self._key(LIMIT, "")
        self._key(QUEUE, "")
        return self._key(DELAYED, "")

    # The keys of a queue, or with "" their prefixes.
    @cython.final
    cdef int _queue_keys(self, str queue_id) except -1:
        self._key(QUEUE, queue_id)
        self._key(JOBS, queue_id)
        self._key(RETURNED, queue_id)
        return self._key(DELAYED, queue_id)

    # Keys that a script seldom needs, in one word: each word of a call costs.
    @cython.final
    cdef int _seldom(self, bytes first, bytes second, bytes third=None) except -1:
        cdef Writer out = self._out
        cdef Py_ssize_t tag = PyBytes_GET_SIZE(self._tag)
        cdef Py_ssize_t size = 2 * tag + PyBytes_GET_SIZE(first) + PyBytes_GET_SIZE(second) + 1
        if third is not None:
            size += tag + PyBytes_GET_SIZE(third) + 1
        out.used = put_line(out.room(23), b"$", size) - out.data
        out.text(self._tag)
        out.text(first)
        out.byte(b" ")
        out.text(self._tag)
        out.text(second)
        if third is not None:
            out.byte(b" ")
            out.text(self._tag)
            out.text(third)
        return out.text(b"\r\n")

    # A bound on the length of a queue, or none.
    @cython.final
    cdef int _length(self, object most) except -1:
        return self._out.nothing() if most is None else self._out.integer(integer_of(most))

    # An interval: whole, or with decimals.
    @cython.final
    cdef int _interval(self, object value) except -1:
        if PyFloat_Check(value):
            return self._out.blob(decimal_text(value))
        return self._out.integer(integer_of(value))

    # A value of a limit: one that is left as it is, is given back, or is set.
    @cython.final
    cdef int _setting(self, object value) except -1:
        if value is None:
            return self._out.nothing()
        if value is REMOVE:
            return self._out.bulk(b"-", 1)
        if PyUnicode_Check(value):
            return self._out.word(value)
        return self._interval(value)

    # Leases of one type, without it.
    @cython.final
    cdef int _leased(self, list leases) except -1:
        cdef Writer out = self._out
        cdef Py_ssize_t at
        for at in range(PyList_GET_SIZE(leases)):
            lease = <object>PyList_GET_ITEM(leases, at)
            check_fields(lease, 4)
            out.word(<str>PyTuple_GET_ITEM(lease, 1))
            out.word(<str>PyTuple_GET_ITEM(lease, 2))
            out.word(<str>PyTuple_GET_ITEM(lease, 3))
        return 0

    # Jobs of one type, without it: pairs of queue_id and job_id.
    @cython.final
    cdef int _named(self, list jobs) except -1:
        cdef Py_ssize_t at
        for at in range(PyList_GET_SIZE(jobs)):
            job = <object>PyList_GET_ITEM(jobs, at)
            check_fields(job, 2)
            self._out.word(<str?><object>PyTuple_GET_ITEM(job, 0))
            self._out.word(<str?><object>PyTuple_GET_ITEM(job, 1))
        return 0
