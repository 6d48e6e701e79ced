"""What the tests of gRPC share: peers in Go, and a certificate."""

from tests.go_programs import go_program

__all__ = ["go_program"]
