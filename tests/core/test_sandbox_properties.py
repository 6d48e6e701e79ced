"""What holds for the sandbox of every manifest, however hostile."""

from collections.abc import Iterator, Mapping, Sequence

import attrs
from hypothesis import assume, example, given, reject
from hypothesis import strategies as st

from sigil_actors.core.bwrap_args import SlotPurpose, bwrap_command_line, bwrap_options
from sigil_actors.core.host_facts import HostFacts, PathFact, PathKind
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.sandbox_mounts import (
    Bind,
    DeviceFiles,
    EmptyFolder,
    HiddenFile,
    HiddenFolder,
    Link,
    Mount,
    ProcessFiles,
    ScratchFolder,
    Sealed,
    SyntheticFile,
)
from sigil_actors.core.sandbox_paths import is_within
from sigil_actors.core.sandbox_plan import SandboxPlan, paths_to_look_at, plan_sandbox
from sigil_actors.core.seatbelt_profile import seatbelt_command_line, seatbelt_profile
from sigil_actors.errors import SandboxRequestError
from tests.core.bwrap_words import parsed
from tests.core.sandbox_cases import (
    DEBIAN,
    FOLDER,
    MACOS,
    OLD,
    PLUGINS,
    PROTOCOL,
    SOCKET_DIR,
    STATE,
    manifest,
)

OWN = (FOLDER, SOCKET_DIR)

PARTS = """
data a b secret self echo usr share lib bin etc ssl certs shadow opt home gateway .ssh run tmp srv
plugins proc sys dev shm var sigil snapshots 4711 sockets echo-1 zoneinfo Etc UTC root --bind --
--ro-bind=/ . .. * ~ private Users
"""
PART = st.sampled_from(
    [*PARTS.split(), "a b", 'q"t', "x)(allow default", "é", "$(id)", "\\", "#", "a;b"]
)
PATHS = st.builds(
    lambda head, parts, tail: head + "/".join(parts) + tail,
    st.sampled_from(["/", "/", "/", "~/", "//", ""]),
    st.lists(PART, max_size=4),
    st.sampled_from(["", "", "/", "/*"]),
)
LIKELY = st.sampled_from(
    [
        "/data/self", "/data/self/*", "/data", "/data/a", "/data/echo/a/b", "/data/echo/a/secret",
        "/data/a/b/secret", "/opt/a", "/opt/a/b", "/opt/a/b/secret", "/usr/share/a", "/etc/ssl",
        "/etc/ssl/certs/a", "~/a", "~/a/b", f"{FOLDER}/secret", "/usr/share/zoneinfo/Etc",
        "/opt/data/echo", "/opt/data",
    ]
)  # fmt: skip
# Mostly such as are taken, since what is refused tells nothing more.
ODD = st.builds(lambda part, rest: f"/data/self/{part}{rest}", PART, st.sampled_from(["", "/b"]))
WIDE = st.sampled_from(["/", "/proc/1", "/run", "/tmp", "/var/lib", "/srv", "~/", "/root", PLUGINS])
ENTRIES = st.lists(st.one_of(LIKELY, LIKELY, LIKELY, ODD, ODD, WIDE), max_size=3, unique=True).map(
    tuple
)
ANY_ENTRIES = st.lists(LIKELY | PATHS | st.text(max_size=12), max_size=4).map(tuple)
FACTS = st.sampled_from([DEBIAN, OLD, MACOS])


@attrs.frozen
class Planned:
    manifest: Manifest
    facts: HostFacts
    plan: SandboxPlan
    denied: tuple[str, ...]
    """Where the paths that are to be hidden, and are there, lead."""


@st.composite
def facts_of(draw: st.DrawFn, paths: Sequence[str]) -> Mapping[str, PathFact]:
    facts = {}
    for path in paths:
        kind = draw(st.sampled_from([PathKind.FILE, PathKind.FOLDER, PathKind.MISSING]))
        is_link = kind is not PathKind.MISSING and draw(st.integers(0, 5)) == 0
        resolved = draw(LIKELY.filter(lambda one: one[0] == "/")) if is_link else path
        facts[path] = PathFact(kind=kind, resolved=resolved.removesuffix("/*"))
    return facts


def plan_of(one: Manifest, facts: HostFacts, paths: Mapping[str, PathFact]) -> SandboxPlan:
    return plan_sandbox(
        one,
        facts,
        folder=FOLDER,
        socket_dir=SOCKET_DIR,
        environment=PROTOCOL,
        host_folders=(STATE, PLUGINS),
        paths=paths,
    )


@given(
    facts=FACTS, write=ANY_ENTRIES, read=ANY_ENTRIES, deny=ANY_ENTRIES, command=ANY_ENTRIES,
    data=st.data(),
)  # fmt: skip
def test_whatever_is_asked_for_is_planned_or_refused_with_its_key(
    facts: HostFacts,
    write: tuple[str, ...],
    read: tuple[str, ...],
    deny: tuple[str, ...],
    command: tuple[str, ...],
    data: st.DataObject,
) -> None:
    one = manifest(write_allow=write, read_allow=read, read_deny=deny, command=command)
    refused = None
    try:
        paths = data.draw(facts_of(paths_to_look_at(one, home=facts.home)))
        plan_of(one, facts, paths)
    except SandboxRequestError as error:
        refused = error
    if refused is not None:
        assert refused.key.startswith(("execution.command", "execution.sandbox.filesystem."))
        assert refused.remedy
        assert all(character.isprintable() for character in str(refused))


@st.composite
def planned(draw: st.DrawFn) -> Planned:
    facts = draw(FACTS)
    one = manifest(
        command=draw(
            st.sampled_from([(), ("./bin/x", "--bind", "/", "/"), ("/usr/bin/env", "--")])
        ),
        env=draw(st.sampled_from([{}, {"A": "--bind"}, {"B": "x\n--bind\n/", "HOME": "/"}])),
        write_allow=draw(ENTRIES),
        read_allow=draw(ENTRIES),
        read_deny=draw(ENTRIES),
        allow=draw(st.sampled_from([(), ("a.example:443",)])),
    )
    try:
        paths = draw(facts_of(paths_to_look_at(one, home=facts.home)))
        plan = plan_of(one, facts, paths)
    except SandboxRequestError:
        reject()
    denied = tuple(fact.resolved for fact in paths.values() if fact.kind is not PathKind.MISSING)
    return Planned(one, facts, plan, denied)


def shown_at(mounts: Sequence[Mount], path: str) -> tuple[str, Bind] | None:
    """Return which path of the host the plugin sees there, as the mounts amount to; or None."""
    for mount in reversed(mounts):
        match mount:
            case Bind():
                if is_within(path, mount.target):
                    return mount.source + path[len(mount.target) :], mount
            case Sealed() | Link():
                pass
            case (
                HiddenFile() | HiddenFolder() | ScratchFolder() | SyntheticFile() | ProcessFiles()
                | DeviceFiles() | EmptyFolder()
            ):  # fmt: skip
                if is_within(path, mount.path):
                    return None
    return None


def places_of(mounts: Sequence[Mount], host_path: str) -> Iterator[str]:
    """Yield each path inside at which some step shows a path of the host."""
    for mount in mounts:
        if isinstance(mount, Bind) and is_within(host_path, mount.source):
            yield mount.target + host_path[len(mount.source) :]


@given(planned())
def test_what_is_hidden_shows_nowhere(one: Planned) -> None:
    for denied in one.denied:
        for path in (denied, f"{denied}/below", f"{denied}/below/that"):
            for place in places_of(one.plan.mounts, path):
                if any(is_within(place, own) and is_within(own, denied) for own in OWN):
                    continue  # it covers the plugin's own files, which are no secret to it
                shown = shown_at(one.plan.mounts, place)
                assert shown is None or shown[0] != path, (denied, place)


@given(planned())
def test_nothing_shows_but_what_is_the_systems_its_own_or_asked_for(one: Planned) -> None:
    filesystem = one.plan
    execution = one.manifest.execution
    wanted = execution.sandbox.filesystem  # type: ignore[union-attr]
    system = {"/usr", "/bin", "/lib", *one.facts.etc_entries.values()}
    for bind in filesystem.binds():
        if bind.is_writable:
            allowed = {SOCKET_DIR, *stated(one, wanted.write_allow)}
        elif bind.is_by_descriptor:
            allowed = {FOLDER, *stated(one, wanted.read_allow)}
        elif one.facts is MACOS:
            continue  # a fixed list, in the snapshot
        else:
            assert bind.source in system
            continue
        assert any(is_within(bind.source, path) for path in allowed), bind


def stated(one: Planned, entries: Sequence[str]) -> set[str]:
    """Return what entries of a manifest mean, said a second time and otherwise."""
    meant = set()
    for entry in entries:
        path = entry.replace("~", one.facts.home, 1) if entry[:1] == "~" else entry
        parts = [part for part in path.split("/") if part not in {"", ".", "*"}]
        meant.add("/" + "/".join("echo" if part == "self" else part for part in parts))
    return meant


NOBODYS = (
    *("/", "/proc/1/environ", "/sys/kernel", "/dev/sda", "/etc/shadow", "/etc/passwd", "/tmp/x"),
    *("/run/docker.sock", "/root/.ssh/id", "/home/gateway/.bashrc"),
    *(f"{STATE}/audit/1.db", f"{PLUGINS}/echo/plugin.yaml"),
)


@given(planned())
def test_the_host_itself_is_never_shown(one: Planned) -> None:
    mounts = one.plan.mounts
    for path in NOBODYS:
        shown = shown_at(mounts, path)
        assert shown is None, shown
        assert not list(places_of(mounts, path))


@given(planned())
def test_what_runs_is_its_own_and_cant_be_written(one: Planned) -> None:
    shown = shown_at(one.plan.mounts, one.plan.command[0])
    if shown is not None:
        assert not shown[1].is_writable
        assert shown[0] == one.plan.command[0]
    own = shown_at(one.plan.mounts, f"{FOLDER}/plugin.yaml")
    assert own is None or (own[0] == f"{FOLDER}/plugin.yaml" and not own[1].is_writable)


@given(planned())
def test_the_socket_folder_is_the_plugins_own_and_writable(one: Planned) -> None:
    shown = shown_at(one.plan.mounts, f"{SOCKET_DIR}/plugin1")
    assert shown is not None
    assert shown[1].is_writable


@given(planned())
def test_the_inner_folder_decides_whether_it_is_writable(one: Planned) -> None:
    for bind in one.plan.binds():
        shown = shown_at(one.plan.mounts, bind.target)
        assert shown is None or shown[1].is_writable == bind.is_writable


@given(planned())
def test_no_parent_of_what_is_hidden_can_be_moved(one: Planned) -> None:
    targets = {bind.target for bind in one.plan.binds()}
    for mount in one.plan.mounts:
        if not isinstance(mount, HiddenFile | HiddenFolder):
            continue
        parent = mount.path.rpartition("/")[0]
        while (shown := shown_at(one.plan.mounts, parent)) is not None and shown[1].is_writable:
            assert parent in targets, (mount.path, parent)
            parent = parent.rpartition("/")[0]


@given(planned(), st.sampled_from([True, False]))
def test_no_word_of_a_manifest_becomes_an_option(one: Planned, by_descriptor: object) -> None:
    assume(one.facts is not MACOS)
    assert one.facts.bubblewrap is not None
    bubblewrap = attrs.evolve(one.facts.bubblewrap, binds_by_descriptor=bool(by_descriptor))
    options = bwrap_options(one.plan, bubblewrap)
    numbers = {slot: 100 + at for at, slot in enumerate(options.slots())}
    block = options.block(numbers).decode().split("\0")
    assert block.pop() == ""
    launched = parsed(block)
    line = bwrap_command_line(one.plan, "bwrap")
    end = len(line) - len(one.plan.command) - 1
    assert line[0] == "bwrap"
    assert line[end:] == ["--", *one.plan.command]
    for words in (launched, parsed(line[1:end])):
        check_words(one, words)
    folders = {slot.path for slot in options.slots() if slot.purpose is SlotPurpose.FOLDER}
    opened = {bind.source for bind in one.plan.binds() if bind.is_by_descriptor}
    assert folders == (opened if by_descriptor else set())
    assert {bind.source for bind in options.unpinned} == (set() if by_descriptor else opened)


ISOLATION = (
    *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"),
    *("--disable-userns", "--die-with-parent", "--new-session", "--clearenv"),
)


def check_words(one: Planned, options: Sequence[tuple[str, ...]]) -> None:
    environment = {words[1]: words[2] for words in options if words[0] == "--setenv"}
    assert environment == dict(one.plan.environment)
    binds = [words for words in options if words[0] in {"--bind", "--ro-bind"}]
    sources = {(bind.source, bind.target) for bind in one.plan.binds()}
    for _, source, target in binds:
        assert (source, target) in sources or source == "/dev/null"
    # What makes the sandbox one is there whatever the manifest says, and only once.
    names = [words[0] for words in options]
    assert all(names.count(name) == 1 for name in ISOLATION)
    assert [words for words in options if words[0] == "--cap-drop"] == [("--cap-drop", "ALL")]
    writable = [words[2] for words in options if words[0] in {"--bind", "--bind-fd"}]
    assert writable == [bind.target for bind in one.plan.binds() if bind.is_writable]


@given(planned())
def test_no_word_of_a_manifest_becomes_a_rule_of_seatbelt(one: Planned) -> None:
    plan = attrs.evolve(one.plan, platform="darwin")
    profile = seatbelt_profile(plan)
    innocent = attrs.evolve(
        plan,
        mounts=tuple(
            attrs.evolve(mount, source=innocuous(mount.source, plan))
            if isinstance(mount, Bind)
            else attrs.evolve(mount, path="/x")
            if isinstance(mount, HiddenFile | HiddenFolder)
            else mount
            for mount in plan.mounts
        ),
    )
    assert profile.text == seatbelt_profile(innocent).text
    line = seatbelt_command_line(plan)
    end = len(line) - len(plan.command) - 1
    assert line[end:] == ["--", *plan.command]
    given = line[1 : end - 2]
    assert given[::2] == ["-D"] * len(profile.parameters)
    assert dict(word.split("=", 1) for word in given[1::2]) == dict(profile.parameters)


def innocuous(source: str, plan: SandboxPlan) -> str:
    return source if source == plan.socket_dir else "/x"


@given(name=st.text(max_size=20), folder=st.just(FOLDER))
@example(name="../../etc", folder=FOLDER)
@example(name="..", folder=FOLDER)
@example(name="a/../../b", folder=FOLDER)
def test_a_name_is_one_component_or_refused(name: str, folder: str) -> None:
    try:
        plan = plan_sandbox(
            manifest(name=name, write_allow=("/data/self",)),
            DEBIAN,
            folder=folder,
            socket_dir=SOCKET_DIR,
            environment={},
            paths={},
        )
    except SandboxRequestError:
        return
    assert plan.command == (f"{folder}/{name}",)
    assert [bind.source for bind in plan.binds() if bind.why == "write_allow[0]"] == [
        f"/data/{name}"
    ]
