"""JSON text read into msgspec forms, and the errors for text that does not fit. Pure."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Raw

from sharq.codec import json_text
from sharq.errors import BadArgumentException
from sharq.identifiers import invalid, missing, unknown

Form = TypeVar("Form", bound=msgspec.Struct)

_decoders: Final[dict[type[msgspec.Struct], msgspec.json.Decoder[Any]]] = {}
PAYLOAD: Final = "payload"
"""The field whose value is checked separately, wherever it is sent."""

MAX_ITEMS: Final = 1000
"""Texts in a list, at most; of a longer list one more is returned."""

_object_decoder: Final = msgspec.json.Decoder(dict[str, Raw])


def decode(form: type[Form], text: bytes, noun: str, later: str = "") -> Form:
    """The text as a `form`, whose fields all have defaults; `noun` is what an error calls it.

    It is known to be UTF-8. A field named `later`, which the form does not have, is not checked.
    Raises `NotJson`, and `BadArgumentException` that names the field.
    """
    decoder = _decoders.get(form)
    if decoder is None:
        decoder = _decoders[form] = msgspec.json.Decoder(form)
    try:
        decoded = decoder.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return decode_carefully(form, text, noun, later)
    assert isinstance(decoded, form)
    return decoded


def decode_carefully(form: type[Form], text: bytes, noun: str, later: str = "") -> Form:
    """The same for any text, field by field.

    Errors name the field; odd values elsewhere do no harm. The last field of a name counts. The
    caller checks the texts in a list one by one.
    """
    values = json_text.fields_of(text)
    if values is None:
        refused = json_text.refusal(noun, text)
        raise refused or BadArgumentException(f"{noun} has to be a JSON object.")
    known = {field.encode_name: field for field in msgspec.structs.fields(form)}
    fields: dict[str, Any] = {}
    for name, value in values.items():
        kind = known[name].type if name in known else None
        items = json_text.items_of(value, MAX_ITEMS + 1) if kind == list[Raw] else None
        if items is None and name != later:
            _check(name, value, text, noun)
        if kind is Raw:
            fields[known[name].name] = Raw(value)
        elif kind is Any:
            fields[known[name].name] = json_text.read(value)
        elif items is not None:
            fields[known[name].name] = [Raw(item) for item in items]
        elif kind is not None:
            raise invalid(name)
        elif form.__struct_config__.forbid_unknown_fields:
            raise unknown(name)
    return form(**fields)


def _check(name: str, value: bytes, text: bytes, noun: str) -> None:
    """Raise if the value of a field is not readable JSON; `text` is the whole body."""
    refused = json_text.refusal(f"`{name}`", value, json_text.MAX_DEPTH)
    if refused is None:
        return
    if name != PAYLOAD:
        if not json_text.has_readable_numbers(value):
            raise invalid(name)
        refused = json_text.refusal(noun, text) or invalid(name)
    raise refused


def is_utf8(text: bytes) -> bool:
    """Tell whether the text is UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def field_of(text: bytes, name: str) -> bytes | None:
    """The text of the last field of this name in a JSON object; None if there is none."""
    try:
        return bytes(_object_decoder.decode(text)[name])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return json_text.field_of(text, name)
    except KeyError:
        return None


def mandatory(field: str, value: Any) -> Any:
    """Return `value`; raise if the body does not have it."""
    if value is UNSET:
        raise missing(field)
    return value
