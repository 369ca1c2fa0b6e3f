"""What an answer costs the page and the server: counted, and in processor time, which a busy machine does not change.

Times on the clock are measured too, for printing; whether they say anything is told by `on_processor`, the share of its
tasks' time in which the page's thread really ran.
"""

import json
import urllib.request
from dataclasses import dataclass, field

TASK = "ThreadControllerImpl::RunTask"

WATCH = """() => {
    const seen = window.fdSeen = {nodes: 0, blocks: 0, ranges: 0, longest: 0, changed: 0, on: true};
    const add = Highlight.prototype.add;
    Highlight.prototype.add = function (range) { seen.ranges += 1; return add.call(this, range); };
    let last = performance.now();
    const frame = (now) => {
        seen.longest = Math.max(seen.longest, now - last);
        last = now;
        if (seen.on) requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    new MutationObserver((changes) => {
        seen.changed = (performance.timeOrigin + performance.now()) / 1000;
        for (const change of changes) for (const node of change.addedNodes) {
            seen.nodes += 1;
            if (node.className === 'fd-block') seen.blocks += 1;
        }
    }).observe(document.querySelector('.fd-main'), {childList: true, subtree: true});
}"""


@dataclass
class Cost:
    """Of what was done while measuring. Times are seconds."""

    tasks: list[tuple[float, float, float]] = field(default_factory=list)
    """(begin, duration, processor time) of every task of the page's thread."""
    events: int = 0
    """Server-sent events that brought tokens, and their bytes."""
    event_bytes: int = 0
    socket_bytes: int = 0
    """What NiceGUI sent."""
    nodes: int = 0
    """DOM nodes (roots of what was added), and blocks of answers among them."""
    blocks: int = 0
    ranges: int = 0
    """Ranges registered for highlighting."""
    frame_gap: float = 0.0
    last_change: float = 0.0
    """Unix time."""
    tokens: int = 0
    began: float = 0.0
    ended: float = 0.0
    """Unix times of the model's first pass and of its last token."""
    server: float = 0.0
    """Processor time of the server without the scripted model's, and of its event loop alone."""
    loop: float = 0.0

    @property
    def model(self):
        return self.ended - self.began

    @property
    def beyond(self):
        """Time that passed until the page had shown everything, as a share of the model's, less 1."""
        return (self.last_change - self.began) / self.model - 1

    @property
    def page(self):
        return sum(cpu for _, _, cpu in self.tasks)

    @property
    def longest_task(self):
        return max(cpu for _, _, cpu in self.tasks)

    @property
    def on_processor(self):
        return self.page / sum(duration for _, duration, _ in self.tasks)

    def page_in(self, first, last):
        """Processor time of the page's thread in a part of the measured time, both given as shares of it."""
        begin, end = self.tasks[0][0], self.tasks[-1][0]
        return sum(cpu for at, _, cpu in self.tasks if first <= (at - begin) / (end - begin) < last)

    def __str__(self):
        return (
            f"model {self.tokens} tokens in {self.model:.2f} s; shown {self.beyond:+.1%}; "
            f"longest frame gap {1000 * self.frame_gap:.0f} ms, longest task {1000 * self.longest_task:.0f} ms of "
            f"processor; page's thread {self.page / self.model:.0%} of a core, server {self.server / self.model:.1%} "
            f"(event loop {self.loop / self.model:.1%}); {self.events} events of {self.event_bytes:,} bytes, socket "
            f"{self.socket_bytes:,} bytes, {self.nodes} nodes, {self.blocks} blocks, {self.ranges} ranges; the page's "
            f"thread ran in {self.on_processor:.0%} of its tasks' time"
        )


def clock_of(served):
    with urllib.request.urlopen(served.url + "/test/clock") as answer:
        return json.load(answer)


def measure(served, page, act):
    """The cost of `act()`, which returns when everything is shown."""
    cost = Cost()
    devtools = page.context.new_cdp_session(page)
    devtools.send("Network.enable")

    def event(message):
        cost.events += message["eventName"] == "tokens"
        cost.event_bytes += len(message["data"])

    def frame(message):
        cost.socket_bytes += len(message["response"]["payloadData"])

    devtools.on("Network.eventSourceMessageReceived", event)
    devtools.on("Network.webSocketFrameReceived", frame)
    page.evaluate(WATCH)
    before = clock_of(served)
    browser = page.context.browser
    browser.start_tracing(page=page, categories=["toplevel"])
    act()
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))")
    trace = json.loads(browser.stop_tracing())["traceEvents"]
    after = clock_of(served)
    seen = page.evaluate("fdSeen.on = false, fdSeen")
    devtools.detach()
    cost.nodes, cost.blocks, cost.ranges = seen["nodes"], seen["blocks"], seen["ranges"]
    cost.frame_gap, cost.last_change = seen["longest"] / 1000, seen["changed"]
    cost.tasks = _tasks(trace)
    if after["written"]:
        (_, cost.began), (cost.tokens, cost.ended) = after["written"][0], after["written"][-1]
    spent = {name: after[name] - before[name] for name in ("loop_s", "process_s", "model_s")}
    cost.server, cost.loop = spent["process_s"] - spent["model_s"], spent["loop_s"]
    return cost


def _tasks(trace):
    """The tasks of the page's own thread: of all renderers' main threads the one that did most."""
    mains = {
        (one["pid"], one["tid"])
        for one in trace
        if one.get("name") == "thread_name" and one["args"]["name"] == "CrRendererMain"
    }
    by_thread = {main: [] for main in mains}
    for one in trace:
        main = (one["pid"], one["tid"])
        if one["ph"] == "X" and one["name"] == TASK and main in mains:
            by_thread[main].append((one["ts"] / 1e6, one["dur"] / 1e6, one.get("tdur", one["dur"]) / 1e6))
    return sorted(max(by_thread.values(), key=lambda tasks: sum(cpu for _, _, cpu in tasks)))
