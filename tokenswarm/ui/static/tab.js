// Shows tokenswarm's page while the tab "LLM" of Locust's web UI is chosen.
"use strict";
(() => {
  const frame = document.createElement("iframe");
  frame.title = "LLM figures";
  frame.style.cssText = "display:none;width:100%;border:0;min-height:70vh;";
  const here = () => new URLSearchParams(location.search).get("tab") === "llm" && document.querySelector('[role="tab"]');
  const fit = () => {
    const page = frame.contentDocument && frame.contentDocument.querySelector("main");
    if (page) frame.style.height = page.scrollHeight + 24 + "px";
  };
  // As soon as there are tabs, which is when a run has begun, ours is the one to look at, unless another was chosen.
  let offered = false;
  const choose = () => {
    const ours = [...document.querySelectorAll('[role="tab"]')].find((tab) => tab.textContent.trim() === "LLM");
    if (ours && !offered && !new URLSearchParams(location.search).has("tab")) ours.click();
    offered = Boolean(ours);
  };
  // Before the first run there are no tabs: a line under the start form leads to searches and comparisons.
  const way = document.createElement("p");
  way.style.cssText = "text-align:center;font-family:system-ui,sans-serif;font-size:.9rem;";
  const link = document.createElement("a");
  link.href = "./llm";
  link.style.color = "inherit";
  link.textContent = "Find the capacity, or compare two engines";
  way.append(link);
  const offer = () => {
    const form = document.querySelector('[role="tab"]') ? null : document.querySelector("form");
    if (form && form.querySelector('[name="userCount"]')) form.after(way); else way.remove();
  };
  setInterval(() => {
    choose();
    offer();
    const tabs = here();
    if (tabs) {
      const panel = tabs.closest(".MuiContainer-root");
      if (panel && frame.parentElement !== panel) panel.append(frame);
      if (!frame.src) frame.src = "./llm";
      fit();
    }
    frame.style.display = tabs ? "block" : "none";
  }, 200);
})();
