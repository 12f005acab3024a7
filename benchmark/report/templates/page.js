"use strict";
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const one = (selector, within = document) => within.querySelector(selector);
const make = (name, attributes = {}, ...children) => {
  const svg = ["svg", "path", "image"].includes(name);
  const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
};
const indexed = (names) => names.map((name, i) => [i, name]);

// What a choice changed, for those who do not see it.
const say = (text) => { one("#said").textContent = text; };

// The options of a choice; what was chosen stays, where it is among them.
function fill(select, entries) {
  const before = select.selectedOptions[0]?.textContent;
  select.replaceChildren(...entries.map(([value, text]) => make("option", { value }, text)));
  const same = [...select.options].find((option) => option.textContent === before);
  if (same) same.selected = true;
}

// Sorting: a button in each head; rows stay within their block, a third press restores the order.
function sortable(table, start) {
  const heads = all("thead th", table);
  const bodies = [...table.tBodies].map((body) => ({ body, rows: [...body.rows] }));
  const sort = (column, order) => {
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    if (order !== "none") heads[column].setAttribute("aria-sort", order);
    for (const { body, rows } of bodies) body.append(...(order === "none" ? rows : sorted(rows, column, order)));
  };
  heads.forEach((head, column) => {
    const text = (row) => row.cells[column].textContent;
    if (!bodies.some(({ rows }) => rows.some((row) => text(row) !== text(rows[0])))) return;
    const button = make("button", { type: "button" });
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = { none: "descending", descending: "ascending", ascending: "none" }[head.ariaSort || "none"];
      sort(column, order);
      say(`${head.dataset.column || head.textContent}: ${order === "none" ? "in the order of before" : `sorted, ${order}`}`);
    });
  });
  if (start) sort(start.column, start.order);
}

function sorted(rows, column, order) {
  const value = (row) => {
    const cell = row.cells[column];
    const number = parseFloat(cell.dataset.value ?? (cell.className === "n" ? cell.textContent.replace("−", "-") : "x"));
    return { number, text: cell.textContent.trim() };
  };
  const sign = order === "ascending" ? 1 : -1;
  return rows.map((row) => [value(row), row]).sort(([a], [b]) => {
    if (isNaN(a.number) && isNaN(b.number)) return sign * a.text.localeCompare(b.text, "en", { numeric: true });
    if (isNaN(a.number) || isNaN(b.number)) return isNaN(a.number) - isNaN(b.number);
    return sign * (a.number - b.number);
  }).map(([, row]) => row);
}

// Filtering: rows of a region or method, columns of a region, items of a metric. What is built later is taken in then.
function filtering(form) {
  const fields = form.elements;
  const regions = new Set([...fields.region.options].map((option) => option.value).filter(Boolean));
  const hide = (node, hidden) => { if (node.hidden !== hidden) node.hidden = hidden; };
  const tables = [];
  const apply = () => {
    const { region, metric, method } = Object.fromEntries(new FormData(form));
    all(".item[data-metric]").forEach((item) => hide(item, Boolean(metric) && item.dataset.metric !== metric));
    let shown = 0;
    for (const { table, item, rows, columns } of tables) {
      for (const row of rows) {
        hide(row, Boolean((region && row.dataset.region && row.dataset.region !== region)
          || (method && row.dataset.method !== method)));
      }
      for (const [name, i] of columns) {
        for (const row of table.rows) hide(row.cells[i], Boolean(region) && name !== region);
      }
      if (!item.hidden) hide(item, rows.every((row) => row.hidden));
      shown += !item.hidden;
    }
    const closed = all(".later:not([open])", form.parentElement).length;
    fields.shown.value = `${region || metric || method ? `${shown} of ${tables.length}` : "all"} tables shown`
      + (closed ? `, sections not opened: ${closed}` : "");
  };
  const chosen = () => [...new FormData(form).values()].some(Boolean);
  form.addEventListener("change", apply);
  form.addEventListener("reset", () => setTimeout(apply));
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  return (within) => {
    tables.push(...all(".item table", within).map((table) => ({
      table, item: table.closest(".item"), rows: all("tbody tr", table),
      columns: all("thead th", table).map((head, i) => [head.dataset.column, i]).filter(([name]) => regions.has(name)),
    })));
    if (chosen()) apply();
  };
}

// What is wider than its room is scrolled by keyboard, so it takes the focus; the rest would be stops in vain.
const scrolling = new ResizeObserver((entries) => {
  for (const box of new Set(entries.map(({ target }) => target.closest(".wide")))) {
    const scrolls = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
    if (scrolls) box.tabIndex = 0; else box.removeAttribute("tabindex");
  }
});

// A table in place of the one before it in its box.
function renew(table, box) {
  const before = one(`#${table.id}`, box);
  scrolling.unobserve(before);
  before.replaceWith(table);
  scrolling.observe(table);
}

function furnish(within) {
  all(".item table, table.sortable", within).forEach((table) => sortable(table));
  all(".wide", within).forEach((box) => [box, ...box.children].forEach((node) => scrolling.observe(node)));
  filter(within);
}

// Hundreds of thousands of cells take long to build: what a large report has beyond the first is built when it is opened.
function building(details) {
  details.addEventListener("toggle", () => {
    const packed = one("noscript", details), room = packed.parentElement;
    room.innerHTML = packed.textContent;
    furnish(room);
  }, { once: true });
}
