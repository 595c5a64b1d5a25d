// Before anything is painted: the reader's own choice of theme, else the system's.
(function () {
  var chosen = null;
  try { chosen = localStorage.getItem("tokenswarm-theme"); } catch (e) { /* storage is off for this page */ }
  var dark = window.matchMedia && window.matchMedia("(prefers-color-scheme: dark)").matches;
  var root = document.documentElement;
  root.dataset.theme = chosen || (dark ? "dark" : "light");
  // A page's button, where it has one; what is drawn in the theme's colours hears of it by the event "theme".
  document.addEventListener("DOMContentLoaded", function () {
    var button = document.getElementById("theme");
    if (!button) { return; }
    button.addEventListener("click", function () {
      root.dataset.theme = root.dataset.theme === "dark" ? "light" : "dark";
      try { localStorage.setItem("tokenswarm-theme", root.dataset.theme); } catch (e) { /* only this view then */ }
      document.dispatchEvent(new Event("theme"));
    });
  });
})();
