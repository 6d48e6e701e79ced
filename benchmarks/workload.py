"""The pattern sets and the capabilities that policies are measured with: the same for everybody.

Sized like a busy gateway: 8 patterns of a plugin, 3 that deny, 30 of a workspace, 50 of a user; 200
capabilities, among which every answer occurs.
"""

from itertools import islice, product

PLUGIN_ALLOW = (
    "sessions.*",
    "messages.read",
    "messages.send.*",
    "contacts.*.read",
    "kv.*",
    "tool.*",
    "search.index-*",
    "filesystem.read./data/*",
)
PLUGIN_DENY = ("sessions.admin.*", "messages.send.sms", "filesystem.read./data/private/*")

_AREAS = ("alerts", "billing", "calendar", "jobs", "models", "reports", "teams", "webhooks")
_VERBS = ("read", "list", "update", "delete", "share")

WORKSPACE_ALLOW = (
    "sessions.read",
    "sessions.list",
    "sessions.admin.*",
    "messages.*",
    "contacts.team.*",
    "kv.get",
    "kv.set",
    "kv.list",
    "tool.text-*",
    "tool.echo",
    "search.*",
    "filesystem.read./data/*",
    "filesystem.write./data/shared/*",
    "*.export",
    *(f"{area}.{verb}" for area, verb in product(_AREAS, _VERBS[:2])),
)
USER_PERMISSIONS = (
    "sessions.*",
    "messages.read",
    "messages.send.telegram",
    "messages.send.email",
    "messages.send.sms",
    "contacts.*",
    "kv.*",
    "tool.*",
    "search.index-public",
    "filesystem.read./data/notes/*",
    "filesystem.read./data/private/*",
    *(f"{area}.{verb}" for area, verb in islice(product(_AREAS, _VERBS), 39)),
)

_CHANNELS = ("telegram", "email", "sms", "matrix", "irc", "slack")
_TOOLS = ("echo", "fetch", "shell", *(f"text-{name}" for name in ("count", "find", "sort", "wrap")))

CAPABILITIES = (
    *(f"sessions.{what}" for what in ("read", "list", "close", "admin.kick", "admin.ban")),
    "messages.read",
    *(f"messages.send.{channel}" for channel in _CHANNELS),
    *(f"contacts.{who}.{verb}" for who, verb in product(("team", "all"), _VERBS)),
    *(f"contacts.team.member-{number}.read" for number in range(20)),
    *(f"kv.{verb}" for verb in ("get", "set", "delete", "list")),
    *(f"tool.{name}" for name in _TOOLS),
    *(f"search.index-{name}" for name in ("public", "private", "public.shadow")),
    *(f"filesystem.read./data/notes/{number}.txt" for number in range(50)),
    *(f"filesystem.read./data/private/{number}.txt" for number in range(10)),
    *(f"filesystem.read./data/a/b/{number}/c.tar.gz" for number in range(10)),
    *(f"filesystem.write./data/shared/{number}.txt" for number in range(10)),
    *(f"{area}.{verb}" for area, verb in product(_AREAS, _VERBS)),
    *(f"{area}.{number}.export" for area, number in product(_AREAS, range(3))),
)
