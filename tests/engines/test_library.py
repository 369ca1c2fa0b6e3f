"""The shared library is started once, whoever asks first."""

import subprocess
import sys

TOGETHER = """
import sys, threading, time
from foredraft.engines.llamacpp import library as module

made, found = [], []

class Slow:
    def __init__(self):
        made.append(self)
        for _ in range(500):
            time.sleep(0)  # let every other thread come this far

module.Library = Slow
sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=lambda: found.append(module.library())) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(made), len(found), len(set(map(id, found))))
"""


def test_threads_that_ask_together_start_it_once():
    """In a process of its own: the library of this one is started already."""
    done = subprocess.run([sys.executable, "-c", TOGETHER], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "8", "1"], done
