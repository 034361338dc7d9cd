# Replies of the store: outcomes of enqueues, and leased jobs, as objects or as JSON for a client. A
# reply is kept as it came, and may have been changed before it is read again.
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport int64_t

from sharq.results import Enqueued

# The answer of a dequeue begins with wait, rank and since; then it has of each job: queue_id job_id
# n left attempt length payload interval. An interval with decimals comes as text, one with a burst
# as `interval*burst`.
cdef enum:
    HEAD = 3
    FIELDS = 8


# Where the fields of a job begin.
cdef inline Py_ssize_t place_of(Py_ssize_t job) noexcept:
    return HEAD + job * FIELDS


# The buffer of answers: no foreign code runs between its first and its last word.
cdef Writer ANSWER = Writer()


cdef inline bint is_text(list reply, Py_ssize_t at) noexcept:
    return is_bytes(PyList_GET_ITEM(reply, at))


cdef inline bint is_number(list reply, Py_ssize_t at) noexcept:
    return is_int(PyList_GET_ITEM(reply, at))


# The length of the interval in a text: digits, a point, digits, and with a burst behind it a star
# and digits, where the interval may be whole. -1 if it is no such text.
cdef Py_ssize_t interval_size(list reply, Py_ssize_t at) noexcept:
    cdef const char* text
    cdef Py_ssize_t size, place
    cdef Py_ssize_t point = 0
    cdef Py_ssize_t star = 0
    if not is_text(reply, at):
        return -1
    text = PyBytes_AS_STRING(<bytes>PyList_GET_ITEM(reply, at))
    size = PyBytes_GET_SIZE(<bytes>PyList_GET_ITEM(reply, at))
    for place in range(size):
        if b"0" <= text[place] <= b"9":
            continue
        if place == 0 or not b"0" <= text[place - 1] <= b"9":
            return -1
        if text[place] == b"*" and star == 0:
            star = place
        elif text[place] == b"." and point == star == 0:
            point = place
        else:
            return -1
    if point == star == 0 or not b"0" <= text[size - 1] <= b"9":
        return -1
    return star or size


cdef inline bint is_interval(list reply, Py_ssize_t at) noexcept:
    return is_number(reply, at) or interval_size(reply, at) >= 0


# A list may have been changed since it was checked.
cdef int changed() except -1:
    raise ValueError("the reply has changed")


cdef inline bytes field(list reply, Py_ssize_t at):
    if at >= PyList_GET_SIZE(reply) or not is_text(reply, at):
        changed()
    return <bytes>PyList_GET_ITEM(reply, at)


cdef inline int64_t integer_at(list reply, Py_ssize_t at) except? -1:
    if at >= PyList_GET_SIZE(reply) or not is_number(reply, at):
        changed()
    return <object>PyList_GET_ITEM(reply, at)


cdef inline object interval_of(list reply, Py_ssize_t at):
    if at >= PyList_GET_SIZE(reply) or not is_interval(reply, at):
        changed()
    value = <object>PyList_GET_ITEM(reply, at)
    if type(value) is not bytes:
        return value
    value = value.partition(b"*")[0]
    return float(value) if b"." in value else int(value)


# Of an interval that was looked at.
cdef inline object burst_of(list reply, Py_ssize_t at):
    value = <object>PyList_GET_ITEM(reply, at)
    return int(value.partition(b"*")[2] or 1) if type(value) is bytes else 1


# The words of most replies, as text.
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
    cdef readonly str queue_type
    cdef readonly str queue_id
    cdef readonly str job_id
    cdef readonly bytes payload
    cdef readonly int64_t requeues_remaining
    cdef readonly int64_t attempt
    cdef readonly int64_t current_queue_length
    cdef readonly object interval
    cdef readonly object burst
    cdef readonly str lease

    def __repr__(self):
        return f"<Job {self.lease} attempt={self.attempt}>"

    # For processes that pass jobs to each other: a job is the one in a batch.
    def __reduce__(self):
        number = self.lease.rpartition("/")[2]
        interval = self.interval
        if PyFloat_Check(interval) or self.burst > 1:
            interval = decimal_text(interval)
        if self.burst > 1:
            interval += b"*%d" % self.burst
        reply = [
            -1, 0, -1, self.queue_id.encode(), self.job_id.encode(), number.encode(),
            b"%d" % self.requeues_remaining, self.attempt, self.current_queue_length, self.payload,
            interval,
        ]
        return _only_job, (Batch(self.queue_type, reply),)


@cython.final
@cython.freelist(8)
cdef class Batch:
    cdef readonly str queue_type
    cdef list _reply
    cdef list _jobs
    cdef Py_ssize_t _count

    @cython.cdivision(True)
    def __cinit__(self, str queue_type not None, list reply not None):
        cdef Py_ssize_t size = PyList_GET_SIZE(reply)
        cdef Py_ssize_t count = (size - HEAD) // FIELDS
        cdef Py_ssize_t job, at
        cdef bint fits = (
            size == place_of(count)
            and is_number(reply, 0) and is_number(reply, 1) and is_number(reply, 2)
        )
        # The code that reads the values later relies on their types.
        for job in range(count):
            at = place_of(job)
            fits = fits and (
                is_text(reply, at) and is_text(reply, at + 1) and is_text(reply, at + 2)
                and is_text(reply, at + 3) and is_number(reply, at + 4)
                and is_number(reply, at + 5) and is_text(reply, at + 6)
                and is_interval(reply, at + 7)
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

    @property
    def head_ms(self):
        head = self._reply[1]
        return None if self._reply[0] != 0 or head <= 0 else head - 1

    @property
    def repeats(self):
        return self._reply[0] == 0 and self._reply[1] == 0

    @property
    def ready_ms(self):
        ready = self._reply[2]
        return None if ready < 0 else ready

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
                job.attempt = integer_at(reply, at + 4)
                job.current_queue_length = integer_at(reply, at + 5)
                job.payload = field(reply, at + 6)
                job.interval = interval_of(reply, at + 7)
                job.burst = burst_of(reply, at + 7)
                jobs.append(job)
            self._jobs = jobs
        return self._jobs

    cdef int _write_job(self, Writer out, Py_ssize_t at) except -1:
        cdef list reply = self._reply
        cdef int64_t length = integer_at(reply, at + 5)
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

    cdef int _write_interval(self, Writer out, Py_ssize_t at) except -1:
        cdef list reply = self._reply
        cdef Py_ssize_t size = -1
        cdef bytes told
        if at < PyList_GET_SIZE(reply):
            size = interval_size(reply, at)
        if size < 0:
            return out.digits(integer_at(reply, at))
        told = field(reply, at)
        out.raw(PyBytes_AS_STRING(told), size)
        if size < PyBytes_GET_SIZE(told):
            out.text(b',"burst":')
            out.raw(PyBytes_AS_STRING(told) + size + 1, PyBytes_GET_SIZE(told) - size - 1)
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
        cdef int64_t attempt
        self._check(start, stop)
        out.used = 0
        out.byte(b"[")
        for job in range(start, stop):
            at = place_of(job)
            out.text(b",{") if job > start else out.byte(b"{")
            self._write_job(out, at)
            attempt = integer_at(self._reply, at + 4)
            out.text(b',"attempt":')
            out.digits(attempt)
            out.text(b',"lease_ms":')
            out.digits(lease_ms)
            out.text(b',"interval":')
            self._write_interval(out, at + 7)
            out.byte(b"}")
        out.byte(b"]")
        return out.take()


def joined(str queue_type not None, list batches not None, wait_us):
    cdef list reply = [-1 if wait_us is None else wait_us, 0, -1]
    cdef Batch batch
    for batch in batches:
        if PyList_GET_SIZE(reply) == HEAD and batch._count:
            reply[2] = batch._reply[2]
        reply += batch._reply[HEAD:]
    return Batch(queue_type, reply)


def _only_job(Batch batch not None):
    return batch.jobs[0]


cdef extern from "Python.h":
    ctypedef struct _Type "PyTypeObject":
        const char* tp_name


# They are named by the users' import path.
(<_Type*>Job).tp_name = b"sharq.Job"
(<_Type*>Batch).tp_name = b"sharq.Batch"
