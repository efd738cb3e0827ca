"""Two persons at one laptop: neither takes the other's pen or needles over by asking at the right moment."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from websockets.sync.client import ClientConnection

from protocols.words import PenState
from tests.attacks import BODIES
from tests.clinic_target import AREA, BOUND_S, Target, attacked, page, request


def test_who_waits_while_the_pen_is_picked_is_judged_by_the_pen_that_was_picked(tmp_path: Path) -> None:
    """For an engineer may work while there is no pen yet."""
    with attacked(tmp_path) as target:
        desk = target.laptop.desk
        url = target.within(lambda: next(iter(desk.places.found)))
        target.post("/api/end")
        target.post("/api/pen/release")
        target.done(desk._one.acquire())
        with ThreadPoolExecutor(2) as queue:
            picked = queue.submit(target.post, "/api/pen", {"url": url})
            target.until(lambda: len(desk._one._waiters or ()) == 1, "the clinician in the queue")
            body = BODIES["/api/case"].encode()
            begun = queue.submit(target.send, request(path="/api/case", body=body, cookie="pen_session={engineer}"))
            target.until(lambda: len(desk._one._waiters or ()) == 2, "the engineer behind")
            target.within(desk._one.release)
            assert picked.result()["ok"]
            assert begun.result().status == 409
        assert desk.treatment is None


@pytest.fixture(scope="module")
def practice(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """The same with a simulated pen, at which engineers work."""
    with attacked(tmp_path_factory.mktemp("practice"), "simulated") as target:
        yield target


def test_an_engineer_works_at_a_simulated_pen(practice: Target) -> None:
    before = practice.state()
    practice.post("/api/note", json.loads(BODIES["/api/note"]), who="engineer")
    assert practice.state()["record"] != before["record"]


def test_who_is_refused_a_start_does_not_take_the_needles_over(practice: Target) -> None:
    """Else a page that lives would keep needles running whose own page is dead."""
    awake = {"clinician": threading.Event(), "engineer": threading.Event()}

    def live(connection: ClientConnection, end: threading.Event) -> None:
        while not end.wait(0.1):
            connection.send('{"operating": true}')

    with page(practice) as operating, page(practice, "engineer") as other, ThreadPoolExecutor(2) as pages:
        numbers = [json.loads(one.recv(timeout=BOUND_S))["live"] for one in (operating, other)]
        for one, end in zip((operating, other), awake.values(), strict=True):
            one.send('{"operating": true}')
            pages.submit(live, one, end)
        try:
            practice.until(lambda: all(x.heard_s > 0 for x in practice.laptop.lives._all.values()), "both pages")
            practice.post("/api/area/start", AREA | {"live": numbers[0]})
            assert practice.state()["operator"] == (numbers[0], False)
            body = json.dumps(AREA | {"area": "forehead", "live": numbers[1]}).encode()
            refused = practice.send(request(path="/api/area/start", body=body, cookie="pen_session={engineer}"))
            assert refused.status == 409
            assert practice.state()["operator"] == (numbers[0], False)
            awake["clinician"].set()
            practice.until(lambda: practice.pen.firmware.state is PenState.LATCHED, "the pen's stop")
        finally:
            for end in awake.values():
                end.set()
    record = [(kind, body) for _, kind, body in practice.state()["record"]]
    assert ("stop", '{"reason":"the screen does not answer","by":"service"}') in record
