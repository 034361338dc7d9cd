# Script calls. The script of the same name documents each.
cimport cython


@cython.final
cdef class Codec(_WatchCalls):
    # In the order of the files in lua/

    def cancel(self, str queue_type, list leases not None, int64_t retention,
               int64_t interval_retention):
        cdef Writer out = self._begin_for("cancel", queue_type, 6, 8 + 3 * len(leases))
        self._ending_keys()
        self._queue_keys("")
        self._key(COUNTERS, "")
        self._key(MARKS, "")
        out.integer(retention)
        out.integer(interval_retention)
        self._leased(leases)
        return out.take()

    def chunk(self, str queue_type, str former not None, str token not None, bytes text not None):
        cdef Writer out = self._begin_for("chunk", queue_type, 2, 3)
        self._key(VOID, "")
        self._key(MOVING, "")
        out.word(former)
        out.word(token)
        out.blob(text)
        return out.take()

    def claim_sweep(self, int64_t hold, int64_t place=0):
        cdef Writer out = self._begin("claim_sweep", 1, 1)
        out.blob((self.keys.spare(place) if place else self.keys._own_tag) + SWEEP)
        out.integer(hold)
        return out.take()

    def clear(self, str queue_type, str queue_id, int64_t interval_retention, bint purge):
        cdef Writer out = self._begin_for("clear", queue_type, 10, 4)
        self._type_keys()
        self._key(HELD, "")
        self._queue_keys(queue_id)
        self._key(WAITING, "")
        self._key(LIMIT, "")
        self._key(COUNTERS, "")
        out.integer(interval_retention)
        out.word(queue_id)
        out.integer(1 if purge else 0)
        return out.take()

    def close_shard(self, str queue_type, int64_t generation):
        cdef Writer out = self._begin_for("close_shard", queue_type, 9, 1)
        self._closing_keys()
        out.integer(generation)
        return out.take()

    def dead_advance(self, str queue_type, str owner not None, int64_t hold):
        cdef Writer out = self._begin_for("dead_advance", queue_type, 6, 7)
        self._retry_keys()
        out.word(owner)
        out.integer(hold)
        return out.take()

    def dead_begin(self, str queue_type, str bulk_id, str kind, str queue_id, str reason, str error,
                   before, limit):
        cdef Writer out = self._begin_for("dead_begin", queue_type, 2, 7)
        self._dead_keys()
        out.word(bulk_id)
        out.word(kind)
        out.word(queue_id)
        out.word(reason)
        out.word(error)
        self._length(before)
        self._length(limit)
        return out.take()

    def dead_cancel(self, str queue_type):
        cdef Writer out = self._begin_for("dead_cancel", queue_type, 2, 0)
        self._dead_keys()
        return out.take()

    def dead_delete(self, str queue_type, list jobs not None):
        cdef Writer out = self._begin_for("dead_delete", queue_type, 2, 2 * len(jobs))
        self._dead_keys()
        self._named(jobs)
        return out.take()

    def dead_list(self, str queue_type, str queue_id, str reason, str error, before, str at,
                  int64_t count, int64_t max_bytes):
        cdef Writer out = self._begin_for("dead_list", queue_type, 2, 7)
        self._dead_keys()
        out.word(queue_id)
        out.word(reason)
        out.word(error)
        self._length(before)
        out.word(at)
        out.integer(count)
        out.integer(max_bytes)
        return out.take()

    def dead_progress(self, str queue_type):
        cdef Writer out = self._begin_for("dead_progress", queue_type, 2, 0)
        self._dead_keys()
        return out.take()

    def dead_retry(self, str queue_type, list jobs not None):
        cdef Writer out = self._begin_for("dead_retry", queue_type, 6, 5 + 2 * len(jobs))
        self._retry_keys()
        self._named(jobs)
        return out.take()

    def dead_show(self, str queue_type, str queue_id, str job_id):
        cdef Writer out = self._begin_for("dead_show", queue_type, 2, 2)
        self._dead_keys()
        out.word(queue_id)
        out.word(job_id)
        return out.take()

    def dequeue(self, str queue_type, int64_t count, int64_t lease_ms, int64_t max_bytes,
                str request_id=None, str server_id=None, int64_t seq=0, bint more=False,
                age=None, int64_t known=0):
        # A server's call without a client's request leaves a mark of its own.
        cdef str mark = server_id if request_id is None else request_id
        cdef int64_t least = 0 if age is None else age
        # Only of a shard.
        cdef int words = 12 if age is None else 14 if known else 13
        cdef Writer out = self._begin_for("dequeue", queue_type, 7 if mark is None else 8, words)
        self._type_keys()
        self._key(HELD, "")
        self._key(SERIAL, "")
        self._key(WAITING, "")
        self._key(LIMIT, "")
        if mark is not None:
            self._key(REQUEST, mark)
        self._queue_keys("")
        self._key(COUNTERS, "")
        out.integer(count)
        out.integer(lease_ms)
        out.integer(max_bytes)
        out.word("" if request_id is None else request_id)
        if server_id is None:
            out.nothing()
        else:
            self._channel(server_id)
        if request_id is None and server_id is not None:
            out.integer(seq)
        else:
            out.nothing()
        out.integer(1 if more else 0)
        if words > 12:
            out.integer(least)
        if words > 13:
            out.integer(known)
        return out.take()

    def dry_run(self, str queue_type, str kind, str name, new_interval, new_burst,
                new_concurrency, new_group):
        cdef Writer out = self._begin_for("dry_run", queue_type, 4, 9)
        self._type_keys()
        self._key(LIMIT, "")
        self._key(QUEUE, "")
        self._key(DELAYED, "")
        self._key(JOBS, "")
        out.word(kind)
        out.word(name)
        self._setting(new_interval)
        self._setting(new_burst)
        self._setting(new_concurrency)
        self._setting(new_group)
        return out.take()

    def enqueue(self, str queue_type, jobs):
        # A sequence may run foreign code, which must not see a half-packed call; so may options.
        cdef list rows = list(jobs)
        cdef list words = options_of(rows)
        cdef Py_ssize_t at
        cdef Writer out = self._begin_for("enqueue", queue_type, 5, 4 + 6 * len(rows))
        self._key(VOID, "")
        self._key(READY, "")
        self._key(HELD, "")
        self._key(WAITING, "")
        self._key(LIMIT, "")
        self._key(QUEUE, "")
        self._key(JOBS, "")
        self._key(COUNTERS, "")
        self._seldom(RETURNED, DELAYED)
        for at in range(PyList_GET_SIZE(rows)):
            job = <object>PyList_GET_ITEM(rows, at)
            out.word(<str>PyTuple_GET_ITEM(job, 1))
            out.word(<str>PyTuple_GET_ITEM(job, 2))
            out.blob(<bytes?><object>PyTuple_GET_ITEM(job, 3))
            self._interval(<object>PyTuple_GET_ITEM(job, 4))
            out.integer(integer_of(<object>PyTuple_GET_ITEM(job, 5)))
            if words is None or words[at] is None:
                self._length(<object>PyTuple_GET_ITEM(job, 6))
            else:
                out.word(<str>words[at])
        return out.take()

    def extend(self, str queue_type, list leases not None, int64_t by, int64_t retention):
        cdef Writer out = self._begin_for("extend", queue_type, 3, 4 + 3 * len(leases))
        self._lease_keys()
        self._key(MARKS, "")
        out.integer(retention)
        self._key(REQUEST, "")
        out.integer(by)
        self._leased(leases)
        return out.take()

    def finish(self, str queue_type, str queue_id, str job_id, str n, int64_t retention,
               int64_t interval_retention):
        cdef Writer out = self._begin_for("finish", queue_type, 5, 6)
        self._lease_keys()
        self._key(QUEUE, queue_id)
        self._key(LIMIT, "")
        self._key(MARKS, "")
        out.integer(retention)
        out.integer(interval_retention)
        out.word(queue_id + "/" + job_id)
        out.word(n)
        self._seldom(READY, WAITING, DELAYED)
        return out.take()

    def finish_many(self, str queue_type, list leases not None, int64_t retention,
                    int64_t interval_retention):
        cdef Writer out = self._begin_for("finish_many", queue_type, 4, 5 + 3 * len(leases))
        self._lease_keys()
        self._key(LIMIT, "")
        self._key(QUEUE, "")
        self._key(MARKS, "")
        out.integer(retention)
        out.integer(interval_retention)
        self._seldom(READY, WAITING, DELAYED)
        self._leased(leases)
        return out.take()

    def hand_on(self, str queue_type, str server_id not None, int64_t offered):
        cdef Writer out = self._begin_for("hand_on", queue_type, 4, 2)
        self._waiting_keys()
        self._key(LIMIT, "")
        self._channel(server_id)
        out.integer(offered)
        return out.take()

    def interval(self, str queue_type, str queue_id, interval, int64_t interval_retention):
        cdef Writer out = self._begin_for("interval", queue_type, 5, 4)
        self._waiting_keys()
        self._key(LIMIT, "")
        self._key(QUEUE, queue_id)
        self._key(DELAYED, "")
        out.integer(interval_retention)
        out.word(queue_id)
        self._interval(interval)
        return out.take()

    def interval_reset(self, str queue_type, str queue_id, int64_t interval_retention):
        cdef Writer out = self._begin_for("interval_reset", queue_type, 3, 1)
        self._key(VOID, "")
        self._key(HELD, "")
        self._key(QUEUE, queue_id)
        out.integer(interval_retention)
        return out.take()

    def limits(self, str queue_type, str kind, str name, new_interval, new_burst,
               new_concurrency, new_group, reason, int64_t interval_retention):
        cdef Writer out = self._begin_for("limits", queue_type, 5, 10)
        self._level_keys()
        out.integer(interval_retention)
        out.word(kind)
        out.word(name)
        self._setting(new_interval)
        self._setting(new_burst)
        self._setting(new_concurrency)
        self._setting(new_group)
        self._setting(reason)
        return out.take()

    def list_jobs(self, str queue_type, str queue_id, str part, int64_t start, int64_t seen,
                  int64_t count, int64_t max_bytes):
        cdef Writer out = self._begin_for("list_jobs", queue_type, 6, 5)
        self._key(VOID, "")
        self._key(HELD, "")
        self._queue_keys(queue_id)
        out.word(part)
        out.integer(start)
        out.integer(seen)
        out.integer(count)
        out.integer(max_bytes)
        return out.take()

    def list_queues(self, str queue_type, str part, str group, str cursor, int64_t count,
                    str prefix not None):
        cdef Writer out = self._begin_for("list_queues", queue_type, 4, 5)
        self._type_keys()
        self._key(LIMIT, "")
        out.word(part)
        out.word(group)
        out.word(cursor)
        out.integer(count)
        out.word(prefix)
        return out.take()

    def list_types(self, str cursor, int64_t count):
        cdef Writer out = self._begin("list_types", 1, 2)
        out.blob(self.keys._registry)
        out.word(cursor)
        out.integer(count)
        return out.take()

    def offer(self, str queue_type, str server_id not None, int64_t wanted, int64_t offered,
              int64_t offer_ms):
        cdef Writer out = self._begin_for("offer", queue_type, 4, 5)
        self._waiting_keys()
        self._key(LIMIT, "")
        self._key(QUEUE, "")
        self._channel(server_id)
        out.integer(wanted)
        out.integer(offered)
        out.integer(offer_ms)
        return out.take()

    def open_shard(self, str queue_type, int64_t generation):
        cdef Writer out = self._begin_for("open_shard", queue_type, 10, 1)
        self._closing_keys()
        self._key(OPENED, "")
        out.integer(generation)
        return out.take()

    def pause(self, str queue_type, str kind, str name, ms, str reason, str set_by,
              int64_t interval_retention, number):
        cdef Writer out = self._begin_for("pause", queue_type, 6, 9)
        self._type_keys()
        self._key(WAITING, "")
        self._key(LIMIT, "")
        self._key(PAUSED, "")
        self._key(QUEUE, "")
        self._key(DELAYED, "")
        out.integer(interval_retention)
        out.word(kind)
        out.word(name)
        self._setting(ms)
        out.word(reason)
        out.word(set_by)
        self._length(number)
        return out.take()

    def pausing(self, str queue_type, int64_t number, ms, str reason, str set_by):
        cdef Writer out = self._begin_for("pausing", queue_type, 2, 4)
        self._key(VOID, "")
        self._key(PAUSED, "")
        out.integer(number)
        self._setting(ms)
        out.word(reason)
        out.word(set_by)
        return out.take()

    def ping(self, int64_t number):
        cdef Writer out = self._begin("ping", 1, 0)
        out.blob(self.keys.place(number))
        return out.take()

    def queue_length(self, str queue_type, str queue_id):
        cdef Writer out = self._begin_for("queue_length", queue_type, 3, 0)
        self._key(VOID, "")
        self._key(HELD, "")
        self._key(QUEUE, queue_id)
        return out.take()

    def queue_metrics(self, str queue_type, str queue_id):
        cdef Writer out = self._begin_for("queue_metrics", queue_type, 5, 2)
        self._key(VOID, "")
        self._key(READY, "")
        self._key(QUEUE, queue_id)
        self._key(DELAYED, queue_id)
        self._key(LIMIT, "")
        self._key(COUNTERS, "")
        out.word(queue_id)
        return out.take()

    def rate_states(self, str queue_type, str cursor, int64_t count):
        cdef Writer out = self._begin_for("rate_states", queue_type, 1, 3)
        self._key(VOID, "")
        self._key(QUEUE, "")
        out.word(cursor)
        out.integer(count)
        return out.take()

    def register(self, str queue_type):
        cdef Writer out = self._begin("register", 1, 1)
        out.blob(self.keys._registry)
        out.word(queue_type)
        return out.take()

    def release(self, str queue_type, list leases not None, int64_t delay, bint counted,
                int64_t retention, int64_t interval_retention, str failing not None):
        cdef Writer out = self._begin_for("release", queue_type, 7, 11 + 3 * len(leases))
        self._ending_keys()
        self._key(DEAD, "")
        self._queue_keys("")
        self._key(COUNTERS, "")
        self._key(MARKS, "")
        out.integer(retention)
        out.integer(interval_retention)
        out.word(failing)
        out.integer(delay)
        out.integer(1 if counted else 0)
        self._leased(leases)
        return out.take()

    def requeue(self, str queue_type, int64_t batch, int64_t retention,
                int64_t interval_retention, str failing not None):
        cdef Writer out = self._begin_for("requeue", queue_type, 7, 10)
        self._ending_keys()
        self._key(DEAD, "")
        self._queue_keys("")
        self._key(COUNTERS, "")
        self._key(MARKS, "")
        out.integer(retention)
        out.integer(interval_retention)
        out.word(failing)
        out.integer(batch)
        return out.take()

    def rights(self, str server_id not None, int64_t number, str confirming=None):
        cdef Writer out = self._begin("rights", 1, 2 if confirming is None else 3)
        out.blob(self.keys.place(number))
        out.blob(self.keys._own_tag + PROBE)
        self._channel(server_id)
        if confirming is not None:
            out.word(confirming)
        return out.take()

    def settle(self, str queue_type, list told not None, int64_t retention,
               int64_t interval_retention, str failing not None):
        cdef Writer out = self._begin_for("settle", queue_type, 7, 9 + 10 * len(told))
        cdef Py_ssize_t at, place
        self._ending_keys()
        self._key(DEAD, "")
        self._queue_keys("")
        self._key(COUNTERS, "")
        self._key(MARKS, "")
        out.integer(retention)
        out.integer(interval_retention)
        out.word(failing)
        for at in range(PyList_GET_SIZE(told)):
            row = <object>PyList_GET_ITEM(told, at)
            check_fields(row, 10)
            for place in range(10):
                out.word(<str>PyTuple_GET_ITEM(row, place))
        return out.take()

    def shards(self, str queue_type, str former not None, str following not None, bint begins):
        cdef Writer out = self._begin_for("shards", queue_type, 2, 3)
        self._key(VOID, "")
        self._key(SHARDS, "")
        out.word(former)
        out.word(following)
        out.integer(1 if begins else 0)
        return out.take()

    def show_limits(self, str queue_type, str kind, str name):
        cdef Writer out = self._begin_for("show_limits", queue_type, 4, 4)
        self._type_keys()
        self._key(LIMIT, "")
        self._key(QUEUE, "")
        self._key(DELAYED, "")
        out.word(kind)
        out.word(name)
        return out.take()

    def status(self, str queue_type, str queue_id, str job_id, int64_t retention):
        cdef Writer out = self._begin_for("status", queue_type, 10, 4)
        self._type_keys()
        self._key(HELD, "")
        self._queue_keys(queue_id)
        self._key(LIMIT, "")
        self._key(DEAD, "")
        self._key(MARKS, "")
        out.integer(retention)
        out.word(queue_id)
        out.word(job_id)
        return out.take()

    def take_over(self, str queue_type, str token not None, list arriving not None):
        cdef Writer out = self._begin_for("take_over", queue_type, 8, 6 + 7 * len(arriving))
        cdef Py_ssize_t at
        self._type_keys()
        self._key(HELD, "")
        self._key(SERIAL, "")
        self._key(WAITING, "")
        self._key(LIMIT, "")
        self._key(MOVING, "")
        self._queue_keys("")
        self._key(COUNTERS, "")
        out.word(token)
        for at in range(PyList_GET_SIZE(arriving)):
            row = <object>PyList_GET_ITEM(arriving, at)
            check_fields(row, 7)
            out.word(<str?><object>PyTuple_GET_ITEM(row, 0))
            out.word(<str?><object>PyTuple_GET_ITEM(row, 1))
            out.blob(<bytes?><object>PyTuple_GET_ITEM(row, 2))
            out.integer(integer_of(<object>PyTuple_GET_ITEM(row, 3)))
            out.integer(integer_of(<object>PyTuple_GET_ITEM(row, 4)))
            out.integer(integer_of(<object>PyTuple_GET_ITEM(row, 5)))
            out.word(<str?><object>PyTuple_GET_ITEM(row, 6))
        return out.take()

    def try_write(self, int64_t place):
        cdef Writer out = self._begin("try_write", 1, 0)
        out.blob(self.keys.spare(place) + WRITE)
        return out.take()

    def type_metrics(self, str queue_type):
        cdef Writer out = self._begin_for("type_metrics", queue_type, 6, 1)
        self._type_keys()
        self._key(HELD, "")
        self._key(LIMIT, "")
        self._key(DEAD, "")
        self._key(COUNTERS, "")
        return out.take()

    def unregister(self, str queue_type, int64_t age):
        cdef Writer out = self._begin("unregister", 1, 2)
        out.blob(self.keys._registry)
        out.word(queue_type)
        out.integer(age)
        return out.take()
