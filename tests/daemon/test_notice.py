"""The notice for participants, in five languages."""

import re
from pathlib import Path
from string import Formatter

import pytest
import yaml

from config.privacy import Basis
from config.settings import Settings, load_settings
from daemon.errors import UnusableInputError
from daemon.notice import FOLDER, LANGUAGES, Told, notice, told_of


def settings_of(tmp_path: Path, text: str) -> Settings:
    """Settings from YAML."""
    path = tmp_path / "attuned.yaml"
    path.write_text(text)
    return load_settings(path)


def words(language: str) -> dict[str, object]:
    """The texts of a language."""
    return dict(yaml.safe_load((FOLDER / f"{language}.yaml").read_text(encoding="utf-8")))


def places(value: object) -> list[str]:
    """What is filled in, in all texts below."""
    if isinstance(value, dict):
        return [f"{key}: {place}" for key, inner in value.items() for place in places(inner)]
    return [name for _, name, _, _ in Formatter().parse(str(value)) if name is not None]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_says_the_same(language: str) -> None:
    """The same keys, the same places to fill in, every purpose and every basis; and no text twice."""
    english, own = words("en"), words(language)
    assert list(own) == list(english)
    assert places(own) == places(english)
    assert list(own["bases"]) == list(Basis.__args__)  # type: ignore[attr-defined]
    assert own["bases"].keys() == english["bases"].keys()
    assert own["purposes"].keys() == english["purposes"].keys()
    texts = [text for text in own.values() if isinstance(text, str)]
    assert len(set(texts)) == len(texts)
    if language != "en":
        assert not {text for text in texts if isinstance(text, str)} & set(map(str, english.values()))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_notice_is_what_the_configuration_says(tmp_path: Path, language: str) -> None:
    """Purpose, basis, who, how long, and how to say no: each changes when the configuration does."""
    text = """
privacy: {basis: public_interest, controller: "Clinic North", contact: "ethics@example.org"}
history: {enabled: true, days: 17}
personal: {keep_days: 23, erase_on_denial: false}
outbox: {max_age_s: 259200}
audit: {days: 41}
sessions: [{name: a, url: "whip://", purpose: healthcare, consent: declared}]
"""
    settings = settings_of(tmp_path, text)
    told = notice(settings, language, told_of(settings))
    flat = " ".join(told.split())
    own = words(language)
    for part in ("Clinic North", "ethics@example.org", " 17 ", " 23 ", " 3 ", " 41 "):
        assert part in flat
    for key in ("rights_declared", "withdraw_keeps", "law", "more"):
        assert str(own[key]) in flat
    assert str(own["purposes"]["healthcare"]) in flat
    assert str(own["bases"]["public_interest"]) in flat
    assert str(own["rights_required"]) not in flat
    assert max(map(len, told.splitlines())) <= 88
    plain = notice(Settings(), language, told_of(Settings()))
    flat = " ".join(plain.split())
    for key in ("no_contact", "no_readings", "rights_required", "withdraw_erases"):
        assert str(own[key]) in flat
    assert "{" not in plain


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_group_alone_is_said_to_be_one(tmp_path: Path, language: str) -> None:
    """How many faces it takes, and that nothing of single people is kept."""
    settings = settings_of(tmp_path, "privacy: {group_only: true, group_minimum: 5}\nhistory: {enabled: true}\n")
    flat = " ".join(notice(settings, language, Told(("research",), "required")).split())
    own = words(language)
    assert str(own["group_only"]).format(minimum=5) in flat
    assert str(own["group_readings"]).format(days=30) in flat
    assert str(own["no_learning"]) in flat


def test_what_sessions_say_is_told() -> None:
    """One that asks people one by one is enough; without sessions it is research, and everybody is asked."""
    assert told_of(Settings()) == Told(("research",), "required")
    sessions = [
        {"name": "a", "url": "a.mp4", "purpose": "safety", "consent": "declared"},
        {"name": "b", "url": "whip://", "purpose": "healthcare", "consent": "declared"},
    ]
    assert told_of(Settings(sessions=sessions)) == Told(("healthcare", "safety"), "declared")
    sessions[0].pop("consent")
    assert told_of(Settings(sessions=sessions)).consent == "required"
    assert told_of(Settings(sessions=sessions), "demo", "declared") == Told(("demo",), "declared")


def test_other_languages_are_refused() -> None:
    """With what there is."""
    with pytest.raises(UnusableInputError, match="en, de, fr, it, es"):
        notice(Settings(), "nl", Told(("research",), "required"))


def test_texts_are_typeset() -> None:
    """French puts a blank before a colon, German uses no English quotes, and nobody's text has two blanks."""
    for language in LANGUAGES:
        text = notice(Settings(), language, Told(("research",), "required"))
        body = "\n".join(line.lstrip() for line in text.splitlines())
        assert not re.search(r"\S  \S", body)
    assert re.search(r"\w :", notice(Settings(), "fr", Told(("research",), "required")))
