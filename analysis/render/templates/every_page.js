// What every page does: the theme, before anything is painted; and tables that fit a phone and the keyboard.
(function () {
  // The reader's own choice of theme, else the system's.
  var chosen = null;
  try { chosen = localStorage.getItem("tokenswarm-theme"); } catch (e) { /* storage is off for this page */ }
  var dark = window.matchMedia && window.matchMedia("(prefers-color-scheme: dark)").matches;
  var root = document.documentElement;
  root.dataset.theme = chosen || (dark ? "dark" : "light");

  // What is drawn in the theme's colours hears of a change by the event "theme".
  function switching() {
    document.getElementById("theme").addEventListener("click", function () {
      root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
      try { localStorage.setItem("tokenswarm-theme", root.dataset.theme); } catch (e) { /* only this view then */ }
      document.dispatchEvent(new Event("theme"));
    });
  }

  // On a phone a row of such a table is a block of its own, in which each cell says the title of its column.
  function titles() {
    document.querySelectorAll("table.rows, table.claims").forEach(function (table) {
      var heads = Array.prototype.map.call(table.tHead.rows[0].cells, function (cell) { return cell.textContent.trim(); });
      Array.prototype.forEach.call(table.tBodies[0].rows, function (row) {
        Array.prototype.forEach.call(row.cells, function (cell, i) { cell.dataset.title = heads[i]; });
      });
    });
  }

  // A table that is wider than its panel can be moved by the keyboard too.
  function reachable() {
    document.querySelectorAll(".scroll").forEach(function (box) {
      if (box.scrollWidth > box.clientWidth + 1) { box.tabIndex = 0; } else { box.removeAttribute("tabindex"); }
    });
  }

  document.addEventListener("DOMContentLoaded", function () { switching(); titles(); reachable(); });
  window.addEventListener("resize", reachable);
})();
