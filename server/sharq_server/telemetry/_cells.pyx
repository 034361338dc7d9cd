# cython: wraparound=False
# Counting in cells of 64 bits: what is done for each request and each call of the store.
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from libc.stdint cimport uint64_t

cimport cython

cdef enum:
    MOST_BOUNDS = 16
    MOST_STATUSES = 600


@cython.final
cdef class Cells:
    cdef uint64_t[::1] _cells

    def __init__(self, cells not None):
        self._cells = cells

    def add(self, Py_ssize_t at, uint64_t count):
        self._cells[at] += count


@cython.final
cdef class Outcomes:
    cdef uint64_t[::1] _cells
    cdef dict _blocks
    cdef object _enter
    cdef dict _places

    def __init__(
        self, cells not None, dict blocks not None, enter not None, dict places not None,
    ):
        self._cells = cells
        self._blocks = blocks
        self._enter = enter
        self._places = places

    def add(self, str name not None, outcomes):
        cdef PyObject* found = PyDict_GetItem(self._blocks, name)
        cdef Py_ssize_t block = <object>found if found is not NULL else self._enter(name)
        cdef PyObject* place
        for outcome in outcomes:
            place = PyDict_GetItem(self._places, outcome[0])
            if place is not NULL:
                self._cells[block + <Py_ssize_t><object>place] += 1


@cython.final
cdef class Durations:
    cdef uint64_t[::1] _cells
    cdef dict _blocks
    cdef object _enter
    cdef Py_ssize_t _at
    cdef int _size
    cdef double[MOST_BOUNDS] _bounds
    cdef Py_ssize_t[MOST_STATUSES] _statuses

    def __init__(
        self, cells not None, dict blocks not None, enter not None, Py_ssize_t at,
        tuple bounds not None, dict statuses=None, Py_ssize_t other=0,
    ):
        cdef int place
        if len(bounds) > MOST_BOUNDS:
            raise ValueError("too many bounds")
        self._cells = cells
        self._blocks = blocks
        self._enter = enter
        self._at = at
        self._size = len(bounds)
        for place in range(self._size):
            self._bounds[place] = bounds[place]
        for place in range(MOST_STATUSES):
            self._statuses[place] = (statuses or {}).get(place, other)

    cdef Py_ssize_t _block(self, str name) except -1:
        cdef PyObject* found = PyDict_GetItem(self._blocks, name)
        return <object>found if found is not NULL else self._enter(name)

    cdef int _observe(self, Py_ssize_t block, double seconds) except -1:
        cdef Py_ssize_t at = block + self._at
        cdef int place = 0
        while place < self._size and seconds > self._bounds[place]:
            place += 1
        self._cells[at + place] += 1
        self._cells[at + self._size + 1] += <uint64_t>(max(seconds, 0.0) * 1e9)
        return 0

    def add(self, str name not None, double seconds):
        self._observe(self._block(name), seconds)

    def add_answer(self, str name not None, int status, double seconds):
        cdef Py_ssize_t block = self._block(name)
        self._cells[block + self._statuses[status if 0 <= status < MOST_STATUSES else 0]] += 1
        self._observe(block, seconds)
