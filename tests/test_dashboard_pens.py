"""What the dashboard knows of the pens after some messages, by a clock of the test's own."""

import json
from typing import Any

from pen_controller import config
from pen_controller.dashboard import server
from pen_controller.telemetry.messages import (
    AreaSoFar,
    EventPayload,
    Payload,
    StatePayload,
    StatusPayload,
    encode,
)
from tests.screens import DASH, LIVE, RUNNING, screen

RECKON = """
async ([steps, asked_s]) => {
  const { Pens } = await import("/pens.js");
  const pens = new Pens(["ws://h/mqtt"], { cheek: "Cheek" });
  const bytes = (payload) => new TextEncoder().encode(payload);
  for (const [topic, payload, retained, now_s] of steps) {
    pens.take("ws://h/mqtt", `pen/v1/${topic}`, bytes(payload), retained, now_s);
  }
  return asked_s.map((now_s) => pens.view(now_s));
}
"""
Step = tuple[str, Payload, bool, float]


async def reckon(steps: list[Step], *asked_s: float) -> list[Any]:
    """Return what the page would show at these times after these messages."""
    sent = [(topic, encode(payload).decode(), retained, now_s) for topic, payload, retained, now_s in steps]
    async with server.serving(["ws://127.0.0.1:1/mqtt"]) as url, screen(f"{url}icon.svg") as shown:
        views: list[Any] = await shown.page.evaluate(RECKON, [sent, list(asked_s)])
        return views


async def test_each_word_holds_for_its_own_time() -> None:
    latched = StatePayload(pen="p2", state="latched", latch="lease_expired")
    steps: list[Step] = [
        ("c/p1/state", RUNNING, False, 10.0),
        ("c/p1/live", LIVE, False, 10.0),
        ("c/p2/state", latched, False, 10.0),
    ]
    now, late, later, latest = await reckon(steps, 13.0, 13.1, 25.1, 70.1)
    at = [[view["pens"][0], view["pens"][1]] for view in (now, late, later, latest)]
    assert [p1["depth"] for p1, _ in at] == ["1.01", DASH, DASH, DASH]
    assert [p1["state"]["word"] for p1, _ in at] == ["RUNNING", DASH, DASH, DASH]
    assert [p1["battery"] for p1, _ in at] == ["87", "87", "87", DASH]
    assert [p2["state"]["word"] for _, p2 in at] == ["STOPPED", "STOPPED", DASH, DASH]
    assert at[0][1]["state"]["detail"] == "lease expired"
    assert [p1["word"] for p1, _ in at] == ["heard now", "no word for 3 s", "no word for 15 s", "no word for 60 s"]
    assert at[3][0]["areas"] == [
        {"name": "cheek", "label": "Cheek", "passes": "2", "density": "1801", "closed": False, "active": False}
    ]


async def test_what_was_retained_is_no_word() -> None:
    at_once, later = await reckon([("c/p1/state", RUNNING, True, 1.0)], 1.0, 4.5)
    assert at_once["pens"][0]["state"] == {"word": DASH, "look": "unknown", "detail": "last said RUNNING"}
    assert [view["pens"][0]["word"] for view in (at_once, later)] == ["waiting for a word", "no word for 3 s"]


async def test_a_session_begins_empty_and_late_records_of_an_older_one_do_not_count() -> None:
    def done(session: str, seq: int, wall: str, passes: int) -> EventPayload:
        body: dict[str, Any] = {"area": "cheek", "passes": passes, "density_per_cm2": 900.0 * passes}
        return EventPayload(pen="p1", session=session, seq=seq, wall=wall, kind="area_done", body=body)

    steps: list[Step] = [
        ("c/p1/event/new", done("new", 1, "2026-01-02T10:00:00Z", 2), False, 1.0),
        ("c/p1/event/old", done("old", 1, "2026-01-01T10:00:00Z", 5), False, 2.0),
        ("c/p1/event/new", done("new", 2, "2026-01-02T10:00:01Z", 1), False, 3.0),
    ]
    (view,) = await reckon(steps, 4.0)
    assert [area["passes"] for area in view["pens"][0]["areas"]] == ["2"]
    newer: Step = ("c/p1/event/newer", done("newer", 7, "2026-01-03T10:00:00Z", 1), False, 4.0)
    (view,) = await reckon([*steps, newer], 4.0)
    assert [area["passes"] for area in view["pens"][0]["areas"]] == ["1"]
    assert view["pens"][0]["partial"] is True


async def test_a_session_so_far_comes_with_the_state() -> None:
    so_far = [
        AreaSoFar(area="cheek", passes=2, density_per_cm2=900.4),
        AreaSoFar(area="nose", passes=None, density_per_cm2=1.0, closed="density"),
    ]
    told = RUNNING.model_copy(update={"session": "s1", "areas": so_far, "wall": "2026-01-02T10:00:00Z"})
    older = told.model_copy(update={"session": "s0", "areas": so_far[1:], "wall": "2026-01-01T10:00:00Z"})
    steps: list[Step] = [("c/p1/state", told, True, 1.0), ("c/p1/state", older, True, 2.0)]
    (view,) = await reckon(steps, 2.0)
    given = [[area[key] for key in ("name", "passes", "density", "closed")] for area in view["pens"][0]["areas"]]
    assert given == [["cheek", "2", "900", False], ["nose", DASH, "1", True]]
    assert view["pens"][0]["partial"] is False


async def test_figures_that_are_not_plausible_are_not_shown() -> None:
    (view,) = await reckon([("c/p1/live", LIVE.model_copy(update={"valid": False}), False, 1.0)], 1.0)
    assert view["pens"][0]["depth"] == DASH
    assert view["pens"][0]["advice"] == "Sensors not plausible"


async def test_who_calls_for_a_person_and_who_does_not() -> None:
    def state(pen: str, word: str, **more: Any) -> tuple[str, StatePayload]:
        return f"c/{pen}/state", StatePayload(pen=pen, state=word, **more)

    def gone(pen: str, reason: str) -> tuple[str, StatusPayload]:
        return f"c/{pen}/status", StatusPayload(pen=pen, status="offline", reason=reason)

    said = [
        state("advised", "running"), ("c/advised/live", LIVE.model_copy(update={"pen": "advised"})),
        state("idle", "idle"), state("stopping", "stopping"), state("left", "idle"), gone("left", "closed"),
        state("lost", "running"), gone("lost", "connection lost"), state("stopped", "latched", latch="lease_expired"),
        state("unseen", "link_lost"),
    ]  # fmt: skip
    retained: list[Step] = [("c/yesterday/status", gone("yesterday", "connection lost")[1], True, 1.0)]
    at_once, later = await reckon(retained + [(*message, False, 1.0) for message in said], 1.0, 30.0)
    assert [(pen["name"], pen["call"]["text"]) for pen in at_once["calls"]] == [
        ("unseen", "LINK LOST"),
        ("stopped", "STOPPED: lease expired"),
        ("lost", "OFFLINE: connection lost"),
        ("advised", "Move on"),
    ]
    # The broker is not there, and says so itself: no pen calls for its silence.
    assert [pen["name"] for pen in later["calls"]] == ["lost"]


def test_the_map_has_areas_of_the_configuration_only() -> None:
    face = json.loads((server.STATIC / "face.json").read_text())["zones"]
    elsewhere = {"neck", "decolletage", "hands", "scalp", "abdomen"}
    assert set(face) == set(config.load().areas) - elsewhere
