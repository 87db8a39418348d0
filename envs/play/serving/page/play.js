// The page: what the server tells is shown, what the player does is sent.

import { Connection } from "./connection.js";
import { keyRows } from "./help.js";
import { Hands, spoken } from "./keys.js";
import { Touch } from "./touch.js";
import { Tree } from "./tree.js";
import { View } from "./view.js";

const $ = (id) => document.getElementById(id);
// What the server does for a page; it refuses all else.
const ASKED = new Set(["step", "earlier", "later", "rewind", "quick save", "quick load", "restart", "player", "save",
  "keep"]);
const WHEEL = 40, SAID = 4000;
let game = null, state = null, me = 0, connected = false, number = 0, wheeled = 0, goOn = false, saying = 0;

const view = new View($("picture"), $("stage"));
const tree = new Tree($("tree"), $("where"), (stretch, depth) => connection.send({ type: "go", stretch, depth }));
const hands = new Hands({
  picture: $("picture"), stage: $("stage"), command,
  send: (held, look) => {
    if (!connected || !driving()) return;
    number += 1;
    // A world that stands shows no effect that one could wait for, unless this lets it go on.
    const goes = state.phase === "playing" || (state.phase === "ready" && held.length);
    if (goes && state.plays === "you") view.note(number);
    connection.send({ type: "input", number, held, look });
  },
  captured: (on, freed) => {
    if (on) send("resume");
    else if (!freed && state?.phase === "playing" && driving()) send("pause");
  },
});
const touch = new Touch(hands, {
  layer: $("touch"), stick: $("stick"), pads: $("pads"), items: $("items"), stage: $("stage"), picture: $("picture"),
  begin: () => { if (state.phase === "ready") send("resume"); },
});

const connection = new Connection({
  picture: (bytes) => view.show(bytes),
  welcome: (message) => {
    connected = true;
    me = message.number;
    number = 0;
    view.forget();
    document.body.dataset.linger = message.linger;
  },
  game: (message) => {
    game = message;
    document.title = $("title").textContent = message.title;
    view.smooth = $("smooth").checked = message.smooth;
    view.size(message.width, message.height);
    hands.learn(message);
    hands.sensitivity = Number(stored("sensitivity")) || message.sensitivity;
    $("sensitivity").value = hands.sensitivity;
    $("degrees").textContent = `${hands.sensitivity.toFixed(2)}° a pixel`;
    $("sensitivity").parentElement.hidden = !message.camera;
    $("starts-open").hidden = !message.starts;
    touch.learn(message);
    $("keys").replaceChildren(...keyRows(message, hands));
  },
  state: (message) => {
    const before = state;
    state = message;
    hands.on = driving() && connected;
    if (before && mine(before) && !driving()) hands.release();
    if (state.phase !== "playing") {
      view.forget();
      // Only as play ends: a state that was sent before the key that goes on must not take the mouse away again.
      if (before?.phase === "playing") hands.free();
    }
    show();
  },
  tree: (message) => tree.show(message),
  keys: (message) => showKeys(message.held),
  say: (message) => say(message.words),
  starts: (message) => listStarts(message.pictures),
  file: (message) => download(message.name, new Blob([message.text], { type: "application/json" })),
  lost: (again, why, code) => {
    connected = hands.on = false;
    hands.release();
    document.exitPointerLock?.();
    document.body.dataset.code = code;
    const words = again ? `${why || "The connection is lost"}. Trying again …` : why || "The connection has ended.";
    veil(words[0].toUpperCase() + words.slice(1), { bad: true, dark: true });
    document.body.dataset.phase = again ? "lost" : "refused";
    if (!again) button(code === 4409 ? "Use it here" : code === 4401 ? "" : code === 4404 ? "Begin a new world" : "Try again",
      () => (code === 4404 ? connection.renew() : connection.open()));
  },
});

function mine(what) {
  return what.people.some((one) => one.drives && one.number === me);
}

function driving() {
  return state !== null && mine(state);
}

function send(what, further = false) {
  if (driving()) connection.send({ type: "do", what, further });
}

/** Do what a key or button stands for; whether the page knows it. */
function command(what, further = false, wheel = false) {
  if (wheel) {
    if (state?.phase === "playing" || performance.now() < wheeled + WHEEL) return true;
    wheeled = performance.now();
  }
  const here = {
    screenshot, inside: () => { $("inside").hidden = !document.body.classList.toggle("looks-inside"); },
    smooth: () => { $("smooth").click(); }, "full screen": fullScreen, help: openSettings, menu: openSettings,
    starts: openStarts, pause: () => send(state?.phase === "playing" ? "pause" : "resume"),
  };
  // Elsewhere than in play, Tab goes from one button to the next.
  if (what === "player" && document.activeElement?.tagName === "BUTTON") return false;
  if (here[what]) here[what]();
  else if (!ASKED.has(what)) return false;
  else send(what, further);
  return true;
}

function show() {
  const { phase } = state, body = document.body;
  body.dataset.phase = phase;
  body.classList.toggle("driver", driving());
  body.classList.toggle("slow", state.slow);
  $("pause").querySelector("use").setAttribute("href", phase === "playing" ? "#i-pause" : "#i-play");
  $("plays").textContent = state.plays;
  const driver = state.people.find((one) => one.drives), asking = state.people.filter((one) => one.asks);
  const others = state.people.length - 1;
  $("driving").classList.toggle("you", driving());
  $("driving").textContent = driving()
    ? `you drive${others ? `, ${others} ${others === 1 ? "looks" : "look"} on` : ""}`
    : driver ? `player ${driver.number} drives` : "nobody drives";
  $("drive").hidden = driving();
  $("drive").disabled = asking.some((one) => one.number === me);
  $("drive").textContent = $("drive").disabled ? "Asked" : "Ask to drive";
  $("settings-open").classList.toggle("asked", driving() && asking.length > 0);
  $("settings-open").textContent = driving() && asking.length ? `Player ${asking[0].number} asks to drive` : "Keys";
  listPeople();
  const latency = view.latency();
  $("rate").textContent = phase === "playing" ? `${state.rate.toFixed(0)} frames/s` : "";
  $("latency").textContent = phase === "playing" && latency !== null ? `key to picture ${latency.toFixed(0)} ms` : "";
  $("inside").textContent = `step ${state.step.toFixed(0)} ms   ${state.status}`;
  const key = (what) => spoken(hands.keysOf(what)[0] ?? "?");
  const touching = body.classList.contains("touching");
  if (phase === "loading" || state.moving) veil(`${state.loading} …`, { share: state.share, dark: phase === "loading" });
  else if (phase === "failed") veil(`${state.error}. Go two seconds back, or begin anew.`, { bad: true });
  else if (phase === "ready" && driving()) veil(touching ? touch.words()
    : `Press a key of the game to go on${game?.camera ? ", or click to look around" : ""}.  ${key("help")}: keys`);
  else if (phase === "ready") veil("Waiting for the driver.");
  else if (phase === "paused") veil(driving() && !touching ? `Paused.  ${key("pause")}: go on` : "Paused.");
  else veil("");
}

/** What the next step gets: in a slow world a picture does not say so soon. */
function showKeys(held) {
  $("held").replaceChildren(...held.map((control) => {
    const cap = document.createElement("kbd");
    cap.textContent = control.replace("hotbar.", "item ");
    return cap;
  }));
}

function veil(words, { share, bad = false, dark = false } = {}) {
  $("words").textContent = words;
  $("veil").classList.toggle("bad", bad);
  $("veil").classList.toggle("dark", dark);
  $("bar").hidden = share === undefined;
  $("bar").classList.toggle("unknown", share === null);
  $("bar").firstElementChild.style.width = `${100 * (share ?? 0)}%`;
  $("again").hidden = true;
}

function button(text, act) {
  $("again").hidden = !text;
  $("again").textContent = text;
  $("again").onclick = act;
}

function say(words) {
  $("toast").textContent = words;
  $("toast").classList.add("shown");
  clearTimeout(saying);
  saying = setTimeout(() => $("toast").classList.remove("shown"), SAID);
}

function listPeople() {
  // A button that were made anew while it is pressed would not be clicked.
  const now = JSON.stringify([state.people, me]);
  if ($("people").dataset.now === now) return;
  $("people").dataset.now = now;
  $("people").replaceChildren(...state.people.map((one) => {
    const item = document.createElement("li");
    item.append(`Player ${one.number}${one.number === me ? " (you)" : ""}${one.drives ? " drives" : one.asks ? " asks to drive" : ""}`);
    if (driving() && !one.drives) {
      const give = document.createElement("button");
      give.textContent = "Hand over";
      give.onclick = () => { connection.send({ type: "give", to: one.number }); $("settings").close(); };
      item.append(give);
    }
    return item;
  }));
}

function listStarts(pictures) {
  $("pictures").replaceChildren(...pictures.map((uri, start) => {
    const choice = document.createElement("button"), picture = new Image();
    picture.src = uri;
    picture.alt = `start ${start}`;
    choice.append(picture);
    choice.onclick = () => { connection.send({ type: "begin", start }); goOn = false; $("starts").close(); };
    return choice;
  }));
}

/** The world stands still behind a dialog, and goes on after. */
function open(dialog) {
  if (dialog.open) return;
  document.exitPointerLock?.();
  goOn = driving() && state.phase === "playing";
  if (goOn) send("pause");
  hands.release();
  dialog.showModal();
}

function openSettings() { open($("settings")); }

function openStarts() {
  if (!driving() || !game?.starts) return;
  connection.send({ type: "starts" });
  open($("starts"));
}

function screenshot() {
  $("picture").toBlob((blob) => download("worldsim.png", blob));
}

function download(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function fullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen?.().catch(() => say("the browser allows no full screen"));
}

function stored(name) {
  try { return localStorage.getItem("worldsim:" + name) ?? ""; } catch { return ""; }
}

for (const one of document.querySelectorAll("[data-do]")) one.onclick = () => command(one.dataset.do);
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.querySelector("[data-close]").onclick = () => dialog.close();
  dialog.addEventListener("close", () => { if (goOn) send("resume"); goOn = false; });
}
$("pause").onclick = () => command("pause");
$("starts-open").onclick = openStarts;
$("settings-open").onclick = openSettings;
$("screenshot").onclick = screenshot;
$("full").onclick = fullScreen;
$("drive").onclick = () => connection.send({ type: "drive" });
$("share").onclick = async () => {
  try {
    await navigator.clipboard.writeText(connection.address());
    say("copied: who opens this address looks on");
  } catch { say(connection.address()); }
};
$("sensitivity").oninput = (event) => {
  hands.sensitivity = Number(event.target.value);
  $("degrees").textContent = `${hands.sensitivity.toFixed(2)}° a pixel`;
  try { localStorage.setItem("worldsim:sensitivity", hands.sensitivity); } catch { /* for this visit only */ }
};
$("smooth").onchange = (event) => { view.smooth = event.target.checked; view.fit(); };
// A button that keeps the focus would be pressed by Space.
addEventListener("click", (event) => { if (event.detail) event.target.closest("nav button, body > header button")?.blur(); });

connection.open();
