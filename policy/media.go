package policy

import (
	"slices"
	"strconv"
	"strings"
)

// Modalities are the kinds of content that is no text, by the names that
// backends and rules call them.
func Modalities() []string { return []string{"image", "audio", "video", "file"} }

// MediaPart is the channel of the n-th part of a candidate that is no text. What
// is written there is its modality and nothing of what is in it, which no guard
// sees: only rules of a [Media] guard look at the channel, and they look at no
// other.
func MediaPart(n int) Channel { return Channel("media/" + strconv.Itoa(n)) }

// MediaText is the channel of the strings that stand beside the n-th part, such
// as its name and its address, as one JSON array.
func MediaText(n int) Channel { return Channel("media/" + strconv.Itoa(n) + "/text") }

// Media tells which part of its candidate that is no text a channel belongs to,
// and whether it has the strings beside it; false where it is of none.
func (c Channel) Media() (n int, text, ok bool) {
	rest, ok := strings.CutPrefix(string(c), "media/")
	if !ok {
		return 0, false, false
	}
	number, kind, _ := strings.Cut(rest, "/")
	n, err := strconv.Atoi(number)
	return n, kind == "text", err == nil
}

// part tells the channels of which only rules of a Media guard read.
func (c Channel) part() bool {
	_, text, ok := c.Media()
	return ok && !text
}

// Media is a Guard that finds content of some modalities, whatever is in it. It
// is how a policy decides what becomes of what no guard sees into. A finding's
// category is media/MODALITY.
type Media struct {
	modalities []string
	kinds      []Kind
}

// NewMedia makes a guard of modalities, which must be some of [Modalities].
func NewMedia(modalities []string) *Media {
	m := &Media{modalities: slices.Clone(modalities)}
	for _, name := range modalities {
		m.kinds = append(m.kinds, Kind{Category: "media/" + name})
	}
	return m
}

// Kinds implements Guard.
func (m *Media) Kinds() []Kind { return m.kinds }

// Bound implements Guard: a part is judged when it comes.
func (m *Media) Bound() (bytes int, bounded bool) { return 0, true }

// Open implements Guard.
func (m *Media) Open() Stream { return &mediaStream{guard: m} }

// mediaStream reads the channel of one part, which is written whole.
type mediaStream struct {
	guard *Media
	end   int64
}

func (s *mediaStream) Scan(text string, found []Span) []Span {
	start := s.end
	s.end += int64(len(text))
	if kind := slices.Index(s.guard.modalities, text); kind >= 0 && start == 0 {
		found = append(found, Span{Start: start, End: s.end, At: s.end, Kind: kind})
	}
	return found
}

func (s *mediaStream) Close(found []Span) []Span { return found }

func (s *mediaStream) Hold() int64 { return s.end }

func (s *mediaStream) Live() int64 { return s.end }

func (s *mediaStream) Copy(from Stream) { *s = *from.(*mediaStream) }

// UnseenRule is the id of the rule that a policy has without writing it: where a
// rule on text can change its answers, media of which none of its rules speak
// are blocked.
const UnseenRule = "unseen_media"

// unseen is that rule; nil where there is nothing left for it. What no guard has
// seen does not pass rules that are there to keep something from passing, unless
// whoever wrote them says so.
func unseen(text, media []*rule, policy string, revision int64) *rule {
	if !slices.ContainsFunc(text, func(r *rule) bool { return r.action.Enforcing() }) {
		return nil
	}
	left := slices.DeleteFunc(Modalities(), func(name string) bool {
		return slices.ContainsFunc(media, func(r *rule) bool { return slices.Contains(r.guard.(*Media).modalities, name) })
	})
	if len(left) == 0 {
		return nil
	}
	guard := NewMedia(left)
	r := &rule{action: Block, guard: guard, verdict: Verdict{
		Guard: "media", Rule: UnseenRule, Policy: policy, Revision: revision, Action: Block, Stage: Output, Message: -1, Part: -1,
	}}
	for _, k := range guard.Kinds() {
		r.kinds = append(r.kinds, kind{k, Placeholder(k.Category)})
	}
	return r
}

// split parts the rules on media from those on text.
func split(rules []*rule) (text, media []*rule) {
	for _, r := range rules {
		if _, is := r.guard.(*Media); is {
			media = append(media, r)
		} else {
			text = append(text, r)
		}
	}
	return text, media
}

// BlocksMedia returns what the first rule that blocks answers of a modality would
// find; false where none does.
func (e *Effective) BlocksMedia(modality string) (Verdict, bool) {
	for _, r := range e.outputMedia {
		at := slices.Index(r.guard.(*Media).modalities, modality)
		if at < 0 || r.action != Block {
			continue
		}
		v := r.verdict
		v.Category, v.Severity, v.Channel = r.kinds[at].Category, r.kinds[at].Severity, MediaPart(0)
		return v, true
	}
	return Verdict{}, false
}
