"""Tries the sandbox that a plain plugin would get on this machine, without any plugin.

For whoever wants to know before they rely on it: `sigil-actors doctor`, or an application's own
start. What a plugin's own sandbox does is tried again before that plugin is started.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sigil_actors.core.egress_rule import EgressRule
from sigil_actors.core.execution import (
    NetworkPolicy,
    PluginType,
    ProcessExecution,
    SandboxPolicy,
)
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.sandbox_plan import plan_sandbox
from sigil_actors.core.sandbox_proof import SandboxProof
from sigil_actors.runtime.settings import RuntimeSettings

NAME = "tried-by-doctor"
ALLOWED = ("example.com:443",)
"""So that there is a proxy to be tried; nothing is connected to."""


async def try_this_machine(settings: RuntimeSettings | None = None) -> SandboxProof:
    """Make a sandbox as the runtime would, run the attacks in it, return what they came to.

    Raises:
        SandboxUnavailableError: this machine can't make one.
        PluginStartError: it couldn't be made.
    """
    # Loaded on use: it brings gRPC.
    from sigil_actors.tiers.process import PluginUids
    from sigil_actors.tiers.process.proof.trial import try_sandbox
    from sigil_actors.tiers.process.workshop import open_workshop

    uids = (settings or RuntimeSettings()).plugin_uids
    with (
        _folder_for_all() as folder,
        PluginUids(uids.first, uids.count).identity_of(NAME) as identity,
    ):
        async with (
            open_workshop(with_sandbox=True, identity=identity) as workshop,
            workshop.socket_dirs.open(identity) as sockets,
        ):
            if workshop.sandbox is None:
                raise AssertionError("a workshop with a sandbox has one")
            plan = plan_sandbox(
                _manifest(),
                workshop.sandbox.facts,
                folder=folder,
                socket_dir=str(sockets.path),
                environment={},
                paths={},
            )
            rule = EgressRule.from_entries(ALLOWED)
            return await try_sandbox(plan, host=workshop.sandbox, identity=identity, rule=rule)


@contextmanager
def _folder_for_all() -> Iterator[str]:
    """Give an empty folder that a uid of the plugin's own sees too."""
    with tempfile.TemporaryDirectory(prefix="sigil-doctor-") as made:
        folder = Path(made).resolve()
        folder.chmod(0o755)
        yield str(folder)


def _manifest() -> Manifest:
    sandbox = SandboxPolicy(network=NetworkPolicy(allow=ALLOWED))
    return Manifest(
        name=NAME,
        version="1.0.0",
        type=PluginType.TOOL,
        execution=ProcessExecution(command=("./nothing",), sandbox=sandbox),
    )
