"""The forms in which metrics are told, and which one a client asks for. Pure."""

from __future__ import annotations

import re
from enum import Enum


class Form(Enum):
    """A form; its value is the Content-Type."""

    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


_LEGACY = re.compile(r"version *= *\"?0\.0\.4\"?")
_QUALITY = re.compile(r"q *= *([01](?:\.\d{0,3})?)")


def form_of(accept: str | None) -> Form | None:
    """The form that an Accept header asks for by its name; None if it asks for none.

    Of several it is the one with the highest quality, of the same quality the first.
    """
    best: tuple[float, Form] | None = None
    for item in (accept or "").lower().split(","):
        media_type, *parameters = (part.strip() for part in item.split(";"))
        if media_type == "application/openmetrics-text":
            form = Form.OPENMETRICS
        elif media_type == "text/plain" and any(map(_LEGACY.fullmatch, parameters)):
            form = Form.TEXT
        else:
            continue
        told = [match[1] for match in map(_QUALITY.fullmatch, parameters) if match]
        quality = float(told[0]) if told else 1.0
        if quality > 0 and (best is None or quality > best[0]):
            best = quality, form
    return None if best is None else best[1]
