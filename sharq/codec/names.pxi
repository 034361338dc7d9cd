# Names of queues and jobs, and the lease tokens that are made of them.
from cpython.unicode cimport PyUnicode_Check, PyUnicode_DecodeASCII

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
