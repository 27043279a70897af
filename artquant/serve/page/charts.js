// Bars, as elements with words in them: no picture that a screen reader cannot read.

import { number, percent, text } from "./texts.js";
import { attributesOf, saidWord, sharesOf, standouts } from "./model.js";

export function element(tag, className = "", content = "") {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (content !== "") made.textContent = content;
  return made;
}

const within = (share) => `${Math.max(0, Math.min(1, share)) * 100}%`;

/** The distribution: a row a word of the scale, or a column a step of it; with one sentence for all of them. */
export function drawDistribution(place, result, scale) {
  const shares = sharesOf(result.probs, scale);
  place.parentElement.hidden = shares.length === 0;
  const isNamed = shares.length <= 7;
  place.className = isNamed ? "bars named" : "bars";
  place.setAttribute("role", "img");
  const likely = shares.filter((pair) => pair[1] >= 0.005).map(([label, share]) => `${label} ${percent(share)}`);
  place.setAttribute("aria-label", likely.join(", "));
  if (isNamed) return place.replaceChildren(...shares.toReversed().map((pair) => shareRow(...pair)));
  const most = Math.max(...shares.map((pair) => pair[1]), 1e-9);
  const isEnd = (index) => index === 0 || index === shares.length - 1;
  return place.replaceChildren(...shares.map((pair, index) => shareColumn(...pair, most, isEnd(index))));
}

function shareRow(label, share) {
  const made = element("div", "share");
  const track = element("span", "track");
  const bar = element("span", "bar");
  bar.style.width = within(share);
  track.append(bar);
  made.append(element("span", "label", label), track, element("span", "value", percent(share)));
  return made;
}

function shareColumn(label, share, most, isLabelled) {
  const made = element("div", "column");
  made.title = `${label}: ${percent(share)}`;
  const track = element("div", "track");
  const bar = element("div", "bar");
  bar.style.height = within(share / most);
  track.append(bar);
  made.append(track, element("span", "label", isLabelled ? label : ""));
  return made;
}

/** Attributes as bars with a mark at the collection's mean, and which of them stand out. */
export function drawAttributes(place, result, facts) {
  const attributes = attributesOf(result);
  place.hidden = attributes.length === 0;
  if (place.hidden) return;
  const marks = standouts(attributes, facts.test);
  const rows = attributes.map(([name, score]) => attributeRow(name, score, facts, marks));
  place.querySelector("ul").replaceChildren(...rows);
  place.querySelector(".legend").textContent = facts.test?.attribute_means ? text("card.mean_legend") : "";
  place.querySelector(".told-apart").textContent = verdict(marks);
}

function attributeRow(name, score, facts, marks) {
  const row = element("li");
  const mean = facts.test?.attribute_means?.[name];
  const spoken = Number.isFinite(mean) ? ` (${text("card.mean", { mean: number(mean, 1) })})` : "";
  row.append(element("span", "name", attributeName(name)), attributeBar(score, mean, facts.scale));
  row.append(element("span", "value", number(score, 1)), element("span", "spoken", spoken), mark(name, marks));
  return row;
}

export const attributeName = (name) => {
  const key = `attribute.${name}`;
  const said = text(key);
  return said === key ? name : said;
};

function attributeBar(score, mean, scale) {
  const { low = 0, high = 1 } = scale ?? {};
  const track = element("span", "track");
  const bar = element("span", "bar");
  bar.style.width = within((score - low) / (high - low));
  track.append(bar);
  if (Number.isFinite(mean)) {
    const tick = element("span", "mean");
    tick.style.left = within((mean - low) / (high - low));
    track.append(tick);
  }
  track.setAttribute("aria-hidden", "true");
  return track;
}

function mark(name, marks) {
  if (name === marks.strongest) return element("span", "mark", `▲ ${text("card.strongest")}`);
  if (name === marks.weakest) return element("span", "mark", `▼ ${text("card.weakest")}`);
  return element("span", "mark");
}

function verdict(marks) {
  if (!marks.known) return text("card.not_measured");
  return marks.strongest || marks.weakest ? "" : text("card.not_told_apart");
}

/** The facts of a scale in words: "1 to 10" and its words, worst first. */
export function scaleInWords(scale) {
  if (!Number.isFinite(scale?.low) || !Number.isFinite(scale.high)) return text("facts.unknown");
  const range = text("facts.range", { low: number(scale.low, 2, 0), high: number(scale.high, 2, 0) });
  return scale.words?.length ? `${range} (${scale.words.map(saidWord).reverse().join(", ")})` : range;
}
