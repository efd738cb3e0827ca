"""Figures, names and records as plain words of one language. Pure: no I/O."""

import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime, tzinfo
from typing import Any

from pen_controller.report.story import Body, Entry
from protocols.words import Cause


class Words:
    """Says things in one language.

    Args:
        texts: the catalogue of that language.
        zone: of the times; None is this computer's.
    """

    def __init__(self, texts: Mapping[str, str], zone: tzinfo | None = None) -> None:
        self._texts, self._zone = texts, zone

    def __call__(self, key: str, **values: object) -> str:
        """Return the text `report.KEY` with its values filled in. Raises `KeyError` for one that is not there."""
        return self._texts[f"report.{key}"].format(**values)

    def heads(self, *keys: str) -> tuple[str, ...]:
        """Return the heads of a table's columns."""
        return tuple(self(f"head.{key}") for key in keys)

    def name(self, group: str, key: str) -> str:
        """Return what a person calls a key, such as `area`, `cheek`; the key itself if the catalogue has no word."""
        return self._texts.get(f"{group}.{key}") or key.replace("_", " ").capitalize()

    def number(self, value: float, digits: int = 0) -> str:
        """Return a number, its thousands apart by a narrow space where there are five digits or more."""
        text = f"{value:,.{digits}f}" if abs(value) >= 10_000 else f"{value:.{digits}f}"
        return text.replace(",", "\N{NARROW NO-BREAK SPACE}").replace(".", self("decimal_sign"))

    def figure(self, value: object) -> str:
        """Return a figure as it was recorded, with no digit more; what is no number as it stands."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return str(value)
        return f"{value:g}".replace(".", self("decimal_sign"))

    def rounded(self, value: float) -> str:
        """Return a measurement to three digits."""
        return f"{value:.3g}".replace(".", self("decimal_sign"))

    def mm(self, um: float) -> str:
        """Return micrometres as millimetres, to a hundredth."""
        return f"{self.number(um / 1000, 2)} mm"

    def hertz(self, dhz: float) -> str:
        """Return tenths of a hertz as hertz."""
        return f"{self.figure(dhz / 10)} Hz"

    def yes(self, value: object) -> str:
        """Return yes or no."""
        return self("yes" if value else "no")

    def day(self, wall: str) -> str:
        """Return the date of a wall time, ISO 8601."""
        return self._local(wall).strftime("%Y-%m-%d")

    def time(self, wall: str) -> str:
        """Return the time of day of a wall time, to the second."""
        return self._local(wall).strftime("%H:%M:%S")

    def moment(self, wall: str) -> str:
        """Return date and time of a wall time, with its offset from UTC."""
        return self._local(wall).isoformat(" ", "seconds")

    def _local(self, wall: str) -> datetime:
        return datetime.fromisoformat(wall).astimezone(self._zone)

    def limit(self, limit: Body) -> str:
        """Return a limit: its value, and who set it."""
        value = f"{self.figure(limit['value'])} {self.unit(limit['unit'])}"
        return f"{value} ({self.name('report.layer', limit['layer'])}: {limit['source']})"

    def unit(self, unit: str) -> str:
        """Return a unit of the configuration; most are the same in every language."""
        return self._texts.get(f"report.unit.{unit}") or unit

    def by(self, body: Body) -> str:
        """Return who did it."""
        return self.name("report.by", str(body["by"])) if body.get("by") == "clinician" else str(body.get("by", ""))

    def agent(self, value: Body | None) -> str:
        """Return what was used in a step of the checklist, and how long it acted; empty where that is not asked."""
        if value is None:
            return ""
        minutes = value.get("minutes")
        agent = self("none") if value["agent"] == "none" else str(value["agent"])
        return f"{agent}, {minutes} min" if minutes is not None else agent

    # --- records -----------------------------------------------------------------------------------------------------

    def line(self, entry: Entry) -> str | None:
        """Return what a record says in one line; None for one whose content is found elsewhere in the report."""
        return self.said(entry.kind, entry.body)

    def said(self, kind: str, body: Body) -> str | None:
        """Return what a record of this kind says. An unknown kind is shown as it stands: nothing is kept back."""
        if kind in _TOLD_ELSEWHERE:
            return None
        if teller := _TELLERS.get(kind):
            with contextlib.suppress(KeyError, TypeError):  # of another version: shown as it stands
                return teller(self, body)
        return f"{kind}: {plain(body)}"

    def corrected(self, entry: Entry) -> list[str]:
        """Return a line for each correction of an entry, with what holds in place of what was before it."""
        lines, before = [], entry.body
        for correction in entry.corrections:
            now = correction.body["body"]
            holds = self("taken_back") if now is None else self._changed(entry.kind, before, now)
            when, by, reason = self.moment(correction.wall), self.by(correction.body), correction.body["reason"]
            lines.append(self("corrected", when=when, by=by, reason=reason, holds=holds))
            before = now or {}
        return lines

    def _changed(self, kind: str, before: Body, now: Body) -> str:
        if kind in _LABELLED:
            return self.labelled(kind, {key: value for key, value in now.items() if before.get(key) != value})
        return self.said(kind, now) or plain(now)

    def labelled(self, kind: str, body: Body) -> str:
        """Return the parts of a body, each with its label; those that are not there are left out."""
        named = {"age_band": "age_band", "indications": "indication", "concerns": "area"}

        def part(key: str, value: Any) -> str:  # noqa: ANN401  # any JSON value
            if key in named:
                value = [self.name(named[key], each) for each in ([value] if isinstance(value, str) else value)]
            shown = f"({self.labelled(kind, value)})" if isinstance(value, dict) else plain(value)
            return f"{self.name(f'report.{kind}_label', key)}: {shown}"

        return "; ".join(part(key, value) for key, value in body.items() if value not in (None, []) and key != "by")


def plain(body: Any) -> str:  # noqa: ANN401  # any JSON value
    """Return a JSON value without its braces and quotes, for what has no words of its own."""
    if isinstance(body, dict):
        return ", ".join(f"{key.replace('_', ' ')} {plain(value)}" for key, value in body.items() if value is not None)
    if isinstance(body, list):
        return ", ".join(plain(value) for value in body)
    return str(body)


def _intent(words: Words, body: Body) -> str | None:
    if body["command"] != "start":
        return None
    depth, rate = words.mm(body["depth_um"]), words.hertz(body["rate_dhz"])
    return words("event.start", area=words.name("area", body["area"]), depth=depth, rate=rate)


def _grant(words: Words, body: Body) -> str | None:
    if not body["warnings"]:
        return None
    return words("event.granted", area=words.name("area", body["area"]), warnings="; ".join(body["warnings"]))


def _stop(words: Words, body: Body) -> str:
    key = "event.stop_by" if "by" in body else "event.stop"
    return words(key, reason=body["reason"], by=words.by(body))


def _area_left(words: Words, body: Body) -> str:
    return words("event.area_left", area=words.name("area", body["area"]), by=words.by(body), reason=body["why"])


def _signed_in(words: Words, body: Body) -> str:
    return words("event.signed_in", account=body["account"], role=words.name("report.role", body["role"]))


def _outcome(words: Words, body: Body) -> str | None:
    if body["outcome"] == "done":
        return None
    key = "event.failed" if body["outcome"] == "failed" else "event.uncertain"
    return words(key, command=words.name("report.command", body["command"]), reason=body["reason"])


def _pass(words: Words, body: Body) -> str:
    density = words.number(body["density_per_cm2"])
    return words("event.pass", area=words.name("area", body["area"]), number=body["pass_index"], density=density)


def _pen_event(words: Words, body: Body) -> str | None:
    if body["event"] == "stopped":
        known = body["a"] in Cause.__members__.values()
        cause = words.name("report.cause", Cause(body["a"]).name.lower()) if known else str(body["a"])
        return words("event.pen_stopped", cause=cause)
    return words("event.pen_booted") if body["event"] == "booted" else None


def _refusal(words: Words, body: Body) -> str:
    limit, asked = body["limit"], body["asked"]
    if not limit["unit"]:
        return str(body["message"])  # no figure is too much: it says itself what is wanted
    asked = f"{words.figure(asked)} {words.unit(limit['unit'])}"
    area = words.name("area", body["request"]["area"])
    what = words.name("report.limit", limit["name"])
    return words("event.refusal", area=area, what=what, asked=asked, limit=words.limit(limit))


def _bound(words: Words, body: Body) -> str:
    return words("event.bound", area=words.name("area", body["area"]), limit=words.limit(body["limit"]))


def _closed(words: Words, body: Body) -> str:
    return words("event.closed", area=words.name("area", body["area"]), limit=words.limit(body["limit"]))


def _counts_uncertain(words: Words, body: Body) -> str:
    area, most = words.name("area", body["area"]), words.number(body["most_punctures"])
    return words("event.counts_uncertain", area=area, most=most, reason=body["reason"])


def _area_done(words: Words, body: Body) -> str:
    return words("event.area_done", area=words.name("area", body["area"]))


def _interrupted(words: Words, body: Body) -> str:
    return words("event.interrupted", area=words.name("area", body["area"]), reason=body["reason"])


def _resume(words: Words, body: Body) -> str:
    return words("event.resume", by=words.by(body), cause=words.name("report.cause", body["cause"]))


def _note(words: Words, body: Body) -> str:
    reactions = ", ".join(words.name("reaction", each) for each in body["reactions"]) or words("none")
    endpoint = words.name("endpoint", body["endpoint"]) if body["endpoint"] else words("none")
    area = words.name("area", body["area"])
    return words("event.note", area=area, endpoint=endpoint, reactions=reactions, by=words.by(body))


def _override(words: Words, body: Body) -> str:
    return words("event.override", what=plain(body["what"]), reason=body["reason"], by=words.by(body))


def _aftercare(words: Words, body: Body) -> str:
    return words("event.aftercare" if body["given"] else "event.aftercare_not", by=words.by(body))


def _screening(words: Words, body: Body) -> str:
    answer = words(body["answer"]) if body["answer"] in ("yes", "no") else str(body["answer"])
    return words("event.screening", question=words.name("screening", body["question"]), answer=answer)


def _checked(words: Words, body: Body) -> str:
    step, agent = words.name("checklist", body["step"]), words.agent(body.get("value"))
    return f"{step}: {agent}" if agent else step


_TOLD_ELSEWHERE = frozenset({"skin", "plan", "progress", "alert", "earlier_pen_event", "checkpoint"})
_LABELLED = frozenset({"case", "cartridge"})
_TELLERS: dict[str, Callable[[Words, Body], str | None]] = {
    "treatment_begun": lambda words, _: words("event.begun"),
    "treatment_restored": lambda words, _: words("event.restored"),
    "reconnected": lambda words, body: words("event.reconnected", state=words.name("report.state", body["state"])),
    "stop": _stop,
    "summary": lambda words, _: words("event.ended"),
    "grant": _grant,
    "intent": _intent,
    "outcome": _outcome,
    "pass": _pass,
    "pen_event": _pen_event,
    "refusal": _refusal,
    "warning": _bound,
    "area_closed": _closed,
    "counts_uncertain": _counts_uncertain,
    "area_done": _area_done,
    "area_left": _area_left,
    "signed_in": _signed_in,
    "interrupted": _interrupted,
    "resume": _resume,
    "note": _note,
    "override": _override,
    "aftercare": _aftercare,
    "case": lambda words, body: words.labelled("case", body),
    "screening": _screening,
    "checked": _checked,
    "cartridge": lambda words, body: words.labelled("cartridge", body),
}
