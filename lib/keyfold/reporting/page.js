"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];
  const data = (element) => JSON.parse(element.querySelector("script").textContent);

  // Tables: a click on a header sorts by its column, a second one in the other direction; dashes stay last.
  const number = (text) => (text.includes("∞") ? (text.startsWith("-") ? -1 : 1) * Infinity : parseFloat(text.replace(/[<>,]/g, "")));
  const sort = (table, column, numeric, direction) => {
    const cell = (row) => row.cells[column].textContent.trim();
    const compare = numeric ? (a, b) => number(a) - number(b) : (a, b) => a.localeCompare(b, "en", { numeric: true });
    const missing = (text) => text === "–" || text === "";
    const rows = [...table.tBodies[0].rows].sort((one, other) => {
      const [a, b] = [cell(one), cell(other)];
      return missing(a) - missing(b) || (missing(a) ? 0 : direction * (compare(a, b) || 0));
    });
    table.tBodies[0].append(...rows);
  };
  for (const table of all("table:not(.fixed)")) {
    if (table.tBodies[0].rows.length < 2) continue;
    const headers = all("thead th", table);
    headers.forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const direction = header.ariaSort === "ascending" ? -1 : 1;
        headers.forEach((other) => other.removeAttribute("aria-sort"));
        header.ariaSort = direction > 0 ? "ascending" : "descending";
        sort(table, column, header.classList.contains("n"), direction);
      });
    });
  }

  // Charts: the point next to the pointer is marked and its values are shown.
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);
  for (const figure of all("figure:has(> script)")) {
    const svg = figure.querySelector("svg");
    const { x, y, series } = data(figure);
    const points = series.flatMap(([name, points]) => points.map(([left, top, ...values]) => ({ name, left, top, values })));
    const mark = svg.appendChild(document.createElementNS("http://www.w3.org/2000/svg", "circle"));
    mark.setAttribute("r", 5);
    mark.classList.add("mark");
    const hide = () => { tip.hidden = true; mark.classList.remove("on"); };
    svg.addEventListener("pointerleave", hide);
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const scale = svg.viewBox.baseVal.width / box.width;
      const away = ({ left, top }) => Math.hypot((event.clientX - box.left) * scale - left, (event.clientY - box.top) * scale - top);
      const nearest = points.reduce((best, point) => (away(point) < away(best) ? point : best));
      if (away(nearest) > 60) return hide();
      mark.setAttribute("cx", nearest.left);
      mark.setAttribute("cy", nearest.top);
      mark.classList.add("on");
      tip.textContent = `${nearest.name}\n${x}: ${nearest.values[0]}\n${y}: ${nearest.values[1]}`;
      tip.hidden = false;
      tip.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 4))}px`;
      tip.style.top = `${Math.max(4, event.clientY - tip.offsetHeight - 12)}px`;
    });
  }

  // Threshold: the slider fills in the confusion matrix and what follows from it.
  for (const box of all(".threshold")) {
    const { tp, fp, positives, negatives } = data(box);
    const slider = box.querySelector("input");
    const count = (n) => n.toLocaleString("en-US");
    const share = (part, whole) => {
      if (!whole) return "–";
      if (part > 0 && part / whole < 5e-5) return "<0.01%";
      return part < whole && part / whole >= 1 - 5e-5 ? ">99.99%" : `${((100 * part) / whole).toFixed(2)}%`;
    };
    const show = () => {
      const [t, f] = [tp[slider.value], fp[slider.value]];
      const shown = {
        tp: count(t), fp: count(f), fn: count(positives - t), tn: count(negatives - f),
        precision: share(t, t + f), recall: share(t, positives), "predicted positive": share(t + f, positives + negatives),
        accuracy: share(t + negatives - f, positives + negatives), threshold: (slider.value / 100).toFixed(2),
      };
      for (const cell of all("[data-cell]", box)) cell.textContent = shown[cell.dataset.cell];
    };
    slider.addEventListener("input", show);
    slider.closest("p").hidden = false;
  }
})();
