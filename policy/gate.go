package policy

import (
	"cmp"
	"slices"
	"strings"
)

// Gate stands before a [Screen] where rules have to ask somebody about the
// text. It cuts each channel into segments, tells which questions there are,
// and lets text on into the screen only when every enforcing rule that asks has
// its answer about the segment; what such a rule finds reaches the screen as a
// match of that rule before the first byte of the segment does. Text goes on
// strictly in the order in which it arrived.
//
// So what is released and every verdict is the same however the text was cut
// into Writes, and in whatever order and however late the answers come; only
// what the answers say makes a difference. Rules that change nothing hold
// nothing back: their questions go on while the text does, and what they found
// is among the verdicts once the last of them about a candidate is answered.
// Beyond a block nothing is found.
//
// A Gate starts nothing and waits for nothing. It is used by one goroutine,
// which writes what arrives, asks what [Gate.Ask] returns and hands back each
// answer with [Gate.Answer]. Where no rule asks, it is the screen alone.
type Gate struct {
	screen     *Screen
	asking     []int // places of the rules that ask
	holding    bool  // one of them enforces
	masks      []*rule
	prompt     string
	cut        segmenter // how segments are made
	candidates []*gated

	// Questions that text waits for, and those of rules that hold nothing, each
	// in the order of the text. Neither kind takes the other's place in flight.
	urgent, patient []*inquiry
	open            map[int64]*inquiry
	lastID          int64
	held            int
	unjudged        int64
}

// gated is a candidate before the gate.
type gated struct {
	id       int
	channels []*gatedChannel // in order of arrival
	queue    []arrival
	ended    bool // nothing more arrives
	done     bool // nothing more goes on
	patient  int  // unanswered questions of rules that hold nothing
	told     bool // what those found is with the screen

	// Where a block ended it: nothing behind that counts.
	blocked bool
	where   Channel
	limit   int64
}

type gatedChannel struct {
	name     Channel
	runes    runes
	cut      segmenter
	context  string // the end of the segments so far
	sent     int64  // what went on to the screen
	segments []*segment
	late     []ruled // of rules that hold nothing
}

// arrival is text that waits, in the order in which it came.
type arrival struct {
	ch   *gatedChannel
	text string
}

// segment is a whole one that has not gone on yet. Segments of a channel
// follow each other without a gap.
type segment struct {
	start, end int64
	waits      int
	found      []ruled
	unjudged   bool
}

// ruled is what a rule says of a segment.
type ruled struct {
	Ruling
	rule       int
	start, end int64
	at         int64 // how far the channel was read when the segment was whole
}

func (r ruled) span() Span {
	return Span{Start: r.start, End: r.end, At: r.end, Kind: r.Kind, Score: r.Score}
}

// inquiry is a question that is not answered yet. It keeps the text that the
// rule judges, which the one that is told can have placeholders in.
type inquiry struct {
	c    *gated
	ch   *gatedChannel
	seg  *segment
	at   int64 // how far the channel was read when the segment was whole
	rule int
	text string
	from int
	Question
}

// Gate starts the screening of one answer. The prompt is what the caller asked
// the model last; it is shown to judges that look at an answer with its
// question.
func (e *Effective) Gate(prompt string) *Gate {
	g := newGate(e.output, prompt, segmenter{least: leastSegment, most: SegmentBytes})
	g.screen.media = e.outputMedia
	return g
}

func newGate(rules []*rule, prompt string, cut segmenter) *Gate {
	g := &Gate{screen: newScreen(rules), cut: cut}
	for i, r := range rules {
		if r.asks() {
			g.asking = append(g.asking, i)
			g.holding = g.holding || r.action.Enforcing()
		}
	}
	if len(g.asking) > 0 {
		g.masks = masks(rules)
		g.open = map[int64]*inquiry{}
		g.prompt = tail(validText(prompt), promptBytes)
	}
	return g
}

// Asks tells whether there can be any question.
func (g *Gate) Asks() bool { return len(g.asking) > 0 }

// Write takes what a model said and appends to dst what may be released now.
func (g *Gate) Write(dst []Piece, p Piece) []Piece {
	if !g.Asks() {
		return g.screen.Write(dst, p)
	}
	c := g.candidate(p.Candidate)
	if c.ended || c.done {
		return dst
	}
	ch := c.channel(p.Channel, g.cut)
	_, _, media := p.Channel.Media() // what is written of it is all of it
	g.arrive(c, ch, ch.runes.take(p.Text), media)
	return g.pass(dst, c)
}

// End says that a candidate is complete. What is released by it is appended;
// the rest follows with the answers that are still out.
func (g *Gate) End(dst []Piece, candidate int) []Piece {
	if !g.Asks() {
		return g.screen.End(dst, candidate)
	}
	c := g.candidate(candidate)
	if c.ended || c.done {
		return dst
	}
	c.ended = true
	for _, ch := range c.channels {
		g.arrive(c, ch, ch.runes.flush(), true)
	}
	return g.pass(dst, c)
}

// Ask returns the questions that are to be asked now. Each must be answered,
// once.
func (g *Gate) Ask() []Question {
	urgent, patient := g.inFlight()
	return g.ask(InFlight-urgent, InFlight-patient)
}

// inFlight counts the open questions that text waits for, and the others.
func (g *Gate) inFlight() (urgent, patient int) {
	for _, q := range g.open {
		if g.screen.rules[q.rule].action.Enforcing() {
			urgent++
		} else {
			patient++
		}
	}
	return urgent, patient
}

// ask takes at most so many questions of each kind.
func (g *Gate) ask(urgent, patient int) (out []Question) {
	take := func(from *[]*inquiry, most int) {
		for most = min(most, len(*from)); most > 0; most-- {
			q := (*from)[0]
			*from = (*from)[1:]
			g.open[q.ID] = q
			out = append(out, q.Question)
		}
	}
	take(&g.urgent, urgent)
	take(&g.patient, patient)
	return out
}

// Answer takes the judgement about a question and appends to dst what it
// releases. An answer that nobody waits for any more changes nothing.
func (g *Gate) Answer(dst []Piece, id int64, j Judgement) []Piece {
	q := g.open[id]
	if q == nil {
		return dst
	}
	delete(g.open, id)
	r := ruled{q.Guard.Rule(q.text, q.from, j), q.rule, q.seg.start, q.seg.end, q.at}
	if !g.screen.rules[q.rule].action.Enforcing() {
		if !q.c.counts(q.ch.name, q.at) {
			return dst // a block came first
		}
		if r.Found || r.Unjudged {
			q.ch.late = append(q.ch.late, r)
		}
		q.c.patient--
		g.tell(q.c)
		return dst
	}
	if r.Found {
		q.seg.found = append(q.seg.found, r)
	}
	q.seg.unjudged = q.seg.unjudged || r.Unjudged
	q.seg.waits--
	return g.pass(dst, q.c)
}

// Ended tells whether all of a candidate that will ever be released has been.
func (g *Gate) Ended(candidate int) bool {
	if !g.Asks() {
		return g.screen.candidate(candidate).ended
	}
	return g.candidate(candidate).done
}

// Full tells that much text waits for answers, so that it makes no sense to
// take more before some have come.
func (g *Gate) Full() bool { return g.held > gateBytes && len(g.open)+len(g.urgent) > 0 }

// Waits tells whether any question is without its answer, asked or not.
func (g *Gate) Waits() bool { return len(g.open)+len(g.urgent)+len(g.patient) > 0 }

// Blocked tells whether a rule has ended the candidate.
func (g *Gate) Blocked(candidate int) bool { return g.screen.Blocked(candidate) }

// Verdicts returns what was found so far, ordered as those of a Screen.
func (g *Gate) Verdicts() []Verdict { return g.screen.Verdicts() }

// Held is how many bytes are held back now, by the gate and by the screen.
func (g *Gate) Held() int { return g.held + g.screen.Held() }

// Bound is the most bytes of one channel that are held back while every
// question has its answer; false where there is no such number.
func (g *Gate) Bound() (bytes int, bounded bool) {
	bytes, bounded = g.screen.Bound()
	if g.holding {
		bytes += SegmentBytes
	}
	return bytes, bounded
}

// UnjudgedBytes is how much text went on that a rule was to judge and nobody
// did, each byte counted once for all enforcing rules and once for each other.
func (g *Gate) UnjudgedBytes() int64 { return g.unjudged }

func (g *Gate) candidate(id int) *gated {
	for _, c := range g.candidates {
		if c.id == id {
			return c
		}
	}
	c := &gated{id: id}
	g.candidates = append(g.candidates, c)
	return c
}

func (c *gated) channel(name Channel, cut segmenter) *gatedChannel {
	for _, ch := range c.channels {
		if ch.name == name {
			return ch
		}
	}
	ch := &gatedChannel{name: name, cut: cut}
	c.channels = append(c.channels, ch)
	return ch
}

// counts tells whether what was known when a channel had been read so far is
// before the block, if there was one.
func (c *gated) counts(name Channel, at int64) bool {
	if !c.blocked {
		return true
	}
	if name == c.where {
		return at <= c.limit
	}
	for _, ch := range c.channels {
		if ch.name == name {
			return at <= ch.sent
		}
	}
	return false
}

// arrive takes text of a channel and asks about the segments that are whole.
func (g *Gate) arrive(c *gated, ch *gatedChannel, text string, ended bool) {
	if text != "" {
		c.queue = append(c.queue, arrival{ch, text})
		g.held += len(text)
		ch.cut.write(text)
	}
	for {
		start, text, at, ok := ch.cut.next(ended)
		if !ok {
			return
		}
		seg := &segment{start: start, end: start + int64(len(text))}
		if g.holding {
			ch.segments = append(ch.segments, seg)
		}
		if strings.TrimSpace(text) != "" && !ch.name.part() {
			g.question(c, ch, seg, at, text)
		}
		ch.context = tail(ch.context+text, ContextBytes)
	}
}

func (g *Gate) question(c *gated, ch *gatedChannel, seg *segment, at int64, text string) {
	from := len(ch.context)
	text = ch.context + text
	shown := masked(g.masks, text)
	for _, i := range g.asking {
		r := g.screen.rules[i]
		g.lastID++
		q := &inquiry{c: c, ch: ch, seg: seg, at: at, rule: i, text: text, from: from, Question: Question{
			ID: g.lastID, Guard: r.guard.(Asked), Policy: r.verdict.Policy, Rule: r.verdict.Rule, Stage: r.verdict.Stage,
			Text: shown, Prompt: g.prompt,
		}}
		if r.action.Enforcing() {
			seg.waits++
			g.urgent = append(g.urgent, q)
		} else {
			c.patient++
			g.patient = append(g.patient, q)
		}
	}
}

// pass lets on what may go: in order of arrival, up to the first byte that has
// not been judged.
func (g *Gate) pass(dst []Piece, c *gated) []Piece {
	for len(c.queue) > 0 && !c.done {
		a := &c.queue[0]
		ch, n := a.ch, len(a.text)
		if g.holding {
			if len(ch.segments) == 0 || ch.segments[0].waits > 0 {
				return dst
			}
			seg := ch.segments[0]
			if ch.sent == seg.start {
				g.enter(c, ch, seg)
			}
			n = int(min(int64(n), seg.end-ch.sent))
			if ch.sent+int64(n) == seg.end {
				ch.segments = ch.segments[1:]
			}
		}
		text := a.text[:n]
		ch.sent += int64(n)
		g.held -= n
		if a.text = a.text[n:]; a.text == "" {
			c.queue = c.queue[1:]
		}
		dst = g.screen.Write(dst, Piece{Candidate: c.id, Channel: ch.name, Text: text})
		if g.screen.Blocked(c.id) {
			c.where, c.limit = g.screen.decision(c.id)
			g.drop(c)
		}
	}
	if c.ended && !c.done {
		// Whatever the end decides is decided at once, so all findings count, a
		// block or not.
		dst = g.screen.End(dst, c.id)
		c.done = true
		g.tell(c)
	}
	return dst
}

// enter tells the screen what was found in a segment that is about to go on.
func (g *Gate) enter(c *gated, ch *gatedChannel, seg *segment) {
	for _, r := range seg.found {
		g.screen.expect(c.id, ch.name, r.rule, r.span())
	}
	if seg.unjudged && len(seg.found) == 0 {
		g.unjudged += seg.end - seg.start
	}
}

// drop forgets what a block has made idle.
func (g *Gate) drop(c *gated) {
	c.done, c.blocked = true, true
	for _, a := range c.queue {
		g.held -= len(a.text)
	}
	c.queue = nil
	idle := func(q *inquiry) bool {
		if q.c != c {
			return false
		}
		if g.screen.rules[q.rule].action.Enforcing() {
			return true
		}
		if c.counts(q.ch.name, q.at) {
			return false
		}
		c.patient--
		return true
	}
	g.urgent = slices.DeleteFunc(g.urgent, idle)
	g.patient = slices.DeleteFunc(g.patient, idle)
	for _, q := range g.open {
		idle(q) // its answer will come, and change nothing
	}
	for _, ch := range c.channels {
		ch.segments = nil
	}
	g.tell(c)
}

// tell gives the screen what the rules that hold nothing have found, once all
// of it is known.
func (g *Gate) tell(c *gated) {
	if !c.done || c.patient > 0 || c.told {
		return
	}
	c.told = true
	for _, ch := range c.channels {
		slices.SortFunc(ch.late, func(a, b ruled) int {
			return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.rule, b.rule))
		})
		for _, r := range ch.late {
			switch {
			case !c.counts(ch.name, r.at):
			case r.Found:
				g.screen.late(c.id, ch.name, r.rule, r.span())
			default:
				g.unjudged += r.end - r.start
			}
		}
	}
}
