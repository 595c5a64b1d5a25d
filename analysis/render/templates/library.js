// Filters and sorts the table of results, and shows it in parts. The page is whole without it.
(function () {
  var PART = window.matchMedia("(max-width: 640px)").matches ? 20 : 50;
  var rows = Array.prototype.slice.call(document.querySelectorAll("#entries tbody tr"));
  var fields = ["kind", "scenario", "engine"].map(function (id) { return document.getElementById(id); });
  var words = document.getElementById("words");
  var more = document.getElementById("more"), all = document.getElementById("all");
  var texts = new Map(rows.map(function (row) { return [row, row.textContent.toLowerCase()]; }));
  var fitting = rows, limit = PART;

  // Of all rows that fit, in their order, the first ones.
  function show() {
    var shown = 0;
    rows.forEach(function (row) { row.hidden = true; });
    fitting.slice(0, limit).forEach(function (row) { row.hidden = false; shown += 1; });
    var left = fitting.length - shown;
    document.getElementById("fitting").textContent = fitting.length.toLocaleString("en-US");
    document.getElementById("none").hidden = fitting.length > 0;
    document.getElementById("parts").hidden = left === 0;
    document.getElementById("shown").textContent = shown.toLocaleString("en-US") + " of " + fitting.length.toLocaleString("en-US");
    more.textContent = "Show " + Math.min(PART, left) + " more";
  }
  function filter() {
    var wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    fitting = rows.filter(function (row) {
      return fields.every(function (field) { return !field.value || row.dataset[field.id] === field.value; }) &&
        wanted.every(function (word) { return texts.get(row).indexOf(word) >= 0; });
    });
    limit = PART;
    show();
  }
  fields.concat([words]).forEach(function (field) { field.addEventListener("input", filter); });
  more.addEventListener("click", function () {
    var next = fitting[limit];
    limit += PART;
    show();
    // The keyboard goes on where the new rows begin.
    var link = next && next.querySelector("a");
    if (link) { link.focus({ preventScroll: true }); }
  });
  all.addEventListener("click", function () { limit = Infinity; show(); });

  var heads = Array.prototype.slice.call(document.querySelectorAll("#entries thead th"));
  var order = document.getElementById("order"), turn = document.getElementById("turn");
  function sort(column, down) {
    heads.forEach(function (head, i) {
      head.setAttribute("aria-sort", i !== column ? "none" : down ? "descending" : "ascending");
    });
    order.value = String(column);
    turn.setAttribute("aria-pressed", String(down));
    var keys = new Map(rows.map(function (row) {
      var cell = row.children[column], number = cell.dataset.number;
      return [row, number === undefined ? cell.textContent.trim().toLowerCase() : number === "" ? null : Number(number)];
    }));
    rows.sort(function (a, b) {
      var x = keys.get(a), y = keys.get(b);
      if (x === null || y === null) { return (x === null) - (y === null); }  // what is absent stands last, either way
      return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
    });
    rows.forEach(function (row) { row.parentNode.appendChild(row); });
    filter();
  }
  heads.forEach(function (head, column) {
    order.add(new Option(head.textContent, String(column)));
    head.querySelector("button").addEventListener("click", function () {
      sort(column, head.getAttribute("aria-sort") === "ascending");
    });
  });
  function asked() { sort(Number(order.value), turn.getAttribute("aria-pressed") === "true"); }
  order.addEventListener("input", asked);
  turn.addEventListener("click", function () { turn.setAttribute("aria-pressed", String(turn.getAttribute("aria-pressed") !== "true")); asked(); });
  heads[0].setAttribute("aria-sort", "descending");
  turn.setAttribute("aria-pressed", "true");
  order.value = "0";
  show();
})();
