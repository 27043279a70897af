// The orders in which cards can stand.

const score = (picture) => picture.result?.score;
const COMPARED = {
  high: (a, b) => score(b) - score(a),
  low: (a, b) => score(a) - score(b),
  spread: (a, b) => (b.result.std ?? 0) - (a.result.std ?? 0),
};

export const SORTS = ["added", "high", "low", "spread", "name"];

/** Pictures in an order; those without a score come last, as they were added. */
export function orderOf(pictures, order) {
  if (order === "name") return [...pictures].sort((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
  if (!COMPARED[order]) return [...pictures];
  const scored = pictures.filter((picture) => picture.result);
  return [...scored.sort(COMPARED[order]), ...pictures.filter((picture) => !picture.result)];
}
