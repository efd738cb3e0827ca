"""A treatment as a FHIR R4 bundle: valid, whole, and without a name.

Held against `fhir.resources.R4B`: release 4B changed none of the resources used here from R4 (4.0.1), and no package of
R4 itself goes with pydantic 2.
"""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import pytest
from fhir.resources.R4B.bundle import Bundle
from pydantic import BaseModel
from typer.testing import CliRunner

from pen_controller.cli import app
from pen_controller.config.texts import texts
from pen_controller.report.fhir import METRICS, bundle
from pen_controller.report.story import Story, told
from pen_controller.report.words import Words
from tests.stories import BY, CASE, journal_of, whole_treatment
from tests.test_report_story import story_of


def made(story: Story) -> dict[str, Any]:
    """A bundle that is valid, its codes too, and the same when it has been read."""
    one = bundle(story, Words(texts("en"), UTC))
    read = Bundle.model_validate(one)
    assert [*wrong_codes(read)] == []
    assert json.loads(read.model_dump_json()).keys() == one.keys()
    return one


def wrong_codes(model: BaseModel) -> Iterator[str]:
    """Values that are not among those that FHIR allows: the package knows these and does not hold to them."""
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        extra = field.json_schema_extra
        allowed = extra.get("enum_values") if isinstance(extra, dict) else None
        if value is not None and isinstance(allowed, list) and value not in allowed:
            yield f"{type(model).__name__}.{name}: {value}"
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, BaseModel):
                yield from wrong_codes(each)


def of(one: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in one["entry"] if entry["resource"]["resourceType"] == kind]


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["reference"]] if "reference" in value else []
        return own + [each for inner in value.values() for each in references(inner)]
    return [each for inner in value for each in references(inner)] if isinstance(value, list) else []


@pytest.fixture
def whole() -> dict[str, Any]:
    return made(told(whole_treatment()))


def test_the_bundle_is_whole_and_every_reference_leads_somewhere(whole: dict[str, Any]) -> None:
    urls = [entry["fullUrl"] for entry in whole["entry"]]
    assert len(set(urls)) == len(urls)
    assert set(references(whole)) <= set(urls)
    kinds = [entry["resource"]["resourceType"] for entry in whole["entry"]]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "Patient": 1,
        "Device": 2,
        "Procedure": 1,
        "DeviceMetric": len(METRICS),
        "Observation": 2 * len(METRICS),  # two areas were treated
    }


def test_the_figures_are_those_of_the_record(whole: dict[str, Any]) -> None:
    found = {
        (each["bodySite"]["coding"][0]["code"], each["code"]["coding"][0]["code"]): (
            each["valueQuantity"]["value"],
            each["valueQuantity"]["code"],
        )
        for each in of(whole, "Observation")
    }
    for area in told(whole_treatment()).areas[:2]:
        assert found[area.area, "passes"] == (area.passes, "{passes}")
        assert found[area.area, "density"] == (area.density_per_cm2, "{punctures}/cm2")
        assert found[area.area, "punctures"] == (area.punctures, "{punctures}")
        assert found[area.area, "strokes"] == (area.strokes, "{strokes}")
        assert found[area.area, "depth-set"] == (area.depths_um[0] / 1000, "mm")
        assert found[area.area, "depth-deepest"] == (area.deepest_um / 1000, "mm")
        assert found[area.area, "rate-set"] == (area.rates_dhz[0] / 10, "Hz")


def test_each_observation_is_of_the_metric_that_made_it(whole: dict[str, Any]) -> None:
    metrics = {entry["fullUrl"]: entry["resource"] for entry in whole["entry"]}
    for each in of(whole, "Observation"):
        metric = metrics[each["device"]["reference"]]
        assert metric["type"] == each["code"]
        assert metric["unit"]["coding"][0]["code"] == each["valueQuantity"]["code"]


def test_devices_have_their_udi_and_what_was_corrected_holds(whole: dict[str, Any]) -> None:
    pen, cartridge = of(whole, "Device")
    assert (pen["serialNumber"], pen["deviceName"][0]["name"]) == ("PEN-0001", "simulated")
    assert pen["udiCarrier"][0]["deviceIdentifier"] == "09521234543213"
    assert cartridge["lotNumber"] == "L2407"
    assert cartridge["udiCarrier"][0]["deviceIdentifier"] == "09506000134352"
    assert cartridge["udiCarrier"][0]["carrierHRF"].endswith("(10)L2407")


def test_the_patient_is_a_code_and_nothing_else(whole: dict[str, Any]) -> None:
    (patient,) = of(whole, "Patient")
    assert patient == {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:pen-controller:case", "value": CASE["code"]}],
    }
    (procedure,) = of(whole, "Procedure")
    assert procedure["status"] == "completed"
    assert [each["text"] for each in procedure["reasonCode"]] == ["Fine lines", "Acne scars"]
    assert [each["authorString"] for each in procedure["note"]] == [BY, BY]


def test_practice_has_nobody_and_a_treatment_without_an_end_is_not_completed() -> None:
    one = made(story_of(("treatment_begun", {}), ("skin", {"indication": "wrinkles", "fitzpatrick": 2})))
    (procedure,) = of(one, "Procedure")
    assert (procedure["status"], procedure["subject"]) == ("unknown", {"display": "nobody: practice"})
    assert one["meta"]["tag"][0]["code"] == "HTEST"
    real = made(story_of(("treatment_begun", {"practice": False, "model": "exceed"})))
    assert "meta" not in real
    assert of(real, "Procedure")[0]["subject"] == {"display": "unknown"}
    assert not of(one, "Patient")
    assert not of(one, "Observation")


def test_a_cartridge_taken_back_was_entered_in_error() -> None:
    label = {"lot": "L1", "expiry": "2027-01-31", "needles": 12, "udi": None, "tag": None, "by": BY}
    back = {"of_seq": 1, "reason": "r", "kind": "cartridge", "corrects": "cartridge", "body": None, "by": BY}
    _, cartridge = of(made(story_of(("cartridge", label), ("correction", back))), "Device")
    assert cartridge["status"] == "entered-in-error"


def test_what_may_have_been_more_is_said() -> None:
    armed = {"command": "arm", "area": "cheek", "size_cm2": 2.0, "needles": 12, "depth_cap_um": 1500}
    started = {"command": "start", "area": "cheek", "depth_um": 1000, "rate_dhz": 900}
    given = {"passes": 1, "glides": 2, "strokes": 50, "contact_strokes": 40, "uncertain_strokes": 5, "deepest_um": 990}
    progress = {"area": "cheek", "given": given | {"duration_s": 1.0}}
    one = made(story_of(("intent", armed), ("intent", started), ("progress", progress)))
    notes = {each["code"]["coding"][0]["code"]: each.get("note", []) for each in of(one, "Observation")}
    assert "60 punctures more" in notes["punctures"][0]["text"]
    assert notes["strokes"] == []
    assert {each["status"] for each in of(one, "Observation")} == {"preliminary"}


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    path = tmp_path / "journal.sqlite"
    asyncio.run(journal_of(path, whole_treatment()))
    return path


def test_the_command_writes_it_from_the_journal(journal: Path, tmp_path: Path) -> None:
    to = tmp_path / "out.json"
    words = ["export", whole_treatment()[0].session, "--fhir", "--journal", str(journal)]
    printed = CliRunner().invoke(app, words)
    assert printed.exit_code == 0, printed.output
    Bundle.model_validate_json(printed.stdout)
    assert CliRunner().invoke(app, [*words, "--to", str(to)]).stdout == f"{to}\n"
    assert json.loads(to.read_text("utf-8")) == json.loads(printed.stdout)


def test_a_table_needs_a_database() -> None:
    told_so = CliRunner().invoke(app, ["export", "s1"])
    assert told_so.exit_code == 2
    assert told_so.stderr == "pen: export needs --db and --to, or --fhir\n"
