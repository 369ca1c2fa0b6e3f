// Colours by origin, without an element for each token: the CSS Custom Highlight API paints ranges of the rendered text.

export const supported = typeof Highlight !== "undefined" && Boolean(globalThis.CSS?.highlights);

const KINDS = { a: "fd-accepted", c: "fd-corrected" };
const registered = {};
if (supported) {
  for (const name of Object.values(KINDS)) {
    registered[name] = new Highlight();
    CSS.highlights.set(name, registered[name]);
  }
}

// Paints the characters of `nodes` ([[text node, places]]) by the origin of the token at each place. Returns the ranges.
export function paint(nodes, originAt) {
  const ranges = [];
  if (!supported) return ranges;
  for (const [node, places] of nodes) {
    let from = 0;
    let name = null;
    for (let i = 0; i <= places.length; i++) {
      const now = i < places.length && places[i] >= 0 ? KINDS[originAt(places[i])] ?? null : null;
      if (now === name && i < places.length) continue;
      if (name) {
        const range = new StaticRange({ startContainer: node, startOffset: from, endContainer: node, endOffset: i });
        registered[name].add(range);
        ranges.push([name, range]);
      }
      from = i;
      name = now;
    }
  }
  return ranges;
}

export function unpaint(ranges) {
  for (const [name, range] of ranges) registered[name].delete(range);
}
