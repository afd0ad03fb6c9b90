package weir

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/backend"
	"github.com/weir-gateway/weir/server/backend/simulator"
	"github.com/weir-gateway/weir/server/route"
)

// mute is a backend that tells its models as little as it answers.
type mute struct{ backend.Backend }

func (mute) Models(context.Context) ([]string, error) {
	return nil, &backend.Error{Class: backend.Credentials, Detail: "the key sk-secret is wrong"}
}

func TestListBackends(t *testing.T) {
	h := newHouse(t, "")
	now := time.Now()
	h.Clock = func() time.Time { return now }
	h.Behave = func(model string, p simulator.Profile) simulator.Profile { return models()[model] }
	router, err := route.New([]route.Model{
		{Name: "sim", MaxOutputTokens: 10, Targets: []route.Target{
			{Name: "bad", Backend: mute{h.Sim}, Model: "error", Tags: []string{"private"}, Region: "eu"},
			{Name: "good", Backend: h.Sim, Model: "sim", Priority: 1},
		}},
		{Name: "cached", MaxOutputTokens: 10, Targets: []route.Target{{Name: "good", Backend: h.Sim, Model: "overloaded"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	h.Gateway.Router = func() *route.Router { return router }
	for range 5 {
		answer, err := weirv1.NewGenerationServiceClient(h.conn).Generate(h.as("member"), ask("sim", "say: hi"))
		if err != nil {
			t.Fatal(err)
		}
		if want := "the only one of its tier that can be had, after bad (failed)"; answer.GetTarget().GetReason() != want {
			t.Errorf("reason %q, want %q", answer.GetTarget().GetReason(), want)
		}
	}
	if _, err := weirv1.NewGenerationServiceClient(h.conn).Generate(h.as("member"), ask("cached", "say: hi")); status.Code(err) != codes.Unavailable {
		t.Fatal(err)
	}

	client := weirv1.NewAdminServiceClient(h.conn)
	list, err := client.ListBackends(h.as("platform"), &weirv1.ListBackendsRequest{Check: true})
	if err != nil || len(list.Backends) != 2 {
		t.Fatalf("%v %v", list, err)
	}
	bad, good := list.Backends[0], list.Backends[1]
	if bad.Name != "bad" || bad.Region != "eu" || bad.Tags[0] != "private" || bad.Reachable == nil || *bad.Reachable || bad.Problem != "credentials" || len(bad.Models) != 0 {
		t.Errorf("%v", bad)
	}
	if x := bad.Targets[0]; x.EjectedReason != "failed" || !x.EjectedUntilTime.AsTime().After(now) || x.Latency != nil || x.OutstandingCalls != 0 {
		t.Errorf("%v", x)
	}
	if !good.GetReachable() || len(good.Models) != len(models()) || len(good.Targets) != 2 {
		t.Errorf("%v", good)
	}
	if x := good.Targets[0]; x.Model != "overloaded" || x.RestingUntilTime == nil || x.Serves[0] != "cached" {
		t.Errorf("%v", x)
	}
	if x := good.Targets[1]; x.RecentCalls != 5 || x.RecentFailures != 0 || x.EjectedUntilTime != nil || len(x.Capabilities) == 0 {
		t.Errorf("%v", x)
	}
	list, err = client.ListBackends(h.as("platform"), &weirv1.ListBackendsRequest{})
	if err != nil || list.Backends[0].Reachable != nil {
		t.Errorf("a backend was asked, or said to be away, although nobody wished it: %v %v", list, err)
	}
	for _, who := range []string{"member", "admin"} {
		if _, err := client.ListBackends(h.as(who), &weirv1.ListBackendsRequest{}); status.Code(err) != codes.PermissionDenied {
			t.Errorf("%s: %v", who, err)
		}
	}
}
