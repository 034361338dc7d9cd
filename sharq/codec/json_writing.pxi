# Python values, written as JSON text. Foreign code may run meanwhile: a derived class has its own
# methods.
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_Check
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_Check
from cpython.mem cimport PyMem_Free
from cpython.unicode cimport PyUnicode_AsUTF8String, PyUnicode_Check
from libc.math cimport isfinite
from libc.string cimport strlen

from json import dumps as json_dumps

cdef const char* HEX = "0123456789abcdef"


cdef int write_string(Writer out, object value) except -1:
    """A string as JSON text, with only the necessary escapes."""
    cdef bytes encoded = None
    cdef Py_ssize_t size = 0
    cdef const char* text
    cdef char* place
    cdef Py_ssize_t at
    cdef unsigned char c
    if PyUnicode_IS_ASCII(value):
        text = PyUnicode_AsUTF8AndSize(value, &size)
    else:
        # Not the other way: it would leave a copy in the string for its lifetime.
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
# limit of digits may be set lower, though not below 640.
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
