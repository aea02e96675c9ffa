"""Agents that analyse a code base and review changes, and the workflows `code-analysis` and `code-review`.

Without a model they compute with the tools of their field; with one, the model judges what was computed, and every
claim is checked to point at a line that exists.
"""
