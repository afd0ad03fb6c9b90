package gemini_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	pb "cloud.google.com/go/ai/generativelanguage/apiv1beta/generativelanguagepb"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/simulator"
)

// server speaks the API on the simulator. It is written from what the API's
// reference says, not from what the driver reads.
type server struct {
	pb.UnimplementedGenerativeServiceServer
	pb.UnimplementedModelServiceServer

	sim *simulator.Backend
	key string
	wire
}

// wire is how a server may say the same.
type wire struct {
	ids     bool // of calls
	unknown bool // parts and responses that nobody knows
	late    bool // the end of a candidate in a response of its own, with usage in each
}

func (s *server) authorized(ctx context.Context, model string) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if got := md.Get("x-goog-api-key"); len(got) != 1 || got[0] != s.key {
		return detailed(codes.InvalidArgument, fmt.Sprintf("API key not valid: %v", got), &errdetails.ErrorInfo{Reason: "API_KEY_INVALID", Domain: "googleapis.com"})
	}
	if want := "model=models%2F" + strings.TrimPrefix(model, "models/"); model != "" && strings.Join(md.Get("x-goog-request-params"), "") != want {
		return status.Errorf(codes.InvalidArgument, "x-goog-request-params is %v, want %s", md.Get("x-goog-request-params"), want)
	}
	return nil
}

func detailed(code codes.Code, text string, detail proto.Message) error {
	st := status.New(code, text)
	p := st.Proto()
	p.Details = append(p.Details, must(anypb.New(detail)))
	return status.FromProto(p).Err()
}

func (s *server) ListModels(ctx context.Context, in *pb.ListModelsRequest) (*pb.ListModelsResponse, error) {
	if err := s.authorized(ctx, ""); err != nil {
		return nil, err
	}
	if in.PageToken == "" {
		return &pb.ListModelsResponse{Models: []*pb.Model{{Name: "models/z"}}, NextPageToken: "2"}, nil
	}
	return &pb.ListModelsResponse{Models: []*pb.Model{{Name: "models/a"}, {Name: "tunedModels/t"}}}, nil
}

func (s *server) BatchEmbedContents(ctx context.Context, in *pb.BatchEmbedContentsRequest) (*pb.BatchEmbedContentsResponse, error) {
	if err := s.authorized(ctx, in.Model); err != nil {
		return nil, err
	}
	md, _ := metadata.FromIncomingContext(ctx)
	req := &backend.EmbedRequest{RequestID: strings.Join(md.Get("x-request-id"), ""), Model: strings.TrimPrefix(in.Model, "models/")}
	for _, r := range in.Requests {
		if r.Model != in.Model || len(in.Requests) > 100 {
			return nil, status.Error(codes.InvalidArgument, "another model in the batch, or more than 100 texts")
		}
		req.Inputs = append(req.Inputs, r.Content.Parts[0].GetText())
		if r.OutputDimensionality != nil {
			d := int(*r.OutputDimensionality)
			req.Dimensions = &d
		}
	}
	got, err := s.sim.Embed(ctx, req)
	if err != nil {
		return nil, failed(ctx, err)
	}
	out := &pb.BatchEmbedContentsResponse{}
	for _, v := range got.Vectors {
		out.Embeddings = append(out.Embeddings, &pb.ContentEmbedding{Values: v})
	}
	return out, nil
}

func failed(ctx context.Context, err error) error {
	var e *backend.Error
	if !errors.As(err, &e) {
		return status.FromContextError(ctx.Err()).Err()
	}
	switch e.Class {
	case backend.ContextExceeded:
		return status.Error(codes.InvalidArgument, "The input token count (42) exceeds the maximum number of tokens allowed (10).")
	case backend.Rejected:
		return status.Error(codes.InvalidArgument, e.Detail)
	case backend.ModelMissing:
		return status.Error(codes.NotFound, "models/x is not found for API version v1beta")
	case backend.Overloaded:
		return detailed(codes.Unavailable, "The model is overloaded. Please try again later.", &errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
	}
	return status.Error(codes.Internal, e.Detail)
}

func (s *server) StreamGenerateContent(in *pb.GenerateContentRequest, out pb.GenerativeService_StreamGenerateContentServer) error {
	if err := s.authorized(out.Context(), in.Model); err != nil {
		return err
	}
	md, _ := metadata.FromIncomingContext(out.Context())
	req, err := read(in)
	if err != nil {
		return status.Error(codes.InvalidArgument, err.Error())
	}
	req.RequestID = strings.Join(md.Get("x-request-id"), "")
	stream, err := s.sim.Generate(out.Context(), req)
	if err != nil {
		return failed(out.Context(), err)
	}
	defer stream.Close()
	send := func(index int, end pb.Candidate_FinishReason, u *pb.GenerateContentResponse_UsageMetadata, parts ...*pb.Part) {
		i := int32(index)
		c := &pb.Candidate{Index: &i, Content: &pb.Content{Role: "model", Parts: parts}, FinishReason: end}
		_ = out.Send(&pb.GenerateContentResponse{Candidates: []*pb.Candidate{c}, ModelVersion: "gemini-sim-001", UsageMetadata: u})
	}
	type open struct{ id, tool, args string }
	calls := map[[2]int]*open{}
	ends := map[int]pb.Candidate_FinishReason{}
	for {
		e, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return failed(out.Context(), err)
		}
		if s.unknown {
			_ = out.Send(&pb.GenerateContentResponse{})
			send(e.Candidate, 0, nil, &pb.Part{}, &pb.Part{Data: &pb.Part_ExecutableCode{ExecutableCode: &pb.ExecutableCode{Code: "unseen"}}}, &pb.Part{Data: &pb.Part_Text{}})
		}
		switch {
		case e.Kind == backend.Called:
			calls[[2]int{e.Candidate, e.Call}] = &open{e.CallID, e.Tool, ""}
		case e.Channel == backend.Arguments:
			calls[[2]int{e.Candidate, e.Call}].args += e.Text
		case e.Kind == backend.Delta:
			u := (*pb.GenerateContentResponse_UsageMetadata)(nil)
			if s.late {
				u = &pb.GenerateContentResponse_UsageMetadata{PromptTokenCount: 1, TotalTokenCount: 1}
			}
			send(e.Candidate, 0, u, &pb.Part{Thought: e.Channel == backend.Reasoning, Data: &pb.Part_Text{Text: e.Text}})
		case e.Kind == backend.Shown:
			send(e.Candidate, 0, nil, &pb.Part{Data: &pb.Part_InlineData{InlineData: &pb.Blob{MimeType: e.Media.Type, Data: e.Media.Data}}})
		case e.Kind == backend.Finished:
			for n := 0; calls[[2]int{e.Candidate, n}] != nil; n++ {
				call := calls[[2]int{e.Candidate, n}]
				f := &pb.FunctionCall{Name: call.tool}
				if s.ids {
					f.Id = call.id
				}
				if call.args != "" {
					f.Args = must(structOf(call.args))
				}
				send(e.Candidate, 0, nil, &pb.Part{Data: &pb.Part_FunctionCall{FunctionCall: f}})
			}
			ends[e.Candidate] = map[backend.FinishReason]pb.Candidate_FinishReason{backend.FinishStop: pb.Candidate_STOP, backend.FinishToolCalls: pb.Candidate_STOP,
				backend.FinishLength: pb.Candidate_MAX_TOKENS, backend.FinishRefusal: pb.Candidate_SAFETY}[e.Finish]
		case e.Kind == backend.Used:
			get := func(m accounting.Meter) int32 { n, _ := e.Usage.Get(m); return int32(n) }
			u := &pb.GenerateContentResponse_UsageMetadata{PromptTokenCount: get(accounting.Input) + get(accounting.CacheRead), CachedContentTokenCount: get(accounting.CacheRead),
				CandidatesTokenCount: get(accounting.Output), ThoughtsTokenCount: get(accounting.Reasoning)}
			u.TotalTokenCount = u.PromptTokenCount + u.CandidatesTokenCount + u.ThoughtsTokenCount
			for i := range req.Candidates {
				send(i, ends[i], u)
			}
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func structOf(text string) (*structpb.Struct, error) {
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, err
	}
	return structpb.NewStruct(v)
}

// canonical is JSON with its fields in order.
func canonical(v any) string {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return strings.TrimSpace(out.String())
}

// read is what a model is asked.
func read(in *pb.GenerateContentRequest) (*backend.Request, error) {
	c := in.GetGenerationConfig()
	req := &backend.Request{Model: strings.TrimPrefix(in.Model, "models/"), Stop: c.GetStopSequences(), Candidates: 1}
	if slices.Equal(c.GetResponseModalities(), []pb.GenerationConfig_Modality{pb.GenerationConfig_TEXT, pb.GenerationConfig_IMAGE}) {
		req.Modalities = []backend.Modality{backend.Image}
	}
	if c.CandidateCount != nil {
		req.Candidates = int(*c.CandidateCount)
	}
	if c.Seed != nil {
		seed := int64(*c.Seed)
		req.Seed = &seed
	}
	if c.MaxOutputTokens != nil {
		most := int(*c.MaxOutputTokens)
		req.MaxOutputTokens = &most
	}
	all := in.Contents
	if in.SystemInstruction != nil {
		all = append([]*pb.Content{{Role: "system", Parts: in.SystemInstruction.Parts}}, all...)
	}
	for i, content := range all {
		role, known := map[string]backend.Role{"system": backend.System, "user": backend.User, "model": backend.Assistant}[content.Role]
		if !known || len(content.Parts) == 0 || i > 0 && content.Role == all[i-1].Role {
			return nil, fmt.Errorf("contents[%d]: roles take turns, and each says something", i)
		}
		m := backend.Message{Role: role}
		for _, p := range content.Parts {
			switch d := p.Data.(type) {
			case *pb.Part_Text:
				m.Parts = append(m.Parts, backend.Part{Channel: backend.Content, Text: d.Text})
			case *pb.Part_FunctionCall:
				part := backend.Part{Channel: backend.Arguments, CallID: d.FunctionCall.Id, Tool: d.FunctionCall.Name}
				if len(d.FunctionCall.Args.GetFields()) > 0 {
					part.Text = canonical(d.FunctionCall.Args.AsMap())
				}
				m.Parts = append(m.Parts, part)
			case *pb.Part_FunctionResponse:
				if d.FunctionResponse.Name == "" {
					return nil, errors.New("a response names no function")
				}
				m.Role = backend.ToolRole
				m.Parts = append(m.Parts, backend.Part{Channel: backend.Result, CallID: d.FunctionResponse.Id, Text: d.FunctionResponse.Response.Fields["output"].GetStringValue()})
			default:
				return nil, fmt.Errorf("contents[%d]: a part is empty", i)
			}
		}
		req.Messages = append(req.Messages, m)
	}
	schema := func(v *structpb.Value) json.RawMessage {
		if v == nil {
			return nil
		}
		return json.RawMessage(canonical(v.AsInterface()))
	}
	for _, t := range in.Tools {
		for _, f := range t.FunctionDeclarations {
			req.Tools = append(req.Tools, backend.Tool{Name: f.Name, Description: f.Description, Parameters: schema(f.ParametersJsonSchema)})
		}
	}
	if c.ResponseMimeType == "application/json" {
		req.Format = &backend.Format{Schema: schema(c.ResponseJsonSchema)}
	}
	return req, nil
}
