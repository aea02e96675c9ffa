"""Anthropic's models for pegboard, over the official SDK."""

from __future__ import annotations
