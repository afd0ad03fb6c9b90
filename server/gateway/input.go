package gateway

import (
	"context"
	"encoding/json"
	"maps"
	"slices"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
)

// input is what a caller says, before the rules: every text of the request, and
// the request that may go to a backend once they are judged.
type input struct {
	clean backend.Request
	texts []policy.InputText
	slots []func(string) // where each text goes when it has been judged

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
			in.add(policy.InputText{Message: m, Part: -1, Text: message.Name, Trusted: trusted}, func(s string) { clean.Name = s })
		}
		for p, part := range message.Parts {
			in.add(policy.InputText{Message: m, Part: p, Text: part.Text, JSON: part.Channel == backend.Arguments, Trusted: trusted},
				func(s string) {
					if s != part.Text {
						clean.Parts[p].Signature = nil // of a text that is another now
					}
					clean.Parts[p].Text = s
				})
			if part.Media != nil {
				media := *part.Media
				clean.Parts[p].Media = &media
				in.add(policy.InputText{Message: m, Part: p, Text: string(media.Modality), Media: true}, func(s string) {
					if s != string(media.Modality) { // a placeholder in its place
						clean.Parts[p].Media, clean.Parts[p].Text = nil, s
					}
				})
				in.name(m, p, &media.Name)
				in.name(m, p, &media.URL)
			}
		}
	}
	in.define()
	return in
}

// name adds a text beside a part, where there is one.
func (in *input) name(message, part int, text *string) {
	if *text != "" {
		in.add(policy.InputText{Message: message, Part: part, Text: *text}, func(s string) { *text = s })
	}
}

// define adds what defines tools and format, which the operator of the calling
// service has written.
func (in *input) define() {
	in.clean.Tools = slices.Clone(in.clean.Tools)
	for i := range in.clean.Tools {
		tool := &in.clean.Tools[i]
		in.add(policy.InputText{Message: -1, Part: i, Text: tool.Description, Trusted: true}, func(s string) { tool.Description = s })
		if tool.Parameters != nil {
			in.add(policy.InputText{Message: -1, Part: i, Text: string(tool.Parameters), JSON: true, Trusted: true},
				func(s string) { tool.Parameters = json.RawMessage(s) })
		}
	}
	in.clean.Vendor = maps.Clone(in.clean.Vendor)
	for _, vendor := range slices.Sorted(maps.Keys(in.clean.Vendor)) {
		in.add(policy.InputText{Message: -1, Part: -1, Text: string(in.clean.Vendor[vendor]), JSON: true, Trusted: true},
			func(s string) { in.clean.Vendor[vendor] = json.RawMessage(s) })
	}
	in.name(-1, -1, &in.clean.CacheKey)
	if in.clean.Format == nil {
		return
	}
	format := *in.clean.Format
	in.clean.Format = &format
	in.add(policy.InputText{Message: -1, Part: -1, Text: format.Description, Trusted: true}, func(s string) { in.clean.Format.Description = s })
	if format.Schema != nil {
		in.add(policy.InputText{Message: -1, Part: -1, Text: string(format.Schema), JSON: true, Trusted: true},
			func(s string) { in.clean.Format.Schema = json.RawMessage(s) })
	}
}

func (in *input) add(text policy.InputText, to func(string)) {
	in.texts = append(in.texts, text)
	in.slots = append(in.slots, to)
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
			return refused(ctx, err)
		}
	}
	// Where the call may go can hang on what changes nothing else.
	for len(rules.Restrictions) > 0 && in.inquiry.Waits() && !in.inquiry.Result().Blocked {
		if err := in.answer(ctx, asking); err != nil {
			return refused(ctx, err)
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
		to(judged.Texts[i])
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
