"""The host functions that every runtime has: `kv.*`, `config.read.self`, `log.write`.

Their payloads are JSON texts. What a plugin sends is checked here; whether it may, was checked
before.
"""

import json
from collections.abc import Callable, Mapping

import attrs

from sigil_actors.core.json_value import JsonObject, JsonValue
from sigil_actors.errors import PluginCallError
from sigil_actors.ports.kv_store import KvScope, KvStore
from sigil_actors.runtime.host_calls import HostCall, HostFunction

KEY_CHARACTERS_MAX = 512
"""A key's length; long enough for a path or two identifiers."""

VALUE_BYTES_MAX = 1024 * 1024
"""One value as JSON; larger things belong in a store of the application's."""

_SMALL_PAYLOAD_BYTES_MAX = 16 * 1024
"""A key, with every character escaped, and room to spare."""

PAYLOAD_BYTES_MAX = {"kv.set": VALUE_BYTES_MAX + 64 * 1024, "log.write": 64 * 1024}
"""Payloads that may be larger."""

STRUCTURES_MAX = 50_000
"""Lists and objects in one payload: some 15 ms of decoding."""

KEYS_LISTED_MAX = 10_000
"""Keys in one answer; with keys of the longest kind that is still near the bound on an answer."""

LogWriter = Callable[[str, str, str], None]
"""Takes a plugin's name, a level and the plugin's raw text."""


class PayloadError(PluginCallError):
    """A plugin's host call has a payload that doesn't fit the function."""


@attrs.frozen(kw_only=True)
class BuiltinFunctions:
    """The built-in functions; the callables tell about a plugin's generation."""

    kv: KvStore
    kv_enabled: Callable[[str, int], bool]
    kv_bytes_per_plugin: int
    config: Callable[[str, int], JsonObject]
    write_log: LogWriter

    def table(self) -> Mapping[str, HostFunction]:
        """Return them by the capability that each serves."""
        return {
            "kv.get": self._kv_get,
            "kv.set": self._kv_set,
            "kv.delete": self._kv_delete,
            "kv.list": self._kv_list,
            "config.read.self": self._config_read_self,
            "log.write": self._log_write,
        }

    async def _kv_get(self, call: HostCall) -> bytes:
        value = await self.kv.get(self._scope(call), _key(call, _payload(call)))
        if value is None:
            return _answer({"found": False, "value": None})
        return _answer({"found": True, "value": json.loads(value)})

    async def _kv_set(self, call: HostCall) -> bytes:
        payload = _payload(call)
        key = _key(call, payload)
        if "value" not in payload:
            raise PayloadError(call.plugin, "the payload of kv.set has no `value`")
        value = json.dumps(payload["value"], separators=(",", ":"))
        if len(value) > VALUE_BYTES_MAX:
            raise PayloadError(call.plugin, f"a value of kv.set is over {VALUE_BYTES_MAX} bytes")
        await self.kv.set(self._scope(call), key, value, bytes_max=self.kv_bytes_per_plugin)
        return _answer({})

    async def _kv_delete(self, call: HostCall) -> bytes:
        deleted = await self.kv.delete(self._scope(call), _key(call, _payload(call)))
        return _answer({"deleted": deleted})

    async def _kv_list(self, call: HostCall) -> bytes:
        prefix = _payload(call).get("prefix", "")
        if not isinstance(prefix, str) or not _is_key(prefix or "-"):
            raise PayloadError(call.plugin, "the `prefix` of kv.list is no proper text")
        keys = await self.kv.list_keys(self._scope(call), prefix, limit=KEYS_LISTED_MAX)
        return _answer({"keys": list(keys)})

    async def _config_read_self(self, call: HostCall) -> bytes:
        return _answer(self.config(call.plugin, call.generation))

    async def _log_write(self, call: HostCall) -> bytes:
        payload = _payload(call)
        level, message = payload.get("level", "info"), payload.get("message", "")
        if not isinstance(level, str) or not isinstance(message, str):
            raise PayloadError(call.plugin, "log.write takes a `level` and a `message`, both text")
        self.write_log(call.plugin, level, message)
        return _answer({})

    def _scope(self, call: HostCall) -> KvScope:
        if not self.kv_enabled(call.plugin, call.generation):
            raise PayloadError(
                call.plugin,
                "it has no key-value storage",
                remedy="Put `storage: {kv: true}` into its manifest",
            )
        return KvScope(call.plugin, call.workspace_id)


def _payload(call: HostCall) -> Mapping[str, JsonValue]:
    # Decoding holds up the loop, so what can't be meant is refused by its size and shape.
    bound = PAYLOAD_BYTES_MAX.get(call.capability, _SMALL_PAYLOAD_BYTES_MAX)
    structures = call.payload.count(b"[") + call.payload.count(b"{")
    if len(call.payload) > bound or structures > STRUCTURES_MAX:
        raise PayloadError(
            call.plugin,
            f"the payload of {call.capability} is over {bound} bytes, or {STRUCTURES_MAX} lists"
            " and objects",
        )
    try:
        payload = json.loads(call.payload or b"{}")
    except (ValueError, RecursionError):
        payload = None
    if not isinstance(payload, dict):
        raise PayloadError(call.plugin, f"the payload of {call.capability} is no JSON object")
    return payload


def _key(call: HostCall, payload: Mapping[str, JsonValue]) -> str:
    key = payload.get("key")
    if not isinstance(key, str) or not _is_key(key):
        raise PayloadError(
            call.plugin,
            f"{call.capability} takes a `key`: text of 1 to {KEY_CHARACTERS_MAX} characters",
        )
    return key


def _is_key(text: str) -> bool:
    # A lone surrogate is what JSON can say and UTF-8 can't; SQLite would refuse it later.
    return 0 < len(text) <= KEY_CHARACTERS_MAX and not any(
        "\ud800" <= character <= "\udfff" for character in text
    )


def _answer(value: JsonObject) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
