(function () {
  "use strict";
  var root = document.documentElement;
  var specs = JSON.parse(document.getElementById("charts").textContent);
  var narrow = window.matchMedia("(max-width: 640px)");
  var config = { displaylogo: false, showTips: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"] };

  // "c:blue" becomes the theme's blue.
  function themed(value, style) {
    if (typeof value === "string") {
      return value.slice(0, 2) === "c:" ? style.getPropertyValue("--c-" + value.slice(2)).trim() : value;
    }
    if (Array.isArray(value)) {
      return typeof value[value.length - 1] === "number" ? value : value.map(function (v) { return themed(v, style); });
    }
    if (value && typeof value === "object") {
      var out = {};
      Object.keys(value).forEach(function (key) { out[key] = themed(value[key], style); });
      return out;
    }
    return value;
  }

  function frame(spec, style, width) {
    var ink = style.getPropertyValue("--ink-2").trim();
    var grid = style.getPropertyValue("--grid").trim();
    var small = narrow.matches;
    var layout = themed(spec.layout, style);
    var base = { gridcolor: grid, linecolor: grid, zerolinecolor: grid, tickfont: { size: 11 }, fixedrange: false };
    ["xaxis", "yaxis"].forEach(function (key) {
      var given = layout[key] || {};
      layout[key] = Object.assign({}, base, given);
      if (given.title) {
        layout[key].title = { text: given.title.text, standoff: 8, font: { size: 12 } };
      }
    });
    layout.xaxis.showgrid = layout.xaxis.type === "log";
    layout.yaxis.fixedrange = Boolean(spec.sync);
    layout.yaxis.showline = false;
    if (!spec.sync) { layout.yaxis.automargin = true; layout.xaxis.automargin = true; }
    if (small) {
      // A phone has no room for the names of the shaded bands.
      layout.annotations = (layout.annotations || []).filter(function (a) { return a.name !== "band"; });
    }
    if (small && layout.xaxis.nticks === undefined) { layout.xaxis.nticks = 6; }
    var shown = spec.data.filter(function (t) { return t.showlegend !== false; });
    layout.legend = Object.assign({ orientation: "h", x: 0, xanchor: "left", y: 1.02, yanchor: "bottom",
      bgcolor: "rgba(0,0,0,0)", font: { size: 12 } }, layout.legend);
    return Object.assign({
      width: width, height: spec.height + (small && shown.length > 3 ? 24 : 0),
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: style.getPropertyValue("--sans").trim(), size: 12, color: ink },
      showlegend: shown.length > 1,
      hovermode: "x unified", dragmode: small ? false : "zoom",
      hoverlabel: { bgcolor: style.getPropertyValue("--panel").trim(), bordercolor: grid, font: { color: ink } }
    }, layout, { margin: Object.assign({ l: small ? 52 : 64, r: small ? 10 : 18,
      t: shown.length > 1 || layout.showlegend ? 34 : 12, b: 44 }, layout.margin) });
  }

  function draw(anew) {
    var style = getComputedStyle(root);
    delete root.dataset.drawn;
    return Promise.all(specs.map(function (spec) {
      var place = document.getElementById("chart-" + spec.id);
      // After a change of width plotly may keep the room of a legend that had more lines: begin from nothing.
      if (anew) { Plotly.purge(place); }
      return Plotly.react(place, themed(spec.data, style), frame(spec, style, place.clientWidth), config)
        .then(function () { if (anew && spec.sync) { follow(spec); } });
    })).then(function () { root.dataset.drawn = String(specs.length); });
  }

  // Charts on the same time axis zoom together.
  var moving = false;
  function follow(spec) {
    var place = document.getElementById("chart-" + spec.id);
    place.on("plotly_relayout", function (change) {
      var auto = change["xaxis.autorange"];
      var low = change["xaxis.range[0]"], high = change["xaxis.range[1]"];
      if (change["xaxis.range"]) { low = change["xaxis.range"][0]; high = change["xaxis.range"][1]; }
      if (moving || (!auto && low === undefined)) { return; }
      moving = true;
      var others = specs.filter(function (s) { return s.sync === spec.sync && s.id !== spec.id; });
      Promise.all(others.map(function (other) {
        var range = auto ? other.layout.xaxis.range : [low, high];
        return Plotly.relayout(document.getElementById("chart-" + other.id), { "xaxis.range": range });
      })).then(function () { moving = false; }, function () { moving = false; });
    });
  }

  document.addEventListener("theme", function () { draw(false); });
  // One redraw when the window has come to rest; plotly's own resizing would race with it.
  var resting = null, drawnAt = window.innerWidth;
  window.addEventListener("resize", function () {
    clearTimeout(resting);
    resting = setTimeout(function () {
      if (window.innerWidth !== drawnAt) { drawnAt = window.innerWidth; draw(true); }
    }, 150);
  });

  draw(true);
})();
