"""What the tests of this folder share."""

from tests.go_programs import go_program
from tests.sdk.plugin_python import plugin_python
from tests.tiers.process.conftest import probed, sandbox

__all__ = ["go_program", "plugin_python", "probed", "sandbox"]
