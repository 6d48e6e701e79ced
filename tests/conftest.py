"""What every test may rely on: hypothesis profiles, and `require` for what a machine may lack."""

import importlib.util
import os
import re
import shutil
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

# No deadline: the machines that run this are shared, and a slow moment is no failure. New examples
# on every run, since each run is a chance to find something; a failure prints its seed.
settings.register_profile("default", deadline=None, max_examples=100)
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=200,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("ci" if os.environ.get("CI") else "default")


def _program(name: str) -> Callable[[], bool]:
    return lambda: shutil.which(name) is not None


def _module(name: str) -> Callable[[], bool]:
    return lambda: importlib.util.find_spec(name) is not None


REQUIREMENTS: dict[str, tuple[Callable[[], bool], str]] = {
    "bwrap": (_program("bwrap"), "install bubblewrap"),
    "cedarpy": (_module("cedarpy"), "make bench installs it"),
    "casbin": (_module("casbin"), "make bench installs it"),
    "pykka": (_module("pykka"), "make bench installs it"),
    "pyvider": (_module("pyvider"), "make bench installs it"),
    "go": (_program("go"), "install Go"),
    "zig": (_module("ziglang"), "pip install ziglang"),
}
"""What a test may ask for by name: how to tell whether it is here, and what to do if not."""

REQUIRED_HERE = frozenset(re.split(r"[\s,]+", os.environ.get("SIGIL_REQUIRE", ""))) - {""}
"""What this machine promises to have (CI does), so that a skip can't hide a hole in the tests."""


def pytest_configure() -> None:
    """Refuse a SIGIL_REQUIRE that names what no test could ask for."""
    if unknown := sorted(REQUIRED_HERE - REQUIREMENTS.keys()):
        raise pytest.UsageError(
            f"SIGIL_REQUIRE names {', '.join(unknown)}; known are {', '.join(sorted(REQUIREMENTS))}"
        )


@pytest.fixture(scope="session")
def require() -> Callable[[str], None]:
    """Give `require("go")`: missing, it skips the test, or fails it if SIGIL_REQUIRE names it."""

    def require(name: str) -> None:
        is_here, remedy = REQUIREMENTS[name]
        if is_here():
            return
        if name in REQUIRED_HERE:
            pytest.fail(f"{name} is missing, and SIGIL_REQUIRE names it: {remedy}")
        pytest.skip(f"{name} is missing: {remedy}")

    return require
