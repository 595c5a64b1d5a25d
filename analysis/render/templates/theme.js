// Before anything is painted: the reader's own choice of theme, else the system's.
(function () {
  var chosen = null;
  try { chosen = localStorage.getItem("tokenswarm-theme"); } catch (e) { /* storage is off for this page */ }
  var dark = window.matchMedia && window.matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = chosen || (dark ? "dark" : "light");
})();
