package weir

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weir-gateway/weir/accounting"
	"github.com/weir-gateway/weir/accounting/lease"
	weirv1 "github.com/weir-gateway/weir/gen/weir/v1"
	"github.com/weir-gateway/weir/server/face"
)

// LedgerStore keeps leases and knows whether the ledger is sound. Its methods
// are safe for concurrent use.
type LedgerStore interface {
	// Leases returns the leases that are asked for, by window and id; Lease
	// returns one of any state, and false where it is not there.
	Leases(ctx context.Context, q lease.Query) ([]lease.Record, error)
	Lease(ctx context.Context, id lease.ID) (lease.Record, bool, error)
	// Reclaim is that of a lease.Store.
	Reclaim(ctx context.Context, id lease.ID, charge *accounting.Line) (int64, error)
	// Audit returns a sentence for each sum that is off, DeadLetters how many
	// entries could not be kept.
	Audit(ctx context.Context) ([]string, error)
	DeadLetters(ctx context.Context) (int64, error)
	// Silences returns up to limit replicas that hold leases and were not heard
	// of, Overruns up to limit windows that count at a time and were overrun.
	Silences(ctx context.Context, limit int) ([]lease.Silence, error)
	Overruns(ctx context.Context, at time.Time, limit int) ([]accounting.WindowState, error)
}

// reclaimPurpose is the purpose of the line that charges a lease.
const reclaimPurpose = "lease reclaim"

// ListLeases lists what replicas have of budget windows.
func (a *Accounting) ListLeases(ctx context.Context, req *weirv1.ListLeasesRequest) (*weirv1.ListLeasesResponse, error) {
	if err := a.onlyPlatform(ctx); err != nil {
		return nil, err
	}
	page, err := openPage("leases "+req.GetParent(), req, 4, mostPage)
	if err != nil {
		return nil, err
	}
	q := lease.Query{Limit: page.size + 1}
	if q.Tenant = segment(req.GetParent(), 1); q.Tenant == everyTenant {
		q.Tenant = ""
	} else if !a.HasTenant(q.Tenant) {
		return nil, missing(tenantType, req.GetParent())
	}
	if page.after[0] != "" {
		q.AfterWindow = page.after[0]
		if q.After, err = leaseID(page.after[1:]); err != nil {
			return nil, face.Invalid("page_token", "it is not of this list: send next_page_token of the page before")
		}
	}
	list, err := a.Ledger.Leases(ctx, q)
	if err != nil {
		return nil, a.away(err)
	}
	out := &weirv1.ListLeasesResponse{}
	for _, l := range list {
		if len(out.Leases) == page.size {
			last := list[page.size-1]
			out.NextPageToken, err = page.token(append([]string{last.Window.ID}, segmentsOf(last.ID)...)...)
			return out, err
		}
		out.Leases = append(out.Leases, leaseMessage(l))
	}
	return out, nil
}

// ReclaimLease ends a lease whose replica does not come back.
func (a *Accounting) ReclaimLease(ctx context.Context, req *weirv1.ReclaimLeaseRequest) (*weirv1.ReclaimLeaseResponse, error) {
	if err := a.onlyPlatform(ctx); err != nil {
		return nil, err
	}
	absent := missing(leaseType, req.GetName())
	id, err := leaseID(strings.Split(req.GetName(), "/")[1:])
	if err != nil {
		return nil, absent // no process and no lease has such a number
	}
	l, known, err := a.Ledger.Lease(ctx, id)
	switch now := a.Now(); {
	case err != nil:
		return nil, a.away(err)
	case !known:
		return nil, absent
	case l.State == lease.Live:
		return nil, &face.StateError{Why: fmt.Sprintf("lease %s is live: its replica may use it until %s, or longer where it renews it; it can be reclaimed when it is forfeited", id, timeText(l.Expires))}
	case l.State == lease.Closed && l.Remainder() > 0 && l.Expires.After(now):
		return nil, &face.StateError{Why: fmt.Sprintf("lease %s was closed a moment ago, and what remains is on its way to be settled: what has not come can be reclaimed from %s on", id, timeText(l.Expires))}
	}
	var charge *accounting.Line
	if !req.GetFree() {
		if charge, err = chargeOf(l.Window, a.Now()); err != nil {
			return nil, err
		}
	}
	taken, err := a.Ledger.Reclaim(ctx, id, charge)
	if errors.Is(err, lease.ErrLive) { // it has gone from the store since
		return nil, absent
	}
	if err != nil {
		return nil, a.away(err)
	}
	l.State, l.Settled = lease.Closed, l.Granted-l.Returned
	out := &weirv1.ReclaimLeaseResponse{Lease: leaseMessage(l), Reclaimed: amount(l.Window.Unit, taken)}
	if charge != nil && taken > 0 {
		out.RequestId = charge.RequestID
	}
	return out, nil
}

// chargeOf is the line that charges what remains of a lease to its window, in
// the window's unit. It has no cost: a call that was lost held room in every
// window it counts in, so costs here would add it up once for each.
func chargeOf(w accounting.Window, now time.Time) (*accounting.Line, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return nil, err
	}
	return &accounting.Line{
		Attempt: accounting.Attempt{
			RequestID: id.String(), Number: 1, Purpose: reclaimPurpose,
			Subject: accounting.Subject{Tenant: w.Tenant}, Start: now, Deadline: now,
		},
		End: now, Outcome: accounting.OutcomeInDoubt, Source: accounting.SourceReservation,
	}, nil
}

// onlyPlatform refuses everybody but the platform.
func (a *Accounting) onlyPlatform(ctx context.Context) error {
	caller, err := callerOf(ctx)
	if err == nil && !caller.IsPlatform() {
		err = &face.DeniedError{Why: "leases and the ledger's state are the platform's: use the platform's key"}
	}
	return err
}

// leaseID reads replica, incarnation and number.
func leaseID(segments []string) (lease.ID, error) {
	incarnation, err := strconv.ParseInt(segments[1], 10, 64)
	number, second := strconv.ParseInt(segments[2], 10, 64)
	return lease.ID{Replica: segments[0], Incarnation: incarnation, Number: number}, errors.Join(err, second)
}

func segmentsOf(id lease.ID) []string {
	return []string{id.Replica, strconv.FormatInt(id.Incarnation, 10), strconv.FormatInt(id.Number, 10)}
}

var leaseStates = map[lease.State]weirv1.LeaseState{
	lease.Live:      weirv1.LeaseState_LEASE_STATE_LIVE,
	lease.Forfeited: weirv1.LeaseState_LEASE_STATE_FORFEITED,
	lease.Closed:    weirv1.LeaseState_LEASE_STATE_CLOSED,
}

func leaseMessage(l lease.Record) *weirv1.Lease {
	return &weirv1.Lease{
		Name: "leases/" + l.ID.String(), State: leaseStates[l.State],
		Budget: fmt.Sprintf("tenants/%s/budgets/%s", l.Window.Tenant, l.Window.Budget), Window: l.Window.ID,
		Remaining: amount(l.Window.Unit, l.Remainder()), ExpireTime: timestamppb.New(l.Expires),
	}
}

func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339) }
