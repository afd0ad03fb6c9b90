//go:build torture

package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

// call is what a caller wants.
type call struct {
	id      string // the caller's own
	model   string
	words   int // of the answer, each a token of the simulator's and of cl100k
	most    int32
	stream  bool
	leave   int           // the caller goes away after so many deltas; 0 for never
	within  time.Duration // deadline; 0 for none
	labels  map[string]string
	endUser string
}

// told is what a caller heard.
type told struct {
	call
	ok            bool
	cut           bool   // by the budget, and ok all the same
	request       string // the gateway's id, where it was told
	err           error
	input, output int64
	nanos         int64
}

// code is that of the failure.
func (h *told) code() codes.Code { return status.Code(h.err) }

// exhausted is whose quota refused the call, or "".
func (h *told) exhausted() string {
	for _, d := range status.Convert(h.err).Details() {
		if q, ok := d.(*errdetails.QuotaFailure); ok && h.code() == codes.ResourceExhausted && len(q.Violations) == 1 {
			return q.Violations[0].Subject
		}
	}
	return ""
}

var words = strings.Fields("the man and dog may see one big red sun now but you can not say who")

// prompt has the simulator say so many words.
func prompt(n int) string {
	said := make([]string, n)
	for i := range said {
		said[i] = words[i%len(words)]
	}
	return "say: " + strings.Join(said, " ")
}

// make one call of a replica.
func (f *fleet) make(ctx context.Context, r *replica, c call) *told {
	h := &told{call: c}
	client := r.client.Load()
	if client == nil {
		h.err = status.Error(codes.Unavailable, "the replica is not there")
		return h
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if c.within > 0 {
		ctx, cancel = context.WithTimeout(ctx, c.within)
		defer cancel()
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+f.key, "x-request-id", c.id)
	request := &weirv1.GenerateRequest{
		Model:    c.model,
		Messages: []*weirv1.Message{{Role: weirv1.Role_ROLE_USER, Parts: []*weirv1.Part{{Data: &weirv1.Part_Text{Text: prompt(c.words)}}}}},
		Config:   &weirv1.GenerationConfig{MaxOutputTokens: &c.most},
		Context:  &weirv1.RequestContext{EndUser: c.endUser, Labels: c.labels},
	}
	service := weirv1.NewGenerationServiceClient(client)
	if !c.stream {
		answer, err := service.Generate(ctx, request)
		if h.err = err; err == nil {
			h.request = answer.RequestId
			h.cut = answer.Candidates[0].FinishReason == weirv1.FinishReason_FINISH_REASON_BUDGET
			h.hear(answer.Usage, answer.Cost)
		}
		return h
	}
	stream, err := service.StreamGenerate(ctx, request)
	for deltas := 0; err == nil; {
		var event *weirv1.StreamGenerateResponse
		if event, err = stream.Recv(); err != nil {
			break
		}
		if begun := event.GetStarted(); begun != nil {
			h.request = begun.RequestId
		}
		if event.GetDelta() != nil {
			if deltas++; deltas == c.leave {
				cancel()
			}
		}
		if ended := event.GetCandidateDone(); ended != nil {
			h.cut = ended.FinishReason == weirv1.FinishReason_FINISH_REASON_BUDGET
		}
		if done := event.GetCompleted(); done != nil {
			h.hear(done.Usage, done.Cost)
			return h
		}
	}
	h.err = err
	return h
}

// makeAgain makes a call, and again, when it was told to, as long as the replica
// says that its database is too slow to ask: which is what a machine with a
// thousand callers on it may be, and no answer of a budget.
func (f *fleet) makeAgain(r *replica, c call, again *atomic.Int64) *told {
	for began := time.Now(); ; again.Add(1) {
		h := f.make(context.Background(), r, c)
		delay, told := h.retry()
		if h.code() != codes.Unavailable || !told || time.Since(began) >= patience {
			return h
		}
		<-time.After(delay)
	}
}

// retry is when the caller was told to come again, if it was.
func (h *told) retry() (time.Duration, bool) {
	for _, d := range status.Convert(h.err).Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			return r.RetryDelay.AsDuration(), true
		}
	}
	return 0, false
}

func (h *told) hear(u *weirv1.Usage, c *weirv1.Cost) {
	h.ok, h.input, h.output = true, u.GetInputTokens(), u.GetOutputTokens()
	h.nanos = c.GetTotal().GetUnits()*1_000_000_000 + int64(c.GetTotal().GetNanos())
}

// crowd are callers who go on until they are stopped.
type crowd struct {
	fleet *fleet
	seed  uint64
	more  func(*rand.Rand, int) call // the call of a number

	callers int

	mu     sync.Mutex
	moved  sync.Cond
	begun  int
	turn   int // grows as calls are answered
	paused int
	oks    []int // by replica
	all    []*told
	halted bool
	done   sync.WaitGroup
}

// gather has so many callers at a time call replicas by chance.
func (f *fleet) gather(callers int, seed uint64, more func(*rand.Rand, int) call) *crowd {
	c := &crowd{fleet: f, seed: seed, more: more, callers: callers, oks: make([]int, len(f.replicas))}
	c.moved.L = &c.mu
	ctx, stop := context.WithCancel(context.Background())
	f.t.Cleanup(func() { stop(); c.disperse() })
	for i := range callers {
		c.done.Go(func() { c.caller(ctx, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	return c
}

func (c *crowd) caller(ctx context.Context, chance *rand.Rand) {
	for {
		c.mu.Lock()
		if c.halted {
			c.mu.Unlock()
			return
		}
		c.begun++
		number := c.begun
		c.mu.Unlock()
		want := c.more(chance, number)
		want.id = fmt.Sprintf("torture-%d-%d", c.seed, number)
		at := chance.IntN(len(c.fleet.replicas))
		h := c.fleet.make(ctx, c.fleet.replicas[at], want)
		c.mu.Lock()
		c.all = append(c.all, h)
		if h.ok {
			c.oks[at]++
		}
		if h.ok || h.leave > 0 || h.within > 0 {
			c.turn++
		} else {
			c.pause()
		}
		c.moved.Broadcast()
		c.mu.Unlock()
	}
}

// pause has a caller that was refused wait until a call has been answered: a
// refusal costs nothing, and would only be repeated. The last that waits wakes
// all.
func (c *crowd) pause() {
	c.paused++
	defer func() { c.paused-- }()
	if c.paused == c.callers {
		c.turn++
		c.moved.Broadcast()
		return
	}
	for turn := c.turn; turn == c.turn && !c.halted; {
		c.moved.Wait()
	}
}

// wait returns when so many more calls of a replica have got an OK; of all
// replicas, where it is nil.
func (c *crowd) wait(t *testing.T, r *replica, n int) {
	t.Helper()
	giveUp := time.AfterFunc(patience, c.moved.Broadcast)
	defer giveUp.Stop()
	begin := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for goal := c.count(r) + n; c.count(r) < goal; c.moved.Wait() {
		if time.Since(begin) >= patience {
			t.Fatalf("%d of %d calls ended well within %s; the last failure: %v", n-goal+c.count(r), n, patience, c.lastFailure())
		}
	}
}

// until shows each call that has ended, in their order, until enough says true.
func (c *crowd) until(t *testing.T, enough func(*told) bool) {
	t.Helper()
	giveUp := time.AfterFunc(patience, c.moved.Broadcast)
	defer giveUp.Stop()
	begin := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for next := 0; ; c.moved.Wait() {
		for ; next < len(c.all); next++ {
			if enough(c.all[next]) {
				return
			}
		}
		if time.Since(begin) >= patience {
			t.Fatalf("%d calls ended within %s, and that is not enough; the last failure: %v", next, patience, c.lastFailure())
		}
	}
}

func (c *crowd) count(r *replica) (n int) {
	if r != nil {
		return c.oks[r.number]
	}
	for _, oks := range c.oks {
		n += oks
	}
	return n
}

func (c *crowd) lastFailure() error {
	for i := len(c.all) - 1; i >= 0; i-- {
		if c.all[i].err != nil {
			return c.all[i].err
		}
	}
	return nil
}

// disperse lets running calls end, begins no other, and returns what all heard.
func (c *crowd) disperse() []*told {
	c.mu.Lock()
	c.halted = true
	c.moved.Broadcast()
	c.mu.Unlock()
	c.done.Wait()
	return c.all
}
