"""What a plugin is run from: its manifest, where it lies, how it is configured."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import attrs

from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.manifest import Manifest

NO_CONFIG: JsonObject = {}


@attrs.frozen(kw_only=True)
class Definition:
    """One version of a plugin, ready to be started."""

    manifest: Manifest
    folder: Path | None
    """Where its files are; None for one that has none, as in a test."""
    config: JsonObject = attrs.field(factory=dict, repr=False)
    """Its configuration; may hold secrets."""
    manifest_sha256: str = ""
    """Of the manifest's text, as 64 hex digits."""
    is_from_folder: bool = False
    """Whether the manifest was read from the folder, rather than given by the application."""

    @property
    def name(self) -> str:
        """Return the plugin's name."""
        return self.manifest.name


def manifest_digest(manifest: Manifest) -> str:
    """Return a hash of a manifest that was made in code and has no text."""
    fields = attrs.asdict(manifest, recurse=True)
    text = json.dumps(fields, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else str(value)
