"""What may be a payload, and that it comes back as it was."""

from __future__ import annotations

import enum
import inspect
import json
import math
import sys
from collections import OrderedDict
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharq._fastpath import json_value
from sharq.codec import json_text
from sharq.errors import BadArgumentException, NotJson, PayloadTooLarge, UnreadablePayload
from sharq.operations.payloads import check_payload, decode_payload, encode_payload
from tests.support.cases import cases

ROOM = 1_048_576
LEASE = "t/q/j/1"


class Number(enum.IntEnum):
    ONE = 1


class Half(float):
    def __repr__(self) -> str:
        return "a half"


class Pair(NamedTuple):
    one: int
    other: list[int]


class Reversed(dict[str, Any]):
    def items(self) -> Any:
        return reversed(super().items())


class Doubled(list[Any]):
    def __iter__(self) -> Any:
        return iter([*super().__iter__(), *super().__iter__()])


class Word(str, enum.Enum):  # noqa: UP042 (what it is before StrEnum)
    ONE = "one"


def refusal(act: Any, *arguments: Any) -> str:
    with pytest.raises(BadArgumentException) as caught:
        act(*arguments)
    return str(caught.value)


# ---- JSON text ----


@cases(
    "text",
    [
        *(b"null", b"true", b"false", b'""', b"[]", b"{}"),
        *(b"0", b"-0", b"7", b"-12", b"0.5", b"1e5", b"1E+2", b"0.1e-5", b"1e308", b"1e-400"),
        *(b"1234567890" * 4, b"-" + b"1234567890" * 4, b"9" * 4000, b"-" + b"9" * 4000),
        *('"é😀"'.encode(), b'"\\ud83d\\ude00"', b'"\x7f"', b'"\xef\xbf\xbf"'),
        b'"\\/\\b\\f\\n\\r\\t\\"\\\\\\u0000"',
        # halves of surrogate pairs, as texts have them that were cut in the middle of a character
        *(b'"Hi \\ud83d"', b'"\\udc00"', b'"\\ud800\\u0041"', b'"\\ud800\\ud800"'),
        *(b'"\\udc00\\ud800"', b'{"\\ud800":1}', b'"\\ud83d \\ude00"'),
        *(b'{"a":1,"a":2}', b'{"":null}', b'{"b":1,"a":[{}, [ ] ]}', b"[1 , 2]"),
    ],
    ids=lambda text: text[:20],
)
def test_strict_json_is_taken_as_it_is(text: bytes) -> None:
    assert check_payload(text, ROOM) == text


def test_white_space_around_the_text_is_left_out() -> None:
    assert check_payload(b' \t\r\n{"a": [1 ]} \n', ROOM) == b'{"a": [1 ]}'


@cases(
    "text",
    [
        # nothing, half of something, more than one thing
        *(b"", b" ", b"[", b"{", b'"a', b'{"a":', b"tru", b"1 2", b"{} x", b"[1]]", b"{}\x00"),
        # what looks like JSON
        *(b"NaN", b"[NaN]", b"nan", b"Infinity", b"-Infinity", b"True", b"None", b"undefined"),
        *(b"[1,]", b'{"a":1,}', b"{a:1}", b"{'a':1}", b"{1:2}", b"[1 2]", b'{"a" 1}', b"(1)"),
        *(b"/**/1", b"[1]//", b"#", b"\x0b1", b"1;"),
        # numbers
        *(b"01", b"-", b"+1", b"--1", b"1.", b".5", b"1e", b"1e+", b"0x1", b"1_0", b"\xd9\xa1"),
        # strings
        *(b'"\x00"', b'"\n"', b'"\t"', b'"\x1f"', b'"\\x"', b'"\\u12"', b'"\\u12g4"', b'"\\'),
        # bytes that are no UTF-8, and what is not to be guessed
        *(
            b'"\xff"',
            b'"\xc0\x80"',
            b'"\xed\xa0\x80"',
            b'"\xf5\x80\x80\x80"',
            b'"\xf0\x9f"',
            b"\xa0",
        ),
        *(
            b"\xef\xbb\xbf{}",
            "{}".encode("utf-16"),
            "{}".encode("utf-16-be"),
            "{}".encode("utf-32"),
        ),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_strict_json_is_refused(text: bytes) -> None:
    with pytest.raises(NotJson, match=r"^`payload` is not valid JSON: "):
        check_payload(text, ROOM)


@cases(
    ("text", "message"),
    [
        (b"", "`payload` is not valid JSON: it is empty."),
        (b'{"a":[1', "`payload` is not valid JSON: it ends too early."),
        (b"[1,]", "`payload` is not valid JSON: byte 3 is not expected there."),
        (b'"\xff"', "`payload` is not valid JSON: byte 1 is not UTF-8."),
        (b'"a\tb"', "`payload` is not valid JSON: a string has a control character, byte 2."),
        (
            b'"\\x"',
            "`payload` is not valid JSON: a string has an unknown escape, at byte 1.",
        ),
        (b"[NaN]", "`payload` is not valid JSON: it has NaN or an infinity."),
        (b"-Infinity", "`payload` is not valid JSON: it has NaN or an infinity."),
        (b"1 2", "`payload` is not valid JSON: there is more after its end, at byte 2."),
        (b'{"a":1e400}', "`payload` has a number that is too large."),
        (b"-1E+309", "`payload` has a number that is too large."),
        (b"1" + b"0" * 309 + b".5", "`payload` has a number that is too large."),
        (b"9" * 4001, "`payload` has an integer of more than 4,000 digits."),
        (b"[-" + b"9" * 100_000 + b"]", "`payload` has an integer of more than 4,000 digits."),
        (b"[" * 501 + b"]" * 501, "`payload` nests deeper than 500 levels."),
    ],
    ids=lambda value: value[:20],
)
def test_a_refusal_says_what_is_wrong(text: bytes, message: str) -> None:
    assert refusal(check_payload, text, ROOM) == message


def test_a_number_is_taken_up_to_where_a_double_ends() -> None:
    rounded_to_infinity = 2**1024 - 2**970
    for point in (0, 1, 200, 308, 309):
        for value, is_taken in ((rounded_to_infinity - 1, True), (rounded_to_infinity, False)):
            digits = str(value)
            text = f"{digits[:point] or 0}.{digits[point:] or 0}e{309 - point}".encode()
            assert math.isfinite(float(text)) is is_taken
            assert (json_value(b"-" + text, 0) is not None) is is_taken


@given(
    st.from_regex(r"\A-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?[eE][+-]?[0-9]{1,3}\Z")
    | st.from_regex(r"\A-?1797693134862315[78][0-9]{0,8}(\.[0-9]{1,3})?e2[89][0-9]\Z")
)
@settings(deadline=None, max_examples=1000)
def test_a_number_is_taken_where_python_reads_one(text: str) -> None:
    assert (json_value(text.encode(), 0) is not None) == math.isfinite(float(text))


@pytest.mark.parametrize("act", [check_payload, lambda text, room: encode_payload("x" * 8, room)])
def test_a_payload_over_the_bound_is_refused(act: Any) -> None:
    text = b'"xxxxxxxx"'
    assert act(text, 10) == text
    with pytest.raises(PayloadTooLarge, match=r"^`payload` is larger than 9 bytes\.$"):
        act(text, 9)


def test_the_bound_is_in_bytes_and_counts_the_white_space() -> None:
    assert encode_payload("éé", 6) == '"éé"'.encode()
    with pytest.raises(PayloadTooLarge):
        encode_payload("éé", 5)
    with pytest.raises(PayloadTooLarge):
        check_payload(b" 1 ", 2)


# ---- depth ----

DEEPEST = 500
TOO_DEEP = "`payload` nests deeper than 500 levels."


def nested(depth: int, inner: bytes = b"") -> bytes:
    opening, closing = b'{"a":[' * (depth // 2), b"]}" * (depth // 2)
    return opening + b"[" * (depth % 2) + inner + b"]" * (depth % 2) + closing


@pytest.mark.parametrize("inner", [b"", b"1", b'"[[[[{{{{"', b'"\\"[{"', b'"\\\\"'])
def test_text_may_nest_to_the_bound(inner: bytes) -> None:
    assert check_payload(nested(DEEPEST, inner), ROOM) == nested(DEEPEST, inner)
    assert refusal(check_payload, nested(DEEPEST + 1, inner), ROOM) == TOO_DEEP


def test_brackets_side_by_side_and_in_strings_do_not_nest() -> None:
    wide = b"[" + b",".join([b"[]"] * 2000) + b"]"
    quoted = b'["' + b"[{" * 2000 + b'"]'
    assert check_payload(wide, ROOM) == wide
    assert check_payload(quoted, ROOM) == quoted


def test_a_megabyte_of_brackets_is_refused() -> None:
    assert refusal(check_payload, b"[" * ROOM, ROOM) == TOO_DEEP
    assert refusal(check_payload, b'{"a":' * 200_000, ROOM) == TOO_DEEP


def value_of_depth(depth: int) -> Any:
    value: Any = []
    for _ in range(depth - 1):
        value = [value]
    return value


def test_values_may_nest_to_the_bound() -> None:
    assert decode_payload(encode_payload(value_of_depth(DEEPEST), ROOM), LEASE) == value_of_depth(
        DEEPEST
    )
    assert refusal(encode_payload, value_of_depth(DEEPEST + 1), ROOM) == TOO_DEEP
    assert refusal(encode_payload, {"a": value_of_depth(DEEPEST)}, ROOM) == TOO_DEEP


@pytest.mark.parametrize("kind", [list, dict])
def test_a_value_that_holds_itself_is_refused(kind: type) -> None:
    value: Any = kind()
    if isinstance(value, list):
        value.append(value)
    else:
        value["a"] = value
    assert refusal(encode_payload, value, ROOM) == TOO_DEEP


def test_a_caller_deep_in_its_own_recursion_gets_an_answer() -> None:
    def down(levels: int) -> str:
        return down(levels - 1) if levels else refusal(encode_payload, value_of_depth(400), ROOM)

    levels = sys.getrecursionlimit() - len(inspect.stack()) - 200
    assert down(levels) == "`payload` nests too deep to be looked through."


def reference(text: bytes) -> bytes | None:
    """The same judgement by a part that others made."""

    def refuse(_: str) -> NoReturn:
        raise ValueError

    def finite(number: str) -> float:
        value = float(number)
        return value if math.isfinite(value) else refuse(number)

    try:
        json.loads(text.decode(), parse_constant=refuse, parse_float=finite)
    except ValueError:
        return None
    return text.strip(b" \t\r\n")


pieces = st.sampled_from(
    [
        *(
            "[",
            "]",
            "{",
            "}",
            ",",
            ":",
            " ",
            "\t",
            "\n",
            "\x0b",
            "\x00",
            "\ufeff",
            "é",
            "\u2028",
            "😀",
        ),
        *('"a"', '"a":', '""', '"', "\\", "\\n", "\\u0041", "\\ud83d", "\\ude00", "\\uDBFF\\uDFFF"),
        *("0", "-", "1", "01", "1.5", ".", "e", "E+", "1e5", "true", "false", "null", "tru", "NaN"),
    ]
)


@given(
    st.lists(pieces, max_size=12).map(lambda parts: "".join(parts).encode())
    | st.lists(pieces, max_size=8).map(lambda parts: f'["{"".join(parts)}"]'.encode())
    | st.binary(max_size=6).map(lambda data: b'"' + data + b'"')
)
@settings(deadline=None, max_examples=2000)
def test_another_reader_judges_text_alike(text: bytes) -> None:
    assert json_value(text, DEEPEST) == reference(text)


# ---- Python's values ----


@cases(
    ("value", "text"),
    [
        (None, b"null"),
        (True, b"true"),
        (1, b"1"),
        (1.5, b"1.5"),
        (1e300, b"1e+300"),
        ([1.0, -0.0, 1e16, 5e-324], b"[1.0,-0.0,1e+16,5e-324]"),
        (10**40, b"1" + b"0" * 40),
        ("é😀\x00\n", '"é😀\\u0000\\n"'.encode()),
        ({"b": 1, "a": [1, "2", {}]}, b'{"b":1,"a":[1,"2",{}]}'),
        ((1, (2,)), b"[1,[2]]"),
        (Number.ONE, b"1"),
        (Half(0.5), b"0.5"),
        (Pair(1, [2]), b"[1,[2]]"),
        (OrderedDict(b=1, a=2), b'{"b":1,"a":2}'),
        (Reversed(a=1, b=2), b'{"b":2,"a":1}'),
        (Doubled([1, 2]), b"[1,2,1,2]"),
        ({Word.ONE: Word.ONE}, b'{"one":"one"}'),
    ],
)
def test_a_value_is_written_as(value: Any, text: bytes) -> None:
    assert encode_payload(value, ROOM) == text


@cases(
    ("value", "reason"),
    [
        (b"bytes", "bytes is no type that JSON has"),
        (bytearray(b"x"), "bytearray is no type that JSON has"),
        (date(2014, 1, 1), "date is no type that JSON has"),
        ({1, 2}, "set is no type that JSON has"),
        (Decimal("1.5"), "Decimal is no type that JSON has"),
        (1j, "complex is no type that JSON has"),
        (object(), "object is no type that JSON has"),
        (iter([]), "list_iterator is no type that JSON has"),
        ([{"a": b""}], "bytes is no type that JSON has"),
        (({"a": (b"",)},), "bytes is no type that JSON has"),
        ({1: 2}, "a key is no string"),
        ({None: 2}, "a key is no string"),
        ([{True: 2}], "a key is no string"),
        ({b"a": 2}, "a key is no string"),
    ],
)
def test_what_json_does_not_have_is_refused(value: Any, reason: str) -> None:
    assert refusal(encode_payload, value, ROOM) == f"`payload` has an invalid value: {reason}."


@pytest.mark.parametrize("value", [math.nan, math.inf, [-math.inf], {"a": math.nan}])
def test_a_number_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(NotJson, match=r"^`payload` is not valid JSON: it has NaN"):
        encode_payload(value, ROOM)


@pytest.mark.parametrize(
    "value", [10**4000, [-(10**4000)], {"a": 1 << 10**6}], ids=["one", "in a list", "huge"]
)
def test_an_integer_of_too_many_digits_is_refused(value: Any) -> None:
    message = "`payload` has an integer of more than 4,000 digits."
    assert refusal(encode_payload, value, ROOM) == message


@pytest.mark.parametrize("limit", [640, 4300, 0])
def test_integers_come_back_whatever_pythons_own_limit_is(limit: int) -> None:
    values = [sign * (10**digits - 1) for digits in (19, 599, 601, 1200, 4000) for sign in (1, -1)]
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(limit)
    try:
        text = encode_payload(values, ROOM)
        assert check_payload(text, ROOM) == text
        assert decode_payload(text, LEASE) == values
    finally:
        sys.set_int_max_str_digits(before)
    assert text == str(values).replace(" ", "").encode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("Hi \ud83d", b'"Hi \\ud83d"'),
        ({"\udc00": ["é\ud800"]}, b'{"\\udc00":["\\u00e9\\ud800"]}'),
    ],
)
def test_half_a_surrogate_pair_is_written_as_an_escape(value: Any, text: bytes) -> None:
    assert encode_payload(value, ROOM) == text
    assert check_payload(text, ROOM) == text
    assert decode_payload(text, LEASE) == value


def test_an_overflow_of_somebody_elses_is_not_explained_away() -> None:
    class Failing(dict[str, Any]):
        def items(self) -> Any:
            raise OverflowError("mine")

    with pytest.raises(OverflowError, match="mine"):
        encode_payload(Failing(), ROOM)


@pytest.mark.parametrize("text", [b"{", b"", b'"\xff"', b"\x82\xa1a\x01"])
def test_a_stored_payload_that_is_no_json_is_told_with_its_lease(text: bytes) -> None:
    with pytest.raises(UnreadablePayload, match="lease t/q/j/1 cannot be read") as raised:
        decode_payload(text, LEASE)
    assert (raised.value.lease, raised.value.payload) == (LEASE, text)


@pytest.mark.parametrize("text", [b"1e400", b"[-1E999]", b"1.7976931348623159e308"])
def test_a_number_beyond_the_floats_that_is_stored_already_is_read(text: bytes) -> None:
    assert decode_payload(text, LEASE) == json.loads(text)


@pytest.mark.parametrize("text", [None, "1", bytearray(b"1"), memoryview(b"1")])
def test_text_that_is_no_bytes_is_refused(text: Any) -> None:
    assert refusal(check_payload, text, ROOM) == "`payload` has an invalid value."


@cases("digits", [1, 40, 4000, 4001, 5000, 9001, 100_000])
@cases("sign", ["", "-"])
def test_an_integer_of_any_length_is_read(digits: int, sign: str) -> None:
    number = 10**digits // 7
    text = f"{sign}{'142857' * (digits // 6 + 1)}"[: digits + len(sign)].encode()
    assert decode_payload(b"[" + text + b"]", LEASE) == [-number if sign else number]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**60), 10**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def with_order(value: Any) -> Any:
    """The value with what Python's comparison leaves out: the order, and 1 is not 1.0 or True."""
    if isinstance(value, dict):
        return [(key, with_order(item)) for key, item in value.items()]
    if isinstance(value, list):
        return [with_order(item) for item in value]
    return type(value), value, str(value)


@given(json_values)
@settings(deadline=None)
def test_a_value_comes_back_as_it_was(value: Any) -> None:
    text = encode_payload(value, ROOM)
    assert text == json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    assert check_payload(text, ROOM) == text
    assert with_order(decode_payload(text, LEASE)) == with_order(value)


@given(json_values, st.sampled_from([None, 1]), st.booleans())
@settings(deadline=None)
def test_text_of_any_writing_comes_back_as_it_was(value: Any, indent: Any, ascii: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii).encode()
    assert check_payload(text, ROOM) == text
    assert with_order(decode_payload(text, LEASE)) == with_order(value)


@given(st.binary(max_size=40) | st.text('[]{}",:0129.eE+-\\ud8 ntrf', max_size=40).map(str.encode))
@settings(deadline=None, max_examples=300)
def test_nothing_is_taken_that_a_strict_reader_refuses(text: bytes) -> None:
    def refuse(_: str) -> NoReturn:
        raise ValueError

    try:
        taken = check_payload(text, ROOM)
    except BadArgumentException:
        return
    value = json.loads(taken.decode(), parse_constant=refuse)
    assert json_text.read(taken) == value
    assert decode_payload(taken, LEASE) == value
    assert encode_payload(value, ROOM)
