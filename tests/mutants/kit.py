"""Mutants of the actor kit: mailbox, ask, supervisor."""

from tests.mutants.mutant import Mutant

KIT: tuple[Mutant, ...] = ()
