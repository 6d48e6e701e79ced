"""A Python for sandboxed plugins, as its author's guide says: a virtual environment for everybody.

It is made by an interpreter that any user may run, and has the SDK. Installing that anew for each
test run would take long: what this project's own environment has is shown to it as it is.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

import sigil_actors

ROOT = Path(sigil_actors.__file__).parents[1]
NEEDS = (
    "attr",
    "attrs",
    "google",
    "hpack",
    "idna",
    "outcome",
    "sniffio",
    "sortedcontainers",
    "trio",
)
"""Of what is installed, what a plugin without AutoMTLS uses."""

PLACE = "/opt/sigil-python"
"""Where the examples expect it."""


@attrs.frozen
class PluginPython:
    """Where it is, and what else has to be readable for it."""

    folder: Path
    read_allow: tuple[str, ...]
    base: Path
    """The interpreter that it was made by."""

    def put_into(self, manifest: str) -> str:
        """Return the text of an example's manifest with this environment instead of its own."""
        folders = ", ".join((str(self.folder), *self.read_allow))
        return manifest.replace(f"[{PLACE}]", f"[{folders}]").replace(PLACE, str(self.folder))


@pytest.fixture(scope="session")
def plugin_python() -> Iterator[PluginPython]:
    """Give it; without an interpreter that every user may run, the test skips."""
    base = next(filter(is_for_everybody, interpreters()), None)
    if base is None:
        pytest.skip(
            f"no Python {sys.version_info.major}.{sys.version_info.minor} that every user may run:"
            " install the system's"
        )
    # Not below pytest's own folder, which is private.
    place = Path(tempfile.mkdtemp(prefix="sigil-python-"))
    place.chmod(0o755)
    try:
        folder = place / "venv"
        subprocess.run([base, "-m", "venv", "--without-pip", folder], check=True)
        (packages,) = folder.glob("lib/python*/site-packages")
        read_allow: tuple[str, ...] = ()
        installed, package = Path(sysconfig.get_path("purelib")), ROOT / "sigil_actors"
        if is_for_everybody(installed) and is_for_everybody(package):
            (packages / "installed.pth").write_text(f"{installed}\n")
            # The package alone: what else lies beside it is no plugin's business.
            (packages / package.name).symlink_to(package)
            read_allow = (str(installed), str(package))
        else:
            copy_packages(packages)
        prefix = subprocess.run(
            [base, "-c", "import sys; print(sys.base_prefix)"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        if not prefix.startswith("/usr"):
            read_allow = (*read_allow, prefix)
        yield PluginPython(folder, read_allow, base)
    finally:
        shutil.rmtree(place)


def copy_packages(into: Path) -> None:
    """Copy the SDK and what it needs."""
    installed = Path(sysconfig.get_path("purelib"))
    for folder in (*(installed / name for name in NEEDS), ROOT / "sigil_actors"):
        shutil.copytree(folder, into / folder.name, ignore=shutil.ignore_patterns("__pycache__"))


def interpreters() -> Iterator[Path]:
    """Yield interpreters of this version: this one's own, then the system's."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    yield Path(sys.base_prefix, "bin", name)
    if found := shutil.which(name, path="/usr/local/bin:/usr/bin"):
        yield Path(found)


def is_for_everybody(path: Path) -> bool:
    """Tell whether any user gets there, and may read it."""
    path = path.resolve()
    return path.exists() and all(
        os.stat(one).st_mode & needed == needed  # noqa: PTH116 - of many
        for one, needed in ((path, 0o4), *((above, 0o1) for above in path.parents))
    )
