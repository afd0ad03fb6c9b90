package openai_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/simulator"
)

// server is a small server of OpenAI's API on the simulator. It is written
// from what servers send, not from what the driver reads.
type server struct {
	sim *simulator.Backend
	key string
	wire
}

// wire is how a server differs from others on the wire.
type wire struct {
	newline       string // "\n" where empty
	usageEvery    bool   // a running usage in each chunk
	usageInLast   bool   // usage beside the last finish reason, with no chunk of its own
	roleChunk     bool   // a first chunk with the role and empty content
	nulls         bool   // null in every field that has nothing
	emptyReason   bool   // finish_reason "" for null
	reasoningName string // "reasoning_content" where empty
	surrogates    bool   // an emoji comes as two deltas of half a rune
	rawHalves     bool   // a rune comes as two deltas of half its UTF-8
	noDone        bool   // no [DONE]
	noLastNewline bool   // nothing after [DONE]
	comments      bool   // keep-alives between events
	manyData      bool   // each event in several data lines
	events        bool   // event and id lines
	pieces        int    // bytes that are written at once, 0 for all
	both          bool   // reasoning under both names
	base64        bool   // vectors in base64, whatever was asked for
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+s.key {
		writeError(w, 401, 0, "Incorrect API key provided: "+r.Header.Get("Authorization"), "invalid_api_key")
		return
	}
	switch r.URL.Path {
	case "/v1/models":
		names, _ := s.sim.Models(r.Context())
		var list struct {
			Object string              `json:"object"`
			Data   []map[string]string `json:"data"`
		}
		for _, name := range names {
			list.Data = append(list.Data, map[string]string{"id": name, "object": "model"})
		}
		json.NewEncoder(w).Encode(list)
	case "/v1/chat/completions":
		s.chat(w, r)
	case "/v1/embeddings":
		s.embed(w, r)
	default:
		http.NotFound(w, r)
	}
}

func writeError(w http.ResponseWriter, status int, retryAfter float64, message, code string) {
	if retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatFloat(retryAfter, 'f', -1, 64))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"message": message, "type": "error", "param": nil, "code": code}})
}

func (s *server) chat(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Model    string
		Messages []struct {
			Role, Content, Name string
			ToolCallID          string `json:"tool_call_id"`
			ToolCalls           []struct {
				ID       string
				Function struct{ Name, Arguments string }
			} `json:"tool_calls"`
		}
		Tools []struct {
			Function struct {
				Name, Description string
				Parameters        json.RawMessage
			}
		}
		ResponseFormat *struct {
			Type       string
			JSONSchema struct {
				Name   string
				Schema json.RawMessage
			} `json:"json_schema"`
		} `json:"response_format"`
		Stream        bool
		StreamOptions struct {
			IncludeUsage bool `json:"include_usage"`
		} `json:"stream_options"`
		Modalities []string `json:"modalities"`
		MaxTokens  *int     `json:"max_tokens"`
		Stop       []string
		Seed       *int64
		N          int
	}
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	if err != nil || !in.Stream || !in.StreamOptions.IncludeUsage {
		writeError(w, 400, 0, fmt.Sprintf("not a stream with usage: %v", err), "")
		return
	}
	req := &backend.Request{RequestID: r.Header.Get("X-Request-Id"), Model: in.Model, MaxOutputTokens: in.MaxTokens, Stop: in.Stop, Seed: in.Seed, Candidates: max(1, in.N)}
	if slices.Equal(in.Modalities, []string{"text", "image"}) {
		req.Modalities = []backend.Modality{backend.Image}
	}
	for _, m := range in.Messages {
		part := backend.Part{Channel: backend.Content, Text: m.Content}
		if m.Role == "tool" {
			part.Channel, part.CallID = backend.Result, m.ToolCallID
		}
		message := backend.Message{Role: backend.Role(m.Role), Name: m.Name, Parts: []backend.Part{part}}
		for _, c := range m.ToolCalls {
			message.Parts = append(message.Parts, backend.Part{Channel: backend.Arguments, Text: c.Function.Arguments, CallID: c.ID, Tool: c.Function.Name})
		}
		req.Messages = append(req.Messages, message)
	}
	for _, t := range in.Tools {
		req.Tools = append(req.Tools, backend.Tool{Name: t.Function.Name, Description: t.Function.Description, Parameters: t.Function.Parameters})
	}
	if f := in.ResponseFormat; f != nil {
		req.Format = &backend.Format{Name: f.JSONSchema.Name, Schema: f.JSONSchema.Schema}
	}
	stream, err := s.sim.Generate(r.Context(), req)
	var failed *backend.Error
	if errors.As(err, &failed) {
		code := ""
		if failed.Class == backend.ContextExceeded {
			code = "context_length_exceeded"
		}
		writeError(w, failed.Status, failed.RetryAfter.Seconds(), failed.Detail, code)
		return
	} else if err != nil {
		return // the caller has gone
	}
	defer stream.Close()
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	out := &speaker{wire: s.wire, w: w, model: in.Model, finish: map[int]string{}, running: req.Candidates, prompt: int64(s.sim.CountInput(req)), req: req}
	for {
		e, err := stream.Recv()
		switch {
		case err == io.EOF:
			out.done()
			return
		case backend.ClassOf(err) == backend.Broken && errors.As(err, &failed):
			// In the middle of a rune, in the middle of a chunk.
			out.write([]byte("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\xe6\xb0"))
			panic(http.ErrAbortHandler)
		case err != nil:
			return
		}
		out.say(e)
	}
}

// speaker writes events as chunks.
type speaker struct {
	wire
	w       io.Writer
	model   string
	finish  map[int]string
	running int
	said    accounting.Usage
	req     *backend.Request
	output  int
	prompt  int64
	cuts    int
}

func (p *speaker) say(e backend.Event) {
	switch e.Kind {
	case backend.Started:
		if p.roleChunk {
			for i := range p.req.Candidates {
				p.chunk(i, `"role":"assistant","content":""`, "")
			}
		}
	case backend.Shown:
		p.chunk(e.Candidate, fmt.Sprintf(`"content":"","images":[{"type":"image_url","image_url":{"url":"data:%s;base64,%s"},"index":0}]`, e.Media.Type, base64.StdEncoding.EncodeToString(e.Media.Data)), "")
	case backend.Called:
		p.chunk(e.Candidate, fmt.Sprintf(`"tool_calls":[{"index":%d,"id":%q,"type":"function","function":{"name":%q,"arguments":""}}]`, e.Call, e.CallID, e.Tool), "")
	case backend.Delta:
		p.output++
		if e.Channel == backend.Arguments {
			for _, quoted := range p.quote(e.Text) {
				p.chunk(e.Candidate, fmt.Sprintf(`"tool_calls":[{"index":%d,"function":{"arguments":%s}}]`, e.Call, quoted), "")
			}
			return
		}
		names := []string{string(e.Channel)}
		if e.Channel == backend.Reasoning {
			names = []string{"reasoning_content"}
			if p.reasoningName != "" {
				names[0] = p.reasoningName
			}
			if p.both {
				names = []string{"reasoning", "reasoning_content"}
			}
		}
		for _, quoted := range p.quote(e.Text) {
			var fields []string
			for _, name := range names {
				fields = append(fields, fmt.Sprintf("%q:%s", name, quoted))
			}
			p.chunk(e.Candidate, strings.Join(fields, ","), "")
		}
	case backend.Finished:
		reason := string(e.Finish)
		if e.Finish == backend.FinishRefusal {
			reason = "stop" // as OpenAI does
		}
		if p.running--; p.running == 0 && p.usageInLast {
			p.finish[e.Candidate] = reason // waits for the usage
			return
		}
		p.chunk(e.Candidate, "", reason)
	case backend.Used:
		p.said = e.Usage
		if p.usageInLast {
			for i, reason := range p.finish {
				p.chunk(i, "", reason)
			}
			return
		}
		p.event(fmt.Sprintf(`{"id":"c1","object":"chat.completion.chunk","model":%q,"choices":[],"usage":%s}`, p.model, p.usage()))
	}
}

// quote writes a text as the JSON strings of one or two deltas.
func (p *speaker) quote(text string) [][]byte {
	whole := func(s string) []byte {
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(len(s)%2 == 0)
		e.Encode(s)
		return bytes.TrimSpace(b.Bytes())
	}
	for i, r := range text {
		rest := text[i+utf8.RuneLen(r):]
		if p.surrogates && r > 0xFFFF {
			high, low := utf16.EncodeRune(r)
			head, tail := whole(text[:i]), whole(rest)
			return [][]byte{
				append(head[:len(head)-1], fmt.Sprintf(`\u%04x"`, high)...),
				append([]byte(fmt.Sprintf(`"\u%04X`, low)), tail[1:]...),
			}
		}
		if p.rawHalves && r > 0x7F && r != utf8.RuneError {
			head, tail := whole(text[:i]), whole(rest)
			bytes := []byte(string(r))
			cut := 1 + i%(len(bytes)-1)
			return [][]byte{
				append(append(head[:len(head)-1], bytes[:cut]...), '"'),
				append(append([]byte{'"'}, bytes[cut:]...), tail[1:]...),
			}
		}
	}
	return [][]byte{whole(text)}
}

func (p *speaker) chunk(index int, delta, reason string) {
	if p.nulls {
		for _, name := range []string{"role", "content", "refusal", "tool_calls", "function_call", "reasoning", "reasoning_content"} {
			if !strings.Contains(delta, strconv.Quote(name)+":") {
				delta += `,"` + name + `":null`
			}
		}
		delta = strings.TrimPrefix(delta, ",")
	}
	finish := "null"
	if reason != "" || p.emptyReason {
		finish = strconv.Quote(reason)
	}
	usage := ""
	switch {
	case p.usageEvery || p.usageInLast && reason != "" && p.running == 0:
		usage = `,"usage":` + p.usage()
	case p.nulls:
		usage = `,"usage":null,"error":null,"system_fingerprint":null,"x_secret":"must not be read"`
	}
	p.event(fmt.Sprintf(`{"id":"c1","object":"chat.completion.chunk","created":1,"model":%q,"choices":[{"index":%d,"delta":{%s},"logprobs":null,"finish_reason":%s}]%s}`,
		p.model, index, delta, finish, usage))
}

// usage writes the final usage once it is known and a running one before.
func (p *speaker) usage() string {
	prompt, output, reasoning := p.prompt, int64(p.output), int64(0)
	if p.said.Known() {
		prompt, _ = p.said.InputTokens()
		output, _ = p.said.OutputTokens()
		reasoning, _ = p.said.Get(accounting.Reasoning)
	}
	return fmt.Sprintf(`{"prompt_tokens":%d,"completion_tokens":%d,"total_tokens":%d,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":null},"completion_tokens_details":{"reasoning_tokens":%d}}`,
		prompt, output, prompt+output, reasoning)
}

func (p *speaker) event(data string) {
	nl := p.newline
	if nl == "" {
		nl = "\n"
	}
	var b strings.Builder
	if p.comments {
		b.WriteString(": keep-alive" + nl + nl)
	}
	if p.events {
		b.WriteString("event: message" + nl + "id: 1" + nl + "retry: 100" + nl)
	}
	if p.manyData {
		data = strings.Replace(data, `,"choices"`, nl+`data:,"choices"`, 1)
	}
	b.WriteString("data: " + data + nl + nl)
	p.write([]byte(b.String()))
}

func (p *speaker) done() {
	switch {
	case p.noDone:
	case p.noLastNewline:
		p.write([]byte("data: [DONE]"))
	default:
		p.event("[DONE]")
	}
}

// write cuts where the pieces end, in the middle of runes too.
func (p *speaker) write(b []byte) {
	for len(b) > 0 {
		n := len(b)
		if p.pieces > 0 && p.cuts < 3000 { // a flush is a system call
			p.cuts++
			n = min(n, p.pieces)
		}
		p.w.Write(b[:n])
		p.w.(http.Flusher).Flush()
		b = b[n:]
	}
}
