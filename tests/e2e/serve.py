"""Runs the real server and app for the browser tests: `python serve.py PORT HOME [MAIN DRAFT]`.

Without models nothing is loaded. `scripted` as MAIN is a model that says a text we know, at a speed we choose, with a
draft that is sometimes wrong: what it says is Markdown with everything in it, and where each token came from is real.
"""

import asyncio
import os
import sys
import time
from pathlib import Path

import numpy as np
import uvicorn

from foredraft.config.shelf import open_shelf
from foredraft.core.errors import ModelError
from foredraft.engines.toy import ToyEngine
from foredraft.pair.llm import LLM
from foredraft.runtime.managed_model import LoadSpec
from foredraft.runtime.runtime import Runtime
from foredraft.server.app import create_app
from foredraft.server.context import ServerSettings, Services
from foredraft.server.loading import load_pair
from foredraft.speculative.drafters import ModelDrafter
from foredraft.ui.app import mount

TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"


class ScriptTokenizer:
    """One token for each piece of the script; token 0 begins, token 1 ends, token 2 is any other text."""

    kind = "toy"
    bos = 0
    eos = 1
    add_bos = True
    add_eos = False
    eog = frozenset({1})

    def __init__(self, pieces):
        self._pieces = ["", "", "?", *pieces]
        self.n_vocab = len(self._pieces)

    def encode(self, text, *, add_special=True, parse_special=True):
        return [0, 2] if add_special else [2]

    def piece(self, token, *, special=False):
        return self._pieces[token].encode()

    def text(self, token):
        return self._pieces[token]


def pieces_of(text):
    """A text in tokens of about four characters, cut anywhere, as a real vocabulary does."""
    rng = np.random.default_rng(3)
    pieces, at = [], 0
    while at < len(text):
        size = int(rng.integers(1, 6))
        pieces.append(text[at : at + size])
        at += size
    return pieces


def scripted(spec, progress):
    """A model that says `script.md` of the home folder, at TOKENS_PER_SECOND."""
    home = Path(os.environ["FOREDRAFT_HOME"])
    tokenizer = ScriptTokenizer(pieces_of((home / "script.md").read_text(encoding="utf-8")))
    pause = 1.0 / float(os.environ.get("TOKENS_PER_SECOND", "200"))
    n = tokenizer.n_vocab

    def after(token):
        return 3 if token == 2 else token + 1 if 2 < token < n - 1 else 1

    def sure(context):
        law = np.zeros(n)
        law[after(context[-1]) if context else 1] = 1.0
        return law

    def guess(context):
        # Wrong in a third of all places, always the same ones.
        law = sure(context)
        if context and context[-1] % 7 in (2, 5):
            law[:] = 0.0
            law[1] = 1.0
        return law

    settings = {"order": 1, "n_ctx": 1 << 15, "n_batch": 512}
    main = ToyEngine(sure, tokenizer, name="Scripted 1B", chat_template=TEMPLATE, **settings)
    draft = ToyEngine(guess, tokenizer, name="Scripted draft", **settings)
    llm = LLM(main, ModelDrafter(draft, n) if spec.draft != "off" else None)
    main.during = lambda: PACE.keep(pause, *main.passes[-1][0][1:])
    for engine in (main, draft):
        engine.forward = PACE.counted(engine.forward)
    return llm


class Pace:
    """Holds the scripted model to its speed, and knows when it had written how much: the model's own clock."""

    def __init__(self):
        self.written = []
        """(tokens of the answer, Unix seconds) at each pass of the running or last answer."""
        self.cpu = 0.0
        """Processor time of the models themselves: what a real one would need is another matter."""

    def keep(self, pause, start, size):
        """Before a pass over `size` tokens from `start` on."""
        now = time.time()
        if start == 0:
            self.prompt = size
        tokens = max(0, start + 1 - self.prompt)
        if not self.written or tokens <= self.written[-1][0]:  # another answer; its prompt may have been read before
            self.written, self.began = [(tokens, now)], now - tokens * pause
            return
        time.sleep(max(0.0, self.began + tokens * pause - now))
        self.written.append((tokens, time.time()))

    def counted(self, forward):
        def run(chunks):
            before = time.thread_time()
            try:
                return forward(chunks)
            finally:
                self.cpu += time.thread_time() - before

        return run


PACE = Pace()


def loader(spec, progress):
    if spec.model == "scripted":
        return scripted(spec, progress)
    if spec.model == "broken":
        raise ModelError("This file is no model.", path="broken.gguf")
    return load_pair(spec, progress)


def main(port, home, model="", draft="auto"):
    os.environ["FOREDRAFT_HOME"] = home
    runtime = Runtime(loader)
    services = Services(runtime, settings=ServerSettings(port=port, grace_s=1.0), store=open_shelf())
    app = create_app(services)

    @app.get("/test/clock")
    async def clock():
        """The model's clock, and processor times: of the event loop's thread, the whole process, the models in it."""
        spent = {"loop_s": time.thread_time(), "process_s": time.process_time(), "model_s": PACE.cpu}
        return {"written": PACE.written, **spent}

    mount(app, services)

    async def run():
        server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", ws_max_size=16 << 20))
        loading = asyncio.create_task(load()) if model else None
        await server.serve()
        del loading

    async def load():
        name = Path(model).stem if model.endswith(".gguf") else model
        try:
            await runtime.load(LoadSpec(model, draft=draft, id=name, ttl_s=None))
        except ModelError as error:  # as `foredraft serve` does it
            services.load_failure = error
            services.event_log.write("model", f"{name} could not be loaded", model=name)

    asyncio.run(run())


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
