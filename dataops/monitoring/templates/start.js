// Draws the charts; says so on the page's root when all stand, and in words when they can't be drawn.
const charts = JSON.parse(document.getElementById("chart-data").textContent);
if (typeof Bokeh === "undefined") {
  document.getElementById("no-charts").hidden = false;
} else {
  Bokeh.set_log_level("warn");
  Promise.all(charts.map((chart) => Bokeh.embed.embed_item(chart))).then(() => {
    document.documentElement.dataset.charts = String(charts.length);
  });
}
