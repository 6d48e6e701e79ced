"""All mutants, from the files that hold them by part of the code."""

from tests.mutants.calls import CALLS
from tests.mutants.enforcer import ENFORCER
from tests.mutants.kit import KIT

MUTANTS = (*KIT, *CALLS, *ENFORCER)
