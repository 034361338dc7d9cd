# The keyspace: every name in it is written only here. A key is a hash tag, one of these suffixes,
# and with some of them a name; docs/keyspace.md documents each.
cimport cython

# Behind the tag of a type.
cdef bytes VOID = b":void"
cdef bytes READY = b":ready"
cdef bytes LEASES = b":leases"
cdef bytes HELD = b":held"
cdef bytes SERIAL = b":serial"
cdef bytes QUEUE = b":q:"
cdef bytes JOBS = b":j:"
cdef bytes RETURNED = b":r:"
cdef bytes DELAYED = b":d:"
cdef bytes COUNTERS = b":c:"
cdef bytes MARKS = b":f:"
cdef bytes REQUEST = b":x:"
cdef bytes WAITING = b":waiting"
cdef bytes LIMIT = b":limit"
cdef bytes GROUP = b":limit:g:"
cdef bytes DEAD = b":dead"
cdef bytes SAMPLE = b":sample"
cdef bytes MOVING = b":moving"
cdef bytes SHARDS = b":shards"
cdef bytes OPENED = b":opened"
cdef bytes PAUSED = b":paused"

# Behind the tag of a type or of the deployment; there only within a script.
cdef bytes ACKED = b":acked"

# Behind the tag of the deployment.
cdef bytes TYPES = b":types"
cdef bytes SWEEP = b":sweep"
cdef bytes WAKE = b":wake:"

# Behind a spare tag.
cdef bytes WRITE = b":write"

# On whose channel all servers listen; no server has this name.
cdef str ALL_SERVERS = ".all"

# On whose channel nobody listens; no server has this name either.
cdef str NOBODY = ".acked"

# What scripts for any node have as their key, and where the store's user tries its rights: behind
# the tag of types that nobody can have, since theirs begin with a point, and of the deployment.
cdef bytes PROBE = b":"

# Types whose tags are kept, at most.
cdef Py_ssize_t MOST_TAGS = 4096


def confirmation_key(bytes key not None):
    return key[:key.index(b"}") + 1] + ACKED


@cython.final
cdef class Keyspace:
    cdef readonly str prefix
    cdef bytes _opening
    cdef bytes _own_tag
    cdef bytes _registry
    cdef bytes _wake
    cdef dict _tags
    # The last result.
    cdef str _type
    cdef bytes _tag

    def __cinit__(self, str prefix not None):
        self.prefix = prefix
        self._opening = b"{" + prefix.encode()
        self._own_tag = self._opening + b"}"
        self._registry = self._own_tag + TYPES
        self._wake = self._own_tag + WAKE
        self._tags = {}
        self._meet("")

    cpdef bytes tag(self, str queue_type):
        if queue_type is not self._type:
            self._meet(queue_type)
        return self._tag

    cdef int _meet(self, str queue_type) except -1:
        cdef bytes tag, name, count, of_shard
        if queue_type is None:
            raise TypeError("expected str, got None")
        tag = self._tags.get(queue_type)
        if tag is None:
            name, _, count = queue_type.encode().rpartition(b":")
            # A shard is known by its number of shards, too: of another number it has other keys.
            of_shard = b":" + count if name else b""
            tag = b"".join((self._opening, b":", name or count, b"}", of_shard))
            if len(self._tags) >= MOST_TAGS:
                self._tags.clear()
            self._tags[queue_type] = tag
        self._type = queue_type
        self._tag = tag
        return 0

    def place(self, int64_t index):
        return self.spare(index) + PROBE

    def registry(self):
        return self._registry

    cdef bytes spare(self, int64_t place):
        return self._opening + b":.%d}" % place

    def channel(self, str server_id not None):
        return self._wake + server_id.encode()

    def common_channel(self):
        return self._wake + ALL_SERVERS.encode()

    def silent_channel(self):
        return self._wake + NOBODY.encode()

    def woken_type(self, bytes message not None):
        cdef bytes head = self._opening + b":"
        cdef bytes name, brace, count
        if not (message.startswith(head) and message.endswith(WAITING)):
            return None
        name, brace, count = message[len(head):-len(WAITING)].partition(b"}")
        return (name + count).decode("ascii", "replace") if brace else None
