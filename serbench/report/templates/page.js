"use strict";
// Sorts columns, and keeps the choices and the open cell in the address. The page needs nothing else of it.
(() => {
  const text = (row, column) => row.cells[column].firstChild?.textContent.trim() ?? "";

  // What is no number comes last either way; rows of chance stay on top.
  function compare(a, b, sign) {
    const numbers = [Number.parseFloat(a), Number.parseFloat(b)];
    const missing = numbers.map((n) => (Number.isNaN(n) ? 1 : 0));
    if (missing[0] && missing[1]) return sign * a.localeCompare(b, "en");
    return missing[0] - missing[1] || sign * (numbers[0] - numbers[1]);
  }

  // Numbers begin with the highest, words with A; a third time gives the order of the report back.
  function sort(header) {
    const table = header.closest("table");
    const directions = header.matches(".words") ? ["ascending", "descending"] : ["descending", "ascending"];
    const next = directions[directions.indexOf(header.getAttribute("aria-sort")) + 1];
    table.rowsAsMade ??= [...table.tBodies[0].rows];
    const rows = [...table.rowsAsMade];
    if (next) {
      const isChance = (row) => row.matches(".chance");
      const sign = next === "ascending" ? 1 : -1;
      const column = header.cellIndex;
      rows.sort((a, b) => isChance(b) - isChance(a) || compare(text(a, column), text(b, column), sign));
    }
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    if (next) header.setAttribute("aria-sort", next);
    table.tBodies[0].append(...rows);
  }

  for (const header of document.querySelectorAll("thead th")) {
    if (!header.textContent) continue;
    const button = document.createElement("button");
    button.append(...header.childNodes);
    button.addEventListener("click", () => sort(header));
    header.append(button);
  }

  const sheets = [...document.querySelectorAll("[popover]")];
  const chosen = () => [...document.querySelectorAll(".choices input:checked")].map((input) => input.id);

  function writeAddress() {
    const open = sheets.filter((sheet) => sheet.matches(":popover-open")).map((sheet) => sheet.id);
    history.replaceState(null, "", `#show=${[...chosen(), ...open].join(",")}`);
  }

  function readAddress() {
    for (const id of (location.hash.split("#show=")[1] ?? "").split(",")) {
      const named = document.getElementById(id);
      if (named?.matches(".choices input")) named.checked = true;
      else if (named?.matches("[popover]:not(:popover-open)")) named.showPopover();
    }
  }

  readAddress();
  addEventListener("hashchange", readAddress);
  for (const form of document.querySelectorAll(".choices")) form.addEventListener("change", writeAddress);
  for (const sheet of sheets) sheet.addEventListener("toggle", writeAddress);
})();
