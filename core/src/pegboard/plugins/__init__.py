"""The plugin host: finding, describing, choosing, activating and calling plugins.

Nothing is imported here: `peg plugins list` reads the index and the state and needs neither pluggy nor asyncio.
"""
