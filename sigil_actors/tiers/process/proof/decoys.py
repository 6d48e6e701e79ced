"""What of the host's there is to attack: a file, a listener, and a socket without a path."""

import os
import secrets
import socket
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from sigil_actors.storage.temporary_folder import make_temporary_folder
from sigil_actors.tiers.process.removal import remove_folder
from sigil_actors.tiers.process.socket_dir import PREFIX


@contextmanager
def open_decoys() -> Generator[dict[str, str], None, None]:
    """Put up what anybody on the host could reach; give the attacks' arguments.

    Raises:
        OSError: there is no folder for temporary files, or no descriptor left.
    """
    with ExitStack() as stack:
        # Of the name of those for sockets, so that it is swept with them.
        held = make_temporary_folder(PREFIX)
        stack.callback(held.release, remove_folder)
        folder = held.path / "decoys"
        folder.mkdir()
        # Open to all: it is the sandbox that must hide it, not its mode.
        folder.chmod(0o755)
        secret = folder / "secret"
        secret.write_text("nothing that matters")
        secret.chmod(0o644)
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        abstract = stack.enter_context(socket.socket(socket.AF_UNIX))
        name = f"sigil-proof-{secrets.token_hex(8)}"
        abstract.bind(b"\0" + name.encode())
        abstract.listen(1)
        yield {
            "host-file": str(secret),
            "host-folder": str(folder),
            "host-port": str(listener.getsockname()[1]),
            "abstract-socket": name,
            "host-pid": str(os.getpid()),
            **{
                f"ns-{kind}": os.readlink(f"/proc/self/ns/{kind}")  # noqa: PTH115 - no path
                for kind in ("user", "mnt", "pid", "net", "ipc", "uts")
            },
        }
