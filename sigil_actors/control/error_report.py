"""An error as a value: what a person or a program is told of it, on either side of the socket.

Knows neither how it is shown nor which exit code it gets.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from sigil_actors.core.json_value import JsonObject, JsonValue
from sigil_actors.errors import CapabilityDeniedError, Fault, Problem, SigilError

FACT_CHARACTERS_MAX: Final = 100_000
"""Of one text in a report. An error's text is short; this only keeps a mistake from growing."""

_TOLD_OTHERWISE = frozenset({"what", "remedy", "report", "fault"})


@attrs.frozen(kw_only=True)
class ErrorReport:
    """What is told of one error."""

    kinds: tuple[str, ...]
    """The names of its type and of those above it, `SigilError` last."""
    fault: str
    """Who can mend it."""
    what: str
    remedy: str = ""
    explanation: tuple[str, ...] = ()
    """Further lines for people: of a denial, what each set said."""
    facts: JsonObject = attrs.field(factory=dict)
    """The error's attributes, for programs."""

    def to_json(self) -> JsonObject:
        """Return it for a JSON text."""
        return {
            "type": self.kinds[0],
            "kinds": list(self.kinds),
            "fault": self.fault,
            "what": self.what,
            "remedy": self.remedy,
            "explanation": list(self.explanation),
            "facts": self.facts,
        }


class ReportedError(SigilError):
    """An error that happened in the supervisor; `report` is what it told of it."""

    def __init__(self, report: ErrorReport) -> None:
        self.report = report
        super().__init__(report.what, remedy=report.remedy)


def report_of(error: SigilError, *, explanation: Sequence[str] = ()) -> ErrorReport:
    """Return what is told of `error`."""
    if isinstance(error, ReportedError):
        return error.report
    # A denial's remedy is its explanation in a sentence; the attribute would say it twice.
    told = _TOLD_OTHERWISE | (
        {"explanation", "decision"} if isinstance(error, CapabilityDeniedError) else set()
    )
    return ErrorReport(
        kinds=tuple(kind.__name__ for kind in type(error).__mro__ if issubclass(kind, SigilError)),
        fault=error.fault,
        what=error.what,
        remedy=error.remedy,
        explanation=tuple(explanation),
        facts={
            name: _fact(value)
            for name, value in vars(error).items()
            if name not in told and not name.startswith("_")
        },
    )


def report_from_json(value: JsonValue) -> ErrorReport | None:
    """Return the report that a JSON text holds; None where it holds none."""
    if not isinstance(value, Mapping):
        return None
    kinds, explanation = texts(value.get("kinds")), texts(value.get("explanation", []))
    fault, what, remedy = value.get("fault"), value.get("what"), value.get("remedy", "")
    facts = value.get("facts", {})
    if (
        not kinds
        or explanation is None
        or not isinstance(fault, str)
        or not isinstance(what, str)
        or not isinstance(remedy, str)
        or not isinstance(facts, Mapping)
    ):
        return None
    return ErrorReport(
        kinds=kinds, fault=fault, what=what, remedy=remedy, explanation=explanation, facts=facts
    )


def texts(value: JsonValue) -> tuple[str, ...] | None:
    """Return `value` as texts, where it is a JSON array of nothing else."""
    if not isinstance(value, list):
        return None
    found = tuple(item for item in value if isinstance(item, str))
    return found if len(found) == len(value) else None


def problem_json(problem: Problem) -> JsonObject:
    """Return one problem of a manifest for a JSON text."""
    return {
        "path": problem.path,
        "line": problem.line,
        "what": problem.what,
        "remedy": problem.remedy,
    }


def _fact(value: object) -> JsonValue:
    match value:
        case None | bool() | int() | float():
            return value
        case Problem():
            return problem_json(value)
        case tuple() | list():
            return [_fact(item) for item in value]
        case _:
            return str(value)[:FACT_CHARACTERS_MAX]


BUG: Final = ErrorReport(
    kinds=("InternalError", SigilError.__name__),
    fault=Fault.OPERATOR,
    what="the supervisor failed while it served this request, by a bug of its own",
    remedy="Its log has the traceback; please report it",
)
"""What a client is told where the supervisor met a bug; the log has the rest."""
