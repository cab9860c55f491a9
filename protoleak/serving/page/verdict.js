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

/** One face: its verdict, what it means, and what it rests on; the badge of an only face stands above already. */
export function faceSection(verdict, number, faces) {
  const heading = faces > 1 ? "h5" : "h4"; // one below the heading that it stands under
  return element("section", { class: "face" },
    faces > 1 ? element("h4", { class: "title" }, `Face ${number}`, badge(verdict)) : null,
    element("p", {}, meaning(verdict)),
    pValues(verdict, heading),
    element(heading, {}, "What it was compared with"),
    element("p", {}, compared(verdict)),
    weights(verdict, heading),
    element("ul", { class: "weak" }, verdict.notes.map((note) => element("li", {}, note))),
    record(verdict));
}

function meaning(verdict) {
  const unusual = `its p-value of ${figure(verdict.p_value)}`;
  const alpha = level(verdict.alpha);
  if (verdict.verdict === "known") {
    const camera = verdict.real_p_value === null ? "" :
      ` Among camera originals it would be unusual: ${figure(verdict.real_p_value)}, at most ` +
      `${level(verdict.accusation_level)}.`;
    return `By its scores it resembles most the images made by ${verdict.generator}; ${unusual}, above α = ` +
      `${alpha}, gives no reason to doubt that the bundle knows its kind.${camera} A camera's image can be named so by mistake.`;
  }
  if (verdict.verdict === "real") {
    return "By its scores it resembles most the camera images of the bundle's training; " +
      `${unusual} is above α = ${alpha}. It is no proof of authenticity.`;
  }
  if (verdict.lacking) return `It cannot be judged: ${verdict.lacking}. This is no evidence of anything.`;
  if (verdict.p_value <= verdict.alpha) {
    return `It is unlike everything that the bundle knows: ${unusual} is at most α = ${alpha}. The nearest class ` +
      `would have been ${verdict.nearest}. It says neither that it was generated nor that it is real.`;
  }
  return `It resembles most ${verdict.nearest}, but not enough for that to be said: it is neither unlike camera ` +
    "originals enough for an accusation, nor unlike images by generators enough to be called real. It says neither " +
    "of the two.";
}

function pValues(verdict, heading) {
  const group = verdict.calibration.group === "overall" ? "all classes" : verdict.nearest;
  const rows = [
    row(`How usual among what the bundle knows: ${verdict.calibration.n} calibration images of ${group}`,
      verdict.p_value, verdict.alpha, "α", "unlike all of it, so unknown", "no reason to doubt that it is known"),
    row("How usual among camera originals", verdict.real_p_value, verdict.accusation_level, "the accusation level",
      "unlike cameras, so a generator may be named", "too like a camera for an accusation"),
    row("How usual among images by generators",
      verdict.generated_p_value, verdict.acquittal_level, "the acquittal level",
      "unlike generators, so real may be said", "too like a generator to be called real"),
  ].filter((one) => one !== null);
  return [
    element(heading, {}, "p-values and their levels"),
    element("ul", { class: "levels" }, rows),
    element("p", { class: "weak" }, "A p-value is the share of the calibration images that are at least as unusual as " +
      "this one. The scale goes from 0.001 to 1, in powers of ten; the upright bar is the level."),
  ];
}

function row(name, value, limit, limitName, below, above) {
  if (value === null || limit === null) return null;
  const [relation, follows] = value <= limit ? ["at most", below] : ["above", above];
  return element("li", {},
    element("span", { class: "name" }, name),
    scale(value, limit),
    element("span", {}, element("strong", {}, figure(value)),
      `, ${relation} ${limitName} of ${level(limit)}: ${follows}`));
}

/** A p-value on its way from 0.001 to 1; said in words in the cells beside it. */
function scale(value, limit) {
  const place = (p) => 8 + 154 * Math.max(0, 1 + Math.log10(Math.max(p, 1e-9)) / LEAST);
  const x = place(value), at = place(limit);
  return drawn("svg", { class: "scale", viewBox: "0 0 170 20", preserveAspectRatio: "xMinYMid", "aria-hidden": "true" },
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
  return `Its embedding's nearest prototype of ${own.generator} is number ${own.index}, at a gated squared distance ` +
    `of ${short(own.distance)}. The nearest of any other class is number ${other.index} of ${other.generator}, at ` +
    `${short(other.distance)}, ${far}.`;
}

function weights(verdict, heading) {
  const steps = Object.entries(verdict.why.timestep_weights).map(([step, share]) => [`timestep ${step}`, share]);
  return element("div", { class: "shares" },
    shares(heading, "What the diffusion timesteps weighed", steps),
    shares(heading, "What the looks weighed", Object.entries(verdict.why.look_weights)));
}

function shares(heading, title, entries) {
  return element("div", {}, element(heading, {}, title), element("table", {}, element("tbody", {},
    entries.map(([name, share]) => element("tr", {},
      element("th", { scope: "row", class: "number" }, name),
      element("td", { class: "number" }, `${(100 * share).toFixed(1)} %`),
      element("td", {}, shareBar(share)))))));
}

/** A share of 1; said in words in the cell beside it. */
function shareBar(share) {
  const frame = { class: "share", viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" };
  return drawn("svg", frame,
    drawn("rect", { class: "track", width: 100, height: 10 }),
    drawn("rect", { class: "bar", width: (100 * share).toFixed(2), height: 10 }));
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
    element("p", { class: "weak" },
      "Anybody who has a file can write this into it, or take it out; no verdict rests on it."),
    element("ul", {}, [...said.keys()].map((text) => element("li", {}, text))),
    [...opposed].map((line) => element("p", {}, element("strong", {}, line))));
}
