// Results out of the page: JSON, CSV, the clipboard, paper.

import { attributesOf, percentileOf, wordOf } from "./model.js";
import { paragraphsOf, thumbOf } from "./picture.js";

function record(picture, facts) {
  const { result, fault } = picture;
  const score = result?.score ?? null;
  return {
    file: picture.file.name,
    score,
    word: score === null ? null : wordOf(score, facts.scale),
    std: result?.std ?? null,
    percentile: score === null ? null : percentileOf(score, facts.test?.percentiles),
    unfamiliar: result?.unfamiliar ?? null,
    probs: result?.probs ?? null,
    attributes: result ? Object.fromEntries(attributesOf(result)) : null,
    text: paragraphsOf(picture.text).join("\n\n") || null,
    text_level: picture.text.level || null,
    text_whole: picture.text.state === "done",
    thumb: thumbOf(picture, facts),
    error: fault,
  };
}

const origin = ({ name, fingerprint, prompt, version, scale }) => ({ name, fingerprint, prompt, version, scale });

export function asJson(pictures, facts) {
  const results = pictures.map((picture) => record(picture, facts));
  return JSON.stringify({ model: origin(facts), results }, null, 2);
}

/** A cell: quoted, and never a formula of a spreadsheet. */
function cell(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return `"${safe.replaceAll('"', '""')}"`;
}

export function asCsv(pictures, facts) {
  const pairs = pictures.flatMap((one) => (one.result ? attributesOf(one.result) : []));
  const names = [...new Set(pairs.map(([name]) => name))];
  const plain = ["file", "score", "word", "std", "percentile", "unfamiliar"];
  const after = ["text", "text_level", "text_whole", "thumb"];
  const rows = pictures.map((picture) => {
    const told = record(picture, facts);
    const attributes = names.map((name) => told.attributes?.[name]);
    const end = [...after.map((key) => told[key]), told.error?.code, facts.name, facts.fingerprint];
    return [...plain.map((key) => told[key]), ...attributes, ...end];
  });
  const head = [...plain, ...names, ...after, "error", "model", "fingerprint"];
  return `${[head, ...rows].map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;
}

/** Hand a text to the browser as a file; with a byte order mark, or spreadsheets take it for Latin-1. */
export function save(name, type, content) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(type === "text/csv" ? ["\ufeff", content] : [content], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** Copy what a card says; whether the browser let that be. */
export async function copyCard(card) {
  const parts = card.querySelectorAll("h3, .score, .percentile, .unfamiliar, .attributes li, .told-apart, .text > *");
  const shown = [...parts].filter((part) => !part.closest("[hidden]"));
  const lines = shown.map((part) => part.innerText.replace(/\s+/g, " ").trim()).filter(Boolean);
  return copy(lines.join("\n"));
}

async function copy(content) {
  try {
    await navigator.clipboard.writeText(content);
    return true;
  } catch {
    return copyByHand(content); // no clipboard without https: as browsers did before
  }
}

function copyByHand(content) {
  const area = document.createElement("textarea");
  area.value = content;
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  return isCopied;
}

/** Print one card, or all of them. */
export function print(card = null) {
  card?.classList.add("printed");
  document.body.classList.toggle("printing-one", card !== null);
  const restore = () => {
    card?.classList.remove("printed");
    document.body.classList.remove("printing-one");
  };
  addEventListener("afterprint", restore, { once: true });
  window.print();
}
