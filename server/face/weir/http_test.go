package weir

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	statusv1 "google.golang.org/genproto/googleapis/rpc/status"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/backend/simulator"
)

const generateProcedure, streamProcedure = weirv1.GenerationService_Generate_FullMethodName, weirv1.GenerationService_StreamGenerate_FullMethodName

// rest posts JSON as curl does, with its wrong content type too.
func (h *house) rest(key, path, body string, headers ...string) (*http.Response, string) {
	h.t.Helper()
	req, err := http.NewRequestWithContext(h.t.Context(), http.MethodPost, h.web.URL+path, strings.NewReader(body))
	if err != nil {
		h.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+h.secrets[key])
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	answer, err := h.web.Client().Do(req)
	if err != nil {
		h.t.Fatal(err)
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		h.t.Fatal(err)
	}
	return answer, string(said)
}

// wires are the ways of Connect's clients.
var wires = map[string][]connect.ClientOption{
	"connect":          nil,
	"connect, JSON":    {connect.WithProtoJSON()},
	"connect, gzip":    {connect.WithSendGzip()},
	"gRPC-Web":         {connect.WithGRPCWeb()},
	"gRPC-Web, JSON":   {connect.WithGRPCWeb(), connect.WithProtoJSON()},
	"gRPC over HTTP/2": {connect.WithGRPC()},
}

func overHTTP[T any](h *house, m *T) *connect.Request[T] {
	r := connect.NewRequest(m)
	r.Header().Set("Authorization", "Bearer "+h.secrets["member"])
	r.Header().Set("x-weir-labels", "team=search")
	return r
}

// same is an answer without what differs from call to call.
func same(m *weirv1.GenerateResponse) string {
	m = proto.CloneOf(m)
	m.RequestId, m.Timing = "", nil
	return fmt.Sprint(m)
}

func TestEveryWireGivesTheSameAnswerAndCost(t *testing.T) {
	h := newHouse(t, "")
	ask := ask("sim", "say: Write to ada@example.org, 请写信给我。")
	want, err := weirv1.NewGenerationServiceClient(h.conn).Generate(h.as("member"), ask)
	if err != nil || want.Cost == nil || len(want.Verdicts) != 1 {
		t.Fatal(want, err)
	}
	answer, body := h.rest("member", "/weir/v1/generate", protojson.Format(ask), "x-weir-labels", "team=search")
	var got weirv1.GenerateResponse
	if err := protojson.Unmarshal([]byte(body), &got); err != nil || answer.StatusCode != http.StatusOK {
		t.Fatalf("REST: %s %v %s", answer.Status, err, body)
	}
	if same(&got) != same(want) || answer.Header["X-Weir-Request-Id"][0] != got.RequestId || len(answer.Header["X-Weir-Request-Id"]) != 1 {
		t.Errorf("REST: %v\n%v\nnot\n%v", answer.Header, &got, want)
	}
	for name, options := range wires {
		client := connect.NewClient[weirv1.GenerateRequest, weirv1.GenerateResponse](h.web.Client(), h.web.URL+generateProcedure, options...)
		got, err := client.CallUnary(t.Context(), overHTTP(h, ask))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if same(got.Msg) != same(want) || got.Header().Get("x-weir-request-id") != got.Msg.RequestId {
			t.Errorf("%s: %v\n%v\nnot\n%v", name, got.Header(), got.Msg, want)
		}
	}
	costs, err := weirv1.NewAccountingServiceClient(h.conn).QueryCosts(h.as("member"), costsOf("tenants/acme", "labels.team"))
	if err != nil || len(costs.Rows) != 2 || costs.Rows[1].Calls != int64(len(wires))+1 {
		t.Errorf("costs are %v, %v", costs, err)
	}
}

func TestStreamsOverHTTP(t *testing.T) {
	h := newHouse(t, "")
	native, err := weirv1.NewGenerationServiceClient(h.conn).StreamGenerate(h.as("member"), ask("sim", "say: behold the zorblatt now"))
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	add := func(all []string, m *weirv1.StreamGenerateResponse) []string {
		m = proto.CloneOf(m)
		if s := m.GetStarted(); s != nil {
			s.RequestId = ""
		}
		if c := m.GetCompleted(); c != nil {
			c.Timing = nil
		}
		return append(all, protojson.MarshalOptions{}.Format(m))
	}
	for {
		m, err := native.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		want = add(want, m)
	}
	for name, options := range wires {
		client := connect.NewClient[weirv1.GenerateRequest, weirv1.StreamGenerateResponse](h.web.Client(), h.web.URL+streamProcedure, options...)
		stream, err := client.CallServerStream(t.Context(), overHTTP(h, ask("sim", "say: behold the zorblatt now")))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var got []string
		for stream.Receive() {
			got = add(got, stream.Msg())
		}
		if stream.Err() != nil || len(got) != len(want) || stream.ResponseHeader().Get("x-weir-request-id") == "" {
			t.Errorf("%s: %v, %d messages, %d natively", name, stream.Err(), len(got), len(want))
			continue
		}
		for i := range got {
			if compact(got[i]) != compact(want[i]) {
				t.Errorf("%s: %s\nnot\n%s", name, got[i], want[i])
			}
		}
		stream.Close()
	}
}

// compact takes the spaces out that protojson puts in at random.
func compact(s string) string { return strings.ReplaceAll(s, " ", "") }

// Errors have the table's code, reason and details, whatever the wire.
func TestFailuresOverHTTP(t *testing.T) {
	h := newHouse(t, "")
	huge := strings.Repeat("a", 1<<20)
	for _, c := range []struct {
		name, key, path, body string
		http                  int
		code                  codes.Code
		reason                string
	}{
		{"no key", "", "/weir/v1/generate", protojson.Format(ask("sim", "hi")), 401, codes.Unauthenticated, "CREDENTIALS_INVALID"},
		{"no model", "member", "/weir/v1/generate", protojson.Format(ask("nope", "hi")), 404, codes.NotFound, "MODEL_NOT_FOUND"},
		{"blocked", "member", "/weir/v1/generate", protojson.Format(ask("sim", "违禁")), 400, codes.FailedPrecondition, "INPUT_BLOCKED"},
		{"overloaded", "member", "/weir/v1/generate", protojson.Format(ask("overloaded", "hi")), 503, codes.Unavailable, "BACKEND_OVERLOADED"},
		{"a rule is broken", "member", "/weir/v1/generate", `{"model": "sim"}`, 400, codes.InvalidArgument, "INVALID_REQUEST"},
		{"a bad header", "member", "/weir/v1/generate", protojson.Format(ask("sim", "hi")), 400, codes.InvalidArgument, "INVALID_REQUEST"},
		{"a slip in a field", "member", "/weir/v1/documents:apply", `{"sources": [], "validateOnyl": true}`, 400, codes.InvalidArgument, "INVALID_REQUEST"},
		{"a slip in a query", "admin", "/weir/v1/tenants/acme/projects/default/keys?keyid=k9", `{"role": "KEY_ROLE_MEMBER"}`, 400, codes.InvalidArgument, "INVALID_REQUEST"},
		{"no JSON", "member", "/weir/v1/generate", "{", 400, codes.InvalidArgument, "INVALID_REQUEST"},
		{"no right", "member", "/weir/v1/documents:apply", `{"sources": [{"name": "a", "content": "{kind: Tenant, name: mine}"}]}`, 403, codes.PermissionDenied, "PERMISSION_DENIED"},
		{"not its tenant", "member", "/weir/v1/tenants/other/costs:query", protojson.Format(costsOf("", "model")), 404, codes.NotFound, "RESOURCE_NOT_FOUND"},
		{"too large", "member", "/weir/v1/generate", protojson.Format(ask("sim", huge)), 429, codes.ResourceExhausted, ""},
		{"no path", "member", "/weir/v1/nothing", "{}", 404, codes.Unimplemented, ""},
	} {
		var headers []string
		if c.name == "a bad header" {
			headers = []string{"x-weir-labels", "9=x"}
		}
		answer, body := h.rest(c.key, c.path, c.body, headers...)
		var told statusv1.Status
		if err := protojson.Unmarshal([]byte(body), &told); err != nil {
			t.Errorf("%s: %s %s: %.300s", c.name, answer.Status, err, body)
			continue
		}
		reason := ""
		for _, d := range status.FromProto(&told).Details() {
			if info, ok := d.(*errdetails.ErrorInfo); ok {
				reason = info.Reason
			}
		}
		if answer.StatusCode != c.http || codes.Code(told.Code) != c.code || reason != c.reason || answer.Header.Get("x-weir-request-id") == "" {
			t.Errorf("%s: %s %v %s", c.name, answer.Status, answer.Header, body)
		}
	}
	for name, options := range wires {
		client := connect.NewClient[weirv1.GenerateRequest, weirv1.GenerateResponse](h.web.Client(), h.web.URL+generateProcedure, options...)
		_, err := client.CallUnary(t.Context(), overHTTP(h, ask("sim", "forbidden")))
		var told *connect.Error
		if !errors.As(err, &told) || told.Code() != connect.CodeFailedPrecondition || len(told.Details()) != 3 {
			t.Errorf("%s: %v", name, err)
		}
	}
	// One that is small on the wire and large in memory.
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	io.WriteString(w, protojson.Format(ask("sim", strings.Repeat(huge, 8))))
	w.Close()
	answer, body := h.rest("member", "/weir/v1/generate", bomb.String(), "Content-Encoding", "gzip")
	if answer.StatusCode != http.StatusTooManyRequests || !strings.Contains(body, "decompressed") {
		t.Errorf("a bomb: %s %s", answer.Status, body)
	}
}

func TestAPageThatLeavesOrDoesNotRead(t *testing.T) {
	h := newHouse(t, "")
	client := connect.NewClient[weirv1.GenerateRequest, weirv1.StreamGenerateResponse](h.web.Client(), h.web.URL+streamProcedure)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := client.CallServerStream(ctx, overHTTP(h, ask("stall", "say: one two three")))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if !stream.Receive() {
			t.Fatal(stream.Err())
		}
	}
	cancel()
	if how := <-h.Ended; how != simulator.EndedCancelled {
		t.Errorf("the call ended %s at the backend", how)
	}
	stream.Close()

	// Its window is smaller than the answer.
	small := h.web.Client().Transport.(*http.Transport).Clone()
	small.HTTP2 = &http.HTTP2Config{MaxReceiveBufferPerStream: 64 << 10, MaxReceiveBufferPerConnection: 64 << 10}
	defer small.CloseIdleConnections()
	client = connect.NewClient[weirv1.GenerateRequest, weirv1.StreamGenerateResponse](&http.Client{Transport: small}, h.web.URL+streamProcedure)
	long := ask("sim", "say: "+strings.Repeat("river ", 20_000))
	most := int32(50_000)
	long.Config = &weirv1.GenerationConfig{MaxOutputTokens: &most}
	stream, err = client.CallServerStream(t.Context(), overHTTP(h, long))
	if err != nil {
		t.Fatal(err)
	}
	if how := <-h.Ended; how != simulator.EndedCancelled { // it has not read: never without the bound
		t.Errorf("the call ended %s at the backend", how)
	}
	for stream.Receive() {
	}
	if stream.Err() == nil {
		t.Error("the stream looks whole")
	}
	stream.Close()
}
