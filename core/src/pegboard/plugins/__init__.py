"""The plugin host: what a board does with its plugins, from finding them to calling them.

`discovery` reads what is installed, `dispatch` calls hooks, `packages` installs, `authoring` helps those who write
plugins; the modules beside them are the host of one board. Nothing is imported here.
"""
