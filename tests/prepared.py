"""A preparation in which nothing is missing, for a pen with 12 needles."""

from datetime import date
from typing import Any

from pen_controller.preparation import fit
from pen_controller.preparation.answers import Answer, read_answer
from tests.lines import CONFIG, TODAY

BY = "clinician-1"
CASE: dict[str, Any] = {
    "code": "C-0042",
    "age_band": "30_39",
    "fitzpatrick": 2,
    "indications": ["fine_lines", "acne_scars"],
    "concerns": ["cheek"],
    "previous_treatment": None,
}
LABEL: dict[str, Any] = {"lot": "A1", "expiry": "2039-06-30", "needles": 12, "udi": None, "by": BY}
TAG: dict[str, Any] = {"cartridge_id": f"{7:016x}", "needles": 12, "expiry": "2039-06-30"}
AGENTS: dict[str, Any] = {
    "numbing": {"agent": "lidocaine 4 %", "minutes": 30},
    "antiseptic": {"agent": "octenidine"},
    "topical": {"agent": "hyaluronic serum"},
}


def screened(question: str, answer: str = "no", override: dict[str, str] | None = None) -> Answer:
    return fitted("screening", {"question": question, "answer": answer, "override": override})


def checked(step: str, value: Any = None) -> Answer:
    return fitted("checked", {"step": step, "value": value or AGENTS.get(step), "by": BY})


def fitted(kind: str, body: dict[str, Any], today: date = TODAY) -> Answer:
    """An answer as a person gives it, held against the shipped configuration."""
    return fit(read_answer(kind, body), CONFIG, today)


def everything() -> list[Answer]:
    """One answer to each item, by a person of whom nothing speaks against a treatment."""
    return [
        fitted("case", CASE),
        *map(screened, CONFIG.screening),
        *map(checked, CONFIG.checklist),
        fitted("cartridge", LABEL | {"tag": TAG}),
    ]
