// The card of one picture: made once from the page's template, then kept up to date.

import { drawAttributes, drawDistribution, element } from "./charts.js";
import { percentileOf, saidWord, wordOf } from "./model.js";
import { paragraphsOf, thumbOf } from "./picture.js";
import { fillTexts, number, text, textOrNull } from "./texts.js";

const ACTIONS = ["again", "stop", "describe", "copy", "print-one", "remove"];

/** A fault in plain words, `{what, remedy}`; the server's own line is added where it says more. */
export function faultInWords(fault) {
  const what = textOrNull(`fault.${fault.code}`) ?? text("fault.unknown");
  const said = fault.message ? text("fault.said", { fault: what, message: fault.message }) : what;
  return { what: said, remedy: textOrNull(`remedy.${fault.code}`) ?? text("remedy.unknown") };
}

/** Score with word, spread, percentile, distribution and attributes into a copy of the template's part. */
export function fillScored(root, picture, facts) {
  const { result } = picture;
  const word = wordOf(result.score, facts.scale);
  root.hidden = false;
  root.querySelector(".score strong").textContent = number(result.score);
  root.querySelector(".word").textContent = word ? saidWord(word) : outOf(facts.scale);
  root.querySelector(".spread").textContent = result.std > 0 ? text("card.spread", { std: number(result.std) }) : "";
  const percentile = percentileOf(result.score, facts.test?.percentiles);
  const among = percentile === null ? "" : text("card.percentile", { percent: percentile });
  root.querySelector(".percentile").textContent = among;
  root.querySelector(".unfamiliar").hidden = result.unfamiliar !== true;
  drawDistribution(root.querySelector(".bars"), result, facts.scale);
  drawAttributes(root.querySelector(".attributes"), result, facts);
}

const outOf = (scale) => (Number.isFinite(scale?.high) ? text("card.of", { high: number(scale.high, 2, 0) }) : "");

/** A picture's image element, with its name for those who do not see it. */
export function fillImage(image, picture, onBroken = () => {}) {
  image.alt = text("card.alt", { name: picture.name });
  image.addEventListener("error", onBroken, { once: true });
  image.src = picture.url;
}

export class Card {
  /** actions: functions of the picture by the class of their button; `pick` and `thumb(picture, way)` too. */
  constructor(picture, actions) {
    this.picture = picture;
    this.root = document.getElementById("card").content.firstElementChild.cloneNode(true);
    this.find = (selector) => this.root.querySelector(selector);
    for (const name of ACTIONS) this.find(`.${name}`).addEventListener("click", () => actions[name](picture, this));
    for (const way of ["up", "down"]) {
      this.find(`.${way}`).addEventListener("click", () => actions.thumb(picture, way));
    }
    this.find(".compared-too").addEventListener("change", (event) => actions.pick(picture, event.target.checked));
    fillImage(this.find("img"), picture, () => this.showNoPreview());
    this.drawn = null;
  }

  showNoPreview() {
    this.find("img").hidden = true;
    this.find(".no-preview").hidden = false;
  }

  /** What came of a button, beside it. */
  tell(sentence) {
    this.find(".said").textContent = sentence;
  }

  /** Texts in a language chosen later. */
  translate() {
    const { name } = this.picture;
    fillTexts(this.root);
    this.find("img").alt = text("card.alt", { name });
    this.find("h3").textContent = name;
    for (const button of this.root.querySelectorAll(".actions button, .again, .stop, .describe")) {
      button.setAttribute("aria-label", text("card.button", { action: button.textContent, name }));
    }
    this.find(".compared-too").setAttribute("aria-label", text("card.button", { action: text("card.compare"), name }));
    this.drawn = null;
  }

  /** Bring everything up to date. shared: as of `Work`. */
  update(shared) {
    const { picture } = this;
    this.root.dataset.state = picture.state;
    this.find(".state").textContent = stateInWords(picture, shared.server);
    this.updateFault();
    if (picture.result && this.drawn !== picture.result) {
      fillScored(this.find(".scored"), picture, shared.facts);
      this.drawn = picture.result;
    }
    this.updateText(shared);
    this.updateActions(shared);
  }

  updateFault() {
    const { fault } = this.picture;
    this.find(".fault").hidden = !fault;
    const told = fault ? faultInWords(fault) : { what: "", remedy: "" };
    this.find(".what").textContent = told.what;
    this.find(".remedy").textContent = told.remedy;
  }

  updateText(shared) {
    const words = this.picture.text;
    const canDescribe = Boolean(this.picture.result && shared.facts?.can.includes("describe"));
    this.find(".words").hidden = !canDescribe;
    if (!canDescribe) return;
    const isUnderWay = words.state === "running" || words.state === "waiting";
    this.find(".words h4").textContent = text("card.text");
    showParagraphs(this.find(".text"), words);
    this.find(".text-state").textContent = textStateInWords(words.state);
    this.find(".stop").hidden = !isUnderWay;
    const isOther = words.state !== "done" || (shared.level > 0 && shared.level !== words.level);
    this.find(".describe").hidden = isUnderWay || words.state === "broken" || !isOther;
  }

  updateActions(shared) {
    const { picture } = this;
    const isScored = Boolean(picture.result);
    for (const part of [".pick", ".up", ".down", ".copy", ".print-one"]) this.find(part).hidden = !isScored;
    this.find(".compared-too").checked = picture.isPicked;
    const thumb = isScored ? thumbOf(picture, shared.facts) : null;
    for (const way of ["up", "down"]) this.find(`.${way}`).setAttribute("aria-pressed", String(thumb === way));
  }
}

function stateInWords(picture, server) {
  if (picture.state === "scored" || picture.state === "failed") return "";
  if (picture.state === "waiting" && server === "loading") return text("state.loading");
  if (picture.state === "waiting" && server === "offline") return text("state.offline");
  if (picture.before > 0) return text("state.waiting", { before: picture.before });
  return text(picture.state === "scoring" ? "state.scoring" : "state.next");
}

function textStateInWords(state) {
  const keys = { waiting: "text_waiting", running: "describing", stopped: "stopped", broken: "broken" };
  return keys[state] ? text(`state.${keys[state]}`) : "";
}

/** Paragraphs, with their headings where there are as many as the level has; those that are shown stay untouched. */
function showParagraphs(place, words) {
  const paragraphs = paragraphsOf(words);
  const isHeaded = words.state === "done" && words.level > 1 && paragraphs.length === words.level;
  const wanted = paragraphs.flatMap((one, index) =>
    isHeaded ? [["h5", text(`paragraph.${index + 1}`)], ["p", one]] : [["p", one]],
  );
  const isSame = (node, [tag]) => node?.localName === tag;
  wanted.forEach((pair, index) => {
    const node = place.children[index];
    if (isSame(node, pair)) {
      if (node.textContent !== pair[1]) node.textContent = pair[1];
    } else if (node) node.replaceWith(element(pair[0], "", pair[1]));
    else place.append(element(pair[0], "", pair[1]));
  });
  while (place.children.length > wanted.length) place.lastElementChild.remove();
}
