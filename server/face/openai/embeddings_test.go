package openai

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"
	"testing"

	"github.com/weir-gateway/weir/server/auth"
)

func TestEmbeddings(t *testing.T) {
	h := newHouse(t, "")
	ask := func(body string, headers ...string) (int, map[string]any) {
		w := h.ask(http.MethodPost, "/v1/embeddings", body, headers...)
		var got map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		return w.Code, got
	}
	vector := func(got map[string]any, i int) any {
		return got["data"].([]any)[i].(map[string]any)["embedding"]
	}
	code, got := ask(`{"model": "embed", "input": ["水车", "你好 world"], "dimensions": 4, "user": "u1"}`)
	if code != http.StatusOK || got["object"] != "list" || got["model"] != "embed" || got["usage"].(map[string]any)["prompt_tokens"] != 6.0 || got["usage"].(map[string]any)["total_tokens"] != 6.0 {
		t.Fatalf("%d %v", code, got)
	}
	_, packed := ask(`{"model": "embed", "input": "你好 world", "dimensions": 4, "encoding_format": "base64"}`)
	bits, err := base64.StdEncoding.DecodeString(vector(packed, 0).(string))
	if err != nil || len(bits) != 16 {
		t.Fatalf("%v: %v", err, packed)
	}
	for i, want := range vector(got, 1).([]any) {
		if x := math.Float32frombits(binary.LittleEndian.Uint32(bits[4*i:])); x != float32(want.(float64)) {
			t.Errorf("number %d is %v in base64, %v as a number", i, x, want)
		}
	}

	for body, param := range map[string]any{
		`{"input": "x"}`:                                                "model",
		`{"model": "none", "input": "x"}`:                               "model",
		`{"model": "sim", "input": "x"}`:                                "model",
		`{"model": "embed"}`:                                            "input",
		`{"model": "embed", "input": null}`:                             "input",
		`{"model": "embed", "input": []}`:                               "input",
		`{"model": "embed", "input": ""}`:                               "input[0]",
		`{"model": "embed", "input": ["x", ""]}`:                        "input[1]",
		`{"model": "embed", "input": [1, 2]}`:                           "input",
		`{"model": "embed", "input": [[1], [2]]}`:                       "input",
		`{"model": "embed", "input": {"text": 1}}`:                      "input",
		`{"model": "embed", "input": ["x", 1]}`:                         "input",
		`{"model": "embed", "input": "x", "dimensions": 0}`:             "dimensions",
		`{"model": "embed", "input": "x", "encoding_format": "binary"}`: "encoding_format",
	} {
		code, got := ask(body)
		e, _ := got["error"].(map[string]any)
		if code != http.StatusBadRequest && code != http.StatusNotFound || e["param"] != param || e["message"] == "" {
			t.Errorf("%s: %d %v", body, code, got)
		}
	}
	if code, got := ask(`{"model": "embed", "input": ["fine", "这是 违禁 的"]}`); code != http.StatusBadRequest || got["error"].(map[string]any)["code"] != "content_filter" {
		t.Errorf("a blocked text: %d %v", code, got)
	}
	viewer := h.Key("acme", "viewer", auth.Viewer)
	if code, _ := ask(`{"model": "embed", "input": "x"}`, "Authorization", "Bearer "+viewer); code != http.StatusForbidden {
		t.Errorf("a viewer: %d", code)
	}
}
