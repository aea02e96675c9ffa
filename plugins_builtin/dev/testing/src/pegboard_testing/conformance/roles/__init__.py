"""Suites for the roles that a plugin can have: inherit, provide the fixtures, and pytest runs the rules.

    class TestMyStore(StoreSuite):
        @pytest.fixture
        def store(self, tmp_path):
            return MyStore(tmp_path)

Fixtures may be `async`, with `pytest_asyncio.fixture`. The reference implementations of core pass the same suites.
"""

from __future__ import annotations

from pegboard_testing.conformance.roles.drivers import (
    BusSuite,
    CryptoSuite,
    EgressSuite,
    EngineSuite,
    EnvironmentSuite,
    FilesSuite,
    ProcessSuite,
    SandboxSuite,
    SecretsSuite,
    VectorStoreSuite,
)
from pegboard_testing.conformance.roles.keyed import KeyedPluginSuite
from pegboard_testing.conformance.roles.manifest import ManifestSuite
from pegboard_testing.conformance.roles.model import ModelSuite
from pegboard_testing.conformance.roles.plugins import AgentSuite, GateSuite, ModuleSuite, ObserverSuite
from pegboard_testing.conformance.roles.provider import ProviderSuite, Refusal
from pegboard_testing.conformance.roles.situations import Play, Situation, SituationSuite
from pegboard_testing.conformance.roles.store import ConversationStoreSuite, StoreControlSuite, StoreSuite
from pegboard_testing.conformance.roles.tool import ToolSuite

__all__ = [
    "AgentSuite",
    "BusSuite",
    "ConversationStoreSuite",
    "CryptoSuite",
    "EgressSuite",
    "EngineSuite",
    "EnvironmentSuite",
    "FilesSuite",
    "GateSuite",
    "KeyedPluginSuite",
    "ManifestSuite",
    "ModelSuite",
    "ModuleSuite",
    "ObserverSuite",
    "Play",
    "ProcessSuite",
    "ProviderSuite",
    "Refusal",
    "SandboxSuite",
    "SecretsSuite",
    "Situation",
    "SituationSuite",
    "StoreControlSuite",
    "StoreSuite",
    "ToolSuite",
    "VectorStoreSuite",
]
