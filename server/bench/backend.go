package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"google.golang.org/grpc"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

// The models of the backend: one answers in one piece of about a kilobyte, one
// in 64 small ones, and one says a word and then nothing until its caller goes.
const (
	whole  = "whole"
	pieces = "pieces"
	silent = "silent"
)

const chunks = 64

// sentence has nothing in it that a rule of ours finds.
const sentence = "The river rises in the hills, gathers the brooks of the valley and comes slowly to the sea. "

var (
	prompt = strings.Repeat(sentence, 10)[:830]
	reply  = strings.Repeat(sentence, 12)[:1024]
)

// piece is one chunk of a streamed answer.
func piece(n int) string { return reply[n*16 : n*16+16] }

// serveBackend plays a model on both wires until the process is ended: weir.v1
// over gRPC and the OpenAI API over HTTP.
func serveBackend() error {
	left := &departures{}
	calls := grpc.NewServer(grpc.MaxConcurrentStreams(1 << 20))
	weirv1.RegisterGenerationServiceServer(calls, model{left: left})
	web := http.NewServeMux()
	web.Handle("GET /departures", left)
	web.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { chat(w, r, left) })
	return serve(calls, web)
}

// serve listens on two free ports, says where on standard output, and serves.
func serve(calls *grpc.Server, web http.Handler) error {
	failed := make(chan error, 2)
	var grpcAt, httpAt string
	if calls != nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		grpcAt = l.Addr().String()
		go func() { failed <- calls.Serve(l) }()
	}
	if web != nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		httpAt = l.Addr().String()
		go func() { failed <- http.Serve(l, web) }()
	}
	fmt.Printf("ready: grpc %s, http %s, admin none\n", or(grpcAt, "none"), or(httpAt, "none"))
	return <-failed
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// model answers weir.v1.
type model struct {
	weirv1.UnimplementedGenerationServiceServer
	left *departures
}

func (model) Generate(context.Context, *weirv1.GenerateRequest) (*weirv1.GenerateResponse, error) {
	return &weirv1.GenerateResponse{Candidates: []*weirv1.Candidate{{
		Message: &weirv1.Message{Role: weirv1.Role_ROLE_ASSISTANT, Parts: []*weirv1.Part{{Data: &weirv1.Part_Text{Text: reply}}}},
	}}}, nil
}

func (m model) StreamGenerate(r *weirv1.GenerateRequest, stream grpc.ServerStreamingServer[weirv1.StreamGenerateResponse]) error {
	for n := range chunks {
		err := stream.Send(&weirv1.StreamGenerateResponse{Sequence: int64(n + 1), Event: &weirv1.StreamGenerateResponse_Delta{
			Delta: &weirv1.DeltaEvent{Piece: &weirv1.DeltaEvent_Text{Text: piece(n)}},
		}})
		if err != nil {
			return err
		}
		if r.Model == silent {
			<-stream.Context().Done()
			m.left.note()
			return stream.Context().Err()
		}
	}
	return nil
}

// chat answers POST /v1/chat/completions.
func chat(w http.ResponseWriter, r *http.Request, left *departures) {
	var asked struct {
		Model  string
		Stream bool
	}
	// All of it: a proxy may break a call that is answered before it was read.
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = json.Unmarshal(body, &asked)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !asked.Stream {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"id":"1","object":"chat.completion","created":1,"model":%q,"choices":[{"index":0,"message":{"role":"assistant","content":%q},"finish_reason":"stop"}],"usage":%s}`, asked.Model, reply, used)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	var line bytes.Buffer
	say := func(choices, more string) {
		line.Reset()
		fmt.Fprintf(&line, `data: {"id":"1","object":"chat.completion.chunk","created":1,"model":%q,"choices":[%s]%s}`+"\n\n", asked.Model, choices, more)
		_, _ = w.Write(line.Bytes()) // a client that has gone is seen below
		_ = flush.Flush()
	}
	delta := func(text string) {
		say(fmt.Sprintf(`{"index":0,"delta":{"content":%q},"finish_reason":null}`, text), "")
	}
	switch asked.Model {
	case whole:
		delta(reply)
	case silent:
		delta(piece(0))
		<-r.Context().Done()
		left.note()
		return
	default:
		for n := range chunks {
			delta(piece(n))
		}
	}
	say(`{"index":0,"delta":{},"finish_reason":"stop"}`, "")
	say("", `,"usage":`+used)
	_, _ = fmt.Fprint(w, "data: [DONE]\n\n")
}

const used = `{"prompt_tokens":160,"completion_tokens":200,"total_tokens":360}`
