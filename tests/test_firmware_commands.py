"""H08: a command is executed once, whatever answers are lost, and can always be settled."""

import pytest

from protocols.messages import Answer, Clear, Disarm, Set, Settle, Start, Stop
from protocols.words import EventKind, PenLimit, PenState, Result
from simulator.memory import COMMANDS_KEPT
from tests.virtual_pen import MS, VirtualPen, armed, running


@pytest.mark.hazard("H08", "H07")
def test_a_repeated_command_is_executed_once_and_gets_the_same_answer() -> None:
    virtual = armed()
    start = Start(virtual.next_id(), virtual.host.arm_epoch, 800, 1000)
    first = virtual.ask(start)
    virtual.run(100 * MS)
    assert [virtual.ask(start) for _ in range(3)] == [first] * 3
    assert virtual.body.driven == [(100, 800)]
    assert len(virtual.events(EventKind.STARTED)) == 1


def test_a_repeated_arm_gives_the_same_arm_epoch() -> None:
    virtual = armed()
    answer = virtual.arm()
    host = virtual.host
    host.command_id -= 1
    assert virtual.arm() == answer
    assert len(virtual.events(EventKind.ARMED)) == 2
    assert virtual.state.arm_epoch == 2


def test_an_id_decides_even_if_the_command_is_another() -> None:
    virtual = running(1000, 1000)
    answer = virtual.set(700, 700)
    assert virtual.ask(Disarm(virtual.host.command_id)) == answer
    assert virtual.state.state is PenState.RUNNING


def test_a_refused_command_is_remembered_too() -> None:
    virtual = armed(depth_um=500)
    answer = virtual.start(depth_um=600)
    assert (answer.result, answer.limit) == (Result.OVER_LIMIT, PenLimit.ARM_DEPTH_CAP)
    assert virtual.ask(Start(virtual.host.command_id, virtual.host.arm_epoch, 400, 1000)) == answer
    assert virtual.ask(Settle(virtual.host.command_id)) == answer
    assert virtual.state.state is PenState.ARMED


@pytest.mark.hazard("H08")
def test_settle_tells_what_became_of_a_command() -> None:
    virtual = running(1000, 1000)
    answer = virtual.set(700, 700)
    assert [virtual.ask(Settle(virtual.host.command_id)) for _ in range(3)] == [answer] * 3
    assert virtual.state.last_command_id == virtual.host.command_id


@pytest.mark.hazard("H08")
def test_settle_makes_void_what_has_not_come_yet() -> None:
    virtual = running(1000, 1000)
    late_id = virtual.next_id() + 4
    assert virtual.ask(Settle(late_id)) == Answer(late_id, 0, Result.NOT_EXECUTED, PenLimit.NONE, 0)
    for command_id in (late_id - 4, late_id):
        command = Set(command_id, virtual.host.arm_epoch, 300, 300)
        assert virtual.ask(command) == Answer(command_id, Set.TYPE, Result.STALE_ID, PenLimit.NONE, 0)
    assert virtual.state.depth_set_um == 1000
    assert virtual.ask(Set(late_id + 1, virtual.host.arm_epoch, 300, 300)).result is Result.OK


@pytest.mark.hazard("H08")
def test_a_settle_whose_answer_was_lost_is_answered_the_same_again() -> None:
    virtual = running(1000, 1000)
    never_came = virtual.next_id()
    answers = {virtual.ask(Settle(never_came)).result for _ in range(3)}
    assert answers == {Result.NOT_EXECUTED}


def test_an_id_below_the_highest_seen_is_stale_or_forgotten() -> None:
    virtual = armed()
    virtual.host.command_id = 50
    virtual.ask(Disarm(virtual.next_id()))
    assert virtual.ask(Disarm(49)).result is Result.STALE_ID
    assert virtual.ask(Settle(49)).result is Result.FORGOTTEN


def test_the_newest_answers_are_remembered_and_no_others() -> None:
    virtual = armed()
    first = virtual.next_id()
    answers = [virtual.ask(Disarm(first + index)) for index in range(COMMANDS_KEPT + 5)]
    assert COMMANDS_KEPT >= 32
    for index, answer in enumerate(answers):
        settled = virtual.ask(Settle(first + index))
        again = virtual.ask(Disarm(first + index))
        if index < 5:
            assert (settled.result, again.result) == (Result.FORGOTTEN, Result.STALE_ID)
        else:
            assert settled == again == answer


def test_a_claim_is_settled_like_a_command() -> None:
    virtual = VirtualPen()
    answer = virtual.claim()
    assert virtual.ask(Settle(1)) == answer


@pytest.mark.parametrize("command", [Disarm(3), Clear(3, 1)])
def test_commands_say_state_at_once(command: Disarm | Clear) -> None:
    virtual = armed()
    virtual.say(Stop())
    said = virtual.say(command)
    assert [type(one).__name__ for one in said][-2:] == ["Answer", "State"]
