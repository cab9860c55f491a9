// Elements from values. Text is always set as text: names of files and of generators come from others.

const SVG = "http://www.w3.org/2000/svg";

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null));
  return node;
}

/** An HTML element; an attribute that is a function is a listener, one that is null or false is left out. */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function drawn(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** A number as the reports write it: three decimals where that says enough, else as short as it can be told. */
export function figure(value) {
  if (value === null || value === undefined) return "–";
  return value >= 0.0005 || value === 0 ? value.toFixed(3) : value.toPrecision(2);
}

/** A level, such as α, without digits that say nothing. */
export function level(value) {
  return String(Number(value.toPrecision(3)));
}

/** Up to four significant digits. */
export function short(value) {
  return String(Number(value.toPrecision(4)));
}
