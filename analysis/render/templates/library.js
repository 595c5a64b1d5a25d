// Filters and sorts the table of results. The page is whole without it.
(function () {
  var rows = Array.prototype.slice.call(document.querySelectorAll("#entries tbody tr"));
  var fields = ["kind", "scenario", "engine"].map(function (id) { return document.getElementById(id); });
  var words = document.getElementById("words");
  function filter() {
    var wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean), shown = 0;
    rows.forEach(function (row) {
      var text = row.textContent.toLowerCase();
      var fits = fields.every(function (field) { return !field.value || row.dataset[field.id] === field.value; }) &&
        wanted.every(function (word) { return text.indexOf(word) >= 0; });
      row.hidden = !fits;
      shown += fits ? 1 : 0;
    });
    document.getElementById("shown").textContent = shown;
    document.getElementById("none").hidden = shown > 0;
  }
  fields.concat([words]).forEach(function (field) { field.addEventListener("input", filter); });
  var heads = Array.prototype.slice.call(document.querySelectorAll("#entries thead th"));
  heads.forEach(function (head, column) {
    head.querySelector("button").addEventListener("click", function () {
      var down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach(function (other) { other.setAttribute("aria-sort", "none"); });
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      var key = function (row) {
        var cell = row.children[column], number = cell.dataset.number;
        return number === undefined ? cell.textContent.trim().toLowerCase() : number === "" ? null : Number(number);
      };
      rows.sort(function (a, b) {
        var x = key(a), y = key(b);
        if (x === null || y === null) { return (x === null) - (y === null); }  // what is absent stands last, either way
        return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
      });
      rows.forEach(function (row) { row.parentNode.appendChild(row); });
    });
  });
})();
