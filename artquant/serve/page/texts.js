// What the page says, in the language chosen: one JSON file a language, English where a file lacks a text.

const LANGUAGES = ["en", "zh", "de"];
const chosen = { language: "en", texts: {}, english: {} };

/** The language to begin with: the one kept, else the browser's first that there is, else English. */
export function firstLanguage(kept) {
  const wanted = [kept, ...(navigator.languages ?? [])].map((one) => String(one).slice(0, 2).toLowerCase());
  return wanted.find((one) => LANGUAGES.includes(one)) ?? "en";
}

async function read(language) {
  const reply = await fetch(`static/texts/${language}.json`);
  if (!reply.ok) throw new Error(`texts/${language}.json: ${reply.status}`);
  return reply.json();
}

export async function setLanguage(language) {
  chosen.english = await read("en");
  chosen.texts = language === "en" ? chosen.english : await read(language);
  chosen.language = language;
  document.documentElement.lang = language;
}

/** The text of a key with `{name}` replaced by values; null where no such text is. */
export function textOrNull(key, values = {}) {
  const found = chosen.texts[key] ?? chosen.english[key];
  return found?.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? "")) ?? null;
}

export const text = (key, values) => textOrNull(key, values) ?? key;

/** A number as the language writes it, with so many digits after the point; least: these even where they are zeros. */
export function number(value, digits = 2, least = digits) {
  const form = { minimumFractionDigits: least, maximumFractionDigits: digits };
  return new Intl.NumberFormat(chosen.language, form).format(value);
}

export const percent = (share) =>
  new Intl.NumberFormat(chosen.language, { style: "percent", maximumFractionDigits: 0 }).format(share);

/** Fill all elements under a root that name their text by `data-text`. */
export function fillTexts(root) {
  for (const element of root.querySelectorAll("[data-text]")) element.textContent = text(element.dataset.text);
}
