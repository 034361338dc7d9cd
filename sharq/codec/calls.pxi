# Script calls, each as one RESP2 command: `EVALSHA`, the digest, the keys, the arguments. What they
# are is written at the head of the script of the same name.
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.long cimport PyLong_Check
from cpython.tuple cimport PyTuple_Check, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport int64_t


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

    def extend(self, str queue_type, list leases not None, int64_t by, int64_t retention):
        cdef Writer out = self._out
        self._begin("extend", 3, 4 + 3 * len(leases))
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

    def release(self, str queue_type, list leases not None, int64_t delay, bint counted,
                int64_t retention, int64_t interval_retention):
        cdef Writer out = self._out
        self._begin("release", 5, 9 + 3 * len(leases))
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
