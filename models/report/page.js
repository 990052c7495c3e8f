"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const tip = $("tip");
  const show = (button, act) => { if (button) { button.hidden = false; button.addEventListener("click", act); } };
  show($("theme"), () => {
    const dark = getComputedStyle(document.documentElement).colorScheme === "dark" ||
      (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.dataset.theme = dark ? "light" : "dark";
  });
  show($("print"), () => window.print());
  for (const button of document.querySelectorAll("[data-copy]")) {
    show(button, async () => {
      const block = $(button.dataset.copy);
      try { await navigator.clipboard.writeText(block.textContent); button.textContent = "Copied"; }
      catch { getSelection().selectAllChildren(block); button.textContent = "Selected"; }
    });
  }
  // the series, read once from the block that people copy
  let known = null;
  const series = () => known ??= new Map(($("raw-csv")?.textContent ?? "").split("\n").slice(1).map((line) => {
    const cells = [...line.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g)].map((found) => found[1].replace(/^"|"$/g, "").replaceAll('""', '"'));
    const begin = Date.parse(cells[7]);
    const points = (cells[8] ?? "").split(" ").map((point) => point.split(":").map(Number));
    return [cells.slice(0, 4).join("|"), { begin, points }];
  }));
  const text = (value, unit) => unit === "ratio" ? `${(100 * value).toPrecision(3)} %` :
    unit === "s" && value < 1 ? `${(1000 * value).toPrecision(3)} ms` : `${Number(value.toPrecision(3))} ${unit === "ratio" ? "" : unit}`;
  const place = (event, words) => {
    tip.textContent = words;
    tip.hidden = false;
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.max(event.clientY - tip.offsetHeight - 10, 4)}px`;
  };
  const inside = (chart, event) => {
    const box = chart.getBoundingClientRect();
    const scale = chart.viewBox.baseVal.width / box.width;
    const left = Number(chart.dataset.left), right = Number(chart.dataset.right);
    return { share: ((event.clientX - box.left) * scale - left) / (right - left), y: (event.clientY - box.top) * scale };
  };
  const nearest = (one, when) => one.points.reduce((best, point) =>
    Math.abs(one.begin + point[0] * 1000 - when) < Math.abs(one.begin + best[0] * 1000 - when) ? point : best);
  const tell = (one, name, unit, when) => {
    const point = nearest(one, when);
    return `${name}${text(point[1], unit)}\n${new Date(one.begin + point[0] * 1000).toISOString().slice(0, 19).replace("T", " ")}`;
  };
  for (const chart of document.querySelectorAll("svg[data-chart]")) {
    const begin = Number(chart.dataset.begin), end = Number(chart.dataset.end);
    chart.addEventListener("pointermove", (event) => {
      const { share, y } = inside(chart, event);
      tip.hidden = true;
      if (share < 0 || share > 1) return;
      const when = begin + share * (end - begin);
      if (chart.dataset.chart === "line") {
        const one = series().get(chart.dataset.series);
        if (one) place(event, tell(one, "", chart.dataset.unit, when));
        return;
      }
      const ranks = chart.dataset.ranks.split(" ");
      const rank = ranks[Math.floor((y - Number(chart.dataset.top)) / Number(chart.dataset.row))];
      const one = rank === undefined ? undefined : series().get(`rank|rank|${rank}|`);
      if (one) place(event, tell(one, `rank ${rank}: `, "s", when));
    });
    chart.addEventListener("pointerleave", () => { tip.hidden = true; });
  }
})();
