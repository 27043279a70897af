// What a model's facts say about a score.

import { textOrNull } from "./texts.js";

/** A rating word in the page's language, where it is one of the usual ones. */
export const saidWord = (word) => textOrNull(`word.${word}`) ?? word;

/** The rating word of a score: given above the value of the next lower word, as the package's scale does; or null. */
export function wordOf(score, scale) {
  const { words, values } = scale ?? {};
  if (!words?.length || values?.length !== words.length) return null;
  const best = values.slice(1).findIndex((threshold) => score > threshold);
  return words[best < 0 ? words.length - 1 : best];
}

/** Share in percent of the model's test pictures whose score lies below, 0 to 100; null where that is not known. */
export function percentileOf(score, percentiles) {
  if (!Array.isArray(percentiles) || percentiles.length < 2) return null;
  const below = percentiles.filter((value) => value < score).length;
  return Math.min(100, Math.round((100 * below) / percentiles.length));
}

/** Shares as [label, share] pairs, from the worst on; at most so many, neighbours summed. */
export function sharesOf(probs, scale, most = 20) {
  if (!probs) return [];
  const isList = Array.isArray(probs);
  const values = isList ? probs : Object.values(probs);
  const label = (key, index) => (isList ? binLabel(index, values.length, scale) : saidWord(key));
  const pairs = Object.keys(probs).map((key, index) => [label(key, index), values[index]]);
  const words = scale?.words;
  if (!isList && words && words[0] === Object.keys(probs)[0]) pairs.reverse(); // scales are kept best first
  return summed(pairs.filter((pair) => Number.isFinite(pair[1])), most);
}

function binLabel(index, count, scale) {
  const { low = 0, high = 1 } = scale ?? {};
  return String(Number((low + ((high - low) * index) / Math.max(1, count - 1)).toPrecision(3)));
}

function summed(pairs, most) {
  const size = Math.ceil(pairs.length / most);
  if (size <= 1) return pairs;
  const groups = [];
  for (let start = 0; start < pairs.length; start += size) groups.push(pairs.slice(start, start + size));
  return groups.map((group) => [
    group.length > 1 ? `${group[0][0]}–${group.at(-1)[0]}` : group[0][0],
    group.reduce((sum, pair) => sum + pair[1], 0),
  ]);
}

/** Attribute scores as [name, score] pairs; an attribute is a number, or an object with a score. */
export function attributesOf(result) {
  return Object.entries(result.attributes ?? {})
    .map(([name, value]) => [name, Number(value?.score ?? value)])
    .filter((pair) => Number.isFinite(pair[1]));
}

/**
 * Which attributes stand out from this picture's others, each against the collection's mean.
 *
 * An attribute is named only where its distance from the picture's average distance is more than the model's measured
 * error of that attribute. known: whether means and errors were measured at all.
 */
export function standouts(attributes, test) {
  const { attribute_means: means, attribute_errors: errors } = test ?? {};
  const measured = attributes.filter(([name]) => Number.isFinite(means?.[name]) && Number.isFinite(errors?.[name]));
  if (measured.length < 2) return { known: false, strongest: null, weakest: null };
  const distances = measured.map(([name, score]) => [name, score - means[name]]).sort((a, b) => b[1] - a[1]);
  const average = distances.reduce((sum, pair) => sum + pair[1], 0) / distances.length;
  const beyond = ([name, distance]) => (Math.abs(distance - average) > errors[name] ? name : null);
  return { known: true, strongest: beyond(distances[0]), weakest: beyond(distances.at(-1)) };
}
