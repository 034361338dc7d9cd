# The script calls of those who look on. The script of the same name documents each.


cdef class _WatchCalls(_Packer):
    # In the order of the files in lua/

    def correct_totals(self, str queue_type, int64_t more_waiting, int64_t more_delayed):
        cdef Writer out = self._begin_for("correct_totals", queue_type, 2, 3)
        self._key(VOID, "")
        self._key(HELD, "")
        self._key(COUNTERS, "")
        out.integer(more_waiting)
        out.integer(more_delayed)
        return out.take()

    def list_leases(self, str queue_type, str queue_id, str cursor, int64_t count):
        cdef Writer out = self._begin_for("list_leases", queue_type, 3, 3)
        self._lease_keys()
        out.word(queue_id)
        out.word(cursor)
        out.integer(count)
        return out.take()

    def recount(self, str queue_type, str part, str group, str cursor, int64_t count):
        cdef Writer out = self._begin_for("recount", queue_type, 4, 6)
        self._type_keys()
        self._key(LIMIT, "")
        self._key(QUEUE, "")
        self._key(COUNTERS, "")
        out.word(part)
        out.word(group)
        out.word(cursor)
        out.integer(count)
        return out.take()

    # No script: one is too slow for so many.
    cdef bytes _states(self, str queue_type, bytes suffix, list names):
        cdef Writer out = self._out
        self._tag = self.keys.tag(queue_type)
        out.used = 0
        out.used = put_line(out.room(23), b"*", 1 + len(names)) - out.data
        out.blob(b"MGET")
        for name in names:
            self._key(suffix, <str?>name)
        return out.take()

    def group_states(self, str queue_type, list groups not None):
        return self._states(queue_type, GROUP, groups)

    def queue_states(self, str queue_type, list queue_ids not None):
        return self._states(queue_type, QUEUE, queue_ids)

    def sample_queues(self, str queue_type, str part, str group, str cursor, int64_t count):
        cdef Writer out = self._begin_for("sample_queues", queue_type, 4, 4)
        self._type_keys()
        self._key(LIMIT, "")
        out.word(part)
        out.word(group)
        out.word(cursor)
        out.integer(count)
        return out.take()

    def share_sample(self, str queue_type, str server_id not None, bytes sample not None):
        cdef Writer out = self._begin_for("share_sample", queue_type, 2, 2)
        self._key(VOID, "")
        self._key(SAMPLE, "")
        out.word(server_id)
        out.blob(sample)
        return out.take()

    def show_job(self, str queue_type, str queue_id, str job_id):
        cdef Writer out = self._begin_for("show_job", queue_type, 5, 2)
        self._key(VOID, "")
        self._key(HELD, "")
        self._key(QUEUE, queue_id)
        self._key(JOBS, queue_id)
        self._key(DEAD, "")
        out.word(queue_id)
        out.word(job_id)
        return out.take()

    def tell_servers(self, str server_id, bytes message not None, int64_t number):
        cdef Writer out = self._begin("tell_servers", 1, 2)
        out.blob(self.keys.place(number))
        self._channel(ALL_SERVERS if server_id is None else server_id)
        out.blob(message)
        return out.take()

    def watch_queues(self, str queue_type, int64_t first, list queue_ids not None):
        cdef Writer out = self._begin_for("watch_queues", queue_type, 3, 3 + len(queue_ids))
        self._key(VOID, "")
        self._key(READY, "")
        self._key(LIMIT, "")
        self._key(QUEUE, "")
        self._key(DELAYED, "")
        out.integer(first)
        for queue_id in queue_ids:
            out.word(<str?>queue_id)
        return out.take()
