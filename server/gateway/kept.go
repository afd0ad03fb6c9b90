package gateway

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/weir-gateway/weir/accounting/ledger"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/idempotency"
	"github.com/weir-gateway/weir/server/tokens"
)

// keptVersion is that of a kept answer's form. One of another version is not
// read: it is forgotten within a day.
const keptVersion = 1

// kept is an answer as it was given, with what was found in it and what it
// cost. It is stored as JSON, sealed.
type kept struct {
	Version  int
	Answer   Answer           // without its Verdicts and Vectors
	Verdicts []keptVerdict    // that changed the answer
	Parts    [][]backend.Part // by candidate
	// Vectors are those of Answer, 32 bits a number, in Vectors of one Length.
	Vectors []byte
	Length  int
}

// keptVerdict has as numbers what a document says in words, which has no word
// for what is not said.
type keptVerdict struct {
	policy.Verdict
	Severity, Action int
}

func seal(key *idempotency.Key, answer *Answer, said *Collector) ([]byte, error) {
	k := kept{Version: keptVersion, Answer: *answer}
	k.Answer.Vectors, k.Answer.Verdicts, k.Answer.Excesses, k.Answer.Hedges = nil, nil, nil, nil
	// Of what was found only that stays which is in the answer no more, and so
	// cannot be found again.
	for _, v := range answer.Verdicts {
		if v.Stage == policy.Output && v.Action.Enforcing() {
			k.Verdicts = append(k.Verdicts, keptVerdict{v, int(v.Severity), int(v.Action)})
		}
	}
	for _, c := range said.Candidates() {
		k.Parts = append(k.Parts, c.Parts)
	}
	for _, v := range answer.Vectors {
		k.Length = len(v)
		for _, x := range v {
			k.Vectors = binary.LittleEndian.AppendUint32(k.Vectors, math.Float32bits(x))
		}
	}
	text, err := json.Marshal(&k)
	if err != nil || len(text) > mostKept {
		return nil, err
	}
	return key.Seal(answer.RequestID, text)
}

func unseal(key *idempotency.Key, found idempotency.Standing) (*kept, error) {
	text, err := key.Open(found.RequestID, found.Answer)
	if err != nil {
		return nil, err
	}
	var k kept
	switch err := json.Unmarshal(text, &k); {
	case err != nil:
		return nil, fmt.Errorf("the kept answer of call %s is not in its form", found.RequestID) // the cause may quote it
	case k.Version != keptVersion || k.Length < 0 || len(k.Parts) > len(k.Answer.Finish):
		return nil, fmt.Errorf("the kept answer of call %s is of version %d, which this Weir does not read", found.RequestID, k.Version)
	}
	for _, v := range k.Verdicts {
		v.Verdict.Severity, v.Verdict.Action = policy.Severity(v.Severity), policy.Action(v.Action)
		k.Answer.Verdicts = append(k.Answer.Verdicts, v.Verdict)
	}
	for rest := k.Vectors; k.Length > 0 && len(rest) >= 4*k.Length; rest = rest[4*k.Length:] {
		v := make([]float32, k.Length)
		for i := range v {
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(rest[4*i:]))
		}
		k.Answer.Vectors = append(k.Answer.Vectors, v)
	}
	return &k, nil
}

// repeat answers a call with an answer that was given before, judged as if the
// backend said it now. Nothing is held or charged but what rules ask.
func (g *Gateway) repeat(ctx context.Context, call *Call, rules *policy.Effective, request *backend.Request, k *kept, sink Sink, answer *Answer) error {
	start := answer.Start
	*answer = k.Answer
	answer.Replayed = true
	answer.Start, answer.FirstOutput, answer.End = start, time.Time{}, time.Time{}
	answer.UnjudgedBytes = 0
	if call.Embedding != nil {
		return nil
	}
	first := *call
	first.RequestID = answer.RequestID // calls of tools are named by it
	n := len(answer.Finish)
	a := attempt{
		gateway: g, call: &first, rules: rules, sink: sink, answer: answer,
		gate: rules.Gate(lastPrompt(request)), structured: request.Format != nil, enforced: rules.Enforces(policy.Output),
		calls: make([]toolCalls, n), courses: make([]courses, n), shown: make([]shown, n),
		ends: make([]backend.FinishReason, n), finish: make([]backend.FinishReason, n),
		output: tokens.NewCount(nil, nil, ""), room: new(ledger.Hold), // there is room for all of it
		accepted: true, first: start, decided: true,
	}
	if a.gate.Asks() {
		a.asking = g.ask(ctx, a.call)
		defer a.asking.stop()
	}
	again, cancel := context.WithCancel(ctx)
	defer cancel()
	failure := a.follow(again, cancel, k.stream())
	answer.Finish = a.finish
	if failure == nil || a.released {
		a.hear(ctx)
	}
	answer.Verdicts = append(answer.Verdicts, a.gate.Verdicts()...)
	answer.UnjudgedBytes = a.gate.UnjudgedBytes()
	if failure != nil {
		return a.failed(ctx, failure)
	}
	return nil
}

// stream is the answer as its backend would say it.
func (k *kept) stream() backend.Stream {
	var said saidAgain
	for c, finish := range k.Answer.Finish {
		call := 0
		var parts []backend.Part
		if c < len(k.Parts) {
			parts = k.Parts[c]
		}
		for _, p := range parts {
			e := backend.Event{Kind: backend.Delta, Candidate: c, Channel: p.Channel, Text: p.Text, Logprobs: p.Logprobs}
			switch {
			case p.Media != nil:
				e = backend.Event{Kind: backend.Shown, Candidate: c, Media: p.Media}
			case p.Channel == backend.Arguments:
				said = append(said, backend.Event{Kind: backend.Called, Candidate: c, Call: call, CallID: p.CallID, Tool: p.Tool})
				e.Call = call
				call++
			}
			said = append(said, e)
			if p.Signature != nil {
				said = append(said, backend.Event{Kind: backend.Signed, Candidate: c, Channel: p.Channel, Call: e.Call, Signature: p.Signature})
			}
		}
		said = append(said, backend.Event{Kind: backend.Finished, Candidate: c, Finish: finish})
	}
	return &said
}

// saidAgain is a stream of what was said before.
type saidAgain []backend.Event

// Recv implements backend.Stream.
func (s *saidAgain) Recv() (backend.Event, error) {
	if len(*s) == 0 {
		return backend.Event{}, io.EOF
	}
	e := (*s)[0]
	*s = (*s)[1:]
	return e, nil
}

// Close implements backend.Stream.
func (s *saidAgain) Close() error { return nil }
