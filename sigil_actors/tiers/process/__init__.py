"""The process tier: any go-plugin plugin, as a program of its own in a sandbox."""

from sigil_actors.tiers.process.plugin_uids import PluginUids
from sigil_actors.tiers.process.tier import ProcessTier

__all__ = ["PluginUids", "ProcessTier"]
