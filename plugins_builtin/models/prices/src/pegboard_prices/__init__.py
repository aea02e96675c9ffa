"""Prices of models for pegboard, from the data of `genai-prices` and from tables of your own."""

from __future__ import annotations
