"""What a plugins folder looks like from outside: whatever changes in it shows."""

import os
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sigil_actors.runtime import folder_fingerprint
from sigil_actors.runtime.folder_fingerprint import DEPTH_MAX, fingerprints

FILES_MAX = 20_000


def look(folder: Path, files_max: int = FILES_MAX) -> dict[str, bytes]:
    return fingerprints(folder, files_max=files_max)


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """Give a plugins folder with two plugins and a folder elsewhere."""
    for name in ("plugins/a/bin", "plugins/b", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("plugins/a/plugin.yaml", "plugins/a/bin/run", "plugins/b/plugin.yaml"):
        (tmp_path / name).write_text("one")
    (tmp_path / "plugins/a/link").symlink_to("bin/run")
    return tmp_path / "plugins"


def edit_in_place(a: Path) -> None:
    (a / "bin/run").write_text("two, longer")


def edit_and_put_the_times_back(a: Path) -> None:
    file = a / "bin/run"
    before = file.stat()
    file.write_text("two")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def touch(a: Path) -> None:
    os.utime(a / "bin/run", ns=(5, 5))


def make_executable(a: Path) -> None:
    (a / "bin/run").chmod(0o755)


def change_the_mode_of_a_folder(a: Path) -> None:
    (a / "bin").chmod(0o700)


def change_its_own_mode(a: Path) -> None:
    a.chmod(0o700)


def rename_over(a: Path) -> None:
    before = (a / "bin/run").stat()
    (a / "new").write_text("two")
    os.utime(a / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    (a / "new").replace(a / "bin/run")


def add(a: Path) -> None:
    (a / "bin/more").write_text("")


def add_a_hidden_file(a: Path) -> None:
    (a / ".env").write_text("")


def add_an_empty_folder(a: Path) -> None:
    (a / "empty").mkdir()


def remove(a: Path) -> None:
    (a / "bin/run").unlink()


def rename(a: Path) -> None:
    (a / "bin/run").rename(a / "bin/ran")


def swap_a_link(a: Path) -> None:
    (a / "link").unlink()
    (a / "link").symlink_to("bin/ran")  # as long as before


def file_becomes_a_link(a: Path) -> None:
    (a / "bin/run").rename(a / "bin/real")
    (a / "bin/run").symlink_to("real")


def file_becomes_a_folder(a: Path) -> None:
    (a / "bin/run").unlink()
    (a / "bin/run").mkdir()


def file_becomes_a_pipe(a: Path) -> None:
    (a / "bin/run").unlink()
    os.mkfifo(a / "bin/run")


def replace_the_whole_folder(a: Path) -> None:
    a.rename(a.with_name(".old"))
    a.mkdir()
    (a / "plugin.yaml").write_text("one")


CHANGES: list[Callable[[Path], None]] = [
    edit_in_place,
    edit_and_put_the_times_back,
    touch,
    make_executable,
    change_the_mode_of_a_folder,
    change_its_own_mode,
    rename_over,
    add,
    add_a_hidden_file,
    add_an_empty_folder,
    remove,
    rename,
    swap_a_link,
    file_becomes_a_link,
    file_becomes_a_folder,
    file_becomes_a_pipe,
    replace_the_whole_folder,
]


def wait_for_the_next_tick(folder: Path) -> None:
    """Wait until a change gets another time than the last one: a kernel's clock goes in steps."""
    probe = folder.parent / "probe"
    probe.write_text("")
    first = probe.stat().st_ctime_ns
    while probe.stat().st_ctime_ns == first:
        probe.write_text("")


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_shows_in_its_own_plugin_only(
    plugins: Path, change: Callable[[Path], None]
) -> None:
    before = look(plugins)
    assert before.keys() == {"a", "b"}
    assert look(plugins) == before
    wait_for_the_next_tick(plugins)
    change(plugins / "a")
    after = look(plugins)
    assert after["a"] != before["a"]
    assert after["b"] == before["b"]


def test_what_was_made_and_removed_again_and_what_was_read_doesnt_show(plugins: Path) -> None:
    before = look(plugins)
    (plugins / "a" / ".plugin.yaml.swp").write_text("")
    (plugins / "a" / ".plugin.yaml.swp").unlink()
    (plugins / "a" / "bin/run").read_text()
    assert look(plugins) == before


def test_plugins_that_come_and_go_and_the_folder_itself(plugins: Path) -> None:
    assert look(plugins / "missing") == {}
    (plugins / "c").mkdir()
    assert look(plugins).keys() == {"a", "b", "c"}
    (plugins / "c").rename(plugins / "d")
    assert look(plugins).keys() == {"a", "b", "d"}
    plugins.rename(plugins.with_name("gone"))
    assert look(plugins) == {}


def test_hidden_folders_files_and_links_that_lead_nowhere_are_left_out(plugins: Path) -> None:
    (plugins / ".git").mkdir()
    (plugins / "README").write_text("")
    (plugins / "broken").symlink_to("nowhere")
    (plugins / "loop").symlink_to("loop")
    assert look(plugins).keys() == {"a", "b"}


def test_a_plugin_that_is_a_link_shows_a_change_of_the_link_and_of_what_it_leads_to(
    plugins: Path,
) -> None:
    versions = plugins.parent / "elsewhere"
    for name in ("v1", "v2"):
        (versions / name).mkdir()
        (versions / name / "plugin.yaml").write_text(name)
    link = plugins / "c"
    link.symlink_to(versions / "v1")
    seen = [look(plugins)["c"]]
    (versions / "v1/more").write_text("")
    seen.append(look(plugins)["c"])
    link.unlink()
    link.symlink_to(versions / "v2")
    seen.append(look(plugins)["c"])
    assert len(set(seen)) == 3


def test_a_link_inside_a_plugin_is_not_followed(plugins: Path) -> None:
    outside = plugins.parent / "elsewhere"
    (outside / "file").write_text("")
    (plugins / "a" / "folder").symlink_to(outside)
    (plugins / "a" / "file").symlink_to(outside / "file")
    before = look(plugins)
    (outside / "more").write_text("")
    (outside / "file").write_text("more")
    assert look(plugins) == before


def test_a_folder_that_becomes_a_link_while_it_is_looked_at_is_not_followed(
    plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, inner = plugins.parent / "elsewhere", plugins / "a" / "bin"
    real = os.open

    def swapping(path: str, flags: int, *, dir_fd: int | None = None) -> int:
        if path != "bin":
            return real(path, flags, dir_fd=dir_fd)
        inner.rename(plugins.parent / "kept")
        inner.symlink_to(outside)
        try:
            return real(path, flags, dir_fd=dir_fd)
        finally:
            inner.unlink()
            (plugins.parent / "kept").rename(inner)

    monkeypatch.setattr(os, "open", swapping)
    before = look(plugins)
    (outside / "more").write_text("")
    assert look(plugins) == before


FACTS = {"mode": 0o100644, "ino": 1, "dev": 1, "size": 1, "mtime_ns": 1, "ctime_ns": 1}


def noted(path: str, **changes: int) -> bytes:
    facts = FACTS | changes
    status = os.stat_result(
        (facts["mode"], facts["ino"], facts["dev"], 1, 0, 0, facts["size"], 0, 0, 0),
        {"st_mtime_ns": facts["mtime_ns"], "st_ctime_ns": facts["ctime_ns"]},
    )
    one = folder_fingerprint._Look(1)
    one.note(path, status)
    return one.digest()


@pytest.mark.parametrize("fact", FACTS)
def test_each_fact_of_an_entry_counts_by_itself(fact: str) -> None:
    assert noted("a") == noted("a")
    assert noted("a", **{fact: FACTS[fact] + 1}) != noted("a")


def test_the_path_of_an_entry_counts_and_a_folders_times_dont() -> None:
    assert noted("a") != noted("b")
    folder = 0o40755
    assert noted("a", mode=folder) == noted("a", mode=folder, size=2, mtime_ns=2, ctime_ns=2)
    assert noted("a", mode=folder) != noted("a", mode=folder, ino=2)


def test_the_order_of_a_listing_means_nothing(
    plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = look(plugins)
    real = os.scandir

    @contextmanager
    def backwards(folder: int) -> Generator[list[os.DirEntry[str]]]:
        with real(folder) as entries:
            yield list(entries)[::-1]

    monkeypatch.setattr(os, "scandir", backwards)
    assert look(plugins) == expected


def test_a_tree_deeper_than_any_plugins_counts_as_the_same_whatever_is_in_it(
    plugins: Path,
) -> None:
    deep = plugins / "b"
    for _ in range(DEPTH_MAX):
        deep /= "x"
    deep.mkdir(parents=True)
    before = look(plugins)
    (deep / "seen").write_text("")
    within = look(plugins)
    assert within["b"] != before["b"]
    (deep / "x").mkdir()
    beyond = look(plugins)
    assert beyond["b"] != within["b"]
    (deep / "x" / "file").write_text("")
    (plugins / "b" / "file").write_text("")
    assert look(plugins) == beyond
    assert len(os.listdir("/dev/fd")) < 200  # noqa: PTH208 - none is left open on the way back


def test_10001_files_are_looked_at_up_to_the_bound(plugins: Path) -> None:
    for number in range(10_001):
        (plugins / "b" / f"f{number:05}").touch()
    wide = look(plugins)
    wait_for_the_next_tick(plugins)
    (plugins / "b" / "f10000").write_text("changed")
    assert look(plugins)["b"] != wide["b"]

    over = look(plugins, files_max=10_001)  # and the plugin.yaml is one more
    (plugins / "b" / "f00000").write_text("changed")
    assert look(plugins, files_max=10_001) == over
    (plugins / "b" / "f00000").unlink()
    assert look(plugins, files_max=10_001)["b"] != over["b"]


def test_files_in_all_folders_of_a_plugin_count_together(plugins: Path) -> None:
    for name in ("x", "y"):
        (plugins / "b" / name).mkdir()
        for number in range(10):
            (plugins / "b" / name / str(number)).touch()
    assert look(plugins, files_max=22)["b"] == look(plugins, files_max=5)["b"]
    assert look(plugins, files_max=23)["b"] != look(plugins, files_max=5)["b"]


@pytest.mark.parametrize("which", ["a", "bin"])
def test_a_folder_that_cant_be_read_shows_when_it_can_again(
    plugins: Path, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """Made to fail, since root may read everything."""
    readable = look(plugins)
    real = os.open

    def refusing(path: str, flags: int, *, dir_fd: int | None = None) -> int:
        if path == which:
            raise PermissionError(13, "Permission denied")
        return real(path, flags, dir_fd=dir_fd)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refusing)
        unreadable = look(plugins)
        assert look(plugins) == unreadable
    assert unreadable["a"] != readable["a"]
    assert unreadable["b"] == readable["b"]
    assert look(plugins) == readable


def test_a_listing_that_fails_on_the_way_shows(
    plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (plugins / "a" / "empty").mkdir()
    readable = look(plugins)
    inner = (plugins / "a" / "empty").stat().st_ino
    real = os.scandir

    def failing(folder: int) -> object:
        if os.fstat(folder).st_ino == inner:
            raise OSError(5, "Input/output error")
        return real(folder)

    monkeypatch.setattr(os, "scandir", failing)
    broken = look(plugins)
    assert broken["a"] != readable["a"]
    assert broken["b"] == readable["b"]


def test_a_plugin_that_vanishes_between_the_listing_and_the_look_is_gone(
    plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = folder_fingerprint._sub_folders
    monkeypatch.setattr(folder_fingerprint, "_sub_folders", lambda top: [*real(top), "vanished"])
    assert look(plugins).keys() == {"a", "b"}


def test_a_file_that_vanishes_between_the_listing_and_the_look_is_gone(
    plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = look(plugins)
    victim = plugins / "a" / "bin" / "vanishing"
    victim.write_text("")
    inner = victim.parent.stat().st_ino
    real = os.scandir

    @contextmanager
    def listing(folder: int) -> Generator[list[os.DirEntry[str]]]:
        with real(folder) as entries:
            listed = list(entries)
        if os.fstat(folder).st_ino == inner:
            victim.unlink()
        yield listed

    monkeypatch.setattr(os, "scandir", listing)
    assert look(plugins) == expected


def test_looking_while_everything_changes_never_fails(plugins: Path) -> None:
    done = threading.Event()

    def churn() -> None:
        while not done.is_set():
            (plugins / "a/bin/x").mkdir(exist_ok=True)
            (plugins / "a/bin/x/y").write_text("")
            (plugins / "a/bin/x/y").unlink()
            (plugins / "a/bin/x").rmdir()
            (plugins / "a/bin/x").symlink_to("/")
            (plugins / "a/bin/x").unlink()
            (plugins / "b").rename(plugins / "c")
            (plugins / "c").rename(plugins / "b")

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(500):
            assert look(plugins).keys() <= {"a", "b", "c"}
    finally:
        done.set()
        thread.join()


def test_what_is_no_folder_and_too_many_folders_are_errors(
    plugins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotADirectoryError):
        look(plugins / "a" / "plugin.yaml")
    monkeypatch.setattr(folder_fingerprint, "FOLDERS_MAX", 2)
    assert look(plugins).keys() == {"a", "b"}
    (plugins / "c").mkdir()
    with pytest.raises(OSError, match="more than 2 folders"):
        look(plugins)


def test_names_of_any_bytes_are_told_apart(plugins: Path) -> None:
    hostile = os.fsdecode(b"\xff\n\x1b[31m")
    (plugins / hostile).mkdir()
    (plugins / "a" / hostile).write_text("")
    before = look(plugins)
    assert before.keys() == {"a", "b", hostile}
    (plugins / "a" / hostile).rename(plugins / "a" / os.fsdecode(b"\xfe"))
    assert look(plugins)["a"] != before["a"]
