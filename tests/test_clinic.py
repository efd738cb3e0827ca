"""The clinic's laptop on real sockets, with `pen-sim` on a real line: prepared, treated, stopped, documented."""

import asyncio
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from pen_controller.clinic.accounts import Account, Accounts
from pen_controller.report.reading import LAPTOP, records, sessions
from protocols.words import PenState
from tests.clinic_client import ACCOUNT, CHEEK, LONG, PASSWORD, Browser, clinic, clinician, launched
from tests.lines import by_pty, by_tcp, needs_pty
from tests.prepared import CASE
from tests.running import until
from tests.tampering import unseen


def bodies(folder: Path, kind: str, session: str | None = None) -> list[dict[str, Any]]:
    return [one.body for one in records(folder / "journal.sqlite", session) if one.kind == kind]


@needs_pty
async def test_a_whole_treatment(tmp_path: Path) -> None:
    async with by_pty() as sim, clinic(tmp_path, sim.url) as served, clinician(served) as page:
        await page.shows("the first step", lambda shown: shown["screen"] == "pick_pen")
        await page.prepare()
        await page.shows("the plan", lambda shown: shown["screen"] == "plan")
        offered = await page.post("plan/offer")
        assert {"cheek", "forehead"} <= {area["area"] for area in offered["areas"]}
        await page.post("plan", areas=[CHEEK, CHEEK | {"area": "forehead", "depth_mm": 0.5, "rate_hz": 90.0}])
        await page.post("plans", name="two-areas")
        assert (await page.get("/api/plans"))["plans"] == ["two-areas"]

        refused = await page.start(422, **CHEEK | {"depth_mm": 2.5})
        assert (refused["limit"]["name"], refused["limit"]["asked"]) == ("depth", 2.5)
        assert refused["limit"]["source"]
        assert page.shown["pen"]["state"] == "idle"

        await page.start(**CHEEK)
        await page.runs()
        assert page.shown["running"]["area"] == "cheek"
        await page.post("area/change", depth_mm=0.5, rate_hz=80.0)
        await page.shows("the depth that was set", lambda shown: (shown["running"] or {}).get("set_depth_mm") == 0.5)
        refused = await page.post("area/change", 422, depth_mm=2.5, rate_hz=80.0)
        assert refused["limit"]["name"] == "depth"
        await page.post("area/finish")
        await page.state("idle")
        await page.post("note", area="cheek", endpoint="even_redness", reactions=["warm"])
        await page.post("aftercare")
        await page.post("end")
        session = (await page.get("/api/state"))["ended"]
        await page.shows("the end", lambda shown: shown["treatment"] is None)

        await page.post("report", session=session)
        await page.shows("the report", lambda shown: shown["jobs"] and shown["jobs"][-1]["url"])
        made = await page.http.get(page.shown["jobs"][-1]["url"])
        assert made.status_code == 200
        assert session in made.text
        assert "script-src" not in made.headers["content-security-policy"]
        assert (await page.http.get(f"/report/{session}.pdf")).content.startswith(b"%PDF")
    assert [one.session for one in sessions(tmp_path / "journal.sqlite")] == [session]
    assert bodies(tmp_path, "signed_in") == [{"account": ACCOUNT, "role": "clinician"}]
    assert [note["by"] for note in bodies(tmp_path, "note")] == [ACCOUNT]
    assert len(bodies(tmp_path, "summary")) == 1
    assert [one["account"] for one in bodies(tmp_path, "login", LAPTOP)] == [ACCOUNT]


@pytest.mark.hazard("H16")
async def test_nothing_is_armed_before_all_is_prepared(tmp_path: Path) -> None:
    async with by_tcp() as sim, clinic(tmp_path, sim.url) as served, clinician(served) as page:
        await page.start(409, **CHEEK)
        await page.prepare(without="consent")
        refused = await page.start(422, **CHEEK)
        assert refused["limit"]["name"] == "preparation"
        (missing,) = (await page.get("/api/state"))["treatment"]["missing"]
        assert missing["key"] == "checklist.consent"
        assert page.shown["pen"]["state"] == "idle"
        await page.post("checked", step="consent")
        await page.start(**CHEEK)
        await page.runs()


@needs_pty
async def test_stop_is_handled_at_once_and_confirmed_by_the_pen_and_a_person_resumes(tmp_path: Path) -> None:
    async with by_pty() as sim, clinic(tmp_path, sim.url) as served, clinician(served) as page:
        await page.prepare()
        await page.start(**LONG)
        await page.runs()
        await page.stop()
        assert [word["phase"] for word in page.words] == ["handled", "confirmed"]
        await page.state("latched")
        await page.start(409, **LONG)
        before = served.laptop.desk.need_treatment().areas["cheek"].given.strokes
        await page.post("resume", 409, latch_id=page.shown["pen"]["latch"]["id"] + 1)
        await page.resume()
        assert served.laptop.desk.need_treatment().areas["cheek"].given.strokes == before, "nothing runs by itself"
        await page.start(**LONG)
        await page.post("stop")
        await page.state("latched")
    stops = [body["by"] for body in bodies(tmp_path, "stop")]
    assert stops == [ACCOUNT, ACCOUNT]


@pytest.mark.hazard("H25")
async def test_stop_waits_for_nothing_that_is_under_way(tmp_path: Path) -> None:
    async with by_tcp() as sim, clinic(tmp_path, sim.url) as served, clinician(served) as page:
        await page.prepare()
        async with served.laptop.desk._one, served.laptop.hashing:
            waiting = asyncio.create_task(page.post("pen/release", 409))
            await page.stop()
            assert not waiting.done()
        await waiting


async def test_passwords_are_hashed_off_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed_in: list[threading.Thread] = []
    check = Accounts.check

    def noted(accounts: Accounts, name: str, password: str) -> Account | None:
        hashed_in.append(threading.current_thread())
        return check(accounts, name, password)

    monkeypatch.setattr(Accounts, "check", noted)
    async with by_tcp() as sim, clinic(tmp_path, sim.url) as served, clinician(served), launched(served) as other:
        await other.post("login", 401, account=ACCOUNT, password="not the password at all")  # noqa: S106
        await other.log_in()
    assert len(hashed_in) == 2
    assert threading.current_thread() not in hashed_in
    assert bodies(tmp_path, "login_failed", LAPTOP) == [{"account": ACCOUNT}]


async def test_anybody_may_stop(tmp_path: Path) -> None:
    async with by_tcp() as sim, clinic(tmp_path, sim.url) as served, clinician(served) as page:
        await page.prepare()
        await page.start(**LONG)
        await page.runs()
        async with launched(served) as stranger, stranger.connected():
            assert stranger.shown["me"] is None
            assert "treatment" not in stranger.shown
            assert (stranger.shown["areas"], stranger.shown["running"]) == ([], None)
            await stranger.stop()
        await page.state("latched")


@pytest.mark.hazard("H04")
async def test_a_page_that_falls_silent_is_a_page_that_stops_the_pen(tmp_path: Path) -> None:
    async with by_tcp() as sim, clinic(tmp_path, sim.url) as served, clinician(served) as page:
        await page.prepare()
        await page.start(**LONG)
        await page.runs()
        page.alive = False  # frozen: its socket stays open
        await page.state("latched")
        assert page.shown["pen"]["stop_reason"] == "the screen does not answer (service)"
        page.alive = True
        await page.resume()
        await page.persist("area/start", **LONG, live=page.shown["live"])  # until the page is heard again
        await page.runs()
        pen = served.laptop.desk.pen
        assert pen is not None
        await page.hang_up()  # closed
        await until(lambda: pen.state.state is PenState.LATCHED)
        assert pen.stop_reason == "the screen was closed (service)"


async def test_another_page_keeps_nobody_elses_needles_running(tmp_path: Path) -> None:
    async with by_tcp() as sim, clinic(tmp_path, sim.url) as served, clinician(served) as page:
        await page.prepare()
        async with clinician(served) as other:
            answer = await page.post("area/start", 409, **LONG, live=other.shown["live"])
            assert "not connected" in answer["text"]
            await page.start(**LONG)
            await page.runs()
            page.alive = False
            await other.state("latched")


async def test_needles_run_only_while_the_key_is_held(tmp_path: Path) -> None:
    async with by_tcp() as sim, clinic(tmp_path, sim.url) as served, clinician(served) as page:
        await page.prepare()
        await page.start(409, hold=True, **LONG)
        for _ in range(2):
            page.held = True
            await page.send(hold=True)
            await page.start(hold=True, **LONG)
            await page.runs()
            page.held = False
            await page.send(hold=False)
            await page.state("idle")
            await until(lambda: not served.laptop.desk.is_treating)
        assert page.shown["pen"]["latch"] is None
    assert [body["why"] for body in bodies(tmp_path, "area_left")] == ["the key was let go"] * 2


@pytest.mark.hazard("H06")
@needs_pty
async def test_a_pulled_cable_is_shown_and_nothing_goes_on_by_itself(tmp_path: Path) -> None:
    async with by_pty() as sim, clinic(tmp_path, sim.url) as served, clinician(served) as page:
        await page.prepare()
        await page.start(**LONG)
        await page.runs()
        await sim.unplug(0.5)
        await page.state("link_lost")
        await page.post("resume", 409, latch_id=0)
        await page.persist("reconnect")
        await page.state("latched")
        await page.start(409, **LONG)
        await page.resume()
        await page.start(**LONG)
        await page.runs()


@pytest.mark.hazard("H04")
@needs_pty
async def test_a_stalled_loop_ends_in_the_pens_own_stop(tmp_path: Path) -> None:
    async with by_pty() as sim, clinic(tmp_path, sim.url) as served, clinician(served) as page:
        await page.prepare()
        await page.start(**LONG)
        await page.runs()
        time.sleep(0.8)  # noqa: ASYNC251  # the point: nothing of ours runs meanwhile
        await page.state("latched")
        assert page.shown["pen"]["latch"]["cause"] == "lease_expired"
        await page.shows("how late it was", lambda shown: shown["service"]["worst_lag_ms"] > 500)
        await page.start(409, **LONG)


@pytest.mark.hazard("H03")
@needs_pty
async def test_killed_in_mid_treatment_and_started_again_it_is_there_stopped_and_counted(tmp_path: Path) -> None:
    journal = tmp_path / "journal.sqlite"
    async with by_pty() as sim:
        killed = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pen_controller", "app", "--pen", sim.url, "--port", "0", "--no-browser"),
            *("--journal", str(journal)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            assert killed.stdout is not None
            launch_url = (await killed.stdout.readline()).decode().strip()
            origin = launch_url.partition("/launch")[0]
            async with httpx.AsyncClient(base_url=origin, headers={"Origin": origin}) as http:
                await http.get(launch_url)
                page = Browser(origin, http)
                await page.post("setup", account=ACCOUNT, password=PASSWORD, role="clinician")
                async with page.connected():
                    await page.prepare()
                    await page.post("plan", areas=[LONG])
                    await page.start(**LONG)
                    await page.runs(600)
                    session = page.shown["treatment"]["session"]
                    counted = page.shown["areas"][0]["punctures"]
                    killed.kill()
                    await killed.wait()
        finally:
            if killed.returncode is None:
                killed.kill()
            await killed.communicate()
        async with clinic(tmp_path, sim.url) as served, clinician(served) as page:
            (found,) = (await page.get("/api/state"))["found"]
            await page.persist("pen", url=found["url"])  # it lets go of a program that was killed after two seconds
            assert (await page.get("/api/state"))["unended"] == session
            await page.post("case", 409, **CASE)
            await page.post("treatments/resume", session=session)
            shown = await page.get("/api/state")
            assert shown["treatment"]["missing"] == []
            assert [area["area"] for area in shown["treatment"]["plan"]] == ["cheek"]
            assert shown["areas"][0]["punctures"] >= counted
            assert shown["pen"]["state"] == "latched"
            await page.start(409, **LONG)
            await page.resume()
            await page.start(**LONG)
            await page.runs(shown["areas"][0]["punctures"] + 500)
            await page.post("area/finish")
            await page.post("end")
    assert len(bodies(tmp_path, "summary", session)) == 1


async def test_what_nobody_ended_is_left_to_be_taken_up(tmp_path: Path) -> None:
    async with by_tcp() as sim:
        async with clinic(tmp_path, sim.url) as served, clinician(served) as page:
            await page.prepare()
            await page.start(**LONG)
            await page.runs()
            pen = served.laptop.desk.pen
        assert pen is not None
        assert pen.state.state is PenState.LATCHED, "stopped on leaving"
        session = sessions(tmp_path / "journal.sqlite")[-1].session
        assert not bodies(tmp_path, "summary")
        async with clinic(tmp_path, sim.url) as served, clinician(served) as page:
            (found,) = (await page.get("/api/state"))["found"]
            await page.post("pen", url=found["url"])
            await page.post("treatments/resume", session=session)
            await page.post("end")
            assert (await page.get("/api/treatments"))["treatments"][0]["unended"] is False


async def test_a_treatment_whose_record_was_changed_is_not_taken_up(tmp_path: Path) -> None:
    async with by_tcp() as sim:
        async with clinic(tmp_path, sim.url) as served, clinician(served) as page:
            await page.prepare()
        session = sessions(tmp_path / "journal.sqlite")[-1].session
        with unseen(tmp_path / "journal.sqlite") as db:
            db.execute("UPDATE record SET body = replace(body, 'octenidine', 'water') WHERE session = ?", (session,))
        async with clinic(tmp_path, sim.url) as served, clinician(served) as page:
            (found,) = (await page.get("/api/state"))["found"]
            await page.post("pen", url=found["url"])
            refused = await page.post("treatments/resume", 503, session=session)
            assert "it was changed, moved or put in later" in refused["text"]
            assert served.laptop.desk.treatment is None


async def test_corrections_are_signed_by_who_corrects(tmp_path: Path) -> None:
    async with by_tcp() as sim, clinic(tmp_path, sim.url) as served, clinician(served) as page:
        await page.prepare()
        answers = (await page.get("/api/answers"))["answers"]
        consent = next(one for one in answers if one["body"].get("step") == "consent")
        await page.post("correction", of_seq=consent["seq"], reason="not signed yet", body=None)
        assert [one["key"] for one in (await page.get("/api/state"))["treatment"]["missing"]] == ["checklist.consent"]
        forged = {"step": "consent", "value": None, "by": "clinician-2"}
        await page.post("correction", of_seq=consent["seq"], reason="it was signed", body=forged)
        await page.post("override", what="a second cartridge", reason="the first was dropped")
    corrected = bodies(tmp_path, "correction")
    assert [one["by"] for one in corrected] == [ACCOUNT, ACCOUNT]
    assert corrected[1]["body"]["by"] == ACCOUNT
    assert json.dumps(bodies(tmp_path, "override")) == json.dumps(
        [{"what": "a second cartridge", "reason": "the first was dropped", "by": ACCOUNT}]
    )
