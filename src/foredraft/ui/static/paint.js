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

// The ranges of the characters of `nodes` ([[text node, places]]) by the origin of the token at each place.
export function rangesOf(nodes, originAt) {
  const ranges = [];
  if (!supported) return ranges;
  for (const [node, places] of nodes) {
    let from = 0;
    let name = null;
    for (let i = 0; i <= places.length; i++) {
      const now = i < places.length && places[i] >= 0 ? KINDS[originAt(places[i])] ?? null : null;
      if (now === name && i < places.length) continue;
      if (name) {
        ranges.push([
          name,
          new StaticRange({ startContainer: node, startOffset: from, endContainer: node, endOffset: i }),
        ]);
      }
      from = i;
      name = now;
    }
  }
  return ranges;
}

export function paint(block) {
  if (block.painted) return;
  block.painted = true;
  for (const [name, range] of block.ranges) registered[name].add(range);
}

export function unpaint(block) {
  if (!block.painted) return;
  block.painted = false;
  for (const [name, range] of block.ranges) registered[name].delete(range);
}

// The browser looks at every registered range at every change of the page. So in a long chat only those are registered
// that are not far from the window: `watch(block)` paints a block when it comes near `root`'s window, and takes it off.
export function paintNearby(root) {
  const blocks = new WeakMap();
  const observer = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        const block = blocks.get(entry.target);
        if (block) (entry.isIntersecting ? paint : unpaint)(block);
      }
    },
    { root, rootMargin: "100% 0px" },
  );
  return {
    watch(block) {
      blocks.set(block.element, block);
      observer.observe(block.element);
    },
    unobserve(element) {
      observer.unobserve(element);
      blocks.delete(element);
    },
    disconnect: () => observer.disconnect(),
  };
}
