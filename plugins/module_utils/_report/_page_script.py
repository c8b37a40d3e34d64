# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page's one script: choosing a moment on the bar, and saying that the page itself has become old. All else works without it."""

from __future__ import annotations

SCRIPT = """
(function () {
  "use strict";
  var told = JSON.parse(document.getElementById("data").textContent);
  document.documentElement.className = "js";
  function two(n) { return (n < 10 ? "0" : "") + n; }
  function iso(t) { return new Date(t * 1000).toISOString().slice(0, 19) + "Z"; }
  function plain(t) { return iso(t).replace("T", " ").replace("Z", " UTC"); }
  function age() {
    var late = Date.now() / 1000 - told.made, at = document.getElementById("stale");
    if (late > told.fresh) {
      at.hidden = false;
      at.textContent = "This page is " + (late > 172800 ? Math.floor(late / 86400) + " days" : Math.floor(late / 60) + " minutes") +
        " old. What it says of now is unknown until it is made again.";
    }
  }
  age();
  setInterval(age, 30000);
  told.instances.forEach(function (one) {
    var root = document.getElementById(one.id), bar = root && root.querySelector(".bar");
    if (!bar) { return; }
    var form = root.querySelector(".choose"), input = form.querySelector("input"), said = form.querySelector(".said");
    var pre = root.querySelector("pre"), cursor = document.createElement("span"), latest = pre.textContent;
    var from = one.from, to = one.to, now = to;
    cursor.className = "cursor";
    cursor.hidden = true;
    bar.appendChild(cursor);
    form.hidden = false;
    bar.tabIndex = 0;
    bar.setAttribute("role", "slider");
    bar.setAttribute("aria-valuemin", from);
    bar.setAttribute("aria-valuemax", to);
    bar.setAttribute("aria-valuenow", to);
    function near(t) {
      var best = null;
      one.windows.forEach(function (w) {
        [Math.ceil(w[0]), Math.floor(w[1])].forEach(function (edge) {
          if (best === null || Math.abs(edge - t) < Math.abs(best - t)) { best = edge; }
        });
      });
      return best;
    }
    function choose(t, typed) {
      t = Math.round(t);
      now = t;
      var inside = one.windows.some(function (w) { return t >= w[0] && t <= w[1]; });
      cursor.hidden = t < from || t > to;
      cursor.style.left = (to > from ? 100 * (t - from) / (to - from) : 0) + "%";
      bar.setAttribute("aria-valuenow", t);
      bar.setAttribute("aria-valuetext", plain(t) + (inside ? "" : ", can't be restored"));
      if (!typed) { input.value = plain(t).replace(/(:00)? UTC$/, ""); }
      input.removeAttribute("aria-invalid");
      if (inside) {
        said.textContent = "To restore to " + plain(t) + ", type:";
        pre.textContent = one.command.replace("@REQUEST@", "moment-" + iso(t).replace(/[-:]/g, "")) +
          " \\\\\\n  -e walg_restore_target_time=" + iso(t);
        pre.hidden = false;
      } else {
        var edge = near(t);
        said.textContent = plain(t) + " can't be restored: no base backup leads there, or WAL is missing." +
          (edge === null ? "" : " The nearest moment that can is " + plain(edge) + ".");
        pre.textContent = "";
        pre.hidden = true;
      }
    }
    function at(event) {
      var box = bar.getBoundingClientRect();
      choose(from + (to - from) * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
    }
    bar.addEventListener("pointerdown", function (event) { at(event); bar.setPointerCapture(event.pointerId); });
    bar.addEventListener("pointermove", function (event) { if (event.buttons) { at(event); } });
    bar.addEventListener("keydown", function (event) {
      var step = event.shiftKey ? 1 : Math.max(1, (to - from) / 500);
      var moves = { ArrowLeft: -step, ArrowDown: -step, ArrowRight: step, ArrowUp: step, PageDown: -86400, PageUp: 86400 };
      var next = event.key === "Home" ? Math.ceil(from) : event.key === "End" ? Math.floor(to) : now + (moves[event.key] || 0);
      if (event.key in moves || event.key === "Home" || event.key === "End") {
        event.preventDefault();
        choose(Math.min(to, Math.max(from, next)));
      }
    });
    input.addEventListener("input", function () {
      var parts = /^\\s*(\\d{4}-\\d\\d-\\d\\d)[T ]+(\\d\\d:\\d\\d)(:\\d\\d)?\\s*(?:Z|UTC)?\\s*$/i.exec(input.value);
      var t = parts ? Date.parse(parts[1] + "T" + parts[2] + (parts[3] || ":00") + "Z") / 1000 : NaN;
      if (!isNaN(t) && iso(t).slice(0, 10) === parts[1]) { choose(t, true); return; }
      input.setAttribute("aria-invalid", "true");
      said.textContent = "Type a moment in UTC as YYYY-MM-DD HH:MM.";
      pre.textContent = "";
      pre.hidden = true;
    });
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    form.querySelector(".nearest").addEventListener("click", function () { var edge = near(now); if (edge !== null) { choose(edge); } });
    form.querySelector(".latest").addEventListener("click", function () {
      cursor.hidden = true; input.value = ""; input.removeAttribute("aria-invalid");
      said.textContent = "To restore all WAL, type:"; pre.textContent = latest; pre.hidden = false;
    });
    var copy = root.querySelector(".copy");
    if (navigator.clipboard && window.isSecureContext) {
      copy.hidden = false;
      copy.addEventListener("click", function () {
        navigator.clipboard.writeText(pre.textContent).then(function () { copy.textContent = "Copied"; });
      });
    }
  });
  function opened() {
    var one = location.hash && document.getElementById(location.hash.slice(1));
    if (one && one.tagName === "DETAILS") { one.open = true; }
  }
  window.addEventListener("hashchange", opened);
  opened();
})();
"""
