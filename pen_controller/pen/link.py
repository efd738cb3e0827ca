"""One connection to one pen: questions, commands, the lease, and the lane of STOP.

A `Link` lives as long as its transport. It gives every command an id and settles each one: executed, refused, or never
to be executed. It starts no task of its own; whoever owns it calls `renew` from the control loop.
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from pen_controller.errors import CommandLostError, LinkError, PenRefusedError, UncertainError
from pen_controller.transports import Transport
from protocols.framing import Decoder, Frame, WireError
from protocols.messages import (
    WRAP,
    AckEvents,
    Answer,
    AnyMessage,
    AskCartridge,
    AskEvents,
    AskIdentity,
    AskState,
    Cartridge,
    Claim,
    Command,
    Event,
    Identity,
    Message,
    NewerProtocolError,
    Release,
    Renew,
    Settle,
    State,
    Stop,
    decode,
    encode,
    is_newer,
)
from protocols.samples import Samples
from protocols.words import Result, StateFlag

HELLO_S = 2.4
"""How long opening the line and asking who is there may take: three seconds are promised to a clear error."""
HELLO_LEAST_S = 0.6
"""What is left for asking after a line that opened slowly: a serial port, at 1.9 s, or one by radio."""
HELLO_EVERY_S = 0.2
ANSWER_S = 0.25
"""Longer than any answer takes, over Bluetooth LE too: at a 30 ms interval a round trip is under 120 ms."""
SETTLE_TRIES = 3
"""H08: a lost answer is settled within three round trips, or the pen is stopped."""
COMMAND_TRIES = 3
ASK_TRIES = 5
"""A question moves nothing. Where 2 % of all frames are lost either way, three go unanswered once in some hours."""

M = TypeVar("M", bound=Message)


class Link:
    """Frames to and from one pen.

    Args:
        transport: an unopened line.
        host_id: 64-bit number of this program, by which the pen knows its owner.
        hear: gets every state, event and sample batch, in order, on the event loop.
        lost: is called once, with the reason, when the line breaks.
    """

    def __init__(
        self,
        transport: Transport,
        host_id: int,
        hear: Callable[[State | Event | Samples], None],
        lost: Callable[[str], None],
    ) -> None:
        self.state: State | None = None
        """What the pen said last."""
        self.heard_s: float | None = None
        """Loop time of the last frame from the pen."""
        self.claimed_epoch = 0
        """The epoch under which we own the pen, 0 when we do not."""
        self._transport, self._host_id = transport, host_id
        self._hear, self._on_lost = hear, lost
        self._loop = asyncio.get_running_loop()
        self._decoder = Decoder()
        self.lost_why: str | None = None
        """Why the line is over; None while it stands."""
        self._counter = 0
        self._pen_epoch = 0
        self._pen_counter = 0
        self._newest: list[int] = []
        self._frames_said = self._frames_heard = 0
        self._command_id = 0
        self._stops = 0
        self._waiting: dict[type[Message] | int, asyncio.Future[Any]] = {}
        self._one_command = asyncio.Lock()
        self._seen_t_us: int | None = None
        self._received_bytes = 0
        self._newer: str | None = None
        self._boot_id: int | None = None

    @property
    def lost_frames(self) -> int:
        """Frames of the pen that have not arrived, by its counter."""
        return self._frames_said - self._frames_heard

    # --- opening and closing -----------------------------------------------------------------------------------------

    async def open(self) -> Identity:
        """Open the line and ask who is there.

        Raises:
            LinkError: within three seconds, over a radio within 20: the line does not open, nothing answers, what
                answers is no pen, or the pen speaks a newer protocol.
        """
        began_s = self._loop.time()
        await self._transport.open(self._receive, self.lose)
        try:
            return await self._hello(max(began_s + HELLO_S, self._loop.time() + HELLO_LEAST_S))
        except BaseException:
            await self._transport.close()
            raise

    async def _hello(self, deadline_s: float) -> Identity:
        while (left_s := deadline_s - self._loop.time()) > 0 and self._newer is None:
            try:
                identity = await self._exchange(AskIdentity(), Identity, min(HELLO_EVERY_S, left_s))
            except TimeoutError:
                continue
            self._boot_id = identity.boot_id
            return identity
        raise LinkError(f"{self._transport.name}: {self._why_no_pen()}")

    def _why_no_pen(self) -> str:
        if self._newer is not None:
            return f"the pen speaks {self._newer}; update this program"
        if self._received_bytes:
            return f"something answers there ({self._received_bytes} bytes), but it is no pen"
        return "nothing answers there; is the pen switched on, and is this its port?"

    async def close(self) -> None:
        """Close the line. Whoever still waits for the pen gets a `LinkError`."""
        self._fail("closed")
        await self._transport.close()

    def lose(self, why: str) -> None:
        """The line is broken, or given up for a reason that it does not show by itself."""
        if self.lost_why is None:
            self._fail(why)
            self._on_lost(why)

    def _fail(self, why: str) -> None:
        if self.lost_why is None:
            self.lost_why = why
        self.claimed_epoch = 0
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            future.set_exception(LinkError(f"{self._transport.name}: {self.lost_why}"))
            future.exception()  # whoever waits gets it; nobody may wait any more

    def _need_line(self) -> None:
        if self.lost_why is not None:
            raise LinkError(f"{self._transport.name}: {self.lost_why}")

    # --- asking ------------------------------------------------------------------------------------------------------

    async def cartridge(self) -> Cartridge:
        """Ask which cartridge is in the pen. Raises `LinkError` if it does not say."""
        return await self._ask_or_fail(AskCartridge(), Cartridge)

    async def ask_state(self) -> State:
        """Ask how the pen is. Raises `LinkError` if it does not say."""
        return await self._ask_or_fail(AskState(), State)

    def ask_events(self, after: int) -> None:
        """Have all kept events after this number sent again; they come by `hear`."""
        self._send(AskEvents(after))

    def acknowledge_events(self, up_to: int) -> None:
        """Tell the pen that it may forget events up to this number."""
        self._send(AckEvents(up_to))

    async def _ask_or_fail(self, question: Message, kind: type[M]) -> M:
        for _ in range(ASK_TRIES):
            try:
                return await self._exchange(question, kind, ANSWER_S)
            except TimeoutError:
                continue
        raise LinkError(f"{self._transport.name}: the pen does not answer")

    async def _answer(self, message: Command, command_id: int) -> Answer:
        return await self._exchange(message, command_id, ANSWER_S)

    async def _exchange(self, message: Message, key: type[M] | int, timeout_s: float) -> M:
        """Send, and wait for what comes: a message of type `key`, or the answer to that id. Raises `TimeoutError`."""
        self._need_line()
        future: asyncio.Future[M] | None = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = self._loop.create_future()
        self._send(message)
        async with asyncio.timeout(timeout_s):
            return await asyncio.shield(future)

    # --- commanding --------------------------------------------------------------------------------------------------

    async def claim(self) -> None:
        """Become the pen's owner.

        Raises:
            PenRefusedError: another host owns the pen.
            LinkError: the pen does not answer, or the line is lost.
        """
        for _ in range(COMMAND_TRIES):
            await self.ask_state()
            claim = Claim(self._next_id(), self._host_id, self._pen_epoch)
            try:
                answer = await self._claim_once(claim)
            except TimeoutError:
                continue
            self._need_line()
            if answer.result is Result.OK:
                self.claimed_epoch = self._pen_epoch
                return
            if answer.result is not Result.STALE_EPOCH:
                raise PenRefusedError("be claimed", answer)
        raise LinkError(f"{self._transport.name}: the pen does not answer the claim")

    async def _claim_once(self, claim: Claim) -> Answer:
        try:
            return await self._answer(claim, claim.command_id)
        except TimeoutError:
            return await self._answer(claim, claim.command_id)

    async def command(self, name: str, make: Callable[[int], Command]) -> Answer:
        """Have the pen execute one command, exactly once.

        Args:
            name: what the command does, for messages to people: "arm", "start", ...
            make: makes the command with the id it is given.

        Returns:
            The pen's OK.

        Raises:
            PenRefusedError: the pen said no.
            CommandLostError: the line lost it again and again, and the pen has promised never to execute it.
            UncertainError: its fate could not be settled; the pen has been told to stop.
            LinkError: the line is lost.
        """
        async with self._one_command:
            stops = self._stops
            for _ in range(COMMAND_TRIES):
                if self._stops != stops:
                    raise CommandLostError(f"STOP was sent before the command to {name} reached the pen")
                command = make(self._next_id())
                answer = await self._execute(name, command)
                if answer.result is Result.OK:
                    return answer
                if answer.result is not Result.NOT_EXECUTED:
                    raise PenRefusedError(name, answer)
        raise CommandLostError(f"the line loses too much: the command to {name} did not reach the pen")

    async def _execute(self, name: str, command: Command) -> Answer:
        """Send a command; if no answer comes, settle it by asking."""
        try:
            return await self._answer(command, command.command_id)
        except TimeoutError:
            pass
        for _ in range(SETTLE_TRIES):
            try:
                answer = await self._answer(Settle(command.command_id), command.command_id)
            except TimeoutError:
                continue
            if answer.command_type == command.TYPE or answer.result is Result.NOT_EXECUTED:
                return answer
            break  # the pen has forgotten the command, or is no longer ours
        self.stop()
        raise UncertainError(f"the pen does not say whether it has executed the command to {name}; told it to stop")

    def release(self) -> None:
        """Give the pen up, without waiting for its word."""
        if self.claimed_epoch:
            self._send(Release(self._next_id()))
            self.claimed_epoch = 0

    def renew(self) -> None:
        """Renew the lease, quoting the newest pen time heard."""
        if self.claimed_epoch and self._seen_t_us is not None:
            self._transport.write(self._frame(Renew(self._seen_t_us)), latest=True)

    def stop(self) -> None:
        """Send STOP, ahead of all that has not yet left. Takes no lock and waits for nothing.

        A command whose fate is open is not sent again after it.
        """
        self._stops += 1
        self._transport.write(self._frame(Stop()), urgent=True)

    def _next_id(self) -> int:
        self._command_id = (self._command_id + 1) % WRAP
        return self._command_id

    # --- bytes -------------------------------------------------------------------------------------------------------

    def _send(self, message: Message) -> None:
        self._transport.write(self._frame(message))

    def _frame(self, message: Message) -> bytes:
        self._counter = (self._counter + 1) % WRAP
        return encode(message, epoch=self.claimed_epoch, counter=self._counter)

    def _receive(self, data: bytes) -> None:
        self._received_bytes += len(data)
        for frame in self._decoder.feed(data):
            try:
                message = decode(frame)
            except NewerProtocolError as error:
                self._newer = str(error)
            except WireError:
                continue
            else:
                self._take(frame, message)

    def _take(self, frame: Frame, message: AnyMessage) -> None:
        if self.lost_why is not None:
            return
        self.heard_s = self._loop.time()
        if isinstance(message, State) and self._boot_id not in (None, message.boot_id):
            self.lose("the pen has rebooted")
            return
        if not self._is_next(frame):
            return
        if isinstance(message, Samples):
            self._see(int(message.records["t_us"][-1]))
        if isinstance(message, State):
            self.state = message
            self._see(message.t_us)
            if not self._is_ours(frame, message):
                return
        if isinstance(message, Answer):
            self._resolve(message.command_id, message)
        elif isinstance(message, Message):
            self._resolve(type(message), message)
        if isinstance(message, State | Event | Samples):
            self._hear(message)

    def _is_next(self, frame: Frame) -> bool:
        """Whether the frame is new, and not repeated or overtaken on the way.

        Samples and all the rest may overtake each other: over Bluetooth LE they take two ways.
        """
        counter, way = frame.counter, frame.type == Samples.TYPE
        if not self._newest:
            self._pen_counter = (counter - 1) % WRAP
            self._newest = [self._pen_counter, self._pen_counter]
        if not is_newer(counter, self._newest[way]):
            return False
        self._newest[way] = counter
        self._frames_heard += 1
        if is_newer(counter, self._pen_counter):
            self._frames_said += (counter - self._pen_counter) % WRAP
            self._pen_counter, self._pen_epoch = counter, frame.epoch
        return True

    def _see(self, t_us: int) -> None:
        if self._seen_t_us is None or is_newer(t_us, self._seen_t_us):
            self._seen_t_us = t_us

    def _is_ours(self, frame: Frame, state: State) -> bool:
        """Whether the pen is still under our claim; if not, the connection is over."""
        if self.claimed_epoch and frame.epoch != self.claimed_epoch:
            self.lose("another program has claimed the pen")
        elif self.claimed_epoch and StateFlag.CLAIMED not in state.flags:
            self.lose("the pen was not renewed for two seconds and has let go of this program")
        return self.lost_why is None

    def _resolve(self, key: type[Message] | int, message: Message) -> None:
        future = self._waiting.pop(key, None)
        if future is not None:
            future.set_result(message)
