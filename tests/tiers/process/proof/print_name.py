"""Prints by what name a proof is remembered, for test_proof.py: each process orders sets anew."""

import sys

from sigil_actors.core.host_facts import Cgroups, CgroupVersion, HostFacts
from sigil_actors.core.proof_plan import proof_name
from sigil_actors.core.sandbox_mounts import Bind
from sigil_actors.core.sandbox_plan import NetworkAccess, SandboxLimits, SandboxPlan

PLAN = SandboxPlan(
    plugin="p",
    platform="linux",
    architecture="x86_64",
    command=("/p",),
    folder="/plugin",
    socket_dir="/sockets",
    environment={"A": "1"},
    mounts=(Bind(source="/usr", target="/usr", why="programs"),),
    network=NetworkAccess.NONE,
    proxy_port=None,
    limits=SandboxLimits(memory_bytes=1, pids=1, open_files=1, cpu=1.0),
)
FACTS = HostFacts(
    platform="linux",
    architecture="x86_64",
    kernel="6.1",
    uid=0,
    home="/root",
    cgroups=Cgroups(
        version=CgroupVersion.V1, controllers=frozenset(("memory", "pids", "cpu", "cpuacct"))
    ),
)

if __name__ == "__main__":
    sys.stdout.write(proof_name(PLAN, FACTS, b"", has_own_uid=True))
