"""The catalogues: every text of the code is in each, with the same placeholders."""

import ast
import gettext
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from keeper.alerts.speech import ENGLISH, Speech
from keeper.notify.languages import (
    DOMAIN,
    LANGUAGES,
    LOCALE,
    Voices,
    language_named,
    speech_of,
)
from keeper.settings.people import SPOKEN

KEEPER = Path(__file__).parents[2] / "keeper"
SPEAKING = ("alerts", "notify", "app", "store", "chain")
MARKS = frozenset(
    {"say", "noted", "saying", "BadWord", "BadRule", "NotWatched", "NoOffer", "NoAddress"}
)
OTHERS = [code for code in LANGUAGES if code != ENGLISH.language]

# What is looked up by a name: each of these names only what `noted` marked.
LOOKED_UP = frozenset(
    {
        "self.message",
        "NOT_YOU",
        "REPEAT",
        "usage",
        "what",
        "LEVEL_WORD[level]",
        "_CONSEQUENCES[stance]",
        "_NOUN[refused.kind]",
        "_NOUN[intent.kind]",
        "_WHAT[rule.gauge]",
        "RULE_WORD.get(state.rule, state.rule)",
        "_STATE_WORD.get(verdict.state, str(verdict.state))",
    }
)


def texts() -> Iterator[tuple[str, ...]]:
    """Yield every text of the code: one form, or one and many."""
    for room in SPEAKING:
        for path in sorted((KEEPER / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and node.args and (forms := _forms(node)):
                    given = node.args[:forms]
                    constant = [one.value for one in given if isinstance(one, ast.Constant)]
                    if len(constant) == forms:
                        yield tuple(str(one) for one in constant)
                    else:
                        assert ast.unparse(node.args[0]) in LOOKED_UP, f"{path}:{node.lineno}"


def _forms(call: ast.Call) -> int:
    """How many forms of a text a call begins with."""
    match call.func:
        case ast.Name(id=name) if name in MARKS:
            return 1
        case ast.Attribute(attr="say"):
            return 1
        case ast.Attribute(attr="plural"):
            return 2
        case _:
            return 0


def placeholders(text: str) -> frozenset[str]:
    return frozenset(name for _, name, _, _ in string.Formatter().parse(text) if name is not None)


def catalogue(code: str) -> dict[str | tuple[str, int], str]:
    found = gettext.translation(DOMAIN, str(LOCALE), [code])
    assert isinstance(found, gettext.GNUTranslations)
    entries: dict[str | tuple[str, int], str] = found._catalog  # type: ignore[attr-defined]  # the only way to all of it
    return {key: text for key, text in entries.items() if key}


def test_the_code_says_something() -> None:
    found = set(texts())

    assert ("Ack",) in found
    assert ("{n} alert is over:", "{n} alerts are over:") in found
    assert len(found) > 250


@pytest.mark.parametrize("code", OTHERS)
def test_every_text_is_in_the_catalogue_and_nothing_else(code: str) -> None:
    there = {key if isinstance(key, str) else key[0] for key in catalogue(code)}

    assert {forms[0] for forms in texts()} - there == set()
    assert there - {forms[0] for forms in texts()} == set()


@pytest.mark.parametrize("code", OTHERS)
def test_every_text_is_translated_with_its_own_placeholders(code: str) -> None:
    found = catalogue(code)
    for forms in set(texts()):
        told = (
            [found[forms[0]]]
            if len(forms) == 1
            else [
                text for key, text in found.items() if isinstance(key, tuple) and key[0] == forms[0]
            ]
        )
        assert told, forms
        for text in told:
            assert text, forms
            wanted = placeholders(forms[-1])
            optional = {"n"} if len(forms) == 2 else set()  # "one alert" needs no number
            assert placeholders(text) | optional == wanted | optional, forms


def test_texts_take_their_values_by_name() -> None:
    for forms in texts():
        assert all(name.isidentifier() for text in forms for name in placeholders(text)), forms


@pytest.mark.parametrize("code", OTHERS)
def test_the_compiled_catalogue_is_that_of_the_source(code: str) -> None:
    pofile = pytest.importorskip("babel.messages.pofile", reason="babel is not installed here")
    source = LOCALE / code / "LC_MESSAGES" / "keeper.po"
    with source.open("rb") as file:
        read = pofile.read_po(file, locale=code)
    wanted: dict[str | tuple[str, int], str] = {}
    for message in read:
        if isinstance(message.id, tuple):
            wanted |= {(message.id[0], at): text for at, text in enumerate(message.string)}
        elif message.id:
            wanted[message.id] = message.string

    assert catalogue(code) == wanted


def test_the_settings_know_the_languages_that_are_spoken() -> None:
    assert tuple(LANGUAGES) == SPOKEN
    assert all(speech_of(code).language == code for code in LANGUAGES)


def test_an_unknown_language_is_english() -> None:
    assert speech_of("tlh") is ENGLISH


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("de", "de"),
        ("DE", "de"),
        ("Deutsch", "de"),
        ("de-AT", "de"),
        ("english", "en"),
        ("x", None),
    ],
)
def test_a_language_is_known_by_code_and_name(word: str, code: str | None) -> None:
    assert language_named(word) == code


def test_a_chat_that_chose_nothing_hears_the_house_language() -> None:
    voices = Voices("de")
    voices.learn({"telegram:1": "en"})

    assert voices("telegram:1").language == "en"
    assert voices("telegram:2").language == "de"


def test_a_wrong_catalogue_costs_the_language_and_not_the_message() -> None:
    wrong = Speech(language="xx", one=lambda _: "{nam} ist {0}", number=lambda *_: "{")

    assert wrong("{name} is well", name="main") == "main is well"
    assert wrong.plural("{n} alert", "{n} alerts", 2) == "2 alerts"


def test_braces_in_what_others_wrote_stay_braces() -> None:
    assert ENGLISH("{name}: gone", name="{0.__class__}") == "{0.__class__}: gone"


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1 Alarm ist vorbei:"), (2, "2 Alarme sind vorbei:")]
)
def test_german_has_its_own_plural(number: int, text: str) -> None:
    assert speech_of("de").plural("{n} alert is over:", "{n} alerts are over:", number) == text
