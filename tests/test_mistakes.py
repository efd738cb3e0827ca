"""Mistakes put into a motion: exact in time, and nothing else is changed."""

import numpy as np
import pytest

from simulator.hand import Hand, Motion, Style
from simulator.mistakes import Kind, Mistake, inject, tremble

STILL = Style(tremor_rms_mm=0.0, pause_probability=0.0)


def line(seconds: float = 4.0) -> Motion:
    """Along x at 10 mm/s under 1 N, the pen turning a degree a second."""
    t_s = np.arange(round(seconds * 1000)) / 1000
    return Motion(10 * t_s, np.zeros(len(t_s)), t_s.copy(), np.ones(len(t_s)))


def test_without_a_mistake_nothing_changes() -> None:
    before = Hand(20, 20, 1, 1, STILL).motion
    after = inject(before, [])
    for name in ("x_mm", "y_mm", "heading_deg", "force_n"):
        assert np.array_equal(getattr(after, name), getattr(before, name))


def test_standing_stays_and_then_goes_on() -> None:
    before = line()
    after = inject(before, [Mistake("stand", 1_000_000, 1_500_000)])
    assert after.duration_us == before.duration_us + 500_000
    assert np.allclose(after.x_mm[:1000], before.x_mm[:1000])
    assert np.allclose(after.x_mm[1000:1501], 10.0)
    assert np.allclose(after.x_mm[1500:], before.x_mm[1000:])
    assert after.contact.all()


def test_hovering_stands_in_the_air() -> None:
    after = inject(line(), [Mistake("hover", 1_000_000, 7_000_000)])
    assert np.array_equal(np.flatnonzero(~after.contact), np.arange(1000, 7000))
    assert after.x_mm[6999] == after.x_mm[7000] == pytest.approx(10.0)


def test_hurrying_does_the_same_in_less_time() -> None:
    before = line()
    after = inject(before, [Mistake("hurry", 1_000_000, 2_000_000, 2.5)])
    assert after.duration_us == before.duration_us - 1_500_000
    speed_mm_s = np.diff(after.x_mm) * 1000
    assert np.allclose(speed_mm_s[1000:2000], 25.0)
    assert np.allclose(np.delete(speed_mm_s, slice(1000, 2000)), 10.0)


def test_pressing_presses_where_the_tip_is_down() -> None:
    before = Hand(20, 20, 1, 1, STILL).motion
    after = inject(before, [Mistake("press", 500_000, 3_000_000, 4.0)])
    assert np.array_equal(after.contact, before.contact)
    inside = after.contact.copy()
    inside[:500] = inside[3000:] = False
    assert set(after.force_n[inside]) == {4.0}
    assert np.array_equal(after.force_n[~inside], before.force_n[~inside])


def test_several_are_in_the_time_of_the_motion_that_has_them() -> None:
    mistakes = [
        Mistake("stand", 1_000_000, 2_000_000),
        Mistake("hurry", 2_500_000, 3_000_000, 3.0),
        Mistake("hover", 3_500_000, 4_000_000),
    ]
    after = inject(line(), reversed(mistakes))
    speed_mm_s = np.diff(after.x_mm) * 1000
    assert np.allclose(speed_mm_s[1000:2000], 0)
    assert np.allclose(speed_mm_s[2500:3000], 30.0)
    assert np.array_equal(np.flatnonzero(~after.contact), np.arange(3500, 4000))


def test_tremor_is_of_its_size_and_band() -> None:
    before = line(20.0)
    after = tremble(before, seed=3)
    shake_mm = after.x_mm - before.x_mm
    assert shake_mm.std() == pytest.approx(0.3, rel=0.01)
    spectrum = np.abs(np.fft.rfft(shake_mm)) ** 2
    hz = np.fft.rfftfreq(len(shake_mm), 1e-3)
    assert spectrum[(hz > 7.9) & (hz < 12.1)].sum() > 0.999 * spectrum.sum()
    assert not np.array_equal(shake_mm, after.y_mm - before.y_mm)
    assert np.array_equal(tremble(before, seed=3).x_mm, after.x_mm)


@pytest.mark.parametrize(
    ("kind", "start_us", "end_us", "amount"),
    [("stand", 2, 2, 1.0), ("stand", -1, 5, 1.0), ("hurry", 0, 5, 0.0), ("press", 0, 5, float("inf"))],
)
def test_a_senseless_mistake_is_refused(kind: Kind, start_us: int, end_us: int, amount: float) -> None:
    with pytest.raises(ValueError, match="give"):
        Mistake(kind, start_us, end_us, amount)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="one of press, hurry, stand, hover"):
        Mistake("jump", 0, 5)  # type: ignore[arg-type]  # the point of the test


def test_mistakes_that_overlap_or_come_too_late_are_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        inject(line(), [Mistake("stand", 0, 2_000_000), Mistake("hover", 1_000_000, 3_000_000)])
    with pytest.raises(ValueError, match="make it earlier"):
        inject(line(), [Mistake("hurry", 1_000_000, 3_500_000, 2.0)])
