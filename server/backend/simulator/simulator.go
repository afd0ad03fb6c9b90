// Package simulator is a model of a model: a backend that answers without
// weights, deterministically, with exact usage and with the delays and faults
// of a real server on request. Demos run on it, and the tests of everything
// above the backend contract do. It has no network, no files and no opinion
// on what is asked; it knows nothing of the gateway.
//
// The same request gets the same answer. Its chance comes from the request's
// seed, or from the model and the messages where there is none.
//
// The last user message can steer the answer. A line that starts with one of
// these words is an instruction; the others are the prompt:
//
//	say: TEXT       the answer is exactly TEXT, to the end of the message, over lines too
//	refuse: TEXT    the same, as a refusal
//	think: TEXT     the answer is preceded by TEXT as reasoning, to the end of the line
//	tokens: N       the answer is prose of exactly N tokens
//	call: TOOL JSON the answer calls a tool with these arguments; several lines, several calls
//	describe:       the answer says what media the request has
//	draw: WxH       the answer ends with an image of so many pixels, a PNG
//
// Where the request asks for images, every answer of words ends with one, of 64x64
// pixels where no instruction says another size.
//
// Where the request asks for reasoning, an answer that is told none begins with
// a sentence of it. Reasoning is signed, and comes back with its signature or
// with none: another is refused.
//
// Where the last message is a tool's, the answer is what the tool said.
// Everything else is answered with a few plain sentences that take up words
// of the prompt, in Chinese where the prompt is mainly Chinese.
package simulator

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/weir-gateway/weir/server/backend"
)

// MaxCandidates is the most answers of one call.
const MaxCandidates = 16

// A Fault is a way in which a model fails on every call.
type Fault string

// The faults.
const (
	FaultNone Fault = ""
	// FaultError fails before the first event.
	FaultError Fault = "error"
	// FaultOverloaded sheds the call before the first event and asks to be
	// called again after RetryAfter.
	FaultOverloaded Fault = "overloaded"
	// FaultRateLimited refuses the call as one too many, and asks to be called
	// again after RetryAfter, where that is set.
	FaultRateLimited Fault = "rate_limited"
	// FaultRefused takes no connection.
	FaultRefused Fault = "refused"
	// FaultReset takes the call and drops the connection before the first token.
	FaultReset Fault = "reset"
	// FaultUsage answers well and reports a usage that is not true: twice the
	// output, and of the input nothing.
	FaultUsage Fault = "usage"
	// FaultStall sends FaultAfter tokens and then nothing until the context ends.
	FaultStall Fault = "stall"
	// FaultCut breaks off after FaultAfter tokens in the middle of one more,
	// which it has generated and accounts for but of which no rune is whole.
	FaultCut Fault = "cut"
	// FaultGarbage says something that makes no sense after FaultAfter tokens, as
	// JSON that cannot be read or a frame without end do.
	FaultGarbage Fault = "garbage"
)

// A Profile says how one model behaves. The zero Profile answers at once and
// never fails.
type Profile struct {
	// TimeToFirstToken is the delay before the first token.
	TimeToFirstToken time.Duration
	// TokensPerSecond is the speed of each candidate after that. 0 is no delay.
	TokensPerSecond float64
	// Jitter is the share, from 0 to 1, by which the time between two tokens
	// varies up and down.
	Jitter float64

	// ContextTokens bounds input and output together. 0 is no bound.
	ContextTokens int
	// CachedShare is the share of the input, from 0 to 1, that is reported as
	// read from a cache.
	CachedShare float64
	// CacheTokens is the size of a cache of prompts: then what is reported as read
	// from a cache is the beginning of a prompt that this model has seen lately,
	// and CachedShare has no meaning. 0 is no such cache.
	CacheTokens int

	// Dimensions are the numbers of a vector of a model that gives embeddings, and
	// nothing else; 0 is a model that answers. It is silent until
	// TimeToFirstToken, and ContextTokens bounds each text.
	Dimensions int

	// Fault is how the model fails, FaultAfter the tokens before a stall, a
	// cut or garbage, RetryAfter what an overloaded or limiting model asks for.
	Fault      Fault
	FaultAfter int
	RetryAfter time.Duration
}

// Validate names the first field that makes no sense.
func (p Profile) Validate() error {
	share := func(f float64) bool { return f >= 0 && f <= 1 } // false for NaN
	switch {
	case p.TimeToFirstToken < 0:
		return fmt.Errorf("time to first token is %v: it must not be negative", p.TimeToFirstToken)
	case !(p.TokensPerSecond >= 0) || math.IsInf(p.TokensPerSecond, 0):
		return fmt.Errorf("tokens per second are %v: write a number above 0, or 0 for no delay", p.TokensPerSecond)
	case !share(p.Jitter):
		return fmt.Errorf("jitter is %v: write a share from 0 to 1", p.Jitter)
	case p.ContextTokens < 0:
		return fmt.Errorf("context tokens are %d: write a number above 0, or 0 for no bound", p.ContextTokens)
	case !share(p.CachedShare):
		return fmt.Errorf("cached share is %v: write a share from 0 to 1", p.CachedShare)
	case p.CacheTokens < 0:
		return fmt.Errorf("cache tokens are %d: write a number above 0, or 0 for no cache", p.CacheTokens)
	case p.Dimensions < 0:
		return fmt.Errorf("dimensions are %d: write a number above 0, or 0 for a model that answers", p.Dimensions)
	case p.FaultAfter < 0:
		return fmt.Errorf("fault after %d tokens: it must not be negative", p.FaultAfter)
	case p.RetryAfter < 0:
		return fmt.Errorf("retry after %v: it must not be negative", p.RetryAfter)
	}
	switch p.Fault {
	case FaultNone, FaultError, FaultOverloaded, FaultRateLimited, FaultRefused, FaultReset, FaultUsage, FaultStall, FaultCut, FaultGarbage:
		return nil
	}
	return fmt.Errorf("%q is not a fault: use error, overloaded, rate_limited, refused, reset, usage, stall, cut or garbage", p.Fault)
}

// Config configures a simulator.
type Config struct {
	// Models are the models it serves, by name. Nil is DefaultModels.
	Models map[string]Profile
	// AccountedCalls is for how many of the newest request ids the account
	// keeps a line. 0 is 4096. The totals cover all calls.
	AccountedCalls int
	// Ended, where set, is called once for each call when it has ended, for
	// tests that wait for it. It must not block.
	Ended func(requestID string, how Ending)
	// Behave, where set, is asked for each call how the model behaves in it, and
	// given its profile. It is called by many goroutines.
	Behave func(model string, p Profile) Profile
}

// DefaultModels are the models that a simulator has where nothing else is
// configured: sim-text and sim-embed behave, the others fail as they are called.
func DefaultModels() map[string]Profile {
	lively := Profile{TimeToFirstToken: 20 * time.Millisecond, TokensPerSecond: 400, Jitter: 0.3}
	failing := func(f Fault) Profile {
		p := lively
		p.Fault, p.FaultAfter = f, 12
		return p
	}
	overloaded := failing(FaultOverloaded)
	overloaded.RetryAfter = 2 * time.Second
	return map[string]Profile{
		"sim-text":       lively,
		"sim-embed":      {TimeToFirstToken: lively.TimeToFirstToken, Dimensions: 256},
		"sim-error":      failing(FaultError),
		"sim-overloaded": overloaded,
		"sim-stall":      failing(FaultStall),
		"sim-cut":        failing(FaultCut),
	}
}

// Validate names the first field that makes no sense.
func (c Config) Validate() error {
	names := make([]string, 0, len(c.Models))
	for name := range c.Models {
		names = append(names, name)
	}
	slices.Sort(names) // the same file fails with the same text
	for _, name := range names {
		if name == "" {
			return errors.New("a simulated model has no name: name it")
		}
		if err := c.Models[name].Validate(); err != nil {
			return fmt.Errorf("simulated model %q: %w", name, err)
		}
	}
	if c.AccountedCalls < 0 {
		return fmt.Errorf("accounted calls are %d: write a number above 0, or 0 for 4096", c.AccountedCalls)
	}
	return nil
}

// A Backend serves simulated models. It is a backend.Backend, a
// backend.Counter and a backend.Embedder.
type Backend struct {
	models map[string]Profile
	ended  func(string, Ending)
	behave func(string, Profile) Profile
	book   book
	caches map[string]*promptCache // of the models that have one
}

// New makes a Backend. It fails where Validate does.
func New(c Config) (*Backend, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Models == nil {
		c.Models = DefaultModels()
	}
	if c.AccountedCalls == 0 {
		c.AccountedCalls = 4096
	}
	b := &Backend{models: make(map[string]Profile, len(c.Models)), ended: c.Ended, behave: c.Behave, caches: map[string]*promptCache{}}
	for name, p := range c.Models {
		b.models[name] = p
		if p.CacheTokens > 0 {
			b.caches[name] = newPromptCache(p.CacheTokens)
		}
	}
	b.book.keep = c.AccountedCalls
	return b, nil
}

// Models lists the names of the models, sorted.
func (b *Backend) Models(context.Context) ([]string, error) {
	names := make([]string, 0, len(b.models))
	for name := range b.models {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

// Capabilities implements backend.Backend.
func (b *Backend) Capabilities(model string) backend.Capabilities {
	if b.models[model].Dimensions > 0 {
		return backend.Capabilities{Embeds: true}
	}
	return backend.Capabilities{
		Candidates:      MaxCandidates,
		Seed:            true,
		TopK:            true,
		Penalties:       true,
		Tools:           true,
		JSON:            true,
		Schema:          true,
		Reasoning:       true,
		ReasoningBudget: true,
		Logprobs:        alternatives(),
		Media:           map[backend.Modality]int64{backend.Image: mediaTokens, backend.Audio: mediaTokens, backend.Video: mediaTokens, backend.File: mediaTokens},
		MediaURLs:       backend.Modalities(),
		ResultMedia:     true,
		MediaOutput:     map[backend.Modality]int64{backend.Image: drawTokens},
		MaxOutputTokens: b.models[model].ContextTokens,
	}
}

// CountInput implements backend.Counter.
func (b *Backend) CountInput(req *backend.Request) int { return countInput(req) }

// CountOutput implements backend.Counter.
func (b *Backend) CountOutput(_, text string) int { return countTokens(text) }

// Generate implements backend.Backend.
func (b *Backend) Generate(ctx context.Context, req *backend.Request) (backend.Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := b.profile(req.Model)
	if err != nil {
		return nil, err
	}
	if p.Dimensions > 0 {
		return nil, &backend.Error{Class: backend.Rejected, Status: 400, Detail: fmt.Sprintf("the simulated model %q gives embeddings alone", req.Model)}
	}
	if err := check(req); err != nil {
		return nil, &backend.Error{Class: backend.Rejected, Status: 400, Detail: err.Error()}
	}
	input := countInput(req)
	limit := math.MaxInt
	if req.MaxOutputTokens != nil {
		limit = *req.MaxOutputTokens
	}
	if room := p.ContextTokens - input; p.ContextTokens > 0 {
		if room < 1 {
			return nil, &backend.Error{Class: backend.ContextExceeded, Status: 400,
				Detail: fmt.Sprintf("the input has %d tokens and the model's context %d", input, p.ContextTokens)}
		}
		limit = min(limit, room)
	}
	if err := b.fault(p, req.RequestID); err != nil {
		return nil, err
	}
	return newStream(ctx, b, p, req, input, limit), nil
}

// profile is how a model behaves in a call.
func (b *Backend) profile(model string) (Profile, error) {
	p, ok := b.models[model]
	if !ok {
		return p, &backend.Error{Class: backend.ModelMissing, Status: 404, Detail: fmt.Sprintf("the simulator has no model %q", model)}
	}
	if b.behave != nil {
		p = b.behave(model, p)
	}
	if p.Fault == FaultRefused {
		return p, &backend.Error{Class: backend.Unreachable, Detail: "simulated refusal of the connection"}
	}
	return p, nil
}

// fault fails a call as its profile fails before it begins.
func (b *Backend) fault(p Profile, requestID string) error {
	var err *backend.Error
	switch p.Fault {
	case FaultError:
		err = &backend.Error{Class: backend.Failed, Status: 500, Detail: "simulated failure before the first token"}
	case FaultRateLimited:
		err = &backend.Error{Class: backend.RateLimited, Status: 429, Detail: "simulated rate limit", RetryAfter: p.RetryAfter}
	case FaultOverloaded:
		err = &backend.Error{Class: backend.Overloaded, Status: 503, Detail: "simulated overload", RetryAfter: p.RetryAfter}
	default:
		return nil
	}
	b.book.open(requestID).end(EndedFaulted, b.ended)
	return err
}

// check refuses what a real server refuses.
func check(req *backend.Request) error {
	switch {
	case len(req.Messages) == 0:
		return errors.New("a request needs at least one message")
	case req.Candidates > MaxCandidates:
		return fmt.Errorf("%d candidates are wanted, at most %d can be had", req.Candidates, MaxCandidates)
	case req.MaxOutputTokens != nil && *req.MaxOutputTokens < 1:
		return fmt.Errorf("at most %d output tokens are wanted, the least is 1", *req.MaxOutputTokens)
	}
	for _, m := range req.Messages {
		for _, p := range m.Parts {
			if s := p.Signature; s != nil && s.Signer == signer && s.Data != sign(p.Text) {
				return errors.New("reasoning came back with a signature that is not its own")
			}
		}
	}
	return nil
}
