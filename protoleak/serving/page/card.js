// One image that was given: its picture with boxes, and what came of it.

import { drawn, element } from "./dom.js";
import { badge, claimsSection, faceSection, SYMBOLS } from "./verdict.js";

let cards = 0;

export class Card {
  /**
   * @param {File} file
   * @param {(card: Card) => void} remove
   */
  constructor(file, remove) {
    this.file = file;
    this.name = file.name || "pasted image";
    this.stopping = new AbortController();
    this.url = URL.createObjectURL(file);
    const id = `card-${++cards}`;
    this.badges = element("span", { class: "row" });
    this.head = element("header", {}, element("h3", { id }, this.name), this.badges,
      element("button", { type: "button", class: "small", click: () => remove(this), "aria-label": `Remove ${this.name}` }, "Remove"));
    this.note = element("p", { class: "weak" }, "Being judged …");
    this.picture = element("div", { class: "picture" });
    this.body = element("div", {});
    this.node = element("li", { class: "card waiting", "aria-labelledby": id, "aria-busy": "true" },
      this.head, this.note, this.picture, this.body);
    this.image = element("img", { alt: this.name, src: this.url });
    this.image.addEventListener("error", () => this.picture.replaceChildren(
      element("p", { class: "weak" }, "This browser cannot show this kind of file.")), { once: true });
    this.picture.append(this.image);
  }

  /** While the server has no time. */
  busy(seconds) {
    this.note.textContent = `The server is busy: asked again in ${Math.max(1, seconds)} s …`;
  }

  /** Verdicts, or errors in their place; returns them in one line for who listens. */
  show(outcomes) {
    const verdicts = outcomes.filter((one) => one.error === undefined);
    this.note.remove();
    this.badges.replaceChildren(...outcomes.map((one) => (one.error ? failure("failed") : badge(one))));
    this.body.replaceChildren(...outcomes.map((one, index) => (one.error ?
      element("p", { class: "error" }, `Face ${index + 1}: ${one.error.message}`) :
      faceSection(one, index + 1, outcomes.length))));
    const claims = claimsSection(verdicts);
    if (claims !== null) this.body.append(claims);
    if (verdicts.length) this.body.append(this.download(outcomes));
    this.boxes(verdicts, outcomes);
    this.end();
    const said = outcomes.map((one) => (one.error ? "failed" : one.generator ? `${one.verdict}, ${one.generator}` : one.verdict));
    this.image.alt = `${this.name}: ${said.join("; ")}`;
    return `${this.name}: ${outcomes.length === 1 ? "1 face" : `${outcomes.length} faces`}: ${said.join("; ")}`;
  }

  /** Why there is no verdict, with the remedy. */
  fail(refusal) {
    const title = refusal.code === "no_face" ? "no face" : "failed";
    this.note.remove();
    this.badges.replaceChildren(failure(title));
    this.body.replaceChildren(element("p", { class: "error" }, refusal.message));
    this.end();
    return `${this.name}: ${title}: ${refusal.message}`;
  }

  /** Lets go of the picture, and of a request that is under way. */
  drop() {
    this.stopping.abort();
    URL.revokeObjectURL(this.url);
    this.node.remove();
  }

  end() {
    this.node.classList.remove("waiting");
    this.node.removeAttribute("aria-busy");
  }

  boxes(verdicts, outcomes) {
    const framed = verdicts.filter((one) => one.box);
    if (!framed.length) return;
    const { width, height } = framed[0].image;
    if (framed[0].upright === "never") this.image.style.imageOrientation = "none";
    const size = Math.max(width, height) / 28;
    this.picture.append(drawn("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      framed.map((one) => {
        const place = { x: one.box.left, y: one.box.top, width: one.box.width, height: one.box.height };
        const above = one.box.top > 1.3 * size;
        const number = outcomes.length > 1 ? `${outcomes.indexOf(one) + 1} ` : "";
        return [
          drawn("rect", { ...place, class: "halo" }),
          drawn("rect", { ...place, class: one.verdict }),
          drawn("g", { transform: `translate(${one.box.left} ${above ? one.box.top - size / 3 : one.box.top + size}) scale(${size})` },
            drawn("text", {}, `${number}${SYMBOLS[one.verdict]} ${one.generator ?? one.verdict}`)),
        ];
      })));
  }

  download(outcomes) {
    const name = `${this.name.replace(/\.[^.]*$/, "")}.verdicts.json`;
    return element("p", {}, element("button", { type: "button", class: "small", click: () => {
      const url = URL.createObjectURL(new Blob([`${JSON.stringify(outcomes, null, 2)}\n`], { type: "application/json" }));
      element("a", { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 1000);
    } }, "Save all of it as JSON"));
  }
}

function failure(text) {
  return element("span", { class: "badge failed" }, element("span", { "aria-hidden": "true" }, "✕"), ` ${text}`);
}
