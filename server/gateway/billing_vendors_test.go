package gateway_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	pb "cloud.google.com/go/ai/generativelanguage/apiv1beta/generativelanguagepb"
	"google.golang.org/grpc"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/anthropic"
	"github.com/weir-gateway/weir/server/backend/gemini"
	"github.com/weir-gateway/weir/server/backend/openai"
	"github.com/weir-gateway/weir/server/route"
)

// A vendor is a server that answers in one vendor's form, and its driver.
type vendor struct {
	kind   string
	driver backend.Backend
	url    string
	// bodies are the requests that it got, of those that speak HTTP.
	bodies chan string
}

// at is a house with a price, whose model "priced" is at a vendor.
func (v *vendor) at(t *testing.T, documents string) *house {
	t.Helper()
	router, err := route.New([]route.Model{{Name: "priced", MaxOutputTokens: 100, Targets: []route.Target{{Name: "provider", Kind: v.kind, Model: "m", Backend: v.driver}}}})
	if err != nil {
		t.Fatal(err)
	}
	h := newHouse(t, documents)
	h.Router = func() *route.Router { return router }
	return h
}

// openAI answers with chunks, and after "wait" with nothing more.
func openAI(t *testing.T, chunks ...string) *vendor {
	t.Helper()
	p := &provider{chunks: chunks, bodies: make(chan string, 20), gone: make(chan struct{})}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	driver, err := openai.New(openai.Config{Name: "provider", Dialect: "openai", URL: server.URL + "/v1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	return &vendor{"openai", driver, server.URL, p.bodies}
}

// asking is a driver that asks for a class of service where calls ask for none.
func (v *vendor) asking(t *testing.T, class accounting.ServiceClass) backend.Backend {
	t.Helper()
	driver, err := openai.New(openai.Config{Name: "provider", Dialect: "openai", URL: v.url + "/v1", ServiceClass: class})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	return driver
}

// claude answers "hello" with a usage at the beginning and one at the end.
func claude(t *testing.T, first, last string) *vendor {
	t.Helper()
	bodies := make(chan string, 20)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- string(body)
		w.Header().Set("Content-Type", "text/event-stream")
		for _, e := range [...][2]string{
			{"message_start", fmt.Sprintf(`"message":{"id":"","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":%s}`, first)},
			{"content_block_start", `"index":0,"content_block":{"type":"text","text":""}`},
			{"content_block_delta", `"index":0,"delta":{"type":"text_delta","text":"hello"}`},
			{"content_block_stop", `"index":0`},
			{"message_delta", fmt.Sprintf(`"delta":{"stop_reason":"end_turn"},"usage":%s`, last)},
			{"message_stop", ""},
		} {
			fields := strings.TrimSuffix(fmt.Sprintf(`"type":%q,%s`, e[0], e[1]), ",")
			fmt.Fprintf(w, "event: %s\ndata: {%s}\n\n", e[0], fields)
		}
	}))
	t.Cleanup(server.Close)
	driver, err := anthropic.New(anthropic.Config{Name: "provider", URL: server.URL + "/v1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	return &vendor{"anthropic", driver, server.URL, bodies}
}

// geminiServer answers "hello" with usages, the last of which is whole.
type geminiServer struct {
	pb.UnimplementedGenerativeServiceServer
	usage *pb.GenerateContentResponse_UsageMetadata
}

func (s *geminiServer) StreamGenerateContent(_ *pb.GenerateContentRequest, out pb.GenerativeService_StreamGenerateContentServer) error {
	part := func(text string, finish pb.Candidate_FinishReason, usage *pb.GenerateContentResponse_UsageMetadata) error {
		return out.Send(&pb.GenerateContentResponse{UsageMetadata: usage, Candidates: []*pb.Candidate{{
			FinishReason: finish, Content: &pb.Content{Role: "model", Parts: []*pb.Part{{Data: &pb.Part_Text{Text: text}}}},
		}}})
	}
	begun := &pb.GenerateContentResponse_UsageMetadata{PromptTokenCount: s.usage.PromptTokenCount, CachedContentTokenCount: s.usage.CachedContentTokenCount, TotalTokenCount: s.usage.PromptTokenCount}
	if err := part("hel", 0, begun); err != nil {
		return err
	}
	return part("lo", pb.Candidate_STOP, s.usage)
}

func google(t *testing.T, usage *pb.GenerateContentResponse_UsageMetadata) *vendor {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(grpc.WaitForHandlers(true))
	pb.RegisterGenerativeServiceServer(g, &geminiServer{usage: usage})
	served := make(chan struct{})
	go func() { defer close(served); _ = g.Serve(l) }()
	t.Cleanup(func() { g.Stop(); <-served })
	driver, err := gemini.New(gemini.Config{Name: "provider", URL: "http://" + l.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = driver.Close() })
	return &vendor{"gemini", driver, "", nil}
}

// billStream is bill for a caller that hears the answer piece by piece.
func (h *house) billStream(t *testing.T) {
	t.Helper()
	whole, streamed := pricedCall("what?"), pricedCall("what?")
	want := h.bill(whole)
	if _, err := h.Generate(context.Background(), streamed, &told{}); err != nil {
		t.Fatal(err)
	}
	lines := h.lines(streamed)
	if len(lines) != 1 || lines[0].Cost == nil || lines[0].Usage != want.Usage || lines[0].Cost.Charge != want.Cost.Charge || lines[0].Source != want.Source {
		t.Errorf("streamed %+v\nand whole %+v", lines, want)
	}
}
