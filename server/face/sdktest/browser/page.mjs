// A page that calls Weir by gRPC-Web as any page does that uses connect-web,
// and sends what it got to where it comes from. The Go test beside this folder
// judges it. It has no generated stubs: it reads the descriptors that
// `weir proto export` writes.
import { createFileRegistry, fromBinary, fromJson, toJson } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

const { baseUrl, key, question } = await (await fetch("/settings.json")).json();
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, new Uint8Array(await (await fetch("/weir.binpb")).arrayBuffer())));
const weir = createClient(registry.getService("weir.v1.GenerationService"), createGrpcWebTransport({ baseUrl }));
const request = fromJson(registry.getMessage("weir.v1.GenerateRequest"), question);
const headers = { authorization: `Bearer ${key}`, "x-weir-labels": "client=browser" };

const failure = async (call) => {
  try {
    await call();
    return { code: "no error" };
  } catch (e) {
    return { code: Code[e.code] ?? e.name, message: e.rawMessage };
  }
};

const out = {};
try {
  let requestId;
  const answer = await weir.generate(request, { headers, onHeader: (h) => (requestId = h.get("x-weir-request-id")) });
  out.answer = toJson(registry.getMessage("weir.v1.GenerateResponse"), answer);
  out.requestId = requestId;
  out.text = "";
  for await (const { event } of weir.streamGenerate(request, { headers })) {
    if (event.case === "delta" && ["text", "reasoningText"].includes(event.value.piece.case)) out.text += event.value.piece.value;
    if (event.case === "completed") out.completed = toJson(registry.getMessage("weir.v1.CompletedEvent"), event.value);
  }
  out.badKey = await failure(() => weir.generate(request, { headers: { authorization: "Bearer weir_none" } }));
} catch (e) {
  out.failed = String(e);
}
await fetch("/result", { method: "POST", body: JSON.stringify(out) });
