"""Every rule of a manifest, broken: which line, which path, what is said."""

# The table has one rule a line.
# ruff: noqa: E501

import pytest

from sigil_actors.core.execution_rules import ENTRIES_MAX
from sigil_actors.core.manifest_rules import (
    DEPENDENCIES_MAX,
    LICENSE_TEXT_MAX,
    PATTERN_CHARACTERS_MAX,
    PATTERNS_MAX,
)
from sigil_actors.core.manifest_yaml import PROBLEMS_MAX, parse_manifest
from sigil_actors.errors import ManifestError, Problem


def problems_of(text: str | bytes, *, tiers: tuple[str, ...] = ()) -> tuple[Problem, ...]:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(text, tiers=tiers)
    return caught.value.problems


BASE = {
    "name": "name: a",
    "version": "version: 1.0.0",
    "type": "type: tool",
    "execution": "execution: {tier: wasm}",
}


def manifest(**changes: str | None) -> str:
    """Return a good manifest with lines replaced, dropped (None), or added from line 5 on."""
    return "".join(f"{line}\n" for line in ({**BASE, **changes}).values() if line is not None)


def process(rest: str) -> str:
    """Return a manifest whose process section holds `rest` from line 6 on."""
    return manifest(execution="execution:\n  tier: process\n" + rest)


def sandbox(rest: str) -> str:
    return process("  sandbox:\n" + rest)


def paths(rest: str) -> str:
    return sandbox("    filesystem:\n" + rest)


def container(rest: str) -> str:
    return manifest(execution="execution:\n  tier: container\n" + rest)


def wasm(rest: str) -> str:
    return manifest(execution="execution:\n  tier: wasm\n" + rest)


FILESYSTEM = "execution.sandbox.filesystem"
NETWORK = "execution.sandbox.network"
LIMITS = "execution.sandbox.limits"

RULES: list[tuple[str, int, str, str, str]] = [
    # identity
    (manifest(name=None), 1, "name", "is missing", "name: my-plugin"),
    (manifest(version=None), 1, "version", "is missing", "version: 1.0.0"),
    (manifest(type=None), 1, "type", "is missing", "type: tool"),
    (manifest(execution=None), 1, "execution.tier", "is missing", "{tier: wasm}"),
    (manifest(execution="execution: {module: ./a}"), 4, "execution.tier", "is missing", "one of container, process, wasm"),
    (manifest(execution="execution: process"), 4, "execution", "is the text 'process', not a mapping", "keys and values"),
    (manifest(execution="execution:"), 4, "execution", "is empty, not a mapping", "keys and values"),
    (manifest(execution="execution: {tier: vm}"), 4, "execution.tier", "unknown tier 'vm'", "one of container, process, wasm"),
    (manifest(execution="execution: {tier: 1}"), 4, "execution.tier", "is the number 1, not text", "one of container, process, wasm"),
    (manifest(name="name: A"), 1, "name", "'A' is no plugin name", "lower-case letters"),
    (manifest(name="name: .a"), 1, "name", "'.a' is no plugin name", "lower-case letters"),
    (manifest(name="name: a/b"), 1, "name", "'a/b' is no plugin name", "lower-case letters"),
    (manifest(name="name: ''"), 1, "name", "'' is no plugin name", "lower-case letters"),
    (manifest(name='name: "a\\n"'), 1, "name", r"'a\n' is no plugin name", "lower-case letters"),
    (manifest(name="name: \u0430"), 1, "name", "is no plugin name", "lower-case letters"),
    (manifest(name="name: " + "a" * 65), 1, "name", "is no plugin name", "1 to 64"),
    (manifest(name="name: 5"), 1, "name", "is the number 5, not text", "quotes"),
    (manifest(name="name: [a]"), 1, "name", "is a list, not text", "Write a text"),
    (manifest(version="version: 1.0"), 2, "version", "is the number 1.0, not text", "quotes"),
    (manifest(version="version: true"), 2, "version", "is the boolean true, not text", "quotes"),
    (manifest(version="version:"), 2, "version", "is empty, not text", "Write a text"),
    (manifest(version="version: v1.0.0"), 2, "version", "'v1.0.0' is no semantic version", "leading v"),
    (manifest(version="version: '1.0'"), 2, "version", "'1.0' is no semantic version", "major.minor.patch"),
    (manifest(version="version: '1." + "0" * 300 + "'"), 2, "version", "is no semantic version", "major.minor.patch"),
    (manifest(type="type: toool"), 3, "type", "'toool' is unknown", "Did you mean 'tool'?"),
    (manifest(type="type: xyz"), 3, "type", "'xyz' is unknown", "Use one of channel, provider, skill, tool"),
    (manifest(type="type: [tool]"), 3, "type", "is a list, not a word", "Use one of"),
    (manifest(engine="engine: 1"), 5, "engine", "is the number 1, not text", "quotes"),
    (manifest(engine="engine: latest"), 5, "engine", "'latest' is no range of versions", "'>= 1.0.0'"),
    (manifest(engine="engine: '>= 2.0.0'"), 5, "engine", "plugin contract of '>= 2.0.0', this runtime speaks 1.0.0", "fits the other"),
    (manifest(license="license: ''"), 5, "license", "'' is no licence expression", "SPDX"),
    (manifest(license="license: ' '"), 5, "license", "' ' is no licence expression", "SPDX"),
    (manifest(license='license: "a\\tb"'), 5, "license", r"'a\tb' is no licence expression", "SPDX"),
    (manifest(license="license: " + "a" * (LICENSE_TEXT_MAX + 1)), 5, "license", "is no licence expression", "SPDX"),
    # unknown keys
    (manifest(capabilitie="capabilitie: []"), 5, "capabilitie", "is no key", "Did you mean 'capabilities'?"),
    (manifest(network="network: {}"), 5, "network", "is no key", "It is a key of execution.sandbox or execution in the container tier"),
    (manifest(kv="kv: true"), 5, "kv", "is no key", "It is a key of storage"),
    (manifest(engines="xyzzy: 1"), 5, "xyzzy", "is no key", "Use one of capabilities, "),
    (manifest(odd="'a b': 1"), 5, "['a b']", "is no key", "Use one of"),
    (process("  comand: [./a]"), 6, "execution.comand", "is no key", "Did you mean 'command'?"),
    (process("  tiers: a"), 6, "execution.tiers", "is no key", "Did you mean 'tier'?"),
    (wasm("  command: [./a]"), 6, "execution.command", "is no key", "It is a key of execution in the process tier"),
    (manifest(lifecycle="lifecycle:\n  restart:\n    perod: 1s"), 7, "lifecycle.restart.perod", "is no key", "Did you mean 'period'?"),
    (manifest(storage="storage: {kv: true, sql: true}"), 5, "storage.sql", "is no key", "Use one of kv"),
    # the document
    (manifest(again="name: b"), 5, "name", "is there twice, first in line 1", "Drop one"),
    (manifest(tagged="license: !!str MIT"), 5, "license", "has the tag", "Drop the tag"),
    (manifest(merged="<<: {license: MIT}"), 5, "", "merge key", "Write the keys"),
    # capabilities
    (manifest(c="capabilities: kv.get"), 5, "capabilities", "is the text 'kv.get', not a list", "dash for each"),
    (manifest(c="capabilities: {kv: get}"), 5, "capabilities", "is a mapping, not a list", "dash for each"),
    (manifest(c="capabilities:"), 5, "capabilities", "is empty, not a list", "dash for each"),
    (manifest(c="capabilities:\n  - kv.get\n  - 5"), 7, "capabilities[1]", "is the number 5, not text", "quotes"),
    (manifest(c="capabilities:\n  - kv.get\n  -"), 7, "capabilities[1]", "is empty, not text", "Write a text"),
    (manifest(c="capabilities:\n  - kv.get\n  - a..b"), 7, "capabilities[1]", "'a..b'", "Write segments joined by dots"),
    (manifest(c="capabilities:\n  - 'a b'"), 6, "capabilities[0]", "'a b'", "Write segments joined by dots"),
    (manifest(c="deny_capabilities:\n  - fs.read./a/../b"), 6, "deny_capabilities[0]", "fs.read./a/../b", "Write segments joined by dots"),
    (manifest(c="deny_capabilities: ['" + "a" * 2_000 + "']"), 5, "deny_capabilities[0]", "1024", ""),
    (manifest(c="capabilities: [" + "a," * (PATTERNS_MAX + 1) + "]"), 5, "capabilities", f"more than {PATTERNS_MAX} patterns", "wider"),
    (manifest(c="deny_capabilities: [" + f"{'a' * 1_000}," * 17 + "]"), 5, "deny_capabilities", f"more than {PATTERN_CHARACTERS_MAX} characters", "wider"),
    (manifest(c="capabilities: [kv.get, exec.run]\ndeny_capabilities: ['exec.*']"), 5, "capabilities[1]", "'exec.run' can never take effect, since deny_capabilities[0] ('exec.*') covers it", "Drop one"),
    (manifest(c="capabilities:\n  - exec.*\ndeny_capabilities: [kv.get, 'exec.*']"), 6, "capabilities[0]", "deny_capabilities[1] ('exec.*')", "Drop one"),
    (manifest(c="capabilities: [exec.run]\ndeny_capabilities: ['*']"), 5, "capabilities[0]", "can never take effect", "Drop one"),
    # process
    (process("  command: ./run"), 6, "execution.command", "is the text './run', not a list", "dash for each"),
    (process("  command: [../run]"), 6, "execution.command[0]", "'../run' leads out by '..'", "where it leads"),
    (process("  command: [-run]"), 6, "execution.command[0]", "'-run' begins with a dash", "./ before it"),
    (process('  command: ["a\\nb"]'), 6, "execution.command[0]", r"'a\nb' holds a control character", "Drop it"),
    (process('  command: ["a\\x9b"]'), 6, "execution.command[0]", r"'a\x9b' holds a control character", "Drop it"),
    (process("  command: ['']"), 6, "execution.command[0]", "is empty", "Write a path"),
    (process("  command: [~root/x]"), 6, "execution.command[0]", "'~root/x' means another user's home", "~/"),
    (process("  command: ['~']"), 6, "execution.command[0]", "'~' means another user's home", "~/"),
    (process("  command: [" + "a" * 4_097 + "]"), 6, "execution.command[0]", "longer than 4096", "shorter"),
    (process('  command: [./run, "a\\0b"]'), 6, "execution.command[1]", "no program can be given", "Drop it"),
    (process("  command: [./run, " + "a" * 32_769 + "]"), 6, "execution.command[1]", "longer than 32768", "file"),
    (process("  command: [./run" + ", a" * ENTRIES_MAX + "]"), 6, "execution.command", f"more than {ENTRIES_MAX} entries", "Drop some"),
    (process("  env: [A=b]"), 6, "execution.env", "is a list, not a mapping", "keys and values"),
    (process("  env:\n    TZ: UTC\n    N: 5"), 8, "execution.env.N", "is the number 5, not text", "quotes"),
    (process("  env: {A-B: c}"), 6, "execution.env", "'A-B' is no name of a variable", "letters, digits"),
    (process("  env: {9A: c}"), 6, "execution.env", "'9A' is no name of a variable", "letters, digits"),
    (process("  env:\n    PLUGIN_MIN_PORT: '1'"), 7, "execution.env.PLUGIN_MIN_PORT", "set by the protocol", "Drop it"),
    (process('  env: {A: "\\0"}'), 6, "execution.env.A", "no program can be given", "Drop it"),
    (process("  env: {" + ", ".join(f"A{i}: b" for i in range(ENTRIES_MAX + 1)) + "}"), 6, "execution.env", f"more than {ENTRIES_MAX} entries", "Drop some"),
    (process("  sha256: abc"), 6, "execution.sha256", "'abc' is no SHA-256", "64 lower-case"),
    (process("  sha256: " + "AB" * 32), 6, "execution.sha256", "is no SHA-256", "64 lower-case"),
    (process("  start_timeout: 60"), 6, "execution.start_timeout", "is the number 60, not a duration", "with its unit"),
    (process("  start_timeout: 0s"), 6, "execution.start_timeout", "longer than nothing", "with its unit"),
    (process("  start_timeout: -1s"), 6, "execution.start_timeout", "'-1s': a duration is never negative", "with its unit"),
    (process("  start_timeout: 25h"), 6, "execution.start_timeout", "'25h': is longer than a day", "24h or less"),
    (process("  start_timeout: 1 minute"), 6, "execution.start_timeout", "'1 minute': is no duration", "with its unit"),
    (process("  sandbox: strict"), 6, "execution.sandbox", "is the text 'strict', not a mapping", "keys and values"),
    (paths("      write_allow:\n        - /data\n        - data"), 10, f"{FILESYSTEM}.write_allow[1]", "'data' is relative to nothing", "from / or ~/"),
    (paths("      write_allow: [/data/../etc]"), 8, f"{FILESYSTEM}.write_allow[0]", "leads out by '..'", "where it leads"),
    (paths("      read_deny: [~bob/x]"), 8, f"{FILESYSTEM}.read_deny[0]", "'~bob/x' means another user's home", "~/"),
    (paths("      read_deny: [--bind]"), 8, f"{FILESYSTEM}.read_deny[0]", "'--bind' begins with a dash", "./ before it"),
    (paths('      read_allow: ["/a\\u007f"]'), 8, f"{FILESYSTEM}.read_allow[0]", "control character", "Drop it"),
    (paths("      read_allow: ["+ "/a," * (ENTRIES_MAX + 1) + "]"), 8, f"{FILESYSTEM}.read_allow", f"more than {ENTRIES_MAX} entries", "Drop some"),
    (sandbox("    network:\n      allow:\n        - a.b:1\n        - a.b"), 10, f"{NETWORK}.allow[1]", "'a.b' has no host or no port", "host:port"),
    (sandbox("    network:\n      allow: ['a.*.b:1']"), 8, f"{NETWORK}.allow[0]", "'a.*.b:1' has a * elsewhere", "host:port"),
    (sandbox("    network:\n      allow: [a.b:65536]"), 8, f"{NETWORK}.allow[0]", "no port from 1 to 65535", "host:port"),
    (sandbox("    network:\n      allow: [a.b:1]\n      proxy: false"), 9, f"{NETWORK}.proxy", "only road", "Leave proxy out"),
    (sandbox("    network: {proxy: 'false'}"), 7, f"{NETWORK}.proxy", "is the text 'false', not true or false", "without quotes"),
    (sandbox("    network: {allow: ["+ "'a:1'," * (ENTRIES_MAX + 1) + "]}"), 7, f"{NETWORK}.allow", f"more than {ENTRIES_MAX} entries", "Drop some"),
    (sandbox("    limits: {memory: lots}"), 7, f"{LIMITS}.memory", "'lots': is no size", "256Mi"),
    (sandbox("    limits: {memory: 1.5}"), 7, f"{LIMITS}.memory", "is the number 1.5, not a size", "256Mi"),
    (sandbox("    limits: {memory: -5}"), 7, f"{LIMITS}.memory", "'-5': a size is never negative", "256Mi"),
    (sandbox("    limits: {memory: true}"), 7, f"{LIMITS}.memory", "is the boolean true, not a size", "256Mi"),
    (sandbox("    limits: {memory: 9999999Gi}"), 7, f"{LIMITS}.memory", "'9999999Gi': is more than 1 TiB", "1024Gi"),
    (sandbox("    limits: {memory: 1k}"), 7, f"{LIMITS}.memory", "1000 bytes are no sensible size", "1024Ki or more"),
    (sandbox("    limits: {pids: 0}"), 7, f"{LIMITS}.pids", "out of bounds", "from 1 to"),
    (sandbox("    limits: {pids: '5'}"), 7, f"{LIMITS}.pids", "is the text '5', not a whole number", "without quotes"),
    (sandbox("    limits: {pids: true}"), 7, f"{LIMITS}.pids", "is the boolean true, not a whole number", "without quotes"),
    (sandbox("    limits: {pids: 1.0}"), 7, f"{LIMITS}.pids", "is the number 1.0, not a whole number", "without quotes"),
    (sandbox("    limits: {pids: " + "9" * 60 + "}"), 7, f"{LIMITS}.pids", "out of bounds", "from 1 to"),
    (sandbox("    limits: {pids: " + "9" * 5_000 + "}"), 7, f"{LIMITS}.pids", "no number to reckon with", "finite"),
    (sandbox("    limits: {open_files: 1}"), 7, f"{LIMITS}.open_files", "out of bounds", "from 16 to"),
    (sandbox("    limits: {cpu: 0}"), 7, f"{LIMITS}.cpu", "no share of processors", "more than 0"),
    (sandbox("    limits: {cpu: 1e9}"), 7, f"{LIMITS}.cpu", "no share of processors", "at most 1024"),
    (sandbox("    limits: {cpu: one}"), 7, f"{LIMITS}.cpu", "is the text 'one', not a number", "without quotes"),
    (sandbox("    limits: {cpu: true}"), 7, f"{LIMITS}.cpu", "is the boolean true, not a number", "without quotes"),
    (sandbox("    limits: {cpu: .inf}"), 7, f"{LIMITS}.cpu", "no number to reckon with", "finite"),
    # wasm
    (wasm("  module: ../a.wasm"), 6, "execution.module", "leads out by '..'", "where it leads"),
    (wasm("  module: /opt/a.wasm"), 6, "execution.module", "lies outside the plugin's folder", "from there"),
    (wasm("  module: ~/a.wasm"), 6, "execution.module", "lies outside the plugin's folder", "from there"),
    (wasm("  module: ''"), 6, "execution.module", "is empty", "Write a path"),
    (wasm("  wasm: {fuel: 0}"), 6, "execution.wasm.fuel", "out of bounds", "from 1 to"),
    (wasm("  wasm: {fuel: 99999999999999999999}"), 6, "execution.wasm.fuel", "out of bounds", "from 1 to"),
    (wasm("  wasm: {timeout: 0s}"), 6, "execution.wasm.timeout", "longer than nothing", "with its unit"),
    (wasm("  wasm: {memory: 1Ki}"), 6, "execution.wasm.memory", "1024 bytes are no sensible size", "64Ki or more"),
    (wasm("  wasm: {instance: each}"), 6, "execution.wasm.instance", "'each' is unknown", "Use one of per-call, shared"),
    (wasm("  sha256: x"), 6, "execution.sha256", "'x' is no SHA-256", "64 lower-case"),
    (wasm("  start_timeout: 0s"), 6, "execution.start_timeout", "longer than nothing", "with its unit"),
    # container
    (container("  memory_limit: 256Mi"), 4, "execution.image", "is missing", "ghcr.io"),
    (container("  image: a"), 4, "execution.memory_limit", "is missing", "256Mi"),
    (container("  image: -a\n  memory_limit: 256Mi"), 6, "execution.image", "'-a' is no image reference", "registry/name"),
    (container("  image: a b\n  memory_limit: 256Mi"), 6, "execution.image", "'a b' is no image reference", "registry/name"),
    (container("  image: a\n  memory_limit: 5"), 7, "execution.memory_limit", "5 bytes are no sensible size", "1024Ki or more"),
    (container("  image: a\n  memory_limit: x"), 7, "execution.memory_limit", "'x': is no size", "256Mi"),
    (container("  image: a\n  memory_limit: 256Mi\n  network: bridge"), 8, "execution.network", "'bridge' is unknown", "Use one of host, none, restricted"),
    (container("  image: a\n  memory_limit: 256Mi\n  env: {A B: c}"), 8, "execution.env", "'A B' is no name", "letters, digits"),
    # config_schema
    (manifest(s="config_schema: []"), 5, "config_schema", "is a list, not a mapping", "keys and values"),
    (manifest(s="config_schema:\n  properties:\n    a:\n      type: strin"), 8, "config_schema.properties.a.type", "not valid", "2020-12"),
    (manifest(s="config_schema:\n  $ref: file:///etc/passwd"), 6, "config_schema.$ref", "leads to nothing", "nothing is fetched"),
    (manifest(s="config_schema:\n  properties:\n    a: {secret: 1}"), 7, "config_schema.properties.a.secret", "neither true nor false", "secret: true"),
    (manifest(s="config_schema:\n  type: array"), 6, "config_schema.type", "always an object", "type: object"),
    # dependencies
    (manifest(d="dependencies: [b]"), 5, "dependencies", "is a list, not a mapping", "keys and values"),
    (manifest(d="dependencies:\n  b: 1.0"), 6, "dependencies.b", "is the number 1.0, not text", "quotes"),
    (manifest(d="dependencies:\n  b: newest"), 6, "dependencies.b", "'newest' is no range of versions", "'>= 1.0.0'"),
    (manifest(d="dependencies:\n  B: '*'"), 5, "dependencies", "'B' is no plugin name", "lower-case"),
    (manifest(d="dependencies:\n  a: '*'"), 6, "dependencies.a", "depends on itself", "Drop"),
    (manifest(d="dependencies: {" + ", ".join(f"p{i}: '*'" for i in range(DEPENDENCIES_MAX + 1)) + "}"), 5, "dependencies", f"more than {DEPENDENCIES_MAX}", "Drop some"),
    # lifecycle and storage
    (manifest(x="lifecycle: {hot_reload: 1}"), 5, "lifecycle.hot_reload", "is the number 1, not true or false", "without quotes"),
    (manifest(x="lifecycle: {graceful_shutdown_timeout: 48h}"), 5, "lifecycle.graceful_shutdown_timeout", "longer than a day", "24h"),
    (manifest(x="lifecycle: {health_interval: 0s}"), 5, "lifecycle.health_interval", "longer than nothing", "with its unit"),
    (manifest(x="lifecycle:\n  restart: {type: always}"), 6, "lifecycle.restart.type", "'always' is unknown", "Use one of permanent, temporary, transient"),
    (manifest(x="lifecycle:\n  restart: {max_restarts: -1}"), 6, "lifecycle.restart.max_restarts", "must be between 0 and", "Correct it"),
    (manifest(x="lifecycle:\n  restart: {period: 0s}"), 6, "lifecycle.restart.period", "longer than nothing", "Correct it"),
    (manifest(x="lifecycle:\n  restart: {period: 60}"), 6, "lifecycle.restart.period", "is the number 60, not a duration", "with its unit"),
    (manifest(x="lifecycle:\n  restart: {backoff: 1m}"), 6, "lifecycle.restart.backoff_max", "shorter than backoff", "Correct it"),
    (manifest(x="storage: {kv: 'yes'}"), 5, "storage.kv", "is the text 'yes', not true or false", "without quotes"),
    (manifest(x="storage: true"), 5, "storage", "is the boolean true, not a mapping", "keys and values"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "path", "what", "remedy"),
    RULES,
    ids=[f"{rule[2]}: {rule[3]}" for rule in RULES],
)
def test_a_broken_rule_is_the_one_problem(
    text: str, line: int, path: str, what: str, remedy: str
) -> None:
    (problem,) = problems_of(text)
    assert (problem.path, problem.line) == (path, line)
    assert what in problem.what
    assert remedy in problem.remedy


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("", 1, "is empty"),
        ("- a\n", 1, "is a list, not a mapping"),
        ("\nplain\n", 2, "is the text 'plain', not a mapping"),
        ("name: [a\n", 2, "isn't YAML"),
        ("name: a\n---\nname: b\n", 2, "second document"),
        (b"\xff\xfe\x00", 1, "isn't UTF-8"),
        (b"name: a" + b" " * (256 * 1024), 1, "larger than 256 KiB"),
    ],
)
def test_what_is_no_manifest_at_all_is_one_problem(text: str | bytes, line: int, what: str) -> None:
    (problem,) = problems_of(text)
    assert (problem.path, problem.line) == ("", line)
    assert what in problem.what


def test_every_problem_is_told_at_once_in_the_order_of_the_file() -> None:
    problems = problems_of("""\
name: Bad Name
version: 1.0
type: toool
capabilities:
  - kv.get
  - 7
  - exec.run
  - a..b
deny_capabilities: [exec.*]
execution:
  tier: process
  command: [../x]
  start_timeout: 5
  sandbox:
    network:
      allow: [nowhere, "a.b:443"]
      proxy: false
    limits: {memory: lots, cpu: .nan}
lifecycle:
  restrt: {}
lifecycle: {}
foo: 1
""")
    assert [(problem.line, problem.path) for problem in problems] == [
        (1, "name"),
        (2, "version"),
        (3, "type"),
        (6, "capabilities[1]"),
        (7, "capabilities[2]"),
        (8, "capabilities[3]"),
        (12, "execution.command[0]"),
        (13, "execution.start_timeout"),
        (16, "execution.sandbox.network.allow[0]"),
        (17, "execution.sandbox.network.proxy"),
        (18, "execution.sandbox.limits.cpu"),
        (18, "execution.sandbox.limits.memory"),
        (20, "lifecycle.restrt"),
        (21, "lifecycle"),
        (22, "foo"),
    ]


def test_the_error_reads_as_file_line_path_what_and_remedy() -> None:
    with pytest.raises(ManifestError) as caught:
        parse_manifest(
            "name: 5\nversion: v1.0.0\ntype: tool\nexecution: {tier: vm}\n", file="x/p.yaml"
        )
    assert str(caught.value).splitlines() == [
        "x/p.yaml:1: name: is the number 5, not text. Put it in quotes",
        "x/p.yaml:2: version: 'v1.0.0' is no semantic version. Leave out the leading v",
        "x/p.yaml:4: execution.tier: unknown tier 'vm'. Use one of container, process, wasm",
    ]


def test_a_problem_behind_an_alias_has_the_line_of_the_alias() -> None:
    text = manifest(
        execution="execution: &e\n  tier: wasm\n  wasm: {fuel: 0}", copy="storage:\n  *e"
    )
    assert [(problem.line, problem.path) for problem in problems_of(text)] == [
        (6, "execution.wasm.fuel"),
        (7, "storage.tier"),
        (7, "storage.wasm"),
    ]


def test_the_tiers_of_the_host_are_named_with_our_own() -> None:
    (problem,) = problems_of(manifest(execution="execution: {tier: vms}"), tiers=("vm", "remote"))
    assert problem.remedy == "Use one of container, process, remote, vm, wasm"


def test_problems_are_bounded_in_number() -> None:
    unknown = "".join(f"k{number}: 1\n" for number in range(4_000))
    problems = problems_of(manifest() + unknown)
    assert len(problems) == PROBLEMS_MAX + 1
    assert problems[0].path == "k0"
    assert problems[-1].what == f"{4_000 - PROBLEMS_MAX} further problems are left out"


def test_the_text_of_problems_is_bounded_and_reaches_no_terminal() -> None:
    problems = problems_of(manifest(name='name: "\\e[2J' + "x" * 100_000 + '"', key='"\\u202e": 1'))
    assert all(problem.render("f").isprintable() for problem in problems)
    assert all(len(problem.render("f")) < 1_000 for problem in problems)
