// The page: what its parts are, and who tells whom.

import { Card, faultInWords } from "./card.js";
import { showComparison } from "./compare.js";
import { asCsv, asJson, copyCard, print, save } from "./exports.js";
import { fillFacts, fillLevels } from "./header.js";
import { letIn, MOST, offerSamples, sortOut } from "./intake.js";
import { keep, kept, sessionToken } from "./kept.js";
import { saidWord, wordOf } from "./model.js";
import { newPicture, release, setThumb } from "./picture.js";
import { modelFacts } from "./server.js";
import { orderOf, SORTS } from "./sorts.js";
import { fillTexts, firstLanguage, number, setLanguage, text } from "./texts.js";
import { Work } from "./work.js";

const shared = { pictures: [], facts: null, server: "loading", level: Number(kept("level") ?? 3) };
const cards = new Map(); // by picture
const place = (id) => document.getElementById(id);
const work = new Work(shared, { onChange: changed, onReady: ready, onToken: askToken });

const actions = {
  again: (picture) => work.again(picture),
  stop: (picture) => work.stop(picture),
  describe: (picture) => work.again(picture),
  copy: async (picture, card) => {
    const came = text((await copyCard(card.root)) ? "card.copied" : "card.not_copied");
    card.tell(came);
    announce(came);
  },
  "print-one": (picture, card) => print(card.root),
  remove: (picture) => remove(picture),
  thumb: (picture, way) => {
    setThumb(picture, shared.facts, way);
    changed(picture);
  },
  pick: (picture, isPicked) => {
    picture.isPicked = isPicked;
    updateTools();
  },
};

/** For those who listen. */
const announce = (sentence) => (place("spoken").textContent = sentence);
const notice = (sentence) => (place("notice").textContent = sentence);

function add(files, name) {
  const sorted = sortOut(files, MOST - shared.pictures.length);
  for (const file of sorted.files) addOne(newPicture(file, name));
  notice(sorted.refused.join(" "));
  if (!name && sorted.files.length > 0) keep("seen", "yes");
  changed(null);
  work.go();
  work.look();
}

function addOne(picture) {
  const card = new Card(picture, actions);
  card.translate();
  cards.set(picture, card);
  shared.pictures.push(picture);
  place("cards").append(card.root);
  card.update(shared);
}

function remove(picture) {
  const card = cards.get(picture).root;
  const next = card.nextElementSibling ?? card.previousElementSibling;
  release(picture);
  shared.pictures.splice(shared.pictures.indexOf(picture), 1);
  cards.delete(picture);
  card.remove();
  (next?.querySelector(".remove") ?? place("choose")).focus();
  changed(null);
  work.go();
}

/** A picture, or with null anything else, is not as it was. */
function changed(picture) {
  if (picture && cards.has(picture)) {
    cards.get(picture).update(shared);
    listen(picture);
  } else if (!picture) {
    for (const card of cards.values()) card.update(shared);
  }
  updateBanner();
  updateTools();
  sort();
}

/** Say once what a picture has come to. */
function listen(picture) {
  const came = `${picture.state} ${picture.text.state} ${picture.fault?.code ?? ""}`;
  if (picture.said === came) return;
  picture.said = came;
  const { name, fault, result } = picture;
  if (fault) announce(text("card.spoken_fault", { name, fault: faultInWords(fault).what }));
  else if (picture.text.state === "done") announce(text("card.spoken_text", { name }));
  else if (result && picture.text.state !== "running") {
    const word = saidWord(wordOf(result.score, shared.facts.scale) ?? "");
    announce(text("card.spoken", { name, score: number(result.score), word }));
  }
}

function updateBanner() {
  const isCalm = shared.server === "ready";
  place("banner").hidden = isCalm;
  const said = isCalm ? "" : text(`banner.${shared.server}`);
  if (place("banner").textContent !== said) place("banner").textContent = said;
}

const isDone = (picture) =>
  picture.state === "failed" || (picture.state === "scored" && !["waiting", "running"].includes(picture.text.state));

function updateTools() {
  const { pictures } = shared;
  place("empty").hidden = pictures.length > 0;
  place("tools").hidden = pictures.length === 0;
  place("samples").hidden = kept("seen") !== null || pictures.length >= MOST;
  const done = pictures.filter(isDone).length;
  const progress = pictures.length > 0 ? text("results.progress", { done, all: pictures.length }) : "";
  if (place("progress").textContent !== progress) place("progress").textContent = progress;
  const picked = pictures.filter((picture) => picture.isPicked && picture.result);
  place("compare").disabled = picked.length !== 2;
  place("compare").title = picked.length === 2 ? "" : text("tools.compare_hint");
  const isEmpty = !pictures.some((picture) => picture.result || picture.fault);
  for (const id of ["save-json", "save-csv", "print"]) place(id).disabled = isEmpty;
}

/** Cards in the order chosen; not while somebody is at one of them. */
function sort() {
  const list = place("cards");
  if (list.contains(document.activeElement)) return;
  const wanted = orderOf(shared.pictures, place("sort").value).map((picture) => cards.get(picture).root);
  if (wanted.some((root, index) => list.children[index] !== root)) list.append(...wanted);
}

async function ready() {
  try {
    shared.facts = await modelFacts();
  } catch (error) {
    if (error.code === "unauthorised") askToken();
    else shared.server = error.code === "loading" ? "loading" : "offline";
    return;
  }
  const { levels, can } = shared.facts;
  if (!can.includes("describe")) shared.level = 0;
  else if (shared.level > 0 && !levels.includes(shared.level)) shared.level = Math.max(...levels);
  fillHeader();
}

function fillHeader() {
  fillFacts(shared.facts);
  fillLevels(shared.facts, shared.level, (level) => {
    shared.level = level;
    keep("level", String(level));
    changed(null);
  });
}

function askToken() {
  if (!place("asking").open) place("asking").showModal();
}

async function tokenGiven(event) {
  event.preventDefault();
  sessionToken(place("token").value);
  place("asking").close();
  if (!shared.facts) await ready();
  work.look();
  for (const picture of shared.pictures) if (picture.fault?.code === "unauthorised") work.again(picture);
}

function fillSorts() {
  const before = place("sort").value || "added";
  place("sort").replaceChildren(...SORTS.map((name) => new Option(text(`sort.${name}`), name)));
  place("sort").value = before;
}

async function speak(language) {
  await setLanguage(language);
  place("language").value = language;
  fillTexts(document);
  fillSorts();
  if (shared.facts) fillHeader();
  for (const card of cards.values()) card.translate();
  changed(null);
}

function showGrid(isGrid) {
  place("cards").classList.toggle("grid", isGrid);
  place("grid").setAttribute("aria-pressed", String(isGrid));
  keep("grid", isGrid ? "yes" : null);
}

function listenToTools() {
  const on = (id, act, event = "click") => place(id).addEventListener(event, act);
  const ordered = () => orderOf(shared.pictures, place("sort").value);
  on("language", (event) => speak(event.target.value).then(() => keep("language", event.target.value)), "change");
  on("sort", sort, "change");
  on("grid", () => showGrid(!place("cards").classList.contains("grid")));
  on("compare", () => showComparison(ordered().filter((picture) => picture.isPicked && picture.result), shared.facts));
  on("save-json", () => save("artquant.json", "application/json", asJson(ordered(), shared.facts)));
  on("save-csv", () => save("artquant.csv", "text/csv", asCsv(ordered(), shared.facts)));
  on("print", () => print());
  on("clear", () => [...shared.pictures].forEach(remove));
  on("explain", () => place("explanation").showModal());
  on("token-form", tokenGiven, "submit");
  for (const button of document.querySelectorAll("dialog .close")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }
}

async function begin() {
  listenToTools();
  showGrid(kept("grid") !== null);
  await speak(firstLanguage(kept("language")));
  offerSamples(place("sample-list"), (file, name) => add([file], text(`sample.${name}`)));
  letIn((files) => add(files), notice);
  work.look();
}

begin();
