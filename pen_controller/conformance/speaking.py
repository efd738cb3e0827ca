"""Who may speak: questions and STOP from anyone, all else from the owner, under its claim."""

import asyncio

from pen_controller.conformance.checks import check
from pen_controller.conformance.host import HOLD_S, Host, described, later_us
from pen_controller.conformance.wire import must
from protocols.messages import (
    WRAP,
    Answer,
    AskCartridge,
    AskEvents,
    AskIdentity,
    AskState,
    Cartridge,
    Clear,
    Command,
    Disarm,
    Event,
    Identity,
    Release,
    Renew,
    Set,
    Settle,
    Start,
    State,
    Stop,
)
from protocols.words import Cause, EventKind, PenState, Result, StateFlag

FOREIGN_EPOCH = 0xDEADBEEF
HOLD_TOLERANCE_US = 100_000
ALIVE_S = 1.5
FIRST_ID, FIRST_COUNTER, A_JUMP = 1, 10, 100


@check("CLM-1")
async def anyone_may_ask(host: Host) -> None:
    """The four questions are answered to anyone, whatever the epoch and the counter."""
    await host.release()
    await host.ask(AskIdentity(), Identity, epoch=FOREIGN_EPOCH, counter=0)
    await host.ask(AskState(), State, epoch=FOREIGN_EPOCH, counter=0)
    await host.ask(AskCartridge(), Cartridge, epoch=FOREIGN_EPOCH, counter=0)
    await host.ask(AskEvents(0), Event, epoch=FOREIGN_EPOCH, counter=0)


@check("CLM-1", "STP-1")
async def anyone_may_stop(host: Host) -> None:
    """STOP is taken from a stranger, under any epoch and counter, while another host owns the pen."""
    host.say(Stop(), epoch=FOREIGN_EPOCH, counter=0)
    await host.latched(Cause.STOP)


@check("CLM-2.1")
async def second_host(host: Host) -> None:
    """A second host is refused while the first is there, and changes nothing."""
    host.renew()
    answer = await host.other().claim()
    must(answer.result is Result.CLAIMED_BY_OTHER, f"a second host's claim was answered {described(answer)}")
    await _still_ours(host)


@check("CLM-2.2")
async def repeated_claim(host: Host) -> None:
    """A claim that is repeated is answered the same, and changes nothing."""
    await host.release()
    claim = host.claiming()
    first = await host.answer(claim)
    host.epoch = host.wire.epoch
    again = await host.answer(claim)
    must(again == first, f"answered {described(again)}, and the first time {described(first)}")
    await _still_ours(host)


@check("CLM-2.3")
async def old_claim(host: Host) -> None:
    """A claim that quotes another epoch than the current one is refused."""
    await host.release()
    for seen_epoch in ((host.epoch - 1) % WRAP, (host.epoch + 1) % WRAP, 0):
        answer = await host.answer(host.claiming(seen_epoch))
        must(answer.result is Result.STALE_EPOCH, f"a claim quoting an old epoch was answered {described(answer)}")
    seen = await host.state()
    must(host.wire.epoch == host.epoch, "a refused claim changed the epoch")
    must(StateFlag.CLAIMED not in seen.flags, "a refused claim left the pen claimed")


@check("CLM-2.4")
async def new_claim(host: Host) -> None:
    """A new claim makes the next epoch, forgets the answers, and counts the owner's frames anew."""
    before, spent_id = host.epoch, host.command_id + A_JUMP
    host.counter += WRAP // 4  # far above what the next epoch begins with
    await host.expect(Disarm(spent_id), Result.OK)
    host.command_id, host.counter = FIRST_ID - 1, FIRST_COUNTER - 1
    answer = await host.claim()
    must(answer.result is Result.OK, f"the owner's new claim was answered {described(answer)}")
    must(host.epoch == ((before + 1) % WRAP or 1), f"epoch {host.epoch} came after {before}")
    must((await host.state()).last_command_id == FIRST_ID, "last_command_id is not the claim's")
    await host.expect(Disarm(host.next_id()), Result.OK)
    await host.expect(Settle(spent_id), Result.NOT_EXECUTED)


@check("CLM-3")
async def claim_while_armed(host: Host) -> None:
    """A claim that is accepted while ARMED latches CLAIM_LOST."""
    await host.arm()
    must((await host.claim()).result is Result.OK, "the owner's new claim was refused")
    await host.latched(Cause.CLAIM_LOST)


@check("CLM-3", needles=True)
async def claim_while_running(host: Host) -> None:
    """A claim that is accepted while RUNNING stops the needles and latches CLAIM_LOST."""
    async with host.renewing():
        await host.run()
        must((await host.claim()).result is Result.OK, "the owner's new claim was refused")
        await host.latched(Cause.CLAIM_LOST)


@check("CLM-4.1")
async def unclaimed(host: Host) -> None:
    """While nobody owns the pen, commands are answered NOT_CLAIMED, and Renew by a State."""
    await host.release()
    for command in _commands(host):
        await host.expect(command, Result.NOT_CLAIMED)
    await host.ask(Renew(host.wire.seen_t_us or 0), State)
    must(StateFlag.CLAIMED not in (await host.state()).flags, "a command left the pen claimed")


@check("CLM-4.2")
async def stale_epoch(host: Host) -> None:
    """Commands under another epoch are answered STALE_EPOCH, and that is not remembered."""
    before = host.command_id
    for command in _commands(host):
        answer = await host.answer(command, epoch=(host.epoch - 1) % WRAP)
        must(answer.result is Result.STALE_EPOCH, f"{type(command).__name__} was answered {described(answer)}")
    host.command_id = before
    await host.expect(Disarm(host.next_id()), Result.OK)


@check("CLM-4.3", "CMD-1")
async def stale_counter(host: Host) -> None:
    """A frame of the owner that is repeated or overtaken is dropped without a word."""
    await host.expect(Disarm(host.next_id()), Result.OK)
    disarm = Disarm(host.next_id())
    for counter in (host.counter, (host.counter - 5) % WRAP, (host.counter + WRAP // 2) % WRAP):
        answers = await host.reaction(disarm, counter=counter)
        must(not answers, f"a frame whose counter is not newer was answered {', '.join(map(described, answers))}")
    await host.expect(disarm, Result.OK)


@check("CLM-4.3", "CLM-2.4")
async def counter_wraps(host: Host) -> None:
    """The owner's frame counter goes on past 2^32 - 1."""
    host.counter = WRAP - 3
    must((await host.claim()).result is Result.OK, "the owner's new claim was refused")
    for _ in range(4):
        await host.expect(Disarm(host.next_id()), Result.OK)


@check("CLM-5")
async def released(host: Host) -> None:
    """Release ends the claim, and says so in an event and in the State."""
    mark = len(host.wire.heard)
    await host.release()
    event = await host.event(EventKind.RELEASED, mark)
    must(event.a == 0, f"the event RELEASED has a = {event.a}")
    must(StateFlag.CLAIMED not in (await host.state()).flags, "State says CLAIMED after Release")


@check("CLM-5", "ARM-3")
async def released_armed(host: Host) -> None:
    """Release while ARMED disarms."""
    await host.arm()
    await host.release()
    seen = await host.state()
    must(seen.state is PenState.IDLE and not seen.arm_epoch, f"{seen.state.name}, arm epoch {seen.arm_epoch}")


@check("CLM-5", "STP-5")
async def released_latched(host: Host) -> None:
    """A latched pen that is released stays latched."""
    host.say(Stop())
    await host.latched(Cause.STOP)
    await host.release()
    await host.latched(Cause.STOP)


@check("CLM-6")
async def lapse(host: Host) -> None:
    """A claim that is not renewed lapses after 2 s, and not before."""
    mark = len(host.wire.heard)
    must((await host.claim()).result is Result.OK, "the owner's new claim was refused")
    claimed = await host.event(EventKind.CLAIMED, mark)
    await asyncio.sleep(ALIVE_S)
    must(StateFlag.CLAIMED in (await host.state()).flags, f"the claim was over after {ALIVE_S} s")
    event = await host.event(EventKind.RELEASED, mark, within_s=HOLD_S)
    must(event.a == 1, f"the event RELEASED has a = {event.a}")
    after_us = later_us(claimed.t_us, event.t_us)
    must(abs(after_us - HOLD_S * 1e6) < HOLD_TOLERANCE_US, f"the claim lapsed after {after_us / 1e6:.3f} s")
    must(StateFlag.CLAIMED not in (await host.state()).flags, "State says CLAIMED after the claim has lapsed")


def _commands(host: Host) -> list[Command]:
    """One of each command of the owner's, all of them harmless."""
    return [
        host.arming(stroke_budget=0),
        Start(host.next_id(), 0, 0, 0),
        Set(host.next_id(), 0, 0, 0),
        Disarm(host.next_id()),
        Clear(host.next_id(), 0),
        Settle(host.next_id()),
        Release(host.next_id()),
    ]


async def _still_ours(host: Host) -> None:
    answer: Answer = await host.answer(Disarm(host.next_id()))
    must(answer.result is Result.OK, f"afterwards the owner's command was answered {described(answer)}")
    must(host.wire.epoch == host.epoch, f"the epoch went from {host.epoch} to {host.wire.epoch}")
