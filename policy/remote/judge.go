package remote

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/weir-gateway/weir/policy"
)

// Clients are the ways in which a question leaves. Both return when their
// context ends, and are safe for concurrent use.
type Clients struct {
	// Model asks a model of ours at temperature 0 for one candidate and returns
	// its content.
	Model func(ctx context.Context, model string, messages []Message, maxTokens int) (string, error)
	// Moderate sends a body to POST /moderations of a service and returns the
	// body of its answer.
	Moderate func(ctx context.Context, service string, body []byte) ([]byte, error)
}

// Blameless marks an error that says nothing about the judge: a budget that is
// used up, a caller that has gone. A breaker does not count it.
func Blameless(err error) error { return &blamelessError{err} }

type blamelessError struct{ error }

func (e *blamelessError) Unwrap() error { return e.error }

// Judge asks. One is shared by all calls, so that they learn together that a
// judge is away. It is safe for concurrent use.
type Judge struct {
	Now func() time.Time

	mu       sync.Mutex
	breakers map[string]*breaker
}

// Ask asks about one segment, within the deadline of its rule, and returns when
// that is over. A failure is a Judgement too. It panics where the question's
// guard is not of this package.
func (j *Judge) Ask(ctx context.Context, q policy.Question, c Clients) policy.Judgement {
	g := q.Guard.(*Guard)
	unjudged := func(err error) policy.Judgement {
		return policy.Judgement{Failed: true, Cause: err, At: j.Now()}
	}
	if err := ctx.Err(); err != nil {
		return unjudged(err)
	}
	b := j.breaker(g)
	probe, ok := b.enter(j.Now())
	if !ok {
		return unjudged(nil)
	}
	how := blameless // what stands if this panics
	defer func() { b.leave(j.Now(), how, probe) }()
	within, cancel := context.WithTimeout(ctx, g.deadline)
	defer cancel()
	labels, err := g.ask(within, q, c)
	var excused *blamelessError
	switch {
	case err == nil:
		how = answered
		return policy.Judgement{Labels: labels, At: j.Now()}
	case errors.Is(err, errNonsense):
		how = answered
	case ctx.Err() == nil && !errors.As(err, &excused):
		how = failed
	}
	if ctx.Err() == nil && within.Err() != nil {
		err = fmt.Errorf("no answer within %s: %w", g.deadline, err)
	}
	return unjudged(err)
}

func (g *Guard) ask(ctx context.Context, q policy.Question, c Clients) ([]policy.Label, error) {
	if g.kind == "moderation" {
		body, err := c.Moderate(ctx, g.service, moderationRequest(g.model, q.Text))
		if err != nil {
			return nil, err
		}
		return parseModeration(body, g.at)
	}
	text, err := c.Model(ctx, g.model, conversation(q), maxTokens)
	if err != nil {
		return nil, err
	}
	return parse(g.format, text)
}

func (j *Judge) breaker(g *Guard) *breaker {
	key := g.kind + "\x00" + g.model + "\x00" + g.service
	j.mu.Lock()
	defer j.mu.Unlock()
	b := j.breakers[key]
	if b == nil {
		if j.breakers == nil {
			j.breakers = map[string]*breaker{}
		}
		b = &breaker{}
		j.breakers[key] = b
	}
	return b
}
