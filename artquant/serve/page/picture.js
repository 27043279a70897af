// One picture of the page and what is known of it so far.

import { keep, kept } from "./kept.js";

let count = 0;

/**
 * state: "waiting", "scoring", "scored" or "failed". fault: `{code, message}` of the score or the text.
 * text.state: "none", "waiting", "running", "done", "stopped" or "broken".
 */
export function newPicture(file, name = file.name) {
  count += 1;
  return {
    number: count, file, name, url: URL.createObjectURL(file), state: "waiting", before: 0, tries: 0, result: null,
    fault: null, isPicked: false, text: { state: "none", level: 0, pieces: [], whole: null, abort: null },
  };
}

/** Paragraphs of the text so far: where the level of the pieces changes, and at line ends. */
export function paragraphsOf(words) {
  if (words.whole !== null) return split(words.whole);
  const groups = [];
  for (const piece of words.pieces) {
    const last = groups.at(-1);
    if (last?.level === piece.level) last.text += piece.text;
    else groups.push({ ...piece });
  }
  return groups.flatMap((group) => split(group.text));
}

const split = (text) => text.split(/\n+/).map((one) => one.trim()).filter(Boolean);

/** Forget a picture's file; a text that is being written stops. */
export function release(picture) {
  picture.text.abort?.abort();
  URL.revokeObjectURL(picture.url);
}

const thumbName = (picture, facts) =>
  ["thumb", facts?.fingerprint, picture.name, picture.file.size, picture.file.lastModified].join(".");

/** "up", "down" or null: what the user thinks of this model's score, as this browser keeps it. */
export const thumbOf = (picture, facts) => kept(thumbName(picture, facts));

/** Keep a thumb; the same one again takes it back. */
export function setThumb(picture, facts, thumb) {
  keep(thumbName(picture, facts), thumbOf(picture, facts) === thumb ? null : thumb);
}
