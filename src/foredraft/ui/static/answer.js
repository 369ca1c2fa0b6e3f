// One answer on the page: tokens in, formatted and painted text out. Only what has changed is rendered again.

import { copyText } from "./copy.js";
import { build, parse } from "./markdown.js";
import { paint, paintNearby, rangesOf, unpaint } from "./paint.js";

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

const LONGEST_BLOCK = 20000; // characters; a longer block is shown in parts, so that none takes a frame by itself
const UNSURE = 12; // characters of a line after which it is clear what it begins
const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*$/;

export class Answer {
  // `words`: {copy, copied, code, table}. With `nearby`, only what is near the window is painted (see paint.js).
  constructor(root, words, { nearby = false } = {}) {
    this.root = root;
    this.words = words;
    this.near = nearby ? paintNearby(root.closest(".fd-scroll")) : null;
    this.byNode = new WeakMap();
    this.cost = 0; // milliseconds of the last rendering
    this.empty();
  }

  empty() {
    this.tokens = []; // [text, origin, position, source, probability, guess, kind, seen] (ui/tokens.py)
    this.starts = []; // where each token begins in the source
    this.source = "";
    this.blocks = []; // frozen ones, then those that may still change: {element, ranges, painted}
    this.frozen = 0; // how many blocks are final
    this.tail = 0; // where the first block that may still change begins
    this.opening = ""; // what the tail is to be read after: the first line of a code block that is shown in parts
  }

  push(tokens) {
    for (const token of tokens) {
      this.starts.push(this.source.length);
      this.tokens.push(token);
      this.source += token[7] ?? token[0];
    }
  }

  drop() {
    this.near?.disconnect();
    for (const block of this.blocks) unpaint(block);
  }

  reset() {
    for (const block of this.blocks) this.remove(block);
    this.empty();
  }

  remove(block) {
    this.near?.unobserve(block.element);
    unpaint(block);
    block.element.remove();
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

  // Shows what has come. `finished`: nothing more will. Stops at the time `until`; returns whether all is shown.
  render(finished = false, until = Infinity) {
    const began = performance.now();
    while (this.blocks.length > this.frozen) this.remove(this.blocks.pop());
    let more = true;
    while (more && performance.now() < until) more = this.renderSome(finished, until);
    this.cost = performance.now() - began;
    return !more;
  }

  // One stretch of the tail; true if there is more.
  renderSome(finished, until) {
    let end = Math.min(this.source.length, this.tail + LONGEST_BLOCK);
    let partly = end < this.source.length;
    let text = this.opening + this.source.slice(this.tail, end);
    let { blocks } = parse(text);
    const cut = partly && blocks.length < 2;
    if (cut) {
      end = this.tail + lengthOfPart(this.source.slice(this.tail, end));
      text = this.opening + this.source.slice(this.tail, end);
      ({ blocks } = parse(text));
    } else if (partly) {
      end = this.tail - this.opening.length + blocks.pop().start; // it goes on beyond this stretch
    }
    const base = this.tail - this.opening.length;
    const sure = partly || finished ? blocks.length : settled(blocks, text);
    for (const [i, block] of blocks.entries()) {
      if (i && performance.now() > until) {
        this.moveTo(base + blocks[Math.min(i, sure)].start);
        return true;
      }
      const open = i === blocks.length - 1 && !partly && !finished;
      this.blocks.push(this.show(block, text, base, open && text.length - block.start > LIVE_CODE));
      if (i < sure) this.freeze();
    }
    if (partly) this.moveTo(end, cut ? openingOf(blocks[blocks.length - 1], text) : "");
    else if (sure) this.moveTo(finished ? this.source.length : base + blocks[sure].start);
    return partly;
  }

  moveTo(place, opening = "") {
    this.tail = place;
    this.opening = opening;
  }

  freeze() {
    const block = this.blocks[this.frozen++];
    this.near?.watch(block);
  }

  show(block, text, base, plainCode) {
    // Lines are counted from the beginning of `text`, so the positions fit without moving the tokens.
    const { fragment, nodes } = build(text, block.tokens, { plainCode });
    const element = document.createElement("div");
    element.className = "fd-block";
    element.dir = "auto";
    element.append(fragment);
    this.furnish(element);
    this.root.append(element);
    let index = 0;
    const originAt = (place) => {
      const at = place + base;
      if (!(this.starts[index] <= at && at < (this.starts[index + 1] ?? Infinity))) index = this.tokenAt(at);
      return this.tokens[index]?.[1];
    };
    for (const [node, places] of nodes) this.byNode.set(node, { places, base });
    typeset(element);
    const shown = { element, ranges: rangesOf(nodes, originAt), painted: false };
    if (!this.near || this.live) paint(shown); // what is shown from the beginning is painted when it comes near
    return shown;
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
}

// How many of the blocks are final. What follows a block does not change it, once it is clear what follows: "2" may
// become the second entry of a list, and "-" a word of the line above.
function settled(blocks, text) {
  const last = blocks.length - 1;
  if (last < 1) return 0;
  const { start } = blocks[last];
  return text.length - start < UNSURE && !text.includes("\n", start) ? last - 1 : last;
}

// What the next part of a block that was cut is to be read after: a code block goes on as one.
function openingOf(block, text) {
  const [token] = block?.tokens ?? [];
  if (token?.type !== "fence" || !text.endsWith("\n")) return "";
  const last = text.slice(text.lastIndexOf("\n", text.length - 2) + 1, -1);
  const closed = token.map[1] - token.map[0] > 1 && FENCE.exec(last)?.[1].startsWith(token.markup);
  return closed ? "" : `${token.markup}${token.info}\n`;
}

// Where to cut a block that is too long: behind a line, else behind a word, never inside a character.
function lengthOfPart(text) {
  const line = text.lastIndexOf("\n") + 1;
  if (line > text.length / 2) return line;
  const word = text.lastIndexOf(" ") + 1;
  if (word > text.length / 2) return word;
  return /[\uD800-\uDBFF]$/.test(text) ? text.length - 1 : text.length;
}
