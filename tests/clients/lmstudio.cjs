// LM Studio's SDK, as a program of its users would use it: `node lmstudio.cjs WS_ADDRESS [OPTIONS]`, with options of the
// client as JSON. What it got is written as one JSON object; test_lmstudio_npm.py looks at it. `complaints` are messages
// that the SDK could not read.
const { LMStudioClient, Chat, tool } = require("@lmstudio/sdk");
const { z } = require("zod");

const [address, credentials = "{}"] = process.argv.slice(2);
const complaints = [];
const logger = {
  info: () => {},
  debug: () => {},
  warn: (...words) => complaints.push(words.join(" ")),
  error: (...words) => complaints.push(words.join(" ")),
};
const client = new LMStudioClient({
  baseUrl: address,
  logger,
  ...JSON.parse(credentials),
});
const got = {};
const failed = async (work) => {
  try {
    await work();
  } catch (error) {
    return String(error.message);
  }
  throw new Error("this should have failed");
};
const CALL = '<tool_call>\\n{\\"name\\": \\"add\\", \\"arguments\\": {\\"a\\": 1, \\"b\\": 2}}\\n</tool_call>';

async function predicted(prediction) {
  const fragments = [];
  for await (const fragment of prediction) fragments.push(fragment);
  const result = await prediction.result();
  return { fragments, content: result.content, stats: result.stats, model: result.modelInfo.identifier };
}

async function main() {
  got.downloaded = (await client.system.listDownloadedModels()).map((one) => [one.type, one.modelKey]);
  got.version = await client.system.getLMStudioVersion();
  got.loadedBefore = (await client.llm.listLoaded()).length;
  const progress = [];
  const model = await client.llm.model("toy", { verbose: false, onProgress: (share) => progress.push(share) });
  got.progress = progress;
  got.identifier = model.identifier;
  got.info = await model.getModelInfo();
  got.context = await model.getContextLength();
  got.tokens = await model.tokenize("a cat");
  got.severalTokens = await model.tokenize(["a", "cat"]);
  got.count = await model.countTokens("a cat");
  got.prompt = await model.applyPromptTemplate(Chat.from([{ role: "user", content: "Hi" }]));

  const settings = { maxTokens: 30, temperature: 0 };
  const prompts = [];
  let first = 0;
  got.respond = await predicted(
    model.respond("Hi", {
      ...settings,
      onPromptProcessingProgress: (share) => prompts.push(share),
      onFirstToken: () => (first += 1),
    }),
  );
  got.promptProgress = prompts;
  got.first = first;
  got.plain = await predicted(model.respond("Hi", { ...settings, draftModel: "" }));
  got.drafted = await predicted(model.respond("Hi", { ...settings, draftModel: "good-draft" }));
  got.complete = await predicted(model.complete("a cat", settings));
  got.stopped = await predicted(model.complete("a cat", { ...settings, stopStrings: ["w"] }));
  got.structured = await predicted(
    model.respond("Who?", {
      maxTokens: 400,
      temperature: 0,
      structured: {
        type: "json",
        jsonSchema: { type: "object", properties: { ok: { type: "boolean" } }, required: ["ok"] },
      },
    }),
  );
  got.unknownDraft = await failed(() => model.respond("Hi", { draftModel: "nobody" }));

  const asked = [];
  const answers = [];
  const add = tool({
    name: "add",
    description: "Adds.",
    parameters: { a: z.number(), b: z.number() },
    implementation: ({ a, b }) => (asked.push([a, b]), a + b),
  });
  const chat = Chat.from([{ role: "user", content: "1 + 2?" }]);
  await model.act(chat, [add], {
    ...settings,
    // a toy says what it must: the call, as the template writes one
    raw: { fields: [{ key: "llm.prediction.structured", value: { type: "gbnf", gbnfGrammar: `root ::= "${CALL}"` } }] },
    maxTokens: 200,
    maxPredictionRounds: 2,
    onMessage: (message) => answers.push(message.toString()),
  });
  got.asked = asked;
  got.messages = answers.length;

  const cancelled = model.respond("Go on", { temperature: 0, maxTokens: 4000 });
  let seen = 0;
  for await (const _ of cancelled) if (++seen === 5) await cancelled.cancel();
  got.cancelled = (await cancelled.result()).stats.stopReason;

  const second = await client.llm.load("toy", { identifier: "mine", verbose: false, config: { contextLength: 512 } });
  got.second = [second.identifier, await second.getContextLength()];
  got.taken = await failed(() => client.llm.load("toy", { identifier: "mine", verbose: false }));
  got.loaded = (await client.llm.listLoaded()).map((one) => one.identifier);
  await second.unload();
  got.gone = await failed(() => second.getContextLength());
  got.notThere = await failed(() => client.llm.model("nobody", { verbose: false }));
  got.notLoaded = await failed(() => client.llm.createDynamicHandle("toy-small").respond("Hi"));

  const file = await client.files.prepareFileBase64("note.txt", Buffer.from("The word is w7.").toString("base64"));
  const noted = Chat.empty();
  noted.append("user", "Which word?", { images: [] });
  noted.append({
    role: "user",
    content: [
      { type: "file", name: file.name, identifier: file.identifier, sizeBytes: file.sizeBytes, fileType: file.type },
      { type: "text", text: "Which word?" },
    ],
  });
  got.withFile = await model.applyPromptTemplate(noted);

  const embedder = await client.embedding.model("toy-embed", { verbose: false });
  got.vector = (await embedder.embed("abc")).embedding;
  got.vectors = (await embedder.embed(Array.from({ length: 300 }, (_, i) => `a${i}`))).length;
  got.embedContext = await embedder.getContextLength();
  await embedder.unload();

  const logs = [];
  const streamLogs = client.diagnostics.streamLogs ?? client.diagnostics.unstable_streamLogs;
  const logged = new Promise((resolve) => {
    streamLogs.call(client.diagnostics, (one) => {
      logs.push(one.data);
      if (one.data.type === "llm.prediction.input") resolve();
    });
  });
  const heard = async () => {
    // the log is followed from when the server has opened the channel: ask until it has
    for (let open = true; open; ) {
      await model.respond("Hi", settings);
      open = await Promise.race([logged.then(() => false), new Promise((go) => setTimeout(() => go(true), 20))]);
    }
  };
  await heard();
  got.logs = logs.filter((one) => one.type === "llm.prediction.input").slice(0, 1);

  if (model.unstable_preloadDraftModel) await model.unstable_preloadDraftModel("bad-draft");
  await client.llm.unload("toy");
  got.unloadTwice = await failed(() => client.llm.unload("toy"));
  got.complaints = complaints;
}

main().then(
  () => {
    console.log(JSON.stringify(got));
    process.exit(0);
  },
  (error) => {
    console.error(error);
    console.error(JSON.stringify({ complaints, got }));
    process.exit(1);
  },
);
