package oip_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/gen/inference"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/simulator"
)

// server is an inference server on the simulator. It is written from what the
// protocol and Triton's backends say, not from what the driver reads.
type server struct {
	inference.UnimplementedGRPCInferenceServiceServer

	sim *simulator.Backend
	key string
	wire
}

// wire is how a server may say the same.
type wire struct {
	bare    bool // MLServer's stream
	raw     bool // contents as bytes
	singles bool // a tensor for each parameter, in two dimensions, as TensorRT-LLM has them
	pieces  int  // the most bytes of a response's text; 0 is as they come
	marker  bool // a last response without outputs
	alone   bool // an embedding model of one text a call
}

func meta(name, datatype string, shape ...int64) *inference.ModelMetadataResponse_TensorMetadata {
	return &inference.ModelMetadataResponse_TensorMetadata{Name: name, Datatype: datatype, Shape: shape}
}

func (s *server) authorized(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if got := md.Get("authorization"); len(got) != 1 || got[0] != "Bearer "+s.key {
		return status.Errorf(codes.Unauthenticated, "key %v is not known", got)
	}
	return nil
}

func (s *server) ServerReady(context.Context, *inference.ServerReadyRequest) (*inference.ServerReadyResponse, error) {
	return &inference.ServerReadyResponse{Ready: true}, nil
}

func (s *server) ServerMetadata(context.Context, *inference.ServerMetadataRequest) (*inference.ServerMetadataResponse, error) {
	name := "triton"
	if s.bare {
		name = "mlserver"
	}
	return &inference.ServerMetadataResponse{Name: name, Version: "2"}, nil
}

func (s *server) RepositoryIndex(ctx context.Context, _ *inference.RepositoryIndexRequest) (*inference.RepositoryIndexResponse, error) {
	if err := s.authorized(ctx); err != nil {
		return nil, err
	}
	return &inference.RepositoryIndexResponse{Models: []*inference.RepositoryIndexResponse_ModelIndex{
		{Name: "z", State: "READY"}, {Name: "a", Version: "1", State: "READY"}, {Name: "a", Version: "2"}, {Name: "b", State: "UNAVAILABLE"},
	}}, nil
}

func (s *server) ModelMetadata(ctx context.Context, in *inference.ModelMetadataRequest) (*inference.ModelMetadataResponse, error) {
	if err := s.authorized(ctx); err != nil {
		return nil, err
	}
	out := &inference.ModelMetadataResponse{Name: in.Name, Versions: []string{"1"}}
	can := s.sim.Capabilities(in.Name)
	switch names, _ := s.sim.Models(ctx); {
	case !strings.Contains(" "+strings.Join(names, " ")+" ", " "+in.Name+" "):
		return nil, status.Errorf(codes.NotFound, "Request for unknown model: '%s' is not found", in.Name)
	case can.Embeds:
		n := int64(-1)
		if s.alone {
			n = 1
		}
		out.Inputs = []*inference.ModelMetadataResponse_TensorMetadata{meta("texts", "BYTES", n, 1)}
		out.Outputs = []*inference.ModelMetadataResponse_TensorMetadata{meta("vectors", "FP32", n, 64)}
		return out, nil
	}
	one := []int64{1}
	if s.singles {
		one = []int64{-1, 1}
	}
	out.Inputs = append(out.Inputs, meta("text_input", "BYTES", one...), meta("stream", "BOOL", one...), meta("exclude_input_in_output", "BOOL", one...),
		meta("return_finish_reason", "BOOL", one...), meta("return_num_input_tokens", "BOOL", one...), meta("return_num_output_tokens", "BOOL", one...))
	if s.singles {
		out.Inputs = append(out.Inputs, meta("max_tokens", "INT32", one...), meta("temperature", "FP32", one...), meta("top_p", "FP64", one...), meta("top_k", "UINT32", one...),
			meta("random_seed", "UINT64", one...), meta("frequency_penalty", "FP32", one...), meta("presence_penalty", "FP32", one...), meta("stop_words", "BYTES", -1, -1))
	} else {
		out.Inputs = append(out.Inputs, meta("sampling_parameters", "BYTES", one...))
	}
	out.Outputs = append(out.Outputs, meta("text_output", "BYTES", -1), meta("finish_reason", "BYTES", -1), meta("num_input_tokens", "UINT32", 1), meta("num_output_tokens", "UINT32", -1))
	return out, nil
}

func (s *server) ModelInfer(ctx context.Context, in *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	if err := s.authorized(ctx); err != nil {
		return nil, err
	}
	if !s.sim.Capabilities(in.ModelName).Embeds {
		return nil, status.Error(codes.Unimplemented, "ModelInfer RPC doesn't support models with decoupled transaction policy")
	}
	var texts []string
	for _, b := range in.Inputs[0].Contents.BytesContents {
		texts = append(texts, string(b))
	}
	if in.Inputs[0].Name != "texts" || in.Inputs[0].Shape[0] != int64(len(texts)) || in.Inputs[0].Shape[1] != 1 || s.alone && len(texts) != 1 {
		return nil, status.Errorf(codes.InvalidArgument, "unexpected shape %v of %d texts", in.Inputs[0].Shape, len(texts))
	}
	got, err := s.sim.Embed(ctx, &backend.EmbedRequest{RequestID: in.Id, Model: in.ModelName, Inputs: texts})
	if err != nil {
		return nil, failed(ctx, err)
	}
	var all []float32
	for _, v := range got.Vectors {
		all = append(all, v...)
	}
	return s.response(in, outputs{"vectors": all}), nil
}

func (s *server) ModelStreamInfer(out grpc.BidiStreamingServer[inference.ModelInferRequest, inference.ModelStreamInferResponse]) error {
	if err := s.authorized(out.Context()); err != nil {
		return err
	}
	in, err := out.Recv()
	if err != nil {
		return err
	}
	send := func(r *inference.ModelInferResponse) {
		if s.bare {
			_ = out.SendMsg(r)
			return
		}
		_ = out.Send(&inference.ModelStreamInferResponse{InferResponse: r})
	}
	fail := func(err error) error {
		var e *backend.Error
		if s.bare || !errors.As(err, &e) {
			return failed(out.Context(), err)
		}
		_ = out.Send(&inference.ModelStreamInferResponse{ErrorMessage: status.Convert(failed(out.Context(), err)).Message()})
		return nil
	}
	req, err := read(in)
	if err != nil {
		return fail(&backend.Error{Class: backend.Rejected, Detail: err.Error()})
	}
	stream, err := s.sim.Generate(out.Context(), req)
	if err != nil {
		return fail(err)
	}
	defer stream.Close()
	finish := ""
	for {
		e, err := stream.Recv()
		switch {
		case err == io.EOF:
			if s.marker {
				send(&inference.ModelInferResponse{Parameters: map[string]*inference.InferParameter{
					"triton_final_response": {ParameterChoice: &inference.InferParameter_BoolParam{BoolParam: true}}}})
			}
			return nil
		case err != nil:
			return fail(err)
		case e.Kind == backend.Delta:
			for text := e.Text; text != ""; {
				n := len(text)
				if s.pieces > 0 {
					n = min(n, s.pieces)
				}
				send(s.response(in, outputs{"text_output": text[:n], "finish_reason": "None", "num_output_tokens": 0}))
				text = text[n:]
			}
		case e.Kind == backend.Finished:
			finish = string(e.Finish)
		case e.Kind == backend.Used:
			input, _ := e.Usage.Get(accounting.Input)
			cached, _ := e.Usage.Get(accounting.CacheRead)
			output, _ := e.Usage.OutputTokens()
			send(s.response(in, outputs{"text_output": "", "finish_reason": finish, "num_input_tokens": int(input + cached), "num_output_tokens": int(output)}))
		}
	}
}

func failed(ctx context.Context, err error) error {
	var e *backend.Error
	if !errors.As(err, &e) {
		return status.FromContextError(ctx.Err()).Err()
	}
	switch e.Class {
	case backend.ContextExceeded:
		return status.Error(codes.InvalidArgument, "The decoder prompt (length 42) is longer than the maximum model length of 10.")
	case backend.Rejected:
		return status.Error(codes.InvalidArgument, e.Detail)
	case backend.Overloaded:
		st, _ := status.New(codes.Unavailable, "Exceeds maximum queue size").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(e.RetryAfter)})
		return st.Err()
	}
	return status.Error(codes.Internal, e.Detail)
}

// outputs are the tensors of a response.
type outputs map[string]any

func (s *server) response(in *inference.ModelInferRequest, all outputs) *inference.ModelInferResponse {
	r := &inference.ModelInferResponse{ModelName: in.ModelName, ModelVersion: "1", Id: in.Id}
	for name, v := range all {
		o := &inference.ModelInferResponse_InferOutputTensor{Name: name, Contents: &inference.InferTensorContents{}}
		var raw []byte
		switch v := v.(type) {
		case string:
			o.Datatype, o.Shape, o.Contents.BytesContents = "BYTES", []int64{1}, [][]byte{[]byte(v)}
			raw = append(binary.LittleEndian.AppendUint32(nil, uint32(len(v))), v...)
		case int:
			o.Datatype, o.Shape, o.Contents.UintContents = "UINT32", []int64{1}, []uint32{uint32(v)}
			raw = binary.LittleEndian.AppendUint32(nil, uint32(v))
		case []float32:
			o.Datatype, o.Shape, o.Contents.Fp32Contents = "FP32", []int64{int64(len(v) / 64), 64}, v
			for _, x := range v {
				raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
			}
		}
		if s.raw {
			o.Contents = nil
			r.RawOutputContents = append(r.RawOutputContents, raw)
		}
		r.Outputs = append(r.Outputs, o)
	}
	return r
}

// read is what a model is asked: it knows its own template.
func read(in *inference.ModelInferRequest) (*backend.Request, error) {
	req := &backend.Request{RequestID: in.Id, Model: in.ModelName, Candidates: 1}
	for _, t := range in.Inputs {
		c, last := t.Contents, t.Shape[len(t.Shape)-1]
		switch t.Name {
		case "text_input":
			text := string(c.BytesContents[0])
			for text != "<|im_start|>assistant\n" {
				message, rest, closed := strings.Cut(strings.TrimPrefix(text, "<|im_start|>"), "<|im_end|>\n")
				role, said, _ := strings.Cut(message, "\n")
				if !strings.HasPrefix(text, "<|im_start|>") || !closed || rest == "" {
					return nil, fmt.Errorf("prompt is no ChatML: %q", text)
				}
				req.Messages = append(req.Messages, backend.Message{Role: backend.Role(role), Parts: []backend.Part{{Channel: backend.Content, Text: said}}})
				text = rest
			}
		case "stream", "exclude_input_in_output", "return_finish_reason", "return_num_input_tokens", "return_num_output_tokens":
			if !c.BoolContents[0] {
				return nil, fmt.Errorf("%s is not true", t.Name)
			}
		case "sampling_parameters":
			var p struct {
				Max  *int     `json:"max_tokens"`
				Seed *int64   `json:"seed"`
				Stop []string `json:"stop"`
			}
			if err := json.Unmarshal(c.BytesContents[0], &p); err != nil {
				return nil, err
			}
			req.MaxOutputTokens, req.Seed, req.Stop = p.Max, p.Seed, p.Stop
		case "max_tokens":
			most := int(c.IntContents[0])
			req.MaxOutputTokens = &most
		case "random_seed":
			seed := int64(c.Uint64Contents[0])
			req.Seed = &seed
		case "stop_words":
			for _, s := range c.BytesContents[:last] {
				req.Stop = append(req.Stop, string(s))
			}
		case "temperature", "frequency_penalty", "presence_penalty":
			if c.Fp32Contents[0] != 0.5 {
				return nil, fmt.Errorf("%s is %v", t.Name, c.Fp32Contents)
			}
		case "top_p":
			if c.Fp64Contents[0] != 0.5 {
				return nil, fmt.Errorf("top_p is %v", c.Fp64Contents)
			}
		case "top_k":
			if c.UintContents[0] != 40 {
				return nil, fmt.Errorf("top_k is %v", c.UintContents)
			}
		default:
			return nil, fmt.Errorf("unexpected inference input '%s'", t.Name)
		}
	}
	return req, nil
}
