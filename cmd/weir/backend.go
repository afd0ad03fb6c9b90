package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/backend"
)

type backendCommand struct {
	List  backendListCommand  `cmd:"" help:"Tell how the targets of calls stand: load, latency, failures, ejection."`
	Check backendCheckCommand `cmd:"" help:"Ask every backend for its models; fail where one gives none."`
}

type backendListCommand struct {
	connection
	listOutput
}

type backendCheckCommand struct {
	connection
	listOutput
}

func (c *connection) backends(ctx context.Context, t terminal, check bool) ([]*weirv1.Backend, error) {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	client := weirv1.NewAdminServiceClient(conn)
	var all []*weirv1.Backend
	err = everyPage(func(token string) (string, error) {
		answer, err := client.ListBackends(ctx, &weirv1.ListBackendsRequest{Check: check, PageToken: token})
		all = append(all, answer.GetBackends()...)
		return answer.GetNextPageToken(), err
	})
	return all, err
}

func (c *backendListCommand) Run(ctx context.Context, t terminal) error {
	all, err := c.backends(ctx, t, false)
	if err != nil {
		return err
	}
	l := list{
		header: []string{"backend", "model", "serves", "in_flight", "load", "failed", "latency", "can", "state"},
		empty:  "no model has a target", json: backendsJSON(all),
	}
	for _, b := range all {
		for _, x := range b.Targets {
			l.rows = append(l.rows, []string{
				b.Name, x.Model, strings.Join(x.Serves, ","), strconv.FormatInt(x.OutstandingCalls, 10), loadText(x.Load),
				fmt.Sprintf("%d of %d", x.RecentFailures, x.RecentCalls), latencyText(x), strings.Join(x.Capabilities, ","), stateText(x),
			})
		}
	}
	return c.print(t, l)
}

func (c *backendCheckCommand) Run(ctx context.Context, t terminal) error {
	all, err := c.backends(ctx, t, true)
	if err != nil {
		return err
	}
	l := list{header: []string{"backend", "reachable", "models"}, empty: "there are no backends", json: backendsJSON(all)}
	for _, b := range all {
		reachable := "unknown"
		switch {
		case b.Reachable == nil:
		case *b.Reachable:
			reachable = "yes"
		default:
			reachable = "no: " + b.Problem
		}
		l.rows = append(l.rows, []string{b.Name, reachable, shortList(b.Models)})
	}
	if err := c.print(t, l); err != nil {
		return err
	}
	var away []string
	for _, b := range all {
		if b.Reachable != nil && !*b.Reachable {
			away = append(away, fmt.Sprintf("%s (%s)", b.Name, problemText(b.Problem)))
		}
	}
	if len(away) > 0 {
		return &codedError{exitUnavailable, fmt.Errorf("no models from %s: see that it runs, and check its url and key in weir.yaml", strings.Join(away, ", "))}
	}
	return nil
}

// problemText is a class of failures with what it means, where its name does not
// say it.
func problemText(class string) string {
	switch backend.Class(class) {
	case backend.Protocol:
		return class + ": what answers there does not speak its kind's API"
	case backend.Credentials:
		return class + ": it refuses the key, or there is none"
	case backend.Failed:
		return class + ": it answers with an error of its own"
	case backend.ModelMissing:
		return class + ": it has nothing at that url"
	}
	return class
}

// loadText is how busy the target says it is.
func loadText(l *weirv1.BackendLoad) string {
	var said []string
	if l != nil && l.RunningRequests != nil {
		said = append(said, fmt.Sprintf("%g run", l.GetRunningRequests()))
	}
	if l != nil && l.WaitingRequests != nil {
		said = append(said, fmt.Sprintf("%g wait", l.GetWaitingRequests()))
	}
	if l != nil && l.Utilization != nil {
		said = append(said, fmt.Sprintf("%.0f %% full", 100*l.GetUtilization()))
	}
	if len(said) == 0 {
		return "-"
	}
	return strings.Join(said, ", ")
}

func latencyText(x *weirv1.BackendTarget) string {
	if x.Latency == nil {
		return "-"
	}
	return x.Latency.AsDuration().Round(time.Millisecond).String()
}

func stateText(x *weirv1.BackendTarget) string {
	switch {
	case x.EjectedUntilTime != nil:
		return fmt.Sprintf("ejected until %s: %s", timeText(x.EjectedUntilTime), x.EjectedReason)
	case x.RestingUntilTime != nil:
		return "asked for a rest until " + timeText(x.RestingUntilTime)
	case x.LimitedUntilTime != nil:
		return "rate limit used up until " + timeText(x.LimitedUntilTime)
	}
	return "serving"
}

type backendResult struct {
	Name      string                `json:"name"`
	Tags      []string              `json:"tags"`
	Region    string                `json:"region,omitempty"`
	Reachable *bool                 `json:"reachable"` // null where it was not asked
	Problem   string                `json:"problem,omitempty"`
	Models    []string              `json:"models,omitempty"`
	Targets   []backendTargetResult `json:"targets"`
}

type backendTargetResult struct {
	Model         string   `json:"model"`
	Serves        []string `json:"serves"`
	Capabilities  []string `json:"capabilities"`
	InFlight      int64    `json:"in_flight"`
	Calls         int32    `json:"recent_calls"`
	Failures      int32    `json:"recent_failures"`
	LatencyMS     *float64 `json:"latency_ms"` // null where it has not answered yet
	EjectedUntil  string   `json:"ejected_until,omitempty"`
	EjectedReason string   `json:"ejected_reason,omitempty"`
	RestingUntil  string   `json:"resting_until,omitempty"`
	LimitedUntil  string   `json:"limited_until,omitempty"`

	Load *backendLoadResult `json:"load,omitempty"`
}

type backendLoadResult struct {
	Time        string   `json:"time"`
	Running     *float64 `json:"running"` // null where it was not said
	Waiting     *float64 `json:"waiting"`
	Utilization *float64 `json:"utilization"`
}

func backendsJSON(all []*weirv1.Backend) any {
	out := struct {
		Backends []backendResult `json:"backends"`
	}{[]backendResult{}}
	for _, b := range all {
		r := backendResult{Name: b.Name, Tags: append([]string{}, b.Tags...), Region: b.Region, Reachable: b.Reachable, Problem: b.Problem, Models: b.Models}
		for _, x := range b.Targets {
			target := backendTargetResult{
				Model: x.Model, Serves: x.Serves, Capabilities: append([]string{}, x.Capabilities...), InFlight: x.OutstandingCalls,
				Calls: x.RecentCalls, Failures: x.RecentFailures,
				EjectedUntil: timeText(x.EjectedUntilTime), EjectedReason: x.EjectedReason, RestingUntil: timeText(x.RestingUntilTime), LimitedUntil: timeText(x.LimitedUntilTime),
			}
			if l := x.Load; l != nil {
				target.Load = &backendLoadResult{timeText(l.ReportTime), l.RunningRequests, l.WaitingRequests, l.Utilization}
			}
			if x.Latency != nil {
				ms := float64(x.Latency.AsDuration()) / float64(time.Millisecond)
				target.LatencyMS = &ms
			}
			r.Targets = append(r.Targets, target)
		}
		out.Backends = append(out.Backends, r)
	}
	return out
}
