from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest

from foredraft.server.context import Services
from tests.server import toy


@pytest.fixture(scope="module")
def services() -> Services:
    return toy.services()


@pytest.fixture(scope="module")
def address(services: Services) -> Iterator[str]:
    with toy.serving(services) as base:
        yield base


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{address}/v1", api_key="none", max_retries=0) as one:
        yield one
