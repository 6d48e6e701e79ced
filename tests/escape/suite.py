"""Runs attacks with and without the sandbox, as this process's own user."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import attrs

import tests.escape.attacks  # noqa: F401 - registers them
from tests.escape.attacks.harness import ATTACKS, Attack
from tests.escape.bare import run_bare
from tests.escape.boxed import open_box
from tests.escape.world import World, open_world


@attrs.frozen
class Outcome:
    """What one attack came to."""

    name: str
    area: str
    bare: str
    """What it got without a sandbox; empty where it got nothing."""
    boxed: str
    """What it got inside; empty where it was held."""
    why: str
    """What held it, or what it got."""


def attacks(names: Sequence[str] = ()) -> tuple[Attack, ...]:
    """Return the attacks of those names or areas; all where none are given.

    Raises:
        LookupError: there is no such attack.
    """
    if unknown := set(names) - ATTACKS.keys() - {attack.area for attack in ATTACKS.values()}:
        raise LookupError(f"there is no attack and no area {', '.join(sorted(unknown))}")
    return tuple(
        attack
        for attack in ATTACKS.values()
        if not names or attack.name in names or attack.area in names
    )


@contextmanager
def fresh_world() -> Iterator[World]:
    """Make a world in a folder of its own, which goes with the block."""
    with tempfile.TemporaryDirectory(prefix="sigil-escape-") as folder:
        with open_world(Path(folder)) as world:
            yield world


async def run_attacks(
    chosen: Sequence[Attack], told: Callable[[Outcome], None] = lambda _: None
) -> tuple[Outcome, ...]:
    """Run attacks bare and boxed, one after another."""
    outcomes = []
    with fresh_world() as world:
        bare = {attack.name: run_bare(attack.name, world) for attack in chosen}
        # Bare attacks have changed what they could; the boxed ones find everything as it was.
    with fresh_world() as world:
        async with open_box(world) as box:
            for attack in chosen:
                boxed = await box.run(attack.name)
                outcome = Outcome(
                    name=attack.name,
                    area=attack.area,
                    bare=bare[attack.name].get("through", ""),
                    boxed=boxed.get("through", ""),
                    why=boxed.get("through") or boxed["held"],
                )
                told(outcome)
                outcomes.append(outcome)
    return tuple(outcomes)
