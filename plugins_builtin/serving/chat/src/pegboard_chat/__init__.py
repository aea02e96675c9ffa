"""`peg chat`: talk to an agent on the terminal or through a pipe, over one conversation that is kept."""

from __future__ import annotations
