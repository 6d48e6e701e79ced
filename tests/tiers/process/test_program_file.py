"""A program is what the manifest names, and what it pins."""

import hashlib
import os
from pathlib import Path

import pytest

from sigil_actors.core.execution import ProcessExecution
from sigil_actors.errors import PluginRefusedError
from sigil_actors.tiers.process.program_file import check_program, command_in


def test_a_command_begins_with_an_absolute_path(tmp_path: Path) -> None:
    assert command_in("name", ProcessExecution(), tmp_path) == (f"{tmp_path}/name",)
    relative = ProcessExecution(command=("./bin/x", "--flag", "../as it is"))
    assert command_in("name", relative, tmp_path) == (f"{tmp_path}/bin/x", "--flag", "../as it is")
    absolute = ProcessExecution(command=("/usr/bin/python3", "-m", "x"))
    assert command_in("name", absolute, tmp_path) == ("/usr/bin/python3", "-m", "x")


@pytest.mark.parametrize("program", ["../x", "bin/../../x", "~/x", "x\0y"])
def test_a_program_outside_the_folder_is_refused(tmp_path: Path, program: str) -> None:
    with pytest.raises(PluginRefusedError, match="not inside its folder"):
        command_in("name", ProcessExecution(command=(program,)), tmp_path)


def test_a_program_is_there_a_file_and_executable(tmp_path: Path) -> None:
    program = tmp_path / "program"
    with pytest.raises(PluginRefusedError, match="No such file"):
        check_program("name", program, sha256=None)
    program.write_text("x")
    with pytest.raises(PluginRefusedError, match="is not executable"):
        check_program("name", program, sha256=None)
    program.chmod(0o755)
    check_program("name", program, sha256=None)
    (tmp_path / "link").symlink_to(program)
    check_program("name", tmp_path / "link", sha256=None)
    os.mkfifo(tmp_path / "pipe", 0o755)
    for other in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(PluginRefusedError, match="no regular file"):
            check_program("name", other, sha256=None)


def test_a_pinned_program_is_that_very_one(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"x" * 3_000_000)
    program.chmod(0o755)
    pin = hashlib.sha256(b"x" * 3_000_000).hexdigest()
    check_program("name", program, sha256=pin)
    check_program("name", program, sha256=pin.upper())
    program.write_bytes(b"x" * 2_999_999 + b"y")
    with pytest.raises(PluginRefusedError, match=pin):
        check_program("name", program, sha256=pin)
