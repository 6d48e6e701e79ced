"""What a version may do at most, and where another one may do more."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.authority import (
    SECRET_CHARACTERS_MAX,
    SECRETS_MAX,
    UNKNOWN_MAX,
    WHAT_MAX,
    WIDENINGS_MAX,
    Widening,
    authority_of,
    widenings,
)
from sigil_actors.core.authority_coverage import COMPARISONS_MAX, PatternCover, beyond
from sigil_actors.core.authority_rules import ENTRIES_MAX, RULES
from sigil_actors.core.capability import CapabilitySet
from sigil_actors.core.execution import (
    ContainerExecution,
    ContainerNetwork,
    Execution,
    FilesystemPolicy,
    InstanceMode,
    Limits,
    NetworkPolicy,
    PluginType,
    ProcessExecution,
    RegisteredExecution,
    SandboxPolicy,
    WasmExecution,
    WasmLimits,
)
from sigil_actors.core.json_value import JsonObject, JsonValue
from sigil_actors.core.manifest import LifecyclePolicy, Manifest, Storage
from sigil_actors.core.manifest_yaml import parse_manifest
from sigil_actors.core.restart import RestartPolicy, RestartType

SECRET = "hunter2-in-clear"
MIB = 1024 * 1024


def a_manifest(execution: Execution | None = None, **changes: Any) -> Manifest:
    manifest = Manifest(
        name="p", version="1.0.0", type=PluginType.TOOL, execution=execution or WasmExecution()
    )
    return attrs.evolve(manifest, **changes)


def process(
    *,
    filesystem: FilesystemPolicy | None = None,
    network: NetworkPolicy | None = None,
    limits: Limits | None = None,
    env: Mapping[str, str] | None = None,
) -> Manifest:
    sandbox = SandboxPolicy(
        filesystem=filesystem or FilesystemPolicy(),
        network=network or NetworkPolicy(),
        limits=limits or Limits(),
    )
    return a_manifest(ProcessExecution(sandbox=sandbox, env=env or {}))


def container(**fields: Any) -> Manifest:
    return a_manifest(
        attrs.evolve(ContainerExecution(image="a/b:1", memory_limit=256 * MIB), **fields)
    )


def registered(tier: str = "vm", **options: JsonValue) -> Manifest:
    return a_manifest(RegisteredExecution(tier=tier, options=options))


def wasm(**limits: Any) -> Manifest:
    return a_manifest(WasmExecution(wasm=attrs.evolve(WasmLimits(), **limits)))


def stored(authority: JsonObject) -> JsonObject:
    read: JsonObject = json.loads(json.dumps(authority))
    return read


def texts(old: Manifest, new: Manifest) -> list[str]:
    """Compare as it happens in life: the old version comes from a file."""
    return [one.text() for one in widenings(stored(authority_of(old)), authority_of(new))]


def write(*paths: str) -> Manifest:
    return process(filesystem=FilesystemPolicy(write_allow=paths))


def read(*paths: str) -> Manifest:
    return process(filesystem=FilesystemPolicy(read_allow=paths))


def hide(*paths: str) -> Manifest:
    return process(filesystem=FilesystemPolicy(read_deny=paths))


def reach(*targets: str) -> Manifest:
    return process(network=NetworkPolicy(allow=targets))


def allow(*patterns: str) -> Manifest:
    return a_manifest(capabilities=patterns)


def deny(*patterns: str) -> Manifest:
    return a_manifest(capabilities=("*",), deny_capabilities=patterns)


def limit(**fields: Any) -> Manifest:
    return process(limits=attrs.evolve(Limits(), **fields))


def restart(**fields: Any) -> Manifest:
    return a_manifest(lifecycle=LifecyclePolicy(restart=attrs.evolve(RestartPolicy(), **fields)))


def secrets(*keys: str) -> Manifest:
    """Make one whose configuration has the secrets `keys`, and one key that is none."""
    marked: JsonObject = {key: {"secret": True} for key in keys}
    return a_manifest(config_schema={"properties": {"plain": {}, **marked}})


WIDER: list[tuple[Manifest, Manifest, list[str]]] = [
    (allow("kv.get"), allow("kv.get", "kv.set"), ["capabilities: adds kv.set"]),
    (allow("kv.get"), allow("kv.*"), ["capabilities: adds kv.*"]),
    (allow(), allow("tool.x"), ["capabilities: adds tool.x"]),
    (
        allow("filesystem.read./data/a/*"),
        allow("filesystem.read./data/*"),
        ["capabilities: adds filesystem.read./data/*"],
    ),
    (deny("exec.*"), deny(), ["deny_capabilities: no longer denies exec.*"]),
    (deny("exec.*"), deny("exec.run"), ["deny_capabilities: no longer denies exec.*"]),
    (allow(), a_manifest(storage=Storage(kv=True)), ["storage.kv: is turned on"]),
    (write(), write("/data/p"), ["execution.sandbox.filesystem.write_allow: adds /data/p"]),
    (
        write("/data/p/*"),
        write("/data/p"),
        ["execution.sandbox.filesystem.write_allow: adds /data/p"],
    ),
    (
        write("/data/p"),
        write("/data/pq"),
        ["execution.sandbox.filesystem.write_allow: adds /data/pq"],
    ),
    (
        write("/data/p"),
        write("/data/p*"),
        ["execution.sandbox.filesystem.write_allow: adds /data/p*"],
    ),
    (
        write("/data/a*"),
        write("/data/a*b"),
        ["execution.sandbox.filesystem.write_allow: adds /data/a*b"],
    ),
    (
        write("/data/*/x"),
        write("/data/a/x"),
        ["execution.sandbox.filesystem.write_allow: adds /data/a/x"],
    ),
    (
        write("/data/self/*"),
        write("/data/other/x"),
        ["execution.sandbox.filesystem.write_allow: adds /data/other/x"],
    ),
    (write("/"), write("~/x"), ["execution.sandbox.filesystem.write_allow: adds ~/x"]),
    (read("/opt/a"), read("/opt"), ["execution.sandbox.filesystem.read_allow: adds /opt"]),
    (read("/opt/a"), write("/opt/a"), ["execution.sandbox.filesystem.write_allow: adds /opt/a"]),
    (
        hide("/etc/shadow", "~/.ssh/*"),
        hide("/etc/shadow"),
        ["execution.sandbox.filesystem.read_deny: no longer hides ~/.ssh/*"],
    ),
    (
        hide("/etc"),
        hide("/etc/shadow"),
        ["execution.sandbox.filesystem.read_deny: no longer hides /etc"],
    ),
    (
        reach(),
        reach("evil.example:443"),
        ["execution.sandbox.network.allow: adds evil.example:443"],
    ),
    (
        reach("api.example:443"),
        reach("api.example:80"),
        ["execution.sandbox.network.allow: adds api.example:80"],
    ),
    (
        reach("*.example.com:443"),
        reach("a.example.com:80"),
        ["execution.sandbox.network.allow: adds a.example.com:80"],
    ),
    (
        reach("*.example.com:443"),
        reach("example.com:443"),
        ["execution.sandbox.network.allow: adds example.com:443"],
    ),
    (
        reach("*.example.com:443"),
        reach("evilexample.com:443"),
        ["execution.sandbox.network.allow: adds evilexample.com:443"],
    ),
    (
        reach("*.a.example.com:443"),
        reach("*.example.com:443"),
        ["execution.sandbox.network.allow: adds *.example.com:443"],
    ),
    (
        reach("a.example.com:443"),
        reach("*.a.example.com:443"),
        ["execution.sandbox.network.allow: adds *.a.example.com:443"],
    ),
    (
        reach("10.0.0.1:80"),
        reach("10.0.0.2:80"),
        ["execution.sandbox.network.allow: adds 10.0.0.2:80"],
    ),
    (
        process(),
        process(network=NetworkPolicy(proxy=False)),
        ["execution.sandbox.network.proxy: is turned off"],
    ),
    (
        limit(memory=256 * MIB),
        limit(memory=257 * MIB),
        ["execution.sandbox.limits.memory: rises from 268435456 to 269484032"],
    ),
    (limit(pids=100), limit(pids=101), ["execution.sandbox.limits.pids: rises from 100 to 101"]),
    (
        limit(open_files=1024),
        limit(open_files=1025),
        ["execution.sandbox.limits.open_files: rises from 1024 to 1025"],
    ),
    (limit(cpu=1.0), limit(cpu=1.5), ["execution.sandbox.limits.cpu: rises from 1.0 to 1.5"]),
    (process(), process(env={"A": SECRET}), ["execution.env: adds the variable A"]),
    (
        process(env={"A": "1"}),
        process(env={"A": SECRET}),
        ["execution.env: changes the variable A"],
    ),
    (wasm(fuel=1), wasm(fuel=2), ["execution.wasm.fuel: rises from 1 to 2"]),
    (wasm(timeout=1.0), wasm(timeout=2.0), ["execution.wasm.timeout: rises from 1.0 to 2.0"]),
    (wasm(memory=65536), wasm(memory=65537), ["execution.wasm.memory: rises from 65536 to 65537"]),
    (
        container(),
        container(memory_limit=512 * MIB),
        ["execution.memory_limit: rises from 268435456 to 536870912"],
    ),
    (
        container(),
        container(memory_limit=None),
        ["execution.memory_limit: has no bound any more; it was 268435456"],
    ),
    (
        container(),
        container(network=ContainerNetwork.RESTRICTED),
        ["execution.network: opens from none to restricted"],
    ),
    (
        container(network=ContainerNetwork.RESTRICTED),
        container(network=ContainerNetwork.HOST),
        ["execution.network: opens from restricted to host"],
    ),
    (container(), container(env={"A": "1"}), ["execution.env: adds the variable A"]),
    (
        wasm(instance=InstanceMode.SHARED),
        wasm(instance=InstanceMode.PER_CALL),
        ["execution.wasm.instance: changes from shared to per-call"],
    ),
    (
        wasm(instance=InstanceMode.PER_CALL),
        wasm(instance=InstanceMode.SHARED),
        ["execution.wasm.instance: changes from per-call to shared"],
    ),
    (a_manifest(), a_manifest(type=PluginType.CHANNEL), ["type: changes from tool to channel"]),
    (
        a_manifest(WasmExecution(start_timeout=60.0)),
        a_manifest(WasmExecution(start_timeout=61.0)),
        ["execution.start_timeout: rises from 60.0 to 61.0"],
    ),
    (
        container(start_timeout=1.0),
        container(start_timeout=1.5),
        ["execution.start_timeout: rises from 1.0 to 1.5"],
    ),
    (
        a_manifest(ProcessExecution(start_timeout=1.0)),
        a_manifest(ProcessExecution(start_timeout=2.0)),
        ["execution.start_timeout: rises from 1.0 to 2.0"],
    ),
    (
        a_manifest(),
        a_manifest(
            lifecycle=LifecyclePolicy(graceful_shutdown_timeout=86400.0, health_interval=86400.0)
        ),
        [
            "lifecycle.graceful_shutdown_timeout: rises from 30.0 to 86400.0",
            "lifecycle.health_interval: rises from 10.0 to 86400.0",
        ],
    ),
    (
        restart(type=RestartType.TEMPORARY),
        restart(type=RestartType.TRANSIENT),
        ["lifecycle.restart.type: changes from temporary to transient"],
    ),
    (
        restart(type=RestartType.TRANSIENT),
        restart(type=RestartType.PERMANENT),
        ["lifecycle.restart.type: changes from transient to permanent"],
    ),
    (
        restart(),
        restart(max_restarts=6, period=59.0, backoff=0.0, backoff_max=1.0),
        [
            "lifecycle.restart.backoff: falls from 0.1 to 0.0",
            "lifecycle.restart.backoff_max: falls from 30.0 to 1.0",
            "lifecycle.restart.max_restarts: rises from 5 to 6",
            "lifecycle.restart.period: falls from 60.0 to 59.0",
        ],
    ),
    (
        secrets("token", "smtp"),
        secrets("token"),
        ["config_schema: no longer marks smtp as secret"],
    ),
    (
        a_manifest(config_schema={"secret": True}),
        secrets("token"),
        ["config_schema: no longer marks * as secret"],
    ),
    (
        a_manifest(config_schema={"properties": {"a": {"items": {"secret": True}}, "ab": {}}}),
        secrets("ab"),
        ["config_schema: no longer marks a[] as secret"],
    ),
    (
        registered(rooms=1),
        registered(rooms=0),
        ["execution.options: change, and only their tier knows what they mean"],
    ),
    (registered("vm"), registered("vm2"), ["execution.tier: changes from vm to vm2"]),
    (wasm(), process(), ["execution.tier: changes from wasm to process"]),
    (process(), wasm(), ["execution.tier: changes from process to wasm"]),
    (process(), container(), ["execution.tier: changes from process to container"]),
    (
        wasm(),
        container(network=ContainerNetwork.HOST, env={"A": "1"}),
        [
            "execution.env: adds the variable A",
            "execution.network: opens from none to host",
            "execution.tier: changes from wasm to container",
        ],
    ),
    (
        wasm(),
        reach("a.example:1"),
        [
            "execution.sandbox.network.allow: adds a.example:1",
            "execution.tier: changes from wasm to process",
        ],
    ),
]

NOT_WIDER: list[tuple[Manifest, Manifest]] = [
    (allow("kv.get", "kv.set"), allow("kv.set", "kv.get")),
    (allow("kv.*"), allow("kv.get", "kv.set")),
    (allow("filesystem.read./data/*"), allow("filesystem.read./data/a/*")),
    (allow("kv.*"), allow()),
    (deny("exec.run"), deny("exec.*")),
    (deny(), deny("exec.*")),
    (a_manifest(storage=Storage(kv=True)), a_manifest()),
    (write("/data/p"), write("/data/p/sub/*", "/data/p")),
    (write("/data/p/*"), write("/data/p/a")),
    (write("/data/p/"), write("//data/./p")),
    (write("/data/*"), write("/data/self/x", "/data/*/y")),
    (write("/data/*/x", "/opt/a*"), write("/data/*/x/y", "/opt/a*/b")),
    (write("/"), write("/data")),
    (write("~/x"), write("~/x/y")),
    (write("/data/p"), read("/data/p/sub")),
    (read("/opt"), read("/opt/venv")),
    (hide("/etc/shadow"), hide("/etc")),
    (hide("/etc/shadow"), hide("/etc/shadow", "/root")),
    (reach("*.example.com:443"), reach("a.example.com:443", "*.b.example.com:443")),
    (reach("API.example:443"), reach("api.EXAMPLE:443")),
    (reach("[::1]:80"), reach("[0:0::1]:80")),
    (reach("a.example:1"), reach()),
    (process(network=NetworkPolicy(proxy=False)), process()),
    (limit(memory=256 * MIB, cpu=2), limit(memory=128 * MIB, cpu=1.0)),
    (process(env={"A": "1", "B": "2"}), process(env={"A": "1"})),
    (wasm(fuel=2), wasm(fuel=1)),
    (container(network=ContainerNetwork.HOST), container(network=ContainerNetwork.RESTRICTED)),
    (container(memory_limit=None), container()),
    (restart(), restart(max_restarts=4, period=61.0, backoff=0.2, backoff_max=31.0)),
    (restart(), restart(type=RestartType.TEMPORARY)),
    (a_manifest(WasmExecution(start_timeout=60.0)), a_manifest(WasmExecution(start_timeout=59.0))),
    (a_manifest(), a_manifest(dependencies={"other": "*"})),
    (secrets("token"), secrets("token", "smtp")),
    (secrets("token", "smtp"), a_manifest(config_schema={"secret": True})),
    (a_manifest(config_schema={"properties": {"a": {"items": {"secret": True}}}}), secrets("a")),
    (
        a_manifest(config_schema={"properties": {"a": {"properties": {"b": {"secret": True}}}}}),
        secrets("a"),
    ),
    (registered(a=1, b={"c": [1, "x"]}), registered(b={"c": [1, "x"]}, a=1)),
]


@pytest.mark.parametrize(("old", "new", "said"), WIDER)
def test_what_the_new_version_may_do_more_is_named(
    old: Manifest, new: Manifest, said: list[str]
) -> None:
    assert texts(old, new) == said


@pytest.mark.parametrize(("old", "new"), NOT_WIDER)
def test_the_same_in_other_words_and_less_are_not_wider(old: Manifest, new: Manifest) -> None:
    assert texts(old, new) == []


@pytest.mark.parametrize("one", [one for pair in WIDER for one in pair[:2]])
def test_a_version_is_not_wider_than_itself(one: Manifest) -> None:
    assert texts(one, one) == []


def test_a_limit_that_is_no_number_is_wider() -> None:
    odd = limit(cpu=float("nan"))
    assert texts(limit(), odd) == ["execution.sandbox.limits.cpu: rises from 1.0 to nan"]
    assert texts(odd, limit()) == ["execution.sandbox.limits.cpu: rises from nan to 1.0"]


LEFT_OUT = {
    # the code, which changes with any version
    "name", "version", "license", "engine", "execution.command", "execution.sha256",
    "execution.module", "execution.image",
    # grants it nothing
    "dependencies", "lifecycle.hot_reload",
}  # fmt: skip


def paths_of(value: attrs.AttrsInstance, path: str = "") -> Iterator[str]:
    for field in attrs.fields(type(value)):
        below = f"{path}.{field.name}" if path else field.name
        inner = getattr(value, field.name)
        if attrs.has(type(inner)):
            yield from paths_of(inner, below)
        else:
            yield below


@pytest.mark.parametrize("one", [process(), wasm(), container(), registered()])
def test_every_field_of_a_manifest_is_compared_or_left_out_for_a_reason(one: Manifest) -> None:
    assert set(paths_of(one)) - LEFT_OUT | {"execution.tier"} == set(authority_of(one)) - {"format"}


def test_everything_of_a_full_manifest_survives_json(full_manifest: str) -> None:
    authority = authority_of(parse_manifest(full_manifest))
    assert stored(authority) == authority
    assert widenings(stored(authority), stored(authority)) == ()


@pytest.mark.parametrize("one", [process(env={"A": SECRET}), registered(token=SECRET)])
def test_no_secret_is_recorded(one: Manifest) -> None:
    assert SECRET not in json.dumps(authority_of(one))


def test_a_variable_with_half_a_surrogate_pair_is_recorded() -> None:
    assert texts(process(env={"A": "\ud800"}), process(env={"A": "\ud801"})) == [
        "execution.env: changes the variable A"
    ]


@pytest.mark.parametrize("one", [process(), wasm(), container(), registered()])
def test_an_unknown_key_a_missing_one_and_an_unreadable_one_are_wider(one: Manifest) -> None:
    good = authority_of(one)
    unknown = {**good, "execution.new_thing": 1}
    assert widenings(good, unknown)
    assert widenings(unknown, good)
    assert widenings(unknown, unknown)
    for path in good:
        lacking = {key: value for key, value in good.items() if key != path}
        assert path in {found.path for found in widenings(lacking, good)}
        assert path in {found.path for found in widenings(good, lacking)}
        odd: JsonValue = [5] if path == "execution.env" else {"a": [5]}
        bad = {**good, path: odd}
        for old, new in ((bad, good), (good, bad), (bad, bad)):
            assert path in {found.path for found in widenings(old, new)}
    assert widenings({}, {})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", 1),
        ("format", True),
        ("capabilities", ["a..b"]),
        ("capabilities", ["a" * 2000]),
        ("capabilities", "tool.x"),
        ("deny_capabilities", ["/../x"]),
        ("execution.sandbox.network.allow", ["no port"]),
        ("execution.sandbox.filesystem.write_allow", ["/data/../etc"]),
        ("execution.sandbox.filesystem.read_allow", [None]),
        ("execution.sandbox.limits.pids", True),
        ("execution.sandbox.limits.pids", "9"),
        pytest.param("execution.sandbox.limits.pids", 10**5000, id="5,001 digits"),
        ("lifecycle.restart.period", None),
        ("lifecycle.restart.type", "always"),
        ("config_schema", {"a": 1}),
        ("type", 1),
        ("execution.sandbox.network.proxy", None),
        ("execution.env", {"A": 1}),
        ("execution.env", ["A"]),
    ],
)
def test_a_value_that_cant_be_read_is_wider_whichever_side_it_is_on(
    path: str, value: JsonValue
) -> None:
    good = authority_of(
        process(
            filesystem=FilesystemPolicy(read_allow=["/opt"], write_allow=["/data"]),
            network=NetworkPolicy(allow=["a.example:1"]),
        )
    )
    bad = {**good, path: value}
    assert path in {found.path for found in widenings(good, bad)} | {
        found.path for found in widenings(bad, good)
    }
    if not isinstance(value, int) or isinstance(value, bool) or path == "format":
        assert path in {found.path for found in widenings(bad, bad)}


def test_a_container_network_of_an_unknown_word_is_wider() -> None:
    good = authority_of(container())
    assert widenings(good, {**good, "execution.network": "wormhole"})
    assert widenings({**good, "execution.network": "wormhole"}, good)


def test_many_widenings_are_cut_and_said_to_be() -> None:
    found = texts(allow(), allow(*(f"tool.t{n}" for n in range(200))))
    assert len(found) == WIDENINGS_MAX
    assert found[-1] == "capabilities: and 137 more of these"


def test_as_many_as_are_listed_are_not_said_to_be_more() -> None:
    new = authority_of(allow(*(f"tool.t{n}" for n in range(WIDENINGS_MAX))))
    assert "more" not in widenings(authority_of(allow()), new)[-1].text()


def test_padding_hides_nothing() -> None:
    padding = [f"kv.get.x{n}" for n in range(66)]
    old = a_manifest(capabilities=["log.write"])
    new = a_manifest(
        WasmExecution(wasm=WasmLimits(memory=64 * 1024 * MIB, timeout=86400.0)),
        capabilities=[*padding, "*"],
    )
    assert texts(old, new) == [
        "capabilities: adds *",
        "execution.wasm.memory: rises from 67108864 to 68719476736",
        "execution.wasm.timeout: rises from 5.0 to 86400.0",
    ]


def test_the_widest_comes_first_and_every_path_is_seen_however_much_another_adds() -> None:
    many = range(250)
    new = a_manifest(
        ProcessExecution(
            env={f"A{n}": "" for n in many},
            sandbox=SandboxPolicy(
                filesystem=FilesystemPolicy(
                    write_allow=[*(f"/w/{n}" for n in many), "/home"],
                    read_allow=[*(f"/r/{n}" for n in many), "/etc"],
                ),
                network=NetworkPolicy(allow=[*(f"a{n}:1" for n in many), "*.example:443"]),
                limits=Limits(memory=1 << 40, pids=60_000, open_files=60_000, cpu=64.0),
            ),
            start_timeout=86400.0,
        ),
        type=PluginType.CHANNEL,
        capabilities=[*(f"a.b{n}" for n in many), "exec.*"],
        storage=Storage(kv=True),
        lifecycle=LifecyclePolicy(
            graceful_shutdown_timeout=86400.0,
            health_interval=86400.0,
            restart=RestartPolicy(max_restarts=1000, period=1.0, backoff=0.0, backoff_max=0.0),
        ),
    )
    denied = [*(f"a.b{n}" for n in many), "exec.*"]
    hidden = [f"/h/{n}" for n in many]
    old = attrs.evolve(
        process(filesystem=FilesystemPolicy(read_deny=hidden)),
        deny_capabilities=denied,
        config_schema=secrets(*(f"s{n}" for n in many)).config_schema,
    )
    found = widenings(authority_of(old), authority_of(new))
    assert len(found) <= WIDENINGS_MAX
    lines: dict[str, list[str]] = {one.path: [] for one in found}
    for one in found:
        lines[one.path].append(one.what)
    assert len(lines) == 21
    assert [len(one) for one in lines.values()].count(1) == 13
    for path, what in {
        "capabilities": "adds exec.*",
        "deny_capabilities": "no longer denies exec.*",
        "execution.env": "adds the variable A0",
        "execution.sandbox.filesystem.write_allow": "adds /home",
        "execution.sandbox.filesystem.read_allow": "adds /etc",
        "execution.sandbox.filesystem.read_deny": "no longer hides /h/0",
        "execution.sandbox.network.allow": "adds *.example:443",
        "config_schema": "no longer marks s0 as secret",
    }.items():
        first, *_, last = lines[path]
        assert first == what
        assert last.startswith("and 24")
        assert last.endswith("more of these")


def test_there_is_a_line_for_every_path_that_is_known_and_one_more_for_every_list() -> None:
    assert len(RULES) + 8 <= WIDENINGS_MAX - UNKNOWN_MAX


def test_what_is_unknown_takes_no_place_from_what_is_known() -> None:
    old = {**authority_of(allow()), **{f"unknown{n}": 1 for n in range(200)}}
    found = widenings(old, authority_of(allow(*(f"tool.t{n}" for n in range(200)))))
    assert len(found) == WIDENINGS_MAX
    assert [one.path for one in found if one.path != "capabilities"] == [
        *(f"unknown{n}" for n in (0, 1, 10)),
        "",
    ]
    assert found[-1].text() == "and 197 more things that can't be compared"
    few = {**authority_of(allow()), **{f"unknown{n}": 1 for n in range(UNKNOWN_MAX)}}
    assert len(widenings(few, authority_of(allow()))) == UNKNOWN_MAX


def test_what_another_of_them_covers_is_not_said_besides() -> None:
    assert texts(write(), write("/a/b", "/a", "/a/*")) == [
        "execution.sandbox.filesystem.write_allow: adds /a"
    ]
    assert texts(reach(), reach("b.a.x:1", "*.a.x:1", "*.x:1", "a.x:2")) == [
        "execution.sandbox.network.allow: adds *.x:1",
        "execution.sandbox.network.allow: adds a.x:2",
    ]
    assert texts(deny("exec.run", "exec.*"), deny()) == [
        "deny_capabilities: no longer denies exec.*"
    ]


def test_a_text_that_is_cut_ends_in_an_ellipsis() -> None:
    (found,) = widenings(authority_of(write()), authority_of(write("/" + "a" * 1000)))
    assert len(found.what) == WHAT_MAX
    assert found.text().endswith("a…")
    whole = "/" + "a" * (WHAT_MAX - len("adds /"))
    (found,) = widenings(authority_of(write()), authority_of(write(whole)))
    assert found.what == f"adds {whole}"


def test_more_secrets_than_are_recorded_one_by_one_are_compared_as_a_whole() -> None:
    many = secrets(*(f"s{n}" for n in range(SECRETS_MAX + 1)))
    long = secrets("s" * SECRET_CHARACTERS_MAX + "s")
    assert texts(many, many) == texts(long, long) == []
    said = ["config_schema: marks other keys as secret, and too many to compare"]
    assert texts(many, long) == texts(many, secrets("s1")) == texts(secrets("s1"), many) == said
    assert len(json.dumps(authority_of(long))) < 2000


def test_a_list_that_is_longer_than_any_manifests_is_wider() -> None:
    good = authority_of(process())
    long_ones: JsonObject = {
        "capabilities": ["a"] * (ENTRIES_MAX + 1),
        "execution.env": {f"A{n}": "" for n in range(ENTRIES_MAX + 1)},
    }
    for path, value in long_ones.items():
        long: JsonObject = {**good, path: value}
        assert [one.text() for one in widenings(long, long)] == [f"{path}: can't be compared"]


class CountingCover(PatternCover):
    """Counts what takes time."""

    compared = 0

    def _compare(self, pattern: CapabilitySet, entry: str) -> bool:
        self.compared += 1
        return super()._compare(pattern, entry)


def test_patterns_that_are_made_to_be_compared_are_wider_after_so_many() -> None:
    """Towards the safe side: also what is covered in the end."""
    held = [f"*a{n:03}*" for n in range(256)]
    wanted = [f"*a{n:03}b*" for n in range(256)]
    found = list(beyond(PatternCover(), held, wanted))
    assert 0 < len(found) < 256
    assert set(found) <= set(wanted)
    assert COMPARISONS_MAX < 256 * 256
    assert texts(allow(*held), allow(*reversed(held))) == []


def test_patterns_of_an_honest_manifest_are_hardly_compared() -> None:
    cover = CountingCover()
    held = [f"tool.t{n}.*" for n in range(256)]
    wanted = [f"tool.t{n}.run" for n in range(256)]
    assert list(beyond(cover, held, wanted)) == []
    assert cover.compared == 256


def test_a_strangers_words_are_bounded_and_shown_escaped() -> None:
    long = "/" + "\x1b[31m" * 1000
    (found,) = widenings(authority_of(write()), authority_of(write(long)))
    assert len(found.what) <= WHAT_MAX
    assert found.text().isprintable()
    assert len(found.text()) <= 1000
    good = authority_of(write())
    (odd,) = widenings(good, {**good, "\u202e" * 5000: 1})
    assert len(odd.path) <= WHAT_MAX
    assert odd.text().isprintable()


def test_a_widening_that_is_about_no_one_place_has_no_colon() -> None:
    assert Widening("", "more").text() == "more"


# --- Properties

segments = st.sampled_from(["a", "b", "a*", "*", "*b"])
patterns = st.lists(segments, min_size=1, max_size=3).map(".".join)
capabilities = st.lists(st.sampled_from(["a", "b", "ab", "c"]), min_size=1, max_size=3).map(
    ".".join
)
pattern_lists = st.lists(patterns, max_size=3)


@given(
    old=st.tuples(pattern_lists, pattern_lists),
    new=st.tuples(pattern_lists, pattern_lists),
    asked=st.lists(capabilities, max_size=20),
)
def test_what_a_version_that_isnt_wider_may_do_the_old_one_might_too(
    old: tuple[list[str], list[str]], new: tuple[list[str], list[str]], asked: list[str]
) -> None:
    before = a_manifest(capabilities=old[0], deny_capabilities=old[1])
    after = a_manifest(capabilities=new[0], deny_capabilities=new[1])
    if texts(before, after):
        return
    for capability in asked:
        if may(after, capability):
            assert may(before, capability)


@given(held=st.lists(patterns, max_size=4), wanted=st.lists(patterns, max_size=6))
def test_what_is_added_is_all_that_isnt_covered_and_no_part_of_it_twice(
    held: list[str], wanted: list[str]
) -> None:
    found = list(beyond(PatternCover(), held, wanted))
    assert set(found) <= set(wanted)
    after = CapabilitySet(*held, *found)
    assert all(after.covers(pattern) for pattern in wanted)
    for index, pattern in enumerate(found):
        assert not CapabilitySet(*held, *found[:index], *found[index + 1 :]).covers(pattern)


def may(manifest: Manifest, capability: str) -> bool:
    return capability in CapabilitySet(*manifest.capabilities) and capability not in CapabilitySet(
        *manifest.deny_capabilities
    )


parts = st.sampled_from(["a", "b", "*", "self"])
paths = st.lists(parts, min_size=1, max_size=3).map(lambda found: "/" + "/".join(found))
hosts = st.sampled_from(["a.b", "*.a.b", "*.b", "c.a.b", "10.0.0.1", "[::1]"])
targets = st.tuples(hosts, st.integers(1, 2)).map(lambda pair: f"{pair[0]}:{pair[1]}")
sandboxes = st.builds(
    SandboxPolicy,
    filesystem=st.builds(
        FilesystemPolicy,
        write_allow=st.lists(paths, max_size=3),
        read_allow=st.lists(paths, max_size=3),
        read_deny=st.lists(paths, max_size=3),
    ),
    network=st.builds(NetworkPolicy, allow=st.lists(targets, max_size=3), proxy=st.booleans()),
    limits=st.builds(Limits, memory=st.integers(1, 3), pids=st.integers(1, 3)),
)
environments = st.dictionaries(st.sampled_from("ABC"), st.text(max_size=2), max_size=3)
executions: st.SearchStrategy[Execution] = st.one_of(
    st.builds(ProcessExecution, sandbox=sandboxes, env=environments),
    st.builds(WasmExecution, wasm=st.builds(WasmLimits, fuel=st.integers(1, 3))),
    st.builds(
        ContainerExecution,
        memory_limit=st.none() | st.integers(1, 3),
        network=st.sampled_from(ContainerNetwork),
        env=environments,
    ),
    st.builds(RegisteredExecution, tier=st.just("vm"), options=environments),
)
manifests = st.builds(
    a_manifest,
    executions,
    capabilities=pattern_lists,
    deny_capabilities=pattern_lists,
    storage=st.builds(Storage, kv=st.booleans()),
    type=st.sampled_from(PluginType),
    lifecycle=st.builds(
        LifecyclePolicy,
        graceful_shutdown_timeout=st.floats(0, 3),
        restart=st.builds(
            RestartPolicy, type=st.sampled_from(RestartType), max_restarts=st.integers(0, 3)
        ),
    ),
    config_schema=st.lists(st.sampled_from("abc"), max_size=2).map(
        lambda keys: secrets(*keys).config_schema
    ),
)


@given(one=manifests, other=manifests)
def test_a_round_through_json_changes_no_answer(one: Manifest, other: Manifest) -> None:
    old, new = authority_of(one), authority_of(other)
    assert widenings(stored(old), stored(new)) == widenings(old, new)
    assert widenings(old, old) == ()


@given(one=manifests, two=manifests, three=manifests)
def test_not_wider_twice_is_not_wider(one: Manifest, two: Manifest, three: Manifest) -> None:
    if not texts(one, two) and not texts(two, three):
        assert not texts(one, three)


json_values: st.SearchStrategy[JsonValue] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(one=manifests, keys=st.dictionaries(st.text(max_size=9), json_values, max_size=3))
def test_no_record_whatever_makes_the_comparison_fail(
    one: Manifest, keys: dict[str, JsonValue]
) -> None:
    authority = authority_of(one)
    for odd in (keys, {**authority, **dict.fromkeys(list(authority)[:4], 3), **keys}):
        assert widenings(odd, authority)
        widenings(authority, odd)
