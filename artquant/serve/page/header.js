// What the model is, how its numbers are to be read, and which texts it writes.

import { element, scaleInWords } from "./charts.js";
import { number, text } from "./texts.js";

const place = (id) => document.getElementById(id);

const entries = (pairs) =>
  pairs.map(([term, told]) => {
    const group = element("div");
    group.append(element("dt", "", term), element("dd", "", told));
    return group;
  });

/** Header, footer and explanations of a model. */
export function fillFacts(facts) {
  place("facts").replaceChildren(
    ...entries([
      [text("facts.model"), facts.name],
      [text("facts.scale"), scaleInWords(facts.scale)],
      [text("facts.trained_on"), facts.trained_on ?? text("facts.unknown")],
      [text("facts.licence"), facts.licence ?? text("facts.unknown")],
    ]),
  );
  place("model-warning").hidden = !facts.warning;
  place("model-warning").textContent = facts.warning ?? "";
  place("version").textContent = text("facts.version", { ...facts, fingerprint: facts.fingerprint.slice(0, 12) });
  place("explanations").replaceChildren(...entries(explained(facts)));
}

function explained(facts) {
  const { test } = facts;
  const names = ["score", "spread", "distribution"];
  if (test?.percentiles) names.push("percentile");
  if (facts.can.includes("attributes")) names.push("attributes");
  if (Number.isFinite(test?.srcc)) names.push("srcc");
  names.push("opinion");
  const values = { scale: scaleInWords(facts.scale), srcc: number(test?.srcc ?? 0) };
  return names.map((name) => [text(`explain.${name}`), text(`explain.${name}_text`, values)]);
}

/** The choice of texts; onChoice gets the level, 0 for none. Without a model that describes: a sentence. */
export function fillLevels(facts, chosen, onChoice) {
  const canDescribe = facts.can.includes("describe");
  place("levels").hidden = !canDescribe;
  place("no-text").hidden = canDescribe;
  if (!canDescribe) return;
  const choices = [0, ...facts.levels].map((level) => choice(level, level === chosen, onChoice));
  place("levels").replaceChildren(place("levels").querySelector("legend"), ...choices);
}

function choice(level, isChosen, onChoice) {
  const label = element("label");
  const radio = element("input");
  Object.assign(radio, { type: "radio", name: "level", value: String(level), checked: isChosen });
  radio.addEventListener("change", () => onChoice(level));
  label.append(radio, element("span", "", text(`level.${level}`)));
  return label;
}
