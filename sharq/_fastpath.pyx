# Keys, script calls and replies, as bytes. The documentation is in the stub, `_fastpath.pyi`.
cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_Check
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.ref cimport PyObject
from cpython.tuple cimport PyTuple_Check, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8String, PyUnicode_Check, PyUnicode_DecodeASCII
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr, memcmp, memcpy, strlen

from json import dumps as json_dumps

from sharq.results import Enqueued, NewJob


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


# A buffer that has grown larger than this is given back after use.
cdef Py_ssize_t KEEP = 1 << 16

# Types whose tags are kept, at most.
cdef Py_ssize_t MOST_TAGS = 4096

# Every name of the keyspace is spelled here, once. What follows the hash tag of a type:
cdef bytes VOID = b":void"
cdef bytes READY = b":ready"
cdef bytes LEASES = b":leases"
cdef bytes HELD = b":held"
cdef bytes SERIAL = b":serial"
cdef bytes QUEUE = b":q:"
cdef bytes JOBS = b":j:"
cdef bytes RETURNED = b":r:"
cdef bytes DELAYED = b":d:"
cdef bytes COUNTERS = b":c:"
cdef bytes MARKS = b":f:"
cdef bytes REQUEST = b":x:"
cdef bytes WAITING = b":waiting"
# and what follows the tag of the deployment.
cdef bytes TYPES = b":types"
cdef bytes SWEEP = b":sweep"
cdef bytes WAKE = b":wake:"


cdef inline int width(uint64_t value) noexcept:
    """The number of decimal digits."""
    cdef int size = 1
    while value >= 10000:
        value //= 10000
        size += 4
    if value >= 1000:
        return size + 3
    if value >= 100:
        return size + 2
    return size + 1 if value >= 10 else size


cdef inline char* put_digits(char* at, uint64_t value, int size) noexcept:
    """Write `value` in `size` digits; the place behind them."""
    cdef char* end = at + size
    cdef char* place = end
    while place > at:
        place -= 1
        place[0] = <char>(48 + value % 10)
        value //= 10
    return end


cdef inline char* put(char* at, const char* text, Py_ssize_t size) noexcept:
    memcpy(at, text, <size_t>size)
    return at + size


cdef inline char* put_line(char* at, char marker, uint64_t value) noexcept:
    """Write the first line of a RESP2 value, of up to 23 bytes."""
    at[0] = marker
    at = put_digits(at + 1, value, width(value))
    at[0] = b"\r"
    at[1] = b"\n"
    return at + 2


@cython.final
@cython.freelist(4)
cdef class Writer:
    def __cinit__(self):
        self.capacity = 512
        self.used = 0
        self.data = <char*>PyMem_Malloc(self.capacity)
        if self.data is NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.data)

    # The place to write to, with room for so many bytes.
    cdef inline char* room(self, Py_ssize_t size) except NULL:
        if size > self.capacity - self.used:
            self.grow(size)
        return self.data + self.used

    cdef int grow(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t capacity = self.capacity
        cdef char* data
        if more > (PY_SSIZE_T_MAX >> 1) - self.used:
            raise MemoryError
        while capacity < self.used + more:
            capacity *= 2
        data = <char*>PyMem_Realloc(self.data, capacity)
        if data is NULL:
            raise MemoryError
        self.data = data
        self.capacity = capacity
        return 0

    cdef inline int raw(self, const char* text, Py_ssize_t size) except -1:
        self.used = put(self.room(size), text, size) - self.data
        return 0

    cdef inline int text(self, bytes text) except -1:
        return self.raw(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))

    cdef inline int byte(self, char value) except -1:
        self.room(1)[0] = value
        self.used += 1
        return 0

    cdef int digits(self, int64_t value) except -1:
        cdef char* at = self.room(20)
        cdef uint64_t rest = <uint64_t>value
        if value < 0:
            at[0] = b"-"
            at += 1
            rest = 0 - rest
        self.used = put_digits(at, rest, width(rest)) - self.data
        return 0

    cdef inline int bulk(self, const char* text, Py_ssize_t size) except -1:
        cdef char* at = put(put_line(self.room(size + 25), b"$", size), text, size)
        at[0] = b"\r"
        at[1] = b"\n"
        self.used = at + 2 - self.data
        return 0

    cdef inline int word(self, str text) except -1:
        cdef Py_ssize_t size = 0
        cdef const char* data = PyUnicode_AsUTF8AndSize(text, &size)
        return self.bulk(data, size)

    cdef int blob(self, bytes text) except -1:
        if text is None:
            raise TypeError("expected bytes, got None")
        return self.bulk(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))

    cdef inline int nothing(self) except -1:
        return self.text(b"$0\r\n\r\n")

    cdef int integer(self, int64_t value) except -1:
        cdef char* at = self.room(32)
        cdef uint64_t rest = <uint64_t>value if value >= 0 else 0 - <uint64_t>value
        cdef int size = width(rest)
        at = put_line(at, b"$", size + 1 if value < 0 else size)
        if value < 0:
            at[0] = b"-"
            at += 1
        at = put_digits(at, rest, size)
        at[0] = b"\r"
        at[1] = b"\n"
        self.used = at + 2 - self.data
        return 0

    cdef bytes take(self):
        cdef bytes out = PyBytes_FromStringAndSize(self.data, self.used)
        cdef char* data
        self.used = 0
        if self.capacity > KEEP:
            data = <char*>PyMem_Realloc(self.data, KEEP)
            if data is not NULL:
                self.data = data
                self.capacity = KEEP
        return out


# Of an `int` alone: another number's conversion runs code of its own, and that must not meet a call
# half packed.
cdef inline int64_t integer_of(object value) except? -1:
    if not PyLong_Check(value):
        raise TypeError(f"expected int, got {type(value).__name__}")
    return value


# Named tuples are read by place.
cdef inline int check_fields(object row, Py_ssize_t count) except -1:
    if not PyTuple_Check(row) or PyTuple_GET_SIZE(row) != count:
        raise TypeError(f"expected a tuple of {count}, got {type(row).__name__}")
    return 0


@cython.final
cdef class Codec:
    def __cinit__(self, str prefix not None, digests):
        self.prefix = prefix
        self._prefix = b"{" + prefix.encode()
        self._registry = self._prefix + b"}" + TYPES
        self._wake = self._prefix + b"}" + WAKE
        self._heads = {name: self._head(digest.encode()) for name, digest in digests.items()}
        self._tags = {}
        self._type = ""
        self._tag = self._prefix + b":}"
        self._out = Writer()

    # What every call of a script begins with, behind the number of its words.
    cdef bytes _head(self, bytes digest):
        cdef Writer out = Writer()
        out.blob(b"EVALSHA")
        out.blob(digest)
        return out.take()

    # Keys

    # Make the tag of a type the one that `_key` writes.
    cdef int _meet(self, str queue_type) except -1:
        cdef bytes tag
        if queue_type is None:
            raise TypeError("expected str, got None")
        tag = self._tags.get(queue_type)
        if tag is None:
            tag = self._prefix + b":" + queue_type.encode() + b"}"
            if len(self._tags) >= MOST_TAGS:
                self._tags.clear()
            self._tags[queue_type] = tag
        self._type = queue_type
        self._tag = tag
        return 0

    cdef int _key(self, str queue_type, bytes suffix, str name) except -1:
        cdef Writer out = self._out
        cdef Py_ssize_t name_size = 0
        cdef const char* name_text = PyUnicode_AsUTF8AndSize(name, &name_size)
        cdef Py_ssize_t suffix_size = PyBytes_GET_SIZE(suffix)
        cdef Py_ssize_t tag_size
        cdef Py_ssize_t size
        cdef char* at
        if queue_type is not self._type:
            self._meet(queue_type)
        tag_size = PyBytes_GET_SIZE(self._tag)
        size = tag_size + suffix_size + name_size
        at = put_line(out.room(size + 25), b"$", size)
        at = put(at, PyBytes_AS_STRING(self._tag), tag_size)
        at = put(at, PyBytes_AS_STRING(suffix), suffix_size)
        at = put(at, name_text, name_size)
        at[0] = b"\r"
        at[1] = b"\n"
        out.used = at + 2 - out.data
        return 0

    def tag(self, str queue_type):
        if queue_type is not self._type:
            self._meet(queue_type)
        return self._tag

    def registry(self):
        return self._registry

    def channel(self, str server_id not None):
        return self._wake + server_id.encode()

    cdef int _channel(self, str server_id) except -1:
        cdef Py_ssize_t size = 0
        cdef const char* text = PyUnicode_AsUTF8AndSize(server_id, &size)
        cdef Py_ssize_t wake_size = PyBytes_GET_SIZE(self._wake)
        cdef Writer out = self._out
        cdef char* at = put_line(out.room(wake_size + size + 25), b"$", wake_size + size)
        at = put(at, PyBytes_AS_STRING(self._wake), wake_size)
        at = put(at, text, size)
        at[0] = b"\r"
        at[1] = b"\n"
        out.used = at + 2 - out.data
        return 0

    def woken_type(self, bytes message not None):
        cdef bytes head = self._prefix + b":"
        cdef bytes tail = b"}" + WAITING
        if not (message.startswith(head) and message.endswith(tail)):
            return None
        return message[len(head):-len(tail)].decode("ascii", "replace")

    # Script calls, in the order of the files in lua/

    cdef int _begin(self, str script, Py_ssize_t keys, Py_ssize_t arguments) except -1:
        cdef Writer out = self._out
        cdef bytes head = self._heads[script]
        out.used = 0
        out.used = put_line(out.room(23), b"*", 3 + keys + arguments) - out.data
        out.text(head)
        return out.integer(keys)

    cdef int _type_keys(self, str queue_type) except -1:
        self._key(queue_type, VOID, "")
        self._key(queue_type, READY, "")
        return self._key(queue_type, LEASES, "")

    cdef int _waiting_keys(self, str queue_type) except -1:
        self._key(queue_type, VOID, "")
        self._key(queue_type, READY, "")
        return self._key(queue_type, WAITING, "")

    # Leases of one type, without it.
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

    # The keys of a queue, or with "" their prefixes.
    cdef int _queue_keys(self, str queue_type, str queue_id) except -1:
        self._key(queue_type, QUEUE, queue_id)
        self._key(queue_type, JOBS, queue_id)
        self._key(queue_type, RETURNED, queue_id)
        return self._key(queue_type, DELAYED, queue_id)

    def claim_sweep(self, int64_t hold):
        cdef Writer out = self._out
        self._begin("claim_sweep", 1, 1)
        out.blob(self._prefix + b"}" + SWEEP)
        out.integer(hold)
        return out.take()

    def clear(self, str queue_type, str queue_id, int64_t interval_retention, bint purge):
        cdef Writer out = self._out
        self._begin("clear", 8, 3)
        self._type_keys(queue_type)
        self._key(queue_type, HELD, "")
        self._queue_keys(queue_type, queue_id)
        out.integer(interval_retention)
        out.word(queue_id)
        out.integer(1 if purge else 0)
        return out.take()

    def dequeue(self, str queue_type, int64_t count, int64_t lease_ms, int64_t max_bytes,
                str request_id=None, str server_id=None, int64_t seq=0, bint more=False):
        cdef Writer out = self._out
        # A server's call that is for no request of a client leaves a mark of its own.
        cdef str mark = server_id if request_id is None else request_id
        self._begin("dequeue", 6 if mark is None else 7, 12)
        self._type_keys(queue_type)
        self._key(queue_type, HELD, "")
        self._key(queue_type, SERIAL, "")
        self._key(queue_type, WAITING, "")
        if mark is not None:
            self._key(queue_type, REQUEST, mark)
        self._queue_keys(queue_type, "")
        self._key(queue_type, COUNTERS, "")
        out.integer(count)
        out.integer(lease_ms)
        out.integer(max_bytes)
        out.word("" if request_id is None else request_id)
        if server_id is None:
            out.nothing()
        else:
            self._channel(server_id)
        if request_id is None and server_id is not None:
            out.integer(seq)
        else:
            out.nothing()
        out.integer(1 if more else 0)
        return out.take()

    def enqueue(self, str queue_type, str queue_id, str job_id, bytes payload,
                int64_t interval, int64_t requeue_limit, max_length=None):
        cdef Writer out = self._out
        self._begin("enqueue", 6, 7)
        self._key(queue_type, VOID, "")
        self._key(queue_type, READY, "")
        self._key(queue_type, HELD, "")
        self._key(queue_type, WAITING, "")
        self._key(queue_type, QUEUE, queue_id)
        self._key(queue_type, JOBS, queue_id)
        self._key(queue_type, COUNTERS, "")
        out.word(queue_id)
        out.word(job_id)
        out.blob(payload)
        out.integer(interval)
        out.integer(requeue_limit)
        if max_length is None:
            out.nothing()
        else:
            out.integer(integer_of(max_length))
        return out.take()

    def enqueue_many(self, str queue_type, jobs):
        cdef Writer out = self._out
        # A sequence may run code of its own, and that must not meet a call half packed.
        cdef list rows = list(jobs)
        self._begin("enqueue_many", 4, 3 + 6 * len(rows))
        self._key(queue_type, VOID, "")
        self._key(queue_type, READY, "")
        self._key(queue_type, HELD, "")
        self._key(queue_type, WAITING, "")
        self._key(queue_type, QUEUE, "")
        self._key(queue_type, JOBS, "")
        self._key(queue_type, COUNTERS, "")
        for job in rows:
            check_fields(job, 7)
            out.word(<str>PyTuple_GET_ITEM(job, 1))
            out.word(<str>PyTuple_GET_ITEM(job, 2))
            out.blob(<bytes?><object>PyTuple_GET_ITEM(job, 3))
            out.integer(integer_of(<object>PyTuple_GET_ITEM(job, 4)))
            out.integer(integer_of(<object>PyTuple_GET_ITEM(job, 5)))
            max_length = <object>PyTuple_GET_ITEM(job, 6)
            if max_length is None:
                out.nothing()
            else:
                out.integer(integer_of(max_length))
        return out.take()

    def extend(self, str queue_type, str queue_id, str job_id, str n, int64_t by,
               int64_t retention):
        cdef Writer out = self._out
        self._begin("extend", 3, 7)
        self._key(queue_type, VOID, "")
        self._key(queue_type, LEASES, "")
        self._key(queue_type, HELD, "")
        self._key(queue_type, MARKS, "")
        out.integer(retention)
        self._key(queue_type, REQUEST, "")
        out.word(queue_id)
        out.word(job_id)
        out.word(n)
        out.integer(by)
        return out.take()

    def extend_many(self, str queue_type, list leases not None, int64_t by, int64_t retention):
        cdef Writer out = self._out
        self._begin("extend_many", 3, 4 + 3 * len(leases))
        self._key(queue_type, VOID, "")
        self._key(queue_type, LEASES, "")
        self._key(queue_type, HELD, "")
        self._key(queue_type, MARKS, "")
        out.integer(retention)
        self._key(queue_type, REQUEST, "")
        out.integer(by)
        self._leased(leases)
        return out.take()

    def finish(self, str queue_type, str queue_id, str job_id, str n, int64_t retention,
               int64_t interval_retention):
        cdef Writer out = self._out
        self._begin("finish", 4, 6)
        self._key(queue_type, VOID, "")
        self._key(queue_type, LEASES, "")
        self._key(queue_type, HELD, "")
        self._key(queue_type, QUEUE, queue_id)
        self._key(queue_type, MARKS, "")
        out.integer(retention)
        out.integer(interval_retention)
        out.word(queue_id)
        out.word(job_id)
        out.word(n)
        return out.take()

    def finish_many(self, str queue_type, list leases not None, int64_t retention,
                    int64_t interval_retention):
        cdef Writer out = self._out
        self._begin("finish_many", 3, 4 + 3 * len(leases))
        self._key(queue_type, VOID, "")
        self._key(queue_type, LEASES, "")
        self._key(queue_type, HELD, "")
        self._key(queue_type, QUEUE, "")
        self._key(queue_type, MARKS, "")
        out.integer(retention)
        out.integer(interval_retention)
        self._leased(leases)
        return out.take()

    def hand_on(self, str queue_type, str server_id not None, int64_t offered):
        cdef Writer out = self._out
        self._begin("hand_on", 3, 2)
        self._waiting_keys(queue_type)
        self._channel(server_id)
        out.integer(offered)
        return out.take()

    def interval(self, str queue_type, str queue_id, int64_t interval,
                 int64_t interval_retention):
        cdef Writer out = self._out
        self._begin("interval", 5, 3)
        self._waiting_keys(queue_type)
        self._key(queue_type, QUEUE, queue_id)
        self._key(queue_type, DELAYED, queue_id)
        out.integer(interval_retention)
        out.word(queue_id)
        out.integer(interval)
        return out.take()

    def interval_reset(self, str queue_type, str queue_id, int64_t interval_retention):
        cdef Writer out = self._out
        self._begin("interval_reset", 2, 1)
        self._key(queue_type, VOID, "")
        self._key(queue_type, QUEUE, queue_id)
        out.integer(interval_retention)
        return out.take()

    def list_queues(self, str queue_type, bint waiting, str cursor, int64_t count):
        cdef Writer out = self._out
        self._begin("list_queues", 3, 3)
        self._type_keys(queue_type)
        out.integer(1 if waiting else 0)
        out.word(cursor)
        out.integer(count)
        return out.take()

    def list_types(self, str cursor, int64_t count):
        cdef Writer out = self._out
        self._begin("list_types", 1, 2)
        out.blob(self._registry)
        out.word(cursor)
        out.integer(count)
        return out.take()

    def offer(self, str queue_type, str server_id not None, int64_t wanted, int64_t offered,
              int64_t offer_ms):
        cdef Writer out = self._out
        self._begin("offer", 3, 5)
        self._waiting_keys(queue_type)
        self._key(queue_type, QUEUE, "")
        self._channel(server_id)
        out.integer(wanted)
        out.integer(offered)
        out.integer(offer_ms)
        return out.take()

    def ping(self):
        self._begin("ping", 0, 0)
        return self._out.take()

    def queue_length(self, str queue_type, str queue_id):
        self._begin("queue_length", 2, 0)
        self._key(queue_type, VOID, "")
        self._key(queue_type, QUEUE, queue_id)
        return self._out.take()

    def rights(self, str server_id not None):
        cdef Writer out = self._out
        self._begin("rights", 0, 3)
        out.blob(self._prefix + b":.rights}:")
        out.blob(self._prefix + b"}:")
        self._channel(server_id)
        return out.take()

    def queue_metrics(self, str queue_type, str queue_id):
        cdef Writer out = self._out
        self._begin("queue_metrics", 3, 2)
        self._key(queue_type, VOID, "")
        self._key(queue_type, READY, "")
        self._key(queue_type, QUEUE, queue_id)
        self._key(queue_type, COUNTERS, "")
        out.word(queue_id)
        return out.take()

    def register(self, str queue_type):
        cdef Writer out = self._out
        self._begin("register", 1, 1)
        out.blob(self._registry)
        out.word(queue_type)
        return out.take()

    def release(self, str queue_type, str queue_id, str job_id, str n, int64_t delay,
                bint counted, int64_t retention, int64_t interval_retention):
        cdef Writer out = self._out
        self._begin("release", 9, 8)
        self._type_keys(queue_type)
        self._key(queue_type, HELD, "")
        self._key(queue_type, WAITING, "")
        self._queue_keys(queue_type, queue_id)
        self._key(queue_type, MARKS, "")
        out.integer(retention)
        out.integer(interval_retention)
        out.word(queue_id)
        out.word(job_id)
        out.word(n)
        out.integer(delay)
        out.integer(1 if counted else 0)
        return out.take()

    def release_many(self, str queue_type, list leases not None, int64_t delay, bint counted,
                     int64_t retention, int64_t interval_retention):
        cdef Writer out = self._out
        self._begin("release_many", 5, 9 + 3 * len(leases))
        self._type_keys(queue_type)
        self._key(queue_type, HELD, "")
        self._key(queue_type, WAITING, "")
        self._queue_keys(queue_type, "")
        self._key(queue_type, MARKS, "")
        out.integer(retention)
        out.integer(interval_retention)
        out.integer(delay)
        out.integer(1 if counted else 0)
        self._leased(leases)
        return out.take()

    def requeue(self, str queue_type, int64_t batch, int64_t retention,
                int64_t interval_retention):
        cdef Writer out = self._out
        self._begin("requeue", 5, 9)
        self._type_keys(queue_type)
        self._key(queue_type, HELD, "")
        self._key(queue_type, WAITING, "")
        self._queue_keys(queue_type, "")
        self._key(queue_type, COUNTERS, "")
        self._key(queue_type, MARKS, "")
        out.integer(retention)
        out.integer(interval_retention)
        out.integer(batch)
        return out.take()

    def status(self, str queue_type, str queue_id, str job_id, int64_t retention):
        cdef Writer out = self._out
        self._begin("status", 8, 4)
        self._type_keys(queue_type)
        self._key(queue_type, HELD, "")
        self._queue_keys(queue_type, queue_id)
        self._key(queue_type, MARKS, "")
        out.integer(retention)
        out.word(queue_id)
        out.word(job_id)
        return out.take()

    def type_metrics(self, str queue_type):
        self._begin("type_metrics", 3, 1)
        self._type_keys(queue_type)
        self._key(queue_type, COUNTERS, "")
        return self._out.take()

    def unregister(self, str queue_type, int64_t age):
        cdef Writer out = self._out
        self._begin("unregister", 1, 2)
        out.blob(self._registry)
        out.word(queue_type)
        out.integer(age)
        return out.take()


# Replies

# The answer of a dequeue begins with wait and rank; then it has of each job: queue_id job_id n left
# attempt length payload interval.
cdef enum:
    HEAD = 2
    FIELDS = 8


# Where the fields of a job begin.
cdef inline Py_ssize_t place_of(Py_ssize_t job) noexcept:
    return HEAD + job * FIELDS


# Where answers are put together: between its first and its last word no code of others runs.
cdef Writer ANSWER = Writer()


cdef inline bint is_text(list reply, Py_ssize_t at) noexcept:
    return is_bytes(PyList_GET_ITEM(reply, at))


cdef inline bint is_number(list reply, Py_ssize_t at) noexcept:
    return is_int(PyList_GET_ITEM(reply, at))


# A list may have been changed since it was looked at.
cdef int changed() except -1:
    raise ValueError("the reply has changed")


cdef inline bytes field(list reply, Py_ssize_t at):
    if at >= PyList_GET_SIZE(reply) or not is_text(reply, at):
        changed()
    return <bytes>PyList_GET_ITEM(reply, at)


cdef inline int64_t number(list reply, Py_ssize_t at) except? -1:
    if at >= PyList_GET_SIZE(reply) or not is_number(reply, at):
        changed()
    return <object>PyList_GET_ITEM(reply, at)


# The words that most replies have, as text.
cdef dict WORDS = {word.encode(): word for word in ("queued", "duplicate", "conflict", "full")}


def enqueued(list reply not None):
    cdef list outcomes = []
    cdef Py_ssize_t at
    for at in range(0, PyList_GET_SIZE(reply) - 1, 2):
        outcome = WORDS.get(reply[at])
        if outcome is not None:
            outcomes.append(tuple.__new__(Enqueued, (outcome, reply[at + 1], None)))
        else:
            outcomes.append(_full(reply[at], reply[at + 1]))
    return outcomes


cdef object _full(status, length):
    if not (type(status) is bytes and status.startswith(b"full:") and status[5:].isdigit()):
        raise KeyError(status)
    return tuple.__new__(Enqueued, ("full", length, int(status[5:])))


cdef inline str text_of(bytes value):
    return PyUnicode_DecodeASCII(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), NULL)


@cython.final
@cython.freelist(32)
cdef class Job:
    def __repr__(self):
        return f"<Job {self.lease} attempt={self.attempt}>"

    # For processes that hand jobs to each other: a job is the one in a batch.
    def __reduce__(self):
        number = self.lease.rpartition("/")[2]
        reply = [
            -1, 0, self.queue_id.encode(), self.job_id.encode(), number.encode(),
            b"%d" % self.requeues_remaining, self.attempt, self.current_queue_length, self.payload,
            self.interval,
        ]
        return _only_job, (Batch(self.queue_type, reply),)


def _only_job(Batch batch not None):
    return batch.jobs[0]


@cython.final
@cython.freelist(8)
cdef class Batch:
    @cython.cdivision(True)
    def __cinit__(self, str queue_type not None, list reply not None):
        cdef Py_ssize_t size = PyList_GET_SIZE(reply)
        cdef Py_ssize_t count = (size - HEAD) // FIELDS
        cdef Py_ssize_t job, at
        cdef bint fits = size == place_of(count) and is_number(reply, 0) and is_number(reply, 1)
        # Whatever reads the values later takes their types for granted.
        for job in range(count):
            at = place_of(job)
            fits = fits and (
                is_text(reply, at) and is_text(reply, at + 1) and is_text(reply, at + 2)
                and is_text(reply, at + 3) and is_number(reply, at + 4)
                and is_number(reply, at + 5) and is_text(reply, at + 6)
                and is_number(reply, at + 7)
            )
        if not fits:
            raise ValueError("this is no answer of a dequeue")
        self.queue_type = queue_type
        self._reply = reply
        self._jobs = None
        self._count = count

    def __reduce__(self):
        return Batch, (self.queue_type, self._reply)

    def __len__(self):
        return self._count

    @property
    def wait_us(self):
        wait = self._reply[0]
        return None if wait < 0 else wait

    @property
    def rank(self):
        return self._reply[1]

    def part(self, Py_ssize_t start, Py_ssize_t stop):
        cdef list reply = self._reply
        self._check(start, stop)
        return Batch(self.queue_type, reply[:HEAD] + reply[place_of(start):place_of(stop)])

    def leases(self, Py_ssize_t start, Py_ssize_t stop):
        cdef list leases = []
        cdef Py_ssize_t at
        self._check(start, stop)
        for at in range(start, stop):
            leases.append(self._lease(place_of(at)))
        return leases

    cdef int _check(self, Py_ssize_t start, Py_ssize_t stop) except -1:
        if not 0 <= start <= stop <= self._count:
            raise IndexError("the batch has no such jobs")
        return 0

    @property
    def jobs(self):
        cdef Job job
        cdef list reply = self._reply
        cdef list jobs
        cdef bytes left
        cdef Py_ssize_t index, at
        if self._jobs is None:
            jobs = []
            for index in range(self._count):
                at = place_of(index)
                job = Job.__new__(Job)
                job.queue_type = self.queue_type
                job.queue_id = text_of(field(reply, at))
                job.job_id = text_of(field(reply, at + 1))
                job.lease = self._lease(at)
                left = field(reply, at + 3)
                job.requeues_remaining = -1 if left == b"-1" else int(left)
                job.attempt = number(reply, at + 4)
                job.current_queue_length = number(reply, at + 5)
                job.payload = field(reply, at + 6)
                job.interval = number(reply, at + 7)
                jobs.append(job)
            self._jobs = jobs
        return self._jobs

    cdef int _write_job(self, Writer out, Py_ssize_t at) except -1:
        cdef list reply = self._reply
        cdef int64_t length = number(reply, at + 5)
        out.text(b'"queue_id":"')
        out.text(field(reply, at))
        out.text(b'","job_id":"')
        out.text(field(reply, at + 1))
        out.text(b'","payload":')
        out.text(field(reply, at + 6))
        out.text(b',"requeues_remaining":')
        out.text(field(reply, at + 3))
        out.text(b',"current_queue_length":')
        out.digits(length)
        out.text(b',"lease":"')
        self._write_lease(out, at)
        return out.byte(b'"')

    cdef int _write_lease(self, Writer out, Py_ssize_t at) except -1:
        cdef Py_ssize_t size = 0
        cdef const char* text = PyUnicode_AsUTF8AndSize(self.queue_type, &size)
        cdef Py_ssize_t part
        out.raw(text, size)
        for part in range(3):
            out.byte(b"/")
            out.text(field(self._reply, at + part))
        return 0

    cdef str _lease(self, Py_ssize_t at):
        ANSWER.used = 0
        self._write_lease(ANSWER, at)
        return PyUnicode_DecodeASCII(ANSWER.data, ANSWER.used, NULL)

    def to_json(self, Py_ssize_t at=0):
        cdef Writer out = ANSWER
        if self._count == 0:
            raise ValueError("the batch is empty")
        self._check(at, at + 1)
        out.used = 0
        out.text(b'{"status":"success",')
        self._write_job(out, place_of(at))
        out.byte(b"}")
        return out.take()

    def to_json_list(self, Py_ssize_t start=0, stop=None):
        cdef Writer out = ANSWER
        cdef Py_ssize_t at
        cdef Py_ssize_t end = self._count if stop is None else stop
        self._check(start, end)
        out.used = 0
        out.text(b'{"status":"success","jobs":[')
        for at in range(start, end):
            out.text(b",{") if at > start else out.byte(b"{")
            self._write_job(out, place_of(at))
            out.byte(b"}")
        out.text(b"]}")
        return out.take()

    def jobs_json(self, Py_ssize_t start, Py_ssize_t stop, int64_t lease_ms):
        cdef Writer out = ANSWER
        cdef Py_ssize_t job, at
        cdef int64_t attempt, interval
        self._check(start, stop)
        out.used = 0
        out.byte(b"[")
        for job in range(start, stop):
            at = place_of(job)
            out.text(b",{") if job > start else out.byte(b"{")
            self._write_job(out, at)
            attempt = number(self._reply, at + 4)
            interval = number(self._reply, at + 7)
            out.text(b',"attempt":')
            out.digits(attempt)
            out.text(b',"lease_ms":')
            out.digits(lease_ms)
            out.text(b',"interval":')
            out.digits(interval)
            out.byte(b"}")
        out.byte(b"]")
        return out.take()


# Names and lease tokens

cdef bytes NAME_LETTERS = (
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
)
cdef enum:
    MOST_LETTERS = 100
    MOST_DIGITS = 19

cdef bint[256] IN_NAMES = [False] * 256
for _letter in NAME_LETTERS:
    IN_NAMES[_letter] = True


# The length of the name at the beginning of the text, or 0 where there is none.
cdef inline Py_ssize_t name_at(const char* text, Py_ssize_t size) noexcept:
    cdef Py_ssize_t at = 0
    while at < size and IN_NAMES[<unsigned char>text[at]]:
        at += 1
    return at if at <= MOST_LETTERS else 0


def is_name(value):
    cdef Py_ssize_t size = 0
    cdef const char* text
    if not PyUnicode_Check(value) or not PyUnicode_IS_ASCII(value):
        return False
    text = PyUnicode_AsUTF8AndSize(value, &size)
    return 0 < size == name_at(text, size)


def name_of(bytes text not None):
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
    if 0 < size == name_at(PyBytes_AS_STRING(text), size):
        return PyUnicode_DecodeASCII(PyBytes_AS_STRING(text), size, NULL)
    return None


def lease_parts(value):
    cdef Py_ssize_t left = 0
    cdef const char* at
    cdef Py_ssize_t[3] sizes
    cdef Py_ssize_t digits = 0
    cdef const char* begin
    cdef int part
    if not PyUnicode_Check(value) or not PyUnicode_IS_ASCII(value):
        return None
    begin = at = PyUnicode_AsUTF8AndSize(value, &left)
    for part in range(3):
        sizes[part] = name_at(at, left)
        if sizes[part] == 0 or sizes[part] == left or at[sizes[part]] != b"/":
            return None
        left -= sizes[part] + 1
        at += sizes[part] + 1
    while digits < left and b"0" <= at[digits] <= b"9":
        digits += 1
    if digits != left or not 0 < digits <= MOST_DIGITS:
        return None
    return (
        PyUnicode_DecodeASCII(begin, sizes[0], NULL),
        PyUnicode_DecodeASCII(begin + sizes[0] + 1, sizes[1], NULL),
        PyUnicode_DecodeASCII(begin + sizes[0] + sizes[1] + 2, sizes[2], NULL),
        PyUnicode_DecodeASCII(at, digits, NULL),
    )


# JSON text. Each of these functions takes the first byte behind the text, and reads none from there
# on: the text may be a part of something larger, or the end of what may be read at all.

cdef enum:
    DEEPEST = 512
    LARGEST_EXPONENT = 308
    MOST_INTEGER_DIGITS = 4000

# What may be wrong with a text, by the words that `json_fault` tells it in.
cdef enum Fault:
    NO_FAULT = 0
    EMPTY = 1
    CUT_OFF = 2
    MISPLACED = 3
    NO_UTF8 = 4
    CONTROL = 5
    ESCAPE = 6
    CONSTANT = 7
    TOO_LARGE = 8
    TOO_LONG = 9
    TOO_DEEP = 10
    MORE = 11
cdef tuple FAULTS = (
    None, "empty", "cut off", "misplaced", "no utf-8", "control", "escape", "constant",
    "too large", "too long", "too deep", "more",
)

# What was wrong with the last text that was not taken, and where. Between a function here that
# says so and whoever asks, no code of others runs.
cdef Fault fault = NO_FAULT
cdef const char* fault_at = NULL


cdef const char* wrong(Fault kind, const char* at) noexcept:
    global fault, fault_at
    fault = kind
    fault_at = at
    return NULL


# The byte there is not one that may follow, where there is one.
cdef const char* misplaced(const char* at, const char* end) noexcept:
    return wrong(MISPLACED if at < end else CUT_OFF, at)


cdef inline bint is_digit(char c) noexcept:
    return b"0" <= c <= b"9"


cdef inline bint is_at(const char* at, const char* end, char c) noexcept:
    return at < end and at[0] == c


cdef inline const char* after_space(const char* at, const char* end) noexcept:
    while at < end and at[0] <= 32 and (
            at[0] == b" " or at[0] == b"\n" or at[0] == b"\r" or at[0] == b"\t"):
        at += 1
    return at


# Behind one digit or more, or NULL.
cdef inline const char* after_digits(const char* at, const char* end) noexcept:
    if at >= end or not is_digit(at[0]):
        return misplaced(at, end)
    at += 1
    while at < end and is_digit(at[0]):
        at += 1
    return at


cdef inline const char* after_number(const char* at, const char* end) noexcept:
    cdef const char* begin = at
    if at[0] == b"-":
        at += 1
        if is_at(at, end, b"I"):
            return wrong(CONSTANT, begin)
    if is_at(at, end, b"0"):
        at += 1
    else:
        at = after_digits(at, end)
        if at is NULL:
            return NULL
    if at < end and (at[0] == b"." or (at[0] | 32) == b"e"):
        return after_fraction(begin, at, end)
    if at - begin - (begin[0] == b"-") > MOST_INTEGER_DIGITS:
        return wrong(TOO_LONG, begin)
    return at


# Behind the fraction and the exponent that begin at `at`, of a number that begins at `begin`.
cdef const char* after_fraction(const char* begin, const char* at, const char* end) noexcept:
    cdef const char* mantissa
    cdef const char* digits
    cdef int64_t exponent = 0
    cdef bint negative = False
    if at[0] == b".":
        at = after_digits(at + 1, end)
        if at is NULL:
            return NULL
    mantissa = at
    if at < end and (at[0] | 32) == b"e":
        at += 1
        negative = is_at(at, end, b"-")
        if negative or is_at(at, end, b"+"):
            at += 1
        digits = at
        while at < end and is_digit(at[0]):
            # A text is shorter than that, so that no more of the exponent makes a difference.
            if exponent < MOST_EXPONENT:
                exponent = exponent * 10 + at[0] - 48
            at += 1
        if at == digits:
            return misplaced(at, end)
    # So short a number with so small an exponent is no more than a double holds.
    if mantissa - begin + exponent > LARGEST_EXPONENT and overflows(
            begin, mantissa, -exponent if negative else exponent):
        return wrong(TOO_LARGE, begin)
    return at


cdef int64_t MOST_EXPONENT = 100000000000000000

# What is rounded to infinity begins halfway behind the largest double.
cdef bytes INFINITE = str(2**1024 - 2**970).encode()


# Whether a number is too large for a double: digits, a point among them perhaps, times a power of
# ten.
cdef bint overflows(const char* at, const char* end, int64_t exponent) noexcept:
    cdef const char* limit = PyBytes_AS_STRING(INFINITE)
    cdef const char* limit_end = limit + PyBytes_GET_SIZE(INFINITE)
    cdef const char* place = at
    cdef int64_t magnitude = exponent - 1
    # Each digit before the point makes it ten times as much, each zero behind it a tenth.
    while place < end and place[0] != b".":
        magnitude += place[0] != b"-"
        place += 1
    while at < end and (at[0] == b"-" or at[0] == b"0" or at[0] == b"."):
        magnitude -= at[0] == b"0"
        at += 1
    if at == end or magnitude < LARGEST_EXPONENT:
        return False
    if magnitude > LARGEST_EXPONENT:
        return True
    while at < end and limit < limit_end:
        if at[0] != b".":
            if at[0] != limit[0]:
                return at[0] > limit[0]
            limit += 1
        at += 1
    # Zeros may follow the digits that are there.
    while limit < limit_end:
        if limit[0] != b"0":
            return False
        limit += 1
    return True


cdef bytes ESCAPES = b'"\\/bfnrt'
cdef char[256] IS_ESCAPE
for _code in range(256):
    IS_ESCAPE[_code] = _code in ESCAPES

cdef bytes HEX_LETTERS = b"0123456789abcdefABCDEF"
cdef bint[256] IN_HEX = [False] * 256
for _letter in HEX_LETTERS:
    IN_HEX[_letter] = True


# Behind the escape that follows a backslash, or NULL. Half a surrogate pair is one like others.
cdef const char* after_escape(const char* at, const char* end) noexcept:
    cdef int place
    if at < end and IS_ESCAPE[<unsigned char>at[0]]:
        return at + 1
    if is_at(at, end, b"u"):
        for place in range(1, 5):
            if at + place >= end:
                return wrong(CUT_OFF, end)
            if not IN_HEX[<unsigned char>at[place]]:
                return wrong(ESCAPE, at - 1)
        return at + 5
    return wrong(ESCAPE, at - 1) if at < end else wrong(CUT_OFF, end)


# Behind one character of two to four bytes, or NULL (RFC 3629, section 4).
cdef const char* after_wide(const char* begin, const char* end) noexcept:
    cdef const unsigned char* at = <const unsigned char*>begin
    cdef unsigned char lead = at[0]
    cdef unsigned char low = 0x80
    cdef unsigned char high = 0xBF
    cdef int more = 1
    if lead < 0xC2 or lead > 0xF4:
        return wrong(NO_UTF8, begin)
    if lead >= 0xF0:
        more = 3
        if lead == 0xF0:
            low = 0x90
        elif lead == 0xF4:
            high = 0x8F
    elif lead >= 0xE0:
        more = 2
        if lead == 0xE0:
            low = 0xA0
        elif lead == 0xED:
            high = 0x9F
    if end - begin <= more or not low <= at[1] <= high:
        return wrong(NO_UTF8, begin)
    at += 2
    while more > 1:
        if (at[0] & 0xC0) != 0x80:
            return wrong(NO_UTF8, begin)
        at += 1
        more -= 1
    return <const char*>at


# What a string has as it is.
cdef char[256] PLAIN
for _code in range(256):
    PLAIN[_code] = 32 <= _code < 128 and _code != 34 and _code != 92


# Behind the string that begins here, or NULL.
cdef inline const char* after_string(const char* at, const char* end) noexcept:
    cdef unsigned char c
    if not is_at(at, end, b'"'):
        return misplaced(at, end)
    at += 1
    while True:
        while at < end and PLAIN[<unsigned char>at[0]]:
            at += 1
        if at >= end:
            return wrong(CUT_OFF, end)
        c = <unsigned char>at[0]
        if c == b'"':
            return at + 1
        if c == b"\\":
            at = after_escape(at + 1, end)
        elif 0xC2 <= c < 0xE0 and end - at > 1 and (at[1] & 0xC0) == 0x80:
            at += 2
        elif c >= 0x80:
            at = after_wide(at, end)
        else:
            return wrong(CONTROL, at)
        if at is NULL:
            return NULL


# Behind a field's name and its colon, or NULL.
cdef inline const char* after_name(const char* at, const char* end) noexcept:
    at = after_string(after_space(at, end), end)
    if at is NULL:
        return NULL
    at = after_space(at, end)
    return at + 1 if is_at(at, end, b":") else misplaced(at, end)


# Where a word should be and is not: the first byte that differs.
cdef const char* no_word(const char* at, const char* end, const char* word) noexcept:
    while is_at(at, end, word[0]):
        at += 1
        word += 1
    return misplaced(at, end)


# Behind the value that begins here, or NULL where it is no value or nests deeper than `deepest`.
cdef const char* after_value(const char* at, const char* end, Py_ssize_t deepest) noexcept:
    cdef char[DEEPEST] closing
    cdef Py_ssize_t depth = 0
    cdef char c
    while True:
        if at >= end:
            return wrong(CUT_OFF, end)
        c = at[0]
        if c == b'"':
            at = after_string(at, end)
        elif c == b"{" or c == b"[":
            if depth == deepest:
                return wrong(TOO_DEEP, at)
            closing[depth] = b"}" if c == b"{" else b"]"
            at = after_space(at + 1, end)
            depth += 1
            if not is_at(at, end, closing[depth - 1]):
                if c == b"{":
                    at = after_name(at, end)
                    if at is NULL:
                        return NULL
                    at = after_space(at, end)
                continue
        elif c == b"t":
            at = (at + 4 if end - at >= 4 and at[1] == b"r" and at[2] == b"u" and at[3] == b"e"
                  else no_word(at, end, b"true"))
        elif c == b"n":
            at = (at + 4 if end - at >= 4 and at[1] == b"u" and at[2] == b"l" and at[3] == b"l"
                  else no_word(at, end, b"null"))
        elif c == b"f":
            at = (at + 5 if end - at >= 5 and at[1] == b"a" and at[2] == b"l" and at[3] == b"s"
                  and at[4] == b"e" else no_word(at, end, b"false"))
        elif c == b"N" or c == b"I":
            return wrong(CONSTANT, at)
        else:
            at = after_number(at, end)
        if at is NULL:
            return NULL
        while True:
            if depth == 0:
                return at
            at = after_space(at, end)
            if at >= end:
                return wrong(CUT_OFF, end)
            c = at[0]
            at += 1
            if c != closing[depth - 1]:
                break
            depth -= 1
        if c != b",":
            return wrong(MISPLACED, at - 1)
        if closing[depth - 1] == b"}":
            at = after_name(at, end)
            if at is NULL:
                return NULL
        at = after_space(at, end)


# The value that is all of a text but for white space, up to `stop`; NULL where there is none.
cdef const char* only_value(const char* begin, const char* end, Py_ssize_t deepest,
                            const char** stop) except? NULL:
    cdef const char* start = after_space(begin, end)
    if not 0 <= deepest <= DEEPEST:
        raise ValueError(f"a depth of 0 to {DEEPEST} can be looked for")
    if start == end:
        return wrong(EMPTY, end)
    stop[0] = after_value(start, end, deepest)
    if stop[0] is NULL:
        return NULL
    if after_space(stop[0], end) != end:
        return wrong(MORE, after_space(stop[0], end))
    return start


def json_value(bytes text not None, Py_ssize_t deepest):
    cdef const char* begin = PyBytes_AS_STRING(text)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
    cdef const char* stop = NULL
    cdef const char* start = only_value(begin, begin + size, deepest, &stop)
    if start is NULL:
        return None
    if stop - start == size:
        return text
    return PyBytes_FromStringAndSize(start, stop - start)


def json_fault(bytes text not None, Py_ssize_t deepest):
    cdef const char* begin = PyBytes_AS_STRING(text)
    cdef const char* stop = NULL
    if only_value(begin, begin + PyBytes_GET_SIZE(text), deepest, &stop) is not NULL:
        return None
    return FAULTS[<int>fault], fault_at - begin


# Where what seems to be a value ends: by quotes and brackets alone, or by the next comma or space.
# NULL where nothing is there, or it does not end.
cdef const char* after_part(const char* at, const char* end) noexcept:
    cdef const char* begin = at
    cdef Py_ssize_t depth = 0
    while at < end:
        if at[0] == b'"':
            at += 1
            while at < end and at[0] != b'"':
                at += 2 if at[0] == b"\\" else 1
            if at >= end:
                return NULL
        elif at[0] == b"{" or at[0] == b"[":
            depth += 1
        elif at[0] == b"}" or at[0] == b"]":
            if depth == 0:
                break
            depth -= 1
        elif depth == 0 and at[0] in b",: \t\r\n":
            break
        at += 1
    if depth or at == begin:
        return NULL
    return at


def json_parts(bytes text not None, Py_ssize_t most):
    cdef const char* end = PyBytes_AS_STRING(text) + PyBytes_GET_SIZE(text)
    cdef const char* at = after_space(PyBytes_AS_STRING(text), end)
    cdef const char* begin
    cdef list parts = []
    cdef bint is_object = is_at(at, end, b"{")
    cdef bint is_named = is_object
    if not is_object and not is_at(at, end, b"["):
        return None
    at = after_space(at + 1, end)
    if is_at(at, end, b"}" if is_object else b"]"):
        return parts if after_space(at + 1, end) == end else None
    while True:
        begin = at
        at = after_part(at, end)
        if at is NULL:
            return None
        parts.append(PyBytes_FromStringAndSize(begin, at - begin))
        if PyList_GET_SIZE(parts) >= most:
            return parts
        at = after_space(at, end)
        if is_named:
            if not is_at(at, end, b":"):
                return None
        elif not is_at(at, end, b","):
            break
        is_named = is_object and not is_named
        at = after_space(at + 1, end)
    if not is_at(at, end, b"}" if is_object else b"]") or after_space(at + 1, end) != end:
        return None
    return parts


cdef const char* HEX = "0123456789abcdef"


cdef int write_string(Writer out, object value) except -1:
    """A string as JSON text; what has to be escaped is, and nothing else."""
    cdef bytes encoded = None
    cdef Py_ssize_t size = 0
    cdef const char* text
    cdef char* place
    cdef Py_ssize_t at
    cdef unsigned char c
    if PyUnicode_IS_ASCII(value):
        text = PyUnicode_AsUTF8AndSize(value, &size)
    else:
        # Not the other way: it would leave a copy in the string for as long as that lives.
        try:
            encoded = PyUnicode_AsUTF8String(value)
        except UnicodeEncodeError:
            # Half a surrogate pair is no character; JSON has it as an escape.
            return out.text(json_dumps(str.__str__(value)).encode())
        text = PyBytes_AS_STRING(encoded)
        size = PyBytes_GET_SIZE(encoded)
    # One character takes six bytes at most.
    if size > PY_SSIZE_T_MAX // 8:
        raise MemoryError
    place = out.room(6 * size + 2)
    place[0] = b'"'
    place += 1
    for at in range(size):
        c = <unsigned char>text[at]
        if c == b'"' or c == b"\\":
            place[0] = b"\\"
            place[1] = c
            place += 2
        elif c >= 0x20:
            place[0] = c
            place += 1
        else:
            place[0] = b"\\"
            place[1] = b"u"
            if c == b"\n":
                place[1] = b"n"
            elif c == b"\r":
                place[1] = b"r"
            elif c == b"\t":
                place[1] = b"t"
            elif c == b"\b":
                place[1] = b"b"
            elif c == b"\f":
                place[1] = b"f"
            place += 2
            if place[-1] == b"u":
                place[0] = place[1] = b"0"
                place[2] = HEX[c >> 4]
                place[3] = HEX[c & 15]
                place += 4
    place[0] = b'"'
    out.used = place + 1 - out.data
    return 0


# An integer of 4,000 digits has no more bits than that. It is written in pieces, since Python's own
# limit of digits at once may be set lower, though not below 640.
cdef enum:
    MOST_INTEGER_BITS = 13288
    PIECE = 600
cdef object WHOLE_PIECE = 10**600


cdef int write_integer(Writer out, object value) except -1:
    cdef int overflow = 0
    cdef long long small = PyLong_AsLongLongAndOverflow(value, &overflow)
    cdef bytes digits = b""
    if overflow == 0:
        return out.digits(small)
    if int.bit_length(value) <= MOST_INTEGER_BITS:
        rest = int.__abs__(value)
        while rest >= WHOLE_PIECE:
            rest, piece = divmod(rest, WHOLE_PIECE)
            digits = b"%0*d%b" % (PIECE, piece, digits)
        digits = b"%d%b" % (rest, digits)
        if PyBytes_GET_SIZE(digits) <= MOST_INTEGER_DIGITS:
            if overflow < 0:
                out.byte(b"-")
            return out.text(digits)
    raise OverflowError("too long")


cdef int write_float(Writer out, double value) except -1:
    cdef char* text
    if not isfinite(value):
        raise OverflowError("constant")
    text = PyOS_double_to_string(value, b"r", 0, Py_DTSF_ADD_DOT_0, NULL)
    try:
        return out.raw(text, strlen(text))
    finally:
        PyMem_Free(text)


cdef int write_value(Writer out, object value, Py_ssize_t deepest) except -1:
    if value is None:
        return out.text(b"null")
    if value is True:
        return out.text(b"true")
    if value is False:
        return out.text(b"false")
    if PyUnicode_Check(value):
        return write_string(out, value)
    if PyLong_Check(value):
        return write_integer(out, value)
    if PyFloat_Check(value):
        return write_float(out, PyFloat_AS_DOUBLE(value))
    if not isinstance(value, (dict, list, tuple)):
        raise ValueError(f"{type(value).__name__} is no type that JSON has")
    if deepest == 0:
        raise OverflowError("too deep")
    if Py_EnterRecursiveCall(b" while a value is written as JSON"):
        return -1
    try:
        if isinstance(value, dict):
            write_object(out, value, deepest - 1)
        else:
            write_array(out, value, deepest - 1)
    finally:
        Py_LeaveRecursiveCall()
    return 0


cdef int write_object(Writer out, object value, Py_ssize_t deepest) except -1:
    # A derived class may have an order of its own.
    cdef dict fields = value if type(value) is dict else dict(value.items())
    cdef bint first = True
    out.byte(b"{")
    for key, item in fields.items():
        if not PyUnicode_Check(key):
            raise ValueError("a key is no string")
        if not first:
            out.byte(b",")
        first = False
        write_string(out, key)
        out.byte(b":")
        write_value(out, item, deepest)
    return out.byte(b"}")


cdef int write_array(Writer out, object value, Py_ssize_t deepest) except -1:
    cdef bint first = True
    out.byte(b"[")
    for item in value:
        if not first:
            out.byte(b",")
        first = False
        write_value(out, item, deepest)
    return out.byte(b"]")


def json_dump(value, Py_ssize_t deepest):
    cdef Writer out = Writer()
    write_value(out, value, deepest)
    return out.take()


# Jobs as clients send them, where they are plain; what is not is left to those who see everything.

# 365 days in ms, as in identifiers.MAX_INTERVAL.
cdef int64_t LONGEST_INTERVAL = 31536000000
cdef int64_t LARGEST_LIMIT = 999999999999999999
cdef Py_ssize_t PAYLOAD_DEPTH = 500
cdef const char* BOUND = b"max_queued_length"
cdef Py_ssize_t BOUND_SIZE = 17


# Behind the integer of up to 18 digits that begins here, which goes into `value`; NULL where there
# is none.
cdef const char* after_integer(const char* at, const char* end, int64_t* value) noexcept:
    cdef bint negative = is_at(at, end, b"-")
    cdef const char* begin
    at += negative
    begin = at
    value[0] = 0
    while at < end and is_digit(at[0]) and at - begin < 18:
        value[0] = value[0] * 10 + at[0] - 48
        at += 1
    if at == begin or (begin[0] == b"0" and at - begin > 1):
        return NULL
    if negative:
        value[0] = -value[0]
    # What goes on as a number is caught by whoever looks for the comma.
    return at


cdef bint has_bound(const char* data, Py_ssize_t size) noexcept:
    cdef const char* at = data
    cdef const char* last
    if size < BOUND_SIZE:
        return False
    last = data + size - BOUND_SIZE
    while at <= last:
        at = <const char*>memchr(at, b"m", last - at + 1)
        if at is NULL:
            return False
        if memcmp(at, BOUND, BOUND_SIZE) == 0:
            return True
        at += 1
    return False


cdef enum Field:
    NO_FIELD = 0
    QUEUE_TYPE = 1
    QUEUE_ID = 2
    JOB_ID = 4
    PAYLOAD = 8
    INTERVAL = 16
    REQUEUE_LIMIT = 32
    ALL_FIELDS = 63


cdef inline Field field_of(const char* name, Py_ssize_t size) noexcept:
    if size == 10 and memcmp(name, b"queue_type", 10) == 0:
        return QUEUE_TYPE
    if size == 8 and memcmp(name, b"queue_id", 8) == 0:
        return QUEUE_ID
    if size == 6 and memcmp(name, b"job_id", 6) == 0:
        return JOB_ID
    if size == 7 and memcmp(name, b"payload", 7) == 0:
        return PAYLOAD
    if size == 8 and memcmp(name, b"interval", 8) == 0:
        return INTERVAL
    if size == 13 and memcmp(name, b"requeue_limit", 13) == 0:
        return REQUEUE_LIMIT
    return NO_FIELD


# Behind the name in quotes that begins here, of `length` bytes; NULL where it is none.
cdef inline const char* after_quoted_name(const char* at, const char* end,
                                          Py_ssize_t* length) noexcept:
    if not is_at(at, end, b'"'):
        return NULL
    at += 1
    length[0] = name_at(at, end - at)
    at += length[0]
    return at + 1 if length[0] and is_at(at, end, b'"') else NULL


# The fields of the job in a JSON object of `size` bytes; where its queue is given, the object does
# not name it.
cdef object read_plain_job(const char* data, Py_ssize_t size, str queue_type, str queue_id,
                           Py_ssize_t max_payload_bytes, int64_t requeue_limit):
    cdef const char* end = data + size
    cdef const char* at = after_space(data, end)
    cdef const char* begin
    cdef Py_ssize_t length = 0
    cdef int seen = 0 if queue_type is None else QUEUE_TYPE | QUEUE_ID
    cdef Field field
    cdef int64_t interval = 0
    cdef str job_id = None
    cdef str name
    cdef bytes payload = None
    if not is_at(at, end, b"{"):
        return None
    while True:
        # after the brace or a comma
        begin = after_space(at + 1, end) + 1
        at = after_quoted_name(begin - 1, end, &length)
        if at is NULL:
            return None
        field = field_of(begin, length)
        if field == NO_FIELD or seen & field:
            return None
        seen |= field
        at = after_space(at, end)
        if not is_at(at, end, b":"):
            return None
        begin = at = after_space(at + 1, end)
        if field == PAYLOAD:
            at = after_value(begin, end, PAYLOAD_DEPTH)
            if at is NULL or at - begin > max_payload_bytes or has_bound(begin, at - begin):
                return None
            payload = PyBytes_FromStringAndSize(begin, at - begin)
        elif field == INTERVAL:
            at = after_integer(begin, end, &interval)
            if at is NULL or not 0 <= interval <= LONGEST_INTERVAL:
                return None
        elif field == REQUEUE_LIMIT:
            at = after_integer(begin, end, &requeue_limit)
            if at is NULL or not -1 <= requeue_limit <= LARGEST_LIMIT:
                return None
        else:
            at = after_quoted_name(begin, end, &length)
            if at is NULL:
                return None
            name = PyUnicode_DecodeASCII(begin + 1, length, NULL)
            if field == QUEUE_TYPE:
                queue_type = name
            elif field == QUEUE_ID:
                queue_id = name
            else:
                job_id = name
        at = after_space(at, end)
        if is_at(at, end, b"}"):
            break
        if not is_at(at, end, b","):
            return None
    if seen | REQUEUE_LIMIT != ALL_FIELDS:
        return None
    if after_space(at + 1, end) != end:
        return None
    return tuple.__new__(
        NewJob, (queue_type, queue_id, job_id, payload, interval, requeue_limit, None))


@cython.final
cdef class JobReader:
    cdef Py_ssize_t max_payload_bytes
    cdef int64_t requeue_limit

    def __cinit__(self, Py_ssize_t max_payload_bytes, int64_t requeue_limit):
        self.max_payload_bytes = max_payload_bytes
        self.requeue_limit = requeue_limit

    def one(self, bytes text not None, str queue_type not None, str queue_id not None):
        return read_plain_job(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text), queue_type,
                              queue_id, self.max_payload_bytes, self.requeue_limit)

    def many(self, entries):
        cdef Py_buffer view
        cdef list jobs = []
        for entry in entries:
            PyObject_GetBuffer(entry, &view, PyBUF_SIMPLE)
            try:
                jobs.append(read_plain_job(<const char*>view.buf, view.len, None, None,
                                           self.max_payload_bytes, self.requeue_limit))
            finally:
                PyBuffer_Release(&view)
        return jobs


# The payloads of websocket frames (RFC 6455, 5.3).

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


cdef extern from "Python.h":
    ctypedef struct _Type "PyTypeObject":
        const char* tp_name


# They are named by the path that users import them from.
(<_Type*>Job).tp_name = b"sharq.Job"
(<_Type*>Batch).tp_name = b"sharq.Batch"
