package gateway

import (
	"encoding/json"
	"fmt"

	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
)

// shown are the parts of a candidate that are no text, on their way through the
// gate. No guard sees into one: its modality goes through the gate, where rules
// decide what becomes of the part, and then the strings beside it, so that it
// keeps its place in the answer.
type shown struct {
	parts []*showing
}

// showing is a part on its way.
type showing struct {
	media   *backend.Media // nil where it will not be told
	strings bool           // some are behind it in the gate
	text    []byte         // what is released of them, as JSON
}

// show sends a part to the gate. Its error ends the answer.
func (a *attempt) show(e backend.Event) error {
	if e.Media == nil {
		return &backend.Error{Class: backend.Protocol, Detail: "media of the answer: there are none"}
	}
	if err := e.Media.Check(); err != nil {
		return err
	}
	if a.mediaBytes += len(e.Media.Data); a.mediaBytes > backend.MaxAnswerMedia {
		return &Error{Reason: BackendProtocol, Message: fmt.Sprintf("the answer of model %q has more than %d MiB of media: ask for less of it", a.call.Model, backend.MaxAnswerMedia>>20)}
	}
	s := &a.shown[e.Candidate]
	n, m := len(s.parts), *e.Media
	part := &showing{media: &m}
	s.parts = append(s.parts, part)
	a.output.AddMedia(a.target.Backend, m.Modality)
	a.pieces = a.gate.Write(a.pieces[:0], policy.Piece{Candidate: e.Candidate, Channel: policy.MediaPart(n), Text: string(m.Modality)})
	kind := m.Type
	if m.PlainType() {
		kind = ""
	}
	if part.strings = kind != "" || m.Name != "" || m.URL != ""; !part.strings {
		return nil
	}
	text, err := json.Marshal([]string{kind, m.Name, m.URL})
	if err != nil {
		return err
	}
	a.pieces = a.gate.Write(a.pieces, policy.Piece{Candidate: e.Candidate, Channel: policy.MediaText(n), Text: string(text)})
	return nil
}

// showOn takes what the gate has let go of a part, and tells the caller of it when
// that is all. A part that a rule redacts is a placeholder in the text; one whose
// type or address a rule has changed is none any more, and neither is audio of whose
// transcript one has changed a word.
func (a *attempt) showOn(p policy.Piece, n int, text bool) (d Delta, ok bool) {
	part := a.shown[p.Candidate].parts[n]
	d = Delta{Candidate: p.Candidate, Channel: backend.Content}
	switch {
	case part.media == nil:
		return d, false
	case part.media.Modality == backend.Audio && a.courses[p.Candidate].transcript.changed():
		part.media = nil // it says what a rule has taken out
		return d, false
	case !text && p.Redacted:
		part.media = nil
		d.Text = p.Text
		return d, true
	case !text && part.strings:
		return d, false
	case text:
		part.text = append(part.text, p.Text...)
		var left []string
		if json.Unmarshal(part.text, &left) != nil || len(left) != 3 {
			return d, false // the rest is held, or blocked
		}
		m := part.media
		m.Name = left[1]
		if left[2] != m.URL || left[0] != "" && left[0] != m.Type {
			part.media = nil
			return d, false
		}
	}
	d.Media, part.media = part.media, nil
	return d, true
}

// showable refuses a call that asks for answers which its policies let none pass of.
func showable(req *backend.Request, rules *policy.Effective) error {
	for _, m := range req.Modalities {
		if v, blocks := rules.BlocksMedia(string(m)); blocks {
			message := fmt.Sprintf("rule %q of policy %q lets no %s into answers", v.Rule, v.Policy, m)
			if v.Rule == policy.UnseenRule {
				message = fmt.Sprintf("policy %q has output rules, none of which sees into media, and none that says what becomes of %s: write a rule of guard media into it", v.Policy, m)
			}
			return &Error{Reason: InputBlocked, Field: "config.response_modalities", Message: message, Verdicts: []policy.Verdict{v}}
		}
	}
	return nil
}
