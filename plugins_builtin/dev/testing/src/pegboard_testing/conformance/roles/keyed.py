"""What the plugin of a provider promises whose models need a key: names, the key, and what it costs to have it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final

import pytest
from pegboard import Agent, AgentRunner, ModelBase
from pegboard.errors import CredentialsMissingError, ModelAuthError, ModelNoneError

from pegboard_testing.board import MakeBoard
from pegboard_testing.startup import startup_imports

HEAVY: Final = ("anthropic", "openai", "google.genai", "httpx2", "pydantic")
"""What a board that asks no model has no use for: SDKs, and what they are made of."""


class KeyedPluginSuite:
    """A plugin that offers the models of one provider. Say what they are called, and provide the fixture `package`."""

    provider: ClassVar[str]
    """What stands before the colon."""
    name: ClassVar[str]
    """Of a model, without the provider, as a user types it; the manifest has a pattern for it."""
    default: ClassVar[str]
    """The model that is taken for `auto`, where nothing is configured."""
    keys: ClassVar[tuple[str, ...]]
    """Variables of the environment that may hold the key; the first is the one that a hint names."""
    heavy: ClassVar[tuple[str, ...]] = HEAVY
    """Modules that are not imported before the first request."""

    @pytest.fixture
    def package(self) -> Path:
        """The folder with the `pegboard.toml`; its module `plugin` has the plugin."""
        raise NotImplementedError("provide the fixture `package`")

    @pytest.fixture
    def model_alone(self) -> ModelBase | None:
        """A model without a board, which was given no key; `None` where the plugin alone makes models."""
        return None

    @pytest.fixture(autouse=True)
    def without_keys(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whoever runs the tests may have one."""
        for variable in self.keys:
            monkeypatch.delenv(variable, raising=False)

    @pytest.mark.asyncio
    @pytest.mark.parametrize("with_provider", [False, True], ids=["bare", "with the provider"])
    async def test_a_name_with_and_without_the_provider(
        self, package: Path, make_board: MakeBoard, with_provider: bool
    ) -> None:
        """Both are the same model; nothing is asked of anybody for it."""
        board = await make_board(folders=[package])
        whole = f"{self.provider}:{self.name}"

        assert (await board.model(whole if with_provider else self.name)).id == whole

    @pytest.mark.asyncio
    async def test_without_a_key_the_error_says_what_to_type(self, package: Path, make_board: MakeBoard) -> None:
        """At the first request; nothing is sent, and nothing is billed."""
        board = await make_board(folders=[package])

        result = await board.run(Agent("a", model=self.name), "?", check=False)

        assert isinstance(result.error, CredentialsMissingError)
        assert self.keys[0] in str(result.error.hint)
        assert (result.usage.requests, result.cost_usd) == (0, 0.0)

    @pytest.mark.asyncio
    async def test_without_a_board_too(self, model_alone: ModelBase | None) -> None:
        """The same is said, and nothing raw of an SDK."""
        if model_alone is None:
            pytest.skip("no `model_alone` is provided")
        result = await AgentRunner(model_alone).get_response(Agent("a"), "?")
        await model_alone.aclose()

        assert isinstance(result.error, CredentialsMissingError | ModelAuthError)
        assert self.keys[0] in str(result.error.hint)

    @pytest.mark.asyncio
    async def test_whether_there_is_a_key_can_be_asked_before(self, package: Path, make_board: MakeBoard) -> None:
        """Nothing is sent for it."""
        board = await make_board(folders=[package])
        model = await board.model(self.name)

        with pytest.raises(CredentialsMissingError):
            await model.connect()

    @pytest.mark.asyncio
    async def test_auto_needs_a_key(
        self, package: Path, make_board: MakeBoard, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It offers itself only where it could be asked, and says why; the key may have any of its names."""
        board = await make_board(folders=[package])
        with pytest.raises(ModelNoneError):
            await board.model("auto")

        for variable in self.keys:
            with monkeypatch.context() as environment:
                environment.setenv(variable, "k")
                model = await board.model("auto")
            assert (model.id, bool(model.why)) == (f"{self.provider}:{self.default}", True)

    def test_no_sdk_before_the_first_request(self, package: Path) -> None:
        """Neither its own nor another provider's."""
        startup_imports(f"import {package.name}.plugin", forbidden=self.heavy)


__all__ = ["HEAVY", "KeyedPluginSuite"]
