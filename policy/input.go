package policy

// InputText is one text that a caller sent: the part of a message, or with Part
// -1 the name of who speaks it; with Message -1 what defines the tool of place
// Part, or with both the form of the answer.
type InputText struct {
	Message, Part int
	Text          string
	// JSON tells that the text is meant to be JSON and stays so: see
	// [Channel.JSON].
	JSON bool
	// Trusted tells that the operator of the calling service wrote it himself,
	// as a system prompt is. Some guards are not for such text.
	Trusted bool
	// Media tells that it stands for what is no text: Text is its modality, and
	// rules of a [Media] guard alone judge it.
	Media bool
}

// InputResult is what became of the texts of a call.
type InputResult struct {
	// Texts are the given ones, in their order, with placeholders where they
	// were redacted. They are valid UTF-8. Where the call is blocked they must
	// not be used: the one that decided is cut, the later ones are empty.
	Texts    []string
	Verdicts []Verdict
	Blocked  bool
}

// JudgeInput judges what a caller sends by the input rules that apply. Every
// text stands for itself: no match spans two. The first text that is blocked
// ends the judgement.
func (e *Effective) JudgeInput(texts []InputText) InputResult {
	res := InputResult{Texts: make([]string, len(texts))}
	if len(e.input) == 0 && len(e.inputMedia) == 0 {
		for i, t := range texts {
			res.Texts[i] = validText(t.Text)
		}
		return res
	}
	var pieces []Piece
	for i, t := range texts {
		s := newScreen(e.inputRules(t))
		s.media = e.inputMedia
		pieces = s.Write(pieces[:0], t.piece())
		pieces = s.End(pieces, 0)
		res.Texts[i] = join(pieces)
		for _, v := range s.Verdicts() {
			v.Message, v.Part, v.Candidate, v.Channel = t.Message, t.Part, 0, ""
			res.Verdicts = append(res.Verdicts, v)
		}
		if s.Blocked(0) {
			res.Blocked = true
			break
		}
	}
	return res
}

// inputRules are those on a text.
func (e *Effective) inputRules(t InputText) []*rule {
	if t.Trusted {
		return e.trusted
	}
	return e.input
}

func (t InputText) piece() Piece {
	if t.Media {
		return Piece{Channel: MediaPart(0), Text: t.Text}
	}
	if t.JSON {
		return Piece{Channel: Structured, Text: t.Text}
	}
	return Piece{Channel: Content, Text: t.Text}
}

func join(pieces []Piece) string {
	if len(pieces) == 1 {
		return pieces[0].Text
	}
	var n int
	for _, p := range pieces {
		n += len(p.Text)
	}
	b := make([]byte, 0, n)
	for _, p := range pieces {
		b = append(b, p.Text...)
	}
	return string(b)
}
