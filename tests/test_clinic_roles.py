"""Who may read what of a treatment, and how accounts get other roles and passwords, over real sockets."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from pen_controller.clinic.accounts import Role
from pen_controller.clinic.live import LOGGED_OUT
from tests.clinic_target import BOUND_S, PASSWORDS, REAL_PEN, Answer, Target, attacked, page, request

CODE = b"C-0042"
"""Of the case, and so a sign of who is treated."""
NEW = "another sentence for the same one"


@pytest.fixture(scope="module", params=[REAL_PEN, "simulated"])
def laptop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Target, bool]]:
    """A treatment under way, and whether it is practice; a report of it lies there."""
    with attacked(tmp_path_factory.mktemp(request.param), request.param) as target:
        (target.laptop.jobs.folder / f"{session_of(target)}.html").write_bytes(CODE)
        yield target, request.param == "simulated"


def session_of(target: Target) -> str:
    treatment = target.laptop.desk.treatment
    assert treatment is not None
    return treatment.session


def get(target: Target, path: str, who: str) -> Answer:
    return target.send(request("GET", path, cookie=f"pen_session={{{who}}}"))


def post(target: Target, path: str, who: str, **body: Any) -> Answer:
    return target.send(request(path=path, body=json.dumps(body).encode(), cookie=f"pen_session={{{who}}}"))


@pytest.mark.parametrize("who", [*Role])
def test_a_case_and_its_report_are_not_for_engineers_but_in_practice(laptop: tuple[Target, bool], who: Role) -> None:
    target, practice = laptop
    session, reads = session_of(target), practice or who is not Role.ENGINEER
    assert (CODE in get(target, "/api/state", who).body) is reads
    with page(target, who) as live:
        assert (CODE in str(live.recv(timeout=BOUND_S)).encode()) is reads
    assert (session.encode() in get(target, "/api/treatments", who).body) is reads
    for path in ("/api/answers", f"/report/{session}.html"):
        answer = get(target, path, who)
        assert (answer.status, CODE in answer.body) == (200 if reads else 403, reads), path
    jobs = target.within(target.laptop.jobs.told)
    assert post(target, "/api/report", who, session=session).status == (200 if reads else 403)
    assert (target.within(target.laptop.jobs.told) != jobs) is reads


def test_an_engineer_still_sees_what_needles_do_and_what_is_planned(laptop: tuple[Target, bool]) -> None:
    target, practice = laptop
    shown = get(target, "/api/state", "engineer").json
    assert [area["area"] for area in shown["treatment"]["plan"]] == ["cheek"]
    assert (shown["me"]["may_work"], shown["me"]["may_read"]) == (practice, practice)


def test_a_pen_that_treats_people_is_not_claimed_to_be_refused_to_an_engineer(tmp_path: Path) -> None:
    with attacked(tmp_path) as target:
        url = target.within(lambda: next(iter(target.laptop.desk.places.found)))
        target.post("/api/end")
        target.post("/api/pen/release")
        epoch = target.pen.firmware.epoch
        refused = post(target, "/api/pen", "engineer", url=url)
        assert (refused.status, "practises" in refused.json["error"]["text"]) == (409, True)
        assert target.pen.firmware.epoch == epoch, "each claim has a new one"
        target.post("/api/pen", {"url": url})
        assert target.pen.firmware.epoch != epoch


def test_what_was_entered_is_there_after_the_end(tmp_path: Path) -> None:
    with attacked(tmp_path) as target:
        target.post("/api/aftercare")
        target.post("/api/end")
        assert target.laptop.desk.treatment is None
        kinds = [answer["kind"] for answer in get(target, "/api/answers", "viewer").json["answers"]]
        assert kinds[-1] == "aftercare"
        assert get(target, "/api/answers", "engineer").status == 403
        target.post("/api/pen/release")
        assert get(target, "/api/answers", "engineer").status == 403


def test_limits_of_an_area_are_told_before_it_is_planned(laptop: tuple[Target, bool]) -> None:
    target, _ = laptop
    before = target.state()["shown"]
    asked = {"area": "nose", "depth_mm": 0.3, "rate_hz": 60.0, "passes": 1}
    (nose,) = target.post("/api/plan/limits", {"areas": [asked]})["areas"]
    assert nose["limits"]["depth"]["value"] == pytest.approx(0.8)
    assert nose["limits"]["depth"]["source"]
    target.post("/api/plans", {"name": "two"})
    (loaded,) = target.post("/api/plans/load", {"name": "two"})["areas"]
    assert loaded["limits"]["depth"]["value"] > 0
    assert target.state()["shown"] == before


def test_another_role_holds_at_once_and_wherever_the_account_is_logged_in(laptop: tuple[Target, bool]) -> None:
    target, _ = laptop
    target.post("/api/accounts", {"account": "engineer-9", "password": NEW, "role": "engineer"})
    target.words["ninth"] = target.logged_in("engineer-9", NEW)
    assert get(target, "/api/accounts", "ninth").status == 403
    with page(target, "ninth") as live:
        target.post("/api/accounts/role", {"account": "engineer-9", "role": "clinician"})
        with pytest.raises(ConnectionClosed) as closed:
            list(live)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == LOGGED_OUT
    assert get(target, "/api/state", "ninth").json["me"] is None, "it is let in, and nobody is logged in there"
    target.words["ninth"] = target.logged_in("engineer-9", NEW)
    listed = get(target, "/api/accounts", "ninth").json["accounts"]
    assert {"account": "engineer-9", "role": "clinician"} in listed
    assert '"by": "clinician-1"' in json.dumps(logged(target, "account")[-1])


def test_a_clinician_keeps_the_own_role_so_that_one_is_left(laptop: tuple[Target, bool]) -> None:
    target, _ = laptop
    before = target.state()
    assert post(target, "/api/accounts/role", "clinician", account="clinician-1", role="viewer").status == 400
    assert post(target, "/api/accounts/role", "clinician", account="viewer-7", role="viewer").status == 400
    assert target.state() == before


def test_a_password_is_changed_by_who_knows_the_own_one(laptop: tuple[Target, bool]) -> None:
    target, _ = laptop
    old, own = PASSWORDS[Role.VIEWER], PASSWORDS[Role.CLINICIAN]
    for name in ("here", "elsewhere"):
        target.words[name] = target.logged_in("viewer-1", old)

    def change(who: str, own: str, account: str = "viewer-1", password: str = NEW) -> int:
        return post(target, "/api/accounts/password", who, account=account, own=own, password=password).status

    before = target.state()["accounts"]
    assert change("here", "not what it is") == 401
    assert change("here", old, account="clinician-1") == 403
    assert change("here", old, password="short") == 400  # noqa: S106  # of a test
    assert target.state()["accounts"] == before
    assert change("here", old) == 200
    assert get(target, "/api/state", "here").json["me"]["account"] == "viewer-1"
    assert get(target, "/api/state", "elsewhere").json["me"] is None
    accounts = target.laptop.accounts
    assert (accounts.check("viewer-1", old), accounts.check("viewer-1", NEW) is not None) == (None, True)
    assert change("clinician", own, password=old) == 200, "a clinician helps who has forgotten it"
    assert get(target, "/api/state", "here").json["me"] is None
    assert logged(target, "password")[-2:] == [
        {"account": "viewer-1", "by": "viewer-1"},
        {"account": "viewer-1", "by": "clinician-1"},
    ]
    target.words["viewer"] = target.logged_in("viewer-1", old)  # for the tests after this one


def logged(target: Target, kind: str) -> list[dict[str, Any]]:
    target.done(target.laptop.journal.flush())
    return [json.loads(body) for _, each, body in target.record() if each == kind]
