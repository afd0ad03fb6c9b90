package weir

import (
	"context"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/face"
	"github.com/weir-gateway/weir/server/route"
)

// checkTime bounds how long a backend has to tell its models.
const checkTime = 5 * time.Second

// ListBackends tells how the backends are doing. They belong to the platform.
func (a *Admin) ListBackends(ctx context.Context, req *weirv1.ListBackendsRequest) (*weirv1.ListBackendsResponse, error) {
	caller, err := callerOf(ctx)
	if err != nil {
		return nil, err
	}
	if !caller.IsPlatform() {
		return nil, &face.DeniedError{Why: "backends are the platform's: use the platform's key"}
	}
	page, err := openPage("backends", req, 1, mostPage)
	if err != nil {
		return nil, err
	}
	var all []listed
	for _, s := range a.Router().Standings(a.Now()) {
		last := len(all) - 1
		if last < 0 || all[last].told.Name != s.Name {
			last++
			all = append(all, listed{s.Backend, &weirv1.Backend{Name: s.Name, Tags: s.Tags, Region: s.Region}})
		}
		all[last].told.Targets = append(all[last].told.Targets, backendTarget(&s))
	}
	some, next, err := pageOf(page, all, func(s listed) string { return s.told.Name })
	if err != nil {
		return nil, err
	}
	if req.GetCheck() {
		check(ctx, some)
	}
	out := &weirv1.ListBackendsResponse{NextPageToken: next}
	for _, s := range some {
		out.Backends = append(out.Backends, s.told)
	}
	return out, nil
}

// listed is a backend, and what is told of it.
type listed struct {
	backend.Backend
	told *weirv1.Backend
}

func backendTarget(s *route.Standing) *weirv1.BackendTarget {
	t := &weirv1.BackendTarget{
		Model: s.Model, Serves: s.Serves, OutstandingCalls: s.Outstanding,
		RecentCalls: int32(s.Calls), RecentFailures: int32(s.Failures), EjectedReason: s.Why,
	}
	can := s.Backend.Capabilities(s.Model)
	for _, c := range []struct {
		name string
		can  bool
	}{{"embeddings", can.Embeds}, {"tools", can.Tools}, {"json", can.JSON}, {"schema", can.Schema}, {"seed", can.Seed}, {"top_k", can.TopK}, {"candidates", can.Candidates > 1},
		{"reasoning", can.Reasoning}, {"logprobs", can.Logprobs != nil}} {
		if c.can {
			t.Capabilities = append(t.Capabilities, c.name)
		}
	}
	for _, m := range backend.Modalities() {
		if _, takes := can.Media[m]; takes {
			t.Capabilities = append(t.Capabilities, string(m))
		}
		if _, gives := can.MediaOutput[m]; gives {
			t.Capabilities = append(t.Capabilities, string(m)+"_output")
		}
	}
	if s.Latency > 0 {
		t.Latency = durationpb.New(s.Latency)
	}
	if !s.EjectedUntil.IsZero() {
		t.EjectedUntilTime = timestamppb.New(s.EjectedUntil)
	}
	if !s.RestsUntil.IsZero() {
		t.RestingUntilTime = timestamppb.New(s.RestsUntil)
	}
	if !s.SpentUntil.IsZero() {
		t.LimitedUntilTime = timestamppb.New(s.SpentUntil)
	}
	if l := s.Load; l != nil {
		t.Load = &weirv1.BackendLoad{
			ReportTime: timestamppb.New(s.LoadTime), RunningRequests: l.Running, WaitingRequests: l.Waiting, Utilization: l.Utilization,
		}
	}
	return t
}

// check asks all backends at once for their models. What a backend says of its
// failure stays with it; its class is told.
func check(ctx context.Context, all []listed) {
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	var asking sync.WaitGroup
	for _, s := range all {
		lister, can := s.Backend.(backend.Lister)
		if !can {
			continue
		}
		asking.Go(func() {
			models, err := lister.Models(ctx)
			s.told.Models, s.told.Reachable = models, proto.Bool(err == nil)
			switch {
			case ctx.Err() != nil:
				s.told.Problem = "no answer in time"
			case err != nil:
				s.told.Problem = string(backend.ClassOf(err))
			}
		})
	}
	asking.Wait()
}
