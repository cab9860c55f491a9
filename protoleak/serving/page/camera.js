// A picture from this machine's camera; where the browser gives none, from the camera application.

const dialog = document.getElementById("camera");
const video = document.getElementById("video");
const problem = document.getElementById("camera-error");
const snap = document.getElementById("snap");

let stream = null;

/**
 * @param {(file: File) => void} give
 * @param {HTMLInputElement} fallback asks the camera application, as telephones have one
 */
export function offerCamera(button, fallback, give) {
  button.addEventListener("click", async () => {
    if (!navigator.mediaDevices?.getUserMedia) { // not over plain http from another machine
      fallback.click();
      return;
    }
    problem.textContent = "";
    snap.disabled = true;
    dialog.showModal();
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "user", width: { ideal: 1920 } } });
      if (!dialog.open) return stop();
      video.srcObject = stream;
      await video.play();
      snap.disabled = false;
      snap.focus();
    } catch (error) {
      problem.textContent = error.name === "NotAllowedError" ?
        "The browser keeps the camera from this page. Allow it in the address bar, or choose a file." :
        "There is no camera that can be used. Choose a file instead.";
      stop();
    }
  });
  snap.addEventListener("click", () => {
    const canvas = document.createElement("canvas");
    canvas.width = video.videoWidth;
    canvas.height = video.videoHeight;
    canvas.getContext("2d").drawImage(video, 0, 0);
    // PNG: compressing once more would change what is judged.
    canvas.toBlob((blob) => give(new File([blob], "camera.png", { type: "image/png" })), "image/png");
    dialog.close();
  });
  document.getElementById("camera-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => {
    stop();
    button.focus();
  });
}

function stop() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  video.srcObject = null;
}
