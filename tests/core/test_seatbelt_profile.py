"""The profile for macOS, as text; its rules are held against the plan's order."""

import re

from sigil_actors.core.host_facts import PathKind
from sigil_actors.core.seatbelt_profile import seatbelt_command_line, seatbelt_profile
from tests.core.sandbox_cases import FOLDER, MACOS, SOCKET_DIR, manifest, plan

HOSTILE = '/opt/x")) (allow default) ("'


def rules_about(text: str, names: list[str]) -> list[str]:
    return [line for line in text.splitlines() if any(f'"{name}"' in line for name in names)]


def names_of(parameters: object, path: str) -> list[str]:
    assert hasattr(parameters, "items")
    return [name for name, value in parameters.items() if value == path]


def test_everything_is_denied_first_and_no_rule_allows_all() -> None:
    text = seatbelt_profile(plan(manifest(), MACOS)).text
    assert text.splitlines()[:2] == ["(version 1)", "(deny default)"]
    assert "(allow default)" not in text
    assert text.count("(") == text.count(")")


def test_a_path_is_a_parameter_and_never_text() -> None:
    one = plan(manifest(read_allow=(HOSTILE,)), MACOS)
    profile = seatbelt_profile(one)
    assert "default) (" not in profile.text
    assert HOSTILE in profile.parameters.values()
    paths = re.findall(r"\((?:subpath|literal) ([^)]*)\)", profile.text)
    assert {path for path in paths if not path.startswith("(param")} == {
        '"/"', '"/dev/null"', '"/dev/zero"', '"/dev/random"', '"/dev/urandom"',
    }  # fmt: skip
    name = names_of(profile.parameters, HOSTILE)[0]
    assert f"{name}={HOSTILE}" in seatbelt_command_line(one)


def test_the_last_rule_about_a_path_is_the_one_that_counts() -> None:
    one = manifest(
        write_allow=("/opt/data",),
        read_allow=("/opt/data/models",),
        read_deny=("/opt/data/a/secret", "/usr/share/man"),
    )
    profile = seatbelt_profile(plan(one, MACOS, kinds={"/usr/share/man": PathKind.FOLDER}))
    lines = profile.text.splitlines()

    def last(path: str, operation: str) -> int:
        names = names_of(profile.parameters, path)
        about = [at for at, line in enumerate(lines) if line in rules_about(profile.text, names)]
        return max(at for at in about if operation in lines[at])

    assert lines[last("/opt/data/models", "file-write*")].startswith("(deny")
    assert last("/opt/data", "allow file-write*") < last("/opt/data/models", "deny file-write*")
    hidden = last("/opt/data/a/secret", "deny file-read*")
    assert last("/opt/data", "allow file-read*") < hidden
    assert last("/opt/data/a", "deny file-write-unlink") < hidden  # so that it can't be moved
    assert last("/usr/share", "allow file-read*") < last("/usr/share/man", "deny file-read*")


def test_only_where_it_listens_it_has_sockets_and_the_proxy_is_the_only_road() -> None:
    quiet = seatbelt_profile(plan(manifest(write_allow=("/opt/data",)), MACOS))
    [socket_dir] = names_of(quiet.parameters, SOCKET_DIR)
    [network] = [line for line in quiet.text.splitlines() if "network" in line]
    assert f'(param "{socket_dir}")' in network
    loud = seatbelt_profile(plan(manifest(allow=("a.example:443",)), MACOS)).text
    assert '(allow network-outbound (remote ip "localhost:3128"))' in loud


def test_what_is_writable_is_never_run_as_a_library_nor_gets_set_id_bits() -> None:
    profile = seatbelt_profile(plan(manifest(write_allow=("/opt/data",)), MACOS))
    for path in ("/opt/data", SOCKET_DIR):
        rules = rules_about(profile.text, names_of(profile.parameters, path))
        assert not any("file-map-executable" in rule for rule in rules)
        assert any(rule.startswith("(deny file-write-setugid") for rule in rules)
    own = rules_about(profile.text, names_of(profile.parameters, FOLDER))
    assert any(rule.startswith("(deny file-write*") for rule in own)
