"""Calling hooks: which implementations there are, their order, the functions that call them, and what follows a fault.

Nothing is imported here; `dispatcher` is the way in, `hooks` the typed façade that the rest of core calls through.
"""
