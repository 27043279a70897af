// Server-sent events of a reply to POST: the browser's EventSource sends no body.

const LONGEST = 1 << 20; // characters of one event

function parse(block) {
  const event = { name: "message", data: [] };
  for (const line of block.split("\n")) {
    if (line.startsWith("event:")) event.name = line.slice(6).trim();
    if (line.startsWith("data:")) event.data.push(line.slice(5));
  }
  try {
    return { name: event.name, data: JSON.parse(event.data.join("\n")) ?? {} };
  } catch {
    return null; // a comment that keeps the line open, or no JSON
  }
}

/** The events of a stream of bytes, `{name, data}` each. */
export async function* readEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const blocks = (rest + value).replaceAll("\r\n", "\n").split("\n\n");
      rest = blocks.pop();
      if (rest.length > LONGEST) throw new RangeError("an event that does not end");
      for (const event of blocks.map(parse)) if (event) yield event;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}
