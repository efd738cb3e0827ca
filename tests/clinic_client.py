"""What a page does, done by a test: real sockets to the clinic's server, which runs in the test's own loop."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect

from pen_controller.clinic.server import Serving, serving
from pen_controller.pen.scan import Found
from tests.lines import CONFIG
from tests.prepared import AGENTS, CASE
from tests.running import BOUND_S, until

ACCOUNT, PASSWORD = "clinician-1", "a long enough sentence"
CARTRIDGE: dict[str, Any] = {"lot": "A1", "expiry": "2039-06-30", "needles": 12, "udi": None}
CHEEK: dict[str, Any] = {"area": "cheek", "depth_mm": 1.0, "rate_hz": 100.0, "passes": 1, "size_cm2": 4.0}
LONG = CHEEK | {"passes": 6, "size_cm2": 40.0}
ALIVE_EVERY_S = 0.1
Json = dict[str, Any]


class Browser:
    """One browser, and one page in it once `connected`."""

    def __init__(self, origin: str, http: httpx.AsyncClient) -> None:
        self.origin, self.http = origin, http
        self.shown: Json = {}
        """The newest snapshot."""
        self.words: list[Json] = []
        """What came besides snapshots."""
        self.alive = True
        self.held = False
        self._live: ClientConnection

    @property
    def cookie(self) -> str:
        return f"pen_session={self.http.cookies['pen_session']}"

    async def post(self, path: str, status: int = 200, **body: Any) -> Json:
        """Ask for something, and hold the answer against the status expected."""
        answer = await self.http.post(f"/api/{path}", json=body)
        assert answer.status_code == status, answer.text
        found: Json = answer.json()
        return found if status == 200 else found["error"]

    async def persist(self, path: str, **body: Any) -> None:
        """Ask again and again, as a person does while it is not possible yet."""
        async with asyncio.timeout(BOUND_S):
            while (await self.http.post(f"/api/{path}", json=body)).status_code == 409:  # noqa: ASYNC110
                await asyncio.sleep(0.05)

    async def get(self, path: str) -> Json:
        found: Json = (await self.http.get(path)).json()
        return found

    async def log_in(self, account: str = ACCOUNT, password: str = PASSWORD) -> None:
        await self.post("login", account=account, password=password)

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[None]:
        """A page that listens, and says that it is alive for as long as `alive`."""
        address = self.origin.replace("http", "ws") + "/live"
        origin: Any = self.origin
        async with connect(address, origin=origin, additional_headers={"Cookie": self.cookie}) as self._live:
            tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._beat())]
            await until(lambda: self.shown)
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def send(self, **message: Any) -> None:
        await self._live.send(json.dumps(message))

    async def hang_up(self) -> None:
        await self._live.close()

    async def _listen(self) -> None:
        async for text in self._live:
            message = json.loads(text)
            if "live" in message:
                self.shown = message
            else:
                self.words.append(message)

    async def _beat(self) -> None:
        while True:
            if self.alive:
                await self.send(alive=self.shown.get("n"), operating=True, hold=self.held)
            await asyncio.sleep(ALIVE_EVERY_S)

    # --- as a clinician does -----------------------------------------------------------------------------------------

    async def shows(self, what: str, condition: Callable[[Json], object]) -> None:
        """Wait until the page shows it."""
        await until(lambda: condition(self.shown), what)

    async def state(self, state: str) -> None:
        await self.shows(state, lambda shown: shown["pen"] and shown["pen"]["state"] == state)

    async def prepare(self, *, without: str = "") -> None:
        """Pick the only pen, and answer everything but one step."""
        (found,) = (await self.get("/api/state"))["found"]
        await self.post("pen", url=found["url"])
        await self.post("case", **CASE)
        await asyncio.gather(
            *(self.post("screening", question=question, answer="no") for question in CONFIG.screening),
            *(self.post("checked", step=step, value=AGENTS.get(step)) for step in CONFIG.checklist if step != without),
            self.post("cartridge", **CARTRIDGE),
        )

    async def start(self, status: int = 200, hold: bool = False, **area: Any) -> Json:
        return await self.post("area/start", status, **area, live=self.shown["live"], hold=hold)

    async def runs(self, strokes: int = 1) -> None:
        """Wait until the needles have run in skin."""
        await self.shows("punctures", lambda shown: sum(one["punctures"] for one in shown["areas"]) >= strokes)

    async def stop(self) -> None:
        """STOP, until the pen has confirmed it."""
        number = len(self.words) + 1
        await self.send(stop=number)
        confirmed = lambda: [one for one in self.words if one["stop"] == number and one["phase"] == "confirmed"]  # noqa: E731
        await until(confirmed, "the pen's own word that it has stopped")

    async def resume(self) -> None:
        await self.state("latched")
        await self.post("resume", latch_id=self.shown["pen"]["latch"]["id"])


@contextlib.asynccontextmanager
async def launched(served: Serving) -> AsyncIterator[Browser]:
    """A browser that was let in; nobody is logged in."""
    token = served.laptop.keys.launch()
    headers = {"Origin": served.origin}
    async with httpx.AsyncClient(base_url=served.origin, headers=headers, timeout=BOUND_S) as http:
        answer = await http.get("/launch", params={"token": token})
        assert answer.status_code == 303, answer.text
        yield Browser(served.origin, http)


@contextlib.asynccontextmanager
async def clinic(folder: Path, url: str) -> AsyncIterator[Serving]:
    """The server, which offers a pen."""
    async with serving(folder / "journal.sqlite", CONFIG) as served:
        served.laptop.desk.places.see(Found(url, "a pen"))
        yield served


@contextlib.asynccontextmanager
async def clinician(served: Serving) -> AsyncIterator[Browser]:
    """A browser with a page, at which a clinician is logged in; the first sets the laptop up."""
    async with launched(served) as browser:
        if (await browser.get("/api/setup"))["accounts"]:
            await browser.log_in()
        else:
            await browser.post("setup", account=ACCOUNT, password=PASSWORD, role="clinician")
        async with browser.connected():
            yield browser
