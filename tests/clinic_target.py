"""The clinic's server as `pen app` serves it, to be attacked: in a thread of its own, with a pen that treats people.

The one who attacks sees real sockets only; what the server, its files and the pen hold is compared from within.
"""

import asyncio
import contextlib
import hashlib
import json
import queue
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from pen_controller.clinic import snapshot
from pen_controller.clinic.access import IDLE_S
from pen_controller.clinic.accounts import Role
from pen_controller.clinic.server import Serving, serving
from pen_controller.pen.scan import Found
from protocols.framing import Decoder
from protocols.messages import AskState, State, decode, encode
from simulator.pen import SimulatedPen
from simulator.ports import Bench, Endpoint, TcpLine
from tests.lines import CONFIG
from tests.prepared import AGENTS, CASE, LABEL

BOUND_S = 20.0
PASSWORDS = {role: f"a sentence that only the {role} knows" for role in Role}
REAL_PEN = "rejuvapen_nxt"
"""A profile that is not `simulated`: engineers may not touch it."""
AREA = {"area": "cheek", "depth_mm": 1.0, "rate_hz": 60.0, "passes": 2, "size_cm2": 3.0}
T = TypeVar("T")
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over one connection: all of it, and the first answer taken apart; status 0 is none."""

    raw: bytes

    @property
    def status(self) -> int:
        line = self.raw.partition(b"\r\n")[0].split(b" ")
        return int(line[1]) if line[0].startswith(b"HTTP/") and len(line) > 1 else 0

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Names in small letters."""
        head = self.raw.partition(b"\r\n\r\n")[0].decode("latin-1")
        parts = (line.partition(":") for line in head.split("\r\n")[1:])
        return [(name.lower(), value.strip()) for name, _, value in parts]

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def json(self) -> Json:
        found: Json = json.JSONDecoder().raw_decode(self.body.decode())[0]  # another answer may follow
        return found

    @property
    def cookie(self) -> str:
        """The cookie that it sets; none is a failure."""
        header = next(value for name, value in self.headers if name == "set-cookie")
        return header.partition(";")[0].partition("=")[2]


class Target:
    """A server that runs. `words` are what an attack may be made of: `{host}`, `{clinician}`, which is a cookie ..."""

    def __init__(self, served: Serving, home: Path, pen: SimulatedPen, loop: asyncio.AbstractEventLoop) -> None:
        self.laptop, self.home, self.pen, self.origin = served.laptop, home, pen, served.origin
        self.words = {"origin": served.origin, "host": served.origin.removeprefix("http://")}
        self.words["port"] = self.words["host"].rpartition(":")[2]
        self.words["used"] = served.launch_url.rpartition("=")[2]
        self._loop = loop

    # --- from without ------------------------------------------------------------------------------------------------

    def send(self, *pieces: bytes, half_close: bool = False) -> Answer:
        """Send pieces over a connection of its own, and hear it out. `half_close`: nothing more will come."""
        with socket.create_connection(("127.0.0.1", int(self.words["port"])), timeout=BOUND_S) as line:
            heard = b""
            with contextlib.suppress(ConnectionError):  # it may be closed on us in the midst
                for piece in pieces:
                    line.sendall(self.filled(piece))
                if half_close:
                    with contextlib.suppress(OSError):  # it was closed already
                        line.shutdown(socket.SHUT_WR)
                while data := line.recv(65536):
                    heard += data
            return Answer(heard)

    def filled(self, text: bytes) -> bytes:
        """With the words put in."""
        for name, word in self.words.items():
            text = text.replace(b"{%b}" % name.encode(), word.encode())
        return text

    def post(self, path: str, body: Any = None, who: str = "clinician") -> Json:
        """What the page does; a refusal is a failure."""
        answer = self.send(request(path=path, body=json.dumps(body or {}).encode(), cookie=f"pen_session={{{who}}}"))
        assert answer.status == 200, answer.raw
        return answer.json

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Wait until it holds on the server's own loop; fail if it never does."""
        end_s = time.monotonic() + BOUND_S
        while not self.within(condition):
            assert time.monotonic() < end_s, f"waited {BOUND_S} s for {what}"
            time.sleep(0.005)

    def launched(self) -> str:
        """The cookie of another browser that nobody has logged in at."""
        token = self.within(self.laptop.keys.launch)
        return self.send(request("GET", f"/launch?token={token}", cookie=None)).cookie

    def logged_in(self, name: str, password: str) -> str:
        """The cookie of another browser, at which somebody has logged in."""
        self.words["launched"] = self.launched()
        body = json.dumps({"account": name, "password": password}).encode()
        return self.send(request(path="/api/login", body=body, cookie="pen_session={launched}")).cookie

    # --- from within -------------------------------------------------------------------------------------------------

    def within(self, look: Callable[[], T]) -> T:
        """Call something on the server's own loop."""

        async def called() -> T:
            return look()

        return self.done(called())

    def done(self, work: Coroutine[Any, Any, T]) -> T:
        """Have something done on the server's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(BOUND_S)

    def state(self) -> Json:
        """All that an attack could change: what the page shows, keys, record, accounts, files, and the pen itself."""
        self.done(self.laptop.journal.flush())
        return self.within(self._seen) | {"record": self.record(), "files": self.files()}

    def _seen(self) -> Json:
        laptop = self.laptop
        shown = snapshot.slow(laptop.desk, "en") | snapshot.quick(laptop.desk)
        now_s, keys = time.monotonic(), laptop.keys
        steady = ("serial", "connected", "state", "latch", "may_run")
        shown["pen"] = shown["pen"] and {name: shown["pen"][name] for name in steady}
        return {
            "shown": {name: shown[name] for name in shown if name not in ("t_ms", "wall", "running", "areas")},
            "jobs": laptop.jobs.told(),
            "cookies": [(k, x.account, x.role) for k, x in keys._screens.items() if now_s - x.heard_s < IDLE_S],
            "launches": [token for token, until_s in keys._launches.items() if now_s < until_s],
            "operator": (laptop.lives._operator and laptop.lives._operator.number, laptop.lives._hold),
            "accounts": dict(laptop.accounts._accounts),
            "pen": self._truth(),
        }

    def _truth(self) -> Json:
        """What the pen says to a stranger, and what its body does."""
        data = Endpoint(self.pen).receive(encode(AskState()), self.pen.firmware._now_us + self.pen._booted_us)
        said = [decode(frame) for frame in Decoder().feed(data)]
        state = next(one for one in said if isinstance(one, State))
        steady = replace(state, t_us=0, temperature_dc=0, battery_pct=0, deepest_um=0)
        return {"state": steady, "cartridges": dict(self.pen.firmware.used_cartridges), "area": self.pen.firmware.area}

    def record(self) -> list[tuple[str, str, str]]:
        """Session, kind and body of each record of the journal, from its file."""
        with contextlib.closing(sqlite3.connect(f"file:{self.home / 'journal.sqlite'}?mode=ro", uri=True)) as file:
            return file.execute("SELECT session, kind, body FROM record ORDER BY id").fetchall()

    def files(self) -> dict[str, str]:
        """Every file but the journal's own, by its content."""
        found = [path for path in self.home.rglob("*") if path.is_file() and not path.name.startswith("journal")]
        return {str(path.relative_to(self.home)): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def request(
    method: str = "POST",
    path: str = "/api/stop",
    *more: str,
    body: bytes | None = None,
    version: str = "HTTP/1.1",
    **changed: str | None,
) -> bytes:
    """A request as our page makes it, with more lines in its head or with some changed; None leaves one out."""
    writes = method not in ("GET", "HEAD")
    headers: dict[str, str | None] = {
        "host": "{host}",
        "connection": "close",
        "cookie": "pen_session={clinician}",
        "origin": "{origin}" if writes else None,
        "content_type": "application/json" if writes else None,
        "content_length": str(len(body if body is not None else b"{}")) if writes else None,
    } | changed
    lines = [f"{name.replace('_', '-').title()}: {value}" for name, value in headers.items() if value is not None]
    head = "\r\n".join([f"{method} {path} {version}", *lines, *more, "", ""])
    return head.encode() + (body if body is not None else b"{}" if writes else b"")


def page(target: Target, who: str = "clinician") -> ClientConnection:
    """A page that is connected, as our own is."""
    cookie = {"Cookie": f"pen_session={target.words[who]}"}
    return connect(f"ws://{target.words['host']}/live", origin=Origin(target.origin), additional_headers=cookie)


@contextlib.contextmanager
def attacked(home: Path, model: str = REAL_PEN) -> Iterator[Target]:
    """A laptop that is set up, a pen picked, and a treatment prepared, planned and ready to run its needles."""
    with running(home, model) as target:
        first = target.send(request("GET", "/launch?token={used}", cookie=None))
        target.words["launched"] = first.cookie
        set_up = {"account": "clinician-1", "password": PASSWORDS[Role.CLINICIAN], "role": "clinician"}
        body = json.dumps(set_up).encode()
        answer = target.send(request(path="/api/setup", body=body, cookie="pen_session={launched}"))
        target.words |= {"planted": first.cookie, "clinician": answer.cookie}
        for role in (Role.ENGINEER, Role.VIEWER):
            name = f"{role}-1"
            target.post("/api/accounts", {"account": name, "password": PASSWORDS[role], "role": role})
            target.words[role] = target.logged_in(name, PASSWORDS[role])
        target.words["nobody"] = target.launched()
        prepare(target)
        yield target


def prepare(target: Target) -> None:
    """Pick the pen, and answer everything."""
    url = next(iter(target.laptop.desk.places.found))
    target.post("/api/pen", {"url": url})
    target.post("/api/case", CASE)
    for question in CONFIG.screening:
        target.post("/api/screening", {"question": question, "answer": "no"})
    for step in CONFIG.checklist:
        target.post("/api/checked", {"step": step, "value": AGENTS.get(step)})
    target.post("/api/cartridge", {name: LABEL[name] for name in ("lot", "expiry", "needles", "udi")})
    target.post("/api/plan", {"areas": [AREA]})
    target.post("/api/plans", {"name": "kept"})


@contextlib.contextmanager
def running(home: Path, model: str) -> Iterator[Target]:
    """The server and a pen on TCP, before anybody has come."""
    ready: queue.SimpleQueue[Target] = queue.SimpleQueue()
    end = asyncio.Event()

    async def serve() -> None:
        bench = Bench()
        pen, loop = SimulatedPen(model, seed=1, zone_cm2=3.0), asyncio.get_running_loop()
        line = TcpLine(pen, bench.clock_us)
        await line.plug()
        bench.pens.append((pen, line))
        stepping = asyncio.create_task(bench.run())
        try:
            async with serving(home / "journal.sqlite", CONFIG) as served:
                served.laptop.desk.places.see(Found(line.urls[0], "a pen"))
                ready.put(Target(served, home, pen, loop))
                await end.wait()
        finally:
            stepping.cancel()
            await asyncio.gather(stepping, return_exceptions=True)

    thread = threading.Thread(target=asyncio.run, args=[serve()], name="the clinic's server")
    thread.start()
    target = ready.get(timeout=BOUND_S)
    try:
        yield target
    finally:
        target.within(end.set)
        thread.join(BOUND_S)
