// When answers are shown, and where the reader looks: the newest first, a little in each frame, and never a jump.

const SLICE = 16; // milliseconds of a frame
const waiting = [];

// Calls `show(until)` in the coming frames until it returns true. What came last is done first.
export function soon(show) {
  if (waiting.includes(show)) return;
  waiting.push(show);
  if (waiting.length === 1) requestAnimationFrame(work);
}

function work() {
  const until = performance.now() + SLICE;
  while (waiting.length && performance.now() < until) {
    const show = waiting[waiting.length - 1];
    if (show(until)) waiting.splice(waiting.indexOf(show), 1);
  }
  if (waiting.length) requestAnimationFrame(work);
}

export function atEnd(box) {
  return Boolean(box) && box.scrollHeight - box.scrollTop - box.clientHeight < 80;
}

export function toEnd(box) {
  if (box) box.scrollTop = box.scrollHeight;
}
