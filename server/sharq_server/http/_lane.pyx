# Reads requests and writes answers. The documentation is in the stub, `_lane.pyi`.
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_DecodeASCII
from libc.stdint cimport int64_t
from libc.string cimport memcmp, memcpy

from httptools import HttpParserError, HttpRequestParser

WAITING = 0
IN_HEAD = 1
IN_BODY = 2

cdef int _WAITING = 0
cdef int _IN_HEAD = 1
cdef int _IN_BODY = 2

MAX_HEAD_BYTES = 16 * 1024
MAX_URL = 8 * 1024
cdef Py_ssize_t _MAX_HEAD_BYTES = MAX_HEAD_BYTES
cdef Py_ssize_t _MAX_URL = MAX_URL

# The routes whose requests are passed on whole.
cdef int NONE = 0
cdef int ENQUEUE = 1
cdef int DEQUEUE = 2
cdef int FINISH = 3

cdef Py_ssize_t LONGEST_NAME = 100
cdef Py_ssize_t MOST_ADMITTED = 64

cdef char IS_NAME[256]


cdef int _fill_tables() except -1:
    cdef int c
    for c in range(256):
        IS_NAME[c] = (48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122 or c == 45 or c == 95)
    return 0


_fill_tables()


cdef inline char lower(char c) noexcept:
    return c + 32 if 65 <= c <= 90 else c


# Whether a header's name is `word`, which is in lower case.
cdef bint is_word(bytes name, bytes word) noexcept:
    cdef Py_ssize_t size = PyBytes_GET_SIZE(word)
    cdef const char* a = PyBytes_AS_STRING(name)
    cdef const char* b = PyBytes_AS_STRING(word)
    cdef Py_ssize_t at
    if PyBytes_GET_SIZE(name) != size:
        return False
    for at in range(size):
        if lower(a[at]) != b[at]:
            return False
    return True


# A length of up to 15 digits, or -1 for one that needs a closer check.
cdef int64_t length_of(bytes value) noexcept:
    cdef const char* text = PyBytes_AS_STRING(value)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(value)
    cdef Py_ssize_t at
    cdef int64_t length = 0
    if not 1 <= size <= 15:
        return -1
    for at in range(size):
        if not 48 <= text[at] <= 57:
            return -1
        length = 10 * length + text[at] - 48
    return length


# Whether two credentials are the same, in a time that does not show where they differ.
cdef bint is_same(bytes one, bytes other) noexcept:
    cdef const unsigned char* a = <const unsigned char*>PyBytes_AS_STRING(one)
    cdef const unsigned char* b = <const unsigned char*>PyBytes_AS_STRING(other)
    cdef unsigned char difference = 0
    cdef Py_ssize_t at
    if PyBytes_GET_SIZE(one) != PyBytes_GET_SIZE(other):
        return False
    for at in range(PyBytes_GET_SIZE(one)):
        difference |= a[at] ^ b[at]
    return difference == 0


# Whether the method is not followed by exactly one space.
cdef bint has_two_spaces(const char* text, Py_ssize_t size) noexcept:
    cdef Py_ssize_t at
    for at in range(min(size - 1, 32)):
        if text[at] == 32:
            return text[at + 1] == 32
    return False


cdef class Reader:
    # Called by the connection
    cdef public bint busy
    cdef public int64_t body_limit
    cdef public set hosts
    cdef public bint locked
    cdef public bytes base_path
    cdef public list epoch
    # The progress of the current message
    cdef readonly int stage
    # The head of the message
    cdef readonly bytes method
    cdef readonly bytes target
    cdef readonly list headers
    cdef object _parser
    cdef int _route
    cdef bint _plain
    cdef bint _upgrade
    cdef bint _connection
    cdef bint _deaf
    cdef bytes _authorization
    cdef char _last
    cdef Py_ssize_t _hosts
    cdef Py_ssize_t _head_bytes
    cdef Py_ssize_t _unclaimed
    cdef Py_ssize_t _without_body
    cdef int64_t _length
    # The admitted routes, by which credentials, and when
    cdef set _admitted
    cdef bytes _admitted_by
    cdef object _admitted_in
    # The names in its path, and its query
    cdef list _names
    cdef str _query
    # Its body
    cdef bytes _body
    cdef list _chunks

    def __cinit__(self):
        self._parser = HttpRequestParser(self)
        self.hosts = set()
        self.base_path = b""
        self.epoch = [0]
        self._admitted = set()
        self._begin()
        self.stage = _WAITING

    cdef int _begin(self) except -1:
        self.stage = _IN_HEAD
        self.method = None
        self.target = None
        self.headers = []
        self._route = NONE
        self._plain = True
        self._upgrade = False
        self._connection = False
        self._authorization = None
        self._hosts = 0
        self._head_bytes = 0
        self._length = 0
        self._body = None
        self._chunks = None
        return 0

    def feed(self, bytes data not None):
        cdef const char* text = PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
        cdef bint in_line = self.stage == _IN_HEAD and self.target is not None
        cdef bint after_space = self.stage != _WAITING and self._last == 32
        if self.stage == _WAITING:
            self._unclaimed = 0
        if size:
            if self.stage == _WAITING or (self.stage == _IN_HEAD and self.target is None):
                if (text[0] == 32) if after_space else has_two_spaces(text, size):
                    raise HttpParserError("two spaces before the target")
            self._last = text[size - 1]
        self._unclaimed += size
        self._without_body += size
        self._parser.feed_data(data)
        if self.stage == _WAITING or self._deaf:
            return
        if self.stage == _IN_HEAD:
            if self._unclaimed > _MAX_HEAD_BYTES:
                self.on_large_head()
            elif (self._parser.get_http_version() in ("0.0", "0.9")
                    and b"\n" in (data if in_line else data.lstrip(b"\r\n"))):
                raise HttpParserError("HTTP/0.9")
        elif self._length < 0 and self._without_body > _MAX_HEAD_BYTES:
            raise HttpParserError("what is around a chunk is too large")

    def renew(self):
        self._parser = HttpRequestParser(self)
        self.stage = _WAITING

    def ignore(self):
        self._deaf = True

    def forget(self):
        self._deaf = True
        self._parser = None

    @property
    def version(self):
        return "HTTP/" + self._parser.get_http_version()

    @property
    def keeps_alive(self):
        return self._parser.should_keep_alive()

    # Called by the parser

    def on_message_begin(self):
        if not self._deaf:
            self._begin()

    def on_url(self, bytes part not None):
        if self._deaf:
            return
        self.target = part if self.target is None else self.target + part
        if PyBytes_GET_SIZE(self.target) > _MAX_URL:
            self.on_large_target()

    def on_header(self, bytes name not None, bytes value):
        if self._deaf:
            return
        if self.stage != _IN_HEAD:
            raise HttpParserError("a field after the body")
        if value is None:
            value = b""
        self.headers.append((name, value))
        self._head_bytes += PyBytes_GET_SIZE(name) + PyBytes_GET_SIZE(value) + 4
        self._look_at(name, value)

    cdef int _look_at(self, bytes name, bytes value) except -1:
        cdef Py_ssize_t size = PyBytes_GET_SIZE(name)
        if size == 4:
            if is_word(name, b"host"):
                self._hosts += 1
                if value not in self.hosts:
                    self._plain = False
        elif size == 6:
            if is_word(name, b"expect") or is_word(name, b"origin"):
                self._plain = False
        elif size == 7:
            if is_word(name, b"upgrade"):
                self._upgrade = True
        elif size == 10:
            if is_word(name, b"connection"):
                self._connection = True
        elif size == 13:
            if self.locked and is_word(name, b"authorization"):
                if self._authorization is not None:
                    self._plain = False
                self._authorization = value
        elif size == 14:
            if is_word(name, b"content-length"):
                self._length = length_of(value)
                if self._length < 0:
                    self._plain = False
            elif is_word(name, b"sec-fetch-site"):
                self._plain = False
        elif size == 16:
            if is_word(name, b"content-encoding"):
                self._plain = False
        elif size == 17:
            if is_word(name, b"transfer-encoding"):
                self._plain = False
                self._length = -1
        return 0

    def on_headers_complete(self):
        if self._deaf:
            return
        if self.target is None:
            raise HttpParserError("a head without a target")
        self._head_bytes += PyBytes_GET_SIZE(self.target) + 20
        if self._head_bytes > _MAX_HEAD_BYTES:
            self.on_large_head()
            return
        self.method = self._parser.get_method()
        if self._upgrade and self._parser.should_upgrade():
            # The parser ends here, and `feed` raises.
            return
        self.stage = _IN_BODY
        self._without_body = self._unclaimed - self._head_bytes
        if (self._plain and self._hosts == 1
                and self._length <= self.body_limit and self._find_route() != NONE
                and self._parser.should_keep_alive()
                and (not self._connection or self._parser.get_http_version() == "1.1")
                and (not self.locked or self._is_admitted())):
            return
        self._route = NONE
        self.on_head()

    # Asks once for each route and type, until the credentials or the epoch change.
    cdef bint _is_admitted(self) except -1:
        cdef object epoch = self.epoch[0]
        cdef str queue_type = self._names[0] if self._names else "default"
        cdef tuple wanted = (self._route, queue_type)
        if self._authorization is None:
            return False
        if (self._admitted_by is None or self._admitted_in is not epoch
                or not is_same(self._admitted_by, self._authorization)
                or len(self._admitted) >= MOST_ADMITTED):
            self._admitted.clear()
            self._admitted_by = self._authorization
            self._admitted_in = epoch
        if wanted in self._admitted:
            return True
        if not self.admits(
            self._authorization,
            "enqueue" if self._route == ENQUEUE else
            "dequeue" if self._route == DEQUEUE else "finish",
            queue_type,
        ):
            return False
        self._admitted.add(wanted)
        return True

    def on_body(self, bytes part not None):
        if self._deaf:
            return
        # What a chunk has around it is five bytes at least.
        self._without_body = 0
        self._unclaimed -= PyBytes_GET_SIZE(part) + (5 if self._length < 0 else 0)
        if self._route == NONE:
            self.on_chunk(part)
        elif self._body is None:
            self._body = part
        elif self._chunks is None:
            self._chunks = [self._body, part]
        else:
            self._chunks.append(part)

    def on_message_complete(self):
        cdef int route = self._route
        cdef list names = self._names
        if self._deaf or (self._upgrade and self.stage == _IN_HEAD):
            return
        self.stage = _WAITING
        self._unclaimed -= self._head_bytes
        if route == NONE:
            self.on_end()
        elif route == ENQUEUE:
            self.on_enqueue(names[0], names[1], self._take_body())
        elif route == DEQUEUE:
            self.on_dequeue(names[0] if names else None, self._query, self._take_body())
        else:
            self.on_finish(names[0], names[1], names[2], self._take_body())

    cdef bytes _take_body(self):
        cdef bytes body
        if self._chunks is not None:
            body = b"".join(self._chunks)
        elif self._body is not None:
            body = self._body
        else:
            body = b""
        self._body = self._chunks = None
        return body

    # Finds the route of the target where it is one of those above, in its simplest spelling.
    cdef int _find_route(self) except -1:
        cdef bytes target = self.target
        cdef const unsigned char* text = <const unsigned char*>PyBytes_AS_STRING(target)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(target)
        cdef Py_ssize_t base = PyBytes_GET_SIZE(self.base_path)
        cdef Py_ssize_t at
        cdef Py_ssize_t start
        cdef Py_ssize_t wanted
        cdef int route
        cdef list names
        if base:
            if size < base or memcmp(text, PyBytes_AS_STRING(self.base_path), base) != 0:
                return NONE
            text += base
            size -= base
        if size >= 9 and memcmp(text, b"/enqueue/", 9) == 0:
            if self.method != b"POST":
                return NONE
            route, at, wanted = ENQUEUE, 9, 2
        elif size >= 9 and memcmp(text, b"/dequeue/", 9) == 0:
            if (self.method != b"GET" and self.method != b"POST") or self._length > 0:
                return NONE
            route, at, wanted = DEQUEUE, 9, 1
        elif size >= 8 and memcmp(text, b"/finish/", 8) == 0:
            if self.method != b"POST":
                return NONE
            route, at, wanted = FINISH, 8, 3
        else:
            return NONE
        names = []
        while at < size and text[at] != 63:
            start = at
            while at < size and IS_NAME[text[at]]:
                at += 1
            if not 1 <= at - start <= LONGEST_NAME or len(names) == wanted:
                return NONE
            names.append(PyUnicode_DecodeASCII(<const char*>text + start, at - start, NULL))
            if at < size and text[at] == 47:
                at += 1
            elif at < size and text[at] != 63:
                return NONE
        self._query = ""
        if at < size:
            if route != DEQUEUE:
                return NONE
            self._query = target[base + at + 1:].decode("latin-1")
        if len(names) != wanted and not (route == DEQUEUE and not names):
            return NONE
        self._names = names
        self._route = route
        return route

    # For subclasses

    def admits(self, authorization, operation, queue_type):
        raise NotImplementedError

    def on_enqueue(self, queue_type, queue_id, body):
        raise NotImplementedError

    def on_dequeue(self, queue_type, query, body):
        raise NotImplementedError

    def on_finish(self, queue_type, queue_id, job_id, body):
        raise NotImplementedError

    def on_head(self):
        raise NotImplementedError

    def on_chunk(self, chunk):
        raise NotImplementedError

    def on_end(self):
        raise NotImplementedError

    def on_large_target(self):
        raise NotImplementedError

    def on_large_head(self):
        raise NotImplementedError


def answer(bytes head not None, bytes body not None):
    # The length of the body between its two parts, without a format.
    cdef char digits[20]
    cdef Py_ssize_t head_size = PyBytes_GET_SIZE(head)
    cdef Py_ssize_t body_size = PyBytes_GET_SIZE(body)
    cdef Py_ssize_t rest = body_size
    cdef int at = 20
    cdef bytes out
    cdef char* data
    while True:
        at -= 1
        digits[at] = <char>(48 + rest % 10)
        rest //= 10
        if rest == 0:
            break
    out = PyBytes_FromStringAndSize(NULL, head_size + (20 - at) + 4 + body_size)
    data = PyBytes_AS_STRING(out)
    memcpy(data, PyBytes_AS_STRING(head), head_size)
    data += head_size
    memcpy(data, &digits[at], 20 - at)
    data += 20 - at
    memcpy(data, b"\r\n\r\n", 4)
    memcpy(data + 4, PyBytes_AS_STRING(body), body_size)
    return out
