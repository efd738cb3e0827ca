"""What is missing before needles are armed: everything, until a person has answered it."""

import json
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pen_controller.config.questions import worded
from pen_controller.preparation import Missing, Preparation, cautions, missing
from pen_controller.preparation.answers import ANSWERS, AnswerError, read_answer
from tests.lines import CONFIG, TODAY
from tests.prepared import AGENTS, BY, CASE, LABEL, TAG, checked, everything, fitted, screened

ALL = everything()
ITEMS = [answer.item for answer in ALL]
PRECAUTIONS = [name for name, question in CONFIG.screening.items() if question.kind == "precaution"]
CONTRAINDICATIONS = [name for name, question in CONFIG.screening.items() if question.kind == "contraindication"]
OVERRIDE = {"by": BY, "reason": "seen by the physician"}


def prepared(*changed: Any) -> Preparation:
    """All answered, and then some anew."""
    preparation = Preparation()
    for answer in [*ALL, *changed]:
        preparation = preparation.taking(answer)
    return preparation


def keys(preparation: Preparation) -> list[str]:
    return [one.key for one in missing(preparation, CONFIG, TODAY)]


def test_the_shipped_questions_are_those_of_the_domain() -> None:
    assert CONTRAINDICATIONS == [
        "skin_cancer", "open_skin", "allergy", "bleeding_disorder", "pregnant", "isotretinoin",
    ]  # fmt: skip
    assert PRECAUTIONS == [
        "active_acne", "herpes", "keloid", "anticoagulants", "diabetes", "eczema_psoriasis", "immunosuppression",
        "rosacea", "young_scar",
    ]  # fmt: skip
    for entries in (CONFIG.screening, CONFIG.checklist, CONFIG.aftercare):
        assert all(entry.source for entry in entries.values())


def test_of_nobody_everything_is_missing_in_the_order_of_the_work() -> None:
    found = missing(Preparation(), CONFIG, TODAY)
    assert [one.key for one in found] == ITEMS
    assert all(one.text and one.source for one in found)


@given(st.permutations(ALL), st.integers(0, len(ALL)))
def test_nothing_is_missing_only_when_every_item_is_answered_in_any_order(order: list[Any], first: int) -> None:
    preparation = Preparation()
    for answer in order[:first]:
        preparation = preparation.taking(answer)
    left_out = {answer.item for answer in order[first:]}
    assert keys(preparation) == [item for item in ITEMS if item in left_out]


ANSWERED = st.sampled_from(["nothing", "no", "yes", "overridden"])


@given(st.fixed_dictionaries(dict.fromkeys(CONFIG.screening, ANSWERED)))
def test_a_yes_blocks_or_needs_an_override(answered: dict[str, str]) -> None:
    preparation, expected = Preparation(), []
    for answer in ALL:
        if answer.record_kind != "screening":
            preparation = preparation.taking(answer)
    for question, said in answered.items():
        forbids = CONFIG.screening[question].kind == "contraindication"
        if said == "nothing" or (said == "yes") or (said == "overridden" and forbids):
            expected.append(f"screening.{question}")
        if said == "overridden" and not forbids:
            preparation = preparation.taking(screened(question, "yes", OVERRIDE))
        elif said != "nothing":
            preparation = preparation.taking(screened(question, "no" if said == "no" else "yes"))
    assert sorted(keys(preparation)) == sorted(expected)


@pytest.mark.parametrize("question", CONTRAINDICATIONS)
def test_a_contraindication_names_itself_and_cannot_be_overridden(question: str) -> None:
    (found,) = missing(prepared(screened(question, "yes")), CONFIG, TODAY)
    assert found.text == f"Contraindicated: {worded('screening', question, CONFIG.screening[question])}"
    assert found.source == CONFIG.screening[question].source
    with pytest.raises(AnswerError, match="cannot be overridden"):
        screened(question, "yes", OVERRIDE)


def test_the_later_answer_holds() -> None:
    assert keys(prepared(screened("pregnant", "yes"))) == ["screening.pregnant"]
    assert keys(prepared(screened("pregnant", "yes"), screened("pregnant", "no"))) == []


def test_nothing_answers_itself() -> None:
    """No model has a default that says yes, or that a person has been asked."""
    for kind in ("case", "screening", "checked", "cartridge"):
        with pytest.raises(AnswerError):
            read_answer(kind, {})
    needed = {kind: {n for n, f in ANSWERS[kind].model_fields.items() if f.is_required()} for kind in ANSWERS}
    assert needed["case"] == set(CASE)
    assert needed["screening"] == {"question", "answer"}
    assert needed["checked"] == {"step", "by"}
    assert needed["cartridge"] == {"lot", "expiry", "needles", "by"}


# --- the checklist ---------------------------------------------------------------------------------------------------


def test_what_was_not_numbed_need_not_be_cleaned_of_it() -> None:
    without = Preparation({item: answer for item, answer in prepared().answers.items() if "removed" not in item})
    assert keys(without) == ["checklist.numbing_removed"]
    assert keys(without.taking(checked("numbing", {"agent": "none"}))) == []


@pytest.mark.parametrize(
    ("step", "value", "why"),
    [
        ("numbing", {"agent": "lidocaine"}, "how many minutes"),
        ("numbing", {"agent": "none", "minutes": 30}, "give no minutes"),
        ("antiseptic", {"agent": "octenidine", "minutes": 2}, "give no minutes"),
        ("cleansed", {"agent": "water"}, "give no value"),
        ("shaved", None, "expected one of antiseptic, "),
        ("numbing", {"agent": "lidocaine", "minutes": 0}, "greater than or equal to 1"),
        ("numbing", {"agent": "lidocaine", "minutes": 2.5}, "integer"),
        ("numbing", {"agent": " ", "minutes": 30}, "at least 1"),
    ],
)
def test_a_step_is_refused_that_does_not_say_what_is_asked(step: str, value: Any, why: str) -> None:
    with pytest.raises(AnswerError, match=why):
        fitted("checked", {"step": step, "value": value, "by": BY})


@pytest.mark.parametrize("step", AGENTS)
def test_an_agent_must_be_named(step: str) -> None:
    with pytest.raises(AnswerError, match="say what was used"):
        fitted("checked", {"step": step, "by": BY})


# --- the case --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["C-0042", "a1b", "0042", "2026-117", "CASE-12", "12345678901234567890"])
def test_a_code_is_taken(code: str) -> None:
    assert fitted("case", CASE | {"code": code})


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("X9", "3 to 20"),
        ("C 42", "3 to 20"),
        ("-42", "3 to 20"),
        ("C_42", "3 to 20"),
        ("C-42/1", "3 to 20"),
        ("é42", "3 to 20"),
        ("C-42\n", "3 to 20"),
        ("123456789012345678901", "3 to 20"),
        ("anna", "looks like a name"),
        ("smith-7", "looks like a name"),
        ("C-1985-04-12", "date of birth"),
        ("19850412", "date of birth"),
        ("12-4-1985", "date of birth"),
        ("C12041985", "date of birth"),
    ],
)
def test_a_name_or_date_of_birth_is_no_code(code: str, why: str) -> None:
    with pytest.raises(AnswerError, match=why):
        fitted("case", CASE | {"code": code})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"age_band": "31"}, "age_band"),
        ({"age": 31}, "age"),
        ({"fitzpatrick": 7}, "fitzpatrick"),
        ({"fitzpatrick": True}, "fitzpatrick"),
        ({"indications": []}, "indications"),
        ({"indications": ["spots"]}, "'spots': expected one of acne_scars, "),
        ({"concerns": ["eyelid"]}, "'eyelid': expected one of abdomen, "),
        ({"previous_treatment": "2026-02-30"}, "previous_treatment"),
        ({"previous_treatment": 20260101}, "previous_treatment"),
        ({"previous_treatment": str(TODAY + timedelta(days=1))}, "still to come"),
    ],
)
def test_a_case_is_refused_by_name(change: dict[str, Any], why: str) -> None:
    with pytest.raises(AnswerError, match=why) as refused:
        fitted("case", CASE | change)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("days", "warned"), [(27, True), (28, False), (0, True)])
def test_a_treatment_too_short_ago_is_a_caution(days: int, warned: bool) -> None:
    case = fitted("case", CASE | {"previous_treatment": str(TODAY - timedelta(days=days))})
    found = cautions(prepared(case), CONFIG, TODAY, TODAY)
    assert [one.key for one in found] == ["case"] * warned
    assert all(f"{days} days" in one.text and "28 days" in one.text for one in found)
    assert keys(prepared(case)) == [], "it forbids nothing"
    strict = CONFIG.model_copy(update={"clinic": CONFIG.clinic.model_copy(update={"min_interval_days": days + 1})})
    assert cautions(prepared(case), strict, TODAY, TODAY)


@pytest.mark.parametrize(
    ("band", "warned"), [("under_18", True), ("18_21", True), ("22_29", False), ("70_plus", False)]
)
def test_an_age_that_was_not_evaluated_is_a_caution(band: str, warned: bool) -> None:
    found = cautions(prepared(fitted("case", CASE | {"age_band": band})), CONFIG, TODAY, TODAY)
    assert ["DEN160029" in one.source for one in found] == [True] * warned


@pytest.mark.parametrize(("minutes", "warned"), [(19, True), (20, False), (45, False), (46, True)])
def test_numbing_for_an_unusual_time_is_a_caution(minutes: int, warned: bool) -> None:
    numbed = checked("numbing", {"agent": "lidocaine", "minutes": minutes})
    assert [one.key for one in cautions(prepared(numbed), CONFIG, TODAY, TODAY)] == ["checklist.numbing"] * warned


@pytest.mark.parametrize(("days", "warned"), [(-1, True), (0, False), (1, False)])
def test_a_clock_behind_the_record_is_a_caution(days: int, warned: bool) -> None:
    clock = TODAY + timedelta(days=days)
    found = cautions(prepared(), CONFIG, TODAY, clock)
    assert [one.key for one in found] == ["cartridge"] * warned
    assert all(str(clock) in one.text and str(TODAY) in one.text for one in found)


# --- the cartridge ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"expiry": "2025-12-31"}, "expired on 2025-12-31"),
        ({"needles": 13, "tag": TAG | {"needles": 13}}, "No cartridge with 13 needles"),
        ({"needles": 14}, "says 14 needles, the cartridge in the pen has 12"),
        ({"tag": None}, "could not read"),
    ],
)
def test_a_cartridge_that_will_not_do_is_named(change: dict[str, Any], text: str) -> None:
    (found,) = missing(prepared(fitted("cartridge", LABEL | {"tag": TAG} | change)), CONFIG, TODAY)
    assert found.key == "cartridge"
    assert text in found.text


def test_a_cartridge_serves_to_the_end_of_its_last_day() -> None:
    label = fitted("cartridge", LABEL | {"tag": TAG, "expiry": str(TODAY)})
    assert keys(prepared(label)) == []
    assert [one.key for one in missing(prepared(label), CONFIG, TODAY + timedelta(days=1))] == ["cartridge"]


def test_another_cartridge_than_the_one_entered_is_named() -> None:
    assert missing(prepared(), CONFIG, TODAY, cartridge_id=TAG["cartridge_id"]) == []
    (found,) = missing(prepared(), CONFIG, TODAY, cartridge_id=f"{8:016x}")
    assert "is not the one that was entered" in found.text


GOOD_UDI = "(01)09506000134352(17)390630(10)A1"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"lot": "A2"}, "lot A2 was entered, the UDI says A1"),
        ({"expiry": "2039-07-01"}, "expiry 2039-07-01 was entered, the UDI says 2039-06-30"),
        ({"udi": GOOD_UDI.replace("352(", "353(")}, "check digit"),
    ],
)
def test_a_label_is_held_against_its_udi(change: dict[str, Any], why: str) -> None:
    fitted("cartridge", LABEL | {"udi": GOOD_UDI})
    with pytest.raises(AnswerError, match=why):
        fitted("cartridge", LABEL | {"udi": GOOD_UDI} | change)


def test_a_scanned_udi_is_kept_as_it_stands_on_the_label() -> None:
    label = fitted("cartridge", LABEL | {"udi": "]d2010950600013435210A1\x1d17390630"})
    assert label.model_dump()["udi"] == "(01)09506000134352(10)A1(17)390630"


# --- words -----------------------------------------------------------------------------------------------------------


def test_what_is_missing_is_said_in_each_language() -> None:
    german = missing(Preparation(), CONFIG, TODAY, language="de")
    assert [one.key for one in german] == ITEMS
    assert Missing("screening.pregnant", "Nicht beantwortet: Schwanger oder stillend?", german[5].source) in german
    young = prepared(fitted("case", CASE | {"age_band": "18_21", "previous_treatment": str(date(2025, 12, 20))}))
    assert "liegt 12 Tage zurück" in cautions(young, CONFIG, TODAY, TODAY, language="de")[0].text


@given(st.sampled_from(ALL))
def test_an_answer_is_the_same_again_from_its_record(answer: Any) -> None:
    assert read_answer(answer.record_kind, json.loads(answer.model_dump_json())) == answer


@given(st.sampled_from(list(ANSWERS)), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_whatever_comes_is_refused_in_one_line(kind: str, value: Any) -> None:
    fields = ANSWERS[kind].model_fields
    with pytest.raises(AnswerError) as refused:
        read_answer(kind, dict.fromkeys(fields, value) | {"more": value})
    assert "\n" not in str(refused.value)
