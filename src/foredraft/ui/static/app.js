// What the page does by itself: shortcuts, drawers, arrow keys in lists, saying that the server is gone.

import { copyText } from "./copy.js";

const app = () => document.querySelector(".fd-app");
const wide = () => matchMedia("(min-width: 73.8125em)").matches;
const medium = () => matchMedia("(min-width: 56.3125em)").matches;

function toggle(side) {
  // On wide screens a pane folds away; on narrow ones it slides over the conversation.
  const box = app();
  const folds = side === "side" ? wide() : medium();
  const open = folds ? !box.classList.toggle(`no-${side}`) : box.classList.toggle(`${side}-open`);
  if (open) {
    const pane = box.querySelector(side === "side" ? ".fd-side" : ".fd-list");
    requestAnimationFrame(() => pane?.querySelector("button, input, summary, a")?.focus({ preventScroll: true }));
  }
  return open;
}

function closeDrawers() {
  const box = app();
  const was = box?.classList.contains("list-open") || box?.classList.contains("side-open");
  box?.classList.remove("list-open", "side-open");
  return was;
}

function openSide() {
  const box = app();
  if (wide()) box.classList.remove("no-side");
  else box.classList.add("side-open");
}

document.addEventListener("keydown", (event) => {
  const command = event.ctrlKey || event.metaKey;
  const press = (name) => {
    const target = document.querySelector(`[data-key="${name}"]`);
    if (target) {
      event.preventDefault();
      target.click();
    }
  };
  if (command && !event.shiftKey && event.key.toLowerCase() === "k") press("palette");
  else if (command && event.shiftKey && event.key.toLowerCase() === "o") press("new");
  else if (command && !event.shiftKey && event.key.toLowerCase() === "b") {
    event.preventDefault();
    toggle("list");
  } else if (command && event.key === ".") {
    event.preventDefault();
    toggle("side");
  } else if (command && event.key === "/") press("shortcuts");
  else if (event.key === "Escape" && !document.querySelector(".q-dialog, .q-menu")) {
    if (!closeDrawers()) press("stop");
  } else if (event.target.matches?.(".fd-palette input") && ["ArrowDown", "Enter"].includes(event.key)) choose(event);
  else if (["ArrowDown", "ArrowUp", "Home", "End"].includes(event.key)) move(event);
});

function choose(event) {
  // From the field of the palette: down into the list, or straight to its first entry.
  const first = !event.isComposing && event.target.closest(".fd-palette").querySelector('[role="option"]');
  if (!first) return;
  event.preventDefault();
  if (event.key === "Enter") first.click();
  else first.focus();
}

function move(event) {
  // Arrow keys walk through lists and tabs.
  const list = event.target.closest?.('[role="listbox"], [role="menu"], .fd-chats');
  if (!list) return;
  const items = [...list.querySelectorAll('[role="option"], [role="menuitem"], .fd-chat')];
  if (!items.length) return;
  event.preventDefault();
  const at = items.indexOf(document.activeElement);
  const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
  items[Math.max(0, Math.min(items.length - 1, next))].focus();
}

function announce(text) {
  const live = document.getElementById("fd-announce");
  if (live) live.textContent = text;
}

function toEnd() {
  const box = document.querySelector(".fd-scroll");
  if (box) requestAnimationFrame(() => requestAnimationFrame(() => (box.scrollTop = box.scrollHeight)));
}

function keepPlace() {
  // What is read stays where it is while earlier messages come above it, until the reader moves.
  const box = document.querySelector(".fd-scroll");
  const top = box.getBoundingClientRect().top;
  const read = [...box.querySelectorAll(".fd-message")].find((one) => one.getBoundingClientRect().bottom > top);
  const place = read?.getBoundingClientRect().top;
  let frames = 120;
  const frame = () => {
    if (!read?.isConnected || frames-- <= 0) return;
    box.scrollTop += read.getBoundingClientRect().top - place;
    requestAnimationFrame(frame);
  };
  for (const moved of ["wheel", "touchmove", "keydown", "pointerdown"])
    box.addEventListener(moved, () => (frames = 0), { once: true, passive: true });
  requestAnimationFrame(frame);
}

async function upload(accept) {
  // The text of a file the user picks, or null.
  const input = Object.assign(document.createElement("input"), { type: "file", accept });
  return new Promise((resolve) => {
    input.onchange = async () => resolve(input.files[0] ? await input.files[0].text() : null);
    input.oncancel = () => resolve(null);
    input.click();
  });
}

async function importChat() {
  const text = await upload(".json,application/json");
  if (text === null) return;
  try {
    const answer = await fetch("/_foredraft/import", { method: "POST", body: text });
    const result = await answer.json();
    if (result.chat) location.assign(`/c/${result.chat}`);
    else warn(result.error.message ?? result.error);
  } catch {
    warn(document.getElementById("fd-lost").textContent); // the server is away
  }
}

function warn(message) {
  window.Quasar.Notify.create({ message, type: "warning", multiLine: true, timeout: 8000 });
}

// NiceGUI says in the console that the connection is lost; people read the page.
function watchConnection() {
  const lost = document.getElementById("fd-lost");
  const socket = window.socket;
  if (!socket || !lost) return setTimeout(watchConnection, 200);
  let timer = null;
  socket.on("disconnect", () => (timer ??= setTimeout(() => (lost.hidden = false), 400)));
  socket.on("connect", () => {
    clearTimeout(timer);
    timer = null;
    lost.hidden = true;
  });
}
watchConnection();

window.fd = { toggle, openSide, closeDrawers, announce, toEnd, keepPlace, copyText, importChat };
