// Talks to Weir as any program does that uses the openai package, and prints
// what it got as one JSON object. The Go test beside this folder judges it.
import OpenAI from "openai";

const [baseURL, apiKey, poorKey] = process.argv.slice(2);

// requests counts what goes over the wire, tries again among it.
let requests = 0;
const counting = (url, init) => {
  requests++;
  return fetch(url, init);
};
const client = (key) => new OpenAI({ baseURL, apiKey: key, fetch: counting });
const weir = client(apiKey);
const ask = (content, more) => ({ model: "sim-text", messages: [{ role: "user", content }], ...more });

const failure = async (call) => {
  const before = requests;
  try {
    await call();
    return { name: "no error" };
  } catch (e) {
    return {
      name: e.constructor.name, status: e.status, code: e.code, param: e.param, type: e.type,
      requestID: e.requestID, requests: requests - before,
    };
  }
};

const out = {};

const whole = await weir.chat.completions.create(ask("say: 你好 <world> & all"));
out.whole = {
  id: whole.id, content: whole.choices[0].message.content, role: whole.choices[0].message.role,
  finish: whole.choices[0].finish_reason, usage: whole.usage, requestID: whole._request_id, cost: whole.weir?.cost,
};

const stream = await weir.chat.completions.create(ask("say: 你好 <world> & all", { stream: true, stream_options: { include_usage: true } }));
out.stream = { content: "", roles: 0, finish: null, ids: new Set(), usages: [] };
for await (const chunk of stream) {
  out.stream.ids.add(chunk.id);
  for (const choice of chunk.choices) {
    out.stream.content += choice.delta.content ?? "";
    if (choice.delta.role) out.stream.roles++;
    out.stream.finish = choice.finish_reason ?? out.stream.finish;
  }
  if (chunk.usage) out.stream.usages.push(chunk.usage);
}
out.stream.ids = out.stream.ids.size;

// The SDK's own accumulator throws where chunks do not fit together.
const helper = weir.chat.completions.stream(ask("think: hm\nsay: one two", { stream_options: { include_usage: true } }));
const final = await helper.finalChatCompletion();
out.helper = { content: final.choices[0].message.content, usage: final.usage };

// The SDK runs the tools itself and asks again, until there is an answer.
const runner = weir.chat.completions.runTools(
  ask('call: get_weather {"city": "北京"}', {
    tools: [{ type: "function", function: { name: "get_weather", parameters: { type: "object" }, parse: JSON.parse, function: ({ city }) => `${city}: 晴` } }],
  }),
);
out.runner = await runner.finalContent();

// The SDK asks for base64 unless it is told not to, and unpacks it.
const embed = (params) => weir.embeddings.create({ model: "sim-embed", input: ["你好，世界", "The river is calm."], ...params });
const [packed, plain] = [await embed({ dimensions: 4 }), await embed({ dimensions: 4, encoding_format: "float" })];
out.embed = { packed: packed.data[1].embedding, plain: plain.data[1].embedding, tokens: packed.usage.total_tokens, vectors: packed.data.length };

out.models = [];
for await (const model of weir.models.list()) out.models.push(model.id);
out.model = (await weir.models.retrieve("sim-text")).id;

out.badKey = await failure(() => client("weir_none").models.list());
out.noModel = await failure(() => weir.chat.completions.create(ask("hi", { model: "none" })));
out.tools = await failure(() => weir.chat.completions.create(ask("hi", { tools: [{ type: "function", function: { name: "a b" } }] })));
out.budget = await failure(() => client(poorKey).chat.completions.create(ask("hi")));
out.broken = await failure(async () => {
  const cut = await weir.chat.completions.create(ask("tokens: 50", { model: "sim-cut", stream: true }));
  for await (const chunk of cut) void chunk;
});

console.log(JSON.stringify(out));
