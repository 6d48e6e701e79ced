"""Who may be killed: which of a host's processes is what."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from tests.orphans.processes import Process

Find = Callable[[int, Sequence[Process]], Sequence[Process]]


def _children(parents: Sequence[Process], family: Sequence[Process]) -> Sequence[Process]:
    numbers = {parent.pid for parent in parents}
    return [process for process in family if process.parent in numbers]


def _wrappers(host: int, family: Sequence[Process]) -> Sequence[Process]:
    return [process for process in family if process.parent == host and process.name == "bwrap"]


def _firsts(host: int, family: Sequence[Process]) -> Sequence[Process]:
    return _children(_wrappers(host, family), family)


def _boxed(host: int, family: Sequence[Process]) -> Sequence[Process]:
    return _children(_firsts(host, family), family)


def _plain(host: int, family: Sequence[Process]) -> Sequence[Process]:
    return [
        process
        for process in family
        if process.parent == host and process.arguments.rstrip().endswith("/it")
    ]


def _sleepers(_: int, family: Sequence[Process]) -> Sequence[Process]:
    return [process for process in family if process.name == "sleep"]


def _guards(host: int, family: Sequence[Process]) -> Sequence[Process]:
    return [
        process
        for process in family
        if process.parent == host and "while read -r order group" in process.arguments
    ]


def _openers(host: int, family: Sequence[Process]) -> Sequence[Process]:
    return [
        process
        for process in family
        if process.parent == host and "namespace_helper_main" in process.arguments
    ]


def _anybody(_: int, family: Sequence[Process]) -> Sequence[Process]:
    return family


PLUGIN_ENDS: Final = frozenset({"bubblewrap", "first process", "plugin"})
"""With whom the plugin ends."""

VICTIMS: Final[Mapping[str, Mapping[str, Find]]] = {
    "boxed": {
        "bubblewrap": _wrappers,
        "first process": _firsts,
        "plugin": _boxed,
        "plugin's child": _sleepers,
        "namespace helper": _openers,
        "group guard": _guards,
        "anybody": _anybody,
    },
    "plain": {
        "plugin": _plain,
        "plugin's child": _sleepers,
        "group guard": _guards,
        "anybody": _anybody,
    },
}
"""By mode and name; the host itself is one more."""
