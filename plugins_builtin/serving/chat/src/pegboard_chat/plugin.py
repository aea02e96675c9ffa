"""The plugin: it has no hooks, and is on the board only so that its command can be listed and switched off."""

from __future__ import annotations


class Plugin:
    """Nothing is done here; the command is mounted from the manifest."""
