package openai

import (
	"encoding/json"
	"net/http"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/face"
	"github.com/weir-gateway/weir/server/gateway"
)

// maxTexts bounds one request for moderation, as weir.v1 does.
const (
	maxTexts = 64
	maxText  = 1 << 20
)

type moderations struct {
	ID      string       `json:"id"`
	Model   string       `json:"model"`
	Results []moderation `json:"results"`
}

// moderation has the categories that were found, and no others: a category that
// no rule looks for is not one in which a text was found clean.
type moderation struct {
	Flagged    bool            `json:"flagged"`
	Categories map[string]bool `json:"categories"`
	// Scores are of the guards that score.
	Scores map[string]float64 `json:"category_scores"`
	Weir   moderationWeir     `json:"weir"`
}

type moderationWeir struct {
	Action   string    `json:"action"`
	Text     *string   `json:"text"` // null where it is blocked
	Verdicts []verdict `json:"verdicts"`
}

// moderate answers POST /v1/moderations: by the input rules of the caller, not by
// a model, whatever model it names.
func (s *server) moderate(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	var req struct {
		Model string          `json:"model"`
		Input json.RawMessage `json:"input"`
	}
	if err := json.Unmarshal(body, &req); err != nil {
		return jsonError(body, err)
	}
	texts, err := moderationTexts(req.Input)
	if err != nil {
		return err
	}
	call, err := face.NewCall(r.Context(), r.Header, face.About{})
	if err != nil {
		return err
	}
	// OpenAI's names of moderation models are none of ours. One of ours says for
	// whose calls the texts are meant.
	if _, ours := s.Router().Plan(req.Model); ours {
		call.Model = req.Model
	}
	all, err := s.Gateway.Moderate(r.Context(), call, texts)
	if err != nil {
		return err
	}
	answer := moderations{ID: "modr-" + call.RequestID, Model: req.Model, Results: []moderation{}}
	if answer.Model == "" {
		answer.Model = "weir"
	}
	for i := range all {
		answer.Results = append(answer.Results, moderationOf(&all[i]))
	}
	return writeJSON(w, http.StatusOK, answer)
}

// moderationTexts reads a text, a list of texts, or a list of parts of type text.
func moderationTexts(input json.RawMessage) ([]string, error) {
	var one string
	var many []string
	var parts []struct {
		Type string  `json:"type"`
		Text *string `json:"text"`
	}
	switch {
	case json.Unmarshal(input, &one) == nil && string(input) != "null":
		many = []string{one}
	case json.Unmarshal(input, &many) == nil:
	case json.Unmarshal(input, &parts) == nil:
		many = nil
		for _, p := range parts {
			if p.Type != "text" || p.Text == nil {
				return nil, unsupported("input", "only texts can be judged: send parts of type text")
			}
			many = append(many, *p.Text)
		}
	default:
		return nil, face.Invalid("input", "it is a text, a list of texts, or a list of {\"type\": \"text\", \"text\": …}")
	}
	if len(many) == 0 || len(many) > maxTexts {
		return nil, face.Invalid("input", "it holds %d texts: send 1 to %d", len(many), maxTexts)
	}
	for _, text := range many {
		if len(text) > maxText {
			return nil, face.Invalid("input", "a text has %d bytes: send at most %d", len(text), maxText)
		}
	}
	return many, nil
}

func moderationOf(m *gateway.Moderation) moderation {
	out := moderation{
		Flagged: m.Action() > policy.Shadow, Categories: map[string]bool{}, Scores: map[string]float64{},
		Weir: moderationWeir{Action: m.Action().String(), Verdicts: append([]verdict{}, verdictsOf(m.Verdicts)...)},
	}
	if !m.Blocked {
		out.Weir.Text = &m.Text
	}
	for _, v := range m.Verdicts {
		category := v.Category
		if category == "" {
			category = v.Guard
		}
		if v.Action > policy.Shadow { // a rule on trial finds nothing that counts
			out.Categories[category] = true
		}
		if v.Score != nil {
			out.Scores[category] = max(out.Scores[category], *v.Score)
		}
	}
	return out
}
