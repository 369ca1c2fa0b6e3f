// One answer on the page: tokens in, formatted and painted text out. Only what has changed is rendered again.

import { copyText } from "./copy.js";
import { build, parse } from "./markdown.js";
import { paint, unpaint } from "./paint.js";

const LIVE_CODE = 4000; // characters; a longer code block is coloured once it has ended
let katex = null;

function loadKatex() {
  katex ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL("./vendor/katex.js", import.meta.url).href;
    script.onload = () => resolve(globalThis.katex);
    script.onerror = reject;
    document.head.append(script);
  });
  return katex;
}

function typeset(root) {
  const formulas = root.querySelectorAll(".fd-math:not([data-set])");
  if (!formulas.length) return;
  loadKatex().then((engine) => {
    for (const element of formulas) {
      const tex = element.textContent;
      element.dataset.set = "";
      const displayMode = element.classList.contains("fd-math-block");
      const options = { output: "mathml", throwOnError: false, trust: false, strict: false, maxExpand: 100, displayMode };
      try {
        engine.render(tex, element, options);
      } catch {
        element.textContent = tex;
      }
    }
  });
}

export class Answer {
  // `words`: {copy, copied, code} for the buttons of code blocks.
  constructor(root, words) {
    this.root = root;
    this.words = words;
    this.tokens = []; // [text, origin, position, source, probability, guess]
    this.starts = []; // where each token begins in the source
    this.source = "";
    this.blocks = []; // frozen and last: {element, ranges, nodes, start}
    this.tail = 0; // where the first block that may still change begins
    this.byNode = new WeakMap();
    this.cost = 0; // milliseconds of the last rendering
  }

  push(tokens) {
    for (const token of tokens) {
      this.starts.push(this.source.length);
      this.tokens.push(token);
      this.source += token[0];
    }
  }

  reset() {
    for (const block of this.blocks) unpaint(block.ranges);
    this.root.replaceChildren();
    Object.assign(this, { tokens: [], starts: [], source: "", blocks: [], tail: 0 });
  }

  tokenAt(place) {
    let low = 0;
    let high = this.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.starts[middle] <= place) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  render(finished = false) {
    const began = performance.now();
    const text = this.source.slice(this.tail);
    const { blocks } = parse(text);
    while (this.blocks.length && this.blocks[this.blocks.length - 1].start >= this.tail) {
      const old = this.blocks.pop();
      unpaint(old.ranges);
      old.element.remove();
    }
    const base = this.tail;
    blocks.forEach((block, i) => {
      const last = i === blocks.length - 1 && !finished;
      this.blocks.push(this.show(block, text, base, last && text.length - block.start > LIVE_CODE));
    });
    // All but the last block are final: what follows a block never changes it.
    if (blocks.length > 1) this.tail = base + blocks[blocks.length - 1].start;
    if (finished) this.tail = this.source.length;
    this.cost = performance.now() - began;
  }

  show(block, text, base, plainCode) {
    // Lines are counted from the beginning of `text`, so the positions fit without moving the tokens.
    const { fragment, nodes } = build(text, block.tokens, { plainCode });
    const element = document.createElement("div");
    element.className = "fd-block";
    element.append(fragment);
    this.root.append(element);
    let index = 0;
    const originAt = (place) => {
      const at = place + base;
      if (!(this.starts[index] <= at && at < (this.starts[index + 1] ?? Infinity))) index = this.tokenAt(at);
      return this.tokens[index]?.[1];
    };
    const ranges = paint(nodes, originAt);
    for (const [node, places] of nodes) this.byNode.set(node, { places, base });
    this.furnish(element);
    typeset(element);
    return { element, ranges, nodes, start: base + block.start };
  }

  furnish(element) {
    // A code block gets its language and a copy button; tables and code can be scrolled with the keyboard.
    for (const pre of element.querySelectorAll("pre")) {
      const code = pre.firstElementChild;
      const language = code.className.replace("language-", "");
      const head = document.createElement("div");
      head.className = "fd-code-head";
      const name = document.createElement("span");
      name.textContent = language;
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = this.words.copy;
      button.addEventListener("click", async () => {
        await copyText(code.textContent);
        button.textContent = this.words.copied;
        setTimeout(() => (button.textContent = this.words.copy), 1500);
      });
      head.append(name, button);
      const box = document.createElement("div");
      box.className = "fd-code";
      pre.replaceWith(box);
      pre.tabIndex = 0;
      pre.setAttribute("role", "region");
      pre.setAttribute("aria-label", `${this.words.code} ${language}`.trim());
      box.append(head, pre);
    }
    for (const table of element.querySelectorAll("table")) {
      const box = document.createElement("div");
      box.className = "fd-table";
      box.tabIndex = 0;
      box.setAttribute("role", "region");
      box.setAttribute("aria-label", this.words.table);
      table.replaceWith(box);
      box.append(table);
    }
  }

  inspect(x, y) {
    // The token under a point of the page, or null.
    const caret = document.caretPositionFromPoint?.(x, y);
    const known = caret && this.byNode.get(caret.offsetNode);
    if (!known) return null;
    const place = known.places[Math.min(caret.offset, known.places.length - 1)];
    return place >= 0 ? this.tokens[this.tokenAt(place + known.base)] : null;
  }

  drop() {
    for (const block of this.blocks) unpaint(block.ranges);
  }
}
