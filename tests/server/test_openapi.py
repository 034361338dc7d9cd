"""The description of the API: valid, and the same as the route table and the reference."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from sharq_server.api import bodies, dead_bodies, limit_bodies, openapi
from sharq_server.api.replies import STATUS_OF_CODE
from sharq_server.api.routes import ROUTES
from sharq_server.api.routing import OPEN
from tests.server.support import Rest

REFERENCE = (Path(__file__).parents[2] / "docs" / "rest-api.md").read_text()
DOCUMENT = openapi.document()
PATHS: dict[str, dict[str, Any]] = DOCUMENT["paths"]

BODIES = {
    "NewJob": bodies.Job,
    "NewJobs": bodies.Bulk,
    "Nothing": bodies.Nothing,
    "Finish": bodies.Finish,
    "Release": bodies.Release,
    "Fail": bodies.Fail,
    "Selection": dead_bodies.Selection,
    "Extend": bodies.Extend,
    "Interval": bodies.Interval,
    "Clear": bodies.Clear,
    "NewLimits": limit_bodies.Limits,
    "NewLimitsOfQueue": limit_bodies.QueueLimits,
    "Pause": limit_bodies.Pause,
}


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


@pytest.mark.gen_test
async def test_the_document_is_served(rest: Rest) -> None:
    assert (await rest.get("/openapi.json")).outcome == (200, DOCUMENT)
    assert (await rest.get("/openapi.json/")).outcome == (200, DOCUMENT)


def braced(template: str) -> str:
    """A path of the route table as the document has it, without a slash at its end."""
    return re.sub("<(.*?)>", r"{\1}", template).rstrip("/") or "/"


def test_routes_and_methods_are_those_of_the_route_table() -> None:
    table = {
        braced(route.template): {method.lower() for method in route.methods if method != "HEAD"}
        for route in ROUTES
    }
    described = {
        path.rstrip("/") or "/": set(item) - {"parameters"}
        for path, item in PATHS.items()
        if path != "/ws/"
    }
    assert described == table


def test_a_token_is_asked_for_where_the_route_table_asks_for_one() -> None:
    open_routes = {braced(route.template) for route in ROUTES if route.operation == OPEN}
    for path, item in PATHS.items():
        for method in item.keys() - {"parameters"}:
            free = (path.rstrip("/") or "/") in open_routes
            assert (item[method]["security"] == []) == free
            assert ("401" in item[method]["responses"]) != free


def test_the_names_in_a_path_are_its_parameters() -> None:
    for path, item in PATHS.items():
        parameters = [each["name"] for each in item.get("parameters", [])]
        assert parameters == re.findall(r"{(\w+)}", path)


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, item in PATHS.items()
        for method, operation in item.items()
        if method != "parameters"
    ]


def test_operations_have_names_of_their_own() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", BODIES)
def test_the_fields_of_a_body_are_those_that_are_read(name: str) -> None:
    schema = DOCUMENT["components"]["schemas"][name]
    form: Any = BODIES[name]
    assert set(schema["properties"]) == set(form.__struct_encode_fields__)
    assert ("additionalProperties" in schema) == form.__struct_config__.forbid_unknown_fields


def codes_in(schema: dict[str, Any]) -> set[str]:
    word = schema.get("properties", {}).get("code", {})
    return set(word.get("enum", [word["const"]] if "const" in word else []))


def test_every_code_of_an_error_stands_under_its_status() -> None:
    found: dict[str, int] = {}
    for _, _, operation in operations():
        for status, response in operation["responses"].items():
            if "$ref" in response:
                name = response["$ref"].rpartition("/")[2]
                response = DOCUMENT["components"]["responses"][name]
            for content in response.get("content", {}).values():
                found |= dict.fromkeys(codes_in(content["schema"]), int(status))
    assert found == STATUS_OF_CODE


# ---- against the reference ----


def sections() -> dict[str, str]:
    """Those sections of the reference that are about routes."""
    parts = re.split(r"^## (.*)$", REFERENCE, flags=re.MULTILINE)[1:]
    texts = {title: f"`{title}` {text}" for title, text in zip(*[iter(parts)] * 2, strict=True)}
    return {title: text for title, text in texts.items() if routes_in(text)}


def routes_in(text: str) -> set[tuple[str, str]]:
    routes = re.findall(r"`(GET|POST|DELETE) (/[\w/<>.]*)`", text)
    return {(method, path.replace("<", "{").replace(">", "}")) for method, path in routes}


def test_the_reference_has_every_route() -> None:
    told = {route for text in sections().values() for route in routes_in(text)}
    # Of POST the reference says that it does the same as GET.
    described = {
        (method, path)
        for method, path, _ in operations()
        if not (method == "POST" and path.startswith("/dequeue/"))
    }
    assert described == told | {("GET", "/ws/")}


@pytest.mark.parametrize("title", [*sections()])
def test_a_section_of_the_reference_is_described(title: str) -> None:
    text = sections()[title]
    its_own = [each for each in operations() if (each[0], each[1]) in routes_in(text)]
    assert its_own
    statuses = {status for _, _, operation in its_own for status in operation["responses"]}
    known = {str(status) for status in (*STATUS_OF_CODE.values(), 200, 201, 202)}
    assert set(re.findall(r"(?<!\d)(\d{3})(?!\d)", text)) & known <= statuses
    described = "".join(
        f"{operation.get('requestBody')}{operation.get('parameters')}"
        for _, _, operation in its_own
    )
    for name in re.findall(r"schemas/(\w+)", described):
        described += str(DOCUMENT["components"]["schemas"][name])
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text, re.MULTILINE)
    for name in re.findall(r"`(\w+)`", " ".join(rows)):
        assert f"'{name}'" in described or title == "Status of a job", name
