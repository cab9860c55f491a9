// What there is to say of one face, in sentences that say no more than the verdict does.

import { drawn, element, figure, level, short } from "./dom.js";

export const SYMBOLS = { known: "▲", real: "■", unknown: "◆" };
const LEAST = 3; // the scale of p-values begins at 10^-LEAST

/** The verdict as a word with a shape, so that colour isn't needed. */
export function badge(verdict) {
  const text = verdict.generator ? `${verdict.verdict}: ${verdict.generator}` : verdict.verdict;
  return element("span", { class: `badge ${verdict.verdict}` },
    element("span", { "aria-hidden": "true" }, SYMBOLS[verdict.verdict] ?? "●"), ` ${text}`);
}

/** One face: its verdict, what it means, and what it rests on. */
export function faceSection(verdict, number, faces) {
  const title = faces > 1 ? `Face ${number}` : "The face";
  return element("section", { class: "face" },
    element("h4", {}, title, badge(verdict)),
    element("p", {}, meaning(verdict)),
    pValues(verdict),
    element("h5", {}, "What it was compared with"),
    element("p", {}, compared(verdict)),
    weights(verdict),
    verdict.notes.length ? element("ul", { class: "weak" }, verdict.notes.map((note) => element("li", {}, note))) : null,
    record(verdict));
}

function meaning(verdict) {
  const unusual = `its p-value of ${figure(verdict.p_value)}`;
  const alpha = level(verdict.alpha);
  if (verdict.verdict === "known") {
    const camera = verdict.real_p_value === null ? "" :
      ` Among camera originals it would be unusual: ${figure(verdict.real_p_value)}, at most ` +
      `${level(verdict.accusation_level)}.`;
    return `By its scores it resembles most the images made by ${verdict.generator}; ${unusual}, above α = ${alpha}, ` +
      `gives no reason to doubt that the bundle knows its kind.${camera} A camera's image can be named so by mistake.`;
  }
  if (verdict.verdict === "real") {
    return "By its scores it resembles most the camera images of the bundle's training; " +
      `${unusual} is above α = ${alpha}. It is no proof of authenticity.`;
  }
  if (verdict.lacking) return `It cannot be judged: ${verdict.lacking}. This is no evidence of anything.`;
  if (verdict.p_value <= verdict.alpha) {
    return `It is unlike everything that the bundle knows: ${unusual} is at most α = ${alpha}. The nearest class would ` +
      `have been ${verdict.nearest}. It says neither that it was generated nor that it is real.`;
  }
  return `It resembles most ${verdict.nearest}, but not enough for that to be said: it is neither unlike enough to ` +
    "camera originals for an accusation, nor to generators to be called real. It says neither of the two.";
}

function pValues(verdict) {
  const group = verdict.calibration.group === "overall" ? "all classes" : verdict.calibration.group;
  const rows = [
    row(`like what the bundle knows (${verdict.calibration.n} calibration images of ${group})`,
      verdict.p_value, verdict.alpha, "α", "unlike all of it: unknown", "no reason to doubt that it is known"),
    row("like a camera original", verdict.real_p_value, verdict.accusation_level, "accusation level",
      "unlike cameras: a generator may be named", "too like a camera for an accusation"),
    row("like what generators make", verdict.generated_p_value, verdict.acquittal_level, "acquittal level",
      "unlike generators: real may be said", "too like a generator to be called real"),
  ].filter((one) => one !== null);
  return element("div", { class: "scroll" }, element("table", {},
    element("caption", {}, "p-values: the share of calibration images that are as unusual as this one; the scale is " +
      "logarithmic, and the bar across it is the level"),
    element("thead", {}, element("tr", {}, ["how far it is …", "p-value", "level", "", "what follows"]
      .map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, rows)));
}

function row(name, value, limit, limitName, below, above) {
  if (value === null || limit === null) return null;
  return element("tr", {},
    element("th", { scope: "row" }, name),
    element("td", { class: "number" }, figure(value)),
    element("td", { class: "number" }, `${value <= limit ? "≤" : ">"} ${level(limit)} (${limitName})`),
    element("td", {}, scale(value, limit)),
    element("td", {}, value <= limit ? below : above));
}

/** A p-value on its way from 0.001 to 1; said in words in the cells beside it. */
function scale(value, limit) {
  const place = (p) => 8 + 154 * Math.max(0, 1 + Math.log10(Math.max(p, 1e-9)) / LEAST);
  const x = place(value), at = place(limit);
  return drawn("svg", { class: "scale", viewBox: "0 0 170 20", "aria-hidden": "true" },
    drawn("line", { class: "line", x1: 8, x2: 162, y1: 10, y2: 10 }),
    drawn("line", { class: "below", x1: 8, x2: x, y1: 10, y2: 10 }),
    drawn("line", { class: "level", x1: at, x2: at, y1: 1, y2: 19 }),
    drawn("circle", { class: "point", cx: x, cy: 10, r: 4.5 }));
}

function compared(verdict) {
  const own = verdict.why.nearest_prototype, other = verdict.why.runner_up;
  let far = "which is farther";
  if (own.distance > other.distance) {
    far = "which is nearer: the head's score, which decides, rests on more than the nearest prototype";
  } else if (own.distance > 0) {
    far = `${Number((other.distance / own.distance).toPrecision(3))} times as far`;
  }
  return `Its embedding's nearest prototype of ${own.generator} is number ${own.index}, at a gated squared distance of ` +
    `${short(own.distance)}. The nearest of any other class is number ${other.index} of ${other.generator}, at ` +
    `${short(other.distance)}, ${far}.`;
}

function weights(verdict) {
  const steps = Object.entries(verdict.why.timestep_weights).map(([step, share]) => [`timestep ${step}`, share]);
  return element("div", { class: "shares" },
    shares("What the diffusion timesteps weighed", steps),
    shares("What the looks weighed", Object.entries(verdict.why.look_weights)));
}

function shares(title, entries) {
  return element("div", {}, element("h5", {}, title), element("table", {}, element("tbody", {},
    entries.map(([name, share]) => element("tr", {},
      element("th", { scope: "row" }, name),
      element("td", { class: "number" }, `${(100 * share).toFixed(1)} %`),
      element("td", {}, drawn("svg", { class: "share", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
        drawn("rect", { class: "track", width: 100, height: 10 }),
        drawn("rect", { class: "bar", width: (100 * share).toFixed(2), height: 10 }))))))));
}

function record(verdict) {
  const file = verdict.image ?? verdict.input;
  const spent = Object.entries(verdict.milliseconds).map(([stage, ms]) => `${stage} ${ms.toFixed(1)} ms`).join(", ");
  const facts = [
    [file.hashed === "file" ? "SHA-256 of the file" : "SHA-256 of the pixels", file.sha256],
    ["image", `${file.width} × ${file.height} pixels, ${file.size.toLocaleString("en")} bytes`],
    verdict.face_score === undefined ? null : ["confidence of the face detector", verdict.face_score.toFixed(2)],
    ["log density", short(verdict.log_density)],
    ["scores", Object.entries(verdict.scores).map(([name, score]) => `${name} ${short(score)}`).join(", ")],
    ["bundle", `${verdict.bundle.name}, variant ${verdict.bundle.variant}, SHA-256 ${verdict.bundle.sha256}`],
    ["engine", `${verdict.engine.name} on ${verdict.engine.device}; ` +
      Object.entries(verdict.engine.versions).map(([name, version]) => `${name} ${version}`).join(", ")],
    ["time", spent],
  ].filter((fact) => fact !== null);
  return element("details", {}, element("summary", {}, "The record"), element("table", { class: "facts" },
    element("tbody", {}, facts.map(([name, value]) =>
      element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value))))));
}

/** What the file says of itself, set apart from what was found; null where it says nothing. */
export function claimsSection(verdicts) {
  const said = new Map(), opposed = new Set();
  for (const verdict of verdicts) {
    for (const claim of verdict.claims ?? []) {
      const signed = claim.signature ? ` (signed by ${claim.signed_by ?? "nobody named"}: ${claim.signature})` : "";
      said.set(`${claim.standard}: ${claim.origin}: ${claim.text}${signed}`, claim);
    }
    if (verdict.disagreement) opposed.add(verdict.disagreement);
  }
  if (!said.size) return null;
  return element("div", { class: "claims" },
    element("h4", {}, "What the file says of itself"),
    element("p", { class: "weak" }, "Anybody who has a file can write this into it, or take it out; no verdict rests on it."),
    element("ul", {}, [...said.keys()].map((text) => element("li", {}, text))),
    [...opposed].map((line) => element("p", {}, element("strong", {}, line))));
}
