# Script calls, each as one RESP2 command: `EVALSHA`, the digest, the keys, the arguments. The
# script of the same name documents them.
cimport cython
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.long cimport PyLong_Check
from cpython.tuple cimport PyTuple_Check, PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport int64_t


# Only of an `int`: the conversion of another number runs foreign code, which must not see a
# half-packed call.
cdef inline int64_t integer_of(object value) except? -1:
    if not PyLong_Check(value):
        raise TypeError(f"expected int, got {type(value).__name__}")
    return value


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


@cython.final
cdef class Codec:
    cdef readonly Keyspace keys
    cdef dict _heads
    # The call under construction, and the tag of the type that it is about.
    cdef Writer _out
    cdef bytes _tag

    def __cinit__(self, str prefix not None, digests):
        self.keys = Keyspace(prefix)
        self._heads = {name: call_head(digest.encode()) for name, digest in digests.items()}
        self._out = Writer()

    cdef Writer _begin(self, str script, Py_ssize_t keys, Py_ssize_t arguments):
        cdef Writer out = self._out
        cdef bytes head = self._heads[script]
        out.used = 0
        out.used = put_line(out.room(23), b"*", 3 + keys + arguments) - out.data
        out.text(head)
        out.integer(keys)
        return out

    cdef Writer _begin_for(self, str script, str queue_type, Py_ssize_t keys,
                           Py_ssize_t arguments):
        self._tag = self.keys.tag(queue_type)
        return self._begin(script, keys, arguments)

    cdef int _key(self, bytes suffix, str name) except -1:
        return self._out.compound(self._tag, suffix, name)

    cdef int _channel(self, str server_id) except -1:
        return self._out.compound(self.keys._wake, b"", server_id)

    cdef int _type_keys(self) except -1:
        self._key(VOID, "")
        self._key(READY, "")
        return self._key(LEASES, "")

    cdef int _waiting_keys(self) except -1:
        self._key(VOID, "")
        self._key(READY, "")
        return self._key(WAITING, "")

    cdef int _lease_keys(self) except -1:
        self._key(VOID, "")
        self._key(LEASES, "")
        return self._key(HELD, "")

    # The keys of a queue, or with "" their prefixes.
    cdef int _queue_keys(self, str queue_id) except -1:
        self._key(QUEUE, queue_id)
        self._key(JOBS, queue_id)
        self._key(RETURNED, queue_id)
        return self._key(DELAYED, queue_id)

    # A bound on the length of a queue, or none.
    cdef int _length(self, object most) except -1:
        return self._out.nothing() if most is None else self._out.integer(integer_of(most))

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

    # In the order of the files in lua/

    def cancel(self, str queue_type, list leases not None, int64_t retention,
               int64_t interval_retention):
        cdef Writer out = self._begin_for("cancel", queue_type, 4, 7 + 3 * len(leases))
        self._type_keys()
        self._key(HELD, "")
        self._queue_keys("")
        self._key(MARKS, "")
        out.integer(retention)
        out.integer(interval_retention)
        self._leased(leases)
        return out.take()

    def claim_sweep(self, int64_t hold):
        cdef Writer out = self._begin("claim_sweep", 1, 1)
        out.blob(self.keys._own_tag + SWEEP)
        out.integer(hold)
        return out.take()

    def clear(self, str queue_type, str queue_id, int64_t interval_retention, bint purge):
        cdef Writer out = self._begin_for("clear", queue_type, 8, 3)
        self._type_keys()
        self._key(HELD, "")
        self._queue_keys(queue_id)
        out.integer(interval_retention)
        out.word(queue_id)
        out.integer(1 if purge else 0)
        return out.take()

    def dequeue(self, str queue_type, int64_t count, int64_t lease_ms, int64_t max_bytes,
                str request_id=None, str server_id=None, int64_t seq=0, bint more=False):
        # A server's call without a client's request leaves a mark of its own.
        cdef str mark = server_id if request_id is None else request_id
        cdef Writer out = self._begin_for("dequeue", queue_type, 6 if mark is None else 7, 12)
        self._type_keys()
        self._key(HELD, "")
        self._key(SERIAL, "")
        self._key(WAITING, "")
        if mark is not None:
            self._key(REQUEST, mark)
        self._queue_keys("")
        self._key(COUNTERS, "")
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

    def enqueue(self, str queue_type, jobs):
        # A sequence may run foreign code, which must not see a half-packed call.
        cdef list rows = list(jobs)
        cdef Writer out = self._begin_for("enqueue", queue_type, 4, 3 + 6 * len(rows))
        self._key(VOID, "")
        self._key(READY, "")
        self._key(HELD, "")
        self._key(WAITING, "")
        self._key(QUEUE, "")
        self._key(JOBS, "")
        self._key(COUNTERS, "")
        for job in rows:
            check_fields(job, 7)
            out.word(<str>PyTuple_GET_ITEM(job, 1))
            out.word(<str>PyTuple_GET_ITEM(job, 2))
            out.blob(<bytes?><object>PyTuple_GET_ITEM(job, 3))
            out.integer(integer_of(<object>PyTuple_GET_ITEM(job, 4)))
            out.integer(integer_of(<object>PyTuple_GET_ITEM(job, 5)))
            self._length(<object>PyTuple_GET_ITEM(job, 6))
        return out.take()

    def extend(self, str queue_type, list leases not None, int64_t by, int64_t retention):
        cdef Writer out = self._begin_for("extend", queue_type, 3, 4 + 3 * len(leases))
        self._lease_keys()
        self._key(MARKS, "")
        out.integer(retention)
        self._key(REQUEST, "")
        out.integer(by)
        self._leased(leases)
        return out.take()

    def finish(self, str queue_type, str queue_id, str job_id, str n, int64_t retention,
               int64_t interval_retention):
        cdef Writer out = self._begin_for("finish", queue_type, 4, 6)
        self._lease_keys()
        self._key(QUEUE, queue_id)
        self._key(MARKS, "")
        out.integer(retention)
        out.integer(interval_retention)
        out.word(queue_id)
        out.word(job_id)
        out.word(n)
        return out.take()

    def finish_many(self, str queue_type, list leases not None, int64_t retention,
                    int64_t interval_retention):
        cdef Writer out = self._begin_for("finish_many", queue_type, 3, 4 + 3 * len(leases))
        self._lease_keys()
        self._key(QUEUE, "")
        self._key(MARKS, "")
        out.integer(retention)
        out.integer(interval_retention)
        self._leased(leases)
        return out.take()

    def hand_on(self, str queue_type, str server_id not None, int64_t offered):
        cdef Writer out = self._begin_for("hand_on", queue_type, 3, 2)
        self._waiting_keys()
        self._channel(server_id)
        out.integer(offered)
        return out.take()

    def interval(self, str queue_type, str queue_id, int64_t interval,
                 int64_t interval_retention):
        cdef Writer out = self._begin_for("interval", queue_type, 5, 3)
        self._waiting_keys()
        self._key(QUEUE, queue_id)
        self._key(DELAYED, queue_id)
        out.integer(interval_retention)
        out.word(queue_id)
        out.integer(interval)
        return out.take()

    def interval_reset(self, str queue_type, str queue_id, int64_t interval_retention):
        cdef Writer out = self._begin_for("interval_reset", queue_type, 2, 1)
        self._key(VOID, "")
        self._key(QUEUE, queue_id)
        out.integer(interval_retention)
        return out.take()

    def list_jobs(self, str queue_type, str queue_id, str part, int64_t start, int64_t seen,
                  int64_t count, int64_t max_bytes):
        cdef Writer out = self._begin_for("list_jobs", queue_type, 5, 5)
        self._key(VOID, "")
        self._queue_keys(queue_id)
        out.word(part)
        out.integer(start)
        out.integer(seen)
        out.integer(count)
        out.integer(max_bytes)
        return out.take()

    def list_queues(self, str queue_type, bint waiting, str cursor, int64_t count):
        cdef Writer out = self._begin_for("list_queues", queue_type, 3, 3)
        self._type_keys()
        out.integer(1 if waiting else 0)
        out.word(cursor)
        out.integer(count)
        return out.take()

    def list_types(self, str cursor, int64_t count):
        cdef Writer out = self._begin("list_types", 1, 2)
        out.blob(self.keys._registry)
        out.word(cursor)
        out.integer(count)
        return out.take()

    def offer(self, str queue_type, str server_id not None, int64_t wanted, int64_t offered,
              int64_t offer_ms):
        cdef Writer out = self._begin_for("offer", queue_type, 3, 5)
        self._waiting_keys()
        self._key(QUEUE, "")
        self._channel(server_id)
        out.integer(wanted)
        out.integer(offered)
        out.integer(offer_ms)
        return out.take()

    def ping(self):
        return self._begin("ping", 0, 0).take()

    def queue_length(self, str queue_type, str queue_id):
        cdef Writer out = self._begin_for("queue_length", queue_type, 2, 0)
        self._key(VOID, "")
        self._key(QUEUE, queue_id)
        return out.take()

    def queue_metrics(self, str queue_type, str queue_id):
        cdef Writer out = self._begin_for("queue_metrics", queue_type, 3, 2)
        self._key(VOID, "")
        self._key(READY, "")
        self._key(QUEUE, queue_id)
        self._key(COUNTERS, "")
        out.word(queue_id)
        return out.take()

    def register(self, str queue_type):
        cdef Writer out = self._begin("register", 1, 1)
        out.blob(self.keys._registry)
        out.word(queue_type)
        return out.take()

    def release(self, str queue_type, list leases not None, int64_t delay, bint counted,
                int64_t retention, int64_t interval_retention):
        cdef Writer out = self._begin_for("release", queue_type, 5, 9 + 3 * len(leases))
        self._type_keys()
        self._key(HELD, "")
        self._key(WAITING, "")
        self._queue_keys("")
        self._key(MARKS, "")
        out.integer(retention)
        out.integer(interval_retention)
        out.integer(delay)
        out.integer(1 if counted else 0)
        self._leased(leases)
        return out.take()

    def requeue(self, str queue_type, int64_t batch, int64_t retention,
                int64_t interval_retention):
        cdef Writer out = self._begin_for("requeue", queue_type, 5, 9)
        self._type_keys()
        self._key(HELD, "")
        self._key(WAITING, "")
        self._queue_keys("")
        self._key(COUNTERS, "")
        self._key(MARKS, "")
        out.integer(retention)
        out.integer(interval_retention)
        out.integer(batch)
        return out.take()

    def rights(self, str server_id not None):
        cdef Writer out = self._begin("rights", 0, 3)
        out.blob(self.keys.tag(NOBODYS_TYPE) + PROBE)
        out.blob(self.keys._own_tag + PROBE)
        self._channel(server_id)
        return out.take()

    def status(self, str queue_type, str queue_id, str job_id, int64_t retention):
        cdef Writer out = self._begin_for("status", queue_type, 8, 4)
        self._type_keys()
        self._key(HELD, "")
        self._queue_keys(queue_id)
        self._key(MARKS, "")
        out.integer(retention)
        out.word(queue_id)
        out.word(job_id)
        return out.take()

    def type_metrics(self, str queue_type):
        cdef Writer out = self._begin_for("type_metrics", queue_type, 3, 1)
        self._type_keys()
        self._key(COUNTERS, "")
        return out.take()

    def unregister(self, str queue_type, int64_t age):
        cdef Writer out = self._begin("unregister", 1, 2)
        out.blob(self.keys._registry)
        out.word(queue_type)
        out.integer(age)
        return out.take()
