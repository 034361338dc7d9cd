# Bytes under construction: the words of a RESP2 command, and JSON text. A writer grows as it is
# written to and is used again.
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Malloc, PyMem_Realloc
from libc.math cimport fabs, rint
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

# A buffer that has grown larger than this is given back after use.
cdef Py_ssize_t KEEP = 1 << 16


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
    cdef char* data
    cdef Py_ssize_t used
    cdef Py_ssize_t capacity

    def __cinit__(self):
        self.capacity = 512
        self.used = 0
        self.data = <char*>PyMem_Malloc(self.capacity)
        if self.data is NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.data)

    # The place to write to, with room for `size` bytes.
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

    # A word in three parts, without joining them first.
    cdef int compound(self, bytes first, bytes second, str third) except -1:
        cdef Py_ssize_t third_size = 0
        cdef const char* third_text = PyUnicode_AsUTF8AndSize(third, &third_size)
        cdef Py_ssize_t first_size = PyBytes_GET_SIZE(first)
        cdef Py_ssize_t second_size = PyBytes_GET_SIZE(second)
        cdef Py_ssize_t size = first_size + second_size + third_size
        cdef char* at = put_line(self.room(size + 25), b"$", size)
        at = put(at, PyBytes_AS_STRING(first), first_size)
        at = put(at, PyBytes_AS_STRING(second), second_size)
        at = put(at, third_text, third_size)
        at[0] = b"\r"
        at[1] = b"\n"
        self.used = at + 2 - self.data
        return 0

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

    # A number with up to three decimals, in its shortest form.
    cdef int decimal(self, double value) except -1:
        cdef double thousandths = rint(value * 1000)
        cdef int64_t whole
        cdef int rest, size = 3
        if not fabs(thousandths) < 9e15:
            raise OverflowError("too large for a decimal")
        whole = <int64_t>fabs(thousandths)
        rest = <int>(whole % 1000)
        if thousandths < 0:
            self.byte(b"-")
        self.digits(whole // 1000)
        if rest:
            while rest % 10 == 0:
                rest //= 10
                size -= 1
            self.byte(b".")
            self.used = put_digits(self.room(size), rest, size) - self.data
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
