"""Plugins that are broken on purpose, each in one way; installed for real, so that every door can be tried on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, get_args

from pegboard.hookspecs import SPECS, Spec

from pegboard_testing.dists import PluginDist, plugin_dist

Fault = Literal[
    "import", "syntax", "exit", "hang", "entry", "init", "activate", "hook", "hang_hook", "block_hook", "wrong_type",
    "cancel", "exit_hook", "twice", "leak",
]  # fmt: skip
"""How a plugin is broken; `FAULTS` says it in words."""

FAULTS: Final[dict[Fault, str]] = {
    "import": "its module raises `ImportError`",
    "syntax": "its module is no Python",
    "exit": "its module calls `sys.exit`",
    "hang": "its module never finishes being imported",
    "entry": "its manifest names a class that is not there",
    "init": "its class cannot be made",
    "activate": "`activate` raises",
    "hook": "its hook raises",
    "hang_hook": "its hook awaits what never comes",
    "block_hook": "its hook blocks the event loop for ever, as a plain function",
    "wrong_type": "its hook returns an `object()`",
    "cancel": "its hook raises `CancelledError` though nobody cancelled",
    "exit_hook": "its hook calls `sys.exit`",
    "twice": "its `around` hook calls `call_next` twice",
    "leak": "it leaves a thread, an environment variable, a path, a log handler and a signal handler behind",
}

_HEAD: Final = (
    '"""Broken on purpose."""\n\nimport asyncio\nimport sys\nimport threading\n\nfrom pegboard import hookimpl\n\n'
)
_EMPTY: Final = "class Plugin:\n    pass\n"

_AT_IMPORT: Final[dict[str, str]] = {
    "import": "raise ImportError('broken on purpose')\n",
    "syntax": "def (:\n",
    "exit": "sys.exit(3)\n",
    "hang": "threading.Event().wait()\n",
    "entry": "",
    "init": "class Plugin:\n    def __init__(self):\n        raise RuntimeError('broken on purpose')\n",
    "activate": "class Plugin:\n    def activate(self, ctx):\n        raise RuntimeError('broken on purpose')\n",
    "leak": (
        "import logging\nimport os\nimport signal\n\n\n"
        "class Plugin:\n"
        "    def activate(self, ctx):\n"
        "        threading.Thread(target=threading.Event().wait, name='leaked-thread', daemon=True).start()\n"
        "        os.environ['PEGBOARD_TESTING_LEAK'] = '1'\n"
        "        sys.path.append('/leaked')\n"
        "        logging.getLogger().addHandler(logging.NullHandler())\n"
        "        if threading.current_thread() is threading.main_thread():\n"
        "            signal.signal(signal.SIGTERM, lambda *_: None)\n"
    ),
}

_IN_HOOK: Final[dict[str, str]] = {
    "hook": "raise RuntimeError('broken on purpose')",
    "hang_hook": "await asyncio.get_running_loop().create_future()",
    "block_hook": "threading.Event().wait()",
    "wrong_type": "return object()",
    "cancel": "raise asyncio.CancelledError",
    "exit_hook": "sys.exit(3)",
    "twice": "await call_next({value}); return await call_next({value})",
}


def broken_plugin(
    site: Path, fault: Fault, *, plugin: str = "broken", hook: str = "tool_call", version: str = "1.0.0"
) -> PluginDist:
    """Install a plugin that is broken in one way.

    Args:
        site: the folder to install into.
        fault: one of `FAULTS`.
        plugin: its id; two of them can stand side by side.
        hook: the hook that misbehaves, for the faults of hooks.
        version: of the distribution, since a quarantine ends with an upgrade.

    Raises:
        ValueError: no such fault, or the hook cannot have it.
    """
    if fault not in get_args(Fault):
        raise ValueError(f"no fault `{fault}`; there are {', '.join(FAULTS)}")
    spec = SPECS[hook]
    code = _AT_IMPORT.get(fault)
    source = code if code is not None else _plugin_with(spec, fault)
    manifest = {"id": plugin, "hooks": {hook: {}} if fault in _IN_HOOK else {}, **_activation(fault)}
    return plugin_dist(site, manifest, {"plugin.py": _HEAD + source}, version=version)


def _activation(fault: str) -> dict[str, object]:
    """What is broken before any hook has to be activated by the start, or nobody would notice."""
    if fault in _IN_HOOK:
        return {}
    return {"activation": ["onStartup"], "startup_reason": "a fault that nobody meets is none"}


def _plugin_with(spec: Spec, fault: str) -> str:
    body = _IN_HOOK[fault].replace("{value}", spec.value or "")
    return f"class Plugin:\n    @hookimpl\n    {_signature(spec, fault)}\n        {body}\n{_rest(spec)}"


def _signature(spec: Spec, fault: str) -> str:
    is_async = spec.kind in ("around", "stream") or (fault != "block_hook" and not spec.sync_only)
    if "await" in _IN_HOOK[fault] and not is_async:
        raise ValueError(f"`{spec.name}` is a plain function and cannot have the fault `{fault}`")
    if fault == "twice" and spec.kind != "around":
        raise ValueError(f"`{spec.name}` is no `around` hook and cannot have the fault `{fault}`")
    return f"{'async ' if is_async else ''}def {spec.name}({', '.join(('self', *spec.args))}):"


def _rest(spec: Spec) -> str:
    """A `stream` hook has to be a generator, also when it never yields."""
    return "        yield\n" if spec.kind == "stream" else ""


BrokenPlugin = Callable[..., PluginDist]
"""The fixture `broken_plugin`: `broken_plugin("hook", hook="tool_call")`."""

__all__ = ["FAULTS", "BrokenPlugin", "Fault", "broken_plugin"]
