// Which key does what in this game, as rows of a table.

import { spoken } from "./keys.js";

function row(...cells) {
  const line = document.createElement("tr");
  for (const cell of cells) {
    const box = line.insertCell();
    if (Array.isArray(cell)) {
      for (const key of cell) {
        const cap = document.createElement("kbd");
        cap.textContent = spoken(key);
        box.append(cap, " ");
      }
    } else box.textContent = cell;
  }
  return line;
}

export function keyRows(game, hands) {
  const WORDS = {
    pause: "pause, go on", step: "one frame further", earlier: "paused: a step back (Shift: a second)",
    later: "paused: a step forward", rewind: "two seconds back", "quick save": "mark this moment",
    "quick load": "return to the mark", restart: "begin anew elsewhere", starts: "choose where to begin",
    player: "who plays: you, a script, …", save: "save the playthrough", screenshot: "screenshot",
    inside: "latency and trust", "full screen": "full screen",
  };
  const lines = game.meanings.map(([controls, text]) => [controls.length > 4
    ? [hands.keysOf(controls[0])[0], hands.keysOf(controls.at(-1))[0]].filter(Boolean)
    : controls.flatMap((one) => hands.keysOf(one).slice(0, 1)), text]);
  if (game.camera) lines.push(["mouse", "look around (click to capture, Esc to let go)"]);
  for (const [what, text] of Object.entries(WORDS)) lines.push([hands.keysOf(what).slice(0, 2), text]);
  return lines.filter(([keys]) => keys.length).map((line) => row(...line));
}
