"""Commands: each id is executed at most once, and can always be settled."""

from pen_controller.conformance.checks import check
from pen_controller.conformance.host import Host, described
from pen_controller.conformance.wire import must
from protocols.messages import Answer, Clear, Command, Disarm, Event, Settle
from protocols.words import EventKind, Result

REMEMBERED = 32
A_JUMP = 100


@check("CMD-1", "CMD-2")
async def repeated_command(host: Host) -> None:
    """A command that is repeated in a new frame is answered from memory, and not executed again."""
    mark = len(host.wire.heard)
    arm = host.arming(stroke_budget=0)
    first, again = await host.answer(arm), await host.answer(arm)
    must(again == first, f"answered {described(again)}, and the first time {described(first)}")
    await host.fence()
    times = sum(event.kind is EventKind.REFUSED for event in host.wire.since(mark, Event))
    must(times == 1, f"{times} events REFUSED for one Arm that was sent twice")


@check("CMD-1", "CMD-2")
async def repeated_arm(host: Host) -> None:
    """An Arm that is repeated arms once."""
    host.needs_cartridge()
    arm = host.arming()
    first, again = await host.answer(arm), await host.answer(arm)
    must(first.result is Result.OK, f"Arm was answered {described(first)}")
    must(again == first, f"answered {described(again)}, and the first time {described(first)}")
    seen = await host.state()
    must(seen.arm_epoch == first.value, f"the arm epoch went on to {seen.arm_epoch}")


@check("CMD-2")
async def thirty_two_answers(host: Host) -> None:
    """The 32 newest answers are remembered."""
    commands: list[Command] = [
        Disarm(host.next_id()) if number % 2 else Clear(host.next_id(), 0) for number in range(REMEMBERED)
    ]
    async with host.renewing():
        answers = [await host.answer(command) for command in commands]
        for number, (command, first) in enumerate(zip(commands, answers, strict=True)):
            again = await host.answer(command)
            age = REMEMBERED - number
            must(again == first, f"number {age} back was answered {described(again)}, and first {described(first)}")


@check("CMD-3", "CMD-1")
async def spent_id(host: Host) -> None:
    """An id that is not above the highest seen, and was never answered, is STALE_ID."""
    host.command_id += A_JUMP
    await host.expect(Disarm(host.next_id()), Result.OK)
    await host.expect(Disarm(host.command_id - A_JUMP // 2), Result.STALE_ID)


@check("CMD-4")
async def settled(host: Host) -> None:
    """Settle tells what became of a command: its own answer, FORGOTTEN, or NOT_EXECUTED."""
    refused = await host.answer(host.arming(stroke_budget=0))
    said = await host.answer(Settle(refused.command_id))
    must(said == refused, f"Settle was answered {described(said)}, and the command {described(refused)}")
    host.command_id += A_JUMP
    await host.expect(Disarm(host.next_id()), Result.OK)
    await host.expect(Settle(host.command_id - A_JUMP // 2), Result.FORGOTTEN)
    for _ in range(3):
        await host.expect(Settle(host.command_id + A_JUMP), Result.NOT_EXECUTED)


@check("CMD-4")
async def void_after_settle(host: Host) -> None:
    """An id that was settled as NOT_EXECUTED, and all below it, are never executed."""
    void_id = host.command_id + A_JUMP
    await host.expect(Settle(void_id), Result.NOT_EXECUTED)
    for command_id in (void_id, void_id - 1):
        late: Answer = await host.answer(Disarm(command_id))
        must(late.result is Result.STALE_ID, f"a void id was answered {described(late)}")
    host.command_id = void_id
    await host.expect(Disarm(host.next_id()), Result.OK)
