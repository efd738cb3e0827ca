"""The connection to each page: what is happening goes out, STOP and signs of life come in.

Needles run only while the page that operates says that it is alive, five times a second. STOP is handled where it is
received: nothing is awaited between its arrival and the pen.
"""

import asyncio
import contextlib
import json
from collections import deque
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from pen_controller.clinic import snapshot
from pen_controller.clinic.access import Keys, Screen
from pen_controller.clinic.accounts import Account, Accounts
from pen_controller.clinic.desk import Desk, NotNowError
from pen_controller.clinic.jobs import Jobs
from pen_controller.clinic.lag import Lag
from pen_controller.clinic.people import NOBODY, Who
from pen_controller.clinic.snapshot import Json

VERSION = version("pen-controller")
ALIVE_S = 0.6
"""Three signs of life. With the pen's own stop, needles are in within a second of the page's death."""
TICK_S = 0.05
IDLE_TICKS = 4
"""Snapshots are sent with every tick while needles run, else with every fourth, and at once when something changes.

A page takes a word that is older than 600 ms for no word."""
MOST_MESSAGES, MOST_MESSAGES_S = 100, 1.0
MOST_MESSAGE_BYTES = 4096
MOST_LIVES, MOST_STRANGERS = 20, 5
"""Pages that may be connected, and those of them where nobody is logged in."""
LOGGED_OUT, TOO_MUCH, NOT_JSON = 4401, 4429, 4400


class Live:
    """One page that is connected. `number` is `Snapshot.live`."""

    def __init__(self, number: int, screen: Screen) -> None:
        self.number, self.screen = number, screen
        self.heard_s = float("-inf")
        """When it last said that it is alive and operates."""
        self.held = False
        """Whether it says that the key for hold-to-run is held."""
        self.stops: dict[str, Any] = {}
        """STOPs that the pen has not confirmed yet."""
        self.leave_with: int | None = None
        """The code with which to close it."""
        self.wake = asyncio.Event()
        self.words: deque[str] = deque(maxlen=100)
        self.snapshot: str | None = None

    @property
    def name(self) -> str:
        """Who works there, in a word for the record."""
        return self.screen.account or NOBODY

    def say(self, message: dict[str, Any]) -> None:
        """Send ahead of snapshots."""
        self.words.append(json.dumps(message))
        self.wake.set()

    def show(self, text: str) -> None:
        """Send the newest snapshot; one that a slow page has not taken yet is dropped."""
        self.snapshot = text
        self.wake.set()

    def close(self, code: int) -> None:
        """End the connection."""
        self.leave_with = code
        self.wake.set()


class Lives:
    """All pages that are connected, and the one that operates."""

    def __init__(self, desk: Desk, keys: Keys, accounts: Accounts, lag: Lag, jobs: Jobs) -> None:
        self._desk, self._keys, self._accounts, self._lag, self._jobs = desk, keys, accounts, lag, jobs
        self._all: dict[int, Live] = {}
        self._made = self._snapshots = 0
        self._operator: Live | None = None
        self._hold = False
        self._told: dict[str | None, tuple[int, str]] = {}
        self._loop = asyncio.get_running_loop()

    # --- who operates ------------------------------------------------------------------------------------------------

    def operate(self, number: int, screen: Screen, *, hold: bool) -> None:
        """From now on needles run only while this page is alive, and with `hold` only while the key is held.

        Raises:
            NotNowError: it is not connected, does not say that it operates, or the key is not held.
        """
        live = self._all.get(number)
        if live is None or live.screen is not screen or not self._is_alive(live):
            raise NotNowError("this page is not connected, or does not say that it is alive: reload it")
        if hold and not live.held:
            raise NotNowError("the key for hold-to-run is not held")
        self._operator, self._hold = live, hold

    def _is_alive(self, live: Live) -> bool:
        return self._loop.time() - live.heard_s <= ALIVE_S

    async def watch(self) -> None:
        """Stop the pen when the page that operates is not alive any more."""
        while True:
            await asyncio.sleep(TICK_S)
            operator = self._operator
            if operator is not None and self._desk.runs:
                if not self._is_alive(operator):
                    self._give_up("the screen does not answer")
                elif self._hold and not operator.held:
                    self._let_go(operator)

    def _give_up(self, why: str) -> None:
        self._operator = None
        self._desk.stop("service", why)

    def _let_go(self, live: Live) -> None:
        if self._desk.treatment is not None:
            self._desk.treatment.leave(live.name, "the key was let go")

    # --- what comes in -----------------------------------------------------------------------------------------------

    async def serve(self, websocket: WebSocket) -> None:
        """Serve one page until it goes."""
        screen: Screen = websocket.state.screen
        strangers = sum(live.screen.account is None for live in self._all.values())
        if len(self._all) >= MOST_LIVES or (screen.account is None and strangers >= MOST_STRANGERS):
            await websocket.close(TOO_MUCH, "too many pages are open")
            return
        await websocket.accept()
        self._made += 1
        live = self._all[self._made] = Live(self._made, screen)
        live.show(f'{{"live": {live.number}, {self.snapshot(screen)[1:]}')
        sending = asyncio.create_task(_send(websocket, live), name=f"page {live.number}")
        try:
            await self._listen(websocket, live)
        finally:
            del self._all[live.number]
            if live is self._operator and self._desk.runs:
                self._give_up("the screen was closed")
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
                await sending

    async def _listen(self, websocket: WebSocket, live: Live) -> None:
        recent_s: deque[float] = deque(maxlen=MOST_MESSAGES)
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            said = _read(message.get("text"))
            if said is not None and "stop" in said:
                self._stop(live, said["stop"])
                continue
            now_s = self._loop.time()
            if said is None:
                live.close(NOT_JSON)
            elif len(recent_s) == MOST_MESSAGES and now_s - recent_s[0] < MOST_MESSAGES_S:
                live.close(TOO_MUCH)
            else:
                self._hear(live, said, now_s)
            recent_s.append(now_s)

    def _stop(self, live: Live, given: object) -> None:
        self._desk.stop(live.name)
        stop = given if isinstance(given, int | str) else None
        live.say({"stop": stop, "phase": "handled", "t_ms": round(self._loop.time() * 1000)})
        if len(live.stops) < MOST_MESSAGES:
            live.stops[str(stop)] = stop

    def _hear(self, live: Live, said: dict[str, Any], now_s: float) -> None:
        if not self._keys.knows(live.screen):
            live.close(LOGGED_OUT)
            return
        live.screen.heard_s = now_s
        if "hold" in said:
            live.held = said["hold"] is True
            if live is self._operator and self._hold and not live.held:
                self._let_go(live)
        if said.get("operating") is True:
            live.heard_s = now_s

    # --- what goes out -----------------------------------------------------------------------------------------------

    async def tell(self) -> None:
        """Show each page what is happening."""
        before: tuple[object, ...] = ()
        while True:
            for tick in range(IDLE_TICKS):
                await asyncio.sleep(TICK_S)
                self._confirm()
                now = self._glance()
                if self._all and (self._desk.runs or now != before or tick == 0):
                    before = now
                    self._show()

    def _glance(self) -> tuple[object, ...]:
        """What a page is told of at once."""
        desk, pen = self._desk, self._desk.pen
        seen = pen and (pen.connected, pen.state.state, pen.state.latch_id, pen.stop_reason)
        return desk.changes, desk.places.scanning, desk.trouble, seen

    def _show(self) -> None:
        self._snapshots += 1
        now = {known: self._now(known=known) for known in (True, False)}
        for live in self._all.values():
            if self._keys.knows(live.screen):
                account = live.screen.account
                live.show(f'{{"live": {live.number}, {now[account is not None]}, {self._rest(account)}}}')
            else:
                live.close(LOGGED_OUT)

    def _confirm(self) -> None:
        if self._desk.stopped:
            for live in self._all.values():
                for stop in live.stops.values():
                    live.say({"stop": stop, "phase": "confirmed", "at": f"{datetime.now(UTC).astimezone():%H:%M:%S}"})
                live.stops.clear()

    def snapshot(self, screen: Screen) -> str:
        """What a browser is shown now, as JSON: nothing of a treatment while nobody is logged in."""
        return f"{{{self._now(known=screen.account is not None)}, {self._rest(screen.account)}}}"

    def _now(self, *, known: bool) -> str:
        """The part that changes all the time, without its braces; `known`: somebody is logged in."""
        service = {"version": VERSION, "loop_lag_ms": self._lag.now_ms, "worst_lag_ms": self._lag.worst_ms}
        seen = {"n": self._snapshots, "service": service, **snapshot.quick(self._desk)}
        hidden: Json = {} if known else {"running": None, "areas": [], "telemetry": None}
        return json.dumps(seen | hidden)[1:-1]

    def _rest(self, name: str | None) -> str:
        """The part that an account is shown, made anew when something has changed, without its braces."""
        changes, text = self._told.get(name, (-1, ""))
        if changes != self._desk.changes:
            text = json.dumps(self._shown(self._accounts.get(name or "")))[1:-1]
            self._told[name] = self._desk.changes, text
        return text

    def _shown(self, account: Account | None) -> dict[str, Any]:
        if account is None:
            return {"me": None, "screen": "login"}
        who, language = Who(account.name, account.role), account.settings.language
        reads = who.may_read(self._desk.is_practice)
        me = {
            "account": account.name,
            "role": account.role,
            "may_work": who.may_work(self._desk.pen is None or self._desk.is_practice),
            "may_read": reads,
            "settings": account.settings.model_dump(),
        }
        return {"me": me, **snapshot.slow(self._desk, language, reads=reads), "jobs": self._jobs.told()}


async def _send(websocket: WebSocket, live: Live) -> None:
    while True:
        await live.wake.wait()
        live.wake.clear()
        while live.words:
            await websocket.send_text(live.words.popleft())
        text, live.snapshot = live.snapshot, None
        if text is not None:
            await websocket.send_text(text)
        if live.leave_with is not None and websocket.application_state is WebSocketState.CONNECTED:
            await websocket.close(live.leave_with)
            return


def _read(text: str | None) -> dict[str, Any] | None:
    """A message, if it is a JSON object."""
    try:
        said = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return said if isinstance(said, dict) else None
