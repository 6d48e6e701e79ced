"""Who may import whom: the one place where the project's layers are written down.

A layer is named by the path below `sigil_actors` that its modules share; a module belongs to the
layer with the longest name that fits. What isn't listed is refused, and a module of no layer too.
docs/explanation/architecture.md has the reasons.
"""

from collections.abc import Collection, Mapping

import attrs


@attrs.frozen(kw_only=True)
class Layer:
    """What the modules of one layer may import, besides one another."""

    ours: Collection[str] = ()
    """Layers or single modules of this package, by their path below `sigil_actors`."""
    foreign: Collection[str] = ()
    """Packages that pip installs."""
    borders: Mapping[str, Collection[str]] = {}
    """Single modules of the layer that may import further foreign packages: which, by module."""
    standard: Collection[str] | None = None
    """Modules of the standard library; None for any."""
    modules: Collection[str] = ()
    """Modules that live elsewhere in the tree, but belong to this layer."""


# An allow list, since the core must have no door to the outside: no file, socket, process, thread,
# clock, randomness or log. Where a part of a module is pure, only its names may be taken.
PURE = {
    "abc", "base64", "binascii", "bisect", "codecs", "collections", "copy", "dataclasses",
    "datetime", "decimal", "difflib", "enum", "fractions", "functools", "graphlib", "hashlib",
    "heapq", "hmac", "io", "ipaddress", "itertools", "json", "keyword", "math", "numbers",
    "operator", "pathlib", "re", "reprlib", "string", "struct", "textwrap", "types", "typing",
    "unicodedata",
}  # fmt: skip
PURE_NAMES: Mapping[str, Collection[str]] = {
    "io": {"BytesIO", "StringIO"},
    "pathlib": {"PurePath", "PurePosixPath", "PureWindowsPath"},
}

EVERYTHING_BELOW_ASSEMBLY = (
    "errors", "core", "ports", "actors", "runtime", "audit", "storage", "egress", "rpc", "tiers",
)  # fmt: skip

LAYERS: Mapping[str, Layer] = {
    "errors": Layer(),
    "core": Layer(
        ours={"errors"},
        foreign={"attrs"},
        standard=PURE,
        borders={
            # Where a stranger's text becomes values, a well-kept parser does it.
            "core.yaml_document": {"ruamel.yaml"},
            "core.manifest_yaml": {"cattrs"},
            "core.version_range": {"semver"},
            "core.json_schema": {"jsonschema_rs"},
        },
    ),
    "ports": Layer(ours={"core", "errors"}, foreign={"attrs"}),
    # A kit that knows nothing of plugins: of the core it takes the planning of restarts, no more.
    "actors": Layer(ours={"core.restart", "errors"}, foreign={"attrs", "outcome", "trio"}),
    "rpc": Layer(
        ours={"actors.nursery", "errors"},
        foreign={"attrs", "grpc", "hpack", "outcome", "trio"},
        # What makes and reads certificates, and takes its time to load: only AutoMTLS needs it.
        borders={"rpc.auto_mtls": {"cryptography"}},
    ),
    "audit": Layer(
        ours={"actors.worker_thread", "ports", "core", "errors"}, foreign={"attrs", "trio"}
    ),
    "storage": Layer(
        ours={"actors.worker_thread", "ports", "core", "errors"}, foreign={"attrs", "trio"}
    ),
    "egress": Layer(
        ours={"actors.worker_thread", "ports", "core", "errors"}, foreign={"attrs", "trio"}
    ),
    # Sibling tiers don't know one another; what process and container share is in tiers.remote.
    "tiers": Layer(),
    "tiers.wasm": Layer(
        ours={"ports", "core", "errors"}, foreign={"attrs", "outcome", "trio", "wasmtime"}
    ),
    "tiers.remote": Layer(
        ours={"actors.nursery", "ports", "core", "errors", "rpc", "_proto"},
        foreign={"attrs", "google.protobuf", "grpc", "trio"},
    ),
    "tiers.process": Layer(
        ours={
            "actors.nursery",
            "actors.worker_thread",
            "egress",
            "ports",
            "core",
            "errors",
            "rpc",
            "storage.temporary_folder",
            "tiers.remote",
        },
        foreign={"attrs", "outcome", "trio"},
    ),
    "tiers.container": Layer(
        ours={"ports", "core", "errors", "tiers.remote"}, foreign={"attrs", "outcome", "trio"}
    ),
    # The host knows tiers and stores by their promises only.
    "runtime": Layer(
        ours={"actors", "ports", "core", "errors"}, foreign={"attrs", "outcome", "trio"}
    ),
    "testing": Layer(
        ours={"runtime", "actors", "ports", "core", "errors"},
        foreign={"attrs", "hypothesis", "outcome", "pytest", "trio"},
    ),
    # Its fixtures hand out what an application would open: a whole runtime, a store.
    "testing.pytest_plugin": Layer(
        ours={"testing", "assembly", "audit", "runtime", "ports", "core"}, foreign={"pytest"}
    ),
    "assembly": Layer(
        ours=EVERYTHING_BELOW_ASSEMBLY,
        foreign={"attrs", "trio"},
        modules={"", "manager", "wasm", "goplugin", "sandbox", "sandbox_report", "sandbox_trial"},
    ),
    "cli": Layer(
        ours={"assembly", "control", "runtime", "core", "errors"},
        foreign={"attrs", "cyclopts", "rich", "trio"},
        modules={"__main__"},
    ),
    "control": Layer(ours={"assembly", "runtime", "core", "errors"}, foreign={"attrs", "trio"}),
    # A plugin must not load the host.
    "sdk": Layer(
        ours={"actors.nursery", "rpc", "_proto", "core", "errors"},
        foreign={"attrs", "google.protobuf", "trio"},
    ),
    "_proto": Layer(foreign={"google.protobuf", "grpc"}),
}
