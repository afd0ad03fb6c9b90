package anthropic_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/simulator"
)

// server is a small server of the Messages API on the simulator. It is written
// from what the API's reference says, not from what the driver reads, and
// refuses what the API refuses.
type server struct {
	sim *simulator.Backend
	key string
	wire
}

// wire is how a server may write the same.
type wire struct {
	newline    string // "\n" where empty
	pings      bool   // between all events
	unknown    bool   // events, blocks, deltas and fields of a later version
	surrogates bool   // an emoji comes as two deltas of half a rune
	rawHalves  bool   // a rune comes as two deltas of half its UTF-8
	pieces     int    // bytes that are written at once, 0 for all
	noNames    bool   // no event lines
	wholeInput bool   // a call's input comes with its start
	noStop     bool   // the connection ends after message_delta
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Header.Get("X-Api-Key") != s.key:
		fail(w, 401, 0, "authentication_error", "invalid x-api-key "+r.Header.Get("X-Api-Key"))
	case r.Header.Get("Anthropic-Version") != "2023-06-01":
		fail(w, 400, 0, "invalid_request_error", "anthropic-version: header is required")
	case r.URL.Path != "/v1/messages" || r.Method != http.MethodPost:
		fail(w, 404, 0, "not_found_error", "Not found")
	default:
		s.messages(w, r)
	}
}

func fail(w http.ResponseWriter, status int, retryAfter float64, kind, message string) {
	if retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.FormatFloat(retryAfter, 'f', -1, 64))
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(map[string]any{"type": "error", "error": map[string]string{"type": kind, "message": message}, "request_id": "req_1"})
}

type incoming struct {
	Model     string
	MaxTokens *int `json:"max_tokens"`
	System    []struct{ Type, Text string }
	Messages  []struct {
		Role    string
		Content []struct {
			Type, Text, ID, Name string
			Input                json.RawMessage
			ToolUseID            string `json:"tool_use_id"`
			Content              string
			IsError              bool `json:"is_error"`
		}
	}
	Stream        bool
	StopSequences []string `json:"stop_sequences"`
	Temperature   *float64
	Tools         []struct {
		Name, Description string
		InputSchema       json.RawMessage `json:"input_schema"`
	}
	OutputConfig *struct {
		Format struct {
			Type   string
			Schema json.RawMessage
		}
	} `json:"output_config"`
}

// request reads what came, and says what the API would refuse of it.
func (in *incoming) request(id string) (*backend.Request, error) {
	if in.MaxTokens == nil || *in.MaxTokens < 1 || !in.Stream {
		return nil, errors.New("max_tokens: Field required, or no stream")
	}
	req := &backend.Request{RequestID: id, Model: in.Model, MaxOutputTokens: in.MaxTokens, Stop: in.StopSequences, Candidates: 1}
	content := func(channel backend.Channel, text string) backend.Part {
		return backend.Part{Channel: channel, Text: text}
	}
	for _, s := range in.System {
		req.Messages = append(req.Messages, backend.Message{Role: backend.System, Parts: []backend.Part{content(backend.Content, s.Text)}})
	}
	last, open := "assistant", 0
	for i, m := range in.Messages {
		if m.Role == last || len(m.Content) == 0 {
			return nil, fmt.Errorf("messages.%d: roles must alternate and content must not be empty", i)
		}
		last = m.Role
		said := backend.Message{Role: backend.Role(m.Role)}
		calls := 0
		for j, b := range m.Content {
			switch {
			case b.Type == "text" && strings.TrimSpace(b.Text) != "":
				said.Parts = append(said.Parts, content(backend.Content, b.Text))
			case b.Type == "tool_use" && m.Role == "assistant" && len(b.Input) > 0 && b.Input[0] == '{':
				calls++
				said.Parts = append(said.Parts, backend.Part{Channel: backend.Arguments, Text: string(b.Input), CallID: b.ID, Tool: b.Name})
			case b.Type == "tool_result" && m.Role == "user" && j < open:
				req.Messages = append(req.Messages, backend.Message{Role: backend.ToolRole, Parts: []backend.Part{{Channel: backend.Result, Text: b.Content, CallID: b.ToolUseID, Failed: b.IsError}}})
			default:
				return nil, fmt.Errorf("messages.%d.content.%d: a block %q cannot stand here", i, j, b.Type)
			}
		}
		open = calls
		if len(said.Parts) > 0 {
			req.Messages = append(req.Messages, said)
		}
	}
	for _, t := range in.Tools {
		req.Tools = append(req.Tools, backend.Tool{Name: t.Name, Description: t.Description, Parameters: t.InputSchema})
	}
	if in.OutputConfig != nil {
		req.Format = &backend.Format{Schema: in.OutputConfig.Format.Schema}
	}
	return req, nil
}

func (s *server) messages(w http.ResponseWriter, r *http.Request) {
	var in incoming
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &in)
	}
	var req *backend.Request
	if err == nil {
		req, err = in.request(r.Header.Get("X-Request-Id"))
	}
	if err != nil {
		fail(w, 400, 0, "invalid_request_error", err.Error())
		return
	}
	stream, err := s.sim.Generate(r.Context(), req)
	var failed *backend.Error
	if errors.As(err, &failed) {
		status, kind, message := failed.Status, "api_error", failed.Detail
		switch failed.Class {
		case backend.ContextExceeded:
			status, kind, message = 400, "invalid_request_error", "prompt is too long: 20 tokens > 10 maximum"
		case backend.ModelMissing:
			status, kind, message = 404, "not_found_error", "model: "+in.Model
		case backend.Overloaded:
			status, kind, message = 529, "overloaded_error", "Overloaded"
		}
		fail(w, status, failed.RetryAfter.Seconds(), kind, message)
		return
	} else if err != nil {
		return // the caller has gone
	}
	defer stream.Close()
	w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	out := &speaker{wire: s.wire, w: w}
	out.event("message_start", fmt.Sprintf(`"message":{"id":"msg_1","type":"message","role":"assistant","model":%q,"content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":%d,"cache_read_input_tokens":0,"output_tokens":1,"service_tier":"standard"}}`, in.Model, s.sim.CountInput(req)))
	for {
		e, err := stream.Recv()
		switch {
		case err == io.EOF:
			if !s.noStop {
				out.event("message_stop", "")
			}
			return
		case backend.ClassOf(err) == backend.Broken && errors.As(err, &failed):
			// In the middle of a rune, in the middle of an event.
			out.write([]byte("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\xe6\xb0"))
			panic(http.ErrAbortHandler)
		case err != nil:
			return
		}
		out.say(e)
	}
}

// speaker writes events of the neutral form as blocks.
type speaker struct {
	wire
	w      io.Writer
	open   string // the kind of the open block
	index  int
	call   int
	finish string
	input  string // of a call that comes at once
	about  [2]string
	cuts   int
}

func (p *speaker) say(e backend.Event) {
	switch e.Kind {
	case backend.Called:
		p.close()
		p.about, p.call = [2]string{e.CallID, e.Tool}, e.Call
		if p.wholeInput {
			p.open = "later"
			return
		}
		p.begin("tool_use", fmt.Sprintf(`"id":%q,"name":%q,"input":{}`, e.CallID, e.Tool))
		p.delta("input_json_delta", "partial_json", []byte(`""`))
	case backend.Delta:
		kind, field := "text", "text"
		switch e.Channel {
		case backend.Reasoning:
			kind, field = "thinking", "thinking"
		case backend.Arguments:
			if p.wholeInput {
				p.input += e.Text
				return
			}
			for _, q := range p.quote(e.Text) {
				p.delta("input_json_delta", "partial_json", q)
			}
			return
		}
		if p.open != kind {
			p.close()
			p.begin(kind, fmt.Sprintf(`%q:""`, field))
		}
		for _, q := range p.quote(e.Text) {
			p.delta(kind+"_delta", field, q)
		}
	case backend.Finished:
		p.close()
		p.finish = map[backend.FinishReason]string{backend.FinishStop: "end_turn", backend.FinishLength: "max_tokens", backend.FinishToolCalls: "tool_use", backend.FinishRefusal: "refusal"}[e.Finish]
	case backend.Used:
		text, _ := e.Usage.Get(accounting.Output)
		thought, _ := e.Usage.Get(accounting.Reasoning)
		p.event("message_delta", fmt.Sprintf(`"delta":{"stop_reason":%q,"stop_sequence":null},"usage":{"output_tokens":%d}`, p.finish, text+thought))
	}
}

func (p *speaker) begin(kind, fields string) {
	if p.unknown { // a block that a client of this version does not know
		p.event("content_block_start", fmt.Sprintf(`"index":%d,"content_block":{"type":"later_block","text":"must not be read"}`, p.index))
		p.event("content_block_delta", fmt.Sprintf(`"index":%d,"delta":{"type":"text_delta","text":"must not be read"}`, p.index))
		p.event("content_block_stop", fmt.Sprintf(`"index":%d`, p.index))
		p.index++
	}
	p.open = kind
	p.event("content_block_start", fmt.Sprintf(`"index":%d,"content_block":{"type":%q,%s}`, p.index, kind, fields))
}

func (p *speaker) delta(kind, field string, quoted []byte) {
	if p.unknown {
		p.event("content_block_delta", fmt.Sprintf(`"index":%d,"delta":{"type":"later_delta","text":"must not be read","thinking":"x"}`, p.index))
	}
	p.event("content_block_delta", fmt.Sprintf(`"index":%d,"delta":{"type":%q,%q:%s}`, p.index, kind, field, quoted))
}

func (p *speaker) close() {
	switch p.open {
	case "":
		return
	case "later":
		input := p.input
		if input == "" {
			input = "{}"
		}
		p.begin("tool_use", fmt.Sprintf(`"id":%q,"name":%q,"input":%s`, p.about[0], p.about[1], input))
		p.input = ""
	case "thinking":
		p.event("content_block_delta", fmt.Sprintf(`"index":%d,"delta":{"type":"signature_delta","signature":"c2ln"}`, p.index))
	}
	p.event("content_block_stop", fmt.Sprintf(`"index":%d`, p.index))
	p.open = ""
	p.index++
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
		head, tail := whole(text[:i]), whole(rest)
		if p.surrogates && r > 0xFFFF {
			high, low := utf16.EncodeRune(r)
			return [][]byte{
				append(head[:len(head)-1], fmt.Sprintf(`\u%04x"`, high)...),
				append([]byte(fmt.Sprintf(`"\u%04X`, low)), tail[1:]...),
			}
		}
		if p.rawHalves && r > 0x7F && r != utf8.RuneError {
			b := []byte(string(r))
			cut := 1 + i%(len(b)-1)
			return [][]byte{
				append(append(head[:len(head)-1], b[:cut]...), '"'),
				append(append([]byte{'"'}, b[cut:]...), tail[1:]...),
			}
		}
	}
	return [][]byte{whole(text)}
}

func (p *speaker) event(kind, fields string) {
	nl := p.newline
	if nl == "" {
		nl = "\n"
	}
	var b strings.Builder
	if p.pings {
		b.WriteString("event: ping" + nl + `data: {"type": "ping"}` + nl + nl)
	}
	if p.unknown {
		b.WriteString("event: later" + nl + `data: {"type": "later_event", "delta": {"text": "must not be read"}}` + nl + nl)
		fields += `,"later":{"text":"must not be read"}`
	}
	if !p.noNames {
		b.WriteString("event: " + kind + nl)
	}
	if fields != "" {
		fields = "," + strings.TrimPrefix(fields, ",")
	}
	b.WriteString(`data: {"type":"` + kind + `"` + fields + "}" + nl + nl)
	p.write([]byte(b.String()))
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
