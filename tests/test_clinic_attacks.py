"""Attacks on the clinic's server, over real sockets: none changes anything, and none learns anything.

What may have changed is not read from a status: the page, the keys, the record, the accounts, all files and the pen
itself are compared with how they were before (`clinic_target.Target.state`).
"""

import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from pen_controller.clinic.access import IDLE_S, LAUNCH_S, MOST_BODY_BYTES
from pen_controller.clinic.accounts import Role
from pen_controller.clinic.acts import ACTS, Entry, Needs
from protocols.words import PenState
from tests.attacks import BODIES, CHUNKED, CORRECTED, FRAMES, MESSAGES, STOP, TABLES, UPGRADES, chunk, frame, upgrade
from tests.clinic_target import BOUND_S, PASSWORDS, Answer, Target, attacked, page, request, running
from tests.prepared import CASE
from tests.safety_case.figures import measured

EVERY = {f"{table}: {attack.name}": attack for table, attacks in TABLES.items() for attack in attacks}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """One for all: if nothing changes, nothing is in the way of the next."""
    with attacked(tmp_path_factory.mktemp("laptop")) as target:
        arm(target)
        yield target


def arm(target: Target) -> None:
    """What attackers may have got hold of: what was good once, and a launch token that nobody has used yet."""
    words, keys = target.words, target.laptop.keys
    words["left"] = target.logged_in("viewer-1", PASSWORDS[Role.VIEWER])
    target.post("/api/logout", who="left")
    words["expired"] = target.logged_in("clinician-1", PASSWORDS[Role.CLINICIAN])
    words["digest"] = digest(words["clinician"])
    words["fresh"], words["late"] = target.within(keys.launch), target.within(keys.launch)
    keys._screens[digest(words["expired"])].heard_s -= IDLE_S
    keys._launches[digest(words["late"])] -= LAUNCH_S


def digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def learned(target: Target, answer: Answer) -> list[str]:
    """What an answer gives away: keys, passwords, and who is being treated."""
    secrets = {name: target.words[name] for name in ("clinician", "engineer", "viewer", "nobody", "fresh", "digest")}
    told = secrets | PASSWORDS | {"hash": "$argon2", "code": "C-0042", "pen": "PEN-0001"}
    return [name for name, secret in told.items() if secret.encode() in answer.raw]


def attack(target: Target, sent: bytes, *, half_close: bool = False) -> Answer:
    """Attack; nothing has changed, and nothing was learned."""
    before = target.state()
    answer = target.send(sent, half_close=half_close)
    after = target.state()
    measured("changed", after != before)
    assert after == before, answer.raw
    assert not learned(target, answer), answer.raw
    names = dict(answer.headers)
    assert not [name for name in names if name.startswith("access-control") or name == "set-cookie"], names
    if names.get("content-type") == "application/json" and answer.body:
        assert "default-src 'none'" in names["content-security-policy"]
        assert set(answer.json["error"]) == {"text", "limit", "field"}
    return answer


@pytest.mark.hazard("H22")
@pytest.mark.parametrize("name", EVERY)
def test_an_attack_changes_nothing(target: Target, name: str) -> None:
    one = EVERY[name]
    assert attack(target, one.sent, half_close=one.half_close).status in one.statuses


# --- by WebSocket ----------------------------------------------------------------------------------------------------


def said(connection: ClientConnection, messages: Iterable[str | bytes], *, close: bool = False) -> int | None:
    """Say this, and listen until the connection is closed; return the code with which the server closes it."""
    try:
        for message in messages:
            connection.send(message)
        if close:
            connection.close()
        end_s = time.monotonic() + BOUND_S
        while time.monotonic() < end_s:  # snapshots come until then
            connection.recv(timeout=BOUND_S)
    except ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None
    raise AssertionError("it does not end")


@pytest.mark.hazard("H22")
@pytest.mark.parametrize("name", UPGRADES)
def test_a_page_of_another_gets_no_connection_and_what_it_says_at_once_is_not_heard(target: Target, name: str) -> None:
    assert attack(target, UPGRADES[name]).status in (400, 403, 404, 405, 426)


@pytest.mark.hazard("H22")
@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_that_is_not_well_made_ends_the_connection(target: Target, name: str) -> None:
    before = target.state()
    answer = target.send(upgrade() + FRAMES[name], half_close=True)
    assert answer.status == 101, "it is our own page but for the frame"
    assert target.state() == before


@pytest.mark.hazard("H22")
@pytest.mark.parametrize(("name", "code"), [(name, code) for name, (_, code) in MESSAGES.items()])
def test_a_message_that_is_none_changes_nothing(target: Target, name: str, code: int | None) -> None:
    before = target.state()
    with page(target) as connection:
        assert said(connection, MESSAGES[name][0], close=code is None) == (code or 1000)
    assert target.state() == before


def test_a_page_that_was_logged_out_cannot_say_any_more_that_it_operates(target: Target) -> None:
    target.words["leaving"] = target.logged_in("clinician-1", PASSWORDS[Role.CLINICIAN])
    with page(target, "leaving") as connection:
        target.post("/api/logout", who="leaving")
        before = target.state()
        assert said(connection, ['{"operating": true}']) == 4401
    assert target.state() == before


# --- who may do what -------------------------------------------------------------------------------------------------


def abuses() -> Iterator[tuple[str, Entry, int]]:
    """Each act by each who may not have it done, while the pen is one that treats people."""
    for entry in ACTS:
        if entry.needs >= Needs.ACCOUNT:
            yield "nobody", entry, 401
        if entry.needs >= Needs.WORK:
            yield Role.ENGINEER, entry, 403
            yield Role.VIEWER, entry, 403


@pytest.mark.hazard("H22")
@pytest.mark.parametrize(("who", "entry", "status"), [*abuses()], ids=lambda value: getattr(value, "path", str(value)))
def test_nobody_does_what_the_role_forbids(target: Target, who: str, entry: Entry, status: int) -> None:
    entry.body.model_validate_json(BODIES[entry.path])  # nothing else is wrong with it
    sent = request(path=entry.path, body=BODIES[entry.path].encode(), cookie=f"pen_session={{{who}}}")
    assert attack(target, sent).status == status


@pytest.mark.parametrize(
    "path", ["/api/accounts", "/api/plans", "/api/treatments", "/api/answers", "/report/x.html", "/api/state"]
)
def test_who_is_not_logged_in_reads_nothing_of_a_treatment(target: Target, path: str) -> None:
    answer = target.send(request("GET", path, cookie="pen_session={nobody}"))
    assert answer.status == 401 or path == "/api/state"
    assert "code" not in learned(target, answer)
    assert target.laptop.desk.treatment is not None
    assert target.laptop.desk.treatment.session.encode() not in answer.raw


@pytest.mark.hazard("H22")
@pytest.mark.parametrize(
    ("who", "path", "body"),
    [
        ("nobody", "/api/setup", {"account": "intruder", "password": "a sentence of mine", "role": "clinician"}),
        ("viewer", "/api/setup", {"account": "viewer-1", "password": "a sentence of mine", "role": "clinician"}),
        ("clinician", "/api/accounts", {"account": "viewer-1", "password": "a sentence of mine", "role": "clinician"}),
        ("clinician", "/api/accounts", {"account": "root", "password": "a sentence of mine", "role": "admin"}),
        ("clinician", "/api/accounts", {"account": "x\n", "password": "a sentence of mine", "role": "viewer"}),
        ("clinician", "/api/accounts", {"account": "Jo Smith", "password": "a sentence of mine", "role": "viewer"}),
        ("clinician", "/api/accounts", {"account": "viewer-2", "password": "short", "role": "viewer"}),
        ("clinician", "/api/accounts", {"account": "viewer-2", "password": "x" * 201, "role": "viewer"}),
        ("viewer", "/api/settings", {"account": "clinician-1", "theme": "dark"}),
        ("viewer", "/api/settings", {"role": "clinician"}),
        ("viewer", "/api/settings", {"language": "../../en"}),
        ("viewer", "/api/settings", {"stop_key": "<script>"}),
        ("viewer", "/api/settings", {"hold_key": "KeyH\n"}),
        ("viewer", "/api/login", {"account": "viewer-1", "password": "x" * 201}),
        ("viewer", "/api/login", {"account": "viewer-1", "password": ["x"]}),
        ("viewer", "/api/login", {"account": "viewer-1; DROP TABLE", "password": "x"}),
        ("viewer", "/api/login", {"account": {"$ne": ""}, "password": {"$ne": ""}}),
    ],
)
def test_no_account_is_made_or_changed_but_by_its_rules(target: Target, who: str, path: str, body: Any) -> None:
    sent = request(path=path, body=json.dumps(body).encode(), cookie=f"pen_session={{{who}}}")
    assert attack(target, sent).status == 400


def test_a_guesser_is_slowed_down_and_what_was_typed_is_nowhere(
    target: Target, capfd: pytest.CaptureFixture[str]
) -> None:
    before = target.state()
    typed = "a password typed for a name"
    guesses = [f"guess number {number}" for number in range(4)]
    for guess in guesses:
        assert logging_in(target, "clinician-1", guess).status == 401
    for name in ("clinician-2", "clinician-1"):
        assert logging_in(target, name, typed).status == 401
    right = logging_in(target, "clinician-1", PASSWORDS[Role.CLINICIAN])
    target.within(lambda: target.laptop.throttle.succeed("clinician-1"))
    assert right.status == 429, "the right one comes too early as well"
    after = target.state()
    changed = {name for name in before if after[name] != before[name]}
    assert changed == {"record"}
    new = after["record"][len(before["record"]) :]
    assert {kind for _, kind, _ in new} == {"login_failed"}
    known = [*["clinician-1"] * len(guesses), None, "clinician-1"]
    assert [json.loads(body)["account"] for _, _, body in new] == known
    kept = b"".join(path.read_bytes() for path in target.home.rglob("*") if path.is_file())
    told = capfd.readouterr()
    cookies = [target.words[name] for name in ("clinician", "engineer", "viewer", "nobody", "fresh", "used")]
    for secret in (*PASSWORDS.values(), *cookies, *guesses, typed):
        assert secret.encode() not in kept
        assert secret not in told.out + told.err


def logging_in(target: Target, name: str, password: str) -> Answer:
    body = json.dumps({"account": name, "password": password}).encode()
    return target.send(request(path="/api/login", body=body, cookie="pen_session={nobody}"))


def test_a_launch_token_that_is_used_many_times_at_once_lets_one_in(target: Target) -> None:
    target.words["once"] = target.within(target.laptop.keys.launch)
    before = target.state()
    sent = request("GET", "/launch?token={once}", cookie=None)
    with ThreadPoolExecutor(8) as crowd:
        answers = list(crowd.map(lambda _: target.send(sent), range(16)))
    assert sorted(answer.status for answer in answers) == [303] + [401] * 15
    assert len(target.state()["cookies"]) == len(before["cookies"]) + 1


@pytest.mark.hazard("H22")
def test_a_login_changes_the_cookie_and_the_one_planted_before_is_worth_nothing(target: Target) -> None:
    target.words["set"] = target.launched()
    body = json.dumps({"account": "viewer-1", "password": PASSWORDS[Role.VIEWER]}).encode()
    new = target.send(request(path="/api/login", body=body, cookie="pen_session={set}"))
    assert new.cookie != target.words["set"]
    assert attack(target, request("GET", "/api/state", cookie="pen_session={set}")).status == 401
    flags = dict(new.headers)["set-cookie"].split("; ")[1:]
    assert sorted(flags) == ["HttpOnly", "Path=/", "SameSite=Strict"]


def test_a_laptop_is_set_up_once_and_with_no_password_of_the_program(tmp_path: Path) -> None:
    with running(tmp_path, "simulated") as target:
        target.words["launched"] = target.send(request("GET", "/launch?token={used}", cookie=None)).cookie
        target.words |= {f"browser{number}": target.launched() for number in range(6)}

        def set_up(number: int, **changed: str) -> Answer:
            own = {"account": f"clinician-{number}", "password": PASSWORDS[Role.CLINICIAN], "role": "clinician"}
            body = json.dumps(own | changed).encode()
            return target.send(request(path="/api/setup", body=body, cookie=f"pen_session={{browser{number}}}"))

        for name, password in (("admin", "admin"), ("clinician", ""), ("clinician-1", "clinician-1")):
            body = json.dumps({"account": name, "password": password}).encode()
            assert target.send(request(path="/api/login", body=body, cookie="pen_session={launched}")).status == 401
        for wrong in ({"role": "viewer"}, {"role": "engineer"}, {"password": ""}, {"password": "short"}):
            assert set_up(0, **wrong).status == 400
        assert not target.laptop.accounts
        with ThreadPoolExecutor(6) as crowd:
            answers = list(crowd.map(set_up, range(6)))
        assert sorted(answer.status for answer in answers) == [200] + [400] * 5
        assert len(target.state()["accounts"]) == 1


@pytest.mark.skipif(os.name == "nt", reason="this system has other permissions")
def test_what_the_laptop_keeps_is_readable_by_its_owner_only(target: Target) -> None:
    found = [target.home / name for name in ("journal.sqlite", "accounts.json", "plans/kept.toml")]
    assert all(path.exists() for path in found)
    loose = {path: mode for path in target.home.rglob("*") if (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077}
    assert not loose


@pytest.mark.parametrize("path", ["/", "/api/state", "/api/config", "/api/nothing", "/launch", "/app.js", "/api/plans"])
def test_every_answer_has_the_content_policy_and_none_lets_another_page_read_it(target: Target, path: str) -> None:
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        answer = target.send(request(method, path, "Access-Control-Request-Method: POST", origin="http://evil.example"))
        names = dict(answer.headers)
        assert "default-src 'none'" in names["content-security-policy"]
        assert "frame-ancestors 'none'" in names["content-security-policy"]
        assert (names["x-content-type-options"], names["referrer-policy"]) == ("nosniff", "no-referrer")
        assert names["cross-origin-resource-policy"] == "same-origin"
        assert not [name for name in names if name.startswith("access-control")]


# --- honest requests, which do change it -----------------------------------------------------------------------------


def stop(target: Target) -> None:
    assert target.send(request()).status == 200
    target.until(lambda: target.pen.firmware.state is PenState.LATCHED, "the pen's latch")


def stop_by_websocket(target: Target) -> None:
    assert target.send(upgrade() + frame("{}"), half_close=True).status == 101
    with page(target) as connection:
        connection.send(STOP)
        while "phase" not in json.loads(connection.recv(timeout=BOUND_S)):
            pass


def resume(target: Target) -> None:
    target.until(lambda: target.laptop.desk.stopped, "the host's knowing of it")
    latch = target.within(lambda: target.laptop.desk.pen and target.laptop.desk.pen.state.latch_id)
    target.post("/api/resume", {"latch_id": latch})


def sends(*pieces: bytes, status: int = 200) -> Callable[[Target], None]:
    def send(target: Target) -> None:
        answer = target.send(*pieces)
        assert answer.status == status, answer.raw

    return send


def posts(path: str, body: Any = None, who: str = "clinician") -> Callable[[Target], object]:
    return lambda target: target.post(path, body if body is not None else json.loads(BODIES[path]), who)


def correct(target: Target) -> None:
    seq = target.post("/api/note", json.loads(BODIES["/api/note"]))["seq"]
    target.post("/api/correction", CORRECTED | {"of_seq": seq})


def log_in(target: Target) -> None:
    target.words["again"] = target.logged_in("viewer-1", PASSWORDS[Role.VIEWER])


def log_out(target: Target) -> None:
    log_in(target)
    target.post("/api/logout", who="again")


HONEST: dict[str, tuple[Callable[[Target], object], set[str]]] = {
    "STOP": (stop, {"record", "pen", "shown"}),
    "STOP by WebSocket": (stop_by_websocket, {"record", "pen"}),
    "a body of the largest size": (sends(request(body=b"{}".ljust(MOST_BODY_BYTES))), {"record"}),
    "chunks": (sends(request(body=chunk(b"{") + chunk(b"}") + b"0\r\n\r\n", **CHUNKED)), {"record"}),
    "piece by piece": (sends(request()[:40], request()[40:-1], request()[-1:]), {"record"}),
    "beside cookies of others": (sends(request(cookie='a={"b":1}; c d; pen_session={clinician}; e="')), {"record"}),
    "launch": (sends(request("GET", "/launch?token={fresh}", cookie=None), status=303), {"launches", "cookies"}),
    "login": (log_in, {"cookies", "record"}),
    "logout": (log_out, {"cookies", "record"}),
    "settings": (posts("/api/settings", who="viewer"), {"accounts", "files"}),
    "account": (posts("/api/accounts"), {"accounts", "files", "record"}),
    "case": (posts("/api/case", CASE | {"code": "C-0043"}), {"record", "shown"}),
    "screening": (posts("/api/screening"), {"record"}),
    "checked": (posts("/api/checked"), {"record"}),
    "cartridge": (posts("/api/cartridge"), {"record", "shown"}),
    "note": (posts("/api/note"), {"record"}),
    "correction": (correct, {"record"}),
    "plan": (posts("/api/plan"), {"record", "shown"}),
    "template": (posts("/api/plans"), {"files"}),
    "end": (posts("/api/end"), {"record", "shown"}),
}


@pytest.mark.parametrize("name", HONEST)
def test_what_is_honest_changes_it(target: Target, name: str) -> None:
    act, expected = HONEST[name]
    if target.pen.firmware.state is PenState.LATCHED:
        resume(target)
    before = target.state()
    act(target)
    target.until(lambda: not target.laptop.desk.is_treating, "the end of what runs")
    after = target.state()
    assert expected <= {part for part in before if after[part] != before[part]}
