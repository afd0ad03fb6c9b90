package gateway

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/cache"
	"github.com/weir-gateway/weir/server/idempotency"
	"github.com/weir-gateway/weir/server/route"
	"github.com/weir-gateway/weir/server/tokens"
)

// A CacheControl is what a caller says of the cache of answers.
type CacheControl int

// What it may say.
const (
	CacheAllowed CacheControl = iota
	// CacheRenewed has the answer generated anew; it may be kept for calls that come.
	CacheRenewed
	// CacheForbidden has it generated anew, and kept for nobody.
	CacheForbidden
)

// A CacheResult is what the cache of answers had for a call.
type CacheResult string

// What it may have. A call that the cache was not asked for has no result.
const (
	CacheHit  CacheResult = "hit"
	CacheMiss CacheResult = "miss"
)

// recall is what a call has to do with the cache of answers; nil where it has
// nothing. Its methods do nothing on nil.
type recall struct {
	cache *cache.Cache
	ttl   time.Duration
	key   cache.Key
	known *cache.Answer // nil where there is none
	// said takes down what the backend of the last attempt says; nil where that is
	// not to be kept.
	said *cache.Recorder
}

// recall looks for an answer to a request as it would go to a backend: one that a
// rule redacts otherwise, or for another tenant or project, is another request.
func (g *Gateway) recall(call *Call, model *route.Model, request *backend.Request, answer *Answer) *recall {
	if model.Cache.TTL == 0 || g.Cache == nil || call.CacheControl == CacheForbidden ||
		call.Purpose != "" || call.Embedding != nil || request.Candidates > 1 || !model.Cache.Sampled && !settled(request) {
		return nil
	}
	r := &recall{cache: g.Cache, ttl: model.Cache.TTL, key: recallKey(call, *request)}
	answer.Cache = CacheMiss
	if call.CacheControl != CacheRenewed {
		r.known = r.cache.Get(r.key, g.Now(), r.ttl)
	}
	return r
}

// settled tells whether a request asks for the same answer each time, as far as a
// model can: it takes the likeliest token, or says by what seed to choose.
func settled(request *backend.Request) bool {
	return request.Seed != nil || request.Temperature != nil && *request.Temperature == 0
}

// recallKey is the same for the same text with the same parameters for the same
// model, of callers that may have each other's answers.
func recallKey(call *Call, request backend.Request) cache.Key {
	request.RequestID, request.TraceContext, request.Candidates = "", nil, 1
	return sha256.Sum256(idempotency.Spell(struct {
		Tenant, Project, Model string
		Request                backend.Request
	}{call.Caller.Tenant, call.Caller.Project, call.Model, request}))
}

// target is where the known answer comes from, where the call may go there now;
// else there is no known answer.
func (r *recall) target(tries *route.Tries) *route.Target {
	if r == nil || r.known == nil {
		return nil
	}
	return tries.Find(r.known.Backend, r.known.Model)
}

// hear returns a stream that is taken down as it is heard.
func (r *recall) hear(stream backend.Stream) backend.Stream {
	if r == nil {
		return stream
	}
	r.said = r.cache.Recorder() // what another attempt said is forgotten
	return &heardStream{stream, r.said}
}

// keep keeps what the backend said, where that was answered whole and is what was
// asked for. What rules have made of it is another matter.
func (r *recall) keep(answer *Answer, repaired bool, now time.Time) {
	if r == nil || r.said == nil || repaired || answer.Outcome != accounting.OutcomeCompleted {
		return
	}
	for _, w := range answer.Warnings {
		if w.Code == SchemaMismatch {
			return
		}
	}
	if events := r.said.Events(); events != nil {
		r.cache.Put(r.key, &cache.Answer{
			Backend: answer.Target.Backend, Model: answer.Target.Model, At: now, Events: events,
			Usage: answer.Usage, OwnUsage: answer.OwnUsage, Source: answer.Source, ServedClass: answer.ServiceClass,
		}, r.ttl)
	}
}

type heardStream struct {
	backend.Stream
	said *cache.Recorder
}

// Recv implements backend.Stream.
func (s *heardStream) Recv() (backend.Event, error) {
	event, err := s.Stream.Recv()
	if err == nil {
		s.said.Hear(event)
	}
	return event, err
}

// recalled answers with what is known: as an attempt at its target whose backend
// says it at once, is not asked, and charges nothing.
func (s *attempts) recalled(ctx context.Context, r *recall, target *route.Target) error {
	known, now := r.known, s.gateway.Now()
	age := max(0, now.Sub(known.At))
	try := &route.Try{Target: target, Reason: fmt.Sprintf("the cache has its answer, of %s ago", age.Round(time.Second))}
	a := s.at(try)
	a.known, a.served, a.first, a.decided = known, known.ServedClass, now, true
	if err := a.fit(s.model.MaxOutputTokens); err != nil {
		return err
	}
	deadline, _ := ctx.Deadline()
	hold, err := s.gateway.Ledger.HoldKnown(ctx, a.record(deadline), known.Usage, known.ServedClass, s.model.Cache.ChargePercent, s.tally)
	if err != nil {
		return refused(ctx, err)
	}
	a.output = tokens.NewCount(nil, nil, "") // it is counted already
	a.prepare(ctx, hold)
	defer func() {
		if a.tried.Outcome == "" { // something panics
			_ = a.settle(ctx, accounting.OutcomeCacheHit) // logged
		}
	}()
	s.answer.Cache, s.answer.CacheAge = CacheHit, age
	a.calling = ctx
	a.ctx, a.cancel = context.WithCancel(ctx)
	defer a.cancel()
	return a.conclude(ctx)
}

// say says the known answer.
func (a *attempt) say() backend.Stream {
	said := saidAgain(a.known.Events)
	return &said
}
