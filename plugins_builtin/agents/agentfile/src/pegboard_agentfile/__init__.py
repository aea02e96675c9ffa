"""Reads agents of pegboard from files: YAML, or Markdown with front matter."""

from __future__ import annotations
