"""Damage to the store's log of changes: what a failure of power leaves at its end, and the rest.

The system may have made a file longer before it wrote the data: then it ends in zeros. Or the last
change was written in part. The store cuts off the latter by itself, and refuses to start with the
former.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
from pathlib import Path
from typing import BinaryIO, Final

from sharq.errors import EmbeddedStoreError

_log = logging.getLogger(__name__)

_FOLDER: Final = "appendonlydir"
_CHANGES: Final = re.compile(r".+\.(\d+)\.incr\.aof")
_BLOCK: Final = 64 * 1024
_CUT: Final = re.compile(rb"Truncating the AOF (\S+) at offset (\d+)")
_UNREADABLE: Final = re.compile(rb"Bad file format reading the append only file ([^\s:]+)")
_NAMED: Final = re.compile(rb"^file (\S+) seq \d+ type [bi]", re.MULTILINE)
_ACKNOWLEDGED: Final = (
    "With appendfsync always no change that was acknowledged is among them; otherwise those of the"
    " last seconds may be missing"
)


def cut_zeros(folder: Path) -> None:
    """Cut zeros off the end of the log, where no change can end in one; what was done is logged.

    To be called while no store runs.
    """
    path = newest(folder)
    if path is None:
        return
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        end = _end_of_data(file, size)
        if end == size:
            return
        file.truncate(end)
        os.fsync(file.fileno())
    _log.warning(
        "The log of the store ended in %d zero bytes, as after a failure of power: they were cut"
        " off. %s (%s)",
        size - end,
        _ACKNOWLEDGED,
        path,
    )


def check_whole(folder: Path) -> None:
    """Check that the log has its manifest, and all files that this names: without them a store
    would start empty, or not at all.

    Raises `EmbeddedStoreError`.
    """
    place = folder / _FOLDER
    manifests = list(place.glob("*.manifest"))
    if manifests:
        named = _NAMED.findall(manifests[0].read_bytes())
        missing = [name for name in map(os.fsdecode, named) if not (place / name).exists()]
        if named and not missing:
            return
        problem = f"lacks {', '.join(missing)}" if missing else "has an empty manifest"
    elif any(place.glob("*.aof")):
        problem = "has no manifest"
    else:
        return
    raise EmbeddedStoreError(
        f"The log of changes in {place} {problem}, so the store cannot start with what it had."
        " Copy the whole folder from a backup."
    )


def newest(folder: Path) -> Path | None:
    """The file of the log to which changes are appended; None if there is none of its own."""
    found = [
        (int(match[1]), path)
        for path in folder.glob(f"{_FOLDER}/*.incr.aof")
        if (match := _CHANGES.fullmatch(path.name))
    ]
    return max(found)[1] if found else None


def tell_what_was_cut(said: bytes, size: int) -> None:
    """Log that the store has cut off an incomplete change, if that is in what it `said` at its
    start; the file had `size` bytes.
    """
    cut = _CUT.search(said)
    if cut is not None:
        _log.warning(
            "The last change in the log of the store was not whole, as after a failure of power:"
            " %d bytes were cut off. %s (%s)",
            max(0, size - int(cut[2])),
            _ACKNOWLEDGED,
            cut[1].decode(errors="replace"),
        )


def how_to_mend(said: bytes, folder: Path, binary: Path) -> str:
    """What to do if a store that has ended could not read its log; empty if that was not why."""
    path, unreadable = newest(folder), _UNREADABLE.search(said)
    if path is None or unreadable is None:
        return ""
    if os.fsdecode(unreadable[1]) != path.name:
        # The base of the log is in the format of the store that wrote it.
        return (
            f"\n{binary} cannot read {os.fsdecode(unreadable[1])}: perhaps a newer store has"
            ' written it, such as that of `pip install "sharq[embedded]"`. Then use that one.'
        )
    # The store's binary is also its tool, by the name it is called. The tool takes one file: given
    # the manifest, it does not know Valkey's format of the first one.
    tool = f"{binary.name.partition('-')[0]}-check-aof"
    fix = shlex.quote(f"exec -a {tool} {shlex.quote(str(binary))} --fix {shlex.quote(str(path))}")
    return (
        f"\nIts log of changes is damaged. Copy {folder} first; then this shows where, and cuts off"
        f" the damage and all that comes after it: bash -c {fix}"
    )


def _end_of_data(file: BinaryIO, size: int) -> int:
    """Where the zeros at the end of a file begin."""
    end = size
    while end:
        start = max(0, end - _BLOCK)
        file.seek(start)
        block = file.read(end - start)
        data = len(block.rstrip(b"\0"))
        if data:
            return start + data
        end = start
    return 0
