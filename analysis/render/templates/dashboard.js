(function () {
  "use strict";
  var root = document.documentElement;
  var specs = JSON.parse(document.getElementById("charts").textContent);
  var narrow = window.matchMedia("(max-width: 640px)");

  // On a phone plotly's buttons would lie on the charts.
  function config() {
    return { displaylogo: false, showTips: false, displayModeBar: narrow.matches ? false : "hover",
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"] };
  }

  // The library stands in the page compressed; the page's policy knows the hash of what comes out.
  function library() {
    if (typeof DecompressionStream === "undefined") {
      return Promise.reject(new Error("This browser is too old to draw the charts. The tables hold every figure."));
    }
    var packed = atob(document.getElementById("plotly").textContent);
    var bytes = Uint8Array.from(packed, function (char) { return char.charCodeAt(0); });
    var stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).text().then(function (text) {
      var script = document.createElement("script");
      script.textContent = text;
      document.head.appendChild(script);
    });
  }

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
    var room = width - (small ? 62 : 82);
    thin(layout.xaxis, room);
    turn(layout.xaxis, spec.data, room);
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

  // A phone has no room for a scale of a fifth of the width.
  function slim(trace) {
    if (!trace.colorbar) { return trace; }
    return Object.assign({}, trace, { colorbar: Object.assign({}, trace.colorbar,
      { len: 0.7, nticks: 3, tickangle: 0, tickfont: { size: 11 } }) });
  }

  // Only ticks that have room for their words; round ones stay.
  function thin(axis, room) {
    if (!axis.tickvals || !axis.ticktext || !axis.range) { return; }
    var log = axis.type === "log", low = axis.range[0], high = axis.range[1], kept = [];
    function place(i) { return ((log ? Math.log10(axis.tickvals[i]) : axis.tickvals[i]) - low) / (high - low) * room; }
    function roundness(i) { return String(axis.tickvals[i]).replace(/[0.]/g, "") === "1" ? 0 : 1; }
    axis.tickvals.map(function (_, i) { return i; })
      .sort(function (i, j) { return roundness(i) - roundness(j) || i - j; })
      .forEach(function (i) {
        if (kept.every(function (j) {
          return Math.abs(place(i) - place(j)) > 4 * (axis.ticktext[i].length + axis.ticktext[j].length) + 8;
        })) { kept.push(i); }
      });
    kept.sort(function (i, j) { return i - j; });
    axis.ticktext = kept.map(function (i) { return axis.ticktext[i]; });
    axis.tickvals = kept.map(function (i) { return axis.tickvals[i]; });
  }

  // Names of categories stand upright where they have no room to lie: never aslant, where they would touch.
  function turn(axis, data, room) {
    if (axis.type !== "category" || axis.tickangle !== undefined) { return; }
    var names = new Set();
    data.forEach(function (trace) { (trace.x || []).forEach(function (name) { names.add(String(name)); }); });
    var longest = Math.max.apply(null, Array.from(names).map(function (name) {
      return Math.max.apply(null, name.split("<br>").map(function (line) { return line.length; }));
    }));
    var places = axis.range ? axis.range[1] - axis.range[0] : names.size;
    axis.tickangle = 6.2 * longest + 4 > room / places ? -90 : 0;
  }

  // Of names beside points that would lie on each other, the later ones go: the pointer tells them.
  function declutter(place) {
    var kept = [];
    place.querySelectorAll(".textpoint text").forEach(function (name) {
      var box = name.getBoundingClientRect();
      var free = kept.every(function (other) {
        return box.right <= other.left || box.left >= other.right || box.bottom <= other.top || box.top >= other.bottom;
      });
      name.style.visibility = free ? "" : "hidden";
      if (free) { kept.push(box); }
    });
  }

  function draw(anew) {
    var style = getComputedStyle(root);
    delete root.dataset.drawn;
    return Promise.all(specs.map(function (spec) {
      var place = document.getElementById("chart-" + spec.id);
      // After a change of width plotly may keep the room of a legend that had more lines: begin from nothing.
      if (anew) { Plotly.purge(place); }
      return Plotly.react(place, themed(narrow.matches ? spec.data.map(slim) : spec.data, style), frame(spec, style, place.clientWidth), config())
        .then(function () {
          declutter(place);
          if (!anew) { return; }
          place.on("plotly_afterplot", function () { declutter(place); });
          if (spec.sync) { follow(spec); }
        });
    })).then(function () { root.dataset.drawn = String(specs.length); });
  }

  // Charts on the same time axis zoom together: by hand, or by the two buttons.
  var moving = false;
  var buttons = Array.prototype.slice.call(document.querySelectorAll("[data-zoom]"));
  function press(name) {
    buttons.forEach(function (b) { b.setAttribute("aria-pressed", String(b.dataset.zoom === name)); });
  }
  function zoom(name) {
    var measured = JSON.parse(document.querySelector(".zoom").dataset.measured);
    moving = true;
    Promise.all(specs.filter(function (s) { return s.sync === "time"; }).map(function (s) {
      var range = name === "measured" ? measured : s.layout.xaxis.range;
      return Plotly.relayout(document.getElementById("chart-" + s.id), { "xaxis.range": range.slice() });
    })).then(function () { moving = false; press(name); }, function () { moving = false; });
  }
  buttons.forEach(function (b) { b.addEventListener("click", function () { zoom(b.dataset.zoom); }); });
  function follow(spec) {
    var place = document.getElementById("chart-" + spec.id);
    place.on("plotly_relayout", function (change) {
      var auto = change["xaxis.autorange"];
      var low = change["xaxis.range[0]"], high = change["xaxis.range[1]"];
      if (change["xaxis.range"]) { low = change["xaxis.range"][0]; high = change["xaxis.range"][1]; }
      if (moving || (!auto && low === undefined)) { return; }
      moving = true;
      press(auto ? "whole" : "");
      var others = specs.filter(function (s) { return s.sync === spec.sync && s.id !== spec.id; });
      Promise.all(others.map(function (other) {
        var range = auto ? other.layout.xaxis.range : [low, high];
        return Plotly.relayout(document.getElementById("chart-" + other.id), { "xaxis.range": range });
      })).then(function () { moving = false; }, function () { moving = false; });
    });
  }

  document.addEventListener("theme", function () { if (window.Plotly) { draw(false); } });
  // One redraw when the window has come to rest; plotly's own resizing would race with it.
  var resting = null, drawnAt = window.innerWidth;
  window.addEventListener("resize", function () {
    clearTimeout(resting);
    resting = setTimeout(function () {
      if (window.Plotly && window.innerWidth !== drawnAt) { drawnAt = window.innerWidth; draw(true); }
    }, 150);
  });

  // The sections of the page, and the one that is being read.
  function contents() {
    var nav = document.getElementById("contents");
    var heads = Array.prototype.slice.call(document.querySelectorAll("main h2[id]"));
    if (!nav || heads.length < 2) { return; }
    var links = heads.map(function (head) {
      var link = document.createElement("a");
      link.href = "#" + head.id;
      link.textContent = head.dataset.nav || head.textContent;
      nav.appendChild(link);
      return link;
    });
    var last = null;
    function mark() {
      var now = 0;
      heads.forEach(function (head, i) { if (head.getBoundingClientRect().top < 120) { now = i; } });
      if (window.innerHeight + window.scrollY >= root.scrollHeight - 2 && window.scrollY > 0) { now = heads.length - 1; }
      if (now === last) { return; }
      links.forEach(function (link, i) {
        if (i === now) { link.setAttribute("aria-current", "location"); } else { link.removeAttribute("aria-current"); }
      });
      if (last !== null || now > 0) {
        nav.scrollLeft = links[now].offsetLeft - nav.offsetLeft - (nav.clientWidth - links[now].offsetWidth) / 2;
      }
      last = now;
    }
    window.addEventListener("scroll", mark, { passive: true });
    mark();
  }

  function copying() {
    var button = document.getElementById("copy"), command = document.getElementById("command");
    if (!button) { return; }
    button.addEventListener("click", function () {
      function done() { button.textContent = "Copied"; }
      function select() {  // no clipboard for this page: the reader presses the keys
        window.getSelection().selectAllChildren(command);
        if (document.execCommand("copy")) { done(); }
      }
      if (navigator.clipboard) { navigator.clipboard.writeText(command.textContent).then(done, select); } else { select(); }
    });
  }

  contents();
  copying();
  library().then(function () { return draw(true); }, function (error) {
    specs.forEach(function (spec) {
      document.getElementById("chart-" + spec.id).textContent = error.message;
    });
    root.dataset.drawn = "0";
  });
})();
