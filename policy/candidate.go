package policy

import "math"

// candidate is one answer of the model: its channels, and the text that waits.
type candidate struct {
	id       int
	channels []*channel // in order of arrival
	queue    queue
	ended    bool
	blocked  bool
}

func (c *candidate) channel(name Channel, rules []*rule) *channel {
	for _, ch := range c.channels {
		if ch.name == name {
			return ch
		}
	}
	ch := newChannel(name, rules)
	c.channels = append(c.channels, ch)
	return ch
}

// release appends what stands before the watermark: the walk ends at the first
// byte, in order of arrival, that its channel still holds.
func (c *candidate) release(dst []Piece) []Piece {
	for c.queue.head < len(c.queue.parts) {
		part := &c.queue.parts[c.queue.head]
		end := part.start + int64(len(part.text))
		upTo := min(end, part.ch.hold)
		if upTo > part.start {
			n := int(upTo - part.start)
			dst = part.ch.emit(dst, c.id, part.start, part.text[:n])
			part.start, part.text = upTo, part.text[n:]
			c.queue.bytes -= n
		}
		if upTo < end {
			return dst
		}
		c.queue.pop()
	}
	return dst
}

// block ends the candidate by a match: what stands before it, and before
// whatever else was undecided when it was decided, is released; the rest is
// dropped.
func (c *candidate) block(dst []Piece, ch *channel, decision verdictAt) []Piece {
	for _, other := range c.channels {
		other.finish(nil)
	}
	ch.finish(&decision)
	dst = c.release(dst)
	c.queue = queue{}
	c.ended, c.blocked = true, true
	return dst
}

// queue is the text that is held, in order of arrival. It keeps the strings it
// was given, so holding and releasing copies nothing.
type queue struct {
	parts []part
	head  int // parts before it are gone
	bytes int
}

// part is text of a channel; start is its offset there.
type part struct {
	ch    *channel
	start int64
	text  string
}

func (q *queue) push(ch *channel, text string) {
	if q.head > 0 && len(q.parts) == cap(q.parts) {
		n := copy(q.parts, q.parts[q.head:])
		clear(q.parts[n:])
		q.parts, q.head = q.parts[:n], 0
	}
	q.parts = append(q.parts, part{ch, ch.end - int64(len(text)), text})
	q.bytes += len(text)
}

func (q *queue) pop() {
	q.parts[q.head] = part{} // lets the string go
	if q.head++; q.head == len(q.parts) {
		q.parts, q.head = q.parts[:0], 0
	}
}

// place is where a byte of a channel stands among what is held.
func (q *queue) place(ch *channel, offset int64) int64 {
	var at int64
	for _, p := range q.parts[q.head:] {
		if p.ch == ch && offset >= p.start && offset < p.start+int64(len(p.text)) {
			return at + offset - p.start
		}
		at += int64(len(p.text))
	}
	return math.MaxInt64
}
