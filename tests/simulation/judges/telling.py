"""What is shown, told and written: the screen's part of H06 and H10, H08 falsely reported, H17 the record."""

from collections.abc import Mapping
from typing import Any

from tests.simulation.judges.scene import Judge, Made, Scene
from tests.simulation.truth import Deed, Kind

SAID_US = 100_000
"""H06: 100 ms. H10: 2 heartbeats of 50 ms."""


class Screen(Judge):
    """H06: a pulled cable is on a screen that says running, in 100 ms. H10: a reboot is, in 2 heartbeats + L.

    A pen without power sends no heartbeats, and nobody can tell it from one that is out of range (H05): the heartbeats
    are counted from when it is back. Of L only the line's own latency is known, so H10 is judged while nothing is wrong
    with the line to the host. H08: no screen begins to say running later than L + 2 heartbeats after the pen last
    moved. A host that stands still shows nothing new, and one that was killed
    shows nothing.
    """

    hears = frozenset(
        {
            Kind.SHOWN,
            Kind.LINK_LOST,
            Kind.PEN_REBOOTED,
            Kind.LINE_FAULTY,
            Kind.HOST_KILLED,
            Kind.HOST_STALLED,
        }
    )

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._running = False
        self._awaited: dict[str, tuple[int, int]] = {}
        """Since when and by when, by hazard."""

    def note(self, deed: Deed) -> None:
        scene, t_us = self.scene, deed.t_us
        match deed.kind:
            case Kind.SHOWN:
                self._show(running=deed.detail["running"])
            case Kind.LINK_LOST:
                self._drop("H10")
                if deed.detail["by"] == "cable" and self._running and scene.host_up:
                    self._awaited["H06"] = t_us, t_us + SAID_US
            case Kind.PEN_REBOOTED:
                if self._running and scene.host_up and scene.link_up and not self._faulty():
                    back_us = deed.detail["back_us"]
                    self._awaited["H10"] = back_us, back_us + SAID_US + scene.facts.latency_us
            case Kind.LINE_FAULTY:
                self._drop("H10")
            case _:
                self.finish()
                self._running = self._running and deed.kind is not Kind.HOST_KILLED

    def finish(self) -> None:
        for hazard in tuple(self._awaited):
            self._drop(hazard)

    def _show(self, *, running: bool) -> None:
        scene, t_us, was_running = self.scene, self.scene.now_us, self._running
        self._running = running
        if running and was_running:
            return
        if running:
            late_us = SAID_US + scene.facts.latency_us
            if not scene.active and t_us - scene.home_us > late_us and not self._faulty():
                scene.violate("H08", f"shown as running, home for {(t_us - scene.home_us) / 1000:.1f} ms")
            return
        for hazard, (since_us, by_us) in self._awaited.items():
            scene.measure(hazard + " screen", max(0, t_us - since_us) / 1000, (by_us - since_us) / 1000, "ms")
            if t_us > by_us:
                self._late(hazard, since_us)
        self._awaited.clear()

    def _drop(self, hazard: str) -> None:
        """Nothing can be shown, or judged, any more; what is late already is late."""
        since_us, by_us = self._awaited.pop(hazard, (0, self.scene.now_us))
        if self.scene.now_us > by_us:
            self._late(hazard, since_us)

    def _late(self, hazard: str, since_us: int) -> None:
        self.scene.violate(hazard, f"still shown as running {(self.scene.now_us - since_us) / 1000:.1f} ms later")

    def _faulty(self) -> bool:
        return any(way == "to host" for way, _ in self.scene.faults)


class Record(Judge):
    """H17: records on the disk have no gap and no double, and what is told as done is in them and true.

    An area's strokes as told are those that were made; its punctures are no fewer than those that entered skin and no
    more than were made with the tip on it, but for the stroke at which the tip met or left skin, and those made while
    the contact sensor was frozen. Where some are told to be uncertain (counts of a pen that rebooted), they may be
    among them or not. H08: nothing is told as done while needles are out.
    """

    hears = frozenset({Kind.WRITTEN, Kind.ENDED})

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._seqs: dict[str, int] = {}
        self._summary: Mapping[str, Any] = {}

    def note(self, deed: Deed) -> None:
        if deed.kind is Kind.WRITTEN:
            self._write(deed)
        else:
            self._end(deed)

    def _write(self, deed: Deed) -> None:
        session, seq = deed.detail["session"], deed.detail["seq"]
        self.scene.provoke("H17")
        expected = self._seqs.get(session, 0) + 1
        if seq != expected:
            self.scene.violate("H17", f"record {seq} of {session} written, {expected} is next")
        self._seqs[session] = max(seq, expected)
        if deed.detail["record_kind"] == "summary":
            self._summary = deed.detail["body"]

    def _end(self, deed: Deed) -> None:
        areas = deed.detail["areas"]
        if self.scene.active:
            self.scene.violate("H08", "told as done while needles are out")
        if deed.detail["area"] is None and areas != self._summary.get("areas"):
            self.scene.violate("H17", "what is told of the treatment is not in its record")
        for told in areas:
            self._compare(told)

    def _compare(self, told: Mapping[str, Any]) -> None:
        area, uncertain = told["area"], told["uncertain_punctures"]
        made = self.scene.made.get(area, Made())
        doubtful = made.doubtful + made.blind
        least, most = made.punctures - doubtful, made.touching + doubtful
        if told["punctures"] > most or told["punctures"] + uncertain < least:
            said = f"{area}: {told['punctures']} punctures told ({uncertain} uncertain), {least} to {most} made"
            self.scene.violate("H17", said)
        if not uncertain and told["strokes"] != made.strokes:
            self.scene.violate("H17", f"{area}: {told['strokes']} strokes told, {made.strokes} made")
