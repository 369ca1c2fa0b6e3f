// Ollama's library for JavaScript against a server: what it made of each call, as JSON.
const { Ollama } = require("ollama");

async function main(host) {
  const client = new Ollama({ host });
  const asked = {
    model: "toy:latest",
    messages: [{ role: "user", content: "Who?" }],
    think: true,
    tools: [
      {
        type: "function",
        function: { name: "weather", parameters: { type: "object", properties: { place: { type: "string" } } } },
      },
    ],
    options: { num_predict: 300 },
  };
  const whole = await client.chat(asked);
  const streamed = { content: "", thinking: "", calls: [] };
  let last;
  for await (const part of await client.chat({ ...asked, stream: true })) {
    streamed.content += part.message.content;
    streamed.thinking += part.message.thinking ?? "";
    streamed.calls.push(...(part.message.tool_calls ?? []));
    last = part;
  }
  let missing;
  try {
    await client.chat({ ...asked, model: "toi" });
  } catch (error) {
    missing = [error.status_code, error.message];
  }
  const generated = await client.generate({ model: "toy", prompt: "Who?", options: { seed: 1, num_predict: 3 } });
  const embedded = await client.embed({ model: "toy-embed", input: ["one", "two"] });
  const listed = (await client.list()).models.map((model) => model.model);
  await client.copy({ source: "toy", destination: "mine" });
  const copied = await client.generate({ model: "mine", prompt: "Who?", options: { num_predict: 1 } });
  const shown = await client.show({ model: "toy" });
  const pulled = [];
  for await (const part of await client.pull({ model: "somebody/something", stream: true })) pulled.push(part.status);
  const deleted = await client.delete({ model: "mine" });
  const running = (await client.ps()).models.map((model) => model.name);
  await client.generate({ model: "toy", keep_alive: 0 });
  const after = (await client.ps()).models.map((model) => model.name);
  return {
    whole: [whole.message.content, whole.message.thinking, whole.message.tool_calls],
    streamed: [streamed.content, streamed.thinking, streamed.calls],
    last: [last.done, last.done_reason, last.eval_count],
    missing,
    generated: generated.done_reason,
    vectors: embedded.embeddings.map((vector) => vector.length),
    listed,
    copied: copied.model,
    capabilities: shown.capabilities,
    pulled,
    deleted: deleted.status,
    running,
    after,
    version: (await client.version()).version,
  };
}

main(process.argv[2]).then(
  (said) => console.log(JSON.stringify(said)),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
