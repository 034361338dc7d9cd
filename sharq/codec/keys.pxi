# The keyspace: every name of it is spelled here, once.
# docs/keyspace.md tells what is kept under each.

# Types whose tags are kept, at most.
cdef Py_ssize_t MOST_TAGS = 4096

# What follows the hash tag of a type:
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
# and what follows the tag of the deployment.
cdef bytes TYPES = b":types"
cdef bytes SWEEP = b":sweep"
cdef bytes WAKE = b":wake:"
