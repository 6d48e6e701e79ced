"""Manifests that the tests of the manifest start from."""

import pytest

FULL_MANIFEST = """\
name: telegram-channel
version: 1.2.0
type: channel
engine: ">= 1.0.0"
license: MIT

capabilities:
  - sessions.read
  - messages.send.*
  - config.read.self
  - kv.*
deny_capabilities:
  - exec.*

execution:
  tier: process
  command: [./bin/telegram]
  env: {TZ: UTC}
  sha256: 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  start_timeout: 60s
  sandbox:
    filesystem:
      write_allow: [/data/plugins/self/*]
      read_allow: [/opt/venvs/telegram]
      read_deny: [/etc/shadow, ~/.ssh/*]
    network:
      allow: [api.telegram.org:443, "*.example.com:443"]
      proxy: true
    limits: {memory: 256Mi, pids: 100, open_files: 1024, cpu: 1.0}

config_schema: {type: object, properties: {bot_token: {type: string, secret: true}}}
dependencies: {session-store: ">= 1.0.0"}
lifecycle:
  hot_reload: true
  graceful_shutdown_timeout: 30s
  restart: {type: permanent, max_restarts: 5, period: 60s, backoff: 100ms, backoff_max: 30s}
  health_interval: 10s
storage: {kv: true}
"""


@pytest.fixture(scope="session")
def full_manifest() -> str:
    """Every key that a process plugin's manifest may have."""
    return FULL_MANIFEST
