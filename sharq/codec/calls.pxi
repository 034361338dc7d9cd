# Script calls, each as one RESP2 command: `EVALSHA`, the digest, the keys, the arguments. The
# script of the same name documents them.
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

    # Those of scripts that end leases in every way.
    cdef int _ending_keys(self) except -1:
        self._type_keys()
        self._key(HELD, "")
        self._key(WAITING, "")
        return self._key(LIMIT, "")

    # What a change of a limit or of a pause touches, with the prefixes of its queues.
    cdef int _level_keys(self) except -1:
        self._type_keys()
        self._key(WAITING, "")
        self._key(LIMIT, "")
        self._key(QUEUE, "")
        return self._key(DELAYED, "")

    # The keys of a queue, or with "" their prefixes.
    cdef int _queue_keys(self, str queue_id) except -1:
        self._key(QUEUE, queue_id)
        self._key(JOBS, queue_id)
        self._key(RETURNED, queue_id)
        return self._key(DELAYED, queue_id)

    # Keys that a script seldom needs, in one word: each word of a call costs.
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
    cdef int _length(self, object most) except -1:
        return self._out.nothing() if most is None else self._out.integer(integer_of(most))

    # An interval: whole, or with decimals.
    cdef int _interval(self, object value) except -1:
        if PyFloat_Check(value):
            return self._out.blob(decimal_text(value))
        return self._out.integer(integer_of(value))

    # A value of a limit: one that is left as it is, is given back, or is set.
    cdef int _setting(self, object value) except -1:
        if value is None:
            return self._out.nothing()
        if value is REMOVE:
            return self._out.bulk(b"-", 1)
        if PyUnicode_Check(value):
            return self._out.word(value)
        return self._interval(value)

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
        cdef Writer out = self._begin_for("cancel", queue_type, 6, 7 + 3 * len(leases))
        self._ending_keys()
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
        cdef Writer out = self._begin_for("clear", queue_type, 10, 3)
        self._type_keys()
        self._key(HELD, "")
        self._queue_keys(queue_id)
        self._key(WAITING, "")
        self._key(LIMIT, "")
        out.integer(interval_retention)
        out.word(queue_id)
        out.integer(1 if purge else 0)
        return out.take()

    def dequeue(self, str queue_type, int64_t count, int64_t lease_ms, int64_t max_bytes,
                str request_id=None, str server_id=None, int64_t seq=0, bint more=False):
        # A server's call without a client's request leaves a mark of its own.
        cdef str mark = server_id if request_id is None else request_id
        cdef Writer out = self._begin_for("dequeue", queue_type, 7 if mark is None else 8, 12)
        self._type_keys()
        self._key(HELD, "")
        self._key(SERIAL, "")
        self._key(WAITING, "")
        self._key(LIMIT, "")
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

    def dry_run(self, str queue_type, str kind, str name, new_interval, new_burst,
                new_concurrency, new_group):
        cdef Writer out = self._begin_for("dry_run", queue_type, 4, 9)
        self._type_keys()
        self._key(LIMIT, "")
        self._key(QUEUE, "")
        self._key(DELAYED, "")
        self._key(JOBS, "")
        out.word(kind)
        out.word(name)
        self._setting(new_interval)
        self._setting(new_burst)
        self._setting(new_concurrency)
        self._setting(new_group)
        return out.take()

    def enqueue(self, str queue_type, jobs):
        # A sequence may run foreign code, which must not see a half-packed call; so may options.
        cdef list rows = list(jobs)
        cdef list words = options_of(rows)
        cdef Py_ssize_t at
        cdef Writer out = self._begin_for("enqueue", queue_type, 5, 4 + 6 * len(rows))
        self._key(VOID, "")
        self._key(READY, "")
        self._key(HELD, "")
        self._key(WAITING, "")
        self._key(LIMIT, "")
        self._key(QUEUE, "")
        self._key(JOBS, "")
        self._key(COUNTERS, "")
        self._seldom(RETURNED, DELAYED)
        for at in range(PyList_GET_SIZE(rows)):
            job = <object>PyList_GET_ITEM(rows, at)
            out.word(<str>PyTuple_GET_ITEM(job, 1))
            out.word(<str>PyTuple_GET_ITEM(job, 2))
            out.blob(<bytes?><object>PyTuple_GET_ITEM(job, 3))
            self._interval(<object>PyTuple_GET_ITEM(job, 4))
            out.integer(integer_of(<object>PyTuple_GET_ITEM(job, 5)))
            if words is None or words[at] is None:
                self._length(<object>PyTuple_GET_ITEM(job, 6))
            else:
                out.word(<str>words[at])
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
        cdef Writer out = self._begin_for("finish", queue_type, 5, 7)
        self._lease_keys()
        self._key(QUEUE, queue_id)
        self._key(LIMIT, "")
        self._key(MARKS, "")
        out.integer(retention)
        out.integer(interval_retention)
        out.word(queue_id)
        out.word(job_id)
        out.word(n)
        self._seldom(READY, WAITING, DELAYED)
        return out.take()

    def finish_many(self, str queue_type, list leases not None, int64_t retention,
                    int64_t interval_retention):
        cdef Writer out = self._begin_for("finish_many", queue_type, 4, 5 + 3 * len(leases))
        self._lease_keys()
        self._key(LIMIT, "")
        self._key(QUEUE, "")
        self._key(MARKS, "")
        out.integer(retention)
        out.integer(interval_retention)
        self._seldom(READY, WAITING, DELAYED)
        self._leased(leases)
        return out.take()

    def hand_on(self, str queue_type, str server_id not None, int64_t offered):
        cdef Writer out = self._begin_for("hand_on", queue_type, 4, 2)
        self._waiting_keys()
        self._key(LIMIT, "")
        self._channel(server_id)
        out.integer(offered)
        return out.take()

    def interval(self, str queue_type, str queue_id, interval, int64_t interval_retention):
        cdef Writer out = self._begin_for("interval", queue_type, 5, 4)
        self._waiting_keys()
        self._key(LIMIT, "")
        self._key(QUEUE, queue_id)
        self._key(DELAYED, "")
        out.integer(interval_retention)
        out.word(queue_id)
        self._interval(interval)
        return out.take()

    def interval_reset(self, str queue_type, str queue_id, int64_t interval_retention):
        cdef Writer out = self._begin_for("interval_reset", queue_type, 2, 1)
        self._key(VOID, "")
        self._key(QUEUE, queue_id)
        out.integer(interval_retention)
        return out.take()

    def limits(self, str queue_type, str kind, str name, new_interval, new_burst,
               new_concurrency, new_group, reason, int64_t interval_retention):
        cdef Writer out = self._begin_for("limits", queue_type, 5, 10)
        self._level_keys()
        out.integer(interval_retention)
        out.word(kind)
        out.word(name)
        self._setting(new_interval)
        self._setting(new_burst)
        self._setting(new_concurrency)
        self._setting(new_group)
        self._setting(reason)
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

    def list_queues(self, str queue_type, str part, str group, str cursor, int64_t count):
        cdef Writer out = self._begin_for("list_queues", queue_type, 4, 4)
        self._type_keys()
        self._key(LIMIT, "")
        out.word(part)
        out.word(group)
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
        cdef Writer out = self._begin_for("offer", queue_type, 4, 5)
        self._waiting_keys()
        self._key(LIMIT, "")
        self._key(QUEUE, "")
        self._channel(server_id)
        out.integer(wanted)
        out.integer(offered)
        out.integer(offer_ms)
        return out.take()

    def pause(self, str queue_type, str kind, str name, ms, str reason, str set_by,
              int64_t interval_retention):
        cdef Writer out = self._begin_for("pause", queue_type, 5, 8)
        self._level_keys()
        out.integer(interval_retention)
        out.word(kind)
        out.word(name)
        self._setting(ms)
        out.word(reason)
        out.word(set_by)
        return out.take()

    def ping(self):
        return self._begin("ping", 0, 0).take()

    def queue_length(self, str queue_type, str queue_id):
        cdef Writer out = self._begin_for("queue_length", queue_type, 2, 0)
        self._key(VOID, "")
        self._key(QUEUE, queue_id)
        return out.take()

    def queue_metrics(self, str queue_type, str queue_id):
        cdef Writer out = self._begin_for("queue_metrics", queue_type, 5, 2)
        self._key(VOID, "")
        self._key(READY, "")
        self._key(QUEUE, queue_id)
        self._key(DELAYED, queue_id)
        self._key(LIMIT, "")
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
        cdef Writer out = self._begin_for("release", queue_type, 6, 9 + 3 * len(leases))
        self._ending_keys()
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
        cdef Writer out = self._begin_for("requeue", queue_type, 6, 9)
        self._ending_keys()
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

    def settle(self, str queue_type, list told not None, int64_t retention,
               int64_t interval_retention):
        cdef Writer out = self._begin_for("settle", queue_type, 6, 7 + 8 * len(told))
        cdef Py_ssize_t at, place
        self._ending_keys()
        self._queue_keys("")
        self._key(MARKS, "")
        out.integer(retention)
        out.integer(interval_retention)
        for at in range(PyList_GET_SIZE(told)):
            row = <object>PyList_GET_ITEM(told, at)
            check_fields(row, 8)
            for place in range(8):
                out.word(<str>PyTuple_GET_ITEM(row, place))
        return out.take()

    def show_limits(self, str queue_type, str kind, str name):
        cdef Writer out = self._begin_for("show_limits", queue_type, 4, 4)
        self._type_keys()
        self._key(LIMIT, "")
        self._key(QUEUE, "")
        self._key(DELAYED, "")
        out.word(kind)
        out.word(name)
        return out.take()

    def status(self, str queue_type, str queue_id, str job_id, int64_t retention):
        cdef Writer out = self._begin_for("status", queue_type, 9, 4)
        self._type_keys()
        self._key(HELD, "")
        self._queue_keys(queue_id)
        self._key(LIMIT, "")
        self._key(MARKS, "")
        out.integer(retention)
        out.word(queue_id)
        out.word(job_id)
        return out.take()

    def type_metrics(self, str queue_type):
        cdef Writer out = self._begin_for("type_metrics", queue_type, 4, 1)
        self._type_keys()
        self._key(LIMIT, "")
        self._key(COUNTERS, "")
        return out.take()

    def unregister(self, str queue_type, int64_t age):
        cdef Writer out = self._begin("unregister", 1, 2)
        out.blob(self.keys._registry)
        out.word(queue_type)
        out.integer(age)
        return out.take()
