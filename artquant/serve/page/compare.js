// Two pictures side by side.

import { fillImage, fillScored } from "./card.js";
import { element } from "./charts.js";
import { fillTexts, number, text } from "./texts.js";

function side(picture, facts) {
  const made = element("article");
  const image = element("img");
  fillImage(image, picture, () => image.remove());
  const scored = document.getElementById("card").content.querySelector(".scored").cloneNode(true);
  fillTexts(scored);
  made.append(image, element("h3", "", picture.name), scored);
  fillScored(scored, picture, facts);
  return made;
}

/** Which of two is higher, and whether the model's own spread lets that be said. */
function verdict(one, other) {
  const [lower, higher] = [one, other].sort((a, b) => a.result.score - b.result.score);
  const difference = higher.result.score - lower.result.score;
  if (difference <= Math.max(one.result.std ?? 0, other.result.std ?? 0)) return text("compare.within");
  return text("compare.higher", { higher: higher.name, lower: lower.name, difference: number(difference) });
}

export function showComparison([one, other], facts) {
  document.getElementById("comparison-verdict").textContent = verdict(one, other);
  document.getElementById("compared").replaceChildren(side(one, facts), side(other, facts));
  document.getElementById("comparison").showModal();
}
