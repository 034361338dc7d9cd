# Keys, script calls and replies, as bytes. The documentation is in the stub, `_fastpath.pyi`.
from cpython.bytes cimport (
    PyBytes_AS_STRING,
    PyBytes_CheckExact,
    PyBytes_FromStringAndSize,
    PyBytes_GET_SIZE,
)
from cpython.list cimport PyList_GET_ITEM, PyList_GET_SIZE
from cpython.long cimport PyLong_CheckExact
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy


cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL


# A buffer that has grown larger than this is given back after use.
cdef Py_ssize_t KEEP = 1 << 16

# Every name of the keyspace is spelled here, once. What follows the hash tag of a type:
cdef bytes VOID = b":void"
cdef bytes READY = b":ready"
cdef bytes LEASES = b":leases"
cdef bytes SERIAL = b":serial"
cdef bytes QUEUE = b":q:"
cdef bytes ACTIVE = b":a:"
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


cdef class Writer:
    def __cinit__(self):
        self.capacity = 512
        self.used = 0
        self.data = <char*>PyMem_Malloc(self.capacity)
        if self.data is NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.data)

    cdef int reserve(self, Py_ssize_t more) except -1:
        cdef Py_ssize_t capacity = self.capacity
        cdef char* data
        if self.used + more <= capacity:
            return 0
        while capacity < self.used + more:
            capacity *= 2
        data = <char*>PyMem_Realloc(self.data, capacity)
        if data is NULL:
            raise MemoryError
        self.data = data
        self.capacity = capacity
        return 0

    cdef int raw(self, const char* text, Py_ssize_t size) except -1:
        self.reserve(size)
        memcpy(self.data + self.used, text, size)
        self.used += size
        return 0

    cdef int text(self, bytes text) except -1:
        return self.raw(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))

    cdef int digits(self, int64_t value) except -1:
        cdef char text[20]
        cdef int at = 20
        cdef uint64_t rest = <uint64_t>value if value >= 0 else 0 - <uint64_t>value
        while True:
            at -= 1
            text[at] = <char>(48 + rest % 10)
            rest //= 10
            if rest == 0:
                break
        self.reserve(21)
        if value < 0:
            self.data[self.used] = b"-"
            self.used += 1
        memcpy(self.data + self.used, text + at, 20 - at)
        self.used += 20 - at
        return 0

    cdef int header(self, char marker, int64_t value) except -1:
        self.reserve(24)
        self.data[self.used] = marker
        self.used += 1
        self.digits(value)
        self.data[self.used] = b"\r"
        self.data[self.used + 1] = b"\n"
        self.used += 2
        return 0

    cdef int bulk(self, const char* text, Py_ssize_t size) except -1:
        self.header(b"$", size)
        self.reserve(size + 2)
        memcpy(self.data + self.used, text, size)
        self.used += size
        self.data[self.used] = b"\r"
        self.data[self.used + 1] = b"\n"
        self.used += 2
        return 0

    cdef int word(self, str text) except -1:
        cdef Py_ssize_t size = 0
        cdef const char* data = PyUnicode_AsUTF8AndSize(text, &size)
        return self.bulk(data, size)

    cdef int blob(self, bytes text) except -1:
        if text is None:
            raise TypeError("expected bytes, got None")
        return self.bulk(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))

    cdef int integer(self, int64_t value) except -1:
        cdef uint64_t bound = 10
        cdef int64_t size = 1
        cdef uint64_t rest = <uint64_t>value if value >= 0 else 0 - <uint64_t>value
        while rest >= bound and size < 19:
            bound *= 10
            size += 1
        self.header(b"$", size if value >= 0 else size + 1)
        self.digits(value)
        return self.text(b"\r\n")

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


cdef class Codec:
    def __cinit__(self, str prefix not None, digests):
        self.prefix = prefix
        self._prefix = b"{" + prefix.encode()
        self._digests = {name: digest.encode() for name, digest in digests.items()}
        self._out = Writer()

    # Keys

    cdef int _key(self, str queue_type, bytes suffix, str name) except -1:
        cdef Writer out = self._out
        cdef Py_ssize_t type_size = 0
        cdef Py_ssize_t name_size = 0
        cdef const char* type_text = PyUnicode_AsUTF8AndSize(queue_type, &type_size)
        cdef const char* name_text = PyUnicode_AsUTF8AndSize(name, &name_size)
        cdef Py_ssize_t prefix_size = PyBytes_GET_SIZE(self._prefix)
        cdef Py_ssize_t suffix_size = PyBytes_GET_SIZE(suffix)
        out.header(b"$", prefix_size + type_size + suffix_size + name_size + 2)
        out.raw(PyBytes_AS_STRING(self._prefix), prefix_size)
        out.text(b":")
        out.raw(type_text, type_size)
        out.text(b"}")
        out.raw(PyBytes_AS_STRING(suffix), suffix_size)
        out.raw(name_text, name_size)
        return out.text(b"\r\n")

    def tag(self, str queue_type):
        return self._prefix + b":" + queue_type.encode() + b"}"

    def registry(self):
        return self._prefix + b"}" + TYPES

    def channel(self, str server_id):
        return self._prefix + b"}" + WAKE + server_id.encode()

    def woken_type(self, bytes message not None):
        cdef bytes head = self._prefix + b":"
        cdef bytes tail = b"}" + WAITING
        if not (message.startswith(head) and message.endswith(tail)):
            return None
        return message[len(head):-len(tail)].decode("ascii", "replace")

    # Script calls, in the order of the files in lua/

    cdef int _begin(self, str script, Py_ssize_t keys, Py_ssize_t arguments) except -1:
        cdef Writer out = self._out
        cdef bytes digest = self._digests[script]
        out.used = 0
        out.header(b"*", 3 + keys + arguments)
        out.text(b"$7\r\nEVALSHA\r\n")
        out.blob(digest)
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
        cdef str queue_id, job_id, n
        for lease in leases:
            _, queue_id, job_id, n = lease
            out.word(queue_id)
            out.word(job_id)
            out.word(n)
        return 0

    # The keys of a queue, or with "" their prefixes.
    cdef int _queue_keys(self, str queue_type, str queue_id) except -1:
        self._key(queue_type, QUEUE, queue_id)
        self._key(queue_type, ACTIVE, queue_id)
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
        self._begin("clear", 7, 3)
        self._type_keys(queue_type)
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
        self._begin("dequeue", 5 if mark is None else 6, 11)
        self._type_keys(queue_type)
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
            out.text(b"$0\r\n\r\n")
        else:
            out.blob(self.channel(server_id))
        if request_id is None and server_id is not None:
            out.integer(seq)
        else:
            out.text(b"$0\r\n\r\n")
        return out.take()

    def enqueue(self, str queue_type, str queue_id, str job_id, bytes payload,
                int64_t interval, int64_t requeue_limit, max_length=None):
        cdef Writer out = self._out
        self._begin("enqueue", 6, 7)
        self._key(queue_type, VOID, "")
        self._key(queue_type, READY, "")
        self._key(queue_type, WAITING, "")
        self._key(queue_type, QUEUE, queue_id)
        self._key(queue_type, ACTIVE, queue_id)
        self._key(queue_type, DELAYED, queue_id)
        self._key(queue_type, COUNTERS, "")
        out.word(queue_id)
        out.word(job_id)
        out.blob(payload)
        out.integer(interval)
        out.integer(requeue_limit)
        if max_length is None:
            out.text(b"$0\r\n\r\n")
        else:
            out.integer(max_length)
        return out.take()

    def enqueue_many(self, str queue_type, jobs):
        cdef Writer out = self._out
        # A sequence may run code of its own, and that must not meet a call half packed.
        cdef list rows = list(jobs)
        self._begin("enqueue_many", 3, 4 + 6 * len(rows))
        self._key(queue_type, VOID, "")
        self._key(queue_type, READY, "")
        self._key(queue_type, WAITING, "")
        self._key(queue_type, QUEUE, "")
        self._key(queue_type, ACTIVE, "")
        self._key(queue_type, DELAYED, "")
        self._key(queue_type, COUNTERS, "")
        for job in rows:
            out.word(job.queue_id)
            out.word(job.job_id)
            out.blob(job.payload)
            out.integer(job.interval)
            out.integer(job.requeue_limit)
            if job.max_queued_length is None:
                out.text(b"$0\r\n\r\n")
            else:
                out.integer(job.max_queued_length)
        return out.take()

    def extend(self, str queue_type, str queue_id, str job_id, str n, int64_t by,
               int64_t retention):
        cdef Writer out = self._out
        self._begin("extend", 3, 7)
        self._key(queue_type, VOID, "")
        self._key(queue_type, LEASES, "")
        self._key(queue_type, ACTIVE, queue_id)
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
        self._begin("extend_many", 2, 5 + 3 * len(leases))
        self._key(queue_type, VOID, "")
        self._key(queue_type, LEASES, "")
        self._key(queue_type, ACTIVE, "")
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
        self._key(queue_type, QUEUE, queue_id)
        self._key(queue_type, ACTIVE, queue_id)
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
        self._begin("finish_many", 2, 5 + 3 * len(leases))
        self._key(queue_type, VOID, "")
        self._key(queue_type, LEASES, "")
        self._key(queue_type, QUEUE, "")
        self._key(queue_type, ACTIVE, "")
        self._key(queue_type, MARKS, "")
        out.integer(retention)
        out.integer(interval_retention)
        self._leased(leases)
        return out.take()

    def hand_on(self, str queue_type, str server_id not None):
        self._begin("hand_on", 3, 1)
        self._waiting_keys(queue_type)
        self._out.blob(self.channel(server_id))
        return self._out.take()

    def interval(self, str queue_type, str queue_id, int64_t interval,
                 int64_t interval_retention):
        cdef Writer out = self._out
        self._begin("interval", 6, 3)
        self._waiting_keys(queue_type)
        self._key(queue_type, QUEUE, queue_id)
        self._key(queue_type, ACTIVE, queue_id)
        self._key(queue_type, DELAYED, queue_id)
        out.integer(interval_retention)
        out.word(queue_id)
        out.integer(interval)
        return out.take()

    def interval_reset(self, str queue_type, str queue_id, int64_t interval_retention):
        cdef Writer out = self._out
        self._begin("interval_reset", 3, 1)
        self._key(queue_type, VOID, "")
        self._key(queue_type, QUEUE, queue_id)
        self._key(queue_type, ACTIVE, queue_id)
        out.integer(interval_retention)
        return out.take()

    def list_queues(self, str queue_type, bint waiting, str cursor, int64_t count):
        cdef Writer out = self._out
        self._begin("list_queues", 3, 4)
        self._type_keys(queue_type)
        self._key(queue_type, ACTIVE, "")
        out.integer(1 if waiting else 0)
        out.word(cursor)
        out.integer(count)
        return out.take()

    def list_types(self, str cursor, int64_t count):
        cdef Writer out = self._out
        self._begin("list_types", 1, 2)
        out.blob(self.registry())
        out.word(cursor)
        out.integer(count)
        return out.take()

    def offer(self, str queue_type, str server_id not None, int64_t wanted, int64_t offered,
              int64_t offer_ms):
        cdef Writer out = self._out
        self._begin("offer", 3, 5)
        self._waiting_keys(queue_type)
        self._key(queue_type, QUEUE, "")
        out.blob(self.channel(server_id))
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

    def queue_metrics(self, str queue_type, str queue_id):
        cdef Writer out = self._out
        self._begin("queue_metrics", 4, 2)
        self._key(queue_type, VOID, "")
        self._key(queue_type, READY, "")
        self._key(queue_type, QUEUE, queue_id)
        self._key(queue_type, ACTIVE, queue_id)
        self._key(queue_type, COUNTERS, "")
        out.word(queue_id)
        return out.take()

    def register(self, str queue_type):
        cdef Writer out = self._out
        self._begin("register", 1, 1)
        out.blob(self.registry())
        out.word(queue_type)
        return out.take()

    def release(self, str queue_type, str queue_id, str job_id, str n, int64_t delay,
                bint counted, int64_t retention, int64_t interval_retention):
        cdef Writer out = self._out
        self._begin("release", 8, 8)
        self._type_keys(queue_type)
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
        self._begin("release_many", 4, 9 + 3 * len(leases))
        self._type_keys(queue_type)
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
        self._begin("requeue", 4, 9)
        self._type_keys(queue_type)
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
        self._begin("status", 7, 4)
        self._type_keys(queue_type)
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
        out.blob(self.registry())
        out.word(queue_type)
        out.integer(age)
        return out.take()


# Replies

# The answer of a dequeue begins with wait and rank; then it has of each job: queue_id job_id n left
# attempt length payload.
cdef Py_ssize_t HEAD = 2
cdef Py_ssize_t FIELDS = 7


cdef inline str text_of(bytes value):
    return PyUnicode_DecodeASCII(PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), NULL)


cdef class Job:
    def __repr__(self):
        return f"<Job {self.lease} attempt={self.attempt}>"


cdef class Batch:
    def __cinit__(self, str queue_type not None, list reply not None):
        cdef Py_ssize_t size = PyList_GET_SIZE(reply)
        cdef Py_ssize_t at
        cdef bint fits = size % FIELDS == HEAD
        # Whatever reads the values later takes their types for granted.
        for at in range(size):
            value = <object>PyList_GET_ITEM(reply, at)
            if at < HEAD or (at - HEAD) % FIELDS == 4 or (at - HEAD) % FIELDS == 5:
                fits = fits and PyLong_CheckExact(value)
            else:
                fits = fits and PyBytes_CheckExact(value)
        if not fits:
            raise ValueError("this is no answer of a dequeue")
        self.queue_type = queue_type
        self._reply = reply
        self._jobs = None
        self._count = size // FIELDS

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
        return Batch(self.queue_type, reply[:HEAD]
                     + reply[HEAD + start * FIELDS:HEAD + stop * FIELDS])

    def leases(self, Py_ssize_t start, Py_ssize_t stop):
        cdef Writer out = Writer()
        cdef list leases = []
        cdef Py_ssize_t at
        self._check(start, stop)
        for at in range(start, stop):
            out.used = 0
            self._write_lease(out, HEAD + at * FIELDS)
            leases.append(PyUnicode_DecodeASCII(out.data, out.used, NULL))
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
        cdef Py_ssize_t at
        if self._jobs is None:
            jobs = []
            for at in range(HEAD, PyList_GET_SIZE(reply), FIELDS):
                job = Job.__new__(Job)
                job.queue_type = self.queue_type
                job.queue_id = text_of(reply[at])
                job.job_id = text_of(reply[at + 1])
                job.lease = "/".join(
                    (self.queue_type, job.queue_id, job.job_id, text_of(reply[at + 2])))
                job.requeues_remaining = int(reply[at + 3])
                job.attempt = reply[at + 4]
                job.current_queue_length = reply[at + 5]
                job.payload = reply[at + 6]
                jobs.append(job)
            self._jobs = jobs
        return self._jobs

    cdef int _write_job(self, Writer out, Py_ssize_t at) except -1:
        cdef list reply = self._reply
        cdef bytes queue_id = <bytes>PyList_GET_ITEM(reply, at)
        cdef bytes job_id = <bytes>PyList_GET_ITEM(reply, at + 1)
        cdef bytes left = <bytes>PyList_GET_ITEM(reply, at + 3)
        cdef bytes payload = <bytes>PyList_GET_ITEM(reply, at + 6)
        cdef int64_t length = <object>PyList_GET_ITEM(reply, at + 5)
        out.text(b'"queue_id":"')
        out.raw(PyBytes_AS_STRING(queue_id), PyBytes_GET_SIZE(queue_id))
        out.text(b'","job_id":"')
        out.raw(PyBytes_AS_STRING(job_id), PyBytes_GET_SIZE(job_id))
        out.text(b'","payload":')
        out.raw(PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))
        out.text(b',"requeues_remaining":')
        out.raw(PyBytes_AS_STRING(left), PyBytes_GET_SIZE(left))
        out.text(b',"current_queue_length":')
        out.digits(length)
        out.text(b',"lease":"')
        self._write_lease(out, at)
        return out.text(b'"')

    cdef int _write_lease(self, Writer out, Py_ssize_t at) except -1:
        cdef Py_ssize_t field
        cdef Py_ssize_t type_size = 0
        cdef const char* type_text = PyUnicode_AsUTF8AndSize(self.queue_type, &type_size)
        cdef bytes part
        out.raw(type_text, type_size)
        for field in range(3):
            part = <bytes>PyList_GET_ITEM(self._reply, at + field)
            out.text(b"/")
            out.text(part)
        return 0

    def to_json(self, Py_ssize_t at=0):
        cdef Writer out = Writer()
        if self._count == 0:
            raise ValueError("the batch is empty")
        self._check(at, at + 1)
        out.text(b'{"status":"success",')
        self._write_job(out, HEAD + at * FIELDS)
        out.text(b"}")
        return out.take()

    def to_json_list(self, Py_ssize_t start=0, stop=None):
        cdef Writer out = Writer()
        cdef Py_ssize_t at
        cdef Py_ssize_t first = HEAD + start * FIELDS
        cdef Py_ssize_t end = self._count if stop is None else stop
        self._check(start, end)
        out.text(b'{"status":"success","jobs":[')
        for at in range(first, HEAD + end * FIELDS, FIELDS):
            out.text(b",{" if at > first else b"{")
            self._write_job(out, at)
            out.text(b"}")
        out.text(b"]}")
        return out.take()

    def jobs_json(self, Py_ssize_t start, Py_ssize_t stop, int64_t lease_ms):
        cdef Writer out = Writer()
        cdef Py_ssize_t at
        cdef int64_t attempt
        self._check(start, stop)
        out.text(b"[")
        for at in range(HEAD + start * FIELDS, HEAD + stop * FIELDS, FIELDS):
            out.text(b",{" if at > HEAD + start * FIELDS else b"{")
            self._write_job(out, at)
            attempt = <object>PyList_GET_ITEM(self._reply, at + 4)
            out.text(b',"attempt":')
            out.digits(attempt)
            out.text(b',"lease_ms":')
            out.digits(lease_ms)
            out.text(b"}")
        out.text(b"]")
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
