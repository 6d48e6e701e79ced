"""All mutants, from the files that hold them by part of the code."""

from tests.mutants.calls import CALLS
from tests.mutants.enforcer import ENFORCER
from tests.mutants.kit import KIT
from tests.mutants.life import LIFE
from tests.mutants.swaps import SWAPS

MUTANTS = (*KIT, *CALLS, *ENFORCER, *LIFE, *SWAPS)
