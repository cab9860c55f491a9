// The page of `protoleak serve`: takes images, has the server judge them, and shows what it says.

import { offerCamera } from "./camera.js";
import { Card } from "./card.js";
import { element, level } from "./dom.js";
import { Refusal, bundle, screen, useToken } from "./server.js";

const AT_ONCE = 3; // images on their way; the others wait their turn here

const byId = (id) => document.getElementById(id);
const drop = byId("drop"), files = byId("files"), capture = byId("capture");
const list = byId("list"), results = byId("results"), status = byId("status");
const access = byId("access");
const waiting = [];
const shown = new Set();
let running = 0;
let limit = Infinity; // bytes of a file
let locked = false; // a token is asked for, and no image is sent before there is one

function add(given) {
  const images = [...given];
  for (const file of images) {
    const card = new Card(file, remove);
    shown.add(card);
    list.append(card.node);
    waiting.push(card);
  }
  if (!images.length) return;
  results.hidden = false;
  say(images.length === 1 ? "1 image is being judged." : `${images.length} images are being judged.`);
  next();
}

function next() {
  while (!locked && running < AT_ONCE && waiting.length) judge(waiting.shift());
}

async function judge(card) {
  running += 1;
  try {
    if (card.file.size > limit) {
      const size = megabytes(card.file.size);
      throw new Refusal(`${size}, more than the ${megabytes(limit)} that this server takes: make it smaller.`, "too_large", 413);
    }
    say(card.show(await screen(card.file, (seconds) => card.busy(seconds), card.stopping.signal)));
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof Refusal)) throw error;
    if (error.status === 401) {
      waiting.unshift(card);
      lock(error);
    } else {
      say(card.fail(error));
    }
  } finally {
    running -= 1;
    next();
  }
}

function remove(card) {
  const after = card.node.nextElementSibling ?? card.node.previousElementSibling;
  const at = waiting.indexOf(card);
  if (at >= 0) waiting.splice(at, 1);
  shown.delete(card);
  card.drop();
  say(`${card.name} was removed.`);
  results.hidden = shown.size === 0;
  (after?.querySelector("button") ?? byId("choose")).focus();
}

function say(text) {
  status.textContent = text;
}

function megabytes(bytes) {
  return `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)} MiB`;
}

/** Asks for a token, with the server's words where one was refused. */
function lock(refusal) {
  byId("token-error").textContent = byId("token").value ? refusal.message : "";
  locked = true;
  access.hidden = false;
  byId("token").focus();
}

/** Asks what judges here. */
async function introduce() {
  const line = byId("bundle");
  try {
    const found = await bundle();
    locked = false;
    if (access.contains(document.activeElement)) byId("choose").focus();
    access.hidden = true;
    const names = found.generators.filter((name) => name !== found.real_class);
    const accusation = found.accusation_level ? `, a generator is named at ${level(found.accusation_level)}` : "";
    line.replaceChildren(`Bundle ${found.name} (${found.variant}) knows `, element("strong", {}, names.join(", ")),
      found.real_class ? " and camera originals" : "", `; α = ${level(found.alpha)}${accusation}.`);
    limits(found);
    next();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    line.textContent = error.status === 401 ? "The server says nothing without its token." : error.message;
    if (error.status === 401) lock(error);
  }
}

function limits(found) {
  const bytes = found.limits?.body;
  if (bytes) {
    limit = bytes;
    byId("limits").textContent = `At most ${megabytes(bytes)} each.`;
  }
  const accused = found.real_faces_accused;
  if (accused) {
    byId("accused").hidden = false;
    const before = accused.since.length ? ` before ${accused.since.join(" and ")}` : "";
    byId("accused").textContent = `In this bundle's own test${before}, ${accused.count} of ${accused.of} photographs of real ` +
      "faces, from sources that training never saw, were wrongly called known.";
  }
}

byId("choose").addEventListener("click", () => files.click());
for (const input of [files, capture]) {
  input.addEventListener("change", () => {
    add(input.files);
    input.value = ""; // so that the same file can be given again
  });
}
offerCamera(byId("shoot"), capture, (file) => add([file]));
byId("clear").addEventListener("click", () => {
  for (const card of shown) card.drop();
  shown.clear();
  waiting.length = 0;
  results.hidden = true;
  say("All images were removed.");
  byId("choose").focus();
});
access.addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(byId("token").value.trim());
  introduce();
});
document.addEventListener("paste", (event) => {
  const pasted = [...event.clipboardData.files];
  if (pasted.length) {
    event.preventDefault();
    add(pasted);
  }
});
// Dropping beside the frame is meant for it too: a browser would leave the page and open the file.
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) drop.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  add(event.dataTransfer.files);
});
introduce();
