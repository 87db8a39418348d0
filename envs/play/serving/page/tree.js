// The timeline: everything that was played since the beginning, as a tree. A click or a drag goes to a moment.

const MARGIN = 8, ROW = 9;

export class Tree {
  constructor(canvas, label, go) {
    Object.assign(this, { canvas, label, go, tree: null, asked: "" });
    canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); this.#click(event); });
    canvas.addEventListener("pointermove", (event) => { if (canvas.hasPointerCapture(event.pointerId)) this.#click(event); });
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  show(tree) {
    this.tree = tree;
    this.asked = "";
    const deepest = this.#deepest();
    this.label.textContent = `${(tree.here[1] * tree.seconds).toFixed(1)} s of ${(deepest * tree.seconds).toFixed(1)} s`;
    this.canvas.dataset.stretches = tree.lanes.length;
    this.canvas.dataset.here = tree.here.join(" ");
    this.draw();
  }

  #deepest() {
    return Math.max(1, ...this.tree.lanes.map((lane) => lane[3]));
  }

  #x(depth) {
    return MARGIN + depth / this.#deepest() * (this.canvas.clientWidth - 2 * MARGIN);
  }

  #y(row) {
    const rows = 1 + Math.max(0, ...this.tree.lanes.map((lane) => lane[1]));
    const step = Math.min(ROW, (this.canvas.clientHeight - 2 * MARGIN) / Math.max(1, rows - 1));
    return this.canvas.clientHeight / 2 + (row - (rows - 1) / 2) * step + 4;
  }

  draw() {
    const { canvas, tree } = this, dense = devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * dense;
    canvas.height = canvas.clientHeight * dense;
    const pen = canvas.getContext("2d");
    pen.scale(dense, dense);
    if (!tree) return;
    const colour = (name) => getComputedStyle(canvas).getPropertyValue(name);
    const mine = new Map(tree.mine), rows = new Map(tree.lanes.map((lane) => [lane[0], lane[1]]));
    const line = (x, y, x2, y2, style, width) => {
      pen.strokeStyle = style;
      pen.lineWidth = width;
      pen.lineCap = "round";
      pen.beginPath();
      pen.moveTo(x, y);
      pen.lineTo(x2, y2);
      pen.stroke();
    };
    for (const [stretch, row, first, last, parent] of tree.lanes) {
      const y = this.#y(row), on = mine.has(stretch);
      if (parent >= 0) line(this.#x(first), this.#y(parent), this.#x(first), y, on ? colour("--mine") : "#4a5366", 2);
      line(this.#x(first), y, this.#x(last), y, "#4a5366", 3.5);
      if (on) line(this.#x(first), y, this.#x(mine.get(stretch)), y, colour("--mine"), 3.5);
    }
    for (const [place, name] of [[tree.mark, "--mark"], [tree.here, "--here"]]) {
      if (!place || !rows.has(place[0])) continue;
      pen.fillStyle = colour(name);
      pen.beginPath();
      pen.arc(this.#x(place[1]), this.#y(rows.get(place[0])), 5.5, 0, 7);
      pen.fill();
    }
  }

  #click(event) {
    if (!this.tree) return;
    const box = this.canvas.getBoundingClientRect(), x = event.clientX - box.x, y = event.clientY - box.y;
    const share = (x - MARGIN) / Math.max(1, this.canvas.clientWidth - 2 * MARGIN);
    const depth = Math.round(Math.min(1, Math.max(0, share)) * this.#deepest());
    // The nearest row, and within it the stretch that is nearest along it.
    const far = ([, row, first, last]) =>
      Math.abs(this.#y(row) - y) * 1e4 + Math.abs(Math.min(Math.max(depth, first), last) - depth);
    const [lane] = [...this.tree.lanes].sort((a, b) => far(a) - far(b));
    const asked = `${lane[0]} ${Math.min(Math.max(depth, lane[2]), lane[3])}`;
    if (asked !== this.asked) this.go(lane[0], depth);
    this.asked = asked;
  }
}
