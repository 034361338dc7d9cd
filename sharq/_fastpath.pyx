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


from sharq.results import Enqueued, NewJob


cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL
    bint PyUnicode_IS_ASCII(object text)
    bint is_bytes "PyBytes_CheckExact"(PyObject* value)
    bint is_int "PyLong_CheckExact"(PyObject* value)
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
        if self.used + size > self.capacity:
            self.grow(size)
        return self.data + self.used

    cdef int grow(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t capacity = self.capacity
        cdef char* data
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
                str request_id=None, str server_id=None, int64_t seq=0):
        cdef Writer out = self._out
        # A server's call that is for no request of a client leaves a mark of its own.
        cdef str mark = server_id if request_id is None else request_id
        self._begin("dequeue", 6 if mark is None else 7, 11)
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
            out.integer(max_length)
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
            out.integer(<object>PyTuple_GET_ITEM(job, 4))
            out.integer(<object>PyTuple_GET_ITEM(job, 5))
            max_length = <object>PyTuple_GET_ITEM(job, 6)
            if max_length is None:
                out.nothing()
            else:
                out.integer(max_length)
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

    def hand_on(self, str queue_type, str server_id not None):
        self._begin("hand_on", 3, 1)
        self._waiting_keys(queue_type)
        self._channel(server_id)
        return self._out.take()

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
# attempt length payload.
cdef enum:
    HEAD = 2
    FIELDS = 7


# Where the fields of a job begin.
cdef inline Py_ssize_t place_of(Py_ssize_t job) noexcept:
    return HEAD + job * FIELDS


# Where answers are put together: between its first and its last word no code of others runs.
cdef Writer ANSWER = Writer()


cdef inline bint is_text(list reply, Py_ssize_t at) noexcept:
    return is_bytes(PyList_GET_ITEM(reply, at))


cdef inline bint is_number(list reply, Py_ssize_t at) noexcept:
    return is_int(PyList_GET_ITEM(reply, at))


cdef inline bytes field(list reply, Py_ssize_t at):
    return <bytes>PyList_GET_ITEM(reply, at)


# The words that most replies have, as text.
cdef dict WORDS = {word.encode(): word for word in ("queued", "duplicate", "conflict", "full")}


def enqueued(list reply not None):
    cdef list outcomes = []
    cdef Py_ssize_t at
    for at in range(0, PyList_GET_SIZE(reply) - 1, 2):
        outcomes.append(tuple.__new__(Enqueued, (WORDS[reply[at]], reply[at + 1])))
    return outcomes


cdef inline str text_of(bytes value):
    return PyUnicode_DecodeASCII(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), NULL)


@cython.final
@cython.freelist(32)
cdef class Job:
    def __repr__(self):
        return f"<Job {self.lease} attempt={self.attempt}>"


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
            )
        if not fits:
            raise ValueError("this is no answer of a dequeue")
        self.queue_type = queue_type
        self._reply = reply
        self._jobs = None
        self._count = count

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
                job.attempt = <object>PyList_GET_ITEM(reply, at + 4)
                job.current_queue_length = <object>PyList_GET_ITEM(reply, at + 5)
                job.payload = field(reply, at + 6)
                jobs.append(job)
            self._jobs = jobs
        return self._jobs

    cdef int _write_job(self, Writer out, Py_ssize_t at) except -1:
        cdef list reply = self._reply
        cdef int64_t length = <object>PyList_GET_ITEM(reply, at + 5)
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
        cdef Py_ssize_t at
        cdef int64_t attempt
        self._check(start, stop)
        out.used = 0
        out.byte(b"[")
        for at in range(start, stop):
            out.text(b",{") if at > start else out.byte(b"{")
            self._write_job(out, place_of(at))
            attempt = <object>PyList_GET_ITEM(self._reply, place_of(at) + 4)
            out.text(b',"attempt":')
            out.digits(attempt)
            out.text(b',"lease_ms":')
            out.digits(lease_ms)
            out.byte(b"}")
        out.byte(b"]")
        return out.take()


def json_depth(bytes text not None):
    cdef const char* data = PyBytes_AS_STRING(text)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
    cdef Py_ssize_t at = 0
    cdef Py_ssize_t depth = 0
    cdef Py_ssize_t deepest = 0
    cdef bint quoted = False
    cdef char c
    while at < size:
        c = data[at]
        at += 1
        if quoted:
            if c == b"\\":
                at += 1
            elif c == b'"':
                quoted = False
        elif c == b'"':
            quoted = True
        elif c == b"[" or c == b"{":
            depth += 1
            if depth > deepest:
                deepest = depth
        elif c == b"]" or c == b"}":
            depth -= 1
    return deepest


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


# JSON text. A bytes object ends with a NUL that does not count: it ends every loop here, since it
# is no part of any value.

cdef enum:
    DEEPEST = 512


cdef inline bint is_digit(char c) noexcept:
    return b"0" <= c <= b"9"


cdef inline const char* after_space(const char* at) noexcept:
    while at[0] == b" " or at[0] == b"\n" or at[0] == b"\r" or at[0] == b"\t":
        at += 1
    return at


cdef inline const char* after_digits(const char* at) noexcept:
    """Behind one digit or more, or NULL."""
    if not is_digit(at[0]):
        return NULL
    while is_digit(at[0]):
        at += 1
    return at


cdef const char* after_number(const char* at) noexcept:
    if at[0] == b"-":
        at += 1
    if at[0] == b"0":
        at += 1
    else:
        at = after_digits(at)
        if at is NULL:
            return NULL
    if at[0] == b".":
        at = after_digits(at + 1)
        if at is NULL:
            return NULL
    if at[0] == b"e" or at[0] == b"E":
        at += 1
        if at[0] == b"+" or at[0] == b"-":
            at += 1
        at = after_digits(at)
    return at


# The number that four hexadecimal digits are, or -1.
cdef int four_hex(const char* at) noexcept:
    cdef int value = 0
    cdef int place
    cdef char c
    for place in range(4):
        c = at[place]
        if is_digit(c):
            value = value * 16 + c - 48
        elif b"a" <= (c | 32) <= b"f":
            value = value * 16 + (c | 32) - 87
        else:
            return -1
    return value


# Behind the escape that follows a backslash, or NULL; halves of a surrogate pair come in pairs.
cdef const char* after_escape(const char* at) noexcept:
    cdef int code
    cdef char c = at[0]
    if c == b"u":
        code = four_hex(at + 1)
        if code < 0 or 0xDC00 <= code <= 0xDFFF:
            return NULL
        if code < 0xD800 or code > 0xDFFF:
            return at + 5
        if at[5] != b"\\" or at[6] != b"u":
            return NULL
        return at + 11 if 0xDC00 <= four_hex(at + 7) <= 0xDFFF else NULL
    if c in b'"\\/bfnrt':
        return at + 1
    return NULL


# Behind one character of two to four bytes, or NULL (RFC 3629, section 4).
cdef const char* after_wide(const unsigned char* at) noexcept:
    cdef unsigned char lead = at[0]
    cdef unsigned char low = 0x80
    cdef unsigned char high = 0xBF
    cdef int more = 1
    if lead < 0xC2 or lead > 0xF4:
        return NULL
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
    if not low <= at[1] <= high:
        return NULL
    at += 2
    while more > 1:
        if (at[0] & 0xC0) != 0x80:
            return NULL
        at += 1
        more -= 1
    return <const char*>at


# Behind the string that begins here, or NULL.
cdef const char* after_string(const char* at) noexcept:
    cdef unsigned char c
    if at[0] != b'"':
        return NULL
    at += 1
    while at is not NULL:
        c = <unsigned char>at[0]
        if c == b'"':
            return at + 1
        if c == b"\\":
            at = after_escape(at + 1)
        elif c >= 0x80:
            at = after_wide(<const unsigned char*>at)
        elif c < 0x20:
            return NULL
        else:
            at += 1
    return NULL


# Behind a field's name and its colon, or NULL.
cdef const char* after_name(const char* at) noexcept:
    at = after_string(after_space(at))
    if at is NULL:
        return NULL
    at = after_space(at)
    return at + 1 if at[0] == b":" else NULL


# Behind the value that begins here, or NULL where it is no value or nests deeper than `deepest`.
cdef const char* after_value(const char* at, Py_ssize_t deepest) noexcept:
    cdef char[DEEPEST] closing
    cdef Py_ssize_t depth = 0
    cdef char c
    while True:
        c = at[0]
        if c == b"{" or c == b"[":
            if depth == deepest:
                return NULL
            closing[depth] = b"}" if c == b"{" else b"]"
            at = after_space(at + 1)
            depth += 1
            if at[0] != closing[depth - 1]:
                if c == b"{":
                    at = after_name(at)
                    if at is NULL:
                        return NULL
                    at = after_space(at)
                continue
        elif c == b'"':
            at = after_string(at)
        elif c == b"t":
            at = at + 4 if at[1] == b"r" and at[2] == b"u" and at[3] == b"e" else NULL
        elif c == b"n":
            at = at + 4 if at[1] == b"u" and at[2] == b"l" and at[3] == b"l" else NULL
        elif c == b"f":
            at = (at + 5 if at[1] == b"a" and at[2] == b"l" and at[3] == b"s" and at[4] == b"e"
                  else NULL)
        else:
            at = after_number(at)
        if at is NULL:
            return NULL
        while True:
            if depth == 0:
                return at
            at = after_space(at)
            if at[0] != closing[depth - 1]:
                break
            depth -= 1
            at += 1
        if at[0] != b",":
            return NULL
        at = at + 1 if closing[depth - 1] == b"]" else after_name(at + 1)
        if at is NULL:
            return NULL
        at = after_space(at)


def json_value(bytes text not None, Py_ssize_t deepest):
    cdef const char* begin = PyBytes_AS_STRING(text)
    cdef const char* start = after_space(begin)
    cdef const char* end
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
    if not 0 <= deepest <= DEEPEST:
        raise ValueError(f"a depth of 0 to {DEEPEST} can be looked for")
    end = after_value(start, deepest)
    if end is NULL or after_space(end) != begin + size:
        return None
    if end - start == size:
        return text
    return PyBytes_FromStringAndSize(start, end - start)


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
        encoded = PyUnicode_AsUTF8String(value)
        text = PyBytes_AS_STRING(encoded)
        size = PyBytes_GET_SIZE(encoded)
    # One character takes six bytes at most.
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


cdef int write_integer(Writer out, object value) except -1:
    cdef int overflow = 0
    cdef long long small = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow == 0:
        return out.digits(small)
    return out.text(int.__repr__(value).encode())


cdef int write_float(Writer out, double value) except -1:
    cdef char* text
    if not isfinite(value):
        raise ValueError("out of range float values are not JSON compliant")
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
        raise ValueError(f"can not serialize '{type(value).__name__}' object")
    if deepest == 0:
        raise OverflowError("nests too deep")
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
cdef const char* after_integer(const char* at, int64_t* value) noexcept:
    cdef bint negative = at[0] == b"-"
    cdef const char* begin
    at += negative
    begin = at
    value[0] = 0
    while is_digit(at[0]) and at - begin < 18:
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
    cdef const char* end = data + size - BOUND_SIZE
    while at <= end:
        at = <const char*>memchr(at, b"m", end - at + 1)
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


# The fields of the job in a JSON object of `size` bytes; where its queue is given, the object does
# not name it. The text ends with a NUL, or is known to be valid JSON.
cdef object read_plain_job(const char* data, Py_ssize_t size, str queue_type, str queue_id,
                           Py_ssize_t max_payload_bytes, int64_t requeue_limit):
    cdef const char* at = after_space(data)
    cdef const char* end = data + size
    cdef const char* begin
    cdef Py_ssize_t length
    cdef int seen = 0 if queue_type is None else QUEUE_TYPE | QUEUE_ID
    cdef Field field
    cdef int64_t interval = 0
    cdef str job_id = None
    cdef str name
    cdef bytes payload = None
    if at[0] != b"{":
        return None
    while True:
        # after the brace or a comma
        at = after_space(at + 1)
        if at[0] != b'"':
            return None
        length = name_at(at + 1, end - at - 1)
        if length == 0 or at[length + 1] != b'"':
            return None
        field = field_of(at + 1, length)
        if field == NO_FIELD or seen & field:
            return None
        seen |= field
        at = after_space(at + length + 2)
        if at[0] != b":":
            return None
        at = after_space(at + 1)
        if field == PAYLOAD:
            begin = at
            at = after_value(begin, PAYLOAD_DEPTH)
            if at is NULL or at - begin > max_payload_bytes or has_bound(begin, at - begin):
                return None
            payload = PyBytes_FromStringAndSize(begin, at - begin)
        elif field == INTERVAL:
            at = after_integer(at, &interval)
            if at is NULL or not 0 <= interval <= LONGEST_INTERVAL:
                return None
        elif field == REQUEUE_LIMIT:
            at = after_integer(at, &requeue_limit)
            if at is NULL or not -1 <= requeue_limit <= LARGEST_LIMIT:
                return None
        else:
            if at[0] != b'"':
                return None
            length = name_at(at + 1, end - at - 1)
            if length == 0 or at[length + 1] != b'"':
                return None
            name = PyUnicode_DecodeASCII(at + 1, length, NULL)
            at += length + 2
            if field == QUEUE_TYPE:
                queue_type = name
            elif field == QUEUE_ID:
                queue_id = name
            else:
                job_id = name
        at = after_space(at)
        if at[0] == b"}":
            break
        if at[0] != b",":
            return None
    if seen | REQUEUE_LIMIT != ALL_FIELDS:
        return None
    at += 1
    if at != end and after_space(at) != end:
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
