package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/weir-gateway/weir/policy"
)

// format is how a judge is asked and how it answers.
type format string

const (
	llamaGuard format = "llama_guard"
	qwen3Guard format = "qwen3guard"
	moderation format = "moderation" // of a service, not of a model
)

var formats = []format{llamaGuard, qwen3Guard}

// formatOf tells the format from the name of a model, or "".
func formatOf(model string) format {
	name := strings.NewReplacer("-", "", "_", "", " ", "", ".", "").Replace(strings.ToLower(model))
	switch {
	case strings.Contains(name, "llamaguard"):
		return llamaGuard
	case strings.Contains(name, "qwen3guard"):
		return qwen3Guard
	}
	return ""
}

// Message is one turn of what a guard model is shown. It brings its own
// instructions in its chat template, which wants a user to speak first.
type Message struct {
	Role string // user or assistant
	Text string
}

// maxTokens is the most that a guard model may answer.
const maxTokens = 128

// conversation shows a guard model the text as what it is: what a user asks, or
// what an assistant answers.
func conversation(q policy.Question) []Message {
	if q.Stage == policy.Input {
		return []Message{{"user", plain.Replace(q.Text)}}
	}
	prompt := q.Prompt
	if prompt == "" {
		prompt = "(not shown)"
	}
	return []Message{{"user", plain.Replace(prompt)}, {"assistant", plain.Replace(q.Text)}}
}

// plain breaks the marks by which chat templates tell who speaks: some servers
// read them in a message as well, and a text could end its own judgement.
var plain = strings.NewReplacer("<|", "< |", "|>", "| >", "[INST]", "[ INST]", "[/INST]", "[/ INST]", "<s>", "< s>", "</s>", "</ s>")

// errNonsense says that an answer is in no form that we know. It repeats none
// of it, since judges like to quote.
var errNonsense = errors.New("the answer makes no sense")

// parse reads what a guard model said.
func parse(f format, text string) ([]policy.Label, error) {
	if f == llamaGuard {
		return parseLlamaGuard(text)
	}
	return parseQwen3Guard(text)
}

// parseLlamaGuard reads "safe", or "unsafe" and a line of categories such as
// "S1,S10".
func parseLlamaGuard(text string) ([]policy.Label, error) {
	lines := strings.Fields(strings.ReplaceAll(text, ",", " "))
	switch {
	case len(lines) == 0:
		return nil, errNonsense
	case lines[0] == "safe" && len(lines) == 1:
		return nil, nil
	case lines[0] != "unsafe":
		return nil, errNonsense
	case len(lines) == 1:
		return []policy.Label{{Category: Unsafe, Score: 1}}, nil
	}
	var labels []policy.Label
	for _, word := range lines[1:] {
		if len(word) < 2 || len(word) > 3 || word[0] != 'S' || strings.Trim(word[1:], "0123456789") != "" {
			return nil, errNonsense
		}
		labels = append(labels, policy.Label{Category: categoryOf(llamaGuard, word), Score: 1})
	}
	return labels, nil
}

// parseQwen3Guard reads lines such as "Safety: Unsafe" and "Categories:
// Violent, PII"; a line "Refusal: No" may follow.
func parseQwen3Guard(text string) ([]policy.Label, error) {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			if strings.TrimSpace(line) == "" {
				continue
			}
			return nil, errNonsense
		}
		if _, twice := fields[name]; twice {
			return nil, errNonsense
		}
		fields[name] = strings.TrimSpace(value)
	}
	var score float64
	switch fields["Safety"] {
	case "Safe":
		return nil, nil
	case "Unsafe":
		score = 1
	case "Controversial":
		score = 0.5
	default:
		return nil, errNonsense
	}
	var labels []policy.Label
	for word := range strings.SplitSeq(fields["Categories"], ",") {
		if word = strings.TrimSpace(word); word != "" && word != "None" {
			labels = append(labels, policy.Label{Category: categoryOf(qwen3Guard, word), Score: score})
		}
	}
	if labels == nil {
		labels = []policy.Label{{Category: Unsafe, Score: score}}
	}
	return labels, nil
}

// moderationRequest is the body of POST /moderations.
func moderationRequest(model, text string) []byte {
	body, _ := json.Marshal(struct {
		Model string   `json:"model,omitempty"`
		Input []string `json:"input"`
	}{model, []string{text}})
	return body
}

// parseModeration reads the answer of POST /moderations about one text: what
// the service flags, or what its scores say where the rule has a threshold.
func parseModeration(body []byte, at *float64) ([]policy.Label, error) {
	var answer struct {
		Results []struct {
			Flagged    *bool              `json:"flagged"`
			Categories map[string]bool    `json:"categories"`
			Scores     map[string]float64 `json:"category_scores"`
		} `json:"results"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, errNonsense
	}
	if len(answer.Results) != 1 || answer.Results[0].Flagged == nil {
		return nil, fmt.Errorf("%w: %d results for one text, or one that does not say whether it is flagged", errNonsense, len(answer.Results))
	}
	r := answer.Results[0]
	if at != nil && len(r.Scores) == 0 {
		return nil, fmt.Errorf("%w: it has no scores to hold against the threshold", errNonsense)
	}
	var labels []policy.Label
	for name, score := range r.Scores {
		if score < 0 || score > 1 {
			return nil, fmt.Errorf("%w: a score that is not between 0 and 1", errNonsense)
		}
		if at != nil && score >= *at {
			labels = append(labels, policy.Label{Category: categoryOf(moderation, name), Score: score})
		}
	}
	if at == nil && *r.Flagged {
		for name, flagged := range r.Categories {
			if flagged {
				labels = append(labels, policy.Label{Category: categoryOf(moderation, name), Score: r.Scores[name]})
			}
		}
		if labels == nil {
			labels = []policy.Label{{Category: Unsafe, Score: 1}}
		}
	}
	// The order of a JSON object says nothing.
	slices.SortFunc(labels, func(a, b policy.Label) int { return strings.Compare(a.Category, b.Category) })
	return labels, nil
}
