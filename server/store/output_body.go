package store

import (
	"time"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/outputlog"
	"github.com/weir-gateway/weir/policy"
)

// An outputBody is a record as it is kept, but for the columns. Its names are
// stored, so they never change. Spans are microseconds.
type outputBody struct {
	Key          string                 `json:"key,omitempty"`
	EndUser      string                 `json:"end_user,omitempty"`
	Session      string                 `json:"session,omitempty"`
	Labels       map[string]string      `json:"labels,omitempty"`
	Backend      string                 `json:"backend,omitempty"`
	BackendModel string                 `json:"backend_model,omitempty"`
	FirstOutput  int64                  `json:"first_output,omitempty"`
	Total        int64                  `json:"total"`
	Outcome      accounting.Outcome     `json:"outcome,omitempty"`
	Failure      string                 `json:"failure,omitempty"`
	Usage        accounting.Usage       `json:"usage"`
	Source       accounting.Source      `json:"source,omitempty"`
	Cost         *outputCost            `json:"cost,omitempty"`
	Verdicts     []outputVerdict        `json:"verdicts,omitempty"`
	Mode         string                 `json:"mode"`
	Probability  float64                `json:"probability"`
	Messages     *[]outputlog.Message   `json:"messages,omitempty"`
	Candidates   *[]outputlog.Candidate `json:"candidates,omitempty"`
}

type outputCost struct {
	Currency string       `json:"currency"`
	Provider int64        `json:"provider"`
	Charge   int64        `json:"charge"`
	Items    []outputItem `json:"items,omitempty"`
	Version  string       `json:"version"`
}

type outputItem struct {
	Meter    string          `json:"meter"`
	Quantity int64           `json:"quantity"`
	Price    accounting.Pico `json:"price"`
	Amount   int64           `json:"amount"`
}

type outputVerdict struct {
	Guard     string   `json:"guard"`
	Rule      string   `json:"rule"`
	Policy    string   `json:"policy"`
	Revision  int64    `json:"revision"`
	Category  string   `json:"category,omitempty"`
	Severity  string   `json:"severity"`
	Score     *float64 `json:"score,omitempty"`
	Action    string   `json:"action"`
	Stage     string   `json:"stage"`
	Candidate int      `json:"candidate,omitempty"`
	Message   int      `json:"message"`
	Part      int      `json:"part"`
	Channel   string   `json:"channel,omitempty"`
	Start     int64    `json:"start"`
	End       int64    `json:"end"`
	More      int64    `json:"more,omitempty"`
}

// The words of policy, by their numbers.
var (
	storedActions    = words(policy.Allow, policy.Shadow, policy.Flag, policy.Redact, policy.Block)
	storedSeverities = words(policy.Unspecified, policy.Low, policy.Medium, policy.High)
	storedStages     = words(policy.Input, policy.Output)
)

func words[T interface{ String() string }](list ...T) (names []string) {
	for _, v := range list {
		names = append(names, v.String())
	}
	return names
}

func outputBodyOf(r outputlog.Record) outputBody {
	b := outputBody{
		Key: r.Subject.Key, EndUser: r.Subject.EndUser, Session: r.Subject.Session, Labels: r.Subject.Labels,
		Backend: r.Backend, BackendModel: r.BackendModel, FirstOutput: r.FirstOutput.Microseconds(), Total: r.Total.Microseconds(),
		Outcome: r.Outcome, Failure: r.Failure, Usage: r.Usage, Source: r.Source, Mode: r.Mode, Probability: r.Probability,
	}
	if c := r.Cost; c != nil {
		b.Cost = &outputCost{Currency: c.Charge.Currency, Provider: c.ProviderCost.Nanos, Charge: c.Charge.Nanos, Version: c.PriceVersion}
		for _, i := range c.Items {
			b.Cost.Items = append(b.Cost.Items, outputItem{i.Meter.String(), i.Quantity, i.Price, i.Amount.Nanos})
		}
	}
	for _, v := range r.Verdicts {
		b.Verdicts = append(b.Verdicts, outputVerdict{
			Guard: v.Guard, Rule: v.Rule, Policy: v.Policy, Revision: v.Revision, Category: v.Category, Severity: v.Severity.String(),
			Score: v.Score, Action: v.Action.String(), Stage: v.Stage.String(), Candidate: v.Candidate, Message: v.Message, Part: v.Part,
			Channel: string(v.Channel), Start: v.Start, End: v.End, More: v.More,
		})
	}
	if r.Messages != nil {
		b.Messages = &r.Messages
	}
	if r.Candidates != nil {
		b.Candidates = &r.Candidates
	}
	return b
}

// fill puts into a record what the body says.
func (b *outputBody) fill(r *outputlog.Record) error {
	s := &r.Subject
	s.Key, s.EndUser, s.Session, s.Labels = b.Key, b.EndUser, b.Session, b.Labels
	r.Backend, r.BackendModel = b.Backend, b.BackendModel
	r.FirstOutput, r.Total = time.Duration(b.FirstOutput)*time.Microsecond, time.Duration(b.Total)*time.Microsecond
	r.Outcome, r.Failure, r.Usage, r.Source, r.Mode, r.Probability = b.Outcome, b.Failure, b.Usage, b.Source, b.Mode, b.Probability
	if b.Messages != nil {
		r.Messages = *b.Messages
	}
	if b.Candidates != nil {
		r.Candidates = *b.Candidates
	}
	for _, v := range b.Verdicts {
		verdict, err := v.verdict()
		if err != nil {
			return err
		}
		r.Verdicts = append(r.Verdicts, verdict)
	}
	if b.Cost == nil {
		return nil
	}
	money := func(nanos int64) accounting.Money { return accounting.Money{Currency: b.Cost.Currency, Nanos: nanos} }
	r.Cost = &accounting.Cost{ProviderCost: money(b.Cost.Provider), Charge: money(b.Cost.Charge), PriceVersion: b.Cost.Version}
	for _, i := range b.Cost.Items {
		m, err := accounting.ParseMeter(i.Meter)
		if err != nil {
			return err
		}
		r.Cost.Items = append(r.Cost.Items, accounting.Item{Meter: m, Quantity: i.Quantity, Price: i.Price, Amount: money(i.Amount)})
	}
	return nil
}

func (v *outputVerdict) verdict() (policy.Verdict, error) {
	out := policy.Verdict{
		Guard: v.Guard, Rule: v.Rule, Policy: v.Policy, Revision: v.Revision, Category: v.Category, Score: v.Score,
		Candidate: v.Candidate, Message: v.Message, Part: v.Part, Channel: policy.Channel(v.Channel), Start: v.Start, End: v.End, More: v.More,
	}
	action, err := indexOf(storedActions, v.Action)
	if err != nil {
		return out, err
	}
	severity, err := indexOf(storedSeverities, v.Severity)
	if err != nil {
		return out, err
	}
	stage, err := indexOf(storedStages, v.Stage)
	out.Action, out.Severity, out.Stage = policy.Action(action), policy.Severity(severity), policy.Stage(stage)
	return out, err
}

// A ratingBody is a rating as it is kept, but for the columns.
type ratingBody struct {
	Project   string          `json:"project,omitempty"`
	Key       string          `json:"key"`
	Rater     string          `json:"rater,omitempty"`
	Thumb     outputlog.Thumb `json:"thumb,omitempty"`
	Score     *float64        `json:"score,omitempty"`
	Grade     *int64          `json:"grade,omitempty"`
	Comment   string          `json:"comment,omitempty"`
	Corrected string          `json:"corrected,omitempty"`
}

func ratingBodyOf(r outputlog.Rating) ratingBody {
	return ratingBody{r.Project, r.Key, r.Rater, r.Thumb, r.Score, r.Grade, r.Comment, r.Corrected}
}

func (b ratingBody) fill(r *outputlog.Rating) {
	r.Project, r.Key, r.Rater, r.Thumb, r.Score, r.Grade, r.Comment, r.Corrected = b.Project, b.Key, b.Rater, b.Thumb, b.Score, b.Grade, b.Comment, b.Corrected
}
