"""Decides for pegboard what follows a failure of a model."""

from __future__ import annotations
