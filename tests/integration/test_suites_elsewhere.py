"""The suites for providers, as somebody uses them who writes a plugin in a folder of their own: one command."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

PLUGINS = Path(__file__).resolve().parents[2] / "plugins_builtin"
RECORDED = PLUGINS / "models" / "openai" / "tests" / "data" / "chat"
README = PLUGINS / "dev" / "testing" / "README.md"
FILES = {
    "acme/__init__.py": "",
    "acme/pegboard.toml": """
schema = 1
id = "acme"
summary = "Models of Acme"
api = ">=1.0,<2"
entry = "acme.plugin:Plugin"

[hooks.provide_model]

[[contributes.models]]
name = "acme"
patterns = ["coyote-*"]

[config]
secrets = ["api_key"]

[config.schema]
type = "object"
properties.api_key = { type = "string", default = "env:ACME_API_KEY" }

[permissions]
net = ["*:*"]
env = ["ACME_*"]
secrets = ["api_key"]
""",
    "acme/plugin.py": '''
from pegboard import hookimpl
from pegboard.errors import CredentialsMissingError


class Plugin:
    """Offers `acme:MODEL`."""

    @hookimpl
    async def provide_model(self, ctx, name):
        from acme.model import AcmeModel

        async def key():
            return (await ctx.secrets.get("api_key", purpose="models", destination="acme")).reveal()

        why = ""
        if name == "auto":
            try:
                await key()
            except CredentialsMissingError:
                return None
            name, why = "coyote-1", "there is a key of Acme"
        model = AcmeModel(name.removeprefix("acme:"), key, "https://acme.invalid")
        model.why = why
        return model
''',
    "acme/model.py": '''
from pegboard_openai.config import Settings
from pegboard_openai.model import OpenAIModel


class AcmeModel(OpenAIModel):
    """A gateway that speaks Chat Completions."""

    provider = "acme"

    def __init__(self, name, key, base_url, read_timeout_s=60.0):
        settings = Settings(api="chat", base_url=f"{base_url}/v1", read_timeout_s=read_timeout_s)
        super().__init__(name, key=key, settings=settings)
''',
}


def example() -> str:
    """The tests of a provider, as the README has them."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [block for block in blocks if "ProviderSuite" in block]
    return str(found)


def test_a_plugin_of_somebody_else_is_judged_by_one_command(tmp_path: Path) -> None:
    """Every rule of the built-in providers runs, and what is skipped says why."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    shutil.copytree(RECORDED, tmp_path / "tests" / "data")
    (tmp_path / "tests" / "test_acme.py").write_text(example(), encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", "--rootdir", ".", "tests"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )

    assert done.returncode == 0, done.stdout
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None, done.stdout
    assert (int(passed[1]) > 100, "Acme shows no thinking" in done.stdout) == (True, True)
