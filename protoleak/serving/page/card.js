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
      element("button", {
        type: "button", class: "small", "aria-label": `Remove ${this.name}`, click: () => remove(this),
      }, "Remove"));
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
    this.node.classList.add("judged");
    this.body.replaceChildren(...outcomes.map((one, index) => (one.error ?
      element("p", { class: "error" }, `Face ${index + 1}: ${one.error.message}`) :
      faceSection(one, index + 1, outcomes.length))));
    const claims = claimsSection(verdicts);
    if (claims !== null) this.body.append(claims);
    if (verdicts.length) this.body.append(this.download(outcomes));
    this.boxes(verdicts, outcomes);
    this.end();
    const said = outcomes.map((one) => {
      if (one.error) return "failed";
      return one.generator ? `${one.verdict}, ${one.generator}` : one.verdict;
    });
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
    const frame = { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" };
    this.picture.append(drawn("svg", frame,
      framed.map((one) => {
        const place = { x: one.box.left, y: one.box.top, width: one.box.width, height: one.box.height };
        const above = one.box.top > 1.3 * size;
        // A name begins or ends at its box, so that it lies within the image.
        const rightHand = one.box.left + one.box.width / 2 > width / 2;
        const x = rightHand ? one.box.left + one.box.width : one.box.left;
        const y = above ? one.box.top - size / 3 : one.box.top + size;
        const number = outcomes.length > 1 ? `${outcomes.indexOf(one) + 1} ` : "";
        return [
          drawn("rect", { ...place, class: "halo" }),
          drawn("rect", { ...place, class: one.verdict }),
          drawn("g", { transform: `translate(${x} ${y}) scale(${size})` },
            drawn("text", { "text-anchor": rightHand ? "end" : "start" },
              `${number}${SYMBOLS[one.verdict]} ${one.generator ?? one.verdict}`)),
        ];
      })));
  }

  download(outcomes) {
    const name = `${this.name.replace(/\.[^.]*$/, "")}.verdicts.json`;
    return element("p", {}, element("button", { type: "button", class: "small", click: () => {
      const text = `${JSON.stringify(outcomes, null, 2)}\n`;
      const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
      element("a", { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 1000);
    } }, "Save all of it as JSON"));
  }
}

function failure(text) {
  return element("span", { class: "badge failed" }, element("span", { "aria-hidden": "true" }, "✕"), ` ${text}`);
}
