"""What a machine lacks for a sandbox."""

import attrs
import pytest

from sigil_actors.core.host_facts import HostFacts
from sigil_actors.core.sandbox_lacks import find_lacks
from tests.core.sandbox_cases import DEBIAN, MACOS

assert DEBIAN.bubblewrap is not None
OLD_BUBBLEWRAP = attrs.evolve(DEBIAN.bubblewrap, version=(0, 6, 2))


def test_a_machine_that_has_everything_lacks_nothing() -> None:
    assert find_lacks(DEBIAN) == ()
    assert find_lacks(attrs.evolve(MACOS, sandbox_exec="/usr/bin/sandbox-exec")) == ()


@pytest.mark.parametrize(
    ("facts", "what", "remedy"),
    [
        (attrs.evolve(DEBIAN, bubblewrap=None), "isn't found", "apt install bubblewrap"),
        (attrs.evolve(DEBIAN, bubblewrap=OLD_BUBBLEWRAP), "0.6.2 is too old", "0.8"),
        (attrs.evolve(DEBIAN, has_user_namespaces=False), "namespaces", "sysctl"),
        (attrs.evolve(DEBIAN, has_seccomp=False), "no system call filter", "CONFIG_SECCOMP"),
        (attrs.evolve(DEBIAN, architecture="riscv64"), "riscv64", "aarch64"),
        (attrs.evolve(DEBIAN, platform="win32"), "win32", "wasm"),
        (MACOS, "sandbox-exec", "PATH"),
    ],
)
def test_each_lack_is_named_with_its_remedy(facts: HostFacts, what: str, remedy: str) -> None:
    [lack] = find_lacks(facts)
    assert what in lack.what
    assert remedy in lack.remedy


def test_what_isnt_known_counts_as_not_there() -> None:
    bare = HostFacts(platform="linux", architecture="x86_64", kernel="", uid=0, home="/")
    assert len(find_lacks(bare)) == 2
