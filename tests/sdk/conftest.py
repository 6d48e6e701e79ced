"""What the tests of this folder share."""

from tests.go_programs import go_program

__all__ = ["go_program"]
