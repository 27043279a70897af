// A picture from the computer's camera.

import { text } from "./texts.js";

let count = 0;

async function snapshot(video) {
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.95 });
  count += 1;
  return new File([blob], text("camera.name", { count }), { type: "image/jpeg" });
}

/** Show what the camera sees until a picture is taken; null if the dialog is closed. Rejects without a camera. */
export async function takePicture() {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1920 } } });
  const dialog = document.getElementById("taking");
  const video = document.getElementById("viewfinder");
  const shutter = document.getElementById("shutter");
  video.srcObject = stream;
  dialog.showModal();
  try {
    return await new Promise((resolve, reject) => {
      shutter.onclick = () => snapshot(video).then(resolve, reject);
      dialog.onclose = () => resolve(null);
    });
  } finally {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
    if (dialog.open) dialog.close();
  }
}
