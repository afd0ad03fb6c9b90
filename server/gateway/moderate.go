package gateway

import (
	"context"
	"errors"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/admit"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/tokens"
)

// A Moderation is what the input rules say of one text.
type Moderation struct {
	// Text is what a model would have got, empty where it is Blocked.
	Text    string
	Blocked bool
	// Verdicts have the place of the text as their Message.
	Verdicts []policy.Verdict
	// UnjudgedBytes passed a remote rule that nobody had judged, under a grant of
	// that rule.
	UnjudgedBytes int64
}

// Action is the strictest of the actions, Allow where nothing was found.
func (m *Moderation) Action() policy.Action {
	strictest := policy.Allow
	for _, v := range m.Verdicts {
		strictest = max(strictest, v.Action)
	}
	return strictest
}

// Moderate judges texts by the input rules that hold for a call, each as if it
// were all that a user says. The call takes a place and counts for its request rates, and
// pays for nothing but what remote rules ask. It fails with an *Error, never
// since a text is blocked.
func (g *Gateway) Moderate(ctx context.Context, call *Call, texts []string) ([]Moderation, error) {
	ctx, cancel := context.WithTimeout(ctx, g.MaxDuration)
	defer cancel()
	subject := call.subject()
	rules := g.Policies().Resolve(subject)
	leave, err := g.Limiter.Admit(ctx, subject, rules.Rates, admit.Estimate{})
	if err != nil {
		return nil, refused(ctx, err)
	}
	defer leave(0)
	all := make([]Moderation, len(texts))
	for i, text := range texts {
		one := *call
		one.Request = backend.Request{Messages: []backend.Message{{Role: backend.User, Parts: []backend.Part{{Channel: backend.Content, Text: text}}}}}
		if err := g.moderate(ctx, &one, rules, &all[i]); err != nil {
			return nil, err
		}
		for v := range all[i].Verdicts {
			all[i].Verdicts[v].Message = i
		}
	}
	return all, nil
}

// moderate judges the one text of a call.
func (g *Gateway) moderate(ctx context.Context, call *Call, rules *policy.Effective, m *Moderation) error {
	input := newInput(call.Request)
	err := input.local(rules)
	if err == nil && rules.Asks(policy.Input) {
		asking := g.ask(ctx, call)
		defer asking.stop()
		if err = input.remote(ctx, rules, asking); err == nil {
			input.hear(ctx, asking)
		}
	}
	var e *Error
	if errors.As(err, &e) && e.Reason == InputBlocked {
		m.Blocked, err = true, nil
	}
	if err != nil {
		return err
	}
	m.Verdicts = input.verdicts
	if input.inquiry != nil {
		m.UnjudgedBytes = input.inquiry.UnjudgedBytes()
	}
	if !m.Blocked {
		m.Text = input.clean.Messages[0].Text()
	}
	return nil
}

// A TokenCount is how many tokens an input has at a target.
type TokenCount struct {
	Backend, BackendModel string
	// Tokens is the count where it is Exact, and else the most there can be.
	Tokens int64
	Exact  bool
	// Estimate is about how many there are; where Exact it is Tokens.
	Estimate int64
}

// CountTokens counts the input of a call at the first target of its model. It
// fails with an *Error.
func (g *Gateway) CountTokens(call *Call) (TokenCount, error) {
	model, known := g.Router().Plan(call.Model)
	if !known {
		return TokenCount{}, unknownModel(call.Model)
	}
	target := model.Targets[0]
	request := call.Request
	request.Model = target.Model
	if err := takesMedia(call.Model, &request, target.Backend.Capabilities(target.Model)); err != nil {
		return TokenCount{}, err
	}
	prompt := tokens.Input(target.Backend, target.Tokenizer, &request)
	return TokenCount{Backend: target.Name, BackendModel: target.Model, Tokens: prompt.Most, Exact: prompt.Exact, Estimate: prompt.Tokens}, nil
}
