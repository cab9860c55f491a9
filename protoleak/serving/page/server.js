// Talks to the server that this page comes from.

const PATIENCE = 60_000; // milliseconds for which a busy server is asked again
const LONGEST_WAIT = 30_000;
const NO_ANSWER = "The server doesn't answer. See whether it runs and this machine is connected, then try again.";

let token = null;

/** A refusal in the server's words, or the lack of an answer in ours. */
export class Refusal extends Error {
  constructor(message, code, status) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

export function useToken(text) {
  token = text;
}

/** Name, levels and limits of what judges. */
export function bundle() {
  return asked("v1/bundle", {});
}

/**
 * The verdicts on the faces in one image, or errors in their place.
 * @param {Blob} file sent as it is
 * @param {(seconds: number) => void} busy told before each wait for a server that is busy
 * @param {AbortSignal} signal
 */
export async function screen(file, busy, signal) {
  const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
  const options = { method: "POST", body: file, headers: { "Content-Type": type }, signal };
  return (await asked("v1/screen?faces=1", options, busy)).data;
}

async function asked(path, options, busy = () => {}) {
  const until = performance.now() + PATIENCE;
  for (;;) {
    const headers = { ...options.headers, ...(token === null ? {} : { Authorization: `Bearer ${token}` }) };
    let answer, body;
    try {
      answer = await fetch(path, { ...options, headers, redirect: "error", cache: "no-store" });
      body = await answer.json().catch(() => null);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refusal(NO_ANSWER, "no_answer", 0);
    }
    if (answer.ok && body !== null) return body;
    if (answer.status === 503) {
      const wait = Math.min(1000 * (Number(answer.headers.get("Retry-After")) || 1), LONGEST_WAIT);
      if (performance.now() + wait <= until) {
        busy(Math.round(wait / 1000));
        await new Promise((resolve) => setTimeout(resolve, wait));
        options.signal?.throwIfAborted();
        continue;
      }
    }
    throw new Refusal(body?.error?.message ?? `The server answered ${answer.status}, and gave no reason.`,
      body?.error?.code ?? "unknown", answer.status);
  }
}
