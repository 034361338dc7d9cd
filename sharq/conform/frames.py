"""A client's frames as docs/push-protocol.md has them, checked field by field. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta, Raw

MAX_CREDIT: Final = 10_000
MAX_FRAME_BYTES: Final = 1024 * 1024 + 64 * 1024
_MAX_ID_BYTES: Final = 128
_YEAR: Final = 31_536_000_000

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
_Lease = Annotated[str, Meta(min_length=1)]
_Leases = Annotated[list[_Lease], Meta(min_length=1, max_length=1000)]
_Credit = Annotated[int, Meta(ge=0)]
"""Without an upper bound: a credit that is too large is judged by the scenario about credit."""
_Delay = Annotated[int, Meta(ge=0, le=_YEAR)]
_Cost = Annotated[int, Meta(ge=0, le=1_000_000)]
_Pause = Annotated[int, Meta(ge=1, le=3_600_000)]
_Jobs = Annotated[list[dict[str, Any]], Meta(min_length=1, max_length=1000)]


class BadFrame(Exception):
    """What a client sent is no frame of its; `code` is that of the error which it gets."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Frame(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, tag_field="op"):
    """Any of them. `id` is JSON text as it came, empty if there is none."""

    id: Raw = Raw()


class Subscribe(Frame, tag="subscribe"):
    queue_type: Name
    credit: _Credit
    mode: Literal["deliver", "notify"] | None = None
    leases: Annotated[list[_Lease], Meta(max_length=1000)] | None = None
    on_disconnect: Literal["keep", "release"] | None = None
    worker: Annotated[str, Meta(min_length=1, max_length=100)] | None = None


class Credit(Frame, tag="credit"):
    credit: _Credit
    queue_type: Name | None = None


class Unsubscribe(Frame, tag="unsubscribe"):
    queue_type: Name


class _Item(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    lease: _Lease
    cost: _Cost | None = None


class _Released(_Item):
    delay: _Delay | None = None
    count_requeue: bool | None = None
    pause: _Pause | None = None
    pause_scope: Literal["queue", "group", "type"] | None = None


class _Error(msgspec.Struct, forbid_unknown_fields=True):
    type: str | None = None
    message: str | None = None
    trace: str | None = None


class _Failed(_Item):
    error: _Error | None = None
    retry: bool | None = None
    delay: _Delay | None = None
    pause: _Pause | None = None
    worker: str | None = None


class _Ends(Frame):
    leases: _Leases | None = None
    cost: _Cost | None = None

    @property
    def tokens(self) -> list[str]:
        """The leases that it ends."""
        items: list[_Item] | None = getattr(self, "items", None)
        if self.leases is not None:
            return self.leases
        return [] if items is None else [each.lease for each in items]


class Finish(_Ends, tag="finish"):
    items: Annotated[list[_Item], Meta(min_length=1, max_length=1000)] | None = None


class Release(_Ends, tag="release"):
    items: Annotated[list[_Released], Meta(min_length=1, max_length=1000)] | None = None
    delay: _Delay | None = None
    count_requeue: bool | None = None
    pause: _Pause | None = None
    pause_scope: Literal["queue", "group", "type"] | None = None


class Fail(_Ends, tag="fail"):
    items: Annotated[list[_Failed], Meta(min_length=1, max_length=1000)] | None = None
    error: _Error | None = None
    retry: bool | None = None
    delay: _Delay | None = None
    pause: _Pause | None = None
    worker: str | None = None


class Extend(Frame, tag="extend"):
    leases: _Leases
    by: Annotated[int, Meta(ge=1, le=_YEAR)]


class Cancel(Frame, tag="cancel"):
    jobs: _Jobs


class Enqueue(Frame, tag="enqueue"):
    jobs: _Jobs


class Dequeue(Frame, tag="dequeue"):
    queue_type: Name
    count: Annotated[int, Meta(ge=1, le=100)] | None = None
    request_id: Name | None = None


class Watch(Frame, tag="watch"):
    topics: Annotated[list[str], Meta(max_length=8)]


class Ping(Frame, tag="ping"):
    pass


Ends = Finish | Release | Fail
AnyFrame = (
    Subscribe | Credit | Unsubscribe | Finish | Release | Fail | Extend | Cancel | Enqueue | Dequeue
    | Watch | Ping
)  # fmt: skip

_decoder: Final = msgspec.json.Decoder(AnyFrame)
_FIELDS: Final = {
    str(each.__struct_config__.tag): [field for field in each.__struct_fields__ if field != "id"]
    for each in get_args(AnyFrame)
}


def _instead(text: str, problem: str) -> str:
    """What there is in place of an unknown op, or an unknown field of the frame itself."""
    op = msgspec.json.decode(text).get("op") if text.lstrip()[:1] == "{" else None
    if not isinstance(op, str) or op not in _FIELDS:
        return f"; the ops are {', '.join(_FIELDS)}"
    if "unknown field" in problem and "`$" not in problem:
        return f"; `{op}` has {', '.join(_FIELDS[op]) or 'none'}"
    return ""


def read(text: str) -> AnyFrame:
    """A frame of the client. Raises `BadFrame`; its message says what is wrong where."""
    if len(text.encode()) > MAX_FRAME_BYTES:
        raise BadFrame("invalid_argument", f"the frame has more than {MAX_FRAME_BYTES} bytes")
    try:
        frame: AnyFrame = _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise BadFrame("invalid_argument", f"{error}{_instead(text, str(error))}") from None
    except msgspec.DecodeError as error:
        raise BadFrame("not_json", str(error)) from None
    name = bytes(frame.id)
    if len(name) > _MAX_ID_BYTES or name[:1] in (b"{", b"["):
        raise BadFrame("invalid_argument", f"`id` is no scalar of up to {_MAX_ID_BYTES} bytes")
    if isinstance(frame, Ends) and (frame.leases is None) == (frame.items is None):
        raise BadFrame("invalid_argument", "it has to have `leases` or `items`, and not both")
    return frame
