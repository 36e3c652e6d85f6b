// Sorting and filtering of tables. What is chosen stands in the address behind #, so that a link
// brings it back; pages are whole without this file.
"use strict";

const form = document.querySelector("form.tools");
const tables = [...document.querySelectorAll("table.sortable")];
const controls = form ? [...form.elements].filter((control) => control.name) : [];
let sorted = { sort: "", order: "" };

function value(cell) {
  const told = cell.dataset.value;
  const text = told === undefined ? cell.textContent.trim() : told;
  const number = Number(text);
  return text !== "" && Number.isFinite(number) ? number : text;
}

// Numbers before texts, nothing last in either order.
function compare(a, b, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return a === b ? 0 : sign * (a < b ? -1 : 1);
}

function columns(table) {
  return [...table.tHead.rows[0].cells];
}

function sortTable(table, key, order) {
  const heads = columns(table);
  const place = heads.findIndex((head) => head.dataset.key === key);
  if (key && place < 0) return;
  const body = table.tBodies[0];
  table.original ??= [...body.rows];
  for (const head of heads) head.removeAttribute("aria-sort");
  let rows = table.original;
  if (key) {
    heads[place].setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    rows = rows
      .map((row) => [value(row.cells[place]), row])
      .sort((a, b) => compare(a[0], b[0], sign))
      .map((pair) => pair[1]);
  }
  body.append(...rows);
}

function chosen() {
  const state = { ...sorted };
  for (const control of controls) state[control.name] = control.value;
  return Object.entries(state).filter((pair) => pair[1] !== "");
}

function filterRows() {
  if (!form) return;
  const wanted = controls.filter((control) => control.value !== "");
  let shown = 0, all = 0;
  for (const table of tables) {
    let left = 0;
    for (const row of table.tBodies[0].rows) {
      row.hidden = !wanted.every((control) =>
        control.name === "filter"
          ? row.textContent.toLowerCase().includes(control.value.toLowerCase())
          : row.dataset[control.name] === control.value);
      left += !row.hidden;
      all += 1;
    }
    shown += left;
    const block = table.closest("section.block");
    if (block) block.hidden = left === 0;
  }
  form.querySelector("output").value = `${shown} of ${all} rows`;
}

function remember() {
  const state = new URLSearchParams(chosen()).toString();
  history.replaceState(null, "", state ? `#${state}` : location.pathname + location.search);
}

function choose(key, order) {
  sorted = { sort: key, order };
  for (const table of tables) sortTable(table, key, order);
}

// An anchor, which holds no "=", leaves everything as it is.
function restore() {
  const told = location.hash.slice(1);
  if (told && !told.includes("=")) return;
  const state = new URLSearchParams(told);
  for (const control of controls) control.value = state.get(control.name) ?? "";
  for (const control of controls) if (control.selectedIndex === -1) control.value = "";
  const order = state.get("order") === "descending" ? "descending" : "ascending";
  const key = state.get("sort") ?? "";
  const known = tables.some((table) => columns(table).some((head) => head.dataset.key === key));
  choose(known ? key : "", known ? order : "");
  filterRows();
}

for (const table of tables) {
  for (const head of columns(table)) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const first = head.classList.contains("number") ? "descending" : "ascending";
      const second = first === "ascending" ? "descending" : "ascending";
      if (now === second) choose("", "");
      else choose(head.dataset.key, now === first ? second : first);
      remember();
    });
  }
}

if (form) {
  form.hidden = false;
  let waiting = 0;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => { filterRows(); remember(); }, 80);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => {
    choose("", "");
    filterRows();
    remember();
  }));
}
addEventListener("hashchange", restore);
restore();
