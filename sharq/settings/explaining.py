"""Messages about wrong options: in one line, with a hint, and without secrets. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from sharq.settings import kinds
from sharq.settings.options import BY_NAME, GONE, OPTIONS, SECTIONS, Option


def visible(text: str) -> str:
    """`text` for a message: one line, not too long."""
    if len(text) > 200:
        text = f"{text[:200]}..."
    return text if text.isprintable() else ascii(text)


def _quoted(text: str) -> str:
    """The value `text` for a message, without possible credentials."""
    text = text.splitlines()[0] if text else ""
    if "://" in text:
        text = f"{text.partition('://')[0]}://..."
    elif "@" in text:
        text = f"...@{text.rpartition('@')[2]}"
    return f"'{visible(text)}'"


def labelled(label: str, option: Option, text: str) -> str:
    return f"{label}: " if option.secret else f"{label} = {_quoted(text)}: "


def slip(text: str) -> str:
    """A hint for two notations that INI files do not have."""
    if text.startswith("#") or " #" in text:
        return "; after a value, only ; begins a comment"
    return "; quotes are part of a value" if kinds.is_quoted(text) else ""


def meant(name: str, known: Mapping[str, str]) -> str:
    """The entry of `known` (name to what to show) that is like `name`, as a question."""
    near = difflib.get_close_matches(name.lower(), known, n=1)
    return f" (did you mean {known[near[0]]}?)" if near else ""


def no_such_option(section: str, name: str, *, variable: bool = False) -> str:
    """The message for an option that `section` lacks; spelled as a variable if it was one."""
    if (section, name.lower()) in GONE:
        return f"this option is gone: {GONE[section, name.lower()]}"
    options = [option for option in OPTIONS if option.section == section]
    names = [option.variable if variable else option.name for option in options]
    homes = [BY_NAME[each, name.lower()] for each in SECTIONS if (each, name.lower()) in BY_NAME]
    if homes and section not in {option.section for option in homes}:
        if variable:
            hint = f" (did you mean {' or '.join(option.variable for option in homes)}?)"
        else:
            hint = f" (it belongs to {' or '.join(f'[{option.section}]' for option in homes)})"
    else:
        known = {option.name: spelled for option, spelled in zip(options, names, strict=True)}
        hint = meant(name, known)
    return f"no such option{hint}; the options of [{section}] are {', '.join(names)}"
