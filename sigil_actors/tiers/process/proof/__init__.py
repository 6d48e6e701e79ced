"""Attacks that are run inside a plugin's sandbox before the plugin is."""
