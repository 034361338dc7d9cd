"""Operations by an injected clock that ends keys too: what a store does, at the test's pace."""

from __future__ import annotations

from collections.abc import Mapping

from sharq._fastpath import Codec
from sharq.operations.operations import failing_word
from sharq.operations.scripts import Scripts
from sharq.results import Swept
from sharq.settings.options import QueueSettings
from tests.support.direct import CLOCK_KEY, STARTED_AT
from tests.support.hands import PREFIX, Hands, PipelinedStore

ENDS_KEY = "{clock}ends"

# The store's own expiry stays, far off, so that PERSIST, SET and DEL mean what they always do;
# when a key ends by the test's clock is written down beside it, and told instead.
_CLOCK = f"""
local now_us = tonumber(redis.call('GET', '{CLOCK_KEY}'))
local now = math.floor(now_us / 1000)
local function expire(key, ms)
  redis.call('PEXPIRE', key, ms + 3600000)
  redis.call('ZADD', '{ENDS_KEY}', now + ms, key)
end

local function set_for(key, value, ms)
  redis.call('SET', key, value)
  expire(key, ms)
end

local store = redis
local redis = {{
  sha1hex = store.sha1hex, pcall = store.pcall, log = store.log, LOG_WARNING = store.LOG_WARNING,
}}
function redis.call(name, key, ...)
  local reply = store.call(name, key, ...)
  if name == 'PTTL' and reply > 0 then
    return store.call('ZSCORE', '{ENDS_KEY}', key) - now
  end
  return reply
end
"""

_REAP = """
for _, key in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1])) do
  if string.find(key, ARGV[2], 1, true) then
    redis.call('ZREM', KEYS[1], key)
    if redis.call('PTTL', key) > 0 then
      redis.call('DEL', key)
    end
  end
end
"""

_ENDS = """
local out = {}
for _, key in ipairs(redis.call('KEYS', ARGV[1])) do
  out[#out + 1] = key
  out[#out + 1] = redis.call('PTTL', key) > 0 and redis.call('ZSCORE', KEYS[1], key) or -1
end
return out
"""

_SCRIPTS = Scripts({"clock": _CLOCK})


class ExpiringQueue(Hands):
    """The operations by an injected clock, which stands still between them.

    What runs out by that clock is gone from the store when the clock reaches its end. With
    `linger` it stays there all the same, as on a store that is slow to expire, but for the
    answers of dequeues with a request_id. `overrides` are texts of includes, in place of those that
    there are. `now` is in ms.
    """

    def __init__(
        self,
        store: PipelinedStore,
        settings: QueueSettings | None = None,
        *,
        linger: bool = False,
        overrides: Mapping[str, str] | None = None,
    ) -> None:
        scripts = Scripts({"clock": _CLOCK, **overrides}) if overrides else _SCRIPTS
        super().__init__(store, scripts, settings)
        self._codec = Codec(PREFIX, scripts.digests)
        self._mortal = ":x:" if linger else ""
        self.move_to(STARTED_AT)

    @property
    def now(self) -> int:
        return self._now_us // 1000

    @property
    def now_us(self) -> int:
        return self._now_us

    def advance(self, ms: float) -> None:
        """Move the clock; a negative step moves it back."""
        self.move_to(self._now_us + round(ms * 1000))

    def move_to(self, us: int) -> None:
        """Set the clock, to the microsecond."""
        self._now_us = us
        self.store.command("SET", CLOCK_KEY, us)
        self.store.command("EVAL", _REAP, 1, ENDS_KEY, self.now, self._mortal)

    def sweep_some(self, queue_type: str, batch: int) -> Swept:
        """One call of the sweep that takes back up to `batch` jobs."""
        packed = self._codec.requeue(
            queue_type,
            batch,
            self.settings.finished_retention,
            self.settings.interval_retention,
            failing_word(self.settings) + self.seed,
        )
        return self.run(self.operations.requeue(queue_type)._replace(packed=packed))

    def ends(self) -> dict[str, int | None]:
        """The deployment's keys and when they end (ms), None for one that does not."""
        reply = self.store.command("EVAL", _ENDS, 1, ENDS_KEY, f"{{{PREFIX}*")
        ends = [int(end) for end in reply[1::2]]
        return {
            key.decode(): end if end >= 0 else None
            for key, end in zip(reply[::2], ends, strict=True)
        }
