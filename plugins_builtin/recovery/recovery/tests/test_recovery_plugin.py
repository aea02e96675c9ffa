"""The plugin as a distribution: its settings and its manifest."""

from __future__ import annotations

from pathlib import Path

import pegboard_recovery
import pytest
from pegboard_recovery.config import Settings
from pegboard_testing import startup_imports
from pegboard_testing.conformance.roles import ManifestSuite

PACKAGE = Path(pegboard_recovery.__file__).parent


class TestRecoveryManifest(ManifestSuite):
    @pytest.fixture
    def package(self) -> Path:
        return PACKAGE

    @pytest.fixture
    def settings(self) -> type[Settings]:
        return Settings


def test_no_sdk_is_imported() -> None:
    """Faults are known by their codes."""
    startup_imports("import pegboard_recovery.plugin", forbidden=["anthropic", "openai", "google.genai", "httpx2"])
