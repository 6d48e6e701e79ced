"""The configuration file: what each plugin is handed. Strict, like a manifest."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sigil_actors.cli.errors import ConfigError, PathNotFoundError
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.policy import is_plugin_name
from sigil_actors.core.text import escape_text
from sigil_actors.core.wording import below
from sigil_actors.errors import Problem

if TYPE_CHECKING:
    from sigil_actors.core.yaml_document import Document

_PLUGINS = "plugins"


def read_config(file: Path | None) -> Mapping[str, JsonObject]:
    """Return each plugin's configuration by its name; nothing where no file is named.

    Raises:
        PathNotFoundError: there is no such file.
        ConfigError: it can't be read, or isn't as it has to be.
    """
    if file is None:
        return {}
    from sigil_actors.core.yaml_document import DOCUMENT_BYTES_MAX, DocumentError, read_document

    shown = escape_text(str(file))
    try:
        # Not blocking: a pipe without a writer would hold us for ever, Ctrl-C included.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as reader:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _error(shown, "is not a regular file", "Name a file")
            # One byte more than allowed, so that the reader sees that it is too long.
            content = reader.read(DOCUMENT_BYTES_MAX + 1)
    except FileNotFoundError:
        raise PathNotFoundError(
            f"there is no configuration file {shown}", remedy="Correct --config, or leave it out"
        ) from None
    except OSError as error:
        what = f"can't be read: {error.strerror}"
        raise _error(shown, what, "Name a readable file") from error
    try:
        document = read_document(content)
    except DocumentError as error:
        raise ConfigError([error.problem], file=shown) from None
    configs, problems = _plugins_of(document)
    if document.problems or problems:
        found = sorted((*document.problems, *problems), key=lambda problem: problem.line)
        raise ConfigError(found, file=shown)
    return configs


def _plugins_of(document: "Document") -> tuple[Mapping[str, JsonObject], list[Problem]]:
    problems: list[Problem] = []

    def tell(path: str, what: str, remedy: str) -> None:
        line = document.line_of(path)
        problems.append(Problem(path=path, line=line, what=what, remedy=remedy))

    top = document.value
    if not isinstance(top, dict):
        tell("", "is no mapping", "Write plugins: {NAME: {…}}")
        return {}, problems
    for key in top.keys() - {_PLUGINS}:
        tell(key, "is unknown", "The only key is plugins; drop this one")
    plugins = {} if top.get(_PLUGINS) is None else top[_PLUGINS]
    if not isinstance(plugins, dict):
        tell(_PLUGINS, "is no mapping", "Write plugins: {NAME: {…}}")
        return {}, problems
    configs: dict[str, JsonObject] = {}
    for name, config in plugins.items():
        path = below(_PLUGINS, name)
        if not is_plugin_name(name):
            tell(path, "is no plugin's name", "Use a-z 0-9 . _ - and 64 characters at most")
        elif config is not None and not isinstance(config, dict):
            tell(path, "is no mapping", "Write the plugin's keys and values below its name")
        else:
            configs[name] = config or {}
    return configs, problems


def _error(shown: str, what: str, remedy: str) -> ConfigError:
    return ConfigError([Problem(path="", line=0, what=what, remedy=remedy)], file=shown)
