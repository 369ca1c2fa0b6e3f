"""Every example runs as it stands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
SAYS = {
    "openai_stream.py": "tokens were guessed right",
    "openai_json.py": "",
    "openai_tools.py": "The model calls temperature(unit=",
    "openai_embeddings.py": "nearest of 3 texts, by toy-embed",
    "openai_prediction.py": "the same text: True",
    "lmstudio_rest.py": "loaded: toy with the draft",
    "curl.sh": "data: [DONE]",
}


@pytest.mark.parametrize("name", SAYS)
def test_example(name: str, address: str) -> None:
    if name.endswith(".sh") and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    command = ["sh", name] if name.endswith(".sh") else [sys.executable, name]
    environment = os.environ | {"FOREDRAFT_URL": address, "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        command,
        cwd=EXAMPLES,
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert SAYS[name] in done.stdout
    assert len((EXAMPLES / name).read_text(encoding="utf-8").splitlines()) <= 30
