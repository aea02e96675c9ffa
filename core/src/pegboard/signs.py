"""Signs in texts of others that could fool who reads them in a terminal."""

from __future__ import annotations

import re

UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What moves the cursor, starts a command of the terminal, or turns the direction of the text."""
