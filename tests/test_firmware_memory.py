"""Events that are kept until acknowledged, states, and samples that lose no count."""

import itertools

import numpy as np
import pytest

from protocols.messages import AckEvents, AskEvents, Clear, Event, Release, State, Stop
from protocols.samples import MAX_SAMPLES
from protocols.words import EventKind, PenState, Result, SampleFlag
from simulator.memory import EVENTS_KEPT
from simulator.pen import Clinician
from simulator.sampler import signed
from tests.virtual_pen import MS, SECOND, VirtualPen, armed, running


def kept(virtual: VirtualPen, after: int = 0) -> list[Event]:
    return [said for said in virtual.say(AskEvents(after)) if isinstance(said, Event)]


def test_events_are_said_once_and_numbered_without_gaps() -> None:
    virtual = running()
    virtual.say(Stop())
    virtual.run(SECOND, renew=False)
    events = [said for said in virtual.heard if isinstance(said, Event)]
    assert [event.number for event in events] == list(range(1, len(events) + 1))
    assert [event.kind.name for event in events] == [
        "BOOTED",
        "CLAIMED",
        "ARMED",
        "CARTRIDGE_MARKED",
        "STARTED",
        "STOPPED",
        "RETRACTED",
    ]
    assert kept(virtual) == events
    assert kept(virtual, 5) == events[5:]


def test_acknowledged_events_are_forgotten_and_no_others() -> None:
    virtual = running()
    last = virtual.state.last_event
    virtual.say(AckEvents(3))
    assert (virtual.state.first_event, virtual.state.last_event) == (4, last)
    assert [event.number for event in kept(virtual)] == list(range(4, last + 1))
    virtual.say(AckEvents(last + 100))
    assert (virtual.state.first_event, virtual.state.last_event) == (last + 1, last)
    assert kept(virtual) == []


def test_the_oldest_event_gives_way_and_the_gap_shows() -> None:
    virtual = VirtualPen()
    virtual.claim()
    assert EVENTS_KEPT == 256
    while virtual.state.last_event <= 300:
        assert virtual.arm(budget=0).result is Result.OVER_LIMIT
    state = virtual.state
    assert state.first_event == state.last_event - 255
    assert [event.number for event in kept(virtual)] == list(range(state.first_event, state.last_event + 1))


def test_an_event_of_each_refusal_names_limit_and_value_asked() -> None:
    virtual = armed(depth_um=500)
    virtual.start(501, 1000)
    virtual.arm(depth_um=3000)
    assert [(event.a, event.b) for event in virtual.events(EventKind.REFUSED)] == [(5, 501), (1, 3000)]


@pytest.mark.parametrize("claim", [False, True])
def test_a_state_is_said_at_least_every_50_ms(claim: bool) -> None:
    virtual = running(for_us=0) if claim else VirtualPen()
    virtual.run(2 * SECOND)
    times_us = [said.t_us for said in virtual.heard if isinstance(said, State)]
    assert max(later - earlier for earlier, later in itertools.pairwise(times_us)) <= 50 * MS


def test_every_change_of_state_is_said_when_it_happens() -> None:
    virtual = armed()
    virtual.start(2500, 500)
    virtual.run(100 * MS)
    virtual.say(Stop())
    virtual.run(20 * MS)
    virtual.ask(Clear(virtual.next_id(), 1))
    states = [said.state for said in virtual.heard if isinstance(said, State)]
    assert [state for state, _ in itertools.groupby(states)] == [
        PenState.IDLE,
        PenState.ARMED,
        PenState.RUNNING,
        PenState.STOPPING,
        PenState.LATCHED,
        PenState.IDLE,
    ]
    (retracted,) = virtual.events(EventKind.RETRACTED)
    latched = next(said for said in virtual.heard if isinstance(said, State) and said.state is PenState.LATCHED)
    assert latched.t_us == retracted.t_us


# --- samples ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", [1, 20, 100, 333, 1000])
def test_samples_are_numbered_and_timed_without_gaps(rate_hz: int) -> None:
    virtual = running(800, 1000, VirtualPen(sample_rate_hz=rate_hz), for_us=3 * SECOND)
    batches = virtual.samples()
    period_us = 1_000_000 // rate_hz
    for earlier, later in itertools.pairwise(batches):
        assert later.first == earlier.first + len(earlier.records)
    for batch in batches:
        assert 1 <= len(batch.records) <= MAX_SAMPLES
        assert len(batch.records) * period_us <= 50 * MS + period_us
    records = np.concatenate([batch.records for batch in batches])
    assert len(records) == pytest.approx(3 * rate_hz, abs=max(3, rate_hz / 15))
    assert np.all(np.diff(records["t_us"].astype(np.int64)) == period_us)


@pytest.mark.parametrize(("rate_hz", "samples"), [(20, 1), (100, 5), (200, 10), (1000, 10)])
def test_a_batch_is_said_when_it_is_full_or_another_sample_would_make_it_older_than_50_ms(
    rate_hz: int, samples: int
) -> None:
    virtual = VirtualPen(sample_rate_hz=rate_hz)
    virtual.claim()
    virtual.run(SECOND)
    assert {len(batch.records) for batch in virtual.samples()} == {samples}


def test_samples_accumulate_and_catch_every_crest() -> None:
    virtual = VirtualPen()
    virtual.pen.clinician = Clinician(4.0, seed=1)
    running(800, 1000, virtual, for_us=5 * SECOND)
    records = np.concatenate([batch.records for batch in virtual.samples()])
    for name in ("strokes", "contact_strokes", "path_um"):
        assert np.all(np.diff(records[name].astype(np.int64)) >= 0)
        assert records[name][-1] > records[name][0]
    assert records["strokes"][-1] == pytest.approx(virtual.body.true_strokes, abs=6)
    assert np.all(records["contact_strokes"] <= records["strokes"])
    settled = records[records["t_us"] > SECOND]
    assert np.all(np.abs(settled["depth_um"].astype(int) - 800) < 60)
    assert np.median(settled["rate_dhz"]) == pytest.approx(1000, abs=40)
    flags = settled["flags"]
    assert np.all(flags & (SampleFlag.RUNNING | SampleFlag.DEPTH_VALID | SampleFlag.FORCE_VALID) == 14)
    on_skin = (flags & SampleFlag.CONTACT) > 0
    assert on_skin.mean() > 0.5


def test_samples_are_said_only_to_an_owner_but_always_numbered() -> None:
    virtual = VirtualPen()
    virtual.run(SECOND)
    assert virtual.samples() == []
    virtual.claim()
    virtual.run(200 * MS)
    assert virtual.samples()[0].first == 101
    virtual.run(3 * SECOND, renew=False)
    heard = len(virtual.samples())
    virtual.run(SECOND, renew=False)
    assert len(virtual.samples()) == heard


def test_a_batch_begun_for_one_owner_is_not_said_to_the_next() -> None:
    virtual = VirtualPen()
    virtual.claim()
    virtual.run(15 * MS)
    virtual.ask(Release(virtual.next_id()))
    virtual.run(SECOND, renew=False)
    claimed_us = virtual.now_us
    virtual.claim()
    virtual.run(SECOND)
    assert virtual.samples()[0].records["t_us"][0] >= claimed_us


def test_numbers_fold_into_signed_bits() -> None:
    assert [signed(value) for value in (0, 5, -5, 2**31 - 1, 2**31, 2**32 - 1, -(2**31) - 1)] == [
        0,
        5,
        -5,
        2**31 - 1,
        -(2**31),
        -1,
        2**31 - 1,
    ]
