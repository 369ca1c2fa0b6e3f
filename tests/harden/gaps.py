"""How long the event loop stands still at each body that once failed, alone: `python -m tests.harden.gaps`.

One body after the other is sent a few times to a server with toy models that does nothing else; said of each is the
longest gap of the loop, the median of the times it was sent: all of it, what of it the server worked (the rest is a
machine that was busy elsewhere), and what the loop's own thread did (the rest is a thread that kept Python's lock).
Besides the corpus there are bodies just within every limit, which are
read to their end.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import httpx

from tests.harden.requests import ASK, BLOCK, CHAT, CORPUS, MESSAGES, OLLAMA, RESPONSES, V1, Gap, chat

LONG = "a" * 1_500
WITHIN: dict[str, tuple[str, Any]] = {
    "99,000 keys": (CHAT, chat(**{f"unknown{n}": 1 for n in range(99_000)})),
    "99,000 keys, long": (CHAT, chat(**{f"unknown{n}" * 10: "x" * 60 for n in range(99_000)})),
    "99,000 keys inside": (CHAT, chat(metadata={f"unknown{n}": 1 for n in range(99_000)})),
    "990,000 values": (CHAT, chat(unknown=[1] * 990_000)),
    "900,000 texts": (CHAT, chat(unknown=["ab"] * 900_000)),
    "900,000 fractions": (CHAT, chat(unknown=[1.2345678] * 900_000)),
    "195,000 lists": (CHAT, chat(unknown=[[1]] * 195_000)),
    "95,000 objects": (CHAT, chat(unknown=[{"a": 1}] * 95_000)),
    "10,000 messages": (CHAT, chat(messages=[{"role": "user", "content": "a"}] * 10_000)),
    "wrong messages": (CHAT, chat(messages=[{"role": 5, "content": 7}] * 10_000)),
    "numbers for messages": (CHAT, chat(messages=list(range(10_000)))),
    "10,000 items": (RESPONSES, {"input": [{"role": "user", "content": "a"}] * 10_000}),
    "wrong items": (RESPONSES, {"input": [{"role": 5}] * 10_000}),
    "surrogates": (CHAT, chat(messages=[{"role": "user", "content": "\ud800"}], unknown=["ab"] * 400_000)),
    "a half at the end": (CHAT, chat(messages=[{"role": "user", "content": "é" * 2_000_000 + "\ud800"}])),
    "no JSON at the end": (CHAT, b'{"a": [' + b"1," * 900_000 + b"x"),
    "arguments of texts": (
        CHAT,
        chat(
            messages=[{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": '"",' * 900_000}}]}]
        ),
    ),
    "metadata": (RESPONSES, {"input": "a", "max_output_tokens": 2, "metadata": {f"k{n}": "v" for n in range(99_000)}}),
    "instructions": (RESPONSES, {"input": "a", "instructions": "a" * 15_000_000}),
    "system blocks, 1,000": (MESSAGES, {"max_tokens": 2, "messages": ASK * 9_000, "system": [BLOCK] * 1_000}),
    "long ones of one role": (MESSAGES, {"max_tokens": 2, "messages": [{"role": "user", "content": LONG}] * 9_000}),
    "long thoughts": (RESPONSES, {"input": [{"type": "reasoning", "content": LONG, "summary": []}] * 9_000}),
    "long answers": (RESPONSES, {"input": [{"role": "assistant", "content": LONG}] * 9_000}),
    "long ones of Ollama": (OLLAMA, {"messages": [{"role": "user", "content": LONG}] * 9_000}),
    "long parts": (V1, {"input": [{"type": "text", "content": LONG}] * 9_000}),
    "long ones": (CHAT, chat(messages=[{"role": "user", "content": LONG}] * 9_000)),
    "a small one": (CHAT, chat(messages=ASK)),
}
"""Bodies that are read to their end."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=5, help="how often each is sent")
    parser.add_argument("--only", default="", help="names that hold this")
    parser.add_argument("--most", type=float, default=60.0, help="milliseconds that none may exceed")
    asked = parser.parse_args()
    bodies = {name: given for name, given in (CORPUS | WITHIN).items() if asked.only in name}
    spans: dict[str, list[tuple[float, float, int]]] = {name: [] for name in bodies}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.harden.server", "--from", "0.003"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        with httpx.Client(base_url=process.stdout.readline().strip(), timeout=120) as http:
            http.post(CHAT, json=chat()).raise_for_status()
            for name, (path, body) in bodies.items():
                content = body if isinstance(body, bytes) else json.dumps(body).encode()
                for _ in range(asked.times + 1):
                    began = time.time()
                    try:
                        status = http.post(
                            path, content=content, headers={"content-type": "application/json"}
                        ).status_code
                    except httpx.TransportError:
                        status = 0  # refused while it was being sent
                    time.sleep(0.05)  # the loop's next beat is told, too
                    spans[name].append((began, time.time(), status))
        process.stdin.close()
        gaps = [Gap(*gap) for gap in json.loads(process.stdout.readline())["gaps"]]
    found = []
    for name, times in spans.items():
        longest = []
        for began, ended, _ in times[1:]:  # the first warms up
            inside = [gap for gap in gaps if began <= gap.ended <= ended]
            longest.append(max(inside, key=lambda gap: gap.seconds, default=Gap()))
        middle = sorted(longest, key=lambda gap: gap.own)[len(longest) // 2]
        took = statistics.median(ended - began - 0.05 for began, ended, _ in times[1:])
        found.append((middle.own, max(gap.own for gap in longest), middle, took, times[-1][2], name))
    print(f"{'the server':>10} {'at most':>8} {'the loop':>8} {'in all':>8} {'answer':>8}  ms of its longest gap at")
    for own, most, gap, took, status, name in sorted(found, key=lambda row: row[0], reverse=True):
        figures = (
            f"{own * 1e3:10.1f} {most * 1e3:8.1f} {gap.thread * 1e3:8.1f} {gap.seconds * 1e3:8.1f} {took * 1e3:8.0f}"
        )
        print(f"{figures}  {name} ({status})")
    return int(any(own * 1e3 > asked.most for own, *_ in found))


if __name__ == "__main__":
    sys.exit(main())
