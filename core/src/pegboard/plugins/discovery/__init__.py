"""What is installed, what its manifests say, what is remembered about it, and so what may run. No plugin is imported.

Nothing of ours is imported here either: `peg plugins list` needs the index and the state and little else.
"""
