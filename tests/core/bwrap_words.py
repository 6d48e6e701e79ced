"""Reads bubblewrap's command line as bubblewrap does: each option takes so many words after it.

Written from bwrap(1), with only the options that ours may hold.
"""

from collections.abc import Sequence

ARITY = {
    **dict.fromkeys(("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net"), 0),
    **dict.fromkeys(("--unshare-uts", "--unshare-cgroup-try", "--disable-userns"), 0),
    **dict.fromkeys(("--die-with-parent", "--new-session", "--clearenv"), 0),
    **dict.fromkeys(("--uid", "--gid", "--hostname", "--cap-drop", "--chdir"), 1),
    **dict.fromkeys(("--dir", "--proc", "--dev", "--tmpfs", "--remount-ro"), 1),
    **dict.fromkeys(("--perms", "--size", "--seccomp", "--json-status-fd", "--block-fd"), 1),
    **dict.fromkeys(("--setenv", "--symlink", "--ro-bind-data"), 2),
    **dict.fromkeys(("--bind", "--ro-bind", "--ro-bind-try"), 2),
    **dict.fromkeys(("--bind-fd", "--ro-bind-fd"), 2),
}


def parsed(words: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the options, each with its words. What isn't an option of ours raises KeyError."""
    options = []
    at = 0
    while at < len(words):
        end = at + 1 + ARITY[words[at]]
        assert end <= len(words)
        options.append(tuple(words[at:end]))
        at = end
    return options
