// Markdown to HTML that knows, for every visible character, where in the source it stands.
//
// markdown-it throws positions away; here its inline state is extended to keep them (`at` on every inline token), and
// lines give the rest. So the origin of a token can be painted exactly, whatever markup stands around it.
// A model's text is untrusted: no HTML, no images, links to the web and to mail only, and every element and attribute
// is checked once more before it reaches the page.

import MarkdownIt from "./vendor/markdown-it.mjs";
import hljs from "./vendor/highlight.mjs";

const SAFE_LINK = /^(https?:\/\/|mailto:)/i;
const LONGEST_HIGHLIGHT = 20000; // characters of code; longer code stays plain
const TAGS = new Set(
  "P H3 H4 H5 H6 UL OL LI BLOCKQUOTE PRE CODE SPAN TABLE THEAD TBODY TR TH TD A EM STRONG S HR BR DIV".split(" "),
);

export const md = new MarkdownIt({ html: false, linkify: false, typographer: false });
// References would make a block depend on others; images would fetch; joined fragments would lose their positions.
md.disable(["reference", "image", "html_inline", "html_block", "fragments_join", "text_join"]);
md.validateLink = (url) => SAFE_LINK.test(url.trim());

md.inline.State = class extends md.inline.State {
  constructor(src, markdown, env, tokens) {
    super(src, markdown, env, tokens);
    let pending = "";
    let read = 0;
    Object.defineProperty(this, "pending", {
      get() {
        read = this.pos; // `pending += …` reads first: this is where the added text begins
        return pending;
      },
      set(value) {
        if (!pending && value) this.pendingAt = read;
        pending = value;
      },
    });
  }
  pushPending() {
    const token = super.pushPending();
    token.at = this.pendingAt;
    return token;
  }
  push(type, tag, nesting) {
    const token = super.push(type, tag, nesting);
    const last = this.lastDelimiter;
    // Delimiters of one run (`**`) are pushed one by one from the same place.
    token.at = type === "text" && last && last.pos === this.pos ? last.token.at + last.token.content.length : this.pos;
    if (type === "text") this.lastDelimiter = { token, pos: this.pos };
    return token;
  }
};

function mathInline(state, silent) {
  const { src, pos } = state;
  const bracket = src.startsWith("\\(", pos);
  if (!bracket && (src[pos] !== "$" || /\s/.test(src[pos + 1] ?? " "))) return false;
  const open = bracket ? 2 : src[pos + 1] === "$" ? 2 : 1;
  const close = bracket ? "\\)" : "$".repeat(open);
  const none = (state.unclosed ??= {});
  if (pos >= none[close]) return false; // looked for already: a text full of openings is read once, not once for each
  const end = src.indexOf(close, pos + open);
  if (end < 0) none[close] = pos;
  if (end <= pos + open || end + close.length > state.posMax) return false;
  if (!bracket && open === 1 && (/\s/.test(src[end - 1]) || /\d/.test(src[end + 1] ?? ""))) return false; // $5 and $6
  if (!silent) {
    const token = state.push("math_inline", "", 0);
    token.content = src.slice(pos + open, end);
    token.info = open === 2 && !bracket ? "block" : "";
  }
  state.pos = end + close.length;
  return true;
}

function mathBlock(state, start, end, silent) {
  const first = state.src.slice(state.bMarks[start] + state.tShift[start], state.eMarks[start]).trim();
  const open = first.startsWith("$$") ? "$$" : first.startsWith("\\[") ? "\\[" : "";
  if (!open) return false;
  const close = open === "$$" ? "$$" : "\\]";
  const lines = [first.slice(2)];
  let line = start;
  while (!lines[lines.length - 1].trimEnd().endsWith(close)) {
    line += 1;
    if (line >= end || state.isEmpty(line)) return false;
    lines.push(state.getLines(line, line + 1, state.blkIndent, false));
  }
  if (silent) return true;
  const token = state.push("math_block", "", 0);
  token.content = lines.join("\n").trimEnd().slice(0, -close.length);
  token.map = [start, line + 1];
  token.block = true;
  state.line = line + 1;
  return true;
}

md.inline.ruler.before("escape", "math_inline", mathInline);
md.block.ruler.before("paragraph", "math_block", mathBlock, { alt: ["paragraph", "blockquote", "list"] });

const escape = md.utils.escapeHtml;
const math = (tex, display) => `<span class="fd-math${display ? " fd-math-block" : ""}">${escape(tex)}</span>`;
const rules = md.renderer.rules;
rules.text_special = (tokens, i) => escape(tokens[i].content);
rules.math_inline = (tokens, i) => math(tokens[i].content, tokens[i].info === "block");
rules.math_block = (tokens, i) => `<p>${math(tokens[i].content, true)}</p>\n`;
rules.softbreak = () => "\n";
rules.hardbreak = () => "<br>\n";
rules.code_block = (tokens, i) => `<pre><code>${escape(tokens[i].content)}</code></pre>\n`;
rules.fence = (tokens, i, options, env) => {
  const language = tokens[i].info.trim().split(/\s+/)[0].toLowerCase();
  const { content } = tokens[i];
  const known = /^[\w+#.-]{1,20}$/.test(language) && hljs.getLanguage(language);
  const coloured = known && !env.plainCode && content.length < LONGEST_HIGHLIGHT;
  const html = coloured ? hljs.highlight(content, { language, ignoreIllegals: true }).value : escape(content);
  return `<pre><code class="language-${known ? escape(language) : ""}">${html}</code></pre>\n`;
};

function headings(tokens) {
  for (const token of tokens) {
    if (token.type === "heading_open" || token.type === "heading_close") {
      token.tag = `h${Math.min(6, Number(token.tag[1]) + 2)}`; // the page's own headings are h1 and h2
    }
  }
}

// ---- positions ----

// Marks piled on one letter: a browser needs minutes for thousands of them, so only the first ones are shown.
const TOWER = /(\p{M}{32})\p{M}+/gu;
const MOST_MARKS = 32;

class Visible {
  // The characters that will be seen, in order, with their places in the source.
  constructor() {
    this.marks = 0;
    this.text = [];
    this.at = [];
    this.code = []; // inside a code block, where a line break is a character of its own
  }
  add(text, place, code = false) {
    for (let i = 0; i < text.length; i++) {
      this.marks = text[i] >= "\u0300" && /\p{M}/u.test(text[i]) ? this.marks + 1 : 0;
      if (this.marks > MOST_MARKS) continue;
      this.text.push(text[i]);
      this.at.push(typeof place === "function" ? place(i) : place + i);
      this.code.push(code);
    }
  }
}

function inlinePlaces(token, source, lineAt, context) {
  // Where each character of an inline token's content stands in the source.
  const { content } = token;
  const places = new Int32Array(content.length + 1);
  if (!token.map) return cellPlaces(token, source, lineAt, context, places);
  const [first] = token.map;
  let done = 0;
  content.split("\n").forEach((text, i) => {
    const start = lineAt[first + i];
    const line = source.slice(start, lineAt[first + i + 1] ?? source.length).replace(/\r?\n$/, "");
    let from;
    if (context.markup && context.markup[0] === "#") {
      const marks = line.indexOf(context.markup) + context.markup.length;
      from = line.indexOf(text, marks);
    } else {
      // Prefixes (indentation, `>`, list marks) are gone and the end may be trimmed: a line ends where its text ends.
      from = line.trimEnd().length - text.trimEnd().length;
    }
    for (let k = 0; k <= text.length && done + k < places.length; k++) places[done + k] = start + Math.max(0, from + k);
    done += text.length + 1;
  });
  return places;
}

function cellPlaces(token, source, lineAt, context, places) {
  const start = lineAt[context.row];
  const line = source.slice(start, lineAt[context.row + 1] ?? source.length);
  let pos = line.length - line.trimStart().length;
  // Inside quotes and lists a prefix comes before the row: the first cell's own text tells where the row begins.
  if (line[pos] !== "|" && context.cell === 0) {
    const found = line.indexOf(token.content.replace(/\|/g, "\\|"), pos);
    if (found >= 0 && /[>\-*+\d]/.test(line.slice(pos, found))) pos = found;
  }
  if (context.cell === 0) {
    if (line[pos] !== "|") {
      const bar = line.slice(pos).search(/^[>\s\-*+.)\d]*\|/);
      if (bar >= 0) pos = line.indexOf("|", pos);
    }
    if (line[pos] === "|") pos += 1;
  } else {
    pos = context.next;
  }
  let end = pos;
  while (end < line.length && line[end] !== "|") end += line[end] === "\\" && line[end + 1] === "|" ? 2 : 1;
  context.next = end + 1;
  while (/\s/.test(line[pos] ?? "") && pos < end) pos += 1;
  for (let k = 0; k < places.length; k++) {
    if (line[pos] === "\\" && line[pos + 1] === "|") pos += 1;
    places[k] = start + Math.min(pos, line.length);
    pos += 1;
  }
  return places;
}

function addInline(visible, token, places) {
  const { content: src } = token;
  for (const child of token.children) {
    const { content, at } = child;
    if (child.type === "text") {
      const from = src.startsWith(content, at) ? at : at + 1; // an autolink's text begins behind its "<"
      visible.add(content, (i) => places[Math.min(from + i, src.length)]);
    } else if (child.type === "text_special") {
      const from = child.info === "escape" ? at + child.markup.length - content.length : at;
      visible.add(content, (i) => places[child.info === "escape" ? from + i : at]);
    } else if (child.type === "code_inline") {
      const inner = at + child.markup.length;
      const stripped = src.slice(inner, inner + content.length).replace(/\n/g, " ") === content ? 0 : 1;
      visible.add(content, (i) => places[inner + stripped + i]);
    } else if (child.type === "softbreak" || child.type === "hardbreak") {
      const at_break = src.indexOf("\n", at);
      visible.add("\n", places[at_break < 0 ? at : at_break]);
    }
  }
}

function codeLines(visible, token, source, lineAt, first) {
  let line = first;
  for (const text of token.content.split(/(?<=\n)/)) {
    const start = lineAt[line];
    const end = lineAt[line + 1] ?? source.length;
    const whole = source.slice(start, end).replace(/\r?\n$/, "");
    const body = text.replace(/\n$/, "");
    const from = start + whole.length - body.length;
    visible.add(body, (i) => Math.max(start, from + i), true);
    if (text.endsWith("\n")) visible.add("\n", start + whole.length, true);
    line += 1;
  }
}

function visibleText(tokens, source) {
  const lineAt = [0];
  for (let i = source.indexOf("\n"); i >= 0; i = source.indexOf("\n", i + 1)) lineAt.push(i + 1);
  const visible = new Visible();
  const context = { row: 0, cell: 0, next: 0, markup: "" };
  for (const token of tokens) {
    if (token.type === "tr_open") {
      context.row = token.map[0];
      context.cell = -1;
    } else if (token.type === "td_open" || token.type === "th_open") {
      context.cell += 1;
    } else if (token.type === "heading_open") {
      context.markup = token.markup;
    } else if (token.type === "heading_close") {
      context.markup = "";
    } else if (token.type === "inline") {
      addInline(visible, token, inlinePlaces(token, source, lineAt, context));
    } else if (token.type === "fence") {
      codeLines(visible, token, source, lineAt, token.map[0] + 1);
    } else if (token.type === "code_block") {
      codeLines(visible, token, source, lineAt, token.map[0]);
    }
  }
  return visible;
}

export function locate(root, visible) {
  // Pairs text nodes with their characters' places: [[node, Int32Array]]. -1 marks what the renderer added.
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const found = [];
  let k = 0;
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    if (!node.parentElement || node.parentElement.closest(".fd-math")) continue;
    const inCode = node.parentElement.closest("pre") !== null;
    const lower = node.data.replace(TOWER, "$1");
    if (lower !== node.data) node.data = lower;
    const text = node.data;
    const places = new Int32Array(text.length).fill(-1);
    for (let i = 0; i < text.length; i++) {
      if (text[i] === visible.text[k] && (text[i] !== "\n" || visible.code[k] === inCode)) places[i] = visible.at[k++];
    }
    found.push([node, places]);
  }
  return found;
}

// ---- safety ----

function sanitise(root) {
  for (const element of [...root.querySelectorAll("*")]) {
    if (!TAGS.has(element.tagName)) {
      element.replaceWith(document.createTextNode(element.textContent));
      continue;
    }
    for (const { name, value } of [...element.attributes]) {
      const kept =
        (name === "class" && /^[\w\s-]*$/.test(value)) ||
        (name === "href" && element.tagName === "A" && SAFE_LINK.test(value.trim())) ||
        (name === "title" && element.tagName === "A") ||
        (name === "start" && element.tagName === "OL" && /^\d+$/.test(value)) ||
        (name === "style" && /^text-align:(left|right|center)$/.test(value));
      if (!kept) element.removeAttribute(name);
    }
    if (element.tagName === "A") {
      element.target = "_blank";
      element.rel = "noopener noreferrer nofollow";
    }
  }
}

// ---- blocks ----

// Top-level blocks of `source`, each {start, html}; a block does not depend on the ones before it.
export function parse(source) {
  const tokens = md.parse(source, {});
  headings(tokens);
  const lineAt = [0];
  for (let i = source.indexOf("\n"); i >= 0; i = source.indexOf("\n", i + 1)) lineAt.push(i + 1);
  const blocks = [];
  let depth = 0;
  let open = null;
  for (const token of tokens) {
    if (depth === 0 && token.nesting >= 0) {
      open = { start: lineAt[token.map ? token.map[0] : 0], tokens: [] };
      blocks.push(open);
    }
    open.tokens.push(token);
    depth += token.nesting;
  }
  return { blocks, tokens };
}

export function build(source, tokens, { plainCode = false } = {}) {
  const visible = visibleText(tokens, source);
  const template = document.createElement("template");
  template.innerHTML = md.renderer.render(tokens, md.options, { plainCode });
  sanitise(template.content);
  const nodes = locate(template.content, visible);
  return { fragment: template.content, nodes };
}
