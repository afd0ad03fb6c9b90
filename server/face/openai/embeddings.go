package openai

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/face"
	"github.com/weir-gateway/weir/server/gateway"
)

// The bounds of one request for embeddings, as weir.v1 has them.
const (
	maxInputs     = 2048
	maxDimensions = 65536
)

type embeddingRequest struct {
	Model          string          `json:"model"`
	Input          json.RawMessage `json:"input"`
	EncodingFormat string          `json:"encoding_format"`
	Dimensions     *int64          `json:"dimensions"`
	User           string          `json:"user"`
}

type embeddings struct {
	Object string          `json:"object"`
	Data   []embedding     `json:"data"`
	Model  string          `json:"model"`
	Usage  *embeddingUsage `json:"usage,omitempty"`
	Weir   *extension      `json:"weir,omitempty"`
}

type embedding struct {
	Object string `json:"object"`
	Index  int    `json:"index"`
	// Embedding is a list of numbers, or their little-endian 32 bits each in
	// base64.
	Embedding any `json:"embedding"`
}

type embeddingUsage struct {
	PromptTokens int64 `json:"prompt_tokens"`
	TotalTokens  int64 `json:"total_tokens"`
}

// embed answers POST /v1/embeddings.
func (s *server) embed(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	var req embeddingRequest
	if err := json.Unmarshal(body, &req); err != nil {
		return jsonError(body, err)
	}
	texts, err := req.check()
	if err != nil {
		return err
	}
	call, err := face.NewCall(r.Context(), r.Header, face.About{EndUser: req.User})
	if err != nil {
		return err
	}
	call.Model = req.Model
	var dimensions *int
	if req.Dimensions != nil {
		n := int(*req.Dimensions)
		dimensions = &n
	}
	answer, err := s.Gateway.Embed(r.Context(), call, texts, dimensions)
	if err != nil {
		return err
	}
	tellCost(w, answer)
	return writeJSON(w, http.StatusOK, embeddingsOf(answer, req.EncodingFormat == "base64"))
}

// check tells what is wrong with a request, and returns its texts.
func (req *embeddingRequest) check() ([]string, error) {
	switch {
	case req.Model == "":
		return nil, face.Invalid("model", "missing: name a model; GET /v1/models lists those that there are")
	case req.EncodingFormat != "" && req.EncodingFormat != "float" && req.EncodingFormat != "base64":
		return nil, face.Invalid("encoding_format", "must be float or base64")
	case req.Dimensions != nil && (*req.Dimensions < 1 || *req.Dimensions > maxDimensions):
		return nil, face.Invalid("dimensions", "must be from 1 to %d", maxDimensions)
	case !face.FitsName(req.User):
		return nil, face.Invalid("user", "must have at most 256 characters")
	}
	return embeddingTexts(req.Input)
}

// embeddingTexts reads a text or a list of texts. Tokens are refused: no rule
// could read them, and only the model's own tokenizer knows what they say.
func embeddingTexts(input json.RawMessage) ([]string, error) {
	var one string
	var many []string
	switch input = bytes.TrimSpace(input); {
	case !says(input):
		return nil, face.Invalid("input", "missing: send a text, or a list of texts")
	case json.Unmarshal(input, &one) == nil:
		many = []string{one}
	case input[0] == '[' && json.Unmarshal(input, &many) == nil:
	case isTokens(input):
		return nil, unsupported("input", "lists of token ids are not taken, since no policy can read them: send the texts")
	default:
		return nil, face.Invalid("input", "must be a text, or a list of texts")
	}
	if len(many) == 0 || len(many) > maxInputs {
		return nil, face.Invalid("input", "it holds %d texts: send 1 to %d", len(many), maxInputs)
	}
	for i, text := range many {
		switch {
		case text == "":
			return nil, face.Invalid(fmt.Sprintf("input[%d]", i), "it is empty: send texts that say something")
		case len(text) > maxText:
			return nil, face.Invalid(fmt.Sprintf("input[%d]", i), "it has %d bytes: send at most %d", len(text), maxText)
		}
	}
	return many, nil
}

// isTokens tells a list of token ids, or a list of such lists.
func isTokens(input json.RawMessage) bool {
	var ids []int64
	var lists [][]int64
	return json.Unmarshal(input, &ids) == nil || json.Unmarshal(input, &lists) == nil
}

func embeddingsOf(a *gateway.Answer, inBase64 bool) embeddings {
	out := embeddings{Object: "list", Data: make([]embedding, len(a.Vectors)), Model: a.Target.Requested, Usage: embeddingUsageOf(a.Usage), Weir: extensionOf(a)}
	for i, v := range a.Vectors {
		out.Data[i] = embedding{Object: "embedding", Index: i, Embedding: v}
		if inBase64 {
			out.Data[i].Embedding = base64Of(v)
		}
	}
	return out
}

// embeddingUsageOf is nil where the total is unknown.
func embeddingUsageOf(u accounting.Usage) *embeddingUsage {
	n, known := u.InputTokens()
	if !known {
		return nil
	}
	return &embeddingUsage{n, n}
}

func base64Of(vector []float32) string {
	bits := make([]byte, 0, 4*len(vector))
	for _, x := range vector {
		bits = binary.LittleEndian.AppendUint32(bits, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(bits)
}
