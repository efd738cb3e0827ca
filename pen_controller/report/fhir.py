"""One treatment as an HL7 FHIR R4 bundle, for a clinic's own record system. Pure: no I/O.

A `collection` of one Procedure, the Devices (pen, cartridges), a DeviceMetric for each kind of figure, an Observation
for each figure of each area, and a Patient that has a case code and no name. Codes of ours are of the systems
`SYSTEM`:NAME; units are UCUM. Alerts, refusals and the timeline are left to the report.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from pen_controller.preparation.udi import UdiError, read_udi
from pen_controller.report.story import AreaStory, Body, Entry, Story
from pen_controller.report.words import Words

SYSTEM = "urn:pen-controller"
UCUM = "http://unitsofmeasure.org"
GS1 = "http://hl7.org/fhir/NamingSystem/gs1-di"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
TEST = {
    "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason",
    "code": "HTEST",
    "display": "test health data",
}
_NAMESPACE = UUID("6f0f9a0e-2f7b-4a55-9c0e-5d6a8d4f7c11")
"""Of the ids: the same session makes the same ids each time."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A kind of figure: its DeviceMetric category, its UCUM unit, and where an area has it; None is not there."""

    code: str
    display: str
    category: str
    unit: str
    of: Callable[[AreaStory], float | None]


METRICS = (
    Metric("passes", "Passes over the area", "calculation", "{passes}", lambda area: area.passes),
    Metric("density", "Puncture density", "calculation", "{punctures}/cm2", lambda area: area.density_per_cm2),
    Metric("punctures", "Punctures", "calculation", "{punctures}", lambda area: area.punctures),
    Metric("strokes", "Needle strokes", "measurement", "{strokes}", lambda area: area.strokes),
    Metric("depth-set", "Needle depth set, the last", "setting", "mm", lambda area: area.depths_um[-1] / 1000),
    Metric("depth-deepest", "Deepest needle depth measured by the pen", "measurement", "mm",
           lambda area: area.deepest_um / 1000 if area.deepest_um else None),
    Metric("rate-set", "Stroke rate set, the last", "setting", "Hz", lambda area: area.rates_dhz[-1] / 10),
)  # fmt: skip


def bundle(story: Story, words: Words) -> Body:
    """Return the bundle as JSON. `words` are those of the displays; codes are the same in every language."""
    return _Bundle(story, words).made()


class _Bundle:
    def __init__(self, story: Story, words: Words) -> None:
        self._story, self._words = story, words
        self._entries: list[Body] = []
        self._case = story.holding("case")

    def made(self) -> Body:
        story = self._story
        pen = self._add("pen", self._pen())
        used = [pen, *(self._add(f"cartridge-{entry.seq}", _cartridge(entry)) for entry in story.of("cartridge"))]
        subject = self._subject()
        procedure = self._add("procedure", self._procedure(subject, pen, used))
        for metric in METRICS:
            source = self._add(f"metric-{metric.code}", _device_metric(metric, pen))
            for area in story.areas:
                if area.depths_um and (value := metric.of(area)) is not None:
                    observation = self._observation(metric, area, value)
                    self._add(
                        f"{metric.code}-{area.area}",
                        observation | {"subject": subject, "partOf": [procedure], "device": source},
                    )
        practice: Body = {"meta": {"tag": [TEST]}} if story.practice else {}
        return {
            "resourceType": "Bundle",
            **practice,
            "identifier": {"system": "urn:ietf:rfc:3986", "value": self._url("bundle")},
            "type": "collection",
            "timestamp": story.last,
            "entry": self._entries,
        }

    def _url(self, name: str) -> str:
        return uuid5(_NAMESPACE, f"{self._story.pen}/{self._story.session}/{name}").urn

    def _add(self, name: str, resource: Body) -> Body:
        """Add a resource; return a reference to it."""
        url = self._url(name)
        self._entries.append({"fullUrl": url, "resource": resource})
        return {"reference": url}

    def _subject(self) -> Body:
        if self._case is None or self._case.now is None:
            return {"display": "nobody: practice" if self._story.practice else "unknown"}
        identifier = {"system": f"{SYSTEM}:case", "value": self._case.now["code"]}
        return self._add("patient", {"resourceType": "Patient", "identifier": [identifier]})

    def _pen(self) -> Body:
        story = self._story
        device: Body = {
            "resourceType": "Device",
            "serialNumber": story.pen,
            "type": {"text": "Automated microneedling pen"},
        }
        if story.model:
            device["deviceName"] = [{"name": story.model, "type": "model-name"}]
        if story.firmware:
            device["version"] = [{"type": {"text": "firmware"}, "value": story.firmware}]
        if story.udi:
            device["udiCarrier"] = [_udi_carrier(story.udi)]
        return device

    def _procedure(self, subject: Body, pen: Body, used: list[Body]) -> Body:
        story, words = self._story, self._words
        case = (self._case and self._case.now) or {}
        indications = case.get("indications") or [story.indication]
        period = {"start": story.begun} | ({"end": story.ended} if story.ended else {})
        procedure: Body = {
            "resourceType": "Procedure",
            "identifier": [{"system": f"{SYSTEM}:session", "value": story.session}],
            "status": "completed" if story.ended else "unknown",
            "code": {"text": "Microneedling"},
            "subject": subject,
            "performedPeriod": period,
            "reasonCode": [
                _concept("indication", each, words.name("indication", each)) for each in indications if each
            ],
            "bodySite": [_site(area, words) for area in story.areas if area.depths_um],
            "focalDevice": [{"manipulated": pen}],
            "usedReference": used,
            "note": list(self._notes()),
        }
        return {key: value for key, value in procedure.items() if value != []}

    def _notes(self) -> Iterator[Body]:
        for entry in self._story.of("note", "aftercare", "override"):
            if entry.now is not None:
                text = self._words.said(entry.kind, entry.now)
                yield {"authorString": str(entry.now["by"]), "time": entry.wall, "text": text}

    def _observation(self, metric: Metric, area: AreaStory, value: float) -> Body:
        observation: Body = {
            "resourceType": "Observation",
            "status": "final" if self._story.ended else "preliminary",
            "category": [{"coding": [{"system": CATEGORY, "code": "procedure"}]}],
            "code": _concept("metric", metric.code, metric.display),
            "effectiveDateTime": self._story.ended or self._story.last,
            "bodySite": _site(area, self._words),
            "valueQuantity": {"value": value, "unit": metric.unit, "system": UCUM, "code": metric.unit},
        }
        if metric.code in ("punctures", "density") and area.uncertain_punctures:
            text = f"There may have been up to {area.uncertain_punctures} punctures more: the pen restarted."
            observation["note"] = [{"text": text}]
        return observation


def _device_metric(metric: Metric, pen: Body) -> Body:
    return {
        "resourceType": "DeviceMetric",
        "type": _concept("metric", metric.code, metric.display),
        "unit": {"coding": [{"system": UCUM, "code": metric.unit}]},
        "source": pen,
        "category": metric.category,
    }


def _cartridge(entry: Entry) -> Body:
    """A cartridge by its label, as it was last corrected; entered in error if it was taken back."""
    body = entry.now or entry.body
    device: Body = {
        "resourceType": "Device",
        "status": "entered-in-error" if entry.now is None else "inactive",
        "lotNumber": body["lot"],
        "expirationDate": body["expiry"],
        "type": {"text": f"Single-use cartridge with {body['needles']} needles"},
    }
    return device | ({"udiCarrier": [_udi_carrier(body["udi"])]} if body.get("udi") else {})


def _udi_carrier(udi: str) -> Body:
    """A UDI as people read it; with its device identifier, if it is one of GS1."""
    carrier: Body = {"carrierHRF": udi}
    with contextlib.suppress(UdiError):
        carrier |= {"deviceIdentifier": read_udi(udi).device, "issuer": GS1}
    return carrier


def _site(area: AreaStory, words: Words) -> Body:
    return _concept("area", area.area, words.name("area", area.area))


def _concept(system: str, code: str, display: str) -> dict[str, Any]:
    coding = {"system": f"{SYSTEM}:{system}", "code": code, "display": display}
    return {"coding": [coding], "text": display}
