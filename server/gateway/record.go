package gateway

import (
	"cmp"
	"errors"

	"github.com/weir-gateway/weir/accounting/outputlog"
	"github.com/weir-gateway/weir/policy"
	"github.com/weir-gateway/weir/server/backend"
)

// keeping is what a call leaves for the output log. The zero value leaves
// nothing. What was said is gathered only where the mode keeps it.
type keeping struct {
	outputs  policy.Outputs
	content  bool
	messages []backend.Message // as the backend got them; nil where none did
	said     Collector
	whole    bool // the caller gets the answer whole, or not at all
}

// begin decides what is kept, and returns the sink to write to. Of an inner call
// nothing is: what a judge is asked has not been released.
func (k *keeping) begin(call *Call, outputs policy.Outputs, sink Sink) Sink {
	if call.Purpose != "" || outputs.Mode == outputlog.ModeNone || !outputlog.Sampled(call.RequestID, outputs.Sample) {
		return sink
	}
	k.outputs, k.content = outputs, outputlog.KeepsContent(outputs.Mode)
	if !k.content {
		return sink
	}
	_, k.whole = sink.(Restarter)
	return gather(sink, &k.said)
}

// gather returns a sink that collects what is released to another.
func gather(sink Sink, said *Collector) Sink {
	if r, restarts := sink.(Restarter); restarts {
		return &gatheredAgain{r, said}
	}
	return &gathered{sink, said}
}

// some tells whether there is something to record.
func (k *keeping) some() bool { return k.outputs.Mode != "" }

// sent notes what goes to a backend, with its placeholders.
func (k *keeping) sent(messages []backend.Message) {
	if k.content {
		k.messages = messages
	}
}

// gathered collects what is released.
type gathered struct {
	Sink
	said *Collector
}

// Delta implements Sink.
func (s *gathered) Delta(d Delta) error {
	if err := s.Sink.Delta(d); err != nil {
		return err
	}
	return s.said.Delta(d)
}

// gatheredAgain is a gathered that can begin again.
type gatheredAgain struct {
	Restarter
	said *Collector
}

// Delta implements Sink.
func (s *gatheredAgain) Delta(d Delta) error {
	if err := s.Restarter.Delta(d); err != nil {
		return err
	}
	return s.said.Delta(d)
}

// Restart implements Restarter.
func (s *gatheredAgain) Restart() {
	s.said.Restart()
	s.Restarter.Restart()
}

// record is the call as the output log gets it.
func (k *keeping) record(call *Call, answer *Answer, err error) outputlog.Record {
	r := outputlog.Record{
		RequestID: call.RequestID, Subject: call.account(),
		Model: call.Model, Backend: answer.Target.Backend, BackendModel: cmp.Or(answer.Target.BackendModel, answer.Target.Model),
		Start: answer.Start, Total: answer.End.Sub(answer.Start),
		Outcome: answer.Outcome, Usage: answer.Usage, Source: answer.Source, Cost: answer.Cost, Verdicts: answer.Verdicts,
		Mode: k.outputs.Mode, Probability: outputlog.Probability(k.outputs.Sample),
		Expires: answer.Start.Add(cmp.Or(k.outputs.Keep, outputlog.DefaultKeep)),
	}
	if !answer.FirstOutput.IsZero() {
		r.FirstOutput = answer.FirstOutput.Sub(answer.Start)
	}
	ended := endedBy(err)
	var failure *Error
	switch {
	case errors.As(err, &failure):
		r.Failure, r.Finish = string(failure.Reason), ended
	case len(answer.Finish) > 0:
		r.Finish = string(answer.Finish[0])
	}
	if k.messages == nil {
		return r // blocked, or not kept
	}
	r.Messages = make([]outputlog.Message, len(k.messages))
	for i, m := range k.messages {
		r.Messages[i] = message(m)
	}
	if k.whole && err != nil {
		k.said.Restart()
	}
	r.Candidates = k.candidates(answer, ended)
	return r
}

func message(m backend.Message) outputlog.Message {
	out := outputlog.Message{Role: string(m.Role), Name: m.Name, Parts: make([]outputlog.Part, len(m.Parts))}
	for i, p := range m.Parts {
		out.Parts[i] = partOf(p)
	}
	return out
}

// partOf is a part as the output log keeps it: of media what it was, and none of
// its bytes.
func partOf(p backend.Part) outputlog.Part {
	out := outputlog.Part{Channel: string(p.Channel), Text: p.Text, CallID: p.CallID, Tool: p.Tool, Failed: p.Failed}
	if m := p.Media; m != nil {
		out.Modality, out.Type, out.Bytes = string(m.Modality), m.Type, int64(len(m.Data))
	}
	return out
}

// candidates are what the caller was told. One that never ended did so by what
// ended the call.
func (k *keeping) candidates(answer *Answer, ended string) []outputlog.Candidate {
	said := k.said.Candidates()
	list := make([]outputlog.Candidate, max(len(said), len(answer.Finish)))
	for i := range list {
		list[i].Finish = ended
		if i < len(answer.Finish) {
			list[i].Finish = cmp.Or(string(answer.Finish[i]), ended)
		}
		if i < len(said) {
			list[i].Parts = collectedParts(said[i])
		}
	}
	return list
}

func collectedParts(said Collected) (parts []outputlog.Part) {
	for _, p := range []outputlog.Part{
		{Channel: string(backend.Reasoning), Text: said.Reasoning},
		{Channel: string(backend.Content), Text: said.Content},
		{Channel: string(backend.Refusal), Text: said.Refusal},
	} {
		if p.Text != "" {
			parts = append(parts, p)
		}
	}
	for _, p := range said.Parts {
		if p.Media != nil || p.Channel == backend.Transcript {
			parts = append(parts, partOf(p))
		}
	}
	for _, c := range said.Calls {
		parts = append(parts, outputlog.Part{Channel: string(backend.Arguments), Text: c.Arguments, CallID: c.ID, Tool: c.Tool})
	}
	return parts
}

// endedBy is the finish reason of a call that failed, in the words of weir.v1.
func endedBy(err error) string {
	var failure *Error
	if !errors.As(err, &failure) {
		return ""
	}
	switch failure.Reason {
	case InputBlocked:
		return string(backend.FinishSafety)
	case BudgetExhausted:
		return outputlog.FinishBudget
	case DeadlineExceeded:
		return outputlog.FinishDeadline
	case Cancelled:
		return outputlog.FinishCancelled
	case BackendOverloaded, BackendUnavailable, BackendProtocol, BackendCredentials, StreamBroken:
		return outputlog.FinishBackendError
	}
	return ""
}
