// How pictures come in: drop, paste, choose, camera, samples.

import { element } from "./charts.js";
import { fillTexts, text } from "./texts.js";
import { takePicture } from "./camera.js";

export const MOST = 20; // pictures on the page at a time
const SAMPLES = ["town", "seascape", "still_life", "abstract"];

/**
 * Which of some files can be taken, `{files, refused}`: refused are sentences for the user.
 * free: how many more may be on the page.
 */
export function sortOut(files, free) {
  const refused = [];
  const fit = [...files].filter((file) => {
    const isOther = file.type !== "" && !file.type.startsWith("image/"); // no type: the server will see
    const fault = file.size === 0 ? "drop.empty_file" : isOther ? "drop.no_picture" : "";
    if (fault) refused.push(text(fault, { name: file.name }));
    return !fault;
  });
  if (fit.length > free) refused.push(text("drop.too_many", { most: MOST, left: fit.length - free }));
  return { files: fit.slice(0, free), refused };
}

/** Let pictures in by every way; onFiles gets lists of files, onNotice a sentence. */
export function letIn(onFiles, onNotice) {
  byDrop(document.getElementById("drop"), onFiles);
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files ?? [];
    if (files.length > 0) onFiles(files);
  });
  const choose = byInput(document.getElementById("files"), onFiles);
  const photograph = byInput(document.getElementById("photograph"), onFiles);
  document.getElementById("choose").addEventListener("click", choose);
  document.getElementById("camera").addEventListener("click", async () => {
    const isPhone = matchMedia("(pointer: coarse)").matches; // has a camera application of its own
    if (isPhone || !navigator.mediaDevices?.getUserMedia) return photograph();
    const file = await takePicture().catch(() => onNotice(text("camera.refused")));
    if (file) onFiles([file]);
  });
}

function byInput(input, onFiles) {
  input.addEventListener("change", () => {
    onFiles([...input.files]);
    input.value = ""; // the same file can be chosen again
  });
  return () => input.click();
}

function byDrop(zone, onFiles) {
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault(); // or the browser leaves the page for the picture
    zone.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) zone.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    zone.classList.remove("over");
    onFiles(event.dataTransfer.files);
  });
}

/** Offer the sample pictures; onFile gets the one taken and the name to show. */
export function offerSamples(list, onFile) {
  for (const name of SAMPLES) {
    const button = element("button");
    button.type = "button";
    const image = element("img");
    image.src = `static/samples/${name}.jpg`;
    image.alt = "";
    const label = element("span");
    label.dataset.text = `sample.${name}`;
    button.append(image, label);
    button.addEventListener("click", async () => {
      const reply = await fetch(image.src).catch(() => null);
      if (!reply?.ok) return;
      onFile(new File([await reply.blob()], `${name}.jpg`, { type: "image/jpeg", lastModified: 0 }), name);
    });
    const item = element("li");
    item.append(button);
    list.append(item);
  }
  fillTexts(list);
}
