"""Client libraries from npm, unmodified: each folder of `npm` names one with its exact version.

They are installed once into a cache folder ($FOREDRAFT_NPM_CLIENTS, else ~/.cache/foredraft-npm-clients), from whatever
registry npm is set up for. Without node, npm or a registry the tests that need one are skipped with the reason, which
pytest prints at the end (`-ra`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from filelock import FileLock

HERE = Path(__file__).parent
ENVIRONMENT = dict(os.environ)
"""Read when this module is imported: tests are given another home, npm's settings are in the user's own."""
HOME = Path(ENVIRONMENT.get("FOREDRAFT_NPM_CLIENTS") or Path.home() / ".cache" / "foredraft-npm-clients")
INSTALL_S = 240
OLDEST_NODE = 18

NpmClient = Callable[[str], Path]
Node = Callable[..., str]


@pytest.fixture(scope="session")
def npm_client() -> NpmClient:
    """The folder, with `node_modules` in it, of a client by the name of its folder under `npm`."""

    def find(name: str) -> Path:
        folder, problem = _installed(name)
        if folder is None:
            pytest.skip(f"{name} from npm: {problem}")
        return folder

    return find


@pytest.fixture(scope="session")
def node(npm_client: NpmClient) -> Node:
    """Runs a script of this folder against a client: `node("ollama-0.6", "ollama.cjs", address)` gives what it wrote.
    A CommonJS script finds the client by `require`."""

    def run(name: str, script: str, *arguments: str, timeout_s: float = 120) -> str:
        modules = npm_client(name) / "node_modules"
        command = [_program("node"), str(HERE / script), *arguments]
        environment = ENVIRONMENT | {"NODE_PATH": str(modules)}
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=timeout_s, check=False
        )
        assert done.returncode == 0, f"{script} on {name}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    return run


@cache
def _installed(name: str) -> tuple[Path | None, str]:
    """(the folder of a client, or None; why there is none)."""
    wanted = (HERE / "npm" / name / "package.json").read_bytes()
    folder = HOME / f"{name}-{hashlib.sha256(wanted).hexdigest()[:12]}"
    if not _program("node") or not _program("npm"):
        return None, "node and npm are not installed"
    version = subprocess.run([_program("node"), "--version"], capture_output=True, text=True, check=False).stdout
    if int(version.strip().lstrip("v").partition(".")[0] or 0) < OLDEST_NODE:
        return None, f"node {version.strip()} is older than {OLDEST_NODE}"
    try:
        HOME.mkdir(parents=True, exist_ok=True)
        with FileLock(HOME / f"{folder.name}.lock", timeout=2 * INSTALL_S):  # workers of one run share the folder
            return (folder, "") if folder.is_dir() else _install(wanted, folder)
    except OSError as error:
        return None, f"{HOME}: {error}"


def _install(package: bytes, folder: Path) -> tuple[Path | None, str]:
    """Install into a folder of another name first: one that is there is complete."""
    with tempfile.TemporaryDirectory(dir=HOME, ignore_cleanup_errors=True) as box:
        fresh = Path(box) / "client"
        fresh.mkdir()
        (fresh / "package.json").write_bytes(package)
        command = [_program("npm"), "install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"]
        try:
            done = subprocess.run(
                command, cwd=fresh, env=ENVIRONMENT, capture_output=True, text=True, timeout=INSTALL_S, check=False
            )
        except subprocess.TimeoutExpired:
            return None, f"npm did not finish within {INSTALL_S} s"
        if done.returncode != 0:
            said = [line for line in done.stderr.splitlines() if line.startswith("npm error")]
            return None, "npm could not install it: " + (" ".join(said[:2]) or done.stderr[-300:])
        fresh.rename(folder)
    return folder, ""


def _program(name: str) -> str:
    """Its path (on Windows npm is a script with an ending); empty where it is not there."""
    return shutil.which(name, path=ENVIRONMENT.get("PATH")) or ""
