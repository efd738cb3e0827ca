"""The pass counter: from batches of samples to what they complete, for any number of pens side by side."""

from collections.abc import Sequence

import numpy as np

from pen_controller.passes.area import Area
from pen_controller.passes.contact import ContactFromCurrent
from pen_controller.passes.figures import Figures, Finished, Zone
from pen_controller.passes.glides import Tracker
from pen_controller.passes.ground import Ground
from pen_controller.passes.ticks import TICK_US, Bools, Floats, Ints, Lanes, Ticker, Ticks
from pen_controller.passes.work import Contact, Mark
from protocols.samples import SampleArray

REST_TICKS = 24
"""The tip is off the skin for 1.2 s: the pass is over. Lifts between glides take half a second (proposed)."""
LOST_TICKS = 20
"""After a second without a sample nobody knows whether the tip was lifted meanwhile."""
FOLLOW_TICKS = 2
"""Glides are looked at every 100 ms; twice as often costs more and finds no more."""
GAP_SHARE = 0.15
"""Of the tip's width: stamped no farther apart, a round tip leaves no scallops that matter."""
LAG_TICKS = 1
"""Contact is known a tick late."""
HOW = {
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
HOW_CONTACT = {
    True: {"punctures": "counted by the pen, times needles"},
    False: {"punctures": "estimated: contact from the motor's current"},
}
"""The same, by whether the pen senses contact."""


class PassCounter:
    """Counts areas, each under its own pen, side by side: one in a treatment, many in a replay.

    The result does not depend on how the streams are cut into batches. Memory does not grow with them.

    Raises:
        ValueError: no zone, or tips of different widths.
    """

    def __init__(self, zones: Sequence[Zone]) -> None:
        if len({zone.tip_width_mm for zone in zones}) != 1:
            raise ValueError("the zones of one counter are treated with tips of one width: give at least one zone")
        self.zones = tuple(zones)
        lanes, tip_width_mm = len(zones), zones[0].tip_width_mm
        self._ticker = Ticker(lanes)
        self._tracker = Tracker(lanes, tip_width_mm)
        self._gap_mm = tip_width_mm * GAP_SHARE
        self._ground = Ground(lanes, tip_width_mm)
        self._areas = [Area(lane, zone, self._ground.cell_cm2) for lane, zone in enumerate(zones)]
        blind = np.array([not zone.contact for zone in zones])
        self._estimate = ContactFromCurrent(blind) if blind.any() else None
        self._down = np.zeros(lanes, np.bool_)
        self._sensed = self._down, self._down
        self._rested = np.ones(lanes, np.bool_)
        self._seen, self._lifted, self._deepest_um = np.zeros((3, lanes), np.int64)
        self._moved_mm = np.zeros((2, lanes))
        self._tally = np.zeros((lanes, 3), np.int64)
        """Time running, strokes, those in contact: up to the last tick."""

    def feed(self, samples: SampleArray) -> Finished:
        """Count samples of shape (zones, n), or (n,) for one zone, each zone's in pen order; return what they complete.

        A zone that has nothing new repeats its last sample.
        """
        finished = Finished([], [])
        samples = samples.reshape(len(self.zones), -1)
        ticks = self._ticker.feed(samples) if samples.size else None
        if ticks is None:
            return finished
        for column in range(ticks.number.shape[1]):
            self._tick(ticks, column, finished)
        self._rest(finished)
        return finished

    def finish(self, lane: int = 0) -> Finished:
        """The area is done: a pass that is complete is over, as after a rest."""
        finished = self.forget_place(lane)
        self._areas[lane].rest(finished)
        return finished

    def forget_place(self, lane: int = 0) -> Finished:
        """The stream was interrupted: counters go on, but nobody knows where the tip has been meanwhile."""
        finished = Finished([], [])
        if self._down[lane]:
            self._lift(np.array([lane]), self._seen, finished)
        for flags in (self._down, *self._sensed):
            flags[lane] = False
        return finished

    def forget_counters(self, lane: int = 0) -> Finished:
        """The pen's counters have gone on elsewhere, or begin anew since it rebooted."""
        self._ticker.forget(lane)
        return self.forget_place(lane)

    def figures(self, lane: int = 0) -> Figures:
        """What this zone has been given, by all samples heard so far."""
        area, zone = self._areas[lane], self.zones[lane]
        running_us, _, in_contact = self._tally[lane].tolist()
        strokes, sensed = self._ticker.total(lane)
        if zone.contact:
            in_contact = sensed
        down = bool(self._down[lane])
        swept = self._ground.swept(lane)
        under_way = self._tracker.stretch(lane) if down and not self._tracker.circular(lane) else None
        return Figures(
            strokes=strokes,
            punctures=in_contact * zone.needles,
            density_per_cm2=in_contact * zone.needles / zone.size_cm2,
            deepest_um=max(area.deepest_um, int(self._deepest_um[lane])),
            duration_s=running_us / 1e6,
            contact_s=area.contact_ticks(int(self._seen[lane]) if down else None) * TICK_US / 1e6,
            glides=area.glides,
            passes=area.passes if zone.motion else None,
            coverage=area.coverage(swept.cells if down else 0, under_way) if zone.motion else None,
            local_density_per_cm2=swept.most_strokes * zone.needles / self._ground.cell_cm2
            if zone.motion and down
            else None,
            evenness_cv=area.unevenness() if zone.motion else None,
            family=area.family,
            direction_deg=area.direction_deg,
            how=HOW[zone.motion] | HOW_CONTACT[zone.contact],
        )

    def _tick(self, ticks: Ticks, column: int, finished: Finished) -> None:
        number, sums = ticks.number[:, column], ticks.sums[:, column]
        real = None if ticks.real is None else ticks.real[:, column]
        if real is not None:
            number = np.where(real, number, self._seen)
        sensed = ticks.contact[:, column] if self._estimate is None else self._estimate.contact(ticks, column)
        contact = self._settle(sensed, real)
        stayed = self._down & contact & (number - self._seen <= LOST_TICKS)
        self._seen = number
        if (changed := (self._down | contact) & ~stayed).any():
            self._lift((self._down & changed).nonzero()[0], number, finished)
            self._set_down(contact & changed, number, finished)
        # Where the tip was lost, nobody knows what its way since was.
        moved_mm = ticks.moved_mm[:, :, column]
        moved = moved_mm * (stayed | (contact & ~self._down))
        self._down = contact
        if self._estimate is not None:
            sums = self._estimate.sums(contact, sums)
        self._tally += sums
        np.maximum(self._deepest_um, ticks.depth_um[:, column] * contact, out=self._deepest_um)
        self._tracker.move(moved, real)
        self._moved_mm = moved_mm if real is None else np.where(real, moved_mm, self._moved_mm)
        self._fill(moved)
        self._ground.stamp(self._tracker.place_mm, sums[:, 2] * contact)
        due = stayed & (number % FOLLOW_TICKS == 0)
        if real is not None:
            due &= real
        if due.any():
            for lane in self._tracker.follow(number, due).tolist():
                self._areas[lane].stretch(self._tracker.stretch(lane), self._tracker.circular(lane), finished)
                self._tracker.turn(lane, int(number[lane]))

    def _fill(self, moved_mm: Floats) -> None:
        """A tip that moves fast sweeps what is between two places, too."""
        fast = np.abs(moved_mm).max(axis=0) > self._gap_mm
        if fast.any():
            self._ground.stamp(self._tracker.place_mm - moved_mm * fast / 2, np.zeros_like(self._seen))

    def _settle(self, sensed: Bools, real: Bools | None) -> Bools:
        """Contact, as most of the last three ticks say: needles that bounce for 30 ms stay set down."""
        before, earlier = self._sensed
        contact: Bools = (sensed & (before | earlier)) | (before & earlier)
        if real is None:
            self._sensed = sensed, before
            return contact
        self._sensed = np.where(real, sensed, before), np.where(real, before, earlier)
        return np.where(real, contact, self._down)

    def _rest(self, finished: Finished) -> None:
        resting = ~self._down & ~self._rested & (self._seen - self._lifted >= REST_TICKS)
        for lane in resting.nonzero()[0].tolist():
            self._rested[lane] = True
            self._areas[lane].rest(finished)

    def _lift(self, lanes: Lanes, number: Ints, finished: Finished) -> None:
        for lane in lanes.tolist():
            at = int(number[lane]) - LAG_TICKS
            swept = self._ground.swept(lane)
            contact = Contact(swept, int(self._deepest_um[lane]), self._tracker.circular(lane), self._mark(lane))
            self._areas[lane].lift(self._tracker.stretch(lane, at), contact, finished)
            self._lifted[lane], self._rested[lane] = at, False

    def _set_down(self, landed: Bools, number: Ints, finished: Finished) -> None:
        lanes = landed.nonzero()[0]
        if not len(lanes):
            return
        self._tracker.set_down(lanes, number)
        self._ground.set_down(lanes)
        self._deepest_um[lanes] = 0
        for lane in lanes.tolist():
            at = int(number[lane]) - LAG_TICKS
            if not self._rested[lane] and at - self._lifted[lane] >= REST_TICKS:
                self._areas[lane].rest(finished)
            self._areas[lane].set_down(at)
        # Contact is known a tick late. A tip in the air does not move, so all that the tick before moved was on skin.
        self._ground.stamp(self._tracker.place_mm, np.zeros_like(number))
        self._tracker.move(self._moved_mm * (landed & ~self._down), landed)

    def _mark(self, lane: int) -> Mark:
        return Mark(*self._tally[lane].tolist())
