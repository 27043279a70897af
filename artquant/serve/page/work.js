// What is asked of the server, and when: scores first, a few at a time; then texts, one at a time. Full, loading or
// silent servers are asked again; nothing is lost by that.

import { describe, health, score, ServerError } from "./server.js";

const AT_ONCE = 4; // scores under way; the server batches them
const MOST_TRIES = 30; // of a picture at a server that is full or loading
const MOST_BROKEN = 3; // connections that broke under one picture: then it is the picture
const CHECK_BUSY = 1000; // milliseconds between two looks at the server's state
const CHECK_IDLE = 10000;

export class Work {
  /** shared: `{pictures, facts, server, level}`. onChange(picture or null), onReady(), onToken(): the page's. */
  constructor(shared, { onChange, onReady, onToken }) {
    Object.assign(this, { shared, onChange, onReady, onToken });
    Object.assign(this, { queue: 0, pausedUntil: 0, isDescribing: false, isLooking: false });
  }

  /** Look at the server's state now, and from then on again and again. */
  look() {
    clearTimeout(this.timer);
    if (!this.isLooking) this.check();
  }

  of(state) {
    return this.shared.pictures.filter((picture) => picture.state === state);
  }

  async check() {
    const before = this.shared.server;
    this.isLooking = true;
    try {
      const told = await health();
      this.shared.server = told.status;
      this.queue = Number(told.queue) || 0;
    } catch (error) {
      this.shared.server = error.code === "unauthorised" ? before : error.code === "loading" ? "loading" : "offline";
      if (error.code === "unauthorised") this.onToken();
    }
    if (this.shared.server === "ready" && before !== "ready") await this.onReady();
    this.onChange(null);
    this.go();
    const isBusy = this.shared.server !== "ready" || this.of("waiting").length + this.of("scoring").length > 0;
    this.isLooking = false;
    this.timer = setTimeout(() => this.check(), isBusy ? CHECK_BUSY : CHECK_IDLE);
  }

  /** Begin whatever may begin now. */
  go() {
    if (this.shared.server !== "ready" || !this.shared.facts || Date.now() < this.pausedUntil) return this.count();
    const free = AT_ONCE - this.of("scoring").length;
    for (const picture of this.of("waiting").slice(0, Math.max(0, free))) this.scoreOne(picture);
    if (this.of("waiting").length + this.of("scoring").length === 0) this.describeNext();
    this.count();
  }

  /** How many are before each that waits. */
  count() {
    const sent = this.of("scoring");
    for (const picture of sent) picture.before = Math.max(0, this.queue - sent.length);
    const ahead = Math.max(this.queue, sent.length);
    this.of("waiting").forEach((picture, index) => (picture.before = ahead + index));
    for (const picture of [...sent, ...this.of("waiting")]) this.onChange(picture);
  }

  pause(seconds) {
    this.pausedUntil = Date.now() + seconds * 1000;
    setTimeout(() => this.go(), seconds * 1000 + 20);
  }

  async scoreOne(picture) {
    picture.state = "scoring";
    picture.fault = null;
    try {
      picture.result = await score(picture.file, this.shared.facts.can.includes("attributes"));
      picture.state = "scored";
      if (this.shared.level > 0) this.wantText(picture);
    } catch (error) {
      this.scoreFailed(picture, error);
    }
    this.onChange(picture);
    this.go();
  }

  scoreFailed(picture, error) {
    picture.tries += 1;
    const most = error.code === "offline" ? MOST_BROKEN : MOST_TRIES;
    const isPassing = error.code === "offline" || error.wait > 0;
    picture.state = isPassing && picture.tries < most ? "waiting" : "failed";
    if (error.code === "offline") this.shared.server = "offline";
    else if (isPassing) this.pause(error.wait);
    if (picture.state === "failed") this.fail(picture, error);
  }

  fail(picture, error) {
    picture.fault = { code: error.code ?? "unknown", message: error.message };
    if (picture.fault.code === "unauthorised") this.onToken();
  }

  /** Score a picture again, or write its text again. */
  again(picture) {
    picture.fault = null;
    picture.tries = 0;
    if (picture.result) this.wantText(picture);
    else picture.state = "waiting";
    this.onChange(picture);
    this.go();
  }

  wantText(picture) {
    if (!this.shared.facts.can.includes("describe")) return;
    const level = this.shared.level || picture.text.level || Math.max(...this.shared.facts.levels);
    picture.text = { state: "waiting", level, pieces: [], whole: null, abort: null };
  }

  describeNext() {
    const next = this.shared.pictures.find((picture) => picture.text.state === "waiting");
    if (next && !this.isDescribing) this.describeOne(next);
  }

  async describeOne(picture) {
    this.isDescribing = true;
    const words = picture.text;
    words.abort = new AbortController();
    words.state = "running";
    this.onChange(picture);
    try {
      const onPiece = (piece) => this.heard(picture, piece);
      words.whole = await describe(picture.file, words.level, words.abort.signal, onPiece);
      words.state = "done";
    } catch (error) {
      this.textFailed(picture, error);
    }
    this.isDescribing = false;
    this.onChange(picture);
    this.go();
  }

  heard(picture, piece) {
    picture.text.pieces.push({ level: piece.level, text: String(piece.text ?? "") });
    this.onChange(picture);
  }

  textFailed(picture, error) {
    const words = picture.text;
    if (error.name === "AbortError") {
      words.state = "stopped";
    } else if (error.wait > 0 && words.pieces.length === 0 && (picture.tries += 1) < MOST_TRIES) {
      words.state = "waiting";
      this.pause(error.wait);
    } else {
      words.state = "broken";
      this.fail(picture, error instanceof ServerError ? error : new ServerError("offline"));
    }
  }

  /** Stop the text of a picture; what is written stays. */
  stop(picture) {
    if (picture.text.state === "waiting") picture.text.state = "stopped";
    picture.text.abort?.abort();
    this.onChange(picture);
  }
}
