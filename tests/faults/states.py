"""What the store's own states of queues, groups and types count, read by their text."""

from __future__ import annotations

from typing import Any


def level_of(rest: str, text: str) -> dict[str, Any] | None:
    """A level by its key (behind the tag) and its state: `level`, `leased`, `group`.

    `level` is a queue, or `=` and the name of a group, or `=` for the type; `group` that of a
    queue, "" for none. None for other keys, for a key that has gone, and for a type that
    counts no leases.
    """
    word, _, name = rest.partition(":")
    if not text:
        return None
    if word == "q":
        more, text = text[1:].split("|", 1) if text.startswith("~") else ("", text)
        group = ""
        if more:
            of_enqueues, of_api = more.split(":")[7:9]
            group = of_api or of_enqueues
        return {"level": name, "leased": int(text.split(" ")[0].split(":")[4]), "group": group}
    if rest == "limit" or rest.startswith("limit:g:"):
        fields = text.split(":")
        if rest == "limit" and fields[2] == "0":
            return None
        group = rest.removeprefix("limit").removeprefix(":g:")
        return {"level": f"={group}", "leased": int(fields[7]), "group": ""}
    return None
