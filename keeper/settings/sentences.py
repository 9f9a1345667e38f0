"""A validation error as one plain sentence: the place, the key, what is wrong, the remedy.

"keeper.toml: [chains.ethereum] has no key 'rcp_urls', did you mean 'rpc_urls'?"
"""

import difflib
from collections.abc import Callable, Iterable
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError

from keeper.settings.schema import Settings


def nearest(word: str, known: Iterable[str]) -> str:
    """Return ``, did you mean 'rpc_urls'?`` or, with nothing near, what there is."""
    names = sorted(known)
    close = difflib.get_close_matches(word.lower(), names, n=1, cutoff=0.6)
    if close:
        return f", did you mean {close[0]!r}?"
    return f"; there is {', '.join(names)}" if len(names) <= 16 else ""


def sentence(error: ValidationError, origin: Callable[[str], str]) -> str:
    """Return the first problem as a sentence; `origin` names the place of a dotted key.

    Values are not repeated unless our own checks did: they may be secrets.
    """
    problems = error.errors(include_url=False, include_input=False)
    # A misspelt key also makes the right one missing: the spelling is the news.
    problems.sort(key=lambda one: one["type"] != "extra_forbidden")
    problem = problems[0]
    path = [str(part) for part in problem["loc"] if not _is_internal(part)]
    place = origin(".".join(path))
    where = f"{place}: " if place else ""
    more = len(problems) - 1
    tail = f" ({more} more problem{'s' * (more > 1)} after this one)" if more else ""
    return f"{where}{_about(path, problem)}{tail}"


def _is_internal(part: str | int) -> bool:
    """Pydantic names validators and union members in the path; people did not write those."""
    return isinstance(part, str) and ("function-" in part or part in ("[key]", "tuple"))


def _about(path: list[str], problem: Any) -> str:
    section, key = _section(path[:-1]), path[-1] if path else ""
    match problem["type"]:
        case "extra_forbidden":
            model = _model_at(path[:-1])
            kin = nearest(key, _keys(model)) if model else ""
            what = "section" if len(path) == 1 else "key"
            return f"{section} has no {what} {key!r}{kin}".strip()
        case "missing":
            return f"{section} needs {key!r}: {_description(path)}".strip()
        case "value_error":
            return _joined(path, str(problem["ctx"]["error"]))
        case _:
            return _joined(path, _plain(problem))


def _joined(path: list[str], text: str) -> str:
    if not path:
        return text
    model = _model_at(path)
    if model is not None:
        return f"{_section(path)} {text}"
    if path[-1].isdigit():
        name = f"{path[-2]}, entry {int(path[-1]) + 1}," if len(path) > 1 else path[-1]
        return f"{_section(path[:-2])} {name} {text}".strip()
    return f"{_section(path[:-1])} {path[-1]} {text}".strip()


_PLAIN: Final = {
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "string_type": "must be a text in quotes",
    "path_type": "must be a text in quotes",
    "string_too_long": "must have at most {max_length} characters",
    "literal_error": "must be {expected}",
    "greater_than_equal": "must be {ge} or more",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be {le} or less",
    "tuple_type": 'must be a list such as ["a", "b"]',
    "model_type": "must be a table of keys and values",
    "model_attributes_type": "must be a table of keys and values",
    "dict_type": "must be a table of keys and values",
    "mapping_type": "must be a table of keys and values",
}
"""Pydantic's error types in our words; what is not here keeps pydantic's."""


def _plain(problem: Any) -> str:
    if problem["type"] in _PLAIN:
        return _PLAIN[problem["type"]].format_map(problem.get("ctx", {}))
    message = str(problem["msg"])
    return f"is not valid: {message[:1].lower()}{message[1:]}"


def _section(path: list[str]) -> str:
    """Return ``[chains.ethereum]``, ``[[watch]] entry 2``, or nothing at the top."""
    if not path:
        return ""
    if path[-1].isdigit():
        return f"[[{'.'.join(path[:-1])}]] entry {int(path[-1]) + 1}"
    return f"[{'.'.join(path)}]"


def _model_at(path: list[str]) -> type[BaseModel] | None:
    """The section that a path of keys leads to; None where it leads to a value."""
    current: Any = Settings
    for part in path:
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(part)
            current = field.annotation if field else None
        else:  # a table of tables or a list of tables: any key leads to the inner one
            current = _inner(current)
    if isinstance(current, type) and issubclass(current, BaseModel):
        return current
    members = [m for m in get_args(current) if isinstance(m, type) and issubclass(m, BaseModel)]
    optional = type(None) in get_args(current)
    return members[0] if members and optional else None


def _inner(annotation: Any) -> Any:
    for argument in get_args(annotation):
        if isinstance(argument, type) and issubclass(argument, BaseModel):
            return argument
        found = _inner(argument)
        if found is not None:
            return found
    return None


def _keys(model: type[BaseModel]) -> list[str]:
    return [name for name in model.model_fields if (model.__name__, name) != ("Chain", "name")]


def _description(path: list[str]) -> str:
    model = _model_at(path[:-1])
    field = model.model_fields.get(path[-1]) if model else None
    text = (field.description or "").rstrip(".") if field else ""
    return text if text[:2].isupper() else text[:1].lower() + text[1:]
