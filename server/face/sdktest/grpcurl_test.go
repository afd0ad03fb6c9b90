package sdktest

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

// grpcurl runs the version that proto/tools.mod pins.
func grpcurl(t *testing.T, key string, args ...string) (string, string, error) {
	t.Helper()
	flags := []string{"tool", "-modfile=proto/tools.mod", "grpcurl", "-plaintext"}
	if key != "" {
		flags = append(flags, "-H", "authorization: Bearer "+key)
	}
	return output(t.Context(), root, "go", append(flags, args...)...)
}

func TestGrpcurl(t *testing.T) {
	must := func(key string, args ...string) string {
		t.Helper()
		out, errs, err := grpcurl(t, key, args...)
		if err != nil {
			t.Fatalf("grpcurl %s: %v\n%s", args, err, errs)
		}
		return out
	}

	// Whoever finds a Weir can ask what it speaks, without a key.
	services := must("", weir.grpc, "list")
	for _, want := range []string{"weir.v1.GenerationService", "weir.v1.AdminService", "weir.v1.AccountingService", "weir.v1.TenantService", "grpc.health.v1.Health"} {
		if !strings.Contains(services, want) {
			t.Errorf("list lacks %s:\n%s", want, services)
		}
	}
	if d := must("", weir.grpc, "describe", "weir.v1.GenerationService"); !strings.Contains(d, "returns ( stream .weir.v1.StreamGenerateResponse )") {
		t.Errorf("describe says\n%s", d)
	}
	if h := must("", weir.grpc, "grpc.health.v1.Health/Check"); !strings.Contains(h, "SERVING") {
		t.Errorf("health says\n%s", h)
	}

	const request = `{"model": "sim-text", "messages": [{"role": "ROLE_USER", "parts": [{"text": "say: 你好 world"}]}]}`
	var answer struct {
		RequestID  string
		Candidates []struct {
			Message struct{ Parts []struct{ Text string } }
		}
		Usage struct{ InputTokens, OutputTokens string }
		Cost  struct{ Total struct{ CurrencyCode string } }
	}
	if err := json.Unmarshal([]byte(must(weir.key, "-d", request, weir.grpc, "weir.v1.GenerationService/Generate")), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Candidates[0].Message.Parts[0].Text != "你好 world" || answer.RequestID == "" || answer.Usage.OutputTokens == "" || answer.Cost.Total.CurrencyCode != "USD" {
		t.Errorf("answer is %+v", answer)
	}

	events := json.NewDecoder(strings.NewReader(must(weir.key, "-d", request, weir.grpc, "weir.v1.GenerationService/StreamGenerate")))
	text, completed := "", false
	for {
		var event struct {
			Delta     struct{ Text string }
			Completed json.RawMessage
		}
		if err := events.Decode(&event); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		text += event.Delta.Text
		completed = event.Completed != nil
	}
	if text != "你好 world" || !completed {
		t.Errorf("the stream said %q; it ended with completed: %v", text, completed)
	}

	_, errs, err := grpcurl(t, "", "-d", request, weir.grpc, "weir.v1.GenerationService/Generate")
	if err == nil || !strings.Contains(errs, "Unauthenticated") || !strings.Contains(errs, "CREDENTIALS_INVALID") {
		t.Errorf("without a key: %v\n%s", err, errs)
	}
}
