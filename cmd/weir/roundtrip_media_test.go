package main

import (
	"encoding/json"
	"net"
	"strings"
	"testing"

	pb "cloud.google.com/go/ai/generativelanguage/apiv1beta/generativelanguagepb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
)

// painter is Google's server with a model that draws.
type painter struct {
	pb.UnimplementedGenerativeServiceServer

	got chan *pb.GenerateContentRequest
}

func (p *painter) StreamGenerateContent(in *pb.GenerateContentRequest, out pb.GenerativeService_StreamGenerateContentServer) error {
	p.got <- in
	for _, text := range []string{
		`{"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"thought": true, "inlineData": {"mimeType": "image/png", "data": "c2tldGNo"}}, {"text": "Here: "}]}}]}`,
		`{"candidates": [{"content": {"role": "model", "parts": [{"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}}, {"text": "and there."}, {"fileData": {"mimeType": "video/mp4", "fileUri": "https://example.org/v"}}]}, "finishReason": "STOP"}],
			"usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 1296, "totalTokenCount": 1301}}`,
	} {
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

const paintRequest = `{"model": "m", "messages": [{"role": "ROLE_USER", "parts": [{"text": "draw"}]}], "config": {"responseModalities": ["MODALITY_IMAGE"]}}`

// partsOfAnswer are those of the first candidate of weir.v1.
func partsOfAnswer(t *testing.T, answer string) any {
	t.Helper()
	return value(t, answer)["candidates"].([]any)[0].(map[string]any)["message"].(map[string]any)["parts"]
}

// What Gemini draws reaches the callers of both APIs at its place, and what it drew
// while it thought does not.
func TestGeminiImagesRoundTrip(t *testing.T) {
	vendor := &painter{got: make(chan *pb.GenerateContentRequest, 8)}
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
  - {name: v, kind: gemini, url: "http://`+l.Addr().String()+`", key: test-key, media_output: {image: 1290}}
models:
  - {name: m, targets: [{backend: v, model: gemini-x}]}
`))
	p.apply("{kind: Tenant, name: acme}")
	key := p.createKey("acme", "app")
	answer := p.post(key, "/weir/v1/generate", paintRequest)
	same(t, value(t, string(must(protojson.Marshal((<-vendor.got).GenerationConfig))))["responseModalities"], []any{"TEXT", "IMAGE"})
	same(t, partsOfAnswer(t, answer), value(t, `{"parts": [{"text": "Here: "}, {"media": {"modality": "MODALITY_IMAGE", "mediaType": "image/png", "data": "iVBORw0KGgo="}},
		{"text": "and there."}, {"media": {"modality": "MODALITY_VIDEO", "mediaType": "video/mp4", "url": "https://example.org/v"}}]}`)["parts"])
	if got := value(t, answer)["usage"].(map[string]any)["outputTokens"]; got != "1296" {
		t.Errorf("output tokens are %v", got)
	}
	chat := value(t, p.post(key, "/v1/chat/completions", `{"model": "m", "modalities": ["image", "text"], "messages": [{"role": "user", "content": "draw"}]}`))
	<-vendor.got
	same(t, chat["choices"].([]any)[0].(map[string]any)["message"], value(t, `{"role": "assistant", "content": "Here: and there.", "refusal": null,
		"images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}, "index": 0}]}`))
}

const paintedAnswer = `data: {"id":"1","model":"vendor-1","choices":[{"index":0,"delta":{"role":"assistant","content":"Look","images":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]},"finish_reason":null}]}

data: {"id":"1","model":"vendor-1","choices":[{"index":0,"delta":{"content":"","images":[{"type":"image_url","image_url":{"url":"https://example.org/a.png"},"index":1}]},"finish_reason":"stop"}]}

data: {"id":"1","model":"vendor-1","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":600,"total_tokens":605}}

data: [DONE]

`

// What a server of OpenAI's API draws goes through two Weirs, streamed too.
func TestOpenAIImagesGoThroughAWeir(t *testing.T) {
	vendor := record(t, paintedAnswer)
	inner := serve(t, t.TempDir(), "--config", file(t, "weir.yaml", `
backends:
  - {name: v, kind: openai, url: "`+vendor.URL+`/v1", media_output: {image: 600}}
models:
  - {name: m, targets: [{backend: v, model: vendor-model}]}
`))
	inner.apply("{kind: Tenant, name: front}")
	outer := serve(t, t.TempDir(), "--config", file(t, "weir.yaml", `
backends:
  - {name: inner, kind: weir, url: "http://`+inner.grpc+`", key: "`+inner.createKey("front", "front")+`", media_output: {image: 600}}
models:
  - {name: m, targets: [{backend: inner, model: m}]}
`))
	outer.apply("{kind: Tenant, name: acme}")
	key := outer.createKey("acme", "app")
	same(t, partsOfAnswer(t, outer.post(key, "/weir/v1/generate", paintRequest)), value(t, `{"parts": [{"text": "Look"}, {"media": {"modality": "MODALITY_IMAGE", "mediaType": "image/png", "data": "iVBORw0KGgo="}},
		{"media": {"modality": "MODALITY_IMAGE", "url": "https://example.org/a.png"}}]}`)["parts"])
	same(t, value(t, string(<-vendor.got))["modalities"], []any{"text", "image"})

	stream := outer.post(key, "/v1/chat/completions", `{"model": "m", "stream": true, "modalities": ["text", "image"], "messages": [{"role": "user", "content": "draw"}]}`)
	<-vendor.got
	var urls []string
	for line := range strings.SplitSeq(stream, "\n") {
		data, is := strings.CutPrefix(line, "data: {")
		if !is {
			continue
		}
		var chunk struct {
			Choices []struct {
				Delta struct {
					Images []struct {
						ImageURL struct{ URL string } `json:"image_url"`
					}
				}
			}
		}
		if err := json.Unmarshal([]byte("{"+data), &chunk); err != nil {
			t.Fatal(err)
		}
		for _, c := range chunk.Choices {
			for _, i := range c.Delta.Images {
				urls = append(urls, i.ImageURL.URL)
			}
		}
	}
	if got := strings.Join(urls, " "); got != "data:image/png;base64,iVBORw0KGgo= https://example.org/a.png" {
		t.Errorf("the stream has %s:\n%s", got, stream)
	}

	// A rule of the outer one takes out what it has not seen.
	outer.apply("{kind: Policy, name: own, tenant: acme, safety: {output: [{guard: media, action: redact}]}}")
	same(t, partsOfAnswer(t, outer.post(key, "/weir/v1/generate", paintRequest)), value(t, `{"parts": [{"text": "Look[IMAGE][IMAGE]"}]}`)["parts"])
	<-vendor.got
}

const spokenAnswer = `data: {"id":"1","model":"vendor-1","choices":[{"index":0,"delta":{"role":"assistant","content":null,"audio":{"id":"audio_1","transcript":"这是"}},"finish_reason":null}]}

data: {"id":"1","model":"vendor-1","choices":[{"index":0,"delta":{"audio":{"data":"AQID"}},"finish_reason":null}]}

data: {"id":"1","model":"vendor-1","choices":[{"index":0,"delta":{"audio":{"transcript":"绝密"}},"finish_reason":null}]}

data: {"id":"1","model":"vendor-1","choices":[{"index":0,"delta":{"audio":{"data":"BAUG"}},"finish_reason":null}]}

data: {"id":"1","model":"vendor-1","choices":[{"index":0,"delta":{"audio":{"expires_at":1}},"finish_reason":"stop"}]}

data: {"id":"1","model":"vendor-1","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":60,"total_tokens":65,"completion_tokens_details":{"audio_tokens":50,"text_tokens":10}}}

data: [DONE]

`

// What OpenAI's models say goes to the callers of both APIs, through two Weirs, with
// its transcript; and without its sound where a rule has changed a word.
func TestOpenAIAudioRoundTrip(t *testing.T) {
	vendor := record(t, spokenAnswer)
	inner := serve(t, t.TempDir(), "--config", file(t, "weir.yaml", `
backends:
  - {name: v, kind: openai, url: "`+vendor.URL+`/v1", media_output: {audio: 2000}}
models:
  - {name: m, targets: [{backend: v, model: vendor-model}]}
`))
	inner.apply("{kind: Tenant, name: front}")
	outer := serve(t, t.TempDir(), "--config", file(t, "weir.yaml", `
backends:
  - {name: inner, kind: weir, url: "http://`+inner.grpc+`", key: "`+inner.createKey("front", "front")+`", media_output: {audio: 2000}}
models:
  - {name: m, targets: [{backend: inner, model: m}]}
`))
	outer.apply("{kind: Tenant, name: acme}")
	key := outer.createKey("acme", "app")
	const native = `{"model": "m", "messages": [{"role": "ROLE_USER", "parts": [{"text": "speak"}]}], "config": {"responseModalities": ["MODALITY_AUDIO"], "voice": "marin"}}`
	parts := partsOfAnswer(t, outer.post(key, "/weir/v1/generate", native)).([]any)
	got := value(t, string(<-vendor.got))
	same(t, got["modalities"], []any{"text", "audio"})
	same(t, got["audio"], map[string]any{"voice": "marin", "format": "pcm16"})
	const wave = "UklGRioAAABXQVZFZm10IBAAAAABAAEAwF0AAIC7AAACABAAZGF0YQYAAAABAgMEBQY="
	same(t, parts, value(t, `{"p": [{"transcript": {"text": "这是绝密"}}, {"media": {"modality": "MODALITY_AUDIO", "mediaType": "audio/wav", "data": "`+wave+`"}}]}`)["p"])

	const chat = `{"model": "m", "modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "FORMAT"}, "messages": [{"role": "user", "content": "speak"}]STREAM}`
	for format, data := range map[string]string{"wav": wave, "pcm16": "AQIDBAUG"} {
		ask := strings.NewReplacer("FORMAT", format, "STREAM", "").Replace(chat)
		spoken := value(t, outer.post(key, "/v1/chat/completions", ask))["choices"].([]any)[0].(map[string]any)["message"].(map[string]any)["audio"].(map[string]any)
		<-vendor.got
		if spoken["data"] != data || spoken["transcript"] != "这是绝密" || spoken["id"] == "" {
			t.Errorf("%s: audio is %v", format, spoken)
		}
	}
	stream := outer.post(key, "/v1/chat/completions", strings.NewReplacer("FORMAT", "pcm16", "STREAM", `, "stream": true`).Replace(chat))
	<-vendor.got
	for _, want := range []string{`"transcript":"这是"`, `"transcript":"绝密"`, `"data":"AQIDBAUG"`} {
		if strings.Count(stream, want) != 1 {
			t.Errorf("the stream has %d of %s:\n%s", strings.Count(stream, want), want, stream)
		}
	}

	outer.apply("{kind: Policy, name: own, tenant: acme, safety: {output: [{guard: lexicon, terms: [绝密], action: redact}, {guard: media, action: flag}]}}")
	same(t, partsOfAnswer(t, outer.post(key, "/weir/v1/generate", native)), value(t, `{"p": [{"transcript": {"text": "这是[REDACTED]"}}]}`)["p"])
	<-vendor.got
}
