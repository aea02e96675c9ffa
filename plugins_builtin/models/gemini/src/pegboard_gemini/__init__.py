"""Google's Gemini models for pegboard, over the official SDK."""

from __future__ import annotations
