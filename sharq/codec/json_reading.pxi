# JSON text, checked in place and split. Each of these functions takes the end of the text, and
# reads no byte from there on: the text may be a part of something larger, or end at the end of
# readable memory.
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_GET_SIZE
from libc.stdint cimport int64_t

cdef enum:
    DEEPEST = 512
    LARGEST_EXPONENT = 308
    MOST_INTEGER_DIGITS = 4000

# The possible errors of a text, by the words of `json_fault`.
cdef enum Fault:
    NO_FAULT = 0
    EMPTY = 1
    CUT_OFF = 2
    MISPLACED = 3
    NO_UTF8 = 4
    CONTROL = 5
    ESCAPE = 6
    CONSTANT = 7
    TOO_LARGE = 8
    TOO_LONG = 9
    TOO_DEEP = 10
    MORE = 11
cdef tuple FAULTS = (
    None, "empty", "cut off", "misplaced", "no utf-8", "control", "escape", "constant",
    "too large", "too long", "too deep", "more",
)

# The error of the last refused text, and its place. No foreign code runs between the function that
# sets it and the reader.
cdef Fault fault = NO_FAULT
cdef const char* fault_at = NULL


cdef const char* wrong(Fault kind, const char* at) noexcept:
    global fault, fault_at
    fault = kind
    fault_at = at
    return NULL


# The byte there, if any, is not expected.
cdef const char* misplaced(const char* at, const char* end) noexcept:
    return wrong(MISPLACED if at < end else CUT_OFF, at)


cdef inline bint is_digit(char c) noexcept:
    return b"0" <= c <= b"9"


cdef inline bint is_at(const char* at, const char* end, char c) noexcept:
    return at < end and at[0] == c


cdef inline const char* after_space(const char* at, const char* end) noexcept:
    while at < end and at[0] <= 32 and (
            at[0] == b" " or at[0] == b"\n" or at[0] == b"\r" or at[0] == b"\t"):
        at += 1
    return at


# Behind one digit or more, or NULL.
cdef inline const char* after_digits(const char* at, const char* end) noexcept:
    if at >= end or not is_digit(at[0]):
        return misplaced(at, end)
    at += 1
    while at < end and is_digit(at[0]):
        at += 1
    return at


cdef inline const char* after_number(const char* at, const char* end) noexcept:
    cdef const char* begin = at
    if at[0] == b"-":
        at += 1
        if is_at(at, end, b"I"):
            return wrong(CONSTANT, begin)
    if is_at(at, end, b"0"):
        at += 1
    else:
        at = after_digits(at, end)
        if at is NULL:
            return NULL
    if at < end and (at[0] == b"." or (at[0] | 32) == b"e"):
        return after_fraction(begin, at, end)
    if at - begin - (begin[0] == b"-") > MOST_INTEGER_DIGITS:
        return wrong(TOO_LONG, begin)
    return at


# Behind the fraction and the exponent that begin at `at`, of a number that begins at `begin`.
cdef const char* after_fraction(const char* begin, const char* at, const char* end) noexcept:
    cdef const char* mantissa
    cdef const char* digits
    cdef int64_t exponent = 0
    cdef bint negative = False
    if at[0] == b".":
        at = after_digits(at + 1, end)
        if at is NULL:
            return NULL
    mantissa = at
    if at < end and (at[0] | 32) == b"e":
        at += 1
        negative = is_at(at, end, b"-")
        if negative or is_at(at, end, b"+"):
            at += 1
        digits = at
        while at < end and is_digit(at[0]):
            # A text is shorter than that, so that no more of the exponent makes a difference.
            if exponent < MOST_EXPONENT:
                exponent = exponent * 10 + at[0] - 48
            at += 1
        if at == digits:
            return misplaced(at, end)
    # So short a number with so small an exponent is no more than a double holds.
    if mantissa - begin + exponent > LARGEST_EXPONENT and overflows(
            begin, mantissa, -exponent if negative else exponent):
        return wrong(TOO_LARGE, begin)
    return at


cdef int64_t MOST_EXPONENT = 100000000000000000

# Numbers from halfway above the largest double are rounded to infinity.
cdef bytes INFINITE = str(2**1024 - 2**970).encode()


# Whether a number is too large for a double: digits, a point among them perhaps, times a power of
# ten.
cdef bint overflows(const char* at, const char* end, int64_t exponent) noexcept:
    cdef const char* limit = PyBytes_AS_STRING(INFINITE)
    cdef const char* limit_end = limit + PyBytes_GET_SIZE(INFINITE)
    cdef const char* place = at
    cdef int64_t magnitude = exponent - 1
    # Each digit before the point makes it ten times as much, each zero behind it a tenth.
    while place < end and place[0] != b".":
        magnitude += place[0] != b"-"
        place += 1
    while at < end and (at[0] == b"-" or at[0] == b"0" or at[0] == b"."):
        magnitude -= at[0] == b"0"
        at += 1
    if at == end or magnitude < LARGEST_EXPONENT:
        return False
    if magnitude > LARGEST_EXPONENT:
        return True
    while at < end and limit < limit_end:
        if at[0] != b".":
            if at[0] != limit[0]:
                return at[0] > limit[0]
            limit += 1
        at += 1
    # Zeros may follow the digits that are there.
    while limit < limit_end:
        if limit[0] != b"0":
            return False
        limit += 1
    return True


cdef bytes ESCAPES = b'"\\/bfnrt'
cdef char[256] IS_ESCAPE
for _code in range(256):
    IS_ESCAPE[_code] = _code in ESCAPES

cdef bytes HEX_LETTERS = b"0123456789abcdefABCDEF"
cdef bint[256] IN_HEX = [False] * 256
for _letter in HEX_LETTERS:
    IN_HEX[_letter] = True


# Behind the escape that follows a backslash, or NULL. Half a surrogate pair is like any other.
cdef const char* after_escape(const char* at, const char* end) noexcept:
    cdef int place
    if at < end and IS_ESCAPE[<unsigned char>at[0]]:
        return at + 1
    if is_at(at, end, b"u"):
        for place in range(1, 5):
            if at + place >= end:
                return wrong(CUT_OFF, end)
            if not IN_HEX[<unsigned char>at[place]]:
                return wrong(ESCAPE, at - 1)
        return at + 5
    return wrong(ESCAPE, at - 1) if at < end else wrong(CUT_OFF, end)


# Behind one character of two to four bytes, or NULL (RFC 3629, section 4).
cdef const char* after_wide(const char* begin, const char* end) noexcept:
    cdef const unsigned char* at = <const unsigned char*>begin
    cdef unsigned char lead = at[0]
    cdef unsigned char low = 0x80
    cdef unsigned char high = 0xBF
    cdef int more = 1
    if lead < 0xC2 or lead > 0xF4:
        return wrong(NO_UTF8, begin)
    if lead >= 0xF0:
        more = 3
        if lead == 0xF0:
            low = 0x90
        elif lead == 0xF4:
            high = 0x8F
    elif lead >= 0xE0:
        more = 2
        if lead == 0xE0:
            low = 0xA0
        elif lead == 0xED:
            high = 0x9F
    if end - begin <= more or not low <= at[1] <= high:
        return wrong(NO_UTF8, begin)
    at += 2
    while more > 1:
        if (at[0] & 0xC0) != 0x80:
            return wrong(NO_UTF8, begin)
        at += 1
        more -= 1
    return <const char*>at


# The characters that a string may have unescaped.
cdef char[256] PLAIN
for _code in range(256):
    PLAIN[_code] = 32 <= _code < 128 and _code != 34 and _code != 92


# Behind the string that begins here, or NULL.
cdef inline const char* after_string(const char* at, const char* end) noexcept:
    cdef unsigned char c
    if not is_at(at, end, b'"'):
        return misplaced(at, end)
    at += 1
    while True:
        while at < end and PLAIN[<unsigned char>at[0]]:
            at += 1
        if at >= end:
            return wrong(CUT_OFF, end)
        c = <unsigned char>at[0]
        if c == b'"':
            return at + 1
        if c == b"\\":
            at = after_escape(at + 1, end)
        elif 0xC2 <= c < 0xE0 and end - at > 1 and (at[1] & 0xC0) == 0x80:
            at += 2
        elif c >= 0x80:
            at = after_wide(at, end)
        else:
            return wrong(CONTROL, at)
        if at is NULL:
            return NULL


# Behind a field's name and its colon, or NULL.
cdef inline const char* after_name(const char* at, const char* end) noexcept:
    at = after_string(after_space(at, end), end)
    if at is NULL:
        return NULL
    at = after_space(at, end)
    return at + 1 if is_at(at, end, b":") else misplaced(at, end)


# The first byte that differs from an expected word.
cdef const char* no_word(const char* at, const char* end, const char* word) noexcept:
    while is_at(at, end, word[0]):
        at += 1
        word += 1
    return misplaced(at, end)


# Behind the value that begins here, or NULL if it is no value or nested deeper than `deepest`.
cdef const char* after_value(const char* at, const char* end, Py_ssize_t deepest) noexcept:
    cdef char[DEEPEST] closing
    cdef Py_ssize_t depth = 0
    cdef char c
    while True:
        if at >= end:
            return wrong(CUT_OFF, end)
        c = at[0]
        if c == b'"':
            at = after_string(at, end)
        elif c == b"{" or c == b"[":
            if depth == deepest:
                return wrong(TOO_DEEP, at)
            closing[depth] = b"}" if c == b"{" else b"]"
            at = after_space(at + 1, end)
            depth += 1
            if not is_at(at, end, closing[depth - 1]):
                if c == b"{":
                    at = after_name(at, end)
                    if at is NULL:
                        return NULL
                    at = after_space(at, end)
                continue
        elif c == b"t":
            at = (at + 4 if end - at >= 4 and at[1] == b"r" and at[2] == b"u" and at[3] == b"e"
                  else no_word(at, end, b"true"))
        elif c == b"n":
            at = (at + 4 if end - at >= 4 and at[1] == b"u" and at[2] == b"l" and at[3] == b"l"
                  else no_word(at, end, b"null"))
        elif c == b"f":
            at = (at + 5 if end - at >= 5 and at[1] == b"a" and at[2] == b"l" and at[3] == b"s"
                  and at[4] == b"e" else no_word(at, end, b"false"))
        elif c == b"N" or c == b"I":
            return wrong(CONSTANT, at)
        else:
            at = after_number(at, end)
        if at is NULL:
            return NULL
        while True:
            if depth == 0:
                return at
            at = after_space(at, end)
            if at >= end:
                return wrong(CUT_OFF, end)
            c = at[0]
            at += 1
            if c != closing[depth - 1]:
                break
            depth -= 1
        if c != b",":
            return wrong(MISPLACED, at - 1)
        if closing[depth - 1] == b"}":
            at = after_name(at, end)
            if at is NULL:
                return NULL
        at = after_space(at, end)


# The value that is the whole text without white space, up to `stop`; NULL if there is none.
cdef const char* only_value(const char* begin, const char* end, Py_ssize_t deepest,
                            const char** stop) except? NULL:
    cdef const char* start = after_space(begin, end)
    if not 0 <= deepest <= DEEPEST:
        raise ValueError(f"a depth of 0 to {DEEPEST} can be looked for")
    if start == end:
        return wrong(EMPTY, end)
    stop[0] = after_value(start, end, deepest)
    if stop[0] is NULL:
        return NULL
    if after_space(stop[0], end) != end:
        return wrong(MORE, after_space(stop[0], end))
    return start


def json_value(bytes text not None, Py_ssize_t deepest):
    cdef const char* begin = PyBytes_AS_STRING(text)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
    cdef const char* stop = NULL
    cdef const char* start = only_value(begin, begin + size, deepest, &stop)
    if start is NULL:
        return None
    if stop - start == size:
        return text
    return PyBytes_FromStringAndSize(start, stop - start)


def json_fault(bytes text not None, Py_ssize_t deepest):
    cdef const char* begin = PyBytes_AS_STRING(text)
    cdef const char* stop = NULL
    if only_value(begin, begin + PyBytes_GET_SIZE(text), deepest, &stop) is not NULL:
        return None
    return FAULTS[<int>fault], fault_at - begin


# The end of an apparent value: by quotes and brackets only, or by the next comma or space. NULL if
# nothing is there, or it does not end.
cdef const char* after_part(const char* at, const char* end) noexcept:
    cdef const char* begin = at
    cdef Py_ssize_t depth = 0
    while at < end:
        if at[0] == b'"':
            at += 1
            while at < end and at[0] != b'"':
                at += 2 if at[0] == b"\\" else 1
            if at >= end:
                return NULL
        elif at[0] == b"{" or at[0] == b"[":
            depth += 1
        elif at[0] == b"}" or at[0] == b"]":
            if depth == 0:
                break
            depth -= 1
        elif depth == 0 and at[0] in b",: \t\r\n":
            break
        at += 1
    if depth or at == begin:
        return NULL
    return at


def json_parts(bytes text not None, Py_ssize_t most):
    cdef const char* end = PyBytes_AS_STRING(text) + PyBytes_GET_SIZE(text)
    cdef const char* at = after_space(PyBytes_AS_STRING(text), end)
    cdef const char* begin
    cdef list parts = []
    cdef bint is_object = is_at(at, end, b"{")
    cdef bint is_named = is_object
    if not is_object and not is_at(at, end, b"["):
        return None
    at = after_space(at + 1, end)
    if is_at(at, end, b"}" if is_object else b"]"):
        return parts if after_space(at + 1, end) == end else None
    while True:
        begin = at
        at = after_part(at, end)
        if at is NULL:
            return None
        parts.append(PyBytes_FromStringAndSize(begin, at - begin))
        if PyList_GET_SIZE(parts) >= most:
            return parts
        at = after_space(at, end)
        if is_named:
            if not is_at(at, end, b":"):
                return None
        elif not is_at(at, end, b","):
            break
        is_named = is_object and not is_named
        at = after_space(at + 1, end)
    if not is_at(at, end, b"}" if is_object else b"]") or after_space(at + 1, end) != end:
        return None
    return parts
