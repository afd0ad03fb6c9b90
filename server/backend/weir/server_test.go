package weir_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weir-gateway/weir/accounting"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/simulator"
)

// server is a sidecar that speaks weir.v1 on the simulator. It is written from
// what the proto files say, not from what the driver reads.
type server struct {
	weirv1.UnimplementedGenerationServiceServer

	sim *simulator.Backend
	key string
	wire
}

// wire is how a server may say the same.
type wire struct {
	unknown bool // events and pieces of a later version
	early   bool // a candidate's end as soon as it is known
	bare    bool // statuses without details, as a proxy has them
	totals  bool // reasoning and totals, and no other bucket
}

func (w wire) fail(code codes.Code, reason, message string, retry *durationpb.Duration) error {
	st := status.New(code, message)
	if w.bare {
		return st.Err()
	}
	details := []protoadapt.MessageV1{protoadapt.MessageV1Of(&errdetails.ErrorInfo{Reason: reason, Domain: "weir.v1"})}
	if retry != nil {
		details = append(details, protoadapt.MessageV1Of(&errdetails.RetryInfo{RetryDelay: retry}))
	}
	st, err := st.WithDetails(details...)
	if err != nil {
		return err
	}
	return st.Err()
}

func (s *server) StreamGenerate(in *weirv1.GenerateRequest, out grpc.ServerStreamingServer[weirv1.StreamGenerateResponse]) error {
	md, _ := metadata.FromIncomingContext(out.Context())
	if got := md.Get("authorization"); len(got) != 1 || got[0] != "Bearer "+s.key {
		return s.fail(codes.Unauthenticated, "CREDENTIALS_INVALID", fmt.Sprintf("key %v is not known", got), nil)
	}
	req, err := read(in, md)
	if err != nil {
		return s.fail(codes.InvalidArgument, "INVALID_REQUEST", err.Error(), nil)
	}
	stream, err := s.sim.Generate(out.Context(), req)
	if err != nil {
		return s.failed(out.Context(), err)
	}
	defer stream.Close()
	sent := int64(0)
	send := func(e *weirv1.StreamGenerateResponse) {
		sent++
		e.Sequence = sent
		_ = out.Send(e) // the stream ends of itself where the caller has gone
	}
	send(&weirv1.StreamGenerateResponse{Event: &weirv1.StreamGenerateResponse_Started{Started: &weirv1.StartedEvent{RequestId: "inner", Target: &weirv1.Target{Model: in.Model}}}})
	var done []*weirv1.StreamGenerateResponse
	for {
		e, err := stream.Recv()
		if err != nil && err != io.EOF {
			return s.failed(out.Context(), err)
		}
		if s.unknown {
			send(&weirv1.StreamGenerateResponse{})
			send(&weirv1.StreamGenerateResponse{Event: &weirv1.StreamGenerateResponse_Delta{Delta: &weirv1.DeltaEvent{}}})
		}
		switch {
		case err == io.EOF:
			return nil
		case e.Kind == backend.Finished:
			end := &weirv1.StreamGenerateResponse{Event: &weirv1.StreamGenerateResponse_CandidateDone{CandidateDone: &weirv1.CandidateDoneEvent{
				CandidateIndex: int32(e.Candidate), FinishReason: map[backend.FinishReason]weirv1.FinishReason{
					backend.FinishStop: weirv1.FinishReason_FINISH_REASON_STOP, backend.FinishLength: weirv1.FinishReason_FINISH_REASON_LENGTH,
					backend.FinishToolCalls: weirv1.FinishReason_FINISH_REASON_TOOL_CALLS, backend.FinishRefusal: weirv1.FinishReason_FINISH_REASON_REFUSAL,
				}[e.Finish]}}}
			if s.early {
				send(end)
			} else {
				done = append(done, end)
			}
		case e.Kind == backend.Used:
			for _, end := range done {
				send(end)
			}
			send(&weirv1.StreamGenerateResponse{Event: &weirv1.StreamGenerateResponse_Completed{Completed: &weirv1.CompletedEvent{
				Usage: s.usage(e.Usage), Verdicts: []*weirv1.Verdict{{Rule: "of the inner Weir"}},
			}}})
		case e.Kind == backend.Delta || e.Kind == backend.Called || e.Kind == backend.Shown:
			send(&weirv1.StreamGenerateResponse{Event: &weirv1.StreamGenerateResponse_Delta{Delta: delta(e)}})
		}
	}
}

func (s *server) failed(ctx context.Context, err error) error {
	var failed *backend.Error
	if !errors.As(err, &failed) {
		return ctx.Err()
	}
	switch failed.Class {
	case backend.ContextExceeded:
		return s.fail(codes.InvalidArgument, "CONTEXT_LENGTH_EXCEEDED", "too long", nil)
	case backend.ModelMissing:
		return s.fail(codes.NotFound, "MODEL_NOT_FOUND", "no such model", nil)
	case backend.Overloaded:
		return s.fail(codes.Unavailable, "BACKEND_OVERLOADED", "busy", durationpb.New(failed.RetryAfter))
	case backend.Broken:
		return s.fail(codes.Aborted, "STREAM_BROKEN", "broken", nil)
	}
	return s.fail(codes.Unavailable, "BACKEND_UNAVAILABLE", failed.Detail, nil)
}

func (s *server) usage(u accounting.Usage) *weirv1.Usage {
	known := func(n int64, ok bool) *int64 {
		if !ok {
			return nil
		}
		return proto.Int64(n)
	}
	out := &weirv1.Usage{InputTokens: known(u.InputTokens()), OutputTokens: known(u.OutputTokens()), CacheReadTokens: known(u.Get(accounting.CacheRead)), ReasoningTokens: known(u.Get(accounting.Reasoning))}
	if !s.totals {
		out.UncachedInputTokens, out.TextOutputTokens = known(u.Get(accounting.Input)), known(u.Get(accounting.Output))
	}
	return out
}

func delta(e backend.Event) *weirv1.DeltaEvent {
	d := &weirv1.DeltaEvent{CandidateIndex: int32(e.Candidate)}
	switch {
	case e.Kind == backend.Shown:
		d.Piece = &weirv1.DeltaEvent_Media{Media: &weirv1.Media{Modality: weirv1.Modality_MODALITY_IMAGE, MediaType: e.Media.Type, Source: &weirv1.Media_Data{Data: e.Media.Data}}}
	case e.Kind == backend.Called:
		d.Piece = &weirv1.DeltaEvent_ToolCall{ToolCall: &weirv1.ToolCallStart{Index: int32(e.Call), Id: e.CallID, Name: e.Tool}}
	case e.Channel == backend.Arguments:
		d.Piece = &weirv1.DeltaEvent_ToolArguments{ToolArguments: &weirv1.ToolArguments{Index: int32(e.Call), Text: e.Text}}
	case e.Channel == backend.Reasoning:
		d.Piece = &weirv1.DeltaEvent_ReasoningText{ReasoningText: e.Text}
	case e.Channel == backend.Refusal:
		d.Piece = &weirv1.DeltaEvent_RefusalText{RefusalText: e.Text}
	default:
		d.Piece = &weirv1.DeltaEvent_Text{Text: e.Text}
	}
	return d
}

// read is what a model is asked.
func read(in *weirv1.GenerateRequest, md metadata.MD) (*backend.Request, error) {
	c := in.GetConfig()
	req := &backend.Request{Model: in.Model, Stop: c.StopSequences, Seed: c.Seed, Candidates: 1}
	if ids := md.Get("x-request-id"); len(ids) == 1 {
		req.RequestID = ids[0]
	}
	if len(c.ResponseModalities) == 1 && c.ResponseModalities[0] == weirv1.Modality_MODALITY_IMAGE {
		req.Modalities = []backend.Modality{backend.Image}
	}
	if c.CandidateCount != nil {
		req.Candidates = int(c.GetCandidateCount())
	}
	if c.MaxOutputTokens != nil {
		most := int(c.GetMaxOutputTokens())
		req.MaxOutputTokens = &most
	}
	names := map[weirv1.Role]backend.Role{
		weirv1.Role_ROLE_SYSTEM: backend.System, weirv1.Role_ROLE_DEVELOPER: backend.Developer, weirv1.Role_ROLE_USER: backend.User,
		weirv1.Role_ROLE_ASSISTANT: backend.Assistant, weirv1.Role_ROLE_TOOL: backend.ToolRole,
	}
	for i, m := range in.GetMessages() {
		message := backend.Message{Role: names[m.Role], Name: m.Name}
		if message.Role == "" || len(m.Parts) == 0 {
			return nil, fmt.Errorf("messages[%d]: a role and a part are needed", i)
		}
		for _, p := range m.Parts {
			part := backend.Part{Channel: backend.Content, Text: p.GetText()}
			switch d := p.Data.(type) {
			case nil:
				return nil, fmt.Errorf("messages[%d]: a part is empty", i)
			case *weirv1.Part_Reasoning:
				part = backend.Part{Channel: backend.Reasoning, Text: d.Reasoning.Text}
			case *weirv1.Part_Refusal:
				part = backend.Part{Channel: backend.Refusal, Text: d.Refusal.Text}
			case *weirv1.Part_ToolCall:
				part = backend.Part{Channel: backend.Arguments, Text: d.ToolCall.ArgumentsJson, CallID: d.ToolCall.Id, Tool: d.ToolCall.Name}
			case *weirv1.Part_ToolResult:
				part = backend.Part{Channel: backend.Result, Text: d.ToolResult.Text, CallID: d.ToolResult.ToolCallId, Tool: d.ToolResult.Name, Failed: d.ToolResult.Failed}
			}
			message.Parts = append(message.Parts, part)
		}
		req.Messages = append(req.Messages, message)
	}
	schema := func(s string) json.RawMessage {
		if s == "" {
			return nil
		}
		return json.RawMessage(s)
	}
	for _, t := range in.Tools {
		req.Tools = append(req.Tools, backend.Tool{Name: t.Name, Description: t.Description, Parameters: schema(t.ParametersJsonSchema), Strict: t.Strict})
	}
	if f := c.ResponseFormat; f != nil {
		req.Format = &backend.Format{Name: f.Name, Description: f.Description, Schema: schema(f.JsonSchema), Strict: f.Strict}
	}
	return req, nil
}
