"""The text of a `plugin.yaml` becomes a `Manifest`, or every problem at once.

cattrs builds the classes from plain values, strictly: no unknown key, no conversion. What it
refuses is told with path, line and remedy. Then a default stands in for each part that couldn't be
read, so that the rules see the rest as well, and one round of corrections is enough.
"""

import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache, lru_cache, partial
from typing import Any, Final, TypeAlias

import attrs
import cattrs
from cattrs.errors import AttributeValidationNote, ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, override

from sigil_actors.core.execution import (
    ContainerExecution,
    ContainerNetwork,
    Execution,
    ExecutionTier,
    InstanceMode,
    PluginType,
    ProcessExecution,
    RegisteredExecution,
    WasmExecution,
)
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.quantities import (
    DURATION_FORM,
    SIZE_FORM,
    Duration,
    QuantityError,
    Size,
    check_size,
    parse_duration,
    parse_size,
)
from sigil_actors.core.restart import RestartPolicy, RestartType
from sigil_actors.core.wording import below, enclosing, guess_or_list, nearest, shown
from sigil_actors.core.yaml_document import Document, DocumentError, read_document
from sigil_actors.errors import ManifestError, Problem

PROBLEMS_MAX: Final = 100
"""Problems told of one manifest: a file of rubbish shouldn't fill a log."""

_GUESSES_MAX = 20
"""Unknown keys of one section for which a known one is guessed."""

_Keys: TypeAlias = tuple[str | int, ...]

_TIERS: Mapping[str, type[Any]] = {
    ExecutionTier.PROCESS: ProcessExecution,
    ExecutionTier.WASM: WasmExecution,
    ExecutionTier.CONTAINER: ContainerExecution,
}

_STAND_INS: Mapping[str, Any] = {
    "name": "unreadable",
    "version": "0.0.0",
    "type": "tool",
    "execution": {"tier": "wasm"},
}
"""What takes the place of a required part that couldn't be read: nothing that breaks a rule."""


@attrs.frozen
class _Fault:
    """A problem that knows the keys to its place, and no line yet."""

    keys: _Keys
    what: str
    remedy: str


class _UnfitError(ValueError):
    """A value isn't what its place wants; its faults' keys lead on from there."""

    def __init__(self, *faults: _Fault) -> None:
        self.faults = faults
        super().__init__()


def parse_manifest(
    text: str | bytes, *, file: str = "plugin.yaml", tiers: Collection[str] = ()
) -> Manifest:
    """Read a manifest.

    Args:
        text: The file's content; bytes are UTF-8.
        file: What problems call the file.
        tiers: The words of further tiers that the host registered.

    Raises:
        ManifestError: it can't become a manifest; `problems` has every reason.
    """
    try:
        document = read_document(text)
    except DocumentError as error:
        raise ManifestError([error.problem], file=file) from None
    value = document.value
    if not isinstance(value, dict):
        what = f"is {_describe(value)}, not a mapping"
        raise ManifestError(
            [_located(_Fault((), what, "Write the manifest's keys and values"), document)],
            file=file,
        )
    problems = list(document.problems)
    manifest = _structure(value, document, problems, _converter(frozenset(tiers)))
    told = document.unread | {problem.path for problem in problems[len(document.problems) :]}
    problems += (
        replace(problem, line=document.line_of(problem.path))
        for problem in manifest.validate()
        if told.isdisjoint(enclosing(problem.path))
    )
    if problems:
        raise ManifestError(_in_order(problems), file=file)
    return manifest


def _structure(
    value: dict[str, Any],
    document: Document,
    problems: list[Problem],
    converter: cattrs.Converter,
) -> Manifest:
    """Build the manifest; for what can't be read, add to `problems` and let a default stand in."""
    try:
        return converter.structure(value, Manifest)
    except cattrs.ClassValidationError as error:
        faults = list(_faults(error, ()))
    for fault in faults:
        located = _located(fault, document)
        if document.unread.isdisjoint(enclosing(located.path)):
            problems.append(located)
        _remove(value, fault.keys)
    return converter.structure({**_STAND_INS, **value}, Manifest)


def _remove(value: Any, keys: _Keys) -> None:
    """Take what stands at `keys` out of `value`; a list's item becomes empty, so none moves."""
    if keys == ("execution", "tier"):  # without it, nothing of the section can be read
        keys = ("execution",)
    *way, last = keys
    for key in way:
        value = value[key]
    if isinstance(last, int):
        value[last] = ""
    else:
        value.pop(last, None)


def _located(fault: _Fault, document: Document) -> Problem:
    path = ""
    for key in fault.keys:
        path = below(path, key)
    return Problem(path=path, line=document.line_of(path), what=fault.what, remedy=fault.remedy)


def _in_order(problems: Iterable[Problem]) -> list[Problem]:
    ordered = sorted(problems, key=lambda problem: problem.line)
    left_out = len(ordered) - PROBLEMS_MAX
    if left_out > 0:
        what = f"{left_out} further problems are left out"
        last = Problem(
            path="", line=ordered[PROBLEMS_MAX].line, what=what, remedy="Correct these first"
        )
        ordered[PROBLEMS_MAX:] = [last]
    return ordered


def _faults(error: BaseException, keys: _Keys) -> Iterator[_Fault]:
    """Yield what cattrs found, `keys` being the way to where `error` arose."""
    notes: Iterable[object] = getattr(error, "__notes__", ())
    keys += tuple(note.name for note in notes if isinstance(note, AttributeValidationNote))
    match error:
        case ForbiddenExtraKeysError():
            yield from _unknown_keys(error, keys)
        case BaseExceptionGroup():
            for inner in error.exceptions:
                yield from _faults(inner, keys)
        case _UnfitError():
            for fault in error.faults:
                yield attrs.evolve(fault, keys=keys + fault.keys)
        case KeyError():
            key = str(keys[-1])
            # What is required of the section is its tier, so that is what is missing.
            missing = ("execution", "tier") if key == "execution" else keys
            yield _Fault(missing, "is missing", f"Write {key}: {_EXAMPLES[key]}")
        case _:
            raise AssertionError from error


_EXAMPLES = {
    "name": "my-plugin",
    "version": "1.0.0",
    "type": "tool",
    "execution": "{tier: wasm}",
}


def _unknown_keys(error: ForbiddenExtraKeysError, keys: _Keys) -> Iterator[_Fault]:
    known = {field.name for field in attrs.fields(error.cl)}
    if error.cl in _TIERS.values():
        known.add("tier")
    for index, key in enumerate(sorted(error.extra_fields)):
        remedy = _remedy_for_key(key, known) if index < _GUESSES_MAX else "Drop it"
        yield _Fault((*keys, key), "is no key that is known here", remedy)


def _remedy_for_key(key: str, known: Collection[str]) -> str:
    guess = nearest(key, known)
    if guess is None and key in _places():
        return f"It is a key of {' or '.join(_places()[key])}"
    return guess_or_list(key, known)


@cache
def _places() -> Mapping[str, list[str]]:
    """Return for each key of a manifest the sections that have it."""
    places: dict[str, list[str]] = {}

    def visit(section: type[Any], path: str, name: str) -> None:
        for field in attrs.fields(section):
            places.setdefault(field.name, []).append(name)
            if field.type is not None and attrs.has(field.type):
                visit(field.type, below(path, field.name), below(path, field.name))

    visit(Manifest, "", "the manifest itself")
    for tier, section in _TIERS.items():
        visit(section, "execution", f"execution in the {tier} tier")
    return places


# --- what cattrs is told ---

_Hook: TypeAlias = Callable[[Any, Any], Any]

# `JsonValue` refers to itself, which no reader of annotations can resolve.
attrs.resolve_types(Manifest, localns={"JsonValue": object})


@lru_cache(
    maxsize=8
)  # hosts have one set of tiers; building the classes' readers takes milliseconds
def _converter(tiers: frozenset[str]) -> cattrs.Converter:
    converter = cattrs.Converter(forbid_extra_keys=True, detailed_validation=True)
    plain: Mapping[Any, _Hook] = {str: _text, bool: _boolean, int: _integer, float: _number}
    for kind, hook in plain.items():
        converter.register_structure_hook(kind, hook)
    hooks: Mapping[Any, _Hook] = {
        str | None: _text,
        Duration: _duration,
        Size: _size,
        Size | None: _size,
        tuple[str, ...]: _texts,
        Mapping[str, str]: _texts_by_name,
        Mapping[str, object]: _any_mapping,
    }
    for kind, hook in hooks.items():
        # By equality: cattrs would look beneath Annotated, and knows no hook for a union.
        converter.register_structure_hook_func(partial(operator.eq, kind), hook)
    for kind in (PluginType, InstanceMode, ContainerNetwork, RestartType):
        converter.register_structure_hook(kind, _member)
    converter.register_structure_hook_factory(
        attrs.has, lambda section: _section(section, converter)
    )
    converter.register_structure_hook_func(
        lambda asked: asked == Execution, lambda value, _: _execution(value, converter, tiers)
    )
    return converter


def _section(section: type[Any], converter: cattrs.Converter) -> _Hook:
    if section is RestartPolicy:  # also a part of the actors' kit, so its fields are plain floats
        duration = override(struct_hook=_duration)
        build = make_dict_structure_fn(
            section, converter, period=duration, backoff=duration, backoff_max=duration
        )
    else:
        build = make_dict_structure_fn(section, converter)

    def hook(value: Any, _: Any) -> Any:
        return build(_mapping(value), section)

    return hook


def _execution(value: Any, converter: cattrs.Converter, tiers: frozenset[str]) -> Execution:
    options = dict(_mapping(value))
    remedy = f"Use one of {', '.join(sorted({*map(str, _TIERS), *tiers}))}"
    if "tier" not in options:
        raise _UnfitError(_Fault(("tier",), "is missing", remedy))
    tier = options.pop("tier")
    if not isinstance(tier, str):
        raise _UnfitError(_Fault(("tier",), f"is {_describe(tier)}, not text", remedy))
    if tier in _TIERS:
        section: Execution = converter.structure(options, _TIERS[tier])
        return section
    if tier in tiers:
        return RegisteredExecution(tier=tier, options=options)
    raise _UnfitError(_Fault(("tier",), f"unknown tier {shown(tier)}", remedy))


def _unfit(value: Any, wanted: str, remedy: str) -> _UnfitError:
    return _UnfitError(_Fault((), f"is {_describe(value)}, not {wanted}", remedy))


def _describe(value: Any) -> str:
    match value:
        case None:
            return "empty"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {shown(value)}"
        case list():
            return "a list"
        case _:
            return "a mapping"


def _mapping(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _unfit(value, "a mapping", "Write keys and values, or leave the key out")
    return value


def _any_mapping(value: Any, _: Any) -> dict[str, Any]:
    return _mapping(value)


def _text(value: Any, _: Any) -> str:
    if isinstance(value, str):
        return value
    raise _unfit(
        value,
        "text",
        "Put it in quotes"
        if isinstance(value, int | float)
        else "Write a text, or leave the key out",
    )


def _boolean(value: Any, _: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _unfit(value, "true or false", "Write true or false, without quotes")


def _integer(value: Any, _: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _unfit(value, "a whole number", "Write digits, without quotes")


def _number(value: Any, _: Any) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise _unfit(value, "a number", "Write digits, without quotes")


def _duration(value: Any, _: Any) -> float:
    if not isinstance(value, str):
        raise _unfit(value, "a duration", DURATION_FORM)
    try:
        return parse_duration(value)
    except QuantityError as error:
        raise _UnfitError(_Fault((), f"{shown(value)}: {error.what}", error.remedy)) from None


def _size(value: Any, _: Any) -> int:
    try:
        if isinstance(value, str):
            return parse_size(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return check_size(value)
    except QuantityError as error:
        text = value if isinstance(value, str) else str(value)
        raise _UnfitError(_Fault((), f"{shown(text)}: {error.what}", error.remedy)) from None
    raise _unfit(value, "a size", SIZE_FORM)


def _member(value: Any, kind: Any) -> Any:
    words = [str(member) for member in kind]
    if isinstance(value, str) and value in words:
        return kind(value)
    if not isinstance(value, str):
        raise _unfit(value, "a word", f"Use one of {', '.join(words)}")
    raise _UnfitError(_Fault((), f"{shown(value)} is unknown", guess_or_list(value, words)))


def _texts(value: Any, _: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _unfit(value, "a list", "Write [one, two], or a line with a dash for each")
    return tuple(_each(enumerate(value)))


def _texts_by_name(value: Any, _: Any) -> dict[str, str]:
    mapping = _mapping(value)
    return dict(zip(mapping, _each(mapping.items()), strict=True))


def _each(items: Iterable[tuple[str | int, Any]]) -> list[str]:
    """Return the values of `items`, all of which are to be texts."""
    texts: list[str] = []
    faults: list[_Fault] = []
    for key, value in items:
        try:
            texts.append(_text(value, str))
        except _UnfitError as error:
            faults += (attrs.evolve(fault, keys=(key,)) for fault in error.faults)
    if faults:
        raise _UnfitError(*faults)
    return texts
