package main

import (
	"context"
	"fmt"
	"strings"

	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
)

type leaseCommand struct {
	List    leaseListCommand    `cmd:"" help:"Tell what replicas have set aside of budgets."`
	Reclaim leaseReclaimCommand `cmd:"" help:"End a lease whose replica does not come back."`
}

type leaseListCommand struct {
	connection
	listOutput
	Tenant string `default:"-" help:"Tenant whose budgets they are of; all where it is absent." placeholder:"NAME"`
}

type leaseReclaimCommand struct {
	connection
	Lease  string `arg:"" help:"The lease, as weir lease list has it." placeholder:"REPLICA/INCARNATION/NUMBER"`
	Charge bool   `xor:"remainder" help:"Charge what remains to its window, as in doubt (the default)."`
	Free   bool   `xor:"remainder" help:"Return what remains to its window: for calls that you know to have cost nothing."`
	Output string `short:"o" enum:"text,json" default:"text" help:"text or json."`
}

// leaseResult is what is told of one lease; an amount is a text such as "5.00
// USD".
type leaseResult struct {
	Lease       string `json:"lease"`
	Replica     string `json:"replica"`
	Incarnation string `json:"incarnation"`
	State       string `json:"state"`
	Tenant      string `json:"tenant"`
	Budget      string `json:"budget"`
	Window      string `json:"window"`
	Remaining   string `json:"remaining"`
	Expires     string `json:"expires"`
}

func leaseResultOf(l *weirv1.Lease) leaseResult {
	return leaseResult{
		strings.TrimPrefix(l.Name, "leases/"), segmentOf(l.Name, 1), segmentOf(l.Name, 2), enumWord(l.State.String(), "LEASE_STATE_"),
		segmentOf(l.Budget, 1), lastSegment(l.Budget), l.Window, amountText(l.Remaining), timeText(l.ExpireTime),
	}
}

func (c *leaseListCommand) Run(ctx context.Context, t terminal) error {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	client := weirv1.NewAccountingServiceClient(conn)
	leases := []leaseResult{}
	l := list{header: []string{"lease", "state", "tenant", "budget", "window", "remaining", "expires"}, empty: "nothing is set aside of any budget"}
	if err := everyPage(func(token string) (string, error) {
		answer, err := client.ListLeases(ctx, &weirv1.ListLeasesRequest{Parent: "tenants/" + c.Tenant, PageToken: token})
		for _, message := range answer.GetLeases() {
			r := leaseResultOf(message)
			leases = append(leases, r)
			l.rows = append(l.rows, []string{r.Lease, r.State, r.Tenant, r.Budget, r.Window, r.Remaining, r.Expires})
		}
		return answer.GetNextPageToken(), err
	}); err != nil {
		return err
	}
	l.json = struct {
		Leases []leaseResult `json:"leases"`
	}{leases}
	return c.print(t, l)
}

func (c *leaseReclaimCommand) Run(ctx context.Context, t terminal) error {
	ctx, conn, err := c.dial(ctx, t)
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := weirv1.NewAccountingServiceClient(conn).ReclaimLease(ctx, &weirv1.ReclaimLeaseRequest{Name: "leases/" + c.Lease, Free: c.Free})
	if err != nil {
		return told(err)
	}
	lease := leaseResultOf(answer.Lease)
	if c.Output == "json" {
		return printJSON(t.out, struct {
			leaseResult
			Reclaimed string `json:"reclaimed"`
			RequestID string `json:"request_id,omitempty"`
		}{lease, amountText(answer.Reclaimed), answer.RequestId})
	}
	switch {
	case answer.RequestId != "":
		fmt.Fprintf(t.out, "%s of window %s are charged, as in doubt (request %s); lease %s is closed\n", amountText(answer.Reclaimed), lease.Window, answer.RequestId, lease.Lease)
	case isZero(answer.Reclaimed):
		fmt.Fprintf(t.out, "lease %s is closed already: nothing remains of it\n", lease.Lease)
	default:
		fmt.Fprintf(t.out, "%s are returned to window %s; lease %s is closed\n", amountText(answer.Reclaimed), lease.Window, lease.Lease)
	}
	return nil
}

func isZero(a *weirv1.BudgetAmount) bool {
	return a.GetTokens() == 0 && a.GetRequests() == 0 && a.GetMoney().GetUnits() == 0 && a.GetMoney().GetNanos() == 0
}
