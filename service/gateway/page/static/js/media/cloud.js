/** Points that a mouse, a finger or the arrow keys turn. */

import { canvas } from "./canvas.js";

/** Points in the unit box, turned by dragging or by the arrow keys. */
export function cloud(points, label) {
  const [element, draw] = canvas(240, 200, `${label}; arrow keys turn it`);
  element.tabIndex = 0;
  element.classList.add("grabbed");
  const centre = [0, 1, 2].map((axis) => points.reduce((sum, point) => sum + point[axis], 0) / (points.length || 1));
  const reach = points.reduce((most, point) => Math.max(most, ...point.map((v, axis) => Math.abs(v - centre[axis]))), 1e-9);
  let [yaw, pitch] = [0.6, 0.3];
  const paint = () => {
    draw.clearRect(0, 0, 240, 200);
    for (const point of points) {
      const [x, y, z] = point.map((value, axis) => (value - centre[axis]) / reach);
      const [x1, z1] = [x * Math.cos(yaw) + z * Math.sin(yaw), z * Math.cos(yaw) - x * Math.sin(yaw)];
      const [y1, depth] = [y * Math.cos(pitch) - z1 * Math.sin(pitch), y * Math.sin(pitch) + z1 * Math.cos(pitch)];
      draw.fillStyle = `hsl(${210 - 70 * depth} 60% 50%)`;
      draw.fillRect(120 + x1 * 85, 100 - y1 * 85, 2, 2);
    }
  };
  const turn = (dx, dy) => {
    [yaw, pitch] = [yaw + dx, pitch + dy];
    paint();
  };
  element.addEventListener("pointerdown", (event) => element.setPointerCapture(event.pointerId));
  element.addEventListener("pointermove", (event) => event.buttons && turn(event.movementX / 80, event.movementY / 80));
  element.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, -0.2], ArrowDown: [0, 0.2] }[event.key];
    if (!step) return;
    event.preventDefault();
    turn(...step);
  });
  paint();
  return element;
}
