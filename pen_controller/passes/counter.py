"""The pass counter: from batches of samples to what they complete, for any number of pens side by side."""

from collections.abc import Sequence
from typing import Final

from pen_controller.passes.area import Area
from pen_controller.passes.compiled import CompiledLanes
from pen_controller.passes.figures import Figures, Finished, Zone
from pen_controller.passes.ground import DISC, cell_cm2
from pen_controller.passes.lanes import BATCH_SAMPLES, Lanes
from pen_controller.passes.ticks import TICK_US, lift
from pen_controller.passes.tip import Event, Tip
from protocols.samples import SampleArray

HOW: Final = {
    True: {
        "passes": "swept ground by direction; a pass ends with its direction or with a rest",
        "coverage": "measured within one contact, an interval across lifts",
        "glides": "movement and contact",
    },
    False: {
        "passes": "none: the pen has no motion sensor",
        "coverage": "none: the pen has no motion sensor",
        "glides": "contact alone: the pen has no motion sensor",
    },
}
"""How figures were got, by whether the pen has a motion sensor."""
HOW_CONTACT: Final = {
    True: {"punctures": "counted by the pen, times needles"},
    False: {"punctures": "estimated: contact from the motor's current"},
}
"""The same, by whether the pen senses contact."""


class PassCounter:
    """Counts areas, each under its own pen, side by side: one in a treatment, many in a replay.

    The result does not depend on how the streams are cut into batches. Memory does not grow with them.

    Args:
        zones: to be counted.
        compiled: count as machine code, which takes some seconds to make once: for archives, not in a treatment.

    Raises:
        ValueError: no zone.
        ImportError: Numba is not installed; the message says how to install it.
    """

    def __init__(self, zones: Sequence[Zone], *, compiled: bool = False) -> None:
        if not zones:
            raise ValueError("nothing to count: give at least one zone")
        self.zones = tuple(zones)
        self._areas = [Area(lane, zone) for lane, zone in enumerate(zones)]
        self._how = [HOW[zone.motion] | HOW_CONTACT[zone.contact] for zone in zones]
        tips = [Tip(zone.tip_width_mm, zone.contact) for zone in zones]
        self._tips = CompiledLanes(tips) if compiled else Lanes(tips)

    def feed(self, samples: SampleArray) -> Finished:
        """Count samples of shape (zones, n), or (n,) for one zone, each zone's in pen order; return what they complete.

        A zone that has nothing new repeats its last sample.
        """
        finished = Finished([], [])
        samples = samples.reshape(len(self.zones), -1)
        for at in range(0, samples.shape[1], BATCH_SAMPLES):
            for event in self._tips.read(samples[:, at : at + BATCH_SAMPLES]):
                self._areas[event.lane].happened(event, finished)
        return finished

    def finish(self, lane: int = 0) -> Finished:
        """The area is done: a pass that is complete is over, as after a rest."""
        finished = self.forget_place(lane)
        self._areas[lane].rest(finished)
        return finished

    def forget_place(self, lane: int = 0) -> Finished:
        """The stream was interrupted: counters go on, but nobody knows where the tip has been meanwhile."""
        finished = Finished([], [])
        tip, event = self._tips[lane], Event()
        if tip.down:
            lift(tip, event)
            self._areas[lane].happened(event, finished)
        tip.down = tip.sensed = tip.sensed_before = False
        self._tips[lane] = tip
        return finished

    def forget_counters(self, lane: int = 0) -> Finished:
        """The pen's counters have gone on elsewhere, or begin anew since it rebooted."""
        tip = self._tips[lane]
        tip.heard = False
        self._tips[lane] = tip
        return self.forget_place(lane)

    def figures(self, lane: int = 0) -> Figures:
        """What this zone has been given, by all samples heard so far."""
        area, zone, tip = self._areas[lane], self.zones[lane], self._tips[lane]
        in_contact = tip.total_contact_strokes if zone.contact else tip.sum_contact_strokes
        local_strokes = tip.most / len(DISC) / cell_cm2(zone.tip_width_mm)
        contact_ticks = area.contact_ticks + (tip.seen - tip.landed if tip.down else 0)
        return Figures(
            strokes=tip.total_strokes,
            punctures=in_contact * zone.needles,
            density_per_cm2=in_contact * zone.needles / zone.size_cm2,
            deepest_um=max(area.deepest_um, tip.deepest_um),
            duration_s=tip.sum_running_us / 1e6,
            contact_s=contact_ticks * TICK_US / 1e6,
            glides=area.glides,
            passes=area.passes if zone.motion else None,
            coverage=area.coverage(tip) if zone.motion else None,
            local_density_per_cm2=local_strokes * zone.needles if zone.motion and tip.down else None,
            evenness_cv=area.unevenness() if zone.motion else None,
            family=area.family,
            direction_deg=area.direction_deg,
            how=self._how[lane],
        )
