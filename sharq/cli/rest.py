"""A server's REST API, asked by urllib: a request, its answer or the error that it is."""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from email.message import Message
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from sharq.cli.problems import NoAnswer, Refused, WrongUsage
from sharq.cli.words import visible
from sharq.codec import json_text

_LONGEST: Final = 256 * 1024 * 1024
"""Bytes of an answer, at most; one of SharQ's is far below."""

_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_LATER: Final = 408
_CHANNEL_SCHEME: Final = {"http": "ws", "https": "wss"}
_TO_CHANNEL: Final[tuple[str, ...]] = ("User-Agent", "Authorization")
_OUTCOME_UNKNOWN: Final = "Whether it was carried out is not known."


class Channel(NamedTuple):
    """Where a push channel is, and what a handshake needs. `timeout` is in seconds."""

    url: str
    headers: Mapping[str, str]
    tls: ssl.SSLContext | None
    timeout: float


class Answer:
    """An answer of 2xx: its JSON `text` as it came, and the text of each field of it."""

    def __init__(self, text: bytes, fields: dict[str, bytes]) -> None:
        self.text = text
        self.fields = fields

    def value(self, name: str) -> Any:
        """The value of a field; None if there is none."""
        return value(self.fields, name)

    def items(self, name: str) -> list[bytes]:
        """The elements of a field that is a list, as text."""
        found = self.fields.get(name, b"[]")
        return json_text.items_of(found, len(found)) or []


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A token goes to no other address."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Server:
    """The server at `url`, which may have a path before the routes.

    `root` is the URL without its last slash. `timeout`: seconds without a byte of an answer.
    `tls_ca`: a file of CA certificates. Raises `WrongUsage` for a URL, a token or a file that
    cannot be used.
    """

    def __init__(
        self, url: str, token: str | None = None, timeout: float = 30, tls_ca: str | None = None
    ) -> None:
        self.root, host = _root_of(url)
        self._timeout = timeout
        self._tls_ca = tls_ca
        self._headers = {"User-Agent": "sharq", "Accept": "application/json"}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
        if host in _LOOPBACK:
            handlers.append(urllib.request.ProxyHandler({}))
        if tls_ca is not None:
            handlers.append(urllib.request.HTTPSHandler(context=_context(tls_ca)))
        self._opener = urllib.request.build_opener(*handlers)

    def ask(
        self,
        method: str,
        *path: str,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Send a request to the route of these segments: its answer.

        Raises `Refused` and `NoAnswer`.
        """
        url = "/".join([self.root, *(quote(part, safe="") for part in path), ""])
        if query:
            url += f"?{urlencode(query)}"
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        elif method == "POST":
            body = b""
        request = urllib.request.Request(url, body, headers, method=method)
        try:
            status, about, text = self._send(request)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            unknown = "" if method == "GET" else f" {_OUTCOME_UNKNOWN}"
            if isinstance(reason, ConnectionRefusedError):
                unknown = ""
            raise NoAnswer(f"No answer from {self.root}: {_told(reason)}.{unknown}") from None
        fields = json_text.fields_of(text) if json_text.is_json(text) else None
        if fields is None or "status" not in fields:
            raise NoAnswer(
                f"The answer from {self.root} is not SharQ's: {status}, "
                f"{visible(about.get_content_type())}."
            )
        if status >= 300:
            raise _error(status, fields)
        return Answer(text, fields)

    @property
    def channel(self) -> Channel:
        """Its push channel."""
        scheme, _, rest = self.root.partition("://")
        tls = None
        if scheme == "https":
            tls = ssl.create_default_context() if self._tls_ca is None else _context(self._tls_ca)
        headers = {each: self._headers[each] for each in _TO_CHANNEL if each in self._headers}
        return Channel(f"{_CHANNEL_SCHEME[scheme]}://{rest}/ws/", headers, tls, self._timeout)

    def fetch(self, *path: str, accept: str) -> tuple[int, str, bytes]:
        """GET something that is no JSON: its status, its content type, and its text.

        An answer that is an error is one like the others. Raises `NoAnswer` if none comes.
        """
        url = "/".join([self.root, *(quote(part, safe="") for part in path), ""])
        request = urllib.request.Request(url, headers=self._headers | {"Accept": accept})
        try:
            status, about, text = self._send(request)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise NoAnswer(f"No answer from {self.root}: {_told(reason)}.") from None
        return status, visible(about.get_content_type()), text

    def _send(self, request: urllib.request.Request) -> tuple[int, Message, bytes]:
        try:
            with self._opener.open(request, timeout=self._timeout) as answer:
                return answer.status, answer.headers, _read(answer)
        except urllib.error.HTTPError as answer:
            with answer:
                return answer.code, answer.headers, _read(answer)


def value(fields: Mapping[str, bytes], name: str) -> Any:
    """The value of a field of a JSON object whose fields are text; None if there is none."""
    return json_text.read(fields[name]) if name in fields else None


def object_of(fields: Mapping[str, bytes]) -> bytes:
    """The JSON object of fields whose values are JSON text, which stays as it is."""
    return b"{%s}" % b", ".join(b'"%s": %s' % (name.encode(), fields[name]) for name in fields)


def text_of(value: object) -> bytes:
    """A value as JSON text."""
    return json.dumps(value).encode()


def _root_of(url: str) -> tuple[str, str]:
    """A URL without its last slash, and its host. It is not shown: it may hold a password."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if (
        not host
        or parts.scheme not in ("http", "https")
        or not (url.isascii() and url.isprintable())
        or " " in url
    ):
        raise WrongUsage("The URL of the server is none: expected one like http://127.0.0.1:8080.")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise WrongUsage("The URL of the server has a query, a fragment, a user or a password.")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}", host


def _context(path: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=path)
    except (OSError, ValueError) as error:
        raise WrongUsage(f"The file {path} of --tls-ca cannot be used: {_told(error)}.") from None


def _read(answer: Any) -> bytes:
    text: bytes = answer.read(_LONGEST + 1)
    if len(text) > _LONGEST:
        raise ValueError("the answer is too long")
    if answer.length:
        raise http.client.IncompleteRead(text, answer.length)
    return text


def _told(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return "it took too long"
    if isinstance(reason, http.client.IncompleteRead):
        return "the connection ended in the middle of an answer"
    if isinstance(reason, http.client.RemoteDisconnected):
        return "the server closed the connection"
    if isinstance(reason, http.client.BadStatusLine):
        return "it does not speak HTTP"
    if isinstance(reason, ssl.SSLError):
        return getattr(reason, "verify_message", "") or str(reason.reason or reason)
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return visible(str(reason)).rstrip(".")


def _error(status: int, fields: dict[str, bytes]) -> Refused | NoAnswer:
    """What an answer says that is an error."""
    word = visible(str(value(fields, "code") or "error"))
    said = visible(str(value(fields, "message") or "")).rstrip(".")
    expected = value(fields, "expected")
    if expected:
        said += f"; expected {visible(str(expected)).rstrip('.')}"
    message = f"{said} ({status} {word})."
    if word == "unauthorized":
        message += " A token is given by SHARQ_TOKEN or --token."
    if value(fields, "outcome") == "unknown":
        message += f" {_OUTCOME_UNKNOWN}"
    if status >= 500 or status == _LATER:
        return NoAnswer(message)
    return Refused(message, status, word)
