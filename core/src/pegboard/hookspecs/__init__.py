"""The whole contract: every hook that core calls, a file per family.

A docstring answers, in this order: *When* it is called, what the *Value* is and whether it may be changed, what `None`
means, what happens when an implementation *Raises*, and what happens on *Cancel*. Where a line is missing, the
kind's rule holds: `notify` runs all and ignores results; `collect` takes every answer; `first` takes the first answer;
`pipeline` threads a value through; `around` wraps; `gate` lets deny beat ask beat allow; `stream` transforms.
"""

from __future__ import annotations

from pegboard.hookspecs import context, host, lifecycle, loop, observe, providers, recovery, security
from pegboard.hookspecs.marks import HOOK_API, ImplOptions, Kind, Spec, hookimpl, hookspec, options_of, spec_of

FAMILIES = (lifecycle, loop, context, providers, recovery, security, observe, host)

SPECS: dict[str, Spec] = {
    spec.name: spec for family in FAMILIES for value in vars(family).values() if (spec := spec_of(value)) is not None
}
"""Every hook by name."""

__all__ = [
    "FAMILIES",
    "HOOK_API",
    "SPECS",
    "ImplOptions",
    "Kind",
    "Spec",
    "hookimpl",
    "hookspec",
    "options_of",
    "spec_of",
]
