"use strict";
(() => {
  const PAGE = 50;
  const FIRST = 3; // of a row: name, id and text, before its numbers
  const at = (id) => document.getElementById(id);
  const data = JSON.parse(at("list-data").textContent);
  const all = data.rows.map((_, place) => place);
  const collator = new Intl.Collator(undefined, { numeric: true });
  const searched = data.rows.map((row) => row.slice(0, FIRST).join("\n").toLowerCase());
  let chosen = all;
  let start = 0;
  let sorted = { column: -1, down: false };

  function made(tag, text, attributes = {}) {
    const one = document.createElement(tag);
    if (text !== "") one.textContent = text;
    for (const [name, value] of Object.entries(attributes)) one.setAttribute(name, value);
    return one;
  }

  function bound(id) {
    const value = at(id).valueAsNumber;
    return Number.isNaN(value) ? null : value;
  }

  function within(row, column, least, most) {
    if (least === null && most === null) return true;
    const value = row[FIRST + column];
    return value !== null && (least === null || value >= least) && (most === null || value <= most);
  }

  function compare(one, other) {
    const [a, b] = [data.rows[one], data.rows[other]];
    const turn = sorted.down ? -1 : 1;
    if (sorted.column < 0) return turn * collator.compare(a[0], b[0]);
    const [x, y] = [a[FIRST + sorted.column], b[FIRST + sorted.column]];
    if (x === null || y === null) return (x === null) - (y === null); // none: last in either order
    return turn * (x - y);
  }

  function choose() {
    const words = at("words").value.toLowerCase().split(/\s+/).filter(Boolean);
    const column = Number(at("column").value);
    const [least, most] = [bound("least"), bound("most")];
    chosen = all.filter(
      (place) =>
        words.every((word) => searched[place].includes(word)) && within(data.rows[place], column, least, most),
    );
    if (sorted.by) chosen.sort(compare);
    start = 0;
    show();
  }

  function nameCell(row) {
    const cell = made("th", "", { scope: "row" });
    cell.append(made("span", row[0], { dir: "auto" }));
    if (row[1]) cell.append(made("small", row[1], { dir: "auto" }));
    if (row[2]) {
      const details = made("details", "", { "aria-label": `Description of ${row[0]}` });
      details.append(made("summary", "Description"), made("p", row[2], { dir: "auto" }));
      cell.append(details);
    }
    return cell;
  }

  function rowOf(place) {
    const row = data.rows[place];
    const line = made("tr", "");
    const picture = made("td", "");
    const small = data.small[place];
    picture.append(
      small
        ? made("img", "", { src: `data:${data.form};base64,${small}`, alt: `Picture ${row[0]}` })
        : made("span", "–", { title: "not shown small" }),
    );
    line.append(picture, nameCell(row));
    data.columns.forEach(([, isAttribute, digits], column) => {
      const value = row[FIRST + column];
      const cell = made("td", value === null ? "–" : value.toFixed(digits));
      if (isAttribute) cell.className = "attribute";
      line.append(cell);
    });
    return line;
  }

  function show() {
    const shown = chosen.slice(start, start + PAGE);
    at("rows").replaceChildren(...shown.map(rowOf));
    const number = (value) => value.toLocaleString("en");
    const part = `${number(start + 1)} to ${number(start + shown.length)} of `;
    const whole = chosen.length === all.length ? "" : ` (of ${number(all.length)})`;
    at("count").textContent = shown.length
      ? `${part}${number(chosen.length)} pictures${whole}`
      : "No picture is so; widen the filter.";
    at("back").disabled = start === 0;
    at("on").disabled = start + PAGE >= chosen.length;
    for (const head of at("heads").querySelectorAll("[data-column]")) {
      const own = sorted.by && Number(head.dataset.column) === sorted.column;
      if (own) head.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  }

  function sort(column) {
    const again = sorted.by && sorted.column === column;
    sorted = { by: true, column, down: again ? !sorted.down : column >= 0 };
    choose();
  }

  function head(title, column, isAttribute) {
    const cell = made("th", "", { scope: "col", "data-column": column });
    const button = made("button", title, { type: "button" });
    button.addEventListener("click", () => sort(column));
    cell.append(button);
    if (isAttribute) cell.className = "attribute";
    return cell;
  }

  function turn(by) {
    start = Math.max(0, start + by);
    show();
  }

  function reset() {
    for (const id of ["words", "least", "most"]) at(id).value = "";
    at("column").selectedIndex = 0;
    sorted = { column: -1, down: false };
    choose();
  }

  at("heads").append(
    made("th", "Picture", { scope: "col" }),
    head("Name", -1, false),
    ...data.columns.map(([title, isAttribute], column) => head(title, column, isAttribute)),
  );
  for (const id of ["words", "least", "most", "column"]) at(id).addEventListener("input", choose);
  at("attributes")?.addEventListener("change", (event) => {
    at("list").classList.toggle("with-attributes", event.target.checked);
  });
  at("back").addEventListener("click", () => turn(-PAGE));
  at("on").addEventListener("click", () => turn(PAGE));
  at("reset").addEventListener("click", reset);
  at("list").hidden = false;
  choose();
})();
