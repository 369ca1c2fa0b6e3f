// Anthropic's SDK for JavaScript against a server: what it made of each call, as JSON.
const Anthropic = require("@anthropic-ai/sdk");

async function main(baseURL) {
  const client = new Anthropic({ baseURL, apiKey: "none", maxRetries: 0 });
  const asked = {
    model: "toy",
    max_tokens: 300,
    messages: [{ role: "user", content: "Who?" }],
    thinking: { type: "adaptive" },
    tools: [{ name: "weather", input_schema: { type: "object", properties: { place: { type: "string" } } } }],
  };
  const whole = await client.messages.create(asked);
  const stream = client.messages.stream(asked);
  let text = "";
  stream.on("text", (piece) => (text += piece));
  const final = await stream.finalMessage();
  const counted = await client.messages.countTokens({ model: "toy", messages: asked.messages });
  const models = [];
  for await (const model of client.models.list()) models.push(model.id);
  let missing;
  try {
    await client.messages.create({ ...asked, model: "toi" });
  } catch (error) {
    missing = [error.status, error.error.error.type];
  }
  return {
    whole: whole.content.map((block) => block.type),
    streamed: final.content.map((block) => block.type),
    input: whole.content[2].input,
    streamedInput: final.content[2].input,
    text,
    counted: counted.input_tokens,
    models,
    missing,
    stopReason: final.stop_reason,
    requestId: whole._request_id,
  };
}

main(process.argv[2]).then(
  (said) => console.log(JSON.stringify(said)),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
