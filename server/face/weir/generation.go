package weir

import (
	"context"
	"encoding/json"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/weir-gateway/weir/accounting"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/load"
	"github.com/weir-gateway/weir/server/face"
	"github.com/weir-gateway/weir/server/gateway"
)

// Generation answers weir.v1.GenerationService.
type Generation struct {
	weirv1.UnimplementedGenerationServiceServer

	Gateway *gateway.Gateway
	// Load is how busy the targets of a model are, for callers that ask for it;
	// nil where nobody is told.
	Load func(model string) (backend.Load, bool)
}

// tellLoad puts how busy a model is into the trailer, as gRPC's balancers and a
// Weir in front read it (ORCA).
func (g *Generation) tellLoad(ctx context.Context, model string) {
	if g.Load == nil || len(metadata.ValueFromIncomingContext(ctx, load.Ask)) == 0 {
		return
	}
	if l, known := g.Load(model); known {
		// It fails for a call that has ended, which is told nothing any more.
		_ = grpc.SetTrailer(ctx, metadata.Pairs(load.Trailer, string(load.Append(nil, &l))))
	}
}

// Generate answers at once. The model streams all the same, so that holds,
// guards and cuts work alike.
func (g *Generation) Generate(ctx context.Context, req *weirv1.GenerateRequest) (*weirv1.GenerateResponse, error) {
	call, err := callOf(ctx, req)
	if err != nil {
		return nil, err
	}
	defer g.tellLoad(ctx, call.Model)
	var said gateway.Collector
	answer, err := g.Gateway.Generate(ctx, call, &said)
	if err != nil {
		return nil, err
	}
	return &weirv1.GenerateResponse{
		RequestId:  answer.RequestID,
		Candidates: candidates(answer, said.Candidates()),
		Usage:      face.Usage(answer.Usage, answer.Source),
		Cost:       face.Cost(answer.Cost),
		Verdicts:   face.Verdicts(answer.Verdicts),
		Target:     face.Target(answer),
		Timing:     face.Timing(answer),
		Warnings:   face.Warnings(answer),
		Replayed:   answer.Replayed,

		VendorExtras: vendorExtras(answer.Extras),
	}, nil
}

// StreamGenerate answers as the text is released.
func (g *Generation) StreamGenerate(req *weirv1.GenerateRequest, stream grpc.ServerStreamingServer[weirv1.StreamGenerateResponse]) error {
	call, err := callOf(stream.Context(), req)
	if err != nil {
		return err
	}
	defer g.tellLoad(stream.Context(), call.Model)
	events := &events{stream: stream}
	answer, err := g.Gateway.Generate(stream.Context(), call, events)
	if err != nil {
		return err
	}
	return events.end(answer)
}

// events is a sink that numbers what it sends. It sends nothing before there is
// something to say: an answer that has begun cannot be tried again.
type events struct {
	stream  grpc.ServerStreamingServer[weirv1.StreamGenerateResponse]
	sent    int64
	started bool
}

func (e *events) send(event *weirv1.StreamGenerateResponse) error {
	e.sent++
	event.Sequence = e.sent
	return e.stream.Send(event)
}

// Start implements gateway.Sink.
func (e *events) Start(a *gateway.Answer) error {
	e.started = true
	return e.send(&weirv1.StreamGenerateResponse{Event: &weirv1.StreamGenerateResponse_Started{
		Started: &weirv1.StartedEvent{RequestId: a.RequestID, Target: face.Target(a), Replayed: a.Replayed},
	}})
}

// Delta implements gateway.Sink.
func (e *events) Delta(d gateway.Delta) error {
	delta := &weirv1.DeltaEvent{CandidateIndex: int32(d.Candidate), Logprobs: logprobs(d.Logprobs)}
	if d.Signature != nil {
		delta.Piece = &weirv1.DeltaEvent_Signature{Signature: signature(d.Signature)}
		return e.send(&weirv1.StreamGenerateResponse{Event: &weirv1.StreamGenerateResponse_Delta{Delta: delta}})
	}
	if d.Media != nil {
		delta.Piece = &weirv1.DeltaEvent_Media{Media: shown(d.Media)}
		return e.send(&weirv1.StreamGenerateResponse{Event: &weirv1.StreamGenerateResponse_Delta{Delta: delta}})
	}
	if d.Text == "" && d.Tool == "" && d.Logprobs == nil {
		return nil
	}
	switch d.Channel {
	case backend.Content:
		delta.Piece = &weirv1.DeltaEvent_Text{Text: d.Text}
	case backend.Reasoning:
		delta.Piece = &weirv1.DeltaEvent_ReasoningText{ReasoningText: d.Text}
	case backend.Refusal:
		delta.Piece = &weirv1.DeltaEvent_RefusalText{RefusalText: d.Text}
	case backend.Transcript:
		delta.Piece = &weirv1.DeltaEvent_TranscriptText{TranscriptText: d.Text}
	case backend.Arguments:
		if d.Tool != "" {
			delta.Piece = &weirv1.DeltaEvent_ToolCall{ToolCall: &weirv1.ToolCallStart{Index: int32(d.Call), Id: d.CallID, Name: d.Tool}}
		} else {
			delta.Piece = &weirv1.DeltaEvent_ToolArguments{ToolArguments: &weirv1.ToolArguments{Index: int32(d.Call), Text: d.Text}}
		}
	}
	return e.send(&weirv1.StreamGenerateResponse{Event: &weirv1.StreamGenerateResponse_Delta{Delta: delta}})
}

// Flush implements gateway.Sink: gRPC itself sends together what it has together.
func (e *events) Flush() error { return nil }

// end tells what is known when the ledger has the call.
func (e *events) end(a *gateway.Answer) error {
	if !e.started { // nothing was released, and yet the call is answered
		if err := e.Start(a); err != nil {
			return err
		}
	}
	for c, finish := range a.Finish {
		if err := e.send(&weirv1.StreamGenerateResponse{Event: &weirv1.StreamGenerateResponse_CandidateDone{
			CandidateDone: &weirv1.CandidateDoneEvent{CandidateIndex: int32(c), FinishReason: finishReasons[finish]},
		}}); err != nil {
			return err
		}
	}
	return e.send(&weirv1.StreamGenerateResponse{Event: &weirv1.StreamGenerateResponse_Completed{
		Completed: &weirv1.CompletedEvent{
			Usage: face.Usage(a.Usage, a.Source), Cost: face.Cost(a.Cost), Verdicts: face.Verdicts(a.Verdicts),
			Target: face.Target(a), Timing: face.Timing(a), Warnings: face.Warnings(a), Replayed: a.Replayed,
			VendorExtras: vendorExtras(a.Extras),
		},
	}})
}

var finishReasons = map[backend.FinishReason]weirv1.FinishReason{
	backend.FinishStop:          weirv1.FinishReason_FINISH_REASON_STOP,
	backend.FinishToolCalls:     weirv1.FinishReason_FINISH_REASON_TOOL_CALLS,
	backend.FinishLength:        weirv1.FinishReason_FINISH_REASON_LENGTH,
	backend.FinishBackendFilter: weirv1.FinishReason_FINISH_REASON_BACKEND_FILTER,
	backend.FinishRefusal:       weirv1.FinishReason_FINISH_REASON_REFUSAL,
	backend.FinishSafety:        weirv1.FinishReason_FINISH_REASON_SAFETY,
	backend.FinishBudget:        weirv1.FinishReason_FINISH_REASON_BUDGET,
	backend.FinishUnknown:       weirv1.FinishReason_FINISH_REASON_UNSPECIFIED,
}

var roles = map[weirv1.Role]backend.Role{
	weirv1.Role_ROLE_SYSTEM:    backend.System,
	weirv1.Role_ROLE_DEVELOPER: backend.Developer,
	weirv1.Role_ROLE_USER:      backend.User,
	weirv1.Role_ROLE_ASSISTANT: backend.Assistant,
	weirv1.Role_ROLE_TOOL:      backend.ToolRole,
}

var toolModes = map[weirv1.ToolChoice_Mode]backend.ToolMode{
	weirv1.ToolChoice_MODE_UNSPECIFIED: backend.ToolAuto,
	weirv1.ToolChoice_MODE_AUTO:        backend.ToolAuto,
	weirv1.ToolChoice_MODE_NONE:        backend.ToolNone,
	weirv1.ToolChoice_MODE_REQUIRED:    backend.ToolRequired,
	weirv1.ToolChoice_MODE_NAMED:       backend.ToolNamed,
}

// callOf reads a request that the proto file has checked.
func callOf(ctx context.Context, req *weirv1.GenerateRequest) (*gateway.Call, error) {
	call, err := newCall(ctx, req.GetContext())
	if err != nil {
		return nil, err
	}
	call.Model = req.GetModel()
	if call.Request, err = request(req); err != nil {
		return nil, err
	}
	return call, face.CheckTools(&call.Request)
}

// newCall starts a call of which a request says this.
func newCall(ctx context.Context, about *weirv1.RequestContext) (*gateway.Call, error) {
	headers, _ := metadata.FromIncomingContext(ctx)
	most, err := maxCost(about.GetMaxCost())
	if err != nil {
		return nil, err
	}
	return face.NewCall(ctx, headers, face.About{
		Labels: about.GetLabels(), EndUser: about.GetEndUser(), Session: about.GetSession(), MaxCost: most,
		IdempotencyKey: about.GetIdempotencyKey(),
	})
}

// maxCost reads what the caller lets a call cost; the proto file has checked
// its signs.
func maxCost(m *weirv1.Money) (*accounting.Money, error) {
	if m == nil {
		return nil, nil
	}
	most, err := face.AmountOf(m)
	if err != nil {
		return nil, face.Invalid("context.max_cost", "%v", err)
	}
	return &most, nil
}

func request(req *weirv1.GenerateRequest) (backend.Request, error) {
	config := req.GetConfig()
	if config == nil {
		config = &weirv1.GenerationConfig{}
	}
	out := backend.Request{
		Temperature: config.Temperature, TopP: config.TopP, TopK: number(config.TopK),
		FrequencyPenalty: config.FrequencyPenalty, PresencePenalty: config.PresencePenalty,
		MaxOutputTokens: number(config.MaxOutputTokens), Stop: config.GetStopSequences(), Seed: config.Seed,
		Candidates: 1,
	}
	if config.CandidateCount != nil {
		out.Candidates = int(config.GetCandidateCount())
	}
	for i, m := range req.GetMessages() {
		message := backend.Message{Role: roles[m.GetRole()], Name: m.GetName()}
		for j, p := range m.GetParts() {
			at := fmt.Sprintf("messages[%d].parts[%d]", i, j)
			parts, err := partsOf(p, at)
			if err != nil {
				return out, err
			}
			part := parts[0]
			switch {
			case (message.Role == backend.ToolRole) != (part.Channel == backend.Result) || part.Channel == backend.Arguments && message.Role != backend.Assistant:
				return out, face.Invalid(at, "a tool_result stands in a message of ROLE_TOOL, which holds nothing else, and a tool_call in one of ROLE_ASSISTANT")
			case part.Media != nil && part.Channel == backend.Content && message.Role != backend.User:
				return out, face.Invalid(at, "media stands in a message of ROLE_USER, or in a tool_result")
			case part.Signature != nil && message.Role != backend.Assistant:
				return out, face.Invalid(at+".signature", "a signature stands in a message of ROLE_ASSISTANT")
			}
			message.Parts = append(message.Parts, parts...)
		}
		out.Messages = append(out.Messages, message)
	}
	tools(req, &out)
	return out, extras(config, &out)
}

func tools(req *weirv1.GenerateRequest, out *backend.Request) {
	for _, t := range req.GetTools() {
		out.Tools = append(out.Tools, backend.Tool{Name: t.GetName(), Description: t.GetDescription(), Parameters: schema(t.GetParametersJsonSchema()), Strict: t.Strict, Cache: cacheHint(t.GetCacheHint())})
	}
	if c := req.GetToolChoice(); c != nil {
		out.Choice, out.ParallelCalls = &backend.ToolChoice{Mode: toolModes[c.GetMode()], Tool: c.GetToolName()}, c.Parallel
	}
	if f := req.GetConfig().GetResponseFormat(); f != nil {
		out.Format = &backend.Format{Schema: schema(f.GetJsonSchema()), Name: f.GetName(), Description: f.GetDescription(), Strict: f.Strict, Repairs: 1}
		if f.RepairAttempts != nil {
			out.Format.Repairs = int(f.GetRepairAttempts())
		}
	}
}

func schema(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	return json.RawMessage(text)
}

func part(p *weirv1.Part) backend.Part {
	switch data := p.GetData().(type) {
	case *weirv1.Part_Reasoning:
		return backend.Part{Channel: backend.Reasoning, Text: data.Reasoning.GetText()}
	case *weirv1.Part_Transcript: // what was said is said again as text
		return backend.Part{Channel: backend.Content, Text: data.Transcript.GetText()}
	case *weirv1.Part_Refusal:
		return backend.Part{Channel: backend.Refusal, Text: data.Refusal.GetText()}
	case *weirv1.Part_ToolCall:
		c := data.ToolCall
		return backend.Part{Channel: backend.Arguments, Text: c.GetArgumentsJson(), CallID: c.GetId(), Tool: c.GetName()}
	case *weirv1.Part_ToolResult:
		r := data.ToolResult
		return backend.Part{Channel: backend.Result, Text: r.GetText(), CallID: r.GetToolCallId(), Tool: r.GetName(), Failed: r.GetFailed()}
	}
	return backend.Part{Channel: backend.Content, Text: p.GetText()}
}

func number(n *int32) *int {
	if n == nil {
		return nil
	}
	wide := int(*n)
	return &wide
}

func candidates(a *gateway.Answer, said []gateway.Collected) []*weirv1.Candidate {
	out := make([]*weirv1.Candidate, len(a.Finish))
	for i, finish := range a.Finish {
		message := &weirv1.Message{Role: weirv1.Role_ROLE_ASSISTANT}
		if i < len(said) {
			message.Parts = parts(said[i])
		}
		out[i] = &weirv1.Candidate{Index: int32(i), Message: message, FinishReason: finishReasons[finish]}
	}
	return out
}

func parts(said gateway.Collected) (all []*weirv1.Part) {
	for _, p := range said.Parts {
		if p.Text == "" && p.Signature == nil && p.Media == nil && p.Channel != backend.Arguments {
			continue
		}
		out := &weirv1.Part{Signature: signature(p.Signature), Logprobs: logprobs(p.Logprobs)}
		switch p.Channel {
		case backend.Content:
			if out.Data = (&weirv1.Part_Text{Text: p.Text}); p.Media != nil {
				out.Data = &weirv1.Part_Media{Media: shown(p.Media)}
			}
		case backend.Reasoning:
			out.Data = &weirv1.Part_Reasoning{Reasoning: &weirv1.Reasoning{Text: p.Text}}
		case backend.Transcript:
			out.Data = &weirv1.Part_Transcript{Transcript: &weirv1.Transcript{Text: p.Text}}
		case backend.Refusal:
			out.Data = &weirv1.Part_Refusal{Refusal: &weirv1.Refusal{Text: p.Text}}
		case backend.Arguments:
			out.Data = &weirv1.Part_ToolCall{ToolCall: &weirv1.ToolCall{Id: p.CallID, Name: p.Tool, ArgumentsJson: p.Text}}
		}
		all = append(all, out)
	}
	return all
}
