"""`run`, `chat` and `verify` as a person uses them: real files, a real terminal where colours matter."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

Pair = tuple[Path, Path]
COMMAND = [sys.executable, "-m", "foredraft"]


def foredraft(*args: object, stdin: str | bytes = b"", **more: object) -> subprocess.CompletedProcess[bytes]:
    """Run the program in a process of its own, without a terminal."""
    data = stdin.encode("utf-8") if isinstance(stdin, str) else stdin
    return subprocess.run([*COMMAND, *map(str, args)], input=data, capture_output=True, timeout=120, **more)


def on_a_terminal(*args: object, env: dict[str, str] | None = None) -> tuple[str, int]:
    """The same with stdout on a pseudo-terminal: what a person would see."""
    pty = pytest.importorskip("pty", reason="pseudo-terminals are POSIX")
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *map(str, args)],
        stdin=subprocess.DEVNULL,
        stdout=follower,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm-256color", **(env or {})},
    )
    os.close(follower)
    seen = b""
    while True:
        try:
            data = os.read(leader, 65536)
        except OSError:  # the other side has closed
            break
        if not data:
            break
        seen += data
    os.close(leader)
    return seen.decode("utf-8"), process.wait(timeout=60)


def story(pair: Pair) -> list[object]:
    return [
        "--model",
        pair[0],
        "--draft",
        pair[1],
        "--raw",
        "--kv-type",
        "f32",
        "--context",
        "256",
        "--controller",
        "fixed",
    ]


def test_run_json_has_every_figure_and_they_add_up(story_pair: Pair) -> None:
    done = foredraft("run", "Once upon a time", *story(story_pair), "--json", "--seed", 4, "-n", 50, "--max-draft", 3)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert {"text", "tokens", "stop_reason", "model", "draft", "speculation", "numerics", "stats"} <= answer.keys()
    assert answer["stop_reason"] == "length"
    assert answer["speculation"]["status"] == "active"
    assert answer["speculation"]["reason"]
    assert answer["numerics"]["mode"] in ("exact", "fast")
    assert {"batches_exact", "max_abs_diff", "batch", "context", "beside", "ordered"} <= set(answer["numerics"])
    stats = answer["stats"]
    assert stats["tokens"] == len(answer["tokens"]) == 50
    assert stats["drafted"] == stats["accepted"] + stats["rejected"] + stats["ignored"] > 0
    assert stats["tokens"] == stats["accepted"] + stats["rounds"] - stats["cut"]
    assert stats["tokens_per_round"] == pytest.approx(stats["tokens"] / stats["rounds"], abs=1e-3)
    assert 1 <= len(stats["acceptance_by_position"]) <= 3
    for name in ("prompt_tokens", "tokens_per_second", "time_to_first_token_s", "generation_s", "draft_s", "verify_s"):
        assert stats[name] > 0, name
    assert stats["other_s"] >= 0


def test_the_same_seed_gives_the_same_text_with_any_draft_or_none(story_pair: Pair) -> None:
    main, draft = story_pair
    texts = set()
    for choice in (draft, main, "off"):
        args = [
            "--model",
            main,
            "--draft",
            choice,
            "--raw",
            "--kv-type",
            "f32",
            "--context",
            "256",
            "--controller",
            "fixed",
        ]
        done = foredraft("run", "Tom and Lily", *args, "--seed", 7, "-n", 40)
        assert done.returncode == 0, done.stderr
        texts.add(done.stdout)
    assert len(texts) == 1


def test_piped_output_is_the_text_alone(story_pair: Pair) -> None:
    done = foredraft("run", "-", *story(story_pair), "--seed", 1, "-n", 12, stdin="Once upon a time")
    assert done.returncode == 0
    assert b"\x1b" not in done.stdout
    assert done.stdout.endswith(b"\n")
    quiet = done.stderr.decode()
    assert "too large" in quiet.lower()  # the advice about a pair of equal size
    assert "tok/s" not in quiet
    stats = foredraft("run", "-", *story(story_pair), "--seed", 1, "-n", 12, "--stats", stdin="Once upon a time")
    assert stats.stdout == done.stdout
    assert "accepted" in stats.stderr.decode()
    assert "look-ahead" in stats.stderr.decode()


def test_on_a_terminal_accepted_tokens_are_green_and_underlined(story_pair: Pair) -> None:
    args = ["run", "Once upon a time", *story(story_pair), "--seed", 1, "-n", 40]
    plain = foredraft(*args).stdout.decode()
    seen, code = on_a_terminal(*args)
    assert code == 0
    assert "\x1b[32;4m" in seen
    assert "\x1b[2;4m" in seen
    bare, _ = on_a_terminal(*args, env={"NO_COLOR": "1"})
    assert "\x1b[" not in bare
    assert bare.replace("\r\n", "\n") == plain


def test_bytes_that_are_not_utf8_pass_through(story_pair: Pair) -> None:
    done = foredraft("run", "-", *story(story_pair), "--seed", 1, "-n", 8, stdin=b"caf\xe9 \xff\xfe")
    assert done.returncode == 0, done.stderr
    done.stdout.decode("utf-8")


def test_verify_says_identical_and_exits_0(story_pair: Pair) -> None:
    for temperature in ("0", "0.8"):
        done = foredraft("verify", "The dog", *story(story_pair), "-t", temperature, "--seed", 2, "-n", 60, "--json")
        verdict = json.loads(done.stdout)
        assert done.returncode == 0
        assert verdict["identical"] or verdict["near_tie"]
        assert verdict["plain"]["speculation"]["status"] == "off"
        assert verdict["drafted"]["stats"]["accepted"] > 0
    words = foredraft("verify", "The dog", *story(story_pair), "-n", 30)
    assert b"identical" in words.stdout or b"near-tie" in words.stdout


def test_verify_forces_guesses_and_says_when_nothing_was_checked(story_pair: Pair) -> None:
    """A controller that pauses must not make it compare plain decoding with itself."""
    forced = json.loads(foredraft("verify", "The dog", *story(story_pair), "-n", 40, "--json").stdout)
    stats = forced["drafted"]["stats"]
    assert stats["drafted"] >= stats["rounds"], "rounds without a guess"
    assert forced["verdict"] in ("identical", "near-tie")
    main, _ = story_pair
    nothing = foredraft("verify", "The dog", "--model", main, "--draft", "off", "--raw", "-n", 10, "--json")
    assert nothing.returncode == 3
    assert json.loads(nothing.stdout)["verdict"] == "unchecked"


@pytest.mark.parametrize("numerics", ["exact", "fast"])
def test_numerics_are_chosen_and_said(numerics: str) -> None:
    done = foredraft("run", "What is 2 + 3?", "--numerics", numerics, "-n", 8, "--stats", "--json")
    assert json.loads(done.stdout)["numerics"]["mode"] == numerics
    verdict = foredraft("verify", "What is 2 + 3?", "--numerics", numerics, "-n", 8)
    assert f"{numerics}: ".encode() in verdict.stdout


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["run", "hi", "--numerics", "precise"], 2, "one of auto, exact, fast"),
        (["run", "hi", "--temperature", "-1"], 2, "temperature is -1.0"),
        (["run", "hi", "--max-draft", "17"], 2, "from 0 to 16"),
        (["run", "hi", "--top-p", "1.5"], 2, "from 0 to 1"),
        (["run", "hi", "--model", "nowhere.gguf"], 1, "nowhere.gguf"),
        (["verify", "hi", "--min-p", "nan"], 2, "--min-p"),
    ],
)
def test_wrong_values_are_refused_before_anything_is_loaded(args: list[str], code: int, says: str) -> None:
    done = foredraft(*args)
    assert done.returncode == code
    assert says in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    as_json = foredraft(*args, "--json")
    assert json.loads(as_json.stdout)["error"]["message"]


def test_errors_of_the_prompt(story_pair: Pair) -> None:
    empty = foredraft("run", "", *story(story_pair))
    assert empty.returncode == 1
    assert b"prompt is empty" in empty.stderr
    long = foredraft("run", "word " * 400, *story(story_pair))
    assert long.returncode == 1
    assert b"the context holds 256" in long.stderr


def test_a_wrong_draft_is_left_off_aloud_or_refused(story_pair: Pair) -> None:
    main, draft = story_pair
    stranger = draft.with_name("tinystories-656K.gguf")
    args = ["run", "Once", "--model", main, "--draft", stranger, "--raw", "-n", 4]
    left_off = foredraft(*args, "--json")
    assert json.loads(left_off.stdout)["speculation"]["status"] == "unavailable"
    assert "2,304" in json.loads(left_off.stdout)["speculation"]["reason"]
    refused = foredraft(*args, "--draft-required")
    assert refused.returncode == 1
    assert b"2,304" in refused.stderr


def test_a_reader_that_goes_away_ends_the_program_quietly(story_pair: Pair) -> None:
    args = [*COMMAND, "run", "Once upon a time", *map(str, story(story_pair)), "-n", "200"]
    process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) != 0
    assert b"Traceback" not in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the disk that is always full is Linux's")
def test_a_full_disk_is_said(story_pair: Pair) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, "run", "Once upon a time", *map(str, story(story_pair)), "-n", "20"],
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    assert done.returncode == 1
    assert b"No space left" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is a signal on POSIX")
def test_ctrl_c_ends_the_answer_and_prints_the_statistics(tiny_llama: Path) -> None:
    # random weights, greedy: they repeat themselves without end, so the answer is still running whenever Ctrl-C comes
    args = [*COMMAND, "run", "a b", "--model", tiny_llama, "--draft", "off", "--raw", "-t", "0", "--context", "100000"]
    process = subprocess.Popen(
        [*map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # whoever runs the tests in the background has Ctrl-C switched off, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    first = os.read(process.stdout.fileno(), 10)  # it is writing
    process.send_signal(signal.SIGINT)
    rest, said = process.communicate(timeout=60)
    assert first
    assert process.returncode == 130
    assert b"cancelled" in said
    assert b"Traceback" not in said
    assert rest.endswith(b"\n")


def test_chat_remembers_the_conversation(chat_pair: Pair) -> None:
    main, draft = chat_pair
    args = ["chat", "--model", main, "--draft", draft, "-t", "0", "--json"]
    done = foredraft(*args, stdin="What is the quadratic equation formula?\nWhat is 2 + 3?\n")
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.decode().splitlines())
    assert "4ac" in first["text"]
    assert second["stats"]["cached_tokens"] >= first["stats"]["prompt_tokens"]
    assert second["stats"]["prompt_tokens"] > first["stats"]["prompt_tokens"]


def test_a_bad_turn_leaves_the_conversation_as_it_was(chat_pair: Pair) -> None:
    main, draft = chat_pair
    args = ["chat", "--model", main, "--draft", draft, "-t", "0", "--json", "--context", "96"]
    done = foredraft(*args, stdin="What is 2 + 3?\n" + "word " * 200 + "\nWhat is 4 + 4?\n")
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert len(answers) == 2
    assert b"the context holds 96" in done.stderr


def test_minus_one_is_no_limit_and_a_fresh_seed(story_pair: Pair) -> None:
    """As in llama.cpp and LM Studio; -1 of top-k keeps every token."""
    seeds = set()
    for _ in range(2):
        options = ["--max-tokens", "-1", "--seed", "-1", "--top-k", "-1", "--json"]
        done = foredraft("run", "Once", *story(story_pair), *options)
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert said["stop_reason"] in ("eos", "context")
        seeds.add(said["seed"])
    assert len(seeds) == 2
