"""What the documentation shows works: its code runs, its manifests are valid."""

import re
from pathlib import Path

import pytest

from tests.docs.code_blocks import CodeBlock, UnreasonedError, blocks_of, commands_of, run_page

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(path for path in ROOT.glob("docs/**/*.md") if "_build" not in path.parts)
PAGES.append(ROOT / "README.md")
PAGES_WITH_BLOCKS = [page for page in PAGES if any(blocks_of(page.read_text()))]

YAML_BLOCK = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def manifests() -> list[tuple[str, str]]:
    """Return every YAML block of every page that is a whole manifest, with where it stands."""
    return [
        (f"{page.relative_to(ROOT)}:{text[: block.start()].count(chr(10)) + 1}", block[1])
        for page in PAGES
        for text in [page.read_text()]
        for block in YAML_BLOCK.finditer(text)
        if block[1].startswith("name:")
    ]


@pytest.mark.parametrize("page", PAGES_WITH_BLOCKS, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_code_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # Pages speak from the root of a checkout, and must not write into ours.
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    run_page(page, tmp_path)


def test_the_manifests_of_the_pages_are_valid() -> None:
    from sigil_actors import parse_manifest

    found = manifests()
    assert found
    for place, text in found:
        parse_manifest(text, file=place)


def page_with(tmp_path: Path, text: str) -> Path:
    page = tmp_path / "page.md"
    page.write_text(text)
    return page


def test_python_blocks_share_a_namespace_and_may_await(tmp_path: Path) -> None:
    page = page_with(
        tmp_path,
        "```python\nimport trio\nx = 1\n```\ntext\n```python\nawait trio.sleep(0)\n"
        "async with trio.open_nursery():\n    x += 1\n```\n```python\nassert x == 2\n```\n",
    )
    run_page(page, tmp_path)


def test_a_block_that_fails_points_at_its_line_of_the_page(tmp_path: Path) -> None:
    page = page_with(tmp_path, "# Title\n\n```python\nx = 1\nassert x == 2\n```\n")
    with pytest.raises(AssertionError) as failure:
        run_page(page, tmp_path)
    entry = failure.traceback[-1]
    assert (Path(entry.path), entry.lineno + 1) == (page, 5)


def test_console_commands_run_in_one_shell_and_must_succeed(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    page = page_with(tmp_path, "```console\n$ cd sub\n$ echo a \\\n  b > made\nshown output\n```\n")
    run_page(page, tmp_path)
    assert (tmp_path / "sub" / "made").read_text() == "a b\n"

    failing = page_with(tmp_path, "\n```console\n$ false\n$ true\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md:3: exit status 1"):
        run_page(failing, tmp_path)


def test_a_block_is_left_out_only_for_a_reason(tmp_path: Path) -> None:
    left_out = "<!-- not run: needs a bot token -->\n\n```python\nraise ValueError\n```\n"
    run_page(page_with(tmp_path, left_out), tmp_path)

    with pytest.raises(UnreasonedError):
        list(blocks_of("<!-- not run -->\n```python\nx\n```\n"))

    [far, near] = blocks_of(left_out + "```python\ny\n```\n")
    assert (far.not_run, near.not_run) == ("needs a bot token", None)


def test_only_languages_that_can_be_run_count() -> None:
    text = (
        "```yaml\na: 1\n```\n```\nplain\n```\n"
        "````python\n```\n````\n"
        "- item\n\n  ```python\n  x\n  ```\n"
    )
    assert list(blocks_of(text)) == [CodeBlock("python", 8, "```"), CodeBlock("python", 13, "x")]


def test_output_is_not_run() -> None:
    assert commands_of("$ ls\nplugin.yaml\n$ cat \\\n  x") == ["ls", "cat \\", "  x"]


def test_a_block_with_a_file_is_written_to_it_and_not_run(tmp_path: Path) -> None:
    written = "<!-- file: a/b.py -->\n```python\nraise SystemExit\n```\n"
    text = f"{written}\n```console\n$ grep -q raise a/b.py\n```\n"
    run_page(page_with(tmp_path, text), tmp_path)
    assert (tmp_path / "a" / "b.py").read_text() == "raise SystemExit\n"
