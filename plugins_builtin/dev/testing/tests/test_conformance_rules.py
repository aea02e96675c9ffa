"""The conformance rules: each of them can fail, and says why; a plugin in order passes all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pegboard_testing import PluginDist, RuleResult, broken_plugin, run_conformance
from pegboard_testing.conformance import RULES, Rule, UnknownPluginError, find_subject, judge
from pegboard_testing.conformance.rules import TIERS

Dist = Callable[..., PluginDist]

HEAD = """
from __future__ import annotations
from typing import Any
from pegboard import hookimpl
"""
FUTURE = "from __future__ import annotations\n"
GOOD = f"""{HEAD}
class Plugin:
    @hookimpl
    async def tool_call(self, ctx: Any, call: Any, call_next: Any) -> Any:
        return await call_next(call)
"""
RULE = {rule.id: rule for rule in RULES}


def check(rule: str, name: str = "demo") -> RuleResult:
    return judge(RULE[rule], find_subject(name))


def good(plugin_dist: Dist, source: str = GOOD, manifest: Mapping[str, Any] | None = None, **files: str) -> PluginDist:
    """A plugin with one hook that is in order, unless the test says otherwise."""
    content = {"plugin.py": source, "py.typed": "", **files}
    made = plugin_dist(
        {"id": "demo", "hooks": {"tool_call": {}}, **(manifest or {})}, content, requires=["pegboard>=0.1,<1"]
    )
    with (made.info / "METADATA").open("a") as metadata:
        metadata.write("License-File: LICENSE\n\nA plugin of a test.\n")
    return made


def test_a_plugin_in_order_passes(plugin_dist: Dist) -> None:
    """Every rule passes or has nothing to judge."""
    good(plugin_dist)
    results = run_conformance("demo")

    assert {result.rule: result.problems for result in results if result.status == "failed"} == {}
    assert {result.rule for result in results if result.status == "skipped"} == {"tests", "limits", "secrets"}


def test_a_distribution_can_be_named(plugin_dist: Dist) -> None:
    """By any spelling of its name."""
    good(plugin_dist)

    assert find_subject("Pegboard_Demo").plugin == "demo"


def test_an_unknown_name_is_an_error() -> None:
    """Nothing is checked in its place."""
    with pytest.raises(UnknownPluginError, match="no-such"):
        run_conformance("no-such")


def test_a_tier_includes_those_below() -> None:
    """Bronze is part of silver."""
    counts = [sum(rule.tier == tier for rule in RULES) for tier in TIERS]

    assert all(counts)
    assert len({rule.id for rule in RULES}) == len(RULES)


BURN = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\n"
LINGER = """        import asyncio
        try:
            return await call_next(call)
        finally:
            await asyncio.sleep(30)
"""
FAULTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "unknown key": ("manifest-valid", {"manifest": {"colour": "red"}}, "colour"),
    "not listed": ("manifest-equals-code", {"manifest": {"hooks": {}}}, "`tool_call` is implemented and not listed"),
    "not implemented": (
        "manifest-equals-code",
        {"manifest": {"hooks": {"tool_call": {}, "audit": {}}}},
        "`audit` is listed and not implemented",
    ),
    "other option": (
        "manifest-equals-code",
        {"source": GOOD.replace("@hookimpl", "@hookimpl(band=5)")},
        "`tool_call` says band = 5 in code and None in the manifest",
    ),
    "activate raises": (
        "activates",
        {"source": f"{GOOD}\n    def activate(self, ctx: Any) -> None: raise KeyError('gone')"},
        "gone",
    ),
    "slow": ("import-fast", {"source": BURN + GOOD.replace(FUTURE, "")}, "ms; the limit is 100"),
    "side effect": (
        "import-clean",
        {"source": "import os\nos.environ['LEFT'] = 'x'\n" + GOOD.replace(FUTURE, "")},
        "left behind environment `x`",
    ),
    "optional module": (
        "import-light",
        {"source": f"{GOOD}\nimport heavy_one", "manifest": {"optional_imports": {"heavy_one": "x"}}},
        "loads `heavy_one`",
    ),
    "no types": ("types", {"source": f"{GOOD}\n    def helper(self, x): ..."}, "`helper` lacks annotations: x, return"),
    "sleeps": (
        "loop-free",
        {
            "source": GOOD.replace(
                "        return await", "        import time; time.sleep(0.001)\n        return await"
            )
        },
        "`time.sleep` in plugin.py:",
    ),
    "lingers": (
        "cancellation",
        {"source": GOOD.replace("        return await call_next(call)\n", LINGER)},
        "a run that was cancelled in its tool call",
    ),
}


@pytest.mark.parametrize(("rule", "changes", "said"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_found(plugin_dist: Dist, plugin_site: Path, rule: str, changes: dict[str, Any], said: str) -> None:
    """Each rule fails on a plugin that breaks it, and says what is wrong."""
    (plugin_site / "heavy_one.py").write_text("")
    good(plugin_dist, **changes)

    result = check(rule)

    assert result.status == "failed"
    assert any(said in problem for problem in result.problems), result.problems


def test_the_id_has_to_fit(plugin_dist: Dist) -> None:
    """It follows from the name of the distribution, and the manifest repeats it."""
    plugin_dist({"id": "demo"}, dist="pegboard-other")

    assert "does not fit `pegboard-other`" in check("id-fits").problems[0]


def test_missing_files_are_named(plugin_dist: Dist) -> None:
    """Licence, README and marker."""
    plugin_dist({"id": "demo"})

    assert len(check("files").problems) == 3


def test_a_manifest_outside_the_record_is_found(plugin_dist: Dist) -> None:
    """It would not be in the wheel, and would stay after an uninstall."""
    made = good(plugin_dist)
    record = made.info / "RECORD"
    lines = record.read_text().splitlines(keepends=True)
    record.write_text("".join(line for line in lines if "pegboard.toml" not in line))

    assert check("manifest-packaged").status == "failed"
    assert "is not in its RECORD" in check("uninstall-clean").problems[0]


def test_files_that_activation_writes_are_found(plugin_dist: Dist) -> None:
    """Beside its own folders nothing is written."""
    source = f"{GOOD}\n    def activate(self, ctx: Any) -> None: open('left.txt', 'w').close()"
    good(plugin_dist, source)

    assert "left.txt" in check("uninstall-clean").problems[0]


def test_a_tool_needs_limits(plugin_dist: Dist) -> None:
    """A time limit on the object, an effect in the manifest."""
    source = f"""{HEAD}
from pegboard import tool

@tool(name="demo.wait", timeout_s=None)
def wait() -> str:
    return "x"

class Plugin:
    @hookimpl
    def provide_tools(self, ctx: Any) -> list[Any]:
        return [wait]
"""
    good(plugin_dist, source, {"hooks": {"provide_tools": {}}, "contributes": {"tools": [{"name": "demo.wait"}]}})

    problems = check("limits").problems

    assert [problem.rpartition("` ")[2] for problem in problems] == ["declares no effect", "has no `timeout_s`"]


def test_a_secret_in_a_log_is_found(plugin_dist: Dist) -> None:
    """Settings that hold secrets are followed through a run."""
    source = f"""{HEAD}
import os

class Plugin:
    def activate(self, ctx: Any) -> None:
        ctx.log.info(os.environ["CONFORMANCE_SECRET"])

    @hookimpl
    def on_event(self, event: Any) -> None:
        pass
"""
    config = {"schema": {"type": "object", "properties": {"token": {"type": "string"}}}, "secrets": ["token"]}
    good(plugin_dist, source, {"hooks": {"on_event": {}}, "config": config})

    assert check("secrets").problems == ("a secret stands in its log",)


def test_an_unbounded_range_is_found(plugin_dist: Dist) -> None:
    """Of the distribution and of the hook API."""
    plugin_dist({"id": "demo", "api": ">=1.0"}, requires=["pegboard>=0.1"])

    assert [problem.rpartition(" has ")[2] for problem in check("core-range").problems] == ["no upper bound"] * 2


@pytest.mark.parametrize("fault", ["exit", "import", "syntax", "init"])
def test_a_broken_plugin_fails_and_does_not_end_the_check(plugin_site: Path, fault: Any) -> None:
    """Whatever it does happens in a process of its own."""
    broken_plugin(plugin_site, fault)

    results = run_conformance("broken", "bronze")

    assert "activates" in {result.rule for result in results if result.status == "failed"}


def test_a_rule_can_be_exempt(plugin_dist: Dist) -> None:
    """With the reason from the manifest."""
    good(plugin_dist, manifest={"quality": {"exempt": {"types": "generated code"}}})

    result = check("types")

    assert (result.status, result.problems) == ("exempt", ("generated code",))


def test_a_rule_has_a_time_limit(plugin_dist: Dist) -> None:
    """A check that hangs is left behind."""
    import threading

    good(plugin_dist)
    endless = Rule("endless", "bronze", "never", lambda subject: [str(threading.Event().wait())], 0.05)

    assert judge(endless, find_subject("demo")).problems == ("was not decided within 0.05 s",)


def test_a_check_that_fails_is_a_failure(plugin_dist: Dist) -> None:
    """And says that it was the check."""
    good(plugin_dist)

    result = judge(Rule("x", "bronze", "x", lambda subject: [str(1 // 0)]), find_subject("demo"))

    assert result.problems[0].startswith("the check itself failed: ZeroDivisionError")


def test_pytest_runs_the_same_rules(plugin_dist: Dist, tmp_path: Path) -> None:
    """One test per rule, and the exit status says whether all hold."""
    good(plugin_dist)
    command = [sys.executable, "-m", "pytest", "--pyargs", "pegboard_testing.conformance", "--plugin", "demo"]
    command += ["--tier", "bronze", "-p", "no:cacheprovider", "-q", "-rA"]

    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == sum(rule.tier == "bronze" for rule in RULES)
