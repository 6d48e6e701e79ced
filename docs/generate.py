"""Write the parts of the reference that come from the code: lifecycle, errors, settings.

They stand in the pages between two comments, so that a page reads whole in the repository too.
`make reference` writes them; a test fails where one is out of date.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path

from sigil_actors import errors
from sigil_actors.core.lifecycle import TRANSITIONS, PluginState
from sigil_actors.runtime import settings

DOCS = Path(__file__).resolve().parent


def lifecycle() -> str:
    """Return the diagram and the table of all steps."""
    return "\n".join(["```text", *diagram(), "```", "", *transition_table()])


def diagram() -> Iterator[str]:
    """Yield the road from the first state to the last as one line, and the way to `error` below."""
    road = [PluginState.DISCOVERED]
    while onward := TRANSITIONS[road[-1]] - {PluginState.ERROR}:
        (state,) = onward  # a fork would want another drawing
        road.append(state)
    if missing := set(PluginState) - {*road, PluginState.ERROR}:
        raise ValueError(f"the road misses {sorted(missing)}")

    arrow = " --> "
    yield arrow.join(road)
    bars = below = ""
    column = 0
    for state in road:
        if PluginState.ERROR in TRANSITIONS[state]:
            middle = column + len(state) // 2
            bars = bars.ljust(middle) + "|"
            below = below.ljust(middle, "-" if below else " ") + "+"
        column += len(state) + len(arrow)
    yield bars
    yield f"{below}--> {PluginState.ERROR}"


def transition_table() -> Iterator[str]:
    """Yield a Markdown table: a row for each state, with the states that may follow it."""
    yield "| from | to |"
    yield "| --- | --- |"
    for source, targets in TRANSITIONS.items():
        following = ", ".join(f"`{state}`" for state in PluginState if state in targets)
        yield f"| `{source}` | {following or '(nothing: final for this instance)'} |"


def error_family() -> str:
    """Return a section for each error class, in the order of the module."""
    return "\n".join(line for error in error_classes() for line in error_section(error))


def error_classes() -> list[type[errors.SigilError]]:
    """Return the whole family, in the order in which the module defines it."""
    family = [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.SigilError)
    ]
    return sorted(family, key=lambda error: inspect.getsourcelines(error)[1])


def error_section(error: type[errors.SigilError]) -> Iterator[str]:
    """Yield the heading, whose fault it is, what it means and what it carries."""
    yield f"## {error.__name__}"
    yield ""
    yield inspect.cleandoc(error.__doc__ or "")
    yield ""
    below = "" if error is errors.SigilError else f" · below: `{error.__bases__[0].__name__}`"
    yield f"To be mended by: {error.fault}{below}"
    yield ""
    if names := attributes_of(error):
        yield f"Attributes: {', '.join(f'`{name}`' for name in names)}"
        yield ""


def attributes_of(error: type[errors.SigilError]) -> list[str]:
    """Return the public attributes that its `__init__` and those of its bases set."""
    names: dict[str, None] = {}
    for cls in reversed(error.__mro__):
        if not issubclass(cls, errors.SigilError):
            continue
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(cls)))):
            match node:
                case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                    names[name] = None
                case _:
                    pass
    return list(names)


def runtime_settings() -> str:
    """Return a table of all settings, in the order of the class."""
    (module,) = (
        node
        for node in ast.parse(inspect.getsource(settings)).body
        if isinstance(node, ast.ClassDef) and node.name == settings.RuntimeSettings.__name__
    )
    rows = ["| setting | default | |", "| --- | --- | --- |"]
    for field, told in pairwise(module.body):
        match field, told:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                value = getattr(settings.RuntimeSettings(), name)
                is_bare = value == settings.BackgroundSession()
                default = "BackgroundSession()" if is_bare else repr(value)
                rows.append(f"| `{name}` | `{default}` | {' '.join(text.split())} |")
            case _:
                pass
    return "\n".join(rows)


PARTS: Mapping[tuple[str, str], Callable[[], str]] = {
    ("reference/lifecycle.md", "lifecycle"): lifecycle,
    ("reference/errors.md", "error family"): error_family,
    ("reference/settings.md", "settings"): runtime_settings,
}
"""The page and the name of each generated part, and what makes it."""


def replace_part(page: str, name: str, part: str) -> str:
    """Return the page's text with the part between its two comments replaced."""
    start, end = f"<!-- generated: {name} (make reference) -->", f"<!-- end: {name} -->"
    before, found_start, rest = page.partition(start)
    _, found_end, after = rest.partition(end)
    if not (found_start and found_end):
        raise ValueError(f"the page lacks {start!r} or {end!r}")
    return f"{before}{start}\n\n{part.strip()}\n\n{end}{after}"


def main() -> None:
    """Write every part into its page."""
    for (page, name), make in PARTS.items():
        path = DOCS / page
        path.write_text(replace_part(path.read_text(), name, make()))


if __name__ == "__main__":
    main()
