"""The host that the checks play: it keeps its claim, ids and counters right, and lets a check get them wrong."""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import TypeVar

from pen_controller.conformance.wire import ANSWER_S, BrokenRuleError, NotApplicableError, Wire, must
from pen_controller.errors import LinkError
from pen_controller.meanwhile import meanwhile
from protocols.messages import (
    WRAP,
    Answer,
    Arm,
    AskCartridge,
    AskIdentity,
    AskState,
    Cartridge,
    Claim,
    Clear,
    Command,
    Event,
    Identity,
    Message,
    Release,
    Renew,
    Start,
    State,
    encode,
)
from protocols.words import Capability, Cause, EventKind, PenLimit, PenState, Result, StateFlag

RENEW_S = 0.05
HOLD_S = 2.0
"""An owner who is silent for so long has left."""
SLOW_S = 5.0
"""How long thousands of bytes may take on a slow line."""
QUIET_S = 0.05
"""How long is listened for what must not come."""
LEAST_DEPTH_UM = 200
"""Needles run no deeper than this, or than the pen's least depth: twice what a depth sensor may be off."""
DEPTH_STEP_UM = 100
BUDGET_STROKES = 1000
AREA = 8

M = TypeVar("M", bound=Message)


class Host:
    """One host on a wire. `identity`, `cartridge` and `needles` are facts of the run, the same for every check."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.identity: Identity
        self.cartridge: Cartridge
        self.treatment = 0
        self.epoch = self.counter = self.command_id = 0
        self.has_owned = False
        """Whether the pen was ours at some time: what it does may be our doing."""
        self.host_id = random.SystemRandom().getrandbits(64)

    async def meet(self) -> None:
        """Ask the pen who it is; nothing else is said to a pen that another program has.

        Raises:
            BrokenRuleError: it does not say.
            LinkError: another program has it, and does not leave.
        """
        self.identity = await self.ask(AskIdentity(), Identity)
        if StateFlag.CLAIMED in (await self.state()).flags:
            await asyncio.sleep(HOLD_S + 0.2)
            if StateFlag.CLAIMED in (await self.state()).flags:
                raise LinkError(f"{self.wire.name}: another program has the pen: end what it does there first")
        self.cartridge = await self.ask(AskCartridge(), Cartridge)
        self.treatment = self.cartridge.used_by or random.SystemRandom().getrandbits(31) | 1

    def other(self) -> "Host":
        """Another host on the same wire, with the epoch and the counters of this one."""
        stranger = Host(self.wire)
        stranger.epoch, stranger.counter, stranger.command_id = self.epoch, self.counter, self.command_id
        return stranger

    # --- saying and asking -------------------------------------------------------------------------------------------

    def frame(self, message: Message, *, epoch: int | None = None, counter: int | None = None) -> bytes:
        """The next frame of this host, or one with an epoch or counter of a check's choosing."""
        if counter is None:
            counter = self.counter = (self.counter + 1) % WRAP
        return encode(message, epoch=self.epoch if epoch is None else epoch, counter=counter)

    def say(self, message: Message, *, epoch: int | None = None, counter: int | None = None) -> None:
        """Send a message; see `frame`."""
        self.wire.put(self.frame(message, epoch=epoch, counter=counter), type(message).__name__)

    async def ask(
        self,
        message: Message,
        kind: type[M],
        so: Callable[[M], bool] = lambda _: True,
        *,
        epoch: int | None = None,
        counter: int | None = None,
    ) -> M:
        """Send a message and wait for the first of this kind for which it is so."""
        mark = len(self.wire.heard)
        self.say(message, epoch=epoch, counter=counter)
        try:
            return await self.wire.first(kind, mark, so)
        except BrokenRuleError as error:
            raise BrokenRuleError(f"{type(message).__name__}: {error}") from None

    async def fence(self) -> None:
        """Wait until the pen has taken all that was sent before, however slow the line."""
        mark = len(self.wire.heard)
        self.say(AskIdentity())
        await self.wire.first(Identity, mark, within_s=SLOW_S)
        await asyncio.sleep(QUIET_S)

    async def reaction(self, message: Message, *, epoch: int | None = None, counter: int | None = None) -> list[Answer]:
        """Send a message; the answers that came before the pen went on to the next one."""
        mark = len(self.wire.heard)
        self.say(message, epoch=epoch, counter=counter)
        await self.fence()
        return self.wire.since(mark, Answer)

    async def state(self) -> State:
        """How the pen is now, after all that was sent before: not a heartbeat that was still on its way."""
        mark = len(self.wire.heard)
        self.say(AskState())
        await self.ask(AskIdentity(), Identity)
        states = self.wire.since(mark, State)
        must(states, "AskState was not answered before the next question")
        return states[-1]

    async def reached(self, *states: PenState, within_s: float = ANSWER_S) -> State:
        """Wait until the pen is in one of these states, asking first."""
        mark = len(self.wire.heard)
        self.say(AskState())
        try:
            return await self.wire.first(State, mark, lambda seen: seen.state in states, within_s=within_s)
        except BrokenRuleError:
            wanted, now = " or ".join(state.name for state in states), (await self.state()).state.name
            raise BrokenRuleError(f"not {wanted} within {within_s:g} s, but {now}") from None

    def next_id(self) -> int:
        """The next command id."""
        self.command_id += 1
        return self.command_id

    async def answer(self, command: Command, *, epoch: int | None = None, counter: int | None = None) -> Answer:
        """Send a command and wait for its answer."""
        return await self.ask(
            command, Answer, lambda said: said.command_id == command.command_id, epoch=epoch, counter=counter
        )

    async def expect(
        self, command: Command, result: Result, limit: PenLimit = PenLimit.NONE, value: int | None = None
    ) -> Answer:
        """Send a command, and fail unless it is answered like this."""
        answer = await self.answer(command)
        wanted = (result, limit, answer.value if value is None else value)
        must(
            (answer.result, answer.limit, answer.value) == wanted,
            f"{type(command).__name__} was answered {described(answer)}, not "
            f"{described(replace(answer, result=result, limit=limit, value=wanted[2]))}",
        )
        return answer

    async def event(self, kind: EventKind, mark: int, within_s: float = ANSWER_S) -> Event:
        """Wait for an event of this kind, from number `mark` of what was heard on."""
        try:
            return await self.wire.first(Event, mark, lambda event: event.kind is kind, within_s=within_s)
        except BrokenRuleError:
            raise BrokenRuleError(f"no event {kind.name} within {within_s:g} s") from None

    # --- owning ------------------------------------------------------------------------------------------------------

    async def claim(self, seen_epoch: int | None = None) -> Answer:
        """Claim the pen; its ids go on from here."""
        self.next_id()
        answer = await self.answer(self.claiming(seen_epoch))
        if answer.result is Result.OK:
            self.epoch, self.has_owned = self.wire.epoch, True
        return answer

    def claiming(self, seen_epoch: int | None = None) -> Claim:
        """A claim that quotes the epoch seen last, or another, with the newest id."""
        return Claim(self.command_id, self.host_id, self.wire.epoch if seen_epoch is None else seen_epoch)

    async def reset(self) -> None:
        """Make the pen IDLE and ours, without a lease, whatever was before."""
        await self.state()
        if (await self.claim()).result is Result.CLAIMED_BY_OTHER:
            await asyncio.sleep(HOLD_S + 0.2)
            answer = await self.claim()
            must(answer.result is Result.OK, f"a claim was answered {described(answer)}; is another program using it?")
        seen = await self.reached(PenState.LATCHED, PenState.IDLE)
        if seen.state is PenState.LATCHED:
            await self.expect(Clear(self.next_id(), seen.latch_id), Result.OK)
        must((await self.state()).state is PenState.IDLE, "not IDLE after its latch was cleared")

    async def release(self) -> None:
        """Give the pen up."""
        await self.expect(Release(self.next_id()), Result.OK)

    def renew(self, back_us: int = 0) -> None:
        """Renew the lease, quoting the newest pen time, or one that lies further back."""
        if self.wire.seen_t_us is not None:
            renewal = Renew((self.wire.seen_t_us - back_us) % WRAP)
            self.wire.put(self.frame(renewal), "Renew", latest=True)

    @contextlib.asynccontextmanager
    async def renewing(self, back_us: int = 0) -> AsyncIterator[None]:
        """Keep renewing meanwhile."""

        async def renew() -> None:
            while True:
                self.renew(back_us)
                await asyncio.sleep(RENEW_S)

        async with meanwhile(renew(), "renew"):
            yield

    async def renewed(self) -> tuple[int, int]:
        """Renew once; the pen time before and after it arrived."""
        before_us = (await self.state()).t_us
        self.renew()
        return before_us, (await self.state()).t_us

    # --- arming and running ------------------------------------------------------------------------------------------

    @property
    def depth_um(self) -> int:
        """The depth at which the needles run."""
        return min(max(self.identity.min_depth_um, LEAST_DEPTH_UM), self.identity.max_depth_um)

    @property
    def rate_dhz(self) -> int:
        """The rate at which the needles run."""
        return self.identity.min_rate_dhz

    @property
    def stroke_us(self) -> int:
        """How long a stroke takes at that rate."""
        return 10_000_000 // max(1, self.rate_dhz)

    def arming(self, **others: int) -> Arm:
        """An Arm that a good pen grants, but for what is given by name."""
        tag = self.cartridge
        caps = {
            "depth_cap_um": min(self.depth_um + DEPTH_STEP_UM, self.identity.max_depth_um),
            "rate_cap_dhz": self.rate_dhz,
            "force_cap_mn": self.identity.max_force_mn,
            "stroke_budget": BUDGET_STROKES,
            "cartridge_id": tag.cartridge_id,
            "treatment": self.treatment,
            "today_days": min(int(time.time() // 86_400), tag.expiry_days),
        }
        return Arm(self.next_id(), area=AREA, **(caps | others))

    def needs_cartridge(self) -> None:
        """Raise `NotApplicableError` without a cartridge."""
        if not self.cartridge.cartridge_id:
            raise NotApplicableError("no cartridge is in: put one in that no person will be treated with")

    def needs(self, capability: Capability) -> None:
        """Raise `NotApplicableError` if the pen does not have this."""
        if capability not in self.identity.capabilities:
            raise NotApplicableError(f"the pen has no {capability.name}")

    async def arm(self, **others: int) -> int:
        """Arm the pen; the arm epoch."""
        self.needs_cartridge()
        return (await self.expect(self.arming(**others), Result.OK)).value

    def starting(self, arm_epoch: int) -> Start:
        """A Start at the least depth and rate."""
        return Start(self.next_id(), arm_epoch, self.depth_um, self.rate_dhz)

    async def run(self, **others: int) -> int:
        """Arm the pen and start it; the arm epoch. The lease must be alive, and kept so."""
        arm_epoch = await self.arm(**others)
        self.renew()
        await self.expect(self.starting(arm_epoch), Result.OK)
        must((await self.state()).state is PenState.RUNNING, "not RUNNING after Start was answered OK")
        return arm_epoch

    async def latched(self, cause: Cause, within_s: float = ANSWER_S) -> State:
        """Wait until the pen has latched, and fail unless with this cause."""
        seen = await self.reached(PenState.LATCHED, within_s=within_s)
        must(seen.cause is cause, f"latched with {seen.cause.name}, not {cause.name}")
        return seen


def described(answer: Answer) -> str:
    """An answer in one short phrase."""
    limit = "" if answer.limit is PenLimit.NONE else f" {answer.limit.name}"
    return f"{answer.result.name}{limit} {answer.value}"


def later_us(before_us: int, after_us: int) -> int:
    """How much later one pen time is than another."""
    return (after_us - before_us) % WRAP
