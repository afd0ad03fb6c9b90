package gateway

import (
	"context"
	"slices"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
)

// input is what a caller says, before the rules: every text of the request, and
// the request that may go to a backend once they are judged.
type input struct {
	clean backend.Request
	texts []policy.InputText
	slots []*string // where each text goes when it has been judged

	verdicts []policy.Verdict
	inquiry  *policy.Inquiry // nil where nobody was asked
}

func newInput(req backend.Request) *input {
	in := &input{clean: req}
	in.clean.Messages = make([]backend.Message, len(req.Messages))
	for m, message := range req.Messages {
		clean := &in.clean.Messages[m]
		*clean = message
		clean.Parts = slices.Clone(message.Parts)
		trusted := message.Role == backend.System || message.Role == backend.Developer
		if message.Name != "" {
			in.texts = append(in.texts, policy.InputText{Message: m, Part: -1, Text: message.Name, Trusted: trusted})
			in.slots = append(in.slots, &clean.Name)
		}
		for p, part := range message.Parts {
			in.texts = append(in.texts, policy.InputText{Message: m, Part: p, Text: part.Text, Trusted: trusted})
			in.slots = append(in.slots, &clean.Parts[p].Text)
		}
	}
	return in
}

// local judges by the rules that can do so themselves.
func (in *input) local(rules *policy.Effective) error {
	return in.take(rules.JudgeInput(in.texts))
}

// remote judges by all rules, and waits until it is known what becomes of the
// texts.
func (in *input) remote(ctx context.Context, rules *policy.Effective, asking *asking) error {
	in.inquiry = rules.Inquire(in.texts)
	for !in.inquiry.Decided() {
		if err := in.answer(ctx, asking); err != nil {
			return refused(err)
		}
	}
	return in.take(in.inquiry.Result())
}

// hear waits for what changes nothing, once the call is over.
func (in *input) hear(ctx context.Context, asking *asking) {
	for in.inquiry.Waits() {
		if in.answer(ctx, asking) != nil {
			return
		}
	}
	in.verdicts = in.inquiry.Result().Verdicts
}

// answer takes one answer. It fails where the call has ended.
func (in *input) answer(ctx context.Context, asking *asking) error {
	asking.start(in.inquiry.Ask())
	select {
	case a := <-asking.answers:
		if err := ctx.Err(); err != nil {
			return err
		}
		in.inquiry.Answer(a.id, a.judgement)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// take notes what became of the texts.
func (in *input) take(judged policy.InputResult) error {
	in.verdicts = judged.Verdicts
	if judged.Blocked {
		return inputBlocked(judged.Verdicts)
	}
	for i, to := range in.slots {
		*to = judged.Texts[i]
	}
	return nil
}

// tell puts what is known in the end into the answer, before what was found in
// its text.
func (in *input) tell(answer *Answer) {
	answer.Verdicts = append(slices.Clip(in.verdicts), answer.Verdicts...)
	if in.inquiry != nil {
		answer.UnjudgedBytes += in.inquiry.UnjudgedBytes()
	}
}

// lastPrompt is what the caller said last.
func lastPrompt(req *backend.Request) string {
	for _, m := range slices.Backward(req.Messages) {
		if m.Role == backend.User {
			return m.Text()
		}
	}
	return ""
}
