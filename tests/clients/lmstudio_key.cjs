// Whether a client gets in: `node lmstudio_key.cjs WS_ADDRESS [OPTIONS]`.
const { LMStudioClient } = require("@lmstudio/sdk");

const [address, credentials = "{}"] = process.argv.slice(2);
const quiet = () => {};
const logger = { info: quiet, debug: quiet, warn: quiet, error: quiet };
const say = (said) => (console.log(JSON.stringify(said)), process.exit(0));
process.on("unhandledRejection", (error) => say({ refused: String(error.message) }));
const client = new LMStudioClient({ baseUrl: address, logger, ...JSON.parse(credentials) });
client.system.listDownloadedModels().then(
  (models) => say({ models: models.length }),
  (error) => say({ refused: String(error.message) }),
);
