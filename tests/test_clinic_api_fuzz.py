"""The clinic's API under inputs that nobody thought of: no server error, each refusal in the shape that the page reads.

What may be asked is told to schemathesis by the models that the server reads requests with.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic.json_schema import models_json_schema
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from pen_controller.clinic.acts import ACTS
from pen_controller.clinic.live import NOT_JSON
from tests.clinic_target import BOUND_S, Target, attacked, page

EXAMPLES = 6
"""Of each request, besides those that go through its schema."""
REF = "#/components/schemas/{model}"
JSON = "application/json"
BARE = {"/api/login", "/api/logout", "/api/setup"}
"""Asked from a browser of its own, for they change who is logged in there."""
LOOKS = ("setup", "accounts", "state", "config", "face", "plans", "treatments", "answers", "texts/{name}")
HELD_TO = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]


def described() -> dict[str, Any]:
    """The API as an OpenAPI document."""
    bodies, defined = models_json_schema([(entry.body, "validation") for entry in ACTS], ref_template=REF)
    limit = {"type": ["object", "null"]}
    refusal = closed({"text": {"type": "string"}, "limit": limit, "field": {"type": ["string", "null"]}})
    answers = {"200": told({"type": "object"}), "4XX": told(closed({"error": refusal}))}
    paths: dict[str, Any] = {
        entry.path: {"post": {"requestBody": {"required": True} | told(bodies[entry.body, "validation"])}}
        for entry in ACTS
    }
    paths |= {f"/api/{look}": {"get": {}} for look in LOOKS}
    paths["/api/texts/{name}"]["get"]["parameters"] = [
        {"name": "name", "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
    ]
    for operations in paths.values():
        for operation in operations.values():
            operation["responses"] = answers
    return {
        "openapi": "3.1.0",
        "info": {"title": "the clinic's laptop", "version": "1"},
        "paths": paths,
        "components": {"schemas": defined["$defs"]},
    }


def told(schema: Any) -> dict[str, Any]:
    """A body of JSON."""
    return {"description": "", "content": {JSON: {"schema": schema}}}


def closed(properties: dict[str, Any]) -> dict[str, Any]:
    """An object with just these properties."""
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


API = schemathesis.openapi.from_dict(described())


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with pytest.MonkeyPatch.context() as patch, attacked(tmp_path_factory.mktemp("fuzzed"), "simulated") as target:
        patch.setattr("pen_controller.clinic.jobs.MOST_JOBS", 1)  # each is a process
        yield target


@API.parametrize()
@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck), derandomize=True)
def test_no_request_is_a_server_error(case: schemathesis.Case[Any], target: Target) -> None:
    who = "nobody" if case.path in BARE else "clinician"
    headers = {"Cookie": f"pen_session={target.words[who]}", "Origin": target.origin, "Content-Type": JSON}
    answer = case.call(base_url=target.origin, headers=headers)
    if cookie := answer.headers.get("set-cookie"):
        target.words[who] = cookie[0].partition(";")[0].partition("=")[2]
    case.validate_response(answer, checks=HELD_TO)
    if answer.status_code >= 400:  # also where schemathesis looks at the status only
        assert set(answer.json()["error"]) == {"text", "limit", "field"}


KEYS = st.sampled_from(["operating", "hold", "alive", "stops", ""]) | st.text(max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=5).map(json.dumps)
STOPS = VALUES.map(lambda value: json.dumps({"stop": value}))
NO_OBJECTS = (
    st.text(max_size=60) | st.binary(max_size=60) | VALUES.filter(lambda x: not isinstance(x, dict)).map(json.dumps)
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(said=st.lists(OBJECTS, max_size=8), then=NO_OBJECTS, stop=STOPS)
def test_a_page_may_say_anything_and_only_stop_stops(
    target: Target, said: list[str], then: str | bytes, stop: str
) -> None:
    before = steady(target)
    with page(target) as connection:
        for message in said:
            connection.send(message)
        connection.send(then)
        assert closed_with(connection) == NOT_JSON
    assert steady(target) == before
    with page(target) as connection:
        connection.send(stop)
        answer = next(message for message in heard(connection) if "phase" in message)
        assert answer["phase"] == "handled"
        next(message for message in heard(connection) if message.get("phase") == "confirmed")
    target.post("/api/resume", {"latch_id": latch(target)})


def heard(connection: ClientConnection) -> Iterator[dict[str, Any]]:
    """What comes, for as long as it does."""
    end_s = time.monotonic() + BOUND_S
    while time.monotonic() < end_s:
        yield json.loads(connection.recv(timeout=BOUND_S))
    raise AssertionError(f"waited {BOUND_S} s for something else than snapshots")


def closed_with(connection: ClientConnection) -> int | None:
    """Listen until the server closes the connection; return its code."""
    try:
        for _ in heard(connection):
            pass
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None
    return None


def steady(target: Target) -> dict[str, Any]:
    """All but the reports that are still being made."""
    return {part: seen for part, seen in target.state().items() if part != "jobs"}


def latch(target: Target) -> int:
    pen = target.laptop.desk.pen
    assert pen is not None
    return pen.state.latch_id
