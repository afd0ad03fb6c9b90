package main

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"

	pb "cloud.google.com/go/ai/generativelanguage/apiv1beta/generativelanguagepb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
)

// geminiRecorder is Google's server: it keeps what it is sent and answers as it is
// told.
type geminiRecorder struct {
	pb.UnimplementedGenerativeServiceServer

	got chan *pb.GenerateContentRequest
}

func (r *geminiRecorder) StreamGenerateContent(in *pb.GenerateContentRequest, out pb.GenerativeService_StreamGenerateContentServer) error {
	r.got <- in
	for _, text := range geminiAnswer {
		response := new(pb.GenerateContentResponse)
		if err := protojson.Unmarshal([]byte(text), response); err != nil {
			return err
		}
		if err := out.Send(response); err != nil {
			return err
		}
	}
	return nil
}

// What a caller says in weir.v1 reaches Gemini's API in its words, and the
// thoughts that it answers with come back to it as they were signed.
func TestGeminiRoundTrip(t *testing.T) {
	vendor := &geminiRecorder{got: make(chan *pb.GenerateContentRequest, 8)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer()
	pb.RegisterGenerativeServiceServer(s, vendor)
	go s.Serve(l)
	t.Cleanup(s.Stop)
	p := serve(t, t.TempDir(), "--config", file(t, "weir.yaml", `
backends:
  - {name: v, kind: gemini, url: "http://`+l.Addr().String()+`", key: test-key, media: {image: 1600, video: 50000}, media_urls: true}
models:
  - {name: m, targets: [{backend: v, model: gemini-x}]}
`))
	p.apply("{kind: Tenant, name: acme}")
	key := p.createKey("acme", "app")
	ask := func(messages string) (answer, got map[string]any) {
		t.Helper()
		answer = value(t, p.post(key, "/weir/v1/generate", `{"model": "m", "messages": [`+messages+`],
			"tools": [{"name": "f", "description": "d", "parametersJsonSchema": "{\"type\":\"object\",\"properties\":{\"x\":{\"type\":\"integer\"}}}"}],
			"toolChoice": {"mode": "MODE_REQUIRED"},
			"config": {"maxOutputTokens": 4000, "temperature": 0.5, "topK": 40, "seed": 7, "stopSequences": ["END"], "reasoning": {"budgetTokens": 2000},
				"responseFormat": {"jsonSchema": "{\"type\":\"object\"}"},
				"vendorOptions": {"gemini": {"safetySettings": [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"}]}, "openai": {"verbosity": "low"}}}}`))
		said, err := protojson.Marshal(<-vendor.got)
		if err != nil {
			t.Fatal(err)
		}
		return answer, value(t, string(said))
	}
	const first = `{"role": "ROLE_SYSTEM", "parts": [{"text": "Be brief."}]},
		{"role": "ROLE_USER", "parts": [{"text": "What is this?"},
			{"media": {"modality": "MODALITY_IMAGE", "mediaType": "image/png", "data": "iVBORw0KGgo="}},
			{"media": {"modality": "MODALITY_VIDEO", "url": "https://example.org/v.mp4"}}]}`
	answer, got := ask(first)
	same(t, got, value(t, `{"model": "models/gemini-x",
		"systemInstruction": {"parts": [{"text": "Be brief."}]},
		"contents": [{"role": "user", "parts": [{"text": "What is this?"}, {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}, {"fileData": {"fileUri": "https://example.org/v.mp4"}}]}],
		"tools": [{"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": {"type": "object", "properties": {"x": {"type": "integer"}}}}]}],
		"toolConfig": {"functionCallingConfig": {"mode": "ANY"}},
		"safetySettings": [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_NONE"}],
		"generationConfig": {"maxOutputTokens": 4000, "temperature": 0.5, "topK": 40, "seed": 7, "stopSequences": ["END"],
			"responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}, "thinkingConfig": {"includeThoughts": true, "thinkingBudget": 2000}}}`))

	message := answer["candidates"].([]any)[0].(map[string]any)["message"].(map[string]any)
	same(t, message["parts"], value(t, `{"parts": [
		{"reasoning": {"text": "Let me see."}},
		{"text": "{\"n\": 1}", "signature": {"signer": "gemini", "data": "c2lnLTE="}},
		{"toolCall": {"id": "call-9", "name": "f", "argumentsJson": "{\"x\":1}"}, "signature": {"signer": "gemini", "data": "c2lnLTI="}}]}`)["parts"])
	usage := answer["usage"].(map[string]any)
	for field, want := range map[string]string{"inputTokens": "50", "uncachedInputTokens": "42", "cacheReadTokens": "8", "outputTokens": "30", "textOutputTokens": "20", "reasoningTokens": "10"} {
		if usage[field] != want {
			t.Errorf("usage.%s is %v, want %s", field, usage[field], want)
		}
	}
	same(t, answer["vendorExtras"], value(t, `{"gemini": {"candidates": [{"index": 0, "citationMetadata": {"citationSources": [{"uri": "unseen"}]},
		"safetyRatings": [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "LOW"}]}]}}`))
	delete(answer, "vendorExtras")
	if strings.Contains(string(must(json.Marshal(answer))), "unseen") {
		t.Errorf("a field that nobody screens reached the caller: %v", answer)
	}

	turn := must(json.Marshal(message))
	_, got = ask(first + `,` + string(turn) + `, {"role": "ROLE_TOOL", "parts": [{"toolResult": {"toolCallId": "call-9", "text": "seen"}}]}`)
	same(t, got["contents"].([]any)[1:], value(t, `{"c": [
		{"role": "model", "parts": [{"text": "{\"n\": 1}", "thoughtSignature": "c2lnLTE="}, {"functionCall": {"id": "call-9", "name": "f", "args": {"x": 1}}, "thoughtSignature": "c2lnLTI="}]},
		{"role": "user", "parts": [{"functionResponse": {"id": "call-9", "name": "f", "response": {"output": "seen"}}}]}]}`)["c"])

	// A prompt that nobody has screened is no option.
	req, _ := http.NewRequest(http.MethodPost, "http://"+p.http+"/weir/v1/generate", strings.NewReader(
		`{"model": "m", "messages": [{"role": "ROLE_USER", "parts": [{"text": "hi"}]}], "config": {"vendorOptions": {"gemini": {"cachedContent": "cachedContents/x"}}}}`))
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest || len(vendor.got) > 0 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

var geminiAnswer = []string{
	`{"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"thought": true, "text": "Let me "}]}}], "usageMetadata": {"promptTokenCount": 50, "totalTokenCount": 50}, "modelVersion": "gemini-x-001", "responseId": "unseen"}`,
	`{"candidates": [{"content": {"role": "model", "parts": [{"thought": true, "text": "see."}, {"text": "{\"n\":"}]}}]}`,
	`{"candidates": [{"content": {"role": "model", "parts": [{"text": " 1}"}, {"text": "", "thoughtSignature": "c2lnLTE="}, {"executableCode": {"language": "PYTHON", "code": "unseen"}}]}, "citationMetadata": {"citationSources": [{"uri": "unseen"}]}}]}`,
	`{"candidates": [{"content": {"role": "model", "parts": [{"functionCall": {"id": "call-9", "name": "f", "args": {"x": 1}}, "thoughtSignature": "c2lnLTI="}]}, "finishReason": "STOP", "safetyRatings": [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "LOW"}]}],
		"usageMetadata": {"promptTokenCount": 50, "cachedContentTokenCount": 8, "candidatesTokenCount": 20, "thoughtsTokenCount": 10, "totalTokenCount": 80}, "modelVersion": "gemini-x-001"}`,
}
