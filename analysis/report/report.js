// Draws each chart from the JSON beside it, in the page's colours, when it comes into view open.
"use strict";
(function () {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const colour = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const series = ["s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8"];

  function theme(width) {
    const ink = colour("ink");
    const soft = colour("soft");
    const narrow = width < 520;
    return {
      background: "transparent",
      font: "system-ui, sans-serif",
      view: { stroke: null },
      autosize: { type: "fit-x", contains: "padding", resize: true },
      axis: {
        labelColor: ink, titleColor: soft, gridColor: colour("line"), domainColor: colour("line"),
        tickColor: colour("line"), labelFontSize: 12, titleFontSize: 12, titleFontWeight: "normal",
        titlePadding: 8, labelLimit: Math.max(96, Math.round(width * 0.4)),
      },
      axisX: { tickCount: narrow ? 4 : 8, labelOverlap: "greedy", titleLimit: width - 24 },
      axisY: { grid: false, domain: false, ticks: false, labelPadding: 8 },
      legend: {
        orient: "top", labelColor: ink, titleColor: soft, labelFontSize: 12, symbolType: "square",
        columns: narrow ? 1 : 6, labelLimit: narrow ? 130 : 220, padding: 0, offset: 12,
      },
      range: {
        category: series.map(colour),
        // The only ordinal range is the verdict's.
        ordinal: ["better", "worse", "equivalent", "inconclusive"].map(colour),
      },
      mark: { color: colour("s1") },
      circle: { color: colour("s1") },
      rule: { color: ink },
      tick: { color: ink },
    };
  }

  function draw(place) {
    const spec = JSON.parse(document.getElementById(place.dataset.spec).textContent);
    if (place.clientWidth === 0) return;
    // The interpreter in place of compiled expressions: the page's policy forbids eval.
    vegaEmbed(place, spec, {
      ast: true, renderer: "svg", actions: false, config: theme(place.clientWidth), tooltip: {
        theme: dark.matches ? "dark" : "light",
      },
    }).then(() => { place.dataset.drawn = "yes"; }, (error) => { console.error(error); });
  }

  const places = Array.from(document.querySelectorAll("[data-spec]"));
  const drawAll = () => places.forEach(draw);
  document.querySelectorAll("details").forEach((element) =>
    element.addEventListener("toggle", () => {
      if (element.open) element.querySelectorAll("[data-spec]").forEach(draw);
    }));
  dark.addEventListener("change", drawAll);
  let waiting = 0;
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(drawAll, 150);
  });
  drawAll();
})();
