"""JSON text read into msgspec forms, and what is said of text that does not fit. Pure."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Raw

from sharq.errors import BadArgumentException, NotJson
from sharq.identifiers import invalid

Form = TypeVar("Form", bound=msgspec.Struct)

_decoders: Final[dict[type[msgspec.Struct], msgspec.json.Decoder[Any]]] = {}
_object_decoder: Final = msgspec.json.Decoder(dict[str, Raw])


def decode(form: type[Form], text: bytes, noun: str) -> Form:
    """The text as a `form`, whose fields all have defaults; `noun` is what an error calls it.

    Raises `NotJson`, and `BadArgumentException` that names the field.
    """
    decoder = _decoders.get(form)
    if decoder is None:
        decoder = _decoders[form] = msgspec.json.Decoder(form)
    try:
        try:
            decoded = decoder.decode(text)
        except msgspec.ValidationError:
            decoded = decoder.decode(_last_fields(form, text, noun))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotJson(f"{noun} is not valid JSON: {error}.") from None
    except RecursionError:
        raise BadArgumentException(f"{noun} nests too deep.") from None
    assert isinstance(decoded, form)
    return decoded


def check_utf8(text: bytes, noun: str) -> None:
    """Raise `NotJson` where the text is not UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise NotJson(f"{noun} is not UTF-8: byte {error.start}.") from None


def fields_of(text: bytes) -> dict[str, Raw]:
    """The fields of a JSON object as text, the last of each name.

    Raises msgspec.ValidationError for another value, msgspec.DecodeError, UnicodeDecodeError and
    RecursionError for what cannot be read.
    """
    return _object_decoder.decode(text)


def mandatory(field: str, value: Any) -> Any:
    """Return `value`; raise where the body did not have it."""
    if value is UNSET:
        raise BadArgumentException(f"`{field}` is a mandatory parameter")
    return value


def unknown(name: str) -> BadArgumentException:
    """The error for a field or parameter with a name that a client chose."""
    shown = name if len(name) <= 100 else f"{name[:100]}…"
    return BadArgumentException(f"`{shown}` is not a known parameter.")


def _last_fields(form: type[Form], text: bytes, noun: str) -> bytes:
    """The text of an object with the last field of each name only, since no other one counts.

    Raises `BadArgumentException` that tells why it is no `form`. What is no JSON at all raises on.
    """
    try:
        values = fields_of(text)
    except msgspec.ValidationError:
        raise BadArgumentException(f"{noun} has to be a JSON object.") from None
    known = {field.encode_name: field.type for field in msgspec.structs.fields(form)}
    for name in values:
        if name not in known:
            # A form that overlooks what it does not know has fields of any type.
            raise unknown(name)
    for name, value in values.items():
        try:
            msgspec.json.decode(value, type=known[name])
        except msgspec.ValidationError:
            raise invalid(name) from None
    return msgspec.json.encode(values)
