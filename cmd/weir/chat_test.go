package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

func TestAChatOnARealWeir(t *testing.T) {
	p := serve(t, filepath.Join(t.TempDir(), "data"))
	key := p.key(demoKeyFile)
	code, out, failed := p.run(key, "你好，世界\n\nand another\n/exit\nnever asked\n", "chat", "-m", "sim-text", "--max-tokens", "8")
	if code != exitOK || strings.Count(failed, " USD, ") != 2 || strings.Contains(failed, "\x1b") || strings.TrimSpace(out) == "" {
		t.Errorf("exit code %d\n%s\n%s", code, out, failed)
	}
	if code, _, failed := p.run(key, "hello\n", "chat", "-m", "none"); code == exitOK || !strings.Contains(failed, "none") {
		t.Errorf("an unknown model: %d %s", code, failed)
	}
}

// scripted answers each call by its own function and keeps what was asked.
type scripted struct {
	weirv1.GenerationServiceClient
	asked   []*weirv1.GenerateRequest
	answers []func(ctx context.Context) (string, error)
}

func (s *scripted) StreamGenerate(ctx context.Context, r *weirv1.GenerateRequest, _ ...grpc.CallOption) (grpc.ServerStreamingClient[weirv1.StreamGenerateResponse], error) {
	s.asked = append(s.asked, proto.CloneOf(r))
	return &answering{ctx: ctx, answer: s.answers[len(s.asked)-1]}, nil
}

// answering is a stream of one text and an end.
type answering struct {
	grpc.ServerStreamingClient[weirv1.StreamGenerateResponse]
	ctx    context.Context
	answer func(ctx context.Context) (string, error)
	sent   bool
}

func (a *answering) Recv() (*weirv1.StreamGenerateResponse, error) {
	if a.sent {
		if _, err := a.answer(a.ctx); err != nil {
			return nil, err
		}
		return nil, io.EOF
	}
	a.sent = true
	text, _ := a.answer(a.ctx)
	return &weirv1.StreamGenerateResponse{Event: &weirv1.StreamGenerateResponse_Delta{Delta: &weirv1.DeltaEvent{Piece: &weirv1.DeltaEvent_Text{Text: text}}}}, nil
}

func says(text string) func(context.Context) (string, error) {
	return func(context.Context) (string, error) { return text, nil }
}

func texts(r *weirv1.GenerateRequest) string {
	var all []string
	for _, m := range r.Messages {
		all = append(all, m.Parts[0].GetText())
	}
	return strings.Join(all, "|")
}

// The talk is kept until it is reset, and what was cut stays in it as far as it
// came; an interrupt ends the answer and not the talk.
func TestAChatKeepsTheTalk(t *testing.T) {
	interrupts := make(chan os.Signal)
	s := &scripted{answers: []func(context.Context) (string, error){
		says("one"), says("two"), says("three"), nil, says("five"),
	}}
	begun := false
	s.answers[3] = func(ctx context.Context) (string, error) {
		if !begun {
			begun = true
			return "half", nil
		}
		interrupts <- os.Interrupt
		<-ctx.Done()
		return "", status.FromContextError(ctx.Err()).Err()
	}
	c := &chatCommand{Model: "m", System: "be brief"}
	var out, aside strings.Builder
	term := terminal{in: strings.NewReader("a\nb\n/reset\nc\nd\ne\n"), out: &out, err: &aside, getenv: func(string) (string, bool) { return "", false }}
	if err := c.converse(t.Context(), s, term, interrupts); err != nil {
		t.Fatal(err)
	}
	want := []string{"be brief|a", "be brief|a|one|b", "be brief|c", "be brief|c|three|d", "be brief|c|three|d|half|e"}
	for i, r := range s.asked {
		if got := texts(r); got != want[i] {
			t.Errorf("call %d asked %q; want %q", i, got, want[i])
		}
	}
	if len(s.asked) != len(want) || out.String() != "one\ntwo\nthree\nhalf\nfive\n" {
		t.Errorf("%d calls, %q", len(s.asked), out.String())
	}
	if !strings.Contains(aside.String(), "forgotten") || !strings.Contains(aside.String(), "cut") {
		t.Errorf("beside the talk: %q", aside.String())
	}
}

// Piped lines end with the first that fails, so that scripts see it.
func TestAPipedChatEndsWithAFailure(t *testing.T) {
	s := &scripted{answers: []func(context.Context) (string, error){
		func(context.Context) (string, error) { return "", status.Error(codes.ResourceExhausted, "no budget") }, says("x"),
	}}
	c := &chatCommand{Model: "m"}
	term := terminal{in: strings.NewReader("a\nb\n"), out: io.Discard, err: io.Discard, getenv: func(string) (string, bool) { return "", false }}
	var coded *codedError
	if err := c.converse(t.Context(), s, term, nil); !errors.As(err, &coded) || coded.code != exitExhausted || len(s.asked) != 1 {
		t.Errorf("%v after %d calls", err, len(s.asked))
	}
}
