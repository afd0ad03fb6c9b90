package openai

import (
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/gateway"
)

type completion struct {
	head
	Choices []choice `json:"choices"`
	Usage   *usage   `json:"usage,omitempty"`
	// ServiceTier is the one that has served.
	ServiceTier string     `json:"service_tier,omitempty"`
	Weir        *extension `json:"weir,omitempty"`
}

// head is the same in a whole answer and in every chunk of a stream: SDKs
// refuse chunks whose id changes.
type head struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Created int64  `json:"created"`
	Model   string `json:"model"`
}

func headOf(object, requestID, model string, created time.Time) head {
	return head{ID: "chatcmpl-" + requestID, Object: object, Created: created.Unix(), Model: model}
}

type choice struct {
	Index        int       `json:"index"`
	Message      message   `json:"message"`
	Logprobs     *logprobs `json:"logprobs"`
	FinishReason string    `json:"finish_reason"`
}

type message struct {
	Role             string     `json:"role"`
	Content          *string    `json:"content"`
	Refusal          *string    `json:"refusal"`
	ReasoningContent string     `json:"reasoning_content,omitempty"`
	ReasoningDetails []detail   `json:"reasoning_details,omitempty"`
	ToolCalls        []toolCall `json:"tool_calls,omitempty"`
	Images           []image    `json:"images,omitempty"`
	Audio            *audio     `json:"audio,omitempty"`
}

type toolCall struct {
	// Index is there in streams alone.
	Index    *int           `json:"index,omitempty"`
	ID       string         `json:"id,omitempty"`
	Type     string         `json:"type,omitempty"`
	Function calledFunction `json:"function"`
}

// calledFunction is a function that is called; its name comes once in a stream.
type calledFunction struct {
	Name      string `json:"name,omitempty"`
	Arguments string `json:"arguments"`
}

type usage struct {
	PromptTokens            int64              `json:"prompt_tokens"`
	CompletionTokens        int64              `json:"completion_tokens"`
	TotalTokens             int64              `json:"total_tokens"`
	PromptTokensDetails     *promptDetails     `json:"prompt_tokens_details,omitempty"`
	CompletionTokensDetails *completionDetails `json:"completion_tokens_details,omitempty"`
}

type promptDetails struct {
	CachedTokens int64 `json:"cached_tokens"`
}

type completionDetails struct {
	ReasoningTokens int64 `json:"reasoning_tokens"`
}

// extension is what only Weir says. SDKs ignore keys that they do not know.
type extension struct {
	Verdicts []verdict `json:"verdicts,omitempty"`
	Warnings []warning `json:"warnings,omitempty"`
	Cost     *cost     `json:"cost,omitempty"`
	// Replayed tells that the answer was given before, to the call of its id.
	Replayed bool `json:"replayed,omitempty"`
}

// verdict has the names of weir.v1.Verdict.
type verdict struct {
	Guard          string   `json:"guard"`
	Rule           string   `json:"rule"`
	Policy         string   `json:"policy"`
	PolicyRevision int64    `json:"policy_revision"`
	Category       string   `json:"category,omitempty"`
	Severity       string   `json:"severity,omitempty"`
	Score          *float64 `json:"score,omitempty"`
	Action         string   `json:"action"`
	Stage          string   `json:"stage"`
	CandidateIndex *int     `json:"candidate_index,omitempty"`
	MessageIndex   *int     `json:"message_index,omitempty"`
	PartIndex      *int     `json:"part_index,omitempty"`
	Channel        string   `json:"channel,omitempty"`
	Start          int64    `json:"start"`
	End            int64    `json:"end"`
}

type cost struct {
	Amount       string `json:"amount"`
	Currency     string `json:"currency"`
	PriceVersion string `json:"price_version"`
}

func completionOf(a *gateway.Answer, said []gateway.Collected, format string) completion {
	out := completion{
		head:    headOf("chat.completion", a.RequestID, a.Target.Requested, a.Start),
		Choices: make([]choice, len(a.Finish)),
		Usage:   usageOf(a.Usage),
		Weir:    extensionOf(a),

		ServiceTier: tierOf(a.ServiceClass),
	}
	for i, finish := range a.Finish {
		var text gateway.Collected
		if i < len(said) {
			text = said[i]
		}
		out.Choices[i] = choice{Index: i, Message: messageOf(text), FinishReason: finishReason(finish)}
		out.Choices[i].Message.Audio = audioOf(text.Parts, a.RequestID, a.Start, format)
		for _, p := range text.Parts {
			out.Choices[i].Logprobs = out.Choices[i].Logprobs.add(p.Channel, p.Logprobs)
		}
	}
	return out
}

func messageOf(said gateway.Collected) message {
	m := message{Role: "assistant", ReasoningContent: said.Reasoning, ReasoningDetails: detailsOf(said.Parts), Images: imagesOf(said.Parts)}
	if said.Refusal != "" {
		m.Refusal = &said.Refusal
	}
	for _, c := range said.Calls {
		m.ToolCalls = append(m.ToolCalls, toolCall{ID: c.ID, Type: "function", Function: calledFunction{c.Tool, c.Arguments}})
	}
	if said.Content != "" || said.Refusal == "" && len(said.Calls) == 0 {
		m.Content = &said.Content
	}
	return m
}

// finishReason says why a candidate ended in the five words that OpenAI has.
func finishReason(f backend.FinishReason) string {
	switch f {
	case backend.FinishLength, backend.FinishBudget:
		return "length"
	case backend.FinishToolCalls:
		return "tool_calls"
	case backend.FinishSafety, backend.FinishBackendFilter:
		return "content_filter"
	}
	return "stop"
}

// usageOf is nil where the total of prompt or answer is unknown: OpenAI has no
// way to say so, and 0 would be a lie.
func usageOf(u accounting.Usage) *usage {
	in, inKnown := u.InputTokens()
	out, outKnown := u.OutputTokens()
	if !inKnown || !outKnown {
		return nil
	}
	w := &usage{PromptTokens: in, CompletionTokens: out, TotalTokens: in + out}
	if n, ok := u.Get(accounting.CacheRead); ok {
		w.PromptTokensDetails = &promptDetails{n}
	}
	if n, ok := u.Get(accounting.Reasoning); ok {
		w.CompletionTokensDetails = &completionDetails{n}
	}
	return w
}

func extensionOf(a *gateway.Answer) *extension {
	e := &extension{Replayed: a.Replayed, Verdicts: verdictsOf(a.Verdicts), Warnings: warningsOf(a.Warnings)}
	if a.Cost != nil {
		e.Cost = &cost{a.Cost.Charge.Decimal(), a.Cost.Charge.Currency, a.Cost.PriceVersion}
	}
	if e.Cost == nil && !e.Replayed && len(e.Verdicts) == 0 && len(e.Warnings) == 0 {
		return nil
	}
	return e
}

func verdictsOf(all []policy.Verdict) []verdict {
	out := make([]verdict, len(all))
	for i, v := range all {
		out[i] = verdict{
			Guard: v.Guard, Rule: v.Rule, Policy: v.Policy, PolicyRevision: v.Revision, Category: v.Category,
			Score: v.Score, Action: v.Action.String(), Stage: v.Stage.String(), Channel: string(v.Channel),
			Start: v.Start, End: v.End,
		}
		if v.Severity != policy.Unspecified {
			out[i].Severity = v.Severity.String()
		}
		if v.Stage == policy.Output {
			out[i].CandidateIndex = &all[i].Candidate
		} else {
			if v.Message >= 0 { // else it is in what defines a tool, or the form of the answer
				out[i].MessageIndex = &all[i].Message
			}
			if v.Part >= 0 { // else it is in the name of who speaks
				out[i].PartIndex = &all[i].Part
			}
		}
	}
	return out
}
