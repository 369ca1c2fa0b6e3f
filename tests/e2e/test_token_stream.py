"""The answer's element: what is painted is what was accepted, whatever the Markdown; and nothing in it can run."""

import random
import urllib.request

import pytest

from tests.e2e.long_talk import long_talk

# Every visible character of a document is another one, so that it can be found again in the page.
SENTINELS = [chr(c) for c in range(0x4E00, 0x4E00 + 18000)]

CHECK = """async ({text, cuts, kinds, steps}) => {
    const { Answer } = await import('/_foredraft/static/answer.js');
    const root = document.createElement('div');
    root.className = 'fd-prose';
    document.body.append(root);
    const answer = new Answer(root, {copy: 'Copy', copied: 'Copied', code: 'Code', table: 'Table'});
    const tokens = cuts.slice(1).map((end, i) => [text.slice(cuts[i], end), kinds[i], 0]);
    for (let at = 0; at < tokens.length; at += steps) {
        answer.push(tokens.slice(at, at + steps));
        answer.render(false);
    }
    answer.render(true);
    const kindOf = {};
    tokens.forEach(([piece, kind]) => { for (const c of piece) kindOf[c] = kind; });
    const painted = new Map();
    for (const [name, letter] of [['fd-accepted', 'a'], ['fd-corrected', 'c']])
        for (const range of CSS.highlights.get(name))
            if (root.contains(range.startContainer))
                for (let i = range.startOffset; i < range.endOffset; i++)
                    painted.set(range.startContainer.data[i] + '|' + i + '|' + range.startContainer.data, letter);
    const wrong = [];
    let seen = 0;
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        if (node.parentElement.closest('math, .fd-math, .fd-code-head')) continue;
        for (let i = 0; i < node.data.length; i++) {
            const c = node.data[i];
            if (c < '\\u4e00' || c > '\\u9fff') continue;
            seen += 1;
            const is = painted.get(c + '|' + i + '|' + node.data) ?? 'm';
            const should = kindOf[c] === 'b' ? 'm' : kindOf[c];
            if (is !== should) wrong.push([c, text.indexOf(c), is, should]);
        }
    }
    answer.drop();
    const left = [...CSS.highlights.get('fd-accepted')].filter((r) => root.contains(r.startContainer)).length;
    root.remove();
    return {seen, wrong: wrong.slice(0, 5), left};
}"""


class Document:
    """A random Markdown document: code, tables, lists, emphasis, quotes, links, formulas, all nested as they come."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.letters = iter(SENTINELS)

    def word(self):
        return "".join(next(self.letters) for _ in range(self.random.randint(1, 4)))

    def inline(self, depth=0):
        pick = self.random.random()
        if depth > 2 or pick < 0.45:
            return self.word()
        inner = self.inline(depth + 1)
        return self.random.choice(
            [
                f"**{inner}**",
                f"*{inner}*",
                f"`{self.word()}`",
                f"~~{inner}~~",
                f"[{inner}](https://example.com/a_b)",
                f"{inner} {self.inline(depth + 1)}",
                f"\\*{inner}",
                f"&amp;{inner}",
                f"{inner}<br>",
                f"$x^2$ {inner}",
                f"`` {self.word()} ` {self.word()} ``",
                f"__{inner}__",
                f"![{self.word()}](x.png)",
                f"{inner}  \n{self.word()}",
                f"<b>{inner}</b>",
                f"{inner}\n{self.word()}",
                f"[{inner}]",
                f"\\({self.random.randint(1, 9)}\\) {inner}",
                f'[{inner}](https://e.com "{self.random.choice("abc")}")',
                f"{inner} _ {self.word()} * {self.word()}",
            ]
        )

    def line(self):
        return " ".join(self.inline() for _ in range(self.random.randint(1, 4))).replace("\n", " ")

    def cell(self):
        more = self.random.choice(["", r" \| " + self.word()])
        return self.inline(2).replace("\n", " ").replace("|", "") + more

    def block(self, depth=0):
        kind = self.random.randrange(8)
        if kind == 0:
            return "#" * self.random.randint(1, 4) + " " + self.line()
        if kind == 1:
            indents = [self.random.choice([0, 2, 4]) for _ in range(self.random.randint(1, 4))]
            code = "\n".join(" " * indent + self.word() for indent in indents)
            language, empty = self.random.choice(["python", "", "x y", "json"]), self.random.choice(["", "\n"])
            return f"```{language}\n{empty}{code}\n```"
        if kind == 2:
            columns = self.random.randint(1, 3)
            rows = [" | ".join(self.cell() for _ in range(columns)) for _ in range(self.random.randint(1, 3))]
            edge = self.random.choice(["|", ""]) if columns > 1 else "|"
            lines = [rows[0], "|".join(["---"] * columns), *rows[1:]]
            return "\n".join(f"{edge}{line}{edge}" for line in lines)
        if kind == 3:
            mark = self.random.choice(["- ", "* ", "1. ", "3) "])
            items = [mark + self.line() for _ in range(self.random.randint(1, 4))]
            if depth < 2 and self.random.random() < 0.4:
                inner = self.block(depth + 1).split("\n")
                items.append(mark + ("\n" + " " * len(mark)).join([self.word(), "", *inner]))
            return self.random.choice(["\n", "\n\n"]).join(items)
        if kind == 4 and depth < 2:
            return "\n".join("> " + line for line in self.block(depth + 1).split("\n"))
        if kind == 5:
            return "$$" + "\n\\frac{1}{2}\n" + "$$"
        if kind == 6:
            return "    " + self.word() + "\n    " + self.word()
        return "\n".join(self.line() for _ in range(self.random.randint(1, 3)))

    def text(self):
        return "\n\n".join(self.block() for _ in range(self.random.randint(1, 5))) + self.random.choice(["", "\n"])


def cut(text, rng):
    """The text in tokens, as the page gets it: cut anywhere, with an origin each. Offsets count UTF-16 units."""
    cuts = sorted({0, len(text), *(rng.randrange(len(text) + 1) for _ in range(len(text) // 3))})
    return cuts, [rng.choice("aacmb") for _ in cuts[1:]]


@pytest.fixture(scope="module")
def blank(served, shared_context):
    page = shared_context.new_page()
    page.goto(served.url)
    page.wait_for_function("window.fd")
    yield page
    page.close()


@pytest.mark.parametrize("seed", range(8))
def test_painted_ranges_are_the_true_origins(blank, seed):
    checked = 0
    for number in range(40):
        rng = random.Random(1000 * seed + number)
        text = Document(1000 * seed + number).text()
        cuts, kinds = cut(text, rng)
        steps = rng.choice([1, 3, 7, 50, 10_000]) if len(cuts) < 400 else 50
        result = blank.evaluate(CHECK, {"text": text, "cuts": cuts, "kinds": kinds, "steps": steps})
        assert result["wrong"] == [], (number, text)
        assert result["left"] == 0
        checked += result["seen"]
    assert checked > 1000


PAINTED = """() => {
    const ranges = [...CSS.highlights.get('fd-accepted'), ...CSS.highlights.get('fd-corrected')];
    const painted = new Set(ranges.map((range) => range.startContainer.parentElement.closest('.fd-block')));
    const box = document.querySelector('.fd-scroll').getBoundingClientRect();
    const out = {bare: [], far: 0, seen: 0, ranges: ranges.length};
    for (const block of document.querySelectorAll('.fd-block')) {
        const {top, bottom} = block.getBoundingClientRect();
        const shown = block.checkVisibility({contentVisibilityAuto: true}); // its message is near the window
        const seen = shown && bottom > box.top && top < box.bottom;
        out.seen += seen;
        if (seen && !painted.has(block) && !block.querySelector('.fd-math-block')) out.bare.push(block.textContent);
        const far = bottom < box.top - 2 * box.height || top > box.bottom + 2 * box.height;
        out.far += far && painted.has(block);
    }
    return out.seen > 3 && !out.bare.length && !out.far ? out : null;
}"""


def test_what_is_seen_is_painted_and_what_is_far_costs_nothing(served, open_page, script):
    """Every registered range costs time at every change of a page; a long chat would have thousands."""
    page = open_page(served, long_talk(served, script * 20, 3, title="Far"))
    page.wait_for_function("document.querySelectorAll('.fd-prose[aria-busy=false]').length === 3")
    box = page.locator(".fd-scroll")
    assert box.evaluate("(box) => box.scrollHeight") > 10_000
    for share in (1.0, 0.8, 0.5, 0.51, 0.1, 0.0, 0.99):
        page.evaluate(
            "(s) => { const b = document.querySelector('.fd-scroll'); b.scrollTop = s * b.scrollHeight; }", share
        )
        painted = page.wait_for_function(PAINTED).json_value()
        assert 20 < painted["ranges"] < 1500


SAME = """async ({text, cuts, kinds, steps}) => {
    const { Answer } = await import('/_foredraft/static/answer.js');
    const tokens = cuts.slice(1).map((end, i) => [text.slice(cuts[i], end), kinds[i], 0]);
    const written = (steps) => {
        const root = document.createElement('div');
        const answer = new Answer(root, {copy: 'Copy', copied: 'Copied', code: 'Code', table: 'Table'});
        for (let at = 0; at < tokens.length; at += steps) {
            answer.push(tokens.slice(at, at + steps));
            answer.render(false);
        }
        answer.render(true);
        answer.drop();
        for (const formula of root.querySelectorAll('.fd-math')) formula.textContent = '';
        return root.innerHTML;
    };
    return [written(steps), written(tokens.length)];
}"""


@pytest.mark.parametrize("seed", range(8))
def test_what_was_read_live_is_what_a_reload_shows(blank, seed):
    for number in range(40):
        rng = random.Random(1000 * seed + number)
        text = Document(1000 * seed + number).text()
        cuts, kinds = cut(text, rng)
        live, again = blank.evaluate(SAME, {"text": text, "cuts": cuts, "kinds": kinds, "steps": rng.choice([1, 3, 7])})
        assert live == again, (number, text)


HOSTILE = [
    "<script>window.hacked=1</script>",
    '<img src=x onerror="window.hacked=1">',
    "[click](javascript:window.hacked=1)",
    "[click](  JaVaScRiPt:window.hacked=1)",
    "[click](data:text/html,<script>window.hacked=1</script>)",
    "[click](vbscript:x)",
    "<javascript:window.hacked=1>",
    "![x](https://evil.example/track.png)",
    '<iframe src="https://evil.example"></iframe>',
    '<a href="https://evil.example" onclick="window.hacked=1">x</a>',
    '```html" onmouseover="window.hacked=1\n<script>window.hacked=1</script>\n```',
    "```<script>window.hacked=1</script>\nx\n```",
    r"$\href{javascript:window.hacked=1}{x}$ $\includegraphics{https://evil.example/x.png}$",
    r"$$\htmlData{x=1}{y} \url{javascript:window.hacked=1}$$",
    "<style>*{display:none}</style>",
    '<form action="https://evil.example"><input></form>',
    '[x](https://e.example "title\\" onmouseover=window.hacked=1")',
    "| <script>window.hacked=1</script> |\n|---|\n| <b onclick=window.hacked=1>x</b> |",
    "{{ constructor.constructor('window.hacked=1')() }}",
    "</div></section><h1>outside</h1>",
    "<svg onload=window.hacked=1>",
    "&lt;script&gt;window.hacked=1&lt;/script&gt;",
    "\u202e]1=dekcah.wodniw:tpircsavaj(]kcilc[\u202c",
    "[a](https://e.example/\u202egpj.exe) [b](//evil.example) [c](\\\\evil.example) [d](file:///etc/passwd)",
    "[x](<javascript:window.hacked=1>) [y](java\nscript:window.hacked=1) [z](&#106;avascript:window.hacked=1)",
    "<math><mtext><script>window.hacked=1</script></mtext></math>",
    "$\\unicode{<img src=x onerror=window.hacked=1>}$ $\\text{<script>window.hacked=1</script>}$",
    "<base href='https://evil.example'><meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<template><script>window.hacked=1</script></template>",
    "```\n</code></pre><script>window.hacked=1</script>\n```",
]


def test_hostile_text_cannot_run(another, open_page):
    """Through the whole app: as the model's answer, as the user's message, and as the chat's title."""
    text = "\n\n".join(HOSTILE)
    page = open_page(another("scripted", text=text))
    page.fill("#fd-text", text)
    page.keyboard.press("Enter")
    page.wait_for_selector(".fd-stats", timeout=60_000)
    page.wait_for_selector("math")
    page.evaluate("""for (const e of document.querySelectorAll('.fd-prose *, .fd-chat, .fd-user *'))
        e.dispatchEvent(new Event('mouseover'))""")
    assert page.evaluate("window.hacked") is None
    found = page.evaluate("""() => ({
        bad: document.querySelectorAll('.fd-main :is(script, img, iframe, style, form[action], svg, base, meta,'
            + ' template, object, embed, link)').length,
        links: [...document.querySelectorAll('.fd-prose a, .fd-prose [href]')].map((a) => a.getAttribute('href')),
        handlers: [...document.querySelectorAll('.fd-main *')].filter((e) =>
            [...e.attributes].some((a) => a.name.startsWith('on'))).length,
    })""")
    assert found["bad"] == 0
    assert found["handlers"] == 0
    assert all(link.startswith(("https://", "http://", "mailto:")) for link in found["links"]), found["links"]


@pytest.mark.parametrize("path", ["/", "/c/none", "/models", "/lab", "/server", "/nowhere"])
def test_the_policy_is_on_and_nothing_is_fetched_from_elsewhere(served, shared_context, path):
    """The browser itself has no name but this machine's (see conftest), so every test shows that none is needed."""
    page = shared_context.new_page()  # requests elsewhere are tried on purpose
    answer = page.goto(served.url + path)
    policy = answer.header_value("content-security-policy")
    for rule in ("default-src 'self'", "connect-src 'self'", "object-src 'none'", "frame-ancestors 'none'"):
        assert rule in policy
    refused = page.evaluate("""async () => {
        const blocked = [];
        document.addEventListener('securitypolicyviolation', (e) => blocked.push(e.effectiveDirective));
        await fetch('https://example.com').catch(() => {});
        for (const [tag, name] of [['img', 'src'], ['iframe', 'src'], ['script', 'src'], ['object', 'data']])
            document.body.append(Object.assign(document.createElement(tag), {[name]: 'https://example.com/x'}));
        document.head.append(Object.assign(document.createElement('link'),
            {rel: 'stylesheet', href: 'https://example.com/x'}));
        while (new Set(blocked).size < 6) await new Promise((done) => setTimeout(done, 10));
        return [...new Set(blocked)].sort();
    }""")
    assert refused == ["connect-src", "frame-src", "img-src", "object-src", "script-src-elem", "style-src-elem"]
    page.close()


def test_parts_of_the_page_are_never_older_than_the_program(served):
    with urllib.request.urlopen(served.url + "/_foredraft/static/answer.js") as answer:
        assert answer.headers["Cache-Control"] == "no-cache"
        assert answer.headers["ETag"]
