# Plain jobs, as clients send them; all others need the full checks.
cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport int64_t
from libc.string cimport memchr, memcmp

from sharq.results import NewJob

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
    # A longer number is caught by the check for the comma.
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
        NewJob, (queue_type, queue_id, job_id, payload, interval, requeue_limit, None, None))


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
