package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/cache"
	"github.com/weir-gateway/weir/server/route"
	"github.com/weir-gateway/weir/server/tokens"
)

// attempt is one try at one target: hold, stream, settle.
type attempt struct {
	gateway *Gateway
	call    *Call
	rules   *policy.Effective
	sink    Sink
	answer  *Answer
	tally   *ledger.Tally
	target  route.Target
	try     *route.Try
	tries   *route.Tries
	number  int
	request backend.Request // as the target gets it
	// injected is the limit of output that the gateway set, 0 where the caller did;
	// dropped tell of what the target does not know.
	injected int
	dropped  []Warning

	calling context.Context    // that of the stage
	ctx     context.Context    // that of the call at the backend, which cancel ends
	cancel  context.CancelFunc // nil before begin
	end     func(Tried)
	tried   Tried
	sign    error // what the attempt tells of its target
	beside  *side // where the backend is asked in a goroutine of its own; else nil
	opening opening
	lost    bool                // another was first
	unheard error               // why the backend does not answer
	stream  backend.Stream      // its answer; nil of embeddings
	recall  *recall             // takes it down; nil where it is not kept
	known   *cache.Answer       // what is said in its place; nil where the backend is asked
	vectors *backend.Embeddings // those of its answer

	gate     *policy.Gate
	asking   *asking                 // nil where no rule asks
	ends     []backend.FinishReason  // why each candidate ended by the backend's word
	finish   []backend.FinishReason  // and what is told of it, "" while some of it is held
	whole    int                     // candidates that the backend has finished
	calls    []toolCalls             // by candidate
	courses  []courses               // by candidate
	shown    []shown                 // by candidate
	enforced bool                    // a rule can change the answer
	pieces   []policy.Piece          // released by the last event; reused
	released bool                    // the sink has got something
	gathers  bool                    // it is flushed before the backend is waited for, and not with each piece
	unsent   bool                    // it has got something since it was flushed
	gone     error                   // a flush has failed with
	asked    bool                    // the backend has been called
	accepted bool                    // the backend has taken the request
	first    time.Time               // when the backend first said something, zero before
	usage    accounting.Usage        // what the backend says was used
	served   accounting.ServiceClass // and the class of service that it says has served
	spent    int64                   // tokens that the call is known to have used here
	output   *tokens.Count           // what we counted of it
	room     *ledger.Hold            // what the attempt may use and cost
	partial  *ledger.Hold            // the same, where it covers less than the answer may get; else nil
	full     bool                    // there is room for what was said, and for no more
	cut      bool                    // by that the answer has ended

	mediaBytes int // of the answer so far

	patience *patience // nil where no other target is left
	decided  bool      // whether there is another attempt
	another  bool      // and what was decided

	structured bool          // the content is JSON
	input      tokens.Prompt // what we counted of the prompt
}

// run holds money, calls the target, relays its answer and settles. Of an
// embedding it is the same, but for what is asked of the target and comes back:
// see embed.go.
func (a *attempt) run(ctx context.Context, defaultMax int) error {
	defer a.leave()
	if err := a.hold(ctx, defaultMax); err != nil {
		return err
	}
	a.begin(ctx)
	defer a.abandon(ctx)
	return a.conclude(ctx)
}

// leave tells the target how the attempt ended.
func (a *attempt) leave() { a.try.Done(a.gateway.Now(), a.sign) }

// begin is the moment before the backend is called.
func (a *attempt) begin(ctx context.Context) {
	a.calling, a.end = a.gateway.follower().Attempt(ctx, a.call, Try{Number: a.number, Target: a.target, Request: &a.request})
	a.tried.Outcome = accounting.OutcomeBroken // what stands if something panics
	a.ctx, a.cancel = context.WithCancel(a.calling)
	a.patience = a.wait(a.ctx, a.cancel)
}

// abandon ends what has begun, once; it settles what nothing else has settled.
func (a *attempt) abandon(ctx context.Context) {
	if a.end == nil {
		return
	}
	a.cancel()
	a.patience.end()
	if a.beside != nil {
		<-a.beside.done
	}
	if a.tried.Outcome == accounting.OutcomeBroken {
		_ = a.settle(ctx, a.tried.Outcome) // logged; nothing, where conclude has settled
	}
	a.end(a.tried)
	a.end = nil
}

// conclude makes of the answer of the call what the target says: all that attempts
// do to what they have in common is done here.
func (a *attempt) conclude(ctx context.Context) (err error) {
	defer func() { a.tried.Err = err }()
	a.introduce()
	if a.gate.Asks() {
		a.asking = a.gateway.ask(a.calling, a.call)
		defer a.asking.stop()
	}

	// 6 stream: from the backend through the gate and its screen to the caller.
	failure := a.serve()
	a.sign = failure
	a.answer.Finish = a.finish
	a.tried.FirstEvent, a.tried.End, a.tried.Finish = a.first, a.gateway.Now(), a.finish
	a.tried.BackendModel = a.answer.Target.BackendModel

	// 7 settle, before the caller hears that it is over.
	a.tried.Outcome = a.outcome(ctx, failure)
	err = a.settle(ctx, a.tried.Outcome)
	if failure == nil || a.released {
		a.hear(ctx)
	}
	a.answer.Verdicts = append(a.answer.Verdicts, a.gate.Verdicts()...)
	a.answer.UnjudgedBytes += a.gate.UnjudgedBytes()
	if err != nil {
		return cannotAccount(err, a.released)
	}
	if failure != nil {
		return a.failed(ctx, failure)
	}
	return nil
}

// introduce makes the answer that of this attempt.
func (a *attempt) introduce() {
	t := &a.answer.Target
	t.Model, t.Backend, t.BackendModel, t.Reason = a.target.Model, a.target.Name, "", a.try.Reason
	t.InjectedMaxOutputTokens = a.injected
	a.answer.Extras = nil
	if a.request.DropUnsupported {
		// What a target before this one did not know is nobody's business any more.
		a.answer.Warnings = slices.DeleteFunc(a.answer.Warnings, func(w Warning) bool { return w.Code == ParameterDropped })
		a.answer.Warnings = append(a.answer.Warnings, a.dropped...)
	}
}

// fit checks the request against what the target can do and bounds its output.
func (a *attempt) fit(defaultMax int) error {
	req := &a.request
	can := a.target.Backend.Capabilities(a.target.Model)
	req.RequestID, req.Model = a.call.RequestID, a.target.Model
	if a.call.Embedding != nil {
		return a.fitEmbedding(can)
	}
	if req.Candidates == 0 {
		req.Candidates = 1
	}
	if req.DropUnsupported {
		a.drop(req, can)
	}
	if err := a.fitClass(req, can); err != nil {
		return err
	}
	switch {
	case can.Candidates == 0:
		return unsupported("model", fmt.Sprintf("model %q gives embeddings and no answers: ask it for those, or name another model", a.call.Model))
	case req.Candidates > can.Candidates:
		return unsupported("config.candidate_count", fmt.Sprintf("model %q gives at most %d candidates a call", a.call.Model, can.Candidates))
	case req.Seed != nil && !can.Seed:
		return unsupported("config.seed", fmt.Sprintf("model %q takes no seed", a.call.Model))
	case req.TopK != nil && !can.TopK:
		return unsupported("config.top_k", fmt.Sprintf("model %q takes no top_k", a.call.Model))
	case req.FrequencyPenalty != nil && !can.Penalties:
		return unsupported("config.frequency_penalty", fmt.Sprintf("model %q takes no penalties", a.call.Model))
	case req.PresencePenalty != nil && !can.Penalties:
		return unsupported("config.presence_penalty", fmt.Sprintf("model %q takes no penalties", a.call.Model))
	case len(req.Tools) > 0 && !can.Tools:
		return unsupported("tools", fmt.Sprintf("model %q takes no tools", a.call.Model))
	case req.Format != nil && req.Format.Schema == nil && !can.JSON:
		return unsupported("config.response_format", fmt.Sprintf("model %q cannot be held to answer in JSON", a.call.Model))
	case req.Format != nil && req.Format.Schema != nil && !can.Schema:
		return unsupported("config.response_format", fmt.Sprintf("model %q cannot be held to a JSON Schema", a.call.Model))
	}
	if err := a.fitMore(req, can); err != nil {
		return err
	}
	// A hold needs a bound, so a call that sets none gets one, and is told.
	if req.MaxOutputTokens == nil {
		limit := defaultMax
		if can.MaxOutputTokens > 0 && limit > can.MaxOutputTokens {
			limit = can.MaxOutputTokens
		}
		req.MaxOutputTokens = &limit
		a.injected = limit
	}
	return nil
}

// hold claims the dearest outcome, where the target can do what is asked: the
// longest prompt that the text can be, and all the output that was asked for.
func (a *attempt) hold(ctx context.Context, defaultMax int) error {
	if err := a.fit(defaultMax); err != nil {
		return err
	}
	req := &a.request
	a.input = a.count(req)
	var most accounting.Usage
	most.Set(inputMeter(req), a.input.Most)
	most.Set(accounting.Output, 0)
	if req.MaxOutputTokens != nil {
		most.Set(accounting.Output, int64(*req.MaxOutputTokens)*int64(req.Candidates))
	}
	most.Set(accounting.Requests, 1)

	deadline, _ := ctx.Deadline()
	hold, err := a.gateway.Ledger.Hold(ctx, a.record(deadline), most, a.tally)
	if err != nil {
		return refused(ctx, err)
	}
	a.output = tokens.NewCount(a.target.Backend, a.target.Tokenizer, req.Model)
	a.prepare(ctx, hold)
	return nil
}

// record is what the ledger gets to know of the attempt before anything is used.
func (a *attempt) record(deadline time.Time) accounting.Attempt {
	return accounting.Attempt{
		RequestID: a.call.RequestID, Number: a.number, ClientRequestID: a.call.ClientRequestID,
		ParentRequestID: a.call.ParentRequestID, Purpose: a.call.Purpose,
		Subject: a.call.account(), Model: a.call.Model, Backend: a.target.Name, BackendModel: a.target.Model, Reason: a.try.Reason, AskedClass: a.request.ServiceClass,
		Start: a.gateway.Now(), Deadline: deadline,
	}
}

// prepare makes what an answer goes through, within what is held for it.
func (a *attempt) prepare(ctx context.Context, hold *ledger.Hold) {
	req := &a.request
	a.room = hold
	if _, all := hold.Covers(); !all {
		a.partial = hold
	}
	for _, e := range hold.Excesses() {
		a.gateway.Log.WarnContext(ctx, e.String(), "request_id", a.call.RequestID, "attempt", a.number)
	}
	a.answer.Excesses = append(a.answer.Excesses, hold.Excesses()...)
	a.answer.Attempts = a.number
	a.gate = a.rules.Gate(lastPrompt(req))
	a.structured = req.Format != nil
	a.calls = make([]toolCalls, req.Candidates)
	a.courses = make([]courses, req.Candidates)
	a.shown = make([]shown, req.Candidates)
	a.enforced = a.rules.Enforces(policy.Output)
	a.ends = make([]backend.FinishReason, req.Candidates)
	a.finish = make([]backend.FinishReason, req.Candidates)
}

// follow passes on what a stream of the context says, which cancel ends, until the
// answer is whole and released, or until every candidate has ended with a block.
// What cuts it short before is its error.
func (a *attempt) follow(ctx context.Context, cancel context.CancelFunc, stream backend.Stream) (err error) {
	defer func() {
		if gone := a.send(); gone != nil {
			err = gone
		}
	}()
	var next func() (backend.Event, error)
	if a.asking == nil {
		next = a.gather(cancel, stream)
	} else {
		p := newPump(ctx, stream)
		defer func() { cancel(); <-p.ended }()
		next = func() (backend.Event, error) { return a.next(ctx, p) }
	}

	for slices.Contains(a.finish, "") {
		event, err := next()
		if isSinkError(err) {
			return err
		}
		if err != nil {
			return a.flush(ctx, a.patience.blame(err))
		}
		a.patience.heard()
		c := event.Candidate
		if c < 0 || c >= len(a.finish) {
			return a.flush(ctx, &backend.Error{Class: backend.Protocol, Detail: fmt.Sprintf("candidate %d of %d", c, len(a.finish))})
		}
		switch event.Kind {
		case backend.Started:
			a.named(event.BackendModel)
			continue
		case backend.Used, backend.Beside, backend.Served:
			a.told(event)
			continue
		case backend.Called:
			a.heard()
			piece, err := a.called(event)
			if err != nil {
				return a.flush(ctx, err)
			}
			a.output.Add(c, backend.Channel(piece.Channel), event.Tool)
			if !a.covered(ctx) {
				return a.cutOff(ctx)
			}
			a.pieces = a.gate.Write(a.pieces[:0], piece)
		case backend.Delta:
			a.heard()
			channel, err := a.channel(event)
			if err != nil {
				return a.flush(ctx, err)
			}
			a.output.Add(c, backend.Channel(channel), event.Text)
			a.said(event)
			if !a.covered(ctx) {
				return a.cutOff(ctx)
			}
			a.pieces = a.gate.Write(a.pieces[:0], policy.Piece{Candidate: c, Channel: channel, Text: event.Text})
		case backend.Shown:
			a.heard()
			if err := a.show(event); err != nil {
				return a.flush(ctx, err)
			}
			if !a.covered(ctx) {
				return a.cutOff(ctx)
			}
		case backend.Signed:
			a.heard()
			if err := a.signed(event); err != nil {
				return err
			}
			continue
		case backend.Finished:
			a.heard()
			a.whole++
			a.ends[c] = event.Finish
			a.pieces = a.gate.End(a.pieces[:0], c)
		}
		if err := a.release(); err != nil {
			return err
		}
		if a.full {
			return a.cutOff(ctx)
		}
	}
	if a.whole < len(a.finish) {
		return nil // blocked: the backend is cancelled, and pays for what it said
	}
	for { // the backend has said all; its usage comes last
		event, err := next()
		if err != nil {
			return nil
		}
		a.told(event)
	}
}

// next returns what the backend says next. Answers of judges that come before
// are taken; then the event has no kind where they have ended a candidate.
func (a *attempt) next(ctx context.Context, p *pump) (backend.Event, error) {
	for before := a.open(); ; {
		a.asking.start(a.gate.Ask())
		events := p.events
		if a.gate.Full() || a.whole == len(a.finish) && a.open() > 0 {
			events = nil // the backend waits for the judges
		}
		select {
		case r := <-events:
			return r.event, r.err
		case got := <-a.asking.answers:
			if err := a.take(ctx, got); err != nil {
				return backend.Event{}, err
			}
			if a.open() < before {
				return backend.Event{}, nil
			}
		case <-ctx.Done():
			return backend.Event{}, ctx.Err()
		}
	}
}

// named takes the backend's name for the model. No judge was asked about it, so
// where one holds the answer back only the name that we know ourselves may pass.
func (a *attempt) named(model string) {
	if a.rules.Clean(model) && (!a.rules.Holds() || model == a.target.Model) {
		a.answer.Target.BackendModel = model
	}
}

// open counts the candidates of which something may come.
func (a *attempt) open() (n int) {
	for _, f := range a.finish {
		if f == "" {
			n++
		}
	}
	return n
}

// take hands an answer of a judge to the gate, and what that releases to the
// caller. Where the call is over it is not a judgement but a question that was
// given up.
func (a *attempt) take(ctx context.Context, got answered) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	a.patience.heard() // it was not the backend that kept us waiting
	a.pieces = a.gate.Answer(a.pieces[:0], got.id, got.judgement)
	return a.release()
}

// flush ends the answer where it broke off: what is held is judged as the end
// of the text. It is dropped where the caller is gone, and where another
// target can answer since the caller has seen nothing of this one.
func (a *attempt) flush(ctx context.Context, cause error) error {
	if errors.Is(ctx.Err(), context.Canceled) || (!a.seen() && elsewhereHelps(cause) && a.again()) {
		return cause
	}
	for c := range a.finish {
		if a.finish[c] != "" {
			continue
		}
		a.pieces = a.gate.End(a.pieces[:0], c)
		if err := a.release(); err != nil {
			return err
		}
	}
	for c := range a.finish {
		for !a.gate.Ended(c) {
			// Past the deadline of the call nobody judges any more, and each rule
			// says what holds then.
			a.asking.start(a.gate.Ask())
			got := <-a.asking.answers
			if errors.Is(ctx.Err(), context.Canceled) {
				return cause
			}
			a.pieces = a.gate.Answer(a.pieces[:0], got.id, got.judgement)
			if err := a.release(); err != nil {
				return err
			}
		}
	}
	return cause
}

// hear waits for the judges that hold nothing back.
func (a *attempt) hear(ctx context.Context) {
	for a.gate.Waits() {
		a.asking.start(a.gate.Ask())
		select {
		case got := <-a.asking.answers:
			if a.take(ctx, got) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

// outcome tells what became of the attempt.
func (a *attempt) outcome(ctx context.Context, failure error) accounting.Outcome {
	switch {
	case a.known != nil:
		return accounting.OutcomeCacheHit // whatever the caller gets of it
	case failure == nil && a.blocked():
		return accounting.OutcomeBlocked
	case failure == nil && a.cut:
		return accounting.OutcomeCut
	case failure == nil:
		return accounting.OutcomeCompleted
	case !a.accepted:
		return accounting.OutcomeFailed
	case isSinkError(failure) || errors.Is(ctx.Err(), context.Canceled):
		return accounting.OutcomeCancelled
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return accounting.OutcomeDeadline
	case !a.first.IsZero():
		return accounting.OutcomeBroken
	}
	return accounting.OutcomeFailed
}

// blocked tells whether an output rule has ended every candidate.
func (a *attempt) blocked() bool {
	for _, f := range a.finish {
		if f != backend.FinishSafety {
			return false
		}
	}
	return len(a.finish) > 0
}

// settle turns the hold into a ledger line. The provider's usage counts where
// it has finished its answer; else our own count of what it said.
func (a *attempt) settle(ctx context.Context, outcome accounting.Outcome) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	own, source := a.counted()
	result := ledger.Result{Outcome: outcome, Usage: own, Source: source, OwnUsage: own, ServedClass: a.served}
	switch {
	case a.known != nil:
		result.Usage, result.Source, result.OwnUsage = a.known.Usage, a.known.Source, a.known.OwnUsage
	case outcome == accounting.OutcomeFailed, !a.asked:
		result.Usage, result.Source = accounting.Usage{}, accounting.SourceGateway
	case a.whole == len(a.finish) && a.usage.Known():
		result.Usage, result.Source = a.reported(own, source)
	}
	if !a.lost && a.known == nil { // of which the answer tells nothing
		a.answer.used += result.Usage.Tokens() - a.spent
		a.spent = result.Usage.Tokens()
	}
	settling, settled := a.gateway.follower().Settle(ctx)
	cost, err := a.room.Settle(settling, result)
	settled(err)
	if err != nil {
		a.gateway.Log.ErrorContext(ctx, "settle failed; the hold will be settled in doubt", "request_id", a.call.RequestID, "attempt", a.number, "error", err)
		return err
	}
	a.tried.Usage, a.tried.Cost = result.Usage, cost
	if !a.lost {
		a.answer.Outcome, a.answer.Usage, a.answer.Source, a.answer.Cost = outcome, result.Usage, result.Source, cost
		a.answer.OwnUsage, a.answer.ServiceClass = result.OwnUsage, a.served
	}
	return nil
}

// reported is what the backend says was used. A side of which it says nothing is
// not zero: our own count stands in for it, and for the trust in the whole.
func (a *attempt) reported(own accounting.Usage, ownSource accounting.Source) (accounting.Usage, accounting.Source) {
	u, source := a.usage, accounting.SourceProvider
	fill := func(meters ...accounting.Meter) {
		for _, m := range meters {
			if n, known := own.Get(m); known {
				u.Set(m, n)
			}
		}
		source = ownSource
	}
	if _, known := u.InputTokens(); !known {
		fill(accounting.Input)
	}
	if _, known := u.OutputTokens(); !known {
		fill(accounting.Output, accounting.Reasoning)
	}
	u.Set(accounting.Requests, 1)
	return u, source
}

// counted is our own count of the call so far.
func (a *attempt) counted() (accounting.Usage, accounting.Source) {
	content, reasoning, exact := a.output.Output()
	var u accounting.Usage
	u.Set(accounting.Input, a.input.Tokens)
	u.Set(accounting.Output, content)
	if reasoning > 0 {
		u.Set(accounting.Reasoning, reasoning)
	}
	u.Set(accounting.Requests, 1)
	if exact && a.input.Exact {
		return u, accounting.SourceGateway
	}
	return u, accounting.SourceEstimate
}
