package policy

// Inquiry is the judgement of what a caller sends by all input rules, those
// that have to ask somebody included. [Effective.JudgeInput] knows only the
// others; it comes first, so that nobody is asked about what is blocked anyway.
//
// Like a [Gate] it starts nothing and waits for nothing: ask what
// [Inquiry.Ask] returns and hand back each answer. It is used by one goroutine.
type Inquiry struct {
	texts []InputText
	gates []*Gate
	out   [][]Piece
}

// Inquire begins an inquiry about the texts of a call. It is of use where
// [Effective.Asks] tells so of the input stage.
func (e *Effective) Inquire(texts []InputText) *Inquiry {
	q := &Inquiry{texts: texts, out: make([][]Piece, len(texts))}
	for i, t := range texts {
		g := newGate(e.inputRules(t), "", segmenter{least: leastInput, most: inputSegment})
		g.screen.media = e.inputMedia
		q.out[i] = g.Write(q.out[i], t.piece())
		q.out[i] = g.End(q.out[i], 0)
		q.gates = append(q.gates, g)
	}
	return q
}

// Ask returns the questions that are to be asked now, those of the first texts
// first. Each must be answered, once.
func (q *Inquiry) Ask() (out []Question) {
	urgent, patient := InFlight, InFlight
	for _, g := range q.gates {
		u, p := g.inFlight()
		urgent, patient = urgent-u, patient-p
	}
	for i, g := range q.gates {
		before, beforeP := g.inFlight()
		for _, question := range g.ask(urgent, patient) {
			question.ID = question.ID*int64(len(q.gates)) + int64(i)
			out = append(out, question)
		}
		u, p := g.inFlight()
		urgent, patient = urgent-(u-before), patient-(p-beforeP)
	}
	return out
}

// Answer takes the judgement about a question.
func (q *Inquiry) Answer(id int64, j Judgement) {
	i, n := int(id%int64(len(q.gates))), int64(len(q.gates))
	q.out[i] = q.gates[i].Answer(q.out[i], id/n, j)
}

// Decided tells whether it is known what becomes of the texts: the enforcing
// rules have all answers that can make a difference.
func (q *Inquiry) Decided() bool {
	for _, g := range q.gates {
		if !g.Ended(0) {
			return false
		}
		if g.Blocked(0) {
			return true
		}
	}
	return true
}

// Waits tells whether any question is without its answer, asked or not.
func (q *Inquiry) Waits() bool {
	for _, g := range q.gates {
		if g.Waits() {
			return true
		}
	}
	return false
}

// Result is what became of the texts, once that is decided. The verdicts of
// rules that change nothing are among it when no question of their text waits
// any more: ask again then.
func (q *Inquiry) Result() InputResult {
	res := InputResult{Texts: make([]string, len(q.texts))}
	for i, g := range q.gates {
		t := q.texts[i]
		res.Texts[i] = join(q.out[i])
		for _, v := range g.Verdicts() {
			v.Message, v.Part, v.Candidate, v.Channel = t.Message, t.Part, 0, ""
			res.Verdicts = append(res.Verdicts, v)
		}
		if g.Blocked(0) {
			res.Blocked = true
			break
		}
	}
	return res
}

// UnjudgedBytes is how much text went on that nobody judged: see
// [Gate.UnjudgedBytes].
func (q *Inquiry) UnjudgedBytes() (n int64) {
	for _, g := range q.gates {
		n += g.UnjudgedBytes()
	}
	return n
}
