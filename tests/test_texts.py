"""The catalogue of texts: complete in every language, with the same placeholders."""

import re
from importlib.resources import files
from pathlib import Path

import pytest

from pen_controller import config
from pen_controller.config.questions import worded
from pen_controller.config.texts import languages, placeholders, texts
from pen_controller.preparation.answers import AGE_BANDS, ENDPOINTS
from tests.lines import CONFIG

FOLDER = Path(str(files("configs"))) / "texts"


def test_every_language_has_the_same_keys_and_placeholders() -> None:
    first = texts("en")
    assert set(languages()) >= {"en", "de"}
    assert languages()["de"] == "Deutsch"
    for language in languages():
        own = texts(language)
        assert set(own) == set(first)
        assert {key: placeholders(text) for key, text in own.items()} == {
            key: placeholders(text) for key, text in first.items()
        }
        assert all(own.values())


def test_german_is_not_english() -> None:
    same = [text for key, text in texts("de").items() if text == texts("en")[key]]
    assert not [text for text in same if len(re.findall(r"(?<!{)\b[a-z]{2,}", text)) > 2]


def test_all_that_is_asked_and_said_has_words_in_each_language() -> None:
    for language in languages():
        for table in ("screening", "checklist", "aftercare"):
            for name, entry in getattr(CONFIG, table).items():
                assert "{" not in worded(table, name, entry, language)
        for group, names in (("age_band", AGE_BANDS), ("endpoint", ENDPOINTS)):
            assert all(texts(language)[f"{group}.{name}"] for name in names)


def test_an_entry_of_a_clinics_own_says_it_in_its_own_words() -> None:
    own = CONFIG.screening["keloid"].model_copy(update={"text": "Tattoo {there}?"})
    assert worded("screening", "tattoo", own, "de") == "Tattoo {there}?"


@pytest.mark.parametrize("language", ["fr", "", "../en", "en/../en", "EN"])
def test_a_language_that_is_not_there_is_an_error(language: str) -> None:
    with pytest.raises(ValueError, match="give one of de, en"):
        texts(language)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('pregnant = "', 'expecting = "', "screening.pregnant = (missing): expected a text, as in en.toml"),
        ('pregnant = "', 'expecting = "', "screening.expecting = "),
        ("{hours} Stunden", "{stunden} Stunden", "expected these placeholders, as in en.toml: {hours}"),
        ("{hours} Stunden", "{hours Stunden", "expected braces in pairs"),
        ('language = "Deutsch"', 'language = ""', 'language = "": expected a text'),
    ],
)
def test_a_fault_of_a_catalogue_is_named(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = (FOLDER / "de.toml").read_text(encoding="utf-8")
    path = tmp_path / "de.toml"
    path.write_text(text, encoding="utf-8")
    assert config.check(path) == []
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    problems = [str(problem) for problem in config.check(path)]
    assert any(said in problem for problem in problems), problems
